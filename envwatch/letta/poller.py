"""Poll sources and yield outcomes; a session merges several profiles.

The poller decides the pace: interval, request budget, backoff, `Retry-After`, rare polls after a refused key. Polls
never overlap, and polling never gives up.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import fields, replace
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, TypeAlias

from envwatch.model import limits
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.outcome import Cause, Failed, Failure, Listed, ListingCost, Outcome, Slept, Snapshot, SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from envwatch.model.acks import AckAnswer, AckRequest
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.text import SafeText


_TICK_S = 1.0
"""Seconds between clock readings; after a longer gap the process did not run."""

_Due: TypeAlias = "Callable[[], float]"

FASTEST = timedelta(seconds=1)
SLOWEST = timedelta(minutes=10)


class Source(Protocol):
    """Produces listings."""

    async def snapshot(self) -> Snapshot:
        """Return a complete listing, or raise `SourceError`."""
        ...


class Team(Protocol):
    """The team behind `envwatch serve`, which shares acknowledgements. Each method takes at most 10 s."""

    @property
    def may_ack(self) -> bool:
        """Whether this machine's token may acknowledge, as far as the server says."""
        ...

    async def acknowledge(self, uuid: SafeText, request: AckRequest) -> AckAnswer:
        """Acknowledge rows under a new uuid, and return each row's result.

        Raises `SourceError` if the request surely or maybe failed.
        """
        ...

    async def end(self, uuid: SafeText) -> None:
        """End an acknowledgement; raises like `acknowledge`."""
        ...

    async def change_note(self, uuid: SafeText, note: SafeText) -> None:
        """Change an acknowledgement's note; raises like `acknowledge`."""
        ...


class PollSchedule(NamedTuple):
    """The poller's plan, for display.

    `requests`, `requests_per_minute` and `took` are 0 unless they lengthen the interval.
    """

    is_polling: bool
    interval: timedelta
    next_at: float | None = None
    """Monotonic second; None if no poll is due."""
    is_paused: bool = False
    requests: int = 0
    requests_per_minute: int = 0
    took: timedelta = timedelta()

    @property
    def is_slow(self) -> bool:
        """Whether polls come slower than wanted."""
        return bool(self.requests or self.took)


class RefreshDelay(NamedTuple):
    """Delay of a requested poll."""

    left: timedelta
    is_forbidden: bool
    """Whether `Retry-After` drops the request."""


def read_clocks() -> Clocks:
    """Read this machine's two clocks."""
    return Clocks(WallMs(time.time() * 1000), MonotonicS(time.monotonic()))


async def wait_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, at most `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Runtime(NamedTuple):
    """Clocks, waiting and random numbers."""

    clocks: Callable[[], Clocks] = read_clocks
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_within
    random: Callable[[], float] = random.random


_THIS_MACHINE = Runtime()


async def poll_once(source: Source, interval: timedelta) -> Listed | Failed:
    """Poll a source once."""
    started = read_clocks()
    try:
        snapshot = await source.snapshot()
        return Listed(snapshot, started, read_clocks(), _listing_interval(snapshot, interval))
    except SourceError as error:
        return _failed(error, started, read_clocks(), interval)


_FAILURE_PARTS: Final = attrgetter(*(each.name for each in fields(Failure)))


def _failed(error: SourceError, started: Clocks, ended: Clocks, interval: timedelta) -> Failed:
    return Failed(*_FAILURE_PARTS(error.failure), started=started, ended=ended, interval=interval)


class Poller:
    """Polls a source repeatedly."""

    def __init__(self, source: Source, settings: Limits, runtime: Runtime = _THIS_MACHINE) -> None:
        self._source = source
        self.limits = settings
        """The settings with the user's interval."""
        self._runtime = runtime
        self.cost = ListingCost()
        self._failures = 0
        self._source_interval = timedelta()
        """The relay's interval in the newest listing."""
        self._is_relayed = False
        self._refusals = 0
        self._failing_since = self._started_at = self._forbidden_until = float("-inf")
        self._budget_free_at = float("-inf")
        """Monotonic second when the budget covers all polls."""
        self._was_early = False
        self._slept_s = 0.0
        """Seconds asleep since the newest poll, absent from the monotonic clock."""
        self._wake = asyncio.Event()
        self._is_paused = False
        self._is_requested = False
        self._due: _Due | None = None
        self.pages_read = 0

    @property
    def interval(self) -> timedelta:
        """The user's interval, lengthened for the newest listing's requests or duration."""
        return self.limits.pace(self.cost.requests, self.cost.took)

    @property
    def _tick(self) -> timedelta:
        return max(self.limits.interval, self.limits.budgeted(self.cost.requests))

    @property
    def schedule(self) -> PollSchedule:
        """The poller's current plan."""
        interval, tick = self.interval, self._tick
        is_stretched = tick > self.limits.interval
        return PollSchedule(
            self._due is None,
            interval,
            None if self._due is None else self._next_at(self._due),
            self._is_paused,
            self.cost.requests if is_stretched else 0,
            self.limits.requests_per_minute if is_stretched else 0,
            self.cost.took if interval > tick else timedelta(),
        )

    def refresh(self) -> RefreshDelay | None:
        """Poll as soon as allowed, also when paused; return the delay, if any.

        Only after a scheduled poll may a requested poll precede the budget; later polls then wait longer.
        """
        now = self._runtime.clocks().monotonic
        if (left := self._forbidden_until - self._slept_s - now) > 0:
            return RefreshDelay(timedelta(seconds=left), is_forbidden=True)
        self._is_requested = True
        self._wake.set()
        if self._due is None or (at := self._next_at(self._due)) is None or at <= now:
            return None
        return RefreshDelay(timedelta(seconds=at - now), is_forbidden=False)

    def pause(self, *, paused: bool) -> None:
        """Pause or resume polling."""
        self._is_paused = paused
        self._wake.set()

    def want_interval(self, interval: timedelta) -> None:
        """Set the interval, clamped to `FASTEST` and `SLOWEST`."""
        self.limits = replace(self.limits, interval=min(max(interval, FASTEST), SLOWEST))
        self._wake.set()

    def note_pages(self, pages: int, _rows: int) -> None:
        """Note the pages received by the current poll."""
        self.pages_read = pages

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of endless polls, starting at once; closing the generator cancels a poll in flight."""
        while True:
            self._was_early = self._due is not None and self._due() - self._slept_s > self._runtime.clocks().monotonic
            self._is_requested = False
            self._budget_free_at -= self._slept_s
            self._slept_s = 0.0
            self._forbidden_until = float("-inf")
            self._due = None
            outcome = await self._poll()
            self._due = self._due_after(outcome)
            last = outcome.awake if isinstance(outcome, Slept) else outcome.ended
            yield outcome
            while (slept := await self._wait_for_poll(self._due, last)) is not None:
                self._slept_s += max(slept.awake.drift_since(slept.last_awake), 0.0)
                last = slept.awake
                yield slept

    async def _poll(self) -> Outcome:
        done = asyncio.Event()
        started = self._runtime.clocks()
        self._started_at = started.monotonic
        self.pages_read = 0
        task = asyncio.create_task(self._source.snapshot())
        task.add_done_callback(lambda _: done.set())
        try:
            last = started
            while not done.is_set():
                await self._runtime.wait(done, _TICK_S)
                now = self._runtime.clocks()
                if self._has_stood_still(last, now, _TICK_S):
                    return Slept(last, now)
                last = now
            try:
                snapshot = task.result()
            except SourceError as error:
                self._is_relayed = error.is_relayed
                interval = max(self.interval, self._source_interval)
                return _failed(error, started, self._runtime.clocks(), interval)
            self._source_interval = _listing_interval(snapshot, timedelta())
            listed = Listed(snapshot, started, self._runtime.clocks(), timedelta())
            self.cost = listed.cost
            return listed._replace(interval=max(self.interval, self._source_interval))
        finally:
            task.cancel()
            # Without retrieval, asyncio would log the exception.
            await asyncio.gather(task, return_exceptions=True)

    def _due_after(self, outcome: Outcome) -> _Due:
        match outcome:
            case Slept(awake=awake):
                return lambda: awake.monotonic
            case Listed():
                self._failures = self._refusals = 0
                self._budget_free_at = self._budget_free_after(outcome, self.cost.requests)
                spread = limits.POLL_SPREAD * (2 * self._runtime.random() - 1)
                return lambda: max(self._next_tick(outcome, spread), self._budget_free_at)
            case Failed():
                if not self._failures:
                    self._failing_since = outcome.started.monotonic
                self._failures += 1
                self._refusals += outcome.cause is Cause.UNAUTHORIZED
                at = self._retry_at(outcome)
                self._budget_free_at = self._budget_free_after(outcome, outcome.pages_read + 1)
                if (wait := _server_wait(outcome)) > timedelta():
                    self._is_requested = False
                    self._forbidden_until = outcome.ended.monotonic + wait.total_seconds()
                return lambda: at

    def _next_tick(self, listed: Listed, spread: float) -> float:
        """Return the next tick's monotonic second.

        `spread` is a share of the interval, negative for early. If the budget forbids an early tick, the tick is
        late by as much.
        """
        least = self.limits.budgeted(self.cost.requests)
        tick = least + abs(self._tick * (1 + spread) - least)
        return listed.started.monotonic + tick.total_seconds() * (self.interval / self._tick)

    def _retry_at(self, failed: Failed) -> float:
        """Return the monotonic second of the poll after a failure.

        Charging the failed request to the budget would undo the jitter. The backoff counts from the poll's start,
        because a hanging poll has waited enough.
        """
        started, ended = failed.started.monotonic, failed.ended.monotonic
        return max(
            started + self._backoff(failed).total_seconds(),
            ended + _server_wait(failed).total_seconds(),
            self._budget_free_after(failed, failed.pages_read),
        )

    def _backoff(self, failed: Failed) -> timedelta:
        match failed.cause:
            case Cause.UNAUTHORIZED if self._refusals == 1:
                return limits.UNAUTHORIZED_RECHECK
            case Cause.UNAUTHORIZED:
                return self.limits.refused_recheck
            case Cause.FORBIDDEN:
                return limits.FORBIDDEN_RECHECK
        if self._is_relayed:
            # A healthy relay needs no backoff.
            return self._tick * (1 + limits.POLL_SPREAD * (2 * self._runtime.random() - 1))
        lasted = timedelta(seconds=failed.started.monotonic - self._failing_since)
        is_long = failed.cause.is_overload or lasted > limits.LONG_OUTAGE
        cap = limits.LONG_BACKOFF_CAP if is_long else limits.BACKOFF_CAP
        doubled: int = 2 ** min(self._failures - 1, 16)
        return self._runtime.random() * min(limits.BACKOFF_BASE * doubled, cap)

    def _budget_free_after(self, outcome: Listed | Failed, requests: int) -> float:
        free_at = max(self._budget_free_at, outcome.started.monotonic) + self.limits.budgeted(requests).total_seconds()
        if isinstance(outcome, Listed):
            return free_at
        return min(free_at, outcome.ended.monotonic + limits.WALK_PENALTY_CAP.total_seconds())

    async def _wait_for_poll(self, due: _Due, last: Clocks) -> Slept | None:
        now = self._runtime.clocks()
        if now.slept_since(last):
            return Slept(last, now)
        while True:
            self._wake.clear()
            at = self._next_at(due)
            seconds = _TICK_S if at is None else min(at - now.monotonic, _TICK_S)
            if seconds <= 0:
                return None
            await self._runtime.wait(self._wake, seconds)
            last, now = now, self._runtime.clocks()
            if self._has_stood_still(last, now, seconds):
                return Slept(last, now)

    def _next_at(self, due: _Due) -> float | None:
        at = None if self._is_paused else due()
        if self._is_requested:
            soonest = self._started_at + limits.FORCED_EVERY.total_seconds()
            requested = max(soonest, self._budget_free_at) if self._was_early else soonest
            at = requested if at is None else min(at, requested)
        return None if at is None else at - self._slept_s

    def _has_stood_still(self, last: Clocks, now: Clocks, waited: float) -> bool:
        overrun_s = now.monotonic - last.monotonic - waited
        return now.slept_since(last) or overrun_s > limits.SLEPT_TICKS * self._tick.total_seconds()


def _listing_interval(snapshot: Snapshot, interval: timedelta) -> timedelta:
    served = snapshot.served
    return interval if served is None or served.interval is None else max(interval, served.interval)


def _server_wait(failed: Failed) -> timedelta:
    return min(failed.retry_after or timedelta(), limits.RETRY_AFTER_CAP)


Observer: TypeAlias = "Callable[[SafeText, Outcome], None]"
"""Called at once with a target's name and each outcome."""


async def _nothing_to_close() -> None:
    pass


class PolledProfile(NamedTuple):
    """A polled profile."""

    profile: str
    host: str
    key_origin: str
    poller: Poller
    close: Callable[[], Awaitable[None]] = _nothing_to_close
    remember: Callable[[Iterable[Environment]], None] = lambda _rows: None
    find_team: Callable[[], Team | None] = lambda: None
    new_key_by: str = ""
    """How the next process gets a new key, if this one cannot."""

    @property
    def team(self) -> Team | None:
        """See `Client.team`."""
        return self.find_team()


class Session:
    """An async iterator of `(name, outcome)` over several targets, in order of arrival.

    A target polls again after the last outcome was taken, independently. Entering the context starts polling; leaving
    cancels polls and closes connections. Leaving, or an observer's exception, ends the iteration.
    """

    def __init__(self, targets: Mapping[SafeText, PolledProfile], *observers: Observer) -> None:
        self.targets = targets
        self._observers = observers
        self._streams: dict[SafeText, AsyncGenerator[Outcome]] = {}
        self._waiting: dict[SafeText, asyncio.Task[Outcome]] = {}
        """Polls by target name; the last taken target comes last."""
        self._taken: SafeText | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        for name, target in self.targets.items():
            self._streams[name] = target.poller.outcomes()
            self._wait_for(name)
        return self

    @property
    def is_ready(self) -> bool:
        """Whether the next outcome needs no waiting."""
        return any(task.done() for task in self._waiting.values())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[SafeText, Outcome]:
        if self._taken is not None:
            self._wait_for(self._taken)
            self._taken = None
        if not self._is_closed:
            await asyncio.wait(self._waiting.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._is_closed:
            raise StopAsyncIteration
        name = next(name for name, task in self._waiting.items() if task.done())
        outcome = self._waiting.pop(name).result()
        self._taken = name
        return name, outcome

    async def __aexit__(self, *_: object) -> None:
        self._is_closed = True
        for task in self._waiting.values():
            task.cancel()
        await asyncio.gather(*self._waiting.values(), return_exceptions=True)
        for stream in self._streams.values():
            await stream.aclose()
        for target in self.targets.values():
            await target.close()

    def _wait_for(self, name: SafeText) -> None:
        if not self._is_closed:
            self._waiting[name] = asyncio.create_task(self._next(name))

    async def _next(self, name: SafeText) -> Outcome:
        outcome = await anext(self._streams[name])
        for observe in self._observers:
            observe(name, outcome)
        return outcome
