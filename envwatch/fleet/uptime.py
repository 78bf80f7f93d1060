"""A row's uptime in the last watched week, and whether the row is permanent.

Times are in ms of *watched time*, in which this machine's envwatch saw the fleet. Watched time seven days ago weighs
1/e of watched time now.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from math import exp, log
from typing import Final, NamedTuple

from envwatch.model import limits
from envwatch.model.text import SafeText, composed
from envwatch.model.times import MS, span

_WINDOW_MS: Final = limits.UPTIME_WINDOW / MS
_LONGEST_OUTAGE_MS: Final = limits.UPTIME_OUTAGE_AT_MOST / MS
_ROUNDING: Final = 1e-9
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_SHARE_PARTS: Final = 10_000


def _weight(lasted_ms: float) -> float:
    """Return the weight of the newest `lasted_ms` of watched time, in ms."""
    return _WINDOW_MS * (1.0 - exp(-lasted_ms / _WINDOW_MS))


_LEAST_WATCHED: Final = _weight(limits.UPTIME_KNOWN_AFTER / MS) * (1.0 - _ROUNDING)
_LEAST_SHARE: Final = limits.PERMANENT_SHARE - _ROUNDING


class Uptime(NamedTuple):
    """A row's uptime at a moment."""

    up: float = 0.0
    """Weight of the time up, in ms."""
    watched: float = 0.0
    """Weight of the time up or down, in ms."""
    at: float = 0.0
    """The moment, in the profile's watched time."""
    is_up: bool | None = True
    """State since `at`; None while unproven."""
    is_first: bool = False
    """Whether the record's first listing had the row, connected for a day, on a system that does not sleep."""

    @property
    def share(self) -> float | None:
        """The share of the watched time up, 0 to 1; None without watched time."""
        return self.up / self.watched if self.watched > 0.0 else None

    @property
    def watched_for(self) -> timedelta:
        """The watched time in the last seven days."""
        left = 1.0 - self.watched / _WINDOW_MS
        lasted_ms = -_WINDOW_MS * log(left) if left > 0.0 else _WINDOW_MS
        return span(min(lasted_ms, _WINDOW_MS))

    @property
    def is_known(self) -> bool:
        """Whether the row was watched for two days."""
        return self.watched >= _LEAST_WATCHED

    @property
    def is_permanent(self) -> bool:
        """Whether the row is up nearly all the time; unchanged while the row is down."""
        return self.up >= _LEAST_SHARE * self.watched if self.is_known else self.is_first

    def after(self, at: float, *, is_up: bool | None) -> Uptime:
        """Return the uptime at a later moment, with the state from then on.

        An outage counts when over, for at most 12 hours.
        """
        if self.is_up is False:
            if not is_up:
                return self
            return self._counted(min(at - self.at, _LONGEST_OUTAGE_MS), at)._replace(is_up=True)
        counted = self._replace(at=at) if self.is_up is None else self._counted(at - self.at, at)
        return counted._replace(is_up=is_up)

    def _counted(self, lasted_ms: float, at: float) -> Uptime:
        fresh, fade = _weight(lasted_ms), exp(-lasted_ms / _WINDOW_MS)
        up = self.up * fade + (fresh if self.is_up else 0.0)
        return self._replace(up=up, watched=self.watched * fade + fresh, at=at)


def whole_percent(share: float) -> int:
    """Return a share in whole percent, rounded down."""
    return int(share * 100 + _ROUNDING)


def share_text(share: float) -> SafeText:
    """Return a share as text: `89 %`."""
    return composed(f"{whole_percent(share)} %")


@lru_cache(maxsize=16_384)  # `serve` words every row of each listing, and an uptime stays for ten minutes
def uptime_text(uptime: Uptime) -> SafeText:
    """Return `up 99 % of 7 days`, or how long the row was watched."""
    if uptime.is_known and uptime.share is not None:
        days = int(uptime.watched_for / _DAY + _ROUNDING)
        return composed(f"up {share_text(uptime.share)} of {days} days")
    watched = f"watched for {int(uptime.watched_for / _HOUR + _ROUNDING)} of {limits.UPTIME_KNOWN_AFTER // _HOUR} h"
    return composed(f"{watched}, and connected for a day before" if uptime.is_first else watched)


@lru_cache(maxsize=16_384)  # most rows keep the uptime of the previous listing
def rounded(uptime: Uptime) -> Uptime:
    """Return an uptime of `rounded_parts`, with the same texts."""
    return uptime_of(*rounded_parts(uptime))


def rounded_parts(uptime: Uptime) -> tuple[int | None, int, bool]:
    """Return the share in parts of 10,000 (None if unknown), the watched hours, and `is_first`, rounded down."""
    is_known, share = uptime.is_known, uptime.share
    parts = int(share * _SHARE_PARTS + 100 * _ROUNDING) if is_known and share is not None else None
    return parts, int(uptime.watched_for / _HOUR + _ROUNDING), uptime.is_first


def uptime_of(share: int | None, hours: int, is_first: bool) -> Uptime:  # noqa: FBT001  as its field
    """Return the uptime of `rounded_parts`, without moment and state."""
    watched = _weight(hours * _HOUR / MS)
    return Uptime(0.0 if share is None else watched * share / _SHARE_PARTS, watched, is_up=None, is_first=is_first)
