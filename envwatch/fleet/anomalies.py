"""Unlikely listings: trouble of the platform, not of the machines.

A listing is quarantined if suddenly empty, or if many rows lose the heartbeat but keep the connection. If many rows
vanish at once, only the absences are quarantined. Three such listings in a row, over a minute, are believed. While no
heartbeat advances anywhere, an old heartbeat proves nothing about a machine.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import NOT_RUNNING, Event, Kind, is_never_seen
from envwatch.fleet.tracking import value_of
from envwatch.model import limits
from envwatch.model.environment import LABELS, UNRESTRICTED, Environment
from envwatch.model.text import SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from envwatch.fleet.tracking import Environments
    from envwatch.model.clock import MonotonicS, ServerMs
    from envwatch.model.outcome import Rows, Snapshot


_GRACE_S = (limits.HEARTBEAT_EVERY * 1.5).total_seconds()
"""Seconds after a stall until silence proves a loss: a row beats every 30 s, and is late from 45 s on."""


class Anomaly(StrEnum):
    """An unlikely change of a listing."""

    EMPTIED = "the list came back empty"
    VANISHED = "many machines vanished at once"
    BEATS_LOST = "many machines lost their heartbeat"


class AnomalyFinding(NamedTuple):
    """An anomaly with a text for people."""

    anomaly: Anomaly
    text: SafeText


class QuarantinedListing(NamedTuple):
    """Successive listings with the same anomaly."""

    finding: AnomalyFinding
    since: MonotonicS
    missing: frozenset[SafeText] = frozenset()
    confirmed_absent: frozenset[SafeText] = frozenset()
    listings: int = 1

    @property
    def anomaly(self) -> Anomaly:
        """The finding's anomaly."""
        return self.finding.anomaly

    @property
    def is_whole(self) -> bool:
        """Whether the whole listing is quarantined, not only the absences."""
        return self.anomaly is not Anomaly.VANISHED

    def left_s(self, now: MonotonicS) -> float:
        """Return the seconds until the listings are believed, if the anomaly stays."""
        return max(limits.ANOMALY_AFTER.total_seconds() - (now - self.since), 0.0)


class Acceptance(NamedTuple):
    """The believed and the quarantined parts of a listing."""

    quarantine: QuarantinedListing | None = None
    believed_absences: frozenset[SafeText] = frozenset()
    listings_quarantined: int = 0
    """Earlier quarantined listings without the rows of `believed_absences`."""


def accept_listing(
    quarantine: QuarantinedListing | None,
    environments: Environments,
    rows: Rows,
    snapshot: Snapshot,
    asked_at: MonotonicS,
) -> Acceptance:
    """Return the believed parts of a listing. A rejected row is not missing."""
    missing = frozenset(environments.keys() - rows.keys() - snapshot.rejected_ids)
    confirmed_absent = snapshot.confirmed_absent
    if quarantine is not None:
        confirmed_absent |= quarantine.confirmed_absent
    unconfirmed = missing - confirmed_absent
    finding = _emptied(environments, rows) or _beats_lost(environments, rows) or _vanished(environments, unconfirmed)
    if finding is None:
        return Acceptance()
    if (
        quarantine is None
        or quarantine.anomaly is not finding.anomaly
        or not (quarantine.is_whole or _vanished(environments, unconfirmed & quarantine.missing))
    ):
        return Acceptance(QuarantinedListing(finding, asked_at, missing, confirmed_absent))
    longer = QuarantinedListing(
        finding, quarantine.since, missing & quarantine.missing, confirmed_absent, quarantine.listings + 1
    )
    if longer.listings < limits.ANOMALY_POLLS or asked_at - longer.since < limits.ANOMALY_AFTER.total_seconds():
        return Acceptance(longer)
    rest = missing - longer.missing
    other = _vanished(environments, rest - confirmed_absent)
    following = QuarantinedListing(other, asked_at, rest, confirmed_absent) if other else None
    return Acceptance(following, longer.missing, quarantine.listings)


def _emptied(environments: Environments, rows: Rows) -> AnomalyFinding | None:
    if rows or _present(environments) < limits.ANOMALY_MIN:
        return None
    return AnomalyFinding(Anomaly.EMPTIED, clean(Anomaly.EMPTIED.value))


def _beats_lost(environments: Environments, rows: Rows) -> AnomalyFinding | None:
    lost = 0
    for id_, row in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (tracked := environments.get(id_)):
            before = tracked.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost < limits.ANOMALY_MIN or lost <= limits.LOST_BEATS_SHARE * len(rows):
        return None
    return AnomalyFinding(Anomaly.BEATS_LOST, clean(Anomaly.BEATS_LOST.value))


def _vanished(environments: Environments, unconfirmed: frozenset[SafeText]) -> AnomalyFinding | None:
    missing = [environments[id_] for id_ in unconfirmed]
    vanished = sum(not tracked.verdict.is_absent and not tracked.absent for tracked in missing)
    if vanished < limits.ANOMALY_MIN or vanished <= limits.VANISHED_SHARE * (present := _present(environments)):
        return None
    return AnomalyFinding(Anomaly.VANISHED, clean(f"{vanished:,} of {present:,} machines vanished at once"))


def _present(environments: Environments) -> int:
    return sum(not tracked.verdict.is_absent for tracked in environments.values())


def still_listed(environments: Environments, rows: Collection[SafeText]) -> Environments:
    """Return the environments after a quarantined listing; listed rows are no longer absent."""
    present = {
        id_: replace(tracked, absent=0)
        for id_, tracked in environments.items()
        if tracked.absent and id_ in rows and not tracked.verdict.is_absent
    }
    return MappingProxyType({**environments, **present}) if present else environments


@dataclass(frozen=True, slots=True)
class StallDetector:
    """Detects a stall: no heartbeat of the platform advances."""

    silent_s: float = 0.0
    is_stalled: bool = False
    resumed_at: MonotonicS | None = None

    @property
    def beats_count(self) -> bool:
        """Whether a missing heartbeat proves anything."""
        return not self.is_stalled and self.resumed_at is None

    def apply(self, asked_at: MonotonicS, covered_s: float, environments: Environments, rows: Rows) -> StallDetector:
        """Return the detector after a listing.

        `environments` are from before the listing. `covered_s` is the time since the previous listing, or 0 after a
        failed poll or a blind time: time without polls proves nothing.
        """
        if _are_silent(environments, rows):
            silent_s = self.silent_s + covered_s
            is_stalled = self.is_stalled or silent_s >= limits.STALL_AFTER.total_seconds()
            return replace(self, silent_s=silent_s, is_stalled=is_stalled)
        resumed_at = asked_at if self.is_stalled else self.resumed_at
        if resumed_at is not None and asked_at - resumed_at >= _GRACE_S:
            resumed_at = None
        return StallDetector(resumed_at=resumed_at)


def _are_silent(environments: Environments, rows: Rows) -> bool:
    online = 0
    for id_, row in rows.items():
        if row.connection_id and (tracked := environments.get(id_)) is not None and tracked.verdict.is_up:
            if row is not tracked.environment and has_advanced(tracked.environment, row):
                return False
            online += 1
    return online >= limits.STALL_ROWS


def is_beating(before: Environments, after: Environments) -> bool:
    """Whether any heartbeat advanced."""
    return any(
        (was := before.get(id_)) is not None and has_advanced(was.environment, tracked.environment)
        for id_, tracked in after.items()
    )


def has_advanced(before: Environment, after: Environment) -> bool:
    """Whether a heartbeat advanced on the same connection. A new connection has a heartbeat without a ping."""
    old_at, new_at = before.last_heartbeat_at, after.last_heartbeat_at
    is_newer = old_at is not None and new_at is not None and new_at > old_at
    return is_newer and before.connection_id == after.connection_id


_OF_THE_CONNECTED = frozenset({Kind.OFFLINE, Kind.GONE, Kind.RECONNECTED, Kind.RESTARTED})
"""Kinds about online rows: a large share is a mass change."""

_SHAREABLE: Final = (
    "pod_id",
    "user_id",
    "api_key_owner",
    "organization_id",
    "os",
    "version",
    "node_version",
    "branch",
    "mode",
)
"""Fields that may explain a common loss, likeliest first."""


def in_groups(
    events: list[Event], before: Environments, after: Environments, at: ServerMs, unseen_since: ServerMs | None
) -> list[Event]:
    """Return a listing's events, in a single group after a blind time, else with a group for each mass change."""
    if not events:
        return []
    if unseen_since is not None:
        since = min(unseen_since, at)  # a served listing may be older than a sleep
        profile, members = events[0].profile, tuple(events)
        return [Event(kind=Kind.WHILE_BLIND, at=at, profile=profile, since=since, members=members)]
    were_online = sum(tracked.verdict.is_up for tracked in before.values())
    alike: dict[tuple[Kind, bool], list[Event]] = defaultdict(list)
    for event in events:
        alike[_group_key(event)].append(event)
    masses = {key: same for key, same in alike.items() if is_mass(same, were_online)}
    return [
        _together(masses[key], before, after) if key in masses else event
        for event in events
        if (key := _group_key(event)) not in masses or event is masses[key][0]
    ]


def while_not_running(events: list[Event], since: ServerMs, at: ServerMs) -> list[Event]:
    """Return the events between two runs as one group; nobody watched how long the earlier states lasted."""
    if not events:
        return []
    members = tuple(replace(event, lasted=None) for event in events)
    profile = events[0].profile
    return [Event(kind=Kind.WHILE_BLIND, at=at, profile=profile, since=since, reason=NOT_RUNNING, members=members)]


def _group_key(event: Event) -> tuple[Kind, bool]:
    """A mass change of modes must not hide a change to unrestricted, nor a mass loss a machine never seen."""
    is_unrestricted = event.kind is Kind.MODE and event.after == UNRESTRICTED
    return event.kind, is_unrestricted or is_never_seen(event)


def _together(same: Sequence[Event], before: Environments, after: Environments) -> Event:
    kind, reason = same[0].kind, None
    if kind in _OF_THE_CONNECTED:
        ids = {event.id for event in same if event.id is not None}
        # Rows from before the listing, because offline rows have no pod.
        lost = [(before.get(id_) or after[id_]).environment for id_ in ids]
        # A row may have gone unseen so long ago that it is kept no more.
        survivors = (
            tracked.environment
            for id_, tracked in before.items()
            if id_ not in ids and tracked.verdict.is_up and id_ in after and after[id_].verdict.is_up
        )
        reason = blast_radius_text(lost, survivors)
    return Event(
        kind=Kind.TOGETHER,
        of=kind,
        at=max(event.at for event in same),
        profile=same[0].profile,
        reason=reason,
        members=tuple(same),
    )


def is_mass(same: Sequence[Event], were_online: int) -> bool:
    """Whether events of the same kind, not empty, are a mass change."""
    if len(same) >= limits.MASS_COUNT:
        return True
    affected = sum(event.kind is not Kind.GONE or event.before == "online" for event in same)
    is_of_the_connected = same[0].kind in _OF_THE_CONNECTED
    return is_of_the_connected and affected >= limits.MASS_MIN and affected >= limits.MASS_SHARE * were_online


def blast_radius_text(lost: Sequence[Environment], survivors: Iterable[Environment]) -> SafeText | None:
    """Return `blast_radius` as `pod p-7, os linux`; None if empty."""
    return composed(", ".join(f"{field} {value}" for field, value in blast_radius(lost, survivors))) or None


def blast_radius(lost: Sequence[Environment], survivors: Iterable[Environment]) -> tuple[tuple[str, SafeText], ...]:
    """Return the labels and values shared by all lost rows and by no survivor."""
    shared = []
    for name in _SHAREABLE:
        values = {value_of(environment, name) for environment in lost}
        if len(values) == 1 and (value := values.pop()):
            shared.append((name, value))
    for survivor in survivors:
        shared = [(name, value) for name, value in shared if value_of(survivor, name) != value]
        if not shared:
            break
    return tuple((LABELS[name], value) for name, value in shared)
