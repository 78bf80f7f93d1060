"""The demo fleet's environments, the schedule of their states, and the listing at any moment.

A story (`lives.py`) depends only on the fleet, the start and the listeners started by hand: one random sequence
schedules all states, whenever clients poll. Instants are in ms since the epoch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from heapq import heappush, heapreplace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envwatch.demo.machines import Machine, connection_id, machine_at, random_at
from envwatch.demo.scenarios import DAY_MS, HOUR_MS, MINUTE_MS
from envwatch.demo.states import HEARTBEAT_MS, SimulatedEnvironment, SimulatedState
from envwatch.model.listing_api import page_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envwatch.demo.scenarios import FleetSpec

DAYS: Final = Path(__file__).parent / "days"
"""The shipped days before an opening, made by `docs/demo_day.py`."""
CONNECTED: Final = DAYS / "connected.json"
"""Milliseconds from a shipped day's last connection to the opening, by environment index."""
_BRANCHES = ("main", "main", "feat/search-v2", "feat/export", "fix/race-in-poller", "fix/login-loop", "chore/deps")


def beats(environment: SimulatedEnvironment) -> bool:
    """Whether the schedule ends with heartbeats."""
    return environment.last.is_beating


class SimulatedFleet:
    """All environments with their schedules, oldest first. Not thread-safe.

    Args:
        spec: 100,000 environments cost nothing at the start.
        started_at: the story's start.
        ages_from: ages of rows and connections count back from here. An earlier demo's start keeps that demo's
            connections.
    """

    def __init__(self, spec: FleetSpec, started_at: int, ages_from: int | None = None) -> None:
        self.started_at = started_at
        self.spec = spec
        self._ages_from = started_at if ages_from is None else ages_from
        self._random = random_at(spec.seed, -100)
        self._environments: list[SimulatedEnvironment | None] = [None] * spec.size
        self._index_of: dict[str, int] = {}
        self._indexes_of_device: dict[str, list[int]] = {}
        self._indexed = 0
        self._new_pods = (f"p-{number}" for number in count(5))
        self.pods = [*islice(self._new_pods, max(1, spec.size // 13))]
        """Pod names by environment index modulo the number of pods."""
        self._slowdown = min(4.0, max(0.1, (40 / max(1, spec.size)) ** 0.35))
        self._agenda: list[tuple[int, int, Callable[[int], int]]] = []
        if spec.size:
            self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def _from(self, elapsed_ms: int, happen: Callable[[int], int]) -> None:
        """Put an event on the agenda; `happen` returns the moment of its next call."""
        heappush(self._agenda, (self.started_at + elapsed_ms, len(self._agenda), happen))

    def __len__(self) -> int:
        return len(self._environments)

    def environment(self, index: int) -> SimulatedEnvironment:
        """Return the environment at a permanent index; 0 is the oldest."""
        environment = self._environments[index]
        if environment is None:
            environment = self._environments[index] = self.at_start(index)
        return environment

    def advance(self, until: int) -> None:
        """Complete all schedules up to and including a moment."""
        while self._agenda and self._agenda[0][0] <= until:
            at, order, happen = self._agenda[0]
            heapreplace(self._agenda, (happen(at), order, happen))

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
        """Return one page of the listing, each row as JSON, and whether more rows follow.

        Rows stand in the order of first appearance, newest first, which never changes. A `limit` of None returns all
        rows. `after` is the `id` of the previous page's last row, even if the row has left the listing; an unknown `id`
        starts from the top.
        """
        self.advance(now)
        wanted = (environment for environment in self._from_cursor(after) if is_wanted(environment))
        listed = ((environment, row) for environment in wanted if (row := environment.row(now)) is not None)
        page, has_next_page = page_of_rows(listed, limit)
        if has_next_page:
            cursor, _ = page[-1]
            self._index_of[cursor.machine.identity["id"]] = cursor.index
        return [row for _, row in page], has_next_page

    def row(self, device_id: str, now: int) -> bytes | None:
        """Return a device's newest row as JSON, None for an unknown device."""
        self.advance(now)
        self._index()
        candidates = (self.environment(index) for index in reversed(self._indexes_of_device.get(device_id, [])))
        return next((row for candidate in candidates if (row := candidate.row(now)) is not None), None)

    def start_listener(self, id_: str, now: int) -> bool | None:
        """Start the listener of a down environment; outage scenario only.

        `now` is not before an earlier call's moment.

        Returns:
            Whether the listener starts; None for an unknown environment.
        """
        self.advance(now)
        self._index()
        index = self._index_of.get(id_)
        return None if index is None else self._start_listener(self.environment(index), now)

    def _start_listener(self, environment: SimulatedEnvironment, at: int) -> bool:  # noqa: ARG002 - of some lives
        return False

    def _from_cursor(self, after: str | None) -> Iterator[SimulatedEnvironment]:
        start = len(self)
        if after is not None:
            if after not in self._index_of:
                self._index()  # the cursor is no page's last row
            start = self._index_of.get(after, start)
        return (self.environment(index) for index in range(start - 1, -1, -1))

    def _index(self) -> None:
        for index in range(self._indexed, len(self)):
            identity = self.environment(index).machine.identity
            self._index_of[identity["id"]] = index
            self._indexes_of_device.setdefault(identity["device_id"], []).append(index)
        self._indexed = len(self)

    def at_start(self, index: int) -> SimulatedEnvironment:
        """Return an environment at the story's start."""
        machine = machine_at(self.spec, index)
        return SimulatedEnvironment(machine, index, self._first_state(machine, index))

    def connected_for(self, index: int, usual: int) -> int:
        """Return the age of a connection at the opening, in ms.

        `usual` is the age without a new connection in the shipped day.
        """
        return usual if self.spec.day is None else _connected().get(str(index), usual)

    def _first_state(self, machine: Machine, index: int) -> SimulatedState:
        random = random_at(self.spec.seed, (1 << 31) + index)
        age = 2 * HOUR_MS + int(300 * DAY_MS * (1 - index / self.spec.size) ** 2)
        first_seen_at = self._ages_from - age
        connected_for = self.connected_for(index, min(random.randrange(2 * MINUTE_MS, 8 * DAY_MS), age // 2))
        connected_at = self._ages_from - connected_for
        away = SimulatedState(
            since=first_seen_at,
            seen_at=self._ages_from - min(random.randrange(5 * HOUR_MS, 9 * DAY_MS), age // 3),
            version=machine.version,
            mode=machine.mode,
            branch=machine.branch,
            directory=machine.home if machine.branch is not None else None,
        )
        if machine.presence == "away":
            return away
        if machine.presence == "left":
            return replace(away, beat_at=away.seen_at)
        linked = replace(away.connected(connected_at, connection_id(random), self._pod(index)), since=first_seen_at)
        if machine.presence == "asleep":
            return replace(linked, connected_at=first_seen_at, beat_at=away.seen_at, is_beating=False)
        return replace(linked, beat_at=self.started_at - random.randrange(HEARTBEAT_MS))

    def _idle(
        self, at: int, is_eligible: Callable[[SimulatedEnvironment], bool] = beats
    ) -> SimulatedEnvironment | None:
        """Return a random environment without plans, or None after 60 attempts."""
        for _ in range(60):
            environment = self.environment(self._random.randrange(len(self)))
            if environment.busy_until <= at and is_eligible(environment):
                return environment
        return None

    def _fallen_pod(self, at: int) -> list[SimulatedEnvironment]:
        places = self._random.sample(range(len(self.pods)), k=min(3, len(self.pods)))
        on_pods = [map(self.environment, range(place, len(self), len(self.pods))) for place in places]
        lost = max(([each for each in pod if each.busy_until <= at and beats(each)] for pod in on_pods), key=len)
        if lost:
            self.pods[lost[0].index % len(self.pods)] = next(self._new_pods)
        return lost

    def _between(self, low: int, high: int) -> int:
        return self._random.randrange(low, high)

    def _pod(self, index: int) -> str:
        return self.pods[index % len(self.pods)]

    def _one_of(self, weights: Mapping[Callable[[int], None], int]) -> Callable[[int], None]:
        (happen,) = self._random.choices([*weights], [*weights.values()])
        return happen

    def _next(self, at: int, low: int, high: int) -> int:
        """Return an event's next moment: after `low` to `high` ms in a fleet of 40, later in a smaller fleet."""
        return at + int(self._between(low, high) * self._slowdown)

    def _reconnect(self, environment: SimulatedEnvironment, at: int, version: str | None = None) -> None:
        link = environment.last.connected(at, connection_id(self._random), self._pod(environment.index))
        environment.add(replace(link, version=version or link.version))

    def _interrupt(self, environment: SimulatedEnvironment, at: int, until: int, version: str | None = None) -> None:
        environment.add(environment.last.disconnected(at))
        self._reconnect(environment, until, version)

    def _change_branch(self, at: int) -> None:
        if chosen := self._idle(at):
            branch = self._random.choice([branch for branch in _BRANCHES if branch != chosen.last.branch])
            chosen.add(replace(chosen.last, since=at, branch=branch, directory=chosen.machine.home))


@cache
def _connected() -> Mapping[str, int]:
    found: dict[str, int] = json.loads(CONNECTED.read_bytes())
    return found
