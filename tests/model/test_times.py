"""Ages, instants, moments in people's notation, and zones."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import NOW

from envwatch.files import export, export_here
from envwatch.model.redactor import Redactor
from envwatch.model.text import cells
from envwatch.model.times import (
    DAY_MS,
    MS,
    TimeStyle,
    clock_text,
    date_text,
    in_zone,
    long_age,
    minutes_age,
    moment,
    offset_text,
    parse_duration,
    parse_moment,
    parse_past_moment,
    seconds_up,
    short_age,
    span,
    state_age,
    use_zone,
    with_zone,
    zone_of,
)
from envwatch.watch.log import PollLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MINUTE, HOUR, DAY = 60, 3_600, 86_400
YEAR = 365 * DAY

AGES = st.floats(allow_nan=False, allow_infinity=True).map(span)


def age(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.999, "0s"), (119.999, "119s")),
        *((120, "2m"), (HOUR - 0.001, "59m")),
        *((HOUR, "1h"), (DAY - 0.001, "23h")),
        *((DAY, "1d"), (1000 * DAY - 0.001, "999d")),
        *((1000 * DAY, "2y"), (3 * YEAR - 0.001, "2y"), (3 * YEAR, "3y"), (999 * YEAR, "999y"), (1000 * YEAR, "999y")),
    ],
)
def test_a_short_age_has_one_unit(seconds: float, text: str) -> None:
    assert short_age(age(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (59.999, "59s")),
        *((60, "1m"), (HOUR - 0.001, "59m")),
        *((HOUR, "1h"), (DAY - 0.001, "23h")),
        *((DAY, "1d"), (DAY + HOUR - 0.001, "1d"), (DAY + HOUR, "1d 1h"), (2 * DAY - 0.001, "1d 23h")),
        *((10 * DAY - 0.001, "9d 23h"), (10 * DAY + HOUR, "10d"), (3 * YEAR + HOUR, "3y")),
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
        *((0, "0s"), (59.999, "59s")),
        *((60, "1m"), (MINUTE + 1, "1m 1s"), (HOUR - 0.001, "59m 59s")),
        *((HOUR + 1, "1h"), (HOUR + MINUTE, "1h 1m"), (DAY - 0.001, "23h 59m")),
        *((DAY + MINUTE, "1d"), (400 * DAY + HOUR, "400d 1h")),
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
    typed = parse_duration(long_age(duration).replace(" ", "")) if duration < timedelta(days=10_000) else duration
    assert typed is not None
    assert typed <= duration < typed + max(typed / 24, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("45s", 45), ("1h30m", 5_400), ("1d2h3m4s", DAY + 2 * HOUR + 3 * MINUTE + 4), (" 2h ", 2 * HOUR)),
        *(("9999d", 9_999 * DAY), ("10000d", None)),
        *(("99999h", 99_999 * HOUR), ("100000h", None)),
        *(("999999m", 999_999 * MINUTE), ("1000000m", None)),
        *(("99999999s", 99_999_999), ("100000000s", None)),
        *((text, None) for text in ("30m1h", "1h 30m", "1w", "1H", "90", "")),
    ],
)
def test_a_duration_is_typed_from_the_largest_unit_to_the_smallest(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == (None if seconds is None else age(seconds))


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


@pytest.mark.parametrize("at", [1e300, -1e300, float("inf"), float("nan")])
def test_an_instant_outside_the_calendar_has_no_text(at: float) -> None:
    assert (moment(at, UTC), clock_text(at, UTC), date_text(at, UTC)) == (None, "–", "–")
    assert offset_text(datetime(2026, 1, 1)) == "Z"  # noqa: DTZ001  # a date without a zone is the case


@given(st.floats(allow_nan=False))
def test_no_number_of_the_api_breaks_an_instant(at: float) -> None:
    assert date_text(at, UTC)
    assert clock_text(at, None)


def test_the_styles_of_instants_follow_each_other_in_a_circle() -> None:
    assert [style.following for style in TimeStyle] == [TimeStyle.LOCAL, TimeStyle.UTC, TimeStyle.RELATIVE]
    assert [zone_of(style) for style in TimeStyle] == [None, None, UTC]


# Moments in people's notation

BERLIN = ZoneInfo("Europe/Berlin")
AFTERNOON = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
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
def test_a_moment_without_a_zone_is_in_the_local_zone(text: str, moment: str) -> None:
    assert parse_moment(text, AFTERNOON, BERLIN) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


def test_the_next_time_of_day_is_right_across_a_change_of_the_clocks() -> None:
    before_winter = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # 22:00, and at 3:00 the clocks go back
    assert parse_moment("12:00", before_winter, BERLIN) == datetime(2026, 10, 25, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc", "moment"),
    [
        # On 25 October 2026 at 3:00 (1:00 UTC) the clocks go back to 2:00.
        ("10:00", "2026-10-25T00:30", "25T09:00"),
        ("10:00", "2026-10-25T01:30", "25T09:00"),
        ("2:30", "2026-10-25T00:29", "25T00:30"),
        ("2:30", "2026-10-25T00:30", "25T01:30"),
        ("2:30", "2026-10-25T01:29", "25T01:30"),
        ("2:30", "2026-10-25T01:30", "26T01:30"),
        # On 29 March 2026 at 2:00 (1:00 UTC) the clocks go forward to 3:00.
        ("10:00", "2026-03-29T00:59", "29T08:00"),
        ("2:30", "2026-03-29T00:59", "29T01:30"),
    ],
)
def test_the_next_time_of_day_is_right_in_the_night_of_a_change_of_the_clocks(text: str, utc: str, moment: str) -> None:
    at = parse_moment(text, datetime.fromisoformat(utc).replace(tzinfo=UTC), BERLIN)
    assert at is not None
    assert f"{at:%dT%H:%M}" == moment


@pytest.mark.parametrize(
    "text",
    ["", "25:00", "12:60", "noon", "2026-13-01 10:00", "2026-02-30 10:00", "2026-11-25", "1530", "12:00 pm", "١٢:٠٠"],
)
def test_anything_else_is_no_moment(text: str) -> None:
    assert parse_moment(text, AFTERNOON, BERLIN) is None


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
    assert parse_past_moment(text, AFTERNOON, BERLIN) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ago", "25:00", "12:60", "noon", "3 min ago", "2026-11-25T", "yesterday14:00", "12:00 yesterday", "1530"),
        *("2026-02-30", "2026-02-30 10:00", "today 15:31", "2026-11-25 15:30:01", "2026-11-26", "14:00+25", "١٢:٠٠"),
        *("9999d ago ago", "0001-01-01", "9999-12-31 23:59"),
    ],
)
def test_what_is_no_moment_or_to_come_is_no_past_moment(text: str) -> None:
    assert parse_past_moment(text, AFTERNOON, BERLIN) is None


def test_at_the_ends_of_the_calendar_there_may_be_no_moment() -> None:
    assert parse_moment("0:00", datetime(9999, 12, 31, 23, 59, tzinfo=UTC), UTC) is None
    assert parse_moment("0001-01-01 00:00", AFTERNOON, BERLIN) is None
    assert parse_past_moment("9999d", datetime(1, 1, 2, tzinfo=UTC), UTC) is None
    assert parse_past_moment("yesterday", datetime(1, 1, 1, 1, tzinfo=UTC), UTC) is None


def berlin(text: str, utc: str) -> str:
    at = parse_past_moment(text, datetime.fromisoformat(utc).replace(tzinfo=UTC), BERLIN)
    assert at is not None
    return f"{at:%dT%H:%M}"


def test_a_time_of_two_moments_is_the_last_one_past_and_on_a_day_the_first() -> None:
    """On 25 October 2026 at 3:00 (1:00 UTC) the clocks go back to 2:00."""
    assert berlin("02:30", "2026-10-25T00:29") == "24T00:30"
    assert berlin("02:30", "2026-10-25T00:30") == "25T00:30"
    assert berlin("02:30", "2026-10-25T01:29") == "25T00:30"
    assert berlin("02:30", "2026-10-25T01:30") == "25T01:30"
    assert berlin("2026-10-25 02:30", "2026-10-25T06:00") == berlin("today 02:30", "2026-10-25T06:00") == "25T00:30"


def test_a_time_skipped_by_the_clocks_has_the_offset_before() -> None:
    """On 29 March 2026 at 2:00 (1:00 UTC) the clocks go forward to 3:00: 2:30 is half an hour after 2:00."""
    assert berlin("02:30", "2026-03-29T01:29") == "28T01:30"
    assert berlin("02:30", "2026-03-29T01:30") == "29T01:30"
    assert berlin("2026-03-29 02:30", "2026-03-29T06:00") == "29T01:30"


def test_the_clocks_of_the_machine_skip_and_repeat_times_as_the_clocks_of_a_named_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = ("02:30", "10:00", "2026-03-29 02:30", "2026-10-25 02:30")
    nights = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 28, 23, 30), (3, 29, 0, 59), (10, 25, 0, 40))]
    named = [
        (parse_moment(text, now, BERLIN), parse_past_moment(text, now, BERLIN)) for text in typed for now in nights
    ]
    with local_zone("CET-1CEST,M3.5.0,M10.5.0/3", monkeypatch):
        assert [(parse_moment(text, now), parse_past_moment(text, now)) for text in typed for now in nights] == named


def test_a_time_on_no_clock_of_yesterday_was_the_day_before() -> None:
    """Samoa had no 30 December 2011: on the 31st at 1:00, 2:00 was last on the 29th."""
    now = datetime(2011, 12, 30, 11, tzinfo=UTC)
    assert parse_past_moment("02:00", now, ZoneInfo("Pacific/Apia")) == datetime(2011, 12, 29, 12, tzinfo=UTC)


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
def test_a_time_of_day_is_the_last_such_minute_of_the_clocks(now: datetime, zone: ZoneInfo, ago: int) -> None:
    text = f"{(now - timedelta(minutes=ago)).astimezone(zone):%H:%M}"
    back = (now - timedelta(minutes=count) for count in range(ago + 1))
    assert parse_past_moment(text, now, zone) == next(at for at in back if f"{at.astimezone(zone):%H:%M}" == text)


@given(at=MINUTES, later=st.timedeltas(timedelta(), timedelta(days=400)), zone=ZONES)
def test_an_iso_date_with_its_offset_is_its_instant_once_past(at: datetime, later: timedelta, zone: ZoneInfo) -> None:
    text = at.astimezone(zone).isoformat()
    assert parse_past_moment(text, at + later, UTC) == at
    assert parse_past_moment(text, at - timedelta(microseconds=1), UTC) is None


@given(day=st.dates(date(2005, 1, 2), date(2025, 12, 31)), zone=ZONES)
def test_a_day_begins_with_its_first_instant(day: date, zone: ZoneInfo) -> None:
    at = parse_past_moment(day.isoformat(), datetime(2026, 1, 1, 12, tzinfo=UTC), zone)
    assert at is not None
    assert at.astimezone(zone).date() == day
    assert (at - timedelta(microseconds=1)).astimezone(zone).date() < day


# A local zone whose offset is 24 hours or more: UTC stands in, and the screen says so

IMPOSSIBLE = ["XXX+24:30", "UTC-25", "XXX-24", "XXX+24", "XXX-24:59:59"]
USUAL = [("UTC0", "Z"), ("XXX-5:30", "+05:30"), ("XXX+23:59", "-23:59"), ("garbage", "Z")]


@contextmanager
def local_zone(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_zone_is_shown_as_utc(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone(name, monkeypatch):
        assert clock_text(NOW, None) == "08:53:20"
        assert date_text(NOW, None) == "2025-10-09 08:53:20Z"
        when = moment(NOW, None)
        assert when is not None
        assert f"{when:%H:%M}" == "08:53"
        naive = datetime(2026, 1, 1)  # noqa: DTZ001  # a date as a person writes it
        assert with_zone(naive) == datetime(2026, 1, 1, tzinfo=UTC)
        assert with_zone(naive, BERLIN) == datetime(2026, 1, 1, tzinfo=BERLIN)


@pytest.mark.parametrize(("name", "offset"), USUAL)
def test_every_other_zone_is_shown_unchanged(name: str, offset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone(name, monkeypatch):
        assert date_text(NOW, None)[19:] == offset


def test_exports_and_logs_are_written_in_an_impossible_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with local_zone("UTC-25", monkeypatch):
        assert export_here(b"data", ".json").is_file()
        path = export(b"data", tmp_path, ".csv", datetime(2026, 11, 25, 13, 0, tzinfo=UTC))
        assert path.name == "envwatch-20261125-130000.csv"
        poll_log = PollLog(tmp_path / "log", Redactor())
        poll_log.note("written")
        poll_log.close()
    assert "+00:00" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("hours", "shown"), [(23, 23), (24, 0), (-24, 0)])
def test_24_hours_are_the_first_impossible_offset(hours: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    with local_zone(f"XXX{-hours:+}", monkeypatch):
        assert in_zone(instant).utcoffset() == timedelta(hours=shown)
        assert in_zone(instant) == instant


# A configured zone


@pytest.mark.parametrize("machine", ["UTC0", "XXX-5:30", "UTC-25"])
def test_a_configured_zone_is_the_local_one_wherever_the_machine_is(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_zone(machine, monkeypatch):
        use_zone(ZoneInfo("Asia/Kathmandu"))
        assert clock_text(NOW, None) == "14:38:20"
        assert date_text(NOW, UTC) == "2025-10-09 08:53:20Z"
        use_zone(None)
        assert clock_text(NOW, None) != "14:38:20"


def test_what_people_write_is_of_the_configured_zone() -> None:
    use_zone(ZoneInfo("Asia/Kathmandu"))
    now = datetime(2026, 1, 1, 20, tzinfo=UTC)  # 01:45 of the next day there
    assert parse_past_moment("today", now) == datetime(2026, 1, 1, 18, 15, tzinfo=UTC)
    assert parse_past_moment("01:45", now) == now
    assert parse_past_moment("01:46", now) == datetime(2025, 12, 31, 20, 1, tzinfo=UTC)
    assert parse_moment("01:46", now) == datetime(2026, 1, 1, 20, 1, tzinfo=UTC)
