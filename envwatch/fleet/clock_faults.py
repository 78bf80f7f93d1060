"""Contradicting clocks: which clock is wrong, by how much, and what the verdicts rest on meanwhile.

The heartbeats decide. Verdicts: "Clocks" in docs/states.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.plausibility import IMPOSSIBLE
from envwatch.model.text import SafeText, clean
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks, ServerClock

_MINUTE: Final = timedelta(minutes=1)
_FIVE_SECONDS: Final = timedelta(seconds=5)


_DATE: Final = clean("DATE")
_OUR_CLOCK: Final = clean("OUR CLOCK")
_TIMES: Final = clean("TIMES")


class ClockFault(NamedTuple):
    """Contradicting clocks, for which rows read unknown."""

    wrong: SafeText
    """Which clock is wrong, and by how much."""
    judged_by: SafeText | None
    """What the verdicts rest on meanwhile; None if nothing proves a verdict."""
    badge: SafeText
    error_ms: float | None = None
    """By how much the clock is ahead, or behind if negative; None if unknown."""

    @property
    def text(self) -> SafeText:
        """What is wrong, and what still holds."""
        if self.judged_by is None:
            return clean(f"{self.wrong}: rows are unknown (clk?)")
        return clean(f"{self.wrong}: rows (clk?) are judged by {self.judged_by}, losses still count")


def clock_error(error_ms: float) -> timedelta:
    """Return a clock's error, from a minute on in steps of 5 s."""
    exact = span(abs(error_ms))
    return exact if exact < _MINUTE else _FIVE_SECONDS * round(exact / _FIVE_SECONDS)


def ahead_or_behind(error_ms: float) -> str:
    """Return `10m ahead of` or `10m behind`."""
    return f"{long_age(clock_error(error_ms))} {'ahead of' if error_ms > 0 else 'behind'}"


def date_fault(clock: ServerClock, date_error_ms: float) -> ClockFault:
    """Return the fault of a `Date` that `believed_clock` does not believe."""
    whose, by = "its earlier time", "its earlier time"
    if not clock.is_known:
        whose, by = "this machine's and all heartbeats", "this machine's clock"
    wrong = f"the server's clock (Date) is {ahead_or_behind(date_error_ms)} {whose}"
    return ClockFault(clean(wrong), clean(by), _DATE, date_error_ms)


def contradiction(
    rows: Iterable[TrackedEnvironment], clock: ServerClock, listed: Clocks, elapsed_ms: float
) -> ClockFault | None:
    """Return the fault of a clock that contradicts the heartbeat of every connected row.

    Without a `Date`, the suspect is this machine's clock.
    """
    found = []
    for row in rows:
        if not row.environment.connection_id or row.presence.is_absent:
            continue
        if not row.clock_suspect:
            return None  # nearly always the first row, so further rows cost nothing
        found.append(row)
    if not found:
        return None
    if all(row.has_impossible_time for row in found):
        return ClockFault(clean(f"every heartbeat has an impossible time ({IMPOSSIBLE})"), None, _TIMES)
    at = clock.server_time(listed.wall)
    errors = [row.skew_check.least_error_ms(at, listed.monotonic, elapsed_ms) for row in found]
    error_ms = None if min(errors) < 0 < max(errors) else max(errors, key=abs) or None
    whose, badge = ("the server's clock (Date)", _DATE) if clock.is_known else ("this machine's clock", _OUR_CLOCK)
    wrong = "contradicts every heartbeat"
    if error_ms is not None:
        wrong = f"is at least {ahead_or_behind(error_ms)} the heartbeats"
    judged_by = clean("new heartbeats")
    return ClockFault(clean(f"{whose} {wrong}"), judged_by, badge, error_ms)
