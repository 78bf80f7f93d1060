"""Which environments the table shows, and in what order: late rows, rows that are up, rows that are down.

Pure. A row of the block is not in the table. A row with an `OrderReason` stays in its place, whatever happens to the
row: the state of the row at that time decides the place. Must not know the cursor, widgets or scrolling.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.alerting.acknowledgements import NO_ACKS, ack_in
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old
from envwatch.model.clock import WallMs
from envwatch.query.language import SearchCache
from envwatch.views.table.columns import LAST_DAY, STATE_TIME, for_rank
from envwatch.views.table.grouping import groups_of, old_group
from envwatch.views.table.table_view import NameOrder, by_presence, by_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.past.hours import LastDays
    from envwatch.views.table.baseline import Baseline
    from envwatch.views.table.columns import Column
    from envwatch.views.table.grouping import TableLine
    from envwatch.views.table.table_view import View


@dataclass(frozen=True, slots=True)
class ArrangeCache:
    """What is kept from one arrangement to the next, so that each costs less."""

    searches: dict[SafeText, SearchCache] = field(default_factory=dict)
    """By profile."""
    names: NameOrder = field(default_factory=NameOrder)


class OrderInputs(NamedTuple):
    """The inputs of the places of rows, in addition to rows and view."""

    wall: float = 0.0
    """The moment (this machine's clock, ms)."""
    acks: Acks = NO_ACKS
    in_block: Collection[EnvironmentKey] = ()
    """The environments of the block, which the table leaves out."""


class OrderReason(NamedTuple):
    """What decided the place of a row."""

    tracked: TrackedEnvironment
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The rows that a view shows, in order."""

    rows: Sequence[TrackedEnvironment] = ()
    """Late rows, rows that are up, rows that are down and need nobody, old rows."""
    old: int = 0
    """How many at the end are old; 0 where these are not set apart."""
    in_block: int = 0
    """How many rows of the block match the view."""
    wall: float = 0.0
    """The moment that decided."""
    order_reason: OrderReason | None = None
    """What decided the place of the row that keeps its place."""
    ghost: EnvironmentKey | None = None
    """The key of the row that keeps its place, if the view would not show the row."""

    def without(self, key: EnvironmentKey) -> Arrangement:
        """Return the arrangement without one of its rows."""
        place = next(place for place, tracked in enumerate(self.rows) if tracked.key == key)
        return replace(
            self,
            rows=[*self.rows[:place], *self.rows[place + 1 :]],
            old=self.old - (place >= len(self.rows) - self.old),
            order_reason=None,
            ghost=None,
        )


def arrange(  # noqa: PLR0913, PLR0917  the state of the screen
    fleet: Fleet,
    view: View,
    columns: Sequence[Column],
    order_inputs: OrderInputs,
    cache: ArrangeCache | None = None,
    order_reason: OrderReason | None = None,
    days: LastDays | None = None,
) -> Arrangement:
    """Return the environments that a view shows, in its order.

    Args:
        fleet: the environments to choose from.
        view: what to show.
        columns: the visible ones, in which words of the query are looked for.
        order_inputs: the moment, and the rows that stand in the block.
        cache: kept from call to call; None for a single call.
        order_reason: of a row that keeps its place, and stays though the view no longer shows the row.
        days: the last 24 hours, by which the column of that name sorts.
    """
    cache = cache or ArrangeCache()
    matching = _chosen(fleet, view, columns, order_inputs, cache.searches)
    in_block = order_inputs.in_block
    chosen = [tracked for tracked in matching if tracked.key not in in_block] if in_block else matching
    ghost = None if order_reason is None else _put(order_reason.tracked, chosen, fleet)
    parts = _parts_of(chosen, fleet, order_inputs.wall, order_reason)
    cache.names.learn(chain(fleet.environments, chosen))
    rows = parts.ordered(view, cache.names, _rank_of(view, fleet, order_inputs.wall, days))
    if order_reason is not None:
        place = next(place for place, tracked in enumerate(rows) if tracked is order_reason.tracked)
        rows[place] = fleet.tracked(order_reason.tracked.key) or order_reason.tracked
    return Arrangement(
        rows=rows,
        old=0 if view.is_narrowed else len(parts.old),
        in_block=len(matching) - len(chosen) if in_block else 0,
        wall=order_inputs.wall,
        order_reason=order_reason,
        ghost=ghost,
    )


def _chosen(
    fleet: Fleet,
    view: View,
    columns: Sequence[Column],
    order_inputs: OrderInputs,
    searches: dict[SafeText, SearchCache],
) -> list[TrackedEnvironment]:
    """Return what the preset, the query and the comparison leave, in no order."""
    compared = _compared(fleet, view.baseline) if view.compares and view.baseline is not None else None
    queries = [query for query in (view.preset.query, view.query) if query]
    chosen: list[TrackedEnvironment] = []
    for profile, profile_state in fleet.by_profile.items():
        environments: Iterable[TrackedEnvironment] = (
            profile_state.environments.values() if compared is None else compared[profile]
        )
        if queries:
            from envwatch.query.field_types import MatchContext

            context = MatchContext(
                profile_state.clock.server_time(WallMs(order_inputs.wall)),
                partial(_is_acked, order_inputs.acks, profile_state.server),
                profile_state.profile_name,
            )
            cache = searches.setdefault(profile, SearchCache())
            for query in queries:
                environments = filter(query.test(context, columns, cache), environments)
        chosen += environments
    return chosen


def _compared(fleet: Fleet, baseline: Baseline) -> dict[SafeText, list[TrackedEnvironment]]:
    """Return the environments that differ from a baseline by profile, including those that are no longer tracked."""
    found: dict[SafeText, list[TrackedEnvironment]] = {profile: [] for profile in fleet.by_profile}
    for tracked, _ in baseline.differing(fleet.environments):
        found[tracked.profile].append(tracked)
    return found


def _put(stand_in: TrackedEnvironment, rows: list[TrackedEnvironment], fleet: Fleet) -> EnvironmentKey | None:
    """Put a row as it was in the place of what it is now; return its key if the rows lack it."""
    current = fleet.tracked(stand_in.key)
    for place, tracked in enumerate(rows):
        if tracked is current or (current is None and tracked.key == stand_in.key):
            rows[place] = stand_in
            return None
    rows.append(stand_in)
    return stand_in.key


def _rank_of(
    view: View, fleet: Fleet, wall: float, days: LastDays | None
) -> Callable[[TrackedEnvironment], float | None] | None:
    """Return the value by which a view sorts a row, if the value depends on more than the row; None otherwise."""
    if view.sort == LAST_DAY and days is not None:
        return days.share
    if view.sort != STATE_TIME:
        return None
    moments = fleet.moments(WallMs(wall))
    return lambda tracked: for_rank(tracked, moments[tracked.profile], fleet.for_environment(tracked).limits)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Rows by the part of the table that they belong to."""

    late: list[TrackedEnvironment] = field(default_factory=list)
    others: list[TrackedEnvironment] = field(default_factory=list)
    down: list[TrackedEnvironment] = field(default_factory=list)
    """Rows that are down and need nobody: silenced, replaced, ephemeral, outside the alert policy, or gone."""
    old: list[TrackedEnvironment] = field(default_factory=list)

    def ordered(
        self, view: View, names: NameOrder, rank: Callable[[TrackedEnvironment], float | None] | None
    ) -> list[TrackedEnvironment]:
        """Return all rows in the order of a view; `rank` takes the place of the rank of the view's column."""
        if view.sort is None:
            parts = (self.late, self.others, self.down, self.old)
            return list(chain.from_iterable(by_presence(names.by_name(part)) for part in parts))
        recent = [*self.late, *self.others, *self.down]
        sorted_parts = (
            by_value(names.by_name(part), view.sort, is_inverted=view.is_inverted, rank=rank)
            for part in ([[*recent, *self.old]] if view.is_narrowed else [recent, self.old])
        )
        return list(chain.from_iterable(sorted_parts))


def _parts_of(
    rows: Sequence[TrackedEnvironment], fleet: Fleet, wall: float, order_reason: OrderReason | None
) -> _Parts:
    online, late = Presence.ONLINE, Presence.LATE
    parts = _Parts(others=[row for row in rows if row.verdict.presence is online])  # nearly all rows
    moments = fleet.moments(WallMs(wall))
    for tracked in [row for row in rows if row.verdict.presence is not online]:
        at = moments[tracked.profile]
        if order_reason is not None and tracked is order_reason.tracked:
            at = fleet.for_environment(tracked).clock.server_time(WallMs(order_reason.wall))
        if tracked.verdict.presence is late:
            parts.late.append(tracked)
        else:
            (parts.old if is_old(tracked, at) else parts.down).append(tracked)
    return parts


def _is_acked(acks: Acks, server: SafeText, tracked: TrackedEnvironment) -> bool:
    return ack_in(acks, server, tracked.environment.id) is not None


def lines_of(arrangement: Arrangement, view: View) -> Sequence[TableLine]:
    """Return the lines of the table: rows, and headers of groups."""
    rows, order_reason = arrangement.rows, arrangement.order_reason
    end = len(rows) - arrangement.old
    lines: list[TableLine] = []
    if view.group is None:
        lines += rows[:end]
    else:
        lines += groups_of(rows[:end], view.group, view.folded, None if order_reason is None else order_reason.tracked)
    lines += old_group(rows[end:], view.folded)
    return lines
