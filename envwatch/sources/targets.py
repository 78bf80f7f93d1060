"""Several profiles watched at once: whom each asks, and their outcomes as one stream.

Owns the joining of streams. Knows nothing of what an outcome means.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from envwatch.model.limits import Limits
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean
    from envwatch.sources.poller import Poller


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One profile under watch."""

    profile: str
    """Its name, for people."""
    host: str
    """Whom it asks."""
    key_origin: str
    """Where the key came from, never the key."""
    poller: Poller
    limits: Limits


async def merge_streams(streams: Mapping[Clean, AsyncIterator[Outcome]]) -> AsyncGenerator[tuple[Clean, Outcome]]:
    """Yield the outcomes of several streams, each with its name, as they come.

    No stream is asked for its next outcome before its last one has been taken in, and none waits for another. Closing
    this drops what is in flight and leaves the streams to whoever made them.
    """
    waiting = {asyncio.ensure_future(anext(stream)): name for name, stream in streams.items()}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                name = waiting.pop(task)
                yield name, task.result()
                waiting[asyncio.ensure_future(anext(streams[name]))] = name
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
