"""The lines of the table: environments, and headers of groups that can be folded.

Pure. Owns what a group is. The order of the rows belongs to `arrangement`; groups follow the order of their first rows,
so a group with a late row is first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model import limits
from envwatch.model.modes import mode_of
from envwatch.model.text import SafeText, clean, composed
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.presence import Presence

LineKey: TypeAlias = tuple[str, ...]
"""Identifies a line: the key of an environment (two parts), or of another line (three parts)."""

_ROW_KEY: Final = 2
"""Parts of the key of an environment."""

OLD: Final[LineKey] = ("old", "", "")
"""The key of the group of environments that have been offline for long."""

GROUPINGS: Final[Mapping[str, Callable[[TrackedEnvironment], SafeText | None]]] = {
    "profile": attrgetter("profile"),
    "pod": attrgetter("pod_id"),
    "user": attrgetter("environment.user_id"),
    "os": attrgetter("environment.os"),
    "version": attrgetter("environment.version"),
    "mode": lambda tracked: mode_of(tracked.environment.mode),
    "branch": attrgetter("environment.branch"),
}
"""What rows can be grouped by: the id of a column, and the value that the members of a group share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeader:
    """The line above a group."""

    key: LineKey
    title: SafeText
    environments: tuple[TrackedEnvironment, ...]
    is_open: bool
    counts: Mapping[Presence, int]

    def __len__(self) -> int:
        return len(self.environments)


TableLine: TypeAlias = TrackedEnvironment | GroupHeader


class _Keyed(Protocol):
    """A line of the screen, in the block too."""

    @property
    def key(self) -> LineKey: ...


def place_of(lines: Sequence[_Keyed], key: LineKey) -> int | None:
    """Return the index of the line with a key; None if there is none."""
    if len(key) != _ROW_KEY:
        return next((place for place, line in enumerate(lines) if line.key == key), None)
    profile, id_ = key
    for place, line in enumerate(lines):
        if isinstance(line, TrackedEnvironment) and line.environment.id == id_ and line.profile == profile:
            return place
    return None


def group_key(group: str, value: SafeText | None) -> LineKey:
    """Return the key of the group with a value; None and an empty text are one group."""
    return ("group", group, value or "")


def groups_of(
    rows: Sequence[TrackedEnvironment],
    group: str,
    folded: frozenset[LineKey],
    stand_in: TrackedEnvironment | None = None,
) -> list[TableLine]:
    """Return the lines for rows in groups, without the rows of groups that are folded.

    `group` is one of `GROUPINGS`; `stand_in` decides the group of the row with its key.
    """
    value_of = GROUPINGS[group]
    values = list(map(value_of, rows))
    if stand_in is not None and (held := place_of(rows, stand_in.key)) is not None:
        values[held] = value_of(stand_in)
    groups: defaultdict[SafeText | None, list[TrackedEnvironment]] = defaultdict(list)
    for tracked, value in zip(rows, values, strict=True):
        groups[value or None].append(tracked)
    name = COLUMNS[group].title.lower()
    lines: list[TableLine] = []
    for value, members in groups.items():
        title = composed(f"{name} {value}" if value else f"no {name}")
        lines += _group_lines(group_key(group, value), title, members, folded)
    return lines


def old_group(old: Sequence[TrackedEnvironment], folded: frozenset[LineKey]) -> Iterable[TableLine]:
    """Return the lines for environments that have been offline for long; none if there are none."""
    title = clean(f"offline for over {limits.OLD_AFTER / timedelta(hours=1):.0f} h")
    return _group_lines(OLD, title, old, folded) if old else ()


def _group_lines(
    key: LineKey, title: SafeText, members: Sequence[TrackedEnvironment], folded: frozenset[LineKey]
) -> Iterable[TableLine]:
    counts = Counter([tracked.verdict.presence for tracked in members])
    header = GroupHeader(key=key, title=title, environments=tuple(members), is_open=key not in folded, counts=counts)
    return (header, *members) if header.is_open else (header,)
