"""Incidents: which losses are one, when they open and resolve, and what keeps them quiet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, environment, failed, listed, reading, slept
from support.policies import soon

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.alert_policy import AlertPolicy, Matcher
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.incidents import Incidents
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.silences import silence_of_environments, silence_of_query
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.incidents import Incident
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.environment import Environment

LIMITS = {NO_PROFILE: Limits()}


def row(name: str, at: float, *, is_up: bool = True) -> Environment:
    link = {"lastHeartbeat": at - 1_000} if is_up else {"connectionId": None, "lastHeartbeat": None}
    return environment(name, lastSeenAt=at - 1_000 if is_up else NOW - 1_000, connectionName=name, **link)


@dataclass
class Night:
    """Some environments, listed as a test says, and what a monitor says of them."""

    names: list[str]
    monitor: Monitor = field(default_factory=lambda: Monitor.create(LIMITS, policies=soon()))
    now: float = 0.0
    """Seconds since `NOW`."""
    opened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def poll(self, *down: str, without: tuple[str, ...] = (), after: float = 5.0) -> Night:
        """Poll some seconds later."""
        self.now += after
        at = NOW + self.now * 1000
        rows = [row(name, at, is_up=name not in down) for name in self.names if name not in without]
        self.monitor, changes = self.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        return self._note(changes)

    def fail(self, after: float = 5.0) -> Night:
        self.now += after
        at = NOW + self.now * 1000
        self.monitor, changes = self.monitor.apply(NO_PROFILE, failed(at=ServerMs(at)), reading(at))
        return self._note(changes)

    def wait(self, seconds: float) -> Night:
        """Let time alone pass."""
        self.now += seconds
        self.monitor, changes = self.monitor.tick(reading(NOW + self.now * 1000))
        return self._note(changes)

    def _note(self, changes: MonitorChanges) -> Night:
        self.opened += changes.opened
        self.resolved += changes.resolved
        self.events += changes.events
        return self

    @property
    def sizes(self) -> tuple[list[int], list[int]]:
        """How many environments each incident had that opened, and that resolved."""
        return [len(each.losses) for each in self.opened], [len(each.losses) for each in self.resolved]

    def ids(self, kind: Kind) -> set[str | None]:
        return {event.incident for event in flatten(self.events) if event.kind is kind}


def night(*names: str, **settings: object) -> Night:
    """The first listing, in which all are up."""
    return Night(list(names), Monitor.create(LIMITS, **{"policies": soon()} | settings)).poll(after=0)  # type: ignore[arg-type]


# What is one incident


def test_a_loss_opens_once_and_resolves_once() -> None:
    one = night("a", "b").poll("a").poll("a").poll("a").poll("a").poll().poll()
    assert one.sizes == ([1], [1])
    assert one.opened[0].id == one.resolved[0].id
    assert one.resolved[0].remaining == frozenset()


@pytest.mark.parametrize(("held", "count"), [(9.999, 0), (10.0, 1)])
def test_it_opens_after_exactly_alert_after(held: float, count: int) -> None:
    assert len(night("a").poll("a").wait(held).opened) == count


@pytest.mark.parametrize(("held", "count"), [(29.999, 0), (30.0, 1)])
def test_the_policy_says_how_long_it_must_hold(held: float, count: int) -> None:
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=30))}
    assert len(night("a", policies=policies).poll("a").wait(held).opened) == count


def test_what_is_back_in_time_opens_nothing() -> None:
    assert night("a").poll("a").poll().wait(30).sizes == ([], [])


def test_five_hundred_lost_together_are_one_incident_that_resolves_when_the_last_is_back() -> None:
    names = [f"e{number}" for number in range(500)]
    mass = night(*names).poll(*names).poll(*names).poll(*names)
    assert mass.sizes == ([500], [])
    mass.poll("e7").poll("e7")
    assert mass.sizes == ([500], [])
    assert mass.poll().sizes == ([500], [500])


def test_a_mass_that_is_found_over_several_polls_is_one() -> None:
    names = [f"e{number:02}" for number in range(60)]
    mass = night(*names)
    for count in (12, 25, 40, 52, 60, 60, 60):
        mass.poll(*names[:count])
    assert len(mass.opened) == 1
    mass.poll()
    assert mass.sizes[1] == [60]
    assert len(mass.ids(Kind.OFFLINE) | mass.ids(Kind.ONLINE)) == 1


@pytest.mark.parametrize(("after", "opened"), [(59.999, [13]), (60, [12, 1])])
def test_what_is_lost_a_minute_after_a_mass_is_another(after: float, opened: list[int]) -> None:
    names = [f"e{number:02}" for number in range(20)]
    mass = night(*names).poll(*names[:12]).poll(*names[:13], after=after)
    assert mass.wait(30).sizes == (opened, [])


def test_a_few_lost_in_one_listing_are_incidents_of_their_own() -> None:
    names = [f"e{number}" for number in range(9)]
    assert night(*names).poll("e1", "e2").wait(10).sizes == ([1, 1], [])


def test_what_is_found_after_a_blind_gap_is_one() -> None:
    names = [f"e{number}" for number in range(9)]
    assert night(*names).poll("e1", "e2", after=90).wait(10).sizes == ([2], [])


def test_an_environment_that_is_back_has_left_its_incident_and_its_next_loss_is_another() -> None:
    names = [f"e{number:02}" for number in range(12)]
    mass = night(*names).poll(*names).poll(*names).poll(*names).poll("e00", after=60).poll("e00", "e01").wait(10)
    assert mass.sizes == ([12, 1], [])


def test_offline_then_gone_is_one_loss() -> None:
    gone = night("a", "b", "c").poll("a").poll("a").poll("a").poll(without=("a",)).poll(without=("a",))
    gone.wait(30)
    assert gone.sizes == ([1], [])
    assert len(gone.ids(Kind.OFFLINE) | gone.ids(Kind.GONE)) == 1


def test_one_that_leaves_the_fleet_resolves_its_incident() -> None:
    gone = night("a", "b", "c").poll(without=("a",)).poll(without=("a",)).poll(without=("a",)).wait(10)
    assert gone.sizes == ([1], [])
    for _ in range(61):
        gone.poll(without=("a",), after=60)
    assert gone.sizes == ([1], [1])


def test_a_gone_one_that_is_acknowledged_resolves_its_incident_and_an_offline_one_does_not() -> None:
    gone = night("a", "b", "c").poll(without=("a",)).poll(without=("a",)).poll(without=("a",)).wait(10)
    gone.monitor = gone.monitor.with_acks({clean("a"): Ack(NOW, clean("retired"))})
    assert gone.wait(1).sizes == ([1], [1])
    offline = night("a", "b", "c").poll("a").wait(10)
    offline.monitor = offline.monitor.with_acks({clean("a"): Ack(NOW + 15_000, clean("on it"))})
    assert offline.poll("a").sizes == ([1], [])
    assert offline.poll().sizes == ([1], [1])


def test_a_flapping_environment_is_one_incident_until_it_is_steady() -> None:
    flapper = night("a", "b")
    for _ in range(10):
        flapper.poll("a", after=20).poll("a", after=20).poll(after=20)
    assert flapper.sizes[0][1:] == [1] * (len(flapper.opened) - 1)
    before = len(flapper.opened)
    assert before <= 3, "as many incidents as losses"
    for _ in range(60):
        flapper.poll(after=30)
    assert len(flapper.resolved) == len(flapper.opened) == before


# Ids


def test_two_processes_that_see_a_loss_at_different_moments_give_it_one_id() -> None:
    one, other = night("a", "b").poll("a", after=5), night("a", "b").poll("a", after=7)
    assert one.wait(10).opened[0].id == other.wait(10).opened[0].id
    assert one.opened[0].id.startswith("inc-")


def test_a_second_loss_of_one_environment_has_another_id() -> None:
    twice = night("a").poll("a").poll("a").poll("a").poll()
    first = twice.opened[0].id
    at = NOW + 100_000
    lost_later = replace(row("a", at, is_up=False), last_seen_at=ServerMs(NOW + 30_000))
    for second in (90, 100, 110):
        moment = NOW + second * 1000
        twice.monitor, changes = twice.monitor.apply(NO_PROFILE, listed([lost_later], moment), reading(moment))
        twice.opened += changes.opened
    assert [each.id == first for each in twice.opened] == [True, False]


def test_a_second_loss_without_a_sign_of_life_has_another_id_as_well() -> None:
    twice = night("a").poll("a").poll("a").poll("a").poll().poll("a").wait(10)
    assert len({incident.id for incident in twice.opened}) == 2


def test_the_id_of_a_loss_does_not_depend_on_others_that_wait() -> None:
    both, later = night("a", "b").poll("a").poll("a", "b").wait(10), night("a", "b").poll().poll("b").wait(10)
    assert both.opened[-1].id == later.opened[-1].id


def test_every_event_of_a_loss_and_of_its_return_has_the_id() -> None:
    one = night("a", "b").poll("a").poll("a").poll("a").poll()
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


# What cannot be seen


def test_blind_nothing_opens_and_nothing_resolves() -> None:
    blind = night("a", "b").poll("a").fail(61).wait(600)
    assert blind.sizes == ([], [])
    assert blind.poll("a").sizes == ([1], [])
    assert blind.fail(61).wait(600).sizes == ([1], [])
    assert blind.poll().sizes == ([1], [1])


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


# What keeps quiet


ONLY_B = Matcher(clean("b"), lambda tracked, _: tracked.environment.name == "b")


def silenced(one: Night, *ids: str, hours: float = 1.0) -> Night:
    at = WallMs(NOW + one.now * 1000)
    silence = silence_of_environments(map(clean, ids), at, timedelta(hours=hours), clean("work"), clean("ada"))
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


def test_a_silenced_loss_opens_when_the_silence_ends_while_it_still_holds() -> None:
    one = silenced(night("a", "b"), "a", hours=0.01).poll("a").poll("a").poll("a").poll("a")
    assert one.sizes == ([], [])
    assert one.poll("a", after=30).sizes == ([1], [])


def test_a_silence_after_the_opening_changes_nothing_about_the_incident() -> None:
    one = silenced(night("a", "b").poll("a").poll("a").poll("a"), "a").poll("a")
    assert one.sizes == ([1], [])
    assert one.poll().sizes == ([1], [1])


def test_of_a_mass_only_what_is_not_silenced_opens_and_the_rest_is_an_incident_of_its_own_later() -> None:
    names = [f"e{number}" for number in range(12)]
    mass = silenced(night(*names), "e0", "e1", hours=0.02).poll(*names).poll(*names).poll(*names)
    assert mass.sizes == ([10], [])
    mass.poll(*names, after=30).poll(*names, after=30)
    assert mass.sizes == ([10, 2], [])
    assert len({each.id for each in mass.opened}) == 2


@pytest.mark.parametrize(
    ("offset_ms", "is_quiet"), [(-300_001, False), (-300_000, True), (3_599_999, True), (3_600_000, False)]
)
def test_a_silence_holds_from_its_beginning_to_its_end_and_not_on_a_clock_far_before_it(
    offset_ms: float, *, is_quiet: bool
) -> None:
    everything = Matcher(clean("x"), lambda *_: True)
    silence = silence_of_query(everything, WallMs(NOW), timedelta(hours=1), clean(""), clean(""))
    assert silence.holds(NOW + offset_ms) is is_quiet


def test_two_mass_losses_of_one_listing_are_one_incident_that_shares_what_both_share() -> None:
    def lost(kind: Kind, reason: str, *ids: str) -> Event:
        members = tuple(Event(kind=kind, at=NOW, id=clean(id_), before=clean("online")) for id_ in ids)
        return Event(kind=Kind.TOGETHER, of=kind, at=NOW, reason=clean(reason), members=members)

    for other, shared in (("pod p-7", "pod p-7"), ("os linux", None)):
        events = [lost(Kind.OFFLINE, "pod p-7", "a", "b"), lost(Kind.GONE, other, "c", "d")]
        incidents, _ = Incidents().with_events(events, MonotonicS(0.0), lambda _: NOW)
        assert [incident.shared for incident in incidents.waiting] == [shared]
