"""Durations and instants as text, and typed durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.model.text import cells
from envwatch.model.times import (
    DAY_MS,
    MS,
    TimeStyle,
    clock_text,
    date_text,
    duration_of,
    long_age,
    minutes_age,
    moment,
    offset_text,
    seconds_up,
    short_age,
    span,
    state_age,
    zone_of,
)

MINUTE, HOUR, DAY = 60, 3_600, 86_400
YEAR = 365 * DAY

AGES = st.floats(allow_nan=False, allow_infinity=True).map(span)


def age(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.999, "0s"),
        (119.999, "119s"),
        (120, "2m"),
        (HOUR - 0.001, "59m"),
        (HOUR, "1h"),
        (DAY - 0.001, "23h"),
        (DAY, "1d"),
        (1000 * DAY - 0.001, "999d"),
        (1000 * DAY, "2y"),
        (3 * YEAR - 0.001, "2y"),
        (3 * YEAR, "3y"),
        (999 * YEAR, "999y"),
        (1000 * YEAR, "999y"),
    ],
)
def test_a_short_age_has_one_unit(seconds: float, text: str) -> None:
    assert short_age(age(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.999, "59s"),
        (60, "1m"),
        (HOUR - 0.001, "59m"),
        (HOUR, "1h"),
        (DAY - 0.001, "23h"),
        (DAY, "1d"),
        (DAY + HOUR - 0.001, "1d"),
        (DAY + HOUR, "1d 1h"),
        (2 * DAY - 0.001, "1d 23h"),
        (10 * DAY - 0.001, "9d 23h"),
        (10 * DAY + HOUR, "10d"),
        (3 * YEAR + HOUR, "3y"),
    ],
)
def test_a_state_lasts_seconds_only_in_the_first_minute_and_has_hours_for_ten_days(seconds: float, text: str) -> None:
    assert state_age(age(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "<1m"), (59.999, "<1m"), (60, "1m"), (119.999, "1m"), (120, "2m"), (HOUR, "1h")]
)
def test_an_age_in_minutes_never_has_seconds(seconds: float, text: str) -> None:
    assert minutes_age(age(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.999, "59s"),
        (60, "1m"),
        (MINUTE + 1, "1m 1s"),
        (HOUR - 0.001, "59m 59s"),
        (HOUR + 1, "1h"),
        (HOUR + MINUTE, "1h 1m"),
        (DAY - 0.001, "23h 59m"),
        (DAY + MINUTE, "1d"),
        (400 * DAY + HOUR, "400d 1h"),
    ],
)
def test_a_long_age_has_two_units(seconds: float, text: str) -> None:
    assert long_age(age(seconds)) == text


def test_an_unknown_age_is_a_dash() -> None:
    assert {short_age(None), state_age(None), long_age(None), date_text(None, UTC)} == {"–"}


@given(st.integers(0, 86_400 * 30))
def test_the_time_in_a_state_repaints_at_most_once_a_minute_after_the_first(second: int) -> None:
    texts = {state_age(timedelta(seconds=second + later)) for later in range(60)}
    assert len(texts) <= (60 if second < 60 else 2)


@given(AGES, AGES)
def test_of_two_ages_with_one_unit_the_longer_reads_longer(one: timedelta, other: timedelta) -> None:
    first, second = short_age(min(one, other)), short_age(max(one, other))
    if first[-1] == second[-1]:
        assert int(first[:-1]) <= int(second[:-1])


@given(AGES)
def test_a_long_age_never_claims_more_than_has_passed(age: timedelta) -> None:
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    claimed = sum(int(part[:-1]) * units[part[-1]] for part in long_age(age).split())
    assert claimed <= age.total_seconds()
    assert age.total_seconds() - claimed < max(units[long_age(age).split()[0][-1]], 1)


@given(AGES)
def test_an_age_fits_into_its_column(duration: timedelta) -> None:
    assert cells(short_age(duration)) <= 4
    assert cells(state_age(duration)) <= 6


@given(AGES)
def test_a_typed_long_age_is_the_duration_without_the_smaller_units(duration: timedelta) -> None:
    typed = duration_of(long_age(duration).replace(" ", "")) if duration < timedelta(days=10_000) else duration

    assert typed is not None
    assert typed <= duration < typed + max(typed / 24, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("1h30m", 5_400),
        ("1d2h3m4s", DAY + 2 * HOUR + 3 * MINUTE + 4),
        (" 2h ", 2 * HOUR),
        ("9999d", 9_999 * DAY),
        ("99999h", 99_999 * HOUR),
        ("999999m", 999_999 * MINUTE),
        ("99999999s", 99_999_999),
        ("10000d", None),
        ("100000h", None),
        ("1000000m", None),
        ("100000000s", None),
        ("30m1h", None),
        ("1h 30m", None),
        ("1w", None),
        ("1H", None),
        ("90", None),
        ("", None),
    ],
)
def test_a_duration_is_typed_from_the_largest_unit_to_the_smallest(text: str, seconds: int | None) -> None:
    assert duration_of(text) == (None if seconds is None else age(seconds))


@pytest.mark.parametrize(("seconds", "up"), [(0, 0), (0.001, 1), (1, 1), (1.001, 2), (-0.5, 0)])
def test_a_part_of_a_second_is_rounded_up(seconds: float, up: int) -> None:
    assert seconds_up(age(seconds)) == age(up)


@pytest.mark.parametrize(
    ("milliseconds", "duration"),
    [
        (-1.0, timedelta()),
        (0.0, timedelta()),
        (0.5, MS / 2),
        (DAY_MS, timedelta(days=1)),
        (1e14, 1e14 * MS),
        (1e300, 1e14 * MS),
    ],
)
def test_a_span_is_never_negative_and_has_a_greatest_length(milliseconds: float, duration: timedelta) -> None:
    assert span(milliseconds) == duration


# Instants

AT = datetime(2026, 10, 4, 13, 41, 7, 999_000, tzinfo=UTC).timestamp() * 1000
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("zone", "clock", "date"),
    [
        (UTC, "13:41:07Z", "2026-10-04 13:41:07Z"),
        (timezone(timedelta(hours=1)), "14:41:07+01", "2026-10-04 14:41:07+01"),
        (timezone(timedelta(hours=-3, minutes=-30)), "10:11:07-03:30", "2026-10-04 10:11:07-03:30"),
        (INDIA, "19:11:07+05:30", "2026-10-04 19:11:07+05:30"),
        (timezone(timedelta(minutes=53, seconds=28)), "14:34:35+00:53", "2026-10-04 14:34:35+00:53"),
        (timezone(timedelta(hours=14)), "03:41:07+14", "2026-10-05 03:41:07+14"),
    ],
)
def test_an_instant_has_a_time_and_a_date_with_the_offset(zone: timezone, clock: str, date: str) -> None:
    assert (clock_text(AT, zone), date_text(AT, zone)) == (clock, date)


def test_a_naive_date_has_no_offset_to_show() -> None:
    assert offset_text(datetime(2026, 1, 1)) == "Z"  # noqa: DTZ001  # a date without a zone is the case


@pytest.mark.parametrize("at", [1e300, -1e300, float("inf"), float("nan")])
def test_an_instant_outside_the_calendar_has_no_text(at: float) -> None:
    assert (moment(at, UTC), clock_text(at, UTC), date_text(at, UTC)) == (None, "–", "–")


@given(st.floats(allow_nan=False))
def test_no_number_of_the_api_breaks_an_instant(at: float) -> None:
    assert date_text(at, UTC)
    assert clock_text(at, None)


@given(st.integers(-60_000_000_000_000, 200_000_000_000_000))
def test_an_instant_is_a_date_of_the_same_moment(at: int) -> None:
    found = moment(at, INDIA)

    assert found is not None
    assert abs((found - datetime(1970, 1, 1, tzinfo=UTC)) / MS - at) < 0.01
    assert found.utcoffset() == timedelta(hours=5, minutes=30)


def test_the_styles_of_instants_follow_each_other_in_a_circle() -> None:
    assert [style.following for style in TimeStyle] == [TimeStyle.LOCAL, TimeStyle.UTC, TimeStyle.RELATIVE]
    assert [zone_of(style) for style in TimeStyle] == [None, None, UTC]
