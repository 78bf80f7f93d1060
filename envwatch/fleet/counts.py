"""What the status line counts of a fleet: presences, problems, and what differs from the rest.

Pure. Counted once per listing, and added up over the fleets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.versions import is_behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.presence import Presence
    from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many environments there are of each kind."""

    presences: Mapping[Presence, int] = field(default_factory=dict)
    unknown: int = 0
    """Those of which the newest listing proves nothing, see `Fleet.is_unproven`; they are in no presence."""
    problems: Sequence[Clean] = ()
    """Ids of those that need attention."""
    flapping: int = 0
    unrestricted: int = 0
    """Up, in the mode that approves everything."""
    behind: int = 0
    """Up, and of a version before the newest of their fleet."""
    newest: Clean | None = None
    """That version; None where the fleets do not agree on one."""

    def of(self, presence: Presence) -> int:
        """Return how many have a presence."""
        return self.presences.get(presence, 0)

    def __add__(self, other: Counts) -> Counts:
        versions = {counts.newest for counts in (self, other) if counts.behind}
        return Counts(
            presences=Counter(self.presences) + Counter(other.presences),
            unknown=self.unknown + other.unknown,
            problems=(*self.problems, *other.problems),
            flapping=self.flapping + other.flapping,
            unrestricted=self.unrestricted + other.unrestricted,
            behind=self.behind + other.behind,
            newest=versions.pop() if len(versions) == 1 else None,
        )


def counts_of(fleet: Fleet) -> Counts:
    """Count the environments of a fleet."""
    environments = fleet.environments.values()
    up = [tracked for tracked in environments if tracked.verdict.is_up]
    versions = Counter(tracked.environment.version for tracked in up)
    modes = Counter(tracked.environment.mode for tracked in up)
    presences = Counter(tracked.presence for tracked in environments if not fleet.is_unproven(tracked))
    return Counts(
        presences=presences,
        unknown=len(environments) - presences.total(),
        problems=[tracked.environment.id for tracked in environments if tracked.is_problem],
        flapping=sum(tracked.is_flapping for tracked in environments),
        unrestricted=sum(count for mode, count in modes.items() if mode_of(mode) == UNRESTRICTED),
        behind=sum(count for version, count in versions.items() if is_behind(version, fleet.newest)),
        newest=fleet.newest,
    )
