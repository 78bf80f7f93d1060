"""The demo fleet's opening; the story does not depend on poll times."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples, first_quick
from support.builders import listed

from envwatch.demo.fleet import SimulatedEnvironment, SimulatedState
from envwatch.demo.lives import simulated_fleet
from envwatch.demo.machines import NEWEST_VERSION, machine_at
from envwatch.demo.scenarios import FleetSpec
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.environment import KNOWN_MODES
from envwatch.model.page import environment_of
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.demo.fleet import SimulatedFleet

START = 1_764_000_000_000
MINUTE = 60_000
SEEDS = (0, 1, 7, 42, 2026)

Row = dict[str, Any]


def presence(row: Row, now: int) -> str:
    beat_at = row["lastHeartbeat"]
    if not row["connectionId"]:
        return "disconnected"
    if beat_at is None or now - beat_at >= 120_000:
        return "silent"
    return "late" if now - beat_at >= 45_000 else "online"


def by_id(fleet: SimulatedFleet, now: int) -> dict[str, Row]:
    rows = fleet.rows(now)
    listing = {row["id"]: row for row in rows}
    assert len(listing) == len(rows)
    return listing


def happenings(before: dict[str, Row], after: dict[str, Row], then: int, now: int) -> set[str]:
    seen = {"appeared" for row_id in after if row_id not in before}
    seen |= {"removed" for row_id in before if row_id not in after}
    for row_id in before.keys() & after.keys():
        old, new = before[row_id], after[row_id]
        was, is_now = presence(old, then), presence(new, now)
        if was != is_now:
            seen.add(is_now if was in {"online", "late"} or is_now in {"online", "late"} else "other")
            if was in {"disconnected", "silent"} and is_now == "online":
                seen.add("back")
        elif is_now == "online" and old["connectionId"] != new["connectionId"]:
            assert old["connectedAt"] < new["connectedAt"]
            seen.add("reconnected")
        if old.get("currentMode") != new.get("currentMode"):
            seen.add(f"mode {new['currentMode']}")
        old_facts, new_facts = old.get("metadata") or {}, new.get("metadata") or {}
        seen |= {key for key in ("gitBranch", "lettaCodeVersion") if old_facts.get(key) != new_facts.get(key)}
    return seen


def story(fleet: SimulatedFleet, seconds: range) -> set[str]:
    seen: set[str] = set()
    before = by_id(fleet, START + seconds[0] * 1_000)
    for then, now in pairwise(seconds):
        after = by_id(fleet, START + now * 1_000)
        seen |= happenings(before, after, START + then * 1_000, START + now * 1_000)
        before = after
    return seen


OPENING = {"appeared", "disconnected", "silent", "back", "reconnected", "late", "mode unrestricted"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [12, 40, 200])
def test_within_20_seconds_every_promised_event_happens(size: int, seed: int) -> None:
    assert story(simulated_fleet(FleetSpec(size, seed), START), range(21)) >= OPENING


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("offset", range(5))
def test_a_poll_every_5_seconds_sees_them_as_well(seed: int, offset: int) -> None:
    assert story(simulated_fleet(FleetSpec(40, seed), START), range(offset, 21, 5)) >= OPENING


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [26, 40])
def test_within_3_minutes_a_machine_is_renamed_and_its_old_row_is_no_loss(size: int, seed: int) -> None:
    fleet, profile_state = simulated_fleet(FleetSpec(size, seed), START), ProfileState()
    renamed: list[Event] = []
    for at in range(START, START + 3 * MINUTE, 5_000):
        rows = [environment_of(row) for row in fleet.rows(at)]
        profile_state, events = profile_state.apply(listed(rows, at))
        renamed += [event for event in flatten(events) if event.kind is Kind.RENAMED]
    (event,) = renamed
    assert event.after == f"{event.before}-new"
    old = profile_state.environments[event.id or clean("")]
    assert old.reason == f"replaced by {event.after}"


@pytest.mark.slow
def test_the_opening_also_plays_among_10_000() -> None:
    assert story(simulated_fleet(FleetSpec(10_000, 7), START), range(0, 21, 4)) >= OPENING


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_of_the_opening_goes_offline_by_age_on_the_same_connection_and_wakes(seed: int) -> None:
    fleet = simulated_fleet(FleetSpec(40, seed), START)
    first = by_id(fleet, START)
    aged = [row for row in first.values() if row["connectionId"] and 110_000 <= START - row["lastHeartbeat"] < 118_000]
    assert len(aged) == 1
    later = by_id(fleet, START + 20_000)[aged[0]["id"]]
    assert presence(later, START + 20_000) == "silent"
    assert later == aged[0]
    minute_later = [by_id(fleet, now)[aged[0]["id"]] for now in range(START + 50_000, START + 92_000, 1_000)]
    awake = next(row for row in minute_later if row["lastHeartbeat"] > START)
    assert {**awake, "lastHeartbeat": 0, "lastSeenAt": 0} == {**aged[0], "lastHeartbeat": 0, "lastSeenAt": 0}


def test_over_an_hour_all_other_events_happen_too() -> None:
    seen = story(simulated_fleet(FleetSpec(40, 7), START), range(0, 3_601, 2))
    assert seen >= OPENING | {"removed", "gitBranch", "lettaCodeVersion", "mode standard", "mode acceptEdits"}


def test_a_pod_is_lost_with_its_environments_which_return_on_another() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    before = by_id(fleet, START + 3 * MINUTE - 1)
    after = by_id(fleet, START + 3 * MINUTE)
    lost = [before[row_id] for row_id in before if before[row_id]["connectionId"] and not after[row_id]["connectionId"]]
    assert len(lost) >= 10
    assert len({row["podId"] for row in lost}) == 1
    later = by_id(fleet, START + 4 * MINUTE)
    assert {row["podId"] for row in lost}.isdisjoint(later[row["id"]]["podId"] for row in lost)


@pytest.mark.parametrize("seed", first_quick(SEEDS))
@pytest.mark.parametrize("size", [5, 40, pytest.param(150, marks=pytest.mark.slow)])
def test_most_are_online_and_the_size_is_kept_for_a_day(size: int, seed: int) -> None:
    fleet = simulated_fleet(FleetSpec(size, seed), START)
    for minute in range(7, 24 * 60, 17):
        now = START + minute * MINUTE
        rows = fleet.rows(now)
        online = sum(presence(row, now) in {"online", "late"} for row in rows)
        assert online > len(rows) / 2
        assert abs(len(rows) - size) <= 1


def test_some_are_offline_after_a_day_too() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    now = [START + (24 * 60 + minute) * MINUTE for minute in range(30)]
    assert any(presence(row, at) in {"disconnected", "silent"} for at in now for row in fleet.rows(at))


@pytest.mark.parametrize(
    ("size", "fewest", "most"), [(40, 120, 900), pytest.param(10_000, 900, 7_200, marks=pytest.mark.slow)]
)
def test_the_pace_is_calm_at_any_size(size: int, fewest: int, most: int) -> None:
    fleet = simulated_fleet(FleetSpec(size, 3), START)
    changes = 0
    before = by_id(fleet, START + 20_000)
    for second in range(35, 171, 15):
        after = by_id(fleet, START + second * 1_000)
        for row_id in before.keys() & after.keys():
            old, new = before[row_id], after[row_id]
            changes += old["connectionId"] != new["connectionId"] or old.get("metadata") != new.get("metadata")
        before = after
    assert fewest <= changes * 24 <= most


def test_one_machine_flaps() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    changes: Counter[str] = Counter()
    before = by_id(fleet, START)
    for second in range(10, 601, 10):
        after = by_id(fleet, START + second * 1_000)
        changes.update(
            row_id
            for row_id in before.keys() & after.keys()
            if (before[row_id]["connectionId"] is None) != (after[row_id]["connectionId"] is None)
        )
        before = after
    (_, flaps), (_, others) = changes.most_common(2)
    assert flaps >= 12
    assert others <= 6


def test_a_heartbeat_ages_to_just_under_30_seconds_and_starts_again() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    row = next(row for row in fleet.rows(START) if row["connectionName"].startswith("staging"))
    ages = [at - by_id(fleet, at)[row["id"]]["lastHeartbeat"] for at in range(START, START + 90_000, 500)]
    assert 0 <= min(ages) < 500
    assert 29_500 <= max(ages) < 30_000
    heartbeats = {at - age for at, age in zip(range(START, START + 90_000, 500), ages, strict=True)}
    assert len(heartbeats) == 4
    assert {later - earlier for earlier, later in pairwise(sorted(heartbeats))} == {30_000}


def test_the_beats_of_a_fleet_are_spread_over_the_30_seconds() -> None:
    rows = simulated_fleet(FleetSpec(1_000, 7), START).rows(START)
    thirds = Counter((START - row["lastHeartbeat"]) // 10_000 for row in rows if presence(row, START) == "online")
    assert min(thirds[0], thirds[1], thirds[2]) > 200


@given(
    size=st.integers(0, 30),
    seed=st.integers(0, 2**32),
    moments=st.lists(st.integers(0, 40 * MINUTE), min_size=1, max_size=6),
)
@settings(max_examples=examples(40), deadline=None)
def test_a_moment_is_the_same_whatever_was_asked_before(size: int, seed: int, moments: list[int]) -> None:
    asked_often = simulated_fleet(FleetSpec(size, seed), START)
    for moment in moments:
        rows = asked_often.rows(START + moment)
        assert rows == simulated_fleet(FleetSpec(size, seed), START).rows(START + moment)


def test_another_seed_is_another_fleet() -> None:
    first, second = (by_id(simulated_fleet(FleetSpec(40, seed), START), START) for seed in (1, 2))
    assert first.keys().isdisjoint(second.keys())


@pytest.mark.parametrize("size", [0, 1, 5, 40, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_fleet_has_the_requested_size(size: int) -> None:
    fleet = simulated_fleet(FleetSpec(size, 7), START)
    assert len(by_id(fleet, START)) == size
    assert len(by_id(fleet, START + 60 * MINUTE)) in ({0} if size == 0 else {size, size + 1})


def test_the_listing_is_newest_first_and_keeps_its_order() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    first = [row["id"] for row in fleet.rows(START)]
    for minute in range(1, 120, 7):
        rows = fleet.rows(START + minute * MINUTE)
        seen_at = [row["firstSeenAt"] for row in rows]
        assert seen_at == sorted(seen_at, reverse=True)
        kept = [row["id"] for row in rows if row["id"] in set(first)]
        assert kept == [row_id for row_id in first if row_id in set(kept)]


@given(limit=st.integers(1, 50), size=st.integers(0, 60), minute=st.integers(0, 600))
@settings(max_examples=examples(60), deadline=None)
def test_the_pages_joined_are_the_whole_listing(limit: int, size: int, minute: int) -> None:
    fleet, now = simulated_fleet(FleetSpec(size, 7), START), START + minute * MINUTE
    joined: list[Row] = []
    has_next_page = True
    after = None
    while has_next_page:
        page, has_next_page = fleet.page(now, limit=limit, after=after)
        assert len(page) == limit or not has_next_page
        ids = {row["id"]: row for row in fleet.rows(now)}
        joined += [ids[row_id] for row_id in (text.split(b'"')[3].decode() for text in page)]
        after = joined[-1]["id"] if joined else None
    assert joined == fleet.rows(now)


def test_a_row_that_leaves_during_a_walk_still_marks_its_place() -> None:
    fleet = simulated_fleet(FleetSpec(40, 7), START)
    early, late = START, START + 60 * MINUTE
    removed = next(row["id"] for row in fleet.rows(early) if row["id"] not in by_id(fleet, late))
    rows, _ = fleet.page(late, limit=None, after=removed)
    older = [row["id"] for row in fleet.rows(early)]
    assert b"".join(rows).find(b'"id":"%b"' % older[older.index(removed) + 1].encode()) >= 0
    assert 0 < len(rows) < 40


@pytest.fixture(scope="module")
def default_rows() -> list[Row]:
    return simulated_fleet(FleetSpec(40, 7), START).rows(START)


def test_no_machine_has_an_old_version_and_a_device_id_of_an_organization() -> None:
    """The option `--org`, which makes such a device id, exists from 0.34.10 on."""
    machines = [machine_at(FleetSpec(200, seed), index) for seed in SEEDS for index in range(200)]
    hashed = [machine for machine in machines if len(machine.identity["device_id"]) == 32]
    assert {machine.version for machine in hashed} == {NEWEST_VERSION}


def test_every_form_of_a_device_id_is_there(default_rows: list[Row]) -> None:
    devices = Counter(row["deviceId"] for row in default_rows)
    forms = Counter(
        "desktop" if device.startswith("desktop:")
        else "sandbox" if device.startswith("sandbox-agent-")
        else "hex" if len(device) == 32
        else "uuid"
        for device in devices
    )  # fmt: skip
    assert min(forms[form] for form in ("desktop", "sandbox", "hex", "uuid")) >= 2
    twins = [row for row in default_rows if devices[row["deviceId"]] == 2]
    assert len(twins) == 2
    assert twins[0]["listenerInstanceId"] != twins[1]["listenerInstanceId"]
    assert twins[0]["connectionName"] == twins[1]["connectionName"]


def test_rows_of_the_desktop_app_follow_each_of_its_rules(default_rows: list[Row]) -> None:
    apps = [row for row in map(environment_of, default_rows) if row.is_desktop_app]
    kinds = Counter(
        ("local" if row.organization_id == "local" else (row.listener_instance_id or "").partition(":")[0])
        for row in apps
    )
    assert kinds == {"desktop-primary": 1, "desktop-direct-cloud": 1, "local": 1}
    assert {(row.self_update or {})["manual_command"] for row in apps} == {
        "Update the Letta Code desktop app, then restart it."
    }


def test_machines_say_their_model_their_graphics_processors_and_what_they_speak(default_rows: list[Row]) -> None:
    machines = [row["metadata"].get("machine", {}) for row in default_rows if "metadata" in row]
    assert {"Container", "Mac15,6"} <= {machine.get("model") for machine in machines}
    assert any(machine.get("gpus") for machine in machines)
    current = [row for row in map(environment_of, default_rows) if row.message_protocol == "v2-input"]
    assert 20 < len(current) < 40
    assert all(row.has_paired_generations and row.subagents_notify_caller for row in current)


def test_modes_known_legacy_unknown_null_and_absent_are_there(default_rows: list[Row]) -> None:
    modes = {row.get("currentMode", "absent") for row in default_rows}
    assert modes >= {*KNOWN_MODES, "plan", None, "absent"}


def test_absent_and_null_parts_are_there(default_rows: list[Row]) -> None:
    facts = [row["metadata"] for row in default_rows if "metadata" in row]
    assert 0 < len(facts) < 40
    for part in ("gitBranch", "workingDirectory", "self_update", "machine"):
        assert 0 < sum(part in fact for fact in facts) < len(facts)
    for part in ("userId", "apiKeyOwner", "listenerInstanceId"):
        assert 20 < sum(part in row for row in default_rows) < 40
    updates = [
        (fact["self_update"]["supported"], fact["self_update"]["writable"]) for fact in facts if "self_update" in fact
    ]
    assert set(updates) == {(True, True), (True, False), (False, False)}
    assert any({"reason", "manual_command"} <= fact.get("self_update", {}).keys() for fact in facts)
    assert {fact["os"] for fact in facts} == {"darwin", "linux", "win32"}
    assert Counter(fact["lettaCodeVersion"] for fact in facts).most_common(1)[0][0] == NEWEST_VERSION


def test_all_forms_of_offline_and_both_kinds_of_numbers_are_there(default_rows: list[Row]) -> None:
    offline = [row for row in default_rows if presence(row, START) in {"disconnected", "silent"}]
    forms = {(row["connectionId"] is None, row["lastHeartbeat"] is None) for row in offline}
    assert forms == {(True, True), (False, False), (True, False)}
    nulls = [row for row in offline if row["connectionId"] is None and row["lastHeartbeat"] is None]
    assert all(row["connectedAt"] is None and row["podId"] is None for row in nulls)
    assert any(START - row["lastSeenAt"] > 24 * 60 * MINUTE for row in offline)
    assert {type(row["firstSeenAt"]) for row in default_rows} == {int, float}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_time_lies_in_the_future_or_out_of_order(seed: int) -> None:
    fleet = simulated_fleet(FleetSpec(40, seed), START)
    for now in range(START, START + 30 * MINUTE, 7_777):
        for row in fleet.rows(now):
            assert row["firstSeenAt"] <= row["lastSeenAt"] <= now
            assert row["connectedAt"] is None or row["firstSeenAt"] <= row["connectedAt"] <= now
            if row["lastHeartbeat"] is not None:
                assert (row["connectedAt"] or 0) <= row["lastHeartbeat"] <= now


@pytest.mark.parametrize(("age", "is_online"), [(119_999, True), (120_000, False)])
def test_the_official_rule_holds_at_its_boundary(age: int, is_online: bool) -> None:  # noqa: FBT001 - a table
    blank = SimulatedState(
        since=START,
        connection_id=None,
        connected_at=None,
        pod_id=None,
        beat_at=None,
        is_beating=False,
        seen_at=START,
        mode=None,
        version=NEWEST_VERSION,
        branch=None,
        directory=None,
    )
    silent = blank.connected(START, "conn-1", "p-1").silent(START)
    environment = SimulatedEnvironment(machine_at(FleetSpec(40, 7), 0), 0, silent)
    assert environment.is_online(START + age) is is_online
