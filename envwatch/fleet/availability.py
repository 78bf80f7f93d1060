"""The share of the observed time in which an environment was up.

Pure. Computed from events alone: a change that no listing showed does not count.
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
"""A share of less than a minute means nothing."""


def availability(
    tracked: TrackedEnvironment, own_events: Sequence[Event], began_at: float, now: float
) -> tuple[float, timedelta] | None:
    """Return the share of the observed time in which an environment was up, from 0 to 1, and that time.

    Args:
        tracked: the environment now.
        own_events: its events, oldest first, without groups.
        began_at: the first believed listing, or later if older events were dropped; server's clock in ms.
        now: the end of the observed time, mostly the newest believed listing; server's clock in ms.

    Returns:
        None if it was observed for less than a minute.
    """
    spent = {True: 0.0, False: 0.0}  # ms, by whether it was up
    until, is_up = now, tracked.verdict.is_up
    for event in reversed(own_events):
        if event.kind not in _OF_PRESENCE:
            continue
        if event.at <= began_at:
            break
        at = min(event.at, until)  # the estimated server's clock may step back a little
        spent[is_up] += until - at
        until, is_up = at, event.before == Presence.ONLINE.value
        if event.kind is Kind.APPEARED:
            began_at = at
    spent[is_up] += max(until - began_at, 0.0)
    observed_ms = now - began_at
    return None if observed_ms < _AT_LEAST_MS else (spent[True] / (spent[True] + spent[False]), span(observed_ms))


def availability_text(share: float, watched: timedelta) -> Clean:
    """Return an availability in words: 100 % only without any outage, 0 % only if it was never up."""
    permille = 1000 if share == 1 else max(min(math.floor(share * 1000), 999), 1 if share > 0 else 0)
    percent = f"{permille / 10:g}" if permille in (0, 1000) else f"{permille / 10:.1f}"
    return Clean(f"up {percent} % of the {long_age(watched)} watched")
