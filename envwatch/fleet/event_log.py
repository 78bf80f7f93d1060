"""What has happened so far: the newest events, and those of each environment at hand.

Pure: a history is a value, and `after` makes the next one. Knows nothing of how events are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias, overload

from envwatch.fleet.events import Event, flatten
from envwatch.model import limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.model.text import Clean

_Key: TypeAlias = "tuple[Clean, Clean | None]"
"""Profile and id of an environment."""


class EventLog(Sequence[Event]):
    """Events, oldest first, groups among them."""

    def __init__(self) -> None:
        self._events: tuple[Event, ...] = ()
        self._sizes: tuple[int, ...] = ()
        """Of each event, how many it stands for."""
        self._own: Mapping[_Key, tuple[Event, ...]] = {}
        self.cut_at: float | None = None
        """When the newest of those that were dropped happened (server's clock, ms); None if all are here."""

    def after(self, events: Sequence[Event], most: int = limits.EVENTS_KEPT) -> EventLog:
        """Return the history with newer events, without the oldest where there are too many.

        Args:
            events: those that are newer, oldest first.
            most: events that are kept, each member of a group counted; the newest is kept however large it is.
        """
        following = EventLog()
        all_events = (*self._events, *events)
        sizes = (*self._sizes, *(len(flatten((event,))) for event in events))
        kept = max(sum(total <= most for total in accumulate(reversed(sizes))), 1)
        dropped = all_events[:-kept]
        following._events, following._sizes = all_events[-kept:], sizes[-kept:]
        following._own = _without(_with(self._own, events), dropped)
        following.cut_at = dropped[-1].at if dropped else self.cut_at
        return following

    def of(self, key: _Key) -> Sequence[Event]:
        """Return the events of one environment, oldest first and without groups."""
        return self._own.get(key, ())

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


def _with(own: Mapping[_Key, tuple[Event, ...]], events: Sequence[Event]) -> dict[_Key, tuple[Event, ...]]:
    more = dict(own)
    for event in flatten(events):
        key = (event.profile, event.id)
        more[key] = (*more.get(key, ()), event)
    return more


def _without(own: dict[_Key, tuple[Event, ...]], oldest: Sequence[Event]) -> dict[_Key, tuple[Event, ...]]:
    for event in flatten(oldest):
        key = (event.profile, event.id)
        _, *rest = own.pop(key)
        if rest:
            own[key] = tuple(rest)
    return own
