"""The lines of the table: environments, and headings over groups of them that can be folded away.

Pure. Owns what a group is and which rows are old enough to be folded without being asked. The order of the rows is
`view`'s; groups stand in the order of their first rows, so that with problems first, the worst group is first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TrackedEnvironment, lost_at
from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.modes import mode_of
from envwatch.model.text import Clean
from envwatch.views.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.fleets import Fleets

LineKey: TypeAlias = tuple[Clean, ...]
"""What tells a line from all others: a watch's key, or a heading's, which has three parts."""

OLD: Final[LineKey] = (Clean("old"), Clean(""), Clean(""))
"""The key of the group of those that have been offline for long."""

_OLD_MS: Final = limits.OLD_AFTER / timedelta(milliseconds=1)

GROUPINGS: Final[Mapping[str, Callable[[TrackedEnvironment], Clean | None]]] = {
    "profile": lambda tracked: tracked.profile,
    "pod": lambda tracked: tracked.environment.pod_id,
    "user": lambda tracked: tracked.environment.user_id,
    "os": lambda tracked: tracked.environment.os,
    "version": lambda tracked: tracked.environment.version,
    "mode": lambda tracked: mode_of(tracked.environment.mode),
    "branch": lambda tracked: tracked.environment.branch,
}
"""What rows can be grouped by: ids of columns, and the value that a group has in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeader:
    """The line over a group."""

    key: LineKey
    title: Clean
    environments: tuple[TrackedEnvironment, ...]
    is_open: bool
    counts: Mapping[Presence, int]

    def __len__(self) -> int:
        return len(self.environments)


TableLine: TypeAlias = TrackedEnvironment | GroupHeader


def group_key(group: str, value: Clean | None) -> LineKey:
    """Return the key of the heading over the rows with one value; None and nothing are one group."""
    return (Clean("group"), Clean(group), value or Clean(""))


def grouped(
    rows: Sequence[TrackedEnvironment],
    group: str | None,
    folded: frozenset[LineKey],
    is_old: Callable[[TrackedEnvironment], bool] | None,
) -> Sequence[TableLine]:
    """Return the lines for some rows.

    Args:
        rows: in their order.
        group: what to group by, one of `GROUPINGS`; None for no groups.
        folded: keys of the headings whose rows are not shown.
        is_old: tells the rows that go into a group of their own at the end; None to leave them where they are.
    """
    old: list[TrackedEnvironment] = []
    others: list[TrackedEnvironment] = []
    for tracked in rows:
        (old if is_old is not None and is_old(tracked) else others).append(tracked)
    lines: list[TableLine] = []
    if group is None:
        lines += others
    else:
        value_of = GROUPINGS[group]
        groups: dict[Clean | None, list[TrackedEnvironment]] = {}
        for tracked in others:
            groups.setdefault(value_of(tracked) or None, []).append(tracked)
        name = COLUMNS[group].title.lower()
        for value, members in groups.items():
            title = Clean(f"{name} {value}" if value else f"no {name}")
            lines += _section(group_key(group, value), title, members, folded)
    if old:
        lines += _section(OLD, Clean(f"offline for over {limits.OLD_AFTER.total_seconds() / 3600:.0f} h"), old, folded)
    return lines


def _section(
    key: LineKey, title: Clean, members: Sequence[TrackedEnvironment], folded: frozenset[LineKey]
) -> Iterable[TableLine]:
    counts = Counter(tracked.verdict.presence for tracked in members)
    heading = GroupHeader(key=key, title=title, environments=tuple(members), is_open=key not in folded, counts=counts)
    return (heading, *members) if heading.is_open else (heading,)


def old_in(fleets: Fleets, wall: float) -> Callable[[TrackedEnvironment], bool]:
    """Return the test for those that are offline and were lost long ago.

    Args:
        fleets: what is known.
        wall: the moment by this machine's clock, in ms.
    """
    limits = {profile: fleet.clock.at(WallMs(wall)) - _OLD_MS for profile, fleet in fleets.by_profile.items()}
    offline = Presence.OFFLINE  # Python takes longer to find a member of an enum than to compare it.

    def is_old(tracked: TrackedEnvironment) -> bool:
        return (
            tracked.verdict.presence is offline
            and not tracked.is_untimed
            and lost_at(tracked) <= limits[tracked.profile]
        )

    return is_old
