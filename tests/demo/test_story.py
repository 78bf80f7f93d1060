"""The demo's story: one walk over the table, and the rows at any moment."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import listed

from envwatch.demo.fleet import HEARTBEAT_MS, DemoFleet
from envwatch.demo.machines import ARRIVALS, NEWEST, ROSTER
from envwatch.demo.story import DAY, HINTS, LIFE, LIFE_EVERY, LIFE_FROM, NIGHT, OPENING, Change, What
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.environment import KNOWN_MODES
from envwatch.model.listing_api import is_online
from envwatch.model.page import parse_environment
from envwatch.model.text import clean

START = 1_764_000_000_000
MINUTE = 60_000
DAY_MS = int(DAY * 1_000)
TWINS = {"sofia-workstation", "sandbox"}
NAMES = {each.name for each in (*ROSTER, *ARRIVALS)} - TWINS

Row = dict[str, Any]


def row_of(fleet: DemoFleet, name: str, elapsed_s: float) -> Row | None:
    rows = fleet.rows(START + round(elapsed_s * 1_000))
    return next((row for row in rows if row["connectionName"] == name), None)


def has_happened(change: Change, row: Row | None) -> bool:
    if row is None:
        return change.what is What.GONE
    metadata = row.get("metadata") or {}
    at = START + round(change.at * 1_000)
    happened: dict[What, bool] = {
        What.LOST: row["connectionId"] is None,
        What.BACK: row["connectedAt"] == row["lastHeartbeat"] == at,
        What.SILENT: row["connectionId"] is not None and at - HEARTBEAT_MS < row["lastHeartbeat"] <= at,
        What.BEATS: row["connectionId"] is not None and row["lastHeartbeat"] == at,
        What.GONE: False,
        What.MODE: row.get("currentMode") == change.value,
        What.BRANCH: metadata.get("gitBranch") == change.value,
    }
    return happened[change.what]


def test_every_line_is_about_rows_of_the_fleet() -> None:
    groups = {value for each in ROSTER for value in (each.role, f"{each.role} {each.version}")} | {"p-5", "p-6", "p-7"}
    assert {change.rows for change in (*NIGHT, *OPENING, *LIFE)} <= NAMES | groups


def test_each_line_about_a_single_row_happens_at_its_second() -> None:
    fleet = DemoFleet(40, START)
    later = [each._replace(at=LIFE_FROM + turn * LIFE_EVERY + each.at) for turn in (0, 1, 95) for each in LIFE]
    walked = [each for each in (*NIGHT, *OPENING, *later) if each.rows in NAMES]
    assert [each for each in walked if not has_happened(each, row_of(fleet, each.rows, each.at))] == []
    changed = [each for each in walked if each.what not in {What.SILENT, What.BEATS, What.BACK}]
    assert [each for each in changed if has_happened(each, row_of(fleet, each.rows, each.at - 0.001))] == []


def online_on(fleet: DemoFleet, pod: str, elapsed_s: float) -> set[str]:
    now = START + round(elapsed_s * 1_000)
    rows = [row for row in fleet.rows(now) if is_online(row["connectionId"], row["lastHeartbeat"], now)]
    return {row["id"] for row in rows if row["podId"] == pod}


@pytest.mark.parametrize(
    ("lost_at", "back_by", "before", "after"), [(-44 * 60, -29 * 60, "p-4", "p-6"), (180, 230, "p-7", "p-8")]
)
def test_a_power_cut_takes_a_whole_pod_and_its_rows_return_together_on_another(
    lost_at: float, back_by: float, before: str, after: str
) -> None:
    fleet = DemoFleet(40, START)
    lost = online_on(fleet, before, lost_at - 1)
    assert len(lost) == 13
    assert online_on(fleet, before, lost_at) == set()
    assert online_on(fleet, after, back_by) == lost


def test_overnight_a_version_is_rolled_out_and_laptops_sleep() -> None:
    fleet = DemoFleet(40, START)
    moments = [[*map(parse_environment, fleet.rows(START - round(hours * 3_600_000)))] for hours in (14, 5.25, 4.9)]
    old, some, none = ([row for row in rows if row.version == "0.34.11"] for rows in moments)
    assert len(old) > len(some) > len(none) == 0
    at_night = START - 14 * 60 * MINUTE
    laptops = {each.name for each in ROSTER if each.role == "laptop"}
    asleep = [row for row in moments[0] if row.name in laptops and at_night - (row.last_heartbeat_at or 0) > 120_000]
    assert len(asleep) == len(laptops)


def test_a_machine_with_a_new_name_is_no_loss() -> None:
    fleet, state = DemoFleet(40, START), ProfileState()
    found: list[Event] = []
    for at in range(START, START + 3 * MINUTE, 5_000):
        state, events = state.apply(listed([parse_environment(row) for row in fleet.rows(at)], at))
        found += flatten(events)
    (event,) = (each for each in found if each.kind is Kind.RENAMED)
    assert (event.before, event.after) == ("mac-mini-25", "mac-mini-25-new")
    old = state.environments[event.id or clean("")]
    assert old.reason == "replaced by mac-mini-25-new"
    assert {Kind.OFFLINE, Kind.ONLINE, Kind.MODE, Kind.APPEARED, Kind.RECONNECTED} <= {each.kind for each in found}


def test_one_thing_happens_at_a_time_until_the_power_cut() -> None:
    times = sorted({each.at for each in OPENING if 0 < each.at <= 180})
    assert all(later - earlier >= 8 or (earlier, later) == (100, 104) for earlier, later in pairwise(times))


def test_hints_come_after_each_other_and_use_an_action_once() -> None:
    times = [at for at, _, _ in HINTS]
    assert times == sorted(times)
    actions = [action for _, of_hint, _ in HINTS for action in of_hint]
    assert len(set(actions)) == len(actions)


@given(size=st.integers(0, 130), moments=st.lists(st.integers(-DAY_MS, 10 * DAY_MS), min_size=1, max_size=4))
@settings(max_examples=examples(40), deadline=None)
def test_a_moment_is_the_same_whatever_was_asked_before(size: int, moments: list[int]) -> None:
    asked_often = DemoFleet(size, START)
    for moment in moments:
        assert asked_often.rows(START + moment) == DemoFleet(size, START).rows(START + moment)


FLEET = DemoFleet(40, START)


@given(moment=st.integers(-DAY_MS, DAY_MS))
@settings(max_examples=examples(60), deadline=None)
def test_no_time_lies_in_the_future_or_out_of_order_and_the_newest_row_is_first(moment: int) -> None:
    now = START + moment
    rows = FLEET.rows(now)
    for row in rows:
        assert row["firstSeenAt"] <= row["lastSeenAt"] <= now
        assert row["connectedAt"] is None or row["firstSeenAt"] <= row["connectedAt"] <= now
        if row["lastHeartbeat"] is not None:
            assert (row["connectedAt"] or 0) <= row["lastHeartbeat"] <= row["lastSeenAt"]
    first_seen = [row["firstSeenAt"] for row in rows]
    assert first_seen == sorted(first_seen, reverse=True)


@pytest.mark.parametrize("size", [0, 5, 40, 130])
def test_a_fleet_has_the_requested_size_and_most_rows_are_online_for_days(size: int) -> None:
    fleet = DemoFleet(size, START)
    for minute in range(0, 3 * 24 * 60, 397):
        now = START + minute * MINUTE
        rows = fleet.rows(now)
        assert size <= len(rows) <= size + 2
        online = sum(is_online(row["connectionId"], row["lastHeartbeat"], now) for row in rows)
        assert online > len(rows) / 2 or size == 0


@given(limit=st.integers(1, 50), size=st.integers(0, 60), minute=st.integers(0, 600))
@settings(max_examples=examples(60), deadline=None)
def test_the_pages_joined_are_the_whole_listing(limit: int, size: int, minute: int) -> None:
    fleet, now = DemoFleet(size, START), START + minute * MINUTE
    whole, _ = DemoFleet(size, START).page(now)
    ids = [row["id"] for row in DemoFleet(size, START).rows(now)]
    joined: list[bytes] = []
    has_next_page = True
    while has_next_page:
        page, has_next_page = fleet.page(now, limit=limit, after=ids[len(joined) - 1] if joined else None)
        assert len(page) == limit or not has_next_page
        joined += page
    assert joined == whole


def test_a_row_gone_during_a_walk_still_marks_its_place() -> None:
    fleet = DemoFleet(40, START)
    early, late = (fleet.rows(START + seconds * 1_000) for seconds in (390, 410))
    (gone,) = (place for place, row in enumerate(early) if row["id"] not in {each["id"] for each in late})
    rows, _ = fleet.page(START + 410_000, after=early[gone]["id"])
    assert f'"id":"{early[gone + 1]["id"]}"'.encode() in rows[0]


@pytest.fixture(scope="module")
def default_rows() -> list[Row]:
    return DemoFleet(40, START).rows(START)


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
    assert {row["connectionName"] for row in twins} == {"sofia-workstation"}
    assert len({row["listenerInstanceId"] for row in twins}) == 2
    # The option `--org`, which makes such a device id, exists from 0.34.10 on.
    assert {each.version for each in ROSTER if each.device == "hex"} == {NEWEST}


def test_rows_of_the_desktop_app_follow_each_of_its_rules(default_rows: list[Row]) -> None:
    apps = [row for row in map(parse_environment, default_rows) if row.is_desktop_app]
    kinds = Counter(
        ("local" if row.organization_id == "local" else (row.listener_instance_id or "").partition(":")[0])
        for row in apps
    )
    assert kinds == {"desktop-primary": 1, "desktop-direct-cloud": 1, "local": 1}
    assert {(row.self_update or {})["manual_command"] for row in apps} == {
        "Update the Letta Code desktop app, then restart it."
    }


def test_known_legacy_and_unknown_values_absent_and_null_parts_are_there(default_rows: list[Row]) -> None:
    assert {row.get("currentMode", "absent") for row in default_rows} >= {*KNOWN_MODES, "plan", None, "absent"}
    facts = [row["metadata"] for row in default_rows if "metadata" in row]
    assert 0 < len(facts) < 40
    for part in ("gitBranch", "workingDirectory", "self_update", "machine", "team"):
        assert 0 < sum(part in fact for fact in facts) < len(facts)
    for part in ("userId", "apiKeyOwner", "listenerInstanceId"):
        assert 20 < sum(part in row for row in default_rows) < 40
    updates = {(each["supported"], each["writable"]) for each in (fact.get("self_update") for fact in facts) if each}
    assert updates == {(True, True), (True, False), (False, False)}
    assert {fact["os"] for fact in facts} == {"darwin", "linux", "win32"}
    models = {fact["machine"].get("model") for fact in facts if "machine" in fact}
    assert {"Container", "Mac15,6", None} <= models
    assert Counter(fact["lettaCodeVersion"] for fact in facts).most_common(1)[0][0] == NEWEST


def test_all_forms_of_offline_are_there(default_rows: list[Row]) -> None:
    offline = [row for row in default_rows if not is_online(row["connectionId"], row["lastHeartbeat"], START)]
    forms = {(row["connectionId"] is None, row["lastHeartbeat"] is None) for row in offline}
    assert forms == {(True, True), (False, False)}
    assert any(START - row["lastSeenAt"] > DAY_MS for row in offline)


def test_only_machines_with_a_current_version_know_all_commands(default_rows: list[Row]) -> None:
    facts = [row["metadata"] for row in default_rows if "metadata" in row]
    known = {(each["lettaCodeVersion"].startswith("0.34"), len(each["supported_commands"])) for each in facts}
    assert known == {(True, 8), (False, 1)}


def test_a_machine_beats_every_30_s() -> None:
    fleet = DemoFleet(12, START)
    beats = {row["lastHeartbeat"] for s in range(0, 40, 5) if (row := row_of(fleet, "chen-nas", s)) is not None}
    assert [later - earlier for earlier, later in pairwise(sorted(beats))] == [30_000]
