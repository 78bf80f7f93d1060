"""Is an environment there? The verdict over one row at one moment.

Owns the rule. Has no clock: the moment is an argument, by the server's clock. Knows no history; see `fleet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch.model.times import span

if TYPE_CHECKING:
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


class Reason(StrEnum):
    """Why it is said."""

    BEATING = "beating"
    MISSED = "a ping was missed"
    DISCONNECTED = "disconnected"
    HEARTBEAT_LOST = "heartbeat lost"
    NEVER_BEAT = "no heartbeat"
    ABSENT = "no longer listed"
    UNTIMED = "its heartbeat's time cannot be true"
    """And it was never judged before; it must be shown as unknown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A presence with its reason."""

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
UNTIMED = Verdict(Presence.OFFLINE, Reason.UNTIMED)


class PresenceRule:
    """The rule with its limits, made once and asked for every row of every listing.

    The source is the official client: online iff `connectionId` is a non-empty string, `lastHeartbeat` is a number, and
    `now - lastHeartbeat < 120 000 ms`. At exactly 120 000 ms a row is offline.
    """

    __slots__ = ("_late_ms", "_online_ms")

    def __init__(self, limits: Limits) -> None:
        self._online_ms = limits.online_for / timedelta(milliseconds=1)
        self._late_ms = limits.late_after / timedelta(milliseconds=1)

    def verdict(self, environment: Environment, now: float) -> Verdict:
        """Return the verdict at `now`, in milliseconds since the epoch by the server's clock."""
        beat = environment.last_heartbeat_at
        return self.verdict_by_age(environment, None if beat is None else now - beat)

    def verdict_by_age(self, environment: Environment, age: float | None) -> Verdict:
        """Return the verdict when the last heartbeat is `age` milliseconds old, or there was none."""
        if not environment.connection_id:
            return DISCONNECTED
        if age is None:
            return NEVER_BEAT
        if age >= self._online_ms:
            return HEARTBEAT_LOST
        return LATE if age >= self._late_ms else ONLINE


def heartbeat_age(environment: Environment, now: float) -> timedelta | None:
    """Return the time since the last heartbeat, never negative; None where there was none."""
    if environment.last_heartbeat_at is None:
        return None
    return span(now - environment.last_heartbeat_at)
