"""The share of the time watched in which an environment was up.

Pure. Time that was not watched, and that before it appeared, count neither as up nor as down.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.outages import UptimeState
from envwatch.model.text import SafeText, clean
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.outages import Interval

DAY: Final = timedelta(days=1)
"""The time that availability is stated for."""
_AT_LEAST: Final = timedelta(minutes=1)
"""A share of less than this means nothing, and what lacks less of a day is a whole day."""


class Availability(NamedTuple):
    """For how long an environment was up, of the time in which that is known."""

    up: timedelta
    known: timedelta

    @classmethod
    def from_intervals(cls, intervals: Iterable[Interval]) -> Availability:
        """Return the availability in a sequence of states."""
        up_ms = down_ms = 0.0
        for state, since, until, _ in intervals:
            if state.is_up:
                up_ms += until - since
            elif state is UptimeState.DOWN:
                down_ms += until - since
        return cls(span(up_ms), span(up_ms + down_ms))

    @property
    def share(self) -> float | None:
        """The share, from 0 to 1; None if it is known for less than a minute."""
        return None if self.known < _AT_LEAST else self.up / self.known


def availability_text(availability: Availability) -> SafeText | None:
    """Return the availability of the last day in words; None if there is none.

    It is 100 % only without any outage, and 0 % only if it was never up.
    """
    share, known = availability.share, availability.known
    if share is None:
        return None
    of = "24h" if known > DAY - _AT_LEAST else f"the {long_age(known)} watched in 24h"
    return clean(f"up {percent_text(share)} of {of}")


def percent_text(share: float) -> SafeText:
    """Return a share of time in percent: 100 % only without any gap, 0 % only for none at all."""
    permille = 1000 if share == 1 else max(min(math.floor(share * 1000), 999), 1 if share > 0 else 0)
    return clean(f"{permille // 10} %" if permille in (0, 1000) else f"{permille / 10:.1f} %")
