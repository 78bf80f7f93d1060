"""One loss of an environment: its status at a moment, and when the environment was lost.

Pure. Which losses are one incident is decided in `incidents`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import HEARTBEAT_LOST, Presence
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.watched_time import Span
from envwatch.model import limits
from envwatch.model.clock import MonotonicS, ServerMs
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import MS

if TYPE_CHECKING:
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks

_BACK_AFTER_MS: Final = limits.BACK_AFTER / MS
_DEATH_WITHIN_MS: Final = limits.DEATH_WITHIN / MS
LOSSES: Final = frozenset({Kind.OFFLINE, Kind.GONE, Kind.MISSING})
RETURNS: Final = frozenset({Kind.ONLINE, Kind.RETURNED})
_LOST: Final = frozenset({Presence.OFFLINE.value, Presence.GONE.value})
"""Presences before an event that is no new loss: offline, then gone, then missing."""

Key: TypeAlias = tuple[SafeText, SafeText]
"""Profile and id of an environment; the id is empty for the profile's own blindness."""


class LossStatus(Enum):
    """The status of a loss at a moment."""

    UNSEEN = auto()
    """Unknown: the profile is blind, quarantined or asleep, or the row proves nothing."""
    BACK = auto()
    """Up again for less than `limits.BACK_AFTER`: the next loss continues this one."""
    OVER = auto()
    """Up again for long enough, replaced by another row, out of the fleet, or acknowledged while gone or missing."""
    SETTLED = auto()
    """Lost, and acknowledged, or lost for so long that the loss is no problem any more."""
    OUTSIDE = auto()
    """Lost, and outside the alert policy for now."""
    QUIET = auto()
    """Lost, and silenced: when the silence ends, the row counts as lost at that moment."""
    ALERTING = auto()


LossClassifier: TypeAlias = Callable[[Key], LossStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss that waits for its incident."""

    event: Event
    """The loss as it was found, or the event that says that the row flaps."""
    died: Span
    """When the row was lost: at the earliest and at the latest."""
    noticed_at: MonotonicS
    """When the first listing showed the loss, or when the row stopped being quiet, by this machine's clock."""
    incident: SafeText = EMPTY
    """The id of the incident that the loss opens."""
    is_quiet: bool = False
    """Whether the row was quiet at the last look."""
    is_doubtful: bool = False
    """Whether the platform may be wrong: the row was quarantined, or no heartbeat has advanced since the start. Such a
    loss waits for `blind_after`, and opens an incident with other doubtful losses only."""

    @property
    def is_flapping(self) -> bool:
        """Whether the incident need not wait for `alert_after`."""
        return self.event.kind is Kind.FLAPPING


def death_interval(loss: Event, group: Event | None, tracked: TrackedEnvironment | None, listed_at: ServerMs) -> Span:
    """Return when a row was lost at the earliest and at the latest.

    Args:
        loss: as the newest listing showed the loss.
        group: the event that the loss came in; a group with `since` covers a time in which nothing could be seen.
        tracked: the environment after the listing.
        listed_at: the time of the listing before.
    """
    group = group or loss
    if group.since is not None:
        return Span(group.since, loss.at)
    beat_at = None if tracked is None else tracked.environment.last_heartbeat_at
    if tracked is not None and tracked.verdict == HEARTBEAT_LOST and beat_at is not None and not tracked.clock_suspect:
        return Span(beat_at, ServerMs(beat_at + _DEATH_WITHIN_MS))
    return Span(min(listed_at, loss.at), loss.at)


def status_of(tracked: TrackedEnvironment, at: ServerMs, *, is_acked: bool, is_news: bool) -> LossStatus:
    """Return the status of a visible row's loss at a moment, if the row is neither silenced nor outside the policy.

    Args:
        tracked: the environment.
        at: the server's time.
        is_acked: whether the environment is acknowledged.
        is_news: whether the loss waits or belongs to an open incident, however long ago the row was lost.
    """
    if tracked.verdict.is_up and not tracked.is_flapping:
        came_at = tracked.environment.connected_at if tracked.since_at is None else tracked.since_at
        return LossStatus.BACK if came_at is not None and at - came_at < _BACK_AFTER_MS else LossStatus.OVER
    if tracked.replaced_by is not None or (is_acked and tracked.presence.is_absent):
        return LossStatus.OVER
    ages = tracked.presence is Presence.GONE or is_old(tracked, at)
    if is_acked or (not is_problem(tracked, at) and not (is_news and ages)):
        return LossStatus.SETTLED
    return LossStatus.ALERTING


def status_of_blindness(profile_state: ProfileState, now: Clocks) -> LossStatus:
    """Return the status of a profile's own blindness at a moment."""
    if profile_state.listed is None and profile_state.failure is None:
        return LossStatus.UNSEEN
    return LossStatus.OVER if profile_state.blindness(now) is None else LossStatus.ALERTING


def is_loss(event: Event) -> bool:
    """Return whether an event is a loss of an environment that was not lost before."""
    return event.kind in LOSSES and event.before not in _LOST


def key_of(event: Event) -> Key:
    """Return profile and id of an event's environment; the id is empty if it is about the fleet."""
    return (event.profile, event.id or EMPTY)
