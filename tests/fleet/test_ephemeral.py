"""Rows that end by design: managed sandboxes, and rows that match the alert policy's `ephemeral`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, listed, reading
from support.policies import soon

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.views.events.matching import matcher_of

if TYPE_CHECKING:
    from envwatch.fleet.alerting.matcher import Matcher
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment

CI = matcher_of("name:ci-*")
DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}


class Watch:
    """A monitor over a test row and a row that stays up, with listings five seconds apart."""

    def __init__(self, ephemeral: Matcher = CI, expect: str = "", **row: Any) -> None:
        policies = soon(ephemeral=ephemeral, expect=(clean(expect),) if expect else ())
        self.monitor = Monitor.create({NO_PROFILE: Limits()}, policies=policies)
        self.row, self.seconds, self.opened = row, -5, 0

    @property
    def at(self) -> float:
        return NOW + self.seconds * 1000.0

    def poll(self, *, after: int = 5, is_listed: bool = True, **changes: Any) -> Watch:
        self.seconds += after
        rows: list[Environment] = [environment("other", lastHeartbeat=self.at)]
        if is_listed:
            rows.append(environment("env-1", **({"lastHeartbeat": self.at} | self.row | changes)))
        self.monitor, changed = self.monitor.apply(NO_PROFILE, listed(rows, self.at), reading(self.at))
        self.opened += len(changed.opened)
        return self

    @property
    def tracked(self) -> TrackedEnvironment:
        (found,) = [each for each in self.monitor.fleet.environments if each.environment.id != "other"]
        return found

    @property
    def alerts(self) -> bool:
        return self.monitor.is_alerting(self.tracked, reading(self.at))


ROWS: list[tuple[dict[str, Any], bool]] = [
    ({"deviceId": "sandbox-"}, True),
    ({"deviceId": "sandbox"}, False),
    ({"listenerInstanceId": "sandbox:"}, True),
    ({"listenerInstanceId": "sandbox"}, False),
    ({"listenerInstanceId": None}, False),
    ({"deviceId": "sandbox:1"}, False),
    ({"listenerInstanceId": "sandbox-1"}, False),
    ({"connectionName": "ci-1"}, True),
    ({"connectionName": "ci"}, False),
]


@pytest.mark.parametrize(("row", "ends_by_design"), ROWS)
def test_what_ends_by_design_raises_nothing_when_it_goes_offline(row: dict[str, Any], *, ends_by_design: bool) -> None:
    watch = Watch(**row).poll().poll(**DOWN)
    assert watch.tracked.presence is Presence.OFFLINE
    assert watch.alerts is not ends_by_design
    assert watch.monitor.policy_of(watch.tracked.profile).ends_by_design(watch.tracked, watch.at) is ends_by_design
    assert watch.poll(after=10, **DOWN).opened == (not ends_by_design)


@pytest.mark.parametrize(("row", "ends_by_design"), ROWS)
def test_what_ends_by_design_raises_nothing_when_it_leaves_the_list(
    row: dict[str, Any], *, ends_by_design: bool
) -> None:
    watch = Watch(**row).poll().poll(is_listed=False).poll(is_listed=False)
    assert watch.tracked.presence is Presence.GONE
    assert watch.alerts is not ends_by_design
    assert watch.poll(after=10, is_listed=False).opened == (not ends_by_design)


def test_without_a_query_only_sandboxes_end_by_design() -> None:
    (policy,) = soon().values()
    assert Watch(policy.ephemeral, connectionName="ci-1").poll().poll(**DOWN).alerts
    assert not Watch(policy.ephemeral, deviceId="sandbox-1").poll().poll(**DOWN).alerts


def test_what_flaps_needs_somebody_although_it_ends_by_design() -> None:
    watch = Watch(deviceId="sandbox-1").poll()
    for step in range(8):
        watch.poll(after=30, **(DOWN if step % 2 == 0 else {}))
        assert watch.alerts == watch.tracked.is_flapping
    assert watch.tracked.is_flapping


def test_what_is_expected_and_missing_needs_somebody_although_it_ends_by_design() -> None:
    watch = Watch(expect="ci-1", connectionName="ci-1").poll().poll(is_listed=False).poll(is_listed=False)
    assert (watch.tracked.presence, watch.alerts) == (Presence.GONE, False)
    for _ in range(30):
        watch.poll(after=30, is_listed=False)
    assert (watch.tracked.presence, watch.alerts, watch.opened) == (Presence.MISSING, True, 1)


@pytest.mark.parametrize(("expect", "alerts"), [("nas", True), ("", False)])
def test_what_is_expected_and_missing_needs_somebody_outside_the_query_too(expect: str, *, alerts: bool) -> None:
    policy = AlertPolicy(alert=matcher_of("!name:nas"), expect=(clean(expect),) if expect else ())
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})
    down = [] if expect else [environment("env-2", connectionName="nas", **DOWN)]
    rows = [environment("env-1", connectionName="web"), *down]
    monitor, _ = monitor.apply(NO_PROFILE, listed(rows), reading())
    (nas,) = [each for each in monitor.fleet.environments if each.environment.name == "nas"]
    assert monitor.is_alerting(nas, reading()) is alerts
