"""The values of a report, also as JSON with stable names.

An instant is ISO 8601 in UTC with milliseconds, a duration is a number of seconds, a share goes from 0 to 1, and null
means unknown. All text is clean, but not yet safe in Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import Field, PlainSerializer, SerializerFunctionWrapHandler, TypeAdapter, WrapSerializer
from pydantic_core import to_json

from envwatch.fleet.events import Kind  # noqa: TC001 - as the next ones: pydantic reads the annotations
from envwatch.fleet.presence import Presence  # noqa: TC001
from envwatch.fleet.watched_time import Span
from envwatch.history.past import LeftOut  # noqa: TC001
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import SafeText  # noqa: TC001
from envwatch.views.output.formats import iso

_T = TypeVar("_T")

_Instant: TypeAlias = Annotated[ServerMs, PlainSerializer(iso)]
_LocalInstant: TypeAlias = Annotated[WallMs, PlainSerializer(iso)]
_Duration: TypeAlias = Annotated[timedelta, PlainSerializer(timedelta.total_seconds)]
_Time: TypeAlias = Annotated[
    Span, PlainSerializer(lambda time: {"began_at": iso(time.since), "ended_at": iso(time.until)})
]
_NOT_IN_JSON = Field(exclude=True)


def _flattened(value: object, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
    fields: dict[str, Any] = serialize(value)
    return {**fields.pop("subject"), **fields}


_OfOne: TypeAlias = Annotated[_T, WrapSerializer(_flattened)]
"""Puts the subject's JSON fields before the value's other fields."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An environment's name in a report."""

    id: SafeText
    name: SafeText
    is_ambiguous: Annotated[bool, _NOT_IN_JSON] = False
    """Whether another name in the report is equal or similar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSummary:
    """The fleet at the end of the period, by the newest believed listing."""

    listed_at: _Instant
    age: Annotated[_Duration, Field(serialization_alias="age_s")]
    total: int
    """Environments that are listed, gone for less than an hour, or expected and missing."""
    up: int
    late: int
    """Included in `up`."""
    offline: int
    gone: int
    missing: int
    unknown: Sequence[Subject]
    """Environments that cannot be judged; only `total` includes them."""


NOT_RUNNING: Final = "envwatch did not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time without sight of some rows or of the whole fleet."""

    began_at: ServerMs
    ended_at: ServerMs
    is_open: bool
    """Whether the gap lasts at the end of the period; `ended_at` is then null in JSON."""
    cause: str
    reason: SafeText | None


def _gap_json(gap: Gap) -> dict[str, object]:
    return {
        "began_at": iso(gap.began_at),
        "ended_at": None if gap.is_open else iso(gap.ended_at),
        "lasted_s": (gap.ended_at - gap.began_at) / 1000,
        "cause": gap.cause,
        "reason": gap.reason,
    }


def _left_out_json(left_out: LeftOut) -> dict[str, object]:
    return {
        "what": left_out.what,
        "count": left_out.count,
        "began_at": iso(left_out.since),
        "ended_at": iso(left_out.until),
        "reason": left_out.reason,
    }


_Gaps: TypeAlias = Sequence[Annotated[Gap, PlainSerializer(_gap_json)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The watched part of the period."""

    watched: Annotated[_Duration, Field(serialization_alias="watched_s")]
    period: Annotated[_Duration, Field(serialization_alias="period_s")]
    share: float
    gaps: _Gaps
    doubts: _Gaps
    """Times with failing polls, quarantined listings or stalled heartbeats."""
    clock: SafeText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """An environment that is down at the end of the period."""

    subject: Subject
    state: Presence
    since: _Instant | None
    lasted: Annotated[_Duration | None, Field(serialization_alias="lasted_s")]
    found_after_gap: bool
    """Whether the loss happened at an unknown moment of a gap."""
    reason: SafeText
    pod: SafeText | None
    acknowledged: SafeText | None
    """The note, which may be empty; None without acknowledgement."""
    silenced: SafeText | None
    """`silenced until 10:00`; None for a row that is not silenced."""
    is_old: Annotated[bool, _NOT_IN_JSON]
    """Whether offline for over a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIncident:
    """Environments that were lost together."""

    began_at: _Instant
    kind: Kind
    """The most frequent kind of loss: `Kind.OFFLINE`, `Kind.GONE`, `Kind.MISSING` or `Kind.NOT_BACK`."""
    environments: Sequence[Subject]
    shared: SafeText | None
    pods: Mapping[SafeText, int]
    """The number of environments by pod, the most frequent pod first."""
    found_after_gap: bool
    """Losses in a gap may have happened separately."""
    still_down: Sequence[Subject]
    back_at: _Instant | None
    needless: int = 0
    """The number of environments, the last ones, whose loss needed nobody, beside losses that needed a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """An outage of an environment."""

    subject: Subject
    began_at: _Instant | None
    """The begin may lie before the period."""
    ended_at: _Instant | None
    lasted: Annotated[_Duration, Field(serialization_alias="lasted_s")]
    """From the begin, or from the first time seen down, to the end of the outage or period."""
    seen: Annotated[_Duration, Field(serialization_alias="seen_s")]
    """The time seen down within the period."""
    reason: SafeText | None
    incident: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapper:
    """An environment that repeatedly came and went."""

    subject: Subject
    times: Sequence[_Time]
    """The last time ends with the period if `is_flapping`."""
    is_flapping: Annotated[bool, Field(serialization_alias="still")]
    outages: int
    down: Annotated[_Duration, Field(serialization_alias="down_s")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedChange:
    """A changed field of an environment."""

    subject: Subject
    at: _Instant
    before: SafeText | None
    after: SafeText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrestricted:
    """An environment that is listed at the end in the mode that approves every tool."""

    subject: Subject
    since: _Instant | None
    """None if the mode was set before the period."""
    is_up: Annotated[bool, Field(serialization_alias="up")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Environments that are up with the same outdated version."""

    version: SafeText
    environments: Sequence[Subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An environment that appeared or left the list."""

    subject: Subject
    at: _Instant
    state: SafeText | None
    """The state afterwards: `online`, `offline`, `gone`, `missing`."""
    reason: SafeText | None
    """The event's reason; for a new environment, whether it is a twin or a replacement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """An environment's availability within the watched time, without silenced time."""

    subject: Subject
    share: float
    """1 only for an environment without any outage."""
    down: Annotated[_Duration, Field(serialization_alias="down_s")]
    outages: int
    """The number of outages, including outages that began before the period or last on, but not outages within a
    silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """An environment whose losses need a person from a moment on, or need nobody."""

    subject: Subject
    at: _Instant
    counts: Annotated[bool, Field(serialization_alias="alerting")]
    reason: SafeText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """The report on a profile."""

    profile: SafeText
    host: SafeText
    period: Annotated[Span, _NOT_IN_JSON]
    """By the server's clock."""
    fleet: FleetSummary | None
    watch: Watch
    left_out: Sequence[Annotated[LeftOut, PlainSerializer(_left_out_json)]]
    """The records that cannot be read, oldest first."""
    down: Sequence[_OfOne[Down]]
    incidents: Sequence[ReportedIncident]
    outages: Sequence[_OfOne[Downtime]]
    flapping: Sequence[_OfOne[Flapper]]
    mode_changes: Sequence[_OfOne[ReportedChange]]
    unrestricted: Sequence[_OfOne[Unrestricted]]
    newest_version: SafeText | None
    up: Annotated[int, _NOT_IN_JSON]
    """The number of environments up at the end; the total for `behind`."""
    behind: Sequence[Behind]
    version_changes: Sequence[_OfOne[ReportedChange]]
    appeared: Sequence[_OfOne[Arrival]]
    gone: Sequence[_OfOne[Arrival]]
    """Environments that left the list and are not back at the end."""
    renamed: Sequence[_OfOne[ReportedChange]]
    availability: Sequence[_OfOne[Available]]
    alerting: Sequence[_OfOne[Turned]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on a period, by this machine's clock."""

    since: _LocalInstant
    until: _LocalInstant
    made_at: _LocalInstant
    filter: SafeText | None
    profiles: Sequence[ProfileReport]


VERSION: Final = 1
"""The version of the JSON format grows when a name or a type changes, not for new names."""

_REPORT: Final = TypeAdapter(Report)


def json_of(report: Report) -> bytes:
    """Return a report as a JSON document in UTF-8."""
    fields = _REPORT.dump_python(report, mode="json", by_alias=True)
    return to_json({"version": VERSION, **fields}, indent=2) + b"\n"
