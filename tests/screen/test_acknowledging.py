"""The key `a`: the question and the note, the next open line, groups and incidents, and a team's server."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged, style_in, target_of
from support.builders import NOW, environment, failed, key_of, listed, own_device_id
from support.fake_clock import Script, World, walk
from support.policies import soon
from textual.widgets import Input

from envwatch.alerts.acknowledgements import ended_by_person
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import Poller
from envwatch.model.acks import LONGEST_NOTE, ROWS_AT_ONCE, Ack, AckedRow, AckRequest, AckResult
from envwatch.model.environment import SANDBOX_DEVICE
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, RelayInfo, SourceError
from envwatch.model.text import EMPTY, SafeText, cells, clean
from envwatch.screen.screens.command_palette import Commands
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import Prompt
from envwatch.screen.screens.row_actions import RowActions
from envwatch.watch.deciding import silence_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import FrameType

    from support.app_harness import Stage

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.model.acks import AckAnswer
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

ADA = clean("env-ada")


def named(name: str, at: float = NOW, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at - 10_000} | changes))


def lost(name: str, ago: float = 300_000, **changes: Any) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago, **changes)


def rows(at: float = NOW) -> list[Environment]:
    """Return two offline rows (`ada` more recently), a late row, and a healthy row."""
    return [lost("ada"), lost("bob", 600_000), named("cyd", lastHeartbeat=at - 60_000), named("dan", at)]


@asynccontextmanager
async def dashboard(size: tuple[int, int] = (80, 24), **wishes: Any) -> AsyncIterator[Stage]:
    async with staged(size, **wishes) as stage:
        await stage.show(rows())
        yield stage


def in_block(stage: Stage) -> list[str]:
    return [name_in(line) for line in stage.block]


def name_in(line: str) -> str:
    return line[20:].split(maxsplit=1)[0]


def signs(stage: Stage) -> dict[str, str]:
    """Return the glyph of each block line, and the sign behind each name in the table."""
    place, top = stage.titles.index("MODE") - 2, stage.lines.index(stage.titles) + 1
    rows = [line for line in stage.lines[top:-2] if re.match(r".[> ►][^ ─-] ", line)]
    return {name_in(line): line[2] for line in stage.block} | {name_in(line): line[place] for line in rows}


def go_to_group(stage: Stage) -> None:
    assert stage.table.select(stage.table.headers[0].key)


def notes(stage: Stage) -> dict[str, str]:
    return {id_.removeprefix("env-"): ack.note for (_, id_), ack in stage.app.state.monitor.acks.items()}


def nameless(acks: Mapping[ServerKey, Ack | None]) -> Mapping[ServerKey, Ack]:
    """Return acknowledgements without their uuids, which are random."""
    assert all(ack is not None and ack.uuid for ack in acks.values())
    return {key: replace(ack, uuid=EMPTY) for key, ack in acks.items() if ack is not None}


async def acknowledge(stage: Stage, note: str = "") -> None:
    await stage.press("a")
    await stage.type(note)
    await stage.press("enter")


async def test_the_key_asks_for_a_note_and_the_row_stands_marked_behind_the_open_rows() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        stage.now = 2
        await stage.tick(0)
        assert (in_block(stage), stage.names, stage.cursor) == (["ada", "bob"], ["cyd", "dan"], "ada")
        await stage.press("a", "x", "escape")
        assert isinstance(stage.app.screen, Dashboard)
        assert (kept, signs(stage)["ada"]) == ([], "○")
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert "Acknowledge on this machine: ada, until it recovers" in stage.text
        await stage.type("a, q")
        assert kept == []
        await stage.press("enter")
        assert len(stage.app.screen_stack) == 1
        assert stage.news == "acknowledged on this machine until it recovers: ada"
        assert nameless(kept[0]) == {key_of(ADA): Ack(NOW + 2_000, clean("a, q"), NOW - 300_000)}
        assert stage.app.state.monitor.acks == kept[0]
        assert (in_block(stage), stage.names) == (["bob", "ada"], ["cyd", "dan"])
        assert signs(stage) == {"ada": "✓", "bob": "○", "cyd": " ", "dan": " "}
        assert "○ 1 page  +1 off" in stage.lines[0]
        assert "1 acked" in stage.lines[0]
        stage.go_to("env-cyd")
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: cyd late, not lost; M silences a loss beforehand"
        assert "cyd" not in notes(stage)
        await stage.type("/acked:no")
        assert stage.names == ["cyd", "dan"]
        assert " 3/4 " in stage.lines[0]


@pytest.mark.parametrize(("size", "most"), [((80, 24), 200), ((120, 36), 340)])
async def test_an_enter_in_the_prompt_measures_few_texts(size: tuple[int, int], most: int) -> None:
    """The footer once measured all its keys again for each key that it dropped."""
    measured = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal measured
        measured += event == "call" and frame.f_code is cells.__code__

    async with dashboard(size) as stage:
        await stage.press("a")
        await stage.type("disk full")
        sys.setprofile(count)
        try:
            await stage.press("enter")
        finally:
            sys.setprofile(None)
        assert stage.news.endswith(": ada")
    assert measured <= most


async def test_enter_and_a_never_act_outside_of_the_filter() -> None:
    async with dashboard() as stage:
        assert stage.cursor == "ada"
        await stage.type("/bob")
        await stage.press("enter", "a")
        assert "Acknowledge on this machine: bob" in stage.text
        await stage.press("escape", "slash", "ctrl+u")
        await stage.type("zzz")
        await stage.press("enter", "enter")
        assert "nothing matches the filter" in stage.news
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: no machine under the cursor"


async def test_the_same_key_edits_the_note_or_withdraws_and_the_pane_shows_the_note() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard((120, 36), kept=lambda each: kept.append(each.acks)) as stage:
        await stage.press("a", "ctrl+r")
        assert "there is nothing to withdraw" in stage.text
        assert "^r Withdraw" not in stage.text
        await stage.press("x", "backspace")
        assert "there is nothing to withdraw" not in stage.text
        await stage.press("f5")
        assert "does nothing here: F1 has the keys" in stage.text
        await stage.type("[b]disk[/]")
        await stage.press("enter")
        stage.go_to("env-ada")
        await stage.tick(9)
        pane = [line.partition("▏")[2].strip() for line in stage.lines]
        assert "acked    just now on this machine:" in pane
        assert "[b]disk[/]" in pane
        assert stage.block[-1].rstrip().endswith("acked: [b]disk[/]")
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert stage.app.screen.query_one(Input).value == "[b]disk[/]"
        assert "ada, acknowledged already: another note?" in stage.text
        assert "^r Withdraw" in stage.lines[-1]
        await stage.press("enter")
        assert stage.news == "still acknowledged: ada"
        await stage.press("a", "x", "escape")
        assert kept[1:] == []
        await acknowledge(stage, ", mine")
        assert stage.news == "acknowledged with another note: ada"
        changed = stage.app.state.monitor.acks[key_of(ADA)]
        assert changed.note == "[b]disk[/], mine"
        assert changed.at == NOW, "as old as it was"
        await stage.press("a", "ctrl+r", "enter")
        assert stage.news == "still acknowledged: ada", "the question comes first"
        await stage.press("a", "ctrl+r")
        assert "End the acknowledgement on this machine: ada?" in stage.text
        await stage.press("e", "enter")
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.news == "no longer acknowledged: ada"
        assert stage.app.state.monitor.acks == {}
        assert kept[2:] == [{key_of(ADA): ended_by_person(changed, NOW + 9_000)}]
        assert (in_block(stage), stage.cursor) == (["ada", "bob"], "ada")
        assert "acked" not in stage.text


async def test_a_note_is_clean_and_no_longer_than_what_is_kept() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        stage.app.screen.query_one(Input).value = "  \u202eodd\x07 [red]  "
        await stage.press("enter", "a")
        stage.app.screen.query_one(Input).value = "x" * (LONGEST_NOTE - 1)
        await stage.press("x", "x", "enter")
        assert notes(stage) == {"ada": r"\u202eodd\x07 [red]", "bob": "x" * LONGEST_NOTE}


@pytest.mark.parametrize("is_edit", [False, True])
async def test_no_row_is_acknowledged_after_a_recovery_while_its_note_is_typed(*, is_edit: bool) -> None:
    async with dashboard() as stage:
        if is_edit:
            await acknowledge(stage, "x")
            stage.go_to("env-ada")
        await stage.press("a", "y")
        stage.now = 5
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        await stage.press("enter")
        assert stage.news == "recovered meanwhile: ada"
        stage.now = 65
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        assert stage.app.state.monitor.acks == {}


async def test_a_row_lost_again_while_its_note_is_typed_is_acknowledged_with_its_last_sign_of_life() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        lost_again = lost("ada", -5_000)
        for stage.now, ada in ((5, named("ada", NOW + 5_000)), (10, lost_again)):
            await stage.show([ada, *rows(stage.at)[1:]])
        await stage.press("enter")
        assert stage.app.state.monitor.acks[key_of(ADA)].sign_at == NOW + 5_000
        stage.now = 15
        await stage.show([lost_again, *rows(stage.at)[1:]])
        assert list(stage.app.state.monitor.acks) == [key_of(ADA)]


async def test_the_row_of_the_question_is_acknowledged_once_though_another_is_the_first_meanwhile() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await stage.press("a")
        stage.now = 5
        await stage.show([*rows(stage.at)[:3], named("dan", connectionId=None, lastHeartbeat=None)])
        await stage.press("enter", "enter")
        assert in_block(stage) == ["dan", "bob", "ada"]
        assert [list(changes) for changes in kept] == [[key_of(ADA)]]


async def test_an_earlier_acknowledgement_stays_until_a_recovery_is_listed_and_the_end_is_saved() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    acks = {key_of(ADA): Ack(NOW - 200_000, clean("since lunch"))}
    async with dashboard(acks=acks, kept=lambda each: kept.append(each.acks)) as stage:
        assert (in_block(stage), signs(stage)["ada"]) == (["bob", "ada"], "✓")
        for stage.now in (5, 10):
            await stage.show(rows(stage.at)[1:])
        assert list(stage.app.state.monitor.acks) == [key_of(ADA)]
        assert kept == []
        stage.now = 15
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        assert kept == []
        stage.now = 75
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        assert kept == [{key_of(ADA): None}]
        stage.now = 80
        await stage.show(rows(stage.at))
        assert (kept[1:], signs(stage)["ada"]) == ([], "○")
        assert "acked" not in stage.lines[0]


async def test_a_on_a_group_header_acknowledges_all_problems_of_the_group() -> None:
    jobs = [lost(name, deviceId=f"{SANDBOX_DEVICE}{name}") for name in ("cyd", "fay", "guy")]
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with staged(kept=lambda each: kept.append(each.acks)) as stage:
        await stage.show([*jobs, named("dan")])
        stage.go_to("env-cyd")
        await acknowledge(stage, "mine")
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        assert "✓" not in stage.body[0]
        await acknowledge(stage, "the rest")
        assert stage.news == "acknowledged on this machine until they recover: fay and guy"
        assert [sorted(changes) for changes in kept[1:]] == [[key_of("env-fay"), key_of("env-guy")]]
        assert "✓" in stage.body[0]
        await stage.press("a")
        assert "cyd, fay and guy, acknowledged already: another note?" in stage.text
        assert "another note for all; empty keeps each note" in stage.text
        await stage.press("enter")
        assert notes(stage) == {"cyd": "mine", "fay": "the rest", "guy": "the rest"}
        await acknowledge(stage, "ours")
        assert notes(stage) == dict.fromkeys(("cyd", "fay", "guy"), "ours")
        await stage.show([*jobs, lost("joe", deviceId=f"{SANDBOX_DEVICE}joe"), named("dan")])
        assert "✓" not in stage.body[0], "joe is open"
        await acknowledge(stage)
        assert stage.news == "acknowledged on this machine until it recovers: joe"
        await stage.press("a", "ctrl+r", "e", "enter")
        assert stage.news == "no longer acknowledged: cyd, fay, guy and joe"
        assert stage.app.state.monitor.acks == {}


async def test_a_says_where_nothing_is_a_problem_and_takes_the_rows_of_a_folded_group() -> None:
    async with staged() as stage:
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: no machine under the cursor"
        old = [lost(f"old-{number}", 90_000_000) for number in range(2)]
        await stage.show([named("dan"), named("eve"), *old])
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: dan, no loss"
        await stage.press("G")
        assert stage.cursor == "off for over 24 h"
        await acknowledge(stage)
        assert sorted(notes(stage)) == ["old-0", "old-1"]
        await stage.show([named("dan"), named("eve")])
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: dan and eve, no loss"


# -- incidents ---------------------------------------------------------------------------------------------------------
def web(n: int, at: float | None = None) -> Environment:
    """Return a machine of a pod; a lost machine has no last heartbeat."""
    changes = {"connectionId": None, "lastHeartbeat": None} if at is None else {"lastHeartbeat": at - 1_000}
    return named(f"web-{n}", podId="p-7", lastSeenAt=NOW, deviceId=own_device_id(f"web-{n}"), **changes)


@asynccontextmanager
async def power_cut(*others: Environment) -> AsyncIterator[Stage]:
    """The machines of a pod went off together five seconds after the first listing; `bob` was off before."""
    async with staged() as stage:
        rest = [lost("bob", 600_000), *others]
        await stage.show([web(1, stage.at), web(2, stage.at), named("dan", stage.at, podId="p-1"), *rest])
        stage.now = 5
        await stage.show([web(1), web(2), named("dan", stage.at, podId="p-1"), *rest])
        assert stage.cursor == "web-1, web-2"
        yield stage


async def test_after_an_acknowledgement_the_cursor_is_on_the_next_open_line_and_after_the_last_stays() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        stage.go_to("env-bob")
        await acknowledge(stage)
        assert stage.cursor == "eve"
        await stage.press("2")
        assert stage.cursor == "eve", "in the next view too"
        await stage.press("0")
        stage.go_to("env-eve")
        for _ in range(2):
            await acknowledge(stage)
            assert stage.cursor == "web-1, web-2"
        assert in_block(stage) == ["pod", "bob", "eve"]
        await stage.press("n")
        assert stage.news == "nothing pages: 4 acknowledged"


async def test_members_of_an_unfolded_incident_are_acknowledged_one_by_one() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        await stage.press("x", "j")
        assert stage.cursor == "web-1"
        await acknowledge(stage, "psu")
        assert stage.cursor == "web-2"
        assert in_block(stage) == ["web-2", "bob", "eve", "web-1"], "no note joins an open loss"
        assert stage.block[-1].rstrip().endswith("acked: psu")
        await acknowledge(stage)
        assert in_block(stage) == ["bob", "eve", "web-1", "web-2"]
        assert stage.cursor == "bob"
        for keys in (("x", "enter"), ("ctrl+r", "e", "enter")):
            stage.go_to("env-web-1")
            await stage.press("a", *keys)
            assert stage.cursor == "web-1", "a change leaves the cursor"
        stage.go_to("env-bob")
        await stage.press("space")
        stage.go_to("env-web-1")
        await acknowledge(stage, "marked")
        assert notes(stage) == {"web-2": "", "bob": "marked"}
        assert stage.cursor == "web-1", "rows elsewhere were acknowledged"


async def test_the_note_of_an_unfolded_incident_stands_once_and_other_notes_next_to_their_members() -> None:
    async with power_cut() as stage:
        await stage.press("x")
        await acknowledge(stage, "psu")
        assert in_block(stage) == ["bob", "pod", "web-1", "web-2"]
        assert stage.text.count("psu") == 2, "line and answer"
        stage.go_to("env-web-1")
        await stage.press("a")
        await stage.type(" two")
        await stage.press("enter")
        notes = [line.rstrip().partition("acked: ")[2] for line in stage.block]
        assert notes == ["", "psu two, psu", "psu two", "psu"]


async def test_a_on_an_incident_acknowledges_all_members_and_the_line_is_dim_and_last() -> None:
    async with power_cut() as stage:
        await stage.press("a")
        assert "Acknowledge on this machine: pod p-7: web-1, web-2, until they" in stage.text
        assert style_in(stage.line_of(" 2 off "), "web-1").bold
        await stage.type("psu")
        await stage.press("enter")
        assert notes(stage) == {"web-1": "psu", "web-2": "psu"}
        first, last = stage.block
        assert re.fullmatch(r"▌►○ off +10m NEW  bob +disconnected *", first)
        assert re.fullmatch(r"  ✓ 2 off +0s      pod p-7: web-1, web-2 +acked: psu *", last)
        faint = style_in(stage.line_of("── 1 on"), "on").color
        for text in ("✓ 2 off", "web-1", "acked: psu"):
            style = style_in(stage.line_of("web-1"), text)
            assert (style.color, bool(style.bold)) == (faint, False), text
        bob = style_in(stage.line_of("bob"), "bob")
        assert (bob.color != faint, bob.bold) == (True, True)


async def test_n_goes_to_the_line_about_envwatch_and_a_acknowledges_the_blindness() -> None:
    async with dashboard() as stage:
        await stage.take(failed(at=stage.at))
        await stage.tick(100)
        await stage.tick(900)
        assert stage.block[0].startswith(" ►? envwatch 16m"), stage.block
        assert "  1 envwatch  " in stage.lines[0]
        await stage.press("j", "n", "space", "E", "enter", "a")
        assert "Acknowledge on this machine: envwatch is blind: " in stage.text
        await stage.type("on it")
        await stage.press("enter")
        assert stage.app.state.monitor.acks[EMPTY, EMPTY].note == "on it"
        assert "✓ envwatch" in stage.block[-1]
        assert "1 envwatch" not in stage.lines[0]


async def test_the_acknowledgement_of_a_blindness_takes_another_note_and_ends_only_after_a_question() -> None:
    async with dashboard() as stage:
        await stage.take(failed(at=stage.at))
        await stage.tick(100)
        await stage.tick(900)
        (key,) = (line.key for line in stage.app.state.block.lines if line.subject)
        await stage.press("g", "a")
        await stage.type("on it")
        await stage.press("enter")
        stage.table.select(key)
        await stage.press("a")
        await stage.type(", ann")
        await stage.press("enter")
        assert stage.app.state.monitor.acks[EMPTY, EMPTY].note == "on it, ann"
        await stage.press("a", "ctrl+r", "enter")
        assert stage.news.startswith("still acknowledged: envwatch is blind: ")
        await stage.press("a", "ctrl+r", "e", "enter")
        assert stage.news.startswith("no longer acknowledged: envwatch is blind: ")
        await stage.tick(1)
        assert not stage.app.state.monitor.acks
        assert "  1 envwatch  " in stage.lines[0]
        assert ", acknowledgement e" in stage.block[0]
        await stage.press("e")
        assert re.search(r"envwatch +acknowledged here: on it", stage.text)
        assert re.search(r"envwatch +no longer acknowledged", stage.text)


async def test_silencing_an_incident_takes_its_line_away_and_its_rows_stand_grey_in_the_table() -> None:
    async with power_cut() as stage:
        await stage.press("M")
        assert "Silence on this machine: pod p-7: web-1, web-2" in stage.text
        await stage.press("enter", "enter")
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-web-1"), key_of("env-web-2")}
        assert (in_block(stage), stage.cursor) == (["bob"], "bob")
        assert stage.names == ["dan", "web-1", "web-2"]
        assert stage.rule.startswith("── 1 on · 2 silenced ──")
        colours = {style_in(stage.line_of("bob"), text).color for text in ("bob", "off")}
        for name in ("web-1", "web-2"):
            grey = style_in(stage.line_of(f"{name} "), name)
            assert grey.color == style_in(stage.line_of(f"{name} "), "off").color, name
            assert not grey.bold, name
            assert grey.color not in colours, name


# -- servers -----------------------------------------------------------------------------------------------------------
ONE, OTHER = clean("one.example"), clean("other.example")
HOME, WORK, AWAY = clean("home"), clean("work"), clean("away")
SERVERS = {HOME: ONE, WORK: ONE, AWAY: OTHER}
"""Two profiles of one server, and a profile of another server."""


async def test_a_row_is_acknowledged_and_silenced_under_every_profile_of_its_server_and_on_no_other() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with staged(
        (120, 24), profiles=tuple(SERVERS), servers=SERVERS, kept=lambda each: kept.append(each.acks)
    ) as stage:
        for profile in SERVERS:
            await stage.show([lost("ada"), named("bob")], profile)
        stage.app.dashboard.select((HOME, ADA))
        await acknowledge(stage, "disk")
        assert [list(changes) for changes in kept] == [[(ONE, ADA)]]
        monitor, now = stage.app.state.monitor, stage.app.state.now
        alerting = {row.profile for row in monitor.fleet.environments if monitor.judge(now).is_alerting(row)}
        marked = {name for name in SERVERS for line in stage.block if f"{name} ada" in line and "✓" in line}
        assert (alerting, marked) == ({AWAY}, {HOME, WORK})
        act = partial(silence_rows, [(AWAY, ADA)], timedelta(hours=1), clean("disk"))
        stage.app.dashboard.post_message(RowActions.Decided(act))
        await stage.tick(0)
        monitor, now = stage.app.state.monitor, stage.app.state.now
        assert {row.key for row in monitor.fleet.environments if monitor.judge(now).silenced(row)} == {(AWAY, ADA)}


UUID = "3e4d8dc4-6bf7-4d25-929f-0828ac746c6b"


@dataclass
class Server:
    """The server's side of a team, which answers when told."""

    results: dict[str, AckedRow] = field(default_factory=dict)
    error: Cause | None = None
    requests: list[AckRequest] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    may_ack: bool = True
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def acknowledge(self, _uuid: SafeText, request: AckRequest) -> AckAnswer:
        self.requests.append(request)
        await self._wait()
        return [self.results.get(each.id, AckedRow(each.id, AckResult.ACKED)) for each in request.losses]

    async def end(self, uuid: SafeText) -> None:
        self.ended.append(uuid)
        await self._wait()

    async def change_note(self, uuid: SafeText, note: SafeText) -> None:
        self.notes.append((uuid, note))
        await self._wait()

    async def _wait(self) -> None:
        await self.may_answer.wait()
        if self.error is not None:
            raise SourceError(Failure(self.error, clean("watch:8283 says no")))


def served(stage: Stage, *rows: Environment) -> Listed:
    outcome = listed(rows, stage.at)
    return outcome._replace(snapshot=outcome.snapshot._replace(served=RelayInfo(0.0, is_envwatch=True)))


def off_at(name: str, at: float, **changes: Any) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=at - 300_000, **changes)


@asynccontextmanager
async def viewer(server: Server | None, **options: Any) -> AsyncIterator[Stage]:
    """A viewer with two rows off and one on; the cursor is on the block's first line."""
    target = target_of(Poller(Script(World(), walk()), Limits()), "work")._replace(
        host="watch:8283", find_team=lambda: server
    )
    async with staged(targets={NO_PROFILE: target}, **options) as stage:
        await stage.take(served(stage, *(named(name, stage.at) for name in "abc")))
        stage.now += 5
        await stage.take(served(stage, off_at("a", stage.at), off_at("b", stage.at), named("c", stage.at)))
        await stage.press("home")
        yield stage


def message(stage: Stage) -> str:
    return stage.text.replace("\n", " ")


async def test_the_line_waits_for_the_servers_answer_and_still_counts() -> None:
    server = Server()
    server.may_answer.clear()
    async with viewer(server) as stage:
        await stage.press("a")
        assert "for the team: a, b, until they recover" in stage.text
        await stage.type("disk")
        await stage.press("enter")
        assert "ack… · " in stage.text
        assert "2 off" in stage.lines[1]
        (request,) = server.requests
        assert ([loss.id for loss in request.losses], request.note, request.for_s) == (["env-a", "env-b"], "disk", None)
        assert all(loss.sign_at == stage.at - 300_000 for loss in request.losses)
        server.may_answer.set()
        await stage.turns()
        assert "ack…" not in stage.text
        assert "acknowledged for the team until they recover: a and b" in message(stage)
        assert (stage.app.state.monitor.acks, stage.app.state.acking) == ({}, frozenset())


async def test_a_mass_outage_goes_in_several_requests() -> None:
    server = Server()
    async with viewer(server) as stage:
        names = [f"m{number}" for number in range(2 * ROWS_AT_ONCE + 1)]
        await stage.take(served(stage, *(named(name, stage.at) for name in names)))
        stage.now += 5
        await stage.take(served(stage, *(off_at(name, stage.at) for name in names)))
        await stage.press("home", "a", "enter")
        rest, *whole = sorted(len(request.losses) for request in server.requests)
        assert (0 < rest < ROWS_AT_ONCE, whole) == (True, [ROWS_AT_ONCE, ROWS_AT_ONCE])
        assert message(stage).count("acknowledged for the team") == 1


async def test_each_row_has_its_answer_and_a_refused_row_is_acknowledged_nowhere() -> None:
    server = Server(results={"env-b": AckedRow(clean("env-b"), AckResult.ALREADY, clean("ann"))})
    async with viewer(server) as stage:
        await stage.press("a", "enter")
        assert "acknowledged for the team until it recovers: a; already acknowledged by ann: b" in message(stage)
        server.results["env-a"] = AckedRow(clean("env-a"), AckResult.ACKED, still_pages=clean("top:1"))
        await stage.press("a", "enter")
        assert "acknowledged only below top:1 until it recovers: a; top:1 still pages; already" in message(stage)
        for server.error in (Cause.TIMEOUT, Cause.FORBIDDEN, Cause.UNREACHABLE):
            await stage.press("a", "enter")
            assert "not acknowledged: watch:8283 says no" in message(stage), server.error
            assert stage.app.state.monitor.acks == {}
            assert "ack…" not in stage.text


async def test_with_another_server_this_machine_acknowledges() -> None:
    async with viewer(None) as stage:
        await stage.press("a")
        assert "Acknowledge on this machine: a, b" in stage.text
        await stage.press("enter")
        assert len(stage.app.state.monitor.acks) == 2


async def test_a_key_chooses_how_long() -> None:
    server = Server()
    async with viewer(server) as stage:
        for tabs, seconds, words in ((1, 1_800, "for 30m"), (8, 604_800, "for 7d"), (9, None, "until")):
            await stage.press("a", *["tab"] * tabs)
            assert f"for the team: a, b, {words}" in stage.text
            await stage.press("enter")
            assert server.requests[-1].for_s == seconds, tabs


async def test_a_row_of_this_machines_expect_is_acknowledged_here() -> None:
    server = Server()
    async with viewer(server, policies=soon(expect=(clean("ghost"),))) as stage:
        await stage.press("a")
        assert "for the team and on this machine: a, b, ghost, until" in message(stage)
        await stage.press("enter")
        assert [loss.id for request in server.requests for loss in request.losses] == ["env-a", "env-b"]
        assert len(stage.app.state.monitor.acks) == 1


@pytest.mark.parametrize("moves", [False, True])
async def test_the_cursor_passes_on_once_the_listing_shows_the_acknowledgement_unless_the_cursor_moved(
    *, moves: bool
) -> None:
    """In between the cursor is on the row, so a second key asks about the same row."""
    async with viewer(Server()) as stage:
        off = [off_at("a", stage.at), off_at("d", stage.at - 900_000), off_at("e", stage.at - 1_800_000)]
        await stage.take(served(stage, *off))
        stage.go_to("env-d")
        await stage.press("a", "enter")
        assert stage.cursor == "d"
        if moves:
            await stage.press("up", "down")
        await stage.tick(5)
        mark = {"envwatch": {"ack": {"by": "ann", "at": stage.at, "note": "", "uuid": UUID}}}
        await stage.take(served(stage, off[0], off_at("d", stage.at - 905_000, **mark), off[2]))
        assert stage.cursor == ("d" if moves else "e")


async def test_anybody_may_end_an_acknowledgement_of_the_team() -> None:
    server = Server()
    async with viewer(server) as stage:
        mark = {"envwatch": {"ack": {"by": "ann", "at": stage.at, "note": "disk", "uuid": UUID}}}
        await stage.take(served(stage, *(off_at(name, stage.at - 5_000, **mark) for name in ("a", "b"))))
        await stage.press("home")
        for keys, ended in ((("enter",), []), (("e", "enter"), [UUID])):
            await stage.press("a")
            assert "acknowledged by ann: another note?" in stage.text
            await stage.press("ctrl+r")
            assert "for the whole team: a, b?" in stage.text
            await stage.press(*keys)
            assert server.ended == ended
            assert ("no longer acknowledged" in message(stage)) is bool(ended)


async def test_a_token_without_the_right_is_offered_no_acknowledgement_and_no_end() -> None:
    server = Server(may_ack=False)
    async with viewer(server) as stage:
        mark = {"envwatch": {"ack": {"by": "ann", "at": stage.at, "note": "disk", "uuid": UUID}}}
        await stage.take(served(stage, off_at("a", stage.at - 5_000, **mark), off_at("b", stage.at - 5_000)))
        for id_ in ("env-a", "env-b"):
            stage.go_to(id_)
            await stage.press("a")
            assert isinstance(stage.app.screen, Dashboard)
            assert "your token only reads: ask for the right `ack` at the serving host" in message(stage)
        assert (server.requests, server.ended, server.notes) == ([], [], [])


@pytest.mark.parametrize("may_ack", [True, False])
async def test_footer_palette_and_log_offer_the_key_to_a_token_with_the_right_only(*, may_ack: bool) -> None:
    async with viewer(Server(may_ack=may_ack)) as stage:
        assert ("a Ack" in stage.text) is may_ack
        offered = {hit.text async for hit in Commands(stage.app.screen).discover()}
        assert ("Acknowledge a loss, or change the note" in offered) is may_ack
        await stage.press("e")
        assert ("a Acknowledge" in stage.text) is may_ack


async def test_a_note_on_the_teams_acknowledgement_is_a_note_whatever_its_first_letter() -> None:
    server = Server()
    async with viewer(server) as stage:
        mark = {"envwatch": {"ack": {"by": "ann", "at": stage.at, "note": "disk", "uuid": UUID}}}
        await stage.take(served(stage, *(off_at(name, stage.at - 5_000, **mark) for name in ("a", "b"))))
        await stage.press("home", "a")
        await stage.type("eta 10 min")
        await stage.press("enter")
        assert (server.notes, server.ended) == ([(UUID, "eta 10 min")], [])
        await stage.press("a", "end")
        await stage.type(", eta 5 min")
        await stage.press("enter")
        assert server.notes[1:] == [(UUID, "disk, eta 5 min")]
        assert "acknowledged with another note for the team" in message(stage)
