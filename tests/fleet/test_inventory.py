"""The expected inventory: required environments that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, PERIODS, beating, environment, failed, listed, reading
from support.tracked_environments import matches

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.output.environment_list import environment_list
from envwatch.views.output.formats import encode_csv, listing_table

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


class Watch:
    def __init__(self, *expect: str) -> None:
        policies = {NO_PROFILE: AlertPolicy(expect=tuple(map(clean, expect)))}
        self.monitor = Monitor.create({NO_PROFILE: Limits()}, policies=policies)
        self.now = NOW - 5_000.0
        self.events: list[Event] = []
        self.opened = 0

    def poll(self, *names: str, after: float = 5, rejected: int = 0) -> Watch:
        self.now += after * 1000
        rows = [*beating(9, self.now), *(named(name, self.now) for name in names)]
        outcome = listed(rows, self.now)
        outcome = outcome._replace(snapshot=outcome.snapshot._replace(rejected=rejected))
        self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, reading(self.now))
        self.events += changes.events
        self.opened += len(changes.opened)
        return self

    @property
    def missing_rows(self) -> list[TrackedEnvironment]:
        return [each for each in self.monitor.fleet.environments if each.verdict.is_missing]

    @property
    def missing(self) -> dict[str, str]:
        return {each.environment.name: each.verdict.reason.value for each in self.missing_rows}


def named(name_and_id: str, at: float) -> Environment:
    """Return a row of a name, or of a name and an id, such as `nas@old`."""
    name, _, id_ = name_and_id.partition("@")
    return environment(id_ or f"id-{name}", connectionName=name, deviceId=f"device-{name}", lastHeartbeat=at - 1_000)


NEVER, GONE = "never seen", "gone"


def test_what_is_expected_and_not_listed_is_missing_from_the_first_listing_on_and_a_problem() -> None:
    watch = Watch("nas", "mac").poll("mac").poll("mac")
    assert watch.missing == {"nas": NEVER}
    assert watch.events == []
    (nas,) = watch.missing_rows
    assert watch.monitor.judge(reading(watch.now)).is_alerting(nas)
    assert watch.monitor.judge(reading(watch.now + 90 * 86_400_000)).is_alerting(nas)
    assert nas.tag(watch.now) is None


@pytest.mark.parametrize("expected", ["nas", "device-nas"])
def test_a_row_is_missing_no_longer_once_its_name_or_its_device_is_listed(expected: str) -> None:
    watch = Watch(expected).poll().poll("nas")
    assert watch.missing == {}
    assert [event.kind for event in watch.events] == [Kind.APPEARED]
    assert len(watch.monitor.fleet) == 10


@pytest.mark.parametrize(("minutes", "missing"), [(14.9, {}), (15.0, {"nas": GONE})])
def test_what_was_listed_is_gone_for_15_minutes_and_then_missing(minutes: float, missing: dict[str, str]) -> None:
    watch = Watch("nas").poll("nas").poll().poll()
    gone_at = watch.now
    watch.poll(after=10).poll(after=minutes * 60 - 10)
    assert watch.missing == missing
    assert watch.now - gone_at == minutes * 60_000
    kinds = [event.kind for event in flatten(watch.events) if event.kind not in PERIODS]
    assert kinds == [Kind.GONE]


def test_an_expected_row_stays_missing_for_hours_as_one_incident_and_returns() -> None:
    watch = Watch("nas").poll("nas")
    for _ in range(60 * 4):
        watch.poll(after=55)
    assert watch.missing == {"nas": GONE}
    assert watch.opened == 1
    watch.poll("nas")
    assert watch.missing == {}
    assert [event.kind for event in watch.events] == [Kind.GONE, Kind.RETURNED]


def test_a_return_under_another_id_leaves_nothing_missing() -> None:
    watch = Watch("nas").poll("nas").poll().poll()
    watch.poll(after=10).poll(after=1_000)
    assert watch.missing == {"nas": GONE}
    assert watch.poll("nas@id-new").missing == {}
    assert watch.monitor.fleet.by_profile[NO_PROFILE].environments[clean("id-nas")].presence is Presence.GONE


@pytest.mark.parametrize("ids", [("old", "new"), ("new", "old")])
def test_of_two_rows_of_one_name_the_last_to_go_is_missing(ids: tuple[str, str]) -> None:
    watch = Watch("nas")
    for present, after in ((ids, 5), ({"new"}, 5), ({"new"}, 5), ((), 5), ((), 5), ((), 1_000)):
        watch.poll(*(f"nas@{id_}" for id_ in present), after=after)
    absent = [tracked for tracked in watch.monitor.fleet.environments if tracked.verdict.is_absent]
    assert {tracked.environment.id: tracked.presence for tracked in absent} == {
        "old": Presence.GONE,
        "new": Presence.OFFLINE,
    }


def test_a_failed_poll_or_a_listing_with_unreadable_rows_proves_nothing_missing() -> None:
    watch = Watch("nas")
    watch.monitor, _ = watch.monitor.apply(NO_PROFILE, failed(), reading())
    assert watch.missing == {}
    assert watch.poll(rejected=1).missing == {}
    assert watch.poll().missing == {"nas": NEVER}
    (event,) = watch.events
    assert (event.kind, event.name, event.after, event.reason) == (Kind.OFFLINE, "nas", "offline", NEVER)
    (nas,) = watch.missing_rows
    assert nas.tag(watch.now) is ChangeTag.NEW
    assert watch.poll(rejected=1).missing == {"nas": NEVER}
    assert watch.poll("nas", rejected=1).missing == {}


def test_a_missing_row_has_no_instants_in_any_output_and_is_found_by_a_filter() -> None:
    watch = Watch("nas").poll()
    (nas,) = watch.missing_rows
    assert [matches(parse(f"status:{word}"), nas, watch.now) for word in ("off", "offline", "gone", "old")] == [
        True,
        True,
        False,
        False,
    ]
    assert [matches(parse(text), nas, watch.now) for text in ("seen:>1d", "first:>1d", "seen:none")] == [
        False,
        False,
        True,
    ]
    whole = environment_list({NO_PROFILE: listed(beating(9, watch.now), watch.now)}, watch.monitor)
    lines = b"".join(listing_table(whole, width=None, encoding="utf-8", ascii_only=False)).decode().splitlines()
    assert lines[1].split()[:4] == ["○", "off", "–", "nas"]
    (line,) = [line for line in b"".join(encode_csv(whole)).decode().splitlines() if '"nas"' in line]
    assert '"offline","never seen","","","","",""' in line
