"""Incidents: grouping of losses, opening, resolution, and suppression."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, key_of, listed, reading, slept
from support.policies import soon
from support.tracked_environments import gone, named
from support.watch_night import LIMITS, Night, beating, night, row

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.incidents import Incident, ring_text
from envwatch.fleet.alerting.losses import LossStatus, status_of
from envwatch.fleet.alerting.silences import silence_of_environments
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import Matcher
from envwatch.model import limits
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


def test_a_loss_opens_once_and_resolves_once() -> None:
    one = night("a", "b").hold(20, "a").hold(65)
    assert one.sizes == ([1], [1])
    assert one.opened[0].id == one.resolved[0].id
    assert one.resolved[0].remaining == frozenset()


def test_an_incident_knows_its_lost_environments_while_it_waits_and_while_it_is_open() -> None:
    lost = night("a", "b", "c").poll().poll("a", "b")
    (loss, _) = lost.monitor.incidents.waiting
    waiting = lost.monitor.incidents.lost_in(loss.incident)
    lost.hold(15, "a", "b")
    assert waiting == {(NO_PROFILE, "a"), (NO_PROFILE, "b")} == lost.monitor.incidents.lost_in(lost.opened[0].id)
    assert lost.monitor.incidents.lost_in(clean("inc-other")) == frozenset()


@pytest.mark.parametrize(("silent_s", "count"), [(239.999, 0), (240.0, 1)])
def test_an_incident_opens_after_exactly_four_minutes_of_silence(silent_s: float, count: int) -> None:
    lost = night("a", policies={}).hold(235, "a")
    assert len(lost.wait(silent_s - lost.now).opened) == count


@pytest.mark.parametrize(("listed_s", "count"), [(59.999, 0), (60.0, 1)])
def test_an_incident_opens_after_exactly_a_minute_of_listings_with_the_loss(listed_s: float, count: int) -> None:
    found = night("a", policies={}).poll("a", after=600)
    assert len(found.wait(listed_s).opened) == count


def test_what_is_back_in_time_opens_nothing() -> None:
    assert night("a").poll("a").poll().wait(30).sizes == ([], [])


def test_sixty_lost_together_are_one_incident_that_resolves_when_the_last_is_back() -> None:
    names = [f"e{number}" for number in range(60)]
    mass = night(*names).hold(15, *names)
    assert mass.sizes == ([60], [])
    assert mass.hold(70, "e7").sizes == ([60], [])
    assert mass.hold(65).sizes == ([60], [60])


@pytest.mark.parametrize("count", [limits.MASS_MIN - 1, limits.MASS_MIN])
def test_an_incident_of_enough_rows_has_one_likely_cause(count: int) -> None:
    names = [f"e{number}" for number in range(count)]
    (incident,) = night(*names, "up").hold(15, *names).opened
    assert incident.is_mass is (count == limits.MASS_MIN)


@pytest.mark.parametrize(("gap", "sizes"), [(5.0, [2]), (10.0, [1, 1])])
def test_losses_of_two_listings_in_a_row_are_one_incident_and_others_are_not(gap: float, sizes: list[int]) -> None:
    """Both losses may date from the first listing that shows a loss."""
    one = night("a", "b").poll("a")
    while one.now < gap:
        one.poll("a")
    one.poll("a", "b")
    assert one.wait(10).sizes[0] == sizes


def test_a_row_with_a_loss_in_an_earlier_run_leaves_the_incident_of_this_run() -> None:
    one, earlier = night("a", "b").hold(15, "a", "b"), night("a", "b").poll("a")
    assert one.sizes == ([2], [])
    both = one.monitor.incidents.with_earlier_run(NO_PROFILE, earlier.monitor.incidents.waiting, ())
    assert [each.remaining for each in both.open] == [{(NO_PROFILE, "b")}]
    assert both.waiting == earlier.monitor.incidents.waiting


def test_what_is_lost_while_an_incident_waits_opens_with_it_and_what_is_lost_later_opens_another() -> None:
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=20))}
    one = night("a", "b", "c", "d", policies=policies).poll("a").poll("a", "b").poll("a", "b", "c")
    assert one.hold(10, "a", "b", "c").sizes[0] == [3]
    assert one.poll("a", "b", "c", "d").hold(20, "a", "b", "c", "d").sizes[0] == [3, 1]


def test_what_is_found_after_a_blind_gap_is_one() -> None:
    names = [f"e{number}" for number in range(9)]
    assert night(*names).poll("e1", "e2", after=90).wait(10).sizes == ([2], [])


def cut(beats: dict[str, float], *cuts: tuple[float, frozenset[str]], alert_after: float = 240.0) -> list[set[str]]:
    """Let machines lose power and return the names of each incident that opens.

    Args:
        beats: each machine's first heartbeat, in seconds; a heartbeat follows every 30 s.
        cuts: times of power losses, in seconds, with the machines.
        alert_after: in seconds.
    """
    dies_at = {name: at for at, names in cuts for name in names}
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=alert_after))}
    monitor, opened, second = Monitor.create(LIMITS, policies=policies), list[set[str]](), 0.0
    while second < max(at for at, _ in cuts) + 300:
        at, rows = NOW + second * 1000, []
        for name, first in beats.items():
            alive_until = min(second, dies_at.get(name, second))
            rows.append(beating(name, NOW + (first + (alive_until - first) // 30 * 30) * 1000))
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        opened += [{str(loss.name) for loss in incident.losses} for incident in changes.opened]
        second += 5
    return opened


STEADY = {f"up-{number}": number * 1.0 for number in range(30)}
PHASES = st.lists(st.floats(0, 29.9), min_size=1, max_size=8)


@given(PHASES, st.floats(150, 180), st.sets(st.integers(0, 7)))
@settings(max_examples=examples(25), deadline=None)
def test_a_power_cut_is_one_incident_whatever_the_phases_and_with_one_ping_missed(
    phases: list[float], cut_at: float, late: set[int]
) -> None:
    beats = {f"e{number}": phase for number, phase in enumerate(phases)}
    # A machine that dies 30 s earlier looks like a machine whose last ping was lost.
    cuts = [(cut_at, frozenset(beats)), (cut_at - 30, frozenset(f"e{number}" for number in late) & beats.keys())]
    assert cut(STEADY | beats, *cuts) == [set(beats)]


@pytest.mark.parametrize(("later", "together"), [(0.0, True), (0.1, False)])
def test_last_heartbeats_a_minute_apart_may_be_of_one_moment_and_not_more(later: float, *, together: bool) -> None:
    """If both lost power at the second machine's last heartbeat, the first machine missed a ping."""
    cuts = [(150.0, frozenset("a")), (210.0 + later, frozenset("b"))]
    assert cut(STEADY | {"a": 0.0, "b": later}, *cuts) == ([{"a", "b"}] if together else [{"a"}, {"b"}])


@given(PHASES, PHASES, st.floats(150, 180), st.floats(90, 200))
@settings(max_examples=examples(25), deadline=None)
def test_two_power_cuts_that_are_90_seconds_apart_are_two_incidents(
    first: list[float], second: list[float], cut_at: float, apart: float
) -> None:
    one = {f"a{number}": phase for number, phase in enumerate(first)}
    other = {f"b{number}": phase for number, phase in enumerate(second)}
    cuts = [(cut_at, frozenset(one)), (cut_at + apart, frozenset(other))]
    assert cut(STEADY | one | other, *cuts) == [set(one), set(other)]


@given(st.data())
@settings(max_examples=examples(50), deadline=None)
def test_every_loss_that_lasts_is_named_by_one_opened_message_and_the_order_of_rows_does_not_matter(
    data: st.DataObject,
) -> None:
    names = [f"e{number}" for number in range(8)]
    lost_at = data.draw(st.dictionaries(st.sampled_from(names), st.integers(1, 30), min_size=1))
    order = data.draw(st.permutations(names))
    found = []
    for listed_names in (names, order):
        one = night(*listed_names)
        for poll in range(1, 80):
            one.poll(*(name for name, at in lost_at.items() if at <= poll))
        found.append({frozenset(str(loss.id) for loss in incident.losses) for incident in one.opened})
        assert Counter(id_ for incident in found[-1] for id_ in incident) == Counter(lost_at.keys())
    assert found[0] == found[1]


@pytest.mark.parametrize("storm", [False, True])
def test_after_five_incidents_in_ten_minutes_one_incident_a_minute_holds_all_losses(*, storm: bool) -> None:
    gap = 15 if storm else 150  # the sixth loss comes 75 s, or 750 s, after the first
    names = [f"e{number}" for number in range(12)]
    one = night(*names)
    for count in range(1, 13):
        one.hold(gap, *names[:count])
    one.hold(70, *names)
    assert [incident.is_storm for incident in one.opened] == [False] * 5 + [storm] * (len(one.opened) - 5)
    assert sorted(str(loss.id) for incident in one.opened for loss in incident.losses) == sorted(names)
    assert len(one.opened) == (7 if storm else 12)


def storm_of_five(*others: str) -> Night:
    """Return a night with five open incidents, the newest 5 s ago; a further incident opens 55 s from now."""
    names = [f"e{number}" for number in range(5)]
    one = night(*names, *others)
    for count in range(1, 6):
        one.hold(15, *names[:count])
    assert one.sizes == ([1] * 5, [])
    return one


def test_a_storm_holds_losses_that_have_not_lasted_for_alert_after() -> None:
    one = storm_of_five("due", "new", "other")
    lost = [f"e{number}" for number in range(5)]
    one.hold(50, *lost, "due").poll(*lost, "due", "new")
    assert [sorted(str(loss.name) for loss in each.losses) for each in one.opened[5:]] == [["due", "new"]]
    assert one.opened[5].is_storm


def test_a_storm_leaves_out_doubtful_losses_that_have_not_lasted_for_blind_after() -> None:
    hidden = [f"h{number}" for number in range(8)]
    one = night("due", *hidden, *(f"e{number}" for number in range(5)), *(f"s{number}" for number in range(10)))
    for _ in range(15):
        one.poll(without=(*hidden,))
    assert {loss.is_doubtful for loss in one.monitor.incidents.waiting} == {True}
    lost: list[str] = []
    for number in range(5):
        lost.append(f"e{number}")
        for _ in range(3):
            one.poll(*lost, without=(*hidden,))
    for _ in range(13):
        one.poll(*lost, "due", without=(*hidden,))
    assert [sorted(str(loss.name) for loss in each.losses) for each in one.opened[5:]] == [["due"]]
    assert one.opened[5].is_storm


DAY_MS: Final = 86_400_000
OFF: Final[dict[str, Any]] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW}
STATUSES: Final = {
    "offline for less than a day": (named("a", **OFF), DAY_MS - 1, LossStatus.ALERTING, LossStatus.ALERTING),
    "offline for a day": (named("a", **OFF), DAY_MS, LossStatus.SETTLED, LossStatus.ALERTING),
    "gone for less than 15 minutes": (gone("a"), 899_999, LossStatus.ALERTING, LossStatus.ALERTING),
    "gone for 15 minutes": (gone("a"), 900_000, LossStatus.SETTLED, LossStatus.ALERTING),
}


@pytest.mark.parametrize(("tracked", "age_ms", "unknown", "known"), STATUSES.values(), ids=STATUSES)
def test_only_age_settles_a_loss_unless_the_loss_waits_or_is_open(
    tracked: TrackedEnvironment, age_ms: float, unknown: LossStatus, known: LossStatus
) -> None:
    at = ServerMs(NOW + age_ms)
    assert status_of(tracked, at, is_acked=False, is_news=False) is unknown
    assert status_of(tracked, at, is_acked=False, is_news=True) is known
    acked = LossStatus.OVER if tracked.presence is Presence.GONE else LossStatus.SETTLED
    assert {status_of(tracked, at, is_acked=True, is_news=is_news) for is_news in (True, False)} == {acked}


def test_more_losses_than_are_compared_are_one_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_LOSSES_WAITING", 3)
    names = [f"e{number}" for number in range(4)]
    for count, sizes in ((3, [1, 1, 1]), (4, [4])):
        one = night(*names, policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=100))})
        for lost in range(1, count + 1):
            one.hold(15, *names[:lost])
        assert one.hold(100, *names[:count]).sizes[0] == sizes


def test_beyond_the_most_open_incidents_the_oldest_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_INCIDENTS_OPEN", 2)
    names = ["a", "b", "c"]
    one = night(*names)
    for count in (1, 2, 3):
        one.hold(20, *names[:count])
    assert one.sizes == ([1, 1, 1], [1])
    assert one.resolved[0].id == one.opened[0].id
    assert one.resolved[0].ended_by == "envwatch follows 2 incidents at most"


@pytest.mark.parametrize(("up", "resolved"), [(59.999, 0), (60.0, 1)])
def test_an_environment_is_back_after_a_minute(up: float, resolved: int) -> None:
    one = night("a", "b").hold(20, "a").poll()
    assert len(one.wait(up).resolved) == resolved


def test_a_row_that_goes_off_and_on_every_seven_seconds_is_one_incident() -> None:
    one = night("a", "b", policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=2))})
    for second in range(80):
        one.poll(*(["a"] if second // 7 % 2 == 0 else []), after=1)
    assert one.sizes == ([1], [])
    for _ in range(70):
        one.poll(after=1)
    assert one.sizes == ([1], [1])


def test_an_environment_that_is_back_has_left_its_incident_and_its_next_loss_is_another() -> None:
    names = [f"e{number:02}" for number in range(12)]
    mass = night(*names).hold(15, *names).hold(70, "e00").hold(15, "e00", "e01")
    assert mass.sizes == ([12, 1], [])


def test_offline_then_gone_is_one_loss() -> None:
    gone = night("a", "b", "c").poll("a").poll("a").poll("a").poll(without=("a",)).poll(without=("a",))
    gone.wait(30)
    assert gone.sizes == ([1], [])
    assert len(gone.ids(Kind.OFFLINE) | gone.ids(Kind.GONE)) == 1


def test_an_incident_stays_open_however_long_a_row_is_gone() -> None:
    gone = night("a", "b", "c").poll(without=("a",)).poll(without=("a",)).poll(without=("a",)).wait(10)
    assert gone.sizes == ([1], [])
    for _ in range(121):
        gone.poll(without=("a",), after=60)
    assert gone.sizes == ([1], [])
    assert gone.hold(70).sizes == ([1], [1])


def test_a_gone_row_outside_the_policy_leaves_the_fleet_after_an_hour() -> None:
    policy = AlertPolicy(alert=ONLY_B, alert_after=timedelta(seconds=10))
    gone = night("a", "b", "c", policies={NO_PROFILE: policy})
    for _ in range(63):
        gone.poll(without=("a",), after=60)
    assert gone.monitor.fleet.tracked((NO_PROFILE, clean("a"))) is None
    assert gone.monitor.incidents.waiting == ()


def test_a_gone_one_that_is_acknowledged_resolves_its_incident_and_an_offline_one_does_not() -> None:
    gone = night("a", "b", "c").poll(without=("a",)).poll(without=("a",)).poll(without=("a",)).wait(10)
    gone.monitor = gone.monitor.with_acks({key_of("a"): Ack(NOW, clean("retired"))})
    assert gone.wait(1).sizes == ([1], [1])
    offline = night("a", "b", "c").poll("a").wait(10)
    offline.monitor = offline.monitor.with_acks({key_of("a"): Ack(NOW + 15_000, clean("on it"))})
    assert offline.poll("a").sizes == ([1], [])
    assert offline.hold(65).sizes == ([1], [1])


def test_a_flapping_environment_is_one_incident_until_it_is_steady() -> None:
    """No single loss lasts for `alert_after`, and a row that is up for two minutes in between is back."""
    flapper = night("a", "b", policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=90))})
    while not flapper.opened:
        flapper.poll("a", after=20)
        for _ in range(4):
            flapper.poll(after=20)
        assert flapper.now < 900
    assert [loss.kind for loss in flapper.opened[0].losses] == [Kind.FLAPPING]
    assert any(event.kind is Kind.FLAPPING for event in flapper.events)
    for _ in range(60):
        flapper.poll(after=30)
    assert flapper.sizes == ([1], [1])


def test_two_processes_that_see_a_loss_at_different_moments_give_it_one_id() -> None:
    one, other = night("a", "b").poll("a", after=5), night("a", "b").poll("a", after=7)
    assert one.wait(10).opened[0].id == other.wait(10).opened[0].id
    assert one.opened[0].id.startswith("inc-")


def test_a_second_loss_of_one_environment_has_another_id() -> None:
    twice = night("a").hold(15, "a").hold(65)
    first = twice.opened[0].id
    at = NOW + 100_000
    lost_later = replace(row("a", at, is_up=False), last_seen_at=ServerMs(NOW + 30_000))
    for second in (90, 100, 110):
        moment = NOW + second * 1000
        twice.monitor, changes = twice.monitor.apply(NO_PROFILE, listed([lost_later], moment), reading(moment))
        twice.opened += changes.opened
    assert [each.id == first for each in twice.opened] == [True, False]


def test_a_second_loss_without_a_sign_of_life_has_another_id_as_well() -> None:
    twice = night("a").hold(15, "a").hold(65).poll("a").wait(10)
    assert len({incident.id for incident in twice.opened}) == 2


def test_every_event_of_a_loss_and_of_its_return_has_the_id() -> None:
    one = night("a", "b").hold(15, "a").poll()
    assert one.ids(Kind.OFFLINE) == one.ids(Kind.ONLINE) == {one.opened[0].id}
    names = [f"e{number}" for number in range(12)]
    mass = night(*names).poll(*names)
    assert mass.events[0].kind is Kind.TOGETHER
    assert mass.events[0].incident is not None
    assert mass.ids(Kind.OFFLINE) == {mass.events[0].incident}


def test_what_else_happens_to_a_lost_environment_is_no_part_of_its_incident() -> None:
    one, at = night("a").poll("a"), NOW + 10_000
    renamed = replace(row("a", at, is_up=False), name=clean("b"))
    _, changes = one.monitor.apply(NO_PROFILE, listed([renamed], at), reading(at))
    assert [(event.kind, event.incident) for event in changes.events] == [(Kind.RENAMED, None)]


def test_blind_nothing_opens_and_nothing_resolves() -> None:
    blind = night("a", "b").poll("a").fail(61).wait(600)
    assert blind.sizes == ([], [])
    assert blind.poll("a").sizes == ([1], [])
    assert blind.fail(61).wait(600).sizes == ([1], [])
    assert blind.poll().sizes == ([1], [])
    assert blind.hold(60).sizes == ([1], [1])


def test_nothing_opens_between_sleep_and_the_next_listing() -> None:
    one = night("a", "b").poll("a")
    asleep, awake = NOW + one.now * 1000, NOW + one.now * 1000 + 30_000
    one.monitor, changes = one.monitor.apply(NO_PROFILE, slept(asleep, awake), reading(awake))
    assert changes.opened == ()
    one.now += 30
    assert one.wait(5).sizes == ([], [])
    assert one.poll("a").sizes == ([1], [])


def test_a_quarantined_listing_opens_and_resolves_nothing() -> None:
    names = [f"e{number}" for number in range(9)]
    quarantined = night(*names).poll("e1").poll(without=tuple(names)).wait(20)
    assert quarantined.monitor.fleet.by_profile[NO_PROFILE].quarantine is not None
    assert quarantined.sizes == ([], [])
    assert quarantined.poll("e1").sizes == ([1], [])


ONLY_B = Matcher(clean("b"), lambda tracked, _: tracked.environment.name == "b")


def silenced(one: Night, *ids: str, hours: float = 1.0) -> Night:
    at = WallMs(NOW + one.now * 1000)
    silence = silence_of_environments(map(key_of, ids), at, timedelta(hours=hours), clean("work"), clean("ada"))
    one.monitor = one.monitor.with_silences({silence.id: silence})
    return one


def test_what_the_alert_policy_does_not_find_opens_nothing() -> None:
    policies = soon(alert=ONLY_B)
    one = night("a", "b", "c", policies=policies).poll("a", "b").wait(10)
    assert [loss.id for each in one.opened for loss in each.losses] == ["b"]
    a, b = (one.monitor.fleet.tracked((NO_PROFILE, clean(name))) for name in "ab")
    assert a is not None
    assert b is not None
    now = reading(NOW + one.now * 1000)
    assert [one.monitor.is_alerting(each, now) for each in (a, b)] == [False, True]


def test_a_policy_by_age_is_asked_at_the_moment() -> None:
    long_down = Matcher(clean("seen:>1m"), lambda tracked, now: now - tracked.environment.last_seen_at > 60_000)
    one = night("a", policies=soon(alert=long_down)).poll("a").wait(10)
    assert one.sizes == ([], [])
    assert one.poll("a").poll("a", after=45).sizes == ([1], [])


def test_a_silence_after_the_opening_changes_nothing_about_the_incident() -> None:
    one = silenced(night("a", "b").hold(15, "a"), "a").poll("a")
    assert one.sizes == ([1], [])
    assert one.hold(65).sizes == ([1], [1])


def test_of_a_mass_only_what_is_not_silenced_opens_and_the_rest_is_an_incident_of_its_own_later() -> None:
    names = [f"e{number}" for number in range(12)]
    mass = silenced(night(*names), "e0", "e1", hours=0.02).poll(*names).poll(*names).poll(*names)
    assert mass.sizes == ([10], [])
    assert mass.hold(75, *names).sizes == ([10, 2], [])
    assert len({each.id for each in mass.opened}) == 2


@pytest.mark.parametrize(("pod", "shared"), [("pod-2", "pod pod-2"), ("pod-1", None)])
def test_an_incident_says_what_its_environments_share_and_no_other_has(pod: str, shared: str | None) -> None:
    def rows(at: float, *, are_up: bool) -> list[Environment]:
        lost = [replace(row(name, at, is_up=are_up), pod_id=clean(pod) if are_up else None) for name in "ab"]
        return [*lost, row("c", at)]

    monitor, opened = Monitor.create(LIMITS, policies=soon()), list[Incident]()
    for second in (0, 5, 10, 15):
        at = NOW + second * 1000
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows(at, are_up=second == 0), at), reading(at))
        opened += changes.opened
    assert [incident.shared for incident in opened] == [shared]


# Blindness


@pytest.mark.parametrize(("blind", "opened"), [(899.999, 0), (900.0, 1)])
def test_blindness_of_a_quarter_of_an_hour_is_an_incident_about_envwatch(blind: float, opened: int) -> None:
    one = night("a", "b").fail(61).wait(blind)
    assert len(one.opened) == opened
    for incident in one.opened:
        assert incident.is_blindness
        assert incident.losses[0].id is None, "an environment is accused"
        assert one.wait(3_600).fail().sizes == ([1], []), "told twice"
        assert one.poll().sizes == ([1], [1])


def test_blindness_is_no_incident_where_the_policy_says_so() -> None:
    policies = {NO_PROFILE: AlertPolicy(blind_after=None)}
    assert night("a", policies=policies).fail(61).wait(7_200).sizes == ([], [])


def test_a_server_that_never_answered_is_an_incident_about_envwatch() -> None:
    one = Night([], Monitor.create(LIMITS)).wait(1_000).fail(0).wait(899)
    assert one.sizes == ([], [])
    assert one.wait(1).sizes == ([1], [])


def test_a_sleep_is_no_blindness_and_what_follows_counts_from_the_wake() -> None:
    one = night("a").fail(61).wait(600)
    asleep = NOW + one.now * 1000
    awake = asleep + 8 * 3_600_000
    one.monitor, _ = one.monitor.apply(NO_PROFILE, slept(asleep, awake), reading(awake))
    one.now += 8 * 3_600
    assert one.wait(5).fail(5).wait(889).sizes == ([], [])
    assert one.wait(1).sizes == ([1], [])


STALLED = [f"e{number:02}" for number in range(12)]


def stalled(seconds: float, names: Sequence[str] = STALLED, **policy: Any) -> Night:
    """Return a night whose heartbeats all end 100 s after `NOW`, until a second after that."""
    policies = {NO_PROFILE: AlertPolicy(zone=UTC, **policy)}
    one = Night([*names], Monitor.create(LIMITS, policies=policies))
    for second in range(0, 101 + int(seconds), 5):
        at, beat_at = NOW + second * 1000, NOW + min(second, 100) // 10 * 10_000
        one.monitor, changes = one.monitor.apply(
            NO_PROFILE, listed([beating(name, beat_at) for name in names], at), reading(at)
        )
        one.note(changes)
        one.now = second
    return one.wait(100 + seconds - one.now)


@pytest.mark.parametrize(("silent", "opened"), [(299.0, 0), (300.0, 1)])
def test_five_minutes_without_a_heartbeat_from_any_environment_are_one_incident(silent: float, opened: int) -> None:
    one = stalled(silent)
    assert len(one.opened) == opened
    for incident in one.opened:
        (loss,) = incident.losses
        assert (loss.kind, loss.id) == (Kind.STALLED, None), "an environment is accused"
        assert ring_text([incident]) == (
            "no heartbeat from any of 12 environments since 08:55: the platform stands still, or all of them are down"
        )
        assert one.wait(3_600).sizes == ([1], []), "announced twice"


def test_a_stall_ends_with_a_heartbeat_and_rows_that_stay_silent_are_a_loss_of_their_own() -> None:
    one = stalled(400)
    while one.now < 800:
        one.now += 5
        at = NOW + one.now * 1000
        rows = [beating(name, at - 1_000 if name < "e08" else NOW + 100_000) for name in STALLED]
        one.monitor, changes = one.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        one.note(changes)
    assert one.sizes == ([1, 4], [1])
    assert {loss.name for loss in one.opened[1].losses} == {"e08", "e09", "e10", "e11"}


def test_nine_silent_environments_are_offline_each() -> None:
    assert {loss.kind for each in stalled(400, STALLED[:9]).opened for loss in each.losses} == {Kind.OFFLINE}


@pytest.mark.parametrize(("blind_after", "silent", "opened"), [(None, 900, 0), (120, 119, 0), (120, 120, 1)])
def test_blind_after_shortens_the_time_of_a_stall_or_turns_the_incident_off(
    blind_after: float | None, silent: float, opened: int
) -> None:
    lasts = None if blind_after is None else timedelta(seconds=blind_after)
    assert len(stalled(silent, blind_after=lasts).opened) == opened


# The inventory


@pytest.mark.parametrize(("held", "opened"), [(2.499, 0), (2.5, 1)])
def test_a_name_that_never_registered_opens_an_incident_after_two_listings(held: float, opened: int) -> None:
    one = night("a", policies=soon(expect=(clean("never"),))).wait(600)
    assert one.sizes == ([], []), "one listing may lack a row"
    one.poll().wait(held)
    assert len(one.opened) == opened
    for incident in one.opened:
        assert [(loss.kind, loss.name, loss.reason) for loss in incident.losses] == [
            (Kind.MISSING, "never", "expected, never listed")
        ]
        assert one.hold(600).sizes == ([1], []), "announced twice"
        one.names.append("never")
        assert one.poll().poll().sizes == ([1], [1])


def test_an_acknowledgement_ends_the_incident_of_a_name_that_never_registered() -> None:
    one = night("a", policies=soon(expect=(clean("never"),))).hold(20)
    one.monitor = one.monitor.with_acks({key_of("expected never"): Ack(NOW, clean("retired"))})
    assert one.hold(600).sizes == ([1], [1])


# Several profiles


@pytest.mark.parametrize(("servers", "opened"), [(("one", "one"), 1), (("one", "other"), 2), (("", ""), 2)])
def test_a_row_that_two_profiles_of_one_server_list_is_one_incident(servers: tuple[str, str], opened: int) -> None:
    names = [clean("work"), clean("home")]
    monitor, incidents = (
        Monitor.create(dict.fromkeys(names, Limits()), servers=dict(zip(names, map(clean, servers), strict=True))),
        list[Incident](),
    )
    for second in range(0, 300, 5):
        at = NOW + second * 1000
        for name in names:
            rows = [row("a", at, is_up=second < 50), row("b", at)]
            monitor, changes = monitor.apply(name, listed(rows, at), reading(at))
            incidents += changes.opened
    assert len(incidents) == opened


def steady(number: int, at: float, **changes: Any) -> Environment:
    return environment(f"e{number:02}", lastHeartbeat=at - 1_000, lastSeenAt=at - 1_000, **changes)


@pytest.mark.parametrize("blind_after", [timedelta(minutes=15), None])
@pytest.mark.parametrize("anomaly", ["vanished", "without heartbeats"])
def test_rows_that_were_quarantined_wait_for_blind_after(anomaly: str, blind_after: timedelta | None) -> None:
    """The platform's list may be wrong; listed rows that are down for another reason do not wait."""
    policies = {NO_PROFILE: AlertPolicy(blind_after=blind_after)}
    monitor, opened = Monitor.create(LIMITS, policies=policies), list[tuple[float, set[str]]]()
    believed_at = None
    for second in range(0, 1_200, 5):
        at = NOW + second * 1000
        rows = [steady(number, at) for number in range(12, 20)]
        if second < 100:
            rows += [steady(number, at) for number in range(12)]
        elif anomaly == "without heartbeats":
            rows += [environment(f"e{number:02}", lastHeartbeat=None) for number in range(12)]
        if second >= 300:
            rows[0] = environment("e12", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW + 299_000)
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        if changes.opened or any(event.of in (Kind.GONE, Kind.OFFLINE) for event in changes.events):
            believed_at = believed_at or second
        opened += [(second, {str(loss.id) for loss in each.losses}) for each in changes.opened]
    assert believed_at is not None
    lost = {f"e{number:02}" for number in range(12)}
    lost_opens_at = 95 + 240 if blind_after is None else believed_at + blind_after.total_seconds()
    assert opened == sorted([(lost_opens_at, lost), (295 + 240, {"e12"})], key=lambda each: each[0])


@pytest.mark.parametrize("anomaly", ["vanished", "without heartbeats"])
def test_a_row_that_was_quarantined_with_others_and_is_listed_as_down_waits_no_longer(anomaly: str) -> None:
    """A power cut during a fault of the platform's list: the list is correct again before `blind_after` is over."""
    monitor, opened = Monitor.create(LIMITS), list[tuple[int, set[str]]]()
    for second in range(0, 900, 5):
        at = NOW + second * 1000
        rows = [steady(number, at) for number in range(12, 20)]
        if not 100 <= second < 300:
            rows += [steady(number, at) for number in range(4, 12)]
            rows += [
                steady(number, at)
                if second < 100
                else environment(f"e{number:02}", lastHeartbeat=NOW + 99_000, lastSeenAt=NOW + 99_000, **silent)
                for number, silent in enumerate([{}, {}, {"connectionId": None}, {"connectionId": None}])
            ]
        elif anomaly == "without heartbeats":
            rows += [environment(f"e{number:02}", lastHeartbeat=None) for number in range(12)]
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        opened += [(second, {str(loss.id) for loss in each.losses}) for each in changes.opened]
    assert opened == [(95 + 240, {"e00", "e01", "e02", "e03"})]
