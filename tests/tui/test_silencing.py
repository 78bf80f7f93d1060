"""Silences on the screen: made here, and made by concurrent processes."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from support.app_harness import BELL, staged
from support.builders import NOW, environment, key_of
from support.policies import soon
from support.scripted_watch import recurring_policies

from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.alerting.silences import silence_of_environments
from envwatch.model.clock import WallMs
from envwatch.model.text import SafeText, clean
from envwatch.model.times import clock_text
from envwatch.tui.screens.row_actions import RowActions, end_silences, silence_rows
from envwatch.watch.loop import News, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.app_harness import Stage

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.model.environment import Environment

A, HOUR, NOTE = clean("env-a"), timedelta(hours=1), clean("new disks")
KEY = (clean(""), A)


def rows(at: float, *, is_lost: bool = False) -> list[Environment]:
    link: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None} if is_lost else {"lastHeartbeat": at}
    return [environment("env-a", connectionName="a", **link), environment("env-b", lastHeartbeat=at)]


async def lose(stage: Stage) -> None:
    for _ in range(5):
        stage.now += 5
        await stage.show(rows(stage.at, is_lost=True))
        await stage.tick(0)


async def post(stage: Stage, act: Callable[[Watch, SafeText], str]) -> None:
    stage.app.dashboard.post_message(RowActions.Decided(act))
    await stage.tick(0)


async def test_a_silenced_row_rings_nothing_and_is_no_problem_to_go_to_until_that_is_ended() -> None:
    kept: list[dict[SafeText, Any]] = []
    async with staged(
        bell=True, policies=soon(), kept=lambda each: kept.append({**each.silences}), user=clean("ada")
    ) as stage:
        await stage.show(rows(stage.at))
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        assert stage.news == "silenced on this machine for 1h: a (it is up)"
        await lose(stage)
        assert stage.app.sent == []
        (tracked,) = [each for each in stage.app.state.monitor.fleet.environments if each.environment.id == A]
        state = stage.app.state
        silenced = state.monitor.silenced(tracked, state.now)
        assert silenced is not None
        silence = silenced.silence
        assert (silence.note, silence.by, silence.until - silence.at) == (NOTE, "ada", 3_600_000)
        assert not state.monitor.is_alerting(tracked, state.now)
        await post(stage, partial(end_silences, [silence]))
        assert stage.news == "no longer silenced"
        assert stage.app.state.monitor.is_alerting(tracked, stage.app.state.now)
        assert [list(changes) for changes in kept] == [[silence.id], [silence.id]]
        assert kept[1] == {silence.id: silence.ended(stage.app.state.now.wall, clean("ada"))}
        await stage.tick(1)
        assert stage.app.sent == [], "it counts as lost since the silence ended"
        await stage.tick(10)
        assert stage.app.sent == [BELL]


async def test_what_has_left_the_fleet_or_has_ended_meanwhile_is_said() -> None:
    async with staged() as stage:
        await stage.show(rows(stage.at))
        await post(stage, partial(silence_rows, [(clean(""), clean("env-z"))], HOUR, NOTE))
        assert stage.news == "nothing to silence: the row has left the fleet"
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        (silence,) = stage.app.state.monitor.silences.values()
        await post(stage, partial(end_silences, [silence]))
        assert stage.news == "no longer silenced"
        await post(stage, partial(end_silences, [silence]))
        assert stage.news == "the silence has ended already"


async def test_a_silence_of_another_process_holds_from_the_next_poll_on() -> None:
    news = News()
    async with staged(bell=True, policies=soon(), news=lambda _: news) as stage:
        await stage.show(rows(stage.at))
        theirs = silence_of_environments([key_of(A)], WallMs(stage.at), HOUR, NOTE, clean("bob"))
        news = News(silences={theirs.id: theirs})
        await lose(stage)
        assert stage.app.sent == []
        assert stage.app.state.monitor.silences.keys() == {theirs.id}
        news = News(silences={})
        await lose(stage)
        assert stage.app.state.monitor.silences == {}
        assert stage.app.sent == [BELL]


async def test_what_recovers_while_the_reason_is_typed_is_not_silenced() -> None:
    async with staged() as stage:
        await stage.show(rows(stage.at, is_lost=True))
        await stage.press("g", "M", "enter")
        stage.now = 5
        await stage.show(rows(stage.at))
        await stage.press("enter")
        assert stage.news == "recovered meanwhile: a"
        assert stage.app.state.monitor.silences == {}


async def test_of_a_group_only_what_recovered_meanwhile_is_not_silenced() -> None:
    def group(at: float, *late: str) -> list[Environment]:
        return [environment(f"env-{n}", lastHeartbeat=NOW - 60_000 if n in late else at) for n in "abc"]

    async with staged() as stage:
        await stage.show(group(stage.at, "a", "b"))
        await stage.press("b", "p", "enter", "g")
        assert stage.cursor == "pod pod-1"
        await stage.press("M", "enter")
        stage.now = 5
        await stage.show(group(stage.at, "b"))
        await stage.press("enter")
        assert stage.news == "silenced on this machine for 30m: laptop of env-b and laptop of env-c"
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-b"), key_of("env-c")}


async def test_of_an_incident_only_what_is_still_lost_is_silenced() -> None:
    def pair(at: float, *down: str) -> list[Environment]:
        lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW}
        return [environment(f"env-{n}", **(lost if n in down else {"lastHeartbeat": at})) for n in "abc"]

    async with staged() as stage:
        await stage.show(pair(stage.at, "a", "b"))
        await stage.press("M")
        assert "Silence laptop of env-a, laptop of env-b for" in stage.text
        await stage.press("enter")
        stage.now = 5
        await stage.show(pair(stage.at, "b"))
        await stage.press("enter")
        assert stage.news == "silenced on this machine for 30m: laptop of env-b"
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-b")}


async def test_table_and_pane_show_what_is_silenced_and_for_how_long_yet() -> None:
    async with staged(size=(160, 24)) as stage:
        stage.app.dashboard.wants_detail = False
        await stage.show(rows(stage.at))
        await lose(stage)
        assert re.search(r"^▌.* NEW  a +disconnected *$", stage.block[0])
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        await stage.tick(1)
        assert stage.block == []
        until = clock_text(NOW + stage.now * 1000 + 3_600_000, None)[:5]
        assert re.search(rf"a +⊘ .* until {until}\b", stage.body[1])
        assert "▌" not in stage.text
        await stage.press("n")
        assert stage.news == "nothing needs a person: 1 silenced"
        await stage.press("G", "enter")
        assert re.search(r"silenced +until \d\d:\d\d: new disks", stage.text)
        await stage.press("escape", "b", "p", "enter")
        assert [line for line in stage.body if "pod pod" in line] == ["▾ ⊘ pod pod-1  ● 1  ○ 1"]
        await post(stage, partial(silence_rows, [(clean(""), clean("env-b"))], 2 * HOUR, NOTE))
        assert [line for line in stage.body if "pod pod" in line] == [
            f"▾ ⊘ pod pod-1  ● 1  ○ 1  silenced until {until}"
        ]
        await stage.tick(3_600)
        await stage.show(rows(stage.at, is_lost=True))
        assert re.search(r"  a +not back by \d\d:\d\d *$", stage.block[0])
        assert re.fullmatch(r"▾ ⊘ pod pod-1  ● 1  silenced until \d\d:\d\d", stage.body[0])
        silences = stage.app.state.monitor.silences.values()
        (left,) = [each for each in silences if key_of("env-b") in each.environments]
        await post(stage, partial(end_silences, [left]))
        assert stage.body[0] == "▾ pod pod-1  ● 1"


async def test_a_silenced_row_is_the_last_of_the_table_and_a_row_that_needs_a_person_stands_above_the_table() -> None:
    async with staged() as stage:
        await stage.show(rows(stage.at))
        await lose(stage)
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        assert (stage.block, stage.names) == ([], ["laptop of env-b", "a"])
        unchanged = rows(stage.at, is_lost=True)
        stage.now += 60
        await stage.show(unchanged)
        assert (stage.block, stage.names) == ([], ["laptop of env-b", "a"]), "one is late"
        stage.now += 60
        await stage.show(unchanged)
        assert stage.names == ["a"]
        assert "laptop of env-b" in stage.block[0]


async def test_big_m_ends_the_present_hours_of_a_silence_that_recurs() -> None:
    kept: list[Mapping[SafeText, Silence | None]] = []
    hours = RecurringHours(begin=8 * 60, end=9 * 60)
    policies = recurring_policies(hours)
    async with staged(size=(80, 24), policies=policies, kept=lambda each: kept.append(each.silences)) as stage:
        await stage.show([environment("env-a", connectionName="mac-1", lastHeartbeat=stage.at)])
        stage.now += 5
        lost: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
        await stage.show([environment("env-a", connectionName="mac-1", **lost)])
        assert "1 silenced" in stage.rule
        await stage.press("M")
        assert "end  1 current silence" in stage.text
        await stage.press("enter")
        assert stage.news == "no longer silenced"
        at = stage.at
        await stage.tick(1)
        assert re.search("off +[0-9]+s NEW +mac-1 +not back by 08:53", stage.block[0])
        ((ended,),) = [[*changes.values()] for changes in kept]
        assert ended is not None
        assert (ended.ends, ended.until) == (policies[clean("")].silences[0].recurrence, at)


async def test_a_question_about_several_machines_leaves_a_line_for_the_choice_in_the_lowest_terminal() -> None:
    async with staged(size=(40, 8)) as stage:
        names = [f"machine-{number}" for number in range(12)]
        await stage.show([environment(name, connectionName=name, lastHeartbeat=stage.at) for name in names])
        await stage.press(*["space"] * 12, "M")
        box = re.findall(r"│ (.*?) +│", stage.text)
        assert " ".join(box).startswith("Silence machine-0, machine-1 and 10 more for 30m")


async def test_a_silenced_row_is_counted_by_the_rule_and_not_by_the_status_line() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(rows(stage.at))
        await lose(stage)
        assert "○ 1 off  " in stage.lines[0]
        await post(stage, partial(silence_rows, [KEY], HOUR, NOTE))
        assert "off" not in stage.lines[0]
        assert stage.rule.startswith("── 1 online · 1 silenced ──")
        await stage.show(rows(stage.at))
        assert stage.rule.startswith("── 2 online (1 silenced) ──")
        await lose(stage)
        (silence,) = stage.app.state.monitor.silences.values()
        await post(stage, partial(end_silences, [silence]))
        assert "○ 1 off  " in stage.lines[0]
        assert "silenced" not in stage.rule


async def test_a_silence_made_on_the_screen_is_of_the_server_of_the_row() -> None:
    servers = {clean("home"): clean("one.example"), clean("away"): clean("other.example")}
    async with staged(profiles=tuple(servers), servers=servers) as stage:
        for profile in servers:
            await stage.show(rows(stage.at), profile)
        await post(stage, partial(silence_rows, [(clean("home"), A)], HOUR, NOTE))
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {(clean("one.example"), A)}
        monitor, now = stage.app.state.monitor, stage.app.state.now
        silenced = {each.key for each in monitor.fleet.environments if monitor.silenced(each, now)}
        assert silenced == {(clean("home"), A)}


async def test_the_title_counts_a_loss_from_the_moment_at_which_its_silence_ends() -> None:
    async with staged(policies=soon(), user=clean("ada")) as stage:
        await stage.show(rows(stage.at))
        await post(stage, partial(silence_rows, [KEY], timedelta(seconds=60), NOTE))
        await stage.show(rows(stage.at, is_lost=True))
        assert stage.app.titles[-1].split()[0] == "●1"
        await stage.tick(59)
        assert stage.app.titles[-1].split()[0] == "●1"
        await stage.tick(1)
        assert stage.app.titles[-1].split()[0] == "○1"
