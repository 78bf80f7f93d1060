"""The recurring off-times of a row: nights, weekends, shifts and pauses, in every kind of zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.habits import Weeks

from envwatch.fleet.alerting.quiet import quiet_end
from envwatch.past.habits import LEEWAY

if TYPE_CHECKING:
    from collections.abc import Sequence

BERLIN: Final = ZoneInfo("Europe/Berlin")
MONDAY: Final = date(2026, 11, 2)
HOUR: Final = timedelta(hours=1)


def weeks(zone: ZoneInfo = BERLIN, first: date = MONDAY, days: int = 28) -> Weeks:
    return Weeks(zone, first, days)


def texts(some: Weeks, name: str = "a") -> list[str] | None:
    kept = some.kept(name)
    return None if kept is None else [str(hours) for hours in kept.habit.hours]


def office(some: Weeks, begin: float = 9, end: float = 18, *, without: Sequence[int] = ()) -> Weeks:
    absent = [some.dates[place] for place in without]
    some.office("a", Random(1), begin=begin, end=end, jitter=0, absent=absent)
    return some


def test_nights_and_weekends_are_quiet_from_friday_evening_to_monday_morning() -> None:
    some = office(weeks())
    assert texts(some) == ["18:00-09:00", "sat-sun 09:00-18:00"]
    kept = some.kept("a")
    assert kept is not None
    assert (kept.days, kept.of) == (28, 28)
    monday_morning = some.at(date(2026, 11, 9), 9).timestamp() * 1000
    friday = some.at(date(2026, 11, 6), 18).timestamp() * 1000
    assert quiet_end(kept.habit.hours, friday, BERLIN) == monday_morning


@pytest.mark.parametrize(
    ("begin", "end", "hours"), [(9.0, 18.0, "18:00-09:00"), (8.99, 18.01, "18:00-09:00"), (9.01, 17.99, "17:30-09:30")]
)
def test_hours_are_rounded_outwards_to_half_an_hour(begin: float, end: float, hours: str) -> None:
    assert (texts(office(weeks(), begin, end)) or [])[0] == hours


def test_a_row_that_is_on_at_weekends_too_has_nights_of_every_day() -> None:
    some = weeks()
    some.row("a", *((some.at(day, 7), some.at(day, 22)) for day in some.dates))
    assert texts(some) == ["22:00-07:00"]


def test_a_row_with_shorter_weekends_has_hours_of_each_kind_of_day() -> None:
    some = weeks()
    some.row("a", *((some.at(day, 7), some.at(day, 22 if day.weekday() < 5 else 12)) for day in some.dates))
    assert texts(some) == ["22:00-07:00", "sat-sun 12:00-22:00"]


def test_a_shift_over_midnight_belongs_to_the_day_on_which_the_shift_begins() -> None:
    some = weeks()
    some.row("a", *((some.at(day, 21), some.at(day, 30)) for day in some.dates if day.weekday() < 5))
    assert texts(some) == ["06:00-21:00", "sat-sun 21:00-06:00"]
    kept = some.kept("a")
    assert kept is not None
    saturday = some.at(date(2026, 11, 7), 5.9).timestamp() * 1000
    assert quiet_end(kept.habit.hours, saturday, BERLIN) is None, "the shift of Friday goes on"


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (-4, 55, ["fri 20:00-24:00", "mon 00:00-07:00", "sat-sun"]),
        (0, 48, ["sat-sun"]),
        (7, 46, ["sat 07:00-24:00", "sun 00:00-22:00"]),
    ],
)
def test_a_row_that_is_off_only_at_weekends_has_one_period(begin: float, end: float, expected: list[str]) -> None:
    some = weeks()
    some.always_on("a", *((some.at(day, begin), some.at(day, end)) for day in some.dates if day.weekday() == 5))
    assert texts(some) == expected


def test_an_hour_off_each_night_and_a_pause_at_noon_are_habits() -> None:
    some = weeks()
    some.always_on("a", *((some.at(day, 2), some.at(day, 3)) for day in some.dates))
    assert texts(some) == ["02:00-03:00"]
    spans = [(9, 12.5), (13.25, 18)]
    some.row(
        "a", *((some.at(day, on), some.at(day, off)) for day in some.dates if day.weekday() < 5 for on, off in spans)
    )
    assert texts(some) == ["18:00-09:00", "sat-sun 09:00-18:00", "mon-fri 12:30-13:30"]


@pytest.mark.parametrize("hours", [(), ((0, 24),)])
def test_a_row_that_is_always_on_or_always_off_has_no_habit(hours: tuple[tuple[int, int], ...]) -> None:
    some = weeks()
    some.row("a", *((some.at(day, on), some.at(day, off)) for day in some.dates for on, off in hours))
    assert some.kept("a") is None


def test_outages_at_different_hours_are_no_habit() -> None:
    some, chance = weeks(), Random(1)
    offs = [(since, since + HOUR) for day in some.dates for since in [some.at(day, chance.uniform(0, 22))]]
    some.always_on("a", *offs)
    assert some.kept("a") is None


@pytest.mark.parametrize(("days", "is_found"), [(13, True), (12, False)])
def test_two_days_of_weekends_must_be_watched(days: int, is_found: bool) -> None:  # noqa: FBT001
    some = office(weeks(days=days, first=date(2026, 11, 2)))
    some.gaps.append((some.at(date(2026, 11, 7), 0), some.at(date(2026, 11, 8), 6)))
    some.gaps.append((some.at(date(2026, 11, 13), 12), some.at(date(2026, 11, 14), 0)))
    kept = some.kept("a")
    assert (kept is not None) is is_found


@pytest.mark.parametrize(("day", "is_found"), [(date(2026, 11, 9), True), (date(2026, 11, 10), False)])
def test_five_workdays_must_be_watched(day: date, is_found: bool) -> None:  # noqa: FBT001
    some = office(weeks(days=14))
    some.gaps.append((some.at(some.first, 0), some.at(day, 0)))
    assert (some.kept("a") is not None) is is_found


def test_days_on_which_the_row_never_came_are_no_evidence() -> None:
    holidays, week_off = (3, 10), tuple(range(14, 19))
    some = office(weeks(), without=(*holidays, *week_off))
    kept = some.kept("a")
    assert texts(some) == texts(office(weeks()))
    assert kept is not None
    assert (kept.days, kept.of) == (21, 21)


def test_unwatched_time_is_no_evidence() -> None:
    some = office(weeks())
    for place in (1, 8, 15):
        some.gaps.append((some.at(some.dates[place], 15), some.at(some.dates[place], 22)))
        some.gaps.append((some.at(some.dates[place + 1], 7), some.at(some.dates[place + 1], 11)))
    assert texts(some) == ["18:00-09:00", "sat-sun 09:00-18:00"]


def test_an_unusual_day_in_ten_changes_no_hours() -> None:
    some = office(weeks())
    place = next(place for place, (since, _) in enumerate(some.on["a"]) if since.date() == date(2026, 11, 11))
    some.on["a"][place] = some.at(date(2026, 11, 11), 11), some.at(date(2026, 11, 11), 13)
    kept = some.kept("a")
    assert texts(some) == ["18:00-09:00", "sat-sun 09:00-18:00"]
    assert kept is not None
    assert (kept.days, kept.of) == (27, 28)


@pytest.mark.parametrize("first", [date(2026, 3, 16), date(2026, 10, 12)])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"])
def test_hours_are_of_the_clocks_before_and_after_a_change(zone: str, first: date) -> None:
    some = office(weeks(ZoneInfo(zone), first))
    assert texts(some) == ["18:00-09:00", "sat-sun 09:00-18:00"]
    some.always_on("b", *((some.at(day, 23), some.at(day, 29)) for day in some.dates))
    assert texts(some, "b") == ["23:00-05:00"]


@settings(max_examples=25)
@given(
    zone=st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]),
    first=st.dates(date(2026, 1, 1), date(2026, 12, 1)),
    begin=st.floats(5, 23),
    length=st.floats(5, 12),
    seed=st.integers(0, 999),
    at_weekends=st.booleans(),
)
def test_quiet_hours_cover_the_nights_without_a_hole_and_no_usual_on_time(
    *, zone: str, first: date, begin: float, length: float, seed: int, at_weekends: bool
) -> None:
    some, chance = weeks(ZoneInfo(zone), first), Random(seed)
    spans: list[tuple[datetime, datetime]] = []
    for day in some.dates:
        if at_weekends or day.weekday() < 5:
            on = begin + chance.uniform(-0.4, 0.4), begin + length + chance.uniform(-0.5, 0.5)
            spans.append((some.at(day, on[0]), some.at(day, on[1])))
    some.row("a", *spans)
    kept = some.kept("a")
    assert kept is not None
    hours, whole = kept.habit.hours, 0
    for (_, left), (came, _) in pairwise(spans):
        end = quiet_end(hours, left.timestamp() * 1000, some.zone)
        whole += end is not None and end >= came.timestamp() * 1000
    assert whole >= 0.75 * (len(spans) - 1)
    usual = timedelta(minutes=LEEWAY, hours=1)  # the clocks may change
    for since, until in spans:
        at = since + usual
        while at < until - usual:
            assert quiet_end(hours, at.timestamp() * 1000, some.zone) is None
            at += HOUR


def test_hours_of_a_habit_never_overlap() -> None:
    for begin, end in ((9, 18), (21, 30)):
        some = weeks()
        some.row("a", *((some.at(day, begin), some.at(day, end)) for day in some.dates if day.weekday() < 5))
        kept = some.kept("a")
        assert kept is not None
        for minutes in range(0, 7 * 24 * 60, 30):
            at = datetime(2026, 11, 9, tzinfo=UTC).timestamp() * 1000 + minutes * 60_000
            assert sum(each.until(at, UTC) is not None for each in kept.habit.hours) <= 1
