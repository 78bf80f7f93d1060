"""What `watch` writes of each update of the monitor: which events, and in which format. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.query.field_types import MatchContext
from envwatch.query.language import Query
from envwatch.views.block import block_of
from envwatch.views.cloud_events import cloud_event, initial_event, line_of
from envwatch.views.columns import COLUMNS
from envwatch.views.event_filter import EventFilter
from envwatch.views.event_lines import GAP, encoded, event_line, initial_line, layout_of
from envwatch.views.event_text import event_style
from envwatch.views.state_style import painted, style_of
from envwatch.views.table_view import in_default_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

    from envwatch.fleet.events import Event
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText
    from envwatch.views.event_lines import Layout


class EventFormat(StrEnum):
    """The output formats of `watch`."""

    TEXT = "text"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream:
    """How events become lines."""

    sources: Mapping[SafeText, str]
    """Of the events of each profile, see `cloud_events.source_of`."""
    format: EventFormat = EventFormat.TEXT
    query: Query = field(default_factory=Query)
    """Which environments' events are written; what is about the fleet always is."""
    profile_name: SafeText = NO_PROFILE
    """The profile's name where only one is watched."""
    has_initial: bool = False
    """Whether the environments of each first listing are written, before what changes in it."""
    encoding: str = "utf-8"
    ascii_only: bool = False
    """Both of the text; JSON is UTF-8."""
    has_colours: bool = False
    """Whether the word of each line of the text has the colour of the state."""
    zone: tzinfo = UTC
    """Of the times in the text; those in JSON are UTC."""

    def lines(self, before: Monitor, monitor: Monitor, events: Iterable[Event], now: Clocks) -> Iterator[bytes]:
        """Yield the lines of one update, each with its end, given the monitor before and after it."""
        if chosen := self._chosen(events, monitor):
            layout = layout_of(monitor.fleet, self.zone)
            for event in chosen:
                yield self._line(event, monitor, now, layout)
        if self.has_initial:
            for profile, profile_state in monitor.fleet.by_profile.items():
                if profile_state.listed is not None and before.fleet.by_profile[profile].listed is None:
                    yield from self._initial(
                        profile_state, profile_state.clock.server_time(profile_state.listed.wall), monitor, now
                    )

    def past_lines(self, events: Iterable[Event], fleet: Fleet) -> Iterator[bytes]:
        """Yield the lines of events of earlier runs, each with its end; each row is as the event keeps it.

        The names in `fleet`, as they were last, decide the widths.
        """
        blank = Monitor(Fleet({profile: ProfileState(profile=profile) for profile in self.sources}))
        layout = layout_of(fleet, self.zone)
        for event in self._chosen(events, blank):
            yield self._line(event, blank, Clocks(WallMs(event.at), MonotonicS(0.0)), layout)

    def _chosen(self, events: Iterable[Event], monitor: Monitor) -> list[Event]:
        event_filter = EventFilter(self.query, None, monitor.is_acked, self.profile_name)

        def is_about_fleet(event: Event) -> bool:
            return event.id is None and not event.members

        return [event for event in events if is_about_fleet(event) or any(event_filter.results(event))]

    def _line(self, event: Event, monitor: Monitor, now: Clocks, layout: Layout) -> bytes:
        if self.format is EventFormat.JSONL:
            return line_of(cloud_event(event, monitor, now, self.sources[event.profile]))
        return self._encoded(event_line(event, layout), event_style(event).style)

    def _encoded(self, line: SafeText, style: str) -> bytes:
        """Return a line with its end, with the word after the time in a style."""
        text: str = line
        if self.has_colours:
            time, word, *_ = text.split(None, 2)
            text = f"{time}{GAP}{painted(word, style)}{text.removeprefix(f'{time}{GAP}{word}')}"
        return encoded(text, self.encoding, ascii_only=self.ascii_only)

    def _initial(self, profile_state: ProfileState, at: ServerMs, monitor: Monitor, now: Clocks) -> Iterator[bytes]:
        context = MatchContext(at, monitor.is_acked, self.profile_name)
        matches = self.query.test(context, tuple(COLUMNS.values()))
        layout, in_block = layout_of(monitor.fleet, self.zone), block_of(monitor, now).keys
        for tracked in in_default_order(filter(matches, profile_state.environments.values())):
            if self.format is EventFormat.JSONL:
                yield line_of(initial_event(tracked, monitor, now, self.sources[tracked.profile]))
            else:
                is_unknown = monitor.fleet.is_unknown(tracked, now)
                line = initial_line(tracked, at, layout, is_unknown=is_unknown)
                style = style_of(tracked, is_unknown=is_unknown).style
                yield self._encoded(line, "gone" if style == "offline" and tracked.key not in in_block else style)
