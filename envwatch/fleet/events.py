"""Events, and periods between two events.

An event is a change of an environment or the platform, never a heartbeat's age. In a period, data is missing, old or
not believed; a first and a last event mark the period, whatever the number of polls.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from heapq import merge
from itertools import compress, pairwise, repeat
from operator import attrgetter, not_
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, overload

from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from envwatch.fleet.presence import Verdict
    from envwatch.model.environment import Environment


NO_PROFILE: Final = EMPTY
"""Profile key if only a single profile is polled."""
NOT_RUNNING: Final = clean("envwatch did not run")


class Kind(StrEnum):
    """Kinds of events."""

    APPEARED = "appeared"
    ONLINE = "online"
    OFFLINE = "offline"
    RECONNECTED = "reconnected"
    """A new connection without an observed loss."""
    RESTARTED = "restarted"
    """A new connection of another listener process or version."""
    GONE = "gone"
    NOT_BACK = "not back"
    """Still offline at the end of a silence."""
    RETURNED = "returned"
    MODE = "mode"
    VERSION = "version"
    BRANCH = "branch"
    RENAMED = "renamed"
    CHANGED = "changed"
    """A new directory, node version, OS, pod or user."""
    FLAPPING = "flapping"
    STEADY = "steady"
    TOGETHER = "together"
    WHILE_BLIND = "while blind"
    """All changes while blind, asleep or not running."""
    HELD = "held"
    RELEASED = "hold ended"
    STALLED = "stalled"
    RESUMED = "resumed"
    CLOCK_WRONG = "clock wrong"
    CLOCK_RIGHT = "clock right"
    BLIND = "blind"
    VISIBLE = "visible again"
    FAILING = "polls fail"
    REACHED = "polls succeed"
    """Two polls in a row failed, or a poll succeeded again."""
    KEY_REFUSED = "key refused"
    KEY_ACCEPTED = "key accepted"
    PAGES = "pages"
    DOES_NOT_PAGE = "does not page"
    """A loss pages from now on, or no longer."""
    ACKNOWLEDGED = "acknowledged"
    ACK_ENDED = "ack ended"
    """An acknowledgement may end before the loss. `Ack.uuid` is `after` at the begin, `before` at the end."""
    SLEPT = "slept"
    """Sleep of this machine, or stop of the process."""
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """State of an environment at an event."""

    environment: Environment
    verdict: Verdict
    is_flapping: bool = False
    clock_suspect: bool = False
    """Whether the heartbeat's age is uncertain: the skew check decides the verdict, the heartbeat's time is impossible,
    or the `Date` is not believed."""
    left_pod_id: SafeText | None = None
    """The last pod, kept while the row has none."""

    @property
    def parts(self) -> tuple[Any, ...]:
        """The values of the declared fields."""
        return _STATE_PARTS(self)

    @property
    def present_state(self) -> EnvironmentState:
        """A copy without fields of subclasses."""
        return EnvironmentState(*self.parts)


_STATE_PARTS: Final[Callable[[EnvironmentState], tuple[Any, ...]]] = attrgetter(
    *(each.name for each in dataclasses.fields(EnvironmentState))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of an environment, a profile or envwatch."""

    kind: Kind
    at: ServerMs
    """Request of the listing that proved the change."""
    profile: SafeText = NO_PROFILE
    id: SafeText | None = None
    """None for an event of the whole profile."""
    name: SafeText | None = None
    field: str | None = None
    before: SafeText | None = None
    after: SafeText | None = None
    """A presence, a connection's id, or a field's text."""
    reason: SafeText | None = None
    lasted: timedelta | None = None
    of: Kind | None = None
    members: tuple[Event, ...] = ()
    since: ServerMs | None = None
    """Begin of the period: the time of the newest data before."""
    incident: SafeText | None = None
    """Id of the incident of a loss or return."""
    then: EnvironmentState | None = dataclasses.field(default=None, compare=False, repr=False)
    """The environment's state; a loss has the earlier row, because a disconnected row has no pod."""


def is_never_seen(event: Event) -> bool:
    """Whether an expected environment went off that no listing has had, so that nothing was before."""
    return event.kind is Kind.OFFLINE and event.before is None


def flatten(events: Iterable[Event]) -> list[Event]:
    """Return the events with groups replaced by members."""
    return [leaf for event in events for leaf in (flatten(event.members) if event.members else [event])]


def leaves(events: Iterable[Event], group: Event | None = None) -> Iterator[tuple[Event, Event | None]]:
    """Yield the ungrouped events with the outermost groups."""
    for event in events:
        if event.members:
            yield from leaves(event.members, group or event)
        else:
            yield event, group


Periods: TypeAlias = "Mapping[Kind, ServerMs]"
"""Begins of open periods, by the first event's kind."""

NO_PERIODS: Final[Periods] = MappingProxyType({})

ENDS: Final[Mapping[Kind, Kind]] = {
    Kind.BLIND: Kind.VISIBLE,
    Kind.FAILING: Kind.REACHED,
    Kind.KEY_REFUSED: Kind.KEY_ACCEPTED,
    Kind.HELD: Kind.RELEASED,
    Kind.STALLED: Kind.RESUMED,
    Kind.CLOCK_WRONG: Kind.CLOCK_RIGHT,
}

_SLEPT_MS: Final = limits.SLEPT_FROM / MS

BY_ANY_LISTING: Final = frozenset({Kind.FAILING, Kind.KEY_REFUSED})
"""Periods that any listing ends, believed or not."""


def blind_after(interval: timedelta) -> timedelta:
    """Return the largest age of data before blindness."""
    return max(limits.BLIND_AT_LEAST, limits.STALE_INTERVALS * interval)


def begun(periods: Periods, *events: Event) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods after `events`, and the events of new periods.

    A period begins at `Event.since`, else at `Event.at`.
    """
    new = tuple(event for event in events if event.kind not in periods)
    begins = {event.kind: event.at if event.since is None else event.since for event in new}
    return MappingProxyType({**periods, **begins}) if new else periods, new


def ended(
    periods: Periods, ends: Mapping[Kind, ServerMs], profile: SafeText, reason: SafeText | None = None
) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods without `ends`, and an event for each ended period."""
    # A served listing's time is uncertain by a request's duration: no period ends before the begin.
    over = [(ENDS[kind], max(ends[kind], since), since) for kind, since in periods.items() if kind in ends]
    events = tuple(
        Event(kind=kind, at=end, profile=profile, since=since, lasted=span(end - since), reason=reason)
        for kind, end, since in over
    )
    if not events:
        return periods, ()
    return MappingProxyType({kind: since for kind, since in periods.items() if kind not in ends}), events


def woken(
    periods: Periods, last_awake: Clocks, now: Clocks, at: ServerMs | None, profile: SafeText
) -> tuple[Periods, tuple[Event, ...], float]:
    """Return the periods without the sleep, the events, and the change of the wall clock in ms.

    The server's clock tells a sleep from a set wall clock, which is a notice. `last_awake` are the clocks before the
    sleep, `now` the clocks at the first listing's request, and `at` the server's time then, if known.
    """
    since, rest = periods[Kind.SLEPT], dict(periods)
    del rest[Kind.SLEPT]
    measured_ms, drift_ms = (now.monotonic - last_awake.monotonic) * 1000, now.drift_since(last_awake) * 1000
    if at is None:
        at = ServerMs(since + now.wall - last_awake.wall)
    slept_ms = at - since - measured_ms
    set_by_ms, events = drift_ms - slept_ms, list[Event]()
    if slept_ms > _SLEPT_MS or abs(drift_ms) <= _SLEPT_MS:
        # The monotonic clock stands still in a sleep, but not in a stopped process.
        lasted = span(slept_ms if slept_ms > _SLEPT_MS else at - since)
        events.append(Event(kind=Kind.SLEPT, at=ServerMs(max(at, since)), profile=profile, since=since, lasted=lasted))
    if abs(set_by_ms) <= _SLEPT_MS:
        set_by_ms = 0.0
    else:
        # A `Date` has no fractions of a second.
        by = long_age(span(5_000 * round(abs(set_by_ms) / 5_000)))
        text = composed(f"this machine's clock was set {'ahead' if set_by_ms > 0 else 'back'} by {by}")
        events.append(Event(kind=Kind.NOTICE, at=at, profile=profile, reason=text))
    return MappingProxyType(rest), tuple(events), set_by_ms


_Key: TypeAlias = "tuple[SafeText, SafeText | None]"
_ONE_POLL_MS: Final = 1_000.0
"""Closer events came with the same poll, because no poll interval is shorter."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EventLog(Sequence[Event]):
    """Events and groups, oldest first."""

    _events: tuple[Event, ...] = ()
    _total: int = 0
    _polls: tuple[int, ...] = ()
    """Poll number of each event; below 0 for loaded past events."""
    _by_environment: Mapping[_Key, tuple[Event, ...]] = field(default_factory=dict)
    cut_at: ServerMs | None = None
    """Time of the newest dropped event."""
    added: int = 0
    """Number of events since the start, with dropped events."""

    def with_events(self, events: Sequence[Event], most: int = limits.EVENTS_KEPT) -> EventLog:
        """Return the log with newer events, oldest first: at most `most` with group members, but always the newest."""
        number = max(self._polls[-1] + 1, 0) if self._polls else 0
        all_events, new = (*self._events, *events), flatten(events)
        polls = (*self._polls, *repeat(number, len(events)))
        following = self._of_newest(all_events, self._total + len(new), polls, most)
        by_environment = dict(self._by_environment)
        for event in new:
            key = (event.profile, event.id)
            by_environment[key] = (*by_environment.get(key, ()), event)
        for event in flatten(all_events[: len(all_events) - len(following)]):
            _, *rest = by_environment.pop(key := (event.profile, event.id))
            if rest:
                by_environment[key] = tuple(rest)
        return replace(following, _by_environment=by_environment, added=self.added + len(events))

    def when_added(self, added: int) -> EventLog:
        """Return the log with the past and the first `added` events since the start."""
        kept = len(self._events) - (self.added - added)
        return self._with_those([place < kept for place in range(len(self._events))])

    def known(self, is_known: Callable[[Event], bool]) -> EventLog:
        """Return the log with the known events, a leading part of each profile's events."""
        return self._with_those([is_known(event) for event in self._events])

    def _with_those(self, are_kept: Sequence[bool]) -> EventLog:
        if all(are_kept):
            return self
        by_environment = dict(self._by_environment)
        later = Counter((event.profile, event.id) for event in flatten(compress(self._events, map(not_, are_kept))))
        for key, count in later.items():
            by_environment[key] = by_environment[key][:-count]
        start = bisect_left(self._polls, 0)
        return EventLog(
            tuple(compress(self._events, are_kept)),
            self._total - later.total(),
            tuple(compress(self._polls, are_kept)),
            by_environment,
            self.cut_at,
            self.added - are_kept[start:].count(False),
        )

    def with_past(self, events: Sequence[Event], most: int = limits.EVENTS_KEPT) -> EventLog:
        """Return the log with a profile's new past events, in order, before the live events."""
        start = bisect_left(self._polls, 0)
        live = self._events[start:]
        known = set(live)
        older = (event for event in events if event not in known)
        past = tuple(merge(self._events[:start], older, key=attrgetter("at")))
        all_events, polls = (*past, *live), (*_poll_numbers(past), *self._polls[start:])
        following = self._of_newest(all_events, len(flatten(all_events)), polls, most)
        by_environment = defaultdict(list)
        for event in flatten(following):
            by_environment[event.profile, event.id].append(event)
        return replace(following, _by_environment={key: tuple(each) for key, each in by_environment.items()})

    def _of_newest(self, events: tuple[Event, ...], total: int, polls: tuple[int, ...], most: int) -> EventLog:
        first = 0
        while total > most and first < len(events) - 1:
            total -= len(flatten(events[first : first + 1]))
            first += 1
        cut_at = events[first - 1].at if first else self.cut_at
        return EventLog(events[first:], total, polls[first:], {}, cut_at, self.added)

    def for_environment(self, key: _Key) -> Sequence[Event]:
        """Return an environment's events, oldest first, without groups."""
        return self._by_environment.get(key, ())

    def with_poll_of(self, event: Event) -> Sequence[Event]:
        """Return all events of an event's poll, oldest first."""
        place = next((place for place, each in enumerate(reversed(self._events), 1) if each is event), None)
        if place is None:
            return (event,)
        poll = self._polls[-place]
        first, end = bisect_left(self._polls, poll), bisect_right(self._polls, poll)
        return self._events[first:end]

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, place: int | slice) -> Event | tuple[Event, ...]:
        return self._events[place]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __reversed__(self) -> Iterator[Event]:
        return reversed(self._events)


def _poll_numbers(events: Sequence[Event]) -> Iterator[int]:
    number = -len(events)
    for before, event in pairwise((*events[:1], *events)):
        number += event.profile != before.profile or abs(event.at - before.at) >= _ONE_POLL_MS
        yield number
