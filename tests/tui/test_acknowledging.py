"""The acknowledging key: asks for a note; the problem is no news until recovery."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.budget import first_quick
from support.builders import NOW, environment, key_of, own_device_id
from textual.widgets import Input

from envwatch.fleet.alerting.acknowledgements import ended_by_person
from envwatch.model.acks import LONGEST_NOTE, Ack
from envwatch.model.text import EMPTY, clean
from envwatch.model.times import TimeStyle
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import Prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rich.style import Style
    from support.app_harness import Stage

    from envwatch.fleet.alerting.acknowledgements import ServerKey
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText

ADA = clean("env-ada")


def named(name: str, at: float = NOW, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at - 10_000} | changes))


def lost(name: str, ago: float = 300_000, **changes: Any) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago, **changes)


def rows(at: float = NOW) -> list[Environment]:
    """Return two offline rows (`ada` more recently), a late row, and a healthy row."""
    return [lost("ada"), lost("bob", 600_000), named("cyd", lastHeartbeat=at - 60_000), named("dan", at)]


def late_rows() -> list[Environment]:
    """Return three late rows, which are in the table, and a healthy row."""
    return [*(named(name, lastHeartbeat=NOW - 60_000) for name in ("cyd", "fay", "guy")), named("dan")]


@asynccontextmanager
async def late(**wishes: Any) -> AsyncIterator[Stage]:
    async with staged(**wishes) as stage:
        await stage.show(late_rows())
        yield stage


@asynccontextmanager
async def dashboard(size: tuple[int, int] = (80, 24), **wishes: Any) -> AsyncIterator[Stage]:
    async with staged(size, **wishes) as stage:
        await stage.show(rows())
        yield stage


def in_block(stage: Stage) -> list[str]:
    return [name_in(line) for line in stage.block]


def name_in(line: str) -> str:
    return line[20:].split(maxsplit=1)[0]


def glyphs(stage: Stage) -> dict[str, str]:
    """Return the glyph of each block line, and the sign behind each name in the table."""
    place, top = stage.titles.index("MODE") - 2, stage.lines.index(stage.titles) + 1
    rows = [line for line in stage.lines[top:-2] if re.match(r".[> ►][^ ─-] ", line)]
    return {name_in(line): line[2] for line in stage.block} | {name_in(line): line[place] for line in rows}


def go_to_group(stage: Stage) -> None:
    assert stage.table.select(stage.table.headers[0].key)


def notes(stage: Stage) -> dict[str, str]:
    return {id_.removeprefix("env-"): ack.note for (_, id_), ack in stage.app.state.monitor.acks.items()}


def ack_in(changes: Mapping[ServerKey, Ack | None]) -> Ack:
    ack = changes[key_of(ADA)]
    assert ack is not None
    return ack


def nameless(acks: Mapping[ServerKey, Ack | None]) -> Mapping[ServerKey, Ack]:
    """Return acknowledgements without their uuids, which are random."""
    assert all(ack is not None and ack.uuid for ack in acks.values())
    return {key: replace(ack, uuid=EMPTY) for key, ack in acks.items() if ack is not None}


async def acknowledge(stage: Stage, note: str = "") -> None:
    await stage.press("a")
    await stage.type(note)
    await stage.press("enter")


async def test_the_key_asks_and_keeps_the_note() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        stage.now = 2
        await stage.tick(0)
        assert stage.cursor == "ada"
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert "Acknowledge ada on this machine, until it recovers" in stage.text
        await stage.type("disk full, q and a know")
        assert isinstance(stage.app.screen, Prompt)
        assert kept == []
        await stage.press("enter")
        assert len(stage.app.screen_stack) == 1
        assert stage.news == "acknowledged on this machine until it recovers: ada"
        assert nameless(kept[0]) == {key_of(ADA): Ack(NOW + 2_000, clean("disk full, q and a know"), NOW - 300_000)}
        assert stage.app.state.monitor.acks == kept[0]


async def test_what_recovers_while_the_note_is_typed_is_not_acknowledged() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        assert stage.cursor == "ada"
        await stage.press("a")
        stage.now = 5
        await stage.show([environment(row.id, connectionName=row.name, lastHeartbeat=stage.at) for row in rows()])
        await stage.press("enter")
        assert stage.news == "recovered meanwhile: ada"
        assert kept == []
        assert stage.app.state.monitor.acks == {}


async def test_what_was_up_and_is_lost_again_while_the_note_is_typed_is_acknowledged_as_it_is_then() -> None:
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


async def test_a_note_may_be_empty() -> None:
    async with dashboard() as stage:
        await acknowledge(stage)
        assert nameless(stage.app.state.monitor.acks) == {key_of(ADA): Ack(NOW, clean(""), NOW - 300_000)}


async def test_a_note_is_cleaned_before_anything_keeps_it() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        stage.app.screen.query_one(Input).value = "  \u202eodd\x07 [red]  "
        await stage.press("enter")
        assert stage.app.state.monitor.acks[key_of(ADA)].note == r"\u202eodd\x07 [red]"


async def test_no_more_is_typed_than_is_kept() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        stage.app.screen.query_one(Input).value = "x" * (LONGEST_NOTE - 1)
        await stage.press("x", "x", "enter")
        assert stage.app.state.monitor.acks[key_of(ADA)].note == "x" * LONGEST_NOTE


async def test_a_key_that_types_nothing_and_means_nothing_says_so() -> None:
    async with dashboard() as stage:
        await stage.press("a", "f5")
        assert "does nothing here: F1 has the keys" in stage.text
        await stage.press("x")
        assert "does nothing here" not in stage.text


async def test_a_loss_that_is_acknowledged_before_its_message_is_due_sends_none() -> None:
    async with staged() as stage:
        await stage.show([named("ada", stage.at), named("bob", stage.at)])
        stage.now = 5
        await stage.show([lost("ada"), named("bob", stage.at)])
        await acknowledge(stage)
        said = "acknowledged on this machine until it recovers: ada; no message will be sent from here"
        assert said in " ".join(stage.text.split())
        await stage.tick(200)
        assert stage.app.state.monitor.incidents.open == ()


async def test_escape_acknowledges_nothing() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await stage.press("a", "x", "escape")
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.app.state.monitor.acks == {}
        assert kept == []
        assert glyphs(stage)["ada"] == "○"


async def test_the_same_key_opens_the_note_again_and_enter_keeps_it() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await acknowledge(stage, "disk full")
        stage.go_to("env-ada")
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert stage.app.screen.query_one(Input).value == "disk full"
        assert "ada, acknowledged already: another note?" in stage.text
        assert "^r Withdraw" in stage.lines[-1]
        await stage.press("enter")
        assert stage.news == "still acknowledged: ada"
        await stage.press("a", "escape")
        assert kept[1:] == []
        assert nameless(stage.app.state.monitor.acks) == {key_of(ADA): Ack(NOW, clean("disk full"), NOW - 300_000)}


@pytest.mark.parametrize(
    ("typed", "note"), [(", mine", "disk full, mine"), pytest.param(None, "", marks=pytest.mark.slow)]
)
async def test_the_note_can_be_edited_and_the_acknowledgement_is_as_old_as_it_was(typed: str | None, note: str) -> None:
    async with dashboard() as stage:
        await acknowledge(stage, "disk full")
        stage.go_to("env-ada")
        await stage.tick(9)
        await stage.press("a")
        if typed is None:
            stage.app.screen.query_one(Input).value = ""
        else:
            await stage.type(typed)
        await stage.press("enter")
        assert stage.news == "acknowledged with another note: ada"
        assert nameless(stage.app.state.monitor.acks) == {key_of(ADA): Ack(NOW, clean(note), NOW - 300_000)}


async def test_it_is_withdrawn_by_a_key_of_its_own() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await acknowledge(stage, "x")
        assert in_block(stage) == ["bob", "ada"]
        stage.go_to("env-ada")
        await stage.press("a", "ctrl+r")
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.news == "no longer acknowledged: ada"
        assert stage.app.state.monitor.acks == {}
        assert [changes[key_of(ADA)] for changes in kept[1:]] == [ended_by_person(ack_in(kept[0]), NOW)]
        assert in_block(stage) == ["ada", "bob"]
        assert stage.cursor == "ada"


async def test_where_nothing_is_acknowledged_nothing_can_be_withdrawn() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        assert "Withdraw" not in stage.text
        await stage.press("ctrl+r")
        assert isinstance(stage.app.screen, Prompt)
        assert "there is nothing to withdraw" in stage.text
        await stage.press("x")
        assert "there is nothing to withdraw" not in stage.text


async def test_what_recovers_while_its_note_is_edited_is_not_acknowledged_again() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await acknowledge(stage, "x")
        stage.go_to("env-ada")
        await stage.press("a", "y")
        stage.now = 5
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        await stage.press("enter")
        assert stage.news == "recovered meanwhile: ada"
        assert stage.app.state.monitor.acks == {}


async def test_environments_of_a_group_keep_their_own_notes_unless_one_is_typed() -> None:
    async with late() as stage:
        stage.go_to("env-cyd")
        await acknowledge(stage, "mine")
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        await acknowledge(stage, "the rest")
        before = stage.app.state.monitor.acks
        assert len(before) == 3
        await stage.press("a")
        assert "cyd, fay and guy, acknowledged already: another note?" in stage.text
        assert "another note for all; empty keeps each note" in stage.text
        await stage.press("enter")
        assert stage.app.state.monitor.acks == before
        await acknowledge(stage, "ours")
        assert {ack.note for ack in stage.app.state.monitor.acks.values()} == {"ours"}


@pytest.mark.parametrize("keys", first_quick([("X",), ()]))
async def test_a_group_header_is_marked_once_all_problems_of_its_group_are_acknowledged(keys: tuple[str, ...]) -> None:
    async with late() as stage:
        await stage.press("b", "p", "enter", *keys)
        go_to_group(stage)
        assert "✓" not in stage.body[0]
        await acknowledge(stage)
        assert "✓" in stage.body[0]
        await stage.show([*late_rows(), named("joe", lastHeartbeat=NOW - 60_000)])
        assert "✓" not in stage.body[0]


@pytest.mark.parametrize(
    ("query", "names", "matches"),
    [("!status:acked", ["dan"], (3, 2)), pytest.param("status:acknowledged", ["cyd"], (1, 2), marks=pytest.mark.slow)],
)
async def test_a_filter_knows_what_is_acknowledged_as_soon_as_it_is(
    query: str, names: list[str], matches: tuple[int, int]
) -> None:
    async with dashboard() as stage:
        for name, count in zip(("cyd", "ada"), matches, strict=True):
            await stage.press("0")
            stage.go_to(f"env-{name}")
            await acknowledge(stage)
            await stage.type(f"/{query}")
            await stage.press("enter")
            assert stage.names == names, "the block is not filtered"
            assert f" {count}/4 " in stage.lines[0]


async def test_the_log_can_be_filtered_by_acknowledgement() -> None:
    async with dashboard() as stage:
        await acknowledge(stage)
        stage.now = 5
        await stage.show(
            [
                lost("ada", currentMode="plan"),
                lost("bob", 600_000, currentMode="plan"),
                named("cyd", stage.at - 50_000, currentMode="plan"),
            ]
        )
        await stage.press("e")
        await stage.type("/status:acknowledged")
        assert " FILTER 2/4\n" in stage.text


async def test_what_is_acknowledged_stands_behind_what_is_not_and_has_its_mark_and_its_count() -> None:
    async with dashboard() as stage:
        assert (in_block(stage), stage.names) == (["ada", "bob"], ["cyd", "dan"])
        assert "acked" not in stage.lines[0]
        await acknowledge(stage)
        assert (in_block(stage), stage.names) == (["bob", "ada"], ["cyd", "dan"])
        assert glyphs(stage) == {"ada": "✓", "bob": "○", "cyd": " ", "dan": " "}
        assert "1 acked" in stage.lines[0]
        assert "○ 2 off" in stage.lines[0]
        await acknowledge(stage)
        assert in_block(stage) == ["ada", "bob"]
        assert "2 acked" in stage.lines[0]
        stage.go_to("env-cyd")
        await acknowledge(stage)
        assert glyphs(stage) == {"ada": "✓", "bob": "✓", "cyd": "✓", "dan": " "}
        assert "2 acked" in stage.lines[0], "the header counts what is off"


async def test_in_ascii_the_mark_is_a_letter() -> None:
    async with dashboard(ascii_only=True) as stage:
        await acknowledge(stage)
        assert glyphs(stage)["ada"] == "a"
        assert "✓" not in stage.text


async def test_n_skips_acknowledged_problems() -> None:
    async with staged() as stage:
        await stage.show([*rows(), lost("eve", 900_000), lost("fay", 1_200_000)])
        assert in_block(stage) == ["ada", "bob", "eve", "fay"]
        stage.go_to("env-bob")
        await acknowledge(stage)
        stage.go_to("env-ada")
        visited = []
        for _ in range(4):
            await stage.press("n")
            visited.append(stage.cursor)
        assert visited == ["fay", "ada", "eve", "fay"], "the cursor stood on eve after the acknowledgement"
        await stage.press("N")
        assert stage.cursor == "eve"
        for name in ("ada", "eve"):
            stage.go_to(f"env-{name}")
            await acknowledge(stage)
        assert stage.cursor == "fay"
        await stage.press("n")
        assert stage.news == "this is the only line that needs a person"
        await acknowledge(stage)
        await stage.press("n")
        assert stage.news == "nothing needs a person: 4 acknowledged"
        assert stage.cursor == "fay"


@pytest.mark.parametrize(
    ("keys", "cursor", "opened", "answer"),
    [
        ("/cyd", "cyd", "cyd", "Acknowledge cyd on this machine"),
        ("/dan", "dan", "dan", "nothing to acknowledge: dan, no problem"),
        ("/bob", "bob", "bob", "Acknowledge bob on this machine"),
        ("/zzz", None, "nothing matches the filter", "nothing to acknowledge: no environment under the cursor"),
        ("/mode:strict", None, "nothing matches the filter", "nothing to acknowledge: no environment under the cursor"),
    ],
)
async def test_enter_and_a_never_act_outside_of_the_filter(
    keys: str, cursor: str | None, opened: str, answer: str
) -> None:
    async with dashboard() as stage:
        assert stage.cursor == "ada"
        await stage.type(keys)
        assert stage.cursor == cursor
        await stage.press("enter", "enter")
        assert opened in (stage.lines[4] if cursor else stage.news)
        await stage.press(*(["escape"] if cursor else []), "a")
        assert answer in stage.text


async def test_a_view_key_moves_the_cursor_to_its_first_row_and_the_wider_view_moves_it_back() -> None:
    async with dashboard() as stage:
        await stage.press("j")
        for key, cursor in {"3": "cyd", "4": "bob", "2": "cyd", "1": "bob", "5": None, "0": "ada"}.items():
            await stage.press(key)
            assert stage.cursor == cursor, key


async def test_a_on_a_group_header_acknowledges_all_problems_of_the_group() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with late(kept=lambda each: kept.append(each.acks)) as stage:
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        await stage.press("a")
        assert "Acknowledge cyd, fay and guy on this machine, until they recover" in stage.text
        await stage.type("moving")
        await stage.press("enter")
        assert stage.news == "acknowledged on this machine until they recover: cyd, fay and guy"
        assert [sorted(changes) for changes in kept] == [[key_of(f"env-{name}") for name in ("cyd", "fay", "guy")]]
        assert {ack.note for ack in stage.app.state.monitor.acks.values()} == {"moving"}
        await stage.press("a", "ctrl+r")
        assert stage.news == "no longer acknowledged: cyd, fay and guy"
        assert stage.app.state.monitor.acks == {}


async def test_a_on_a_group_header_acknowledges_folded_problems_too() -> None:
    async with staged() as stage:
        await stage.show([named("dan"), lost("old-1", 90_000_000), lost("old-2", 90_000_000)])
        await stage.press("G")
        assert stage.cursor == "offline for over 24 h"
        await acknowledge(stage)
        assert sorted(stage.app.state.monitor.acks) == [key_of("env-old-1"), key_of("env-old-2")]


async def test_a_group_with_a_new_problem_is_acknowledged_and_keeps_the_older_note() -> None:
    async with late() as stage:
        stage.go_to("env-cyd")
        await acknowledge(stage, "mine")
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        await acknowledge(stage, "the rest")
        assert notes(stage) == {"cyd": "mine", "fay": "the rest", "guy": "the rest"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([named("dan")], "nothing to acknowledge: dan, no problem"),
        ([], "nothing to acknowledge: no environment under the cursor"),
    ],
)
async def test_nothing_to_acknowledge_says_so(row: list[Environment], message: str) -> None:
    async with staged() as stage:
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: no environment under the cursor"
        await stage.show(row)
        await stage.press("a")
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.news == message


async def test_a_row_of_the_block_that_has_been_gone_for_long_can_be_acknowledged() -> None:
    async with staged() as stage:
        for minutes in (0, 1, 2, 20):
            stage.now = minutes * 60
            left = [named("ada", stage.at)] if not minutes else []
            await stage.show([*left, *(named(name, stage.at) for name in ("bob", "cyd", "dan", "eve", "fay"))])
        assert "ada" in stage.lines[1]
        await acknowledge(stage, "sold")
        assert stage.news.startswith("acknowledged on this machine")
        assert "1 gone" in stage.lines[1]


async def test_a_group_without_problems_says_so() -> None:
    async with staged() as stage:
        await stage.show([named("dan"), named("eve")])
        await stage.press("b", "p", "enter")
        go_to_group(stage)
        await stage.press("a")
        assert stage.news == "nothing to acknowledge: dan and eve, no problem"


async def test_the_pane_shows_the_acknowledgement_and_its_note() -> None:
    async with dashboard((120, 30)) as stage:
        await acknowledge(stage, "[b]disk[/] full")
        stage.go_to("env-ada")
        await stage.turns()
        pane = [line.partition("▏")[2].strip() for line in stage.lines]
        assert "acked    just now on this machine:" in pane
        assert "[b]disk[/] full" in pane
        assert stage.block[-1].rstrip().endswith("acked: [b]disk[/] full")
        await stage.press("a", "ctrl+r")
        assert "acked" not in stage.text


async def test_a_recovery_ends_the_acknowledgement_and_reports_it_for_saving() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await acknowledge(stage, "x")
        stage.now = 5
        await stage.show(rows(stage.at))
        assert kept[1:] == []
        stage.now = 10
        await stage.show([named("ada", stage.at), *rows(stage.at)[1:]])
        assert kept[1:] == [{key_of(ADA): None}]
        assert stage.app.state.monitor.acks == {}
        assert "acked" not in stage.lines[0]
        stage.now = 15
        await stage.show(rows(stage.at))
        assert kept[2:] == []
        assert glyphs(stage)["ada"] == "○"


async def test_an_environment_missing_from_a_listing_stays_acknowledged() -> None:
    async with dashboard() as stage:
        await acknowledge(stage, "x")
        for stage.now in (5, 10):
            await stage.show(rows(stage.at)[1:])
        assert list(stage.app.state.monitor.acks) == [key_of(ADA)]


async def test_what_was_acknowledged_before_is_taken_up() -> None:
    async with dashboard(acks={key_of(ADA): Ack(NOW - 200_000, clean("since lunch"))}) as stage:
        assert in_block(stage) == ["bob", "ada"]
        assert glyphs(stage)["ada"] == "✓"


async def test_the_row_under_the_cursor_is_acknowledged_though_another_became_the_first_meanwhile() -> None:
    async with dashboard() as stage:
        await stage.press("a")
        stage.now = 5
        await stage.show([*rows(stage.at)[:3], named("dan", connectionId=None, lastHeartbeat=None)])
        await stage.press("enter")
        assert in_block(stage) == ["dan", "bob", "ada"]
        assert list(stage.app.state.monitor.acks) == [key_of(ADA)]
        assert stage.cursor == "bob"


async def test_a_key_that_comes_with_the_enter_acknowledges_once() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard(kept=lambda each: kept.append(each.acks)) as stage:
        await stage.press("a")
        await stage.press("enter", "enter")
        assert len(kept) == 1


# Incidents.


def web(n: int, at: float | None = None) -> Environment:
    """Return a machine of a pod; a lost machine has no last heartbeat."""
    changes = {"connectionId": None, "lastHeartbeat": None} if at is None else {"lastHeartbeat": at - 1_000}
    return named(f"web-{n}", podId="p-7", lastSeenAt=NOW, deviceId=own_device_id(f"web-{n}"), **changes)


@asynccontextmanager
async def power_cut(*others: Environment, **wishes: Any) -> AsyncIterator[Stage]:
    """The machines of a pod went off together five seconds after the first listing; `bob` was off before."""
    async with staged(**wishes) as stage:
        rest = [lost("bob", 600_000), *others]
        await stage.show([web(1, stage.at), web(2, stage.at), named("dan", stage.at, podId="p-1"), *rest])
        stage.now = 5
        await stage.show([web(1), web(2), named("dan", stage.at, podId="p-1"), *rest])
        assert stage.cursor == "web-1, web-2"
        yield stage


def style_of(stage: Stage, name: str, text: str) -> Style:
    strips = stage.app.screen._compositor.render_strips()  # noqa: SLF001  as `Stage.lines`
    line = next(strip for strip, drawn in zip(strips, stage.lines, strict=True) if name in drawn)
    style = next(segment.style for segment in line if text in segment.text)
    assert style is not None
    return style


async def test_after_an_acknowledgement_the_cursor_is_on_the_next_open_line_and_after_the_last_stays() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        stage.go_to("env-bob")
        await acknowledge(stage)
        assert stage.cursor == "eve"
        await acknowledge(stage)
        assert stage.cursor == "web-1, web-2"
        await acknowledge(stage)
        assert stage.cursor == "web-1, web-2"
        assert in_block(stage) == ["pod", "bob", "eve"]
        await stage.press("n")
        assert stage.news == "nothing needs a person: 4 acknowledged"


async def test_after_a_member_of_an_unfolded_incident_the_cursor_is_on_the_next_member() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        await stage.press("x", "j")
        assert stage.cursor == "web-1"
        await acknowledge(stage, "psu")
        assert stage.cursor == "web-2"
        assert stage.block[0].rstrip().endswith("disconnected · 1 acked")
        assert [line.rstrip().split()[-1] for line in stage.block[1:3]] == ["disconnected", "psu"]


async def test_after_the_last_member_the_cursor_is_on_the_next_open_line() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        await stage.press("x", "j", "j")
        await acknowledge(stage)
        assert stage.cursor == "web-1"
        await acknowledge(stage)
        assert in_block(stage) == ["bob", "eve", "pod", "web-1", "web-2"]
        assert stage.cursor == "bob"


async def test_the_next_open_line_has_the_cursor_in_the_next_view_too() -> None:
    async with power_cut(lost("eve", 900_000)) as stage:
        stage.go_to("env-bob")
        await acknowledge(stage)
        await stage.press("4")
        assert stage.cursor == "eve"


async def test_a_withdrawn_or_changed_acknowledgement_leaves_the_cursor_where_it_is() -> None:
    async with power_cut() as stage:
        await stage.press("x", "j")
        await acknowledge(stage)
        for keys in (("x", "enter"), ("ctrl+r",)):
            stage.go_to("env-web-1")
            await stage.press("a", *keys)
            assert stage.cursor == "web-1", keys


async def test_an_acknowledgement_of_marked_rows_leaves_the_cursor_on_another_line() -> None:
    async with power_cut() as stage:
        await stage.press("x", "j", "j", "space")
        assert stage.cursor == "bob"
        stage.go_to("env-web-1")
        await acknowledge(stage)
        assert [*notes(stage)] == ["web-2"]
        assert stage.cursor == "web-1"


async def test_a_on_an_incident_acknowledges_all_of_it_and_the_line_is_dim_and_last() -> None:
    async with power_cut() as stage:
        await stage.press("a")
        assert "Acknowledge pod p-7: web-1, web-2 on this machine, until they" in stage.text
        assert style_of(stage, "web-1", "web-1").bold
        await stage.type("psu")
        await stage.press("enter")
        assert notes(stage) == {"web-1": "psu", "web-2": "psu"}
        first, last = stage.block
        assert re.fullmatch(r"▌►○ off +10m NEW  bob +disconnected *", first)
        assert re.fullmatch(r"  ✓ 2 off +0s      pod p-7: web-1, web-2 +acked: psu *", last)
        faint = style_of(stage, "── 1 online", "online").color
        for text in ("✓ 2 off", "web-1", "acked: psu"):
            style = style_of(stage, "web-1", text)
            assert (style.color, bool(style.bold)) == (faint, False), text
        assert style_of(stage, "bob", "bob").bold
        assert style_of(stage, "bob", "bob").color != faint


async def test_silencing_an_incident_takes_its_line_away_and_its_rows_stand_grey_in_the_table() -> None:
    async with power_cut() as stage:
        await stage.press("M")
        assert "Silence pod p-7: web-1, web-2 for" in stage.text
        await stage.press("enter", "enter")
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-web-1"), key_of("env-web-2")}
        assert (in_block(stage), stage.cursor) == (["bob"], "bob")
        assert stage.names == ["dan", "web-1", "web-2"]
        assert stage.rule.startswith("── 1 online · 2 silenced ──")
        for name in ("web-1", "web-2"):
            grey = style_of(stage, f"{name} ", name)
            assert grey.color == style_of(stage, f"{name} ", "off").color, name
            assert not grey.bold, name
            assert grey.color not in {style_of(stage, "bob", text).color for text in ("bob", "off")}, name


async def test_the_sentence_about_an_incident_has_the_shared_values_and_all_members() -> None:
    async with power_cut() as stage:
        stage.app.options = stage.app.options._replace(times=TimeStyle.UTC)
        await stage.press("y")
        assert "Copy from pod p-7: web-1, web-2" in stage.text
        await stage.press("s")
        (sentence,) = stage.copied
        assert sentence == (
            "`web-1` and `web-2` offline since 08:53 UTC (under 1m): disconnected; "
            "start with `letta server`, if no listener runs on its machine. All of `pod p-7`, profile `default`."
        )


ONE, OTHER = clean("one.example"), clean("other.example")
HOME, WORK, AWAY = clean("home"), clean("work"), clean("away")
SERVERS = {HOME: ONE, WORK: ONE, AWAY: OTHER}


@asynccontextmanager
async def dashboard_of_servers(**wishes: Any) -> AsyncIterator[Stage]:
    """Run two profiles of one server and a profile of another server; all list `ada`, who is offline."""
    async with staged((120, 24), profiles=tuple(SERVERS), servers=SERVERS, **wishes) as stage:
        for profile in SERVERS:
            await stage.show([lost("ada"), named("bob")], profile)
        yield stage


async def go_to_home(stage: Stage) -> None:
    for _ in SERVERS:
        if [tracked.key for tracked in stage.app.dashboard.target.environments] == [(HOME, ADA)]:
            return
        await stage.press("j")
    pytest.fail("there is no such row")


def alerting(stage: Stage) -> set[SafeText]:
    monitor, now = stage.app.state.monitor, stage.app.state.now
    return {each.profile for each in monitor.fleet.environments if monitor.is_alerting(each, now)}


def marked(stage: Stage) -> set[str]:
    return {name for name in SERVERS for line in stage.block if f"{name} ada" in line and "✓" in line}


async def test_it_is_acknowledged_under_every_profile_of_its_server_and_on_no_other() -> None:
    kept: list[Mapping[ServerKey, Ack | None]] = []
    async with dashboard_of_servers(kept=lambda each: kept.append(each.acks)) as stage:
        await go_to_home(stage)
        await acknowledge(stage, "disk")
        assert [list(changes) for changes in kept] == [[(ONE, ADA)]]
        assert (alerting(stage), marked(stage)) == ({AWAY}, {HOME, WORK})
        await stage.press("slash", *"status:acknowledged", "enter")
        assert " status:acknowledged 2/6 " in stage.lines[0]
