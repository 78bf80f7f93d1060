"""Listings too unlikely to be believed at once: trouble of the platform, not of the machines.

Pure. A listing is quarantined if the list is suddenly empty, or if many rows lose their heartbeat and keep their
connection. The quarantine ends when three listings in a row, over a minute, say the same. If a list suddenly lacks many
rows, only the absence of the rows is quarantined. Heartbeats that stand still everywhere prove nothing about a machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model import limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import MonotonicS, ServerMs
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot

_GRACE_S = (limits.HEARTBEAT_EVERY * 1.5).total_seconds()
"""A row may beat as late as one period after the platform recovers, and is not late before 45 s."""


class Anomaly(StrEnum):
    """What is unlikely about a listing."""

    EMPTIED = "the list came back empty"
    VANISHED = "many rows vanished at once"
    BEATS_LOST = "many rows lost their heartbeat"


class AnomalyFinding(NamedTuple):
    """An anomaly of one listing."""

    anomaly: Anomaly
    text: SafeText
    """For the screen, with numbers."""


@dataclass(frozen=True, slots=True)
class QuarantinedListing:
    """Listings whose anomaly is not believed yet."""

    finding: AnomalyFinding
    """Of the newest one."""
    since: MonotonicS
    """When the first of them was asked for."""
    missing: frozenset[SafeText] = frozenset()
    """Ids that all of them lacked."""
    confirmed_absent: frozenset[SafeText] = frozenset()
    """Ids of rows that the server said, since then, do not exist."""
    listings: int = 1
    """How many in a row."""

    @property
    def anomaly(self) -> Anomaly:
        """What is unlikely about them."""
        return self.finding.anomaly

    @property
    def is_whole(self) -> bool:
        """Whether nothing of them is believed; of one that lacks rows, the rows that it has are."""
        return self.anomaly is not Anomaly.VANISHED

    def left_s(self, now: MonotonicS) -> float:
        """Return the least time (seconds, at the monotonic clock) until it is believed, if each listing repeats it."""
        return max(limits.ANOMALY_AFTER.total_seconds() - (now - self.since), 0.0)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which parts of a listing are believed."""

    quarantine: QuarantinedListing | None = None
    """What of it is not."""
    believed_absences: frozenset[SafeText] = frozenset()
    """Ids of rows whose absence was quarantined, and is believed from now on."""
    listings_quarantined: int = 0
    """Number of quarantined listings right before this listing that lacked these rows."""

    def quarantines_absence_of(self, id_: SafeText) -> bool:
        """Whether the absence of a row is not believed."""
        return self.quarantine is not None and id_ not in self.believed_absences

    def quarantined_absences_of(self, id_: SafeText) -> int:
        """Return how many quarantined listings lacked a row before; 0 if the absence of the row is not believed now."""
        return self.listings_quarantined if id_ in self.believed_absences else 0


def acceptance_of(
    quarantine: QuarantinedListing | None,
    environments: Mapping[SafeText, TrackedEnvironment],
    rows: Mapping[SafeText, tuple[Environment, ServerMs]],
    snapshot: Snapshot,
    asked_at: MonotonicS,
) -> Acceptance:
    """Return which parts of a listing are believed, given the state before; a rejected row is not missing."""
    missing = frozenset(environments.keys() - rows.keys() - snapshot.rejected_ids)
    confirmed_absent = snapshot.confirmed_absent
    if quarantine is not None:
        confirmed_absent |= quarantine.confirmed_absent
    finding = (
        _emptied(environments, rows)
        or _beats_lost(environments, rows)
        or _vanished(environments, missing - confirmed_absent)
    )
    if finding is None:
        return Acceptance()
    if quarantine is None or not _is_repeated(quarantine, finding, environments, missing - confirmed_absent):
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


def _is_repeated(
    quarantine: QuarantinedListing,
    finding: AnomalyFinding,
    environments: Mapping[SafeText, TrackedEnvironment],
    unconfirmed: frozenset[SafeText],
) -> bool:
    """Whether a listing repeats the quarantined anomaly: enough of the rows that vanish must be the same rows."""
    if quarantine.anomaly is not finding.anomaly:
        return False
    return (
        finding.anomaly is not Anomaly.VANISHED or _vanished(environments, unconfirmed & quarantine.missing) is not None
    )


def _emptied(
    environments: Mapping[SafeText, TrackedEnvironment], rows: Mapping[SafeText, tuple[Environment, ServerMs]]
) -> AnomalyFinding | None:
    if rows or _present(environments) < limits.ANOMALY_MIN:
        return None
    return AnomalyFinding(Anomaly.EMPTIED, clean(Anomaly.EMPTIED.value))


def _beats_lost(
    environments: Mapping[SafeText, TrackedEnvironment], rows: Mapping[SafeText, tuple[Environment, ServerMs]]
) -> AnomalyFinding | None:
    lost = 0
    for id_, (row, _) in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (tracked := environments.get(id_)):
            before = tracked.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost < limits.ANOMALY_MIN or lost <= limits.LOST_BEATS_SHARE * len(rows):
        return None
    return AnomalyFinding(Anomaly.BEATS_LOST, clean(Anomaly.BEATS_LOST.value))


def _vanished(
    environments: Mapping[SafeText, TrackedEnvironment], unconfirmed: frozenset[SafeText]
) -> AnomalyFinding | None:
    """Return the finding if a listing lacks many rows of the one before it whose absence is not confirmed."""
    missing = [environments[id_] for id_ in unconfirmed]
    vanished = sum(not tracked.presence.is_absent and not tracked.absent for tracked in missing)
    if vanished < limits.ANOMALY_MIN or vanished <= limits.VANISHED_SHARE * (present := _present(environments)):
        return None
    return AnomalyFinding(Anomaly.VANISHED, clean(f"{vanished:,} of {present:,} rows vanished at once"))


def _present(environments: Mapping[SafeText, TrackedEnvironment]) -> int:
    return sum(not tracked.presence.is_absent for tracked in environments.values())


def still_listed(
    environments: Mapping[SafeText, TrackedEnvironment], rows: Collection[SafeText]
) -> Mapping[SafeText, TrackedEnvironment]:
    """Return the environments after a quarantined listing: listed rows are not absent, nothing else changes."""
    present = {
        id_: replace(tracked, absent=0)
        for id_, tracked in environments.items()
        if tracked.absent and id_ in rows and not tracked.presence.is_absent
    }
    return MappingProxyType({**environments, **present}) if present else environments


@dataclass(frozen=True, slots=True)
class StallDetector:
    """Whether the platform's heartbeats advance at all."""

    silent_s: float = 0.0
    """Time covered by listings without any heartbeat that advanced."""
    is_stalled: bool = False
    resumed_at: MonotonicS | None = None
    """When heartbeats advanced again after a stall; None once every row has had time to beat."""

    @property
    def beats_count(self) -> bool:
        """Whether a row's silence proves anything."""
        return not self.is_stalled and self.resumed_at is None

    def apply(
        self,
        asked_at: MonotonicS,
        covered_s: float,
        environments: Mapping[SafeText, TrackedEnvironment],
        rows: Mapping[SafeText, tuple[Environment, ServerMs]],
    ) -> StallDetector:
        """Return the detector after a listing.

        Args:
            asked_at: when the listing was asked for.
            covered_s: time since the listing before, 0 if a poll failed in between: unpolled time proves no silence.
            environments: the environments before the listing.
            rows: each id's row in the listing, and when the row was asked for.
        """
        if _are_silent(environments, rows):
            silent_s = self.silent_s + covered_s
            is_stalled = self.is_stalled or silent_s >= limits.STALL_AFTER.total_seconds()
            return replace(self, silent_s=silent_s, is_stalled=is_stalled)
        resumed_at = asked_at if self.is_stalled else self.resumed_at
        if resumed_at is not None and asked_at - resumed_at >= _GRACE_S:
            resumed_at = None
        return StallDetector(resumed_at=resumed_at)


def _are_silent(
    environments: Mapping[SafeText, TrackedEnvironment], rows: Mapping[SafeText, tuple[Environment, ServerMs]]
) -> bool:
    """Whether no heartbeat advanced, and enough rows are up to prove that the platform is at fault."""
    online = 0
    for id_, (row, _) in rows.items():
        if row.connection_id and (tracked := environments.get(id_)) is not None and tracked.verdict.is_up:
            if row is not tracked.environment and has_advanced(tracked.environment, row):
                return False
            online += 1
    return online >= limits.STALL_ROWS


def is_beating(before: Mapping[SafeText, TrackedEnvironment], after: Mapping[SafeText, TrackedEnvironment]) -> bool:
    """Whether any heartbeat advanced from one listing to the next, given the environments after each."""
    return any(
        (was := before.get(id_)) is not None and has_advanced(was.environment, tracked.environment)
        for id_, tracked in after.items()
    )


def has_advanced(before: Environment, after: Environment) -> bool:
    """Whether a heartbeat advanced on one connection: a new connection brings a heartbeat of its own, ping or not.

    Each row is compared with itself alone, so that neither a heartbeat in the future nor a wrong clock matters.
    """
    old_at, new_at = before.last_heartbeat_at, after.last_heartbeat_at
    is_newer = old_at is not None and new_at is not None and new_at > old_at
    return is_newer and before.connection_id == after.connection_id
