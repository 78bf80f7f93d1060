"""The lines of the log of events, drawn one by one like the table's.

Owns which groups are open and where the cursor stands. What an event says comes from `sentences`, which events are
listed from `eventfilter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from envwatch.model.text import Clean, cells, fitted, shortened
from envwatch.model.times import TimeStyle, clock_text, zone_of
from envwatch.query.language import Query
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.views.event_filter import logged
from envwatch.views.event_text import event_style, event_text
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import EnvironmentKey

_NAME = 24
"""Cells of the names' column."""


_PROFILE = 9
"""Cells of the profile before it, where several are watched."""


class _Entry(NamedTuple):
    event: Event
    depth: int


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

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--cursor",
        "log--faint",
        "log--plain",
        "log--online",
        "log--offline",
        "log--late",
        "log--unknown",
        "log--flapping",
        "log--gone",
        "log--unrestricted",
    }

    event_log: reactive[Sequence[Event]] = reactive(())
    """All events, oldest first."""
    wanted: reactive[Query] = reactive(Query, init=False)
    """Which of them are shown."""
    acks: reactive[Acks] = reactive(dict, init=False, repaint=False)
    """Problems that are acknowledged, for whom a query may ask."""
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset)
    """Names that do not tell environments apart."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    glyphs: reactive[Glyphs] = reactive(UNICODE)

    class Listed(Message):
        """Other events are shown."""

    class Pointed(Message):
        """The cursor stands on an event, on another or the same; on none if there is none."""

        def __init__(self, event: Event | None) -> None:
            super().__init__()
            self.event = event

    class Chosen(Message):
        """The user wants to see the environment of an event."""

        def __init__(self, key: EnvironmentKey) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[_Entry] = []
        self._open: set[int] = set()
        self._cursor = 0

    def watch_event_log(self) -> None:
        """List the newest events; the cursor stays on its event, unless it stood on the newest."""
        event = self._entries[self._cursor].event if self._cursor < len(self._entries) else None
        self._list()
        if self._cursor:
            places = (place for place, entry in enumerate(self._entries) if entry.event is event)
            self._go(next(places, self._cursor))

    def watch_acks(self) -> None:
        """Ask anew, where a query asks for what is acknowledged."""
        if self.wanted:
            self._list()
            self._go(self._cursor)

    def watch_wanted(self) -> None:
        """Show what is asked for, from the newest on."""
        self._list()
        self._go(0)

    def watch_times(self) -> None:
        """Show instants the other way."""
        self._point()

    @property
    def shown(self) -> int:
        """How many events are asked for."""
        return sum(entry.depth == 0 for entry in self._entries)

    def _list(self) -> None:
        self._entries = []
        for event in reversed(logged(self.event_log, self.wanted, zone_of(self.times), self.acks)):
            self._entries.append(_Entry(event, 0))
            if id(event) in self._open:
                self._entries += [_Entry(member, 1) for member in event.members]
        self.virtual_size = Size(self.size.width, len(self._entries))
        self.post_message(self.Listed())
        self._point()

    def on_resize(self, event: events.Resize) -> None:
        """Take the new width."""
        self.virtual_size = Size(event.size.width, len(self._entries))

    def _go(self, place: int) -> None:
        self._cursor = min(max(place, 0), max(len(self._entries) - 1, 0))
        top, height = self.scroll_offset.y, self.size.height
        if not top <= self._cursor < top + height:
            y = self._cursor if self._cursor < top else self._cursor - height + 1
            self.scroll_to(y=y, animate=False, immediate=True)
        self._point()

    def _point(self) -> None:
        self.post_message(self.Pointed(self._entries[self._cursor].event if self._entries else None))
        self.refresh()

    def action_move(self, lines: int) -> None:
        """Move the cursor by so many lines."""
        self._go(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is visible."""
        self._go(self._cursor + pages * self.size.height)

    def action_choose(self) -> None:
        """Open or close a group; for a single event, go to its environment."""
        if not self._entries:
            return
        event = self._entries[self._cursor].event
        if event.members:
            self._open ^= {id(event)}
            self._list()
        elif event.id is not None:
            self.post_message(self.Chosen((event.profile, event.id)))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the line under the pointer; choose it on a double click."""
        self._go(self.scroll_offset.y + event.y)
        if event.chain > 1:
            self.action_choose()

    @property
    def _nothing(self) -> str:
        if self.event_log:
            return "  No event matches. esc clears the filter."
        return "  Nothing has happened yet. The first listing is the baseline."

    def render_line(self, y: int) -> Strip:
        """Draw one visible event."""
        width, place = self.scrollable_content_region.width, self.scroll_offset.y + y
        if place >= len(self._entries):
            text = self._nothing if not self._entries and y == 1 else ""
            faint = self.rich_style + self.get_component_rich_style("log--faint", partial=True)
            return Strip([Segment(text, faint)]).adjust_cell_length(width, self.rich_style)
        event, depth = self._entries[place]
        base = self.rich_style
        if place == self._cursor:
            base += self.get_component_rich_style("log--cursor", partial=True)
        face = event_style(event)
        style = base + self.get_component_rich_style(f"log--{face.style}", partial=True)
        glyph = face.ascii if self.glyphs.is_ascii else face.glyph
        sign = " " if not event.members else self.glyphs.opened if id(event) in self._open else self.glyphs.closed
        name = self._named(event)
        head = f"{self.glyphs.cursor if place == self._cursor else ' '}{'  ' * depth}{sign}"
        when = f"{clock_text(event.at, zone_of(self.times))}  "
        text = event_text(event, zone_of(self.times))
        room = max(width - len(head) - len(when) - 3 - cells(name) - 1, 0)
        faint = base + self.get_component_rich_style("log--faint", partial=True)
        return Strip(
            [
                Segment(head, base),
                Segment(when, faint),
                Segment(f"{glyph}  ", style),
                Segment(f"{name} " if name else "", base),
                Segment(shortened(text, room, ellipsis=self.glyphs.ellipsis), style),
            ]
        ).adjust_cell_length(width, base)

    def _named(self, event: Event) -> Clean:
        """Return the columns of the profile and the name, as far as an event has them."""
        name = ""
        if event.name is not None:
            tail = id_tail(event.name, event.id, self.ambiguous)
            keep = shortened(event.name, _NAME - len(tail), keep="ends", ellipsis=self.glyphs.ellipsis)
            name = fitted(Clean(f"{keep}{tail}"), _NAME)
        if event.profile:
            name = f"{fitted(event.profile, _PROFILE, ellipsis=self.glyphs.ellipsis)} {name}"
        return Clean(name)
