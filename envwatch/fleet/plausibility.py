"""Which instants of a row can be true, and whether a server's `Date` can.

Pure. A platform whose schema changes may send seconds for milliseconds: such a heartbeat is decades off, and says
nothing of its machine. A wrong `Date` header makes every heartbeat look old, or of the future, at the same time.
Verdicts are `tracked`'s business.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from envwatch.model import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.clock import ServerClock
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.outcome import ListedPage

_EARLIEST_MS = limits.EARLIEST_TIME.timestamp() * 1000
_AHEAD_MS = limits.MOST_AHEAD.total_seconds() * 1000
_FUTURE_MS = limits.SKEW_TOLERANCE.total_seconds() * 1000


def latest_possible(clock: ServerClock, at: float) -> float:
    """Return the latest instant that a row can hold, in milliseconds since the epoch.

    Args:
        clock: the server's; while it is unknown nothing is too late, for this machine's own clock may stand in 1970.
        at: the moment of the listing by that clock, in ms.
    """
    return at + _AHEAD_MS if clock.is_known else inf


def without_impossible(environment: Environment, before: Environment | None, latest: float) -> Environment:
    """Return a row without the instants before 2020 or after the latest one possible; the same row if all can be true.

    Heartbeat and beginning of the connection become None. When it was seen is always there: what the row before said
    of that stays, if there is one.

    Args:
        environment: the row as received.
        before: the same row in an earlier listing.
        latest: see `latest_possible`.
    """
    beat, connected_at, seen_at = environment.last_heartbeat_at, environment.connected_at, environment.last_seen_at
    # Spelt out: this is asked for every row that has changed.
    if (
        (beat is None or _EARLIEST_MS <= beat <= latest)
        and (connected_at is None or _EARLIEST_MS <= connected_at <= latest)
        and _EARLIEST_MS <= seen_at <= latest
        and _EARLIEST_MS <= environment.first_seen_at <= latest
    ):
        return environment
    seen = environment if before is None else before
    return replace(
        environment,
        last_heartbeat_at=_possible(beat, latest),
        connected_at=_possible(connected_at, latest),
        last_seen_at=_possible(seen_at, latest) or seen.last_seen_at,
        first_seen_at=_possible(environment.first_seen_at, latest) or seen.first_seen_at,
    )


def _possible(instant: float | None, latest: float) -> float | None:
    return instant if instant is not None and _EARLIEST_MS <= instant <= latest else None


def is_date_wrong(pages: Iterable[ListedPage], by_date: float, believed: float, limits: Limits) -> bool:
    """Whether the heartbeats of a listing fit the clock believed so far, and none fits the server's `Date`.

    A heartbeat fits the `Date` if it is younger than what makes a row offline, and the other clock if it is younger
    than what makes one late, for machines that are up have beaten within the last 30 s; in both cases it may be up to
    30 s of the future. Between the two limits lie 75 s, so that a local clock that is only a little wrong is never
    preferred to a right `Date`. Where the fleet is stale by both clocks, or both are wrong, the `Date` holds.

    Args:
        pages: of the listing.
        by_date: the server's clock minus ours by the `Date` headers, in ms.
        believed: the same by the clock believed before this listing: 0 for this machine's, where nothing is known.
        limits: ages at which a row is late and offline.
    """
    offline_ms, late_ms = limits.online_for.total_seconds() * 1000, limits.late_after.total_seconds() * 1000
    fits_believed = False
    for page in pages:
        for row in page.environments:
            if row.connection_id and row.last_heartbeat_at is not None:
                age = page.asked_at - row.last_heartbeat_at
                if -_FUTURE_MS <= age + by_date < offline_ms:
                    return False
                fits_believed = fits_believed or -_FUTURE_MS <= age + believed < late_ms
    return fits_believed
