"""Whether the numbers in a moment are some that a clock can show: a recording may come from anybody.

Pure. Of a row, which the platform may fill with anything, it asks no more than that one can calculate with them.
"""

from __future__ import annotations

import sys
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.model.environment import API_FIELDS, ValueKind
from envwatch.model.times import MS
from envwatch.past.history import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText
    from envwatch.past.history import Moment

_LATEST: Final = 1e15
"""Milliseconds: more than from the first to the last year of a calendar, and few enough for a `timedelta`."""
LONGEST_INTERVAL_S: Final = 1e9
"""Seconds from poll to poll: some 30 years."""
_LARGEST: Final = sys.float_info.max
_instants_of: Final = attrgetter(*(each.name for each in API_FIELDS.values() if each.kind is ValueKind.INSTANT))


def check_clocks(moment: Moment, known: Mapping[SafeText, TrackedEnvironment] = MappingProxyType({})) -> None:
    """Check a moment; raise `HistoryError` if a number in it is impossible.

    Rows that are the very rows in `known`, which were checked before, cost nothing.
    """
    now, profile_state = moment.now, moment.profile_state
    # No comparison holds for what is no number.
    is_possible = all(map(_is_time, (*_in_ms(now), *_numbers(profile_state))))
    for id_, tracked in profile_state.environments.items():
        if known.get(id_) is not tracked:
            is_possible = is_possible and all(map(_is_time, tracked.transitions))
            is_possible = is_possible and all(
                -_LARGEST <= number <= _LARGEST or number in {-inf, inf} for number in _numbers_of_row(tracked)
            )
    if not is_possible:
        raise HistoryError("a clock in it shows what none can")


def _is_time(number: float) -> bool:
    return -_LATEST < number < _LATEST


def _in_ms(reading: Clocks) -> tuple[float, float]:
    return reading.wall, reading.monotonic * 1000


def _numbers(profile_state: ProfileState) -> Iterator[float]:
    """Yield the numbers that clocks show, all in ms."""
    failure, stall, quarantine = profile_state.failure, profile_state.stall_detector, profile_state.quarantine
    polls = () if failure is None else (failure.started, failure.ended)
    for reading in (profile_state.listed, profile_state.last_up, profile_state.unseen_since, *polls):
        if reading is not None:
            yield from _in_ms(reading)
    for bounds in profile_state.clock.samples:
        yield from (bounds.low, bounds.high)
    yield from (
        profile_state.elapsed_ms,
        profile_state.interval / MS,
        stall.silent_s * 1000,
        *profile_state.periods.values(),
    )
    yield from (
        number for number in (profile_state.began_at, profile_state.date_error, stall.resumed_at) if number is not None
    )
    if quarantine is not None:
        yield quarantine.since * 1000


def _numbers_of_row(tracked: TrackedEnvironment) -> Iterator[float]:
    row, change, last_known = tracked.environment, tracked.last_change, tracked.last_known_heartbeat
    numbers = (*_instants_of(row), tracked.since_at, *tracked.skew_check)
    yield from (number for number in numbers if number is not None)
    if change is not None:
        yield change.at
    if last_known is not None:
        yield from (last_known.at, last_known.elapsed_ms)
