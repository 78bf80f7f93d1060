"""The newest events, and each environment's events by key."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import compress, pairwise, repeat
from operator import attrgetter, not_
from typing import TYPE_CHECKING, Final, TypeAlias, overload

from envwatch.fleet.events import Event, flatten
from envwatch.model import limits

if TYPE_CHECKING:
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText

_Key: TypeAlias = "tuple[SafeText, SafeText | None]"
_ONE_POLL_MS: Final = 1_000.0
"""Two events nearer in time came with one poll, because no poll interval is shorter."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EventLog(Sequence[Event]):
    """A sequence of events and groups, oldest first."""

    _events: tuple[Event, ...] = ()
    _total: int = 0
    """Number of events, group members counted."""
    _polls: tuple[int, ...] = ()
    """For each event the number of the poll; below 0 for loaded past events."""
    _by_environment: Mapping[_Key, tuple[Event, ...]] = field(default_factory=dict)
    cut_at: ServerMs | None = None
    """The time of the newest event that was dropped for lack of room."""
    added: int = 0
    """Number of events since the start, including dropped events."""

    def with_events(self, events: Sequence[Event], most: int = limits.EVENTS_KEPT) -> EventLog:
        """Return the log with newer events, oldest first.

        Keeps at most `most` events, counting a group's members; the newest event is kept however large.
        """
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
        """Return the log with all past events, and the first `added` events since the start."""
        kept = len(self._events) - (self.added - added)
        return self._with_those([place < kept for place in range(len(self._events))])

    def known(self, is_known: Callable[[Event], bool]) -> EventLog:
        """Return the log with the events that pass a test, which accepts a beginning of each profile's events."""
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
        """Return the log with one profile's past events before the events since the start.

        `events` are in order; events that the log has already are left out.
        """
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
