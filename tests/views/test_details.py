"""The detail pane's lines about an environment and about a group."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, key_of, listed, reading, watched
from support.tracked_environments import BARE, context_in

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, EventLog
from envwatch.fleet.presence import DISCONNECTED, GONE, ONLINE
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle, zone_of
from envwatch.views.pane.details import (
    COPY_LETTERS,
    EVENTS,
    about_lines,
    copies,
    event_detail,
    gist_of,
    help_lines,
    id_lines,
)
from envwatch.views.pane.group_details import common_lines, group_headline, newest_events, problem_lines
from envwatch.views.pane.layout import DetailLine, Fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.model.environment import Environment


def fleet_of(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def by_label(lines: Iterable[DetailLine]) -> dict[str, str]:
    return {line.label: line.text for line in lines}


def all_lines(tracked: TrackedEnvironment, profile_state: ProfileState) -> list[DetailLine]:
    return [*about_lines(tracked, context_in(profile_state), None, TimeStyle.UTC), *id_lines(tracked)]


def facts(*others: Environment, style: TimeStyle = TimeStyle.UTC, uptime: str = "", **changes: Any) -> list[DetailLine]:
    row = environment("env-1", **changes)
    profile_state = fleet_of(row, *others)
    tracked = profile_state.environments[row.id]
    return [*about_lines(tracked, context_in(profile_state), clean(uptime) or None, style), *id_lines(tracked)]


def lines_of(*others: Environment, **changes: Any) -> dict[str, str]:
    return by_label(facts(*others, **changes))


def test_a_long_path_keeps_the_end_a_long_id_both_ends_and_a_copy_has_a_letter() -> None:
    fits = {line.label: (line.fit, line.letter) for line in facts()}
    assert fits["in"] == (Fit.END, "")
    assert fits["device"] == (Fit.ENDS, "")
    assert fits["id"] == (Fit.ENDS, "i")
    assert fits["pod"] == (Fit.ENDS, "")


def test_a_healthy_environment_has_a_line_for_each_known_field() -> None:
    assert lines_of() == {
        "mode": "standard · normal approvals",
        "version": "0.34.12 · newest here",
        "branch": "main",
        "in": "/home/hiro/code/portal",
        "on": "linux · Ryzen 7 · x64 · 32.0 GiB · node v22.1.0",
        "update": ITSELF,
        "seen": "first 2025-10-08 08:53Z · 1d ago · last 08:53:08Z",
        "id": "env-1",
        "device": "device-of-env-1",
        "conn": "conn-of-env-1",
        "listener": "server-env-1",
        "pod": "pod-1",
        "org": "org-1",
        "commands": "abort, reload",
    }


def test_missing_values_read_as_dashes_and_missing_ids_as_nothing() -> None:
    profile_state = fleet_of(BARE.environment)
    lines = by_label(all_lines(BARE, profile_state))
    assert lines["mode"] == "– · not reported yet"
    assert {lines[label] for label in ("version", "branch", "on", "update")} == {"–"}
    assert not {"in", "conn", "pod", "user", "owner", "commands"} & set(lines)


@pytest.mark.parametrize(
    ("mode", "text", "style"),
    [
        (
            "bypassPermissions",
            "unrestricted · all tools auto-approved (sent as bypassPermissions)",
            "bold unrestricted",
        ),
        ("unrestricted", "unrestricted · all tools auto-approved", "bold unrestricted"),
        ("mystery", "mystery · not known to this version of envwatch", ""),
    ],
)
def test_a_mode_has_its_meaning_and_unrestricted_is_marked(mode: str, text: str, style: str) -> None:
    (line,) = [line for line in facts(currentMode=mode) if line.label == "mode"]
    assert (line.text, line.style) == (text, style)


def test_the_fleet_gives_the_newest_version_and_twins_and_churn_counts_changes_of_connection() -> None:
    other = environment("env-2", metadata={"lettaCodeVersion": "0.35.0"})
    assert lines_of(other)["version"] == "0.34.12 · behind 0.35.0"
    assert lines_of(metadata={"lettaCodeVersion": "nightly"})["version"] == "nightly"
    assert lines_of(environment("env-2", deviceId="device-of-env-1", connectionName="twin"))["twins"] == "twin"
    assert "twins" not in lines_of(environment("env-2"))
    rows = [environment("env-1", connectionId=clean(f"conn-{number}")) for number in range(3)]
    profile_state, _ = watched([listed([row], NOW + 5_000 * number) for number, row in enumerate(rows)])
    lines = by_label(all_lines(profile_state.environments[rows[0].id], profile_state))
    assert lines["churn"] == "2 changes of connection in the last hour"
    assert "churn" not in lines_of()


ITSELF = "by itself, when its listener restarts"


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"supported": False, "reason": "snap"}, {"update": "not by itself · snap"}),
        (
            {"supported": True, "writable": False, "manual_command": "npm i", "install_path": "/usr"},
            {"update": "by hand", "by hand": "npm i", "path": "/usr"},
        ),
        ({"supported": True, "writable": True, "reason": 5, "manual_command": ["x"]}, {"update": ITSELF}),
        ({"supported": False, "manual_command": "Ask us."}, {"update": "not by itself", "by hand": "Ask us."}),
    ],
)
def test_self_updates_are_shown_with_reason_and_command(update: dict[str, Any], expected: dict[str, str]) -> None:
    lines = lines_of(metadata={"self_update": update})
    assert {label: text for label, text in lines.items() if label in {"update", "by hand", "path"}} == expected


def test_only_a_command_is_laid_out_for_a_shell_and_can_be_copied() -> None:
    for text, fit, letter in (("npm i", Fit.COMMAND, "u"), ("Upgrade with npm, or ask us.", Fit.WORDS, "")):
        update = {"self_update": {"supported": False, "manual_command": text}}
        (line,) = [line for line in facts(metadata=update) if line.label == "by hand"]
        assert (line.text, line.fit, line.letter) == (text, fit, letter)
        row = TrackedEnvironment(environment=environment(metadata=update), verdict=ONLINE)
        assert ("update command" in copies(row)) is bool(letter)


DROPS = (
    "",
    (
        "Letta's remote upgrade restarts a listener started by hand without --org, --channels, --skills and "
        "--lifecycle-output: a machine with an organization is lost, and another appears."
    ),
    "",
)


def test_a_sentence_about_an_update_stands_once_in_the_pane() -> None:
    update = {"lettaCodeVersion": "0.34.12", "self_update": {"supported": False, "manual_command": "Ask us."}}
    newest = environment("env-2", metadata={"lettaCodeVersion": "0.35.0"})
    assert helps(newest, metadata=update) == [
        ("update", "Ask us.", ""),
        ("", "These are the machine's own words.", ""),
        DROPS,
    ]
    assert "by hand" not in lines_of(newest, metadata=update)
    itself = update | {"self_update": {"supported": True, "writable": True, "manual_command": "npm i"}}
    assert [text for _, text, _ in helps(newest, metadata=itself)] == [
        "Restart the listener: a restart updates it.",
        DROPS[1],
    ]
    assert lines_of(newest, metadata=itself)["by hand"] == "npm i"


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"supportsPairedListenerGenerations": True}, "paired generations"),
        (
            {
                "environmentMessageProtocol": "v2-input",
                "supportsPairedListenerGenerations": False,
                "launch_subagent_notify_caller": True,
            },
            "v2-input · no paired generations · subagents notify their caller",
        ),
        ({}, None),
    ],
)
def test_the_protocol_of_a_listener_has_a_line(metadata: dict[str, Any], text: str | None) -> None:
    lines = lines_of(metadata=metadata)
    assert lines.get("protocol") == text
    assert not lines.keys() & metadata.keys()


@pytest.mark.parametrize(
    ("gpus", "text"),
    [
        (["NVIDIA H100", "NVIDIA A100", "NVIDIA H100"], "2 × NVIDIA H100, NVIDIA A100"),
        (["NVIDIA H100"], "NVIDIA H100"),
        (["", 5], None),
        ([], None),
        (5, None),
    ],
)
def test_the_model_and_the_graphics_processors_of_a_machine_are_shown(gpus: Any, text: str | None) -> None:
    lines = lines_of(metadata={"os": "linux", "machine": {"model": "Container", "cpu": "EPYC", "gpus": gpus}})
    assert lines["on"] == "linux · Container · EPYC"
    assert lines.get("gpus") == text
    assert not {"machine.model", "machine.gpus"} & lines.keys()


def tree_of(metadata: dict[str, Any], **changes: Any) -> list[str]:
    lines = facts(metadata=metadata, **changes)
    seen, device = (next(n for n, line in enumerate(lines) if line.label == label) for label in ("seen", "device"))
    return [f"{'  ' * line.depth}{line.label} {line.text}".rstrip() for line in lines[seen + 1 : device]]


def test_unknown_fields_are_shown() -> None:
    lines = lines_of(
        newField=7.5,
        metadata={"odd": True, "gitBranch": 7, "machine": {"gpu": "none"}, "self_update": {"supported": True, "x": 1}},
    )
    assert lines["newField"] == "7.5"
    texts = [lines[label] for label in ("odd", "gitBranch", "machine.gpu", "self_update.x")]
    assert texts == ["true", "7", "none", "1"]


def test_objects_and_lists_are_shown_as_a_tree() -> None:
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


def test_a_known_field_of_another_type_is_shown_as_an_unknown_one() -> None:
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
    assert tree_of({"long": "漢" * 1000}) == ["long " + "漢" * 149 + "…"]
    assert tree_of({"many": [0] * 59, "more": 1}, region="eu")[-1] == "… 2 more"


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
    lines = facts(metadata=metadata)
    assert all(line.text.isprintable() and line.label.isprintable() for line in lines)
    for line, following in pairwise([*lines, DetailLine("", clean("end"))]):
        # Only a line with lines below may be empty, unless those are omitted.
        assert line.text or following.depth == line.depth + 1 or following.label == "…"


@pytest.mark.parametrize(("count", "rest"), [(60, None), (61, "1 more"), (1_059, "999 more"), (1_060, "1000 and more")])
def test_sixty_lines_of_unknown_fields_are_shown_and_the_rest_is_counted(count: int, rest: str | None) -> None:
    found = lines_of(metadata={f"key-{number:04}": number for number in range(count)})
    assert len([label for label in found if label.startswith("key-")]) == 60
    assert found.get("…") == rest


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        *((1, "1 Byte"), (2**34, "16.0 GiB"), (2**59, "512.0 PiB")),
        *((size, None) for size in (2**60, 0, -1, True, 1e308, 10**400, -(10**400), 10**3000)),
    ],
    ids=[*"123456789ab"],
)
def test_a_size_of_memory_is_shown_if_a_machine_may_have_the_memory(size: float, shown: str | None) -> None:
    text = " ".join(lines_of(metadata={"machine": {"memoryBytes": size}}).values())
    assert shown in text if shown else not re.search("[0-9] (Byte|[A-Z]iB)", text)


def test_the_parts_worth_copying_are_offered_by_name() -> None:
    metadata = {"workingDirectory": "/srv", "lettaCodeVersion": "0.34.12", "self_update": {"manual_command": "npm i"}}
    row = environment("env-1", metadata=metadata)
    texts = copies(TrackedEnvironment(environment=row, verdict=ONLINE))
    assert texts == {
        "name": "laptop of env-1",
        "device id": "device-of-env-1",
        "id": "env-1",
        "connection id": "conn-of-env-1",
        "update command": "npm i",
        "start command": "cd /srv && letta server --computer-name='laptop of env-1'",
        "other start command": "cd /srv && letta server --org=org-1 --computer-name='laptop of env-1'",
        "directory": "/srv",
    }
    bare = environment("env-1", deviceId="sandbox-1", connectionId=None, metadata=None)
    assert [*copies(TrackedEnvironment(environment=bare, verdict=ONLINE))] == ["name", "device id", "id"]


def test_the_row_of_an_old_name_offers_no_start_command() -> None:
    replaced = TrackedEnvironment(environment=environment("env-1"), verdict=DISCONNECTED, replaced_by=clean("env-2"))
    assert "start command" not in copies(replaced)
    lost = replace(replaced, replaced_by=None)
    assert "start command" in copies(lost)


@pytest.mark.parametrize(
    ("text", "gist"), [("", ""), ("x" * 300, "x" * 300), ("a\nb", "2 lines"), ("{\n}\n", "3 lines")]
)
def test_a_text_of_several_lines_is_summed_up_by_their_number(text: str, gist: str) -> None:
    assert gist_of(text) == gist


def test_every_copy_has_a_letter_of_its_own() -> None:
    assert len(set(COPY_LETTERS.values())) == len(COPY_LETTERS)
    assert "".join(COPY_LETTERS.values()) == "nilusj"


def helps(*others: Environment, **changes: Any) -> list[tuple[str, str, str]]:
    row = environment("env-1", connectionName="nas", **changes)
    profile_state = fleet_of(row, *others)
    return [
        (line.label, line.text, line.letter)
        for line in help_lines(profile_state.environments[row.id], profile_state, reading())
    ]


def test_a_remedy_stands_with_the_letter_of_its_copy() -> None:
    update = {"lettaCodeVersion": "0.34.12", "self_update": {"supported": False, "manual_command": "npm i -g x"}}
    newest = environment("env-2", metadata={"lettaCodeVersion": "0.35.0"})
    start, other, reason, *_, log, _, command, caution, drops = helps(newest, connectionId=None, metadata=update)
    assert [start, other, reason, log, command, caution, drops] == [
        ("do", "letta server --computer-name=nas", "l"),
        ("or", "letta server --org=org-1 --computer-name=nas", ""),
        ("", "The device id does not tell whether the listener was started with --org.", ""),
        ("log", "Read the newest log in ~/.letta/logs/remote/ on that machine.", ""),
        ("update", "npm i -g x", "u"),
        ("", "The machine reported this command: read the command before you run it.", ""),
        DROPS,
    ]
    assert "by hand" not in lines_of(newest, metadata=update)
    assert helps() == []
    sandbox = [("do", "Nothing needs to be done: the platform manages this sandbox.", "")]
    assert helps(connectionId=None, deviceId="sandbox-1") == sandbox


@pytest.mark.parametrize(("system", "fit"), [("linux", Fit.COMMAND), ("win32", Fit.WINDOWS_COMMAND)])
def test_a_command_is_laid_out_for_the_shells_of_its_system(system: str, fit: Fit) -> None:
    row = environment("env-1", connectionId=None, metadata={"os": system})
    profile_state = fleet_of(row)
    assert next(help_lines(profile_state.environments[row.id], profile_state, reading())).fit is fit


@pytest.mark.parametrize(("ago", "label"), [(86_399_999, "08:53:25"), (86_400_000, "1d ago")])
def test_events_are_labelled_with_their_time_or_their_age_in_days(ago: float, label: str) -> None:
    lost = environment("env-1", connectionId=None)
    _, (event,) = watched([listed([environment("env-1")]), listed([lost], NOW + 5_000)])
    line = event_detail(event, event.at + ago, UTC, is_ascii=False)
    assert (line.label, line.text) == (label, "○ went offline · disconnected · was on for 1h")
    named = event_detail(event, event.at, UTC, is_ascii=True, is_named=True)
    assert named.text == "x laptop of env-1 went offline · disconnected · was on for 1h"


@pytest.mark.parametrize(
    ("style", "text"),
    [(TimeStyle.RELATIVE, "first 1d ago · 2025-10-08"), (TimeStyle.UTC, "first 2025-10-08 08:53Z · 1d ago")],
)
def test_the_first_sight_is_shown_as_date_and_age_the_preferred_one_first(style: TimeStyle, text: str) -> None:
    assert lines_of(style=style)["seen"].startswith(text)


def test_the_availability_is_a_fact_if_given_and_only_utc_sets_a_zone() -> None:
    assert lines_of(uptime="up 99 %")["uptime"] == "up 99 %"
    assert "uptime" not in lines_of()
    assert [zone_of(style) is None for style in TimeStyle] == [True, True, False]


def test_a_row_without_a_listing_has_no_values() -> None:
    profile_state, _ = ProfileState(expect=(clean("nas-77"),)).apply(listed([environment("env-1")]))
    (missing,) = [each for each in profile_state.environments.values() if each.environment.label == "nas-77"]
    assert all_lines(missing, profile_state) == []


# A group.


def member(name: str, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **changes)


def off(name: str, seconds: float) -> Environment:
    at = NOW - seconds * 1000
    return member(name, connectionId=None, lastHeartbeat=at, lastSeenAt=at)


def group_lines(rows: Sequence[Environment], *, acks: Sequence[str] = (), after: float = 0.0) -> dict[str, str]:
    fleet, _ = Fleet().apply(NO_PROFILE, listed(rows))
    members = list(fleet.environments)
    acked = {key_of(f"env-{name}"): Ack(NOW, clean("")) for name in acks}
    shared, different = common_lines(members)
    lines = [*problem_lines(members, Monitor(fleet, acked), reading(NOW + after)), *shared, *different]
    return {"head": " ".join(piece.text for piece in group_headline(members))} | {
        line.label: line.text for line in lines
    }


def test_a_healthy_group_shows_its_count_and_shared_values() -> None:
    assert group_lines([member("a"), member("b")]) == {
        "head": "2 machines · ● 2 on",
        "mode": "standard",
        "version": "0.34.12",
        "branch": "main",
        "os": "linux",
        "pod": "pod-1",
    }


def test_problems_are_named_with_the_length_of_their_silence() -> None:
    lines = group_lines(
        [member("a"), off("b", 130), off("c", 3_900), member("d", lastHeartbeat=NOW - 50_000)], acks=["c"]
    )
    assert lines["head"] == "4 machines · ● 1 on · ◐ 1 late · ○ 2 off"
    assert lines["late"] == "silent for 50s · d"
    assert lines["off"] == "silent for 2m to 1h · b, c"
    assert lines["acked"] == "c"
    fleet, _ = Fleet().apply(NO_PROFILE, listed([member("a"), member("b")]))
    first, second = fleet.environments
    members = [replace(first, verdict=GONE), replace(second, is_flapping=True)]
    acks = {key_of("env-a"): Ack(NOW, clean(""))}
    found = {line.label: line.text for line in problem_lines(members, Monitor(fleet, acks), reading())}
    assert (found["acked"], found["flapping"]) == ("a", "b")


@pytest.mark.parametrize(("late", "silence"), [(15.0, "1m"), (15.001, "50s")])
def test_silence_is_measured_up_to_the_newest_listing_if_stale(late: float, silence: str) -> None:
    lines = group_lines([member("d", lastHeartbeat=NOW - 50_000)], after=late * 1000)
    assert lines["late"] == f"silent for {silence} · d"


def test_the_silence_of_an_expected_row_lasts_since_the_first_listing() -> None:
    state = ProfileState(expect=(clean("build-1"),))
    state, _ = state.apply(listed([member("a")]))
    (missing,) = [tracked for tracked in state.environments.values() if tracked.verdict.is_missing]
    monitor = Monitor(Fleet({NO_PROFILE: state}))
    lines = {line.label: line.text for line in problem_lines([missing], monitor, reading(NOW + 10_000))}
    assert lines["off"] == "silent for 10s · build-1"


def test_values_are_counted_the_most_frequent_first_up_to_a_limit() -> None:
    rows = [member(str(number), podId=f"p-{max(number - 2, 0)}") for number in range(12)]
    assert group_lines(rows)["pod"] == "p-0 ×3 · " + " · ".join(f"p-{n} ×1" for n in range(1, 8)) + " · 2 more"
    names = group_lines([off(f"{number:02}", 200) for number in range(10)])["off"]
    assert names.endswith("00, 01, 02, 03, 04, 05, 06, 07 and 2 more")


def test_a_long_value_is_shortened_and_not_broken() -> None:
    pods = ("user-304173b4-49fd-4da7-b4d1-e6a39f166e3b", "bo")
    lines = group_lines([member(pod[:2], podId=pod) for pod in pods])
    assert lines["pod"] == "bo ×1 · user-304173b4-49…e3b ×1"


def test_members_without_a_value_are_counted_too() -> None:
    rows = [member(str(number), podId="p-5" if number < 2 else None) for number in range(7)]
    assert group_lines(rows)["pod"] == "p-5 ×2 · none ×5"
    assert group_lines(rows[:2])["pod"] == "p-5"
    assert "pod" not in group_lines(rows[2:])
    many = [member(str(number), podId=f"p-{number}" if number < 9 else "") for number in range(10)]
    assert group_lines(many)["pod"].endswith("p-7 ×1 · 1 more · none ×1")


def test_the_newest_events_of_all_members_are_shown_the_newest_first() -> None:
    rows = [member(name) for name in "ab"]
    fleet, log = Fleet(), EventLog()
    for number in range(6):
        lost = rows[number % 2]
        lost = off(lost.name, 200) if number else lost
        fleet, events = fleet.apply(NO_PROFILE, listed([lost, rows[(number + 1) % 2]], NOW + number * 5_000))
        log = log.with_events(events)
    found = newest_events(list(fleet.environments), log)
    assert len(found) == EVENTS
    assert [event.at for event in found] == sorted((event.at for event in found), reverse=True)
    assert {event.name for event in found} == {"a", "b"}


def test_a_blind_group_names_unknown_rows_first() -> None:
    lines = group_lines([member("a"), member("b")], after=61_000)
    assert list(lines)[1] == "unknown"
    assert lines["unknown"].startswith("2 of 2")
