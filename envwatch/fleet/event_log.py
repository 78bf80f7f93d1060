"""The newest events, and those of each environment by its key.

Pure: `after` returns the next log. How events are shown is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias, overload

from envwatch.fleet.events import Event, flatten
from envwatch.model import limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.model.clock import ServerMs
    from envwatch.model.text import Clean

_Key: TypeAlias = "tuple[Clean, Clean | None]"
"""Profile and id of an environment."""


class EventLog(Sequence[Event]):
    """Events, oldest first, groups among them."""

    def __init__(self) -> None:
        self._events: tuple[Event, ...] = ()
        self._sizes: tuple[int, ...] = ()
        """Of each event, how many it stands for."""
        self._by_environment: Mapping[_Key, tuple[Event, ...]] = {}
        self.cut_at: ServerMs | None = None
        """When the newest of the dropped events happened; None if all are here."""

    def after(self, events: Sequence[Event], most: int = limits.EVENTS_KEPT) -> EventLog:
        """Return the log with newer events, without the oldest where there are too many.

        Args:
            events: oldest first.
            most: events that are kept, each member of a group counted; the newest is kept however large it is.
        """
        following = EventLog()
        all_events = (*self._events, *events)
        sizes = (*self._sizes, *(len(flatten((event,))) for event in events))
        kept = max(sum(total <= most for total in accumulate(reversed(sizes))), 1)
        dropped = all_events[:-kept]
        following._events, following._sizes = all_events[-kept:], sizes[-kept:]
        following.cut_at = dropped[-1].at if dropped else self.cut_at
        by_environment = dict(self._by_environment)
        for event in flatten(events):
            key = (event.profile, event.id)
            by_environment[key] = (*by_environment.get(key, ()), event)
        for event in flatten(dropped):
            _, *rest = by_environment.pop(key := (event.profile, event.id))
            if rest:
                by_environment[key] = tuple(rest)
        following._by_environment = by_environment
        return following

    def of(self, key: _Key) -> Sequence[Event]:
        """Return the events of one environment, oldest first and without groups."""
        return self._by_environment.get(key, ())

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
