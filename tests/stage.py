"""The app without a terminal, on outcomes and clocks that the test hands out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from builders import NOW, listed, reading
from scripted import Script, World, walk

from envwatch.events import SOLE
from envwatch.poller import Poller
from envwatch.posts import Post
from envwatch.rules import Rules
from envwatch.tui.app import EnvwatchApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from textual.pilot import Pilot

    from envwatch.clock import Reading
    from envwatch.models import Environment
    from envwatch.outcome import Outcome
    from envwatch.text import Clean


def post_of(poller: Poller, profile: str = "default", rules: Rules | None = None) -> Post:
    """A profile that is watched."""
    rules = rules or Rules()
    return Post(profile=profile, host="api.example", key_origin="a test", poller=poller, rules=rules)


async def marked(outcomes: AsyncIterator[Outcome]) -> AsyncIterator[tuple[Clean, Outcome]]:
    """The outcomes of the one profile that is watched."""
    async for outcome in outcomes:
        yield SOLE, outcome


class Stage:
    """An app, its clock and the outcomes that it gets."""

    def __init__(self, *, ascii_only: bool = False, profiles: Sequence[Clean] = (SOLE,), **wishes: Any) -> None:
        self.now = 0.0
        """Seconds since `NOW`, on all clocks."""
        self._queue: asyncio.Queue[tuple[Clean, Outcome]] = asyncio.Queue()
        self.poller = Poller(Script(World(), walk()), Rules())
        self.app = EnvwatchApp(
            posts={profile: post_of(self.poller, profile or "default") for profile in profiles},
            outcomes=self._outcomes(),
            ascii_only=ascii_only,
            clocks=self.clocks,
            **wishes,
        )
        self.pilot: Pilot[int]

    @property
    def at(self) -> float:
        """Now in milliseconds since the epoch."""
        return NOW + self.now * 1000

    def clocks(self) -> Reading:
        return reading(self.at)

    async def _outcomes(self) -> AsyncIterator[tuple[Clean, Outcome]]:
        while True:
            yield await self._queue.get()
            self._queue.task_done()

    async def take(self, outcome: Outcome, profile: Clean = SOLE) -> None:
        """Hand out an outcome, and wait until all of the app has taken it in."""
        self._queue.put_nowait((profile, outcome))
        await self._queue.join()
        await self.pilot.pause()

    async def show(self, rows: Sequence[Environment], profile: Clean = SOLE) -> None:
        """Hand out a listing."""
        await self.take(listed(rows, self.at), profile)

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.now += seconds
        self.app.now = self.clocks()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    @property
    def lines(self) -> list[str]:
        """What the screen on top shows."""
        screen = self.app.screen
        return ["".join(segment.text for segment in strip) for strip in screen._compositor.render_strips()]  # noqa: SLF001  Textual has no other way to the drawn text


@asynccontextmanager
async def staged(size: tuple[int, int] = (80, 24), **wishes: Any) -> AsyncIterator[Stage]:
    """Run an app of some size."""
    stage = Stage(**wishes)
    async with stage.app.run_test(size=size) as stage.pilot:
        await stage.pilot.pause()
        yield stage
