"""A listing ordered by the last sign of life, so that rows shift during a walk; with a separate clock.

A row with a new heartbeat moves to the front, and a walk may miss the row. Paging uses the cursor's position in the
order.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from support.builders import NOW, page_bytes, wire_row
from support.faulty_server import Faulty, Reply, Seen

PERIOD_MS = 30_000.0
"""Interval of heartbeats."""


class Shifting(Faulty):
    """Machines that beat every 30 s, one after the other, and a clock that moves with each page."""

    def __init__(self, count: int, page_ms: float) -> None:
        """Prepare `count` machines and `page_ms` milliseconds per page."""
        super().__init__([wire_row(f"env-{number}", metadata=None) for number in range(count)])
        self.now: float = NOW
        self.left: frozenset[str] = frozenset()
        """Ids of deleted machines."""
        self._page_ms = page_ms
        self._positions: dict[str, float] = {}
        """The heartbeat last sent with a row, by id."""

    def _beat(self, number: int) -> float:
        phase = number * PERIOD_MS / len(self.rows)
        return self.now - (self.now - NOW - phase) % PERIOD_MS

    def _row(self, number: int) -> dict[str, Any]:
        return dict(self.rows[number], lastHeartbeat=self._beat(number))

    def _order(self) -> list[int]:
        """Return the numbers of existing machines, newest sign of life first."""
        count = len(self.rows)
        newest = int((self.now - NOW) % PERIOD_MS * count / PERIOD_MS)
        order = [*range(newest, -1, -1), *range(count - 1, newest, -1)]
        return [number for number in order if self.rows[number]["id"] not in self.left]

    def _devices(self) -> list[dict[str, Any]]:
        return [self._row(number) for number in self._order()]

    def _listing(self, seen: Seen) -> Reply:
        self.now += self._page_ms
        numbers, size, after = self._order(), int(seen.query["limit"]), seen.query.get("after")
        first = 0
        if after is not None:
            older = -self._positions[after] + 1e-3
            first = bisect_left(numbers, older, key=lambda number: -self._beat(number))
        page = [self._row(number) for number in numbers[first : first + size]]
        self._positions |= {row["id"]: row["lastHeartbeat"] for row in page[-1:]}
        self._turn = 0
        return Reply(body=page_bytes(page, first + size < len(numbers)), headers={"Date": None})
