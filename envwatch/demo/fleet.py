"""The demo fleet's environments, the schedule of their states, and the listing at any moment.

A story (`lives.py`) depends only on the fleet, the start and the listeners started by hand: one random sequence
schedules all states, whenever clients poll. Instants are in ms since the epoch.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cache
from heapq import heappush, heapreplace
from itertools import count, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envwatch.demo.machines import Machine, connection_id, machine_at, random_at
from envwatch.demo.scenarios import DAY_MS, HOUR_MS, MINUTE_MS
from envwatch.model.environment import API_FIELDS, METADATA_FIELDS, Environment, wire_name
from envwatch.model.listing_api import is_online, page_of_rows

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


HEARTBEAT_MS = 30_000
FOREVER = 1 << 62
_TIMES = ',"{}":%b,"{}":%b}}'.format(wire_name("last_heartbeat_at"), wire_name("last_seen_at")).encode()
"""The end of a row: the two times that change with every heartbeat."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedState:
    """An environment's state from `since` to the next state."""

    since: int
    seen_at: int
    """The last sign of life; ignored while heartbeats come."""
    version: str
    mode: str | None = None
    branch: str | None = None
    directory: str | None = None
    connection_id: str | None = None
    connected_at: int | None = None
    pod_id: str | None = None
    beat_at: int | None = None
    """The first heartbeat if `is_beating`, else the last heartbeat."""
    is_beating: bool = False
    is_listed: bool = True

    def last_beat(self, now: int) -> int | None:
        """Return the newest heartbeat at a moment of this state."""
        if self.beat_at is None or not self.is_beating:
            return self.beat_at
        return self.beat_at + max(0, (now - self.beat_at) // HEARTBEAT_MS) * HEARTBEAT_MS

    def connected(self, at: int, connection_id: str, pod_id: str) -> SimulatedState:
        """Return the state after a new connection with heartbeats."""
        link = replace(self, connection_id=connection_id, connected_at=at, pod_id=pod_id)
        return link.awake(at)

    def disconnected(self, at: int, *, keeps_beat: bool = False) -> SimulatedState:
        """Return the state after the socket closes; some rows keep their last heartbeat."""
        beat_at = self.last_beat(at) if keeps_beat else None
        link = self if keeps_beat else replace(self, connected_at=None, pod_id=None)
        return replace(link, since=at, connection_id=None, beat_at=beat_at, is_beating=False, seen_at=at)

    def silent(self, at: int) -> SimulatedState:
        """Return the state without further heartbeats: asleep, or cut off."""
        beat_at = self.last_beat(at)
        return replace(self, since=at, beat_at=beat_at, is_beating=False, seen_at=at if beat_at is None else beat_at)

    def awake(self, at: int) -> SimulatedState:
        """Return the state with heartbeats on the same connection."""
        return replace(self, since=at, beat_at=at, is_beating=True)


class SimulatedEnvironment:
    """A machine with its schedule of states, which never changes before its end."""

    def __init__(self, machine: Machine, index: int, *states: SimulatedState) -> None:
        self.machine = machine
        self.index = index
        self._states = [*states]
        self.busy_until = self.last.since
        """No state may be added before this moment."""
        self._head = b""
        self._head_of: SimulatedState | None = None

    @property
    def last(self) -> SimulatedState:
        """The last scheduled state."""
        return self._states[-1]

    def add(self, *states: SimulatedState) -> None:
        """Append states to the schedule."""
        self._states.extend(states)
        self.busy_until = max(self.busy_until, self.last.since)

    def state(self, now: int) -> SimulatedState | None:
        """Return the state at a moment, None while unlisted."""
        place = bisect_right(self._states, now, key=attrgetter("since"))
        state = self._states[place - 1] if place else None
        return state if state is not None and state.is_listed else None

    def is_online(self, now: int) -> bool:
        """Return the official rule's answer."""
        state = self.state(now)
        return state is not None and is_online(state.connection_id, state.last_beat(now), now)

    def row(self, now: int) -> bytes | None:
        """Return the row as JSON, None while unlisted."""
        state = self.state(now)
        if state is None:
            return None
        if state is not self._head_of:
            self._head, self._head_of = self._encoded_head(state), state
        beat_at = state.last_beat(now)
        seen_at = beat_at if state.is_beating and beat_at is not None else state.seen_at
        return self._head + _TIMES % (_encoded(self._time(beat_at)), _encoded(self._time(seen_at)))

    def _encoded_head(self, state: SimulatedState) -> bytes:
        row: dict[str, object] = {
            **self.machine.identity,
            "connection_id": state.connection_id,
            "connected_at": self._time(state.connected_at),
            "pod_id": state.pod_id,
            "first_seen_at": self._time(self._states[0].since),
        }
        if state.mode is not None or self.index % 2:  # the API omits an unset mode, or sends null
            row["mode"] = state.mode
        if self.machine.metadata is not None:
            row["metadata"] = {
                Environment.version.key: state.version,
                Environment.node_version.key: self.machine.node,
                **({} if state.branch is None else {Environment.branch.key: state.branch}),
                **({} if state.directory is None else {Environment.working_directory.key: state.directory}),
                **self.machine.metadata,
                **{each.key: each.example(self.index) for each in METADATA_FIELDS.values() if each.examples},
            }
        row |= {each.name: each.example(self.index) for each in API_FIELDS.values() if each.examples}
        return _encode({wire_name(name): value for name, value in row.items()}).encode()[:-1]

    def _time(self, at: int | None) -> float | None:
        return at if at is None or self.machine.fraction is None else at - self.machine.fraction


def _encoded(time: float | None) -> bytes:
    return b"null" if time is None else repr(time).encode()
