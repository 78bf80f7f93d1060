"""The live table: a widget on Textual's Line API that draws only the visible lines.

Owns the scrolling and which lines are redrawn when. Rows and their order come from `views.table_view`, the cursor's
line from `views.cursor`, the columns from `views.columns`, the segments of a line from `row_renderer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Self

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from envwatch.model.text import Clean, wrapped
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.line import STATE_STYLES
from envwatch.tui.widgets.row_renderer import RowRenderer, changed_lines
from envwatch.views.baseline import comparison_columns
from envwatch.views.columns import COLUMNS, MARK_WIDTH, SCROLLBAR, fitting
from envwatch.views.cursor import RowCursor
from envwatch.views.event_text import empty_table_text
from envwatch.views.grouping import GroupHeader
from envwatch.views.table_view import View, is_new_problem, table_lines, visible_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual import events

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.query.language import SearchCache
    from envwatch.views.columns import Column
    from envwatch.views.grouping import LineKey, TableLine

SETTLES_AFTER = 3.0
"""Seconds after a move of the cursor in which rows keep their places."""

_AGE_EDGE = 13
"""Cells from the left edge, up to the end of the heartbeat's age, that may change each second."""


class EnvironmentTable(ScrollView, can_focus=True):
    """A line for each environment that the view shows, and one over each group."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="move.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="move.up"),
        Binding("g,home", "move_to(0)", "Top", show=False, id="move.top"),
        Binding("G,end", "move_to(-1)", "Bottom", show=False, id="move.bottom"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="move.half_down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="move.half_up"),
        Binding("pagedown,ctrl+f,space", "page(1)", "Page down", show=False, id="move.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="move.page_up"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"table--{style}" for style in (*STATE_STYLES, "header", "sorted", "group", "cursor", "fresh", "faint", "empty")
    }

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    """What is known."""
    view: reactive[View] = reactive(View, init=False)
    """What of it the user wants to see."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions, init=False)
    """How it is displayed."""

    class CursorMoved(Message):
        """The cursor stands on another line, or its line was updated."""

    class RowsChanged(Message):
        """Rows came, went, moved or were updated."""

    class Selected(Message):
        """The user wants to open the line under the cursor."""

    @dataclass
    class HeaderClicked(Message):
        """The user clicked on the title of a column."""

        column: str

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name for it
        super().__init__(id=id)
        self._row_cursor = RowCursor()
        self._moved_at = float("-inf")
        """When the user last moved the cursor, monotonic seconds."""
        self._renderer: RowRenderer | None = None
        """Of the present frame; None until its first line is drawn."""
        self._search_caches: dict[Clean, SearchCache] = {}

    # What the dashboard reads.

    @property
    def line(self) -> TableLine | None:
        """The line under the cursor."""
        return self._row_cursor.cursor

    @property
    def cursor(self) -> TrackedEnvironment | None:
        """The environment under the cursor; None on a group's header."""
        return None if isinstance(self.line, GroupHeader) else self.line

    @property
    def header(self) -> GroupHeader | None:
        """The group's header under the cursor."""
        return self.line if isinstance(self.line, GroupHeader) else None

    @property
    def group(self) -> GroupHeader | None:
        """The header of the cursor's group."""
        return self._row_cursor.heading()

    @property
    def headers(self) -> list[GroupHeader]:
        """The headers of all groups."""
        return [line for line in self._row_cursor.lines if isinstance(line, GroupHeader)]

    @property
    def rows(self) -> Sequence[TrackedEnvironment]:
        """The environments that the view shows, those in folded groups too, in order."""
        return self._row_cursor.rows

    @property
    def _columns(self) -> tuple[tuple[Column, int], ...]:
        """The visible columns, each with its width in cells."""
        view = self.view
        if view.compares and view.baseline is not None:
            return comparison_columns(self._columns_width, view.baseline, self.state.fleets)
        return self._usual_columns

    @property
    def _usual_columns(self) -> tuple[tuple[Column, int], ...]:
        return fitting(self._columns_width, self.view.columns, has_profiles=self.state.fleets.are_several)

    @property
    def _columns_width(self) -> int:
        """Cells for the columns; while the detail pane covers the table, those that it will have again."""
        return (self.size.width or self.screen.size.width) - SCROLLBAR

    @property
    def columns(self) -> tuple[Column, ...]:
        """The visible columns."""
        return tuple(column for column, _ in self._columns)

    @property
    def usual_columns(self) -> tuple[Column, ...]:
        """The columns that are visible without a comparison."""
        return tuple(column for column, _ in self._usual_columns)

    @property
    def _height(self) -> int:
        """Visible lines below the titles."""
        return self.size.height - 1

    def pin_cursor(self) -> None:
        """Keep the cursor on its row from now on: the user refers to this one."""
        self._row_cursor.was_moved = True

    def select(self, key: EnvironmentKey) -> bool:
        """Move the cursor to an environment; False if no line shows it."""
        place = self._row_cursor.place_of(key)
        if place is not None:
            self._move_to(place)
        return place is not None

    # State.

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Do only what the changed parts need: a mere tick redraws the ages."""
        if new.fleets is not old.fleets or new.acks is not old.acks:
            self._update_rows(is_steady=self._has_just_moved())
        elif self._row_cursor.is_due and not self._has_just_moved():
            self._update_rows(is_steady=False)
        elif new.ambiguous_names is not old.ambiguous_names:
            self.refresh()
        elif new.now != old.now:
            self._redraw_ages(old.now, new.now)

    def watch_view(self, old: View, new: View) -> None:
        """Show another view; a row that its filter hides does not stay as a ghost."""
        self._update_rows(is_steady=False, keeps_ghost=old.chooses_like(new))

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns, search in those that are visible now, and keep the cursor visible."""
        self._update_rows(is_steady=self._has_just_moved())
        place, height = self._row_cursor.place, event.size.height - 1
        if place is not None and not self.scroll_offset.y <= place < self.scroll_offset.y + height:
            self._scroll_to_row(place - height + 1)

    def _has_just_moved(self) -> bool:
        return self.state.now.monotonic - self._moved_at < SETTLES_AFTER

    def _redraw_ages(self, old: Reading, new: Reading) -> None:
        self.refresh(Region(0, 1, _AGE_EDGE, self._height))
        top = self.scroll_offset.y
        visible = self._row_cursor.lines[top : top + self._height]
        for place in changed_lines(visible, self.state.fleets, self.columns, old, new):
            self._refresh_row(top + place)

    def _update_rows(self, *, is_steady: bool, keeps_ghost: bool = True) -> None:
        """Work out the lines anew.

        Args:
            is_steady: whether rows keep their places for now.
            keeps_ghost: whether the row under the cursor stays though the view no longer shows it.
        """
        fleets, wall, cursor = self.state.fleets, self.state.now.wall, self._row_cursor
        place, top = cursor.place, self.scroll_offset.y
        cursor.take(
            visible_rows(fleets, self.view, self.columns, wall, self._search_caches, self.state.acks),
            lambda rows: table_lines(rows, fleets, self.view, wall),
            is_steady=is_steady,
            lookup=fleets.tracked if keeps_ghost else None,
        )
        self._set_virtual_size()
        if cursor.was_moved and place is not None and top <= place < top + self._height:
            self._keep_cursor_at(place - top)
        self.post_message(self.RowsChanged())
        self.post_message(self.CursorMoved())
        self.refresh()

    # Scrolling.

    def _set_virtual_size(self) -> None:
        size = Size(self.size.width, len(self._row_cursor.lines) + 1)
        if self.virtual_size != size:
            self.virtual_size = size

    def _keep_cursor_at(self, line: int) -> None:
        """Scroll until the cursor is at a line of the screen again; if the list is at its top, it stays there."""
        place = self._row_cursor.place or 0
        if self.scroll_offset.y > 0:
            self._scroll_to_row(place - line)
        elif place >= self._height:
            self._scroll_to_row(place - self._height + 1)

    def _scroll_to_row(self, row: int) -> None:
        # Forced: before the scrollbar for new lines is laid out, Textual would not scroll.
        self.scroll_to(y=max(row, 0), animate=False, immediate=True, force=True)

    def reveal(self, group: LineKey) -> None:
        """Scroll until as much of an open group as fits is visible, its header first."""
        place = self._row_cursor.place_of(group)
        header = self._row_cursor.lines[place] if place is not None else None
        if place is not None and isinstance(header, GroupHeader) and header.is_open:
            end = place + 1 + len(header)
            self._scroll_to_row(max(self.scroll_offset.y, min(place, end - self._height)))

    # Moving the cursor.

    def _move_to(self, place: int) -> None:
        cursor = self._row_cursor
        old = cursor.place
        self._moved_at = self.state.now.monotonic
        has_left_ghost = cursor.move_to(place)
        place = cursor.place or 0
        if place == old and not has_left_ghost:
            return
        self.post_message(self.CursorMoved())
        top = self.scroll_offset.y
        if place < top:
            self._scroll_to_row(place)
        elif place >= top + self._height:
            self._scroll_to_row(place - self._height + 1)
        if has_left_ghost:
            self.post_message(self.RowsChanged())
            self._set_virtual_size()
            self.refresh()
            return
        if old is not None:
            self._refresh_row(old)
        self._refresh_row(place)

    def _refresh_row(self, place: int) -> None:
        self.refresh(Region(0, place - self.scroll_offset.y + 1, self.size.width, 1))

    def action_move(self, lines: int) -> None:
        self._move_to((self._row_cursor.place or 0) + lines)

    def action_move_to(self, place: int) -> None:
        """Move the cursor to a line, counted from the end if negative."""
        self._move_to(place if place >= 0 else len(self._row_cursor.lines) + place)

    def action_page(self, pages: float) -> None:
        """Move the cursor by a part of what is visible."""
        self.action_move(round(pages * max(self._height, 1)))

    def go_to_problem(self, direction: int) -> bool:
        """Move to the next (1) or previous (-1) unacknowledged problem, around the end; False if there is none."""
        lines, start = self._row_cursor.lines, self._row_cursor.place or 0
        for step in range(1, len(lines) + 1):
            place = (start + direction * step) % len(lines)
            line = lines[place]
            if not isinstance(line, GroupHeader) and is_new_problem(line, self.state.acks):
                self._move_to(place)
                return True
        return False

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row, or open it if it is selected; on a column's title, sort."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None and column.id in COLUMNS:
                self.post_message(self.HeaderClicked(column.id))
            return
        place = self.scroll_offset.y + event.y - 1
        if place < len(self._row_cursor.lines):
            was_selected = place == self._row_cursor.place
            self._move_to(place)
            if was_selected or event.chain > 1 or self.header is not None:
                self.post_message(self.Selected())

    def _column_at(self, x: int) -> Column | None:
        left = 1
        for column, width in self._columns:
            left += width + 1 + (MARK_WIDTH if column.id == "name" else 0)
            if x < left:
                return column
        return None

    # Drawing.

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Redraw with a new renderer."""
        self._renderer = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        if self._renderer is None:
            self._renderer = self._new_renderer()  # once a frame: styles are costly
        renderer = self._renderer
        if y == 0:
            return renderer.column_titles(self.view)
        lines, place = self._row_cursor.lines, self.scroll_offset.y + y - 1
        if place < len(lines):
            line, is_cursor = lines[place], place == self._row_cursor.place
            if isinstance(line, GroupHeader):
                return renderer.group_header(line, is_cursor=is_cursor)
            return renderer.row(line, is_cursor=is_cursor)
        return Strip.blank(renderer.width, renderer.base) if lines else self._empty_line(y - 2)

    def _new_renderer(self) -> RowRenderer:
        return RowRenderer(
            width=self.size.width,
            columns=self._columns,
            state=self.state,
            glyphs=self.options.glyphs,
            base=self.rich_style,
            style=cache(self._style),
        )

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"table--{part}", partial=True)

    def _empty_line(self, number: int) -> Strip:
        """Return a line of the text that says why the table is empty."""
        lines = wrapped(empty_table_text(self.state.fleets, self.view), max(self.size.width - 4, 2))
        text = f"  {lines[number]}" if 0 <= number < len(lines) else ""
        style = self.rich_style + self._style("empty")
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, self.rich_style)
