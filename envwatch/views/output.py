"""Environments as text: JSON, JSON lines and CSV for programs, a table for people.

Owns the formats. Fetches nothing and writes nothing; verdicts are `Fleet`'s, and the order is `view`'s or whatever the
dashboard shows. Everything that came from outside is clean by the time it gets here. Must not know Textual or Rich.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from pydantic_core import to_json

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.presence import UNTIMED, Presence, Reason, heartbeat_age
from envwatch.model.text import Clean, cells, csv_cell, fitted, named_ids, shortened
from envwatch.model.times import MS, NOTHING, moment
from envwatch.views.columns import COLUMNS
from envwatch.views.state_style import clock_warning, style_of
from envwatch.views.table_view import Preset, in_default_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading, ServerMs
    from envwatch.model.environment import JsonObject
    from envwatch.model.limits import Limits
    from envwatch.model.outcome import Listed
    from envwatch.query.language import Query
    from envwatch.views.table_view import View

UNKNOWN: Final = Clean("unknown")
"""The state of an environment whose last verdict cannot be believed any more."""
_DOUBTED: Final = Clean("cannot be known")
"""The reason for that."""


class Format(StrEnum):
    """What environments can be printed as."""

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
    """`online`, `late`, `offline`, `gone`; `unknown` where the last verdict cannot be believed any more."""
    reason: str
    """Why that is said."""
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
    profile: str | None
    """Null where only one is watched. Where several are, ids may repeat, and profile and id together do not."""
    acknowledged: str | None
    """The note of whoever has seen to it; null if nobody has."""
    last_state: str | None
    """The last verdict, where `state` is `unknown`; otherwise null."""
    unknown: JsonObject
    """Fields of the row that this version of envwatch has no name for, as received; empty for none."""


class ListedEnvironment(NamedTuple):
    """An environment as it is told of."""

    tracked: TrackedEnvironment
    at: ServerMs
    """The moment of its verdict and its age."""
    is_unknown: bool = False
    """Whether the verdict must not be believed any more (`Fleet.is_unknown`)."""

    @property
    def state(self) -> Clean:
        """What is said of it now."""
        return UNKNOWN if self.is_unknown else Clean(self.tracked.presence.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentList:
    """Environments with their verdicts, of one listing or of what a dashboard shows."""

    rows: Sequence[ListedEnvironment]
    """In the order in which they are told."""
    taken_at: float
    """When the listing was asked for, the oldest if there are several: server's clock, in ms."""
    set_aside: int
    """Rows that could not be used."""
    set_aside_ids: frozenset[Clean] = frozenset()
    """The ids of those whose id can be read."""
    is_by_server_clock: bool
    """False when no answer told the server's time, so that this machine's had to do."""
    clock_warnings: Sequence[Clean] = ()
    """What is wrong with the clocks, a sentence for each profile where they disagree by 5 s or more."""
    filter: Clean | None = None
    """By which query the rows were chosen."""
    preset: Preset | None = None
    """By which part of the fleet as well: both hold, where one query of both would take them as alternatives."""
    hidden: int = 0
    """Environments that the filter leaves out."""
    acknowledged: Mapping[Clean, Clean] = field(default_factory=dict)
    """Notes by the environment's id: under two profiles it is one problem."""
    unlisted: Sequence[Clean] = ()
    """Profiles that were asked for, and of which there is no listing."""

    @property
    def is_complete(self) -> bool:
        """Whether there is a listing of every profile, and every row could be used."""
        return not self.set_aside and not self.unlisted and not self.untimed

    @property
    def untimed(self) -> int:
        """How many of the rows have a heartbeat whose time cannot be true."""
        return sum(row.tracked.is_untimed for row in self.rows)

    def counts(self) -> Counter[str]:
        """Return how many of the rows have each state."""
        return Counter(row.state for row in self.rows)


def environment_list(listed: Listed, limits: Limits, profile: Clean = NO_PROFILE) -> EnvironmentList:
    """Return the report on a first listing, problems first."""
    fleet, _ = Fleet(limits=limits, profile=profile).after(listed)
    spoke_at: dict[Clean, ServerMs] = {}
    for page in listed.snapshot.pages:
        at = fleet.clock.at(page.asked_at)
        # Of an id listed twice, the fleet has chosen one row.
        for row in page.environments:
            # A row with an impossible time is no longer the one that was received.
            if row.id not in spoke_at or fleet.environments[row.id].environment is row:
                spoke_at[row.id] = at
    return EnvironmentList(
        rows=[
            ListedEnvironment(tracked, spoke_at[tracked.environment.id], tracked.is_untimed)
            for tracked in in_default_order(fleet.environments.values())
        ],
        taken_at=fleet.clock.at(listed.started.wall),
        set_aside=listed.snapshot.set_aside,
        set_aside_ids=listed.snapshot.set_aside_ids,
        is_by_server_clock=fleet.clock.is_known,
        clock_warnings=_clock_warnings(fleet),
    )


def _clock_warnings(fleet: Fleet) -> tuple[Clean, ...]:
    warning = clock_warning(fleet)
    if warning is None:
        return ()
    return (Clean(f"profile {fleet.profile}: {warning}") if fleet.profile else warning,)


def environment_list_of_rows(
    rows: Sequence[TrackedEnvironment], fleets: Fleets, view: View, acks: Acks, now: Reading
) -> EnvironmentList:
    """Return the report on what a dashboard shows.

    Args:
        rows: in their order.
        fleets: what is known.
        view: by which the rows were chosen.
        acks: problems that are acknowledged.
        now: this machine's clocks.
    """
    listed = [fleet for fleet in fleets if fleet.listed is not None]
    snapshots = [fleet.snapshot for fleet in listed if fleet.snapshot is not None]
    told_at = {fleet.profile: fleet.clock.at(fleet.listed.wall) for fleet in listed if fleet.listed is not None}
    return EnvironmentList(
        rows=[
            ListedEnvironment(tracked, told_at[tracked.profile], fleets.is_unknown(tracked, now)) for tracked in rows
        ],
        taken_at=min(told_at.values(), default=now.wall),
        set_aside=sum(snapshot.set_aside for snapshot in snapshots),
        set_aside_ids=frozenset().union(*(snapshot.set_aside_ids for snapshot in snapshots)),
        is_by_server_clock=all(fleet.clock.is_known for fleet in listed),
        filter=Clean(str(view.query)) or None,
        preset=None if view.preset is Preset.ALL else view.preset,
        hidden=max(len(fleets) - len(rows), 0),
        acknowledged={id_: ack.note for id_, ack in acks.items()},
    )


def merged(reports: Sequence[EnvironmentList], unlisted: Sequence[Clean] = ()) -> EnvironmentList:
    """Return one report on several profiles, problems first.

    Args:
        reports: at least one; the rows of each name its profile, and all were chosen by one filter, if by any.
        unlisted: profiles of which there is none.
    """
    rows = {row.tracked.key: row for report in reports for row in report.rows}
    return EnvironmentList(
        rows=[rows[tracked.key] for tracked in in_default_order(row.tracked for row in rows.values())],
        taken_at=min(report.taken_at for report in reports),
        set_aside=sum(report.set_aside for report in reports),
        set_aside_ids=frozenset().union(*(report.set_aside_ids for report in reports)),
        is_by_server_clock=all(report.is_by_server_clock for report in reports),
        clock_warnings=[warning for report in reports for warning in report.clock_warnings],
        filter=reports[0].filter,
        hidden=sum(report.hidden for report in reports),
        acknowledged={id_: note for report in reports for id_, note in report.acknowledged.items()},
        unlisted=unlisted,
    )


def filtered(report: EnvironmentList, query: Query) -> EnvironmentList:
    """Return the report on what a query finds in one listing, in the same order.

    Words are looked for in every column, whatever the format shows, and each row is judged at its own moment.
    """
    if not query:
        return report
    moments = {row.at for row in report.rows}
    tests = {at: query.test(at, tuple(COLUMNS.values()), _LISTINGS) for at in moments}
    rows = [row for row in report.rows if tests[row.at](row.tracked)]
    hidden = report.hidden + len(report.rows) - len(rows)
    return replace(report, rows=rows, filter=Clean(str(query)), hidden=hidden)


def json_of(report: EnvironmentList) -> Iterator[bytes]:
    """Yield one JSON document in UTF-8, piece by piece: of 100,000 rows it would fill 200 MiB."""
    counts = report.counts()
    document: dict[str, object] = {
        "taken_at": _iso(report.taken_at),
        "complete": report.is_complete,
        "filter": report.filter,
        "preset": report.preset,
        "total_unfiltered": len(report.rows) + report.hidden,
        "counts": {state: counts[state] for state in _STATES} | {"total": len(report.rows)},
        "set_aside": {"total": report.set_aside, "ids": sorted(report.set_aside_ids)},
        "environments": [],
    }
    start, end = to_json(document, indent=2).rsplit(b"]", 1)
    yield start
    for number, row in enumerate(_rows(report)):
        yield (b",\n    " if number else b"\n    ") + to_json(row, indent=2).replace(b"\n", b"\n    ")
    yield (b"\n  ]" if report.rows else b"]") + end + b"\n"


def row_json_of(report: EnvironmentList) -> Clean:
    """Return the only environment of a report as one JSON object, as it stands among others in `json_of`."""
    (row,) = _rows(report)
    return Clean(to_json(row, indent=2).decode())


def jsonl_of(report: EnvironmentList) -> Iterator[bytes]:
    """Yield one JSON object a line and environment, in UTF-8."""
    for row in _rows(report):
        yield to_json(row) + b"\n"


def csv_of(report: EnvironmentList) -> Iterator[bytes]:
    """Yield a header and a line an environment, in UTF-8: the fields of the JSON, what is nested as JSON in a cell.

    No cell is a formula to a spreadsheet. A null is an empty cell, like an empty text.
    """
    yield _csv_line(Row.__annotations__)
    for row in _rows(report):
        yield _csv_line(_csv_cell(value) for value in row.values())


def table_of(report: EnvironmentList, *, width: int | None, encoding: str, ascii_only: bool) -> Iterator[bytes]:
    r"""Yield the lines of an aligned table for people, without escape sequences.

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

    has_profiles = any(row.tracked.profile for row in report.rows)
    columns = [column for column in _COLUMNS if has_profiles or column is not _PROFILE]

    def line_of(row: ListedEnvironment) -> list[Clean]:
        face = style_of(row.tracked, is_unknown=row.is_unknown)
        state = f"{face.ascii if ascii_only else face.glyph} {row.state}"
        return [written(state), *(written(column.text(row.tracked, row.at)) for column in columns)]

    rows = [[Clean("STATE"), Clean("AGE"), *(Clean(column.title) for column in columns[1:])]]
    rows += map(line_of, report.rows)
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


def summary_of(report: EnvironmentList, host: str) -> str:
    """Return one line for people about a report, in ASCII but for the host."""
    count = report.counts()
    counts = ", ".join(f"{count[state]} {state}" for state in (Presence.OFFLINE, Presence.LATE, Presence.ONLINE))
    if count[UNKNOWN]:
        counts += f", {count[UNKNOWN]} unknown"
    is_unknown = ""
    if report.set_aside:
        named = named_ids(report.set_aside_ids, report.set_aside)
        is_unknown += (
            f"; incomplete: {report.set_aside} row{'' if report.set_aside == 1 else 's'} could not be read{named}"
        )
    if report.untimed:
        is_unknown += f"; incomplete: {report.untimed} rows whose heartbeat's time cannot be true"
    if report.unlisted:
        is_unknown += f"; incomplete: no listing of {', '.join(report.unlisted)}"
    if not report.is_by_server_clock and not report.clock_warnings:
        is_unknown += "; ages by this machine's clock, for the server told no time"
    shown = len(report.rows)
    total = shown + report.hidden
    told = f"{total}" if report.filter is None else f"{shown} of {total}"
    return f"{told} environment{'' if total == 1 else 's'} at {host}: {counts}{is_unknown}"


_AGE: Final = COLUMNS["state"]
"""What stands beside the state: for how long nothing was heard."""
_PROFILE: Final = COLUMNS["profile"]
_COLUMNS: Final = (_AGE, *(COLUMNS[id_] for id_ in ("name", "profile", "mode", "version", "branch", "os")))
_STATES: Final = (Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE, UNKNOWN)
_LISTINGS: Final = 1
"""How many listings a report knows to whom a query is put."""
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


def _rows(report: EnvironmentList) -> Iterator[Row]:
    for row in report.rows:
        yield _row(row, report.acknowledged.get(row.tracked.environment.id))


def _row(row: ListedEnvironment, note: Clean | None) -> Row:
    tracked = row.tracked
    environment = tracked.environment
    age = heartbeat_age(environment, row.at)
    return {
        "id": environment.id,
        "name": environment.name,
        "device_id": environment.device_id,
        "connection_id": environment.connection_id,
        "listener_instance_id": environment.listener_instance_id,
        "state": row.state,
        "reason": _reason(row),
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
        "profile": tracked.profile or None,
        "acknowledged": note,
        "last_state": tracked.presence.value if row.is_unknown and tracked.verdict != UNTIMED else None,
        "unknown": environment.unknown,
    }


def _reason(row: ListedEnvironment) -> str:
    if row.tracked.is_untimed:
        return Reason.UNTIMED.value
    return _DOUBTED if row.is_unknown else row.tracked.verdict.reason.value


def _iso(at: float | None) -> str | None:
    """Return an instant in UTC, with milliseconds; None where no calendar holds it."""
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
