"""The user's view of the fleet.

Groups follow the order of their first rows, so a group with a late row is first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model import limits
from envwatch.model.modes import mode_of
from envwatch.model.text import EMPTY, SafeText, clean, composed, look_alikes, natural_key
from envwatch.query.language import Query, parse
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.views.table.baseline import Baseline
    from envwatch.views.table.block import BlockLine, LineKey


_DEFAULT_ORDER: Final = (Presence.OFFLINE, Presence.MISSING, Presence.LATE, Presence.ONLINE, Presence.GONE)


_ROW_KEY: Final = 2

OLD: Final[LineKey] = ("old", "", "")

GROUPINGS: Final[Mapping[str, Callable[[TrackedEnvironment], SafeText | None]]] = {
    "profile": attrgetter("profile"),
    "pod": attrgetter("pod_id"),
    "user": attrgetter("environment.user_id"),
    "os": attrgetter("environment.os"),
    "version": attrgetter("environment.version"),
    "mode": lambda tracked: mode_of(tracked.environment.mode),
    "branch": attrgetter("environment.branch"),
}


class Preset(StrEnum):
    """The parts of the fleet that a key selects."""

    ALL = "all"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    FLAPPING = "flapping"
    CHANGED = "changed"

    @cached_property
    def query(self) -> Query:
        """The preset's query, empty for the whole fleet."""
        if self is Preset.ALL:
            return Query()
        return parse(f"status:{'offline,gone' if self is Preset.OFFLINE else self}")


@dataclass(frozen=True, slots=True)
class View:
    """The user's choice of rows and columns."""

    preset: Preset = Preset.ALL
    query: Query = field(default_factory=Query)
    sort: str | None = None
    """A column id; None is the default order."""
    is_inverted: bool = False
    """Whether a column's order is reversed. The default order cannot be reversed."""
    columns: tuple[str, ...] = ()
    baseline: Baseline | None = None
    compares: bool = False
    group: str | None = None
    folded: frozenset[LineKey] = frozenset({OLD})

    @property
    def is_narrowed(self) -> bool:
        """Whether the view may leave out environments."""
        return self.preset is not Preset.ALL or bool(self.query) or self.compares

    def chooses_like(self, other: View) -> bool:
        """Whether another view shows the same environments."""
        chosen, others = (
            (view.preset, view.query, view.baseline.marked_at if view.compares and view.baseline is not None else None)
            for view in (self, other)
        )
        return chosen == others

    def orders_like(self, other: View) -> bool:
        """Whether another view has the same order and groups."""
        return (self.sort, self.is_inverted, self.group) == (other.sort, other.is_inverted, other.group)

    @property
    def widened(self) -> View:
        """The same view of the whole fleet."""
        return replace(self, preset=Preset.ALL, query=Query(), compares=False)


def ambiguous_names(names: Mapping[SafeText, int]) -> frozenset[SafeText]:
    """Return names used twice or similar to another; `names` counts the uses."""
    return look_alikes(names) | {name for name, count in names.items() if count > 1}


class AmbiguousNames:
    """The ambiguous names of a fleet, cached because names seldom change."""

    def __init__(self) -> None:
        self._counts: Mapping[SafeText, int] = {}
        self._found: frozenset[SafeText] = frozenset()

    def among(self, environments: Iterable[TrackedEnvironment]) -> frozenset[SafeText]:
        """Return the ambiguous names, as the same object if unchanged.

        The same environment under several profiles is not ambiguous, because its id could not tell the rows apart.
        """
        rows = [tracked.environment for tracked in environments]
        counts = dict(Counter([row.label for row in rows]))  # a plain dict compares faster
        if repeated := {label for label, count in counts.items() if count > 1}:
            counts |= Counter(label for label, _ in {(row.label, row.id) for row in rows if row.label in repeated})
        if counts != self._counts:
            self._counts, self._found = counts, ambiguous_names(counts)
        return self._found


_ID_TAIL: Final = 4


def id_tail(name: SafeText, id_: SafeText | None, ambiguous: frozenset[SafeText]) -> SafeText:
    """Return a space and the id's end for an ambiguous name."""
    return composed(f" {id_[-_ID_TAIL:]}") if id_ is not None and name in ambiguous else EMPTY


def by_name(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments sorted by name, then id."""
    return sorted(environments, key=name_key)


def in_default_order(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments by presence, then the latest losses first, the longest silence first, and by name."""
    return by_presence(by_name(environments))


def by_presence(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments in the default order; the argument is sorted by name."""
    ranks: dict[Presence, list[TrackedEnvironment]] = {presence: [] for presence in _DEFAULT_ORDER}
    for tracked in environments:
        ranks[tracked.verdict.presence].append(tracked)
    ranks[Presence.OFFLINE].sort(key=attrgetter("lost_at"), reverse=True)
    ranks[Presence.MISSING].sort(key=attrgetter("lost_at"), reverse=True)
    ranks[Presence.LATE].sort(key=attrgetter("environment.last_seen_alive_at"))
    ranks[Presence.GONE].sort(key=attrgetter("lost_at"), reverse=True)
    return list(chain.from_iterable(ranks.values()))


def by_value(
    environments: Iterable[TrackedEnvironment],
    column: str,
    *,
    is_inverted: bool,
    rank: Callable[[TrackedEnvironment], Any] | None = None,
) -> list[TrackedEnvironment]:
    """Return environments in a column's order, stable, with rows without a value last.

    `is_inverted` puts the greatest value first. `rank` replaces the column's rank.
    """
    rank = rank or COLUMNS[column].rank
    ranks: defaultdict[Any, list[TrackedEnvironment]] = defaultdict(list)
    for tracked in environments:
        ranks[rank(tracked)].append(tracked)
    without = ranks.pop(None, [])
    valued = (ranks[value] for value in sorted(ranks, reverse=is_inverted))
    return list(chain(*valued, without))


def name_key(tracked: TrackedEnvironment) -> str:
    """Return the sort key of name, then id. A text compares faster than a pair; clean text has no NUL."""
    environment = tracked.environment
    return f"{natural_key(environment.label)}\0{environment.id}"


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
Line: TypeAlias = "TableLine | BlockLine"
"""In the block, an environment is an unfolded incident's member."""


def place_of(lines: Sequence[Line], key: LineKey) -> int | None:
    """Return the index of a key's line."""
    if len(key) != _ROW_KEY:
        return next((place for place, line in enumerate(lines) if line.key == key), None)
    profile, id_ = key
    for place, line in enumerate(lines):
        if isinstance(line, TrackedEnvironment) and line.environment.id == id_ and line.profile == profile:
            return place
    return None


def group_key(group: str, value: SafeText | None) -> LineKey:
    """Return a group's key; None equals an empty text."""
    return ("group", group, value or "")


def groups_of(
    rows: Sequence[TrackedEnvironment],
    group: str,
    folded: frozenset[LineKey],
    stand_in: TrackedEnvironment | None = None,
) -> list[TableLine]:
    """Return the lines of groups; a folded group is only a header.

    `stand_in` decides the group of the row with the same key.
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
    """Return the lines of the group `OLD`."""
    title = clean(f"offline for over {limits.OLD_AFTER / timedelta(hours=1):.0f} h")
    return _group_lines(OLD, title, old, folded) if old else ()


def _group_lines(
    key: LineKey, title: SafeText, members: Sequence[TrackedEnvironment], folded: frozenset[LineKey]
) -> Iterable[TableLine]:
    counts = Counter([tracked.verdict.presence for tracked in members])
    header = GroupHeader(key=key, title=title, environments=tuple(members), is_open=key not in folded, counts=counts)
    return (header, *members) if header.is_open else (header,)
