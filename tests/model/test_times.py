"""Moments in people's notation."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envwatch.model.times import moment_of, past_moment_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
"""15:30 in Berlin."""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("15:31", "2026-11-25T14:31:00"),
        ("15:30:01", "2026-11-25T14:30:01"),
        ("15:30", "2026-11-26T14:30:00"),
        ("9:05", "2026-11-26T08:05:00"),
        ("2026-11-25 15:30", "2026-11-25T14:30:00"),
        (" 2026-11-25T15:30:10 ", "2026-11-25T14:30:10"),
        ("2026-11-25T15:30Z", "2026-11-25T15:30:00"),
        ("2026-11-25t15:30z", "2026-11-25T15:30:00"),
        ("2026-11-25T15:30+05:30", "2026-11-25T10:00:00"),
        ("2026-11-25T15:30-0800", "2026-11-25T23:30:00"),
        ("2027-07-01 12:00", "2027-07-01T10:00:00"),
    ],
)
def test_a_moment_is_in_the_zone_unless_it_names_one(text: str, moment: str) -> None:
    assert moment_of(text, NOW, BERLIN) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


def test_the_next_time_of_day_is_right_across_a_change_of_the_clocks() -> None:
    before_winter = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # 22:00, and at 3:00 the clocks go back
    assert moment_of("12:00", before_winter, BERLIN) == datetime(2026, 10, 25, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "25:00", "12:60", "noon", "2026-13-01 10:00", "2026-02-30 10:00", "2026-11-25", "1530", "12:00 pm", "١٢:٠٠"],
)
def test_anything_else_is_no_moment(text: str) -> None:
    assert moment_of(text, NOW, BERLIN) is None


def test_the_end_of_the_calendar_is_no_error() -> None:
    assert moment_of("0:00", datetime(9999, 12, 31, 23, 59, tzinfo=UTC), UTC) is None
    assert moment_of("0001-01-01 00:00", NOW, BERLIN) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-11-25T14:30:00"),
        ("8h", "2026-11-25T06:30:00"),
        ("3m ago", "2026-11-25T14:27:00"),
        ("1h 30m ago", "2026-11-25T13:00:00"),
        ("15:30", "2026-11-25T14:30:00"),
        ("15:30:01", "2026-11-24T14:30:01"),
        ("9:05", "2026-11-25T08:05:00"),
        ("15:30:01+02", "2026-11-25T13:30:01"),
        ("14:30z", "2026-11-25T14:30:00"),
        ("today", "2026-11-24T23:00:00"),
        ("yesterday", "2026-11-23T23:00:00"),
        ("2026-11-25", "2026-11-24T23:00:00"),
        (" Yesterday  14:00 ", "2026-11-24T13:00:00"),
        ("today 15:30", "2026-11-25T14:30:00"),
        ("2026-11-25 15:30:00+01", "2026-11-25T14:30:00"),
        ("2026-11-25T14:30Z", "2026-11-25T14:30:00"),
        ("2026-11-25T14:29:59.999Z", "2026-11-25T14:29:59"),
        ("2026-07-01 12:00", "2026-07-01T10:00:00"),
    ],
)
def test_a_past_moment_is_before_now(text: str, moment: str) -> None:
    assert past_moment_of(text, NOW, BERLIN) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ago", "25:00", "12:60", "noon", "3 min ago", "2026-11-25T", "yesterday14:00", "12:00 yesterday", "1530"),
        *("2026-02-30", "2026-02-30 10:00", "today 15:31", "2026-11-25 15:30:01", "2026-11-26", "14:00+25", "١٢:٠٠"),
        *("9999d ago ago", "0001-01-01", "9999-12-31 23:59"),
    ],
)
def test_what_is_no_moment_or_to_come_is_no_past_moment(text: str) -> None:
    assert past_moment_of(text, NOW, BERLIN) is None


def test_at_the_ends_of_the_calendar_there_may_be_no_past_moment() -> None:
    assert past_moment_of("9999d", datetime(1, 1, 2, tzinfo=UTC), UTC) is None
    assert past_moment_of("yesterday", datetime(1, 1, 1, 1, tzinfo=UTC), UTC) is None


def berlin(text: str, utc: str) -> str:
    at = past_moment_of(text, datetime.fromisoformat(utc).replace(tzinfo=UTC), BERLIN)
    assert at is not None
    return f"{at:%dT%H:%M}"


def test_a_time_that_comes_twice_is_the_last_one_past_and_on_a_day_the_first() -> None:
    """On 25 October 2026 at 3:00 (1:00 UTC) the clocks go back to 2:00."""
    assert berlin("02:30", "2026-10-25T00:29") == "24T00:30"
    assert berlin("02:30", "2026-10-25T00:30") == "25T00:30"
    assert berlin("02:30", "2026-10-25T01:29") == "25T00:30"
    assert berlin("02:30", "2026-10-25T01:30") == "25T01:30"
    assert berlin("2026-10-25 02:30", "2026-10-25T06:00") == berlin("today 02:30", "2026-10-25T06:00") == "25T00:30"


def test_a_time_that_the_clocks_skip_has_the_offset_before() -> None:
    """On 29 March 2026 at 2:00 (1:00 UTC) the clocks go forward to 3:00: 2:30 is half an hour after 2:00."""
    assert berlin("02:30", "2026-03-29T01:29") == "28T01:30"
    assert berlin("02:30", "2026-03-29T01:30") == "29T01:30"
    assert berlin("2026-03-29 02:30", "2026-03-29T06:00") == "29T01:30"


def test_a_time_that_comes_on_no_clock_of_yesterday_was_the_day_before() -> None:
    """Samoa had no 30 December 2011: on the 31st at 1:00, 2:00 was last on the 29th."""
    now = datetime(2011, 12, 30, 11, tzinfo=UTC)
    assert past_moment_of("02:00", now, ZoneInfo("Pacific/Apia")) == datetime(2011, 12, 29, 12, tzinfo=UTC)


ZONES = st.sampled_from(
    [BERLIN, UTC, *map(ZoneInfo, ("America/St_Johns", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"))]
)
"""Lord Howe changes clocks by half an hour. St. John's did at 0:01 until 2011, São Paulo at 0:00 until 2018."""

MINUTES = st.datetimes(datetime(2005, 1, 1), datetime(2026, 1, 1)).map(  # noqa: DTZ001  # it gets UTC here
    lambda at: at.replace(second=0, microsecond=0, tzinfo=UTC)
)


@given(now=MINUTES, zone=ZONES, ago=st.integers(0, 36 * 60))
@example(now=datetime(2006, 10, 29, 3, 0, tzinfo=UTC), zone=ZoneInfo("America/St_Johns"), ago=30)
@example(now=datetime(2026, 10, 25, 1, 10, tzinfo=UTC), zone=BERLIN, ago=30)
def test_a_time_of_day_is_the_last_minute_at_which_the_clocks_showed_it(
    now: datetime, zone: ZoneInfo, ago: int
) -> None:
    text = f"{(now - timedelta(minutes=ago)).astimezone(zone):%H:%M}"
    back = (now - timedelta(minutes=count) for count in range(ago + 1))
    assert past_moment_of(text, now, zone) == next(at for at in back if f"{at.astimezone(zone):%H:%M}" == text)


@given(now=MINUTES, zone=ZONES, minute=st.integers(0, 24 * 60 - 1))
def test_a_time_of_day_is_at_most_a_day_and_a_change_of_the_clocks_ago(
    now: datetime, zone: ZoneInfo, minute: int
) -> None:
    at = past_moment_of(f"{minute // 60}:{minute % 60:02}", now, zone)
    assert at is not None
    assert timedelta() <= now - at <= timedelta(hours=26)


@given(at=MINUTES, later=st.timedeltas(timedelta(), timedelta(days=400)), zone=ZONES)
def test_an_iso_date_with_its_offset_is_that_instant_once_it_is_past(
    at: datetime, later: timedelta, zone: ZoneInfo
) -> None:
    text = at.astimezone(zone).isoformat()
    assert past_moment_of(text, at + later, UTC) == at
    assert past_moment_of(text, at - timedelta(microseconds=1), UTC) is None


@given(day=st.dates(date(2005, 1, 2), date(2025, 12, 31)), zone=ZONES)
def test_a_day_begins_with_the_first_instant_of_it(day: date, zone: ZoneInfo) -> None:
    at = past_moment_of(day.isoformat(), datetime(2026, 1, 1, 12, tzinfo=UTC), zone)
    assert at is not None
    assert at.astimezone(zone).date() == day
    assert (at - timedelta(microseconds=1)).astimezone(zone).date() < day
