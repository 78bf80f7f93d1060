"""The lines of the table: environments, and headers of groups that can be folded.

Pure. Owns what a group is and which rows are old enough to be folded by default. The order of the rows belongs to
`table_view`; groups follow the order of their first rows, so with problems first, the worst group is first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.modes import mode_of
from envwatch.model.text import Clean
from envwatch.views.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.fleets import Fleets

LineKey: TypeAlias = tuple[Clean, ...]
"""Identifies a line: the key of an environment (two parts), or of a group's header (three parts)."""

OLD: Final[LineKey] = (Clean("old"), Clean(""), Clean(""))
"""The key of the group of environments that have been offline for long."""

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
"""What rows can be grouped by: the id of a column, and the value that the members of a group share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeader:
    """The line above a group."""

    key: LineKey
    title: Clean
    environments: tuple[TrackedEnvironment, ...]
    is_open: bool
    counts: Mapping[Presence, int]

    def __len__(self) -> int:
        return len(self.environments)


TableLine: TypeAlias = TrackedEnvironment | GroupHeader


def group_key(group: str, value: Clean | None) -> LineKey:
    """Return the key of the group with a value; None and an empty text are one group."""
    return (Clean("group"), Clean(group), value or Clean(""))


def grouped(
    rows: Sequence[TrackedEnvironment],
    group: str | None,
    folded: frozenset[LineKey],
    is_old: Callable[[TrackedEnvironment], bool] | None,
) -> Sequence[TableLine]:
    """Return the lines for rows.

    Args:
        rows: in their order.
        group: what to group by, one of `GROUPINGS`; None for no groups.
        folded: keys of the groups whose rows are hidden.
        is_old: the test for rows that go into one group at the end; None to leave them in place.
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
            lines += _group_lines(group_key(group, value), title, members, folded)
    if old:
        title = Clean(f"offline for over {limits.OLD_AFTER / timedelta(hours=1):.0f} h")
        lines += _group_lines(OLD, title, old, folded)
    return lines


def _group_lines(
    key: LineKey, title: Clean, members: Sequence[TrackedEnvironment], folded: frozenset[LineKey]
) -> Iterable[TableLine]:
    counts = Counter(tracked.verdict.presence for tracked in members)
    header = GroupHeader(key=key, title=title, environments=tuple(members), is_open=key not in folded, counts=counts)
    return (header, *members) if header.is_open else (header,)


def old_in(fleets: Fleets, wall: float) -> Callable[[TrackedEnvironment], bool]:
    """Return the test for being offline for `limits.OLD_AFTER` or longer at a moment (this machine's clock, ms)."""
    latest = {profile: fleet.clock.at(WallMs(wall)) - _OLD_MS for profile, fleet in fleets.by_profile.items()}
    offline = Presence.OFFLINE  # Looking up a member of an enum takes longer than comparing it.

    def is_old(tracked: TrackedEnvironment) -> bool:
        return (
            tracked.verdict.presence is offline
            and not tracked.is_untimed
            and tracked.lost_at <= latest[tracked.profile]
        )

    return is_old
