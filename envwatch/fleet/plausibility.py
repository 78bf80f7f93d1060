"""Which instants of a row can be true, and whether a server's `Date` can.

Pure. A platform whose schema changes may send seconds for milliseconds: such a heartbeat is decades off and proves
nothing. A wrong `Date` header makes every heartbeat look old, or in the future, at the same time. `SkewCheck` is a
second opinion on the age of a single heartbeat. Verdicts are decided in `tracking`.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import MonotonicS, ServerMs
from envwatch.model.limits import EARLIEST_MS
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.clock import ServerClock
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.outcome import ListedPage, Snapshot
    from envwatch.model.text import SafeText


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
        (beat_at is None or EARLIEST_MS <= beat_at <= latest)
        and (connected_at is None or EARLIEST_MS <= connected_at <= latest)
        and EARLIEST_MS <= seen_at <= latest
        and EARLIEST_MS <= environment.first_seen_at <= latest
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
    return instant if instant is not None and EARLIEST_MS <= instant <= latest else None


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


_TOLERANCE_MS = limits.SKEW_TOLERANCE / MS


class LastHeartbeat(NamedTuple):
    """The newest heartbeat of an environment."""

    connection_id: SafeText
    """The connection that it came over."""
    at: ServerMs
    elapsed_ms: float
    """When a listing last held it: milliseconds elapsed since the first listing."""


class SkewCheck(NamedTuple):
    """When listings began to hold a heartbeat, and which times of the server's clock that rules out.

    A heartbeat is at least as old as the first listing that holds it. If it was seen to advance, it is younger than the
    last listing that held the one before. The first is measured by the monotonic clock, which may stand still while
    this machine sleeps; the second in *elapsed* milliseconds, each gap between two listings by whichever clock says
    more. So both hold after a sleep as well.
    """

    listed_at: MonotonicS = MonotonicS(0.0)
    """When the first listing that holds it was asked for."""
    previous_elapsed_ms: float | None = None
    """`LastHeartbeat.elapsed_ms` of the heartbeat before; None if it was never seen to advance."""
    lowest_ms: float = -inf
    """Server's clock minus monotonic clock: if less, the heartbeat would be younger than the time it was listed for."""
    highest_ms: float = inf
    """Server's clock minus elapsed time: if more, the heartbeat would be older than the one before."""

    @classmethod
    def for_heartbeat(
        cls, beat_at: ServerMs, listed_at: MonotonicS, previous_elapsed_ms: float | None = None
    ) -> SkewCheck:
        """Return the check of a heartbeat; the arguments are as the fields describe them."""
        highest_ms = inf if previous_elapsed_ms is None else beat_at - previous_elapsed_ms + _TOLERANCE_MS
        return cls(listed_at, previous_elapsed_ms, beat_at - listed_at * 1000 - _TOLERANCE_MS, highest_ms)

    def least_age_ms(self, now: MonotonicS) -> float:
        """Return how old the heartbeat is at least."""
        return (now - self.listed_at) * 1000

    def contradicts(self, at: ServerMs, now: MonotonicS, elapsed_ms: float) -> bool:
        """Whether the server's clock makes the heartbeat younger or older than it can be."""
        return at - now * 1000 < self.lowest_ms or at - elapsed_ms > self.highest_ms
