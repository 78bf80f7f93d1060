"""The full log of events: a screen over the dashboard, drawn line by line like the table.

Owns which groups are open and where the cursor stands. What an event says comes from `sentences`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from envwatch.eventfilter import logged
from envwatch.facts import zone_of
from envwatch.fleets import Fleets
from envwatch.history import History
from envwatch.phrases import TimeStyle, clock_text, date_text
from envwatch.query.language import Query
from envwatch.sentences import event_face, event_text
from envwatch.text import Clean, cells, fitted, shortened, wrapped
from envwatch.tui.filterbox import FilterBox
from envwatch.tui.keys import KeyLine
from envwatch.tui.lines import Line, Part
from envwatch.tui.marks import UNICODE, Marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult

    from envwatch.clock import Reading
    from envwatch.events import Event
    from envwatch.watch import WatchKey

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

    history: reactive[History] = reactive(History)
    """All events."""
    wanted: reactive[Query] = reactive(Query, init=False)
    """Which of them are shown."""
    fleets: reactive[Fleets] = reactive(Fleets, init=False, repaint=False)
    """What is known of the environments that a query may ask for."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    marks: reactive[Marks] = reactive(UNICODE)

    class Listed(Message):
        """Other events are shown."""

    class Pointed(Message):
        """The cursor stands on an event, on another or the same; on none if there is none."""

        def __init__(self, event: Event | None) -> None:
            super().__init__()
            self.event = event

    class Chosen(Message):
        """The user wants to see the environment of an event."""

        def __init__(self, key: WatchKey) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[_Entry] = []
        self._open: set[int] = set()
        self._cursor = 0

    def watch_history(self, before: History, after: History) -> None:
        """List the newest events; the cursor stays on its event."""
        self._list()
        if self._cursor and before:
            new = next((count for count, event in enumerate(reversed(after)) if event is before[-1]), 0)
            self._go(self._cursor + new)

    def watch_wanted(self) -> None:
        """Show what is asked for, from the newest on."""
        self._list()
        self._go(0)

    def watch_fleets(self) -> None:
        """Ask anew, where a query asks for environments."""
        if self.wanted:
            self._list()
            self._go(self._cursor)

    def watch_times(self) -> None:
        """Show instants the other way."""
        self._point()

    @property
    def shown(self) -> int:
        """How many events are asked for."""
        return sum(entry.depth == 0 for entry in self._entries)

    def _list(self) -> None:
        wall = self.now.wall if self.now is not None else 0.0
        self._entries = []
        for event in reversed(logged(self.history, self.wanted, self.fleets, wall, zone_of(self.times))):
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
        if self.history:
            return "  No event matches. esc clears the filter."
        return "  Nothing has happened yet. The first listing is the baseline."

    def render_line(self, y: int) -> Strip:
        """Draw one visible event."""
        width, place = self.size.width, self.scroll_offset.y + y
        if place >= len(self._entries):
            text = self._nothing if not self._entries and y == 1 else ""
            faint = self.rich_style + self.get_component_rich_style("log--faint", partial=True)
            return Strip([Segment(text, faint)]).adjust_cell_length(width, self.rich_style)
        event, depth = self._entries[place]
        base = self.rich_style
        if place == self._cursor:
            base += self.get_component_rich_style("log--cursor", partial=True)
        face = event_face(event)
        style = base + self.get_component_rich_style(f"log--{face.style}", partial=True)
        glyph = face.ascii if self.marks.is_ascii else face.glyph
        sign = " " if not event.members else self.marks.opened if id(event) in self._open else self.marks.closed
        name = fitted(event.name or Clean(""), _NAME, keep="ends", ellipsis=self.marks.ellipsis)
        head = f"{self.marks.cursor if place == self._cursor else ' '}{'  ' * depth}{sign}"
        when = f"{clock_text(event.at, zone_of(self.times))}  "
        text = event_text(event, zone_of(self.times))
        if event.name is None:
            name = Clean("")
        if event.profile:
            name = Clean(f"{fitted(event.profile, _PROFILE, ellipsis=self.marks.ellipsis)} {name}")
        room = max(width - len(head) - len(when) - 3 - cells(name) - 1, 0)
        faint = base + self.get_component_rich_style("log--faint", partial=True)
        return Strip(
            [
                Segment(head, base),
                Segment(when, faint),
                Segment(f"{glyph}  ", style),
                Segment(f"{name} " if name else "", base),
                Segment(shortened(text, room, ellipsis=self.marks.ellipsis), style),
            ]
        ).adjust_cell_length(width, base)


class LogTitle(Line):
    """How many events there are, and which are shown."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--title", "line--faint", "line--badge"}

    counted: reactive[tuple[int, int]] = reactive((0, 0))
    """Events that are shown, and events in all."""
    asked_for: reactive[str] = reactive("")
    """The query."""

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the title, and what is hidden."""
        shown, total = self.counted
        left = [Part("events", "title", 9), Part(self.asked_for, "faint", 1, is_cut=True)]
        return left, [Part(f" FILTER {shown}/{total} ", "badge") if self.asked_for else Part(f"{total}", "faint")]


class WholeEvent(Static):
    """All of the event under the cursor, with its date: its line in the list may be cut."""

    LINES = 2

    event: reactive[Event | None] = reactive(None, always_update=True, init=False)
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE, init=False)
    marks: reactive[Marks] = reactive(UNICODE, init=False)

    def watch_event(self) -> None:
        """Tell it."""
        self._tell()

    def on_resize(self) -> None:
        """Wrap anew."""
        self._tell()

    def _tell(self) -> None:
        event, width = self.event, self.content_size.width
        if event is None or not width:
            self.update("")
            return
        zone = zone_of(self.times)
        words = (date_text(event.at, zone), event.profile, event.name, event_text(event, zone))
        lines = wrapped(Clean(f" {self.marks.separator} ".join(filter(None, words))), width)
        if len(lines) > self.LINES:
            rest = Clean(" ".join(lines[self.LINES - 1 :]))
            lines[self.LINES - 1 :] = [shortened(rest, width, ellipsis=self.marks.ellipsis)]
        self.update(Content.styled("\n".join(lines), f"$state-{event_face(event).style}"))


class EventLog(ModalScreen["WatchKey | None"]):
    """The log over the dashboard; it answers with the key of an environment to go to, or with none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("e,q", "dismiss", "Close", key_display="q"),
    ]

    history: reactive[History] = reactive(History)
    fleets: reactive[Fleets] = reactive(Fleets, init=False, repaint=False)
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    marks: reactive[Marks] = reactive(UNICODE)

    def compose(self) -> ComposeResult:
        """Return the title, the list, the filter and the keys."""
        cls = EventLog
        yield LogTitle()
        yield EventList().data_bind(cls.fleets, cls.now, cls.history, cls.times, cls.marks)
        yield WholeEvent(markup=False).data_bind(cls.times, cls.marks)
        yield FilterBox().data_bind(cls.fleets)
        yield KeyLine()

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self._events.focus()

    @property
    def _events(self) -> EventList:
        return self.query_one(EventList)

    @property
    def _box(self) -> FilterBox:
        return self.query_one(FilterBox)

    @on(EventList.Listed)
    def _count(self) -> None:
        title, events = self.query_one(LogTitle), self._events
        title.counted = (events.shown, len(self.history))
        title.asked_for = str(events.wanted)

    @on(EventList.Pointed)
    def _tell_whole(self, message: EventList.Pointed) -> None:
        self.query_one(WholeEvent).event = message.event

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let keys be typed into the filter."""
        return not self._box.display if action == "filter" else super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the filter box."""
        self._box.open(self._events.wanted)
        self.refresh_bindings()

    @on(FilterBox.Asked)
    def _filter(self, message: FilterBox.Asked) -> None:
        self._events.wanted = message.query

    @on(FilterBox.Kept)
    def _close_box(self) -> None:
        self._box.display = False
        self._events.focus()
        self.refresh_bindings()

    def action_back(self) -> None:
        """Leave one layer: the box, the filter, the log."""
        if self._box.display or self._events.wanted:
            self._close_box()
            self._events.wanted = Query()
        else:
            self.dismiss()

    def on_event_list_chosen(self, message: EventList.Chosen) -> None:
        """Answer with the chosen environment."""
        self.dismiss(message.key)
