"""The list of events, drawn line by line like the table.

Owns which groups are open and where the cursor stands. The text of an event comes from `views.event_text`, the filter
from `views.event_filter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from envwatch.model.text import Clean, cells, fitted, shortened
from envwatch.model.times import clock_text, zone_of
from envwatch.query.language import Query
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.line import STATE_STYLES
from envwatch.views.event_filter import logged
from envwatch.views.event_text import event_style, event_text
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from textual import events

    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import EnvironmentKey

_NAME = 24
"""Cells of the names' column."""
_PROFILE = 9
"""Cells of the profile before it, if there are several."""
_NO_MATCH = "  No event matches. esc clears the filter."
_NO_EVENTS = "  Nothing has happened yet. The first listing is the baseline."


class _Line(NamedTuple):
    event: Event
    depth: int
    """1 for a member of an open group."""


def _group_key(event: Event) -> tuple[object, ...]:
    """Identify a group of events by value: an equal event from elsewhere is another object."""
    return event.profile, event.kind, event.of, event.at, event.members[0].id


class EventList(ScrollView, can_focus=True):
    """The events, newest first; a group opens where it stands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("g,home", "move(-1000000)", "Top", show=False),
        Binding("G,end", "move(1000000)", "Bottom", show=False),
        Binding("ctrl+d,pagedown,space", "page(1)", "Page down", show=False),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False),
        Binding("enter", "choose", "Open group, or go to the row", key_display="⏎"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"log--{style}" for style in (*STATE_STYLES, "cursor", "faint")}

    state: reactive[MonitorState] = reactive(MonitorState, repaint=False)
    filter_query: reactive[Query] = reactive(Query, init=False)
    """Which events are shown."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions)

    class LinesChanged(Message):
        """Other events are shown, or groups were opened or closed."""

    @dataclass
    class Highlighted(Message):
        """The cursor's event was drawn anew; None if no event is shown."""

        event: Event | None

    @dataclass
    class Selected(Message):
        """The user wants to go to the environment of an event."""

        key: EnvironmentKey

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[_Line] = []
        self._open: set[tuple[object, ...]] = set()
        self._cursor = 0

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """List new events; filter again if acknowledgements changed, which a query may name."""
        if new.event_log is not old.event_log:
            self._show_newest()
        elif self.filter_query and new.acks is not old.acks:
            self._update_lines()
            self._move_to(self._cursor)
        elif new.ambiguous_names is not old.ambiguous_names:
            self.refresh()

    def _show_newest(self) -> None:
        """List the events; the cursor stays on its event unless it stands on the newest."""
        event = self._lines[self._cursor].event if self._cursor < len(self._lines) else None
        self._update_lines()
        if self._cursor:
            places = (place for place, line in enumerate(self._lines) if line.event == event)
            self._move_to(next(places, self._cursor))

    def watch_filter_query(self) -> None:
        """Show the events that match, from the newest on."""
        self._update_lines()
        self._move_to(0)

    def watch_options(self) -> None:
        """Redraw the event under the cursor wherever else it is shown."""
        self._highlight()

    @property
    def matches(self) -> int:
        """How many events match, groups counted once."""
        return sum(line.depth == 0 for line in self._lines)

    def _update_lines(self) -> None:
        self._lines = []
        zone = zone_of(self.options.times)
        for event in reversed(logged(self.state.event_log, self.filter_query, zone, self.state.acks)):
            self._lines.append(_Line(event, 0))
            if self._is_open(event):
                self._lines += [_Line(member, 1) for member in event.members]
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.post_message(self.LinesChanged())
        self._highlight()

    def _is_open(self, event: Event) -> bool:
        return bool(event.members) and _group_key(event) in self._open

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(event.size.width, len(self._lines))

    def _move_to(self, place: int) -> None:
        self._cursor = min(max(place, 0), max(len(self._lines) - 1, 0))
        top, height = self.scroll_offset.y, self.size.height
        if not top <= self._cursor < top + height:
            y = self._cursor if self._cursor < top else self._cursor - height + 1
            self.scroll_to(y=y, animate=False, immediate=True)
        self._highlight()

    def _highlight(self) -> None:
        self.post_message(self.Highlighted(self._lines[self._cursor].event if self._lines else None))
        self.refresh()

    def action_move(self, lines: int) -> None:
        self._move_to(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_to(self._cursor + pages * self.size.height)

    def action_choose(self) -> None:
        """Open or close a group; for a single event, go to its environment."""
        if not self._lines:
            return
        event = self._lines[self._cursor].event
        if event.members:
            self._open ^= {_group_key(event)}
            self._update_lines()
        elif event.id is not None:
            self.post_message(self.Selected((event.profile, event.id)))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked line; choose it on a double click."""
        self._move_to(self.scroll_offset.y + event.y)
        if event.chain > 1:
            self.action_choose()

    def render_line(self, y: int) -> Strip:
        width, place = self.scrollable_content_region.width, self.scroll_offset.y + y
        if place >= len(self._lines):
            text = ""
            if not self._lines and y == 1:
                text = _NO_MATCH if self.state.event_log else _NO_EVENTS
            faint = self.rich_style + self.get_component_rich_style("log--faint", partial=True)
            return Strip([Segment(text, faint)]).adjust_cell_length(width, self.rich_style)
        (event, depth), is_cursor, glyphs = self._lines[place], place == self._cursor, self.options.glyphs
        base = self.rich_style
        if is_cursor:
            base += self.get_component_rich_style("log--cursor", partial=True)
        look, zone = event_style(event), zone_of(self.options.times)
        style = base + self.get_component_rich_style(f"log--{look.style}", partial=True)
        faint = base + self.get_component_rich_style("log--faint", partial=True)
        sign = " " if not event.members else glyphs.opened if self._is_open(event) else glyphs.closed
        head = f"{glyphs.cursor if is_cursor else ' '}{'  ' * depth}{sign}"
        when = f"{clock_text(event.at, zone)}  "
        name = self._name_columns(event)
        room = max(width - len(head) - len(when) - 3 - cells(name) - 1, 0)
        segments = [
            Segment(head, base),
            Segment(when, faint),
            Segment(f"{look.ascii if glyphs.is_ascii else look.glyph}  ", style),
            Segment(f"{name} " if name else "", base),
            Segment(shortened(event_text(event, zone), room, ellipsis=glyphs.ellipsis), style),
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _name_columns(self, event: Event) -> Clean:
        """Return the columns of the profile and the name, if the event has them."""
        name, ellipsis = "", self.options.glyphs.ellipsis
        if event.name is not None:
            tail = id_tail(event.name, event.id, self.state.ambiguous_names)
            shown = shortened(event.name, _NAME - len(tail), keep="ends", ellipsis=ellipsis)
            name = fitted(Clean(f"{shown}{tail}"), _NAME)
        if event.profile:
            name = f"{fitted(event.profile, _PROFILE, ellipsis=ellipsis)} {name}"
        return Clean(name)
