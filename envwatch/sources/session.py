"""A session: polls several targets at once and merges their outcomes into one stream.

Owns the tasks that wait for outcomes, and the order in which everything ends. Must not know what an outcome means.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from envwatch.model.limits import Limits
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.sources.poller import Poller

Observer: TypeAlias = "Callable[[SafeText, Outcome], None]"
"""Called with the name of a target and each of its outcomes, as soon as there is one."""


async def _nothing_to_close() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One profile that is polled."""

    profile: str
    """Its name, for people."""
    host: str
    """The server's host and port."""
    key_origin: str
    """Where the key came from, never the key."""
    poller: Poller
    limits: Limits
    close: Callable[[], Awaitable[None]] = _nothing_to_close
    """Closes the connection."""


class Session:
    """An async iterator of `(name, outcome)` over several targets, in the order in which the outcomes come.

    A target waits with its next poll until its last outcome was taken; none waits for another target. Entering the
    context starts the first polls. Leaving it ends the iteration, also for a consumer that still waits, and then drops
    the polls in flight and closes the connections.

    Args:
        targets: by name; `NO_PROFILE` where there is only one.
        observers: see `Observer`; what one raises ends the iteration, as a bug in a poller does.
    """

    def __init__(self, targets: Mapping[SafeText, Target], *observers: Observer) -> None:
        self.targets = targets
        self._observers = observers
        self._streams: dict[SafeText, AsyncGenerator[Outcome]] = {}
        self._waiting: dict[SafeText, asyncio.Task[Outcome]] = {}
        """By target; the one that was served last comes last."""
        self._taken: SafeText | None = None
        """The target whose outcome was handed out last."""
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
