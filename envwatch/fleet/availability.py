"""How much of the time an environment was up while it was watched.

Pure. Owns the sum and how it is said. Knows of no time before it looked, and believes the events: what came and went
unseen counts as what was last seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import Kind
from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import TrackedEnvironment

_OF_PRESENCE = frozenset({Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED})
_AT_LEAST_MS: Final = 60_000.0
"""Below a minute a share says nothing."""


def availability(
    tracked: TrackedEnvironment, own_events: Sequence[Event], began_at: float, now: float
) -> tuple[float, timedelta] | None:
    """Return the share of the time watched in which an environment was up, 1 for all of it, and that time.

    All moments are by the server's clock, in ms.

    Args:
        tracked: the environment as it is known now.
        own_events: its events, oldest first, without groups.
        began_at: when watching began: at the first listing that was believed, or later, if older events were dropped.
        now: until when it was watched: mostly the newest listing that was believed.

    Returns:
        None if it was watched for less than a minute.
    """
    spent = {True: 0.0, False: 0.0}
    until, is_up = now, tracked.verdict.is_up
    for event in reversed(own_events):
        if event.kind not in _OF_PRESENCE:
            continue
        if event.at <= began_at:
            break
        at = min(event.at, until)  # the estimate of the server's clock may step back a little
        spent[is_up] += until - at
        until, is_up = at, event.before == Presence.ONLINE.value
        if event.kind is Kind.APPEARED:
            began_at = at
    spent[is_up] += max(until - began_at, 0.0)
    watched = now - began_at
    return None if watched < _AT_LEAST_MS else (spent[True] / (spent[True] + spent[False]), span(watched))


def availability_text(share: float, watched: timedelta) -> Clean:
    """Return an availability in words; 100 % is told only of what had no outage, and 0 % of what was never up."""
    permille = 1000 if share == 1 else max(min(math.floor(share * 1000), 999), 1 if share > 0 else 0)
    percent = f"{permille / 10:g}" if permille in (0, 1000) else f"{permille / 10:.1f}"
    return Clean(f"up {percent} % of the {long_age(watched)} watched")
