"""The lines of `watch`.

Cleaned text keeps an event on a single line. Names are not cut, so that a person can search for a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.text import SafeText, cells, clean, composed, counted, fitted
from envwatch.model.times import NOTHING, moment
from envwatch.query.language import Query
from envwatch.query.presentation import TIMELESS, MatchContext
from envwatch.query.state_looks import style_of
from envwatch.views.events.cloud_events import cloud_event, cloud_event_line, initial_event, word_of
from envwatch.views.events.event_text import VERBS, event_names_text, event_style, event_text
from envwatch.views.events.matching import EventFilter
from envwatch.views.state_style import lasted_text, painted, state_text
from envwatch.views.table.block import build_block
from envwatch.views.table.columns import SEARCHED
from envwatch.views.table.table_view import AmbiguousNames, id_tail, in_default_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment


GAP: Final = "  "
_WORD_CELLS: Final = 13
"""The width of `does-not-page`, the longest word."""
_WIDEST_NAME: Final = 40
_FLEET: Final = clean("-")
_INITIAL: Final = clean("initial")

_ASCII: Final = {"→": "->", "…": "...", "–": "-", "·": "-"}


class Layout(NamedTuple):
    """The columns' widths in cells, and the ambiguous names."""

    name: int
    profile: int = 0
    """0 hides the column."""
    ambiguous: frozenset[SafeText] = frozenset()
    zone: tzinfo = UTC

    def named(self, name: SafeText, id_: SafeText) -> SafeText:
        """Return a name, unique by a part of the id."""
        tail = id_tail(name, id_, self.ambiguous)
        return composed(f"{name}{tail}") if tail else name

    def line(self, at: float, word: SafeText, profile: SafeText, name: SafeText, details: SafeText) -> SafeText:
        """Return a line without line end."""
        when = moment(at, self.zone)
        time = clean(when.isoformat(timespec="seconds").replace("+00:00", "Z")) if when else NOTHING
        columns = [time, _padded(word, _WORD_CELLS)]
        if self.profile:
            columns.append(_padded(profile, self.profile))
        columns += [_padded(name, self.name), details]
        return composed(GAP.join(columns).rstrip(" "))


def layout_of(fleet: Fleet, zone: tzinfo = UTC) -> Layout:
    """Return column widths for all names of a fleet."""
    named = {(tracked.environment.id, tracked.environment.label) for tracked in fleet.environments}
    profile = max(map(cells, fleet.by_profile), default=0) if fleet.are_several else 0
    layout = Layout(0, profile, AmbiguousNames().among(fleet.environments), zone)
    widest = max((cells(layout.named(label, id_)) for id_, label in named), default=cells(_FLEET))
    if len(named) > 1:
        widest = max(widest, cells(counted(len(named), "machine")))  # the count replaces the name of a group
    return layout._replace(name=min(widest, _WIDEST_NAME))


def event_line(event: Event, layout: Layout) -> SafeText:
    """Return an event's line, without line end."""
    if event.members:
        name = counted(len(event.members), "machine")
    else:
        name = _FLEET if event.id is None else layout.named(event.name or event.id, event.id)
    return layout.line(event.at, word_of(event), event.profile, name, _details(event, layout.zone))


def initial_line(tracked: TrackedEnvironment, at: float, layout: Layout, *, is_unknown: bool) -> SafeText:
    """Return the line of an environment at the begin of watching; `at` is in ms."""
    reason = "" if tracked.verdict.is_up or is_unknown else f", {tracked.reason}"
    name = layout.named(tracked.environment.label, tracked.environment.id)
    state = state_text(tracked, is_unknown=is_unknown)
    return layout.line(at, _INITIAL, tracked.profile, name, composed(f"{state}{reason}"))


def encoded(line: str, encoding: str, *, ascii_only: bool) -> bytes:
    r"""Return a line with line end as bytes, with `\x…` for characters outside the encoding."""
    if ascii_only:
        for character, plain in _ASCII.items():
            line = line.replace(character, plain)
        encoding = "ascii"
    return f"{line}\n".encode(encoding, "backslashreplace")


def _padded(text: SafeText, width: int) -> SafeText:
    return fitted(text, max(width, cells(text)))


def _details(event: Event, zone: tzinfo) -> SafeText:
    match None if event.members else event.kind:
        case Kind.ONLINE:
            parts = [lasted_text(event, "was off for")]
        case Kind.RETURNED:
            parts = [event.after or "", lasted_text(event, "was gone for")]
        case _:
            parts = [_without_kind(event_text(event, zone).replace(" · ", ", "), event)]
    return composed(", ".join(part for part in parts if part))


def _without_kind(text: str, event: Event) -> str:
    if event.kind is Kind.TOGETHER:
        return f"together, {f'all {event.reason}' if event.reason else event_names_text(event.members)}"
    if event.members and event.kind is Kind.NOT_BACK and event.reason:
        return f"{event.reason.removeprefix(f'{event.kind} ')}, {event_names_text(event.members)}"
    if event.members and event.kind is not Kind.WHILE_BLIND:
        names, people = event_names_text(event.members), (Kind.ACKNOWLEDGED, Kind.ACK_ENDED)
        return f"{names}, {event.reason}" if event.kind in people and event.reason else names
    word = word_of(event)
    kinds = (f"{len(event.members)} changed while blind", event.kind.value, word, VERBS.get(event.kind, word))
    said = next((kind for kind in kinds if text.startswith(kind)), "")
    return text.removeprefix(said).lstrip(":, ")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream:
    """Turns events into the lines of `watch`."""

    sources: Mapping[SafeText, str]
    is_json: bool = False
    query: Query = field(default_factory=Query)
    """Selects events; events about the whole fleet are always written."""
    profile_name: SafeText = NO_PROFILE
    has_initial: bool = False
    """Whether to write the rows of each first listing."""
    encoding: str = "utf-8"
    ascii_only: bool = False
    """`encoding`, `ascii_only` and `zone` apply to text. JSON is UTF-8, with times in UTC."""
    has_colours: bool = False
    zone: tzinfo = UTC

    def lines(self, before: Monitor, monitor: Monitor, events: Iterable[Event], now: Clocks) -> Iterator[bytes]:
        """Yield an update's lines, with line ends."""
        if chosen := self._chosen(events, monitor, now):
            layout = layout_of(monitor.fleet, self.zone)
            for event in chosen:
                yield self._line(event, monitor, now, layout)
        if self.has_initial:
            for profile, profile_state in monitor.fleet.by_profile.items():
                if (at := profile_state.listed_at) is not None and before.fleet.by_profile[profile].listed is None:
                    yield from self._initial(profile_state, at, monitor, now)

    def past_lines(self, events: Iterable[Event], fleet: Fleet) -> Iterator[bytes]:
        """Yield the lines of earlier runs' events; the names in `fleet` set the column widths."""
        blank = Monitor(Fleet({profile: ProfileState(profile=profile) for profile in self.sources}))
        layout = layout_of(fleet, self.zone)
        for event in self._chosen(events, blank, Clocks(WallMs(0.0), MonotonicS(0.0))):
            yield self._line(event, blank, Clocks(WallMs(event.at), MonotonicS(0.0)), layout)

    def _chosen(self, events: Iterable[Event], monitor: Monitor, now: Clocks) -> list[Event]:
        context = TIMELESS._replace(judge=monitor.judge(now), profile=self.profile_name)
        results = EventFilter(self.query, None, context).results
        return [event for event in events if (event.id is None and not event.members) or any(results(event))]

    def _line(self, event: Event, monitor: Monitor, now: Clocks, layout: Layout) -> bytes:
        if self.is_json:
            return cloud_event_line(cloud_event(event, monitor, now, self.sources[event.profile]))
        return self._encoded(event_line(event, layout), event_style(event).style)

    def _encoded(self, line: SafeText, style: str) -> bytes:
        text: str = line
        if self.has_colours:
            time, word, *_ = text.split(None, 2)
            text = f"{time}{GAP}{painted(word, style)}{text.removeprefix(f'{time}{GAP}{word}')}"
        return encoded(text, self.encoding, ascii_only=self.ascii_only)

    def _initial(self, profile_state: ProfileState, at: ServerMs, monitor: Monitor, now: Clocks) -> Iterator[bytes]:
        context = MatchContext(at, monitor.judge(now), self.profile_name)
        matches = self.query.test(context, SEARCHED)
        layout, in_block = layout_of(monitor.fleet, self.zone), build_block(monitor, now).keys
        for tracked in in_default_order(filter(matches, profile_state.environments.values())):
            if self.is_json:
                yield cloud_event_line(initial_event(tracked, monitor, now, self.sources[tracked.profile]))
            else:
                is_unknown = monitor.fleet.for_environment(tracked).is_unknown(tracked, now)
                line = initial_line(tracked, at, layout, is_unknown=is_unknown)
                style = style_of(tracked, is_unknown=is_unknown).style
                yield self._encoded(line, "gone" if style == "offline" and tracked.key not in in_block else style)
