"""The demo's fleet under a monitor in simulated time: fractions of a ms, and each `Date` cut to the second."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from support.builders import NOW, page_bytes

from envwatch.demo.fleet import DemoFleet
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.history.past import Moment
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed, ListedPage, Snapshot
from envwatch.model.page import Pool, page_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText

PAGE = 100
_SKEW_MS = -317.0
"""Offset of this machine's wall clock from the server's."""
_BOOTED_AT = NOW / 1000 - 345_678.9


def simulated_life(
    size: int, polls: int, *, seed: int = 7, every_s: float = 5.0
) -> Iterator[tuple[Moment, Listed, MonitorChanges]]:
    """Yield each poll's moment, listing and changes, from the fleet's opening on."""
    server, chance = SimulatedServer(size, seed), random.Random(seed)
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for number in range(polls):
        outcome = server.listing(server.opened_at + (number + chance.uniform(-0.1, 0.1)) * every_s * 1000)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        yield (
            Moment.of(monitor, NO_PROFILE, outcome.ended),
            outcome,
            changes,
        )


def clocks(at: float) -> Clocks:
    """Return this machine's clocks at a server's moment, as `time` gives them: nanoseconds cut to a float."""
    seconds = (at + _SKEW_MS) / 1000
    return Clocks(WallMs(round(seconds, 7) * 1000), MonotonicS(round(at / 1000 - _BOOTED_AT, 9)))


class SimulatedServer:
    """Answers as the demo's server does; moments of the server's clock only grow."""

    def __init__(self, size: int, seed: int = 7) -> None:
        self.opened_at = NOW + 1_234.5
        self._fleet = DemoFleet(size, int(NOW))
        self._chance = random.Random(seed)
        self._known: dict[SafeText, Environment] = {}
        self._pool = Pool()

    def listing(self, at: float) -> Listed:
        started = clocks(at)
        pages, bounds, received = [], [], 0
        after: str | None = None
        has_next = True
        while has_next:
            asked = clocks(at)
            at += self._chance.uniform(4, 9)
            rows, has_next = self._fleet.page(int(at), limit=PAGE, after=after)
            date = at // 1000 * 1000
            at += self._chance.uniform(4, 9)
            body = page_bytes([], has_next).replace(b"[]", b"[" + b",".join(rows) + b"]")
            page = page_of(body, self._known, self._pool)
            pages.append(ListedPage(page.environments, asked.wall))
            bounds.append(OffsetBounds.of_answer(date, asked.wall, clocks(at).wall))
            received += len(body) // 4
            after = page.cursor
            at += max(self._chance.gauss(20, 3), 1)
        self._known = {row.id: row for page in pages for row in page.environments}
        snapshot = Snapshot.of_pages(pages=tuple(pages), clock=tuple(bounds), requests=len(pages), received=received)
        return Listed(snapshot, started, clocks(at), timedelta(seconds=5))
