"""Delivers the messages of all hooks, one at a time, each in limited time; nothing of it ever stops the caller.

Each hook has a queue of bounded length and a worker, so that one whose receiver is down holds up no other: only what
runs takes its turn, not what waits for another try. What fails is logged, and shown once for each streak of failures.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from envwatch.hooks.delivery import DeliveryError
from envwatch.model import limits
from envwatch.model.text import SafeText, clean, counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from envwatch.hooks.delivery import Delivery
    from envwatch.hooks.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Clock, waiting and randomness: arguments, so that tests need no time."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    """From 0 to 1."""


class HookReport(NamedTuple):
    """One line about a hook."""

    text: SafeText
    is_failure: bool = False
    is_news: bool = False
    """Whether people are to be shown it, and not only the log: the first failure of a streak, and its end."""


@dataclass(slots=True)
class _HookQueue:
    """One hook's queue and its present streak."""

    name: SafeText
    delivery: Delivery
    queue: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(limits.HOOK_QUEUE))
    unsent: deque[Message] = field(default_factory=deque)
    """Messages that are tried or wait, in their order."""
    failures: int = 0
    """Failed tries since the last success."""
    dropped: int = 0
    """Messages that found the queue full since the last success."""


class Runner:
    """The queues and workers of all hooks; leaving the context gives what waits a short time, and ends the rest.

    Args:
        deliveries: of each hook, by its name.
        report: called with each line; it must not wait.
        waits: clock, waiting and randomness.
        farewell: how long what waits has in the end.
    """

    def __init__(
        self,
        deliveries: Mapping[SafeText, Delivery],
        report: Callable[[HookReport], None],
        waits: Waits | None = None,
        farewell: timedelta = limits.HOOK_FAREWELL,
    ) -> None:
        self._hook_queues = {name: _HookQueue(name, delivery) for name, delivery in deliveries.items()}
        self._report = report
        self._waits = waits or Waits()
        self._farewell_s = farewell.total_seconds()
        self._turn = asyncio.Lock()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work(hook_queue)) for hook_queue in self._hook_queues.values()]
        return self

    async def __aexit__(self, _type: type[BaseException] | None, _: object, _trace: TracebackType | None) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._farewell_s):
                    await self.all_done()
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            for hook_queue in self._hook_queues.values():
                if hook_queue.unsent:
                    unsent = counted(len(hook_queue.unsent), "message")
                    text = f"hook {hook_queue.name}: {unsent} not sent, as envwatch ends"
                    self._report(HookReport(clean(text), is_failure=True, is_news=True))

    def put(self, hook: SafeText, message: Message) -> None:
        """Queue a message for a hook; never waits. With a full queue it is dropped, counted and reported."""
        hook_queue = self._hook_queues[hook]
        try:
            hook_queue.queue.put_nowait(message)
            hook_queue.unsent.append(message)
        except asyncio.QueueFull:
            hook_queue.dropped += 1
            text = f"hook {hook}: dropped, as {limits.HOOK_QUEUE} messages wait: {message.summary}"
            self._report(HookReport(clean(text), is_failure=True, is_news=hook_queue.dropped == 1))

    def unsent(self, hook: SafeText) -> Collection[Message]:
        """Return the messages of a hook that are neither delivered nor given up."""
        return self._hook_queues[hook].unsent

    async def all_done(self) -> None:
        """Wait until every queued message was delivered or given up."""
        await asyncio.gather(*(hook_queue.queue.join() for hook_queue in self._hook_queues.values()))

    async def _work(self, hook_queue: _HookQueue) -> None:
        while True:
            message = await hook_queue.queue.get()
            try:
                await self._deliver(hook_queue, message)
            except Exception as bug:  # noqa: BLE001 - whatever it is, it must not stop the messages after it
                self._note_failure(hook_queue, message, DeliveryError(f"a bug: {bug!r}"), None)
            hook_queue.unsent.popleft()
            hook_queue.queue.task_done()

    async def _deliver(self, hook_queue: _HookQueue, message: Message) -> None:
        """Try until a message is delivered, cannot be, or was tried for long enough."""
        began_at, tries = self._waits.monotonic(), 0
        while True:
            try:
                async with self._turn:
                    output = await hook_queue.delivery.send(message)
            except DeliveryError as error:
                wait = self._wait_after(error, tries)
                tried_for = self._waits.monotonic() + wait - began_at
                tries += 1
                is_last = not error.is_temporary or tried_for > limits.HOOK_TRIED_FOR.total_seconds()
                self._note_failure(hook_queue, message, error, None if is_last else wait)
                if is_last:
                    return
                await self._waits.sleep(wait)
            else:
                self._note_success(hook_queue, message, output)
                return

    def _wait_after(self, error: DeliveryError, tries: int) -> float:
        """Return the seconds to wait: full jitter below a doubling bound, or longer if the receiver asks for more."""
        cap, base = limits.HOOK_BACKOFF_CAP.total_seconds(), limits.HOOK_BACKOFF_BASE.total_seconds()
        jittered = self._waits.random() * min(cap, base * float(2 ** min(tries, 10)))
        return max(jittered, error.wait.total_seconds() if error.wait else 0.0)

    def _note_failure(self, hook_queue: _HookQueue, message: Message, error: DeliveryError, wait: float | None) -> None:
        hook_queue.failures += 1
        what = "given up" if wait is None else f"next try in {wait:.0f} s"
        output = f" ({error.output})" if error.output else ""
        text = f"hook {hook_queue.name}: {error}{output}: {what}: {message.summary}"
        self._report(HookReport(clean(text), is_failure=True, is_news=hook_queue.failures == 1))

    def _note_success(self, hook_queue: _HookQueue, message: Message, output: SafeText) -> None:
        printed = f" ({output})" if output else ""
        self._report(HookReport(clean(f"hook {hook_queue.name}: sent{printed}: {message.summary}")))
        if hook_queue.failures or hook_queue.dropped:
            dropped = f", {counted(hook_queue.dropped, 'message')} dropped" if hook_queue.dropped else ""
            text = f"hook {hook_queue.name}: works again, after {counted(hook_queue.failures, 'failure')}{dropped}"
            self._report(HookReport(clean(text), is_news=True))
        hook_queue.failures = hook_queue.dropped = 0
