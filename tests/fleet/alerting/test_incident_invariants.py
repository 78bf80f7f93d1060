"""Invariants of incidents."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule
from support.budget import examples
from support.fleet_state_machine import SECONDS, MonitoredMachine

from envwatch.fleet.alerting.losses import key_of
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.profile_state import Freshness
from envwatch.model.limits import LISTED_AS_LOST_SHARE

if TYPE_CHECKING:
    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


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
        alert_after = self.monitor.policy_of(NO_PROFILE).alert_after
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
        keys = [key_of(loss.event) for loss in incidents.waiting]
        keys += [key for incident in incidents.open for key in incident.remaining]
        assert len(keys) == len(set(keys)), "one loss in two incidents"


TestIncidents = IncidentMachine.TestCase
TestIncidents.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_two_parts_of_a_chain_that_open_in_one_moment_have_two_ids() -> None:
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
