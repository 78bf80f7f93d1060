"""What happens in the demo fleet: an eventful opening of 20 seconds, then a calm life without end.

Every happening is written into the scripts of its environments before anybody can have asked for that moment, from
one sequence of dice. So the story depends on the seed, the size and the start alone, never on who asks when.
Knows nothing of listings, JSON and HTTP.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from envwatch.demo.machines import Machine, machine_at, random_at
from envwatch.demo.states import BEAT_MS, Environment, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

_S = 1_000
_MIN = 60 * _S
_HOUR = 60 * _MIN
_DAY = 24 * _HOUR
_FOREVER = 1 << 62

_UNRESTRICTED = ("unrestricted", "bypassPermissions", "fullAccess")
_MODES = ("standard", "standard", "standard", "acceptEdits", "acceptEdits", "unrestricted")
_BRANCHES = ("main", "main", "feat/search-v2", "feat/export", "fix/race-in-poller", "fix/login-loop", "chore/deps")


class Life:
    """All environments that ever were or will be, oldest first, and the script of each as far as it is written.

    Args:
        size: environments in the first listing. They are made when first asked for: 100,000 cost nothing at once.
        seed: a whole number; another one is another fleet.
        started_at: the moment the opening begins, in milliseconds since the epoch.
    """

    def __init__(self, *, size: int, seed: int, started_at: int) -> None:
        self._size = size
        self._seed = seed
        self._started_at = started_at
        self._dice = random_at(seed, -100)
        self._environments: list[Environment | None] = [None] * size
        self._pods = [f"p-{5 + number}" for number in range(max(1, size // 13))]
        self._pods_ever = len(self._pods)
        self._listed = size
        self._down_until: list[int] = []
        self._pace = min(4.0, max(0.1, (40 / max(1, size)) ** 0.35))
        self._agenda: list[tuple[int, int, Callable[[int], int]]] = []
        if size:
            self._open()
            self._agenda = [(started_at + 18 * _S, 0, self._live)]
        if size >= 12:
            self._agenda.append((started_at + 25 * _S, 1, self._flap))
        if size >= 26:
            self._agenda.append((started_at + 3 * _MIN, 2, self._lose_pod))

    def __len__(self) -> int:
        return len(self._environments)

    def environment(self, index: int) -> Environment:
        """The environment at an index, 0 the oldest; its index never changes."""
        environment = self._environments[index]
        if environment is None:
            machine = machine_at(self._seed, index, self._size)
            environment = Environment(machine, self._first_state(machine, index), index)
            self._environments[index] = environment
        return environment

    def advance(self, until: int) -> None:
        """Write all scripts up to and including a moment; a moment that is written already changes nothing."""
        while self._agenda and self._agenda[0][0] <= until:
            at, order, happen = heappop(self._agenda)
            heappush(self._agenda, (happen(at), order, happen))

    # How the fleet stands at the start.

    def _first_state(self, machine: Machine, index: int) -> State:
        random = random_at(self._seed, (1 << 31) + index)
        age = 2 * _HOUR + int(300 * _DAY * (1 - index / self._size) ** 2)
        first_seen_at = self._started_at - age
        connected_at = self._started_at - min(random.randrange(2 * _MIN, 8 * _DAY), age // 2)
        directory = machine.home if machine.branch is not None else None
        blank = State(
            since=first_seen_at,
            connection_id=None,
            connected_at=None,
            pod_id=None,
            beat_at=None,
            is_beating=False,
            seen_at=self._started_at - min(random.randrange(5 * _HOUR, 9 * _DAY), age // 3),
            mode=machine.mode,
            version=machine.version,
            branch=machine.branch,
            directory=directory,
        )
        if machine.presence == "away":
            return blank
        if machine.presence == "left":
            return replace(blank, beat_at=blank.seen_at)
        linked = replace(blank.linked(connected_at, _connection_id(random), self._pod(index)), since=first_seen_at)
        if machine.presence == "asleep":
            return replace(linked, connected_at=first_seen_at, beat_at=blank.seen_at, is_beating=False)
        return replace(linked, beat_at=self._started_at - random.randrange(BEAT_MS))

    # The opening: what a newcomer sees in the first 20 seconds, even at a poll every 5.

    def _open(self) -> None:
        scenes = (
            self._open_unrestricted,
            self._open_reconnect,
            self._open_late,
            self._open_disconnect,
            self._open_beat_loss,
            self._open_return,
        )
        for scene in scenes[: self._size // 2 + self._size % 2]:
            scene()
        self._arrive(self._started_at + self._between(13_000, 14_500))

    def _open_unrestricted(self) -> None:
        chosen = self._idle(self._started_at, lambda env: _beats(env) and env.last.mode not in _UNRESTRICTED)
        if chosen is not None:
            at = self._started_at + self._between(4_200, 5_500)
            chosen.add(replace(chosen.last, since=at, mode="unrestricted"))

    def _open_reconnect(self) -> None:
        chosen = self._idle(self._started_at, _beats)
        if chosen is not None:
            self._relink(chosen, self._started_at + self._between(11_000, 12_500))

    def _open_late(self) -> None:
        chosen = self._idle(self._started_at, _beats)
        if chosen is not None:
            beat_at = self._started_at - self._between(35_000, 38_000)
            silent = replace(chosen.last, since=beat_at, beat_at=beat_at, is_beating=False, seen_at=beat_at)
            chosen.add(silent, silent.awake(beat_at + self._between(75_000, 100_000)))

    def _open_disconnect(self) -> None:
        chosen = self._idle(self._started_at, _beats)
        if chosen is not None:
            at = self._started_at + self._between(6_000, 8_000)
            chosen.add(chosen.last.unlinked(at))
            self._relink(chosen, at + self._between(45_000, 90_000))

    def _open_beat_loss(self) -> None:
        chosen = self._idle(self._started_at, _beats)
        if chosen is not None:
            beat_at = self._started_at - self._between(112_500, 115_500)
            silent = replace(chosen.last, since=beat_at, beat_at=beat_at, is_beating=False, seen_at=beat_at)
            chosen.add(silent, silent.awake(self._started_at + self._between(50_000, 90_000)))

    def _open_return(self) -> None:
        chosen = self._idle(self._started_at, _beats)
        if chosen is not None:
            chosen.add(chosen.last.unlinked(self._started_at - self._between(3 * _MIN, 9 * _MIN)))
            self._relink(chosen, self._started_at + self._between(9_000, 11_000))

    # The calm life. Each happening answers when the next of its kind is due.

    def _live(self, at: int) -> int:
        happenings = (
            (self._disconnect, 11),
            (self._sleep, 11),
            (self._miss_a_beat, 14),
            (self._reconnect, 14),
            (self._upgrade, 10),
            (self._change_mode, 16),
            (self._change_branch, 16),
            (self._turn_over, 5),
            (self._return, 3),
        )
        happen = self._dice.choices([name for name, _ in happenings], [weight for _, weight in happenings])[0]
        happen(at)
        return at + int(self._between(8_000, 18_000) * self._pace)

    def _disconnect(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is None or not self._may_fall(at):
            self._reconnect(at)
            return
        is_long = self._dice.random() < 0.15
        back_at = at + (self._between(15 * _MIN, 50 * _MIN) if is_long else self._between(30_000, 150_000))
        chosen.add(chosen.last.unlinked(at, keeps_beat=self._dice.random() < 0.25))
        self._relink(chosen, back_at)
        self._down_until.append(back_at)

    def _sleep(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is None or not self._may_fall(at):
            self._reconnect(at)
            return
        awake_at = at + self._between(130_000, 360_000)
        asleep = chosen.last.silent(at)
        chosen.add(asleep, asleep.awake(awake_at))
        self._down_until.append(awake_at)

    def _miss_a_beat(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is not None:
            silent = chosen.last.silent(at)
            chosen.add(silent, silent.awake(silent.seen_at + self._between(55_000, 112_000)))

    def _reconnect(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is not None:
            self._relink(chosen, at)

    def _upgrade(self, at: int) -> None:
        newest = f"0.34.{12 + (at - self._started_at) // (40 * _MIN)}"
        chosen = self._idle(at, lambda env: _beats(env) and env.last.version != newest)
        if chosen is None:
            self._reconnect(at)
            return
        back_at = at
        if self._dice.random() < 0.6:  # the others are back before anybody looks
            chosen.add(chosen.last.unlinked(at))
            back_at += self._between(5_000, 9_000)
        link = chosen.last.linked(back_at, _connection_id(self._dice), self._pod(chosen.index))
        chosen.add(replace(link, version=newest))

    def _change_mode(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is not None:
            others = [mode for mode in _MODES if mode != chosen.last.mode]
            chosen.add(replace(chosen.last, since=at, mode=self._dice.choice(others)))

    def _change_branch(self, at: int) -> None:
        chosen = self._idle(at, _beats)
        if chosen is not None:
            branch = self._dice.choice([branch for branch in _BRANCHES if branch != chosen.last.branch])
            chosen.add(replace(chosen.last, since=at, branch=branch, directory=chosen.machine.home))

    def _turn_over(self, at: int) -> None:
        if self._listed <= self._size:
            self._arrive(at)
            return
        chosen = self._idle(at, lambda env: not _beats(env)) or self._idle(at, lambda env: env.machine.is_sandbox)
        if chosen is not None:
            chosen.add(replace(chosen.last, since=at, is_listed=False))
            chosen.busy_until = _FOREVER
            self._listed -= 1

    def _return(self, at: int) -> None:
        chosen = self._idle(at, lambda env: not _beats(env))
        if chosen is None:
            self._reconnect(at)
        else:
            self._relink(chosen, at)

    def _flap(self, at: int) -> int:
        """One machine with a bad cable: offline and back every minute or so, for 12 minutes."""
        chosen = self._idle(at, _beats)
        end = at + 12 * _MIN
        while chosen is not None and at < end:
            chosen.add(chosen.last.unlinked(at))
            self._relink(chosen, at + self._between(12_000, 40_000))
            at = chosen.last.since + self._between(15_000, 55_000)
        return end + self._between(8 * _MIN, 20 * _MIN)

    def _lose_pod(self, at: int) -> int:
        """A pod of the platform dies: its environments are lost together and come back on the one in its place."""
        places = self._dice.sample(range(len(self._pods)), k=min(3, len(self._pods)))
        lost = max((list(self._idle_on_pod(place, at)) for place in places), key=len)
        if lost:
            self._pods_ever += 1
            self._pods[lost[0].index % len(self._pods)] = f"p-{4 + self._pods_ever}"
        for environment in lost:
            environment.add(environment.last.unlinked(at))
            self._relink(environment, at + self._between(9_000, 35_000))
        return at + self._between(9 * _MIN, 15 * _MIN)

    # What the happenings have in common.

    def _between(self, low: int, high: int) -> int:
        return self._dice.randrange(low, high)

    def _idle(self, at: int, is_wanted: Callable[[Environment], bool]) -> Environment | None:
        """Some environment without plans; `None` when a fair number of throws finds none."""
        for _ in range(60):
            environment = self.environment(self._dice.randrange(len(self)))
            if environment.busy_until <= at and is_wanted(environment):
                return environment
        return None

    def _idle_on_pod(self, place: int, at: int) -> Iterator[Environment]:
        for index in range(place, len(self), len(self._pods)):
            environment = self.environment(index)
            if environment.busy_until <= at and _beats(environment):
                yield environment

    def _may_fall(self, at: int) -> bool:
        """Whether few enough are down at once: most of the fleet stays online, whatever the dice say."""
        self._down_until = [until for until in self._down_until if until > at]
        return len(self._down_until) < max(1, self._size // 10)

    def _pod(self, index: int) -> str:
        return self._pods[index % len(self._pods)]

    def _relink(self, environment: Environment, at: int) -> None:
        environment.add(environment.last.linked(at, _connection_id(self._dice), self._pod(environment.index)))

    def _arrive(self, at: int) -> None:
        """A machine registers for the first time; its mode and branch are known once an agent has run there."""
        index = len(self)
        machine = machine_at(self._seed, index, self._size)
        fresh = State(
            since=at,
            connection_id=_connection_id(self._dice),
            connected_at=at,
            pod_id=self._pod(index),
            beat_at=at,
            is_beating=True,
            seen_at=at,
            mode=None,
            version=machine.version,
            branch=None,
            directory=None,
        )
        environment = Environment(machine, fresh, index)
        first_run_at = at + self._between(60_000, 150_000)
        first_run = replace(fresh, since=first_run_at, mode="standard", branch="main", directory=machine.home)
        environment.add(first_run)
        self._environments.append(environment)
        self._listed += 1


def _beats(environment: Environment) -> bool:
    return environment.last.is_beating


def _connection_id(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"conn-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
