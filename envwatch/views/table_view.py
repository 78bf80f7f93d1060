"""Which environments the table shows, and in what order.

Pure. Owns the presets, the view and the sorting. Must not know widgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.presence import Presence
from envwatch.model.clock import WallMs
from envwatch.model.text import look_alikes
from envwatch.query.field_types import MatchContext
from envwatch.query.language import Query, SearchCache, parse
from envwatch.views.baseline import differing
from envwatch.views.columns import COLUMNS
from envwatch.views.grouping import OLD, grouped, old_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import Clean
    from envwatch.views.baseline import Baseline
    from envwatch.views.columns import Column
    from envwatch.views.grouping import LineKey, TableLine

_DOWN = frozenset({Presence.OFFLINE, Presence.LATE})
_DEFAULT_ORDER = (Presence.OFFLINE, Presence.LATE, Presence.ONLINE, Presence.GONE)


class Preset(StrEnum):
    """The parts of the fleet that one key shows."""

    ALL = "all"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    FLAPPING = "flapping"
    CHANGED = "changed"


_PRESETS: Final[Mapping[Preset, Query]] = {
    Preset.ALL: Query(),
    Preset.ONLINE: parse("status:online"),
    Preset.LATE: parse("status:late"),
    Preset.OFFLINE: parse("status:offline,gone"),
    Preset.FLAPPING: parse("status:flapping"),
    Preset.CHANGED: parse("status:changed"),
}


@dataclass(frozen=True, slots=True)
class View:
    """What the user wants to see."""

    preset: Preset = Preset.ALL
    query: Query = field(default_factory=Query)
    """The query in the filter box."""
    sort: str | None = None
    """Id of a column; None for the default order (`in_default_order`)."""
    is_inverted: bool = False
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

    @property
    def widened(self) -> View:
        """The same view of the whole fleet."""
        return replace(self, preset=Preset.ALL, query=Query(), compares=False)


def ambiguous_names(names: Mapping[Clean, int]) -> frozenset[Clean]:
    """Return the names, given with their numbers of uses, that are used twice or look like another."""
    return look_alikes(names) | {name for name, count in names.items() if count > 1}


_ID_TAIL: Final = 4
"""Characters of the id that follow an ambiguous name."""


def id_tail(name: Clean, id_: Clean | None, ambiguous: frozenset[Clean]) -> str:
    """Return the suffix of a name: for an ambiguous one, a space and the end of its id."""
    return f" {id_[-_ID_TAIL:]}" if id_ is not None and name in ambiguous else ""


def is_new_problem(tracked: TrackedEnvironment, acks: Acks) -> bool:
    """Whether it is a problem that has not been acknowledged."""
    return tracked.is_problem and tracked.environment.id not in acks


def visible_rows(  # noqa: PLR0913, PLR0917  the state of the screen
    fleets: Fleets,
    view: View,
    columns: Sequence[Column],
    wall: float,
    search_caches: dict[Clean, SearchCache] | None = None,
    acks: Acks = NO_ACKS,
) -> list[TrackedEnvironment]:
    """Return the environments that a view shows, in its order.

    Args:
        fleets: where to look.
        view: what to show.
        columns: the visible ones, in which words of the query are looked for.
        wall: the moment by this machine's clock, in ms.
        search_caches: by profile, for callers that keep them from call to call; missing ones are added.
        acks: the acknowledged problems: they come after the others.
    """
    compared = _compared(fleets, view.baseline) if view.compares and view.baseline is not None else None
    search_caches = {} if search_caches is None else search_caches
    chosen: list[TrackedEnvironment] = []
    for profile, fleet in fleets.by_profile.items():
        environments: Iterable[TrackedEnvironment] = (
            fleet.environments.values() if compared is None else compared[profile]
        )
        context = MatchContext(fleet.clock.at(WallMs(wall)), fleet.listings, acks)
        cache = search_caches.setdefault(profile, SearchCache())
        for query in filter(None, (_PRESETS[view.preset], view.query)):
            environments = filter(query.test(context, columns, cache), environments)
        chosen += environments
    ordered = in_order(chosen, view.sort, is_inverted=view.is_inverted)
    if view.sort is None and acks:
        ordered.sort(key=lambda tracked: _rank(tracked, acks), reverse=view.is_inverted)
    return ordered


def _rank(tracked: TrackedEnvironment, acks: Acks) -> int:
    if tracked.presence not in _DOWN:
        return 2
    return 1 if tracked.environment.id in acks else 0


def _compared(fleets: Fleets, baseline: Baseline) -> dict[Clean, list[TrackedEnvironment]]:
    """Return the environments that differ from a baseline by profile, including those that are no longer tracked."""
    found: dict[Clean, list[TrackedEnvironment]] = {profile: [] for profile in fleets.by_profile}
    for tracked, _ in differing(baseline, fleets.environments):
        found[tracked.profile].append(tracked)
    return found


def table_lines(rows: Sequence[TrackedEnvironment], fleets: Fleets, view: View, wall: float) -> Sequence[TableLine]:
    """Return the lines of the table at a moment (this machine's clock, ms).

    Old environments form a group of their own unless the view is narrowed.
    """
    return grouped(rows, view.group, view.folded, None if view.is_narrowed else old_in(fleets, wall))


def in_default_order(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return the latest losses first, then late ones by their silence, the longest first, then by name; gone last."""
    ranks: dict[Presence, list[TrackedEnvironment]] = {presence: [] for presence in _DEFAULT_ORDER}
    for tracked in sorted(environments, key=_name_key):
        ranks[tracked.verdict.presence].append(tracked)
    ranks[Presence.OFFLINE].sort(key=attrgetter("lost_at"), reverse=True)
    ranks[Presence.LATE].sort(key=attrgetter("quiet_at"))
    ranks[Presence.GONE].sort(key=attrgetter("lost_at"), reverse=True)
    return list(chain.from_iterable(ranks.values()))


def in_order(
    environments: Iterable[TrackedEnvironment], column: str | None, *, is_inverted: bool
) -> list[TrackedEnvironment]:
    """Return environments sorted by a column's value: those without one last, ties by name, then id."""
    if column is None:
        ordered = in_default_order(environments)
        return ordered[::-1] if is_inverted else ordered
    rank = COLUMNS[column].rank
    ranks: dict[Any, list[TrackedEnvironment]] = {}
    for tracked in sorted(environments, key=_name_key):
        ranks.setdefault(rank(tracked), []).append(tracked)
    without = ranks.pop(None, [])
    valued = (ranks[value] for value in sorted(ranks, reverse=is_inverted))
    return list(chain(*valued, without))


def _name_key(tracked: TrackedEnvironment) -> str:
    """Return the key that sorts by name, then id: one text compares faster than a pair, and clean text has no NUL."""
    environment = tracked.environment
    return f"{environment.name.casefold()}\0{environment.id}"
