"""The uptime of a row: share, two watched days, outages, and the answer while the row is down."""

from __future__ import annotations

from datetime import timedelta
from math import exp
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.uptime import Uptime, share_text, uptime_text

HOUR: Final = 3_600_000.0
WEEK: Final = 7 * 24 * HOUR


def lived(*spans: tuple[bool | None, float], is_first: bool = False) -> Uptime:
    """Return the uptime at the end of spans of (state, hours), the last span still going on."""
    uptime, at = Uptime(is_up=spans[0][0], is_first=is_first), 0.0
    for (_, hours), (state, _) in zip(spans, [*spans[1:], spans[-1]], strict=True):
        at += hours * HOUR
        uptime = uptime.after(at, is_up=state)
    return uptime


def weighed(*spans: tuple[bool, float]) -> float:
    """Return the share by the definition: watched time of an age weighs exp(-age / week), in steps of a minute."""
    counted = [
        (is_up, min(hours, 12.0) if not is_up else hours)
        for place, (is_up, hours) in enumerate(spans)
        if is_up or place < len(spans) - 1  # the present outage does not count yet
    ]
    minutes = [is_up for is_up, hours in counted for _ in range(round(hours * 60))]
    weights = [exp(-(age + 0.5) * 60_000 / WEEK) for age in reversed(range(len(minutes)))]
    return sum(weight for weight, is_up in zip(weights, minutes, strict=True) if is_up) / sum(weights)


@given(st.lists(st.integers(1, 40).map(lambda quarters: quarters / 4), min_size=1, max_size=40))
def test_the_share_is_the_weighed_watched_time(hours: list[float]) -> None:
    spans = [(place % 2 == 0, each) for place, each in enumerate(hours)]
    assert lived(*spans).share == pytest.approx(weighed(*spans), abs=1e-6)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 30)), min_size=1, max_size=20),
    st.floats(0.0, 1.0),
)
def test_a_refresh_in_the_middle_changes_nothing(spans: list[tuple[bool, float]], where: float) -> None:
    whole, parts, at = Uptime(is_up=True), Uptime(is_up=True), 0.0
    for state, hours in spans:
        whole = whole.after(at + hours * HOUR, is_up=state)
        parts = parts.after(at + where * hours * HOUR, is_up=parts.is_up).after(at + hours * HOUR, is_up=state)
        at += hours * HOUR
    assert parts.up == pytest.approx(whole.up, rel=1e-9, abs=1e-3)
    assert parts.watched == pytest.approx(whole.watched, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(("hours", "is_known"), [(47.99, False), (48.0, True)])
def test_the_uptime_is_known_after_two_watched_days(hours: float, *, is_known: bool) -> None:
    assert lived((True, hours)).is_known is is_known
    assert lived((True, hours)).is_permanent is is_known
    assert lived(*[(True, hours / 1000)] * 1000).is_known is is_known


@pytest.mark.parametrize("share", [0.8999, 0.9, 0.9001])
def test_the_least_share_of_a_permanent_row(share: float) -> None:
    assert Uptime(up=share * WEEK, watched=WEEK * 0.99).is_permanent is (share / 0.99 >= 0.9)
    assert Uptime(up=share * WEEK * 0.5, watched=WEEK * 0.5).is_permanent is (share >= 0.9)


def test_an_outage_counts_when_the_row_is_back() -> None:
    up = lived((True, 100.0))
    down = up.after(up.at, is_up=False)
    for hours in (1.0, 12.0, 1_000.0):
        later = down.after(down.at + hours * HOUR, is_up=False)
        assert (later.share, later.is_permanent) == (up.share, True)
    assert down.after(down.at + 5 * HOUR, is_up=True).share == pytest.approx(
        weighed((True, 100.0), (False, 5.0), (True, 0.0))
    )


def test_an_outage_counts_for_twelve_hours_at_most() -> None:
    up = lived((True, 200.0), (False, 11.0), (True, 0.0))
    long, longest = (lived((True, 200.0), (False, hours), (True, 0.0)) for hours in (12.0, 72.0))
    assert up.share is not None
    assert long.share is not None
    assert up.share > long.share
    assert longest.share == long.share
    assert longest.is_permanent


def test_a_machine_that_is_down_eight_hours_each_night_is_told_three_nights() -> None:
    uptime, told = lived((True, 500.0)), []
    for _ in range(6):
        lost = uptime.after(uptime.at + 16 * HOUR, is_up=False)
        told.append(lost.is_permanent)
        uptime = lost.after(lost.at + 8 * HOUR, is_up=True)
    assert told == [True, True, True, False, False, False]


def test_two_outages_of_ten_hours_a_week_leave_a_server_permanent() -> None:
    uptime = lived((True, 500.0))
    for _ in range(20):
        lost = uptime.after(uptime.at + 74 * HOUR, is_up=False)
        assert lost.is_permanent
        uptime = lost.after(lost.at + 10 * HOUR, is_up=True)


def test_a_job_of_twelve_hours_a_day_is_not_permanent() -> None:
    assert not lived(*[(True, 12.0), (False, 12.0)] * 20).is_permanent


def test_time_without_proof_counts_neither_as_up_nor_as_down() -> None:
    plain = lived((True, 60.0), (False, 6.0), (True, 10.0))
    gap = lived((True, 60.0), (False, 6.0), (True, 4.0), (None, 300.0), (True, 6.0))
    assert gap.share == pytest.approx(plain.share)
    assert gap.watched == pytest.approx(plain.watched)


@pytest.mark.parametrize(("is_first", "hours", "is_permanent"), [(True, 1, True), (True, 50, True), (False, 1, False)])
def test_a_row_of_the_first_listing_counts_until_the_uptime_is_known(
    hours: float, *, is_first: bool, is_permanent: bool
) -> None:
    assert lived((True, hours), is_first=is_first).is_permanent is is_permanent
    assert not lived((True, 30.0), (False, 12.0), (True, 10.0), is_first=True).is_permanent


@pytest.mark.parametrize(
    ("share", "text"), [(0.8999, "89 %"), (0.9, "90 %"), (0.9999, "99 %"), (1.0, "100 %"), (0.0, "0 %")]
)
def test_a_share_is_rounded_down(share: float, text: str) -> None:
    assert share_text(share) == text


@pytest.mark.parametrize(
    ("uptime", "text"),
    [
        (lived((True, 47.9)), "watched for 47 of 48 h"),
        (lived((True, 48.0)), "up 100 % of 2 days"),
        (lived((True, 71.0)), "up 100 % of 2 days"),
        (lived((True, 72.0)), "up 100 % of 3 days"),
        (lived((True, 2_000.0)), "up 100 % of 7 days"),
        (lived((True, 3.0), is_first=True), "watched for 3 of 48 h, and connected for a day before"),
    ],
)
def test_an_uptime_in_words(uptime: Uptime, text: str) -> None:
    assert uptime_text(uptime) == text


def test_the_watched_time_is_a_week_at_most() -> None:
    assert Uptime(up=WEEK, watched=WEEK).watched_for == lived((True, 5_000.0)).watched_for == timedelta(days=7)
