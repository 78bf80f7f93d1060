"""The simulated fleet's listing at any moment: rows, pages and filters.

A pure function of (fleet, start, time of day, moment), without clock and I/O. Not thread-safe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from envwatch.demo.scenario_life import LIVES
from envwatch.model.listing_api import page_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.demo.day_before import DayBefore
    from envwatch.demo.scenarios import FleetSpec
    from envwatch.demo.states import SimulatedEnvironment


class SimulatedFleet:
    """A fleet; the arguments are those of `Life`.

    From a size of 12 on the opening of the default story shows every kind of event.
    """

    def __init__(self, spec: FleetSpec, started_at: int, time_of_day: int | None = None) -> None:
        self.scenario = spec.scenario
        self.started_at = started_at
        self._life = LIVES[spec.scenario](spec, started_at, time_of_day)
        self._index_of: dict[str, int] = {}
        self._indexes_of_device: dict[str, list[int]] = {}
        self._indexed = 0

    def rows(self, now: int) -> list[dict[str, Any]]:
        """Return the whole listing as decoded JSON, newest environment first; for tests."""
        rows, _ = self.page(now, limit=None)
        return [json.loads(row) for row in rows]

    def page(
        self,
        now: int,
        *,
        limit: int | None,
        after: str | None = None,
        is_wanted: Callable[[SimulatedEnvironment], bool] = lambda _: True,
    ) -> tuple[list[bytes], bool]:
        """Return one page of the listing, each row as JSON, and whether there are more rows.

        The order is by first appearance, newest first: it never shifts, and what is new comes at the top.

        Args:
            now: the moment, in milliseconds since the epoch.
            limit: the most rows; None for all.
            after: `id` of the last row of the page before. An unknown one starts from the top; that of a row which
                has left the listing still marks its place.
            is_wanted: the filter.
        """
        self._life.advance(now)
        wanted = (environment for environment in self._from_cursor(after) if is_wanted(environment))
        listed = ((environment, row) for environment in wanted if (row := environment.row(now)) is not None)
        page, has_next_page = page_of_rows(listed, limit)
        if has_next_page:
            cursor, _ = page[-1]
            self._index_of[cursor.machine.identity["id"]] = cursor.index
        return [row for _, row in page], has_next_page

    @property
    def day_before(self) -> DayBefore | None:
        """What happened before the opening."""
        return self._life.day_before

    def id_at(self, index: int) -> str:
        """Return the id of the environment at an index, 0 the oldest."""
        return self._life.environment(index).machine.identity["id"]

    def row(self, device_id: str, now: int) -> bytes | None:
        """Return the newest row of a device as JSON, None for an unknown device; two listeners may share a device."""
        self._life.advance(now)
        self._index()
        candidates = (self._life.environment(index) for index in reversed(self._indexes_of_device.get(device_id, [])))
        return next((row for candidate in candidates if (row := candidate.row(now)) is not None), None)

    def start_listener(self, id_: str, now: int) -> bool | None:
        """Start the listener of an environment that is down, in the scenario of an outage.

        Args:
            id_: of the environment.
            now: the moment, in milliseconds since the epoch; not before any that was asked for.

        Returns:
            Whether it starts; None for an unknown environment.
        """
        self._life.advance(now)
        self._index()
        index = self._index_of.get(id_)
        return None if index is None else self._life.start_listener(self._life.environment(index), now)

    def _from_cursor(self, after: str | None) -> Iterator[SimulatedEnvironment]:
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
            self._indexes_of_device.setdefault(identity["device_id"], []).append(index)
        self._indexed = len(self._life)
