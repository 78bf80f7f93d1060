"""What the user wants to see of the fleet, and the orders of rows.

Pure. Owns the presets, the view and the sorting; `arrangement` applies them. Must not know widgets.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.presence import Presence
from envwatch.model.text import EMPTY, composed, look_alikes, natural_key
from envwatch.query.language import Query, parse
from envwatch.views.table.columns import COLUMNS
from envwatch.views.table.grouping import OLD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.views.table.baseline import Baseline
    from envwatch.views.table.grouping import LineKey

_DEFAULT_ORDER: Final = (Presence.OFFLINE, Presence.MISSING, Presence.LATE, Presence.ONLINE, Presence.GONE)
PROBLEM_ORDER: Final = (Presence.OFFLINE, Presence.MISSING, Presence.GONE, Presence.LATE, Presence.ONLINE)
"""The order among problems, where what is online is flapping."""


class Preset(StrEnum):
    """The parts of the fleet that one key shows."""

    ALL = "all"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    FLAPPING = "flapping"
    CHANGED = "changed"

    @cached_property
    def query(self) -> Query:
        """The query of the part, empty for the whole fleet."""
        if self is Preset.ALL:
            return Query()
        return parse(f"status:{'offline,gone' if self is Preset.OFFLINE else self}")


@dataclass(frozen=True, slots=True)
class View:
    """What the user wants to see."""

    preset: Preset = Preset.ALL
    query: Query = field(default_factory=Query)
    """The query in the filter box."""
    sort: str | None = None
    """Id of a column; None for the default order (`in_default_order`)."""
    is_inverted: bool = False
    """Whether the column sorts the other way round; the default order has problems first in any case."""
    columns: tuple[str, ...] = ()
    """Ids of the columns to show, in this order; none for as many as fit."""
    baseline: Baseline | None = None
    """The baseline that was marked last."""
    compares: bool = False
    """Whether only differences from the baseline are shown."""
    group: str | None = None
    """What to group by, one of `GROUPINGS`."""
    folded: frozenset[LineKey] = frozenset({OLD})
    """Keys of the groups whose rows are hidden."""

    @property
    def is_narrowed(self) -> bool:
        """Whether it may leave out environments."""
        return self.preset is not Preset.ALL or bool(self.query) or self.compares

    def chooses_like(self, other: View) -> bool:
        """Whether another view shows the same environments, in any order."""
        chosen, others = (
            (view.preset, view.query, view.baseline.marked_at if view.compares and view.baseline is not None else None)
            for view in (self, other)
        )
        return chosen == others

    def orders_like(self, other: View) -> bool:
        """Whether another view has the same order and groups, folded or not."""
        return (self.sort, self.is_inverted, self.group) == (other.sort, other.is_inverted, other.group)

    @property
    def widened(self) -> View:
        """The same view of the whole fleet."""
        return replace(self, preset=Preset.ALL, query=Query(), compares=False)


def ambiguous_names(names: Mapping[SafeText, int]) -> frozenset[SafeText]:
    """Return the names, given with their numbers of uses, that are used twice or look like another."""
    return look_alikes(names) | {name for name, count in names.items() if count > 1}


class AmbiguousNames:
    """The ambiguous names of a fleet, kept from one listing to the next: names seldom change."""

    def __init__(self) -> None:
        self._counts: Mapping[SafeText, int] = {}
        self._found: frozenset[SafeText] = frozenset()

    def among(self, environments: Iterable[TrackedEnvironment]) -> frozenset[SafeText]:
        """Return what `ambiguous_names` returns of the names of environments; the same object if nothing changed.

        One environment under several profiles is no pair of twins: the id tells nothing apart there.
        """
        rows = [tracked.environment for tracked in environments]
        counts = dict(Counter([row.label for row in rows]))  # compares faster so
        if repeated := {label for label, count in counts.items() if count > 1}:
            counts |= Counter(label for label, _ in {(row.label, row.id) for row in rows if row.label in repeated})
        if counts != self._counts:
            self._counts, self._found = counts, ambiguous_names(counts)
        return self._found


_ID_TAIL: Final = 4
"""Characters of the id that follow an ambiguous name."""


def id_tail(name: SafeText, id_: SafeText | None, ambiguous: frozenset[SafeText]) -> SafeText:
    """Return the suffix of a name: for an ambiguous one, a space and the end of its id."""
    return composed(f" {id_[-_ID_TAIL:]}") if id_ is not None and name in ambiguous else EMPTY


_FEW: Final = 100
"""Rows without a rank, as new ones are, that are put between the others one by one; for more, all are ranked anew."""


class NameOrder:
    """The order of names, kept from one listing to the next: names seldom change, and comparing texts is slow."""

    __slots__ = ("_is_complete", "_ranks")

    def __init__(self) -> None:
        self._ranks: dict[tuple[SafeText, SafeText, SafeText], int] = {}
        """By profile, name and id."""
        self._is_complete = False
        """Whether few of the rows that were sorted since they were ranked had no rank."""

    def learn(self, environments: Iterable[TrackedEnvironment]) -> None:
        """Rank environments, unless nearly all that were sorted lately have a rank."""
        if not self._is_complete:
            rows = {(each.profile, each.environment.name, each.environment.id): each for each in environments}
            ordered = sorted(rows, key=lambda key: _name_key(rows[key]))
            self._ranks = {key: rank for rank, key in enumerate(ordered)}
            self._is_complete = True

    def by_name(self, environments: Sequence[TrackedEnvironment]) -> list[TrackedEnvironment]:
        """Return what `by_name` returns, sooner where most environments, of which none occurs twice, have a rank."""
        ranks, others = self._ranks, []
        places: list[TrackedEnvironment | None] = [None] * len(ranks)
        for tracked in environments:
            row = tracked.environment
            rank = ranks.get((tracked.profile, row.name, row.id))
            if rank is None:
                others.append(tracked)
            else:
                places[rank] = tracked
        if len(others) > _FEW:
            self._is_complete = False
            return by_name(environments)
        ordered = [tracked for tracked in places if tracked is not None]
        for tracked in others:
            insort(ordered, tracked, key=_name_key)
        return ordered


def by_name(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments sorted by name, then id."""
    return sorted(environments, key=_name_key)


def in_default_order(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments by presence, then the latest losses first, the longest silence first, and by name."""
    return by_presence(by_name(environments))


def by_presence(
    environments: Iterable[TrackedEnvironment], presences: Iterable[Presence] = _DEFAULT_ORDER
) -> list[TrackedEnvironment]:
    """Return environments that are sorted by name in the default order."""
    ranks: dict[Presence, list[TrackedEnvironment]] = {presence: [] for presence in presences}
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
    """Return environments sorted by a column's value: those without one last; equal ones stay in their order.

    With `is_inverted`, the greatest value comes first. `rank` returns the value, for a column that has none of its own.
    """
    rank = rank or COLUMNS[column].rank
    ranks: defaultdict[Any, list[TrackedEnvironment]] = defaultdict(list)
    for tracked in environments:
        ranks[rank(tracked)].append(tracked)
    without = ranks.pop(None, [])
    valued = (ranks[value] for value in sorted(ranks, reverse=is_inverted))
    return list(chain(*valued, without))


def _name_key(tracked: TrackedEnvironment) -> str:
    """Return the key that sorts by name, then id: one text compares faster than a pair, and clean text has no NUL."""
    environment = tracked.environment
    return f"{natural_key(environment.label)}\0{environment.id}"
