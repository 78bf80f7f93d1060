"""The fields that a filter can name, and any key of the metadata.

Owns the names. What a value means to a field is the business of its type (`field_types`).
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING

from envwatch.model.environment import NEVER, update_text
from envwatch.model.modes import mode_from_query, mode_of
from envwatch.model.text import SafeText, clean
from envwatch.query.field_types import InstantField, ProfileField, StatusField, TextField, VersionField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.field_types import Field
    from envwatch.query.lexer import Token

META = "meta."
"""Precedes the path of a metadata key, whose levels are separated by dots."""

STATUS = "status"
"""The name of the field of states."""


def named_field(token: Token) -> Field:
    """Return the field of a name.

    Raises:
        QueryError: if there is none; the message names the nearest.
    """
    name = token.text.casefold()
    if name.startswith(META) and len(name) > len(META):
        return meta_field(clean(token.text[len(META) :]))
    if name in (META, META[:-1]):
        raise token.error("name a key of the metadata: meta.KEY:value")
    field = FIELDS.get(ALIASES.get(name, name))
    if field is None:
        raise token.error(f"there is no field {clean(token.text, 20)}; {_nearest(name[:40])}; or quote it")
    return field


def known_field(typed: str) -> str | None:
    """Return the name of the field that a text names, without those of the metadata; None for any other text."""
    name = typed.casefold()
    name = ALIASES.get(name, name)
    return name if name in FIELDS else None


def may_become_field(typed: str) -> bool:
    """Whether a field's name begins with a text, so that a person may be about to type it."""
    typed = typed.casefold()
    return typed.startswith(META) or any(name.startswith(typed) for name in (*FIELDS, *ALIASES, META))


def _nearest(typed: str) -> str:
    names = [*FIELDS, *ALIASES]
    begun = [name for name in names if typed and name.startswith(typed)]
    nearest = list(dict.fromkeys([*begun, *get_close_matches(typed, names, cutoff=0.5)]))
    return f"the nearest: {', '.join(nearest[:2])}" if nearest else f"there are {', '.join([*FIELDS][:3])} and more"


def meta_field(key: str) -> Field:
    """Return the field of a metadata key, or of a key that the API has added to the row itself."""

    def texts(tracked: TrackedEnvironment) -> Iterator[SafeText]:
        environment = tracked.environment
        value = member(environment.metadata, key)
        return _texts_of(member(environment.unknown, key) if value is None else value)

    return TextField(META + key, "a key of the metadata", texts)


def member(value: JsonValue, path: str) -> JsonValue:
    """Return the value at a dotted path, None if there is none. A key may itself contain dots."""
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


def _texts_of(value: JsonValue) -> Iterator[SafeText]:
    """Yield a metadata value as texts: each item of a list, and anything that is not a text as JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif value is not None:
        yield SafeText(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _host(tracked: TrackedEnvironment) -> Iterator[SafeText | None]:
    yield tracked.environment.os
    machine = tracked.environment.machine or {}
    yield from (SafeText(value) for value in machine.values() if isinstance(value, str))


def _unless_never(at: float) -> float | None:
    return None if at == NEVER else at


def _mode(tracked: TrackedEnvironment) -> tuple[SafeText | None]:
    return (mode_of(tracked.environment.mode),)


_ALL: tuple[Field, ...] = (
    StatusField(STATUS, "online, late, offline, gone, missing, flapping, changed, acknowledged"),
    TextField("name", "the name its user chose", lambda tracked: (tracked.environment.name,)),
    TextField("mode", "permission mode", _mode, is_prefix=True, canonical=mode_from_query),
    ProfileField("profile", "under which profile it is listed", lambda tracked: (tracked.profile,)),
    VersionField("version", "version of Letta Code: <0.34", lambda tracked: (tracked.environment.version,)),
    TextField("branch", "git branch", lambda tracked: (tracked.environment.branch,)),
    TextField("directory", "working directory", lambda tracked: (tracked.environment.working_directory,)),
    TextField("os", "darwin, linux, win32", lambda tracked: (tracked.environment.os,), is_prefix=True),
    TextField("host", "its system, processor or architecture", _host),
    VersionField("node", "version of Node.js: >=22", lambda tracked: (tracked.environment.node_version,)),
    InstantField("beat", "last heartbeat: >90s", lambda tracked: tracked.environment.last_heartbeat_at),
    InstantField("up", "up since: <2h", lambda tracked: tracked.up_since),
    InstantField("seen", "last seen: >1d", lambda tracked: _unless_never(tracked.environment.last_seen_at)),
    InstantField(
        "first", "first seen: <7d, >2026-11-01", lambda tracked: _unless_never(tracked.environment.first_seen_at)
    ),
    TextField("user", "id of its user", lambda tracked: (tracked.environment.user_id,)),
    TextField("pod", "pod of the platform, or the last one", lambda tracked: (tracked.pod_id,)),
    TextField("device", "id of the machine", lambda tracked: (tracked.environment.device_id,)),
    TextField("connection", "id of the live link", lambda tracked: (tracked.environment.connection_id,)),
    TextField("listener", "id of the listener's process", lambda tracked: (tracked.environment.listener_instance_id,)),
    TextField("owner", "owner of its API key", lambda tracked: (tracked.environment.api_key_owner,)),
    TextField("org", "id of its organization", lambda tracked: (tracked.environment.organization_id,)),
    TextField("id", "id of the row", lambda tracked: (tracked.environment.id,)),
    TextField(
        "update",
        "whether it updates itself: yes, no, by hand",
        lambda tracked: (update_text(tracked.environment),),
        is_prefix=True,
    ),
    TextField("command", "a command that it takes", lambda tracked: tracked.environment.supported_commands or ()),
)

FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}
"""By name, in the order in which completion offers them."""

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
"""Other accepted names: those in column titles and in the detail pane."""
