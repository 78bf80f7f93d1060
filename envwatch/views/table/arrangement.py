"""The table's rows in order: late, newly off, up, down. Rows of the block are left out."""

from __future__ import annotations

from bisect import insort
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old
from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.times import MS
from envwatch.query.language import SearchCache
from envwatch.query.presentation import MatchContext
from envwatch.views.state_style import is_silenced
from envwatch.views.table.columns import rank_of, searched_in
from envwatch.views.table.table_view import by_name, by_presence, by_value, groups_of, name_key, old_group

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.query.presentation import Presentation, RowContext
    from envwatch.views.table.baseline import Baseline
    from envwatch.views.table.table_view import TableLine, View


_NEWS_MS: Final = limits.MARK_DURATION / MS
_NEWS: Final = 1
"""The place of the rows newly off among the parts."""
_FEW: Final = 100
"""The most unranked rows to insert singly; above, all rows are ranked anew."""


class ArrangeCache:
    """Cached search texts and name order, because comparing texts is slow."""

    __slots__ = ("_is_complete", "_ranks", "searches")

    def __init__(self) -> None:
        self.searches: dict[SafeText, SearchCache] = {}
        self._ranks: dict[tuple[SafeText, SafeText, SafeText], int] = {}
        self._is_complete = False

    def learn(self, environments: Iterable[TrackedEnvironment]) -> None:
        """Rank environments by name, unless nearly all recently sorted rows have a rank."""
        if not self._is_complete or not self._ranks:
            rows = {(each.profile, each.environment.name, each.environment.id): each for each in environments}
            ordered = sorted(rows, key=lambda key: name_key(rows[key]))
            self._ranks = {key: rank for rank, key in enumerate(ordered)}
            self._is_complete = True

    def by_name(self, environments: Sequence[TrackedEnvironment]) -> list[TrackedEnvironment]:
        """Return distinct environments by name, fast if most have a rank."""
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
            insort(ordered, tracked, key=name_key)
        return ordered


class OrderReason(NamedTuple):
    """The state and the moment that decided a row's place."""

    tracked: TrackedEnvironment
    wall: float


class Arrangement(NamedTuple):
    """The rows of a view in order."""

    rows: Sequence[TrackedEnvironment] = ()
    old: int = 0
    """Number of old rows at the end; 0 in a narrowed view."""
    in_block: frozenset[EnvironmentKey] = frozenset()
    is_narrowed: bool = False
    wall: float = 0.0
    """This machine's clock, ms."""
    order_reason: OrderReason | None = None
    ghost: EnvironmentKey | None = None
    """A row kept in place without matching the view."""
    changes_at: float = inf
    """When the first loss stops being news (this machine's clock, ms)."""

    def without(self, key: EnvironmentKey) -> Arrangement:
        """Return the arrangement without a row."""
        place = next(place for place, tracked in enumerate(self.rows) if tracked.key == key)
        return self._replace(
            rows=[*self.rows[:place], *self.rows[place + 1 :]],
            old=self.old - (place >= len(self.rows) - self.old),
            order_reason=None,
            ghost=None,
        )


def arrange(  # noqa: PLR0913  the state of the screen
    contexts: Mapping[SafeText, RowContext],
    view: View,
    columns: Sequence[Presentation],
    *,
    in_block: Collection[EnvironmentKey] = (),
    silenced: Collection[EnvironmentKey] = (),
    cache: ArrangeCache | None = None,
    order_reason: OrderReason | None = None,
) -> Arrangement:
    """Return a view's environments in order.

    The query searches `columns` for words. The row of `order_reason` stays in place.
    """
    cache = cache or ArrangeCache()
    context = next(iter(contexts.values()))
    monitor, now = context.monitor, context.now
    fleet = monitor.fleet
    matching = _chosen(fleet, contexts, view, columns, cache.searches)
    keys = [tracked.key for tracked in matching] if in_block else []
    chosen = [row for row, key in zip(matching, keys, strict=True) if key not in in_block] if in_block else matching
    ghost = None if order_reason is None else _put(order_reason.tracked, chosen, fleet)
    *recent, old = _parts_of(chosen, contexts, order_reason, silenced)
    cache.learn(chain(fleet.environments, chosen))
    if view.sort is None:
        parts = [by_presence(cache.by_name(part)) for part in (*recent, old)]
    else:
        merged = [list(chain(*recent, old))] if view.is_narrowed else [list(chain(*recent)), old]
        rank = rank_of(view.sort, chosen)

        parts = [
            by_value(
                cache.by_name(part),
                lambda tracked: rank(tracked, contexts[tracked.profile]),
                is_inverted=view.is_inverted,
            )
            for part in merged
        ]
    rows = list(chain.from_iterable(parts))
    if order_reason is not None:
        place = next(place for place, tracked in enumerate(rows) if tracked is order_reason.tracked)
        rows[place] = fleet.tracked(order_reason.tracked.key) or order_reason.tracked
    return Arrangement(
        rows=rows,
        old=0 if view.is_narrowed else len(old),
        in_block=frozenset(in_block).intersection(keys),
        is_narrowed=view.is_narrowed,
        wall=now.wall,
        order_reason=order_reason,
        ghost=ghost,
        changes_at=min((end for row in recent[_NEWS] if (end := _news_until(row, contexts)) > now.wall), default=inf),
    )


def _news_until(tracked: TrackedEnvironment, contexts: Mapping[SafeText, RowContext]) -> float:
    return tracked.lost_at + _NEWS_MS - contexts[tracked.profile].profile_state.clock.offset


def _chosen(
    fleet: Fleet,
    contexts: Mapping[SafeText, RowContext],
    view: View,
    columns: Sequence[Presentation],
    searches: dict[SafeText, SearchCache],
) -> list[TrackedEnvironment]:
    compared = _compared(fleet, view.baseline) if view.compares and view.baseline is not None else None
    queries = [query for query in (view.preset.query, view.query) if query]
    searched = searched_in(columns)
    chosen: list[TrackedEnvironment] = []
    for profile, (_, judge, profile_state, at, days, _) in contexts.items():
        environments: Iterable[TrackedEnvironment] = (
            profile_state.environments.values() if compared is None else compared[profile]
        )
        if queries:
            context = MatchContext(at, judge, profile_state.profile_name, days)
            cache = searches.setdefault(profile, SearchCache())
            for query in queries:
                environments = filter(query.test(context, searched, cache), environments)
        chosen += environments
    return chosen


def _compared(fleet: Fleet, baseline: Baseline) -> dict[SafeText, list[TrackedEnvironment]]:
    found: dict[SafeText, list[TrackedEnvironment]] = {profile: [] for profile in fleet.by_profile}
    for tracked, _ in baseline.differing(fleet.environments):
        found[tracked.profile].append(tracked)
    return found


def _put(stand_in: TrackedEnvironment, rows: list[TrackedEnvironment], fleet: Fleet) -> EnvironmentKey | None:
    current = fleet.tracked(stand_in.key)
    for place, tracked in enumerate(rows):
        if tracked is current or (current is None and tracked.key == stand_in.key):
            rows[place] = stand_in
            return None
    rows.append(stand_in)
    return stand_in.key


def _parts_of(
    rows: Sequence[TrackedEnvironment],
    contexts: Mapping[SafeText, RowContext],
    order_reason: OrderReason | None,
    silenced: Collection[EnvironmentKey],
) -> tuple[list[TrackedEnvironment], ...]:
    late: list[TrackedEnvironment] = []
    news: list[TrackedEnvironment] = []
    down: list[TrackedEnvironment] = []
    old: list[TrackedEnvironment] = []
    online = [row for row in rows if row.verdict.presence is Presence.ONLINE]
    for tracked in [row for row in rows if row.verdict.presence is not Presence.ONLINE]:
        context = contexts[tracked.profile]
        at = context.at
        if order_reason is not None and tracked is order_reason.tracked:
            at = context.profile_state.clock.server_time(WallMs(order_reason.wall))
        if tracked.verdict.presence is Presence.LATE:
            late.append(tracked)
        elif _is_news(tracked, at) and not is_silenced(tracked, context.judge):
            news.append(tracked)
        else:
            (old if is_old(tracked, at) and tracked.key not in silenced else down).append(tracked)
    return late, news, online, down, old


def _is_news(tracked: TrackedEnvironment, at: float) -> bool:
    """Whether a row went off so recently that the loss stands at the top, though nobody is paged."""
    is_off = tracked.verdict.presence is Presence.OFFLINE and tracked.replaced_by is None
    return is_off and not tracked.has_impossible_time and 0 <= at - tracked.lost_at < _NEWS_MS


def table_lines(arrangement: Arrangement, view: View) -> Sequence[TableLine]:
    """Return the table's rows and group headers."""
    rows, order_reason = arrangement.rows, arrangement.order_reason
    end = len(rows) - arrangement.old
    lines: list[TableLine] = []
    if view.group is None:
        lines += rows[:end]
    else:
        lines += groups_of(rows[:end], view.group, view.folded, None if order_reason is None else order_reason.tracked)
    lines += old_group(rows[end:], view.folded)
    return lines
