"""Losses over a restart, with only the alert state that the file keeps: nothing is lost, doubled or falsely over."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, listed, reading
from support.policies import soon
from support.watch_night import LIMITS, Night, beating, night

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.alert_state import AlertState, alert_state, content_of, dropped_values
from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.tracking import EVERYTHING, Matcher
from envwatch.model.clock import WallMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.model.text import SafeText


def content_in(one: Night) -> dict[str, Any]:
    """Return the content of the file at the end of a run."""
    now = reading(NOW + one.now * 1000)
    content: dict[str, Any] = json.loads(json.dumps(content_of(one.monitor.alert_state(NO_PROFILE, now), now)))
    return content


def read_again(one: Night, content: Mapping[str, Any], seconds: float) -> Night:
    """Return another run after a time, which knows a file's content only."""
    later = Night(one.names, now=one.now + seconds)
    read = alert_state(content, NO_PROFILE, reading(NOW + later.now * 1000))
    assert read is not None
    assert dropped_values(content, read) == {}
    later.monitor = Monitor.create(LIMITS, policies=one.monitor.policies).with_alert_state(NO_PROFILE, read)
    return later


def restarted(one: Night, seconds: float) -> Night:
    return read_again(one, content_in(one), seconds)


def test_an_offline_row_keeps_its_mode_over_a_restart() -> None:
    before = night("a", "b")
    (mode,) = {row.environment.mode for row in before.monitor.fleet.environments}
    later = restarted(before, 3_600)
    at = NOW + later.now * 1000
    lost = environment("a", connectionId=None, lastHeartbeat=None, currentMode=None, metadata=None)
    later.monitor, _ = later.monitor.apply(NO_PROFILE, listed([lost, environment("b")], at), reading(at))
    tracked = later.monitor.fleet.tracked((NO_PROFILE, clean("a")))
    assert tracked is not None
    assert (tracked.environment.mode, tracked.environment.version) == (mode, environment("a").version)


def test_rows_that_went_down_between_two_runs_are_one_incident() -> None:
    later = restarted(night("a", "b", "c").poll(), 3_600).poll("a", "b").wait(2.4)
    assert later.sizes == ([], [])
    assert later.wait(0.1).sizes == ([2], [])
    assert {loss.reason for loss in later.opened[0].losses} == {"disconnected while envwatch was not running"}


@pytest.mark.parametrize(("hours", "age"), [(23.9, ""), (24.1, ", which last looked 1d before")])
def test_a_last_look_of_more_than_a_day_ago_is_named(hours: float, age: str) -> None:
    later = restarted(night("a", "b"), hours * 3_600).poll("a").wait(10)
    (loss,) = later.opened[0].losses
    assert loss.reason == f"disconnected while envwatch was not running{age}"


def test_a_row_that_was_down_before_the_run_before_opens_nothing() -> None:
    first = Night(["a", "b"], Monitor.create(LIMITS, policies=soon())).poll("a")
    assert restarted(first, 60).poll("a").wait(600).sizes == ([], [])


def test_a_loss_that_waited_when_a_run_ended_opens_in_the_next_and_counts_from_its_beginning() -> None:
    first = night("a", "b").poll("a")
    later = restarted(first, 60).poll("a")
    assert later.sizes == ([1], [])
    assert later.opened[0].began_at == first.events[0].at


@pytest.mark.parametrize("key", [None, "silent_since"], ids=["a file of this version", "a file of 1.1.0"])
@pytest.mark.parametrize(("silent_s", "opened"), [(239.999, 0), (240, 1)])
def test_a_silence_goes_on_over_a_restart(silent_s: float, opened: int, key: str | None) -> None:
    first = night("a", "b", policies={}).poll("a")
    content = content_in(first)
    if key is not None:
        del content["waiting"][0][key]
    assert len(read_again(first, content, silent_s - first.now).poll("a", after=0).opened) == opened


def test_what_is_back_at_the_first_listing_opens_nothing_and_resolves_what_was_open() -> None:
    assert restarted(night("a", "b").poll("a"), 60).poll().wait(600).sizes == ([], [])
    later = restarted(night("a", "b").hold(15, "a"), 60).poll()
    assert later.sizes == ([], [1])


def test_an_open_incident_resolves_in_the_next_run_and_its_rows_open_no_other() -> None:
    later = restarted(night("a", "b").hold(15, "a"), 60).hold(30, "a")
    assert later.sizes == ([], [])
    assert later.hold(65).sizes == ([], [1])


def test_a_clock_that_was_set_back_between_two_runs_loses_nothing() -> None:
    later = restarted(night("a", "b", "c").poll("a"), -7_200).poll("a", "b").wait(10)
    assert sorted(str(loss.id) for each in later.opened for loss in each.losses) == ["a", "b"]


def test_blindness_counts_over_a_restart() -> None:
    later = restarted(night("a").fail(61).wait(600), 200).wait(1).fail(1).wait(97)
    assert later.sizes == ([], [])
    assert later.wait(1).sizes == ([1], [])
    assert restarted(later, 60).wait(1).fail(1).wait(3_600).sizes == ([], []), "told twice"


@given(st.data())
@settings(max_examples=examples(50), deadline=None)
def test_over_any_restarts_each_loss_that_lasts_is_named_once_and_a_return_resolves_once(data: st.DataObject) -> None:
    names = [f"e{number}" for number in range(6)]
    polls = st.integers(1, 60)
    lost_at = data.draw(st.dictionaries(st.sampled_from(names), polls, min_size=1))
    back_at = data.draw(st.dictionaries(st.sampled_from(sorted(lost_at)), st.integers(100, 130)))
    changes = sorted({*lost_at.values(), *back_at.values()})
    near = st.builds(int.__add__, st.sampled_from(changes), st.integers(0, 3))
    restarts = data.draw(st.dictionaries(near, st.integers(0, 40), min_size=1, max_size=4))
    one, opened, resolved, poll = night(*names), list[Incident](), list[Incident](), 0
    while (poll := poll + 1) < 200:
        if (away := restarts.get(poll)) is not None:
            opened, resolved = opened + one.opened, resolved + one.resolved
            poll += away
            one = restarted(one, 5.0 * away)
        one.poll(*(name for name, at in lost_at.items() if at <= poll < back_at.get(name, 1_000)))
    opened, resolved = opened + one.opened, resolved + one.resolved
    told = Counter(str(loss.id) for incident in opened for loss in incident.losses)
    lasting = lost_at.keys() - back_at.keys()
    assert {name: told[name] for name in lasting} == dict.fromkeys(lasting, 1)
    assert max(told.values()) == 1
    assert told.keys() <= lost_at.keys()
    ended = {incident.id for incident in opened if not incident.keys & {(NO_PROFILE, clean(name)) for name in lasting}}
    assert Counter(incident.id for incident in resolved) == dict.fromkeys(ended, 1)


def test_an_alert_state_of_another_run_is_compared_once() -> None:
    later = restarted(night("a", "b"), 60).poll().hold(60, "a")
    assert later.sizes == ([1], [])
    assert later.opened[0].losses[0].reason == "disconnected"


# Rows that the first listings lack

FLEET: Final = [f"e{number}" for number in range(10)]
HALF: Final = tuple(FLEET[5:])
ALL: Final = tuple(FLEET)


def names_in(incidents: Iterable[Incident]) -> set[str]:
    return {str(loss.name) for incident in incidents for loss in incident.losses}


@pytest.mark.parametrize("expect", [(), (clean("e0"),)])
def test_a_row_that_was_online_and_is_listed_no_more_is_lost_after_two_listings(expect: tuple[SafeText, ...]) -> None:
    later = restarted(night(*FLEET, policies=soon(expect=expect)), 600).poll(without=("e0",)).wait(20)
    assert later.sizes == ([], []), "one listing may lack a row"
    later.poll(without=("e0",)).poll(without=("e0",), after=10)
    assert [[loss.reason for loss in each.losses] for each in later.opened] == [
        ["no longer listed while envwatch was not running"]
    ]
    assert names_in(later.opened) == {"e0"}
    assert later.events == [], "the first listing of a row is a silent baseline"


def test_a_loss_that_waited_is_announced_under_its_id_although_no_listing_has_the_row() -> None:
    first = night(*FLEET).poll("e0")
    (loss,) = first.monitor.incidents.waiting
    later = restarted(first, 600)
    for _ in range(10):
        later.poll(without=("e0",))
    assert [incident.id for incident in later.opened] == [loss.incident]


def test_an_open_incident_stays_open_while_no_listing_has_the_row() -> None:
    later = restarted(night(*FLEET).hold(15, "e0"), 600)
    for _ in range(20):
        later.poll(without=("e0",), after=300)
    assert later.sizes == ([], [])
    assert restarted(later, 60).poll(without=("e0",)).poll(without=("e0",)).wait(3_600).sizes == ([], [])
    assert later.hold(70).sizes == ([], [1])


@pytest.mark.parametrize("lacking", [ALL, HALF])
def test_an_empty_or_half_listing_after_a_restart_ends_no_incident(lacking: tuple[str, ...]) -> None:
    later = restarted(night(*FLEET).hold(15, "e7"), 60)
    later.poll("e7", without=lacking).poll("e7", without=lacking)
    assert later.hold(60, "e7").sizes == ([], [])
    assert later.hold(65).sizes == ([], [1])


@pytest.mark.parametrize("lacking", [ALL, HALF, ("e7",)])
def test_a_loss_between_two_runs_is_announced_although_the_first_listings_lack_the_row(
    lacking: tuple[str, ...],
) -> None:
    later = restarted(night(*FLEET), 60).poll("e7", without=lacking)
    assert later.hold(15, "e7").sizes == ([1], [])
    assert later.opened[0].losses[0].reason == "disconnected while envwatch was not running"


def test_rows_that_are_listed_again_are_no_loss_and_no_news() -> None:
    later = restarted(night(*FLEET), 60).poll(without=("e7",)).hold(120)
    assert (later.sizes, later.events) == (([], []), [])


def test_many_rows_that_a_restart_does_not_find_are_doubtful_until_blind_after() -> None:
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=10), blind_after=timedelta(seconds=300))}
    later = restarted(night(*FLEET, policies=policies), 60)
    while not later.opened and later.now < 1_000:
        later.poll(without=HALF)
    assert (later.now, len(names_in(later.opened))) == (425, 5)


NOTHING: Final = Matcher(clean("nothing"), lambda _tracked, _now: False)
LINUX: Final = Matcher(clean("os:linux"), lambda tracked, _now: tracked.environment.os == "linux")


@pytest.mark.parametrize(("alert", "opened"), [(LINUX, 1), (EVERYTHING, 1), (NOTHING, 0)])
def test_a_row_of_an_earlier_run_is_judged_by_the_fields_of_its_newest_listing(alert: Matcher, opened: int) -> None:
    policies = {NO_PROFILE: AlertPolicy(alert=alert, alert_after=timedelta(seconds=10))}
    later = restarted(night(*FLEET, policies=policies), 600)
    for _ in range(5):
        later.poll(without=("e0",))
    assert len(later.opened) == opened


def test_rows_of_another_account_are_no_loss() -> None:
    """A profile whose key was exchanged for the key of another organization."""
    later = restarted(night(*FLEET).hold(15, "e0"), 60)
    for _ in range(30):
        later.now += 5
        at = NOW + later.now * 1000
        rows = [environment(f"other-{number}", organizationId="org-2", lastHeartbeat=at) for number in range(3)]
        later.monitor, changes = later.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        later.note(changes)
    assert later.sizes == ([], [1])


def test_a_row_whose_time_cannot_be_true_is_compared_at_the_first_listing_with_a_true_time() -> None:
    later = restarted(night("a", "b"), 60)
    for heartbeat in (1_760_000_000.0, None):
        later.now += 5
        at = NOW + later.now * 1000
        link = {"connectionId": None} if heartbeat is None else {}
        rows = [
            environment("a", connectionName="a", lastHeartbeat=heartbeat, **link),
            environment("b", lastHeartbeat=at),
        ]
        later.monitor, changes = later.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        later.note(changes)
    assert later.wait(10).sizes == ([1], [])


def test_a_stall_goes_on_over_a_restart_and_accuses_no_environment() -> None:
    first = stalled_night(500)
    assert first.sizes == ([1], [])
    later = restarted(first, 600)
    for _ in range(100):
        later = beats(later, until=100)
    assert later.sizes == ([], []), "announced twice, or falsely over"
    for _ in range(20):
        later = beats(later, until=math.inf)
    assert later.sizes == ([], [1])


def beats(one: Night, until: float) -> Night:
    """Poll 12 rows whose heartbeats end `until` seconds after `NOW`."""
    one.now += 5
    at = NOW + one.now * 1000
    rows = [beating(f"e{number:02}", NOW + min(one.now, until) // 10 * 10_000) for number in range(12)]
    one.monitor, changes = one.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
    one.note(changes)
    return one


def stalled_night(seconds: float) -> Night:
    one = Night([], Monitor.create(LIMITS))
    while one.now < seconds:
        beats(one, until=100)
    return one


def test_flapping_goes_on_over_a_restart() -> None:
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=90))}
    flapper = night("a", "b", policies=policies)
    for _ in range(8):
        flapper.poll("a", after=20).poll(after=40)
    assert flapper.sizes == ([1], [])
    later = restarted(flapper, 10)
    assert later.poll("a", after=20).poll(after=40).hold(120).sizes == ([], [])
    assert later.hold(900).sizes == ([], [1])


# Damage, and files of older versions


def test_a_file_of_1_1_0_has_ids_only_and_a_row_without_a_name_is_named_by_the_id() -> None:
    first = night(*FLEET)
    content = content_in(first)
    del content["rows"]
    later = read_again(first, content, 600)
    for _ in range(5):
        later.poll("e1", without=("e0",))
    assert names_in(later.opened) == {"e0", "e1"}
    assert later.sizes == ([2], [])


def test_a_stall_that_began_before_the_run_accuses_no_environment() -> None:
    """The platform's heartbeats stood still while envwatch restarted, and the rows expire one after the other."""

    def play(monitor: Monitor, seconds: range, beats_until: float) -> tuple[Monitor, list[Incident]]:
        opened: list[Incident] = []
        for second in seconds:
            rows = [
                beating(f"e{number:02}", NOW + (min(second, beats_until) // 30 * 30 + number * 2 - 30) * 1000)
                for number in range(12)
            ]
            at = NOW + second * 1000
            monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
            opened += changes.opened
        return monitor, opened

    monitor, _ = play(Monitor.create(LIMITS), range(0, 120, 5), 1_000)
    now = reading(NOW + 120_000)
    state = alert_state(content_of(monitor.alert_state(NO_PROFILE, now), now), NO_PROFILE, now)
    assert state is not None
    later, opened = play(Monitor.create(LIMITS).with_alert_state(NO_PROFILE, state), range(215, 700, 5), 120)
    assert not any(incident for incident in opened if not incident.is_blindness)
    assert {loss.is_doubtful for loss in later.incidents.waiting} == {True}
    beats = [beating(f"e{number:02}", NOW + 700_000) for number in range(12)]
    for second in (700, 761):
        at = NOW + second * 1000
        later, changes = later.apply(NO_PROFILE, listed(beats, at), reading(at))
        assert changes.opened == ()
    assert later.incidents.waiting == ()


@pytest.mark.parametrize(("youngest", "is_doubtful"), [(29.9, False), (30.0, True)])
def test_silent_rows_of_a_first_listing_are_lost_if_any_row_has_beaten_within_30_seconds(
    youngest: float, *, is_doubtful: bool
) -> None:
    """A power cut while envwatch restarts: another site's machines prove that the platform does not stall."""
    names = [f"e{number:02}" for number in range(12)]
    at = NOW + 600_000
    state = AlertState(looked_at=WallMs(NOW), online=frozenset(map(clean, names)))
    monitor = Monitor.create(LIMITS, policies=soon()).with_alert_state(NO_PROFILE, state)
    rows = [beating(name, NOW if number < 4 else at - youngest * 1000) for number, name in enumerate(names)]
    monitor, _ = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
    assert [loss.is_doubtful for loss in monitor.incidents.waiting] == [is_doubtful] * 4


@pytest.mark.parametrize(("count", "is_doubtful"), [(9, False), (10, True)])
def test_silent_rows_are_doubtful_from_ten_rows_on(count: int, *, is_doubtful: bool) -> None:
    names = [f"e{number:02}" for number in range(count)]
    state = AlertState(looked_at=WallMs(NOW), online=frozenset(map(clean, names)))
    at = NOW + 600_000
    rows = [beating(name, NOW) for name in names]
    monitor, _ = (
        Monitor.create(LIMITS, policies=soon())
        .with_alert_state(NO_PROFILE, state)
        .apply(NO_PROFILE, listed(rows, at), reading(at))
    )
    assert {loss.is_doubtful for loss in monitor.incidents.waiting} == {is_doubtful}
