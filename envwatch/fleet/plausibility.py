"""Checks of a row's instants, of the server's `Date`, and of clocks.

A heartbeat in seconds instead of milliseconds is decades off. A wrong `Date` makes all heartbeats look old or future at
once; the heartbeats decide which clock is wrong. Verdicts: "Clocks" in docs/states.md.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import MonotonicS, ServerClock, ServerMs
from envwatch.model.limits import EARLIEST_MS, Limits
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import ListedPage, Snapshot


IMPOSSIBLE: Final = clean("before 2020, or more than a day ahead")

_AHEAD_MS = limits.MOST_AHEAD / MS
_TOLERANCE_MS = limits.SKEW_TOLERANCE / MS


def latest_possible(clock: ServerClock, at: ServerMs) -> ServerMs:
    """Return the latest plausible instant of a row.

    The instant is infinite while the server's clock is unknown: this machine's clock may be years behind.
    """
    return ServerMs(at + _AHEAD_MS if clock.is_known else inf)


def without_impossible(environment: Environment, before: Environment | None, latest: ServerMs) -> Environment:
    """Return a row without instants before 2020 or after `latest`.

    An impossible heartbeat or connection time becomes None. An impossible `first_seen_at` or `last_seen_at` is replaced
    by the earlier row's, if any.
    """
    beat_at, connected_at, seen_at = environment.last_heartbeat_at, environment.connected_at, environment.last_seen_at
    # Inlined for speed: this runs for every changed row.
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
    """Return the server's clock after a listing, and the error in ms of a `Date` not believed.

    The previous clock stays if `is_date_wrong`, and at the first listing after a jump of the `Date` by over 30 s.
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
    """Whether a listing's heartbeats fit the believed clock, and none fits the server's `Date`.

    A heartbeat fits the `Date` up to the age of offline, but the believed clock only up to the age of late, 75 s less,
    so a slightly wrong local clock never beats a right `Date`. Up to 30 s in the future fit both.
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


class LastHeartbeat(NamedTuple):
    """An environment's newest heartbeat."""

    connection_id: SafeText
    at: ServerMs
    elapsed_ms: float
    """Elapsed time at the last listing with the heartbeat."""


class SkewCheck(NamedTuple):
    """Bounds of the server's clock from the listings with a heartbeat.

    A heartbeat is at least as old as the first listing with the heartbeat, by the monotonic clock. An advanced
    heartbeat is younger than the last listing with the previous heartbeat, by `ProfileState.elapsed_ms`. Both bounds
    hold after a sleep, in which the monotonic clock may stand still.
    """

    listed_at: MonotonicS = MonotonicS(0.0)
    """Request of the first listing with the heartbeat."""
    previous_elapsed_ms: float | None = None
    """The previous heartbeat's `elapsed_ms`; None without an observed advance."""
    lowest_ms: float = -inf
    """Lower bound of the server's clock minus the monotonic clock."""
    highest_ms: float = inf
    """Upper bound of the server's clock minus elapsed time."""

    @classmethod
    def for_heartbeat(
        cls, beat_at: ServerMs, listed_at: MonotonicS, previous_elapsed_ms: float | None = None
    ) -> SkewCheck:
        """Return a heartbeat's check."""
        highest_ms = inf if previous_elapsed_ms is None else beat_at - previous_elapsed_ms + _TOLERANCE_MS
        return cls(listed_at, previous_elapsed_ms, beat_at - listed_at * 1000 - _TOLERANCE_MS, highest_ms)

    def least_age_ms(self, now: MonotonicS) -> float:
        """Return the heartbeat's least age in ms."""
        return (now - self.listed_at) * 1000

    def contradicts(self, at: ServerMs, now: MonotonicS, elapsed_ms: float) -> bool:
        """Whether the server's clock gives the heartbeat an impossible age."""
        return self.least_error_ms(at, now, elapsed_ms) != 0

    def least_error_ms(self, at: ServerMs, now: MonotonicS, elapsed_ms: float) -> float:
        """Return the least error of the server's clock in ms, negative if behind."""
        if (behind := self.lowest_ms - (at - now * 1000)) > 0:
            return -behind - _TOLERANCE_MS
        return ahead + _TOLERANCE_MS if (ahead := at - elapsed_ms - self.highest_ms) > 0 else 0.0


_MINUTE: Final = timedelta(minutes=1)
_FIVE_SECONDS: Final = timedelta(seconds=5)


class Doubt(StrEnum):
    """Why data may be wrong, in the words of the badge `DATA ?`, gravest first."""

    STALLED = "stalled"
    HELD = "held"
    TIMES = "times"
    STALE = "stale"
    SERVER_CLOCK = "server clock"
    OUR_CLOCK = "our clock"
    FAILING = "failing"


class ClockFault(NamedTuple):
    """A contradiction between clocks and heartbeats, which makes rows unknown."""

    wrong: SafeText
    judged_by: SafeText | None
    """Basis of the verdicts; None if nothing proves a verdict."""
    doubt: Doubt
    error_ms: float | None = None
    """The clock's lead in ms, negative for a delay; None if unknown."""

    @property
    def text(self) -> SafeText:
        """A sentence about the fault and the basis of the verdicts."""
        if self.judged_by is None:
            return clean(f"{self.wrong}: machines are unknown (clk?)")
        return clean(f"{self.wrong}: machines (clk?) are judged by {self.judged_by}, losses page")


def clock_error(error_ms: float) -> timedelta:
    """Return the error without sign, in steps of 5 s from a minute on."""
    exact = span(abs(error_ms))
    return exact if exact < _MINUTE else _FIVE_SECONDS * round(exact / _FIVE_SECONDS)


def ahead_or_behind(error_ms: float) -> str:
    """Return `10m ahead of` or `10m behind`."""
    return f"{long_age(clock_error(error_ms))} {'ahead of' if error_ms > 0 else 'behind'}"


def date_fault(clock: ServerClock, date_error_ms: float) -> ClockFault:
    """Return the fault of a `Date` rejected by `believed_clock`."""
    whose, by = "its earlier time", "its earlier time"
    if not clock.is_known:
        whose, by = "this machine's and all heartbeats", "this machine's clock"
    wrong = f"the server's clock (Date) is {ahead_or_behind(date_error_ms)} {whose}"
    return ClockFault(clean(wrong), clean(by), Doubt.SERVER_CLOCK, date_error_ms)


IMPOSSIBLE_TIMES: Final = ClockFault(clean(f"every heartbeat has an impossible time ({IMPOSSIBLE})"), None, Doubt.TIMES)


def contradiction(checks: Iterable[SkewCheck], clock: ServerClock, listed: Clocks, elapsed_ms: float) -> ClockFault:
    """Return the fault of the clock that contradicts every connected row's heartbeat.

    Without a `Date`, the suspect is this machine's clock. `checks` is not empty.
    """
    at = clock.server_time(listed.wall)
    errors = [check.least_error_ms(at, listed.monotonic, elapsed_ms) for check in checks]
    error_ms = None if min(errors) < 0 < max(errors) else max(errors, key=abs) or None
    whose, doubt = "this machine's clock", Doubt.OUR_CLOCK
    if clock.is_known:
        whose, doubt = "the server's clock (Date)", Doubt.SERVER_CLOCK
    wrong = "contradicts every heartbeat"
    if error_ms is not None:
        wrong = f"is at least {ahead_or_behind(error_ms)} the heartbeats"
    judged_by = clean("new heartbeats")
    return ClockFault(clean(f"{whose} {wrong}"), judged_by, doubt, error_ms)
