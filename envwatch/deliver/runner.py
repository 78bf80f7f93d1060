"""Deliver the messages of hooks, each with a queue and a worker: a hanging hook delays no further hook.

The ledger keeps the deliveries. An opening stays queued until delivery or the incident's end; further messages have a
time limit.

After a failure the receiver is probably down: the hook rests, and the message goes to the end of the queue. A new
opening is tried at once, without effect on the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from envwatch.alerts.ledger import Progress
from envwatch.deliver.message import DeliveryError, Message, Sender
from envwatch.letta.poller import Runtime
from envwatch.model import limits
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.text import SafeText, clean, counted
from envwatch.model.times import long_age

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import timedelta
    from types import TracebackType


_NO_REST: Final = MonotonicS(0.0)
_FAILING_AFTER_S: Final = limits.HOOK_FAILING_AFTER.total_seconds()


class HookReport(NamedTuple):
    """A line about a hook for the log."""

    text: SafeText
    is_failure: bool = False
    is_news: bool = False
    """Whether to show the line to people: failures begin, last, or end."""


@dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    put_at: MonotonicS
    is_tried: bool = False

    @property
    def is_opening(self) -> bool:
        return self.message.incident is not None and self.message.progress is Progress.DUE

    def is_too_old(self, now: MonotonicS) -> bool:
        return not self.is_opening and now - self.put_at >= limits.HOOK_TRIED_FOR.total_seconds()


@dataclass(slots=True)
class _HookQueue:
    name: SafeText
    delivery: Sender
    report: Callable[[HookReport], None]
    before_try: Callable[[SafeText, Message], Awaitable[None]]
    after_try: Callable[[SafeText, Message, DeliveryError | None], bool]
    runtime: Runtime
    waiting: deque[_Entry] = field(default_factory=deque)
    sending: _Entry | None = None
    rests_until: MonotonicS = _NO_REST
    failures: int = 0
    failed_since: Clocks | None = None
    is_failing: bool = False
    dropped: int = 0
    """Events dropped from a full queue since the last success."""
    has_news: asyncio.Event = field(default_factory=asyncio.Event)
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unsent(self) -> list[Message]:
        entries = self.waiting if self.sending is None else (self.sending, *self.waiting)
        return [entry.message for entry in entries]

    def next_entry(self, now: MonotonicS) -> _Entry | None:
        new_openings = (entry for entry in self.waiting if entry.is_opening and not entry.is_tried)
        first = self.waiting[0] if self.waiting and now >= self.rests_until else None
        return next(new_openings, first)

    def looks_at(self) -> MonotonicS:
        if self.failed_since is None or self.is_failing:
            return self.rests_until
        return MonotonicS(min(self.rests_until, self.failed_since.monotonic + _FAILING_AFTER_S))

    def put(self, message: Message) -> None:
        events = sum(entry.message.incident is None for entry in self.waiting)
        if message.incident is None and events >= limits.HOOK_QUEUE:
            self.dropped += 1
            text = f"dropped, as {limits.HOOK_QUEUE} messages wait: {message.summary}"
            self.say(text, is_failure=True, is_news=self.dropped == 1)
        else:
            self.waiting.append(_Entry(message, self.runtime.clocks().monotonic))
        self.is_idle.clear()
        self.has_news.set()

    def drop(self, incident: SafeText) -> None:
        for entry in [each for each in self.waiting if each.message.incident == incident]:
            self.waiting.remove(entry)
            self.say(f"nothing sent, as it is due no more: {entry.message.summary}")
        self.has_news.set()

    async def work(self) -> None:
        while True:
            self.has_news.clear()
            now = self.runtime.clocks().monotonic
            if (entry := self.next_entry(now)) is not None:
                await self._try(entry, does_rest=now < self.rests_until)
            elif self.waiting:
                self._note_failing()
                await self.runtime.wait(self.has_news, max(self.looks_at() - now, 0.0))
            else:
                self.is_idle.set()
                await self.has_news.wait()

    async def _try(self, entry: _Entry, *, does_rest: bool) -> None:
        self.waiting.remove(entry)
        self.sending = entry
        try:
            await self.before_try(self.name, entry.message)
            output = await self.delivery.send(entry.message)
        except DeliveryError as error:
            failure = error
        except Exception as bug:  # noqa: BLE001 - no bug of a delivery may stop the messages after it
            failure = DeliveryError(f"a bug: {bug!r}")
        else:
            self.sending = None
            self._note_success(entry, output)
            return
        self.sending = None
        self._note_failure(entry, failure, does_rest=does_rest)
        self._note_failing()

    def _note_success(self, entry: _Entry, output: SafeText) -> None:
        self.after_try(self.name, entry.message, None)
        printed = f" ({output})" if output else ""
        self.say(f"sent{printed}: {entry.message.summary}")
        if self.failures or self.dropped:
            dropped = f", {counted(self.dropped, 'message')} dropped" if self.dropped else ""
            text = f"works again, after {counted(self.failures, 'failure')}{dropped}"
            self.say(text, is_news=True)
        self.failures = self.dropped = 0
        self.failed_since, self.is_failing = None, False
        self.rests_until = _NO_REST

    def _note_failure(self, entry: _Entry, error: DeliveryError, *, does_rest: bool) -> None:
        now = self.runtime.clocks()
        if not does_rest:
            self.rests_until = MonotonicS(now.monotonic + self._rest_after(error))
        self.failures += 1
        self.failed_since = self.failed_since or now
        entry.is_tried = True
        is_final = error.is_final or entry.is_too_old(now.monotonic)
        if not self.after_try(self.name, entry.message, DeliveryError(str(error), is_final=is_final)):
            fate = "the incident is over"
        elif is_final:
            fate = "given up"
        else:
            fate = f"next try in {self.rests_until - now.monotonic:.0f} s"
            self.waiting.append(entry)
        output = f" ({error.output})" if error.output else ""
        text = f"{error}{output}: {fate}: {entry.message.summary}"
        self.say(text, is_failure=True, is_news=self.failures == 1)
        for old in [each for each in self.waiting if each.is_too_old(now.monotonic)]:
            self.waiting.remove(old)
            self.after_try(self.name, old.message, DeliveryError(str(error), is_final=True))
            self.say(f"given up: {old.message.summary}", is_failure=True)

    def _rest_after(self, error: DeliveryError) -> float:
        cap, base = limits.HOOK_BACKOFF_CAP.total_seconds(), limits.HOOK_BACKOFF_BASE.total_seconds()
        jittered = self.runtime.random() * min(cap, base * float(2 ** min(self.failures, 10)))
        return max(jittered, min(cap, error.wait.total_seconds()) if error.wait else 0.0)

    def _note_failing(self) -> None:
        since = self.failed_since
        if since is None or self.is_failing or self.runtime.clocks().monotonic - since.monotonic < _FAILING_AFTER_S:
            return
        self.is_failing = True
        unsent = counted(len(self.unsent), "message")
        text = f"has failed for {long_age(limits.HOOK_FAILING_AFTER)}, {unsent} not sent"
        self.say(text, is_failure=True, is_news=True)

    def say(self, text: str, *, is_failure: bool = False, is_news: bool = False) -> None:
        self.report(HookReport(clean(f"hook {self.name}: {text}"), is_failure, is_news))


class Runner:
    """Queues and workers of all hooks.

    At the context's end, waiting messages get the time `farewell`. `report` must not wait. `before_try` returns when
    the try is on the disk. `after_try` gets a failure, if any, and returns False if the incident is over; a final
    failure gives the message up.
    """

    def __init__(  # noqa: PLR0913  the parts of a queue
        self,
        deliveries: Mapping[SafeText, Sender],
        report: Callable[[HookReport], None],
        runtime: Runtime | None = None,
        farewell: timedelta = limits.HOOK_FAREWELL,
        *,
        before_try: Callable[[SafeText, Message], Awaitable[None]],
        after_try: Callable[[SafeText, Message, DeliveryError | None], bool],
    ) -> None:
        runtime = runtime or Runtime()
        self._queues = {
            name: _HookQueue(name, delivery, report, before_try, after_try, runtime)
            for name, delivery in deliveries.items()
        }
        self._farewell_s = farewell.total_seconds()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(queue.work()) for queue in self._queues.values()]
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
            for queue in self._queues.values():
                if queue.unsent:
                    unsent = counted(len(queue.unsent), "message")
                    queue.say(f"{unsent} not sent, as envwatch ends", is_failure=True, is_news=True)

    def put(self, hook: SafeText, message: Message) -> None:
        """Queue a message without waiting; a full queue drops and reports events."""
        self._queues[hook].put(message)

    def drop(self, hook: SafeText, incident: SafeText) -> None:
        """Drop the waiting message about an incident."""
        self._queues[hook].drop(incident)

    def unsent(self, hook: SafeText) -> Collection[Message]:
        """Return the messages neither delivered nor given up."""
        return self._queues[hook].unsent

    def failing(self) -> Mapping[SafeText, WallMs]:
        """Return the first failure's time by hook, after `limits.HOOK_FAILING_AFTER` of failures."""
        return {
            name: queue.failed_since.wall
            for name, queue in self._queues.items()
            if queue.is_failing and queue.failed_since is not None
        }

    async def all_done(self) -> None:
        """Wait until all messages are delivered or given up."""
        await asyncio.gather(*(queue.is_idle.wait() for queue in self._queues.values()))
