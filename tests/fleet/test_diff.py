"""Changes of a row between two sightings, in a person's words."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from support.builders import NOW, environment, wire_row

from envwatch.fleet.events import Kind
from envwatch.fleet.tracking import changes, is_new_connection, is_new_process
from envwatch.model.text import SafeText, clean

METADATA = wire_row()["metadata"]


Change: TypeAlias = tuple[Kind, str, SafeText | None, SafeText | None]


def changes_to(**after: Any) -> list[Change]:
    return list(changes(environment(), environment(**after)))


def change(kind: Kind, field: str, before: str | None, after: str | None) -> Change:
    return kind, field, None if before is None else clean(before), None if after is None else clean(after)


def test_nothing_differs_from_itself() -> None:
    assert changes_to() == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"connectionName": "nas"}, change(Kind.RENAMED, "name", "laptop of env-1", "nas")),
        ({"currentMode": "unrestricted"}, change(Kind.MODE, "mode", "standard", "unrestricted")),
        ({"currentMode": None}, change(Kind.MODE, "mode", "standard", None)),
        ({"metadata": METADATA | {"lettaCodeVersion": "1"}}, change(Kind.VERSION, "version", "0.34.12", "1")),
        ({"metadata": METADATA | {"gitBranch": "fix"}}, change(Kind.BRANCH, "branch", "main", "fix")),
        ({"metadata": METADATA | {"gitBranch": 5}}, change(Kind.BRANCH, "branch", "main", None)),
        ({"metadata": METADATA | {"os": "darwin"}}, change(Kind.CHANGED, "os", "linux", "darwin")),
        ({"metadata": METADATA | {"nodeVersion": "v24"}}, change(Kind.CHANGED, "node", "v22.1.0", "v24")),
        (
            {"metadata": METADATA | {"workingDirectory": "/"}},
            change(Kind.CHANGED, "directory", "/home/hiro/code/portal", "/"),
        ),
        ({"userId": "u-1"}, change(Kind.CHANGED, "user", None, "u-1")),
        ({"podId": "pod-2"}, change(Kind.CHANGED, "pod", "pod-1", "pod-2")),
    ],
)
def test_a_field_that_somebody_set_is_a_change(after: dict[str, Any], expected: Change) -> None:
    assert changes_to(**after) == [expected]


def test_several_changes_come_in_a_fixed_order() -> None:
    after = {"metadata": METADATA | {"os": "win32", "gitBranch": "x"}, "currentMode": "strict", "connectionName": "n"}

    assert [field for _, field, _, _ in changes_to(**after)] == ["name", "mode", "branch", "os"]


@pytest.mark.parametrize(
    "after",
    [
        {"lastHeartbeat": NOW, "lastSeenAt": NOW},
        {"connectionId": "conn-2", "connectedAt": NOW},
        {"podId": None},
        {"listenerInstanceId": "server-2"},
        {"metadata": METADATA | {"machine": {"memoryBytes": 1}}},
        {"region": "eu"},
    ],
)
def test_what_changes_by_itself_is_none(after: dict[str, Any]) -> None:
    assert changes_to(**after) == []


@pytest.mark.parametrize(
    ("old", "new"), [("default", "standard"), ("bypassPermissions", "unrestricted"), ("fullAccess", "unrestricted")]
)
def test_the_new_name_of_a_mode_is_no_change(old: str, new: str) -> None:
    assert list(changes(environment(currentMode=old), environment(currentMode=new))) == []


@pytest.mark.parametrize(
    ("after", "is_new"),
    [
        ({}, False),
        ({"connectionId": "conn-2"}, True),
        ({"connectedAt": NOW}, True),
        ({"connectedAt": NOW - 3_600_000 + 999}, False),
        ({"connectedAt": NOW - 3_600_000 - 999}, False),
        ({"connectedAt": NOW - 3_600_000 + 1_000}, True),
        ({"connectedAt": NOW - 3_600_000 - 1_000}, True),
        ({"connectedAt": None}, False),
        ({"connectionId": None, "connectedAt": None}, False),
        ({"connectionId": "", "connectedAt": NOW}, False),
    ],
)
def test_a_connection_is_new_by_its_id_or_its_beginning(after: dict[str, Any], *, is_new: bool) -> None:
    assert is_new_connection(environment(), environment(**after)) is is_new
    assert not is_new_connection(environment(connectionId=None), environment(**after))


@pytest.mark.parametrize(
    ("after", "is_new"),
    [
        ({"connectionId": "conn-2"}, False),
        ({"listenerInstanceId": "server-2"}, True),
        ({"listenerInstanceId": None}, False),
        ({"metadata": METADATA | {"lettaCodeVersion": "0.35.0"}}, True),
        ({"metadata": METADATA | {"nodeVersion": "v24"}}, True),
        ({"metadata": None}, False),
    ],
)
def test_a_process_is_new_by_its_instance_or_its_version(after: dict[str, Any], *, is_new: bool) -> None:
    assert is_new_process(environment(), environment(**after)) is is_new
