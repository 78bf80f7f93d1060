"""When to ask, and what each poll gave: an async iterator of outcomes.

Owns pace: the interval, the request budget, backing off, obeying `Retry-After`, stopping when only a person can help,
and noticing that this machine slept. Never polls twice at once. Knows no HTTP (a `Source` does) and no screen; its
clocks, its way of waiting and its dice are passed in.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from envwatch import rules
from envwatch.clock import Reading
from envwatch.outcome import Cause, Failed, Listed, Outcome, Slept, Snapshot, SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from envwatch.rules import Rules

_TICK = 1.0
"""Seconds between looks at the clocks while waiting: a gap between two of them shows that the process stood still."""

FASTEST = timedelta(seconds=1)
SLOWEST = timedelta(minutes=10)
"""Bounds of the interval that a user may set."""


class Source(Protocol):
    """Where listings come from."""

    async def snapshot(self) -> Snapshot:
        """Return one complete listing.

        Raises:
            SourceError: whatever went wrong.
        """
        ...


class Stance(StrEnum):
    """What the poller is doing."""

    POLLING = "polling"
    WAITING = "waiting"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Asking again is pointless until the user acts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the poller will do next."""

    stance: Stance
    interval: timedelta
    """From poll to poll, stretched where the request budget needs it."""
    next_at: float | None = None
    """Monotonic seconds of the next poll, while waiting."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The clocks, the waiting and the dice of the real world; a test brings its own."""

    clocks: Callable[[], Reading]
    wait: Callable[[asyncio.Event, float], Awaitable[None]]
    """Wait until the event is set, but no longer than so many seconds."""
    dice: Callable[[], float]
    """A random number from 0 up to 1."""

    @classmethod
    def real(cls) -> Surroundings:
        """Return this machine's."""
        return cls(read_clocks, _wait, random.random)


def read_clocks() -> Reading:
    """Read this machine's two clocks."""
    return Reading(time.time() * 1000, time.monotonic())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


class Poller:
    """Asks a source again and again.

    Args:
        source: whom to ask.
        settings: interval and budget.
        surroundings: clocks, waiting and dice.
    """

    def __init__(self, source: Source, settings: Rules, surroundings: Surroundings | None = None) -> None:
        self._source = source
        self._rules = settings
        self._world = surroundings or Surroundings.real()
        self._wanted_interval = settings.interval
        self._requests = 1
        self._wake = asyncio.Event()
        self._is_paused = False
        self._asked_now = False
        self.plan = Plan(Stance.POLLING, self._wanted_interval)
        """What comes next; for showing."""

    @property
    def interval(self) -> timedelta:
        """From poll to poll: as wanted, or as long as the request budget makes it for a listing of this size."""
        by_budget = timedelta(minutes=1) * self._requests / self._rules.requests_per_minute
        return max(self._wanted_interval, by_budget)

    def refresh(self) -> None:
        """Poll now, also when paused or stopped."""
        self._asked_now = True
        self._wake.set()

    def pause(self, *, paused: bool) -> None:
        """Stop polling until told otherwise, or go on."""
        self._is_paused = paused
        self._wake.set()

    def want_interval(self, interval: timedelta) -> None:
        """Set the interval that the user wants, within its bounds."""
        self._wanted_interval = min(max(interval, FASTEST), SLOWEST)
        self._wake.set()

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Poll for ever, and yield what each poll gave; the first one starts at once.

        Closing the iterator drops the poll in flight.
        """
        failures = 0
        while True:
            self._asked_now = False
            self.plan = Plan(Stance.POLLING, self.interval)
            outcome = await self._poll()
            if isinstance(outcome, Slept):
                yield outcome
                continue
            failures = failures + 1 if isinstance(outcome, Failed) else 0
            if isinstance(outcome, Listed):
                self._requests = max(outcome.snapshot.requests, 1)
            due = self._due(outcome, failures)
            self._announce(due)
            yield outcome
            slept = await self._until(due)
            if slept is not None:
                yield slept

    async def _poll(self) -> Outcome:
        """Poll once, watching the clocks meanwhile; an answer that was in flight while we slept is dropped."""
        done = asyncio.Event()
        started = self._world.clocks()
        task = asyncio.create_task(self._source.snapshot())
        task.add_done_callback(lambda _: done.set())
        try:
            last = started
            while not done.is_set():
                await self._world.wait(done, _TICK)
                now = self._world.clocks()
                if self._stood_still(last, now, _TICK):
                    return Slept(last, now)
                last = now
            try:
                snapshot = task.result()
            except SourceError as error:
                return Failed(
                    cause=error.cause,
                    message=error.message,
                    started=started,
                    ended=self._world.clocks(),
                    interval=self.interval,
                    retry_after=error.retry_after,
                    pages_read=error.pages_read,
                )
            return Listed(snapshot, started, self._world.clocks(), self.interval)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _due(self, outcome: Listed | Failed, failures: int) -> float | None:
        """Return the monotonic second of the next poll; None to stop until the user acts."""
        started, ended = outcome.started.monotonic, outcome.ended.monotonic
        interval = self.interval.total_seconds()
        if isinstance(outcome, Listed):
            # Ticks that fell into the poll are skipped, not made up for.
            return max(started + interval, ended)
        if outcome.cause.needs_the_user:
            if outcome.cause is Cause.UNAUTHORIZED and failures == 1:
                return ended + rules.UNAUTHORIZED_RECHECK.total_seconds()
            return None
        if outcome.retry_after is not None:
            return ended + min(outcome.retry_after, rules.RETRY_AFTER_CAP).total_seconds()
        doubled: int = 2 ** min(failures - 1, 16)
        return ended + self._world.dice() * min(rules.BACKOFF_BASE * doubled, rules.BACKOFF_CAP).total_seconds()

    async def _until(self, due: float | None) -> Slept | None:
        """Wait for the next poll's time or for the user; return the news if this machine stood still meanwhile."""
        last = self._world.clocks()
        while not self._asked_now:
            self._announce(due)
            self._wake.clear()
            seconds = _TICK
            if due is not None and not self._is_paused:
                seconds = min(due - last.monotonic, _TICK)
                if seconds <= 0:
                    return None
            await self._world.wait(self._wake, seconds)
            now = self._world.clocks()
            if self._stood_still(last, now, seconds):
                return Slept(last, now)
            last = now
        return None

    def _announce(self, due: float | None) -> None:
        if self._is_paused:
            self.plan = Plan(Stance.PAUSED, self.interval)
        elif due is None:
            self.plan = Plan(Stance.STOPPED, self.interval)
        else:
            self.plan = Plan(Stance.WAITING, self.interval, due)

    def _stood_still(self, last: Reading, now: Reading, waited: float) -> bool:
        overrun = now.monotonic - last.monotonic - waited
        return now.slept_since(last) or overrun > rules.SLEPT_TICKS * self.interval.total_seconds()
