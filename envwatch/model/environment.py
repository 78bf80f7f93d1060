"""One row of the API as a frozen value of cleaned text.

Owns the row's wire format and the boundary where its text is cleaned; see `page` for the listing around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, TypeAlias

import pydantic_core
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, with_config

from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import LONGEST, SafeText, clean, clean_key, cleaned

JsonObject: TypeAlias = Mapping[str, JsonValue]

_Text = Annotated[SafeText, Field(max_length=LONGEST)]
_Instant = Annotated[ServerMs, Field(strict=True, allow_inf_nan=False)]

_NEVER_ON_THE_WIRE = "\0"
"""An alias that no plain page can contain: only this module fills that field."""


NEVER = ServerMs(float("-inf"))
"""The instant of what has never happened: an expected environment that was never listed was never seen."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One row of the listing as received, its text cleaned; instants may be integers or floats."""

    id: Annotated[SafeText, Field(min_length=1, max_length=LONGEST)]
    """The row's permanent key. Cleaned by `clean_key`: distinct rows have distinct keys."""
    name: Annotated[_Text, Field(alias="connectionName")]
    """Chosen by the machine's user; not unique."""
    device_id: Annotated[_Text, Field(alias="deviceId")]
    """Stable per machine; shared by two listeners on one machine."""
    organization_id: Annotated[_Text, Field(alias="organizationId")]
    """`local` marks a row of the Desktop app."""
    first_seen_at: Annotated[_Instant, Field(alias="firstSeenAt")]
    last_seen_at: Annotated[_Instant, Field(alias="lastSeenAt")]
    connection_id: Annotated[_Text | None, Field(alias="connectionId")] = None
    """The live connection; null when offline, new after a re-registration."""
    connected_at: Annotated[_Instant | None, Field(alias="connectedAt")] = None
    last_heartbeat_at: Annotated[_Instant | None, Field(alias="lastHeartbeat")] = None
    pod_id: Annotated[_Text | None, Field(alias="podId")] = None
    listener_instance_id: Annotated[_Text | None, Field(alias="listenerInstanceId")] = None
    """Undocumented: `<surface>-<hash>`."""
    api_key_owner: Annotated[_Text | None, Field(alias="apiKeyOwner")] = None
    user_id: Annotated[_Text | None, Field(alias="userId")] = None
    mode: Annotated[_Text | None, Field(alias="currentMode")] = None
    """An open set; None on a fresh row."""
    metadata: Annotated[dict[str, JsonValue] | None, Field(alias="metadata")] = None
    """An open set; the properties below ignore a value of the wrong type."""
    unknown: Annotated[dict[str, JsonValue], Field(alias=_NEVER_ON_THE_WIRE)] = field(default_factory=dict)
    """Fields of the row that this version does not model."""

    @property
    def label(self) -> SafeText:
        """What people call it: its name, or its id if the name is empty or blank."""
        return self.id if not self.name or self.name.isspace() else self.name

    @property
    def last_seen_alive_at(self) -> ServerMs:
        """The last sign of life: the heartbeat, or if there is none (as when offline) when it was last seen."""
        return self.last_seen_at if self.last_heartbeat_at is None else self.last_heartbeat_at

    @property
    def version(self) -> SafeText | None:
        """Version of Letta Code."""
        return self._text("lettaCodeVersion")

    @property
    def branch(self) -> SafeText | None:
        """Git branch; set once an agent has run there."""
        return self._text("gitBranch")

    @property
    def working_directory(self) -> SafeText | None:
        """Set once an agent has run there."""
        return self._text("workingDirectory")

    @property
    def os(self) -> SafeText | None:
        """Node's `process.platform`: darwin, linux, win32."""
        return self._text("os")

    @property
    def node_version(self) -> SafeText | None:
        """Version of Node.js, with its leading v."""
        return self._text("nodeVersion")

    @property
    def self_update(self) -> JsonObject | None:
        """Whether the listener can update itself, and the command if it cannot."""
        return self._object("self_update")

    @property
    def machine(self) -> JsonObject | None:
        """Undocumented: architecture, cpu, memoryBytes, osName, osVersion."""
        return self._object("machine")

    @property
    def supported_commands(self) -> tuple[SafeText, ...] | None:
        """Names of the commands that the listener accepts."""
        value = (self.metadata or {}).get("supported_commands")
        return tuple(SafeText(name) for name in value if isinstance(name, str)) if isinstance(value, list) else None

    def _text(self, key: str) -> SafeText | None:
        value = self.metadata.get(key) if self.metadata else None
        return SafeText(value) if isinstance(value, str) else None

    def _object(self, key: str) -> JsonObject | None:
        value = self.metadata.get(key) if self.metadata else None
        return value if isinstance(value, dict) else None


KNOWN_METADATA: Mapping[str, type] = {
    "lettaCodeVersion": str,
    "gitBranch": str,
    "workingDirectory": str,
    "os": str,
    "nodeVersion": str,
    "self_update": dict,
    "machine": dict,
    "supported_commands": list,
}
"""Keys of `metadata` that a property of `Environment` reads, each with the type of what it can read."""


_ENVIRONMENT = TypeAdapter(Environment)


def environment_of(row: JsonValue) -> Environment:
    """Return one decoded row as a value: its text cleaned, its unknown fields kept.

    Raises:
        ValueError: if it does not fit `Environment`, or is too large.
    """
    if not isinstance(row, dict):
        return _ENVIRONMENT.validate_python(row)
    names = _wire_names()
    fields = {key: cleaned(row[key]) for key in row.keys() & names}
    if isinstance(id_ := row.get("id"), str):
        fields["id"] = clean_key(id_)
    unknown: dict[str, JsonValue] = {clean(key): cleaned(value) for key, value in row.items() if key not in names}
    if is_too_large([fields, unknown]):
        raise ValueError(f"a row of more than {limits.ROW_BYTES} bytes")
    environment = _ENVIRONMENT.validate_python(fields)
    return replace(environment, unknown=unknown) if unknown else environment


def wire_row(environment: Environment) -> dict[str, JsonValue]:
    """Return a row under its names on the wire, so that `environment_of` reads the same from it.

    Its id is that of `Environment`, which `environment_of` changes if it is hashed. Instants are whole numbers where
    they can be. Optional fields without a value are left out, as the platform does it on a fresh row.
    """
    names = _wire_names()
    row: dict[str, JsonValue] = {
        # Cleaning made this name of an unknown field that of a known one, and removes the hint again.
        name + _REMOVED_BY_CLEANING if name in names else name: value
        for name, value in environment.unknown.items()
    }
    row |= {
        "id": environment.id,
        "connectionName": environment.name,
        "deviceId": environment.device_id,
        "organizationId": environment.organization_id,
        "connectionId": environment.connection_id,
        "connectedAt": _wire_instant(environment.connected_at),
        "lastHeartbeat": _wire_instant(environment.last_heartbeat_at),
        "firstSeenAt": _wire_instant(environment.first_seen_at),
        "lastSeenAt": _wire_instant(environment.last_seen_at),
        "podId": environment.pod_id,
    }
    optional: dict[str, JsonValue] = {
        "currentMode": environment.mode,
        "metadata": environment.metadata,
        "listenerInstanceId": environment.listener_instance_id,
        "apiKeyOwner": environment.api_key_owner,
        "userId": environment.user_id,
    }
    return row | {name: value for name, value in optional.items() if value is not None}


_REMOVED_BY_CLEANING = "\ufe0f"
_EXACT_BELOW = 1 << 53
"""Whole numbers that a float holds exactly."""


def _wire_instant(at: ServerMs | None) -> float | None:
    # Not -0.0, which is a whole number only as a float.
    return int(at) if at and at.is_integer() and abs(at) < _EXACT_BELOW else at


def is_too_large(value: JsonValue) -> bool:
    """Whether a decoded row, or a part of it, exceeds `ROW_BYTES` as JSON."""
    return len(pydantic_core.to_json(value)) > limits.ROW_BYTES


@cache
def _wire_names() -> frozenset[str]:
    """The names of `Environment`'s fields on the wire."""
    return frozenset(_ENVIRONMENT.json_schema()["properties"]) - {_NEVER_ON_THE_WIRE}


def update_text(environment: Environment) -> SafeText | None:
    """Return whether the listener can update itself, in a word or two."""
    update = environment.self_update
    if update is None:
        return None
    if not update.get("supported"):
        return SafeText("no")
    return SafeText("yes" if update.get("writable") else "by hand")
