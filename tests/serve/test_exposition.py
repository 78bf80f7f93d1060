"""The series of a moment: values, absence, the environments with series, and the counts of polls."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, key_of, listed, reading, slept
from support.series import DOWN, MINUTE, Series, Watch, rows

from envwatch import __version__
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_environments
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.serve.exposition import BOUNDS_S, NO_POLLS, RESULTS, with_poll

if TYPE_CHECKING:
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.serve.exposition import Polls, ProfilePolls

HOUR = 60 * MINUTE
UP, INFO = "envwatch_environment_up", "envwatch_environment_info"


# A healthy moment


def test_a_listing_is_series_of_its_profile_and_of_each_environment() -> None:
    row = environment(
        "env-1",
        connectionName="build box",
        lastHeartbeat=NOW - 1_500,
        currentMode="bypassPermissions",
        podId="p-7",
        metadata={"os": "darwin", "lettaCodeVersion": "0.34.12"},
    )
    series = Watch().take(listed([row, environment("env-2", **DOWN)])).series()

    assert series.value("envwatch_build_info", version=__version__) == 1
    assert series.value("envwatch_up", profile="default") == 1
    assert series.value("envwatch_blind", profile="default") == 0
    assert series.value("envwatch_last_success_timestamp_seconds", profile="default") == NOW / 1000
    assert series.value("envwatch_environments", profile="default", state="online") == 1
    assert series.value("envwatch_environments", profile="default", state="offline") == 1
    assert series.value("envwatch_environments", profile="default", state="unknown") == 0
    assert series.value("envwatch_environments_omitted", profile="default") == 0
    assert series.by_id(UP) == {"env-1": 1, "env-2": 0}
    assert series.by_id("envwatch_environment_last_heartbeat_timestamp_seconds") == {"env-1": (NOW - 1_500) / 1000}
    assert {
        "profile": "default",
        "id": "env-1",
        "name": "build box",
        "os": "darwin",
        "version": "0.34.12",
        "mode": "unrestricted",
        "pod": "p-7",
    } in series.of(INFO)


def test_the_series_of_a_lost_row_keeps_the_last_pod() -> None:
    watch = Watch().take(listed(rows(3))).poll(rows(3, down=(2,)))
    assert {labels["pod"] for labels in watch.series().of(INFO)} == {"pod-1"}


def test_a_reconnect_begins_no_series() -> None:
    watch = Watch().take(listed(rows(3)))
    before = watch.series()
    after = watch.poll(rows(3, connectionId="another", connectedAt=NOW + 1_000)).series()
    assert before.samples.keys() == after.samples.keys()


def test_each_running_hook_is_failing_or_not() -> None:
    watch = Watch(hooks={clean("pager"): True, clean("chat"): False}).take(listed(rows(1)))
    series = watch.series()
    assert series.value("envwatch_hook_failing", hook="pager") == 1
    assert series.value("envwatch_hook_failing", hook="chat") == 0
    assert Watch().take(listed(rows(1))).series().of("envwatch_hook_failing") == []


def test_several_profiles_are_told_apart_by_their_label_alone() -> None:
    work, home = clean("work"), clean("home")
    watch = Watch(Monitor.create({work: Limits(), home: Limits()}))
    watch.take(listed(rows(2)), work).take(listed(rows(3)), home).take(failed(), home)
    series = watch.series()

    assert series.value("envwatch_environments", profile="work", state="online") == 2
    assert series.value("envwatch_environments", profile="home", state="online") == 3
    assert (series.value("envwatch_up", profile="work"), series.value("envwatch_up", profile="home")) == (1, 0)
    assert series.value("envwatch_polls_total", profile="home", result="timeout") == 1
    assert len(series.of(UP)) == 5
    assert {name for name, labels in series.samples if "profile" not in dict(labels)} == {"envwatch_build_info"}


def test_a_failed_poll_changes_nothing_but_up_before_blindness() -> None:
    watch = Watch().take(listed(rows(3, down=(1,))))
    before = watch.series()
    watch.now += 50_000
    after = watch.take(failed(at=watch.now)).series()

    changed = {name for (name, _), value in after.samples.items() if before.samples.get((name, _)) != value}
    assert {name for name in changed if "poll" not in name} == {"envwatch_up"}
    assert before.samples.keys() == after.samples.keys()


def test_without_a_believed_listing_no_environment_has_a_series_and_none_is_counted() -> None:
    for waiting in (Watch(), Watch().take(failed())):
        series = waiting.series()
        assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
        assert series.value("envwatch_last_success_timestamp_seconds") is None
        assert (series.of_environments, series.of("envwatch_environments")) == (set(), [])
    watch = Watch().take(listed(rows(20))).poll(rows(20, down=tuple(range(1, 13)))).wait(11_000)
    assert watch.series().of_environments
    listed_at = (NOW + 5_000) / 1000
    watch.now += HOUR
    series = watch.take(failed(at=watch.now)).series()
    assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
    assert series.value("envwatch_last_success_timestamp_seconds") == listed_at
    assert {name for name, _ in series.samples if "environment" in name or "alerting" in name} == set()


def test_of_two_profiles_only_the_series_of_the_blind_one_vanish() -> None:
    work, home = clean("work"), clean("home")
    watch = Watch(Monitor.create({work: Limits(), home: Limits()}))
    watch.take(listed(rows(2)), work).take(listed(rows(3)), home)
    watch.now += HOUR
    watch.take(listed(rows(2, watch.now), watch.now), work).take(failed(at=watch.now), home)

    assert {labels["profile"] for labels in watch.series().of(UP)} == {"work"}
    assert watch.series().of("envwatch_environments_omitted") == [{"profile": "work"}]


def test_after_a_sleep_nothing_is_said_until_the_next_listing() -> None:
    watch = Watch().take(listed(rows(2)))
    watch.now += HOUR
    assert watch.take(slept(NOW, watch.now)).series().of_environments == set()
    assert watch.poll(rows(2, watch.now)).series().by_id(UP) == {"env-01": 1, "env-02": 1}


def test_while_heartbeats_stall_what_was_up_is_counted_as_unknown_and_is_neither_up_nor_down() -> None:
    standing = [*beating(10, NOW + 5_000), environment("down", **DOWN)]
    watch = Watch().take(listed([*beating(10), standing[-1]]))
    for _ in range(13):
        watch.poll(standing)
    series = watch.series()

    assert series.value("envwatch_environments", state="unknown") == 10
    assert series.by_id(UP) == {"down": 0}
    assert len(series.of(INFO)) == 11


def test_a_row_with_an_impossible_heartbeat_is_neither_up_nor_down_and_a_loss_at_no_possible_time_has_none() -> None:
    lost = environment("lost", **DOWN, lastSeenAt=5)
    series = Watch().take(listed([environment("odd", lastHeartbeat=1), environment("fine"), lost])).series()
    assert series.by_id(UP) == {"fine": 1, "lost": 0}
    assert series.by_id("envwatch_environment_last_heartbeat_timestamp_seconds").keys() == {"fine"}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {}
    assert series.value("envwatch_environments", state="unknown") == 1


def test_heartbeats_are_by_the_platforms_clock_and_listings_by_this_machines() -> None:
    skew = 90_000.0
    monitor, _ = Watch().monitor.apply(NO_PROFILE, listed(rows(1), skew=skew), reading(NOW, skew))
    series = Series.at(monitor, {}, reading(NOW, skew))
    assert series.value("envwatch_last_success_timestamp_seconds") == (NOW + skew) / 1000
    assert series.by_id("envwatch_environment_last_heartbeat_timestamp_seconds") == {"env-01": (NOW - 1_000) / 1000}
    assert OffsetBounds(-skew - 500, -skew + 500) in monitor.fleet.by_profile[NO_PROFILE].clock.samples


def test_what_is_down_says_since_when_and_what_is_up_does_not() -> None:
    watch = Watch().take(listed(rows(3, down=(1,)))).poll(rows(3, down=(1, 2)))
    lost = NOW + 5_000
    assert watch.series().by_id("envwatch_environment_down_since_timestamp_seconds") == {
        "env-01": (NOW - MINUTE) / 1000,
        "env-02": lost / 1000,
    }
    watch.poll(rows(3, watch.now))
    assert watch.series().by_id("envwatch_environment_down_since_timestamp_seconds") == {}


def test_what_alerts_is_what_the_policy_finds_and_neither_acknowledged_nor_silenced() -> None:
    watch = Watch().take(listed(rows(4, down=(1, 2, 3))))
    assert watch.series().by_id("envwatch_environment_paging") == {"env-01": 1, "env-02": 1, "env-03": 1}

    silence = silence_of_environments([key_of("env-02")], WallMs(NOW), timedelta(hours=1), clean(""), clean("me"))
    watch.monitor = watch.monitor.with_acks({key_of("env-01"): Ack(NOW, clean("new disks"))}).with_silences(
        {silence.id: silence}
    )
    series = watch.series()
    assert series.by_id("envwatch_environment_paging") == {"env-03": 1}
    assert series.value("envwatch_machines_paging") == 1
    assert series.by_id(UP) == {"env-01": 0, "env-02": 0, "env-03": 0, "env-04": 1}


def test_an_expected_name_without_a_row_is_off_and_down_since_the_first_listing() -> None:
    policy = AlertPolicy(expect=(clean("backup"),))
    watch = Watch(Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy}, profile_name=clean("default")))
    series = watch.take(listed(rows(1))).series()

    assert series.value("envwatch_environments", state="offline") == 1
    assert series.by_id(UP) == {"env-01": 1, "expected backup": 0}
    assert series.by_id("envwatch_environment_paging") == {"expected backup": 1}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {"expected backup": NOW / 1000}


def test_a_coming_and_going_row_is_flapping_also_while_up() -> None:
    watch = Watch().take(listed(rows(2)))
    for step in range(14):
        at = watch.now + 30_000
        watch.poll(rows(2, at, down=(1,) if step % 2 == 0 else ()), 30_000)
    series = watch.series()
    assert series.by_id("envwatch_environment_flapping") == {"env-01": 1}
    assert series.by_id(UP) == {"env-01": 1, "env-02": 1}


def test_a_mass_loss_is_one_series_until_the_last_one_is_back() -> None:
    watch = Watch().take(listed(rows(20)))
    lost = tuple(range(1, 13))
    watch.poll(rows(20, down=lost)).wait(4_000)
    assert watch.series().of("envwatch_incident_machines") == []

    series = watch.wait(2_000).series()
    (labels,) = series.of("envwatch_incident_machines")
    assert labels["incident"].startswith("inc-")
    assert series.value("envwatch_incident_machines") == 12
    assert series.by_id("envwatch_environment_lost_together").keys() == {f"env-{n:02}" for n in lost}

    watch.poll(rows(20, watch.now, down=(3,))).poll(rows(20, watch.now + 60_000, down=(3,)), 60_000)
    series = watch.series()
    assert series.value("envwatch_incident_machines", incident=labels["incident"]) == 1
    assert series.by_id("envwatch_environment_lost_together") == {"env-03": 1}

    watch.poll(rows(20, watch.now)).poll(rows(20, watch.now + 60_000), 60_000)
    assert watch.series().of("envwatch_incident_machines") == []


def test_a_mass_loss_names_what_its_environments_share() -> None:
    def profile_state(at: float, *, is_lost: bool) -> list[Environment]:
        lost = [environment(f"a-{n}", podId="p-7") for n in range(12)]
        if is_lost:
            lost = [environment(f"a-{n}", **DOWN) for n in range(12)]
        return [*lost, *(environment(f"b-{n}", podId="p-8", lastHeartbeat=at) for n in range(12))]

    watch = Watch().take(listed(profile_state(NOW, is_lost=False))).poll(profile_state(NOW, is_lost=True)).wait(11_000)
    assert watch.series().value("envwatch_incident_machines", shared="pod p-7") == 12


def test_two_losses_are_no_mass_loss() -> None:
    watch = Watch().take(listed(rows(20))).poll(rows(20, down=(1, 2))).wait(11_000)
    assert watch.monitor.incidents.open
    assert watch.series().of("envwatch_incident_machines") == []
    assert watch.series().of("envwatch_environment_lost_together") == []


def test_series_of_what_has_left_the_fleet_vanish() -> None:
    watch = Watch().take(listed(rows(3)))
    for _ in range(2):
        watch.poll(rows(3, watch.now)[1:])
    assert watch.series().by_id(UP) == {"env-01": 0, "env-02": 1, "env-03": 1}
    watch.monitor = watch.monitor.with_acks({key_of("env-01"): Ack(NOW, clean("retired"))})
    watch.poll(rows(3, watch.now + 2 * HOUR)[1:], 2 * HOUR)
    watch.poll(rows(3, watch.now)[1:])
    assert all(
        labels.get("id") != "env-01" for name in watch.series().of_environments for labels in watch.series().of(name)
    )


# The limit


def test_above_the_limit_problems_have_series_first_and_all_are_counted() -> None:
    watch = Watch().take(listed(rows(30, down=(7, 23, 29))))
    series = watch.series(largest=5)
    assert series.by_id(UP) == {"env-07": 0, "env-23": 0, "env-29": 0, "env-01": 1, "env-02": 1}
    assert len(series.of(INFO)) == 5
    assert series.value("envwatch_environments_omitted") == 25
    assert series.value("envwatch_environments", state="online") == 27
    assert watch.series(largest=0).of_environments == set()
    assert watch.series(largest=30).value("envwatch_environments_omitted") == 0


def test_problems_for_a_person_come_first() -> None:
    watch = Watch().take(listed(rows(30, down=(7, 23, 29))))
    watch.monitor = watch.monitor.with_acks({key_of("env-07"): Ack(NOW, clean("new disks"))})
    assert watch.series(largest=2).by_id(UP).keys() == {"env-23", "env-29"}
    assert watch.series(largest=3).by_id(UP).keys() == {"env-07", "env-23", "env-29"}


def test_what_has_been_down_for_days_does_not_alert_and_comes_last() -> None:
    old = [environment(f"a-{n}", **DOWN, lastSeenAt=NOW - 72 * HOUR) for n in range(5)]
    watch = Watch().take(listed([*old, *rows(3)]))
    assert watch.series(largest=3).by_id(UP).keys() == {"env-01", "env-02", "env-03"}
    assert watch.series().by_id("envwatch_environment_paging") == {}


def test_the_choice_of_rows_depends_neither_on_heartbeats_nor_on_the_order_of_the_listing() -> None:
    watch, order = Watch().take(listed(rows(40, down=(11, 31)))), random.Random(7)
    before = watch.series(largest=10).samples.keys()
    for _ in range(20):
        now = rows(40, watch.now, down=(11, 31))
        order.shuffle(now)
        assert watch.poll(now).series(largest=10).samples.keys() == before


def test_a_new_problem_takes_the_place_of_one_environment_only() -> None:
    watch = Watch().take(listed(rows(40)))
    before = set(watch.series(largest=10).by_id(UP))
    after = set(watch.poll(rows(40, watch.now, down=(33,))).series(largest=10).by_id(UP))
    assert (after - before, len(before - after)) == ({"env-33"}, 1)


# The counts of polls.


def polls_after(*outcomes: Outcome) -> ProfilePolls:
    polls: Polls = {}
    for outcome in outcomes:
        polls = with_poll(polls, NO_PROFILE, outcome)
    return polls[NO_PROFILE]


def test_every_result_is_counted_from_zero_on() -> None:
    assert set(NO_POLLS.results.values()) == {0}
    polls = polls_after(listed([]), listed([]), *map(failed, Cause))
    assert polls.results == dict.fromkeys(RESULTS, 1) | {"success": 2}
    assert {"key_refused", "tls", "endless_answer"} <= set(RESULTS)


def test_a_sleep_is_no_poll() -> None:
    polls: Polls = {}
    assert with_poll(polls, NO_PROFILE, slept(NOW, NOW + 60_000)) is polls


def test_each_profile_has_its_own() -> None:
    work, home = clean("work"), clean("home")
    polls = with_poll(with_poll(with_poll({}, work, listed([])), home, failed()), home, failed())
    assert polls[work].results["success"] == 1
    assert polls[home].results["timeout"] == 2
    assert polls[work].results["timeout"] == 0


@pytest.mark.parametrize(
    ("took_ms", "bucket"), [(0, 0.1), (100, 0.1), (101, 0.25), (2_500, 2.5), (31_000, float("inf"))]
)
def test_a_duration_is_in_the_first_bucket_of_its_size(took_ms: float, bucket: float) -> None:
    outcome = listed([])._replace(ended=reading(NOW + took_ms))
    of_profile = polls_after(outcome)
    assert [bound for bound, count in zip(BOUNDS_S, of_profile.durations, strict=True) if count] == [bucket]
    assert of_profile.seconds == pytest.approx(took_ms / 1000)


def test_a_failure_takes_time_as_well() -> None:
    outcome = replace(failed(), ended=reading(NOW + 10_000))
    assert sum(polls_after(outcome).durations) == 1


def test_polls_are_counted_by_result_and_by_duration() -> None:
    watch = Watch().take(listed([])).take(failed(Cause.RATE_LIMITED))
    watch.take(listed([])._replace(ended=reading(NOW + 700)))
    series = watch.series()

    assert series.value("envwatch_polls_total", result="success") == 2
    assert series.value("envwatch_polls_total", result="rate_limited") == 1
    assert series.value("envwatch_polls_total", result="timeout") == 0
    assert series.value("envwatch_poll_duration_seconds_bucket", le="0.5") == 2
    assert series.value("envwatch_poll_duration_seconds_bucket", le="1.0") == 3
    assert series.value("envwatch_poll_duration_seconds_bucket", le="+Inf") == 3
    assert series.value("envwatch_poll_duration_seconds_count") == 3
    assert series.value("envwatch_poll_duration_seconds_sum") == pytest.approx(0.7)
