"""Quiet hours as a schedule: days, midnight, overlaps, and the clocks of every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.alerting.quiet import DAY_MINUTES, EVERY_DAY, QuietHours, near_time_text, quiet_end
from envwatch.model import limits
from envwatch.model.times import MS

BERLIN: Final = ZoneInfo("Europe/Berlin")
HOUR: Final = timedelta(hours=1) / MS
WEEKDAYS: Final = frozenset(range(5))
NIGHTS: Final = QuietHours(days=WEEKDAYS, begin=17 * 60, end=10 * 60)
WEEKEND: Final = QuietHours(days=EVERY_DAY - WEEKDAYS)


def at(text: str, zone: tzinfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000


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
    assert shown(NIGHTS.until(at(moment), BERLIN)) == end


@pytest.mark.parametrize(
    ("moment", "end"),
    [("2026-11-27 23:59", None), ("2026-11-28 00:00", "Mon 30 00:00:00"), ("2026-11-30 00:00", None)],
)
def test_a_day_without_hours_is_quiet_from_midnight_to_midnight(moment: str, end: str | None) -> None:
    assert shown(quiet_end([WEEKEND], at(moment), BERLIN)) == end


def test_hours_that_overlap_or_touch_are_one_period() -> None:
    every_night = QuietHours(begin=17 * 60, end=10 * 60)
    assert shown(quiet_end([NIGHTS, WEEKEND], at("2026-11-27 18:00"), BERLIN)) == "Mon 30 00:00:00"
    assert shown(quiet_end([every_night, WEEKEND], at("2026-11-27 18:00"), BERLIN)) == "Mon 30 10:00:00"
    assert quiet_end([], at("2026-11-27 18:00"), BERLIN) is None


def test_no_loss_is_quiet_for_ever_where_the_hours_cover_the_week() -> None:
    lost_at = at("2026-11-25 12:00")
    end = quiet_end([QuietHours(days=WEEKDAYS), WEEKEND], lost_at, BERLIN)
    assert shown(end) == "Thu 03 00:00:00"
    assert QuietHours(begin=600, end=600 + DAY_MINUTES).is_always
    assert not QuietHours(begin=600, end=599).is_always


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
    hours = QuietHours(begin=from_hour * 60 + from_minute, end=to_hour * 60 + to_minute)
    assert hours.until(at(first), BERLIN) == at(last)
    assert hours.until(at(first) - 1, BERLIN) is None
    assert hours.until(at(last) - 1, BERLIN) == at(last)
    assert hours.until(at(last), BERLIN) is None


def test_hours_without_a_moment_that_night_have_no_end() -> None:
    hours = QuietHours(begin=135, end=165)
    assert hours.until(at("2026-03-29 03:00"), BERLIN) is None
    assert hours.until(at("2026-03-28 02:15"), BERLIN) == at("2026-03-28 02:45")


def test_a_time_that_the_clocks_show_twice_is_the_first_of_both() -> None:
    # The clocks go from 03:00 back to 02:00.
    hours = QuietHours(begin=150, end=240)
    assert hours.until(at("2026-10-25 02:30"), BERLIN) == at("2026-10-25 04:00")
    assert hours.until(at("2026-10-25 02:30") - 1, BERLIN) is None
    until_then = QuietHours(begin=60, end=150)
    assert until_then.until(at("2026-10-25 01:00"), BERLIN) == at("2026-10-25 02:30")
    assert until_then.until(at("2026-10-25 02:29", fold=1), BERLIN) is None


def test_the_day_that_a_zone_skips_has_no_hours_and_ends_no_others() -> None:
    apia = ZoneInfo("Pacific/Apia")  # without 30 December 2011
    assert QuietHours(days=frozenset({3})).until(at("2011-12-29 12:00", apia), apia) == at("2011-12-31 00:00", apia)
    assert QuietHours(days=frozenset({4})).until(at("2011-12-31 00:00", apia), apia) is None


def test_a_zone_of_none_is_the_zone_of_this_machine() -> None:
    local = datetime(2026, 11, 27, 18, 0).timestamp() * 1000  # noqa: DTZ001
    assert NIGHTS.until(local, None) == datetime(2026, 11, 28, 10, 0).timestamp() * 1000  # noqa: DTZ001


def test_a_moment_that_no_clock_shows_is_not_quiet() -> None:
    for moment in (-1e18, 1e18, float("inf"), float("nan")):
        assert quiet_end([NIGHTS, WEEKEND], moment, BERLIN) is None
        assert near_time_text(moment, 0.0, BERLIN) == "later"


@pytest.mark.parametrize(("hours", "text"), [(23.9, "10:00"), (24, "Sat 10:00")])
def test_an_end_within_a_day_is_a_time_and_a_later_end_has_its_day(hours: float, text: str) -> None:
    end = at("2026-11-28 10:00")
    assert near_time_text(end, end - hours * HOUR, BERLIN) == text


def test_days_and_hours_are_written_as_the_setting_has_them() -> None:
    assert (NIGHTS.days_text, NIGHTS.hours_text) == ("mon-fri", "17:00-10:00")
    assert (QuietHours().days_text, WEEKEND.hours_text) == ("", "")
    assert QuietHours(days=frozenset({0, 2, 3, 6})).days_text == "mon,wed-thu,sun"


schedules: Final = st.builds(
    QuietHours,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, DAY_MINUTES - 1),
    end=st.integers(1, DAY_MINUTES),
)
zones: Final = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
moments: Final = st.integers(946_684_800_000, 2_208_988_800_000).map(float)
"""From 2000 to 2040."""


def is_within(hours: QuietHours, wall: datetime) -> bool:
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
def test_a_moment_is_quiet_if_and_only_if_the_clocks_show_a_time_within_the_hours(
    hours: QuietHours, zone: ZoneInfo, moment: float
) -> None:
    when = datetime.fromtimestamp(moment / 1000, UTC)
    if not changes_nearby(when, zone):
        wall = when.astimezone(zone).replace(tzinfo=None)
        assert (hours.until(moment, zone) is not None) is is_within(hours, wall)


@given(tables=st.lists(schedules, max_size=4), zone=zones, moment=moments)
def test_every_end_is_an_instant_after_the_moment_and_at_most_a_week_and_the_hours_away(
    tables: list[QuietHours], zone: ZoneInfo, moment: float
) -> None:
    end = quiet_end(tables, moment, zone)
    assert (end is None) is all(each.until(moment, zone) is None for each in tables)
    if end is not None:
        # Hours last up to a day, and up to a day more where the clocks go back over the date line.
        assert moment < end < moment + limits.QUIET_AT_MOST / MS + 48 * HOUR
        assert shown(end, zone) is not None


@given(tables=st.lists(schedules, min_size=1, max_size=3), zone=zones, moment=moments)
def test_all_losses_of_one_period_have_one_end_at_which_no_hours_hold(
    tables: list[QuietHours], zone: ZoneInfo, moment: float
) -> None:
    end = quiet_end(tables, moment, zone)
    if end is not None and end - moment < limits.QUIET_AT_MOST / MS:
        assert quiet_end(tables, end, zone) is None
        for share in (0.01, 0.5, 0.99):
            assert quiet_end(tables, moment + share * (end - moment), zone) == end
