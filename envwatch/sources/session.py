"""Poll several targets and merge their outcomes into a single stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from envwatch.model.limits import Limits
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.sources.poller import Poller

Observer: TypeAlias = "Callable[[SafeText, Outcome], None]"
"""Called at once with a target's name and each outcome."""


async def _nothing_to_close() -> None:
    pass


class Target(NamedTuple):
    """A polled profile."""

    profile: str
    host: str
    key_origin: str
    poller: Poller
    limits: Limits
    close: Callable[[], Awaitable[None]] = _nothing_to_close


class Session:
    """An async iterator of `(name, outcome)` over several targets, in order of arrival.

    A target polls again only after the last outcome was taken; targets do not wait for each other. Entering the context
    starts the first polls. Leaving the context ends the iteration, cancels polls and closes connections. An observer's
    exception ends the iteration.

    `targets` are by profile; the key is `NO_PROFILE` for a single target.
    """

    def __init__(self, targets: Mapping[SafeText, Target], *observers: Observer) -> None:
        self.targets = targets
        self._observers = observers
        self._streams: dict[SafeText, AsyncGenerator[Outcome]] = {}
        self._waiting: dict[SafeText, asyncio.Task[Outcome]] = {}
        """By target; the target whose outcome was last taken comes last."""
        self._taken: SafeText | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        for name, target in self.targets.items():
            self._streams[name] = target.poller.outcomes()
            self._wait_for(name)
        return self

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
