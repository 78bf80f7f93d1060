"""One listing as text: JSON, JSON lines and CSV for programs, a table for people.

Owns the formats. Fetches nothing and writes nothing; verdicts are `Fleet`'s and the order is `view`'s, the same as on
the dashboard. Everything that came from outside is clean by the time it gets here. Must not know Textual or Rich.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict

from pydantic_core import to_json

from envwatch.columns import COLUMNS
from envwatch.fleet import Fleet
from envwatch.phrases import MS, NOTHING, glyph_of, moment
from envwatch.presence import Presence, heartbeat_age
from envwatch.text import Clean, cells, csv_cell, fitted, shortened
from envwatch.view import in_default_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.models import JsonObject
    from envwatch.outcome import Listed
    from envwatch.rules import Rules
    from envwatch.watch import Watch


class Format(StrEnum):
    """What a listing can be printed as."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Row(TypedDict):
    """An environment as programs get it, in every format: names, order and types are a promise to their authors.

    Instants are ISO 8601 in UTC with milliseconds.
    """

    id: str
    name: str
    device_id: str
    connection_id: str | None
    listener_instance_id: str | None
    state: str
    reason: str
    heartbeat_age_s: float | None
    last_heartbeat_at: str | None
    connected_at: str | None
    first_seen_at: str | None
    last_seen_at: str | None
    mode: str | None
    """As received: the names that older listeners send stay."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One listing with its verdicts. Instants are milliseconds since the epoch by the server's clock."""

    watches: Sequence[Watch]
    """Problems first."""
    spoke_at: Mapping[Clean, float]
    """By id, the moment for which each row speaks: verdict and age are both of that moment."""
    taken_at: float
    set_aside: int
    """Rows that could not be used."""
    is_by_server_clock: bool
    """False when no answer told the server's time, so that this machine's had to do."""

    @property
    def is_complete(self) -> bool:
        """Whether every row of the listing is here."""
        return not self.set_aside

    def count(self, presence: Presence) -> int:
        """Return how many environments have a presence."""
        return sum(watch.presence is presence for watch in self.watches)


def report_of(listed: Listed, rules: Rules) -> Report:
    """Return the report on a first listing."""
    fleet, _ = Fleet(rules=rules).after(listed)
    spoke_at = {}
    for page in listed.snapshot.pages:
        at = fleet.clock.at(page.asked_at)
        # Of an id listed twice, the fleet has chosen one row.
        spoke_at.update({row.id: at for row in page.environments if fleet.watches[row.id].environment is row})
    return Report(
        watches=in_default_order(fleet.watches.values()),
        spoke_at=spoke_at,
        taken_at=fleet.clock.at(listed.started.wall),
        set_aside=listed.snapshot.set_aside,
        is_by_server_clock=fleet.clock.is_known,
    )


def json_of(report: Report) -> bytes:
    """Return one JSON document in UTF-8."""
    document = {
        "taken_at": _iso(report.taken_at),
        "complete": report.is_complete,
        "counts": {
            "online": report.count(Presence.ONLINE),
            "late": report.count(Presence.LATE),
            "offline": report.count(Presence.OFFLINE),
            "total": len(report.watches),
        },
        "environments": _rows(report),
    }
    return to_json(document, indent=2) + b"\n"


def jsonl_of(report: Report) -> bytes:
    """Return one JSON object a line and environment, in UTF-8."""
    return b"".join(to_json(row) + b"\n" for row in _rows(report))


def csv_of(report: Report) -> bytes:
    """Return a header and a line an environment, in UTF-8: the fields of the JSON, what is nested as JSON in a cell.

    No cell is a formula to a spreadsheet. A null is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(Row.__annotations__)
    writer.writerows([_csv_cell(value) for value in row.values()] for row in _rows(report))
    return text.getvalue().encode()


def table_of(report: Report, *, width: int | None, encoding: str, ascii_only: bool) -> bytes:
    r"""Return an aligned table for people, without escape sequences.

    Args:
        report: what to show.
        width: of the terminal in cells; None for as wide as it takes.
        encoding: of the terminal; characters that it lacks read as `\x…`.
        ascii_only: whether glyphs and marks must be ASCII; names keep what the encoding has.
    """
    nothing = "-" if ascii_only else NOTHING
    ellipsis = ".." if ascii_only else "…"

    def written(text: str | None) -> Clean:
        return Clean((text or nothing).encode(encoding, "backslashreplace").decode(encoding))

    def row(watch: Watch) -> list[Clean]:
        at = report.spoke_at[watch.environment.id]
        state = f"{glyph_of(watch.presence, ascii_only=ascii_only)} {watch.presence}"
        return [written(state), *(written(column.text(watch, at)) for column in _COLUMNS)]

    rows = [[Clean("STATE"), Clean("AGE"), *(Clean(column.title) for column in _COLUMNS[1:])]]
    rows += map(row, report.watches)
    widths = _widths(rows, width)

    def line(row: Sequence[Clean]) -> Clean:
        state, *others = zip(row, widths, strict=True)
        fields = [
            fitted(cell, room, keep=column.keep, align="right" if column is _AGE else "left", ellipsis=ellipsis)
            for column, (cell, room) in zip(_COLUMNS, others, strict=True)
        ]
        text = Clean(_GAP.join([fitted(*state), *fields]).rstrip(" "))
        return text if width is None else shortened(text, width, ellipsis=ellipsis)

    return "".join(f"{line(row)}\n" for row in rows).encode(encoding)


def summary_of(report: Report, host: str) -> str:
    """Return one line for people about a report, in ASCII but for the host."""
    counts = ", ".join(
        f"{report.count(presence)} {presence}" for presence in (Presence.OFFLINE, Presence.LATE, Presence.ONLINE)
    )
    doubts = ""
    if report.set_aside:
        doubts += f"; incomplete: {report.set_aside} rows could not be read"
    if not report.is_by_server_clock:
        doubts += "; ages by this machine's clock, for the server told no time"
    total = len(report.watches)
    return f"{total} environment{'' if total == 1 else 's'} at {host}: {counts}{doubts}"


_AGE: Final = COLUMNS["state"]
"""What stands beside the state: for how long nothing was heard."""
_COLUMNS: Final = (_AGE, *(COLUMNS[id_] for id_ in ("name", "mode", "version", "branch", "os")))
_GAP: Final = "  "
_NARROWEST: Final = 6
"""Cells to which a column may be cut; narrower, it would say nothing."""


def _widths(lines: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """Return the width of each column: what it takes, or, to fit into the room, less of whichever is widest."""
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    if room is not None:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
        for _ in range(excess):
            widest = max(range(2, len(widths)), key=widths.__getitem__)
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
    return widths


def _rows(report: Report) -> list[Row]:
    return [_row(watch, report.spoke_at[watch.environment.id]) for watch in report.watches]


def _row(watch: Watch, at: float) -> Row:
    environment = watch.environment
    age = heartbeat_age(environment, at)
    return {
        "id": environment.id,
        "name": environment.name,
        "device_id": environment.device_id,
        "connection_id": environment.connection_id,
        "listener_instance_id": environment.listener_instance_id,
        "state": watch.presence.value,
        "reason": watch.verdict.reason.value,
        # Cut and not rounded: 119.9996 s is not yet the 120 at which it would be offline.
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
    }


def _iso(at: float | None) -> str | None:
    """Return an instant in UTC, with milliseconds; None where no calendar holds it."""
    when = moment(at, UTC)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
