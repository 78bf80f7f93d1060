"""Which instants of a row can be true.

Pure. A platform whose schema changes may send seconds for milliseconds: such a heartbeat is thousands of years off, and
says nothing of its machine. Verdicts are `watch`'s business.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from envwatch import rules

if TYPE_CHECKING:
    from envwatch.clock import ServerClock
    from envwatch.models import Environment

_EARLIEST_MS = rules.EARLIEST_TIME.timestamp() * 1000
_AHEAD_MS = rules.MOST_AHEAD.total_seconds() * 1000


def latest_possible(clock: ServerClock, at: float) -> float:
    """Return the latest instant that a row can hold, in milliseconds since the epoch.

    Args:
        clock: the server's; while it is unknown nothing is too late, for this machine's own clock may stand in 1970.
        at: the moment of the listing by that clock, in ms.
    """
    return at + _AHEAD_MS if clock.is_known else inf


def is_possible(instant: float, latest: float) -> bool:
    """Whether an instant, in milliseconds since the epoch, is neither before 2020 nor after the latest one possible."""
    return _EARLIEST_MS <= instant <= latest


def without_impossible(environment: Environment, before: Environment | None, latest: float) -> Environment:
    """Return a row without the instants that cannot be true; the same row if all can.

    Heartbeat and beginning of the connection become None. When it was seen is always there: what the row before said
    of that stays, if there is one.

    Args:
        environment: the row as received.
        before: the same row in an earlier listing.
        latest: see `latest_possible`.
    """
    changes: dict[str, Any] = {}
    for name in ("last_heartbeat_at", "connected_at"):
        instant = getattr(environment, name)
        if instant is not None and not is_possible(instant, latest):
            changes[name] = None
    if before is not None:
        for name in ("first_seen_at", "last_seen_at"):
            if not is_possible(getattr(environment, name), latest):
                changes[name] = getattr(before, name)
    return replace(environment, **changes) if changes else environment
