"""A report as JSON: the content of the Markdown, unbounded, names exact. Names, order and types are a stable interface.

Pure. Instants are ISO 8601 in UTC with milliseconds, by the server's clock but for `since`, `until` and `made_at`,
which are this machine's. Durations are numbers of seconds, shares go from 0 to 1, null is what is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from pydantic_core import to_json

from envwatch.views.output import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from envwatch.views.report_values import (
        Arrival,
        Change,
        Down,
        Downtime,
        Flapper,
        Gap,
        Incident,
        ProfileReport,
        Report,
        Standing,
        Subject,
        Watch,
    )

VERSION: Final = 1
"""Of the form: it grows when a name or a type changes; new names may come at any time."""


class ReportDocument(TypedDict):
    """The whole document."""

    version: int
    since: str | None
    until: str | None
    made_at: str | None
    filter: str | None
    """The query that environments match; null for all of them."""
    profiles: list[ProfileDocument]


class EnvironmentDocument(TypedDict):
    """An environment; all that has one begins with these fields."""

    id: str
    name: str


class FleetDocument(TypedDict):
    """The fleet at the end, by the newest listing that is believed."""

    listed_at: str | None
    age_s: float | None
    """Of that listing, at the end of the period."""
    total: int
    up: int
    late: int
    """Of those that are up."""
    offline: int
    gone: int
    missing: int
    unknown: list[EnvironmentDocument]


class GapDocument(TypedDict):
    """A time in which nothing was seen, or what was seen is in doubt."""

    began_at: str | None
    ended_at: str | None
    """Null while it lasts."""
    lasted_s: float
    cause: str
    """`envwatch did not run`, `this machine slept`, `blind`, `key refused`, `polls failed`, `no polls`; in doubt also
    `not believed`, `heartbeats stalled`."""
    reason: str | None


class WatchDocument(TypedDict):
    """How much of the period was watched."""

    watched_s: float | None
    period_s: float | None
    share: float
    gaps: list[GapDocument]
    doubts: list[GapDocument]
    clock: str | None
    """What is wrong with the clocks, in a sentence."""


class DownDocument(EnvironmentDocument):
    """An environment that is down at the end."""

    state: str
    """`offline`, `gone`, `missing`."""
    since: str | None
    lasted_s: float | None
    found_after_gap: bool
    """Whether it was lost at some moment of the gap before `since`."""
    reason: str
    pod: str | None
    acknowledged: str | None
    """The note, maybe empty; null if it is not acknowledged."""


class IncidentDocument(TypedDict):
    """Environments that were lost together."""

    began_at: str | None
    kind: str
    """`offline`, `gone`, `missing`."""
    environments: list[EnvironmentDocument]
    shared: str | None
    """What they have and no survivor has: `pod p-7`."""
    pods: Mapping[str, int]
    found_after_gap: bool
    still_down: list[EnvironmentDocument]
    back_at: str | None
    """When the last of those that are back was seen up."""


class OutageDocument(EnvironmentDocument):
    """An outage that touches the period."""

    began_at: str | None
    """Maybe before the period; null if that is not known."""
    ended_at: str | None
    """When it was seen up again; null if it was not."""
    lasted_s: float | None
    seen_s: float | None
    """For how long it was seen down within the period."""
    reason: str | None
    incident: int | None
    """Its place in `incidents`, from 0."""


class TimeDocument(TypedDict):
    """A time."""

    began_at: str | None
    ended_at: str | None


class FlappingDocument(EnvironmentDocument):
    """An environment that kept coming and going."""

    times: list[TimeDocument]
    still: bool
    outages: int
    down_s: float | None


class ChangeDocument(EnvironmentDocument):
    """A field that changed."""

    at: str | None
    before: str | None
    after: str | None


class UnrestrictedDocument(EnvironmentDocument):
    """An environment that is unrestricted at the end."""

    since: str | None
    """Null if since before the period."""
    up: bool


class BehindDocument(TypedDict):
    """Environments that are up with a version before the newest."""

    version: str
    environments: list[EnvironmentDocument]


class ArrivalDocument(EnvironmentDocument):
    """An environment that appeared, or left the list."""

    at: str | None
    state: str | None
    reason: str | None


class AvailabilityDocument(EnvironmentDocument):
    """How long an environment was up, of the time watched."""

    share: float
    down_s: float | None
    outages: int


class ProfileDocument(TypedDict):
    """What happened under one profile."""

    profile: str
    host: str
    fleet: FleetDocument | None
    """Null if no listing came."""
    watch: WatchDocument
    down: list[DownDocument]
    incidents: list[IncidentDocument]
    outages: list[OutageDocument]
    """The longest first."""
    flapping: list[FlappingDocument]
    mode_changes: list[ChangeDocument]
    unrestricted: list[UnrestrictedDocument]
    newest_version: str | None
    behind: list[BehindDocument]
    version_changes: list[ChangeDocument]
    appeared: list[ArrivalDocument]
    gone: list[ArrivalDocument]
    renamed: list[ChangeDocument]
    availability: list[AvailabilityDocument]


def json_of(report: Report) -> bytes:
    """Return a report as one JSON document in UTF-8."""
    return to_json(document_of(report), indent=2) + b"\n"


def document_of(report: Report) -> ReportDocument:
    """Return a report as what JSON has values for."""
    return {
        "version": VERSION,
        "since": iso(report.since),
        "until": iso(report.until),
        "made_at": iso(report.made_at),
        "filter": report.filter,
        "profiles": [_profile(each) for each in report.profiles],
    }


def _profile(profile: ProfileReport) -> ProfileDocument:
    return {
        "profile": profile.profile,
        "host": profile.host,
        "fleet": None if profile.standing is None else _fleet(profile.standing),
        "watch": _watch(profile.watch),
        "down": [_down(each) for each in profile.down],
        "incidents": [_incident(each) for each in profile.incidents],
        "outages": [_outage(each) for each in profile.outages],
        "flapping": [_flapping(each) for each in profile.flappers],
        "mode_changes": _changes(profile.modes.changes),
        "unrestricted": [
            {**_environment(each.subject), "since": iso(each.since), "up": each.is_up}
            for each in profile.modes.unrestricted
        ],
        "newest_version": profile.versions.newest,
        "behind": [
            {"version": each.version, "environments": _environments(each.subjects)} for each in profile.versions.behind
        ],
        "version_changes": _changes(profile.versions.changes),
        "appeared": [_arrival(each) for each in profile.members.appeared],
        "gone": [_arrival(each) for each in profile.members.gone],
        "renamed": _changes(profile.members.renamed),
        "availability": [
            {**_environment(each.subject), "share": each.share, "down_s": _s(each.down), "outages": each.outages}
            for each in profile.available
        ],
    }


def _fleet(standing: Standing) -> FleetDocument:
    return {
        "listed_at": iso(standing.listed_at),
        "age_s": _s(standing.age),
        "total": standing.total,
        "up": standing.up,
        "late": standing.late,
        "offline": standing.offline,
        "gone": standing.gone,
        "missing": standing.missing,
        "unknown": _environments(standing.unknown),
    }


def _watch(watch: Watch) -> WatchDocument:
    return {
        "watched_s": _s(watch.watched),
        "period_s": _s(watch.period),
        "share": watch.share,
        "gaps": [_gap(each) for each in watch.gaps],
        "doubts": [_gap(each) for each in watch.doubts],
        "clock": watch.clock,
    }


def _gap(gap: Gap) -> GapDocument:
    return {
        "began_at": iso(gap.began_at),
        "ended_at": None if gap.is_open else iso(gap.ended_at),
        "lasted_s": (gap.ended_at - gap.began_at) / 1000,
        "cause": gap.cause.value,
        "reason": gap.reason,
    }


def _down(down: Down) -> DownDocument:
    return {
        **_environment(down.subject),
        "state": down.state.value,
        "since": iso(down.since),
        "lasted_s": _s(down.lasted),
        "found_after_gap": down.is_after_gap,
        "reason": down.reason,
        "pod": down.pod,
        "acknowledged": down.note,
    }


def _incident(incident: Incident) -> IncidentDocument:
    return {
        "began_at": iso(incident.began_at),
        "kind": incident.kind.value,
        "environments": _environments(incident.subjects),
        "shared": incident.shared,
        "pods": dict(incident.pods),
        "found_after_gap": incident.while_unseen,
        "still_down": _environments(incident.still_down),
        "back_at": iso(incident.ended_at),
    }


def _outage(outage: Downtime) -> OutageDocument:
    return {
        **_environment(outage.subject),
        "began_at": iso(outage.began_at),
        "ended_at": iso(outage.ended_at),
        "lasted_s": _s(outage.lasted),
        "seen_s": _s(outage.seen),
        "reason": outage.reason,
        "incident": outage.incident,
    }


def _flapping(flapper: Flapper) -> FlappingDocument:
    return {
        **_environment(flapper.subject),
        "times": [{"began_at": iso(since), "ended_at": iso(until)} for since, until in flapper.spans],
        "still": flapper.is_flapping,
        "outages": flapper.outages,
        "down_s": _s(flapper.down),
    }


def _changes(changes: Iterable[Change]) -> list[ChangeDocument]:
    return [
        {**_environment(each.subject), "at": iso(each.at), "before": each.before, "after": each.after}
        for each in changes
    ]


def _arrival(arrival: Arrival) -> ArrivalDocument:
    return {
        **_environment(arrival.subject),
        "at": iso(arrival.at),
        "state": arrival.state,
        "reason": arrival.reason,
    }


def _environments(subjects: Sequence[Subject]) -> list[EnvironmentDocument]:
    return [_environment(subject) for subject in subjects]


def _environment(subject: Subject) -> EnvironmentDocument:
    return {"id": subject.id, "name": subject.name}


def _s(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
