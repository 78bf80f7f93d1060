"""The rule that decides whether an environment is there: one row at one moment gives a verdict.

Pure: the moment is an argument, by the server's clock. Uses no history; see `tracking` for that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model.times import MS, span

if TYPE_CHECKING:
    from datetime import timedelta

    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits


class Presence(StrEnum):
    """What envwatch says of an environment."""

    ONLINE = "online"
    LATE = "late"
    """Online, but a ping was missed."""
    OFFLINE = "offline"
    GONE = "gone"
    """Absent from two consecutive complete listings."""
    MISSING = "missing"
    """Expected, and either never listed or gone for longer than `limits.MISSING_AFTER`."""

    @property
    def is_absent(self) -> bool:
        """Whether it is not listed."""
        return self in (Presence.GONE, Presence.MISSING)


class Reason(StrEnum):
    """Why a verdict has its presence."""

    BEATING = "beating"
    MISSED = "a ping was missed"
    DISCONNECTED = "disconnected"
    HEARTBEAT_LOST = "heartbeat lost"
    NEVER_BEAT = "no heartbeat"
    ABSENT = "no longer listed"
    NEVER_LISTED = "expected, never listed"
    EXPECTED = "expected, no longer listed"
    UNTIMED = "its heartbeat's time cannot be true"
    """And it has no verdict from before; it must be shown as unknown."""


class Verdict(NamedTuple):
    """A presence with its reason; compared by value, as it may be a copy that was read from a disk."""

    presence: Presence
    reason: Reason
    is_up: bool = False
    """Whether the official rule calls it online."""


ONLINE = Verdict(Presence.ONLINE, Reason.BEATING, is_up=True)
LATE = Verdict(Presence.LATE, Reason.MISSED, is_up=True)
DISCONNECTED = Verdict(Presence.OFFLINE, Reason.DISCONNECTED)
NEVER_BEAT = Verdict(Presence.OFFLINE, Reason.NEVER_BEAT)
HEARTBEAT_LOST = Verdict(Presence.OFFLINE, Reason.HEARTBEAT_LOST)
GONE = Verdict(Presence.GONE, Reason.ABSENT)
NEVER_LISTED = Verdict(Presence.MISSING, Reason.NEVER_LISTED)
MISSING = Verdict(Presence.MISSING, Reason.EXPECTED)
UNTIMED = Verdict(Presence.OFFLINE, Reason.UNTIMED)


class PresenceRule:
    """The rule with its limits converted once, as it is applied to every row of every listing.

    The source is the official client: online iff `connectionId` is a non-empty string, `lastHeartbeat` is a number, and
    `now - lastHeartbeat < 120 000 ms`. At exactly 120 000 ms a row is offline.
    """

    __slots__ = ("_late_ms", "_online_ms")

    def __init__(self, limits: Limits) -> None:
        self._online_ms = limits.online_for / MS
        self._late_ms = limits.late_after / MS

    def verdict(self, environment: Environment, now: ServerMs) -> Verdict:
        """Return the verdict at a moment."""
        beat_at = environment.last_heartbeat_at
        return self.verdict_by_age(environment, None if beat_at is None else now - beat_at)

    def verdict_by_age(self, environment: Environment, age_ms: float | None) -> Verdict:
        """Return the verdict for a heartbeat of that age; None for no heartbeat."""
        if not environment.connection_id:
            return DISCONNECTED
        if age_ms is None:
            return NEVER_BEAT
        if age_ms >= self._online_ms:
            return HEARTBEAT_LOST
        return LATE if age_ms >= self._late_ms else ONLINE


def heartbeat_age(environment: Environment, now: ServerMs) -> timedelta | None:
    """Return the time since the last heartbeat, never negative; None where there was none."""
    beat_at = environment.last_heartbeat_at
    return None if beat_at is None else span(now - beat_at)
