"""Which environments are shown, and in what order: pure functions from watches to a list.

Owns the presets, the filter words and the sorting. Knows nothing of widgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import lost_at, quiet_at
from envwatch.model.clock import WallMs
from envwatch.model.text import look_alikes
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
    """What is shown of the fleet."""

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
    """What was asked for in the filter box."""
    sort: str | None = None
    """Id of a column; None for problems first, then those nearest to falling, then by name."""
    is_inverted: bool = False
    columns: tuple[str, ...] = ()
    """Ids of the columns to show, in this order; none for as many as fit."""
    baseline: Baseline | None = None
    """The moment that was marked."""
    compares: bool = False
    """Whether only what differs from the baseline is shown, and how it differs."""
    group: str | None = None
    """What to group by, one of `GROUPINGS`."""
    folded: frozenset[LineKey] = frozenset({OLD})
    """Keys of the groups whose rows are not shown."""

    @property
    def is_narrowed(self) -> bool:
        """Whether anything may be hidden."""
        return self.preset is not Preset.ALL or bool(self.query) or self.compares

    def chooses_like(self, other: View) -> bool:
        """Whether another view shows the same environments, in whatever order."""
        ours, others = (
            (view.preset, view.query, view.baseline.at if view.compares and view.baseline is not None else None)
            for view in (self, other)
        )
        return ours == others

    @property
    def widened(self) -> View:
        """The same view of the whole fleet."""
        return replace(self, preset=Preset.ALL, query=Query(), compares=False)


def ambiguous_names(names: Mapping[Clean, int]) -> frozenset[Clean]:
    """Return the names that do not tell environments apart: those used twice, and those that look like another.

    Args:
        names: each with how often it is used.
    """
    return look_alikes(names) | {name for name, count in names.items() if count > 1}


_ID_TAIL: Final = 4
"""Characters of the id behind a name that is not unique."""


def id_tail(name: Clean, id_: Clean | None, ambiguous: frozenset[Clean]) -> str:
    """Return what stands behind a name that could be taken for another's: a space and the end of its id."""
    return f" {id_[-_ID_TAIL:]}" if id_ is not None and name in ambiguous else ""


def is_new_problem(tracked: TrackedEnvironment, acks: Acks) -> bool:
    """Whether a person should look at it who has not yet."""
    return tracked.is_problem and tracked.environment.id not in acks


def visible_rows(  # noqa: PLR0913, PLR0917  all of them what the screen shows
    fleets: Fleets,
    view: View,
    columns: Sequence[Column],
    wall: float,
    search_caches: dict[Clean, SearchCache] | None = None,
    acks: Acks = NO_ACKS,
) -> list[TrackedEnvironment]:
    """Return the watches that a view shows, in its order.

    Args:
        fleets: what is known.
        view: what the user wants.
        columns: the visible ones, in which filter words are looked for.
        wall: the moment by this machine's clock, in ms.
        search_caches: by profile, kept from call to call by who asks often; what is missing is put in.
        acks: problems that are acknowledged, which stand behind the others, and can be asked for.
    """
    compared = _compared(fleets, view.baseline) if view.compares and view.baseline is not None else None
    search_caches = {} if search_caches is None else search_caches
    chosen: list[TrackedEnvironment] = []
    for profile, fleet in fleets.by_profile.items():
        environments: Iterable[TrackedEnvironment] = (
            fleet.environments.values() if compared is None else compared[profile]
        )
        for query in filter(None, (_PRESETS[view.preset], view.query)):
            search_cache = search_caches.setdefault(profile, SearchCache())
            is_asked_for = query.test(fleet.clock.at(WallMs(wall)), columns, fleet.listings, search_cache, acks)
            environments = filter(is_asked_for, environments)
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
    """Return the environments that differ from a baseline, those no longer known included, by profile."""
    found: dict[Clean, list[TrackedEnvironment]] = {profile: [] for profile in fleets.by_profile}
    for tracked, _ in differing(baseline, fleets.environments):
        found[tracked.profile].append(tracked)
    return found


def table_lines(rows: Sequence[TrackedEnvironment], fleets: Fleets, view: View, wall: float) -> Sequence[TableLine]:
    """Return the lines of the table: what is old is folded only where nothing was asked for.

    Args:
        rows: what the view shows.
        fleets: what is known.
        view: what the user wants.
        wall: the moment by this machine's clock, in ms.
    """
    return grouped(rows, view.group, view.folded, None if view.is_narrowed else old_in(fleets, wall))


def in_default_order(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return the latest losses first, then those nearest to falling, then by name, the gone last."""
    ranks: dict[Presence, list[TrackedEnvironment]] = {presence: [] for presence in _DEFAULT_ORDER}
    for tracked in sorted(environments, key=_name_key):
        ranks[tracked.verdict.presence].append(tracked)
    ranks[Presence.OFFLINE].sort(key=lost_at, reverse=True)
    ranks[Presence.LATE].sort(key=quiet_at)
    ranks[Presence.GONE].sort(key=lost_at, reverse=True)
    return list(chain.from_iterable(ranks.values()))


def in_order(
    environments: Iterable[TrackedEnvironment], column: str | None, *, is_inverted: bool
) -> list[TrackedEnvironment]:
    """Return the watches sorted by a column's raw value: rows without one last, ties by name, then id."""
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
    """Return what orders by name, then id: one text is compared faster than a pair, and no clean text holds a NUL."""
    environment = tracked.environment
    return f"{environment.name.casefold()}\0{environment.id}"
