"""What happens in the demo fleet: an eventful opening of 20 seconds, then a calm life without end.

`Life` schedules the states of all environments ahead of the moment that is asked for, from one random sequence. The
story thus depends on the seed, the size and the start alone, and not on the moments at which clients poll. Knows
nothing of listings, JSON and HTTP.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from envwatch.demo.day_before import UNRESTRICTED, DayBefore
from envwatch.demo.machines import Machine, connection_id, machine_at, random_at
from envwatch.demo.states import FOREVER, HEARTBEAT_MS, SimulatedEnvironment, State

if TYPE_CHECKING:
    from collections.abc import Callable

_S = 1_000
_MIN = 60 * _S
_HOUR = 60 * _MIN
_DAY = 24 * _HOUR

_MODES = ("standard", "standard", "standard", "acceptEdits", "acceptEdits", "unrestricted")
_BRANCHES = ("main", "main", "feat/search-v2", "feat/export", "fix/race-in-poller", "fix/login-loop", "chore/deps")


def beats(environment: SimulatedEnvironment) -> bool:
    """Whether its heartbeats go on at the end of its schedule."""
    return environment.last.is_beating


def _is_silent(environment: SimulatedEnvironment) -> bool:
    return not environment.last.is_beating


class Life:
    """All environments that ever were or will be, oldest first, each with its schedule so far.

    Args:
        size: environments in the first listing. They are made when first used: 100,000 cost nothing at once.
        seed: a whole number; another one is another fleet.
        started_at: the moment the opening begins, in milliseconds since the epoch.
        time_of_day: of that moment, in milliseconds since midnight; None for a life without the day before.
    """

    def __init__(self, *, size: int, seed: int, started_at: int, time_of_day: int | None = None) -> None:
        self._size = size
        self._seed = seed
        self._started_at = started_at
        self._random = random_at(seed, -100)
        self._environments: list[SimulatedEnvironment | None] = [None] * size
        self._pods = [f"p-{5 + number}" for number in range(max(1, size // 13))]
        self._pod_count = len(self._pods)
        self._listed_count = size
        self._down_until: list[int] = []
        self.day_before: DayBefore | None = None
        if time_of_day is not None:
            self.day_before = DayBefore(
                size=size,
                seed=seed,
                started_at=started_at,
                time_of_day=time_of_day,
                first_state=self._first_state,
                pods=self._pods,
            )
        self._slowdown = min(4.0, max(0.1, (40 / max(1, size)) ** 0.35))
        self._agenda: list[tuple[int, int, Callable[[int], int]]] = []
        if size:
            self._begin()

    def _begin(self) -> None:
        """Schedule what happens by itself; the agenda is a heap of moments, each with the next thing that happens."""
        self._open()
        self._agenda = [(self._started_at + 18 * _S, 0, self._live)]
        if self._size >= 12:
            self._agenda.append((self._started_at + 25 * _S, 1, self._flap))
        if self._size >= 26:
            self._agenda.append((self._started_at + 3 * _MIN, 2, self._lose_pod))

    def __len__(self) -> int:
        return len(self._environments)

    def environment(self, index: int) -> SimulatedEnvironment:
        """Return the environment at an index, 0 the oldest; its index never changes."""
        environment = self._environments[index]
        if environment is None:
            machine = machine_at(self._seed, index, self._size)
            first = self._first_state(machine, index)
            states = [first] if self.day_before is None else self.day_before.states(machine, first, index)
            environment = SimulatedEnvironment(machine, states[0], index)
            environment.add(*states[1:])
            self._environments[index] = environment
        return environment

    def advance(self, until: int) -> None:
        """Complete all schedules up to and including a moment."""
        while self._agenda and self._agenda[0][0] <= until:
            at, order, happen = heappop(self._agenda)
            heappush(self._agenda, (happen(at), order, happen))

    def start_listener(self, environment: SimulatedEnvironment, at: int) -> bool:  # noqa: ARG002 - of some lives
        """Start the listener of a machine that is down, as a person there would; whether that can be done."""
        return False

    def _first_state(self, machine: Machine, index: int) -> State:
        random = random_at(self._seed, (1 << 31) + index)
        age = 2 * _HOUR + int(300 * _DAY * (1 - index / self._size) ** 2)
        first_seen_at = self._started_at - age
        connected_at = self._started_at - min(random.randrange(2 * _MIN, 8 * _DAY), age // 2)
        away = State(
            since=first_seen_at,
            seen_at=self._started_at - min(random.randrange(5 * _HOUR, 9 * _DAY), age // 3),
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

    # The opening: one of each kind of event within 20 seconds, at a poll every 5 seconds too.

    def _open(self) -> None:
        scenes: tuple[Callable[[SimulatedEnvironment], None], ...] = (
            self._open_unrestricted,
            lambda chosen: self._reconnect(chosen, self._started_at + self._between(11_000, 12_500)),
            self._open_late,
            self._open_disconnect,
            self._open_heartbeat_lost,
            self._open_return,
        )
        for scene in scenes[: self._size // 2 + self._size % 2]:
            is_eligible = _is_restricted if scene == self._open_unrestricted else beats
            if (chosen := self._idle(self._started_at, is_eligible)) is not None:
                scene(chosen)
        self._arrive(self._started_at + self._between(13_000, 14_500))

    def _open_unrestricted(self, chosen: SimulatedEnvironment) -> None:
        at = self._started_at + self._between(4_200, 5_500)
        chosen.add(replace(chosen.last, since=at, mode="unrestricted"))

    def _open_late(self, chosen: SimulatedEnvironment) -> None:
        beat_at = self._started_at - self._between(35_000, 38_000)
        _silence(chosen, beat_at, until=beat_at + self._between(75_000, 100_000))

    def _open_disconnect(self, chosen: SimulatedEnvironment) -> None:
        at = self._started_at + self._between(6_000, 8_000)
        chosen.add(chosen.last.disconnected(at))
        self._reconnect(chosen, at + self._between(45_000, 90_000))

    def _open_heartbeat_lost(self, chosen: SimulatedEnvironment) -> None:
        beat_at = self._started_at - self._between(112_500, 115_500)
        _silence(chosen, beat_at, until=self._started_at + self._between(50_000, 90_000))

    def _open_return(self, chosen: SimulatedEnvironment) -> None:
        chosen.add(chosen.last.disconnected(self._started_at - self._between(3 * _MIN, 9 * _MIN)))
        self._reconnect(chosen, self._started_at + self._between(9_000, 11_000))

    # The calm life. `_live`, `_flap` and `_lose_pod` return when they are due again.

    def _live(self, at: int) -> int:
        happenings = {
            self._disconnect: 11,
            self._sleep: 11,
            self._miss_heartbeat: 14,
            self._reconnect_one: 14,
            self._upgrade: 10,
            self._change_mode: 16,
            self._change_branch: 16,
            self._turn_over: 5,
            self._return: 3,
        }
        happen = self._random.choices([*happenings], [*happenings.values()])[0]
        happen(at)
        return at + int(self._between(8_000, 18_000) * self._slowdown)

    def _disconnect(self, at: int) -> None:
        if (chosen := self._idle_that_may_fall(at)) is None:
            self._reconnect_one(at)
            return
        is_long = self._random.random() < 0.15
        back_at = at + (self._between(15 * _MIN, 50 * _MIN) if is_long else self._between(30_000, 150_000))
        chosen.add(chosen.last.disconnected(at, keeps_beat=self._random.random() < 0.25))
        self._reconnect(chosen, back_at)
        self._down_until.append(back_at)

    def _sleep(self, at: int) -> None:
        if (chosen := self._idle_that_may_fall(at)) is None:
            self._reconnect_one(at)
            return
        awake_at = at + self._between(130_000, 360_000)
        asleep = chosen.last.silent(at)
        chosen.add(asleep, asleep.awake(awake_at))
        self._down_until.append(awake_at)

    def _miss_heartbeat(self, at: int) -> None:
        if chosen := self._idle(at, beats):
            silent = chosen.last.silent(at)
            chosen.add(silent, silent.awake(silent.seen_at + self._between(55_000, 112_000)))

    def _reconnect_one(self, at: int) -> None:
        if chosen := self._idle(at, beats):
            self._reconnect(chosen, at)

    def _upgrade(self, at: int) -> None:
        newest = f"0.34.{12 + (at - self._started_at) // (40 * _MIN)}"
        chosen = self._idle(at, lambda each: beats(each) and each.last.version != newest)
        if chosen is None:
            self._reconnect_one(at)
            return
        back_at = at
        if self._random.random() < 0.6:  # the others are back before the next poll
            chosen.add(chosen.last.disconnected(at))
            back_at += self._between(5_000, 9_000)
        self._reconnect(chosen, back_at, version=newest)

    def _change_mode(self, at: int) -> None:
        if chosen := self._idle(at, beats):
            mode = self._random.choice([mode for mode in _MODES if mode != chosen.last.mode])
            chosen.add(replace(chosen.last, since=at, mode=mode))

    def _change_branch(self, at: int) -> None:
        if chosen := self._idle(at, beats):
            branch = self._random.choice([branch for branch in _BRANCHES if branch != chosen.last.branch])
            chosen.add(replace(chosen.last, since=at, branch=branch, directory=chosen.machine.home))

    def _turn_over(self, at: int) -> None:
        if self._listed_count <= self._size:
            self._arrive(at)
        elif chosen := self._idle(at, _is_silent) or self._idle(at, lambda each: each.machine.is_sandbox):
            chosen.add(replace(chosen.last, since=at, is_listed=False))
            chosen.busy_until = FOREVER
            self._listed_count -= 1

    def _return(self, at: int) -> None:
        if chosen := self._idle(at, _is_silent) or self._idle(at, beats):
            self._reconnect(chosen, at)

    def _flap(self, at: int) -> int:
        """Take one machine offline and back every minute or so, for 12 minutes."""
        chosen = self._idle(at, beats)
        end = at + 12 * _MIN
        while chosen is not None and at < end:
            chosen.add(chosen.last.disconnected(at))
            self._reconnect(chosen, at + self._between(12_000, 40_000))
            at = chosen.last.since + self._between(15_000, 55_000)
        return end + self._between(8 * _MIN, 20 * _MIN)

    def _lose_pod(self, at: int) -> int:
        """Replace a pod of the platform: its environments go offline at once and return on the new one."""
        for environment in self._fallen_pod(at):
            environment.add(environment.last.disconnected(at))
            self._reconnect(environment, at + self._between(9_000, 35_000))
        return at + self._between(9 * _MIN, 15 * _MIN)

    def _fallen_pod(self, at: int) -> list[SimulatedEnvironment]:
        """Choose a pod with many environments up and without plans, give its place to a new one, and return them."""
        places = self._random.sample(range(len(self._pods)), k=min(3, len(self._pods)))
        on_pods = [map(self.environment, range(place, len(self), len(self._pods))) for place in places]
        lost = max(([each for each in pod if each.busy_until <= at and beats(each)] for pod in on_pods), key=len)
        if lost:
            self._pod_count += 1
            self._pods[lost[0].index % len(self._pods)] = f"p-{4 + self._pod_count}"
        return lost

    # Shared by opening and calm life.

    def _between(self, low: int, high: int) -> int:
        return self._random.randrange(low, high)

    def _idle(self, at: int, is_eligible: Callable[[SimulatedEnvironment], bool]) -> SimulatedEnvironment | None:
        """Return a random environment without plans, None if 60 tries find none."""
        for _ in range(60):
            environment = self.environment(self._random.randrange(len(self)))
            if environment.busy_until <= at and is_eligible(environment):
                return environment
        return None

    def _idle_that_may_fall(self, at: int) -> SimulatedEnvironment | None:
        """Return a random environment that may go down; None while a tenth of the fleet is down."""
        chosen = self._idle(at, beats)
        self._down_until = [until for until in self._down_until if until > at]
        return chosen if len(self._down_until) < max(1, self._size // 10) else None

    def _pod(self, index: int) -> str:
        return self._pods[index % len(self._pods)]

    def _reconnect(self, environment: SimulatedEnvironment, at: int, version: str | None = None) -> None:
        link = environment.last.connected(at, connection_id(self._random), self._pod(environment.index))
        environment.add(replace(link, version=version or link.version))

    def _arrive(self, at: int) -> None:
        """Register a new machine; it has no mode and branch until an agent has run there."""
        index = len(self)
        machine = machine_at(self._seed, index, self._size)
        fresh = State(since=at, seen_at=at, version=machine.version)
        fresh = fresh.connected(at, connection_id(self._random), self._pod(index))
        environment = SimulatedEnvironment(machine, fresh, index)
        first_run_at = at + self._between(60_000, 150_000)
        environment.add(replace(fresh, since=first_run_at, mode="standard", branch="main", directory=machine.home))
        self._environments.append(environment)
        self._listed_count += 1


def _is_restricted(environment: SimulatedEnvironment) -> bool:
    return beats(environment) and environment.last.mode not in UNRESTRICTED


def _silence(environment: SimulatedEnvironment, beat_at: int, *, until: int) -> None:
    """Make `beat_at` the last heartbeat until the next one."""
    silent = replace(environment.last, since=beat_at, beat_at=beat_at, is_beating=False, seen_at=beat_at)
    environment.add(silent, silent.awake(until))
