"""What happens to the fleet in each scenario, in place of the opening and the calm life of the default story.

As in `fleet.py`, all depends on the seed, the size, the start and the moments at which listeners were started by hand,
and not on the moments at which clients poll. Knows nothing of listings, JSON and HTTP.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.demo.default_life import DefaultLife
from envwatch.demo.fleet import SimulatedFleet, beats
from envwatch.demo.machines import NEWEST_VERSION, UNRESTRICTED, connection_id, random_at
from envwatch.demo.scenarios import Scenario
from envwatch.demo.states import FOREVER, HEARTBEAT_MS
from envwatch.demo.times import HOUR_MS, MINUTE_MS, SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.demo.machines import Machine
    from envwatch.demo.scenarios import FleetSpec
    from envwatch.demo.states import SimulatedEnvironment, SimulatedState

_OLD_MS: Final = 25 * HOUR_MS
"""What has been down for so long at the start is an old loss, and no problem of this hour."""
_RECONNECTS_MS: Final = 10 * MINUTE_MS
"""A machine keeps a connection at least so long."""

_ROLLED_OUT: Final = "0.34.13"
_WAVES: Final = 3
_FIRST_WAVE_MS: Final = 8 * SECOND_MS
_WAVE_EVERY_MS: Final = 12 * SECOND_MS
_LOST_WHILE_BLIND_MS: Final = 95 * SECOND_MS
_FOUND_AGAIN_MS: Final = 6 * MINUTE_MS
_CALM_AFTER_NIGHT_MS: Final = 200 * SECOND_MS
_STARTED_BY_HAND: Final = -103
"""The random sequence of what follows when a listener is started."""


class CalmLife(SimulatedFleet):
    """A fleet in which nothing is lost: a version is rolled out, and agents change branches and modes."""

    def _begin(self) -> None:
        self._from(4 * SECOND_MS, self._stay_calm)
        self._from(10 * SECOND_MS, self._roll_out)

    def _first_state(self, machine: Machine, index: int) -> SimulatedState:
        """Return the state at the start: up, unless the machine was left long ago."""
        first = super()._first_state(machine, index)
        if first.is_beating or self._ages_from - first.seen_at >= _OLD_MS:
            return first
        random = random_at(self.spec.seed, (1 << 29) + index)
        connected_at = first.seen_at + 1
        link = first.connected(connected_at, connection_id(random), self._pod(index))
        return replace(link, since=first.since, beat_at=self.started_at - random.randrange(HEARTBEAT_MS))

    def _stay_calm(self, at: int) -> int:
        happen = self._one_of({self._change_branch: 3, self._change_safe_mode: 2, self._reconnect_old: 2})
        happen(at)
        return self._next(at, 7_000, 14_000)

    def _change_safe_mode(self, at: int) -> None:
        if chosen := self._idle(at, lambda each: beats(each) and each.last.mode not in {None, *UNRESTRICTED}):
            mode = "standard" if chosen.last.mode != "standard" else "acceptEdits"
            chosen.add(replace(chosen.last, since=at, mode=mode))

    def _reconnect_old(self, at: int) -> None:
        """Give a machine a new connection; none so often that it flaps, in a small fleet either."""
        if chosen := self._idle(at, lambda each: beats(each) and at - (each.last.connected_at or at) >= _RECONNECTS_MS):
            self._reconnect(chosen, at)

    def _roll_out(self, at: int) -> int:
        """Restart one machine with the new version; it is back before a poll can miss it."""
        if chosen := self._idle(at, lambda each: beats(each) and each.last.version == NEWEST_VERSION):
            self._reconnect(chosen, at, version=_ROLLED_OUT)
        return at + int(self._between(3_000, 7_000) * self._slowdown)


class OutageLife(CalmLife):
    """A fleet that loses a pod, which returns on a new one when the listener of one of its machines is started."""

    def _begin(self) -> None:
        self._lost: list[SimulatedEnvironment] = []
        self._by_hand = random_at(self.spec.seed, _STARTED_BY_HAND)
        self._from(self._between(7_000, 11_000), self._lose)
        self._from(30 * SECOND_MS, self._stay_calm)

    def _lose(self, at: int) -> int:
        self._lost = self._fallen_pod(at)
        for environment in self._lost:
            environment.add(environment.last.disconnected(at))
            environment.busy_until = FOREVER
        return FOREVER

    def _start_listener(self, environment: SimulatedEnvironment, at: int) -> bool:
        """Start a listener; if it was lost with the pod, the others follow it on the new one.

        A listener that follows another one may be started too, so that one key starts all of an incident.
        """
        self.advance(at)
        if not environment.last.is_listed or environment.machine.is_sandbox:
            return False
        if environment.last.is_beating:
            return not environment.is_online(at)
        self._connect(environment, at + self._by_hand.randrange(800, 1_500))
        if environment in self._lost:
            self._lost.remove(environment)
            for follower in self._lost:
                self._connect(follower, at + self._by_hand.randrange(2_000, 9_000))
            self._lost = []
        return True

    def _connect(self, environment: SimulatedEnvironment, at: int) -> None:
        environment.add(environment.last.connected(at, connection_id(self._by_hand), self._pod(environment.index)))
        environment.busy_until = at


class NightLife(CalmLife):
    """A fleet that a deploy restarts in waves; later it loses one machine while its server answers 503."""

    def _begin(self) -> None:
        self._from(_FIRST_WAVE_MS, self._deploy)
        self._from(_LOST_WHILE_BLIND_MS, self._lose_one)
        self._from(_CALM_AFTER_NIGHT_MS, self._stay_calm)

    def _deploy(self, at: int) -> int:
        """Restart every third environment with the new version."""
        wave = (at - self.started_at - _FIRST_WAVE_MS) // _WAVE_EVERY_MS
        for index in range(wave, self.spec.size, _WAVES):
            environment = self.environment(index)
            if environment.busy_until <= at and beats(environment):
                self._interrupt(environment, at, at + self._between(7_000, 13_000), _ROLLED_OUT)
        return at + _WAVE_EVERY_MS if wave + 1 < _WAVES else FOREVER

    def _lose_one(self, at: int) -> int:
        # The end of a sandbox is no loss.
        if chosen := self._idle(at, lambda each: beats(each) and not each.machine.is_sandbox):
            self._interrupt(chosen, at, self.started_at + _FOUND_AGAIN_MS)
        return FOREVER


_LIVES: Final[Mapping[Scenario | None, type[SimulatedFleet]]] = {
    None: DefaultLife,
    Scenario.CALM: CalmLife,
    Scenario.OUTAGE: OutageLife,
    Scenario.NIGHT: NightLife,
}
"""The life of each scenario; None for the default story."""


def simulated_fleet(spec: FleetSpec, started_at: int, ages_from: int | None = None) -> SimulatedFleet:
    """Return a fleet with the story of its scenario; the arguments are those of `SimulatedFleet`."""
    return _LIVES[spec.scenario](spec, started_at, ages_from)
