"""Moments of a file, rebuilt from its frames.

Recordings may come from strangers: clock readings must be possible; a row's instants, from the platform, must only be
numbers.
"""

from __future__ import annotations

import sys
from itertools import chain
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.history.encoding.frames import MomentBuilder
from envwatch.history.past import DamagedError, HistoryError
from envwatch.model.environment import API_FIELDS, ValueKind
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.tracking import Environments, TrackedEnvironment
    from envwatch.history.day_reader import DayReader
    from envwatch.history.past import Moment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

_NEAR: Final = 8
"""Frames from a kept builder to the requested moment, for cheap steps back."""


class _Mark(NamedTuple):
    file: object
    number: int
    builder: MomentBuilder


class Rebuilder:
    """Rebuilds moments in a single thread, cheaply for the next or a slightly earlier moment."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._newest: _Mark | None = None
        self._broken: tuple[object, int, str] | None = None
        """Newest unusable frame (file, number, damage); moments that need it fail at once."""
        self._checked: Environments = {}
        self._marks: tuple[_Mark, ...] = ()

    def moment(self, file: DayReader, number: int) -> Moment:
        """See `Past.moment`."""
        newest, self._newest = self._newest, None
        if newest is not None and newest.file == file.identity and newest.number in (number - 1, number):
            builder = newest.builder
            self._apply(builder, file, newest.number + 1, number)
        else:
            builder = self._rebuilt(file, number)
        self._newest = _Mark(file.identity, number, builder)
        moment = builder.moment()
        check_clocks(moment, self._checked)
        self._checked = moment.profile_state.environments
        return moment

    def _rebuilt(self, file: DayReader, number: int) -> MomentBuilder:
        (key, bridge), marks, self._marks = file.chain(number), self._marks, ()
        broken_file, broken, damage = self._broken or (None, 0, "")
        if broken_file == file.identity and (broken == key or bridge <= broken <= number):
            raise DamagedError(damage)
        marks = tuple(mark for mark in marks if mark.file == file.identity and bridge <= mark.number <= number)
        if not marks:
            builder = MomentBuilder(self._profile)
            self._apply(builder, file, key, key)
            if bridge != key:
                self._apply(builder, file, bridge, bridge)
            marks = (_Mark(file.identity, bridge, builder),)
        start = marks[-1]
        builder, near = start.builder.copy(), max(number - _NEAR, start.number)
        self._apply(builder, file, start.number + 1, near)
        self._marks = (marks[0], _Mark(file.identity, near, builder.copy()))
        self._apply(builder, file, near + 1, number)
        return builder

    def _apply(self, builder: MomentBuilder, file: DayReader, first: int, last: int) -> None:
        number = first
        try:
            for frame in file.frames(first, last):
                builder.apply(frame)
                number += 1
        except DamagedError as error:
            self._broken = (file.identity, number, str(error))
            raise


_LATEST: Final = 1e15
"""Latest time in ms, beyond the year 9999."""
_LARGEST: Final = sys.float_info.max
_instants_of: Final = attrgetter(*(each.name for each in API_FIELDS.values() if each.kind is ValueKind.INSTANT))


def check_clocks(moment: Moment, known: Environments = MappingProxyType({})) -> None:
    """Raise `HistoryError` for an impossible number; `known` rows were checked before."""
    state = moment.profile_state
    failure, stall, quarantine = state.failure, state.stall_detector, state.quarantine
    polls = () if failure is None else (failure.started, failure.ended)
    rows = [tracked for id_, tracked in state.environments.items() if known.get(id_) is not tracked]
    times: list[float | None] = [
        *chain.from_iterable(map(_in_ms, (moment.now, state.listed, state.last_up, state.unseen_since, *polls))),
        *chain.from_iterable((bounds.low, bounds.high) for bounds in state.clock.samples),
        state.elapsed_ms,
        state.interval / MS,
        state.began_at,
        state.date_error,
        stall.silent_s * 1000,
        stall.resumed_at,
        *state.periods.values(),
        None if quarantine is None else quarantine.since * 1000,
        *chain.from_iterable(tracked.transitions for tracked in rows),
    ]
    numbers = chain.from_iterable(map(_numbers_of_row, rows))
    # NaN fails every comparison.
    if not (
        all(-_LATEST < time < _LATEST for time in times if time is not None)
        and all(-_LARGEST <= number <= _LARGEST or number in {-inf, inf} for number in numbers if number is not None)
    ):
        raise HistoryError("a clock in it shows what none can")


def _in_ms(reading: Clocks | None) -> tuple[float, ...]:
    return () if reading is None else (reading.wall, reading.monotonic * 1000)


def _numbers_of_row(tracked: TrackedEnvironment) -> Iterable[float | None]:
    change, last_known = tracked.last_change, tracked.last_known_heartbeat
    yield from (*_instants_of(tracked.environment), tracked.since_at, *tracked.skew_check)
    if change is not None:
        yield change.at
    if last_known is not None:
        yield from (last_known.at, last_known.elapsed_ms)
