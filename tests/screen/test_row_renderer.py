"""Rows as drawn: only changed cells are drawn, with the same result as a full drawing; marks, and the last day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from support.app_harness import staged, style_in
from support.builders import NOW, environment, key_of, listed, reading
from support.memory_history import at, day, rows_at, with_past

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.uptime import Uptime
from envwatch.history.hours import LastDays
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.query.language import Query, parse
from envwatch.query.presentation import contexts_of
from envwatch.screen.screens.row_actions import RowActions
from envwatch.screen.state import UNICODE, MonitorState
from envwatch.screen.widgets.row_renderer import RowRenderer
from envwatch.views.table.columns import LEFT, column_of, fitting
from envwatch.views.table.table_view import OLD, GroupHeader
from envwatch.watch.deciding import silence_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.app_harness import Stage
    from textual.strip import Strip

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.query.presentation import RowContext
    from envwatch.views.table.block import LineKey


WIDTH = 180
COLUMNS = fitting(WIDTH - 1, ("24h", "version", "mode", "why", "up", "seen"))

NO_QUERY = Query()
DAY = 86_400_000.0

LOST: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
SILENCED = {"silence": {"by": "ops-1", "until": NOW + 90_000}}


def rows(at: float) -> list[Environment]:
    return [
        environment("env-beating", lastHeartbeat=at),
        environment("env-still", lastHeartbeat=NOW - 30_000),
        environment("env-late", lastHeartbeat=NOW - 100_000),
        environment("env-lost", lastSeenAt=NOW - 200_000, **LOST),
        environment("env-shared", lastSeenAt=NOW - 3_000_000, envwatch=SILENCED, **LOST),
        environment("env-moved", lastHeartbeat=at, currentMode="unrestricted" if at > NOW else "plan"),
    ]


def monitors() -> list[Monitor]:
    """Return monitors: after the first listing, after the second, and with the user's mark and silence."""
    first, _ = Monitor().apply(NO_PROFILE, listed(rows(NOW), NOW), reading())
    second, _ = first.apply(NO_PROFILE, listed(rows(NOW + 5_000), NOW + 5_000), reading(NOW + 5_000))
    silence = Silence(
        id=clean("1" * 8),
        environments=frozenset({key_of("env-late")}),
        at=WallMs(NOW),
        until=WallMs(NOW + 150_000),
        note=clean(""),
        by=clean("someone"),
    )
    known = second.with_acks({key_of("env-lost"): Ack(NOW, clean("known"))}).with_silences({silence.id: silence})
    return [first, second, known]


MONITORS = monitors()
AMBIGUOUS = frozenset(
    tracked.environment.name for tracked in MONITORS[0].fleet.environments if tracked.environment.name
)


def moment(monitor: Monitor, seconds: float, ambiguous: frozenset[SafeText] = frozenset()) -> MonitorState:
    return MonitorState(monitor=monitor, now=reading(NOW + seconds * 1000), ambiguous_names=ambiguous)


def contexts_in(state: MonitorState) -> Mapping[SafeText, RowContext]:
    return contexts_of(state.monitor, state.now, LastDays(state.monitor, state.now))


def fresh(state: MonitorState, query: Query = NO_QUERY) -> RowRenderer:
    return RowRenderer(
        width=WIDTH,
        query=query,
        columns=COLUMNS,
        glyphs=UNICODE,
        base=Style(bgcolor="blue"),
        style=lambda part: Style(meta={"part": part}),
        state=state,
        contexts=contexts_in(state),
    )


def later(renderer: RowRenderer, state: MonitorState) -> RowRenderer:
    return renderer.as_of(state, contexts_in(state))


def drawn(renderer: RowRenderer, state: MonitorState) -> list[Strip]:
    lines = state.monitor.fleet.environments
    return [renderer.row(line, is_cursor=is_cursor) for line in lines for is_cursor in (False, True)]


def changed(state: MonitorState, seconds: float) -> dict[str, int]:
    after = replace(state, now=reading(state.now.wall + seconds * 1000))
    renderer = fresh(state)
    tracked: Sequence[TrackedEnvironment] = [*state.monitor.fleet.environments]
    return {line.environment.id: later(renderer, after).changed_cells(line, renderer) for line in tracked}


@pytest.mark.parametrize(
    ("query", "hits"),
    [("moved", ["moved"]), ("env ov", ["env", "ov"]), ("!late", []), ("mo*", []), ("mode:strict", [])],
)
def test_the_words_of_the_filter_stand_out_in_names(query: str, hits: list[str]) -> None:
    state = moment(MONITORS[0], 1)
    moved = next(each for each in state.monitor.fleet.environments if each.environment.id == "env-moved")
    row = fresh(state, parse(query)).row(moved, is_cursor=False)
    assert [each.text for each in row if each.style is not None and each.style.meta.get("part") == "hit"] == hits
    assert row.text == fresh(state).row(moved, is_cursor=False).text


@pytest.mark.parametrize("id_", ["up", "seen", "first", "up7d"])
def test_a_column_of_numbers_shows_in_the_table_what_a_list_prints(id_: str) -> None:
    state = moment(MONITORS[0], 1)
    renderer = replace(fresh(state), columns=fitting(WIDTH - 1, (id_,)))
    row = replace(next(iter(state.monitor.fleet.environments)), uptime=Uptime(up=9.31 * DAY, watched=10 * DAY))
    text = column_of(id_).cell_text(row, contexts_in(state)[row.profile])
    assert text
    assert f" {text} " in renderer.row(row, is_cursor=False).text


def test_a_second_redraws_the_changed_ages_and_the_countdown() -> None:
    assert changed(moment(MONITORS[0], 1), 1) == {
        "env-beating": LEFT,
        "env-still": LEFT,
        "env-late": WIDTH,
        "env-lost": 0,
        "env-shared": 0,
        "env-moved": LEFT,
    }
    assert set(changed(moment(MONITORS[0], 1.1), 0.3).values()) == {0}


def test_the_end_of_a_silence_of_the_serving_host_redraws_the_row() -> None:
    assert changed(moment(MONITORS[0], 88.999), 1)["env-shared"] == 0
    assert changed(moment(MONITORS[0], 89.999), 0.001)["env-shared"] == WIDTH


@given(
    st.lists(
        st.tuples(st.sampled_from(MONITORS), st.floats(5, 4_000), st.sampled_from([frozenset[SafeText](), AMBIGUOUS])),
        min_size=2,
        max_size=6,
    )
)
def test_a_row_looks_as_drawn_at_once_whatever_was_drawn_before(
    moments: list[tuple[Monitor, float, frozenset[SafeText]]],
) -> None:
    states = [moment(*each) for each in moments]
    renderer = fresh(states[0])
    for before, state in pairwise(states):
        old = drawn(renderer, before)
        earlier, renderer = renderer, later(renderer, state)
        assert drawn(renderer, state) == drawn(fresh(state), state)
        if state.has_rows_of(before) and state.freshness == before.freshness:
            for place, line in enumerate(state.monitor.fleet.environments):
                cells = renderer.changed_cells(line, earlier)
                assert renderer.row(line, is_cursor=False).crop(cells) == old[2 * place].crop(cells)


@pytest.mark.parametrize(("hours", "shown"), [(9, "gone 1d 9h"), (10, "gone 1d10h")])
def test_the_longest_word_and_the_longest_time_in_a_state_do_not_touch(hours: int, shown: str) -> None:
    monitor, _ = Monitor().apply(NO_PROFILE, listed([environment("env-1", lastHeartbeat=NOW)], NOW), reading())
    for later in (NOW + 5_000, NOW + 10_000):
        came = listed([environment("env-2", lastHeartbeat=later)], later)
        monitor, _ = monitor.apply(NO_PROFILE, came, reading(later))
    state = MonitorState(monitor=monitor, now=reading(NOW + 60_000 + (24 + hours) * 3_600_000))
    gone = next(tracked for tracked in state.monitor.fleet.environments if tracked.environment.id == "env-1")
    assert shown in fresh(state).row(gone, is_cursor=False).text


def test_the_field_of_an_unknown_state_ends_behind_its_glyph() -> None:
    state = moment(MONITORS[0], 600)  # blind
    for tracked in state.monitor.fleet.environments:
        glyph, word = list(fresh(state).row(tracked, is_cursor=False))[2:4]
        assert glyph.text == "?"
        assert "unknown" in str(glyph.style and glyph.style.meta)
        assert "unknown" not in str(word.style and word.style.meta)


@pytest.mark.parametrize(("key", "part"), [(OLD, "gone"), (("group", "pod", "p-1"), "group")])
def test_the_header_of_old_rows_is_as_soft_as_its_rows(key: LineKey, part: str) -> None:
    state = moment(MONITORS[0], 1)
    rows = tuple(state.monitor.fleet.environments)
    header = GroupHeader(key=key, title=clean("title"), environments=rows, is_open=False, counts={})
    head, *_ = fresh(state).group_header(header, is_cursor=False)
    assert head.style is not None
    assert head.style.meta["part"] == part


async def test_the_usual_mode_is_dim_and_an_old_version_is_marked() -> None:
    async with staged((100, 24)) as stage:
        modes = ("standard", "default", "acceptEdits")
        await stage.show([environment(mode, connectionName=f"box-{mode[:3]}", currentMode=mode) for mode in modes])
        lines = [stage.line_of(f"box-{mode[:3]}") for mode in modes]
        texts = ("standard ", "standard ", "acceptEdits")
        are_dim = [
            style_in(line, text).color != style_in(line, "0.34.12").color
            for line, text in zip(lines, texts, strict=True)
        ]
        assert are_dim == [True, True, False]
        versions = ["0.33.7", "0.34.12", "0.34.12"]
        rows = [environment(f"env-{n}", metadata={"lettaCodeVersion": version}) for n, version in enumerate(versions)]
        await stage.show(rows)
        assert sum("0.33.7 ↓" in line for line in stage.body) == 1
        stage.go_to("env-0")
        await stage.press("enter")
        assert "0.33.7 · behind 0.34.12" in stage.text


async def test_a_replaced_row_is_marked_counted_apart_and_explained() -> None:
    def row(name: str, digit: str, **changes: Any) -> Environment:
        same = {"connectionName": name, "deviceId": "machine", "listenerInstanceId": f"server-{digit * 16}"}
        return environment(f"env-{name}", **same, **changes)

    async with staged((140, 40)) as stage:
        await stage.show([row("nas", "a", lastSeenAt=NOW - 10_000, **LOST), row("nas-2", "b", firstSeenAt=NOW - 5_000)])
        (line,) = [line for line in stage.text.splitlines() if "MOVED" in line]
        assert "○ off" in line
        assert "nas" in line
        assert "off" not in stage.lines[0]
        assert stage.rule.startswith("── 1 on · 1 replaced ──")
        await stage.press("down", "E")
        assert "replacement → replaced by nas-2: no loss" in stage.text


# The last day.


SHOWN = ("24h", "version")


async def seed(stage: Stage) -> None:
    await stage.show(rows_at(0))
    await stage.tick(0.5)
    await stage.watch.seed(NO_PROFILE, lambda monitor, _: (with_past(monitor, day()), ()))
    stage.app._publish(stage.app.state)  # noqa: SLF001
    await stage.pilot.pause()


async def silence(stage: Stage) -> None:
    """Silence the down row, which then is in the table."""
    stage.app.dashboard.post_message(
        RowActions.Decided(partial(silence_rows, [(NO_PROFILE, clean("env-lost"))], timedelta(days=1), EMPTY))
    )
    await stage.pilot.pause()


def hours_of(stage: Stage, name: str) -> str:
    (line,) = [line for line in stage.body if f" {name} " in line]
    return next(word for word in line.split() if len(word) == 24)


async def test_the_column_of_the_last_day_shows_the_worst_state_of_each_hour() -> None:
    async with staged((100, 24), columns=SHOWN) as stage:
        await stage.show(rows_at(0))
        assert hours_of(stage, "steady") in {"░" * 24, "░" * 23 + "█"}
        await seed(stage)
        await silence(stage)
        assert "24H   -18h  -12h -6h now" in stage.titles
        assert {name: hours_of(stage, name) for name in ("steady", "once", "lost", "new")} == {
            "steady": "█" * 16 + "░░" + "█" * 6,
            "once": "█" * 8 + "▁▁▁▁" + "█" * 4 + "░░" + "█" * 6,
            "lost": "█" * 16 + "░░" + "█" * 3 + "▁▁▁",
            "new": "·" * 13 + "█" * 3 + "░░" + "█" * 6,
        }


async def test_the_column_of_the_last_day_comes_without_a_wish_once_an_hour_is_recorded() -> None:
    async with staged((220, 24)) as stage:
        await stage.show(rows_at(0))
        await stage.press("escape")  # closes the pane
        assert "24H" not in stage.titles
        await stage.tick(1)
        await seed(stage)
        await silence(stage)
        assert "24H" in stage.titles


async def test_a_new_hour_moves_the_cells_of_a_steady_row() -> None:
    async with staged((100, 24), columns=SHOWN) as stage:
        await seed(stage)
        left_s = 3600 - at(0) / 1000 % 3600
        while stage.now < left_s - 50:
            await stage.tick(50)
            await stage.show(rows_at(stage.now / 3600))
        await stage.tick(left_s - stage.now)
        assert hours_of(stage, "steady") == "█" * 16 + "░░" + "█" * 6
        await stage.tick(1)
        assert hours_of(stage, "steady") == "█" * 15 + "░░" + "█" * 7


async def test_the_pane_draws_the_day_in_place_of_the_uptime() -> None:
    async with staged((80, 84), columns=SHOWN) as stage:
        await stage.show(rows_at(0))
        await stage.press("enter")
        assert "uptime  " not in stage.text
        await stage.tick(30)
        await stage.show(rows_at(0))
        await stage.tick(30)
        assert "uptime   up 0 % of the 1m watched in 24h" in stage.text
        assert "last 24 h" not in stage.text
        await seed(stage)
        assert "── last 24 h ──" in stage.text
        assert "uptime  " not in stage.text


async def test_in_ascii_the_last_day_has_no_block() -> None:
    async with staged((120, 60), columns=SHOWN, ascii_only=True) as stage:
        await seed(stage)
        await silence(stage)
        assert hours_of(stage, "lost") == "+" * 16 + "??" + "+++xxx"
        await stage.press("enter")
        assert not set("█▁░") & set(stage.text)


async def test_an_outage_is_a_full_block_without_colours_too() -> None:
    """Without colours the state offline is reverse, and a full block in reverse is an empty cell."""
    async with staged((100, 24), columns=SHOWN) as stage:
        await seed(stage)
        await silence(stage)
        stage.app.screen.add_class("-colourless")
        await stage.pilot.pause()
        strips = [stage.table.render_line(line) for line in range(1, 5)]
        blocks = [segment for strip in strips for segment in strip if set(segment.text) == {"▁"}]
        assert blocks
        assert not any(segment.style is not None and segment.style.reverse for segment in blocks)
