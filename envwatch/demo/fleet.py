"""The simulated fleet as its listing: rows, pages and filters at any moment.

A pure function of (seed, size, start, moment): no clock, no I/O, and not safe for two threads at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from envwatch.demo.life import Life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.demo.states import Environment


class SimulatedFleet:
    """A fleet whose listing at a moment is always the same for the same seed, size and start.

    Args:
        size: environments at the start; from 12 on the opening shows every kind of happening.
        seed: a whole number; another one is another fleet.
        started_at: the moment the opening begins, in milliseconds since the epoch.
    """

    def __init__(self, size: int, seed: int, started_at: int) -> None:
        self._life = Life(size=size, seed=seed, started_at=started_at)
        self._index_of: dict[str, int] = {}
        self._indexes_of_device: dict[str, list[int]] = {}
        self._indexed = 0

    def rows(self, now: int) -> list[dict[str, Any]]:
        """The whole listing as decoded JSON, newest environment first; for tests and curious people."""
        rows, _ = self.page(now, limit=None)
        return [json.loads(row) for row in rows]

    def page(
        self,
        now: int,
        *,
        limit: int | None,
        after: str | None = None,
        is_wanted: Callable[[Environment], bool] = lambda _: True,
    ) -> tuple[list[bytes], bool]:
        """One page of the listing as JSON objects, and whether there is more.

        The order is by first appearance, newest first: it never shifts, and what is new comes at the top.

        Args:
            now: the moment, in milliseconds since the epoch.
            limit: the most rows; `None` for all.
            after: the `id` of the last row of the page before. An unknown one starts from the top; one that has left
                the listing meanwhile still marks its place.
            is_wanted: the filter.
        """
        self._life.advance(now)
        rows: list[bytes] = []
        cursor: Environment | None = None
        for environment in self._from_the_cursor(after):
            if not is_wanted(environment) or (row := environment.row(now)) is None:
                continue
            if cursor is not None and len(rows) == limit:
                self._index_of[cursor.machine.identity["id"]] = cursor.index
                return rows, True
            rows.append(row)
            cursor = environment
        return rows, False

    def row(self, device_id: str, now: int) -> bytes | None:
        """The row of a device as JSON, the newest one where listeners share it; `None` for an unknown device."""
        self._life.advance(now)
        self._index()
        candidates = (self._life.environment(index) for index in reversed(self._indexes_of_device.get(device_id, [])))
        return next((row for candidate in candidates if (row := candidate.row(now)) is not None), None)

    def _from_the_cursor(self, after: str | None) -> Iterator[Environment]:
        start = len(self._life)
        if after is not None:
            if after not in self._index_of:
                self._index()  # a cursor that no page ended with
            start = self._index_of.get(after, start)
        return (self._life.environment(index) for index in range(start - 1, -1, -1))

    def _index(self) -> None:
        for index in range(self._indexed, len(self._life)):
            identity = self._life.environment(index).machine.identity
            self._index_of[identity["id"]] = index
            self._indexes_of_device.setdefault(identity["deviceId"], []).append(index)
        self._indexed = len(self._life)
