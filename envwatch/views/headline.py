"""The choice of the event for the news line: minor changes do not push out a loss.

Pure. The wording belongs to `event_text`.
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
_FLEET_WIDE = frozenset({Kind.WHILE_BLIND, Kind.STALLED, Kind.RESUMED})
"""The kinds that concern the whole fleet, or envwatch's view of it."""

_STANDS_MS = limits.HEADLINE_STANDS / timedelta(milliseconds=1)


def headline(event_log: Sequence[Event], now_of: Callable[[Event], float]) -> Event | None:
    """Return the most severe event within `limits.HEADLINE_STANDS`, of several the newest.

    Without a severe one it is the newest event, and None without events. A loss is no longer severe once all of its
    environments are back.

    Args:
        event_log: events, oldest first.
        now_of: returns the current moment by the clock of an event's server, in ms.
    """
    most_severe: Event | None = None
    returned: set[tuple[Clean, Clean | None]] = set()
    for event in reversed(event_log):
        if now_of(event) - event.at >= _STANDS_MS:
            break
        singles = flatten([event])
        returned |= {(single.profile, single.id) for single in singles if single.kind in _RETURNS}
        is_over = returned and all((single.profile, single.id) in returned for single in singles)
        if not is_over and _severity(event) > (_severity(most_severe) if most_severe is not None else 0):
            most_severe = event
    return most_severe or (event_log[-1] if event_log else None)


def _severity(event: Event) -> int:
    """Return 2 for what concerns many, 1 for a single loss or a change to unrestricted, 0 for the rest."""
    if event.kind in _FLEET_WIDE or event.of in _LOSSES:
        return 2
    return int(event.kind in _LOSSES or (event.kind is Kind.MODE and event.after == UNRESTRICTED))
