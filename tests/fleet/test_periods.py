"""Blind times, holds, stalls, refused keys, failures and sleeps: each begins and ends once in the log."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, failed, listed, reading, slept

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Listed, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.outcome import Outcome

KINDS = frozenset(Kind) - {Kind.OFFLINE, Kind.GONE, Kind.ONLINE, Kind.TOGETHER, Kind.WHILE_BLIND, Kind.RETURNED}


def at(seconds: float) -> float:
    return NOW + seconds * 1000


def up(seconds: float, count: int = 3) -> Outcome:
    return listed(beating(count, at(seconds)), at(seconds))


def empty(seconds: float) -> Outcome:
    return listed([], at(seconds))


def refused(seconds: float) -> Outcome:
    return failed(Cause.UNAUTHORIZED, at(seconds))


def driven(*steps: Outcome | Clocks | float) -> tuple[Monitor, list[Event]]:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for step in steps:
        if isinstance(step, float | int):
            monitor, _ = monitor.tick(reading(at(step)))
        elif isinstance(step, Clocks):
            monitor, _ = monitor.tick(step)
        else:
            monitor, _ = monitor.apply(NO_PROFILE, step, step.awake if isinstance(step, Slept) else step.started)
    return monitor, [event for event in monitor.event_log if event.kind in KINDS]


def kinds(events: Sequence[Event]) -> list[Kind]:
    return [event.kind for event in events]


@pytest.mark.parametrize(("seconds", "is_blind"), [(60, False), (60.001, True)])
def test_a_blind_time_begins_when_the_data_is_too_old(seconds: float, *, is_blind: bool) -> None:
    _, events = driven(up(0), seconds)
    assert kinds(events) == ([Kind.BLIND] if is_blind else [])
    assert not is_blind or (events[0].at, events[0].since) == (at(seconds), NOW)


def test_a_blind_time_is_two_events_however_long_it_is() -> None:
    _, events = driven(up(0), 61, 62, 300, up(400), 401, up(405))
    assert kinds(events) == [Kind.BLIND, Kind.VISIBLE]
    assert events[1].since == NOW
    assert events[1].lasted is not None
    assert events[1].lasted.total_seconds() == 400


def test_a_blind_time_that_passed_unnoticed_has_a_begin_as_well() -> None:
    assert kinds(driven(up(0), up(400))[1]) == [Kind.BLIND, Kind.VISIBLE]


def test_before_the_first_listing_there_is_no_blind_time() -> None:
    assert driven(600, failed(at=at(900)), 1_000)[1] == []


@pytest.mark.parametrize(("polls", "begins"), [(1, False), (2, True), (9, True)])
def test_failures_are_a_period_from_the_second_in_a_row_on(polls: int, *, begins: bool) -> None:
    _, events = driven(up(0), *(failed(at=at(5 * poll)) for poll in range(1, polls + 1)), up(50))
    assert kinds(events) == ([Kind.FAILING, Kind.REACHED] if begins else [])
    assert all(event.since == at(5) for event in events)


def test_a_refused_key_begins_at_the_first_401_and_ends_with_the_next_success() -> None:
    _, events = driven(up(0), refused(5), refused(35), failed(at=at(40)), refused(45), up(50), up(55))
    assert kinds(events) == [Kind.KEY_REFUSED, Kind.KEY_ACCEPTED]
    assert [event.at for event in events] == [at(5), at(50)]
    assert events[1].since == at(5)


def test_a_key_refused_at_the_start_is_accepted_by_the_first_listing() -> None:
    assert kinds(driven(refused(0), refused(30), up(60))[1]) == [Kind.KEY_REFUSED, Kind.KEY_ACCEPTED]


def test_a_quarantine_ends_with_what_became_of_it() -> None:
    _, withdrawn = driven(up(0), empty(5), empty(10), up(15))
    _, believed = driven(up(0), empty(5), empty(35), empty(65))
    assert kinds(withdrawn) == [Kind.HELD, Kind.RELEASED]
    assert withdrawn[1].reason == "a later listing contradicts it"
    assert kinds(believed) == [Kind.HELD, Kind.RELEASED]
    assert believed[1].reason == "believed now"


def test_a_quarantined_listing_ends_failures_and_not_the_blind_time() -> None:
    _, events = driven(up(0), failed(at=at(5)), failed(at=at(10)), 61, empty(65), up(70))
    assert kinds(events) == [
        *(Kind.FAILING, Kind.BLIND, Kind.REACHED, Kind.HELD),
        *(Kind.VISIBLE, Kind.RELEASED),
    ]


def test_a_sleep_is_one_event_with_both_ends_and_no_blind_time() -> None:
    _, events = driven(up(0), slept(at(3), at(9_000)), 9_001, up(9_002))
    assert kinds(events) == [Kind.SLEPT]
    assert (events[0].since, events[0].at) == (at(3), at(9_002))


def test_after_a_sleep_a_failed_poll_makes_it_blind() -> None:
    _, events = driven(up(0), slept(at(3), at(9_000)), failed(at=at(9_001)), 9_002, up(9_010))
    assert kinds(events) == [Kind.BLIND, Kind.SLEPT, Kind.VISIBLE]


def clocks(seconds: float, *, asleep_s: float = 0.0, ahead_s: float = 0.0) -> Clocks:
    return Clocks(WallMs(at(seconds + ahead_s)), MonotonicS(seconds - asleep_s))


def listed_by(now: Clocks, seconds: float, rows: int = 3, *, is_dated: bool = True) -> Listed:
    outcome = listed(beating(rows, at(seconds)), at(seconds), skew=now.wall - at(seconds), dated=is_dated)
    return outcome._replace(started=now, ended=now)


DAYS_S = 3 * 86_400


@pytest.mark.parametrize("step_s", [-DAYS_S, -6, 6, DAYS_S])
def test_a_wall_clock_that_was_set_is_one_notice_and_no_sleep(step_s: float) -> None:
    awake, later = clocks(5, ahead_s=step_s), clocks(10, ahead_s=step_s)
    monitor, events = driven(up(0), Slept(clocks(4), awake), listed_by(awake, 5, 4), listed_by(later, 10, 5))
    assert kinds(events) == [Kind.NOTICE, Kind.APPEARED, Kind.APPEARED]
    notice, *appeared = events
    way, by = "ahead" if step_s > 0 else "back", "3d" if abs(step_s) > 6 else "5s"
    assert (notice.at, notice.reason) == (at(5), f"this machine's clock was set {way} by {by}")
    assert [event.at for event in appeared] == [at(5), at(10)]
    assert monitor.sees(NO_PROFILE, later)


@pytest.mark.parametrize(("seconds", "is_blind"), [(60, False), (60.001, True)])
@pytest.mark.parametrize("step_s", [-DAYS_S, DAYS_S])
def test_before_the_poller_notices_that_the_wall_clock_was_set_the_other_clock_says_whether_the_data_is_old(
    step_s: float, seconds: float, *, is_blind: bool
) -> None:
    _, events = driven(up(0), clocks(seconds, ahead_s=step_s))
    assert kinds(events) == [Kind.BLIND] * is_blind


@pytest.mark.parametrize("step_s", [-DAYS_S, 0, DAYS_S])
@pytest.mark.parametrize("asleep_s", [6, 8 * 3_600])
def test_a_sleep_lasts_for_the_time_that_the_clock_of_the_server_measures(asleep_s: float, step_s: float) -> None:
    awake = clocks(5 + asleep_s, asleep_s=asleep_s, ahead_s=step_s)
    monitor, events = driven(up(0), Slept(clocks(4), awake), listed_by(awake, 5 + asleep_s, 4))
    slept_event, *notices = events
    assert (slept_event.kind, slept_event.since, slept_event.at) == (Kind.SLEPT, at(4), at(5 + asleep_s))
    assert slept_event.lasted == timedelta(seconds=asleep_s)
    assert kinds(notices) == [Kind.NOTICE] * bool(step_s)
    group = monitor.event_log[-1]
    assert (group.kind, group.since, group.at) == (Kind.WHILE_BLIND, at(4), at(5 + asleep_s))


@pytest.mark.parametrize("step_s", [0, 3_600])
def test_without_a_date_the_wall_clock_measures_a_sleep(step_s: float) -> None:
    awake = clocks(25, asleep_s=20, ahead_s=step_s)
    asleep = driven(up(0), Slept(clocks(4), awake))[0]
    assert kinds(list(asleep.event_log)) == []
    _, events = driven(up(0), Slept(clocks(4), awake), listed_by(awake, 25, is_dated=False))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, at(4), at(25 + step_s))]
    _, events = driven(listed_by(clocks(0), 0, is_dated=False), Slept(clocks(4), awake))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, at(4), at(25 + step_s))]


def test_a_sleep_after_a_quarantined_listing_is_a_sleep_of_its_own() -> None:
    first, second = (
        Slept(clocks(4), clocks(105, asleep_s=100)),
        Slept(clocks(110, asleep_s=100), clocks(211, asleep_s=200)),
    )
    quarantined = listed_by(clocks(106, asleep_s=100), 106, rows=0)
    _, events = driven(up(0), first, quarantined, second, listed_by(clocks(212, asleep_s=200), 212))
    sleeps = [event for event in events if event.kind is not Kind.HELD and event.kind is not Kind.RELEASED]
    assert [(event.kind, event.since, event.lasted) for event in sleeps] == [
        (Kind.SLEPT, at(4), timedelta(seconds=100)),
        (Kind.SLEPT, at(110), timedelta(seconds=101)),
    ]


def test_several_sleeps_before_a_listing_are_one() -> None:
    naps = [Slept(clocks(4), clocks(105, asleep_s=100)), Slept(clocks(106, asleep_s=100), clocks(207, asleep_s=200))]
    _, events = driven(up(0), *naps, listed_by(clocks(208, asleep_s=200), 208))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, at(4), at(208))]
    assert events[0].lasted == timedelta(seconds=200)


def test_a_stall_ends_with_its_duration() -> None:
    still = [listed(beating(12, NOW), at(seconds)) for seconds in range(0, 80, 10)]
    _, events = driven(*still, up(80, 12))
    assert kinds(events) == [Kind.STALLED, Kind.RESUMED]
    assert [event.since for event in events] == [NOW, NOW]
    assert events[1].lasted == timedelta(seconds=80)


def test_a_wrong_clock_begins_and_ends_once_and_says_what_still_holds() -> None:
    def dated(seconds: float, error_ms: float) -> Listed:
        listing = listed(beating(3, at(seconds)), at(seconds))
        bounds = OffsetBounds(error_ms - 500, error_ms + 500)
        return listing._replace(snapshot=listing.snapshot._replace(clock=(bounds,)))

    wrong = [dated(seconds, 600_000) for seconds in (5, 10, 15)]
    monitor, events = driven(up(0), *wrong, up(20), up(25))
    assert kinds(events) == [Kind.CLOCK_WRONG, Kind.CLOCK_RIGHT]
    assert events[0].reason == (
        "the server's clock (Date) is 10m ahead of its earlier time: "
        "rows (clk?) are judged by its earlier time, losses still count"
    )
    assert kinds(monitor.event_log) == kinds(events)
    _, events = driven(*wrong)
    assert kinds(events) == [Kind.CLOCK_WRONG]


def test_no_period_rings() -> None:
    monitor, events = driven(up(0), failed(at=at(5)), refused(10), 90, empty(95), slept(at(100), at(200)), up(205))
    assert len(set(kinds(events))) >= 6
    assert monitor.due_alerts(reading(NOW + 500_000))[1] == ()


def test_begins_and_ends_alternate_over_a_bad_night() -> None:
    night: list[Outcome | float] = [
        up(0),
        *(failed(at=at(5 * n)) for n in range(1, 30)),
        200,
        refused(205),
        up(210),
        empty(215),
        up(220),
    ]
    _, events = driven(*night, *night[1:3], up(260))
    for before, after in pairwise(event for event in events if event.kind in {Kind.BLIND, Kind.VISIBLE}):
        assert before.kind is not after.kind
    assert all(event.since is not None and event.since <= event.at for event in events if event.lasted is not None)


def test_a_notice_is_an_event_of_the_log() -> None:
    monitor = driven(up(0))[0].with_notice(clean("the log is full"), reading(at(1)))
    assert [(event.kind, event.reason, event.at) for event in monitor.event_log] == [
        (Kind.NOTICE, "the log is full", at(1))
    ]


def test_a_blind_time_has_the_cause_of_the_newest_failure() -> None:
    assert driven(up(0), 61)[1][0].reason is None
    assert driven(up(0), failed(Cause.TIMEOUT, at(5)), 61)[1][0].reason == Cause.TIMEOUT.value


@pytest.mark.parametrize(("seconds", "is_blind"), [(120, False), (120.001, True)])
def test_a_blind_time_in_which_a_listing_is_quarantined_has_the_cause_of_that(
    seconds: float, *, is_blind: bool
) -> None:
    quarantined, *blind = driven(up(0), empty(5), seconds)[1]
    assert kinds(blind) == ([Kind.BLIND] if is_blind else [])
    assert [event.reason for event in blind] == [quarantined.reason] * is_blind


def test_a_sleep_lasts_from_its_begin_to_its_end() -> None:
    (event,) = driven(up(0), slept(at(5), at(35)), up(35))[1]
    assert (event.kind, event.since, event.at) == (Kind.SLEPT, at(5), at(35))
    assert event.lasted == timedelta(seconds=30)
