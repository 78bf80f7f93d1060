"""Environments as bytes: JSON, JSON lines and CSV for programs, a table for people.

Owns the formats. Does no I/O; verdicts come from the fleet, and the order from `table_view` or the dashboard. All texts
are cleaned before they get here. Must not import Textual or Rich.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict

from pydantic_core import to_json

from envwatch.fleet.presence import UNTIMED, Presence, Reason, heartbeat_age
from envwatch.model.text import Clean, cells, counted, csv_cell, fitted, named_ids, shortened
from envwatch.model.times import MS, NOTHING, moment
from envwatch.views.columns import COLUMNS
from envwatch.views.environment_list import UNKNOWN, EnvironmentList, ListedEnvironment
from envwatch.views.state_style import style_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from envwatch.model.environment import JsonObject

_UNKNOWN_REASON: Final = Clean("cannot be known")


class Format(StrEnum):
    """The output formats of `list`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Row(TypedDict):
    """An environment in every format for programs. Names, order and types are a stable interface.

    Instants are ISO 8601 in UTC with milliseconds.
    """

    id: str
    name: str
    device_id: str
    connection_id: str | None
    listener_instance_id: str | None
    state: str
    """`online`, `late`, `offline`, `gone`; `unknown` if the last verdict is out of date."""
    reason: str
    """The reason for the state."""
    heartbeat_age_s: float | None
    last_heartbeat_at: str | None
    connected_at: str | None
    first_seen_at: str | None
    last_seen_at: str | None
    mode: str | None
    """As received, including the names that older listeners use."""
    version: str | None
    branch: str | None
    os: str | None
    node_version: str | None
    working_directory: str | None
    organization_id: str
    pod_id: str | None
    user_id: str | None
    api_key_owner: str | None
    self_update: JsonObject | None
    supported_commands: Sequence[str] | None
    metadata: JsonObject | None
    profile: str | None
    """Null if only one is watched. With several, ids may repeat, but not with the same profile."""
    acknowledged: str | None
    """The note of the acknowledgement; null without one."""
    last_state: str | None
    """The last verdict if `state` is `unknown`, otherwise null."""
    unknown: JsonObject
    """Fields of the row that this version of envwatch has no name for, as received."""


def json_of(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield one JSON document in UTF-8, row by row: whole, 100,000 rows would fill 200 MiB."""
    counts = listing.counts()
    document: dict[str, object] = {
        "taken_at": _iso(listing.taken_at),
        "complete": listing.is_complete,
        "filter": listing.filter,
        "preset": listing.preset,
        "total_unfiltered": len(listing.rows) + listing.hidden,
        "counts": {state: counts[state] for state in _STATES} | {"total": len(listing.rows)},
        "set_aside": {"total": listing.set_aside, "ids": sorted(listing.set_aside_ids)},
        "environments": [],
    }
    start, end = to_json(document, indent=2).rsplit(b"]", 1)
    yield start
    for number, row in enumerate(_rows(listing)):
        yield (b",\n    " if number else b"\n    ") + to_json(row, indent=2).replace(b"\n", b"\n    ")
    yield (b"\n  ]" if listing.rows else b"]") + end + b"\n"


def row_json_of(listing: EnvironmentList) -> Clean:
    """Return a list's only environment as one JSON object, formatted as in `json_of`."""
    (row,) = _rows(listing)
    return Clean(to_json(row, indent=2).decode())


def jsonl_of(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield one JSON object for each environment, one a line, in UTF-8."""
    for row in _rows(listing):
        yield to_json(row) + b"\n"


def csv_of(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield a header and one line for each environment, in UTF-8: the fields of the JSON, nested ones as JSON.

    No cell is a formula to a spreadsheet. A null is an empty cell, like an empty text.
    """
    yield _csv_line(Row.__annotations__)
    for row in _rows(listing):
        yield _csv_line(_csv_cell(value) for value in row.values())


def table_of(listing: EnvironmentList, *, width: int | None, encoding: str, ascii_only: bool) -> Iterator[bytes]:
    r"""Yield the lines of an aligned table for people, without escape sequences.

    Args:
        listing: what to show.
        width: of the terminal in cells; None for no limit.
        encoding: of the terminal; characters that it lacks are written as `\x…`.
        ascii_only: whether glyphs and marks must be ASCII; names keep all characters of the encoding.
    """
    nothing = "-" if ascii_only else NOTHING
    ellipsis = ".." if ascii_only else "…"

    def encodable(text: str | None) -> Clean:
        return Clean((text or nothing).encode(encoding, "backslashreplace").decode(encoding))

    has_profiles = any(row.tracked.profile for row in listing.rows)
    columns = [column for column in _COLUMNS if has_profiles or column is not _PROFILE]

    def line_of(row: ListedEnvironment) -> list[Clean]:
        style = style_of(row.tracked, is_unknown=row.is_unknown)
        state = f"{style.ascii if ascii_only else style.glyph} {row.state}"
        return [encodable(state), *(encodable(column.text(row.tracked, row.judged_at)) for column in columns)]

    rows = [[Clean("STATE"), Clean("AGE"), *(Clean(column.title) for column in columns[1:])]]
    rows += map(line_of, listing.rows)
    widths = _widths(rows, width)

    def line(row: Sequence[Clean]) -> Clean:
        state, *others = zip(row, widths, strict=True)
        fields = [
            fitted(cell, room, keep=column.keep, align="right" if column is _AGE else "left", ellipsis=ellipsis)
            for column, (cell, room) in zip(columns, others, strict=True)
        ]
        text = Clean(_GAP.join([fitted(*state), *fields]).rstrip(" "))
        return text if width is None else shortened(text, width, ellipsis=ellipsis)

    for row in rows:
        yield f"{line(row)}\n".encode(encoding)


def summary_of(listing: EnvironmentList, host: str) -> str:
    """Return one line for people: counts and caveats, in ASCII except for the host."""
    by_state = listing.counts()
    states = [Presence.OFFLINE, Presence.LATE, Presence.ONLINE, *([UNKNOWN] if by_state[UNKNOWN] else [])]
    counts = ", ".join(f"{by_state[state]} {state}" for state in states)
    caveats = ""
    if listing.set_aside:
        named = named_ids(listing.set_aside_ids, listing.set_aside)
        caveats += f"; incomplete: {counted(listing.set_aside, 'row')} could not be read{named}"
    if listing.untimed:
        caveats += f"; incomplete: {counted(listing.untimed, 'row')} whose heartbeat's time cannot be true"
    if listing.unlisted:
        caveats += f"; incomplete: no listing of {', '.join(listing.unlisted)}"
    if not listing.is_by_server_clock and not listing.clock_warnings:
        caveats += "; ages are by this machine's clock: no response had a Date header"
    total = counted(len(listing.rows) + listing.hidden, "environment")
    matching = "" if listing.filter is None else f"{len(listing.rows):,} of "
    return f"{matching}{total} at {host}: {counts}{caveats}"


_AGE: Final = COLUMNS["state"]
"""The column beside the state: the time since the last heartbeat."""
_PROFILE: Final = COLUMNS["profile"]
_COLUMNS: Final = (_AGE, *(COLUMNS[id_] for id_ in ("name", "profile", "mode", "version", "branch", "os")))
_STATES: Final = (Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE, UNKNOWN)
_GAP: Final = "  "
_NARROWEST: Final = 6
"""Cells that a column keeps at least."""


def _widths(lines: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """Return the width of each column: as wide as its cells, with the widest ones narrowed until all fit the room."""
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    if room is not None:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
        for _ in range(excess):
            widest = max(range(2, len(widths)), key=widths.__getitem__)
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
    return widths


def _rows(listing: EnvironmentList) -> Iterator[Row]:
    for row in listing.rows:
        yield _row(row, listing.acknowledged.get(row.tracked.environment.id))


def _row(row: ListedEnvironment, note: Clean | None) -> Row:
    tracked = row.tracked
    environment = tracked.environment
    age = heartbeat_age(environment, row.judged_at)
    return {
        "id": environment.id,
        "name": environment.name,
        "device_id": environment.device_id,
        "connection_id": environment.connection_id,
        "listener_instance_id": environment.listener_instance_id,
        "state": row.state,
        "reason": _reason(row),
        # Cut, not rounded: 119.9996 s is not yet the 120 at which it would be offline.
        "heartbeat_age_s": None if age is None else age // MS / 1000,
        "last_heartbeat_at": _iso(environment.last_heartbeat_at),
        "connected_at": _iso(environment.connected_at),
        "first_seen_at": _iso(environment.first_seen_at),
        "last_seen_at": _iso(environment.last_seen_at),
        "mode": environment.mode,
        "version": environment.version,
        "branch": environment.branch,
        "os": environment.os,
        "node_version": environment.node_version,
        "working_directory": environment.working_directory,
        "organization_id": environment.organization_id,
        "pod_id": environment.pod_id,
        "user_id": environment.user_id,
        "api_key_owner": environment.api_key_owner,
        "self_update": environment.self_update,
        "supported_commands": environment.supported_commands,
        "metadata": environment.metadata,
        "profile": tracked.profile or None,
        "acknowledged": note,
        "last_state": tracked.presence.value if row.is_unknown and tracked.verdict != UNTIMED else None,
        "unknown": environment.unknown,
    }


def _reason(row: ListedEnvironment) -> str:
    if row.tracked.is_untimed:
        return Reason.UNTIMED.value
    return _UNKNOWN_REASON if row.is_unknown else row.tracked.verdict.reason.value


def _iso(at: float | None) -> str | None:
    """Return an instant in UTC, with milliseconds; None if it is outside the calendar."""
    when = moment(at, UTC)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv_line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _csv_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return csv_cell(Clean(value))
        case float():
            return str(value)
        case _:
            return to_json(value).decode()
