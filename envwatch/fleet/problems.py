"""Problems, begins of states, and counts. Moments are by the server's clock in ms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Presence, Reason
from envwatch.model import limits
from envwatch.model.environment import UNRESTRICTED, mode_of
from envwatch.model.times import MS
from envwatch.model.versions import is_behind, is_mark_useful

if TYPE_CHECKING:
    from datetime import timedelta

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.limits import Limits
    from envwatch.model.text import SafeText


# Constants, because `Presence.ONLINE` takes 50 ns for every row on Python 3.11.
_ONLINE, _LATE, _GONE = Presence.ONLINE, Presence.LATE, Presence.GONE
_OLD_MS: Final = limits.OLD_AFTER / MS
_GONE_IS_PROBLEM_MS: Final = limits.GONE_IS_PROBLEM_FOR / MS


def can_be_acked(tracked: TrackedEnvironment, now: float, *, is_in_incident: bool) -> bool:
    """Whether a row can be acknowledged: down, however long, or flapping. A late row is up: nothing is lost yet."""
    if tracked.verdict.is_up:
        return tracked.is_flapping and tracked.replaced_by is None
    return tracked.is_unhealthy or is_in_incident or is_problem(tracked, now)


def is_old(tracked: TrackedEnvironment, now: float, counts_from: float | None = None) -> bool:
    """Whether an environment has been offline for `limits.OLD_AFTER`, too long to need a person now.

    An impossible instant proves no age. A silenced loss counts from `counts_from`, the silence's end, if later.
    """
    if not tracked.verdict.is_listed_off or tracked.has_impossible_time:
        return False
    lost_at = tracked.lost_at
    return now - max(lost_at, counts_from or -inf) >= _OLD_MS and lost_at >= limits.EARLIEST_MS


def went_off_at(tracked: TrackedEnvironment, fleet_limits: Limits) -> float:
    """Return when a row that is down went off, by the last sign of life if unwatched."""
    last_sign, online_for_ms = tracked.environment.last_seen_alive_at, fleet_limits.online_for / MS
    if tracked.since_at is not None:
        return min(tracked.since_at, last_sign + online_for_ms)
    return last_sign + (online_for_ms if tracked.verdict.reason is Reason.HEARTBEAT_LOST else 0.0)


def is_undated(tracked: TrackedEnvironment, latest: float) -> bool:
    """Whether an environment is offline since an impossible time."""
    return tracked.verdict.is_listed_off and not limits.EARLIEST_MS <= tracked.lost_at <= latest


def is_problem(tracked: TrackedEnvironment, now: float, counts_from: float | None = None) -> bool:
    """Whether a row is flapping, off and not old, or recently gone. An expected row that no listing has is never old.

    A late row is no problem, because late rows often recover within seconds; nor is a replaced row, even if gone.
    """
    presence = tracked.verdict.presence
    if presence is _ONLINE or presence is _LATE:
        return tracked.is_flapping  # first, because nearly all rows are up
    if tracked.verdict.is_missing:
        return True
    if tracked.replaced_by is not None:
        return False
    if presence is _GONE:
        return now - max(tracked.lost_at, counts_from or -inf) < _GONE_IS_PROBLEM_MS
    return tracked.is_unhealthy and not is_old(tracked, now, counts_from)


def has_been_silent(
    tracked: TrackedEnvironment, now: float, lasts: timedelta, counts_from: float | None = None
) -> bool:
    """Whether an offline row has been silent for `lasts`; True for rows not offline or without a true time."""
    if not tracked.verdict.is_listed_off or tracked.has_impossible_time:
        return True
    return now - (counts_from or tracked.environment.last_seen_alive_at) >= lasts / MS


def state_began_at(tracked: TrackedEnvironment, fleet_limits: Limits, latest: float = inf) -> float | None:
    """Return when the present state began, if known.

    A late row is late since the missed ping. A row always seen online is online at least since connecting.
    """
    if tracked.has_impossible_time or is_undated(tracked, latest):
        return None
    match tracked.presence:
        case Presence.LATE:
            return tracked.environment.last_seen_alive_at + fleet_limits.late_after / MS
        case Presence.ONLINE:
            return tracked.environment.connected_at if tracked.since_at is None else tracked.since_at
        case _:
            return tracked.lost_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of environments."""

    flapping: int = 0
    unrestricted: int = 0
    """Environments up in the mode that approves everything."""
    behind: int = 0
    """Environments up with a version older than the profile's newest."""
    newest: SafeText | None = None
    """None if the profiles' newest versions differ."""
    mostly_behind: frozenset[SafeText] = frozenset()
    """Profiles with so many rows behind that marks of old versions are useless."""

    def __add__(self, other: Counts) -> Counts:
        versions = {counts.newest for counts in (self, other) if counts.behind}
        return Counts(
            flapping=self.flapping + other.flapping,
            unrestricted=self.unrestricted + other.unrestricted,
            behind=self.behind + other.behind,
            newest=versions.pop() if len(versions) == 1 else None,
            mostly_behind=self.mostly_behind | other.mostly_behind,
        )


def counts_at(profile_state: ProfileState, now: Clocks) -> Counts:
    """Return the counts of a profile's known rows: none while blind."""
    running = Counter(row.environment.version for row in profile_state.environments.values() if row.verdict.is_up)
    is_mostly_behind = not is_mark_useful(running, profile_state.newest)
    known = profile_state.known(now)
    up = [tracked for tracked in known if tracked.verdict.is_up]
    versions = Counter(tracked.environment.version for tracked in up)
    modes = Counter(tracked.environment.mode for tracked in up)
    return Counts(
        flapping=sum(tracked.is_flapping and tracked.replaced_by is None for tracked in known),
        unrestricted=sum(count for mode, count in modes.items() if mode_of(mode) == UNRESTRICTED),
        behind=sum(count for version, count in versions.items() if is_behind(version, profile_state.newest)),
        newest=profile_state.newest,
        mostly_behind=frozenset({profile_state.profile} if is_mostly_behind else ()),
    )
