"""What a report says, as values: instants by the server's clock, durations as `timedelta`, names as they are.

Pure. `report` makes them of a history; `report_markdown` and `report_json` are their forms. Text in them is clean, and
not yet safe in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from envwatch.fleet.events import Kind
    from envwatch.fleet.presence import Presence
    from envwatch.fleet.watched_time import Span
    from envwatch.model.clock import ServerMs, WallMs
    from envwatch.model.text import Clean


class Subject(NamedTuple):
    """An environment as a report names it."""

    id: Clean
    name: Clean
    """The last one, or its id if it has none."""
    is_ambiguous: bool = False
    """Whether another environment of the report has this name, or one that looks like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The fleet at the end of the period, by the newest believed listing."""

    listed_at: ServerMs
    """When that listing was asked for."""
    age: timedelta
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """An environment that is down at the end of the period."""

    subject: Subject
    state: Presence
    since: ServerMs | None
    """None if that is not known."""
    lasted: timedelta | None
    """Up to the newest listing."""
    is_after_gap: bool
    """Whether it was found down after a time in which nothing was seen, and was lost at some moment in that."""
    reason: Clean
    pod: Clean | None
    """The last one that is known."""
    note: Clean | None
    """The note of its acknowledgement, maybe empty; None if it is not acknowledged."""
    is_old: bool
    """Whether it has been offline for over a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A time in which an environment was down: one outage."""

    subject: Subject
    began_at: ServerMs | None
    """Maybe before the period; None if that is not known."""
    ended_at: ServerMs | None
    """When it was seen up again; None if it was not."""
    lasted: timedelta
    """From its begin, or that of the period, to its end, or that of the period."""
    seen: timedelta
    """For how long it was seen down within the period: what availability counts."""
    reason: Clean | None
    incident: int | None
    """The place of its incident in the report, if it is a part of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Environments that were lost together."""

    began_at: ServerMs
    kind: Kind
    """How they were lost: `Kind.OFFLINE`, `Kind.GONE` or `Kind.MISSING`; the most frequent one."""
    subjects: Sequence[Subject]
    """Those that were lost, in the order of their losses."""
    shared: Clean | None
    """What they share and no survivor has: `pod p-7`."""
    while_unseen: bool
    """Whether it was found after a time in which nothing was seen, so that they need not have been lost together."""
    pods: Sequence[tuple[Clean, int]]
    """The pods in which they were, each with how many; the most frequent first."""
    still_down: Sequence[Subject]
    ended_at: ServerMs | None
    """When the last of those that are back was seen up again; None if none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapper:
    """An environment that kept coming and going."""

    subject: Subject
    spans: Sequence[Span]
    """When it flapped; the last one ends with the period if it still does."""
    is_flapping: bool
    """Whether it still does."""
    outages: int
    """How often it was down within the period."""
    down: timedelta
    """How long it was seen down within the period, in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field of one environment that changed."""

    subject: Subject
    at: ServerMs
    before: Clean | None
    after: Clean | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrestricted:
    """An environment that approves every tool, and is up or may come back so, at the end of the period."""

    subject: Subject
    since: ServerMs | None
    """None if it was so before the period."""
    is_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """Modes: what changed, and who is unrestricted."""

    changes: Sequence[Change]
    """Oldest first."""
    unrestricted: Sequence[Unrestricted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Environments that are up with one version before the newest."""

    version: Clean
    subjects: Sequence[Subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of Letta Code at the end of the period, and their changes."""

    newest: Clean | None
    up: int
    """Environments that are up."""
    behind: Sequence[Behind]
    """The most frequent version first."""
    changes: Sequence[Change]
    """Oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An environment that appeared, or left the list."""

    subject: Subject
    at: ServerMs
    state: Clean | None
    """What it was then: `online`, `offline`, `gone`, `missing`."""
    reason: Clean | None
    """Why it is so; of one that appeared, whether it is a twin of another or replaces one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Changes of the list itself."""

    appeared: Sequence[Arrival]
    gone: Sequence[Arrival]
    """Those that left the list and are not back at the end of the period."""
    renamed: Sequence[Change]


class Cause(StrEnum):
    """Why nothing was seen, or what was seen is in doubt."""

    NOT_RUNNING = "envwatch did not run"
    SLEPT = "this machine slept"
    BLIND = "blind"
    KEY_REFUSED = "key refused"
    FAILING = "polls failed"
    HELD = "not believed"
    STALLED = "heartbeats stalled"
    NO_POLLS = "no polls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which something, or everything, was not seen."""

    began_at: ServerMs
    ended_at: ServerMs
    is_open: bool
    """Whether it lasts at the end of the period."""
    cause: Cause
    reason: Clean | None
    """In the words of the program or the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How much of the period was watched."""

    watched: timedelta
    period: timedelta
    gaps: Sequence[Gap]
    """What no one saw, oldest first."""
    doubts: Sequence[Gap]
    """Times that were watched with failing polls, held listings or stalled heartbeats, oldest first."""
    clock: Clean | None
    """What is wrong with the clocks, in a sentence."""

    @property
    def share(self) -> float:
        """The part of the period that was watched, from 0 to 1."""
        return min(self.watched / self.period, 1.0) if self.period else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """How long one environment was up, of the time in which it was watched."""

    subject: Subject
    share: float
    """From 0 to 1; 1 only without any outage."""
    down: timedelta
    outages: int
    """Those within the period, also those that began before it or last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """What happened under one profile. Sequences are empty where there is nothing to say."""

    profile: Clean
    host: Clean
    period: Span
    """What the report is about, by the server's clock."""
    standing: Standing | None
    """None if no listing came."""
    watch: Watch
    down: Sequence[Down]
    """The most urgent first: those that are not acknowledged, then the newest; at the end those that are old."""
    incidents: Sequence[Incident]
    """Oldest first."""
    outages: Sequence[Downtime]
    """The longest first."""
    flappers: Sequence[Flapper]
    """Those with the most losses first."""
    modes: Modes
    versions: Versions
    members: Members
    available: Sequence[Available]
    """The least available first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on one period."""

    since: WallMs
    until: WallMs
    made_at: WallMs
    filter: Clean | None
    """The query that environments match; None if there is none."""
    profiles: Sequence[ProfileReport]
