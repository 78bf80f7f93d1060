"""Durations, dates, versions, shares of uptime and `permanent` in a query, at boundaries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from support.builders import NOW, reading
from support.memory_history import day, monitor_now, with_past
from support.tracked_environments import matches, tracked

from envwatch.fleet.uptime import Uptime
from envwatch.history.hours import LastDays
from envwatch.query.fields import NumberField
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError, Token, tokens
from envwatch.query.presentation import TIMELESS, Filter, MatchContext

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("value", "age", "is_found"),
    [
        (">90s", 90, False),
        (">90s", 90.001, True),
        (">=90s", 89.999, False),
        (">=90s", 90, True),
        ("<90s", 89.999, True),
        ("<90s", 90, False),
        ("<=90s", 90, True),
        ("<=90s", 90.001, False),
        ("=2m", 119.999, False),
        ("=2m", 120, True),
        ("2m", 179.999, True),
        ("2m", 180, False),
        ("30s..90s", 30, True),
        ("30s..90s", 90, True),
        ("30s..90s", 29.999, False),
        ("30s..90s", 90.001, False),
        ("30s..30s", 30, True),
        ("1h30m", 5399.999, False),
        ("1h30m", 5400, True),
        ("1h30m", 5459.999, True),
        ("1h30m", 5460, False),
        (">1h30m", 5400, False),
        (">1h30m", 5401, True),
        (">1d", 86_401, True),
        (">1w", 604_800, False),
        (">=0s", -5, True),
        ("<1S", -5, True),
        ("<=0s", -5, True),
        ("<=0s", 0, True),
        ("<=0s", 0.001, False),
    ],
)
def test_a_duration_is_compared_with_the_age(value: str, age: float, *, is_found: bool) -> None:
    assert matches(parse(f"beat:{value}"), tracked(lastHeartbeat=NOW - age * SECOND)) is is_found


def test_each_instant_has_its_field() -> None:
    one = tracked(
        lastHeartbeat=NOW - MINUTE, connectedAt=NOW - HOUR, lastSeenAt=NOW - DAY, firstSeenAt=NOW - 7 * DAY, podId=None
    )

    assert matches(parse("beat:=1m up:=1h seen:=1d first:=1w"), one)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "when", "is_found"),
    [
        (">2026-11-01", datetime(2026, 11, 1, 23, 59, 59, tzinfo=BERLIN), False),
        (">2026-11-01", datetime(2026, 11, 2, tzinfo=BERLIN), True),
        (">=2026-11-01", datetime(2026, 10, 31, 23, 59, 59, tzinfo=BERLIN), False),
        (">=2026-11-01", datetime(2026, 11, 1, tzinfo=BERLIN), True),
        ("<2026-11-01", datetime(2026, 10, 31, 23, 59, 59, tzinfo=BERLIN), True),
        ("<2026-11-01", datetime(2026, 11, 1, tzinfo=BERLIN), False),
        ("<=2026-11-01", datetime(2026, 11, 1, 23, 59, 59, tzinfo=BERLIN), True),
        ("<=2026-11-01", datetime(2026, 11, 2, tzinfo=BERLIN), False),
        ("2026-10-25", datetime(2026, 10, 25, 23, 30, tzinfo=BERLIN), True),  # a day of 25 hours
        ("2026-10-25", datetime(2026, 10, 26, tzinfo=BERLIN), False),
        ("2026-11-01..2026-11-03", datetime(2026, 11, 3, 23, 59, tzinfo=BERLIN), True),
        ("<2026-11-24T03:00", datetime(2026, 11, 24, 2, 59, 59, tzinfo=BERLIN), True),
        ("<2026-11-24T03:00", datetime(2026, 11, 24, 3, tzinfo=BERLIN), False),
        ("2026-11-24T03:00", datetime(2026, 11, 24, 3, 0, 59, tzinfo=BERLIN), True),
        ("2026-11-24T03:00:07", datetime(2026, 11, 24, 3, 0, 8, tzinfo=BERLIN), False),
        ("<2026-11-24T03:00Z", datetime(2026, 11, 24, 2, 59, tzinfo=UTC), True),
        ("<2026-11-24t03:00z", datetime(2026, 11, 24, 3, 0, tzinfo=UTC), False),
        (">=2026-11-24T03:00-05:30", datetime(2026, 11, 24, 8, 30, tzinfo=UTC), True),
        ('<"2026-11-24 03:00"', datetime(2026, 11, 24, 2, 59, tzinfo=BERLIN), True),
    ],
)
def test_a_date_is_compared_with_the_instant_and_covers_its_whole_span(
    value: str, when: datetime, *, is_found: bool
) -> None:
    one = tracked(firstSeenAt=when.timestamp() * 1000)

    assert matches(parse(f"first:{value}", BERLIN), one) is is_found


@pytest.mark.parametrize(
    ("value", "version", "is_found"),
    [
        ("<0.34", "0.33.9", True),
        ("<0.34", "0.9.0", True),
        ("<0.34", "0.34.0", False),
        ("<=0.34", "0.34.12", True),
        ("<=0.34", "0.35.0", False),
        (">0.34", "0.34.12", False),
        (">0.34", "0.35.0", True),
        (">=0.34", "0.34.0", True),
        (">=0.34", "0.33.99", False),
        (">=22", "v22.1.0", True),
        (">=v22", "22.1.0", True),
        ("22", "v22.1.0", True),
        ("22", "v18.22.0", False),
        ("0.3", "0.34.1", False),
        ("0.3*", "0.34.1", True),
        ("=0.34.12", "0.34.12", True),
        ("=0.34.12", "0.34.12-rc1", False),
        ("<0.34.12", "0.34.12-RC1", True),
        ("<0.34.12-rc2", "0.34.12-rc1", True),
        (">0.34.12-rc2", "0.34.12", True),
        ("0.30..0.34", "0.34.12", True),
        ("0.30..0.34", "0.35.0", False),
        ("0.30..0.34", "0.29.9", False),
        ("0.34.0", "0.34", True),
        ("0.34.0", "0.34.0", True),
        ("0.34.0", "0.34.1", False),
        ("0.34", "0.34.0", True),
        ("1.0", "1.0.5", True),
        ("1.0", "1.2.0", False),
        (">1.0", "1.0.5", False),
        (">1.0", "1.2", True),
        ("nightly", "nightly-7", False),
        ("nightly*", "nightly-7", True),
        ("<0.34", "nightly", False),
        (">0.34", "nightly", False),
    ],
)
def test_versions_are_compared_as_versions(value: str, version: str, *, is_found: bool) -> None:
    one = tracked(metadata={"lettaCodeVersion": version, "nodeVersion": version})

    assert matches(parse(f"version:{value}"), one) is is_found
    assert matches(parse(f"node:{value}"), one) is is_found


def test_a_date_without_an_offset_is_in_the_given_zone_or_in_this_machines() -> None:
    at = datetime(2026, 11, 1, 23, tzinfo=UTC).timestamp() * 1000
    here = datetime(2026, 11, 24, 3).astimezone().timestamp() * 1000

    assert matches(parse("first:2026-11-01", UTC), tracked(firstSeenAt=at))
    assert matches(parse("first:2026-11-02", timezone(timedelta(hours=2))), tracked(firstSeenAt=at))
    assert matches(parse("first:2026-11-24T03:00"), tracked(firstSeenAt=here))


LONG = 600.0 * 3_600_000


def up(share: float | None) -> Uptime:
    return Uptime() if share is None else Uptime(up=share * LONG, watched=LONG)


@pytest.mark.parametrize(
    ("value", "share", "is_found"),
    [
        ("<90", 0.8999, True),
        ("<90", 0.9, False),
        ("<90", 0.899_999_99, True),
        ("<90", 0.899_999_996, False),  # an error of the share, below the digits that a person can type
        ("<=90", 0.9, True),
        ("<=90", 0.9001, False),
        (">90", 0.9, False),
        (">90", 0.9001, True),
        (">=99.5", 0.9949, False),
        (">=99.5", 0.995, True),
        ("90", 0.8999, False),
        ("90%", 0.9, True),
        ("90", 0.9099, True),
        ("90", 0.91, False),
        ("99.5", 0.9949, False),
        ("99.5", 0.9999, True),
        ("99.5", 1.0, False),
        ("50..90", 0.4999, False),
        ("50..90", 0.5, True),
        ("50..90", 0.9, True),
        ("50..90", 0.9001, False),
        ("100", 1.0, True),
        ("0", 0.0, True),
        ("<90", None, False),
        ("none", None, True),
        ("none", 0.0, False),
    ],
)
def test_the_share_is_compared_in_percent(value: str, share: float | None, *, is_found: bool) -> None:
    assert matches(parse(f"up7d:{value}"), replace(tracked(), uptime=up(share))) is is_found


SIZE = NumberField("size", "a number", lambda one, _: one.environment.first_seen_at - NOW, Filter.NUMBER)


@pytest.mark.parametrize(
    ("value", "number", "is_found"),
    [
        (">2", 2, False),
        (">2", 2.001, True),
        (">=2", 2, True),
        ("<2", 2, False),
        ("2", 2, True),
        ("2", 2.5, False),
        ("-1..1.5", -1, True),
        ("-1..1.5", 1.5, True),
        ("-1..1.5", 1.501, False),
    ],
)
def test_a_number_is_compared_as_it_is(value: str, number: float, *, is_found: bool) -> None:
    (token,) = tokens(value)
    found = SIZE.parse(token, None)
    assert found.source == value
    assert found.test(tracked(firstSeenAt=NOW + number), TIMELESS) is is_found


@pytest.mark.parametrize("value", ["two", "2s", "", "1e3", "2..1"])
def test_a_wrong_number_is_a_mistake(value: str) -> None:
    with pytest.raises(QueryError):
        SIZE.parse(Token(value, value, tuple(range(len(value) + 1)), 0), None)


@pytest.mark.parametrize(("value", "names"), [("<90", {"once"}), ("90", {"lost"}), ("100", {"steady", "new"})])
def test_a_field_of_recorded_time_reads_the_last_day(value: str, names: set[str]) -> None:
    monitor = with_past(monitor_now(), day())
    context = MatchContext(NOW, days=LastDays(monitor, reading()))
    test = parse(f"24h:{value}", has_past=True).test(context, ())
    assert {row.environment.name for row in monitor.fleet.environments if test(row)} == names
    assert not any(map(parse("24h:<90", has_past=True).test(TIMELESS, ()), monitor.fleet.environments))


@pytest.mark.parametrize("query", ["24h:<90", "web !24h:>50"])
def test_a_field_of_recorded_time_is_refused_where_nothing_is_recorded(query: str) -> None:
    assert parse(query, has_past=True).needs_past
    with pytest.raises(QueryError, match="only the dashboard's table knows 24h"):
        parse(query)
    assert not parse("up7d:<90").needs_past


@pytest.mark.parametrize("value", ["101", "-1", "ninety", "<", "9e1", "0.1234567", "90..80", "50..>90"])
def test_a_wrong_percentage_is_a_mistake(value: str) -> None:
    with pytest.raises(QueryError):
        parse(f"up7d:{value}")


@pytest.mark.parametrize(
    ("query", "share", "is_found"),
    [
        ("permanent:yes", 0.9, True),
        ("permanent:yes", 0.8999, False),
        ("permanent:no", 0.9, False),
        ("permanent:NO", 0.8999, True),
        ("!permanent:=yes", 0.8999, True),
        ("permanent:yes,no", 0.5, True),
        ("permanent:yes !name:laptop*", 0.9, False),
    ],
)
def test_permanent_is_yes_or_no(query: str, share: float, *, is_found: bool) -> None:
    assert matches(parse(query), replace(tracked(), uptime=up(share))) is is_found


@pytest.mark.parametrize("value", ["maybe", "none", ">yes", "y"])
def test_any_other_word_for_permanent_is_a_mistake(value: str) -> None:
    with pytest.raises(QueryError, match="write permanent:yes or permanent:no"):
        parse(f"permanent:{value}")
