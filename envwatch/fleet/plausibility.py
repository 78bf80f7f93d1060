"""Which instants of a row can be true, and whether a server's `Date` can.

Pure. A platform whose schema changes may send seconds for milliseconds: such a heartbeat is decades off and proves
nothing. A wrong `Date` header makes every heartbeat look old, or in the future, at the same time. Verdicts are decided
in `tracking`.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.clock import ServerClock
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.outcome import ListedPage, Snapshot

_EARLIEST_MS = limits.EARLIEST_TIME.timestamp() * 1000
_AHEAD_MS = limits.MOST_AHEAD / MS
_TOLERANCE_MS = limits.SKEW_TOLERANCE / MS


def latest_possible(clock: ServerClock, at: ServerMs) -> ServerMs:
    """Return the latest instant that a row can hold.

    While the clock is unknown nothing is too late, as this machine's own may stand in 1970.
    """
    return ServerMs(at + _AHEAD_MS if clock.is_known else inf)


def without_impossible(environment: Environment, before: Environment | None, latest: ServerMs) -> Environment:
    """Return a row without the instants before 2020 or after the latest possible one; the same row if all are possible.

    An impossible heartbeat or start of the connection becomes None. `first_seen_at` and `last_seen_at` are always
    there: they are taken from the row in an earlier listing, if there is one.
    """
    beat_at, connected_at, seen_at = environment.last_heartbeat_at, environment.connected_at, environment.last_seen_at
    # Written out for speed: this runs for every row that has changed.
    if (
        (beat_at is None or _EARLIEST_MS <= beat_at <= latest)
        and (connected_at is None or _EARLIEST_MS <= connected_at <= latest)
        and _EARLIEST_MS <= seen_at <= latest
        and _EARLIEST_MS <= environment.first_seen_at <= latest
    ):
        return environment
    seen = environment if before is None else before
    return replace(
        environment,
        last_heartbeat_at=_possible(beat_at, latest),
        connected_at=_possible(connected_at, latest),
        last_seen_at=_possible(seen_at, latest) or seen.last_seen_at,
        first_seen_at=_possible(environment.first_seen_at, latest) or seen.first_seen_at,
    )


def _possible(instant: ServerMs | None, latest: ServerMs) -> ServerMs | None:
    return instant if instant is not None and _EARLIEST_MS <= instant <= latest else None


def believed_clock(
    clock: ServerClock, date_error_ms: float | None, snapshot: Snapshot, limits: Limits
) -> tuple[ServerClock, float | None]:
    """Return the server's clock after a listing, and the error of its `Date` in ms where the clock before is kept.

    It is kept if no heartbeat fits the `Date`, and at the first listing whose `Date` jumped by more than one beat.

    The clock and the error given are those of the listing before.
    """
    by_date = clock
    for bounds in snapshot.clock:
        by_date = by_date.with_bounds(bounds)
    error_ms = by_date.offset - clock.offset
    has_jumped = clock.is_known and abs(error_ms) > _TOLERANCE_MS
    is_new = date_error_ms is None or abs(error_ms - date_error_ms) > _TOLERANCE_MS
    if (has_jumped and is_new) or is_date_wrong(snapshot.pages, by_date.offset, clock.offset, limits):
        return clock, error_ms
    return by_date, None


def is_date_wrong(
    pages: Iterable[ListedPage], date_offset_ms: float, believed_offset_ms: float, limits: Limits
) -> bool:
    """Whether the heartbeats of a listing fit the clock believed so far, and none fits the server's `Date`.

    A heartbeat fits the `Date` if it is younger than what makes a row offline, and the other clock if it is younger
    than what makes a row late, as machines that are up have beaten within the last 30 s; in both cases it may be up to
    30 s in the future. The limits lie 75 s apart, so a local clock that is slightly wrong is never preferred to a right
    `Date`. Where the fleet is stale by both clocks, or both are wrong, the `Date` holds.

    Offsets are the server's clock minus the wall clock; the believed one is 0, this machine's clock, if none is known.
    """
    offline_ms, late_ms = limits.online_for / MS, limits.late_after / MS
    fits_believed = False
    for page in pages:
        for row in page.environments:
            if row.connection_id and row.last_heartbeat_at is not None:
                age_ms = page.asked_at - row.last_heartbeat_at
                if -_TOLERANCE_MS <= age_ms + date_offset_ms < offline_ms:
                    return False
                fits_believed = fits_believed or -_TOLERANCE_MS <= age_ms + believed_offset_ms < late_ms
    return fits_believed
