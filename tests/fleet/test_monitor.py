"""The state machine that every front end drives."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from support.builders import NOW, environment, failed, key_of, listed, reading
from support.policies import soon

from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.monitor import Monitor, MonitorChanges
from envwatch.model.acks import Ack
from envwatch.model.limits import Limits
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


def test_the_changes_of_each_outcome_hold_the_events_that_the_log_gains() -> None:
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


def test_an_acknowledgement_ends_with_the_listing_in_which_its_environment_is_up_again() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor = monitor.with_acks({KEY: Ack(at(1), clean("on it"))})
    monitor, (still, ended) = driven(monitor, [listed(down(), at(2)), listed(up(at(3)), at(3))])
    assert still.ended_acks == frozenset()
    assert ended.ended_acks == {KEY}
    assert not monitor.acks


def test_an_acknowledgement_can_be_withdrawn() -> None:
    acked = NEW.with_acks({KEY: Ack(at(0), clean("on it"))})
    assert set(acked.acks) == {KEY}
    assert not acked.with_acks({KEY: None}).acks


def opened(monitor: Monitor, at_ms: float) -> tuple[Monitor, list[str]]:
    monitor, changes = monitor.tick(reading(at_ms))
    return monitor, [loss.id or "" for incident in changes.opened for loss in incident.losses]


def test_a_loss_opens_an_incident_once_after_ten_seconds_of_silence() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor, early = opened(monitor, at(0) + 9_999)
    monitor, due = opened(monitor, at(0) + 10_000)
    monitor, again = opened(monitor, at(1) + 30_000)
    assert (early, due, again) == ([], [ID], [])


def test_a_loss_that_is_acknowledged_in_time_opens_none() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor, early = opened(monitor.with_acks({KEY: Ack(at(1), clean(""))}), at(1) + 10_000)
    assert (early, opened(monitor.with_acks({KEY: None}), at(1) + 20_000)[1]) == ([], [])


def test_none_opens_while_blind() -> None:
    monitor, _ = driven(NEW, [listed(up(at(0)), at(0)), listed(down(), at(1))])
    monitor, blind = opened(monitor, at(1) + 60_001)
    assert blind == []
    _, (changes,) = driven(monitor, [listed(down(), at(14))])
    assert [incident.losses[0].id for incident in changes.opened] == [ID]


def test_what_ends_in_the_first_listing_is_no_loss() -> None:
    # The row had a sign of life after the acknowledgement: that problem is over, and the present problem is the silent
    # baseline.
    monitor = Monitor.create({NO_PROFILE: Limits()}, soon()).with_acks(
        {KEY: Ack(NOW - 90_000, clean("on it"), NOW - 90_000)}
    )
    monitor, (changes,) = driven(monitor, [listed(down(), at(0))])
    assert changes.ended_acks == {KEY}
    assert opened(monitor, at(0) + 20_000)[1] == []


def test_what_ends_in_a_later_listing_is_a_loss_that_opens_an_incident() -> None:
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


def test_an_incident_is_known_by_the_last_sign_of_life_of_what_was_lost() -> None:
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
