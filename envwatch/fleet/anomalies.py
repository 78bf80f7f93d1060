"""Listings too unlikely to be believed at once: the platform's own trouble, which must not read as ours.

Pure. A list that is suddenly empty, or in which many rows lose their heartbeat while keeping their connection, is
held until three listings in a row, over a minute, say the same. Of a list that suddenly lacks many rows only their
absence is held. Heartbeats that stand still everywhere prove nothing of any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch.fleet.presence import Presence
from envwatch.model import limits
from envwatch.model.text import Clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot


_GRACE = limits.HEARTBEAT_EVERY * 1.5
"""A row may beat as late as one period after the platform recovers, and is not late before 45 s."""


class Anomaly(StrEnum):
    """What the platform's answer looks like."""

    EMPTIED = "the list came back empty"
    VANISHED = "many rows vanished at once"
    BEATS_LOST = "many rows lost their heartbeat"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a listing says that is too unlikely to be believed at once."""

    anomaly: Anomaly
    text: Clean
    """The same for a person, with numbers."""


@dataclass(frozen=True, slots=True)
class HeldListing:
    """A claim that is not believed yet."""

    claim: Claim
    """The newest one."""
    since: float
    """When the first listing that made it was asked for, monotonic seconds."""
    missing: frozenset[Clean] = frozenset()
    """Ids that all listings that made it lacked."""
    confirmed_absent: frozenset[Clean] = frozenset()
    """Ids of rows that the server said, since then, do not exist."""
    listings: int = 1
    """Listings in a row that made it."""

    @property
    def anomaly(self) -> Anomaly:
        """What the platform's answer looks like."""
        return self.claim.anomaly

    def stands(self, now: float) -> bool:
        """Whether the claim is still not to be believed at a moment, in monotonic seconds."""
        return self.listings < limits.ANOMALY_POLLS or now - self.since < limits.ANOMALY_AFTER.total_seconds()


@dataclass(frozen=True, slots=True)
class Belief:
    """How far a listing is believed."""

    hold: HeldListing | None = None
    """What of it is not."""
    believed: frozenset[Clean] = frozenset()
    """Ids of rows whose absence was held, and is believed from now on."""
    held: int = 0
    """Listings right before it for which that was held."""

    def holds_absence_of(self, id_: Clean) -> bool:
        """Whether it is not believed that a row is missing."""
        return self.hold is not None and id_ not in self.believed


def belief_in(
    hold: HeldListing | None,
    environments: Mapping[Clean, TrackedEnvironment],
    rows: Mapping[Clean, Environment],
    snapshot: Snapshot,
    now: float,
) -> Belief:
    """Return how far a listing is believed.

    Args:
        hold: what was not believed of the listing before.
        environments: what was known before.
        rows: the rows of the listing, by id.
        snapshot: the listing; a row that it set aside is not missing.
        now: when the listing was asked for, monotonic seconds.
    """
    missing = frozenset(environments.keys() - rows.keys() - snapshot.set_aside_ids)
    confirmed_absent = snapshot.confirmed_absent
    if hold is not None:
        confirmed_absent |= hold.confirmed_absent
    claim = (
        _emptied(environments, rows)
        or _beats_lost(environments, rows)
        or _vanished(environments, missing - confirmed_absent)
    )
    if claim is None:
        return Belief()
    if hold is None or not _says_the_same(hold, claim, environments, missing - confirmed_absent):
        return Belief(HeldListing(claim, now, missing, confirmed_absent))
    longer = HeldListing(claim, hold.since, missing & hold.missing, confirmed_absent, hold.listings + 1)
    if longer.stands(now):
        return Belief(longer)
    rest = missing - longer.missing
    other = _vanished(environments, rest - confirmed_absent)
    return Belief(HeldListing(other, now, rest, confirmed_absent) if other else None, longer.missing, hold.listings)


def _says_the_same(
    hold: HeldListing, claim: Claim, environments: Mapping[Clean, TrackedEnvironment], unconfirmed: frozenset[Clean]
) -> bool:
    """Whether a listing repeats what is held: of rows that vanish, enough must be the same ones."""
    if hold.anomaly is not claim.anomaly:
        return False
    return claim.anomaly is not Anomaly.VANISHED or _vanished(environments, unconfirmed & hold.missing) is not None


def _emptied(environments: Mapping[Clean, TrackedEnvironment], rows: Mapping[Clean, Environment]) -> Claim | None:
    if rows or _known(environments) < limits.ANOMALY_MIN:
        return None
    return Claim(Anomaly.EMPTIED, Clean(Anomaly.EMPTIED.value))


def _beats_lost(environments: Mapping[Clean, TrackedEnvironment], rows: Mapping[Clean, Environment]) -> Claim | None:
    lost = 0
    for id_, row in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (tracked := environments.get(id_)):
            before = tracked.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost < limits.ANOMALY_MIN or lost <= limits.LOST_BEATS_SHARE * len(rows):
        return None
    return Claim(Anomaly.BEATS_LOST, Clean(Anomaly.BEATS_LOST.value))


def _vanished(environments: Mapping[Clean, TrackedEnvironment], unconfirmed: frozenset[Clean]) -> Claim | None:
    """Return the claim of a listing that lacks many rows of the one before it, whose absence is not confirmed."""
    vanished = sum(
        environments[id_].presence is not Presence.GONE and not environments[id_].absent for id_ in unconfirmed
    )
    if vanished < limits.ANOMALY_MIN or vanished <= limits.VANISHED_SHARE * (known := _known(environments)):
        return None
    return Claim(Anomaly.VANISHED, Clean(f"{vanished:,} of {known:,} rows vanished at once"))


def _known(environments: Mapping[Clean, TrackedEnvironment]) -> int:
    return sum(tracked.presence is not Presence.GONE for tracked in environments.values())


@dataclass(frozen=True, slots=True)
class StallDetector:
    """Whether the platform's heartbeats advance at all."""

    silent_for: float = 0.0
    """Seconds for which listings have come and none of them showed a heartbeat that had advanced."""
    is_stalled: bool = False
    resumed_at: float | None = None
    """When they moved again after standing still, monotonic seconds; None once every row has had time to beat."""

    @property
    def beats_count(self) -> bool:
        """Whether a row's silence proves anything."""
        return not self.is_stalled and self.resumed_at is None

    def after(self, monotonic: float, *, watched_for: float, online: int, has_advanced: bool) -> StallDetector:
        """Return the pulse after a listing.

        Args:
            monotonic: when the listing was asked for.
            watched_for: seconds since the listing before, as far as polls succeeded in between: what nobody watched
                proves no silence.
            online: how many rows were online.
            has_advanced: whether the heartbeat of any of those did.
        """
        if not has_advanced and online >= limits.STALL_ROWS:
            silent_for = self.silent_for + watched_for
            is_stalled = self.is_stalled or silent_for >= limits.STALL_AFTER.total_seconds()
            return replace(self, silent_for=silent_for, is_stalled=is_stalled)
        resumed_at = monotonic if self.is_stalled else self.resumed_at
        if resumed_at is not None and monotonic - resumed_at >= _GRACE.total_seconds():
            resumed_at = None
        return StallDetector(resumed_at=resumed_at)


def has_advanced(before: Environment, after: Environment) -> bool:
    """Whether a heartbeat came over one and the same connection: a new one brings a beat of its own, ping or no ping.

    Each row is compared with itself alone, so that neither a heartbeat from the future nor a wrong clock matters.
    """
    old, new = before.last_heartbeat_at, after.last_heartbeat_at
    return old is not None and new is not None and new > old and before.connection_id == after.connection_id
