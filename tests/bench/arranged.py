"""Costs of the table's rows and order in every arrangement, without drawing.

The reference is the initial view. One row in six has a new heartbeat in the next listing, so caches work as in
practice.
"""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from findings import Finding, in_turn
from fleets import beating, decoded, demo_rows, pages_of
from support.builders import NOW, key_of, listed, reading
from support.tracked_environments import contexts_at

from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import Fleet
from envwatch.fleet.watched_time import Span, WatchedTime
from envwatch.history.hours import LastDays
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import ArrangeCache, arrange, lines_of
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.block import NO_BLOCK, block_of
from envwatch.views.table.columns import fitting
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.alerting.acknowledgements import Acks

_NOW = reading()
_DAY_MS = 86_400_000
COLUMNS = tuple(column for column, _ in fitting(79))

ARRANGED = View(query=parse("!build"), sort="version", group="pod")
"""Filtered, sorted and grouped, with most rows left."""

ARRANGEMENTS = {
    "as it comes, once more": View(),
    "filtered by a word": View(query=parse("build")),
    "filtered by a field": View(query=parse("version:<0.34")),
    "sorted by version": View(sort="version"),
    "sorted by the last 24 hours, in which every tenth row was down": View(sort="24h"),
    "grouped by pod": View(group="pod"),
    "filtered, sorted and grouped": ARRANGED,
}


def arranged() -> list[Finding]:
    return _arranged(10_000)


def arranged_100k() -> list[Finding]:
    return _arranged(100_000)


def _arranged(count: int) -> list[Finding]:
    first, second = _listings(count)
    baseline = Baseline.from_environments(first.environments, NOW)
    acks = {
        key_of(tracked.environment.id): Ack(NOW, clean("known"))
        for place, tracked in enumerate(first.environments)
        if tracked.is_unhealthy and place % 2
    }
    ways: dict[str, tuple[View, Acks]] = {
        **{what: (view, {}) for what, view in ARRANGEMENTS.items()},
        "compared with a baseline": (View(baseline=baseline, compares=True), {}),
        "with every other problem acknowledged": (View(), acks),
    }
    works = [partial(_Table(first, second).arrange, *way) for way in ((View(), {}), *ways.values())]
    reference, *measured = in_turn(*works, times=5 if count > 10_000 else 9)
    return [
        Finding(
            what=f"arranging {count:,} rows: {what} (CPU)",
            measured=spent,
            unit="ms",
            reference=reference,
            against="as it comes",
        )
        for what, spent in zip(ways, measured, strict=True)
    ]


def _listings(count: int) -> tuple[Fleet, Fleet]:
    rows = demo_rows(count)
    before = decoded(pages_of(rows))
    after = decoded(pages_of(beating(rows)), {row.id: row for row in before})
    first, _ = Fleet().apply(NO_PROFILE, listed(before, NOW))
    second, _ = first.apply(NO_PROFILE, listed(after, NOW + 5_000))
    return first, second


def _outages(fleet: Fleet) -> Iterator[Event]:
    """Yield the loss and the return of every tenth row, one after the other over the day."""
    rows = [tracked.environment.id for tracked in fleet.environments][::10]
    for place, id_ in enumerate(rows):
        at = NOW - _DAY_MS * (1 - place / len(rows))
        for kind, before, minutes in ((Kind.OFFLINE, "online", 0), (Kind.ONLINE, "offline", 10)):
            moment = ServerMs(at + minutes * 60_000)
            yield Event(kind=kind, at=moment, id=id_, before=clean(before), after=clean(kind.value))


class _Table:
    def __init__(self, *listings: Fleet) -> None:
        self._listings: Iterator[Fleet] = cycle(listings)
        self._cache = ArrangeCache()
        self._log = EventLog().with_past([*_outages(listings[0])])
        self._watched = {NO_PROFILE: WatchedTime((Span(ServerMs(NOW - _DAY_MS), NOW),))}
        self._days = LastDays(Monitor(), _NOW)
        self._block = NO_BLOCK

    def arrange(self, view: View, acks: Acks) -> int:
        fleet = next(self._listings)
        monitor = Monitor(fleet, acks, event_log=self._log, watched=self._watched)
        self._days = self._days.as_of(monitor, _NOW, None)
        self._block = block = block_of(monitor, _NOW, self._block)
        found = arrange(contexts_at(monitor, NOW, self._days), view, COLUMNS, in_block=block.keys, cache=self._cache)
        return len(lines_of(found, view))
