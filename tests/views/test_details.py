"""All that is known of one environment, as labelled lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, watched
from support.tracked_environments import BARE

from envwatch.fleet.anomalies import StallDetector
from envwatch.model.text import Clean
from envwatch.model.times import TimeStyle, zone_of
from envwatch.views.details import (
    Copy,
    DetailLine,
    copies,
    environment_lines,
    event_lines,
    heading,
    identity_lines,
    missed_beats,
    stall_lines,
    why,
)

if TYPE_CHECKING:
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


def fleet_of(*rows: Environment) -> Fleet:
    return watched([listed(rows)])[0]


def all_facts(tracked: TrackedEnvironment, fleet: Fleet) -> list[DetailLine]:
    """What a listing tells of a row, from the top of the pane to its end."""
    return [*environment_lines(tracked, fleet), *identity_lines(tracked.environment)]


def facts_of(*others: Environment, **changes: Any) -> dict[str, str]:
    row = environment("env-1", **changes)
    fleet = fleet_of(row, *others)
    return {fact.label: fact.text for fact in all_facts(fleet.environments[row.id], fleet)}


def stall_detector(row: Environment, at: float = NOW, style: TimeStyle = TimeStyle.UTC) -> dict[str, str]:
    fleet = fleet_of(row)
    return {fact.label: fact.text for fact in stall_lines(fleet.environments[row.id], fleet, reading(at), style)}


def test_a_healthy_row_tells_everything_by_its_name() -> None:
    assert facts_of() == {
        "mode": "standard · normal approvals",
        "version": "0.34.12 · newest here",
        "branch": "main",
        "directory": "/home/hiro/code/portal",
        "host": "linux · Ryzen 7 · x64 · 32.0 GiB · node v22.1.0",
        "update": "by itself",
        "id": "env-1",
        "device": "device-of-env-1",
        "connection": "conn-of-env-1",
        "listener": "server-env-1",
        "pod": "pod-1",
        "user": "–",
        "key owner": "–",
        "org": "org-1",
        "commands": "abort, reload",
    }


def test_a_bare_row_has_the_same_lines_with_dashes() -> None:
    fleet = fleet_of(BARE.environment)
    told = {fact.label: fact.text for fact in all_facts(BARE, fleet)}
    assert told["mode"] == "– · not reported yet"
    assert {told[label] for label in ("version", "branch", "host", "update", "connection", "pod", "commands")} == {"–"}


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("bypassPermissions", "unrestricted · all tools auto-approved (sent as bypassPermissions)"),
        ("unrestricted", "unrestricted · all tools auto-approved"),
        ("mystery", "mystery · not known to this version of envwatch"),
    ],
)
def test_modes_come_with_their_meaning(sent: str, text: str) -> None:
    assert facts_of(currentMode=sent)["mode"] == text


def test_a_version_is_compared_with_the_newest_of_the_fleet() -> None:
    other = environment("env-2", metadata={"lettaCodeVersion": "0.35.0"})
    assert facts_of(other)["version"] == "0.34.12 · behind 0.35.0"
    assert facts_of(metadata={"lettaCodeVersion": "nightly"})["version"] == "nightly"


def test_twins_share_a_device() -> None:
    assert facts_of(environment("env-2", deviceId="device-of-env-1", connectionName="twin"))["twins"] == "twin"
    assert "twins" not in facts_of(environment("env-2"))


@pytest.mark.parametrize(
    ("update", "lines"),
    [
        ({"supported": False, "reason": "snap"}, {"update": "not by itself · snap"}),
        (
            {"supported": True, "writable": False, "manual_command": "npm i", "install_path": "/usr"},
            {"update": "not writable", "by hand": "npm i", "installed": "/usr"},
        ),
        ({"supported": True, "writable": True, "reason": 5, "manual_command": ["x"]}, {"update": "by itself"}),
    ],
)
def test_self_updates_come_with_reason_and_command(update: dict[str, Any], lines: dict[str, str]) -> None:
    told = facts_of(metadata={"self_update": update})
    assert {label: text for label, text in told.items() if label in {"update", "by hand", "installed"}} == lines


def tree_of(metadata: dict[str, Any], **changes: Any) -> list[str]:
    """What stands below the last line that every row has, as it is indented."""
    row = environment("env-1", metadata=metadata, **changes)
    fleet = fleet_of(row)
    facts = all_facts(fleet.environments[row.id], fleet)
    named = next(place for place, fact in enumerate(facts) if fact.label == "commands")
    return [f"{'  ' * fact.depth}{fact.label} {fact.text}".rstrip() for fact in facts[named + 1 :]]


def test_what_is_not_known_by_name_is_shown() -> None:
    told = facts_of(
        newField=7.5,
        metadata={"odd": True, "gitBranch": 7, "machine": {"gpu": "none"}, "self_update": {"supported": True, "x": 1}},
    )
    assert told["newField"] == "7.5"
    assert (told["odd"], told["gitBranch"], told["machine.gpu"], told["self_update.x"]) == ("true", "7", "none", "1")


def test_objects_and_lists_stand_as_a_tree() -> None:
    metadata = {
        "gpu": {"count": 2, "names": ["A100", ""], "none": {}},
        "machine": {"slots": [1, None]},
        "grid": [[1], {"x": 0}],
    }

    assert tree_of(metadata, region={"zone": "b"}) == [
        "gpu",
        "  count 2",
        "  names",
        "    - A100",
        '    - ""',
        "  none {}",
        "grid",
        "  -",
        "    - 1",
        "  -",
        "    x 0",
        "machine.slots",
        "  - 1",
        "  - null",
        "region",
        "  zone b",
    ]


def test_what_a_known_name_cannot_read_is_shown_too() -> None:
    metadata: dict[str, Any] = {
        "gitBranch": {"a": 1},
        "machine": "M4",
        "self_update": [],
        "supported_commands": "all",
        "os": None,
    }
    assert tree_of(metadata) == ["gitBranch", "  a 1", "machine M4", "self_update []", "supported_commands all"]


def nested(levels: int) -> Any:
    return {"deeper": nested(levels - 1)} if levels else "bottom"


@pytest.mark.parametrize(("levels", "last"), [(5, "          deeper bottom"), (6, "          deeper {…}")])
def test_a_tree_has_six_levels(levels: int, last: str) -> None:
    lines = tree_of({"deep": nested(levels)})
    assert len(lines) == 6
    assert lines[-1] == last


@pytest.mark.parametrize(
    ("members", "last"),
    [
        (59, "  - 0"),
        (60, "… 1 more"),
        (99, "… 40 more"),
        (1058, "… 999 more"),
        (1059, "… 1000 and more"),
        (100_000, "… 1000 and more"),
    ],
)
def test_a_tree_has_sixty_lines_and_says_how_many_more_there_are(members: int, last: str) -> None:
    lines = tree_of({"many": [0] * members})
    assert len(lines) == min(members + 1, 61)
    assert lines[-1] == last


def test_what_follows_a_long_value_counts_to_what_is_left_out() -> None:
    assert tree_of({"many": [0] * 59, "more": 1}, region="eu")[-1] == "… 2 more"


def test_a_long_text_is_cut() -> None:
    (text,) = tree_of({"long": "漢" * 1000})
    assert text == "long " + "漢" * 149 + "…"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=3),
    max_leaves=8,
)
METADATA = st.dictionaries(
    st.sampled_from(["os", "machine", "self_update", "supported_commands", "gitBranch", "x"]),
    JSON
    | st.dictionaries(st.sampled_from(["memoryBytes", "cpu", "osName", "supported", "reason", "manual_command"]), JSON),
)


@given(METADATA)
def test_no_metadata_of_any_shape_breaks_the_pane(metadata: dict[str, Any]) -> None:
    row = environment("env-1", metadata=metadata)
    fleet = fleet_of(row)
    facts = all_facts(fleet.environments[row.id], fleet)
    assert all(fact.text.isprintable() and fact.label.isprintable() for fact in facts)
    for fact, following in pairwise([*facts, DetailLine("", Clean("end"))]):
        # Only what has lines below it says nothing itself, unless those are left out.
        assert fact.text or following.depth == fact.depth + 1 or following.label == "…"


@pytest.mark.parametrize(
    "memory",
    [10**400, -(10**400), 10**3000, -1, 0, True, 1e308],
    ids=lambda size: f"{size:.0e}" if abs(size) <= 1e308 else "huge",
)
def test_no_size_of_memory_breaks_the_pane(memory: float) -> None:
    assert facts_of(metadata={"machine": {"memoryBytes": memory}})


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (0, "08:53:20Z (0s ago) · offline in 120 s"),
        (119_000, "08:51:21Z (1m 59s ago) · offline in 1 s"),
        (-30_000, "08:53:50Z (0s ago) · offline in 120 s"),
        (-30_001, "08:53:50Z (0s ago)"),
    ],
)
def test_the_countdown_ends_at_120_seconds(age: float, text: str) -> None:
    assert stall_detector(environment("env-1", lastHeartbeat=NOW - age))["beat"] == text


@pytest.mark.parametrize(("later", "ends"), [(9_000, "offline in 1 s"), (10_000, "offline at the next listing")])
def test_no_row_is_called_offline_before_a_listing_proves_it(later: float, ends: str) -> None:
    assert stall_detector(environment("env-1", lastHeartbeat=NOW - 110_000), NOW + later)["beat"].endswith(ends)


@pytest.mark.parametrize(
    ("late", "beat", "bar"),
    [
        (15_000, "(1m 5s ago) · offline in 55 s", (4, 1)),
        (15_001, "(1m 5s ago) · no listing for 15s", None),
        (60_001, "(1m 50s ago) · no listing for 1m", None),
    ],
)
def test_without_listings_nobody_sees_a_beat_missed(late: float, beat: str, bar: tuple[int, int] | None) -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    fleet, now = fleet_of(row), reading(NOW + late)
    told = {fact.label: fact.text for fact in stall_lines(fleet.environments[row.id], fleet, now, TimeStyle.UTC)}
    assert told["beat"].endswith(beat)
    assert missed_beats(fleet.environments[row.id], fleet, now) == bar


def test_while_the_platform_is_silent_no_row_is_called_so() -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    fleet = replace(fleet_of(row), stall_detector=StallDetector(is_stalled=True))
    told = {fact.label: fact.text for fact in stall_lines(fleet.environments[row.id], fleet, reading(), TimeStyle.UTC)}
    assert told["beat"].endswith("(50s ago)")
    assert missed_beats(fleet.environments[row.id], fleet, reading()) is None


def test_a_beat_is_missed_in_a_listing_and_not_between_two() -> None:
    row = environment("env-1", lastHeartbeat=NOW - 29_000)
    fleet = fleet_of(row)
    assert missed_beats(fleet.environments[row.id], fleet, reading(NOW + 2_000)) == (4, 0)


@pytest.mark.parametrize(("age", "rule"), [(110_000, "beat 110 s < 120 s"), (130_000, "beat 130 s ≥ 120 s")])
def test_without_listings_a_rule_is_told_as_it_held_at_the_last_one(age: float, rule: str) -> None:
    row = environment("env-1", lastHeartbeat=NOW - age)
    fleet = fleet_of(row)
    told = [why(fleet.environments[row.id], fleet, reading(NOW + late)) for late in (5_000, 15_001)]
    assert told[0] == f"connectionId set · beat {(age + 5_000) / 1000:.0f} s {rule.partition(' s ')[2]}"
    assert told[1] == f"connectionId set · {rule} at the last listing"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"connectionId": None}, "no connectionId: the listener closed its link"),
        ({"connectionId": ""}, "no connectionId: the listener closed its link"),
        ({"lastHeartbeat": None}, "connectionId set · no lastHeartbeat"),
        ({"lastHeartbeat": NOW - 119_000}, "connectionId set · beat 119 s < 120 s"),
        ({"lastHeartbeat": NOW - 120_000}, "connectionId set · beat 120 s ≥ 120 s"),
    ],
)
def test_the_rule_stands_there_with_its_inputs(changes: dict[str, Any], text: str) -> None:
    row = environment("env-1", **changes)
    fleet = fleet_of(row)
    assert why(fleet.environments[row.id], fleet, reading()) == text


@pytest.mark.parametrize(
    ("later", "text"),
    [
        (9_999, "connectionId set · beat 119 s < 120 s"),
        (10_000, "connectionId set · beat 110 s < 120 s at the last listing"),
    ],
)
def test_a_rule_that_no_longer_holds_is_told_as_it_held_at_the_last_listing(later: float, text: str) -> None:
    row = environment("env-1", lastHeartbeat=NOW - 110_000)
    fleet = fleet_of(row)
    assert why(fleet.environments[row.id], fleet, reading(NOW + later)) == text


@pytest.mark.parametrize(("age", "missed"), [(0, 0), (29_999, 0), (30_000, 1), (119_999, 3), (120_000, 4), (10**9, 4)])
def test_missed_beats_are_counted_by_thirty_seconds(age: float, missed: int) -> None:
    row = environment("env-1", lastHeartbeat=NOW - age)
    fleet = fleet_of(row)
    assert missed_beats(fleet.environments[row.id], fleet, reading()) == (4, missed)


@pytest.mark.parametrize(
    "changes", [{"connectionId": None}, {"connectionId": None, "lastHeartbeat": None}, {"lastHeartbeat": None}]
)
def test_who_closed_its_link_or_never_beat_missed_no_beat(changes: dict[str, Any]) -> None:
    row = environment("env-1", **changes)
    fleet = fleet_of(row)
    assert missed_beats(fleet.environments[row.id], fleet, reading()) is None


def test_nor_did_who_is_no_longer_listed() -> None:
    rows = [environment("env-1"), environment("env-2")]
    fleet, _ = watched([listed(rows), *(listed(rows[1:], NOW + 5_000 * number) for number in (1, 2))])
    assert missed_beats(fleet.environments[rows[0].id], fleet, reading(NOW + 10_000)) is None


def test_when_blind_the_heading_says_unknown_and_what_was_last_seen() -> None:
    row = environment("env-1")
    fleet, _ = watched([listed([row]), failed(at=NOW + 60_000)])
    only = fleet.environments[row.id]
    assert heading(only, fleet, reading(NOW + 60_000)).text == "online"
    assert heading(only, fleet, reading(NOW + 60_001)).text == "unknown · last seen online"
    assert heading(only, fleet, reading(NOW + 60_001)).style == "unknown"


@pytest.mark.parametrize(
    ("style", "text"),
    [(TimeStyle.RELATIVE, "12s ago · 2025-10-09"), (TimeStyle.UTC, "2025-10-09 08:53:08Z · 12s ago")],
)
def test_instants_come_both_ways_the_wanted_one_first(style: TimeStyle, text: str) -> None:
    assert stall_detector(environment("env-1"), style=style)["last seen"].startswith(text)


def test_only_utc_has_a_zone_of_its_own() -> None:
    assert [zone_of(style) is None for style in TimeStyle] == [True, True, False]


def test_events_stand_behind_their_time() -> None:
    _, told = watched([listed([environment("env-1")]), listed([environment("env-1", connectionId=None)], NOW + 5_000)])
    (fact,) = event_lines(told, TimeStyle.UTC)
    assert (fact.label, fact.text) == ("08:53:25", "went offline · disconnected · was on for 1h")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_instant_of_the_api_breaks_the_pulse(at: float) -> None:
    row = environment("env-1", lastHeartbeat=at, lastSeenAt=at, firstSeenAt=at, connectedAt=at)
    for style in TimeStyle:
        assert all(text.isprintable() for text in stall_detector(row, style=style).values())


def test_churn_counts_changes_of_connection() -> None:
    rows = [environment("env-1", connectionId=Clean(f"conn-{number}")) for number in range(3)]
    fleet, _ = watched([listed([row], NOW + 5_000 * number) for number, row in enumerate(rows)])
    told = {fact.label: fact.text for fact in all_facts(fleet.environments[rows[0].id], fleet)}
    assert told["churn"] == "2 changes of connection in the last hour"
    assert "churn" not in facts_of()


def test_what_can_be_pasted_elsewhere_is_offered_by_name() -> None:
    row = environment("env-1", metadata={"workingDirectory": "/srv", "self_update": {"manual_command": "npm i"}})
    texts = {copy.label: copy.text for copy in copies(row)}
    assert texts == {
        "name": "laptop of env-1",
        "device id": "device-of-env-1",
        "connection id": "conn-of-env-1",
        "environment id": "env-1",
        "update command": "npm i",
        "letta command line": "letta server --computer-name='laptop of env-1'",
        "directory": "/srv",
    }


def test_what_is_not_there_is_not_offered() -> None:
    row = environment("env-1", deviceId="sandbox-1", connectionId=None, metadata=None)
    assert [copy.label for copy in copies(row)] == ["name", "device id", "environment id"]


@pytest.mark.parametrize(
    ("text", "gist"), [("", ""), ("x" * 300, "x" * 300), ("a\nb", "2 lines"), ("{\n}\n", "3 lines")]
)
def test_a_text_of_several_lines_is_told_by_their_number(text: str, gist: str) -> None:
    assert Copy("text", Clean(text)).gist == gist


def test_where_the_clocks_contradict_it_tells_by_what_the_row_was_judged_and_counts_nothing_down() -> None:
    hour = 3_600_000.0
    missed_beats = [
        listed([environment("env-1", lastHeartbeat=NOW + at - 1000)], NOW + at, skew=hour, dated=False)
        for at in (0, 30_000, 60_000)
    ]
    fleet, _ = watched(missed_beats)
    tracked = fleet.environments[Clean("env-1")]
    assert tracked.clock_suspect
    told = {fact.label: fact.text for fact in stall_lines(tracked, fleet, reading(NOW + 65_000, hour), TimeStyle.UTC)}
    assert told["why"] == "connectionId set · clocks contradict · beat at least 5 s < 120 s"
    assert "offline in" not in told["beat"]


def test_where_the_heartbeats_of_all_stand_still_it_says_so() -> None:
    fleet, _ = watched([listed(beating(12), NOW + at) for at in range(0, 150_000, 5_000)])
    assert fleet.stall_detector.is_stalled
    told = why(fleet.environments[Clean("env-1")], fleet, reading(NOW + 146_000))
    assert told == "connectionId set · the platform's heartbeats stand still: silence proves nothing"
