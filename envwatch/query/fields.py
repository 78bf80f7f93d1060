"""What a filter can ask of an environment: its fields by name, and any key of its metadata.

Owns the names. What a value means to a field is its kind's business (`kinds`).
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING

from envwatch.model.environment import update_text
from envwatch.model.modes import mode_from_query, mode_of
from envwatch.model.text import Clean, clean
from envwatch.query.field_types import InstantField, ListField, ProfileField, StatusField, TextField, VersionField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.model.environment import Environment
    from envwatch.query.field_types import Field
    from envwatch.query.lexer import Token

META = "meta."
"""Before the name of a key of the metadata, dots between its levels."""

STATUS = "status"
"""The name of the field of states."""


def named_field(token: Token) -> Field:
    """Return the field of a name.

    Raises:
        QueryError: if there is none; it names the nearest.
    """
    name = token.text.casefold()
    if name.startswith(META) and len(name) > len(META):
        return meta_field(clean(token.text[len(META) :]))
    if name in (META, META[:-1]):
        raise token.error("name a key of the metadata: meta.KEY:value")
    known = FIELDS.get(ALIASES.get(name, name))
    if known is None:
        raise token.error(f"there is no field {clean(token.text, 20)}; {_nearest(name[:40])}; or quote it")
    return known


def is_begun(typed: str) -> bool:
    """Whether a text may yet become the name of a field."""
    name = typed.casefold()
    return name.startswith(META) or any(known.startswith(name) for known in (*FIELDS, *ALIASES, META))


def _nearest(name: str) -> str:
    names = [*FIELDS, *ALIASES]
    begun = [known for known in names if name and known.startswith(name)]
    nearest = list(dict.fromkeys([*begun, *get_close_matches(name, names, cutoff=0.5)]))
    return f"the nearest: {', '.join(nearest[:2])}" if nearest else f"there are {', '.join([*FIELDS][:3])} and more"


def meta_field(key: str) -> Field:
    """Return the field of a key of the metadata, or of the row where the API has added to it."""

    def texts(environment: Environment) -> Iterator[Clean]:
        value = member(environment.metadata, key)
        return _texts_of(member(environment.unknown, key) if value is None else value)

    return ListField(META + key, "a key of the metadata", texts)


def member(value: JsonValue, path: str) -> JsonValue:
    """Return what stands at a path, None for nothing; a key may hold dots itself."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    end = path.find(".")
    while end >= 0:
        if (found := member(value.get(path[:end]), path[end + 1 :])) is not None:
            return found
        end = path.find(".", end + 1)
    return None


def _texts_of(value: JsonValue) -> Iterator[Clean]:
    """Yield a value of the metadata as text: the items of a list one by one, anything but text as JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif value is not None:
        yield Clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _host(environment: Environment) -> Iterator[Clean]:
    if environment.os:
        yield environment.os
    machine = environment.machine or {}
    yield from (Clean(value) for value in machine.values() if isinstance(value, str))


_ALL: tuple[Field, ...] = (
    StatusField(STATUS, "online, late, offline, gone, flapping, changed, acknowledged"),
    TextField("name", "the name its user chose", lambda row: row.name),
    TextField("mode", "permission mode", lambda row: mode_of(row.mode), is_prefix=True, meant=mode_from_query),
    ProfileField("profile", "where several are watched"),
    VersionField("version", "version of Letta Code: <0.34", lambda row: row.version),
    TextField("branch", "git branch", lambda row: row.branch),
    TextField("directory", "working directory", lambda row: row.working_directory),
    TextField("os", "darwin, linux, win32", lambda row: row.os, is_prefix=True),
    ListField("host", "its system, processor or architecture", _host),
    VersionField("node", "version of Node.js: >=22", lambda row: row.node_version),
    InstantField("beat", "last heartbeat: >90s", lambda tracked: tracked.environment.last_heartbeat_at),
    InstantField("up", "up since: <2h", lambda tracked: tracked.up_since),
    InstantField("seen", "last seen: >1d", lambda tracked: tracked.environment.last_seen_at),
    InstantField("first", "first seen: <7d, >2026-11-01", lambda tracked: tracked.environment.first_seen_at),
    TextField("user", "id of its user", lambda row: row.user_id),
    TextField("pod", "pod of the platform", lambda row: row.pod_id),
    TextField("device", "id of the machine", lambda row: row.device_id),
    TextField("connection", "id of the live link", lambda row: row.connection_id),
    TextField("listener", "id of the listener's process", lambda row: row.listener_instance_id),
    TextField("owner", "owner of its API key", lambda row: row.api_key_owner),
    TextField("org", "id of its organization", lambda row: row.organization_id),
    TextField("id", "id of the row", lambda row: row.id),
    TextField("update", "whether it updates itself: yes, no, by hand", update_text, is_prefix=True),
    ListField("command", "a command that it takes", lambda row: row.supported_commands or ()),
)

FIELDS: Mapping[str, Field] = {known.name: known for known in _ALL}
"""By name, in the order in which they are offered."""

ALIASES = {
    "state": STATUS,
    "dir": "directory",
    "conn": "connection",
    "connected": "up",
    "heartbeat": "beat",
    "organization": "org",
    "key": "owner",
    "commands": "command",
}
"""Other names, taken for those: such as stand in the titles of columns and in the detail pane."""
