"""Listings too unlikely to be believed at once: the platform's own trouble, which must not read as ours.

Pure. A list that is suddenly empty, or in which many rows lose their heartbeat while keeping their connection, is
held until three listings in a row, over a minute, say the same. Of a list that suddenly lacks many rows only their
absence is held. Heartbeats that stand still everywhere prove nothing of any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch import rules
from envwatch.presence import Presence
from envwatch.text import Clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.models import Environment
    from envwatch.outcome import Snapshot
    from envwatch.watch import Watch


_GRACE = rules.HEARTBEAT_EVERY * 1.5
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
class Hold:
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
        return self.listings < rules.ANOMALY_POLLS or now - self.since < rules.ANOMALY_AFTER.total_seconds()


@dataclass(frozen=True, slots=True)
class Belief:
    """How far a listing is believed."""

    hold: Hold | None = None
    """What of it is not."""
    believed: frozenset[Clean] = frozenset()
    """Ids of rows whose absence was held, and is believed from now on."""
    held: int = 0
    """Listings right before it for which that was held."""

    def holds_absence_of(self, id_: Clean) -> bool:
        """Whether it is not believed that a row is missing."""
        return self.hold is not None and id_ not in self.believed


def belief_in(
    hold: Hold | None,
    watches: Mapping[Clean, Watch],
    rows: Mapping[Clean, Environment],
    snapshot: Snapshot,
    now: float,
) -> Belief:
    """Return how far a listing is believed.

    Args:
        hold: what was not believed of the listing before.
        watches: what was known before.
        rows: the rows of the listing, by id.
        snapshot: the listing; a row that it set aside is not missing.
        now: when the listing was asked for, monotonic seconds.
    """
    missing = frozenset(watches.keys() - rows.keys() - snapshot.set_aside_ids)
    confirmed_absent = snapshot.confirmed_absent
    if hold is not None:
        confirmed_absent |= hold.confirmed_absent
    claim = _emptied(watches, rows) or _beats_lost(watches, rows) or _vanished(watches, missing - confirmed_absent)
    if claim is None:
        return Belief()
    if hold is None or not _says_the_same(hold, claim, watches, missing - confirmed_absent):
        return Belief(Hold(claim, now, missing, confirmed_absent))
    longer = Hold(claim, hold.since, missing & hold.missing, confirmed_absent, hold.listings + 1)
    if longer.stands(now):
        return Belief(longer)
    rest = missing - longer.missing
    other = _vanished(watches, rest - confirmed_absent)
    return Belief(Hold(other, now, rest, confirmed_absent) if other else None, longer.missing, hold.listings)


def _says_the_same(hold: Hold, claim: Claim, watches: Mapping[Clean, Watch], unconfirmed: frozenset[Clean]) -> bool:
    """Whether a listing repeats what is held: of rows that vanish, enough must be the same ones."""
    if hold.anomaly is not claim.anomaly:
        return False
    return claim.anomaly is not Anomaly.VANISHED or _vanished(watches, unconfirmed & hold.missing) is not None


def _emptied(watches: Mapping[Clean, Watch], rows: Mapping[Clean, Environment]) -> Claim | None:
    if rows or _known(watches) < rules.ANOMALY_MIN:
        return None
    return Claim(Anomaly.EMPTIED, Clean(Anomaly.EMPTIED.value))


def _beats_lost(watches: Mapping[Clean, Watch], rows: Mapping[Clean, Environment]) -> Claim | None:
    lost = 0
    for id_, row in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (watch := watches.get(id_)):
            before = watch.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost < rules.ANOMALY_MIN or lost <= rules.LOST_BEATS_SHARE * len(rows):
        return None
    return Claim(Anomaly.BEATS_LOST, Clean(Anomaly.BEATS_LOST.value))


def _vanished(watches: Mapping[Clean, Watch], unconfirmed: frozenset[Clean]) -> Claim | None:
    """Return the claim of a listing that lacks many rows of the one before it, whose absence is not confirmed."""
    vanished = sum(watches[id_].presence is not Presence.GONE and not watches[id_].absent for id_ in unconfirmed)
    if vanished < rules.ANOMALY_MIN or vanished <= rules.VANISHED_SHARE * (known := _known(watches)):
        return None
    return Claim(Anomaly.VANISHED, Clean(f"{vanished:,} of {known:,} rows vanished at once"))


def _known(watches: Mapping[Clean, Watch]) -> int:
    return sum(watch.presence is not Presence.GONE for watch in watches.values())


@dataclass(frozen=True, slots=True)
class Pulse:
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

    def after(self, monotonic: float, *, watched_for: float, online: int, has_advanced: bool) -> Pulse:
        """Return the pulse after a listing.

        Args:
            monotonic: when the listing was asked for.
            watched_for: seconds since the listing before, as far as polls succeeded in between: what nobody watched
                proves no silence.
            online: how many rows were online.
            has_advanced: whether the heartbeat of any of those did.
        """
        if not has_advanced and online >= rules.STALL_ROWS:
            silent_for = self.silent_for + watched_for
            is_stalled = self.is_stalled or silent_for >= rules.STALL_AFTER.total_seconds()
            return replace(self, silent_for=silent_for, is_stalled=is_stalled)
        resumed_at = monotonic if self.is_stalled else self.resumed_at
        if resumed_at is not None and monotonic - resumed_at >= _GRACE.total_seconds():
            resumed_at = None
        return Pulse(resumed_at=resumed_at)


def has_advanced(before: Environment, after: Environment) -> bool:
    """Whether a heartbeat came over one and the same connection: a new one brings a beat of its own, ping or no ping.

    Each row is compared with itself alone, so that neither a heartbeat from the future nor a wrong clock matters.
    """
    old, new = before.last_heartbeat_at, after.last_heartbeat_at
    return old is not None and new is not None and new > old and before.connection_id == after.connection_id
