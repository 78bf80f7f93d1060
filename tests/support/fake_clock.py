"""Fake clocks, and a scripted source.

`World` advances only during waits of a single poller. `VirtualTime` is for concurrently waiting tasks: time passes
only at the test's command. `taken` runs a watch on the fast clock of a `World`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from support.builders import NOW

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import PolledProfile, Poller, Runtime, Session
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, Snapshot, SourceError
from envwatch.model.text import SafeText, clean
from envwatch.watch.loop import Deadline, MonitorUpdate, Watch, deadline_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envwatch.model.outcome import Outcome


Answer: TypeAlias = Snapshot | SourceError

_TURNS = 5
"""Turns of the event loop that settle everything except waits for time."""


class World:
    """Clocks that stand still between waits; scheduled calls happen during waits."""

    def __init__(self, random: float = 0.5) -> None:
        self.now = 0.0
        """Monotonic seconds."""
        self.unmeasured = 0.0
        """Seconds by which the wall clock has run ahead."""
        self.random = random
        self._plans: list[tuple[float, Callable[[], object]]] = []

    def clocks(self) -> Clocks:
        return Clocks(WallMs(NOW + (self.now + self.unmeasured) * 1000), MonotonicS(self.now))

    def runtime(self) -> Runtime:
        return Runtime(self.clocks, self.wait, lambda: self.random)

    def schedule(self, at: float, do: Callable[[], object]) -> None:
        self._plans.append((at, do))
        self._plans.sort(key=lambda schedule: schedule[0])

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep; the monotonic clock stops."""
        self.unmeasured += seconds

    def stop(self, seconds: float) -> None:
        """Stop the process; all clocks go on."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        self.schedule(self.now + seconds, awake.set)
        await awake.wait()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        deadline = self.now + seconds
        while True:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if event.is_set():
                return
            if not self._plans or self._plans[0][0] > deadline:
                self.now = max(self.now, deadline)
                return
            at, do = self._plans.pop(0)
            self.now = max(self.now, at)
            do()


class Script:
    """A source that returns snapshots and errors in order, then repeats the last."""

    def __init__(self, world: World, *answers: Answer, takes: float = 0.0) -> None:
        self.asked_at: list[float] = []
        self.dropped = 0
        """Polls cancelled before a result."""
        self._world = world
        self._answers: Iterator[Answer] = iter(answers)
        self._answer: Answer = Snapshot.of_pages(pages=())
        self._takes = takes
        self._in_flight = 0

    async def snapshot(self) -> Snapshot:
        self.asked_at.append(self._world.now)
        self._answer = next(self._answers, self._answer)
        answer = self._answer
        assert not self._in_flight, "two polls at once"
        self._in_flight += 1
        try:
            await self._world.sleep(self._takes)
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        finally:
            self._in_flight -= 1
        if isinstance(answer, SourceError):
            raise answer
        return answer


def walk(requests: int = 1) -> Snapshot:
    return Snapshot.of_pages(pages=(), requests=requests)


def error(cause: Cause = Cause.SERVER, retry_after: timedelta | None = None, pages_read: int = 0) -> SourceError:
    return SourceError(Failure(cause, clean(cause), retry_after, pages_read))


def poller_of(world: World, script: Script, settings: Limits | None = None) -> Poller:
    return Poller(script, settings or Limits(), world.runtime())


async def outcomes_of(poller: Poller, count: int) -> list[Outcome]:
    found: list[Outcome] = []
    async with aclosing(poller.outcomes()) as outcomes:
        async for outcome in outcomes:
            found.append(outcome)
            if len(found) == count:
                break
    return found


_MANY_TURNS = 12
"""Turns of the event loop that settle everything except waits for time."""


class _Alarm(NamedTuple):
    at: float
    rings: asyncio.Event


@dataclass
class VirtualTime:
    now: float = 0.0
    """Monotonic seconds."""
    random: float = 1.0
    _alarms: list[_Alarm] = field(default_factory=list)

    def clocks(self) -> Clocks:
        return Clocks(WallMs(NOW + self.now * 1000), MonotonicS(self.now))

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.clocks, self.wait, lambda: self.random)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        alarm = _Alarm(self.now + seconds, asyncio.Event())
        self._alarms.append(alarm)
        waits = [asyncio.ensure_future(each.wait()) for each in (event, alarm.rings)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            if alarm in self._alarms:
                self._alarms.remove(alarm)

    async def sleep(self, seconds: float) -> None:
        await self.wait(asyncio.Event(), seconds)

    async def settle(self) -> None:
        """Run every task up to the next wait for time."""
        for _ in range(_MANY_TURNS):
            await asyncio.sleep(0)

    async def pass_to(self, at: float) -> None:
        """Let time pass to a moment, alarm by alarm."""
        await self.settle()
        while due := [alarm for alarm in self._alarms if alarm.at <= at]:
            alarm = min(due, key=lambda each: each.at)
            self._alarms.remove(alarm)
            self.now = max(self.now, alarm.at)
            alarm.rings.set()
            await self.settle()
        self.now = at

    async def pass_by(self, seconds: float) -> None:
        await self.pass_to(self.now + seconds)


def targets_of(world: World, *scripts: Script) -> Mapping[SafeText, PolledProfile]:
    names = [NO_PROFILE] if len(scripts) == 1 else [clean(f"p{number}") for number in range(len(scripts))]
    return {
        name: PolledProfile(profile=name, host="host", key_origin="", poller=poller_of(world, script))
        for name, script in zip(names, scripts, strict=True)
    }


async def taken(
    world: World, *scripts: Script, deadline: Deadline, check: Callable[[MonitorUpdate], None] = lambda _: None
) -> list[MonitorUpdate]:
    found: list[MonitorUpdate] = []
    targets = targets_of(world, *scripts)
    monitor = Monitor.create({name: target.poller.limits for name, target in targets.items()})
    async with (
        Session(targets) as session,
        aclosing(Watch(monitor, session, deadline=deadline, runtime=world.runtime())) as watch,
    ):
        async for update in watch:
            found.append(update)
            check(update)
    return found


def until(world: World, seconds: float) -> Deadline:
    return deadline_after(world.clocks(), timedelta(seconds=seconds))
