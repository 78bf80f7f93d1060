"""When the terminal's bell rings: for losses that hold, all that are due together by one bell, and seldom.

Pure: the moment is an argument, in monotonic seconds, and so is whoever knows whether a loss still holds. The numbers
stand in `limits`. How a bell sounds, and whether anybody wants one, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model import limits
from envwatch.model.text import Clean, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_HOLDS: Final = limits.BELL_HOLDS.total_seconds()
_EVERY: Final = limits.BELL_EVERY.total_seconds()

_NAME_CELLS: Final = 60
"""Cells of a name in a notification."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss that waits for its bell."""

    event: Event
    noticed_at: float
    """When it was heard of, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """Which losses wait for a bell, and when the last one rang."""

    waiting: tuple[Loss, ...] = ()
    """One for each environment, the longest waiting first."""
    rang_at: float | None = None
    """When the last bell rang, in monotonic seconds; None before the first."""

    def with_events(self, events: Iterable[Event], at: float) -> Alerts:
        """Return the alarm after a listing's events; what is lost again waits from the newer loss on.

        That an offline environment is gone as well is no second loss: while the first still waits, it goes on as this
        one, and a bell that rang for the first has told.

        Args:
            events: in groups or alone.
            at: now, in monotonic seconds.
        """
        news = [event for event in flatten(events) if event.kind in {Kind.OFFLINE, Kind.GONE}]
        if not news:
            return self
        waiting = {_key(loss.event): loss for loss in self.waiting}
        for event in news:
            key = _key(event)
            if event.kind is Kind.GONE and event.before == Presence.OFFLINE.value:
                if key in waiting:
                    waiting[key] = replace(waiting[key], event=event)
            else:
                waiting.pop(key, None)
                waiting[key] = Loss(event, at)
        return replace(self, waiting=tuple(waiting.values()))

    def due(self, at: float, holds: Callable[[Event], bool | None]) -> tuple[Alerts, tuple[Event, ...]]:
        """Return the alarm at a moment, and the losses that one bell is to ring for now; none for no bell.

        Args:
            at: now, in monotonic seconds.
            holds: whether the environment of a loss is still offline or gone; None while that cannot be said.
        """
        may_ring = self.rang_at is None or at - self.rang_at >= _EVERY
        waiting, due = [], []
        for loss in self.waiting:
            held = holds(loss.event)
            if held and may_ring and at - loss.noticed_at >= _HOLDS:
                due.append(loss.event)
            elif held is not False:
                waiting.append(loss)
        return Alerts(tuple(waiting), at if due else self.rang_at), tuple(due)


def ring_text(events: Sequence[Event]) -> Clean:
    """Return what a bell rings for, short: `mac-mini-2 went offline`, `mac-mini-2 and 2 others went offline`.

    Args:
        events: the losses, at least one.
    """
    first, others = events[0], len(events) - 1
    who = shortened(Clean(first.name or first.id or ""), _NAME_CELLS, keep="ends")
    if others:
        who = Clean(f"{who} and {others} other{'s' if others > 1 else ''}")
    kinds = {event.kind for event in events}
    if kinds == {Kind.OFFLINE}:
        return Clean(f"{who} went offline")
    if kinds == {Kind.GONE}:
        return Clean(f"{who} {'are' if others else 'is'} gone")
    return Clean(f"{who} went offline or are gone")


def _key(event: Event) -> tuple[Clean, Clean | None]:
    """Return which environment an event is about."""
    return (event.profile, event.id)
