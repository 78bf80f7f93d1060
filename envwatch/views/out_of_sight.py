"""Problems that are not on the screen: above and below, in folded groups, behind a filter; and the way to the next one.

Pure. Which problems are worth attention is decided by the caller. Must not know widgets or scrolling.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envwatch.fleet.acknowledgements import ack_in
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.text import SafeText, clean, counted
from envwatch.views.grouping import GroupHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.model.clock import Clocks
    from envwatch.views.grouping import Line


@dataclass(frozen=True, slots=True)
class ProblemPlaces:
    """Where the problems are among the lines of the table."""

    rows: Sequence[int] = ()
    """Indices of the lines that are problems, ascending."""
    folded: Mapping[int, Sequence[TrackedEnvironment]] = field(default_factory=dict)
    """The problems in folded groups, by the index of the header."""

    @classmethod
    def among(cls, lines: Iterable[Line], is_alerting: Callable[[TrackedEnvironment], bool]) -> ProblemPlaces:
        """Return the places of the rows that a test finds."""
        rows: list[int] = []
        folded: dict[int, Sequence[TrackedEnvironment]] = {}
        online = Presence.ONLINE
        asked = [  # without those that are just online: nearly all
            (place, line)
            for place, line in enumerate(lines)
            if not isinstance(line, TrackedEnvironment) or line.verdict.presence is not online or line.is_flapping
        ]
        for place, line in asked:
            if isinstance(line, TrackedEnvironment):
                if is_alerting(line):
                    rows.append(place)
            elif isinstance(line, GroupHeader) and not line.is_open:
                folded[place] = problems_of(line.environments, is_alerting)
        return cls(rows, {place: found for place, found in folded.items() if found})

    def __len__(self) -> int:
        return len(self.rows) + self.in_folds

    @property
    def in_folds(self) -> int:
        """How many are in folded groups."""
        return sum(map(len, self.folded.values()))

    def above(self, top: int) -> int:
        """Return how many stand above a line."""
        return bisect_left(self.rows, top)

    def below(self, end: int) -> int:
        """Return how many stand at a line or below it."""
        return len(self.rows) - bisect_left(self.rows, end)

    def next_from(self, place: int, direction: int) -> int | None:
        """Return the next (1) or previous (-1) line that is a problem or hides some, around the end.

        From the header of a folded group the next one is the header itself: its problems are below it.
        """
        places = sorted([*self.rows, *self.folded])
        if not places:
            return None
        if direction > 0:
            after = bisect_left(places, place if place in self.folded else place + 1)
            return places[after % len(places)]
        return places[bisect_left(places, place) - 1]


def problems_of(
    environments: Iterable[TrackedEnvironment], is_alerting: Callable[[TrackedEnvironment], bool]
) -> list[TrackedEnvironment]:
    """Return the environments that a test finds, without asking about those that are just online."""
    online = Presence.ONLINE
    return [
        tracked
        for tracked in environments
        if (tracked.verdict.presence is not online or tracked.is_flapping) and is_alerting(tracked)
    ]


def above_text(places: ProblemPlaces, top: int, hidden: int, arrow: str, separator: str) -> SafeText:
    """Return what is out of sight above a line, in folded groups and behind the filter (`hidden`); mostly empty."""
    above = places.above(top)
    parts = [f"{arrow} {counted(above, 'problem')} above"] if above else []
    if in_folds := places.in_folds:
        parts.append(f"{in_folds} in folded groups")
    if hidden:
        parts.append(f"{hidden} hidden")
    return clean(f" {separator} ".join(parts))


def no_problem_text(fleet: Fleet, acks: Acks, now: Clocks, hidden: int, *, is_old_folded: bool) -> SafeText:
    """Return what to answer where no line is a problem that needs attention: never that there are none while there are.

    `hidden` is how many the filter hides; `is_old_folded` whether those that have been offline for long are in a folded
    group.
    """
    if hidden:
        return clean(f"{counted(hidden, 'problem')} hidden by the filter: 0 shows {'it' if hidden == 1 else 'them'}")
    if not fleet.is_listed:
        return clean("no listing yet: whether there are problems is unknown")
    acknowledged = quiet = old = unknown = 0
    for profile_state in fleet:
        at = profile_state.clock.server_time(now.wall)
        for tracked in profile_state.environments.values():
            if profile_state.is_unknown(tracked, now):
                unknown += 1
            elif is_problem(tracked, at):
                is_acked = ack_in(acks, profile_state.server, tracked.environment.id) is not None
                acknowledged += is_acked
                quiet += not is_acked
            else:
                old += is_old(tracked, at)
    parts = [f"{count} {what}" for count, what in ((acknowledged, "acknowledged"), (quiet, "without alert")) if count]
    if old:
        parts.append(f"{old} old{' (x unfolds)' if is_old_folded else ''}")
    if unknown:
        parts.append(f"{unknown} unknown")
    return clean(f"no new problems: {', '.join(parts)}" if parts else "no problems")
