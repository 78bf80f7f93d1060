"""The keys `M` and `A`, decisions of other processes, and the marks of the serving host."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import BELL, staged
from support.builders import NOW, environment, key_of
from support.policies import soon
from support.scripted_watch import recurring_policies

from envwatch.alerts.alert_policy import AlertPolicy, Word
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import SafeText, clean
from envwatch.model.times import clock_text
from envwatch.screen.screens.dialogs import Menu
from envwatch.screen.screens.row_actions import RowActions
from envwatch.watch.deciding import change_acks, decide_alerts, end_silences, silence_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.app_harness import Stage

    from envwatch.alerts.silences import Silence
    from envwatch.model.environment import Environment
    from envwatch.watch.loop import Decisions, Watch

A, HOUR, NOTE = clean("env-a"), timedelta(hours=1), clean("new disks")
KEY = (NO_PROFILE, A)
OFF: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}


def row(name: str, at: float, *, is_up: bool = True, **values: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at} if is_up else OFF) | values)


def rows(at: float, *, is_lost: bool = False) -> list[Environment]:
    return [row("a", at, is_up=not is_lost), row("b", at)]


async def lose(stage: Stage) -> None:
    for _ in range(5):
        stage.now += 5
        await stage.show(rows(stage.at, is_lost=True))
        await stage.tick(0)


async def post(stage: Stage, act: Callable[[Watch, SafeText], str]) -> None:
    stage.app.dashboard.post_message(RowActions.Decided(act))
    await stage.tick(0)


async def test_a_silenced_row_rings_from_the_end_of_the_silence_on() -> None:
    kept: list[dict[SafeText, Any]] = []
    async with staged(
        bell=True, policies=soon(), kept=lambda each: kept.append({**each.silences}), user=clean("ada")
    ) as stage:
        await stage.show(rows(stage.at))
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        assert stage.news == "silenced on this machine for 1h: a (it is up)"
        await lose(stage)
        assert stage.app.sent == []
        assert stage.app.titles[-1].split()[0] == "○+1"
        (silence,) = stage.app.state.monitor.silences.values()
        assert (silence.note, silence.by, silence.until - silence.at) == (NOTE, "ada", 3_600_000)
        await post(stage, partial(end_silences, [silence]))
        assert stage.news == "no longer silenced"
        assert kept == [{silence.id: silence}, {silence.id: silence.ended(stage.app.state.now.wall, clean("ada"))}]
        assert stage.app.titles[-1].split()[0] == "○1"
        await stage.tick(1)
        assert stage.app.sent == [], "it counts as lost since the silence ended"
        await stage.tick(10)
        assert stage.app.sent == [BELL]
        await post(stage, partial(end_silences, [silence]))
        assert stage.news == "the silence has ended already"


async def test_a_row_forgotten_meanwhile_has_no_silence_and_no_word() -> None:
    gone = [(NO_PROFILE, clean("env-z"))]
    async with staged() as stage:
        await stage.show(rows(stage.at))
        await post(stage, partial(silence_rows, gone, HOUR, NOTE))
        assert stage.news == "nothing to silence: the machine has left the fleet"
        await post(stage, partial(decide_alerts, gone, None, is_always=True))
        assert stage.news == "nothing to decide: the machine has left the fleet"
        assert (stage.app.state.monitor.silences, stage.app.state.monitor.words) == ({}, {})


async def test_rows_recovered_while_the_reason_is_typed_are_not_silenced() -> None:
    def group(at: float, *late: str) -> list[Environment]:
        return [row(name, NOW - 60_000 if name in late else at) for name in "abc"]

    async with staged() as stage:
        await stage.show(group(stage.at, "a", "b"))
        await stage.press("b", "p", "enter", "g")
        assert stage.cursor == "pod pod-1"
        await stage.press("M", "enter")
        stage.now = 5
        await stage.show(group(stage.at, "b"))
        await stage.press("enter")
        assert stage.news == "silenced on this machine for 30m: b and c"
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-b"), key_of("env-c")}
        await stage.press("j", "M", "end", "enter")
        stage.now = 10
        await stage.show(group(stage.at))
        await stage.press("enter")
        assert stage.news == "recovered meanwhile: b"
        assert len(stage.app.state.monitor.silences) == 1


async def test_table_rule_and_pane_show_a_silenced_row_until_the_silence_ends() -> None:
    async with staged(size=(160, 24)) as stage:
        stage.app.dashboard.wants_detail = False
        await stage.show(rows(stage.at))
        await lose(stage)
        assert re.search(r"^▌.* NEW  a +disconnected *$", stage.block[0])
        assert "○ 1 page  " in stage.lines[0]
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        await stage.tick(1)
        assert (stage.block, stage.names) == ([], ["b", "a"])
        until = clock_text(NOW + stage.now * 1000 + 3_600_000, None)[:5]
        assert re.search(rf"a +⊘ .* until {until}\b", stage.body[1])
        assert "▌" not in stage.text
        assert "○ +1 off  " in stage.lines[0]
        assert stage.rule.startswith("── 1 on · 1 silenced ──")
        await stage.press("n")
        assert stage.news == "nothing pages: 1 silenced"
        stage.go_to("env-a")
        await stage.press("enter")
        assert re.search(r"silenced +until \d\d:\d\d: new disks", stage.text)
        await stage.press("escape", "b", "p", "enter")
        assert [line for line in stage.body if "pod pod" in line] == ["▾ ⊘ pod pod-1  ● 1  ○ 1"]
        await post(stage, partial(silence_rows, [(NO_PROFILE, clean("env-b"))], 2 * HOUR, NOTE))
        assert [line for line in stage.body if "pod pod" in line] == [
            f"▾ ⊘ pod pod-1  ● 1  ○ 1  silenced until {until}"
        ]
        await stage.tick(3_600)
        await stage.show(rows(stage.at, is_lost=True))
        assert re.search(r"  a +not back by \d\d:\d\d *$", stage.block[0])
        assert stage.rule.startswith("── 1 on (1 silenced) ──")


async def test_big_m_ends_the_present_hours_of_a_recurring_silence() -> None:
    kept: list[Mapping[SafeText, Silence | None]] = []
    hours = RecurringHours(begin=8 * 60, end=9 * 60)
    policies = recurring_policies(hours)
    async with staged(policies=policies, kept=lambda each: kept.append(each.silences)) as stage:
        await stage.show([row("mac-1", stage.at)])
        stage.now += 5
        await stage.show([row("mac-1", stage.at, is_up=False)])
        assert "1 silenced" in stage.rule
        await stage.press("M")
        assert "end  1 current silence" in stage.text
        await stage.press("enter")
        assert "Silence on this machine for 30m: mac-1" in stage.text, "enter alone ends no silence"
        await stage.press("escape", "M", "e", "enter")
        assert stage.news == "no longer silenced"
        at = stage.at
        await stage.tick(1)
        assert re.search("off +[0-9]+s NEW +mac-1 +not back by 08:53", stage.block[0])
        ((ended,),) = [[*changes.values()] for changes in kept]
        assert ended is not None
        assert (ended.ends, ended.until) == (policies[clean("")].recurring[0].recurrence, at)


async def test_a_question_about_several_machines_leaves_a_line_for_the_choice_in_the_lowest_terminal() -> None:
    async with staged(size=(40, 8)) as stage:
        await stage.show([row(f"machine-{number}", stage.at) for number in range(12)])
        await stage.press(*["space"] * 12, "M")
        box = re.findall(r"│ (.*?) +│", stage.text)
        assert " ".join(box).startswith("Silence on this machine: machine-0, machine-1 and 10 more 30m")


# -- whether a loss needs a person -------------------------------------------------------------------------------------
def words(stage: Stage) -> dict[str, bool]:
    return {id_: word.is_always for (_, id_), word in stage.app.state.monitor.words.items()}


async def test_never_takes_a_loss_out_of_the_block_and_by_rule_brings_the_loss_back() -> None:
    kept: list[Decisions] = []
    async with staged((120, 36), kept=kept.append, user=clean("ann")) as stage:
        await stage.show([row("ci-7", stage.at), row("web", stage.at)])
        stage.now = 5
        await stage.show([row("ci-7", stage.at, is_up=False), row("web", stage.at)])
        assert [line.strip() for line in stage.block if "ci-7" in line]
        await stage.press("A")
        assert isinstance(stage.app.screen, Menu)
        assert "ci-7: pages: not a laptop's system" in stage.text
        await stage.press("n", "enter")
        assert stage.news == "ci-7 never pages now: A changes that"
        assert not any("ci-7" in line for line in stage.block)
        assert "1 not paging (1 never)" in stage.rule
        stage.go_to("env-ci-7")
        await stage.turns()
        pane = " ".join(line.partition("▏")[2] for line in stage.lines)
        assert "alerts does not page: never, by ann, 9 Oct" in " ".join(pane.split())
        await stage.press("A")
        assert "ci-7: does not page: never, by ann, 9 Oct" in stage.text
        await stage.press("enter")
        assert words(stage) == {"env-ci-7": False}, "the menu begins at the choice in force"
        await stage.press("A", "b", "enter")
        assert stage.news.startswith("the rules decide about ci-7 again: pages: not a laptop")
        assert any("ci-7" in line for line in stage.block)
        key = key_of("env-ci-7")
        never = {key: Word(is_always=False, at=WallMs(stage.at), by=clean("ann"))}
        assert [each.words for each in kept] == [never, never, {key: None}]


async def test_the_marked_rows_are_decided_together_and_unmarked() -> None:
    async with staged(policies={NO_PROFILE: AlertPolicy(expect=(clean("cyd"),))}) as stage:
        mac = row("ada", stage.at, metadata={"os": "darwin"})
        await stage.show([mac, row("bob", stage.at), row("cyd", stage.at)])
        await stage.press("space", "space", "A")
        assert "ada and bob: 1 of 2 page" in stage.text
        await stage.press("n", "enter")
        assert stage.news == "ada and bob never page now: A changes that"
        assert words(stage) == {"env-ada": False, "env-bob": False}
        assert stage.app.dashboard.marked == frozenset()
        await stage.press("g", "space", "space", "A", "b", "enter")
        assert stage.news == "the rules decide about ada and bob again: 1 of 2 page"
        assert words(stage) == {}
        await stage.press("G", "A", "n", "enter")
        assert stage.news == "cyd is in `expect`, and always pages"


# -- marks of the serving host -----------------------------------------------------------------------------------------
def lost_rows(**marks: Any) -> list[Environment]:
    lost = row("a", NOW, is_up=False, envwatch=marks, lastSeenAt=NOW - 3 * 3_600_000)
    return [lost, row("b", NOW)]


def acked() -> dict[str, Any]:
    return {"ack": {"by": "ops-1", "at": 1, "note": "on it"}}


def silenced(stage: Stage, seconds: float = 7_200) -> dict[str, Any]:
    return {"silence": {"by": "ops-1", "until": stage.at + seconds * 1000, "reason": "disks"}}


def line_of(stage: Stage, name: str) -> str:
    return next(line for line in (*stage.block, *stage.body) if f" {name} " in line)


async def test_an_acknowledgement_of_the_serving_host_is_named_in_row_and_pane_until_its_end() -> None:
    async with staged((120, 36), columns=("version", "why")) as stage:
        late = row("c", stage.at - 60_000)
        await stage.show([*lost_rows(**acked()), replace(late, unknown={"envwatch": acked()})])
        assert "acked by ops-1" in line_of(stage, "a")
        assert re.search("c +✓ .* acked by ops-1 ", line_of(stage, "c"))
        await stage.press("enter")
        assert re.search(r"acked .* by ops-1: on it", stage.text)
        assert stage.text.count("on it") == 2, "in row and pane, and not once more among the unknown fields"
        await stage.press("escape")
        await stage.type("/acked:yes")
        await stage.press("enter")
        assert (stage.matching, "acked:yes 2/3 " in stage.lines[0]) == (["a", "c"], True)
        await stage.press("0")
        await stage.show([*lost_rows(), late])
        assert "ops-1" not in stage.text
        await stage.show([environment("env-a", connectionName="a", envwatch="something")])
        await stage.press("g", "enter", "end")
        assert "something" in stage.text, "a field of that name which is no mark"


async def test_a_silence_of_the_serving_host_is_shown_until_its_end() -> None:
    async with staged((120, 36)) as stage:
        await stage.show(lost_rows(**silenced(stage, 10)))
        assert re.search(r" silenced until \d\d:\d\d ", line_of(stage, "a"))
        await stage.press("enter")
        assert re.search(r"shared +silenced until \d\d:\d\d by ops-1:", stage.text)
        assert "disks" in stage.text
        await stage.tick(11)
        assert "ops-1" not in stage.text


async def test_the_marks_of_this_machine_are_shown_in_place_of_the_serving_hosts() -> None:
    async with staged((120, 36)) as stage:
        await stage.show(lost_rows(**acked()))
        ack = Ack(ServerMs(stage.at), clean("mine"))
        await post(stage, partial(change_acks, {key_of(A): ack}))
        await stage.press("enter")
        assert "on this machine: mine" in stage.text
        assert "ops-1" not in stage.text
        await post(stage, partial(change_acks, {key_of(A): None}))
        await stage.show(lost_rows(**silenced(stage)))
        await post(stage, partial(silence_rows, [KEY], HOUR, clean("my disks")))
        assert not stage.block
        assert re.search("a +⊘ ", line_of(stage, "a"))
        stage.go_to(A)
        await stage.turns()
        assert ": my disks" in stage.text
        assert "ops-1" not in stage.text


@pytest.mark.parametrize(("is_known", "lines"), [(False, [("off", False), ("off", True)]), (True, [("2 off", True)])])
async def test_only_the_members_known_at_the_server_stand_with_who_knows(
    *, is_known: bool, lines: list[tuple[str, bool]]
) -> None:
    first, online = lost_rows(**acked())
    second = replace(first, id=clean("env-c"), name=clean("c"), unknown=first.unknown if is_known else {})
    async with staged((120, 36)) as stage:
        await stage.show([first, second, online])
        for line, (state, names_who) in zip(stage.block, lines, strict=True):
            assert f" {state} " in line
            assert ("acked by ops-1" in line) is names_who


async def test_a_decision_or_a_silence_here_names_the_host_that_still_pages() -> None:
    marks: dict[str, Any] = {"envwatch": {"alerts": {"pages": True, "why": "pages: up 99 % of 7 days"}}}
    async with staged((120, 36), servers={NO_PROFILE: clean("watch:8283/profiles/work")}) as stage:
        await stage.show([row("a", NOW, **marks), row("b", NOW)])
        await stage.press("A", "n", "enter")
        assert stage.news == "a never pages now on this machine (A changes that); watch:8283 still pages"
        await stage.press("M", "enter", "enter")
        assert stage.news == "silenced on this machine for 30m: a (it is up); watch:8283 still pages"


async def test_the_decision_of_the_serving_host_counts_here_before_a_record_of_this_machine_does() -> None:
    async with staged((120, 36)) as stage:
        await stage.show(lost_rows(alerts={"pages": False, "why": "does not page: up 61 % of 7 days", "share": 0.61}))
        assert not stage.app.state.block.lines
        assert "1 not paging" in stage.rule
        stage.go_to("env-a")
        await stage.press("enter")
        assert "alerts   does not page: up 61 % of 7" in stage.text
        await stage.press("A", "a", "enter")
        assert stage.app.state.block.lines
        assert "alerts   pages: always" in stage.text
