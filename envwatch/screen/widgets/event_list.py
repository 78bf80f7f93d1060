"""The list of events, filtered in slices with keys handled in between."""

from __future__ import annotations

import asyncio
from itertools import chain, takewhile
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from envwatch.fleet.events import Event, EventLog, Kind, flatten
from envwatch.model.text import cells, composed, fitted, shortened, wrapped
from envwatch.model.times import clock_text
from envwatch.query.language import Query
from envwatch.query.presentation import TIMELESS
from envwatch.screen.state import MonitorState, StateNode
from envwatch.screen.widgets.line import STATE_STYLES
from envwatch.views.events.event_text import empty_log_text, event_style, fitting_text
from envwatch.views.events.matching import EventFilter
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from textual import events


_NAME = 24
_NARROW = 66
"""Least cells for times with seconds and names in a column."""
_PROFILE = 9
_SLICE = 200
"""Events of a slice, about 5 ms of work."""
_NO_MATCH = "  No event matches. esc clears the filter."


def _group_key(event: Event) -> tuple[object, ...]:
    """Return a group's identity: equal events may be different objects."""
    return event.profile, event.kind, event.of, event.at, event.members[0].id


class EventList(ScrollView, StateNode, can_focus=True):
    """The events, newest first; a group unfolds in place."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="log.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="log.up"),
        Binding("g,home", "move(-1000000)", "Top", show=False, id="log.top"),
        Binding("G,end", "move(1000000)", "Bottom", show=False, id="log.bottom"),
        Binding("ctrl+d,pagedown", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("enter", "choose", "Open group or machine", key_display="⏎", id="log.choose"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"log--{style}" for style in (*STATE_STYLES, "cursor", "faint")}

    highlighted: reactive[Event | None] = reactive(None, always_update=True, repaint=False)
    """The cursor's event, set again at each redraw."""

    def __init__(self) -> None:
        super().__init__()
        self.filter_query = Query()
        self._queries: tuple[Query, ...] = (self.filter_query,)
        """The query, then the fallback without matches."""
        self._steps: Iterator[None] | None = None
        self._log = EventLog()
        self._events: list[Event] = []
        self._texts: dict[int, str] = {}
        self._lines: Sequence[Event] = ()
        """Events by line; 10,000 tuples instead would cost a garbage collection."""
        self._inner: set[int] = set()
        self._open: set[tuple[object, ...]] = set()
        self._cursor = 0

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Filter again after changed acknowledgements, which a query may name."""
        if self.filter_query and new.monitor.acks is not old.monitor.acks:
            self._run(self._filter_all(self._queries))
        elif new.monitor.event_log is not old.monitor.event_log and self._steps is None:
            self._run(self._add_new())
        elif new.ambiguous_names is not old.ambiguous_names:
            self.refresh()

    def filter_by(self, *queries: Query) -> None:
        """Show the matches of the first query with a match."""
        self.filter_query, self._queries = queries[0], queries
        self._cursor = 0
        self._run(self._filter_all(queries))

    def _run(self, steps: Iterator[None]) -> None:
        self._steps = steps
        if next(steps, True) is None:
            self.run_worker(self._take_steps(steps))

    async def _take_steps(self, steps: Iterator[None]) -> None:
        while self._steps is steps:
            await asyncio.sleep(0)
            if self._steps is steps:
                next(steps, None)

    def _filter_all(self, queries: Iterable[Query]) -> Iterator[None]:
        log, found = self.state.monitor.event_log, list[Event]()
        for query in queries:
            found = yield from self._matching(query, reversed(log))
            self.filter_query = query
            if found:
                break
        self._log, self._events = log, found
        yield from self._add_new()

    def _add_new(self) -> Iterator[None]:
        while self._log is not (log := self.state.monitor.event_log):
            before = self._log
            newest = before[-1] if before else None
            new = list(takewhile(lambda event: event is not newest, reversed(log)))  # noqa: B023  used in the loop only
            if len(before) + len(new) < len(log):  # older events were added in front
                new = list(reversed(log))
            found = yield from self._matching(self.filter_query, new)
            dropped = {id(event) for event in before[: len(before) + len(new) - len(log)]}
            kept = [event for event in self._events if id(event) not in dropped]
            self._log, self._events = log, found + kept
            for event in flatten(before[: len(dropped)]):
                self._texts.pop(id(event), None)
        self._queries, self._steps = (self.filter_query,), None
        self._update_lines()

    def _matching(self, query: Query, newest_first: Iterable[Event]) -> Generator[None, None, list[Event]]:
        if not query:
            return list(newest_first)
        state, zone = self.state, self.options.zone
        profile_name = next(iter(state.monitor.fleet)).profile_name
        context = TIMELESS._replace(judge=state.judge, profile=profile_name)
        event_filter = EventFilter(query, zone, context, self._texts)
        tested, found = 0, list[Event]()
        for event in newest_first:
            for does_match in event_filter.results(event):
                tested += 1
                if tested % _SLICE == 0:
                    yield
                if does_match:
                    found.append(event)
                    break
        return found

    def watch_options(self) -> None:
        self._texts.clear()
        self._highlight()

    @property
    def matches(self) -> int:
        return len(self._events)

    def _update_lines(self) -> None:
        """List the matches; the cursor keeps an event that was not the newest."""
        event = self._lines[self._cursor] if 0 < self._cursor < len(self._lines) else None
        groups = [each for each in self._events if self._is_open(each)] if self._open else []
        self._inner = {id(member) for group in groups for member in group.members}
        self._lines = self._events
        if groups:
            opened = ((each, *each.members) if self._is_open(each) else (each,) for each in self._events)
            self._lines = list(chain.from_iterable(opened))
        self.virtual_size = Size(self.size.width, len(self._lines))
        self._move_to(next((n for n, line in enumerate(self._lines) if line is event), self._cursor))

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

    def go_to_notice(self, text: str) -> None:
        places = (place for place, event in enumerate(self._lines) if event.kind is Kind.NOTICE)
        self._move_to(next((place for place in places if self._lines[place].reason == text), self._cursor))

    def _highlight(self) -> None:
        self.highlighted = self._lines[self._cursor] if self._lines else None
        self.refresh()

    def action_move(self, lines: int) -> None:
        self._move_to(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_to(self._cursor + pages * self.size.height)

    async def action_choose(self) -> None:
        event = self.highlighted
        if event is not None and event.members:
            self._open ^= {_group_key(event)}
            self._update_lines()
        else:
            await self.run_action("screen.go_to_environment")

    async def on_click(self, event: events.Click) -> None:
        self._move_to(self.scroll_offset.y + event.y)
        if event.chain > 1:
            await self.action_choose()

    def render_line(self, y: int) -> Strip:
        width, place = self.scrollable_content_region.width, self.scroll_offset.y + y
        if place >= len(self._lines):
            text = self._empty_line(y - 1, width) if not self._lines else ""
            faint = self.rich_style + self.get_component_rich_style("log--faint", partial=True)
            return Strip([Segment(text, faint)]).adjust_cell_length(width, self.rich_style)
        event, is_cursor, glyphs = self._lines[place], place == self._cursor, self.options.glyphs
        base = self.rich_style
        if is_cursor:
            base += self.get_component_rich_style("log--cursor", partial=True)
        look, zone = event_style(event, self.state.block), self.options.zone
        style = base + self.get_component_rich_style(f"log--{look.style}", partial=True)
        faint = base + self.get_component_rich_style("log--faint", partial=True)
        sign = " " if not event.members else glyphs.opened if self._is_open(event) else glyphs.closed
        head = f"{glyphs.cursor if is_cursor else ' '}{'  ' * (id(event) in self._inner)}{sign}"
        time = clock_text(event.at, zone)[: 5 if width < _NARROW else 8]  # the text below the list has date and zone
        when, name = f"{time}  ", self._name_columns(event, width)
        room = max(width - len(head) - len(when) - 3 - cells(name) - 1, 0)
        segments = [
            Segment(head, base),
            Segment(when, faint),
            Segment(f"{glyphs.of(look)}  ", style),
            Segment(f"{name} " if name else "", base),
            Segment(shortened(fitting_text(event, zone, room), room, ellipsis=glyphs.ellipsis), style),
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _empty_line(self, number: int, width: int) -> str:
        if self.state.monitor.event_log:
            return _NO_MATCH if number == 0 else ""
        lines = wrapped(empty_log_text(self.state.monitor.fleet, self.state.now, self.options.zone), width - 4)
        return f"  {lines[number]}" if 0 <= number < len(lines) else ""

    def _name_columns(self, event: Event, width: int) -> str:
        name, ellipsis = "", self.options.glyphs.ellipsis
        if event.name is not None:
            tail = id_tail(event.name, event.id, self.state.ambiguous_names)
            shown = shortened(event.name, _NAME - len(tail), keep="ends", ellipsis=ellipsis)
            name = composed(f"{shown}{tail}")
            name = name if width < _NARROW else fitted(name, _NAME)
        if event.profile:
            name = f"{fitted(event.profile, _PROFILE, keep='ends', ellipsis=ellipsis)} {name}"
        return name
