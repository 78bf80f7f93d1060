"""The hours in which a row is off on most days.

A *shift* is a row's day: the on-time that begins on a date, with half of the off-time before and after. A shift may end
after midnight. Times are in minutes after the date's midnight, by the zone's clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from math import ceil, floor
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.alerting.quiet import DAY_MINUTES, EVERY_DAY, QuietHours, clock_time, instant
from envwatch.fleet.outages import UptimeState
from envwatch.model.times import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from envwatch.fleet.outages import Interval

SHARE: Final = 2 / 3
"""Least share of the watched days on which a row keeps its hours."""
LEAST_WORKDAYS: Final = 5
LEAST_WEEKEND_DAYS: Final = 2
STEP: Final = 30
"""Quiet hours are rounded outwards to this many minutes."""
LEEWAY: Final = 90
"""Most minutes from a row's usual time to its quiet hours' begin or end."""

_OUTLIERS: Final = 10
"""The hours need not cover one time in this many at each end."""
_SLOT: Final = 15
_SLOTS: Final = DAY_MINUTES // _SLOT
_WORKDAYS: Final = frozenset(range(5))
_WEEKEND: Final = EVERY_DAY - _WORKDAYS
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)
_LONGEST_MS: Final = 4 * DAY_MS


class Edge(NamedTuple):
    """A time at which rows come or go."""

    at: int
    """Rounded outwards."""
    first: float
    """The earliest usual time of a row; `last` is the latest."""
    last: float

    def joined(self, other: Edge, *, is_begin: bool) -> Edge | None:
        """Return the edge for both; None if too far from a row's usual time."""
        at = (min if is_begin else max)(self.at, other.at)
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Edge(at, first, last) if (last - at if is_begin else at - first) <= LEEWAY else None


class OffTime(NamedTuple):
    """A recurring time between leaving and coming."""

    begin: Edge
    end: Edge

    @classmethod
    def of_times(cls, begins: Sequence[float], ends: Sequence[float]) -> OffTime:
        """Return the off-time of at least a begin and an end."""
        leaves, comes = median(begins), median(ends)
        early = sorted(begins)[len(begins) // _OUTLIERS]
        late = sorted(ends)[-1 - len(ends) // _OUTLIERS]
        begin = max(_floor(early), _ceil(leaves - LEEWAY))
        return cls(Edge(begin, leaves, leaves), Edge(min(_ceil(late), _floor(comes + LEEWAY)), comes, comes))

    def joined(self, other: OffTime) -> OffTime | None:
        """Return the off-time of both, if near each row's usual times."""
        begin, end = self.begin.joined(other.begin, is_begin=True), self.end.joined(other.end, is_begin=False)
        return None if begin is None or end is None else OffTime(begin, end)


@dataclass(frozen=True, slots=True)
class Habit:
    """The recurring off-times of rows."""

    night: OffTime | None
    """From a workday's shift to the next shift; None without off-time on workdays."""
    weekend: OffTime | None = None
    """From a weekend's shift to the next shift; None: off all day. Without `night`: off-time by Saturday's midnight."""
    pauses: tuple[OffTime, ...] = ()
    """Within the shifts of workdays."""

    def joined(self, other: Habit) -> Habit | None:
        """Return the habit of both, if near each row's usual times."""
        pairs = [(self.night, other.night), (self.weekend, other.weekend)]
        if any((one is None) is not (two is None) for one, two in pairs) or len(self.pauses) != len(other.pauses):
            return None
        night, weekend, *pauses = (
            None if one is None or two is None else one.joined(two)
            for one, two in (*pairs, *zip(self.pauses, other.pauses, strict=True))
        )
        is_near = (night is None) is (self.night is None) and (weekend is None) is (self.weekend is None)
        found = Habit(night, weekend, tuple(pause for pause in pauses if pause is not None))
        return found if is_near and len(found.pauses) == len(pauses) and found.is_possible else None

    @property
    def is_possible(self) -> bool:
        """Whether each shift has on-time."""
        return self.night is None or all(
            night.end.at - DAY_MINUTES < night.begin.at for night in (self.night, self.weekend) if night is not None
        )

    @property
    def hours(self) -> tuple[QuietHours, ...]:
        """The quiet hours, without a hole between two tables."""
        if self.night is None:
            return () if self.weekend is None else tuple(_week_hours(self.weekend.begin.at, self.weekend.end.at))
        begin, end = self.night.end.at - DAY_MINUTES, self.night.begin.at
        pauses = [each for pause in self.pauses for each in _hours(_WORKDAYS, pause.begin.at, pause.end.at)]
        if self.weekend is None:
            return (*_hours(EVERY_DAY, end, begin + DAY_MINUTES), *_hours(_WEEKEND, begin, end), *pauses)
        free_begin, free_end = self.weekend.end.at - DAY_MINUTES, self.weekend.begin.at
        first, last = min(begin, free_begin), max(end, free_end)
        return (
            *_hours(EVERY_DAY, last, first + DAY_MINUTES),
            *_hours(_WORKDAYS, first, begin),
            *_hours(_WORKDAYS, end, last),
            *_hours(_WEEKEND, first, free_begin),
            *_hours(_WEEKEND, free_end, last),
            *pauses,
        )


class Kept(NamedTuple):
    """A row's habit, kept on `days` of the watched days."""

    habit: Habit
    days: int
    of: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The dates of a period in a zone."""

    dates: tuple[date, ...]
    zone: tzinfo | None
    slots: tuple[float, ...] = field(repr=False)
    """The instants of each quarter of an hour, and the end."""

    @classmethod
    def between(cls, since: float, until: float, zone: tzinfo | None) -> Calendar:
        """Return the whole dates of a period."""
        first, last = clock_time(since, zone).date(), clock_time(until, zone).date()
        dates = tuple(first + count * _DAY for count in range((last - first).days + 1))
        slots = [instant(each, slot * _SLOT, zone) for each in dates for slot in range(_SLOTS)]
        return cls(dates, zone, (*slots, instant(last + _DAY, 0, zone)))

    def minutes(self, at: float, day: date) -> float:
        """Return the minutes from a date's midnight to an instant, by the clocks."""
        return (clock_time(at, self.zone) - datetime.combine(day, datetime.min.time())) / timedelta(minutes=1)

    def days_in(self, spans: Sequence[tuple[float, float]]) -> tuple[int, int]:
        """Return the numbers of workdays and days of weekends that the spans mostly cover."""
        counts = [0, 0]
        for day, (since, until) in zip(self.dates, pairwise(self.slots[::_SLOTS]), strict=True):
            counts[day.weekday() in _WEEKEND] += _covers(spans, since, until)
        return counts[0], counts[1]


def habit_of(intervals: Sequence[Interval], calendar: Calendar) -> Kept | None:
    """Return a row's habit; None without off-time at the same hours of most watched days.

    Unwatched time is no evidence. Days on which the row never came do not count.
    """
    states = {each.state for each in intervals}
    if UptimeState.DOWN not in states or not any(state.is_up for state in states):
        return None
    runs = _usual_runs(_slots(intervals, calendar), calendar)
    if not runs:
        return _weekends(intervals, calendar)
    night = max(runs, key=lambda run: run[1] - run[0])
    turn = (night[0] - night[1]) // 2 + night[1] % DAY_MINUTES  # the night's middle
    known = _known(intervals)
    shifts = [shift for day in calendar.dates if (shift := _shift(intervals, known, calendar, day, turn)) is not None]
    work = [shift for shift in shifts if shift.day.weekday() in _WORKDAYS and not shift.is_off]
    free = [shift for shift in shifts if shift.day.weekday() in _WEEKEND]
    if len(work) < LEAST_WORKDAYS or len(free) < LEAST_WEEKEND_DAYS or (off_time := _night(work)) is None:
        return None
    weekend = None
    if sum(shift.is_off for shift in free) < SHARE * len(free):
        free = [shift for shift in free if not shift.is_off]
        if (weekend := _night(free)) is None:
            return None
        if (both := off_time.joined(weekend)) is not None:
            off_time = weekend = both
    days = sum(shift.keeps(off_time) for shift in work) + sum(shift.keeps(weekend) for shift in free)
    pauses = _pauses(intervals, calendar, [shift.day for shift in work], [run for run in runs if run is not night])
    habit, of = Habit(off_time, weekend, pauses), len(work) + len(free)
    return Kept(habit, days, of) if habit.is_possible and days >= SHARE * of else None


def _hours(days: frozenset[int], begin: int, end: int) -> Iterator[QuietHours]:
    if begin < end:
        later, begin = divmod(begin, DAY_MINUTES)
        days = frozenset((day + later) % len(EVERY_DAY) for day in days)
        yield QuietHours(days=days, begin=begin, end=(end - 1) % DAY_MINUTES + 1)


def _week_hours(begin: int, end: int) -> Iterator[QuietHours]:
    """Yield hours, cut at midnights; the times count from Saturday's midnight."""
    cuts = [begin, *range(begin - begin % DAY_MINUTES + DAY_MINUTES, end, DAY_MINUTES), end]
    pieces = [(since, until) for since, until in pairwise(cuts) if since < until]
    whole = [since // DAY_MINUTES for since, until in pieces if until - since == DAY_MINUTES]
    for since, until in pieces:
        if until - since < DAY_MINUTES:
            yield from _hours(frozenset({_SATURDAY}), since, until)
    if whole:
        yield QuietHours(days=frozenset((_SATURDAY + day) % len(EVERY_DAY) for day in whole))


def _floor(minutes: float) -> int:
    return floor(minutes / STEP) * STEP


def _ceil(minutes: float) -> int:
    return ceil(minutes / STEP) * STEP


def _slots(intervals: Sequence[Interval], calendar: Calendar) -> list[bool | None]:
    """Whether the row was off in each slot; None if unknown."""
    found: list[bool | None] = []
    place = 0
    for since, until in pairwise(calendar.slots):
        off, is_on, here = 0.0, False, place
        while here < len(intervals) and intervals[here].since < until:
            each = intervals[here]
            if each.until <= since:
                place += 1
            elif each.state is UptimeState.DOWN:
                off += min(each.until, until) - max(each.since, since)
            else:
                is_on = is_on or each.state.is_up
            here += 1
        found.append(False if is_on else True if off > (until - since) / 2 else None)
    return found


def _usual_runs(slots: Sequence[bool | None], calendar: Calendar) -> list[tuple[int, int]]:
    """Return the times at which the row is off on most workdays; the last may end on the next day."""
    known, off = [0] * _SLOTS, [0] * _SLOTS
    for place, is_off in enumerate(slots):
        if is_off is not None and calendar.dates[place // _SLOTS].weekday() in _WORKDAYS:
            known[place % _SLOTS] += 1
            off[place % _SLOTS] += is_off
    usual = [count > 0 and hits >= SHARE * count for count, hits in zip(known, off, strict=True)]
    if all(usual):
        return []
    first_on = usual.index(False)
    runs: list[tuple[int, int]] = []
    for slot in range(first_on, first_on + _SLOTS):
        if usual[slot % _SLOTS]:
            begin = runs.pop()[0] if runs and runs[-1][1] == slot * _SLOT else slot * _SLOT
            runs.append((begin, (slot + 1) * _SLOT))
    return runs


class _Shift(NamedTuple):
    day: date
    begin: float | None = None
    """None if unknown."""
    end: float | None = None
    is_off: bool = False

    def keeps(self, night: OffTime | None) -> bool:
        if night is None or self.is_off:
            return night is None and self.is_off
        is_back = self.begin is None or self.begin + DAY_MINUTES <= night.end.at
        return is_back and (self.end is None or self.end >= night.begin.at)


def _shift(
    intervals: Sequence[Interval], known: Sequence[tuple[float, float]], calendar: Calendar, day: date, turn: int
) -> _Shift | None:
    """None if too little was watched."""
    since, until = (instant(day, turn + minutes, calendar.zone) for minutes in (0, DAY_MINUTES))
    if not _covers(known, since, until):
        return None
    within = [each for each in intervals if each.since < until and each.until > since]
    ups = [place for place, each in enumerate(within) if each.state.is_up]
    if not ups:
        return _Shift(day, is_off=True)
    first, last = within[ups[0]], within[ups[-1]]
    begin = end = None
    if first.since <= since:
        begin = float(turn)
    elif ups[0] and within[ups[0] - 1].state is UptimeState.DOWN:
        begin = calendar.minutes(first.since, day)
    if last.until >= until:
        end = float(turn + DAY_MINUTES)
    elif ups[-1] + 1 < len(within) and within[ups[-1] + 1].state is UptimeState.DOWN:
        end = calendar.minutes(last.until, day)
    return None if begin is None and end is None else _Shift(day, begin, end)


def _night(shifts: Iterable[_Shift]) -> OffTime | None:
    shifts = list(shifts)
    begins = [shift.begin + DAY_MINUTES for shift in shifts if shift.begin is not None]
    ends = [shift.end for shift in shifts if shift.end is not None]
    return OffTime.of_times(ends, begins) if begins and ends else None


def _pauses(
    intervals: Sequence[Interval], calendar: Calendar, days: Sequence[date], runs: Iterable[tuple[int, int]]
) -> tuple[OffTime, ...]:
    middles = [(begin + end) // 2 % DAY_MINUTES for begin, end in runs]
    found = (_off_around(intervals, calendar, days, middle, middle + 1) for middle in middles)
    return tuple(kept.off_time for kept in found if kept is not None)


def _weekends(intervals: Sequence[Interval], calendar: Calendar) -> Kept | None:
    """Return the habit of a row that is off only on weekends."""
    middle = DAY_MINUTES // 2
    saturdays = [day for day in calendar.dates if day.weekday() == _SATURDAY]
    found = _off_around(intervals, calendar, saturdays, middle, middle + DAY_MINUTES)
    if found is None or found.of < LEAST_WEEKEND_DAYS:
        return None
    return Kept(Habit(None, found.off_time), found.days, found.of)


class _OnDays(NamedTuple):
    off_time: OffTime
    days: int
    of: int


def _off_around(
    intervals: Sequence[Interval], calendar: Calendar, days: Iterable[date], since: int, until: int
) -> _OnDays | None:
    """Return the off-time over a time of most watched days."""
    known, outages, of = _known(intervals), [*_outages(intervals)], 0
    begins: list[float] = []
    ends: list[float] = []
    found: list[tuple[float, float]] = []
    for day in days:
        first, last = (instant(day, minutes, calendar.zone) for minutes in (since, until))
        if not _covers(known, first, last):
            continue
        of += 1
        for each in outages:
            if each.since <= first and last <= each.until and each.until - each.since <= _LONGEST_MS:
                begin, end = (calendar.minutes(at, day) for at in (each.since, each.until))
                begins += [] if each.begin is None else [begin]
                ends += [] if each.end is None else [end]
                found.append((begin if each.begin is not None else since, end if each.end is not None else until))
    if not begins or not ends:
        return None
    off_time = OffTime.of_times(begins, ends)
    kept = sum(off_time.begin.at <= begin and end <= off_time.end.at for begin, end in found)
    return _OnDays(off_time, kept, of) if kept >= SHARE * of else None


class _Outage(NamedTuple):
    since: float
    until: float
    begin: float | None
    """None if unknown."""
    end: float | None


def _outages(intervals: Sequence[Interval]) -> Iterator[_Outage]:
    """Yield the outages; down before and after unwatched time is one outage."""
    found: _Outage | None = None
    before: UptimeState | None = None
    for state, since, until, _ in intervals:
        if state is UptimeState.DOWN:
            begin = since if before is not None and before.is_up else None
            found = _Outage(since, until, begin, None) if found is None else found._replace(until=until)
        elif state is not UptimeState.UNKNOWN and found is not None:
            yield found._replace(end=since if before is UptimeState.DOWN else None)
            found = None
        before = state
    if found is not None:
        yield found


def _known(intervals: Iterable[Interval]) -> list[tuple[float, float]]:
    return [(each.since, each.until) for each in intervals if each.state is UptimeState.DOWN or each.state.is_up]


def _covers(spans: Iterable[tuple[float, float]], since: float, until: float) -> bool:
    """Whether spans mostly cover a time."""
    covered = sum(max(min(end, until) - max(begin, since), 0.0) for begin, end in spans)
    return covered >= SHARE * (until - since)
