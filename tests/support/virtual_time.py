"""A clock for concurrently waiting tasks: time passes only at the test's command."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from support.builders import NOW

from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.sources.poller import Runtime

_TURNS = 12
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
        for _ in range(_TURNS):
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
