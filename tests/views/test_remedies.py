"""Remedies, and that no name from outside becomes a command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading, watched, wire_row
from support.hostile_fleet import WEAPONS

from envwatch.model.text import clean
from envwatch.views.remedies import remedies, start_command

if TYPE_CHECKING:
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.environment import Environment
    from envwatch.views.remedies import Remedy

METADATA: dict[str, Any] = wire_row()["metadata"]
OFFLINE = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None}


def update(version: str = "0.34.12", **self_update: Any) -> dict[str, Any]:
    return METADATA | {"lettaCodeVersion": version, "self_update": self_update}


def fleet_of(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def remedies_for(*others: Environment, **changes: Any) -> list[Remedy]:
    row = environment("env-1", **changes)
    profile_state = fleet_of(row, *others)
    return list(remedies(profile_state.environments[row.id], profile_state, reading()))


def notes(*others: Environment, **changes: Any) -> list[str]:
    return [note for remedy in remedies_for(*others, **changes) for note in remedy.notes]


def test_a_healthy_environment_has_no_remedies() -> None:
    assert remedies_for() == []
    assert remedies_for(lastHeartbeat=NOW - 119_999) == []


# Environments that are down


def test_a_key_that_starts_the_listener_is_named_where_a_listener_can_be_started() -> None:
    for device, is_named in (("device-1", True), ("desktop:1", True), ("sandbox-1", False)):
        row = environment("env-1", **OFFLINE, deviceId=device)
        profile_state = fleet_of(row)
        (remedy,) = remedies(profile_state.environments[row.id], profile_state, reading(), clean("R"))
        assert ("R does that from here: this is a demo" in remedy.notes) == is_named
    assert remedies_for() == []


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (OFFLINE, "a live one is back within a minute"),
        ({"lastHeartbeat": NOW - 120_000}, "it may be asleep, frozen or cut off, and is back at once then"),
        ({"lastHeartbeat": None}, "one that runs pings every 30 s"),
    ],
)
def test_a_lost_environment_is_started_again_under_its_name(changes: dict[str, Any], note: str) -> None:
    (remedy,) = remedies_for(**changes)
    assert (remedy.label, remedy.command) == ("do", "letta server --computer-name='laptop of env-1'")
    assert remedy.notes == (f"only if none runs there: {note}",)


def test_an_environment_that_is_no_longer_listed_is_started_again_too() -> None:
    rows = [environment("env-1", currentMode="unrestricted"), environment("env-2")]
    profile_state, _ = watched([listed(rows), *(listed(rows[1:], NOW + 5_000 * number) for number in (1, 2))])

    (remedy,) = remedies(profile_state.environments[rows[0].id], profile_state, reading(NOW + 10_000))

    assert remedy.notes == ("only if none runs there: one that starts is listed",)
    assert remedy.command == "letta server --computer-name='laptop of env-1'"


def test_no_environment_is_called_down_while_blind() -> None:
    row = environment("env-1", **OFFLINE)
    profile_state, _ = watched([listed([row]), failed(at=NOW + 60_000)])
    only = profile_state.environments[row.id]
    assert [bool(list(remedies(only, profile_state, reading(NOW + late)))) for late in (60_000, 60_001)] == [
        True,
        False,
    ]


def test_another_listener_that_is_up_on_the_machine_is_named() -> None:
    twin = environment("env-2", deviceId="device-of-env-1", connectionName="nas")
    (remedy,) = remedies_for(twin, **OFFLINE)
    assert remedy.notes[1:] == ("the machine is up: nas runs there",)
    twin = environment("env-2", deviceId="device-of-env-1", connectionName="laptop of env-1")
    (remedy,) = remedies_for(twin, **OFFLINE)
    assert remedy.notes[1:] == ("the machine is up: another laptop of env-1 runs there",)

    (alone,) = remedies_for(environment("env-2", deviceId="device-of-env-1", **OFFLINE), **OFFLINE)
    assert len(alone.notes) == 1


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"deviceId": "desktop:5b49"}, "open the Letta Code desktop app there, with remote access on"),
        ({"organizationId": "local"}, "open the Letta Code desktop app there, with remote access on"),
        ({"deviceId": "sandbox-agent-1"}, "nothing: it is a sandbox of the platform, there is no machine to log in to"),
    ],
)
def test_desktop_apps_and_sandboxes_have_no_command(changes: dict[str, Any], note: str) -> None:
    (remedy,) = remedies_for(**OFFLINE, **changes)
    assert remedy.command is None
    assert remedy.notes == (note,)


# The command that starts a listener


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("nas", "letta server --computer-name=nas"),
        ("build box", "letta server --computer-name='build box'"),
        ("-x", "letta server --computer-name=-x"),
        ("it's", """letta server --computer-name='it'"'"'s'"""),
        ("$(reboot)", "letta server --computer-name='$(reboot)'"),
        ("a;b`c`!", "letta server --computer-name='a;b`c`!'"),
        ("日本", "letta server --computer-name='日本'"),
        ("", "letta server"),
        ("a\x1bb", "letta server"),
        ("a\\'b", "letta server"),
        ("x" * 2000, "letta server"),
    ],
)
def test_a_name_is_quoted_or_left_out(name: str, command: str) -> None:
    assert start_command(environment(connectionName=name)) == command


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("nas", "letta server --computer-name=nas"),
        ("build box 2.0", 'letta server --computer-name="build box 2.0"'),
        ("it's", "letta server"),
        ("%PATH%", "letta server"),
        ("a & b", "letta server"),
        (" nas", "letta server"),
        ("日本", "letta server"),
    ],
)
def test_on_windows_only_a_name_that_all_its_shells_read_the_same_is_used(name: str, command: str) -> None:
    row = environment(connectionName=name, metadata=METADATA | {"os": "win32"})
    assert start_command(row) == command


@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("0.30.28", "env"),
        ("0.31.11", "env"),
        ("0.31.12", "computer"),
        ("0.34.12", "computer"),
        ("nightly", "computer"),
        (None, "computer"),
    ],
)
def test_older_versions_get_the_option_that_they_know(version: str | None, option: str) -> None:
    row = environment(connectionName="nas", metadata=METADATA | {"lettaCodeVersion": version})
    assert start_command(row) == f"letta server --{option}-name=nas"


@given(st.text(max_size=40) | st.sampled_from(WEAPONS))
def test_any_name_is_one_word_to_the_shell_or_left_out(name: str) -> None:
    row = environment(connectionName=name)
    command = start_command(row)
    assert command is not None
    assert command.isprintable()
    assert shlex.split(command) in (["letta", "server"], ["letta", "server", f"--computer-name={row.name}"])


# The others


def test_flapping_and_unrestricted_are_explained_without_a_command() -> None:
    rows = [environment("env-1", connectionId=f"conn-{number}", currentMode="fullAccess") for number in range(15)]
    profile_state, _ = watched([listed([row], NOW + 30_000 * number) for number, row in enumerate(rows)])
    only = profile_state.environments[rows[0].id]
    found = list(remedies(only, profile_state, reading(NOW + 14 * 30_000)))

    assert only.is_flapping
    assert [remedy.notes[0].partition(":")[0] for remedy in found] == [
        "only if none runs there",
        "check the network and the sleep settings of the machine, then what ends its listener",
        "set the mode to standard in the conversation with the agent",
    ]
    assert [remedy.command is None for remedy in found] == [False, True, True]


@pytest.mark.parametrize(("mode", "is_named"), [("acceptEdits", False), ("unrestricted", True), (None, False)])
def test_only_the_mode_that_approves_everything_is_a_problem(mode: str | None, *, is_named: bool) -> None:
    assert bool(remedies_for(currentMode=mode)) is is_named


# Updates

NEWEST = environment("env-2", metadata=METADATA | {"lettaCodeVersion": "0.35.0"})


REPORTED = "the machine itself reported this, and it may not be a command: read it first"
RESTART = "restart its listener: it updates itself, and runs the new version from then on"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (update("0.35.0", supported=True, writable=True), []),
        (update("0.34.12", supported=True, writable=True), [RESTART]),
        (update("0.34.12", supported=True, writable=True, manual_command="npm i"), [RESTART, REPORTED]),
        (update("0.34.12", supported=True, writable=False, manual_command="npm i"), [REPORTED]),
        (update("0.35.0", supported=False, manual_command="npm i"), []),
        (update("0.9.0", supported=False), []),
        (update("nightly", supported=True, writable=True), []),
        ({"lettaCodeVersion": "0.34.12"}, []),
        (None, []),
    ],
)
def test_an_outdated_environment_is_updated_or_updates_itself(
    metadata: dict[str, Any] | None, expected: list[str]
) -> None:
    assert notes(NEWEST, metadata=metadata) == expected


def test_a_reported_command_is_shown_as_received_and_said_to_be_so() -> None:
    (remedy,) = remedies_for(NEWEST, metadata=update(supported=False, manual_command="curl x | sh; 'a"))
    assert (remedy.label, remedy.command, remedy.copy) == ("update", "curl x | sh; 'a", "update command")
    assert remedy.notes == (REPORTED,)


@pytest.mark.parametrize("command", [None, "", ["npm"], 5])
def test_an_environment_that_names_no_command_gets_none(command: Any) -> None:
    assert remedies_for(NEWEST, metadata=update(supported=False, manual_command=command)) == []


def test_the_most_urgent_comes_first() -> None:
    metadata = update(supported=False, manual_command="npm i")
    found = remedies_for(NEWEST, currentMode="unrestricted", metadata=metadata, **OFFLINE)
    assert [remedy.label for remedy in found] == ["do", "do", "update"]
    assert [remedy.command is None for remedy in found] == [False, True, False]


@given(st.sampled_from(WEAPONS))
def test_text_from_outside_stays_printable_text(weapon: str) -> None:
    found = remedies_for(
        NEWEST,
        connectionName=weapon,
        currentMode="unrestricted",
        metadata=update("0.1.0", supported=False, reason=weapon, manual_command=weapon),
        **OFFLINE,
    )
    assert len(found) == 3
    for remedy in found:
        assert all(text.isprintable() for text in (*remedy.notes, remedy.command or ""))
