"""Which event stands in the one line for the newest: a loss is not pushed out of it by small changes.

Pure. What an event says is `sentences`' business.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.model import limits
from envwatch.model.modes import UNRESTRICTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.model.text import Clean

_LOSSES = frozenset({Kind.OFFLINE, Kind.GONE})
_RETURNS = frozenset({Kind.ONLINE, Kind.RETURNED})
_OF_ALL = frozenset({Kind.WHILE_BLIND, Kind.STALLED, Kind.RESUMED})
"""What concerns the whole fleet, or our view of it."""

_STANDS_MS = limits.HEADLINE_STANDS / timedelta(milliseconds=1)


def headline(event_log: Sequence[Event], now_of: Callable[[Event], float]) -> Event | None:
    """Return the event to be told: the newest of the gravest of late, else the newest of all; None without events.

    What was lost and has all come back is no longer grave.

    Args:
        event_log: events, oldest first.
        now_of: the moment by the clock that an event was timed by, server's clock in ms.
    """
    best: Event | None = None
    back: set[tuple[Clean, Clean | None]] = set()
    for event in reversed(event_log):
        if now_of(event) - event.at >= _STANDS_MS:
            break
        ones = flatten([event])
        back |= {(one.profile, one.id) for one in ones if one.kind in _RETURNS}
        is_over = back and all((one.profile, one.id) in back for one in ones)
        if _gravity(event) > (_gravity(best) if best is not None else 0) and not is_over:
            best = event
    return best or (event_log[-1] if event_log else None)


def _gravity(event: Event) -> int:
    if event.kind in _OF_ALL or event.of in _LOSSES:
        return 2
    return int(event.kind in _LOSSES or (event.kind is Kind.MODE and event.after == UNRESTRICTED))
