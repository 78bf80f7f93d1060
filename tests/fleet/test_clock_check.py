"""The skew check: no wrong `Date` takes a fleet offline or hides a stopped machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, counts_of, environment, listed, slept, watched

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.plausibility import SkewCheck
from envwatch.fleet.presence import Presence, Reason
from envwatch.model.clock import MonotonicS, OffsetBounds, ServerMs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

STEP = 5_000.0
HOUR = 3_600_000.0
DAY = 24 * HOUR


def beat_of(number: int, at: float) -> float:
    """Return a machine's newest heartbeat: every 30 s, with an offset per machine."""
    return at - (at + number * 6_000) % 30_000


def rows_at(at: float, stopped: Mapping[int, float] | None = None, count: int = 12) -> list[Environment]:
    """Return beating machines; `stopped` has the last moment of some."""
    ends = stopped or {}
    return [
        environment(f"env-{n}", lastHeartbeat=beat_of(n, min(at, ends.get(n, at))), connectedAt=NOW - HOUR)
        for n in range(count)
    ]


def dated(rows: list[Environment], at: float, error: float = 0.0) -> Listed:
    outcome = listed(rows, at)
    return outcome._replace(snapshot=outcome.snapshot._replace(clock=(OffsetBounds(error - 500, error + 500),)))


def story(
    listings: int, errors: Mapping[int, float], stopped: Mapping[int, float] | None = None
) -> tuple[ProfileState, list[Event]]:
    moments = [(number, NOW + number * STEP) for number in range(listings)]
    return watched(dated(rows_at(at, stopped), at, errors.get(number, 0.0)) for number, at in moments)


def kinds_and_ids(events: Iterable[Event]) -> list[tuple[Kind, str | None]]:
    return sorted((leaf.kind, leaf.id) for leaf in flatten(events))


@pytest.mark.parametrize(("age", "is_ruled_out"), [(29_999, True), (30_000, False), (1e12, False)])
def test_a_heartbeat_is_no_younger_than_the_listing_that_first_held_it(age: float, *, is_ruled_out: bool) -> None:
    """The listings prove an age of one minute, and one whole beat is tolerated."""
    skew_check = SkewCheck.for_heartbeat(NOW, MonotonicS(40.0))
    assert skew_check.contradicts(ServerMs(NOW + age), MonotonicS(100.0), 100_000.0) is is_ruled_out


@pytest.mark.parametrize(("age", "is_ruled_out"), [(95_000, False), (95_001, True)])
def test_a_heartbeat_seen_to_advance_is_no_older_than_the_listing_that_held_the_one_before(
    age: float, *, is_ruled_out: bool
) -> None:
    skew_check = SkewCheck.for_heartbeat(NOW, MonotonicS(40.0), 35_000.0)
    assert skew_check.contradicts(ServerMs(NOW + age), MonotonicS(100.0), 100_000.0) is is_ruled_out


def test_what_a_clock_slept_through_makes_no_heartbeat_too_old() -> None:
    """The monotonic clock stood still for an hour, so the heartbeat may be an hour older than measured."""
    skew_check = SkewCheck.for_heartbeat(NOW, MonotonicS(40.0), 35_000.0)
    assert not skew_check.contradicts(ServerMs(NOW + HOUR), MonotonicS(100.0), HOUR + 100_000)
    assert skew_check.contradicts(ServerMs(NOW + HOUR), MonotonicS(100.0), 100_000.0)


@pytest.mark.parametrize("error", [-DAY, -HOUR, HOUR, DAY])
def test_one_wrong_date_takes_no_fleet_offline_and_brings_none_back(error: float) -> None:
    profile_state, events = story(13, {12: error})
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)
    assert all(tracked.clock_suspect for tracked in profile_state.environments.values())

    profile_state, events = watched([dated(rows_at(NOW + 13 * STEP), NOW + 13 * STEP)], profile_state)
    assert events == []
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


def test_a_date_that_stays_wrong_hides_no_machine_that_stopped() -> None:
    """The machine beats once after the first listing; two minutes later it is offline, whatever `Date` says."""
    stopped = {3: NOW + 20_000}
    profile_state, events = story(60, dict.fromkeys(range(10, 60), -HOUR), stopped)

    assert kinds_and_ids(events) == [(Kind.OFFLINE, "env-3")]
    tracked = profile_state.environments[environment("env-3").id]
    assert (tracked.verdict.reason, tracked.clock_suspect) == (Reason.HEARTBEAT_LOST, True)


@pytest.mark.parametrize("error", [-DAY, -HOUR])
@pytest.mark.parametrize(("seconds", "is_up"), [(115, True), (120, False)])
def test_a_date_that_stays_wrong_hides_no_machine_that_never_advanced(
    error: float, seconds: int, *, is_up: bool
) -> None:
    """A first listing two minutes ago proves an age of two minutes."""
    dead = environment("env-1", lastHeartbeat=NOW - 1_000)
    moments = range(0, seconds + 1, 5)
    profile_state, _ = watched(dated([dead], NOW + second * 1000, error if second else 0.0) for second in moments)

    (tracked,) = profile_state.environments.values()
    assert (tracked.verdict.is_up, tracked.clock_suspect) == (is_up, True)


def test_what_was_lost_stays_lost_when_the_clock_turns_back() -> None:
    """The skew check is only ten seconds old, which does not prove a young heartbeat."""
    lost = [environment("env-1", lastHeartbeat=NOW - 1_800_000)]
    _, events = watched(dated(lost, NOW + number * STEP, -HOUR if number == 2 else 0.0) for number in range(4))
    assert events == []


def test_a_heartbeat_from_the_future_is_doubted_and_no_longer_believed_than_any_other() -> None:
    row = [environment("env-1", lastHeartbeat=NOW + HOUR)]
    profile_state, events = watched(dated(row, NOW + number * STEP) for number in range(24))
    (tracked,) = profile_state.environments.values()
    assert (tracked.presence, tracked.clock_suspect, events) == (Presence.LATE, True, [])

    _, (event,) = watched([dated(row, NOW + 24 * STEP)], profile_state)
    assert (event.kind, event.reason) == (Kind.OFFLINE, Reason.HEARTBEAT_LOST.value)


def test_waking_without_a_date_on_a_wrong_clock_takes_nothing_offline() -> None:
    skew = HOUR
    moments = [NOW + number * STEP for number in range(12)]
    profile_state, _ = watched(listed(rows_at(at), at, skew=skew) for at in moments)
    woken = NOW + 70_000
    profile_state, events = watched(
        [slept(NOW + 56_000, woken, skew=skew), listed(rows_at(woken), woken, skew=skew, dated=False)], profile_state
    )
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)


def test_a_row_that_a_listing_lacked_is_still_known_by_its_heartbeat_before() -> None:
    """No answer has a time, the clock is an hour ahead, and a row is absent just at a beat."""

    def rows(number: int) -> list[Environment]:
        every = rows_at(NOW + number * STEP)
        return every[1:] if number == 9 else every

    profile_state, _ = watched(listed(rows(n), NOW + n * STEP, skew=HOUR, dated=False) for n in range(9))
    profile_state, events = watched(
        (listed(rows(n), NOW + n * STEP, skew=HOUR, dated=False) for n in range(9, 20)), profile_state
    )
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)


def wrong_by(sign: int) -> st.SearchStrategy[float]:
    """An error beyond one beat and one interval, which the skew check can detect."""
    return st.integers(36_000, int(DAY)).map(lambda error: float(sign * error))


@given(
    errors=st.dictionaries(st.integers(7, 50), st.sampled_from([-1, 1]).flatmap(wrong_by), max_size=20),
    stopped=st.dictionaries(st.integers(0, 11), st.integers(36_000, 90_000).map(lambda after: NOW + after), max_size=2),
)
@settings(max_examples=examples(40), deadline=None)
def test_whatever_dates_come_once_all_have_beaten_just_those_that_stopped_are_lost(
    errors: dict[int, float], stopped: dict[int, float]
) -> None:
    profile_state, events = story(54, errors, stopped)
    assert kinds_and_ids(events) == sorted((Kind.OFFLINE, f"env-{n}") for n in stopped)
    assert {tracked.environment.id for tracked in profile_state.environments.values() if not tracked.verdict.is_up} == {
        f"env-{n}" for n in stopped
    }
