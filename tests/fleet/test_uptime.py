"""The uptime of a row: share, two watched days, outages, words."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from math import exp
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.uptime import Uptime, rounded, rounded_parts, uptime_text

HOUR: Final = 3_600_000.0
WEEK: Final = 7 * 24 * HOUR


def lived(*spans: tuple[bool | None, float], is_first: bool = False) -> Uptime:
    """Return the uptime at the end of spans of (state, hours), the last span still going on."""
    uptime, at = Uptime(is_up=spans[0][0], is_first=is_first), 0.0
    for (_, hours), (state, _) in zip(spans, [*spans[1:], spans[-1]], strict=True):
        at += hours * HOUR
        uptime = uptime.after(at, is_up=state)
    return uptime


def share_by_hand(*pieces: tuple[float, bool | None]) -> float:
    """Return the share by the definition, of pieces of (hours, state), oldest first.

    An hour that lies `a` watched hours back weighs exp(-a / week). The present outage does not count yet, and any other
    outage counts for 12 hours.
    """
    seen = [(hours, is_up) for hours, is_up in pieces if is_up is not None]
    spells = [(is_up, sum(hours for hours, _ in spell)) for is_up, spell in groupby(seen, lambda piece: piece[1])]
    if spells and not spells[-1][0]:
        spells.pop()
    age = weight = weight_up = 0.0
    for is_up, hours in reversed(spells):
        counted = hours if is_up else min(hours, 12.0)
        own = exp(-age * HOUR / WEEK) - exp(-(age + counted) * HOUR / WEEK)
        age, weight, weight_up = age + counted, weight + own, weight_up + (own if is_up else 0.0)
    return weight_up / weight if weight else 0.0


@given(st.lists(st.tuples(st.floats(0.01, 60), st.sampled_from((True, False, None))), min_size=1, max_size=30))
def test_the_share_is_the_weighed_watched_time(pieces: list[tuple[float, bool | None]]) -> None:
    known = list[tuple[float, bool | None]]()
    for piece in pieces:
        # The record takes doubtful time within an outage for a part of the outage.
        if piece[1] is not None or not known or known[-1][1] is not False:
            known.append(piece)
    uptime = lived(*((state, hours) for hours, state in known))
    assert (uptime.share or 0.0) == pytest.approx(share_by_hand(*known), abs=1e-9)
    # An outage changes no answer while the row is down.
    lost = uptime.after(uptime.at, is_up=False)
    later = lost.after(lost.at + 1_000 * HOUR, is_up=False)
    assert (later.share, later.is_permanent) == (lost.share, lost.is_permanent)
    assert uptime.watched_for <= timedelta(days=7)


@pytest.mark.parametrize(
    "pieces",
    [
        *([(100.0, True), (hours, False), (1.0, True)] for hours in (1.0, 11.0, 12.0, 13.0, 72.0)),
        [(60.0, True), (6.0, False), (4.0, True), (300.0, None), (6.0, True)],
        [(1_000.0, True)],
    ],
)
def test_an_outage_counts_for_twelve_hours_at_most_and_time_without_proof_not_at_all(
    pieces: list[tuple[float, bool | None]],
) -> None:
    uptime = lived(*((state, hours) for hours, state in pieces))
    assert uptime.share == pytest.approx(share_by_hand(*pieces), abs=1e-9)
    counted = sum(hours if state else min(hours, 12.0) for hours, state in pieces if state is not None)
    assert uptime.watched_for / timedelta(hours=1) == pytest.approx(min(counted, 168.0), abs=1.0)


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


def test_a_machine_down_for_eight_hours_each_night_is_told_three_nights() -> None:
    uptime, told = lived((True, 500.0)), []
    for _ in range(6):
        lost = uptime.after(uptime.at + 16 * HOUR, is_up=False)
        told.append(lost.is_permanent)
        uptime = lost.after(lost.at + 8 * HOUR, is_up=True)
    assert told == [True, True, True, False, False, False]


@pytest.mark.parametrize(("is_first", "hours", "is_permanent"), [(True, 1, True), (True, 50, True), (False, 1, False)])
def test_a_row_of_the_first_listing_counts_until_the_uptime_is_known(
    hours: float, *, is_first: bool, is_permanent: bool
) -> None:
    assert lived((True, hours), is_first=is_first).is_permanent is is_permanent
    assert not lived((True, 30.0), (False, 12.0), (True, 10.0), is_first=True).is_permanent


@pytest.mark.parametrize(
    ("uptime", "text"),
    [
        *(
            (Uptime(up=share * WEEK, watched=WEEK), f"up {percent} % of 7 days")
            for share, percent in ((0.8999, 89), (0.9, 90), (0.9999, 99), (1.0, 100), (0.0, 0))
        ),
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


# The uptime record of a profile


@pytest.mark.parametrize("hours", [47, 48])
def test_a_rounded_uptime_has_the_same_text_and_no_share_before_the_share_is_known(hours: int) -> None:
    uptime = lived((True, hours))
    share, watched_hours, is_first = rounded_parts(uptime)
    assert ((share is not None), watched_hours, is_first) == (hours >= 48, hours, False)
    assert uptime_text(rounded(uptime)) == uptime_text(uptime)
