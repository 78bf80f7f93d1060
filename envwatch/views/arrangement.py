"""Which environments the table shows, in what order, and which of them stand in the block of problems.

Pure. A row with an `OrderReason` stays in its place, whatever happens to the row: the state of the row at that time
decides the place. Must not know the cursor, widgets or scrolling.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.acknowledgements import NO_ACKS, ack_in
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old, is_problem, is_settled
from envwatch.fleet.silences import NO_SILENCES, silencing
from envwatch.model.clock import WallMs
from envwatch.query.field_types import MatchContext
from envwatch.query.language import SearchCache
from envwatch.views.baseline import differing
from envwatch.views.columns import LAST_DAY
from envwatch.views.grouping import groups_of, old_group, rule_over
from envwatch.views.table_view import PRESETS, PROBLEM_ORDER, NameOrder, by_presence, by_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.hours import LastDays
    from envwatch.fleet.silences import Silences
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.views.baseline import Baseline
    from envwatch.views.columns import Column
    from envwatch.views.grouping import Line
    from envwatch.views.table_view import View


@dataclass(frozen=True, slots=True)
class ArrangeCache:
    """What is kept from one arrangement to the next, so that each costs less."""

    searches: dict[SafeText, SearchCache] = field(default_factory=dict)
    """By profile."""
    names: NameOrder = field(default_factory=NameOrder)


class OrderInputs(NamedTuple):
    """What the places of rows depend on, beside rows and view."""

    wall: float = 0.0
    """The moment (this machine's clock, ms)."""
    acks: Acks = NO_ACKS
    silences: Silences = NO_SILENCES
    """Those in force now or once."""


class OrderReason(NamedTuple):
    """What decided the place of a row."""

    tracked: TrackedEnvironment
    order_inputs: OrderInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The rows that a view shows, in order."""

    rows: Sequence[TrackedEnvironment] = ()
    """The block of problems, the others, the settled rows, the old rows."""
    problems: int = 0
    """How many stand in the block of problems; 0 while a column sorts."""
    old: int = 0
    """How many at the end are old; 0 where these are not set apart."""
    order_inputs: OrderInputs = field(default_factory=OrderInputs)
    """What decided."""
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
            problems=self.problems - (place < self.problems),
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
        order_inputs: decide what is a problem; acknowledged and silenced problems come after the others.
        cache: kept from call to call; None for a single call.
        order_reason: of a row that keeps its place, and stays though the view no longer shows the row.
        days: the last 24 hours, by which the column of that name sorts.
    """
    cache = cache or ArrangeCache()
    chosen = _chosen(fleet, view, columns, order_inputs, cache.searches)
    ghost = None if order_reason is None else _put(order_reason.tracked, chosen, fleet)
    parts = _parts_of(chosen, fleet, order_inputs, order_reason)
    cache.names.learn(chain(fleet.environments, chosen))
    rows, problems = parts.ordered(view, cache.names, days)
    if order_reason is not None:
        place = next(place for place, tracked in enumerate(rows) if tracked is order_reason.tracked)
        rows[place] = fleet.tracked(order_reason.tracked.key) or order_reason.tracked
    old = 0 if view.is_narrowed else len(parts.old)
    return Arrangement(
        rows=rows, problems=problems, old=old, order_inputs=order_inputs, order_reason=order_reason, ghost=ghost
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
    chosen: list[TrackedEnvironment] = []
    for profile, profile_state in fleet.by_profile.items():
        environments: Iterable[TrackedEnvironment] = (
            profile_state.environments.values() if compared is None else compared[profile]
        )
        context = MatchContext(
            profile_state.clock.server_time(WallMs(order_inputs.wall)),
            partial(_is_acked, order_inputs.acks, profile_state.server),
            profile_state.profile_name,
        )
        cache = searches.setdefault(profile, SearchCache())
        for query in filter(None, (PRESETS[view.preset], view.query)):
            environments = filter(query.test(context, columns, cache), environments)
        chosen += environments
    return chosen


def _compared(fleet: Fleet, baseline: Baseline) -> dict[SafeText, list[TrackedEnvironment]]:
    """Return the environments that differ from a baseline by profile, including those that are no longer tracked."""
    found: dict[SafeText, list[TrackedEnvironment]] = {profile: [] for profile in fleet.by_profile}
    for tracked, _ in differing(baseline, fleet.environments):
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """Rows by the part of the table that they belong to."""

    problems: list[TrackedEnvironment] = field(default_factory=list)
    quiet: list[TrackedEnvironment] = field(default_factory=list)
    """Problems that are acknowledged or silenced."""
    others: list[TrackedEnvironment] = field(default_factory=list)
    settled: list[TrackedEnvironment] = field(default_factory=list)
    """Rows that are down and no problem: replaced by another row of the machine, or ended sandboxes."""
    old: list[TrackedEnvironment] = field(default_factory=list)

    def ordered(self, view: View, names: NameOrder, days: LastDays | None) -> tuple[list[TrackedEnvironment], int]:
        """Return all rows in the order of a view, and how many of them form the block of problems."""
        if view.sort is None:
            block = [
                *by_presence(names.by_name(self.problems), PROBLEM_ORDER),
                *by_presence(names.by_name(self.quiet), PROBLEM_ORDER),
            ]
            others, old = by_presence(names.by_name(self.others)), by_presence(names.by_name(self.old))
            return [*block, *others, *by_presence(names.by_name(self.settled)), *old], len(block)
        parts = [[*self.problems, *self.quiet, *self.others, *self.settled], self.old]
        parts = [[*parts[0], *parts[1]]] if view.is_narrowed else parts
        sort, is_inverted = view.sort, view.is_inverted
        rank = days.share if days is not None and sort == LAST_DAY else None
        sorted_parts = (by_value(names.by_name(part), sort, is_inverted=is_inverted, rank=rank) for part in parts)
        return list(chain.from_iterable(sorted_parts)), 0


def _parts_of(
    rows: Sequence[TrackedEnvironment],
    fleet: Fleet,
    order_inputs: OrderInputs,
    order_reason: OrderReason | None,
) -> _Parts:
    online = Presence.ONLINE  # without asking further: nearly all rows are
    parts = _Parts(others=[row for row in rows if row.verdict.presence is online and not row.is_flapping])
    moments = fleet.moments(WallMs(order_inputs.wall))
    for tracked in [row for row in rows if row.verdict.presence is not online or row.is_flapping]:
        at, (wall, acks, silences) = moments[tracked.profile], order_inputs
        if order_reason is not None and tracked is order_reason.tracked:
            at, (wall, acks, silences) = (
                fleet.for_environment(tracked).clock.server_time(WallMs(order_reason.order_inputs.wall)),
                order_reason.order_inputs,
            )
        if is_old(tracked, at):
            parts.old.append(tracked)  # no problem
        elif tracked.replaced_by is not None or is_settled(tracked, at):
            parts.settled.append(tracked)
        elif is_problem(tracked, at):
            server = fleet.server_of(tracked.profile)
            is_silenced = bool(silences) and silencing(silences, tracked, server, wall, at) is not None
            (parts.quiet if is_silenced or _is_acked(acks, server, tracked) else parts.problems).append(tracked)
        else:
            parts.others.append(tracked)
    return parts


def _is_acked(acks: Acks, server: SafeText, tracked: TrackedEnvironment) -> bool:
    return ack_in(acks, server, tracked.environment.id) is not None


def lines_of(arrangement: Arrangement, view: View, fleet: Fleet) -> Sequence[Line]:
    """Return the lines of the table: rows, the rule below the block of problems, headers of groups."""
    rows, order_reason = arrangement.rows, arrangement.order_reason
    end = len(rows) - arrangement.old
    lines: list[Line] = []
    if view.group is not None:
        lines += groups_of(rows[:end], view.group, view.folded, None if order_reason is None else order_reason.tracked)
    else:
        problems, others = rows[: arrangement.problems], rows[arrangement.problems : end]
        lines += problems
        if problems and others:
            lines.append(
                rule_over(_without_problem_in_place(others, order_reason), fleet, arrangement.order_inputs.wall)
            )
        lines += others
    lines += old_group(rows[end:], view.folded)
    return lines


def _without_problem_in_place(
    others: Sequence[TrackedEnvironment], order_reason: OrderReason | None
) -> Sequence[TrackedEnvironment]:
    """Return rows without the row that has become a problem and only keeps its place among them."""
    if order_reason is None:
        return others
    online, key = Presence.ONLINE, order_reason.tracked.key
    return [tracked for tracked in others if tracked.verdict.presence is online or tracked.key != key]
