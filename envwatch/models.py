"""The rows of the API: one page of JSON bytes becomes frozen values of cleaned text.

Owns the wire format and the boundary where untrusted text is cleaned. Knows nothing of HTTP, of verdicts or of time.

A page takes one of two ways. Mostly every row fits: pydantic validates the whole page straight from the bytes, and
what is not plain ASCII is cleaned after that. A page with a row that does not fit, or with a field that nobody told us
of, goes row by row: unknown fields are kept, and a row that does not fit is set aside instead of losing the page. If
the page cannot be parsed as a whole, each of its rows is parsed alone, and those that cannot be parsed are set aside.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import pydantic_core
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, with_config

from envwatch import rules
from envwatch.page_rows import id_in, split
from envwatch.text import BITS, DEPTH, LONGEST, Clean, clean, clean_key, cleaned, is_hashed, is_plain_json

if TYPE_CHECKING:
    from envwatch.pool import Pool

JsonObject: TypeAlias = Mapping[str, JsonValue]

_Text = Annotated[Clean, Field(max_length=LONGEST)]
_Instant = Annotated[float, Field(strict=True, allow_inf_nan=False)]

_NEVER_ON_THE_WIRE = "\0"
"""An alias that no plain page can contain, for a field that only this module fills."""


class PageError(ValueError):
    """The bytes are no page of environments; the text says why in one line."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One row of the listing, as received, its text cleaned.

    Instants are milliseconds since the epoch by the server's clock, integer or float, as the API sends them.
    """

    id: Annotated[Clean, Field(min_length=1, max_length=LONGEST)]
    """The row's key, never ephemeral. Cleaned by `clean_key`: distinct rows have distinct keys."""
    name: Annotated[_Text, Field(alias="connectionName")]
    """Chosen by the machine's user; not unique."""
    device_id: Annotated[_Text, Field(alias="deviceId")]
    """Stable per machine; shared by two listeners on one machine."""
    organization_id: Annotated[_Text, Field(alias="organizationId")]
    """`local` marks a row of the Desktop app."""
    first_seen_at: Annotated[_Instant, Field(alias="firstSeenAt")]
    last_seen_at: Annotated[_Instant, Field(alias="lastSeenAt")]
    connection_id: Annotated[_Text | None, Field(alias="connectionId")] = None
    """The live link; null when offline, new after a re-registration."""
    connected_at: Annotated[_Instant | None, Field(alias="connectedAt")] = None
    last_heartbeat_at: Annotated[_Instant | None, Field(alias="lastHeartbeat")] = None
    pod_id: Annotated[_Text | None, Field(alias="podId")] = None
    listener_instance_id: Annotated[_Text | None, Field(alias="listenerInstanceId")] = None
    """Undocumented, sent today: `<surface>-<hash>`."""
    api_key_owner: Annotated[_Text | None, Field(alias="apiKeyOwner")] = None
    user_id: Annotated[_Text | None, Field(alias="userId")] = None
    mode: Annotated[_Text | None, Field(alias="currentMode")] = None
    """Open in practice: unknown modes are normal, and so is none on a fresh row."""
    metadata: Annotated[dict[str, JsonValue] | None, Field(alias="metadata")] = None
    """Open; the properties below read what is known by name and ignore a value of the wrong type."""
    unknown: Annotated[dict[str, JsonValue], Field(alias=_NEVER_ON_THE_WIRE)] = field(default_factory=dict)
    """Fields of the row itself that this version does not know by name."""

    @property
    def last_sign_at(self) -> float:
        """The last sign of life: the heartbeat, or when it was last seen, for what is offline has none."""
        return self.last_seen_at if self.last_heartbeat_at is None else self.last_heartbeat_at

    @property
    def version(self) -> Clean | None:
        """Version of Letta Code."""
        return self._text("lettaCodeVersion")

    @property
    def branch(self) -> Clean | None:
        """Git branch; known only once an agent has run there."""
        return self._text("gitBranch")

    @property
    def working_directory(self) -> Clean | None:
        """Known only once an agent has run there."""
        return self._text("workingDirectory")

    @property
    def os(self) -> Clean | None:
        """Node's `process.platform`: darwin, linux, win32."""
        return self._text("os")

    @property
    def node_version(self) -> Clean | None:
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
    def supported_commands(self) -> tuple[Clean, ...] | None:
        """Names of the commands that the listener takes."""
        value = (self.metadata or {}).get("supported_commands")
        return tuple(Clean(name) for name in value if isinstance(name, str)) if isinstance(value, list) else None

    def _text(self, key: str) -> Clean | None:
        value = self.metadata.get(key) if self.metadata else None
        return Clean(value) if isinstance(value, str) else None

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


@dataclass(frozen=True, slots=True)
class Page:
    """What one answer of `GET /v1/environments` held."""

    environments: list[Environment]
    has_next_page: bool
    cursor: str | None
    """The `id` of the last row exactly as received, uncleaned: the next page's `after`, for nothing else."""
    set_aside: int
    """Rows that did not fit the API's description."""
    set_aside_ids: tuple[Clean, ...] = ()
    """The ids of those whose id can be read."""


@dataclass(frozen=True, slots=True)
class _WholePage:
    connections: list[Environment]
    has_next_page: Annotated[bool, Field(alias="hasNextPage", strict=True)]


_WHOLE_PAGE = TypeAdapter(_WholePage)
_ENVIRONMENT = TypeAdapter(Environment)
_TEXTS = (
    "name",
    "device_id",
    "organization_id",
    "connection_id",
    "pod_id",
    "listener_instance_id",
    "api_key_owner",
    "user_id",
    "mode",
)


def page_of(data: bytes, known: Mapping[Clean, Environment] | None = None, pool: Pool | None = None) -> Page:
    """Decode one page.

    Args:
        data: the body of an answer, inflated.
        known: rows by id of an earlier listing; one that has not changed is taken from here instead of a copy of it,
            so that whoever compares the two listings finds most of it done, and the garbage collector too.
        pool: what rows share with rows of other pages: equal values of their metadata become one object.

    Raises:
        PageError: if it is not JSON, holds numbers or nesting that no API sends, or is not shaped like a page.
    """
    page = _page_at_once(data, known or {}) or _page_row_by_row(data)
    if pool is not None:
        for row in page.environments:
            before = known.get(row.id) if known else None
            if row.metadata and (before is None or row.metadata is not before.metadata):
                pool.share(row.metadata)
    return page


def environment_of(row: JsonValue) -> Environment:
    """Return one decoded row as a value: its text cleaned, its unknown fields kept.

    Raises:
        ValueError: if it does not fit the API's description, or is too large.
    """
    if not isinstance(row, dict):
        return _ENVIRONMENT.validate_python(row)
    names = _wire_names()
    known = {key: cleaned(row[key]) for key in row.keys() & names}
    if isinstance(id_ := row.get("id"), str):
        known["id"] = clean_key(id_)
    unknown: dict[str, JsonValue] = {clean(key): cleaned(value) for key, value in row.items() if key not in names}
    if _is_too_large([known, unknown]):
        raise ValueError(f"a row of more than {rules.ROW_BYTES} bytes")
    environment = _ENVIRONMENT.validate_python(known)
    return replace(environment, unknown=unknown) if unknown else environment


def _is_too_large(value: JsonValue) -> bool:
    return len(pydantic_core.to_json(value)) > rules.ROW_BYTES


def _page_at_once(data: bytes, known: Mapping[Clean, Environment]) -> Page | None:
    """Return a page all of whose rows fit the description, or None."""
    try:
        page = _WHOLE_PAGE.validate_json(data)
    except ValidationError:
        return None
    rows = page.connections
    cursor = rows[-1].id if rows else None
    is_plain = is_plain_json(data)
    may_be_too_large = len(data) > rules.ROW_BYTES
    for index, row in enumerate(rows):
        before = known.get(row.id)
        # What equals a row that was cleaned needs no cleaning, unless its id only looks like that row's key.
        if before is None or row != before or is_hashed(row.id):
            if may_be_too_large and _is_too_large(row.metadata):
                return None
            try:
                rows[index] = _settled(row, before, is_plain=is_plain)
            except ValueError:
                return None
        else:
            rows[index] = before
    return Page(rows, page.has_next_page, cursor, 0)


def _settled(row: Environment, before: Environment | None, *, is_plain: bool) -> Environment:
    """Return a row with clean text, and with the metadata of the row before where it has not changed.

    Raises:
        ValueError: if it cannot be had this way.
    """
    if row.unknown:
        raise ValueError("only this module fills that field")
    changes: dict[str, Any] = {}
    key = clean_key(row.id)
    if key != row.id:
        changes["id"] = key
    if not is_plain:
        texts = ((name, getattr(row, name)) for name in _TEXTS)
        changes |= {name: clean(text) for name, text in texts if text is not None and not _is_plain(text)}
    if before is not None and row.metadata == before.metadata:
        changes["metadata"] = before.metadata
    elif not _is_tame((row.metadata,), is_plain=is_plain):
        changes["metadata"] = cleaned(row.metadata)
    return replace(row, **changes) if changes else row


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _page_row_by_row(data: bytes) -> Page:
    page = _decoded_page(data)
    rows = page.get("connections") if isinstance(page, dict) else None
    has_next_page = page.get("hasNextPage") if isinstance(page, dict) else None
    if not isinstance(rows, list) or not isinstance(has_next_page, bool):
        raise PageError("no page of environments: it lacks `connections` or `hasNextPage`")
    environments: list[Environment] = []
    cursor = None
    set_aside_ids = []
    for row in rows:
        id_ = row.get("id") if isinstance(row, dict) else None
        if isinstance(id_, str) and _is_sendable(id_):
            cursor = id_
        try:
            environments.append(environment_of(row))
        except ValueError:
            if id_ and isinstance(id_, str):
                set_aside_ids.append(clean_key(id_))
    return Page(environments, has_next_page, cursor, len(rows) - len(environments), tuple(set_aside_ids))


def _decoded_page(data: bytes) -> JsonValue:
    """Return a page; of a row that cannot be decoded, its id alone, or null if that cannot be read either."""
    try:
        return _decoded(data)
    except PageError:
        pieces = split(data)
        if pieces is None:
            raise
    page = _decoded(pieces.rest)
    if isinstance(page, dict) and page.get("connections") == []:
        page["connections"] = [_decoded_row(row) for row in pieces.rows]
    return page


def _decoded_row(data: bytes) -> JsonValue:
    with suppress(PageError):
        return _decoded(data)
    id_ = id_in(data)
    with suppress(PageError):
        return {"id": _decoded(id_)} if id_ else None
    return None


def _decoded(data: bytes) -> JsonValue:
    try:
        page: JsonValue = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        # The platform's own JSON can hold half of a surrogate pair, which pydantic refuses: one machine's name must
        # not blind everybody.
        if not _SURROGATE.search(data):
            raise PageError(f"not JSON: {clean(str(error), 120)}") from None
        try:
            page = json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError) as other:
            raise PageError(f"not JSON: {clean(str(other), 120)}") from None
    return page


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _is_sendable(id_: str) -> bool:
    """Whether an id can be a cursor: text that a URL can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in id_)


@cache
def _wire_names() -> frozenset[str]:
    """The names under which `Environment`'s fields travel."""
    return frozenset(_ENVIRONMENT.json_schema()["properties"]) - {_NEVER_ON_THE_WIRE}


def _is_tame(values: Iterable[JsonValue], depth: int = DEPTH, *, is_plain: bool) -> bool:
    """Whether `cleaned` would leave decoded JSON as it is: the same limits, without the copy.

    Args:
        values: what was decoded.
        depth: how many levels of lists and objects there may be.
        is_plain: whether all text in it is known to be printable ASCII.
    """
    for value in values:
        if type(value) is str:
            if len(value) > LONGEST or not (is_plain or _is_plain(value)):
                return False
        elif type(value) is dict:
            keys = _is_tame(value, depth - 1, is_plain=is_plain)
            if not (depth and keys and _is_tame(value.values(), depth - 1, is_plain=is_plain)):
                return False
        elif type(value) is list:
            if not (depth and _is_tame(value, depth - 1, is_plain=is_plain)):
                return False
        elif not _is_tame_number(value):
            return False
    return True


def _is_tame_number(value: JsonValue) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)  # 1e999 reads as infinity
    return not isinstance(value, int) or value.bit_length() <= BITS
