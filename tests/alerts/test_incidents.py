"""Incidents: grouping of losses, opening, resolution, and suppression."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from support.budget import examples
from support.builders import NOW, environment, key_of, listed, reading
from support.fleet_state_machine import SECONDS, MonitoredMachine
from support.policies import soon
from support.scripted_watch import LIMITS, Night, beating, new_monitor, night, row
from support.tracked_environments import gone, named

from envwatch.alerts.acknowledgements import blindness_ack, ended_by_person
from envwatch.alerts.incident import ring_text
from envwatch.alerts.losses import LossStatus, loss_status
from envwatch.alerts.losses import key_of as loss_key_of
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Freshness
from envwatch.fleet.tracking import Matcher
from envwatch.model import limits
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.limits import LISTED_AS_LOST_SHARE, Limits
from envwatch.model.outcome import Slept
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


def names(count: int) -> list[str]:
    return [f"e{number:02}" for number in range(count)]


def soon_after(seconds: float) -> dict[SafeText, Any]:
    return soon(alert_after=timedelta(seconds=seconds))


def test_a_loss_opens_once_and_resolves_once_and_all_its_events_have_the_id() -> None:
    one = night("a", "b").hold(20, "a").hold(65)
    assert one.sizes == ([1], [1])
    assert one.opened[0].id == one.resolved[0].id
    assert one.resolved[0].remaining == frozenset()
    assert one.ids(Kind.OFFLINE) == one.ids(Kind.ONLINE) == {one.opened[0].id}
    mass = night(*names(12)).poll(*names(12))
    assert mass.events[0].kind is Kind.TOGETHER
    assert mass.events[0].incident is not None
    assert mass.ids(Kind.OFFLINE) == {mass.events[0].incident}


def test_a_waiting_and_an_open_incident_know_their_lost_environments() -> None:
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


HOUR_MS: Final = 3_600_000.0


@dataclass
class SetClock(Night):
    """A night on a machine whose wall clock is set; the server's clock and the monotonic clock go on."""

    skew: float = 0.0

    @property
    def clocks(self) -> Clocks:
        return reading(self.at, self.skew)

    def show(self, rows: Sequence[Environment]) -> Self:
        return self.take(listed(rows, self.at, skew=self.skew))

    def set_clock(self, by_ms: float) -> None:
        before, self.skew = self.clocks, self.skew + by_ms
        self.take(Slept(before, self.clocks))

    def seen(self, set_at: float, by_ms: float) -> list[tuple[dict[SafeText, Presence], list[set[str]]]]:
        """Return verdicts and incidents after each poll; one row is lost after a minute, and back after eight."""
        found = []
        for second in range(0, 600, 5):
            if second == set_at:
                self.set_clock(by_ms)
            self.poll(*["e1"] * (60 <= second < 480))
            rows = self.monitor.fleet.by_profile[NO_PROFILE].environments
            found.append(({id_: row.verdict.presence for id_, row in rows.items()}, self.lost()))
        return found


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS])
@pytest.mark.parametrize("set_at", [30, 65, 400])
def test_a_set_wall_clock_changes_no_verdict_and_no_alert(set_at: float, by_ms: float) -> None:
    def one() -> SetClock:
        return SetClock(["e0", "e1", "e2"], new_monitor(policies={})).poll(after=0)

    seen = one().seen(set_at, by_ms)
    assert seen == one().seen(set_at, 0.0)
    assert seen[-1][1] == [{"e1"}]


def test_a_return_in_time_opens_nothing() -> None:
    assert night("a").poll("a").poll().wait(30).sizes == ([], [])


def test_sixty_lost_together_are_one_incident_until_the_last_is_back() -> None:
    mass = night(*reversed(names(60))).hold(15, *names(60))
    assert [[loss.name for loss in each.losses] for each in mass.opened] == [names(60)], "in the order of ids"
    assert mass.hold(70, "e07").sizes == ([60], [])
    assert mass.hold(65).sizes == ([60], [60])


@pytest.mark.parametrize("count", [limits.MASS_MIN - 1, limits.MASS_MIN])
def test_an_incident_of_enough_rows_has_one_likely_cause(count: int) -> None:
    (incident,) = night(*names(count), "up").hold(15, *names(count)).opened
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


def test_open_incidents_of_two_runs_are_in_the_order_of_notice() -> None:
    one, earlier = night("a", "b").hold(30).hold(15, "a"), night("a", "b").hold(15, "b")
    for first, second in ((one, earlier), (earlier, one)):
        both = first.monitor.incidents.with_earlier_run(NO_PROFILE, (), second.monitor.incidents.open)
        assert [name for each in both.open for _, name in each.remaining] == ["b", "a"]


@pytest.mark.parametrize(("up", "opened"), [(0, {"b"}), (65, {"a", "b"})], ids=["open", "resolved"])
def test_a_loss_under_the_id_of_an_incident_of_an_earlier_run_opens_under_another_id(up: int, opened: set[str]) -> None:
    """The earlier run ended before the loss of a second row, which this run has linked with the first loss."""
    one, earlier = night("a", "b").poll("a", "b"), night("a", "b").hold(15, "a").hold(up)
    (incident,) = earlier.opened
    assert {loss.incident for loss in one.monitor.incidents.waiting} == {incident.id}
    one.monitor = one.monitor.with_alert_state(NO_PROFILE, earlier.monitor.alert_state(NO_PROFILE, one.clocks))
    assert one.hold(15, "a", "b").lost() == [opened]
    assert one.opened[0].id != incident.id


def test_a_loss_joins_no_acknowledged_chain_even_before_a_second_passes() -> None:
    one = night("a", "b").poll("a")
    (acked,) = one.monitor.incidents.waiting
    key = EMPTY, clean("a")
    one.monitor, _ = one.monitor.with_decided_acks({key: Ack(one.at, clean("on it"))}, one.clocks)
    one.poll("a", "b")
    (later,) = one.monitor.incidents.waiting
    assert later.event.id == "b"
    assert later.incident != acked.incident


def test_a_loss_opens_with_a_waiting_incident_and_a_later_loss_opens_another() -> None:
    one = night("a", "b", "c", "d", policies=soon_after(20)).poll("a").poll("a", "b").poll("a", "b", "c")
    assert one.hold(10, "a", "b", "c").sizes[0] == [3]
    assert one.poll("a", "b", "c", "d").hold(20, "a", "b", "c", "d").sizes[0] == [3, 1]


def test_losses_in_a_blind_gap_are_one_incident() -> None:
    assert night(*names(9)).poll("e01", "e02", after=90).wait(10).sizes == ([2], [])


def cut(beats: dict[str, float], *cuts: tuple[float, frozenset[str]]) -> list[set[str]]:
    """Let machines lose power and return the names of each incident that opens.

    Args:
        beats: each machine's first heartbeat, in seconds; a heartbeat follows every 30 s.
        cuts: times of power losses, in seconds, with the machines.
    """
    dies_at = {name: at for at, names in cuts for name in names}
    one = Night([], Monitor.create(LIMITS, policies=soon_after(240)))
    for second in range(0, int(max(at for at, _ in cuts)) + 300, 5):
        rows = []
        for name, first in beats.items():
            alive_until = min(second, dies_at.get(name, second))
            rows.append(beating(name, NOW + (first + (alive_until - first) // 30 * 30) * 1000))
        one.at = NOW + second * 1000
        one.show(rows)
    return one.lost()


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
def test_two_power_cuts_90_seconds_apart_are_two_incidents(
    first: list[float], second: list[float], cut_at: float, apart: float
) -> None:
    one = {f"a{number}": phase for number, phase in enumerate(first)}
    other = {f"b{number}": phase for number, phase in enumerate(second)}
    cuts = [(cut_at, frozenset(one)), (cut_at + apart, frozenset(other))]
    assert cut(STEADY | one | other, *cuts) == [set(one), set(other)]


@given(st.data())
@settings(max_examples=examples(50), deadline=None)
def test_one_opened_message_names_each_lasting_loss_and_the_order_of_rows_does_not_matter(data: st.DataObject) -> None:
    lost_at = data.draw(st.dictionaries(st.sampled_from(names(8)), st.integers(1, 30), min_size=1))
    order = data.draw(st.permutations(names(8)))
    found = []
    for listed_names in (names(8), order):
        one = night(*listed_names)
        for poll in range(1, 80):
            one.poll(*(name for name, at in lost_at.items() if at <= poll))
        found.append({frozenset(lost) for lost in one.lost()})
        assert Counter(id_ for incident in found[-1] for id_ in incident) == Counter(lost_at.keys())
    assert found[0] == found[1]


# Storms


@pytest.mark.parametrize("storm", [False, True])
def test_after_five_incidents_in_ten_minutes_one_incident_a_minute_holds_all_losses(*, storm: bool) -> None:
    polls, after = (3, 5) if storm else (5, 30)  # the sixth loss comes 75 s, or 750 s, after the first
    one = night(*names(12))
    for count in range(1, 13):
        for _ in range(polls):
            one.poll(*names(count), after=after)
    one.hold(70, *names(12))
    assert [incident.is_storm for incident in one.opened] == [False] * 5 + [storm] * (len(one.opened) - 5)
    assert sorted(name for lost in one.lost() for name in lost) == names(12)
    assert len(one.opened) == (7 if storm else 12)


def test_a_storm_holds_losses_shorter_than_alert_after() -> None:
    one = night(*names(5), "due", "new", "other")
    for count in range(1, 6):
        one.hold(15, *names(count))
    assert one.sizes == ([1] * 5, []), "a further incident opens 55 s from now"
    one.hold(50, *names(5), "due").poll(*names(5), "due", "new")
    assert one.lost()[5:] == [{"due", "new"}]
    assert one.opened[5].is_storm


def test_a_storm_leaves_out_doubtful_losses_shorter_than_blind_after() -> None:
    hidden = tuple(f"h{number}" for number in range(8))
    one = night("due", *hidden, *names(5), *(f"s{number}" for number in range(10))).hold(75, without=hidden)
    assert {loss.is_doubtful for loss in one.monitor.incidents.waiting} == {True}
    for count in range(1, 6):
        one.hold(15, *names(count), without=hidden)
    one.hold(65, *names(5), "due", without=hidden)
    assert one.lost()[5:] == [{"due"}]
    assert one.opened[5].is_storm


# The end of a loss, and of an incident

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
    assert loss_status(tracked, at, is_acked=False, is_news=False) is unknown
    assert loss_status(tracked, at, is_acked=False, is_news=True) is known
    acked = LossStatus.OVER if tracked.presence is Presence.GONE else LossStatus.SETTLED
    assert {loss_status(tracked, at, is_acked=True, is_news=is_news) for is_news in (True, False)} == {acked}


def test_more_losses_than_are_compared_are_one_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_LOSSES_WAITING", 3)
    for count, sizes in ((3, [1, 1, 1]), (4, [4])):
        one = night(*names(4), policies=soon_after(100))
        for lost in range(1, count + 1):
            one.hold(15, *names(lost))
        assert one.hold(100, *names(count)).sizes[0] == sizes


def test_beyond_the_most_open_incidents_the_oldest_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_INCIDENTS_OPEN", 2)
    one = night(*names(3))
    for count in (1, 2, 3):
        one.hold(20, *names(count))
    assert one.sizes == ([1, 1, 1], [1])
    assert one.resolved[0].id == one.opened[0].id
    assert one.resolved[0].ended_by == "envwatch follows 2 incidents at most"


@pytest.mark.parametrize(("up", "resolved"), [(59.999, 0), (60.0, 1)])
def test_an_environment_is_back_after_a_minute(up: float, resolved: int) -> None:
    assert len(night("a", "b").hold(20, "a").poll().wait(up).resolved) == resolved


def test_a_row_with_a_loss_and_a_return_every_seven_seconds_is_one_incident() -> None:
    one = night("a", "b", policies=soon_after(2))
    for second in range(80):
        one.poll(*(["a"] if second // 7 % 2 == 0 else []), after=1)
    assert one.sizes == ([1], [])
    assert one.hold(70).sizes == ([1], [1])


def test_a_returned_environment_has_left_its_incident_and_its_next_loss_is_another() -> None:
    mass = night(*names(12)).hold(15, *names(12)).hold(70, "e00").hold(15, "e00", "e01")
    assert mass.sizes == ([12, 1], [])


def test_offline_then_gone_is_one_loss_and_stays_open_however_long_the_row_is_gone() -> None:
    one = night("a", "b", "c").hold(15, "a").hold(10, without=("a",)).wait(30)
    assert len(one.ids(Kind.OFFLINE) | one.ids(Kind.GONE)) == 1
    for _ in range(121):
        one.poll(without=("a",), after=60)
    assert one.sizes == ([1], [])
    assert one.hold(70).sizes == ([1], [1])


def test_a_gone_row_outside_the_policy_leaves_the_fleet_after_an_hour() -> None:
    one = night("a", "b", "c", policies=soon(alert=ONLY_B))
    for _ in range(63):
        one.poll(without=("a",), after=60)
    assert one.monitor.fleet.tracked((NO_PROFILE, clean("a"))) is None
    assert one.monitor.incidents.waiting == ()


def test_an_acknowledgement_resolves_the_incident_of_a_gone_or_missing_row_and_not_of_an_offline_row() -> None:
    one = night("a", "b", "c").hold(15, without=("a",)).wait(10)
    one.monitor = one.monitor.with_acks({key_of("a"): Ack(NOW, clean("retired"))})
    assert one.wait(1).sizes == ([1], [1])
    offline = night("a", "b", "c").poll("a").wait(10)
    offline.monitor = offline.monitor.with_acks({key_of("a"): Ack(NOW + 15_000, clean("on it"))})
    assert offline.poll("a").sizes == ([1], [])
    assert offline.hold(65).sizes == ([1], [1])
    missing = night("a", policies=soon(expect=(clean("never"),))).hold(20)
    missing.monitor = missing.monitor.with_acks({key_of("expected never"): Ack(NOW, clean("retired"))})
    assert missing.hold(600).sizes == ([1], [1])


def test_a_flapping_environment_is_one_incident_until_steady() -> None:
    """No single loss lasts for `alert_after`, and a row that is up for two minutes in between is back."""
    flapper = night("a", "b", policies=soon_after(90))
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


# Ids


def test_two_processes_give_one_id_to_a_loss_seen_at_different_moments() -> None:
    one, other = night("a", "b").poll("a", after=5), night("a", "b").poll("a", after=7)
    assert one.wait(10).opened[0].id == other.wait(10).opened[0].id
    assert one.opened[0].id.startswith("inc-")


@pytest.mark.parametrize("seen_s", [30, -1])
def test_a_second_loss_of_one_environment_has_another_id_with_or_without_a_sign_of_life(seen_s: float) -> None:
    twice = night("a").hold(15, "a").hold(65)
    for _ in range(3):
        twice.later(10).show([row("a", twice.at, is_up=False, lastSeenAt=NOW + seen_s * 1000)])
    assert len({incident.id for incident in twice.opened}) == len(twice.opened) == 2


def test_another_change_of_a_lost_environment_is_no_part_of_its_incident() -> None:
    one = night("a").poll("a").later(5)
    before = len(one.events)
    one.show([row("a", one.at, is_up=False, connectionName="b")])
    assert [(event.kind, event.incident) for event in one.events[before:]] == [(Kind.RENAMED, None)]


# Times without sight


def test_blind_nothing_opens_and_nothing_resolves() -> None:
    blind = night("a", "b").poll("a").fail(61).wait(600)
    assert blind.sizes == ([], [])
    assert blind.poll("a").sizes == ([1], [])
    assert blind.fail(61).wait(600).sizes == ([1], [])
    assert blind.poll().sizes == ([1], [])
    assert blind.hold(60).sizes == ([1], [1])


def test_nothing_opens_between_sleep_and_the_next_listing() -> None:
    one = night("a", "b").poll("a").sleep(30).wait(5)
    assert one.sizes == ([], [])
    assert one.poll("a").sizes == ([1], [])


def test_a_quarantined_listing_opens_and_resolves_nothing() -> None:
    quarantined = night(*names(9)).poll("e01").poll(without=tuple(names(9))).wait(20)
    assert quarantined.monitor.fleet.by_profile[NO_PROFILE].quarantine is not None
    assert quarantined.sizes == ([], [])
    assert quarantined.poll("e01").sizes == ([1], [])


# The policy

ONLY_B = Matcher(clean("b"), lambda tracked, _: tracked.environment.name == "b")


def test_a_row_outside_the_alert_policy_opens_nothing() -> None:
    one = night("a", "b", "c", policies=soon(alert=ONLY_B)).poll("a", "b").wait(10)
    assert one.lost() == [{"b"}]
    assert [one.monitor.judge(one.clocks).is_alerting(one.row(name)) for name in "ab"] == [False, True]


def test_a_policy_by_age_is_asked_at_the_moment() -> None:
    long_down = Matcher(clean("seen:>1m"), lambda tracked, now: now - tracked.environment.last_seen_at > 60_000)
    one = night("a", policies=soon(alert=long_down)).poll("a").wait(10)
    assert one.sizes == ([], [])
    assert one.poll("a").poll("a", after=45).sizes == ([1], [])


@pytest.mark.parametrize(
    ("lost", "pod", "shared"), [("ab", "pod-2", "pod pod-2"), ("ab", "pod-1", None), ("a", "pod-2", None)]
)
def test_an_incident_names_the_values_its_environments_share_with_no_other(
    lost: str, pod: str, shared: str | None
) -> None:
    one = Night([]).show([*(row(name, NOW, podId=pod) for name in lost), row("c", NOW)])
    for _ in range(3):
        one.later(5).show([*(row(name, one.at, is_up=False) for name in lost), row("c", one.at)])
    assert [incident.shared for incident in one.opened] == [shared]


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
    assert night("a", policies=soon(blind_after=None)).fail(61).wait(7_200).sizes == ([], [])


def test_a_server_without_any_answer_is_an_incident_about_envwatch() -> None:
    one = Night([], Monitor.create(LIMITS)).wait(1_000).fail(0).wait(899)
    assert one.sizes == ([], [])
    assert one.wait(1).sizes == ([1], [])


def test_a_sleep_is_no_blindness_and_later_blindness_counts_from_the_wake() -> None:
    one = night("a").fail(61).wait(600).sleep(8 * 3_600)
    assert one.wait(5).fail(5).wait(889).sizes == ([], [])
    assert one.wait(1).sizes == ([1], [])


STALLED = names(12)


def stalled(seconds: float, names: Sequence[str] = STALLED, **policy: Any) -> Night:
    """Return a night whose heartbeats all end 100 s after `NOW`, until a second after that."""
    one = Night([], Monitor.create(LIMITS, policies=soon(alert_after=timedelta(minutes=4), zone=UTC, **policy)))
    for second in range(0, 101 + int(seconds), 10):
        one.at = NOW + second * 1000
        one.show([beating(name, NOW + min(second, 100) // 10 * 10_000) for name in names])
    return one.wait(100 + seconds - one.now)


@pytest.mark.parametrize(("silent", "opened"), [(299.0, 0), (300.0, 1)])
def test_five_minutes_without_a_heartbeat_from_any_environment_are_one_incident(silent: float, opened: int) -> None:
    one = stalled(silent)
    assert len(one.opened) == opened
    for incident in one.opened:
        (loss,) = incident.losses
        assert (loss.kind, loss.id) == (Kind.STALLED, None), "an environment is accused"
        assert ring_text([incident]) == (
            "no heartbeat from any of 12 machines since 08:55: the platform stands still, or all of them are down"
        )
        assert one.wait(3_600).sizes == ([1], []), "announced twice"


def test_a_stall_ends_with_a_heartbeat_and_still_silent_rows_are_a_loss_of_their_own() -> None:
    one = stalled(400)
    while one.now < 800:
        one.later(5).show([beating(name, one.at - 1_000 if name < "e08" else NOW + 100_000) for name in STALLED])
    assert one.sizes == ([1, 4], [1])
    assert one.lost()[1] == {"e08", "e09", "e10", "e11"}


def test_an_acknowledged_blindness_needs_nobody_and_the_acknowledgement_ends_with_the_blindness() -> None:
    one = night("a").fail(61).wait(900)
    (incident,) = one.opened
    assert one.monitor.incidents.alerting == incident.remaining
    key = EMPTY, EMPTY
    one.monitor = one.monitor.with_acks({key: blindness_ack(one.at, clean("on it"))})
    one.wait(60)
    assert not one.monitor.incidents.alerting, "reminders go on"
    assert one.monitor.judge(one.clocks).is_incident_acked(incident)
    assert key in one.monitor.acks
    one.poll()
    assert (one.sizes, one.monitor.acks) == (([1], [1]), {})


@pytest.mark.parametrize("how", ["by time", "by a person"])
@pytest.mark.parametrize("what", ["blind", "stalled"])
def test_a_blindness_whose_acknowledgement_ends_is_announced_once_more_and_the_log_tells_both(
    what: str, how: str
) -> None:
    one = stalled(400) if what == "stalled" else night("a").fail(61).wait(900)
    key, (first,) = (EMPTY, EMPTY), one.opened
    ack = blindness_ack(one.at, clean("on it"), timedelta(hours=2) if how == "by time" else None)
    one.decide({key: ack}).wait(7_190)
    assert one.sizes == ([1], [])
    if how == "by a person":
        one.decide({key: ended_by_person(ack, one.at)})
    one.wait(11)
    old, new = one.opened
    assert (old, [each.id for each in one.resolved]) == (first, [first.id])
    assert one.resolved[0].ended_by == "acknowledgement ended"
    assert new.id != first.id
    assert new.is_blindness
    assert new.losses[0].reason == f"{first.losses[0].reason}, acknowledgement ended"
    assert one.monitor.incidents.alerting == new.remaining
    told = [(event.kind, event.name, event.incident) for event in one.events if event.field == "acknowledgement"]
    name = "platform" if what == "stalled" else "envwatch"
    assert told == [(Kind.ACKNOWLEDGED, name, first.id), (Kind.ACK_ENDED, name, first.id)]
    assert one.wait(3_600).sizes == ([1, 1], [1]), "announced twice"
    one.monitor = one.monitor.with_missed_ends(one.clocks)
    assert one.wait(60).sizes == ([1, 1], [1])
    second = blindness_ack(one.at, EMPTY)
    assert one.decide({key: second}).wait(60).monitor.judge(one.clocks).is_incident_acked(new)
    one.decide({key: ended_by_person(second, one.at)}).wait(1)
    assert one.opened[2].id not in {first.id, new.id}


def test_a_blindness_whose_acknowledgement_ended_while_nobody_watched_is_announced_again() -> None:
    one = night("a").fail(61).wait(900)
    ack = blindness_ack(one.at, EMPTY, timedelta(hours=2))
    later = one.decide({(EMPTY, EMPTY): ack}).restarted(7_300)
    later.monitor, _ = later.monitor.with_stored_acks({(EMPTY, EMPTY): ack}, later.clocks)
    later.monitor = later.monitor.with_missed_ends(later.clocks)
    later.fail(2).wait(60)
    (new,), (old,) = later.opened, later.resolved
    assert new.is_blindness
    assert (old.id, new.id != old.id) == (one.opened[0].id, True)


def test_an_acknowledgement_covers_no_blindness_of_later() -> None:
    one = night("a")
    one.monitor = one.monitor.with_acks({(EMPTY, EMPTY): blindness_ack(one.at - 1, EMPTY)})
    one.fail(61).wait(900)
    (incident,) = one.opened
    assert not one.monitor.judge(one.clocks).is_incident_acked(incident)
    assert one.monitor.incidents.alerting == incident.remaining


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
def test_a_never_registered_name_opens_an_incident_after_two_listings(held: float, opened: int) -> None:
    one = night("a", policies=soon(expect=(clean("never"),))).wait(600)
    assert one.sizes == ([], []), "one listing may lack a row"
    one.poll().wait(held)
    assert len(one.opened) == opened
    for incident in one.opened:
        assert [(loss.kind, loss.name, loss.reason) for loss in incident.losses] == [
            (Kind.OFFLINE, "never", "never seen")
        ]
        assert one.hold(600).sizes == ([1], []), "announced twice"
        one.names = ["a", "never"]
        assert one.poll().poll().sizes == ([1], [1])


# Several profiles


@pytest.mark.parametrize(("servers", "opened"), [(("one", "one"), 1), (("one", "other"), 2), (("", ""), 2)])
def test_a_row_in_two_profiles_of_one_server_is_one_incident(servers: tuple[str, str], opened: int) -> None:
    profiles, count = [clean("work"), clean("home")], 0
    addresses = dict(zip(profiles, map(clean, servers), strict=True))
    monitor = Monitor.create(dict.fromkeys(profiles, Limits()), servers=addresses)
    for second in range(0, 300, 5):
        at = NOW + second * 1000
        for name in profiles:
            rows = [row("a", at, is_up=second < 50), row("b", at)]
            monitor, changes = monitor.apply(name, listed(rows, at), reading(at))
            count += len(changes.opened)
    assert count == opened


# Doubtful losses

HIDDEN = names(12)
SIGHTED = names(20)[12:]


def doubted(one: Night, hidden: str) -> list[Environment]:
    """Return the rows of a listing in which twelve of 20 rows vanished, or have no heartbeat."""
    rows = [row(name, one.at) for name in SIGHTED]
    return (
        rows
        if hidden == "vanished"
        else [*rows, *(environment(name, connectionName=name, lastHeartbeat=None) for name in HIDDEN)]
    )


@pytest.mark.parametrize("blind_after", [timedelta(minutes=15), None])
@pytest.mark.parametrize("anomaly", ["vanished", "without heartbeats"])
def test_quarantined_rows_wait_for_blind_after(anomaly: str, blind_after: timedelta | None) -> None:
    """The platform's list may be wrong; listed rows that are down for another reason do not wait."""
    one = Night(
        names(20), Monitor.create(LIMITS, policies=soon(alert_after=limits.ALERT_AFTER, blind_after=blind_after))
    )
    opened, believed_at = list[tuple[float, set[str]]](), None
    for second in range(0, 1_200, 10):
        one.at = NOW + second * 1000
        rows = doubted(one, anomaly) if second >= 100 else [row(name, one.at) for name in one.names]
        if second >= 300:
            rows[0] = row("e12", one.at, is_up=False, lastSeenAt=NOW + 289_000)
        events, before = len(one.events), len(one.opened)
        one.show(rows)
        if one.opened[before:] or any(event.of in (Kind.GONE, Kind.OFFLINE) for event in one.events[events:]):
            believed_at = believed_at or second
        opened += [(second, lost) for lost in one.lost()[before:]]
    assert believed_at is not None
    lost_opens_at = 90 + 240 if blind_after is None else believed_at + blind_after.total_seconds()
    assert opened == sorted([(lost_opens_at, {*HIDDEN}), (290 + 240, {"e12"})], key=lambda each: each[0])


@pytest.mark.parametrize("anomaly", ["vanished", "without heartbeats"])
def test_a_quarantined_row_listed_as_down_later_waits_no_longer(anomaly: str) -> None:
    """A power cut during a fault of the platform's list: the list is correct again before `blind_after` is over."""
    one, opened = Night(names(20), Monitor.create(LIMITS)), list[tuple[int, set[str]]]()
    silent = {name: {} if name < "e02" else {"connectionId": None} for name in names(4)}
    for second in range(0, 900, 10):
        one.at = NOW + second * 1000
        if 100 <= second < 300:
            rows = doubted(one, anomaly)
        else:
            rows = [row(name, one.at) for name in one.names if second < 100 or name not in silent]
            if second >= 300:
                last = NOW + 99_000
                rows += [
                    environment(name, lastHeartbeat=last, lastSeenAt=last, **link) for name, link in silent.items()
                ]
        before = len(one.opened)
        one.show(rows)
        opened += [(second, {str(loss.id) for loss in each.losses}) for each in one.opened[before:]]
    assert opened == [(90 + 240, {*silent})]


# Invariants


class IncidentMachine(MonitoredMachine):
    """The simulated platform of the fleet's invariants, with a monitor that decides on incidents."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: Counter[SafeText] = Counter()
        self.resolved: Counter[SafeText] = Counter()

    def _take(self, rows: list[Environment], seed: int) -> None:
        if not self._could_be_either_clock(rows):
            self._poll(self._listed(rows, 0))
            super()._take(rows, seed)
            assert self.monitor.fleet.by_profile[NO_PROFILE].environments == self.profile_state.environments

    @rule(seconds=SECONDS)
    def time_alone_passes(self, seconds: int) -> None:
        self.time_passes(seconds)
        self.monitor, changes = self.monitor.tick(self._clocks(0))
        self._check(changes)

    def _poll(self, outcome: Outcome) -> None:
        self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, self._clocks(0))
        self._check(changes)

    def _check(self, changes: MonitorChanges) -> None:
        profile_state = self.monitor.fleet.by_profile[NO_PROFILE]
        if profile_state.quarantine is not None or profile_state.freshness(self._clocks(0)) is Freshness.BLIND:
            told = [each for each in (*changes.opened, *changes.resolved) if not each.is_blindness]
            assert told == [], "an environment's incident opened or resolved while blind or quarantined"
        self.opened.update(incident.id for incident in changes.opened)
        self.resolved.update(incident.id for incident in changes.resolved)
        for incident in changes.opened:
            self._check_opened(incident)

    def _check_opened(self, incident: Incident) -> None:
        assert incident.remaining == incident.keys, "opened with what is back"
        is_flapping = any(loss.kind is Kind.FLAPPING for loss in incident.losses)
        listed_for = timedelta(seconds=self.monotonic - incident.noticed_at)
        alert_after = self.monitor.policies[NO_PROFILE].alert_after
        assert is_flapping or listed_for >= alert_after * LISTED_AS_LOST_SHARE, "too early"
        for key in () if incident.is_blindness else incident.remaining:
            tracked = self.monitor.fleet.tracked(key)
            assert tracked is not None
            assert not tracked.verdict.is_up or tracked.is_flapping, "opened for what is up"

    @invariant()
    def every_incident_opens_once_and_resolves_at_most_once(self) -> None:
        assert max(self.opened.values(), default=1) == 1
        assert max(self.resolved.values(), default=1) == 1
        assert self.resolved.keys() <= self.opened.keys()
        incidents = self.monitor.incidents
        assert {incident.id for incident in incidents.open} == self.opened.keys() - self.resolved.keys()
        assert self.opened.keys().isdisjoint(loss.incident for loss in incidents.waiting), "a loss waits for no opening"
        keys = [loss_key_of(loss.event) for loss in incidents.waiting]
        keys += [key for incident in incidents.open for key in incident.remaining]
        assert len(keys) == len(set(keys)), "one loss in two incidents"


TestIncidents = IncidentMachine.TestCase
TestIncidents.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_two_parts_of_a_chain_opened_in_one_moment_have_two_ids() -> None:
    """One part is no longer doubtful, so that the chain has come apart."""
    machine = IncidentMachine()
    machine.begin(skew=0, count=3)
    machine.every_heartbeat_stands_still()
    machine.a_poll_succeeds(doubled=set(), lacking=set(), seed=0, withheld=set())
    machine.boxes_join_or_leave(numbers={0})
    machine.polls_find_a_part(count=2, first=1, seconds=30, times=3)
    machine.time_alone_passes(seconds=4_000)
    machine.polls_ask_about_some_that_are_missing(asked=set(), lacking=set(), times=1)
    assert [*machine.opened.values()] == [1, 1]


def test_of_a_chain_without_its_links_each_part_opens_under_an_id_of_its_own() -> None:
    """Two parts open in one moment, and the third part later, with the next loss."""
    jobs = Matcher(clean("!toy !job"), lambda row, _: row.environment.label not in {"toy", "job"})
    policy = soon(alert_after=limits.ALERT_AFTER, expect=(clean("e"),), alert=jobs)
    one = night("b", "job", "toy", "d", policies=policy).poll("job").poll("b").fail(after=900).poll("b", "toy")
    assert one.lost() == [{"e"}, {"b"}]
    assert one.hold(480, "d").lost() == [{"e"}, {"b"}, {"d"}]
    assert len({incident.id for incident in one.opened}) == 3
