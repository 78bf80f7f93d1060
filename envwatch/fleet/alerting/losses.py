"""One loss of an environment: status and death interval."""

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
"""After these presences, gone or missing is no new loss."""

Key: TypeAlias = tuple[SafeText, SafeText]
"""Profile and id; the id is empty for the loss of the profile's data (blindness)."""


class LossStatus(Enum):
    """The status of a loss."""

    UNSEEN = auto()
    """Unknown: the profile is blind, quarantined or asleep, or the row proves nothing."""
    BACK = auto()
    """Up again for less than `limits.BACK_AFTER`: a new loss continues this loss."""
    OVER = auto()
    """Up again for long enough, replaced, out of the fleet, or acknowledged while gone or missing."""
    SETTLED = auto()
    """Lost, but acknowledged, or too long ago for a problem."""
    OUTSIDE = auto()
    """Lost, but outside the alert policy."""
    QUIET = auto()
    """Lost, but silenced: the row counts as lost when the silence ends."""
    ALERTING = auto()


LossClassifier: TypeAlias = Callable[[Key], LossStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss that has not opened an incident yet."""

    event: Event
    """The loss, or the begin of flapping."""
    died: Span
    """From the earliest to the latest possible time of the loss."""
    noticed_at: MonotonicS
    """The first listing with the loss, or the end of a silence."""
    incident: SafeText = EMPTY
    is_quiet: bool = False
    """Whether the loss was silenced when last checked."""
    is_doubtful: bool = False
    """Whether the platform may be wrong: the row was quarantined, or no heartbeat has advanced since the start. A
    doubtful loss waits for `blind_after`, and opens an incident of doubtful losses only."""

    @property
    def is_flapping(self) -> bool:
        """Whether the environment flaps, which opens an incident without waiting for `alert_after`."""
        return self.event.kind is Kind.FLAPPING


def death_interval(loss: Event, group: Event | None, tracked: TrackedEnvironment | None, listed_at: ServerMs) -> Span:
    """Return the earliest and the latest possible time of a loss.

    `tracked` is from the newest listing, `listed_at` the time of the previous listing. Nothing was seen from the
    group's `since` on.
    """
    group = group or loss
    if group.since is not None:
        return Span(group.since, loss.at)
    beat_at = None if tracked is None else tracked.environment.last_heartbeat_at
    if tracked is not None and tracked.verdict == HEARTBEAT_LOST and beat_at is not None and not tracked.clock_suspect:
        return Span(beat_at, ServerMs(beat_at + _DEATH_WITHIN_MS))
    return Span(min(listed_at, loss.at), loss.at)


def status_of(tracked: TrackedEnvironment, at: ServerMs, *, is_acked: bool, is_news: bool) -> LossStatus:
    """Return the status of a visible row's loss, apart from silences and the policy.

    `is_news` means that the loss waits or belongs to an open incident, so that a long time does not settle the loss.
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
    """Return the status of a profile's blindness."""
    if profile_state.listed is None and profile_state.failure is None:
        return LossStatus.UNSEEN
    return LossStatus.OVER if profile_state.blindness(now) is None else LossStatus.ALERTING


def is_loss(event: Event) -> bool:
    """Return whether an event is a loss of an environment that was not lost before."""
    return event.kind in LOSSES and event.before not in _LOST


def key_of(event: Event) -> Key:
    """Return an event's profile and id; the id is empty for an event of the profile."""
    return (event.profile, event.id or EMPTY)
