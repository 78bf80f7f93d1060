"""The demo's stories: the default story (an eventful opening, then calm life without end) and the scenarios."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.demo.fleet import FOREVER, HEARTBEAT_MS, SimulatedEnvironment, SimulatedFleet, SimulatedState, beats
from envwatch.demo.machines import NEWEST_VERSION, UNRESTRICTED, Machine, connection_id, machine_at, random_at, renamed
from envwatch.demo.scenarios import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, FleetSpec, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping


_CLOSED_LAPTOP: Final = "hiro-macbook-air"
"""The laptop of the default story that somebody closed before the opening."""
_CLOSED_AGO_MS: Final = 2 * HOUR_MS + 40 * MINUTE_MS
_OPEN_FOR_MS: Final = 3 * DAY_MS

_MODES = ("standard", "standard", "standard", "acceptEdits", "acceptEdits", "unrestricted")
_LEAST_WITH_FLAPPING = 12
_LEAST_WITH_PODS = 26
"""Smallest fleets with a flapping machine, and with lost pods and renamed machines."""


def _is_silent(environment: SimulatedEnvironment) -> bool:
    return not beats(environment)


def _is_server(environment: SimulatedEnvironment) -> bool:
    """Whether the loss of an environment needs a person."""
    return beats(environment) and environment.machine.is_server


def _is_restricted(environment: SimulatedEnvironment) -> bool:
    return beats(environment) and environment.last.mode not in UNRESTRICTED


class DefaultLife(SimulatedFleet):
    """A fleet with each kind of event in the first 20 seconds, then occasional events."""

    def _first_state(self, machine: Machine, index: int) -> SimulatedState:
        state = super()._first_state(machine, index)
        if machine.identity["name"] != _CLOSED_LAPTOP:
            return state
        closed_at = self.started_at - _CLOSED_AGO_MS
        return replace(state, seen_at=closed_at, beat_at=closed_at, connected_at=self._ages_from - _OPEN_FOR_MS)

    def _begin(self) -> None:
        self._listed_count = self.spec.size
        self._down_until: list[int] = []
        self._renames = random_at(self.spec.seed, -101)
        self._open()
        self._from(18 * SECOND_MS, self._live)
        if self.spec.size >= _LEAST_WITH_FLAPPING:
            self._from(25 * SECOND_MS, self._flap)
        if self.spec.size >= _LEAST_WITH_PODS:
            self._from(3 * MINUTE_MS, self._lose_pod)
            self._from(100 * SECOND_MS, self._rename)

    def _open(self) -> None:
        scenes = (
            (_is_restricted, self._open_unrestricted),
            (beats, self._open_reconnect),
            (beats, self._open_late),
            (_is_server, self._open_disconnect),
            (_is_server, self._open_heartbeat_lost),
            (_is_server, self._open_return),
        )
        for is_eligible, scene in scenes[: (self.spec.size + 1) // 2]:
            if chosen := self._idle(self.started_at, is_eligible):
                scene(chosen)
        self._arrive(self.started_at + self._between(13_000, 14_500))

    def _open_unrestricted(self, chosen: SimulatedEnvironment) -> None:
        at = self.started_at + self._between(4_200, 5_500)
        chosen.add(replace(chosen.last, since=at, mode="unrestricted"))

    def _open_reconnect(self, chosen: SimulatedEnvironment) -> None:
        self._reconnect(chosen, self.started_at + self._between(11_000, 12_500))

    def _open_late(self, chosen: SimulatedEnvironment) -> None:
        beat_at = self.started_at - self._between(35_000, 38_000)
        _silence(chosen, beat_at, until=beat_at + self._between(75_000, 100_000))

    def _open_disconnect(self, chosen: SimulatedEnvironment) -> None:
        at = self.started_at + self._between(6_000, 8_000)
        self._interrupt(chosen, at, at + self._between(45_000, 90_000))

    def _open_heartbeat_lost(self, chosen: SimulatedEnvironment) -> None:
        beat_at = self.started_at - self._between(112_500, 115_500)
        _silence(chosen, beat_at, until=self.started_at + self._between(50_000, 90_000))

    def _open_return(self, chosen: SimulatedEnvironment) -> None:
        at = self.started_at - self._between(3 * MINUTE_MS, 9 * MINUTE_MS)
        self._interrupt(chosen, at, self.started_at + self._between(9_000, 11_000))

    def _live(self, at: int) -> int:
        happen = self._one_of({
            self._disconnect: 11,
            self._sleep: 11,
            self._miss_heartbeat: 14,
            self._reconnect_one: 14,
            self._upgrade: 10,
            self._change_mode: 16,
            self._change_branch: 16,
            self._turn_over: 5,
            self._return: 3,
        })  # fmt: skip
        happen(at)
        return self._next(at, 8_000, 18_000)

    def _disconnect(self, at: int) -> None:
        if chosen := self._idle_that_may_fall(at):
            is_long = self._random.random() < 0.15
            duration = self._between(15 * MINUTE_MS, 50 * MINUTE_MS) if is_long else self._between(30_000, 150_000)
            chosen.add(chosen.last.disconnected(at, keeps_beat=self._random.random() < 0.25))
            self._reconnect(chosen, at + duration)
            self._down_until.append(at + duration)
        else:
            self._reconnect_one(at)

    def _sleep(self, at: int) -> None:
        if chosen := self._idle_that_may_fall(at):
            awake_at = at + self._between(130_000, 360_000)
            asleep = chosen.last.silent(at)
            chosen.add(asleep, asleep.awake(awake_at))
            self._down_until.append(awake_at)
        else:
            self._reconnect_one(at)

    def _idle_that_may_fall(self, at: int) -> SimulatedEnvironment | None:
        """Return a random environment that may go down; None while a tenth of the fleet is down."""
        chosen = self._idle(at)
        self._down_until = [until for until in self._down_until if until > at]
        return chosen if len(self._down_until) < max(1, self.spec.size // 10) else None

    def _miss_heartbeat(self, at: int) -> None:
        if chosen := self._idle(at):
            silent = chosen.last.silent(at)
            chosen.add(silent, silent.awake(silent.seen_at + self._between(55_000, 112_000)))

    def _reconnect_one(self, at: int) -> None:
        if chosen := self._idle(at):
            self._reconnect(chosen, at)

    def _upgrade(self, at: int) -> None:
        newest = f"0.34.{12 + (at - self.started_at) // (40 * MINUTE_MS)}"
        chosen = self._idle(at, lambda each: beats(each) and each.last.version != newest)
        if chosen is None:
            self._reconnect_one(at)
        elif self._random.random() < 0.6:
            self._interrupt(chosen, at, at + self._between(5_000, 9_000), newest)
        else:
            self._reconnect(chosen, at, newest)

    def _change_mode(self, at: int) -> None:
        if chosen := self._idle(at):
            mode = self._random.choice([mode for mode in _MODES if mode != chosen.last.mode])
            chosen.add(replace(chosen.last, since=at, mode=mode))

    def _turn_over(self, at: int) -> None:
        if self._listed_count <= self.spec.size:
            self._arrive(at)
        elif chosen := self._idle(at, _is_silent) or self._idle(at, lambda each: each.machine.is_sandbox):
            chosen.add(replace(chosen.last, since=at, is_listed=False))
            chosen.busy_until = FOREVER
            self._listed_count -= 1

    def _return(self, at: int) -> None:
        if chosen := self._idle(at, _is_silent) or self._idle(at):
            self._reconnect(chosen, at)

    def _flap(self, at: int) -> int:
        """Interrupt one machine about once a minute, for 12 minutes."""
        chosen = self._idle(at, _is_server)
        end = at + 12 * MINUTE_MS
        while chosen is not None and at < end:
            self._interrupt(chosen, at, at + self._between(12_000, 40_000))
            at = chosen.last.since + self._between(15_000, 55_000)
        return end + self._between(8 * MINUTE_MS, 20 * MINUTE_MS)

    def _lose_pod(self, at: int) -> int:
        for environment in self._fallen_pod(at):
            self._interrupt(environment, at, at + self._between(9_000, 35_000))
        return at + self._between(9 * MINUTE_MS, 15 * MINUTE_MS)

    def _rename(self, at: int) -> int:
        """Add the new name's row; the platform drops the old row after 5 minutes offline."""
        chosen = next(
            (each for each in map(self.environment, range(len(self))) if self._can_be_renamed(each, at)), None
        )
        if chosen is None:
            return at + MINUTE_MS
        index, back_at = len(self), at + 4 * SECOND_MS
        machine = renamed(chosen.machine, self.spec, index)
        link = replace(chosen.last, since=back_at).connected(back_at, connection_id(self._renames), self._pod(index))
        self._environments.append(SimulatedEnvironment(machine, index, link))
        gone = chosen.last.disconnected(at)
        chosen.add(gone, replace(gone, since=at + 5 * MINUTE_MS, is_listed=False))
        chosen.busy_until = FOREVER
        return FOREVER

    def _can_be_renamed(self, environment: SimulatedEnvironment, at: int) -> bool:
        """Whether an idle machine has a single listener, named by `letta server`."""
        has_name = environment.machine.identity.get("listener_instance_id", "").startswith("server-")
        is_machine = has_name and not environment.machine.is_sandbox
        return is_machine and environment.busy_until <= at and beats(environment) and not self._has_twin(environment)

    def _has_twin(self, environment: SimulatedEnvironment) -> bool:
        device = environment.machine.identity["device_id"]
        beside = range(max(environment.index - 1, 0), min(environment.index + 2, len(self)))
        return sum(self.environment(index).machine.identity["device_id"] == device for index in beside) > 1

    def _arrive(self, at: int) -> None:
        """Register a new machine, without mode and branch until the first agent run."""
        index = len(self)
        machine = machine_at(self.spec, index)
        fresh = SimulatedState(since=at, seen_at=at, version=machine.version)
        fresh = fresh.connected(at, connection_id(self._random), self._pod(index))
        first_run_at = at + self._between(60_000, 150_000)
        run = replace(fresh, since=first_run_at, mode="standard", branch="main", directory=machine.home)
        self._environments.append(SimulatedEnvironment(machine, index, fresh, run))
        self._listed_count += 1


def _silence(environment: SimulatedEnvironment, beat_at: int, *, until: int) -> None:
    silent = replace(environment.last, beat_at=beat_at).silent(beat_at)
    environment.add(silent, silent.awake(until))


_OLD_MS: Final = 25 * HOUR_MS
"""An older loss is no current problem."""
_RECONNECTS_MS: Final = 10 * MINUTE_MS

_ROLLED_OUT: Final = "0.34.13"
_WAVES: Final = 3
_FIRST_WAVE_MS: Final = 8 * SECOND_MS
_WAVE_EVERY_MS: Final = 12 * SECOND_MS
_LOST_WHILE_BLIND_MS: Final = 95 * SECOND_MS
_FOUND_AGAIN_MS: Final = 6 * MINUTE_MS
_CALM_AFTER_NIGHT_MS: Final = 200 * SECOND_MS
_STARTED_BY_HAND: Final = -103
"""Random sequence for listeners started by hand."""


class CalmLife(SimulatedFleet):
    """A fleet without losses: a version is rolled out, agents change branches and modes."""

    def _begin(self) -> None:
        self._from(4 * SECOND_MS, self._stay_calm)
        self._from(10 * SECOND_MS, self._roll_out)

    def _first_state(self, machine: Machine, index: int) -> SimulatedState:
        """Return the state at the start: up, except for long-lost machines."""
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
        """Renew an old connection: a small fleet must not flap either."""
        if chosen := self._idle(at, lambda each: beats(each) and at - (each.last.connected_at or at) >= _RECONNECTS_MS):
            self._reconnect(chosen, at)

    def _roll_out(self, at: int) -> int:
        if chosen := self._idle(at, lambda each: beats(each) and each.last.version == NEWEST_VERSION):
            self._reconnect(chosen, at, version=_ROLLED_OUT)
        return at + int(self._between(3_000, 7_000) * self._slowdown)


class OutageLife(CalmLife):
    """A fleet that loses a pod. All lost environments return when one of their listeners is started."""

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
        """Start a listener, and with the first one all environments of the lost pod.

        A returning environment may be started too: one key starts a whole incident.
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
    """A fleet restarted by a deploy in waves. Later a machine is lost while the server answers 503."""

    def _begin(self) -> None:
        self._from(_FIRST_WAVE_MS, self._deploy)
        self._from(_LOST_WHILE_BLIND_MS, self._lose_one)
        self._from(_CALM_AFTER_NIGHT_MS, self._stay_calm)

    def _deploy(self, at: int) -> int:
        wave = (at - self.started_at - _FIRST_WAVE_MS) // _WAVE_EVERY_MS
        for index in range(wave, self.spec.size, _WAVES):
            environment = self.environment(index)
            if environment.busy_until <= at and beats(environment):
                self._interrupt(environment, at, at + self._between(7_000, 13_000), _ROLLED_OUT)
        return at + _WAVE_EVERY_MS if wave + 1 < _WAVES else FOREVER

    def _lose_one(self, at: int) -> int:
        if chosen := self._idle(at, _is_server):
            self._interrupt(chosen, at, self.started_at + _FOUND_AGAIN_MS)
        return FOREVER


_LIVES: Final[Mapping[Scenario | None, type[SimulatedFleet]]] = {
    None: DefaultLife,
    Scenario.CALM: CalmLife,
    Scenario.OUTAGE: OutageLife,
    Scenario.NIGHT: NightLife,
}


def simulated_fleet(spec: FleetSpec, started_at: int, ages_from: int | None = None) -> SimulatedFleet:
    """Return a fleet with its scenario's story; see `SimulatedFleet`."""
    return _LIVES[spec.scenario](spec, started_at, ages_from)
