"""The series of a moment: values, absence, and the environments with series."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, key_of, listed, reading, slept
from support.scripted_watch import NIGHTS, SilencedNight, recurring_policies
from support.series import DOWN, MINUTE, Series, Watch, rows

from envwatch import __version__
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.alerting.silences import silence_of_environments
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.metrics.exposition import exposition
from envwatch.model.acks import Ack
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

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


def test_the_pod_of_what_is_down_is_its_last_one_so_that_its_series_goes_on() -> None:
    watch = Watch().take(listed(rows(3))).poll(rows(3, down=(2,)))
    assert {labels["pod"] for labels in watch.series().of(INFO)} == {"pod-1"}


def test_a_reconnect_begins_no_series() -> None:
    watch = Watch().take(listed(rows(3)))
    before = watch.series()
    after = watch.poll(rows(3, connectionId="another", connectedAt=NOW + 1_000)).series()
    assert before.samples.keys() == after.samples.keys()


def test_each_hook_that_runs_here_is_failing_or_not() -> None:
    watch = Watch(hooks={clean("pager"): True, clean("chat"): False}).take(listed(rows(1)))
    series = watch.series()
    assert series.value("envwatch_hook_failing", hook="pager") == 1
    assert series.value("envwatch_hook_failing", hook="chat") == 0
    assert Watch().take(listed(rows(1))).series().of("envwatch_hook_failing") == []


def test_no_label_is_a_connection_and_no_profile_is_without_its_label() -> None:
    watch = Watch().take(listed(rows(20))).poll(rows(20, down=tuple(range(1, 13)))).wait(11_000)
    body, _ = exposition(watch.monitor, watch.polls, reading(watch.now))
    assert b"conn-of-" not in body
    assert b"device-of-" not in body
    names = {name for name, labels in watch.series().samples if "profile" not in dict(labels)}
    assert names == {"envwatch_build_info"}


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


def test_before_the_first_listing_nothing_is_said_of_environments() -> None:
    for watch in (Watch(), Watch().take(failed())):
        series = watch.series()
        assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
        assert series.value("envwatch_last_success_timestamp_seconds") is None
        assert (series.of_environments, series.of("envwatch_environments")) == (set(), [])


def test_a_failed_poll_is_not_up_and_changes_nothing_else_before_it_is_blind() -> None:
    watch = Watch().take(listed(rows(3, down=(1,))))
    before = watch.series()
    watch.now += 50_000
    after = watch.take(failed(at=watch.now)).series()

    changed = {name for (name, _), value in after.samples.items() if before.samples.get((name, _)) != value}
    assert {name for name in changed if "poll" not in name} == {"envwatch_up"}
    assert before.samples.keys() == after.samples.keys()


def test_while_it_is_blind_no_environment_has_a_series_and_none_is_counted() -> None:
    watch = Watch().take(listed(rows(20))).poll(rows(20, down=tuple(range(1, 13)))).wait(11_000)
    assert watch.series().of_environments
    listed_at = (NOW + 5_000) / 1000
    watch.now += HOUR
    series = watch.take(failed(at=watch.now)).series()

    assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
    assert series.value("envwatch_last_success_timestamp_seconds") == listed_at
    assert series.of_environments == set()
    about_environments = {name for name, _ in series.samples if "environment" in name or "alerting" in name}
    assert about_environments == set()


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


def test_a_row_with_an_impossible_time_is_neither_up_nor_down() -> None:
    series = Watch().take(listed([environment("odd", lastHeartbeat=1), environment("fine")])).series()
    assert series.by_id(UP) == {"fine": 1}
    assert series.by_id("envwatch_environment_last_heartbeat_timestamp_seconds").keys() == {"fine"}
    assert series.value("envwatch_environments", state="unknown") == 1


def test_heartbeats_are_by_the_platforms_clock_and_listings_by_that_of_this_machine() -> None:
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
    assert watch.series().by_id("envwatch_environment_alerting") == {"env-01": 1, "env-02": 1, "env-03": 1}

    silence = silence_of_environments([key_of("env-02")], WallMs(NOW), timedelta(hours=1), clean(""), clean("me"))
    watch.monitor = watch.monitor.with_acks({key_of("env-01"): Ack(NOW, clean("new disks"))}).with_silences(
        {silence.id: silence}
    )
    series = watch.series()
    assert series.by_id("envwatch_environment_alerting") == {"env-03": 1}
    assert series.value("envwatch_alerting") == 1
    assert series.by_id(UP) == {"env-01": 0, "env-02": 0, "env-03": 0, "env-04": 1}


def test_what_has_been_down_for_days_is_down_and_does_not_alert() -> None:
    series = Watch().take(listed([environment("old", **DOWN, lastSeenAt=NOW - 72 * HOUR)])).series()
    assert (series.by_id(UP), series.by_id("envwatch_environment_alerting")) == ({"old": 0}, {})


@pytest.mark.parametrize(("time", "count"), [("09:59:59.999", 0), ("10:00:00.000", 1)])
def test_a_laptop_that_was_silenced_for_days_alerts_from_the_end_of_the_silence_on(time: str, count: int) -> None:
    policies = recurring_policies(NIGHTS, RecurringHours(days=frozenset({5, 6})))
    night = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()}, policies=policies), day=10)
    night.poll("17:30").poll("18:00", "mac-1")
    night.day = 13
    night.poll("09:59:55", "mac-1").tick(time)
    series = Series.at(night.monitor, {}, reading(night.at))
    assert series.value("envwatch_alerting") == count
    assert len(series.by_id("envwatch_environment_alerting")) == count


def test_what_is_expected_and_was_never_listed_is_missing_and_down_since_that_was_found() -> None:
    policy = AlertPolicy(expect=(clean("backup"),))
    watch = Watch(Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy}, profile_name=clean("default")))
    series = watch.take(listed(rows(1))).series()

    assert series.value("envwatch_environments", state=Presence.MISSING.value) == 1
    assert series.by_id(UP) == {"env-01": 1, "expected backup": 0}
    assert series.by_id("envwatch_environment_alerting") == {"expected backup": 1}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {"expected backup": NOW / 1000}


def test_a_time_that_cannot_be_true_is_none() -> None:
    series = Watch().take(listed([environment("odd", **DOWN, lastSeenAt=5)])).series()
    assert series.by_id(UP) == {"odd": 0}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {}


def test_what_comes_and_goes_is_flapping_also_while_it_is_up() -> None:
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
    assert watch.series().of("envwatch_mass_loss_environments") == []

    series = watch.wait(2_000).series()
    (labels,) = series.of("envwatch_mass_loss_environments")
    assert labels["incident"].startswith("inc-")
    assert series.value("envwatch_mass_loss_environments") == 12
    assert series.by_id("envwatch_environment_lost_together").keys() == {f"env-{n:02}" for n in lost}

    watch.poll(rows(20, watch.now, down=(3,))).poll(rows(20, watch.now + 60_000, down=(3,)), 60_000)
    series = watch.series()
    assert series.value("envwatch_mass_loss_environments", incident=labels["incident"]) == 1
    assert series.by_id("envwatch_environment_lost_together") == {"env-03": 1}

    watch.poll(rows(20, watch.now)).poll(rows(20, watch.now + 60_000), 60_000)
    assert watch.series().of("envwatch_mass_loss_environments") == []


def test_a_mass_loss_names_what_its_environments_share() -> None:
    def profile_state(at: float, *, is_lost: bool) -> list[Environment]:
        lost = [environment(f"a-{n}", podId="p-7") for n in range(12)]
        if is_lost:
            lost = [environment(f"a-{n}", **DOWN) for n in range(12)]
        return [*lost, *(environment(f"b-{n}", podId="p-8", lastHeartbeat=at) for n in range(12))]

    watch = Watch().take(listed(profile_state(NOW, is_lost=False))).poll(profile_state(NOW, is_lost=True)).wait(11_000)
    assert watch.series().value("envwatch_mass_loss_environments", shared="pod p-7") == 12


def test_two_that_are_lost_alone_are_no_mass_loss() -> None:
    watch = Watch().take(listed(rows(20))).poll(rows(20, down=(1, 2))).wait(11_000)
    assert watch.monitor.incidents.open
    assert watch.series().of("envwatch_mass_loss_environments") == []
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


def test_of_the_problems_those_that_need_a_person_come_first() -> None:
    watch = Watch().take(listed(rows(30, down=(7, 23, 29))))
    watch.monitor = watch.monitor.with_acks({key_of("env-07"): Ack(NOW, clean("new disks"))})
    assert watch.series(largest=2).by_id(UP).keys() == {"env-23", "env-29"}
    assert watch.series(largest=3).by_id(UP).keys() == {"env-07", "env-23", "env-29"}


def test_what_has_been_down_for_days_comes_last() -> None:
    old = [environment(f"a-{n}", **DOWN, lastSeenAt=NOW - 72 * HOUR) for n in range(5)]
    assert Watch().take(listed([*old, *rows(3)])).series(largest=3).by_id(UP).keys() == {"env-01", "env-02", "env-03"}


def test_which_have_series_does_not_depend_on_heartbeats_nor_on_the_order_of_the_listing() -> None:
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
