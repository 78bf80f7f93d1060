"""What a row says about the machine, and the row under the API's names again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, wire_row

from envwatch.model.environment import (
    API_FIELDS,
    LABELS,
    METADATA_FIELDS,
    OUTPUT_NAMES,
    TEXT_NAMES,
    WIRE_FIELDS,
    ApiField,
    Environment,
    ValueKind,
    mode_from_query,
    mode_meaning,
    mode_of,
    update_text,
    wire_name,
)
from envwatch.model.environment import wire_row as sent_row
from envwatch.model.page import parse_environment
from envwatch.model.text import clean


@pytest.mark.parametrize(("name", "label"), [("web-1", "web-1"), ("", "env-1"), ("  ", "env-1"), (" a ", " a ")])
def test_a_row_with_a_blank_name_is_labelled_by_the_id(name: str, label: str) -> None:
    assert environment(connectionName=name).label == label


@pytest.mark.parametrize(
    ("device", "listener", "is_sandbox"),
    [
        ("sandbox-agent-1", None, True),
        ("machine-1", "sandbox:1", True),
        ("machine-1", "server-1", False),
        ("machine-1", None, False),
        ("my-sandbox-1", "my-sandbox:1", False),
        ("sandbox:1", "sandbox-1", False),
    ],
)
def test_a_sandbox_is_known_by_the_start_of_the_device_or_of_the_listener(
    device: str, listener: str | None, *, is_sandbox: bool
) -> None:
    assert environment(deviceId=device, listenerInstanceId=listener).is_sandbox is is_sandbox


@pytest.mark.parametrize(
    ("system", "may_sleep"), [("darwin", True), ("Darwin", True), ("win32", True), ("linux", False), (None, False)]
)
def test_macs_and_windows_machines_may_sleep(system: str | None, *, may_sleep: bool) -> None:
    assert environment(metadata={} if system is None else {"os": system}).may_sleep is may_sleep


@pytest.mark.parametrize(
    ("organization", "connection", "device", "listener", "is_desktop_app"),
    [
        ("local", None, "machine-1", None, True),
        ("org-1", "local-1", "machine-1", "server-1", True),
        ("org-1", None, "desktop:1", "desktop-primary:1", True),
        ("org-1", "conn-1", "desktop:1", "server-1", False),
        ("org-1", "conn-1", "machine-1", "desktop-primary:1", False),
        ("org-1", "conn-1", "machine-1", "desktop-direct-cloud:1", True),
        ("org-1", "conn-1", "desktop:1", None, False),
        ("locals", "my-local-1", "machine-1", "my-desktop-direct-cloud:1", False),
    ],
)
def test_the_desktop_app_is_known_by_the_organization_the_connection_or_the_listener(
    organization: str, connection: str | None, device: str, listener: str | None, *, is_desktop_app: bool
) -> None:
    row = environment(
        organizationId=organization, connectionId=connection, deviceId=device, listenerInstanceId=listener
    )
    assert row.is_desktop_app is is_desktop_app


@pytest.mark.parametrize(("beat", "alive_at"), [(5.0, 5.0), (0.0, 0.0), (None, NOW)])
def test_the_last_sign_of_life_is_the_heartbeat_or_the_last_sight(beat: float | None, alive_at: float) -> None:
    assert environment(lastHeartbeat=beat, lastSeenAt=NOW).last_seen_alive_at == alive_at


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (None, None),
        ({}, "no"),
        ({"supported": False, "writable": True}, "no"),
        ({"supported": True}, "by hand"),
        ({"supported": True, "writable": False}, "by hand"),
        ({"supported": True, "writable": True}, "yes"),
    ],
)
def test_a_listener_updates_itself_or_by_hand_or_not(update: object, text: str | None) -> None:
    assert update_text(environment(metadata={} if update is None else {"self_update": update})) == text


@pytest.mark.parametrize(
    ("raw", "mode", "meaning"),
    [
        (None, None, "not reported yet"),
        ("default", "standard", "normal approvals"),
        ("standard", "standard", "normal approvals"),
        ("acceptEdits", "acceptEdits", "file edits auto-approved"),
        ("bypassPermissions", "unrestricted", "all tools auto-approved"),
        ("fullAccess", "unrestricted", "all tools auto-approved"),
        ("strict", "strict", "everything needs approval"),
        ("Default", "Default", "not known to this version of envwatch"),
    ],
)
def test_a_mode_has_a_current_name_and_a_meaning(raw: str | None, mode: str | None, meaning: str) -> None:
    name = None if raw is None else clean(raw)
    assert (mode_of(name), mode_meaning(name)) == (mode, meaning)


@pytest.mark.parametrize(
    ("typed", "mode"), [("BYPASSPERMISSIONS", "unrestricted"), ("Default", "standard"), ("x", "x")]
)
def test_an_earlier_name_of_a_mode_may_be_typed_in_any_case(typed: str, mode: str) -> None:
    assert mode_from_query(clean(typed)) == mode


def test_a_metadata_field_has_a_value_of_the_declared_type_or_none() -> None:
    row = environment(
        metadata={"supported_commands": ["a\x1b", 7, "b"], "gitBranch": 5, "supportsPairedListenerGenerations": True}
    )
    assert (row.supported_commands, row.branch, row.has_paired_generations) == ((r"a\x1b", "b"), None, True)
    assert environment(metadata=None).supported_commands is None
    assert Environment.branch is METADATA_FIELDS["gitBranch"]


# Declarations


def test_the_examples_of_the_demo_take_turns() -> None:
    declared = ApiField("region", 99, examples=("a", "b", "c"))
    assert [declared.example(index) for index in range(7)] == [*"abcabca"]


def test_each_field_of_the_api_has_a_number_of_its_own_and_a_kind() -> None:
    instants = {"last_heartbeat_at", "connected_at", "first_seen_at", "last_seen_at"}

    numbers = [each.number for each in API_FIELDS.values()]
    assert numbers[:16] == [*range(16)]
    assert len({*numbers}) == len(numbers)
    assert [*API_FIELDS][:6] == ["id", "name", "device_id", "organization_id", "first_seen_at", "last_seen_at"]
    assert {name for name, each in API_FIELDS.items() if each.kind is ValueKind.INSTANT} == instants
    assert {name for name, each in API_FIELDS.items() if each.kind is ValueKind.OBJECT} == {"metadata", "unknown"}
    assert {each.name for each in WIRE_FIELDS} == {each.name for each in fields(Environment)} - {"unknown"}
    assert {name for name, each in API_FIELDS.items() if each.kind is ValueKind.TEXT} == TEXT_NAMES & API_FIELDS.keys()
    others = {"self_update", "machine", "supported_commands", "has_paired_generations", "subagents_notify_caller"}
    assert {each.name for each in METADATA_FIELDS.values()} - TEXT_NAMES == others
    assert (wire_name("mode"), LABELS["mode"], LABELS["api_key_owner"]) == ("currentMode", "mode", "key owner")


def test_json_and_csv_have_the_fields_in_the_order_of_the_declarations() -> None:
    names = "id name device_id connection_id listener_instance_id last_heartbeat_at connected_at first_seen_at"
    names += " last_seen_at mode version branch os node_version working_directory organization_id pod_id user_id"
    names += " api_key_owner self_update supported_commands metadata unknown"
    assert " ".join(OUTPUT_NAMES[: len(names.split())]) == names


# Rows as the platform sends rows

NULL_WHEN_OFFLINE = ("connectionId", "connectedAt", "lastHeartbeat", "podId")


def test_a_row_is_sent_as_received() -> None:
    row = wire_row(apiKeyOwner="hiro", userId="user-1", lastHeartbeat=NOW - 0.5, region={"zone": [1, 2.5]})
    assert sent_row(parse_environment(row)) == row


def test_a_fact_without_a_value_is_null_or_left_out() -> None:
    bare = wire_row(metadata=None) | dict.fromkeys(NULL_WHEN_OFFLINE)
    sent = sent_row(parse_environment({key: bare[key] for key in bare.keys() - {"currentMode", "listenerInstanceId"}}))
    assert {key for key, value in sent.items() if value is None} == set(NULL_WHEN_OFFLINE)
    assert sent.keys() == wire_row().keys() - {"currentMode", "listenerInstanceId", "metadata"}


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (5.0, "5"),
        (-5.0, "-5"),
        (5.5, "5.5"),
        (2.0**53 - 1, "9007199254740991"),
        (-(2.0**53) + 1, "-9007199254740991"),
        (2.0**53, "9007199254740992.0"),
        (-(2.0**53), "-9007199254740992.0"),
    ],
)
def test_an_instant_is_sent_as_a_whole_number_where_a_whole_number_is_exact(at: float, sent: str) -> None:
    assert repr(sent_row(environment(firstSeenAt=at))["firstSeenAt"]) == sent


NAMES = st.sampled_from([*wire_row(), "region", "a\x1b"]) | st.text(max_size=4)
SENT = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=4), max_size=4)


@settings(max_examples=examples(200), deadline=None)
@given(unknown=SENT)
def test_a_row_sent_and_read_again_is_the_same_row(unknown: dict[str, Any]) -> None:
    row = parse_environment(wire_row() | {f"{name}\ufe0f": value for name, value in unknown.items()})
    assert parse_environment(sent_row(row)) == row
