"""When to ask, and what each poll gave: an async iterator of outcomes.

Owns pace: the interval, the request budget, backing off, obeying `Retry-After`, asking seldom while the key is refused,
and noticing that this machine slept. Never polls twice at once, and never gives up. Knows no HTTP (a `Source` does) and
no screen; its clocks, its way of waiting and its dice are passed in.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from envwatch.model import limits
from envwatch.model.clock import MonotonicS, Reading, WallMs
from envwatch.model.outcome import Cause, Failed, Listed, Outcome, Slept, Snapshot, SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from envwatch.model.limits import Limits

_TICK = 1.0
"""Seconds between looks at the clocks while waiting: a gap between two of them shows that the process stood still."""

_Due: TypeAlias = "Callable[[], float]"
"""Tells the monotonic second of the next poll, as things stand when it is asked."""

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


class PollState(StrEnum):
    """What the poller is doing."""

    POLLING = "polling"
    WAITING = "waiting"
    """For the next tick, or for the end of a pause."""


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """What the poller will do next."""

    state: PollState
    interval: timedelta
    """From poll to poll, stretched where the request budget needs it."""
    next_at: float | None = None
    """Monotonic seconds of the next poll, while there is one to wait for."""
    is_paused: bool = False
    """Whether the user wants no more polls; one that is under way goes on to its end."""


@dataclass(frozen=True, slots=True)
class RefreshDelay:
    """Why a poll that the user wants now does not come now."""

    left: timedelta
    is_forbidden: bool
    """Whether the server asked to be left alone, and no poll comes of it; else one comes after the wait."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The clocks, the waiting and the dice of the real world; a test brings its own."""

    clocks: Callable[[], Reading]
    wait: Callable[[asyncio.Event, float], Awaitable[None]]
    """Wait until the event is set, but no longer than so many seconds."""
    random: Callable[[], float]
    """A random number from 0 up to 1."""

    @classmethod
    def real(cls) -> Runtime:
        """Return this machine's."""
        return cls(read_clocks, _wait, random.random)


def read_clocks() -> Reading:
    """Read this machine's two clocks."""
    return Reading(WallMs(time.time() * 1000), MonotonicS(time.monotonic()))


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
        runtime: clocks, waiting and dice.
    """

    def __init__(self, source: Source, settings: Limits, runtime: Runtime | None = None) -> None:
        self._source = source
        self._limits = settings
        self._world = runtime or Runtime.real()
        self.wanted_interval = settings.interval
        """From poll to poll as the user wants it; set by `want_interval`."""
        self._requests = 1
        self._failures = 0
        self._refusals = 0
        self._failing_since = 0.0
        """Monotonic second of the first poll of the failures in a row."""
        self._started = self._barred_until = float("-inf")
        self._paid_at = float("-inf")
        """Monotonic second at which the request budget has paid for all polls so far."""
        self._was_early = False
        """Whether the user had the last poll, or the one under way, before it was due."""
        self._slept_through = 0.0
        """Seconds since the last poll that the monotonic clock did not measure."""
        self._wake = asyncio.Event()
        self._is_paused = False
        self._asked_now = False
        self._due: _Due | None = None
        """When the next poll is due; None while one is under way."""
        self.pages_read = 0
        """Pages read of the walk under way, as whoever hears of them notes here; for showing."""

    @property
    def interval(self) -> timedelta:
        """From poll to poll: as wanted, or as long as the request budget makes it for a listing of this size."""
        return max(self.wanted_interval, self._budgeted(self._requests))

    @property
    def schedule(self) -> PollSchedule:
        """What comes next; for showing."""
        if self._due is None:
            return PollSchedule(PollState.POLLING, self.interval, is_paused=self._is_paused)
        return PollSchedule(PollState.WAITING, self.interval, self._next_at(self._due), self._is_paused)

    def refresh(self) -> RefreshDelay | None:
        """Poll as soon as may be, also when paused.

        After a poll that was due, the next one may start at once, even if the request budget has not paid for the last
        one yet: polls that are due wait longer for it afterwards. After one that was early, the budget comes first.

        Returns:
            What that has to wait for, if anything.
        """
        now = self._world.clocks().monotonic
        if (barred := self._barred_until - self._slept_through - now) > 0:
            return RefreshDelay(timedelta(seconds=barred), is_forbidden=True)
        self._asked_now = True
        self._wake.set()
        if self._due is None or (at := self._next_at(self._due)) is None or at <= now:
            return None
        return RefreshDelay(timedelta(seconds=at - now), is_forbidden=False)

    def pause(self, *, paused: bool) -> None:
        """Stop polling until told otherwise, or go on."""
        self._is_paused = paused
        self._wake.set()

    def want_interval(self, interval: timedelta) -> None:
        """Set the interval that the user wants, within its bounds."""
        self.wanted_interval = min(max(interval, FASTEST), SLOWEST)
        self._wake.set()

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Poll for ever, and yield what each poll gave; the first one starts at once.

        Closing the iterator drops the poll in flight.
        """
        while True:
            self._was_early = self._is_early()
            self._asked_now = False
            self._paid_at -= self._slept_through
            self._slept_through = 0.0
            self._barred_until = float("-inf")
            self._due = None
            outcome = await self._poll()
            self._due = self._due_after(outcome)
            last = outcome.awake if isinstance(outcome, Slept) else outcome.ended
            yield outcome
            while (slept := await self._rest(self._due, last)) is not None:
                self._slept_through += max(slept.awake.drift_since(slept.last_awake), 0.0)
                last = slept.awake
                yield slept

    async def _poll(self) -> Outcome:
        """Poll once, watching the clocks meanwhile; an answer that was in flight while we slept is dropped."""
        done = asyncio.Event()
        started = self._world.clocks()
        self._started = started.monotonic
        self.pages_read = 0
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
            self._requests = max(snapshot.requests, 1)
            return Listed(snapshot, started, self._world.clocks(), self.interval)
        finally:
            task.cancel()
            # Fetches what it may have raised: asyncio would complain, over the screen, of an error that nobody wanted.
            await asyncio.gather(task, return_exceptions=True)

    def _due_after(self, outcome: Outcome) -> _Due:
        """Take note of an outcome, and return when the next poll is due after it."""
        match outcome:
            case Slept(awake=awake):
                return lambda: awake.monotonic
            case Listed():
                self._failures = self._refusals = 0
                self._paid_at = self._paid_after(outcome, self._requests)
                spread = limits.POLL_SPREAD * (2 * self._world.random() - 1)
                return lambda: max(self._next_tick(outcome, spread), self._paid_at)
            case Failed():
                if not self._failures:
                    self._failing_since = outcome.started.monotonic
                self._failures += 1
                self._refusals += outcome.cause is Cause.UNAUTHORIZED
                at = self._retry_at(outcome)
                self._paid_at = self._paid_after(outcome, outcome.pages_read + 1)
                if (asked_for := _asked_for(outcome)) > timedelta():
                    self._asked_now = False
                    self._barred_until = outcome.ended.monotonic + asked_for.total_seconds()
                return lambda: at

    def _next_tick(self, listed: Listed, spread: float) -> float:
        """Return the next tick; those that fell into the poll are skipped, not made up for.

        Args:
            listed: the poll before it.
            spread: share of the interval by which it is late, or early if negative; late in any case where the budget
                leaves no room.
        """
        started, ended = listed.started.monotonic, listed.ended.monotonic
        least = self._budgeted(self._requests)
        interval = (least + abs(self.interval * (1 + spread) - least)).total_seconds()
        return started + interval * max(math.ceil((ended - started) / interval), 1)

    def _retry_at(self, failed: Failed) -> float:
        """Return when to ask again; the request that failed is not counted, or the budget would undo the jitter.

        The wait counts from the start of the poll: one that hung until its deadline has waited already, and a server
        that recovers at its beginning must not wait for the deadline and the whole wait.
        """
        started, ended = failed.started.monotonic, failed.ended.monotonic
        return max(
            started + self._backoff(failed).total_seconds(),
            ended + _asked_for(failed).total_seconds(),
            self._paid_after(failed, failed.pages_read),
        )

    def _backoff(self, failed: Failed) -> timedelta:
        """Return how long to wait after a failure: seldom while the key is refused, else by full jitter."""
        match failed.cause:
            case Cause.UNAUTHORIZED if self._refusals == 1:
                return limits.UNAUTHORIZED_RECHECK
            case Cause.UNAUTHORIZED:
                return self._limits.refused_recheck
            case Cause.FORBIDDEN:
                return limits.FORBIDDEN_RECHECK
        lasted = timedelta(seconds=failed.started.monotonic - self._failing_since)
        is_long = failed.cause.is_overload or lasted > limits.LONG_OUTAGE
        cap = limits.LONG_BACKOFF_CAP if is_long else limits.BACKOFF_CAP
        doubled: int = 2 ** min(self._failures - 1, 16)
        return self._world.random() * min(limits.BACKOFF_BASE * doubled, cap)

    def _paid_after(self, outcome: Listed | Failed, requests: int) -> float:
        """Return when the budget has paid for a poll of so many requests, and for those before it."""
        paid_at = max(self._paid_at, outcome.started.monotonic) + self._budgeted(requests).total_seconds()
        if isinstance(outcome, Listed):
            return paid_at
        return min(paid_at, outcome.ended.monotonic + limits.WALK_PENALTY_CAP.total_seconds())

    def _budgeted(self, requests: int) -> timedelta:
        """Return how long so many requests must last."""
        return timedelta(minutes=1) * requests / self._limits.requests_per_minute

    async def _rest(self, due: _Due, last: Reading) -> Slept | None:
        """Wait until a poll is due or the user wants one; return the news if this machine stood still meanwhile.

        Args:
            due: asked again whenever the user changed something.
            last: the newest reading of the clocks; whoever drew the outcome may have taken his time since.
        """
        now = self._world.clocks()
        if now.slept_since(last):
            return Slept(last, now)
        while True:
            self._wake.clear()
            at = self._next_at(due)
            seconds = _TICK if at is None else min(at - now.monotonic, _TICK)
            if seconds <= 0:
                return None
            await self._world.wait(self._wake, seconds)
            last, now = now, self._world.clocks()
            if self._stood_still(last, now, seconds):
                return Slept(last, now)

    def _next_at(self, due: _Due) -> float | None:
        """Return when the next poll is, if any: what the monotonic clock slept through counts as waited."""
        at = None if self._is_paused else due()
        if self._asked_now:
            soonest = self._started + limits.FORCED_EVERY.total_seconds()
            wanted = max(soonest, self._paid_at) if self._was_early else soonest
            at = wanted if at is None else min(at, wanted)
        return None if at is None else at - self._slept_through

    def _is_early(self) -> bool:
        """Return whether a poll that starts now does so before it is due."""
        return self._due is not None and self._due() - self._slept_through > self._world.clocks().monotonic

    def _stood_still(self, last: Reading, now: Reading, waited: float) -> bool:
        overrun = now.monotonic - last.monotonic - waited
        return now.slept_since(last) or overrun > limits.SLEPT_TICKS * self.interval.total_seconds()


def _asked_for(failed: Failed) -> timedelta:
    """Return for how long the server asked to be left alone, as far as that is obeyed."""
    return min(failed.retry_after or timedelta(), limits.RETRY_AFTER_CAP)
