"""The rule for a row's verdict at a moment, without history."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Reason(StrEnum):
    """A verdict's reason."""

    BEATING = "beating"
    MISSED = "a ping was missed"
    DISCONNECTED = "disconnected"
    HEARTBEAT_LOST = "heartbeat lost"
    NEVER_BEAT = "no heartbeat"
    ABSENT = "no longer listed"
    NEVER_LISTED = "never seen"
    """Expected, and in no listing so far."""
    EXPECTED = "gone"
    """Expected, and gone for longer than `limits.MISSING_AFTER`."""
    UNTIMED = "its heartbeat's time cannot be true"
    """An impossible heartbeat time without an earlier verdict; shown as unknown."""


_MISSING: Final = (Reason.NEVER_LISTED, Reason.EXPECTED)
_ABSENT: Final = (Reason.ABSENT, *_MISSING)


class Verdict(NamedTuple):
    """A presence with a reason; compared by value, because a history file makes copies."""

    presence: Presence
    reason: Reason
    is_up: bool = False
    """Online or late, as the official client decides."""

    @property
    def is_missing(self) -> bool:
        """Whether off because no listing has an expected row. Such a row never becomes old."""
        return not self.is_up and self.reason in _MISSING

    @property
    def is_absent(self) -> bool:
        """Whether no listing has the row: gone or missing."""
        return not self.is_up and self.reason in _ABSENT

    @property
    def is_listed_off(self) -> bool:
        """Whether off by the row in the listing."""
        return self.presence is Presence.OFFLINE and not self.is_missing


ONLINE = Verdict(Presence.ONLINE, Reason.BEATING, is_up=True)
LATE = Verdict(Presence.LATE, Reason.MISSED, is_up=True)
DISCONNECTED = Verdict(Presence.OFFLINE, Reason.DISCONNECTED)
NEVER_BEAT = Verdict(Presence.OFFLINE, Reason.NEVER_BEAT)
HEARTBEAT_LOST = Verdict(Presence.OFFLINE, Reason.HEARTBEAT_LOST)
GONE = Verdict(Presence.GONE, Reason.ABSENT)
NEVER_LISTED = Verdict(Presence.OFFLINE, Reason.NEVER_LISTED)
MISSING = Verdict(Presence.OFFLINE, Reason.EXPECTED)
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
