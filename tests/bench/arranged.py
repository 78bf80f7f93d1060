"""Costs of the table's rows and order in every arrangement, and of 100,000 rows against 10,000 on the screen.

The reference is the initial view. One row in six has a new heartbeat in the next listing, so caches work as in
practice.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING

from findings import Finding, in_turn
from fleets import beating, decoded, demo_rows, pages_of
from support.app_harness import staged
from support.builders import NOW, key_of, listed, reading
from support.tracked_environments import contexts_at

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind
from envwatch.fleet.profile_state import Fleet
from envwatch.fleet.watched_time import Span, WatchedTime
from envwatch.history.hours import LastDays
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import ArrangeCache, arrange, table_lines
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.block import NO_BLOCK, build_block
from envwatch.views.table.columns import fitting
from envwatch.views.table.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.model.environment import Environment


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
        self._block = block = build_block(monitor, _NOW, self._block)
        found = arrange(contexts_at(monitor, NOW, self._days), view, COLUMNS, in_block=block.keys, cache=self._cache)
        return len(table_lines(found, view))


FEW, MANY = 10_000, 100_000

VIEWS = {
    "problems first": View(),
    "sort by name": View(sort="name"),
    "sort by version": View(sort="version"),
    "sort by beat": View(sort="state"),
    "filter by a word": View(query=parse("build")),
    "filter by a field": View(query=parse("version:<0.34")),
    "only offline": View(preset=Preset.OFF),
}
KEYS = {"down": "j", "page down": "pagedown", "end": "G", "top": "g"}


def views_100k() -> list[Finding]:
    few, many = (decoded(pages_of(demo_rows(count))) for count in (FEW, MANY))
    found = []
    for what, measured, reference in (*_choosing(few, many), *_moving(few, many)):
        found.append(
            Finding(
                what=f"100,000 rows: {what}", measured=measured, unit="ms", reference=reference, against="10,000 rows"
            )
        )
    return found


def _choosing(few: Sequence[Environment], many: Sequence[Environment]) -> list[tuple[str, float, float]]:
    columns = tuple(column for column, _ in fitting(79))
    small, large = (Fleet().apply(NO_PROFILE, listed(rows, NOW))[0] for rows in (few, many))
    times = []
    for what, view in VIEWS.items():
        works = (partial(arrange, contexts_at(fleet), view, columns) for fleet in (small, large))
        reference, measured = in_turn(*works, times=3)
        times.append((f"{what}, the pure view (CPU)", measured, reference))
    return times


def _moving(few: Sequence[Environment], many: Sequence[Environment]) -> list[tuple[str, float, float]]:
    found = []
    for how, view in (("", View()), (" filtered, sorted and grouped", ARRANGED)):
        reference, measured = (asyncio.run(moves(rows, view)) for rows in (few, many))
        found += [(f"{what}{how}, headless (CPU)", measured[what], reference[what]) for what in reference]
    return found


async def moves(rows: Sequence[Environment], view: View) -> dict[str, float]:
    """Return the median CPU milliseconds of a listing, of each key, and of a tick."""
    async with staged() as stage:
        stage.app.dashboard.set_view(view)
        times: dict[str, list[float]] = {}

        def note(what: str, started: float) -> None:
            times.setdefault(what, []).append((time.process_time() - started) * 1000)

        outcome = listed(rows, stage.at)
        for _ in range(3):
            started = time.process_time()
            await stage.take(outcome)
            note("a listing taken in and drawn", started)
        for _ in range(5):
            for what, key in KEYS.items():
                started = time.process_time()
                await stage.press(key)
                note(f"key {what}", started)
            started = time.process_time()
            await stage.tick()
            note("a tick", started)
        return {what: median(each) for what, each in times.items()}
