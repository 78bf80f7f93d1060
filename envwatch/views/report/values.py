"""The values of a report, also as JSON: instants by the server's clock, durations as `timedelta`, exact names.

Pure. `profile_report` makes the values from a history; `markdown` writes them as Markdown. In JSON, each value has the
fields of its class, in their order and under their names. These names are a stable interface: an instant is ISO 8601 in
UTC with milliseconds, a duration a number of seconds, a share goes from 0 to 1, and null means unknown. All text is
clean, and not yet safe in Markdown.
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
"""What is about one environment: in JSON, the fields of its subject come first among its own."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An environment as a report names it."""

    id: SafeText
    name: SafeText
    """The last one, or its id if it has none."""
    is_ambiguous: Annotated[bool, _NOT_IN_JSON] = False
    """Whether another environment of the report has this name, or one that looks like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSummary:
    """The fleet at the end of the period, by the newest believed listing."""

    listed_at: _Instant
    """When that listing was asked for."""
    age: Annotated[_Duration, Field(serialization_alias="age_s")]
    """How old it is at the end of the period."""
    total: int
    """Environments that are listed, gone for less than an hour, or expected and missing."""
    up: int
    late: int
    """Of those that are up."""
    offline: int
    gone: int
    missing: int
    unknown: Sequence[Subject]
    """Those that cannot be judged; in no other figure but the total."""


NOT_RUNNING: Final = "envwatch did not run"
"""The cause of a gap in which no poll was made because nothing polled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which something, or everything, was not seen."""

    began_at: ServerMs
    ended_at: ServerMs
    is_open: bool
    """Whether it lasts at the end of the period: in JSON, `ended_at` is null then."""
    cause: str
    """Why nothing was seen, or what was seen is in doubt: `NOT_RUNNING`, or words of `profile_report`."""
    reason: SafeText | None
    """In the words of the program or the server."""


def _gap_json(gap: Gap) -> dict[str, object]:
    return {
        "began_at": iso(gap.began_at),
        "ended_at": None if gap.is_open else iso(gap.ended_at),
        "lasted_s": (gap.ended_at - gap.began_at) / 1000,
        "cause": gap.cause,
        "reason": gap.reason,
    }


_Gaps: TypeAlias = Sequence[Annotated[Gap, PlainSerializer(_gap_json)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How much of the period was watched."""

    watched: Annotated[_Duration, Field(serialization_alias="watched_s")]
    period: Annotated[_Duration, Field(serialization_alias="period_s")]
    share: float
    """The part of the period that was watched."""
    gaps: _Gaps
    """What no one saw, oldest first."""
    doubts: _Gaps
    """Times that were watched with failing polls, quarantined listings or stalled heartbeats, oldest first."""
    clock: SafeText | None
    """What is wrong with the clocks, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """An environment that is down at the end of the period."""

    subject: Subject
    state: Presence
    since: _Instant | None
    lasted: Annotated[_Duration | None, Field(serialization_alias="lasted_s")]
    """Up to the newest listing."""
    found_after_gap: bool
    """Whether it was found down after a time in which nothing was seen, and was lost at some moment in that."""
    reason: SafeText
    pod: SafeText | None
    """The last one that is known."""
    acknowledged: SafeText | None
    """The note of its acknowledgement, maybe empty; None if it is not acknowledged."""
    is_old: Annotated[bool, _NOT_IN_JSON]
    """Whether it has been offline for over a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIncident:
    """Environments that were lost together."""

    began_at: _Instant
    kind: Kind
    """How they were lost: `Kind.OFFLINE`, `Kind.GONE` or `Kind.MISSING`; the most frequent one."""
    environments: Sequence[Subject]
    """Those that were lost, in the order of their losses."""
    shared: SafeText | None
    """What they share and no survivor has: `pod p-7`."""
    pods: Mapping[SafeText, int]
    """The pods in which they were, each with how many; the most frequent first."""
    found_after_gap: bool
    """Whether it was found after a time in which nothing was seen, so that they need not have been lost together."""
    still_down: Sequence[Subject]
    back_at: _Instant | None
    """When the last of those that are back was seen up again; None if none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A time in which an environment was down: one outage."""

    subject: Subject
    began_at: _Instant | None
    """Maybe before the period; None if that is not known."""
    ended_at: _Instant | None
    """When it was seen up again; None if it was not."""
    lasted: Annotated[_Duration, Field(serialization_alias="lasted_s")]
    """From its begin, or that of the period, to its end, or that of the period."""
    seen: Annotated[_Duration, Field(serialization_alias="seen_s")]
    """For how long it was seen down within the period: what availability counts."""
    reason: SafeText | None
    incident: int | None
    """The place of its incident in the report, from 0, if it is a part of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapper:
    """An environment that kept coming and going."""

    subject: Subject
    times: Sequence[_Time]
    """When it flapped; the last one ends with the period if it still does."""
    is_flapping: Annotated[bool, Field(serialization_alias="still")]
    """Whether it still does."""
    outages: int
    """How often it was down within the period."""
    down: Annotated[_Duration, Field(serialization_alias="down_s")]
    """How long it was seen down within the period, in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedChange:
    """A field of one environment that changed."""

    subject: Subject
    at: _Instant
    before: SafeText | None
    after: SafeText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrestricted:
    """An environment that approves every tool, and is up or may come back so, at the end of the period."""

    subject: Subject
    since: _Instant | None
    """None if it was so before the period."""
    is_up: Annotated[bool, Field(serialization_alias="up")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Environments that are up with one version before the newest."""

    version: SafeText
    environments: Sequence[Subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An environment that appeared, or left the list."""

    subject: Subject
    at: _Instant
    state: SafeText | None
    """What it was then: `online`, `offline`, `gone`, `missing`."""
    reason: SafeText | None
    """Why it is so; of one that appeared, whether it is a twin of another or replaces one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """How long one environment was up, of the time in which it was watched."""

    subject: Subject
    share: float
    """1 only without any outage."""
    down: Annotated[_Duration, Field(serialization_alias="down_s")]
    outages: int
    """Those within the period, also those that began before it or last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """What happened under one profile. Sequences are empty where there is nothing to say."""

    profile: SafeText
    host: SafeText
    period: Annotated[Span, _NOT_IN_JSON]
    """What the report is about, by the server's clock."""
    fleet: FleetSummary | None
    """None if no listing came."""
    watch: Watch
    down: Sequence[_OfOne[Down]]
    """The most urgent first: those that are not acknowledged, then the newest; at the end those that are old."""
    incidents: Sequence[ReportedIncident]
    """Oldest first."""
    outages: Sequence[_OfOne[Downtime]]
    """The longest first."""
    flapping: Sequence[_OfOne[Flapper]]
    """Those with the most losses first."""
    mode_changes: Sequence[_OfOne[ReportedChange]]
    """Oldest first, as all changes."""
    unrestricted: Sequence[_OfOne[Unrestricted]]
    newest_version: SafeText | None
    up: Annotated[int, _NOT_IN_JSON]
    """How many environments are up at the end, which may be behind the newest version."""
    behind: Sequence[Behind]
    """The most frequent version first."""
    version_changes: Sequence[_OfOne[ReportedChange]]
    appeared: Sequence[_OfOne[Arrival]]
    gone: Sequence[_OfOne[Arrival]]
    """Those that left the list and are not back at the end of the period."""
    renamed: Sequence[_OfOne[ReportedChange]]
    availability: Sequence[_OfOne[Available]]
    """The least available first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on one period, by this machine's clock."""

    since: _LocalInstant
    until: _LocalInstant
    made_at: _LocalInstant
    filter: SafeText | None
    """The query that environments match; None if there is none."""
    profiles: Sequence[ProfileReport]


VERSION: Final = 1
"""Of the form: it grows when a name or a type changes; new names may come at any time."""

_REPORT: Final = TypeAdapter(Report)


def json_of(report: Report) -> bytes:
    """Return a report as one JSON document in UTF-8."""
    fields = _REPORT.dump_python(report, mode="json", by_alias=True)
    return to_json({"version": VERSION, **fields}, indent=2) + b"\n"
