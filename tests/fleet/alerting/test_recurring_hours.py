"""Recurring hours: days, midnight, and the clocks of every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.alerting.recurring_hours import DAY_MINUTES, EVERY_DAY, RecurringHours, near_time_text
from envwatch.model.times import MS

BERLIN: Final = ZoneInfo("Europe/Berlin")
HOUR: Final = timedelta(hours=1) / MS
WEEKDAYS: Final = frozenset(range(5))
NIGHTS: Final = RecurringHours(days=WEEKDAYS, begin=17 * 60, end=10 * 60)
WEEKEND: Final = RecurringHours(days=EVERY_DAY - WEEKDAYS)


def at(text: str, zone: tzinfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000


def end_at(hours: RecurringHours, moment: float, zone: tzinfo | None = BERLIN) -> float | None:
    span = hours.span_at(moment, zone)
    return None if span is None else span[1]


def shown(instant: float | None, zone: tzinfo = BERLIN) -> str | None:
    return None if instant is None else f"{datetime.fromtimestamp(instant / 1000, zone):%a %d %H:%M:%S}"


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-27 16:59:59", None),
        ("2026-11-27 17:00:00", "Sat 28 10:00:00"),
        ("2026-11-28 09:59:59", "Sat 28 10:00:00"),
        ("2026-11-28 10:00:00", None),
        ("2026-11-29 20:00:00", None),
        ("2026-11-30 09:00:00", None),
        ("2026-11-30 17:00:00", "Tue 01 10:00:00"),
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_the_hours_begin(moment: str, end: str | None) -> None:
    assert shown(end_at(NIGHTS, at(moment))) == end


@pytest.mark.parametrize(
    ("moment", "end"),
    [("2026-11-27 23:59", None), ("2026-11-28 00:00", "Sun 29 00:00:00"), ("2026-11-30 00:00", None)],
)
def test_a_day_without_hours_lasts_from_midnight_to_midnight(moment: str, end: str | None) -> None:
    assert shown(end_at(WEEKEND, at(moment))) == end


@pytest.mark.parametrize(("end", "is_always"), [(599, False), (600, True)])
def test_hours_of_a_whole_day_on_every_day_never_end(end: int, *, is_always: bool) -> None:
    assert RecurringHours(begin=600, end=end + DAY_MINUTES).is_always is is_always


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        # The clocks go from 02:00 to 03:00.
        ("02:30", "10:00", "2026-03-29 03:00", "2026-03-29 10:00"),
        ("01:00", "02:30", "2026-03-29 01:00", "2026-03-29 03:00"),
        ("02:15", "03:15", "2026-03-29 03:00", "2026-03-29 03:15"),
    ],
)
def test_a_time_that_the_clocks_skip_is_the_moment_of_the_jump(begin: str, end: str, first: str, last: str) -> None:
    (from_hour, from_minute), (to_hour, to_minute) = (map(int, text.split(":")) for text in (begin, end))
    hours = RecurringHours(begin=from_hour * 60 + from_minute, end=to_hour * 60 + to_minute)
    assert end_at(hours, at(first)) == at(last)
    assert end_at(hours, at(first) - 1) is None
    assert end_at(hours, at(last) - 1) == at(last)
    assert end_at(hours, at(last)) is None


def test_hours_without_a_moment_that_night_have_no_end() -> None:
    hours = RecurringHours(begin=135, end=165)
    assert end_at(hours, at("2026-03-29 03:00")) is None
    assert end_at(hours, at("2026-03-28 02:15")) == at("2026-03-28 02:45")


def test_a_time_that_the_clocks_show_twice_is_the_first_of_both() -> None:
    # The clocks go from 03:00 back to 02:00.
    hours = RecurringHours(begin=150, end=240)
    assert end_at(hours, at("2026-10-25 02:30")) == at("2026-10-25 04:00")
    assert end_at(hours, at("2026-10-25 02:30") - 1) is None
    until_then = RecurringHours(begin=60, end=150)
    assert end_at(until_then, at("2026-10-25 01:00")) == at("2026-10-25 02:30")
    assert end_at(until_then, at("2026-10-25 02:29", fold=1)) is None


def test_the_day_that_a_zone_skips_has_no_hours_and_ends_no_others() -> None:
    apia = ZoneInfo("Pacific/Apia")  # without 30 December 2011
    assert end_at(RecurringHours(days=frozenset({3})), at("2011-12-29 12:00", apia), apia) == at(
        "2011-12-31 00:00", apia
    )
    assert end_at(RecurringHours(days=frozenset({4})), at("2011-12-31 00:00", apia), apia) is None


def test_a_zone_of_none_is_the_zone_of_this_machine() -> None:
    local = datetime(2026, 11, 27, 18, 0).timestamp() * 1000  # noqa: DTZ001
    assert end_at(NIGHTS, local, None) == datetime(2026, 11, 28, 10, 0).timestamp() * 1000  # noqa: DTZ001


def test_a_moment_that_no_clock_shows_is_within_no_hours() -> None:
    for moment in (-1e18, 1e18, float("inf"), float("nan")):
        assert end_at(NIGHTS, moment) is None
        assert near_time_text(moment, 0.0, BERLIN) == "later"


@pytest.mark.parametrize(
    ("hours", "text"), [(23.9, "10:00"), (24, "Sat 10:00"), (167.9, "Sat 10:00"), (168, "2026-11-28 10:00")]
)
def test_an_end_within_a_day_is_a_time_and_a_later_end_has_the_day_or_the_date(hours: float, text: str) -> None:
    end = at("2026-11-28 10:00")
    assert near_time_text(end, end - hours * HOUR, BERLIN) == text


def test_days_and_hours_are_written_as_the_setting_has_them() -> None:
    assert (NIGHTS.days_text, NIGHTS.hours_text) == ("mon-fri", "17:00-10:00")
    assert (RecurringHours().days_text, WEEKEND.hours_text) == ("", "")
    assert RecurringHours(days=frozenset({0, 2, 3, 6})).days_text == "mon,wed-thu,sun"


schedules: Final = st.builds(
    RecurringHours,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, DAY_MINUTES - 1),
    end=st.integers(1, DAY_MINUTES),
)
zones: Final = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
moments: Final = st.integers(946_684_800_000, 2_208_988_800_000).map(float)
"""From 2000 to 2040."""


def is_within(hours: RecurringHours, wall: datetime) -> bool:
    """Whether clocks that show a time are within hours, if the clocks skip and repeat nothing."""
    minutes = wall.hour * 60 + wall.minute
    if hours.begin < hours.end:
        return wall.weekday() in hours.days and hours.begin <= minutes < hours.end
    is_evening = minutes >= hours.begin and wall.weekday() in hours.days
    return is_evening or (minutes < hours.end and (wall - timedelta(days=1)).weekday() in hours.days)


def changes_nearby(moment: datetime, zone: tzinfo) -> bool:
    """Whether the clocks of a zone jump within two days of a moment."""
    offsets = {(moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-48, 49, 6)}
    return len(offsets) > 1


@given(hours=schedules, zone=zones, moment=moments)
def test_hours_hold_if_and_only_if_the_clocks_show_a_time_within_the_hours(
    hours: RecurringHours, zone: ZoneInfo, moment: float
) -> None:
    when = datetime.fromtimestamp(moment / 1000, UTC)
    if not changes_nearby(when, zone):
        wall = when.astimezone(zone).replace(tzinfo=None)
        assert (end_at(hours, moment, zone) is not None) is is_within(hours, wall)


@given(hours=schedules, zone=zones, moment=moments)
def test_hours_that_hold_begin_and_end_around_the_moment_within_two_days(
    hours: RecurringHours, zone: ZoneInfo, moment: float
) -> None:
    if (span := hours.span_at(moment, zone)) is not None:
        begin, end = span
        # Hours last up to a day, and up to a day more where the clocks go back over the date line.
        assert begin <= moment < end <= begin + 48 * HOUR
        assert hours.span_at(begin, zone) is not None
        assert shown(end, zone) is not None
