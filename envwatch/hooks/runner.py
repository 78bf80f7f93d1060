"""Deliver the messages of all hooks. Each hook has a queue and a worker, so a hanging hook delays no other hook.

The queue has one entry per incident, with the newest state. An opening stays queued until delivery or the incident's
end. Other messages have a time limit; the number of events is bounded.

After a failure the receiver is probably down, so the whole hook rests for a random time below a doubling bound, and the
failed message goes to the end of the queue. A new opening is tried at once; a failure of this try does not lengthen
the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from envwatch.hooks.message import Delivery, DeliveryError, Message
from envwatch.model import limits
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.text import SafeText, clean, counted
from envwatch.model.times import long_age
from envwatch.sources.poller import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta
    from types import TracebackType


_NO_REST: Final = MonotonicS(0.0)
_FAILING_AFTER_S: Final = limits.HOOK_FAILING_AFTER.total_seconds()


class HookReport(NamedTuple):
    """A line about a hook for the log."""

    text: SafeText
    is_failure: bool = False
    is_news: bool = False
    """Whether to show the line to people: a streak of failures begins, lasts, or ends."""


@dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    put_at: MonotonicS
    is_tried: bool = False

    @property
    def is_opening(self) -> bool:
        return self.message.incident is not None and not self.message.is_resolved


@dataclass(slots=True)
class _HookQueue:
    name: SafeText
    delivery: Delivery
    waiting: deque[_Entry] = field(default_factory=deque)
    sending: _Entry | None = None
    opened: set[SafeText] = field(default_factory=set)
    """Ids of incidents with a delivered opening and no delivered end."""
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

    def entry_of(self, incident: SafeText | None) -> _Entry | None:
        found = (entry for entry in self.waiting if incident is not None and entry.message.incident == incident)
        return next(found, None)

    def has_opened(self, incident: SafeText | None) -> bool:
        """Whether the receiver knows of an incident, or may soon."""
        is_sending = self.sending is not None and self.sending.is_opening and self.sending.message.incident == incident
        return is_sending or incident in self.opened

    def next_entry(self, now: MonotonicS) -> _Entry | None:
        new_openings = (entry for entry in self.waiting if entry.is_opening and not entry.is_tried)
        first = self.waiting[0] if self.waiting and now >= self.rests_until else None
        return next(new_openings, first)

    def looks_at(self) -> MonotonicS:
        if self.failed_since is None or self.is_failing:
            return self.rests_until
        return MonotonicS(min(self.rests_until, self.failed_since.monotonic + _FAILING_AFTER_S))

    def settle(self) -> None:
        if self.waiting or self.sending is not None:
            self.is_idle.clear()
        else:
            self.is_idle.set()


class Runner:
    """The queues and workers of all hooks.

    Leaving the context gives waiting messages the time `farewell`. `report` must not wait.
    """

    def __init__(
        self,
        deliveries: Mapping[SafeText, Delivery],
        report: Callable[[HookReport], None],
        runtime: Runtime | None = None,
        farewell: timedelta = limits.HOOK_FAREWELL,
    ) -> None:
        self._hook_queues = {name: _HookQueue(name, delivery) for name, delivery in deliveries.items()}
        for hook_queue in self._hook_queues.values():
            hook_queue.settle()
        self._report = report
        self._runtime = runtime or Runtime()
        self._farewell_s = farewell.total_seconds()
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
                    self._say(hook_queue, f"{unsent} not sent, as envwatch ends", is_failure=True, is_news=True)

    def put(self, hook: SafeText, message: Message) -> None:
        """Queue a message for a hook; never waits.

        An incident's message replaces the waiting message. An event is dropped, counted and reported if the queue is
        full.
        """
        hook_queue, now = self._hook_queues[hook], self._now()
        earlier = hook_queue.entry_of(message.incident)
        is_opening_unsent = earlier is not None and earlier.is_opening and not hook_queue.has_opened(message.incident)
        if earlier is not None and is_opening_unsent and message.is_resolved:
            hook_queue.waiting.remove(earlier)
            self._say(hook_queue, f"nothing sent, as the incident is over: {message.summary}")
        elif earlier is not None and message.is_resolved == earlier.message.is_resolved:
            earlier.message = message
        elif message.incident is None and self._is_full(hook_queue):
            hook_queue.dropped += 1
            text = f"dropped, as {limits.HOOK_QUEUE} messages wait: {message.summary}"
            self._say(hook_queue, text, is_failure=True, is_news=hook_queue.dropped == 1)
        else:
            if earlier is not None:
                hook_queue.waiting.remove(earlier)
            hook_queue.waiting.append(_Entry(message, now))
        hook_queue.settle()
        hook_queue.has_news.set()

    def unsent(self, hook: SafeText) -> Collection[Message]:
        """Return the messages that were neither delivered nor given up."""
        return self._hook_queues[hook].unsent

    def failing(self) -> Mapping[SafeText, WallMs]:
        """Return the time of the first failure for each hook that has failed for `limits.HOOK_FAILING_AFTER`.

        A hook counts as failing until the next delivery.
        """
        return {
            name: hook_queue.failed_since.wall
            for name, hook_queue in self._hook_queues.items()
            if hook_queue.is_failing and hook_queue.failed_since is not None
        }

    async def all_done(self) -> None:
        """Wait until every message was delivered or given up."""
        await asyncio.gather(*(hook_queue.is_idle.wait() for hook_queue in self._hook_queues.values()))

    def _now(self) -> MonotonicS:
        return self._runtime.clocks().monotonic

    @staticmethod
    def _is_full(hook_queue: _HookQueue) -> bool:
        return sum(entry.message.incident is None for entry in hook_queue.waiting) >= limits.HOOK_QUEUE

    async def _work(self, hook_queue: _HookQueue) -> None:
        while True:
            hook_queue.has_news.clear()
            now = self._now()
            if (entry := hook_queue.next_entry(now)) is not None:
                await self._try(hook_queue, entry, does_rest=now < hook_queue.rests_until)
                hook_queue.settle()
            elif hook_queue.waiting:
                self._note_failing(hook_queue)
                await self._runtime.wait(hook_queue.has_news, max(hook_queue.looks_at() - now, 0.0))
            else:
                await hook_queue.has_news.wait()

    async def _try(self, hook_queue: _HookQueue, entry: _Entry, *, does_rest: bool) -> None:
        hook_queue.waiting.remove(entry)
        hook_queue.sending = entry
        try:
            output = await hook_queue.delivery.send(entry.message)
        except DeliveryError as error:
            failure = error
        except Exception as bug:  # noqa: BLE001 - no bug of a delivery may stop the messages after it
            failure = DeliveryError(f"a bug: {bug!r}")
        else:
            hook_queue.sending = None
            self._note_success(hook_queue, entry, output)
            return
        hook_queue.sending = None
        self._note_failure(hook_queue, entry, failure, does_rest=does_rest)
        self._note_failing(hook_queue)

    def _note_success(self, hook_queue: _HookQueue, entry: _Entry, output: SafeText) -> None:
        if (incident := entry.message.incident) is not None:
            (hook_queue.opened.add if entry.is_opening else hook_queue.opened.discard)(incident)
        printed = f" ({output})" if output else ""
        self._say(hook_queue, f"sent{printed}: {entry.message.summary}")
        if hook_queue.failures or hook_queue.dropped:
            dropped = f", {counted(hook_queue.dropped, 'message')} dropped" if hook_queue.dropped else ""
            text = f"works again, after {counted(hook_queue.failures, 'failure')}{dropped}"
            self._say(hook_queue, text, is_news=True)
        hook_queue.failures = hook_queue.dropped = 0
        hook_queue.failed_since, hook_queue.is_failing = None, False
        hook_queue.rests_until = _NO_REST

    def _note_failure(self, hook_queue: _HookQueue, entry: _Entry, error: DeliveryError, *, does_rest: bool) -> None:
        now = self._runtime.clocks()
        if not does_rest:
            hook_queue.rests_until = MonotonicS(now.monotonic + self._rest_after(error, hook_queue.failures))
        hook_queue.failures += 1
        hook_queue.failed_since = hook_queue.failed_since or now
        entry.is_tried = True
        newer = hook_queue.entry_of(entry.message.incident)
        fate = f"next try in {hook_queue.rests_until - now.monotonic:.0f} s"
        if newer is not None:
            newer.is_tried = True
            if newer.message.is_resolved and not hook_queue.has_opened(entry.message.incident):
                hook_queue.waiting.remove(newer)
                fate = "the incident is over"
        elif error.is_final or self._is_too_old(entry, now.monotonic):
            fate = self._give_up(hook_queue, entry)
        else:
            hook_queue.waiting.append(entry)
        output = f" ({error.output})" if error.output else ""
        text = f"{error}{output}: {fate}: {entry.message.summary}"
        self._say(hook_queue, text, is_failure=True, is_news=hook_queue.failures == 1)
        for old in [each for each in hook_queue.waiting if self._is_too_old(each, now.monotonic)]:
            hook_queue.waiting.remove(old)
            self._say(hook_queue, f"{self._give_up(hook_queue, old)}: {old.message.summary}", is_failure=True)

    @staticmethod
    def _is_too_old(entry: _Entry, now: MonotonicS) -> bool:
        return not entry.is_opening and now - entry.put_at >= limits.HOOK_TRIED_FOR.total_seconds()

    @staticmethod
    def _give_up(hook_queue: _HookQueue, entry: _Entry) -> str:
        if entry.message.incident is not None:
            hook_queue.opened.discard(entry.message.incident)
        return "given up"

    def _rest_after(self, error: DeliveryError, failures: int) -> float:
        """Return the rest in seconds: full jitter below a doubling bound, or longer if the receiver asks."""
        cap, base = limits.HOOK_BACKOFF_CAP.total_seconds(), limits.HOOK_BACKOFF_BASE.total_seconds()
        jittered = self._runtime.random() * min(cap, base * float(2 ** min(failures, 10)))
        return max(jittered, min(cap, error.wait.total_seconds()) if error.wait else 0.0)

    def _note_failing(self, hook_queue: _HookQueue) -> None:
        since = hook_queue.failed_since
        if since is None or hook_queue.is_failing or self._now() - since.monotonic < _FAILING_AFTER_S:
            return
        hook_queue.is_failing = True
        unsent = counted(len(hook_queue.unsent), "message")
        text = f"has failed for {long_age(limits.HOOK_FAILING_AFTER)}, {unsent} not sent"
        self._say(hook_queue, text, is_failure=True, is_news=True)

    def _say(self, hook_queue: _HookQueue, text: str, *, is_failure: bool = False, is_news: bool = False) -> None:
        self._report(HookReport(clean(f"hook {hook_queue.name}: {text}"), is_failure, is_news))
