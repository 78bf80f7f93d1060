"""The live table: a widget on Textual's Line API that draws only the lines that can be seen.

Owns the scrolling and what is drawn anew when. What is shown and how it is sorted comes from `view`, where the cursor
stands from `lineup`, the columns from `columns`, the look of a line from `rows`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, Self

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from envwatch.fleet.fleets import Fleets
from envwatch.model.text import Clean, wrapped
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.tui.widgets.row_renderer import RowRenderer, aged
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

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.query.language import SearchCache
    from envwatch.views.columns import Column
    from envwatch.views.grouping import LineKey, TableLine

SETTLES_AFTER = 3.0
"""Seconds after a move of the cursor before rows may change places under it."""

_TICKING = 13
"""Cells from the left edge that hold everything that changes with each second."""


class EnvironmentTable(ScrollView, can_focus=True):
    """A table with a line for each environment that the view shows."""

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
        "table--header",
        "table--sorted",
        "table--heading",
        "table--cursor",
        "table--fresh",
        "table--online",
        "table--late",
        "table--offline",
        "table--flapping",
        "table--unknown",
        "table--gone",
        "table--unrestricted",
        "table--faint",
        "table--empty",
    }

    fleets: reactive[Fleets] = reactive(Fleets, init=False)
    """What is known."""
    view: reactive[View] = reactive(View, init=False)
    """What of it the user wants to see."""
    acks: reactive[Acks] = reactive(dict, init=False)
    """Problems that are acknowledged."""
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset, init=False)
    """Names that do not tell environments apart."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    """This machine's clocks, set each second."""
    glyphs: reactive[Glyphs] = reactive(UNICODE, init=False)
    """The glyphs that the terminal can show."""

    class Moved(Message):
        """The cursor stands on another line, or what is known of it is new."""

    class Arranged(Message):
        """There are other rows, or the same ones in another order, or more is known of them."""

    class Opened(Message):
        """The user wants to see all of what the cursor stands on."""

    class SortWanted(Message):
        """The user clicked on the header of a column."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name for it
        super().__init__(id=id)
        self._lineup = RowCursor()
        self._moved_at = float("-inf")
        self._frame_look: RowRenderer | None = None
        self._haystacks: dict[Clean, SearchCache] = {}

    # What others may ask.

    @property
    def cursor(self) -> TrackedEnvironment | None:
        """The environment under the cursor; None on a heading."""
        line = self._lineup.cursor
        return None if isinstance(line, GroupHeader) else line

    @property
    def line(self) -> TableLine | None:
        """What the cursor stands on."""
        return self._lineup.cursor

    @property
    def heading(self) -> GroupHeader | None:
        """The heading that the cursor stands on."""
        line = self._lineup.cursor
        return line if isinstance(line, GroupHeader) else None

    @property
    def group(self) -> GroupHeader | None:
        """The heading over the cursor, or under it."""
        return self._lineup.heading()

    @property
    def headings(self) -> list[GroupHeader]:
        """The headings over all groups."""
        return [line for line in self._lineup.lines if isinstance(line, GroupHeader)]

    @property
    def rows(self) -> Sequence[TrackedEnvironment]:
        """What the view shows, folded or not, in order."""
        return self._lineup.rows

    @property
    def _columns(self) -> tuple[tuple[Column, int], ...]:
        view = self.view
        if view.compares and view.baseline is not None:
            return comparison_columns(self._room, view.baseline, self.fleets)
        return self._fitting

    @property
    def _fitting(self) -> tuple[tuple[Column, int], ...]:
        return fitting(self._room, self.view.columns, has_profiles=self.fleets.are_several)

    @property
    def _room(self) -> int:
        """Cells for the columns; while the detail pane covers the table, those that it will have again."""
        return (self.size.width or self.screen.size.width) - SCROLLBAR

    @property
    def columns(self) -> tuple[Column, ...]:
        """The visible columns."""
        return tuple(column for column, _ in self._columns)

    @property
    def usual_columns(self) -> tuple[Column, ...]:
        """The columns that are visible while nothing is compared with a baseline."""
        return tuple(column for column, _ in self._fitting)

    def hold(self) -> None:
        """Let the cursor follow the row that it stands on from now on: somebody means this one."""
        self._lineup.was_moved = True

    def select(self, key: EnvironmentKey) -> bool:
        """Move the cursor to an environment; False if it is not on the screen."""
        place = self._lineup.place_of(key)
        if place is not None:
            self._move_to(place)
        return place is not None

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Draw anew, with what holds now."""
        self._frame_look = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    # State comes down.

    def watch_fleets(self) -> None:
        """Show the newest listing; its order waits while the cursor is on the move."""
        self._arrange(is_steady=self._has_just_moved())

    def watch_view(self, before: View, after: View) -> None:
        """Show what the user wants to see now: no ghost among the rows that a new filter lets through."""
        self._arrange(is_steady=False, keeps_ghost=before.chooses_like(after))

    def watch_acks(self) -> None:
        """Put the problems that are acknowledged behind the others."""
        self._arrange(is_steady=self._has_just_moved())

    def watch_glyphs(self) -> None:
        """Draw everything with the other glyphs."""
        self.refresh()

    def watch_now(self, before: Reading | None, now: Reading) -> None:
        """Let the ages tick."""
        if before is None or (self._lineup.is_due and not self._has_just_moved()):
            self._arrange(is_steady=False)
            return
        self.refresh(Region(0, 1, _TICKING, self.size.height - 1))
        top = self.scroll_offset.y
        for place in aged(self._lineup.lines[top : top + self.size.height - 1], self.fleets, self.columns, before, now):
            self._refresh_row(top + place)

    def _has_just_moved(self) -> bool:
        return self.now is not None and self.now.monotonic - self._moved_at < SETTLES_AFTER

    def _arrange(self, *, is_steady: bool, keeps_ghost: bool = True) -> None:
        if self.now is None:
            return  # without a clock nobody can tell what is old; it is the next thing to come
        wall, lineup = self.now.wall, self._lineup
        place, top, height = lineup.place, self.scroll_offset.y, self.size.height - 1
        lineup.take(
            visible_rows(self.fleets, self.view, self.columns, wall, self._haystacks, self.acks),
            lambda rows: table_lines(rows, self.fleets, self.view, wall),
            is_steady=is_steady,
            lookup=self.fleets.tracked if keeps_ghost else None,
        )
        self._fit()
        if lineup.was_moved and place is not None and top <= place < top + height:
            self._keep_in_sight(place - top)
        self.post_message(self.Arranged())
        self.post_message(self.Moved())
        self.refresh()

    def _fit(self) -> None:
        """Let the scrollbar know how many lines there are."""
        size = Size(self.size.width, len(self._lineup.lines) + 1)
        if self.virtual_size != size:
            self.virtual_size = size

    def _keep_in_sight(self, line: int) -> None:
        """Scroll so that the cursor stays where it was on the screen; at the top of the list, let the top stay."""
        place, top, height = self._lineup.place or 0, self.scroll_offset.y, self.size.height - 1
        if top > 0:
            self._scroll_to_row(place - line)
        elif place >= height:
            self._scroll_to_row(place - height + 1)

    def _scroll_to_row(self, row: int) -> None:
        # By force: while the scrollbar for lines that have just come is not there yet, Textual would not scroll.
        self.scroll_to(y=max(row, 0), animate=False, immediate=True, force=True)

    # The cursor.

    def _move_to(self, place: int) -> None:
        lineup = self._lineup
        before = lineup.place
        if self.now is not None:
            self._moved_at = self.now.monotonic
        has_left_ghost = lineup.move_to(place)
        place = lineup.place or 0
        if place == before and not has_left_ghost:
            return
        self.post_message(self.Moved())
        top, height = self.scroll_offset.y, self.size.height - 1
        if place < top:
            self._scroll_to_row(place)
        elif place >= top + height:
            self._scroll_to_row(place - height + 1)
        if has_left_ghost:
            self.post_message(self.Arranged())
            self._fit()
            self.refresh()
            return
        if before is not None:
            self._refresh_row(before)
        self._refresh_row(place)

    def reveal(self, group: LineKey) -> None:
        """Scroll until as much of an open group as fits is in sight, its heading first."""
        place, height = self._lineup.place_of(group), self.size.height - 1
        heading = self._lineup.lines[place] if place is not None else None
        if place is not None and isinstance(heading, GroupHeader) and heading.is_open:
            end = place + 1 + len(heading)
            self._scroll_to_row(max(self.scroll_offset.y, min(place, end - height)))

    def _refresh_row(self, place: int) -> None:
        self.refresh(Region(0, place - self.scroll_offset.y + 1, self.size.width, 1))

    def action_move(self, lines: int) -> None:
        """Move the cursor by so many lines."""
        self._move_to((self._lineup.place or 0) + lines)

    def action_move_to(self, place: int) -> None:
        """Move the cursor to a line, counted from the end if negative."""
        self._move_to(place if place >= 0 else len(self._lineup.lines) + place)

    def action_page(self, pages: float) -> None:
        """Move the cursor by a part of what is visible."""
        self._move_to((self._lineup.place or 0) + round(pages * max(self.size.height - 1, 1)))

    def go_to_problem(self, direction: int) -> bool:
        """Move the cursor to the next or previous problem that nobody knows of, around the end; False if none is."""
        lines, start = self._lineup.lines, self._lineup.place or 0
        for step in range(1, len(lines) + 1):
            place = (start + direction * step) % len(lines)
            line = lines[place]
            if not isinstance(line, GroupHeader) and is_new_problem(line, self.acks):
                self._move_to(place)
                return True
        return False

    def on_click(self, event: events.Click) -> None:
        """Select the row under the pointer, open it if it is selected; sort by a column on its header."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None and column.id in COLUMNS:
                self.post_message(self.SortWanted(column.id))
            return
        place = self.scroll_offset.y + event.y - 1
        if place < len(self._lineup.lines):
            is_selected = place == self._lineup.place
            self._move_to(place)
            if is_selected or event.chain > 1 or self.heading is not None:
                self.post_message(self.Opened())

    def _column_at(self, x: int) -> Column | None:
        left = 1
        for column, width in self._columns:
            left += width + 1 + (MARK_WIDTH if column.id == "name" else 0)
            if x < left:
                return column
        return None

    def on_resize(self, event: events.Resize) -> None:
        """Give the columns the new width, look for filter words in those that show, and keep the cursor in sight."""
        self._arrange(is_steady=self._has_just_moved())
        place, height = self._lineup.place, event.size.height - 1
        if place is not None and not self.scroll_offset.y <= place < self.scroll_offset.y + height:
            self._scroll_to_row(place - height + 1)
        self.refresh()

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """Draw one visible line."""
        look = self._look()
        if y == 0:
            return look.header(self.view)
        lines, place = self._lineup.lines, self.scroll_offset.y + y - 1
        if place < len(lines):
            line, is_cursor = lines[place], place == self._lineup.place
            if isinstance(line, GroupHeader):
                return look.heading(line, is_cursor=is_cursor)
            return look.row(line, is_cursor=is_cursor)
        if not lines:
            return self._empty_line(y - 2)
        return Strip.blank(look.width, look.base)

    def _look(self) -> RowRenderer:
        """Return what the lines of this frame have in common, worked out once a frame: styles are dear."""
        if self._frame_look is None:
            self._frame_look = self._new_look()
        return self._frame_look

    def _new_look(self) -> RowRenderer:
        return RowRenderer(
            width=self.size.width,
            columns=self._columns,
            fleets=self.fleets,
            acks=self.acks,
            now=self.now,
            ambiguous=self.ambiguous,
            glyphs=self.glyphs,
            base=self.rich_style,
            style=cache(self._style),
        )

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"table--{part}", partial=True)

    def _empty_line(self, number: int) -> Strip:
        """Return a line of what is said where there is nothing to show."""
        lines = wrapped(empty_table_text(self.fleets, self.view), max(self.size.width - 4, 2))
        text = f"  {lines[number]}" if 0 <= number < len(lines) else ""
        style = self.rich_style + self._style("empty")
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, self.rich_style)
