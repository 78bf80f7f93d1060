"""The rule for a row's verdict at a moment, without history."""

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
    """An environment's presence."""

    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    GONE = "gone"
    """Absent from two consecutive complete listings."""
    MISSING = "missing"
    """Expected, but never listed, or gone for longer than `limits.MISSING_AFTER`."""

    @property
    def is_absent(self) -> bool:
        """Whether gone or missing."""
        return self in (Presence.GONE, Presence.MISSING)


class Reason(StrEnum):
    """A verdict's reason."""

    BEATING = "beating"
    MISSED = "a ping was missed"
    DISCONNECTED = "disconnected"
    HEARTBEAT_LOST = "heartbeat lost"
    NEVER_BEAT = "no heartbeat"
    ABSENT = "no longer listed"
    NEVER_LISTED = "expected, never listed"
    EXPECTED = "expected, no longer listed"
    UNTIMED = "its heartbeat's time cannot be true"
    """An impossible heartbeat time without an earlier verdict; shown as unknown."""


class Verdict(NamedTuple):
    """A presence with a reason; compared by value, because a history file makes copies."""

    presence: Presence
    reason: Reason
    is_up: bool = False
    """Online or late, as the official client decides."""


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
    """The official client's rule, with limits in ms.

    A row is online if `connectionId` is a non-empty string, `lastHeartbeat` is a number, and
    `now - lastHeartbeat < 120 000 ms`.
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
        """Return the verdict for a heartbeat's age, None without a heartbeat."""
        if not environment.connection_id:
            return DISCONNECTED
        if age_ms is None:
            return NEVER_BEAT
        if age_ms >= self._online_ms:
            return HEARTBEAT_LOST
        return LATE if age_ms >= self._late_ms else ONLINE


def heartbeat_age(environment: Environment, now: ServerMs) -> timedelta | None:
    """Return the heartbeat's age, at least zero."""
    beat_at = environment.last_heartbeat_at
    return None if beat_at is None else span(now - beat_at)
