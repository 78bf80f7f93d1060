"""What the status line counts of a profile: presences, problems, and what differs from the rest.

Pure. Counted once per listing, and added up over the profiles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Freshness
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.versions import is_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.fleet.presence import Presence
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many environments there are of each kind."""

    presences: Mapping[Presence, int] = field(default_factory=dict)
    unknown: int = 0
    """Those whose row reads unknown, see `style_of`; they are counted as nothing else but alerting."""
    alerting: Mapping[Presence, int] = field(default_factory=dict)
    """How many problems of each presence need a person, see `Monitor.is_alerting`. A problem that is online flaps. A
    blind profile has none."""
    flapping: int = 0
    unrestricted: int = 0
    """Up, in the mode that approves everything."""
    behind: int = 0
    """Up, and of a version before the newest version in their profile."""
    newest: SafeText | None = None
    """That version; None where the profiles have different newest versions."""

    def with_presence(self, presence: Presence) -> int:
        """Return how many have a presence."""
        return self.presences.get(presence, 0)

    def __add__(self, other: Counts) -> Counts:
        versions = {counts.newest for counts in (self, other) if counts.behind}
        return Counts(
            presences=Counter(self.presences) + Counter(other.presences),
            unknown=self.unknown + other.unknown,
            alerting=Counter(self.alerting) + Counter(other.alerting),
            flapping=self.flapping + other.flapping,
            unrestricted=self.unrestricted + other.unrestricted,
            behind=self.behind + other.behind,
            newest=versions.pop() if len(versions) == 1 else None,
        )


def counts_at(
    profile_state: ProfileState, now: Clocks, is_alerting: Callable[[TrackedEnvironment], bool] = lambda _: True
) -> Counts:
    """Count the environments of a profile as the rows show them: while the profile is blind, all are unknown."""
    if profile_state.freshness(now) is Freshness.BLIND:
        return Counts(unknown=len(profile_state.environments))
    at, environments = profile_state.clock.server_time(now.wall), profile_state.environments.values()
    known = profile_state.proven
    up = [tracked for tracked in known if tracked.verdict.is_up]
    problems = (tracked for tracked in environments if is_problem(tracked, at))
    versions = Counter(tracked.environment.version for tracked in up)
    modes = Counter(tracked.environment.mode for tracked in up)
    return Counts(
        presences=Counter(tracked.presence for tracked in known),
        unknown=len(environments) - len(known),
        alerting=Counter(tracked.presence for tracked in problems if is_alerting(tracked)),
        flapping=sum(tracked.is_flapping and tracked.replaced_by is None for tracked in known),
        unrestricted=sum(count for mode, count in modes.items() if mode_of(mode) == UNRESTRICTED),
        behind=sum(count for version, count in versions.items() if is_behind(version, profile_state.newest)),
        newest=profile_state.newest,
    )
