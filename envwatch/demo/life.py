"""The environments of the demo fleet, and how a story schedules what happens to them.

`Life` schedules the states of all environments ahead of the moment that is asked for, from one random sequence. A story
(`default_life.py`, `scenario_life.py`) thus depends on the fleet and the start alone, and not on the moments at which
clients poll. Knows nothing of listings, JSON and HTTP.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappush, heapreplace
from itertools import count, islice
from typing import TYPE_CHECKING

from envwatch.demo.day_before import DayBefore
from envwatch.demo.machines import connection_id, machine_at, random_at
from envwatch.demo.states import HEARTBEAT_MS, SimulatedEnvironment, SimulatedState
from envwatch.demo.times import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.demo.machines import Machine
    from envwatch.demo.scenarios import FleetSpec

_BRANCHES = ("main", "main", "feat/search-v2", "feat/export", "fix/race-in-poller", "fix/login-loop", "chore/deps")


def beats(environment: SimulatedEnvironment) -> bool:
    """Whether its heartbeats go on at the end of its schedule."""
    return environment.last.is_beating


class Life:
    """All environments that ever were or will be, oldest first, each with its schedule so far.

    Args:
        spec: its environments are made when first used: 100,000 cost nothing at once.
        started_at: the moment the story begins, in milliseconds since the epoch.
        time_of_day: of that moment, in milliseconds since midnight; None for a life without the day before.
    """

    def __init__(self, spec: FleetSpec, started_at: int, time_of_day: int | None = None) -> None:
        self._spec = spec
        self._started_at = started_at
        self._random = random_at(spec.seed, -100)
        self._environments: list[SimulatedEnvironment | None] = [None] * spec.size
        self._new_pods = (f"p-{number}" for number in count(5))
        self._pods = [*islice(self._new_pods, max(1, spec.size // 13))]
        """An environment is on that of its index, modulo their number."""
        self.day_before: DayBefore | None = None
        if time_of_day is not None:
            self.day_before = DayBefore(spec, started_at, time_of_day, at_start=self._at_start, pods=self._pods)
        self._slowdown = min(4.0, max(0.1, (40 / max(1, spec.size)) ** 0.35))
        self._agenda: list[tuple[int, int, Callable[[int], int]]] = []
        if spec.size:
            self._begin()

    def _begin(self) -> None:
        """Put on the agenda what happens in this story."""
        raise NotImplementedError

    def _from(self, elapsed_ms: int, happen: Callable[[int], int]) -> None:
        """Put on the agenda what happens first so long after the start, and returns when it happens again."""
        heappush(self._agenda, (self._started_at + elapsed_ms, len(self._agenda), happen))

    def __len__(self) -> int:
        return len(self._environments)

    def environment(self, index: int) -> SimulatedEnvironment:
        """Return the environment at an index, 0 the oldest; its index never changes."""
        environment = self._environments[index]
        if environment is None:
            environment = self._at_start(index)
            if self.day_before is not None:
                environment = SimulatedEnvironment(environment.machine, index, *self.day_before.states(environment))
            self._environments[index] = environment
        return environment

    def advance(self, until: int) -> None:
        """Complete all schedules up to and including a moment."""
        while self._agenda and self._agenda[0][0] <= until:
            at, order, happen = self._agenda[0]
            heapreplace(self._agenda, (happen(at), order, happen))

    def start_listener(self, environment: SimulatedEnvironment, at: int) -> bool:  # noqa: ARG002 - of some lives
        """Start the listener of a machine that is down, as a person there would; whether that can be done."""
        return False

    def _at_start(self, index: int) -> SimulatedEnvironment:
        """Return an environment as the story finds it."""
        machine = machine_at(self._spec, index)
        return SimulatedEnvironment(machine, index, self._first_state(machine, index))

    def _first_state(self, machine: Machine, index: int) -> SimulatedState:
        random = random_at(self._spec.seed, (1 << 31) + index)
        age = 2 * HOUR_MS + int(300 * DAY_MS * (1 - index / self._spec.size) ** 2)
        first_seen_at = self._started_at - age
        connected_at = self._started_at - min(random.randrange(2 * MINUTE_MS, 8 * DAY_MS), age // 2)
        away = SimulatedState(
            since=first_seen_at,
            seen_at=self._started_at - min(random.randrange(5 * HOUR_MS, 9 * DAY_MS), age // 3),
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
        return replace(linked, beat_at=self._started_at - random.randrange(HEARTBEAT_MS))

    # Which environments.

    def _idle(
        self, at: int, is_eligible: Callable[[SimulatedEnvironment], bool] = beats
    ) -> SimulatedEnvironment | None:
        """Return a random environment without plans, None if 60 tries find none."""
        for _ in range(60):
            environment = self.environment(self._random.randrange(len(self)))
            if environment.busy_until <= at and is_eligible(environment):
                return environment
        return None

    def _fallen_pod(self, at: int) -> list[SimulatedEnvironment]:
        """Choose a pod with many environments up and without plans, give its place to a new one, and return them."""
        places = self._random.sample(range(len(self._pods)), k=min(3, len(self._pods)))
        on_pods = [map(self.environment, range(place, len(self), len(self._pods))) for place in places]
        lost = max(([each for each in pod if each.busy_until <= at and beats(each)] for pod in on_pods), key=len)
        if lost:
            self._pods[lost[0].index % len(self._pods)] = next(self._new_pods)
        return lost

    # What happens to them.

    def _between(self, low: int, high: int) -> int:
        return self._random.randrange(low, high)

    def _pod(self, index: int) -> str:
        return self._pods[index % len(self._pods)]

    def _one_of(self, weights: Mapping[Callable[[int], None], int]) -> Callable[[int], None]:
        (happen,) = self._random.choices([*weights], [*weights.values()])
        return happen

    def _next(self, at: int, low: int, high: int) -> int:
        """Return when something happens again: after some time in a fleet of 40, less often in a smaller one."""
        return at + int(self._between(low, high) * self._slowdown)

    def _reconnect(self, environment: SimulatedEnvironment, at: int, version: str | None = None) -> None:
        link = environment.last.connected(at, connection_id(self._random), self._pod(environment.index))
        environment.add(replace(link, version=version or link.version))

    def _interrupt(self, environment: SimulatedEnvironment, at: int, until: int, version: str | None = None) -> None:
        """Disconnect an environment, and connect it again."""
        environment.add(environment.last.disconnected(at))
        self._reconnect(environment, until, version)

    def _change_branch(self, at: int) -> None:
        if chosen := self._idle(at):
            branch = self._random.choice([branch for branch in _BRANCHES if branch != chosen.last.branch])
            chosen.add(replace(chosen.last, since=at, branch=branch, directory=chosen.machine.home))
