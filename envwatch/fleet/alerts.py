"""When the terminal's bell rings: for losses that hold, all that are due together at once, and seldom.

Pure: the moment is an argument, and so is the test whether a loss still holds. The periods stand in `limits`. Whether
the bell is on, and how it sounds, is decided elsewhere.
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

    from envwatch.model.clock import MonotonicS

_HOLDS_S: Final = limits.BELL_HOLDS.total_seconds()
_EVERY_S: Final = limits.BELL_EVERY.total_seconds()
_NAME_CELLS: Final = 60
"""Cells of a name in a notification."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss that is not announced yet."""

    event: Event
    noticed_at: MonotonicS


@dataclass(frozen=True, slots=True)
class Alerts:
    """The losses that are not announced yet, and when the bell last rang."""

    waiting: tuple[Loss, ...] = ()
    """One for each environment, the longest waiting first."""
    rang_at: MonotonicS | None = None
    """None before the first bell."""

    def with_events(self, events: Iterable[Event], at: MonotonicS) -> Alerts:
        """Return the alerts after a listing's events; an environment that is lost again waits from the newer loss on.

        An offline environment that becomes gone is no second loss: it replaces the first while that waits, and is
        ignored once that was announced.

        Args:
            events: in groups or alone.
            at: now.
        """
        losses = [event for event in flatten(events) if event.kind in {Kind.OFFLINE, Kind.GONE}]
        if not losses:
            return self
        waiting = {_key(loss.event): loss for loss in self.waiting}
        for event in losses:
            key = _key(event)
            if event.kind is Kind.GONE and event.before == Presence.OFFLINE.value:
                if key in waiting:
                    waiting[key] = replace(waiting[key], event=event)
            else:
                waiting.pop(key, None)
                waiting[key] = Loss(event, at)
        return replace(self, waiting=tuple(waiting.values()))

    def due(self, at: MonotonicS, holds: Callable[[Event], bool | None]) -> tuple[Alerts, tuple[Event, ...]]:
        """Return the alerts at a moment, and the losses to announce with one bell; no bell if there are none.

        Args:
            at: now.
            holds: whether the environment of a loss is still offline or gone; None while that is unknown.
        """
        may_ring = self.rang_at is None or at - self.rang_at >= _EVERY_S
        waiting, due = [], []
        for loss in self.waiting:
            held = holds(loss.event)
            if held and may_ring and at - loss.noticed_at >= _HOLDS_S:
                due.append(loss.event)
            elif held is not False:
                waiting.append(loss)
        return Alerts(tuple(waiting), at if due else self.rang_at), tuple(due)


def ring_text(events: Sequence[Event]) -> Clean:
    """Return the losses in short: `mac-mini-2 went offline`, `mac-mini-2 and 2 others went offline`; at least one."""
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
    return (event.profile, event.id)
