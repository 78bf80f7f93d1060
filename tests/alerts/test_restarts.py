"""Losses over a restart, with only the alert state that the file keeps: nothing is lost, doubled or falsely over."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, reading
from support.policies import soon
from support.scripted_watch import LIMITS, Night, Watch, beating, new_monitor, night

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.alert_state import AlertState, alert_state_content
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.last_run import LastRun
from envwatch.fleet.presence import ONLINE
from envwatch.fleet.tracking import EVERYTHING, Matcher, TrackedEnvironment
from envwatch.model.clock import WallMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


def test_an_offline_row_keeps_its_mode_over_a_restart() -> None:
    before = night("a", "b")
    lost = environment("a", connectionId=None, lastHeartbeat=None, currentMode=None, metadata=None)
    after = before.restarted(3_600).show([lost, environment("b")]).row("a").environment
    assert (after.mode, after.version) == (before.row("a").environment.mode, environment("a").version)


def test_rows_lost_between_two_runs_are_one_incident() -> None:
    later = night("a", "b", "c").poll().restarted(3_600).poll("a", "b").wait(2.4)
    assert later.sizes == ([], [])
    assert later.wait(0.1).sizes == ([2], [])
    assert {loss.reason for loss in later.opened[0].losses} == {"disconnected while envwatch was not running"}


def test_a_row_silent_since_the_run_before_is_lost_without_a_count_of_seconds() -> None:
    first = night("a", "b")
    at = first.at + 3_600_000
    later = first.restarted(3_600).show([beating("a", first.at), beating("b", at)]).wait(10)
    assert [loss.reason for loss in later.opened[0].losses] == ["heartbeat lost while envwatch was not running"]


@pytest.mark.parametrize(("hours", "age"), [(23.9, ""), (24.1, ", which last looked 1d before")])
def test_a_last_look_of_more_than_a_day_ago_is_named(hours: float, age: str) -> None:
    (incident,) = night("a", "b").restarted(hours * 3_600).poll("a").wait(10).opened
    assert incident.losses[0].reason == f"disconnected while envwatch was not running{age}"


def test_a_row_down_before_the_run_before_opens_nothing() -> None:
    assert Night(["a", "b"]).poll("a").restarted(60).poll("a").wait(600).sizes == ([], [])


@pytest.mark.parametrize(("silent_s", "opened"), [(239.999, 0), (240, 1)])
def test_a_loss_waiting_at_the_end_of_a_run_opens_in_the_next_by_its_whole_silence(
    silent_s: float, opened: int
) -> None:
    first = night("a", "b", policies={}).poll("a")
    later = first.restarted(silent_s - first.now).poll("a", after=0)
    assert [each.began_at for each in later.opened] == [first.events[0].at] * opened


def test_a_return_before_the_first_listing_opens_nothing_and_resolves_the_open_incident() -> None:
    assert night("a", "b").poll("a").restarted(60).poll().wait(600).sizes == ([], [])
    assert night("a", "b").hold(15, "a").restarted(60).poll().sizes == ([], [1])


def test_an_open_incident_resolves_in_the_next_run_and_its_rows_open_no_other() -> None:
    later = night("a", "b").hold(15, "a").restarted(60).hold(30, "a")
    assert later.sizes == ([], [])
    assert later.hold(65).sizes == ([], [1])


def test_a_clock_set_back_between_two_runs_loses_nothing() -> None:
    later = night("a", "b", "c").poll("a").restarted(-7_200).poll("a", "b").wait(10)
    assert sorted(name for names in later.lost() for name in names) == ["a", "b"]


def test_blindness_counts_over_a_restart() -> None:
    later = night("a").fail(61).wait(600).restarted(200).wait(1).fail(1).wait(97)
    assert later.sizes == ([], [])
    assert later.wait(1).sizes == ([1], [])
    assert later.restarted(60).wait(1).fail(1).wait(3_600).sizes == ([], []), "told twice"


def test_an_alert_state_of_another_run_is_compared_once() -> None:
    later = night("a", "b").restarted(60).poll().hold(60, "a")
    assert later.sizes == ([1], [])
    assert later.opened[0].losses[0].reason == "disconnected"


# Rows that the first listings lack

FLEET: Final = [f"e{number}" for number in range(10)]
HALF: Final = tuple(FLEET[5:])
ALL: Final = tuple(FLEET)


@pytest.mark.parametrize("expect", [(), (clean("e0"),)])
def test_an_online_row_missing_after_a_restart_is_lost_after_two_listings(expect: tuple[SafeText, ...]) -> None:
    later = night(*FLEET, policies=soon(expect=expect)).restarted(600).poll(without=("e0",)).wait(20)
    assert later.sizes == ([], []), "one listing may lack a row"
    later.poll(without=("e0",)).poll(without=("e0",), after=10)
    assert later.lost() == [{"e0"}]
    assert later.opened[0].losses[0].reason == "no longer listed while envwatch was not running"
    assert [(event.kind, event.id) for event in later.events] == [(Kind.GONE, "e0")]


def test_a_waiting_loss_is_announced_under_its_id_although_no_listing_has_the_row() -> None:
    first = night(*FLEET).poll("e0")
    (loss,) = first.monitor.incidents.waiting
    later = first.restarted(600).hold(50, without=("e0",))
    assert [incident.id for incident in later.opened] == [loss.incident]


def test_an_open_incident_stays_open_while_no_listing_has_the_row() -> None:
    later = night(*FLEET).hold(15, "e0").restarted(600)
    for _ in range(20):
        later.poll(without=("e0",), after=300)
    assert later.sizes == ([], [])
    assert later.restarted(60).poll(without=("e0",)).poll(without=("e0",)).wait(3_600).sizes == ([], [])
    assert later.hold(70).sizes == ([], [1])


@pytest.mark.parametrize("lacking", [ALL, HALF, ("e7",)])
def test_first_listings_without_a_row_end_no_incident_and_hide_no_loss(lacking: tuple[str, ...]) -> None:
    later = night(*FLEET).hold(15, "e7").restarted(60)
    later.poll("e7", without=lacking).poll("e7", without=lacking)
    assert later.hold(60, "e7").sizes == ([], [])
    assert later.hold(65).sizes == ([], [1])
    later = night(*FLEET).restarted(60).poll("e7", without=lacking)
    assert later.hold(15, "e7").sizes == ([1], [])
    assert later.opened[0].losses[0].reason == "disconnected while envwatch was not running"


def test_rows_listed_again_are_no_loss_and_no_news() -> None:
    later = night(*FLEET).restarted(60).poll(without=("e7",)).hold(120)
    assert (later.sizes, later.events) == (([], []), [])


def test_many_rows_missing_after_a_restart_are_doubtful_until_blind_after() -> None:
    later = night(*FLEET, policies=soon(blind_after=timedelta(seconds=300))).restarted(60)
    while not later.opened and later.now < 1_000:
        later.poll(without=HALF)
    assert (later.now, later.lost()) == (425, [{*HALF}])


NOTHING: Final = Matcher(clean("nothing"), lambda _tracked, _now: False)
LINUX: Final = Matcher(clean("os:linux"), lambda tracked, _now: tracked.environment.os == "linux")


@pytest.mark.parametrize(("alert", "opened"), [(LINUX, 1), (EVERYTHING, 1), (NOTHING, 0)])
def test_a_row_of_an_earlier_run_is_judged_by_the_fields_of_its_newest_listing(alert: Matcher, opened: int) -> None:
    later = night(*FLEET, policies=soon(alert=alert)).restarted(600)
    assert len(later.hold(25, without=("e0",)).opened) == opened


def test_rows_of_another_account_are_no_loss() -> None:
    """A profile whose key was exchanged for the key of another organization."""
    later = night(*FLEET).hold(15, "e0").restarted(60)
    for _ in range(30):
        at = later.later(5).at
        later.show([environment(f"other-{number}", organizationId="org-2", lastHeartbeat=at) for number in range(3)])
    assert later.sizes == ([], [1])


def test_a_row_whose_time_cannot_be_true_is_compared_at_the_first_listing_with_a_true_time() -> None:
    later = night("a", "b").restarted(60)
    for link in ({"lastHeartbeat": 1_760_000_000.0}, {"lastHeartbeat": None, "connectionId": None}):
        at = later.later(5).at
        later.show([environment("a", connectionName="a", **link), environment("b", lastHeartbeat=at)])
    assert later.wait(10).sizes == ([1], [])


def test_a_stall_goes_on_over_a_restart_and_accuses_no_environment() -> None:
    first = Night([], Monitor.create(LIMITS))
    while first.now < 500:
        beats(first, until=100)
    assert first.sizes == ([1], [])
    later = first.restarted(600)
    for _ in range(100):
        beats(later, until=100)
    assert later.sizes == ([], []), "announced twice, or falsely over"
    for _ in range(20):
        beats(later, until=math.inf)
    assert later.sizes == ([], [1])


def beats(one: Night, until: float) -> None:
    """Poll 12 rows whose heartbeats end `until` seconds after `NOW`."""
    newest = NOW + min(one.later(5).now, until) // 10 * 10_000
    one.show([beating(f"e{number:02}", newest) for number in range(12)])


def test_flapping_goes_on_over_a_restart() -> None:
    flapper = night("a", "b", policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=90))})
    for _ in range(8):
        flapper.poll("a", after=20).poll(after=40)
    assert flapper.sizes == ([1], [])
    later = flapper.restarted(10)
    assert later.poll("a", after=20).poll(after=40).hold(120).sizes == ([], [])
    assert later.hold(900).sizes == ([], [1])


# Files without rows, and stalls


def test_a_loss_is_announced_although_the_file_has_no_readable_row() -> None:
    first = night(*FLEET).poll("e0")
    content = first.stored()
    del content["rows"]["e0"]
    assert first.restarted(600, content).hold(50, without=("e0",)).lost() == [{"e0"}]


def test_a_stall_begun_before_the_run_accuses_no_environment() -> None:
    """The platform's heartbeats stood still while envwatch restarted, and the rows expire one after the other."""

    def play(one: Night, seconds: range, beats_until: float) -> None:
        for second in seconds:
            one.at = NOW + second * 1000
            newest = min(second, beats_until) // 30 * 30 - 30
            one.show([beating(f"e{number:02}", NOW + (newest + number * 2) * 1000) for number in range(12)])

    one = Night([], Monitor.create(LIMITS))
    play(one, range(0, 120, 5), 1_000)
    one = one.restarted()
    play(one, range(215, 700, 5), 120)
    assert not any(incident for incident in one.opened if not incident.is_blindness)
    assert {loss.is_doubtful for loss in one.monitor.incidents.waiting} == {True}
    before = len(one.opened)
    for second in (700, 761):
        one.at = NOW + second * 1000
        one.show([beating(f"e{number:02}", NOW + 700_000) for number in range(12)])
    assert (len(one.opened), one.monitor.incidents.waiting) == (before, ())


@pytest.mark.parametrize(
    ("count", "beating_count", "youngest", "is_doubtful"),
    [(12, 8, 29.9, False), (12, 8, 30.0, True), (9, 0, 0.0, False), (10, 0, 0.0, True)],
)
def test_ten_silent_rows_of_a_first_listing_are_doubtful_unless_a_row_has_beaten_within_30_seconds(
    count: int, beating_count: int, youngest: float, *, is_doubtful: bool
) -> None:
    """A power cut while envwatch restarts: another site's machines prove that the platform does not stall."""
    names, at = [f"e{number:02}" for number in range(count)], NOW + 600_000
    rows = {clean(name): TrackedEnvironment(environment(name), ONLINE) for name in names}
    state = AlertState(last_run=LastRun(WallMs(NOW), rows))
    one = Night(names, new_monitor().with_alert_state(NO_PROFILE, state), at)
    silent = count - beating_count
    one.show([beating(name, NOW if place < silent else at - youngest * 1000) for place, name in enumerate(names)])
    assert [loss.is_doubtful for loss in one.monitor.incidents.waiting] == [is_doubtful] * silent


# Random lives: an ended, killed and restarted watch announces the losses that an uninterrupted watch announces


COUNT: Final = 20
POLLS: Final = 220
POLL_S: Final = 5
CHANGES_END: Final = 110
"""The poll after which no row changes, no listing is faulty, and no watch ends."""
LASTING: Final = POLLS + 1
POLICIES: Final = soon(blind_after=timedelta(seconds=100))
"""Doubtful losses wait for `blind_after`."""


class Outage(NamedTuple):
    row: int
    begin: int
    end: int
    """Polls; `LASTING` for a row that never comes back."""
    how: str
    """`closed`: the connection ended; `silent`: the heartbeats ended; `dropped`: the server lists the row no more."""


class Fault(NamedTuple):
    """A listing that lacks rows although the rows exist."""

    begin: int
    polls: int
    lacking: frozenset[int]


@dataclass
class Life:
    outages: Sequence[Outage]
    faults: Sequence[Fault]

    def is_up(self, number: int, poll: int) -> bool:
        return not any(each.row == number and each.begin <= poll < each.end for each in self.outages)

    def is_over(self, incident: Incident) -> bool:
        """Whether all rows of an incident are back long before the last poll."""
        numbers = {int(str(loss.id)[1:]) for loss in incident.losses}
        return not any(each.row in numbers and each.end > POLLS - 20 for each in self.outages)

    def rows(self, poll: int) -> list[Environment]:
        lacking = {row for each in self.faults if each.begin <= poll < each.begin + each.polls for row in each.lacking}
        found = (self._row(number, poll) for number in range(COUNT) if number not in lacking)
        return [row for row in found if row is not None]

    def _row(self, number: int, poll: int) -> Environment | None:
        at, id_ = NOW + poll * POLL_S * 1000, f"e{number:02}"
        outage = next((each for each in self.outages if each.row == number and each.begin <= poll < each.end), None)
        if outage is None:
            return environment(id_, lastHeartbeat=at - 1_000, lastSeenAt=at - 1_000)
        if outage.how == "dropped":
            return None
        last = NOW + (outage.begin - 1) * POLL_S * 1000
        link: dict[str, Any] = {"lastHeartbeat": last}
        if outage.how == "closed":
            link = {"lastHeartbeat": None, "connectionId": None, "connectedAt": None}
        return environment(id_, lastSeenAt=last, **link)


@dataclass
class Restarting(Watch):
    """A watch with the file that a new process reads; `written` are the newest two states on the disk."""

    names: Sequence[str] = ()
    monitor: Monitor = field(default_factory=lambda: new_monitor(policies=POLICIES))
    written: list[tuple[AlertState, float]] = field(default_factory=list)
    """With the time of the write."""
    ended: list[tuple[float, Incident]] = field(default_factory=list)
    """The resolved incidents with the time."""
    told: list[tuple[float, Incident]] = field(default_factory=list)

    def poll(self, life: Life, poll: int) -> None:
        self.at = NOW + poll * POLL_S * 1000
        self.show(life.rows(poll))

    def step(self, monitor: Monitor, changes: MonitorChanges) -> Restarting:
        super().step(monitor, changes)
        self.told += ((self.at, incident) for incident in changes.opened)
        self.ended += ((self.at, incident) for incident in changes.resolved)
        state = monitor.alert_state(NO_PROFILE, self.clocks)
        if not self.written or not state.is_like(self.written[-1][0]):
            self.written = [*self.written[-1:], (state, self.at)]
        return self

    def begun_anew(self, poll: int, *, is_killed: bool) -> Restarting:
        """Return the watch of a process that begins before a poll; a kill comes before the write of the newest poll.

        No message of that poll was sent, because the ledger is written first.
        """
        if not self.written:
            return self
        is_unwritten = is_killed and len(self.written) > 1 and self.written[-1][1] == self.at
        state, at = self.written[0 if is_unwritten else -1]
        content = json.loads(json.dumps(alert_state_content(state, reading(at))))
        following = self.restarted(poll * POLL_S - (self.at - NOW) / 1000, content)
        if is_unwritten:
            following.told = [each for each in self.told if each[0] < self.at]
            following.ended = [each for each in self.ended if each[0] < self.at]
        return following

    def announced(self) -> Mapping[str, set[str]]:
        """Return the incidents that name a row."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, incident in self.told:
            for loss in incident.losses:
                found[str(loss.id)].add(incident.id)
        return found


def lives() -> st.SearchStrategy[Life]:
    numbers, polls = st.integers(0, COUNT - 1), st.integers(3, CHANGES_END)
    how = st.sampled_from(["closed", "silent", "dropped"])
    lasting = st.builds(Outage, numbers, polls, st.just(LASTING), how)
    short = st.builds(lambda row, begin, lasts, how: Outage(row, begin, begin + lasts, how), numbers, polls, polls, how)
    outages = st.lists(lasting | short, min_size=1, max_size=6, unique_by=lambda each: each.row)
    few = st.frozensets(numbers, min_size=1, max_size=2)
    half = st.sampled_from([frozenset(range(COUNT // 2)), frozenset(range(COUNT // 2, COUNT)), frozenset(range(COUNT))])
    # More faults in a row would prove that rows are gone.
    halves = st.lists(st.builds(Fault, polls, st.integers(1, 4), half), max_size=2)
    singles = st.lists(st.builds(Fault, polls, st.just(1), few), max_size=2)
    return st.builds(Life, outages, st.builds(list.__add__, halves, singles))


RESTARTS: Final = st.dictionaries(
    st.integers(2, CHANGES_END), st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=4
)
"""The polls at which the watch ends, the number of polls without a watch, and whether the watch is killed."""


@given(lives(), RESTARTS)
@settings(max_examples=examples(40), deadline=None)
def test_an_ended_and_restarted_watch_announces_the_losses_of_an_uninterrupted_watch(
    life: Life, restarts: Mapping[int, tuple[int, bool]]
) -> None:
    steady, watch, away_until = Restarting(), Restarting(), 0
    for poll in range(POLLS):
        steady.poll(life, poll)
        if poll in restarts and poll >= away_until:
            away, is_killed = restarts[poll]
            away_until = poll + away
            watch = watch.begun_anew(away_until, is_killed=is_killed)
        if poll >= away_until:
            watch.poll(life, poll)
    needs, found = steady.announced(), watch.announced()
    lasting = {f"e{each.row:02}" for each in life.outages if each.end == LASTING}
    assert lasting <= needs.keys()
    assert lasting <= found.keys(), "a loss is not announced"
    assert found.keys() <= {f"e{each.row:02}" for each in life.outages}, "a row that was never down is accused"
    assert {id_: ids for id_, ids in found.items() if id_ in lasting and len(ids) > 1} == {}, "announced twice"
    first_end = NOW + (min(restarts) - 1) * POLL_S * 1000  # a kill may take the last poll's messages
    for at, incident in steady.told:
        if at < first_end:
            assert incident.id in {id_ for ids in found.values() for id_ in ids}
    for each in (steady, watch):
        assert len({incident.id for _, incident in each.ended}) == len(each.ended), "resolved twice"
        for at, incident in each.ended:
            poll = round((at - NOW) / 1000 / POLL_S)
            for loss in incident.losses:
                assert life.is_up(int(str(loss.id)[1:]), poll), "an incident is over while a member is down"
        if each is steady or not any(is_killed for _, is_killed in restarts.values()):
            over = {incident.id for _, incident in each.told if life.is_over(incident)}
            assert over <= {incident.id for _, incident in each.ended}, "an incident that never ends"
