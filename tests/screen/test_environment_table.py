"""The table alone: keys, mouse, scrolling, columns, and amount of drawing; no widget decides about a row."""

from __future__ import annotations

import ast
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, cast

from support.builders import NOW, beating, environment, listed, reading
from textual import on
from textual.app import App
from textual.screen import Screen

from envwatch.alerts.judge import Judge
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.environment import SANDBOX_DEVICE
from envwatch.model.text import cells
from envwatch.query.language import parse
from envwatch.screen import widgets
from envwatch.screen.state import ASCII, DisplayOptions
from envwatch.screen.themes import STATE_COLOURS, THEMES, stylesheet
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.views.table.block import build_block
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from textual.app import ComposeResult
    from textual.geometry import Region
    from textual.pilot import Pilot
    from textual.strip import Strip

    from envwatch.model.environment import Environment


class CountingTable(EnvironmentTable):
    drawn: ClassVar[list[int]] = []
    stale: ClassVar[list[Region]] = []

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        self.stale.extend(regions)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        self.drawn.append(y)
        return super().render_line(y)


class OpeningScreen(Screen[None]):
    def action_open(self) -> None:
        cast("TableApp", self.app).messages.append("opened")


class TableApp(App[None]):
    CSS_PATH = stylesheet()

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return STATE_COLOURS

    def get_default_screen(self) -> OpeningScreen:
        return OpeningScreen()

    def compose(self) -> ComposeResult:
        yield CountingTable(id="table")

    @on(EnvironmentTable.HeaderClicked)
    def _sort(self, message: EnvironmentTable.HeaderClicked) -> None:
        self.messages.append(message.column)


class Stand:
    def __init__(self, app: TableApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.table = app.query_one(CountingTable)
        self.profile_state = ProfileState()
        self.now = 0.0

    async def show(self, rows: Sequence[Environment]) -> None:
        self.profile_state, _ = self.profile_state.apply(listed(rows, NOW + self.now * 1000))
        await self.wait(0)
        monitor, state = Monitor(Fleet({NO_PROFILE: self.profile_state})), self.table.state
        self.table.state = replace(state, monitor=monitor, block=build_block(monitor, state.now, state.block))
        await self.pilot.pause()

    async def wait(self, seconds: float) -> None:
        self.now += seconds
        self.table.state = replace(self.table.state, now=reading(NOW + self.now * 1000))
        await self.pilot.pause()

    async def set_view(self, view: View) -> None:
        self.table.view = view
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    @property
    def names(self) -> list[str]:
        return [tracked.environment.name for tracked in self.table.rows]

    @property
    def cursor(self) -> str | None:
        tracked = self.table.cursor
        return None if tracked is None else tracked.environment.name

    @property
    def lines(self) -> list[str]:
        height = self.table.size.height
        return ["".join(segment.text for segment in self.table.render_line(y)) for y in range(height)]

    @property
    def cursor_line(self) -> int | None:
        return next((y for y, line in enumerate(self.lines) if line[1:2] == "►"), None)


@asynccontextmanager
async def stand(width: int = 80, height: int = 12) -> AsyncIterator[Stand]:
    app = TableApp()
    async with app.run_test(size=(width, height)) as pilot:
        table = Stand(app, pilot)
        table.table.focus()
        await table.wait(0)
        yield table


def named(name: str, at: float = NOW, **changes: object) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at - 10_000} | changes))


def lost(name: str, ago: float = 300_000) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago)


def quiet(name: str) -> Environment:
    """Return a row that is late from half a second after `NOW`."""
    return named(name, lastHeartbeat=NOW - 44_500)


def ended(name: str) -> Environment:
    """Return a down row that stays in the table, because the end needs nobody."""
    return named(name, deviceId=f"{SANDBOX_DEVICE}{name}", connectionId=None, lastHeartbeat=None)


def several(*names: str, at: float = NOW) -> list[Environment]:
    return [named(name, at) for name in names]


async def test_a_row_is_drawn_once_while_only_the_cursor_and_what_is_in_sight_move() -> None:
    async with stand(height=4) as table:
        await table.show(several(*"abcdef"))
        await table.press("j")
        before = [table.table.render_line(y) for y in range(4)]
        await table.press("j", "j", "k", "k")
        assert (table.cursor, table.cursor_line) == ("b", 1)
        assert table.table.render_line(1) is before[2]
        assert table.table.render_line(2) is before[3]
        await table.wait(1)
        assert table.table.render_line(2) is not before[3]


async def test_rows_drawn_before_take_the_colours_of_another_theme() -> None:
    async with stand() as table:
        await table.show(several("a"))
        before, dark = table.table.render_line(1), THEMES[0]
        table.app.register_theme(dark)
        table.app.theme = dark.name
        await table.pilot.pause()
        drawn = table.table.render_line(1)
        other = replace(dark, name="other", variables={**dark.variables, "state-online": "#ff0000"})
        table.app.register_theme(other)
        table.app.theme = other.name
        await table.pilot.pause()
        assert "#ff0000" not in str([segment.style for segment in [*before, *drawn]])
        assert "#ff0000" in str([segment.style for segment in table.table.render_line(1)])


async def test_a_row_gone_under_the_cursor_stays_as_a_ghost_until_the_cursor_leaves() -> None:
    async with stand() as table:
        await table.show([named("a"), named("b", deviceId=f"{SANDBOX_DEVICE}b"), named("c")])
        await table.press("j")
        gone = [named("a"), named("c")]
        for _ in range(2):
            table.now += 5
            await table.show(gone)
        assert table.cursor == "b"
        table.now += 3_700  # the fleet forgets the row
        await table.show(several("a", "c", at=NOW + table.now * 1000))
        await table.show(several("a", "c", at=NOW + table.now * 1000))
        assert "env-b" not in table.profile_state.environments
        assert [table.names, table.cursor] == [["a", "b", "c"], "b"]
        await table.press("k")
        assert [table.names, table.cursor] == [["a", "c"], "a"]


async def test_rows_change_no_places_within_3_seconds_of_a_move_and_take_them_afterwards() -> None:
    async with stand() as table:
        await table.show([*several("a", "b"), quiet("c")])
        await table.press("j")
        table.now = 1
        await table.show([*several("a", "b"), quiet("c"), named("0")])
        for at, names in ((2.9, ["a", "b", "c", "0"]), (3.0, ["c", "0", "a", "b"])):
            await table.wait(at - table.now)
            assert (table.names, table.cursor) == (names, "b"), at
        await table.press("k")
        for table.now, names in ((5.9, ["c", "0", "a", "b", "d"]), (6.0, ["c", "d", "0", "a", "b"])):
            await table.show([*several("a", "b"), quiet("c"), named("0"), quiet("d")])
            assert table.names == names, table.now


async def test_keys_move_and_stop_at_the_ends() -> None:
    async with stand(height=11) as table:
        await table.show(beating(100))
        first, last = table.names[0], table.names[-1]
        for keys, place in (
            (("k",), 0),
            (("j", "down"), 2),
            (("G",), 99),
            (("j",), 99),
            (("g",), 0),
            (("ctrl+d",), 10),
            (("ctrl+u",), 0),
            (("pagedown", "ctrl+d"), 20),
            (("pageup",), 10),
            (("end",), 99),
            (("home",), 0),
        ):
            await table.press(*keys)
            assert table.cursor == table.names[place]
            assert table.cursor_line is not None, f"out of sight after {keys}"
        assert (first, last) == (table.names[0], table.names[-1])


async def test_the_cursor_keeps_its_line_on_the_screen_when_rows_come_above() -> None:
    async with stand(height=11) as table:
        await table.show([named(f"m{number:03}") for number in range(100)])
        await table.press(*("pagedown",) * 3)
        line = table.cursor_line
        table.now = 10
        await table.show([*(named(f"m{number:03}") for number in range(100)), *(quiet(f"x{n}") for n in range(7))])
        assert table.names[:8] == [*(f"x{n}" for n in range(7)), "m000"]
        assert table.cursor == "m030"
        assert table.cursor_line == line


async def test_the_mouse_selects_opens_sorts_and_scrolls() -> None:
    async with stand(height=11) as table:
        await table.show([named(f"m{number:03}") for number in range(100)])
        await table.pilot.click(CountingTable, offset=(20, 4))
        assert table.cursor == "m003"
        await table.pilot.click(CountingTable, offset=(20, 5), times=2)
        assert [table.cursor, table.app.messages] == ["m004", ["opened"]]
        table.app.messages.clear()
        for x in (2, 8, 13, 15, 20, *(table.lines[0].index(title) for title in ("MODE", "VERSION", "BRANCH"))):
            await table.pilot.click(CountingTable, offset=(x, 0))
        assert table.app.messages == ["state", "for", "for", "beat", "name", "mode", "version", "branch"]
        table.table.scroll_to(y=50, animate=False)
        await table.pilot.pause()
        assert table.cursor == "m004"
        await table.pilot.click(CountingTable, offset=(20, 1))
        assert table.cursor == "m050"
        await table.set_view(View(query=parse("m05")))
        assert len(table.names) == 10
        await table.pilot.click(CountingTable, offset=(20, 10))
        assert table.cursor == "m059"
        await table.set_view(View(query=parse("m050")))
        await table.pilot.click(CountingTable, offset=(20, 9))
        assert table.cursor == "m050", "below the last row"


async def test_columns_come_with_the_width_and_filter_words_look_into_them() -> None:
    async with stand(80) as table:
        await table.show([named("a", podId="pod-x"), named("b", podId="pod-y")])
        await table.set_view(View(query=parse("pod-x")))
        assert table.lines[0].split() == ["STATE", "FOR", "BEAT", "NAME", "MODE", "VERSION", "BRANCH"]
        assert table.names == []
        await table.pilot.resize_terminal(140, 12)
        await table.wait(0)
        await table.pilot.pause()
        assert table.lines[0].split()[7:] == ["UP", "OS", "USER", "POD", "DIRECTORY"]
        assert table.names == ["a"]


async def test_every_line_is_as_wide_as_the_table_with_any_text() -> None:
    names = ["漢字" * 30, "é" * 90, "e\u0301\u0301" * 50, "🚀" * 40, "a", "한글" * 9 + "x", "-" * 200]
    rows = [named(name, currentMode=name, metadata={"gitBranch": name, "lettaCodeVersion": name}) for name in names]
    async with stand() as table:
        await table.show(rows)
        for width in (1, 2, 13, 20, 39, 40, 80, 100, 161, 300):
            await table.pilot.resize_terminal(width, 12)
            await table.pilot.pause()
            inner = table.table.size.width
            assert [cells(line) for line in table.lines] == [inner] * 12, width


async def test_an_empty_fleet_says_what_to_do_and_an_unknown_one_does_not() -> None:
    async with stand() as table:
        assert "letta server" not in "\n".join(table.lines)
        await table.show([])
        assert "letta server" in "\n".join(table.lines)
        await table.press("j", "k", "G", "g", "ctrl+d", "pageup")
        assert table.cursor is None
        await table.show(several("a"))
        assert table.cursor == "a"


async def test_a_recent_change_has_a_tag_for_15_minutes_also_when_only_time_passes() -> None:
    async with stand() as table:
        await table.show(several("a", "b"))
        assert "MODE" not in "".join(table.lines[1:])
        table.now = 5
        await table.show([named("a", currentMode="plan"), named("b")])
        assert [" MODE " in line for line in table.lines[1:3]] == [True, False]
        for seconds, is_marked in ((899, True), (1, False)):
            CountingTable.stale.clear()
            await table.wait(seconds)
            (line,) = (line for line in table.lines if " a " in line)
            assert (" MODE " in line) is is_marked
            assert any(region.y == 1 and region.width == 80 for region in CountingTable.stale) is not is_marked


async def test_ascii_marks_are_ascii() -> None:
    async with stand() as table:
        table.table.options = DisplayOptions(glyphs=ASCII)
        await table.show([named("a" * 50), lost("b")])
        table.now = 5
        await table.show([lost("a" * 50), named("b", currentMode=None)])
        await table.set_view(View(sort="name"))
        assert all(line.isascii() for line in table.lines)


async def test_of_ten_thousand_rows_only_the_visible_lines_are_drawn() -> None:
    async with stand(80, 24) as table:
        rows = [environment(f"env-{number}", lastHeartbeat=NOW - number % 30_000) for number in range(10_000)]
        drawn = CountingTable.drawn
        drawn.clear()
        await table.show(rows)
        assert 0 < len(drawn) <= 3 * 24
        for keys in (("j",), ("k",), ("pagedown",), ("G",), ("g",)):
            drawn.clear()
            await table.press(*keys)
            assert len(drawn) <= 2 * 24, keys
            assert keys != ("j",) or set(drawn) == {1, 2}, "the lines that changed"
        drawn.clear()
        await table.wait(1)
        assert sorted(set(drawn)) == list(range(1, 24))
        assert len(drawn) <= 24
        drawn.clear()
        await table.set_view(View(sort="name"))
        assert len(drawn) <= 2 * 24


async def test_a_row_is_drawn_anew_when_a_column_on_the_right_is_a_minute_older_and_not_before() -> None:
    def whole_lines() -> list[int]:
        return [region.y for region in CountingTable.stale if region.width == 100]

    async with stand(100, 12) as table:
        await table.show([named(name, connectedAt=NOW - 118_999 - 500 * place) for place, name in enumerate("abc")])
        for seconds, lines in ((0.0, []), (0.999, [2, 3]), (0.001, []), (0.001, [1])):
            CountingTable.stale.clear()
            await table.wait(seconds)
            assert (seconds, whole_lines()) == (seconds, lines)
        assert [line[79:].split()[0] for line in table.lines[1:4]] == ["2m", "2m", "2m"]


async def test_every_sort_shows_every_row_and_inverts() -> None:
    async with stand(300, 12) as table:
        rows = [named("a", podId=None), named("b", metadata=None), ended("c"), named("d", userId="u")]
        await table.show(rows)
        assert len(table.table.columns) == 21, "all but 24H, as nothing is recorded"
        for column, _ in table.table.columns:
            view = View(sort=column.id)
            await table.set_view(view)
            assert sorted(table.names) == ["a", "b", "c", "d"]
            assert f"{column.title}▲" in table.lines[0]
            await table.set_view(replace(view, is_inverted=True))
            assert sorted(table.names) == ["a", "b", "c", "d"]
            assert f"{column.title}▼" in table.lines[0]


async def test_the_arrow_leaves_a_title_whole_and_the_freshest_row_comes_first() -> None:
    async with stand(79, 24) as table:
        await table.show([named("fresh", lastHeartbeat=NOW - 1_000), named("stale", lastHeartbeat=NOW - 20_000)])
        for column, _ in table.table.columns:
            await table.set_view(View(sort=column.id))
            assert f"{column.title}▲" in table.lines[0]
        await table.set_view(View(sort="beat"))
        assert table.lines[0].split()[1:3] == ["FOR", "BEAT▲NAME"]
        assert table.names == ["fresh", "stale"]


# -- what widgets ask --------------------------------------------------------------------------------------------------
QUESTIONS = {
    "ack_of",
    "counted_from",
    "decision_by_rule",
    "decision_of",
    "is_acked",
    "is_alerting",
    "is_in_force",
    "is_judged_by_system",
    "is_loud",
    "policy_of",
    "silenced",
    "silenced_time",
}
"""Of the judge, about rows; widgets draw the decided values."""


def questions_in(source: str) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {call.attr for call in calls if isinstance(call, ast.Attribute)} & QUESTIONS


def test_no_widget_decides_about_a_row() -> None:
    assert {name for name in QUESTIONS if callable(getattr(Judge, name, None))} == QUESTIONS
    assert questions_in("if self.state.monitor.is_acked(row) and line.is_acked: row.silenced") == {"is_acked"}
    asked = {path.stem: questions_in(path.read_text(encoding="utf-8")) for path in Path(*widgets.__path__).glob("*.py")}
    assert "environment_table" in asked
    assert {name: found for name, found in asked.items() if found} == {}
