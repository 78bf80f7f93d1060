"""Invariants of the series under any state of the platform, polls and this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule
from support.budget import examples
from support.fleet_state_machine import SECONDS, SIZE, MonitoredMachine
from support.series import Series

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import counts_at
from envwatch.fleet.profile_state import Freshness
from envwatch.serve.exposition import exposition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

LARGEST = 6


class SeriesMachine(MonitoredMachine):
    def _take(self, rows: list[Environment], seed: int) -> None:
        if not self._could_be_either_clock(rows):
            self._poll(self._listed(rows, 0))
            super()._take(rows, seed)

    @rule(seconds=SECONDS)
    def time_alone_passes(self, seconds: int) -> None:
        self.time_passes(seconds)
        self.monitor, _ = self.monitor.tick(self._clocks(0))

    def _poll(self, outcome: Outcome) -> None:
        self.monitor, _ = self.monitor.apply(NO_PROFILE, outcome, self._clocks(0))

    @invariant()
    def the_series_say_what_the_screen_says(self) -> None:
        profile_state, now = self.monitor.fleet.by_profile[NO_PROFILE], self._clocks(0)
        counts = counts_at(profile_state, now)
        every, some = (Series.at(self.monitor, {}, now, largest) for largest in (SIZE, LARGEST))
        if profile_state.freshness(now) in (Freshness.BLIND, Freshness.WAITING):
            assert every.value("envwatch_blind") == 1
            assert every.of_environments == set()
            assert every.of("envwatch_environments") == []
            return
        assert every.value("envwatch_blind") == 0
        known, total = [row.presence for row in profile_state.known(now)], len(profile_state.environments)
        states = {presence.value: known.count(presence) for presence in Presence} | {"unknown": total - len(known)}
        assert {
            labels["state"]: every.value("envwatch_environments", state=labels["state"])
            for labels in every.of("envwatch_environments")
        } == states
        assert sum(states.values()) == total
        self._check_environments(every, profile_state.environments.keys())
        alerting = every.by_id("envwatch_environment_paging")
        is_alerting = [self.monitor.judge(now).is_alerting(row) for row in profile_state.environments.values()]
        assert len(alerting) == every.value("envwatch_machines_paging") == sum(is_alerting)
        assert len(every.by_id("envwatch_environment_flapping")) == counts.flapping
        for labels in every.of("envwatch_incident_machines"):
            expected = every.value("envwatch_incident_machines", incident=labels["incident"])
            members = [
                each
                for each in every.of("envwatch_environment_lost_together")
                if each["incident"] == labels["incident"]
            ]
            assert len(members) == expected != 0
        self._check_some(every, some, alerting.keys())

    def _check_environments(self, series: Series, ids: Iterable[str]) -> None:
        assert {labels["id"] for labels in series.of("envwatch_environment_info")} == set(ids)
        for name in series.of_environments:
            assert series.by_id(name).keys() <= set(ids), "a series of what has left the fleet"
        up = series.by_id("envwatch_environment_up")
        known = [Presence.ONLINE, Presence.LATE]
        assert sum(up.values()) == sum(series.value("envwatch_environments", state=each.value) or 0 for each in known)
        assert len(up) == len(set(ids)) - (series.value("envwatch_environments", state="unknown") or 0)
        down = series.by_id("envwatch_environment_down_since_timestamp_seconds")
        assert down.keys() == {id_ for id_, value in up.items() if not value}

    def _check_some(self, every: Series, some: Series, alerting: Iterable[str]) -> None:
        ids = {labels["id"] for labels in some.of("envwatch_environment_info")}
        total = len(every.of("envwatch_environment_info"))
        assert len(ids) == min(total, LARGEST)
        assert some.value("envwatch_environments_omitted") == total - len(ids)
        same = {key: value for key, value in some.samples.items() if key[0] != "envwatch_environments_omitted"}
        assert same.items() <= every.samples.items()
        assert set(alerting) <= ids or ids <= set(alerting)

    @invariant()
    def no_label_is_a_connection(self) -> None:
        body, _ = exposition(self.monitor, {}, self._clocks(0))
        assert b"conn-" not in body


TestSeries = SeriesMachine.TestCase
TestSeries.settings = settings(
    max_examples=examples(25), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
