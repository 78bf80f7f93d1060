"""The live table on Textual's Line API; the cursor also moves through the block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Self

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView

from envwatch.alerts.monitor import Monitor
from envwatch.history.hours import LastDays
from envwatch.model.text import EMPTY, SafeText
from envwatch.query.presentation import Presentation, RowContext, contexts_of
from envwatch.screen.state import MonitorState, StateNode
from envwatch.screen.widgets.line import TABLE_STYLES
from envwatch.screen.widgets.row_renderer import RowRenderer
from envwatch.views.events.event_text import empty_table_text
from envwatch.views.table.arrangement import ArrangeCache, Arrangement, OrderReason, arrange
from envwatch.views.table.block import BlockLine, LineKey
from envwatch.views.table.columns import SCROLLBAR, column_at, fitting, is_column
from envwatch.views.table.cursor import More, RowCursor
from envwatch.views.table.table_view import GroupHeader, Line, View, index_of_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from textual import events
    from textual.strip import Strip

    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment

SETTLES_AFTER = 3.0
"""Seconds of steady rows after a move of the cursor."""


class EnvironmentTable(ScrollView, StateNode, can_focus=True):
    """The view's environments, with headers over groups."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="move.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="move.up"),
        Binding("g,home", "move_to(0)", "Top", show=False, id="move.top"),
        Binding("G,end", "move_to(-1)", "Bottom", show=False, id="move.bottom"),
        Binding("ctrl+d,pagedown", "page(1)", "Page down", show=False, id="move.page_down"),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False, id="move.page_up"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = TABLE_STYLES

    view: reactive[View] = reactive(View, init=False)
    marked: reactive[frozenset[EnvironmentKey]] = reactive(frozenset, init=False)
    is_filtering: reactive[bool] = reactive(default=False, init=False)
    """Whether the filter bar is open, which has the hint about an empty table."""

    @dataclass
    class Changed(Message):
        """The cursor moved, or the cursor's line was updated."""

        has_other_rows: bool

    @dataclass
    class HeaderClicked(Message):
        """The user clicked on a column's title."""

        column: str

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name for it
        super().__init__(id=id)
        self.row_cursor = RowCursor()
        """Outside this class, only `pin` and `settle` change the cursor."""
        self._moved_at = float("-inf")
        self._awaited: frozenset[EnvironmentKey] = frozenset()
        self.moves = 0
        self._renderer: RowRenderer | None = None
        """None after a change of styles."""
        self._may_look_different = True
        self._empty_text: SafeText | None = None
        """None until drawn in a frame: a hint visits all environments."""
        self._arrange_cache = ArrangeCache()
        self._days = LastDays(Monitor(), self.state.now)

    @property
    def line(self) -> Line | None:
        return self.row_cursor.cursor

    @property
    def cursor(self) -> TrackedEnvironment | None:
        """Environment under the cursor; None on headers and on incidents of several environments."""
        line = self.line
        if isinstance(line, BlockLine):
            return line.single
        return None if isinstance(line, GroupHeader) else line

    @property
    def incident(self) -> BlockLine | None:
        """The block's line under the cursor; None on members and in the table."""
        return self.line if isinstance(self.line, BlockLine) else None

    @property
    def header(self) -> GroupHeader | None:
        return self.line if isinstance(self.line, GroupHeader) else None

    @property
    def headers(self) -> list[GroupHeader]:
        return [line for line in self.row_cursor.table_lines if isinstance(line, GroupHeader)]

    @property
    def rows(self) -> Sequence[TrackedEnvironment]:
        return self.row_cursor.rows

    @property
    def matching(self) -> Sequence[TrackedEnvironment]:
        """Matches in table and block; losses come first unless the view sorts."""
        state, cursor = self.state, self.row_cursor
        rows = self._arranged(cursor.order_reason).rows
        return rows if self.view.sort else sorted(rows, key=lambda tracked: tracked.key not in state.block.homes)

    def visible_block(self, most: int) -> Sequence[Line | More]:
        lines = self.row_cursor.lines
        found = self.row_cursor.visible_block(most, self.state.now.wall)
        return [lines[line] if isinstance(line, int) else line for line in found]

    def pass_on_cursor_from(self, keys: frozenset[EnvironmentKey]) -> None:
        """Move the cursor to the next open line once a row of `keys` is acknowledged, unless the user moves first.

        A team's acknowledgement shows at the next listing.
        """
        self._awaited = keys

    def go_to_member(self) -> None:
        incident = self.incident
        if incident is None or incident.single is not None or not incident.members:
            return
        if incident.returned:
            self.select(incident.returned[0].key)
            return
        if self.row_cursor.unfolded != incident.key:
            self.toggle_members()
        self.action_move(1)

    def toggle_members(self) -> None:
        cursor = self.row_cursor
        line, place = self.line, cursor.place or 0
        if not isinstance(line, BlockLine):  # a member: the incident stands above
            line = next((each for each in reversed(cursor.lines[:place]) if isinstance(each, BlockLine)), None)
        if line is not None:
            cursor.unfolded = None if cursor.unfolded == line.key else line.key
            self.select(line.key)
            self._update_rows(is_steady=True)

    @property
    def columns(self) -> tuple[tuple[Presentation, int], ...]:
        view = self.view
        if view.compares and view.baseline is not None:
            return view.baseline.columns(self._columns_width, self.state.monitor.fleet)
        return self.usual_columns

    @property
    def usual_columns(self) -> tuple[tuple[Presentation, int], ...]:
        """Columns outside a comparison with the baseline."""
        has_profiles, terminal = self.state.monitor.fleet.are_several, self.screen.size.width
        return fitting(
            self._columns_width,
            self.view.visible_columns,
            has_profiles=has_profiles,
            has_past=self._last_days().has_hour,
            terminal=terminal,
        )

    @property
    def _columns_width(self) -> int:
        """The screen's width counts while the detail pane covers the table."""
        return (self.size.width or self.screen.size.width) - SCROLLBAR

    @property
    def _height(self) -> int:
        return self.size.height - 1

    def release_cursor(self) -> None:
        """Reset the cursor, as before the first move."""
        self.row_cursor.was_moved, self.row_cursor.unfolded = False, None
        self._moved_at = float("-inf")
        self._update_rows(is_steady=False)
        self._scroll_to_row(0)

    def select(self, key: LineKey, *, is_steady: bool = True) -> bool:
        """Move the cursor to a line, and return whether a line has the key.

        With `is_steady`, rows stay in place for `SETTLES_AFTER`.
        """
        place = self.row_cursor.place_of(key)
        if place is not None:
            self._move_to(place)
            if not is_steady:
                self._moved_at = float("-inf")
        return place is not None

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        if new.has_acked_row(self._awaited):
            self.row_cursor.passes_on, self._awaited = True, frozenset()
        if not new.has_rows_of(old) or new.now.wall >= self.row_cursor.changes_at:
            self._update_rows(is_steady=self._has_just_moved())
        elif self.row_cursor.is_due and not self._has_just_moved():
            self._update_rows(is_steady=False)
        elif new.ambiguous_names is not old.ambiguous_names or new.freshness != old.freshness:
            self.refresh()
        elif new.now != old.now:
            self._redraw_ages()

    def watch_view(self) -> None:
        self._update_rows(is_steady=False)

    def on_resize(self, event: events.Resize) -> None:
        """Arrange again, because a query searches visible columns."""
        self._update_rows(is_steady=self._has_just_moved())
        place, height = self.row_cursor.table_place, event.size.height - 1
        if place is not None and not self.scroll_offset.y <= place < self.scroll_offset.y + height:
            self._scroll_to_row(place - height + 1)

    def _has_just_moved(self) -> bool:
        return self.state.present.monotonic - self._moved_at < SETTLES_AFTER

    def _redraw_ages(self) -> None:
        earlier = self._renderer
        if earlier is None or not earlier.state.has_rows_of(self.state):
            self.refresh()
            return
        self._renderer = renderer = earlier.as_of(self.state, self._contexts())
        top = self.scroll_offset.y
        lines = self.row_cursor.table_lines[top : top + self._height]
        widths = [renderer.changed_cells(line, earlier) for line in lines]
        if regions := [Region(0, y, width, 1) for y, width in enumerate(widths, 1) if width]:
            self.refresh(*regions)

    def _update_rows(self, *, is_steady: bool) -> None:
        top = self.row_cursor.take(
            self.view,
            self.state.block,
            self._arranged,
            is_steady=is_steady,
            top=self.scroll_offset.y,
            height=self._height,
        )
        self._set_virtual_size()
        if top != self.scroll_offset.y:
            self._scroll_to_row(top)
        self.post_message(self.Changed(has_other_rows=True))
        self.refresh()

    def _arranged(self, order_reason: OrderReason | None, in_block: Collection[EnvironmentKey] = ()) -> Arrangement:
        return arrange(
            self._contexts(),
            self.view,
            tuple(column for column, _ in self.columns),
            in_block=in_block,
            silenced=self.state.block.silenced,
            cache=self._arrange_cache,
            order_reason=order_reason,
        )

    def learn_names(self, fleet: Fleet) -> None:
        """Prepare the order of names, a third of a large table's first arrangement."""
        self._arrange_cache.learn(fleet.environments)

    def _last_days(self) -> LastDays:
        self._days = self._days.as_of(self.state.monitor, self.state.now, self.options.zone)
        return self._days

    def _contexts(self) -> Mapping[SafeText, RowContext]:
        ascii_only = self.options.glyphs.is_ascii
        return contexts_of(self.state.monitor, self.state.now, self._last_days(), ascii_only=ascii_only)

    def _set_virtual_size(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.row_cursor.table_lines) + 1)

    def _scroll_to_row(self, row: int) -> None:
        # Forced: Textual does not scroll before the layout of a new scrollbar.
        self.scroll_to(y=max(row, 0), animate=False, immediate=True, force=True)

    def reveal(self, group: LineKey) -> None:
        lines = self.row_cursor.table_lines
        place = index_of_line(lines, group)
        header = lines[place] if place is not None else None
        if place is not None and isinstance(header, GroupHeader) and header.is_open:
            top, cursor = self.scroll_offset.y, self.row_cursor.table_place or 0
            end = place + 1 + len(header)
            is_reached = place < top and cursor < place + self._height
            self._scroll_to_row(place if is_reached else max(top, min(place, end - self._height)))

    def _move_to(self, place: int) -> None:
        cursor = self.row_cursor
        old, old_row = cursor.place, cursor.table_place
        self._moved_at = self.state.present.monotonic
        has_left_ghost = cursor.move_to(place)
        if cursor.place == old and not has_left_ghost:
            return
        self.moves += 1
        self._awaited = frozenset()
        self.post_message(self.Changed(has_other_rows=has_left_ghost))
        top, row = self.scroll_offset.y, cursor.table_place
        if row is not None and row < top:
            self._scroll_to_row(row)
        elif row is not None and row >= top + self._height:
            self._scroll_to_row(row - self._height + 1)
        if has_left_ghost:
            self._set_virtual_size()
            self.refresh()
            return
        for each in (old_row, row):
            if each is not None:
                self.refresh(Region(0, each - self.scroll_offset.y + 1, self.size.width, 1))

    def action_move(self, lines: int) -> None:
        place = self.row_cursor.place
        self._move_to((-1 if place is None else place) + lines)
        self._reveal_top()

    def action_move_to(self, place: int) -> None:
        self._move_to(place if place >= 0 else len(self.row_cursor.lines) + place)
        self._reveal_top()

    def _reveal_top(self) -> None:
        if self.row_cursor.is_in_block and self.scroll_offset.y:
            self._scroll_to_row(0)

    def action_page(self, pages: float) -> None:
        self.action_move(round(pages * max(self._height, 1)))

    def go_to_open(self, direction: int) -> bool:
        """Move to the next (1) or previous (-1) open line; return False without such a line."""
        cursor = self.row_cursor
        place = cursor.next_open() if direction > 0 else cursor.previous_open()
        if place is not None:
            self._move_to(place)
        return place is not None

    async def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            column = column_at(self.columns, event.x)
            if column is not None and is_column(column.id):
                self.post_message(self.HeaderClicked(column.id))
            return
        place = self.scroll_offset.y + event.y - 1 + self.row_cursor.pinned
        if place < len(self.row_cursor.lines):
            was_selected = place == self.row_cursor.place
            self._move_to(place)
            if was_selected or event.chain > 1 or self.header is not None:
                await self.run_action("screen.open")

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        self._empty_text = None
        if not regions:
            self._may_look_different = True
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def notify_style_update(self) -> None:
        self._renderer = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        renderer = self._renderer
        if renderer is None or self._may_look_different:  # once a frame: styles are costly
            renderer = self._renderer = self._new_renderer()
            self._may_look_different = False
        if y == 0:
            return renderer.column_titles(self.view)
        lines, place = self.row_cursor.table_lines, self.scroll_offset.y + y - 1
        if place >= len(lines):
            if self._empty_text is None:
                self._empty_text = EMPTY if lines else self._text_if_empty()
            return renderer.empty_line(self._empty_text, y - 2)
        return renderer.line(lines[place], is_cursor=place == self.row_cursor.table_place)

    def _text_if_empty(self) -> SafeText:
        state = self.state
        return empty_table_text(
            state.monitor.fleet,
            self.view,
            state.now,
            self.options.zone,
            is_past=state.rewound is not None,
            in_block=self.row_cursor.matches - len(self.rows),
            has_hint=not self.is_filtering,
            new_keys_by=state.new_keys_by,
        )

    def _new_renderer(self) -> RowRenderer:
        state, last, contexts = self.state, self._renderer, self._contexts()
        renderer = RowRenderer(
            width=self.size.width,
            query=self.view.query,
            columns=self.columns,
            glyphs=self.options.glyphs,
            base=self.rich_style,
            style=cache(lambda part: self.get_component_rich_style(f"table--{part}", partial=True)),
            state=state,
            contexts=contexts,
            marked=self.marked,
        )
        return renderer if last != renderer else last.as_of(state, contexts)
