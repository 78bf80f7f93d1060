"""The state machine of every front end: changes, incidents, and the periods in the log."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, key_of, listed, reading, slept
from support.policies import soon

from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.model.acks import Ack
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Listed, Slept
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


ID = clean("env-1")
KEY = key_of(ID)
POLL_MS = 5_000
NEW = Monitor.create({NO_PROFILE: Limits()}, policies=soon())


def up(at: float) -> list[Environment]:
    return [environment(ID, lastHeartbeat=at - 1_000, lastSeenAt=at - 1_000)]


def down() -> list[Environment]:
    return [environment(ID, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 60_000)]


def driven(monitor: Monitor, outcomes: Sequence[Outcome]) -> tuple[Monitor, list[MonitorChanges]]:
    all_changes = []
    for outcome in outcomes:
        now = reading(NOW + outcome.started.monotonic * 1000)  # type: ignore[union-attr]  # none of them is a sleep
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        all_changes.append(changes)
    return monitor, all_changes


def at(poll: int) -> float:
    return NOW + poll * POLL_MS


def test_the_changes_of_each_outcome_hold_the_new_events_of_the_log() -> None:
    monitor, all_changes = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1)), listed(up(at(2)), at(2))])
    assert [[event.kind for event in changes.events] for changes in all_changes] == [[], [Kind.OFFLINE], [Kind.ONLINE]]
    assert list(monitor.event_log) == [event for changes in all_changes for event in changes.events]


def test_a_failed_poll_changes_neither_verdicts_nor_acknowledgements_nor_the_log() -> None:
    before, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    failed_at = at(1) + 2_000
    outcome = failed(at=failed_at)
    after, (changes,) = driven(before, [outcome])
    assert changes == MonitorChanges(reading(failed_at), NO_PROFILE, outcome)
    assert (after.acks, after.event_log, after.ledger) == (before.acks, before.event_log, before.ledger)
    assert after.fleet.by_profile[NO_PROFILE].environments == before.fleet.by_profile[NO_PROFILE].environments


def opened(monitor: Monitor, at_ms: float) -> tuple[Monitor, list[str]]:
    monitor, changes = monitor.tick(reading(at_ms))
    return monitor, [loss.id or "" for incident in changes.opened for loss in incident.losses]


def test_a_loss_acknowledged_in_time_opens_no_incident() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor, early = opened(monitor.with_acks({KEY: Ack(at(1), clean(""))}), at(1) + 10_000)
    assert (early, opened(monitor.with_acks({KEY: None}), at(1) + 20_000)[1]) == ([], [])


def test_what_ends_in_the_first_listing_is_no_loss() -> None:
    # The row had a sign of life after the acknowledgement: that problem is over, and the present problem is the silent
    # baseline.
    monitor = Monitor.create({NO_PROFILE: Limits()}, soon()).with_acks(
        {KEY: Ack(NOW - 90_000, clean("on it"), NOW - 90_000)}
    )
    monitor, (changes,) = driven(monitor, [listed(down(), at(0))])
    assert changes.ended_acks == {KEY}
    assert opened(monitor, at(0) + 20_000)[1] == []


def test_what_ends_in_a_later_listing_is_a_loss_with_an_incident() -> None:
    signed = [environment(ID, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 90_000)]
    monitor = Monitor.create({NO_PROFILE: Limits()}, soon()).with_acks(
        {KEY: Ack(NOW - 90_000, clean("on it"), NOW - 90_000)}
    )
    monitor, (first, second) = driven(monitor, [listed(signed, at(0)), listed(down(), at(1))])
    assert [*first.ended_acks] == []
    assert second.ended_acks == {KEY}
    assert opened(monitor, at(1) + 10_000)[1] == [ID]


def test_an_incident_has_one_bell() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor, _ = opened(monitor, at(1) + 10_000)
    rung, due = monitor.due_alerts(reading(at(1) + 10_000))
    assert [incident.losses[0].id for incident in due] == [ID]
    assert rung.due_alerts(reading(at(1) + 60_000)) == (rung, ())


def test_an_incident_is_known_by_the_last_sign_of_life_of_the_lost_row() -> None:
    def incident(last_seen: float) -> SafeText | None:
        lost = [environment(ID, connectionId=None, lastHeartbeat=None, lastSeenAt=last_seen)]
        _, (_, changes) = driven(NEW, [listed(up(at(0)), at(0)), listed(lost, at(1))])
        return changes.events[0].incident

    assert incident(NOW - 60_000) == incident(NOW - 60_000) != incident(NOW - 50_000)


def test_before_the_first_outcome_the_interval_of_the_settings_is_in_force() -> None:
    limits = Limits(interval=timedelta(seconds=40))
    assert Monitor.create({NO_PROFILE: limits}).fleet.by_profile[NO_PROFILE].interval == timedelta(seconds=40)


def test_a_longer_interval_is_in_force_at_once_and_a_shorter_one_waits_for_a_poll() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0))])
    for wanted_s, in_force_s in ((60, 60), (2, 60)):
        monitor = monitor.with_intervals({NO_PROFILE: timedelta(seconds=wanted_s)})
        assert monitor.fleet.by_profile[NO_PROFILE].interval == timedelta(seconds=in_force_s)


# Blind times, holds, stalls, refused keys, failures and sleeps: each begins and ends once in the log

KINDS = frozenset(Kind) - {Kind.OFFLINE, Kind.GONE, Kind.ONLINE, Kind.TOGETHER, Kind.WHILE_BLIND, Kind.RETURNED}


def second(seconds: float) -> float:
    return NOW + seconds * 1000


def answered(seconds: float, count: int = 3) -> Outcome:
    return listed(beating(count, second(seconds)), second(seconds))


def empty(seconds: float) -> Outcome:
    return listed([], second(seconds))


def refused(seconds: float) -> Outcome:
    return failed(Cause.UNAUTHORIZED, second(seconds))


def logged(*steps: Outcome | Clocks | float) -> tuple[Monitor, list[Event]]:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for step in steps:
        if isinstance(step, float | int):
            monitor, _ = monitor.tick(reading(second(step)))
        elif isinstance(step, Clocks):
            monitor, _ = monitor.tick(step)
        else:
            monitor, _ = monitor.apply(NO_PROFILE, step, step.awake if isinstance(step, Slept) else step.started)
    return monitor, [event for event in monitor.event_log if event.kind in KINDS]


def kinds(events: Sequence[Event]) -> list[Kind]:
    return [event.kind for event in events]


def test_a_blind_time_of_any_length_is_two_events() -> None:
    _, events = logged(answered(0), 61, 62, 300, answered(400), 401, answered(405))
    assert kinds(events) == [Kind.BLIND, Kind.VISIBLE]
    assert (events[0].at, events[0].since, events[1].since) == (second(61), NOW, NOW)
    assert events[1].lasted is not None
    assert events[1].lasted.total_seconds() == 400


def test_an_unnoticed_blind_time_has_a_begin_as_well() -> None:
    assert kinds(logged(answered(0), answered(400))[1]) == [Kind.BLIND, Kind.VISIBLE]


@pytest.mark.parametrize(("polls", "begins"), [(1, False), (2, True), (9, True)])
def test_failures_are_a_period_from_the_second_in_a_row_on(polls: int, *, begins: bool) -> None:
    _, events = logged(answered(0), *(failed(at=second(5 * poll)) for poll in range(1, polls + 1)), answered(50))
    assert kinds(events) == ([Kind.FAILING, Kind.REACHED] if begins else [])
    assert all(event.since == second(5) for event in events)


def test_a_refused_key_begins_at_the_first_401_and_ends_with_the_next_success() -> None:
    _, events = logged(
        answered(0), refused(5), refused(35), failed(at=second(40)), refused(45), answered(50), answered(55)
    )
    assert kinds(events) == [Kind.KEY_REFUSED, Kind.KEY_ACCEPTED]
    assert [event.at for event in events] == [second(5), second(50)]
    assert events[1].since == second(5)
    assert kinds(logged(refused(0), refused(30), answered(60))[1]) == [Kind.KEY_REFUSED, Kind.KEY_ACCEPTED]


def test_a_quarantine_ends_with_its_result() -> None:
    _, withdrawn = logged(answered(0), empty(5), empty(10), answered(15))
    _, believed = logged(answered(0), empty(5), empty(35), empty(65))
    assert kinds(withdrawn) == [Kind.HELD, Kind.RELEASED]
    assert withdrawn[1].reason == "a later poll contradicts it"
    assert kinds(believed) == [Kind.HELD, Kind.RELEASED]
    assert believed[1].reason == "believed now"


def test_a_quarantined_listing_ends_failures_and_not_the_blind_time() -> None:
    _, events = logged(answered(0), failed(at=second(5)), failed(at=second(10)), 61, empty(65), answered(70))
    assert kinds(events) == [
        *(Kind.FAILING, Kind.BLIND, Kind.REACHED, Kind.HELD),
        *(Kind.VISIBLE, Kind.RELEASED),
    ]


def test_a_sleep_is_one_event_with_both_ends_and_no_blind_time() -> None:
    _, events = logged(answered(0), slept(second(3), second(9_000)), 9_001, answered(9_002))
    assert kinds(events) == [Kind.SLEPT]
    assert (events[0].since, events[0].at, events[0].lasted) == (second(3), second(9_002), timedelta(seconds=8_999))


def test_a_failed_poll_after_a_sleep_begins_a_blind_time() -> None:
    _, events = logged(answered(0), slept(second(3), second(9_000)), failed(at=second(9_001)), 9_002, answered(9_010))
    assert kinds(events) == [Kind.BLIND, Kind.SLEPT, Kind.VISIBLE]


def clocks(seconds: float, *, asleep_s: float = 0.0, ahead_s: float = 0.0) -> Clocks:
    return Clocks(WallMs(second(seconds + ahead_s)), MonotonicS(seconds - asleep_s))


def listed_by(now: Clocks, seconds: float, rows: int = 3, *, is_dated: bool = True) -> Listed:
    outcome = listed(beating(rows, second(seconds)), second(seconds), skew=now.wall - second(seconds), dated=is_dated)
    return outcome._replace(started=now, ended=now)


DAYS_S = 3 * 86_400


@pytest.mark.parametrize("step_s", [-DAYS_S, -6, 6, DAYS_S])
def test_a_set_wall_clock_is_one_notice_and_no_sleep(step_s: float) -> None:
    awake, later = clocks(5, ahead_s=step_s), clocks(10, ahead_s=step_s)
    monitor, events = logged(answered(0), Slept(clocks(4), awake), listed_by(awake, 5, 4), listed_by(later, 10, 5))
    assert kinds(events) == [Kind.NOTICE, Kind.APPEARED, Kind.APPEARED]
    notice, *appeared = events
    way, by = "ahead" if step_s > 0 else "back", "3d" if abs(step_s) > 6 else "5s"
    assert (notice.at, notice.reason) == (second(5), f"this machine's clock was set {way} by {by}")
    assert [event.at for event in appeared] == [second(5), second(10)]
    assert monitor.judge(later).sees(NO_PROFILE)


@pytest.mark.parametrize(("seconds", "is_blind"), [(60, False), (60.001, True)])
@pytest.mark.parametrize("step_s", [-DAYS_S, DAYS_S])
def test_before_the_poller_notices_a_set_wall_clock_the_other_clock_tells_the_age_of_the_data(
    step_s: float, seconds: float, *, is_blind: bool
) -> None:
    _, events = logged(answered(0), clocks(seconds, ahead_s=step_s))
    assert kinds(events) == [Kind.BLIND] * is_blind


@pytest.mark.parametrize("step_s", [-DAYS_S, 0, DAYS_S])
@pytest.mark.parametrize("asleep_s", [6, 8 * 3_600])
def test_a_sleep_is_measured_by_the_clock_of_the_server(asleep_s: float, step_s: float) -> None:
    awake = clocks(5 + asleep_s, asleep_s=asleep_s, ahead_s=step_s)
    monitor, events = logged(answered(0), Slept(clocks(4), awake), listed_by(awake, 5 + asleep_s, 4))
    slept_event, *notices = events
    assert (slept_event.kind, slept_event.since, slept_event.at) == (Kind.SLEPT, second(4), second(5 + asleep_s))
    assert slept_event.lasted == timedelta(seconds=asleep_s)
    assert kinds(notices) == [Kind.NOTICE] * bool(step_s)
    group = monitor.event_log[-1]
    assert (group.kind, group.since, group.at) == (Kind.WHILE_BLIND, second(4), second(5 + asleep_s))


@pytest.mark.parametrize("step_s", [0, 3_600])
def test_without_a_date_the_wall_clock_measures_a_sleep(step_s: float) -> None:
    awake = clocks(25, asleep_s=20, ahead_s=step_s)
    asleep = logged(answered(0), Slept(clocks(4), awake))[0]
    assert kinds(list(asleep.event_log)) == []
    _, events = logged(answered(0), Slept(clocks(4), awake), listed_by(awake, 25, is_dated=False))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, second(4), second(25 + step_s))]
    _, events = logged(listed_by(clocks(0), 0, is_dated=False), Slept(clocks(4), awake))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, second(4), second(25 + step_s))]


def test_a_sleep_after_a_quarantined_listing_is_a_sleep_of_its_own() -> None:
    first = Slept(clocks(4), clocks(105, asleep_s=100))
    other = Slept(clocks(110, asleep_s=100), clocks(211, asleep_s=200))
    quarantined = listed_by(clocks(106, asleep_s=100), 106, rows=0)
    _, events = logged(answered(0), first, quarantined, other, listed_by(clocks(212, asleep_s=200), 212))
    sleeps = [event for event in events if event.kind is not Kind.HELD and event.kind is not Kind.RELEASED]
    assert [(event.kind, event.since, event.lasted) for event in sleeps] == [
        (Kind.SLEPT, second(4), timedelta(seconds=100)),
        (Kind.SLEPT, second(110), timedelta(seconds=101)),
    ]


def test_several_sleeps_before_a_listing_are_one() -> None:
    naps = [Slept(clocks(4), clocks(105, asleep_s=100)), Slept(clocks(106, asleep_s=100), clocks(207, asleep_s=200))]
    _, events = logged(answered(0), *naps, listed_by(clocks(208, asleep_s=200), 208))
    assert [(event.kind, event.since, event.at) for event in events] == [(Kind.SLEPT, second(4), second(208))]
    assert events[0].lasted == timedelta(seconds=200)


def test_a_stall_ends_with_its_duration() -> None:
    still = [listed(beating(12, NOW), second(seconds)) for seconds in range(0, 80, 10)]
    _, events = logged(*still, answered(80, 12))
    assert kinds(events) == [Kind.STALLED, Kind.RESUMED]
    assert [event.since for event in events] == [NOW, NOW]
    assert events[1].lasted == timedelta(seconds=80)


def test_a_wrong_clock_begins_and_ends_once_and_says_what_still_holds() -> None:
    def dated(seconds: float, error_ms: float) -> Listed:
        listing = listed(beating(3, second(seconds)), second(seconds))
        bounds = OffsetBounds(error_ms - 500, error_ms + 500)
        return listing._replace(snapshot=listing.snapshot._replace(clock=(bounds,)))

    wrong = [dated(seconds, 600_000) for seconds in (5, 10, 15)]
    monitor, events = logged(answered(0), *wrong, answered(20), answered(25))
    assert kinds(events) == [Kind.CLOCK_WRONG, Kind.CLOCK_RIGHT]
    assert events[0].reason == (
        "the server's clock (Date) is 10m ahead of its earlier time: "
        "machines (clk?) are judged by its earlier time, losses page"
    )
    assert kinds(monitor.event_log) == kinds(events)
    _, events = logged(*wrong)
    assert kinds(events) == [Kind.CLOCK_WRONG]


def test_no_period_rings() -> None:
    monitor, events = logged(
        answered(0), failed(at=second(5)), refused(10), 90, empty(95), slept(second(100), second(200)), answered(205)
    )
    assert len(set(kinds(events))) >= 6
    assert monitor.due_alerts(reading(NOW + 500_000))[1] == ()


def test_a_notice_is_an_event_of_the_log() -> None:
    monitor = logged(answered(0))[0].with_notice(clean("the log is full"), reading(second(1)))
    assert [(event.kind, event.reason, event.at) for event in monitor.event_log] == [
        (Kind.NOTICE, "the log is full", second(1))
    ]


def test_a_blind_time_has_the_cause_of_the_newest_failure() -> None:
    assert logged(answered(0), 61)[1][0].reason is None
    assert logged(answered(0), failed(Cause.TIMEOUT, second(5)), 61)[1][0].reason == Cause.TIMEOUT.value


@pytest.mark.parametrize(("seconds", "is_blind"), [(120, False), (120.001, True)])
def test_a_blind_time_during_a_quarantine_has_the_cause_of_the_quarantine(seconds: float, *, is_blind: bool) -> None:
    quarantined, *blind = logged(answered(0), empty(5), seconds)[1]
    assert kinds(blind) == ([Kind.BLIND] if is_blind else [])
    assert [event.reason for event in blind] == [quarantined.reason] * is_blind
