"""Events as CloudEvents: the specification's requirements, read by the official SDK, and users' expectations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from support.builders import NOW, beating, environment, failed, key_of, listed, reading
from support.hostile_fleet import WEAPONS

from envwatch.fleet.alerting.alert_policy import Word
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.views.events.cloud_events import cloud_event, initial_event, line_of, source_of, type_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment

SOURCE = "https://api.letta.com/v1/environments"


def after(*listings: Sequence[Environment]) -> tuple[Monitor, list[Event]]:
    monitor, events = Monitor.create({NO_PROFILE: Limits()}), []
    for number, rows in enumerate(listings):
        at = NOW + 5_000 * number
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        events = list(changes.events)
    return monitor, events


def of(event: Event, monitor: Monitor) -> dict[str, Any]:
    return cloud_event(event, monitor, reading(NOW + 5_000), SOURCE)


def read(event: dict[str, Any]) -> dict[str, Any]:
    """Return attributes and data, as the official SDK reads the line."""
    line = line_of(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = JSONFormat().read(None, line)
    data = found.get_data()
    assert isinstance(data, dict)
    return {**found.get_attributes(), "data": data}


OFF = {"connectionId": None, "lastHeartbeat": None}


def test_a_loss_has_the_row_after_it_and_what_changed() -> None:
    monitor, (event,) = after(beating(3), [*beating(2), environment("env-3", **OFF, podId=None)])
    found = read(of(event, monitor))
    assert {name: found[name] for name in ("specversion", "source", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "source": SOURCE,
        "type": "envwatch.environment.offline",
        "subject": "env-3",
        "datacontenttype": "application/json",
    }
    assert found["time"].timestamp() * 1000 == event.at
    data = found["data"]
    assert (data["id"], data["name"], data["state"], data["connection_id"]) == (
        "env-3",
        "laptop of env-3",
        "offline",
        None,
    )
    assert (data["before"], data["after"], data["reason"]) == ("online", "offline", "disconnected")
    assert data["lasted_s"] == pytest.approx(3_605)
    assert data["incident"] == event.incident
    assert data["incident"].startswith("inc-")
    assert data["members"] == []


def test_a_row_that_counts_no_more_has_the_decision_and_the_reason() -> None:
    monitor, _ = after(beating(1), beating(1))
    never = Word(is_always=False, at=WallMs(NOW), by=clean("ann"))
    monitor, (event,) = monitor.with_words({key_of("env-1"): never}, reading())
    found = read(of(event, monitor))
    data = found["data"]
    assert (found["type"], found["subject"]) == ("envwatch.environment.not-alerting", "env-1")
    assert (data["alerting"], data["alerting_rule"], data["reason"]) == (False, "word", "never, by ann, 9 Oct")


def test_the_members_of_a_group_are_rows_with_their_changes() -> None:
    monitor, (event,) = after(beating(12), [environment(f"env-{number}", **OFF) for number in range(1, 13)])
    found = read(of(event, monitor))
    assert found["type"] == "envwatch.group.offline"
    assert "subject" not in found
    assert found["data"]["reason"].startswith("pod pod-1")
    members = found["data"]["members"]
    assert [member["id"] for member in members] == [f"env-{number}" for number in range(1, 13)]
    assert {(member["state"], member["before"], member["after"]) for member in members} == {
        ("offline", "online", "offline")
    }
    assert {member["incident"] for member in members} == {found["data"]["incident"]}


def test_a_change_without_a_reason_keeps_that_of_the_state() -> None:
    monitor, (event,) = after(beating(1), beating(1, currentMode="unrestricted"))
    data = read(of(event, monitor))["data"]
    assert (data["field"], data["before"], data["after"]) == ("mode", "standard", "unrestricted")
    assert data["reason"] == "beating"


def test_blind_and_seen_again_are_events_about_the_fleet() -> None:
    monitor, _ = after(beating(2))
    later = NOW + 70_000
    monitor, changes = monitor.apply(NO_PROFILE, failed(at=later), reading(later))
    (blind,) = changes.events
    found = read(of(blind, monitor))
    assert (found["type"], "subject" in found) == ("envwatch.blind", False)
    assert found["data"]["since"] == "2025-10-09T08:53:20.000Z"
    monitor, changes = monitor.apply(
        NO_PROFILE, listed(beating(2, later + 5_000), later + 5_000), reading(later + 5_000)
    )
    assert "envwatch.resumed" in [of(event, monitor)["type"] for event in changes.events]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_type_of_its_own(kind: Kind) -> None:
    event = Event(kind=kind, at=ServerMs(NOW), id=clean("env-1"))
    assert re.fullmatch(r"envwatch\.environment\.[a-z-]+", type_of(event))
    assert re.fullmatch(r"envwatch\.[a-z-]+", type_of(replace(event, id=None)))
    assert re.fullmatch(r"envwatch\.group\.[a-z-]+", type_of(replace(event, id=None, members=(event,))))
    others = [type_of(replace(event, kind=other)) for other in Kind if other is not kind]
    assert type_of(event) not in others


def test_an_id_is_the_same_for_the_same_event_and_no_other_has_it() -> None:
    rows = beating(3)
    monitor, events = after(rows, [*beating(1, currentMode="x", connectionName="y", userId="z"), environment("env-9")])
    again, same = after(rows, [*beating(1, currentMode="x", connectionName="y", userId="z"), environment("env-9")])
    ids = [of(event, monitor)["id"] for event in events]
    assert len(ids) == 4
    assert len(set(ids)) == 4
    assert ids == [of(event, again)["id"] for event in same]
    later = [of(replace(event, at=ServerMs(event.at + 1)), monitor)["id"] for event in events]
    assert not set(ids) & set(later)
    others = [of(replace(event, profile=clean("work")), _of_profile("work"))["id"] for event in events]
    assert not set(ids) & set(others)


def _of_profile(name: str) -> Monitor:
    return Monitor.create({clean(name): Limits(), clean("other"): Limits()})


def test_a_reason_distinguishes_events_about_the_fleet_and_no_events_about_a_row() -> None:
    monitor, _ = after(beating(1))

    def ids(**changes: Any) -> set[str]:
        events = (Event(kind=Kind.NOTICE, at=NOW, reason=clean(reason), **changes) for reason in ("a", "b"))
        return {of(event, monitor)["id"] for event in events}

    assert len(ids()) == 2
    (own,) = ids(id=clean("env-1"))
    assert re.fullmatch("evt-[0-9a-f]{24}", own)


def test_an_environment_that_has_left_the_fleet_is_as_it_was_then() -> None:
    monitor, (event,) = after(beating(3), [*beating(2), environment("env-3", **OFF)])
    data = read(of(event, Monitor.create({NO_PROFILE: Limits()})))["data"]
    assert (data["id"], data["connection_id"]) == ("env-3", "conn-of-env-3")
    del monitor


def test_an_initial_event_has_the_row_with_its_acknowledgement_and_no_change() -> None:
    monitor, _ = after(beating(1))
    monitor = monitor.with_acks({key_of("env-1"): Ack(NOW, clean("new disks"))})
    (tracked,) = monitor.fleet.environments
    found = read(initial_event(tracked, monitor, reading(), SOURCE))
    assert (found["type"], found["subject"]) == ("envwatch.environment.initial", "env-1")
    data = found["data"]
    assert (data["state"], data["acknowledged"], data["before"], data["after"]) == ("online", "new disks", None, None)


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_name_breaks_the_line(weapon: str) -> None:
    hostile = environment("env-2", connectionName=weapon, currentMode=weapon, userId=weapon, deviceId=weapon)
    monitor, (event,) = after(beating(1), [*beating(1), hostile])
    line = line_of(of(event, monitor))
    assert read(of(event, monitor))["data"]["id"] == "env-2"
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", line)
    assert json.loads(line)["data"]["name"].isprintable()


def test_an_instant_outside_the_calendar_has_no_time() -> None:
    monitor, (event,) = after(beating(1), beating(1, currentMode="unrestricted"))
    assert "time" not in of(replace(event, at=ServerMs(1e18)), monitor)
    assert flatten([event]) == [event]


@pytest.mark.parametrize(
    ("base_url", "source"),
    [
        ("https://api.letta.com", SOURCE),
        ("https://api.letta.com/", SOURCE),
        ("http://[::1]:8283", "http://[::1]:8283/v1/environments"),
        ("https://example.com/a b/ü%20", "https://example.com/a%20b/%C3%BC%20/v1/environments"),
    ],
)
def test_a_source_is_a_uri(base_url: str, source: str) -> None:
    assert source_of(base_url) == source
