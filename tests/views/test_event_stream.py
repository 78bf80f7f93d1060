"""The lines of `watch`: a replay gives the fleet, filters, and CloudEvents as the official SDK reads them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import HealthCheck, settings
from support.budget import examples
from support.builders import NOW, beating, environment, failed, key_of, listed, reading
from support.fleet_state_machine import MonitoredMachine
from support.hostile_fleet import WEAPONS
from support.tracked_environments import fleet_of, named, tracked

from envwatch.alerts.alert_policy import Word
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.environment import mode_of
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.events.cloud_events import cloud_event, cloud_event_line, initial_event, source_of, type_of
from envwatch.views.events.event_stream import EventStream, Layout, layout_of
from envwatch.views.state_style import painted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


SOURCES = {NO_PROFILE: "https://api.letta.com/v1/environments"}
UP = {"online", "late"}


def fields_of_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line reader's fields of an environment; pod and connection only while up."""
    state = row["last_state"] or row["state"]
    is_up = state in UP
    return {
        "state": "up" if is_up else state,
        "name": row["name"],
        "mode": mode_of(row["mode"]),
        "version": row["version"],
        "branch": row["branch"],
        "directory": row["working_directory"],
        "node": row["node_version"],
        "os": row["os"],
        "user": row["user_id"],
        "pod": row["pod_id"] if is_up else None,
        "connection": row["connection_id"] if is_up else None,
    }


def fields_of(tracked: TrackedEnvironment) -> dict[str, Any]:
    environment, is_up = tracked.environment, tracked.verdict.is_up
    return {
        "state": "up" if is_up else tracked.presence.value,
        "name": environment.name,
        "mode": mode_of(environment.mode),
        "version": environment.version,
        "branch": environment.branch,
        "directory": environment.working_directory,
        "node": environment.node_version,
        "os": environment.os,
        "user": environment.user_id,
        "pod": environment.pod_id if is_up else None,
        "connection": environment.connection_id if is_up else None,
    }


class ReplayMachine(MonitoredMachine):
    """The simulated platform of the fleet's invariants, with a reader that replays the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = EventStream(sources=SOURCES, is_json=True, has_initial=True)
        self.known: dict[str, dict[str, Any]] = {}
        self.ids: set[str] = set()

    def _take(self, rows: list[Environment], seed: int) -> None:
        if not self._could_be_either_clock(rows):
            self.now, self.monotonic = self.now + 1, self.monotonic + 0.001  # no two polls begin at one moment
            self._poll(self._listed(rows, 0))
            super()._take(rows, seed)

    def _poll(self, outcome: Outcome) -> None:
        before, now = self.monitor, self._clocks(0)
        self.monitor, changes = before.apply(NO_PROFILE, outcome, now)
        for line in self.stream.lines(before, self.monitor, changes.events, now):
            event = json.loads(line)
            assert event["id"] not in self.ids, "an id came twice"
            self.ids.add(event["id"])
            for data in event["data"]["members"] or [event["data"]]:
                if "id" in data:
                    self.known[data["id"]] = fields_of_row(data)
        profile_state = {tracked.environment.id: fields_of(tracked) for tracked in self.monitor.fleet.environments}
        left = self.known.keys() - profile_state.keys()
        assert all(self.known[id_]["state"] == Presence.GONE for id_ in left), "forgotten, and not gone"
        assert {id_: self.known[id_] for id_ in self.known.keys() - left} == profile_state, (
            "the lines disagree with the fleet"
        )


TestReplay = ReplayMachine.TestCase
TestReplay.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def lines(stream: EventStream, *outcomes: Outcome) -> list[str]:
    monitor, found = Monitor.create({NO_PROFILE: Limits()}), []
    for outcome in outcomes:
        now = outcome.ended if isinstance(outcome, Listed) else reading(NOW + 100_000)
        before = monitor
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        found += [line.decode() for line in stream.lines(before, monitor, changes.events, now)]
    return found


def text(query: str = "", *, initial: bool = False) -> EventStream:
    return EventStream(sources=SOURCES, query=parse(query), has_initial=initial)


LOOKS = {"up": "online", "late": "late", "off": "offline", "old": "gone"}
OFF = {"connectionId": None, "lastHeartbeat": None}
FIRST = listed([*beating(2), environment("env-3", podId="p-7")])
THEN = listed([environment("env-1", **OFF), *beating(2)[1:], environment("env-3", podId=None, **OFF)], NOW + 5_000)


def test_a_line_has_columns_and_a_profile_only_with_several() -> None:
    words = clean("offline"), clean("work"), clean("web"), clean("disconnected")
    assert Layout(5).line(NOW, *words) == "2025-10-09T08:53:20Z  offline        web    disconnected"
    assert Layout(5, 6).line(NOW, *words) == "2025-10-09T08:53:20Z  offline        work    web    disconnected"
    assert Layout(1).line(1e300, *words[:3], clean("")) == "–  offline        web"
    profiles = clean("home"), clean("office")
    assert layout_of(Monitor.create(dict.fromkeys(profiles, Limits())).fleet) == Layout(1, 6)


@pytest.mark.parametrize(
    ("names", "width"),
    [
        ([], 1),
        (["web"], 3),
        (["漢字漢字"], 8),
        (["a", "b"], 10),
        (["a" * 15, "b"], 15),
        (["a" * 40], 40),
        (["a" * 41], 40),
        (["a", "a"], 10),
    ],
)
def test_the_name_has_room_for_the_longest_name_and_for_the_number_of_a_group(names: list[str], width: int) -> None:
    rows = [
        named(name) if number == 0 else tracked(id=f"env-{number}", connectionName=name)
        for number, name in enumerate(names)
    ]
    assert layout_of(fleet_of(rows)).name == width
    assert layout_of(fleet_of(rows)).profile == 0


def test_the_first_listing_is_optional_and_a_filter_keeps_events_about_the_fleet() -> None:
    assert lines(text(), FIRST) == []
    assert len(lines(text(initial=True), FIRST)) == 3
    assert len(lines(text(initial=True), FIRST, FIRST)) == 3
    found = lines(text("pod:none-such"), FIRST, failed(at=NOW + 100_000))
    assert [line.split()[1] for line in found] == ["blind"]


@pytest.mark.parametrize(
    ("query", "first", "then"),
    [("", 3, {"env-1", "env-3"}), ("pod:p-7", 1, {"env-3"}), ("!pod:p-7", 2, {"env-1"}), ("env-1", 1, {"env-1"})],
)
def test_a_filter_keeps_environments_with_a_match_at_the_time(query: str, first: int, then: set[str]) -> None:
    found = lines(text(query, initial=True), FIRST, THEN)
    assert len([line for line in found if " initial " in line]) == first
    assert {id_ for line in found if " offline " in line for id_ in ("env-1", "env-3") if id_ in line} >= then
    assert len([line for line in found if " initial " not in line]) == len(then)


def test_each_profile_has_its_own_first_lines_and_source() -> None:
    names = (clean("home"), clean("work"))
    stream = EventStream(
        sources={name: f"https://{name}.example/v1/environments" for name in names},
        is_json=True,
        has_initial=True,
    )
    monitor = Monitor.create(dict.fromkeys(names, Limits()))
    found = []
    for name in names:
        before = monitor
        monitor, changes = monitor.apply(name, listed(beating(1)), reading())
        found += [json.loads(line) for line in stream.lines(before, monitor, changes.events, reading())]
    assert [(each["source"], each["data"]["profile"]) for each in found] == [
        ("https://home.example/v1/environments", "home"),
        ("https://work.example/v1/environments", "work"),
    ]
    assert found[0]["id"] != found[1]["id"]


@pytest.mark.parametrize(("query", "ids"), [("", ["env-1", "env-3"]), ("pod:p-7", ["env-3"])])
def test_events_of_earlier_runs_have_the_same_lines_without_their_fleet(query: str, ids: list[str]) -> None:
    """The line has the event's fields of the row at that time, whatever happened later."""
    stream = EventStream(sources=SOURCES, is_json=True, query=parse(query))
    live = [json.loads(line) for line in lines(stream, FIRST, THEN)]
    first, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, FIRST, FIRST.ended)
    monitor, changes = first.apply(NO_PROFILE, THEN, THEN.ended)
    past = [json.loads(line) for line in stream.past_lines(changes.events, monitor.fleet)]
    for then, now in zip(past, live, strict=True):
        assert {name: then[name] for name in then if name != "data"} == {
            name: now[name] for name in now if name != "data"
        }
        assert then["data"].keys() == now["data"].keys()
        newer = {name for name, value in now["data"].items() if value != then["data"][name]}
        assert newer <= {"connection_id", "pod_id", "last_heartbeat_at", "heartbeat_age_s"}
    assert [event["subject"] for event in past] == ids
    words = [line.decode() for line in text(query).past_lines(changes.events, monitor.fleet)]
    assert words == lines(text(query), FIRST, THEN)


def test_a_first_line_has_the_colour_of_the_state_and_of_a_loss_only_if_the_loss_needs_a_person() -> None:
    rows = [
        environment("up", lastHeartbeat=NOW),
        environment("late", lastHeartbeat=NOW - 60_000),
        environment("off", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 60_000),
        environment("old", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 2 * 86_400_000),
    ]
    found = lines(replace(text(initial=True), has_colours=True), listed(rows))
    codes = {line.split(" of ")[1].split()[0]: line.partition("\x1b[")[2].partition("m")[0] for line in found}
    plain = {name: painted(clean("x"), style).partition("\x1b[")[2].partition("m")[0] for name, style in LOOKS.items()}
    assert codes == plain
    assert all(line.count("\x1b[") == 2 and "initial" in line for line in found if "of up" not in line)


@pytest.mark.parametrize(("minutes", "offset"), [(0, "Z"), (345, "+05:45")])
def test_every_line_of_text_has_the_time_of_the_zone(minutes: int, offset: str) -> None:
    stream = replace(text(initial=True), zone=timezone(timedelta(minutes=minutes)))
    first, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, FIRST, FIRST.ended)
    monitor, changes = first.apply(NO_PROFILE, THEN, THEN.ended)
    past = [line.decode() for line in stream.past_lines(changes.events, monitor.fleet)]
    live = lines(stream, FIRST, THEN)
    assert len(live) > len(past) > 0
    assert all(line.split()[0].endswith(offset) for line in (*past, *live))


# CloudEvents.


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
    line = cloud_event_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = JSONFormat().read(None, line)
    data = found.get_data()
    assert isinstance(data, dict)
    return {**found.get_attributes(), "data": data}


def test_a_loss_has_the_new_row_and_the_change() -> None:
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


def test_a_row_without_alerts_from_now_on_has_the_decision_and_the_reason() -> None:
    monitor, _ = after(beating(1), beating(1))
    never = Word(is_always=False, at=WallMs(NOW), by=clean("ann"))
    monitor, (event,) = monitor.with_words({key_of("env-1"): never}, reading())
    found = read(of(event, monitor))
    data = found["data"]
    assert (found["type"], found["subject"]) == ("envwatch.environment.does-not-page", "env-1")
    assert (data["pages"], data["pages_by"], data["reason"]) == (False, "override", "never, by ann, 9 Oct")


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


def test_a_change_without_a_reason_keeps_the_reason_of_the_state() -> None:
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


def test_an_id_is_of_one_event_alone_also_in_another_run() -> None:
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


def test_an_environment_outside_the_fleet_is_as_before() -> None:
    monitor, (event,) = after(beating(3), [*beating(2), environment("env-3", **OFF)])
    data = read(of(event, Monitor.create({NO_PROFILE: Limits()})))["data"]
    assert (data["id"], data["connection_id"]) == ("env-3", "conn-of-env-3")
    del monitor


def test_an_initial_event_has_the_row_with_its_acknowledgement_and_no_change() -> None:
    monitor, _ = after([environment("env-1", **OFF)])
    monitor = monitor.with_acks({key_of("env-1"): Ack(NOW, clean("new disks"))})
    (tracked,) = monitor.fleet.environments
    found = read(initial_event(tracked, monitor, reading(), SOURCE))
    assert (found["type"], found["subject"]) == ("envwatch.environment.initial", "env-1")
    data = found["data"]
    assert (data["state"], data["acknowledged"], data["before"], data["after"]) == ("offline", "new disks", None, None)


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_name_breaks_the_line(weapon: str) -> None:
    hostile = environment("env-2", connectionName=weapon, currentMode=weapon, userId=weapon, deviceId=weapon)
    monitor, (event,) = after(beating(1), [*beating(1), hostile])
    line = cloud_event_line(of(event, monitor))
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
