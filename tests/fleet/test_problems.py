"""Problems of a moment, and each problem's begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.builders import NOW
from support.tracked_environments import tracked

from envwatch.fleet.presence import DISCONNECTED, GONE, HEARTBEAT_LOST, LATE, NEVER_LISTED, UNTIMED, Verdict
from envwatch.fleet.problems import has_been_silent, is_old, is_problem, state_began_at
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits

DAY = 86_400_000
ONLINE = tracked()


def test_a_row_that_is_down_or_flaps_is_a_problem_and_a_late_row_is_none() -> None:
    assert not is_problem(ONLINE, NOW)
    assert not is_problem(replace(ONLINE, verdict=LATE), NOW)
    assert is_problem(replace(ONLINE, is_flapping=True), NOW)
    assert is_problem(replace(ONLINE, verdict=LATE, is_flapping=True), NOW)
    assert is_problem(replace(ONLINE, verdict=HEARTBEAT_LOST, since_at=NOW), NOW)


@pytest.mark.parametrize(("age_ms", "is_one"), [(0, True), (899_999, True), (900_000, False)])
def test_a_gone_one_is_a_problem_for_15_minutes(age_ms: float, *, is_one: bool) -> None:
    assert is_problem(replace(ONLINE, verdict=GONE, since_at=NOW), NOW + age_ms) is is_one


@pytest.mark.parametrize(("age_ms", "is_one"), [(DAY - 1, False), (DAY, True)])
def test_after_a_day_offline_it_is_old_and_no_problem(age_ms: float, *, is_one: bool) -> None:
    offline = replace(ONLINE, verdict=HEARTBEAT_LOST, since_at=NOW)
    assert is_old(offline, NOW + age_ms) is is_one
    assert is_problem(offline, NOW + age_ms) is not is_one
    assert not is_old(replace(offline, verdict=LATE), NOW + age_ms)


@pytest.mark.parametrize(("verdict", "lasts_ms"), [(DISCONNECTED, DAY), (GONE, 900_000)])
@pytest.mark.parametrize("end_ms", [-DAY, 0, 1])
def test_a_silenced_loss_counts_from_the_end_of_the_silence_and_never_before_the_loss(
    verdict: Verdict, lasts_ms: int, end_ms: int
) -> None:
    """A silence may end before the listing with the loss, although the row's last sign of life precedes the silence."""
    lost = replace(ONLINE, verdict=verdict, since_at=NOW)
    for age_ms, is_one in ((-1, True), (0, False)):
        now = NOW + lasts_ms + max(end_ms, 0) + age_ms
        assert is_problem(lost, now, NOW + end_ms) is is_one
        assert is_old(lost, now, NOW + end_ms) is (not is_one and verdict is DISCONNECTED)


def test_an_instant_in_seconds_does_not_make_an_environment_old() -> None:
    offline = tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=NOW / 1000, connectedAt=None)
    assert not is_old(offline, NOW)
    assert is_problem(offline, NOW)


def test_what_cannot_be_judged_is_neither() -> None:
    untimed = replace(ONLINE, verdict=UNTIMED, has_impossible_time=True)
    assert not is_problem(untimed, NOW)
    assert not is_old(untimed, NOW + 9 * DAY)
    assert state_began_at(untimed, Limits()) is None


def test_a_state_begins_when_it_was_seen_to_or_by_the_row() -> None:
    limits, row, since_at = Limits(), ONLINE.environment, ServerMs(NOW - 5_000)
    assert state_began_at(ONLINE, limits) == row.connected_at
    assert state_began_at(replace(ONLINE, since_at=since_at), limits) == since_at
    assert state_began_at(replace(ONLINE, verdict=HEARTBEAT_LOST), limits) == row.last_heartbeat_at
    assert state_began_at(replace(ONLINE, verdict=HEARTBEAT_LOST, since_at=since_at), limits) == since_at
    late_ms = limits.late_after.total_seconds() * 1000
    assert (
        state_began_at(replace(ONLINE, verdict=LATE, since_at=since_at), limits)
        == ONLINE.environment.last_seen_alive_at + late_ms
    )


@pytest.mark.parametrize(("silent_ms", "has"), [(9_999, False), (10_000, True)])
def test_a_single_listing_measures_silence_from_the_heartbeat_or_else_from_the_last_sight(
    silent_ms: float, *, has: bool
) -> None:
    row, lasts = replace(ONLINE.environment, last_seen_at=ServerMs(NOW - 3_000)), timedelta(seconds=10)
    assert row.last_heartbeat_at is not None
    lost = replace(ONLINE, environment=row, verdict=HEARTBEAT_LOST)
    assert has_been_silent(lost, row.last_heartbeat_at + silent_ms, lasts) is has
    closed = replace(ONLINE, environment=replace(row, last_heartbeat_at=None), verdict=DISCONNECTED)
    assert has_been_silent(closed, row.last_seen_at + silent_ms, lasts) is has


def test_a_state_other_than_a_dated_loss_counts_at_once() -> None:
    for one in (ONLINE, replace(ONLINE, verdict=LATE), replace(ONLINE, verdict=NEVER_LISTED, since_at=NOW)):
        assert has_been_silent(one, NOW, timedelta(days=1))
    assert has_been_silent(replace(ONLINE, verdict=UNTIMED, has_impossible_time=True), NOW, timedelta(days=1))
