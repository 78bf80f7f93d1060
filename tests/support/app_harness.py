"""The app without a terminal, on outcomes and clocks that the test hands out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.builders import NOW, listed, reading
from support.fake_clock import Script, World, walk

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.limits import Limits
from envwatch.sources.poller import Poller
from envwatch.sources.targets import Target
from envwatch.storage.export import export_here
from envwatch.tui.app import EnvwatchApp
from envwatch.views.grouping import GroupHeader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from textual.pilot import Pilot

    from envwatch.model.clock import Reading
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean
    from envwatch.tui.widgets.environment_table import EnvironmentTable


BELL = "\x07"

_KEYS = {
    " ": "space",
    "/": "slash",
    ":": "colon",
    "-": "minus",
    "+": "plus",
    ",": "comma",
    ".": "full_stop",
    "=": "equals_sign",
}
"""Names of the keys that type what is no letter or digit."""


def post_of(poller: Poller, profile: str = "default", limits: Limits | None = None) -> Target:
    """A profile that is watched."""
    limits = limits or Limits()
    return Target(profile=profile, host="api.example", key_origin="a test", poller=poller, limits=limits)


async def marked(outcomes: AsyncIterator[Outcome]) -> AsyncIterator[tuple[Clean, Outcome]]:
    """The outcomes of the one profile that is watched."""
    async for outcome in outcomes:
        yield NO_PROFILE, outcome


class HeardApp(EnvwatchApp):
    """The app, and what it sends to the terminal beside its frames."""

    def __init__(self, **wishes: Any) -> None:
        super().__init__(**wishes)
        self.sent: list[str] = []

    def bell(self) -> None:
        """Without a terminal, Textual rings no bell."""
        self.send(BELL)

    def send(self, sequence: str) -> None:
        self.sent.append(sequence)


class Stage:
    """An app, its clock and the outcomes that it gets."""

    def __init__(
        self,
        *,
        ascii_only: bool = False,
        profiles: Sequence[Clean] = (NO_PROFILE,),
        poller: Poller | None = None,
        **wishes: Any,
    ) -> None:
        self.now = 0.0
        """Seconds since `NOW`, on all clocks."""
        self._queue: asyncio.Queue[tuple[Clean, Outcome]] = asyncio.Queue()
        self.poller = poller or Poller(Script(World(), walk()), Limits())
        """One that has not asked yet, unless the test brings its own."""
        self.app = HeardApp(
            targets={profile: post_of(self.poller, profile or "default") for profile in profiles},
            outcomes=self._outcomes(),
            ascii_only=ascii_only,
            clocks=self.clocks,
            export=export_here,
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

    def hand_out(self, outcome: Outcome, profile: Clean = NO_PROFILE) -> None:
        """Have an outcome ready for whenever the app asks for one."""
        self._queue.put_nowait((profile, outcome))

    async def take(self, outcome: Outcome, profile: Clean = NO_PROFILE) -> None:
        """Hand out an outcome, and wait until all of the app has taken it in."""
        self.hand_out(outcome, profile)
        await self._queue.join()
        await self.pilot.pause()

    async def show(self, rows: Sequence[Environment], profile: Clean = NO_PROFILE) -> None:
        """Hand out a listing."""
        await self.take(listed(rows, self.at), profile)

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, all of it between two ticks of the app's clock."""
        self.now += seconds
        self.app._tick()  # noqa: SLF001  the app has a timer for it, which waits for real seconds
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.turns()

    async def turns(self) -> None:
        """Wait until each key has had its turn, and until everything is at rest."""
        await self.pilot.pause()
        while not self.app.input_queue.is_empty:
            await self.pilot.pause()
            await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text, then let everything settle."""
        await self.press(*(_KEYS.get(letter, letter) for letter in text))

    @property
    def table(self) -> EnvironmentTable:
        return self.app.dashboard.table

    @property
    def names(self) -> list[str]:
        """Names of the environments that the view shows, folded or not, in order."""
        return [tracked.environment.name for tracked in self.table.rows]

    @property
    def cursor(self) -> str | None:
        """The name of the environment under the cursor, or the title of the heading."""
        line = self.table.line
        return None if line is None else line.title if isinstance(line, GroupHeader) else line.environment.name

    @property
    def text(self) -> str:
        """All that the screen on top shows."""
        return "\n".join(line.rstrip() for line in self.lines)

    @property
    def news(self) -> str:
        """The line at the foot of the table, where keys are answered."""
        return self.lines[-2].strip()

    @property
    def body(self) -> list[str]:
        """The lines of the table below its header that say something."""
        height = self.table.size.height - 1
        return [line.strip(" ▌") for line in self.lines[2 : 2 + height] if line.strip()]

    @property
    def lines(self) -> list[str]:
        """What the screen on top shows."""
        screen = self.app.screen
        return ["".join(segment.text for segment in strip) for strip in screen._compositor.render_strips()]  # noqa: SLF001  Textual has no other way to the drawn text


@asynccontextmanager
async def staged(size: tuple[int, int] = (80, 24), **wishes: Any) -> AsyncIterator[Stage]:
    """Run an app of some size."""
    async with running(Stage(**wishes), size) as stage:
        yield stage


@asynccontextmanager
async def running(stage: Stage, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """Run what has been prepared."""
    async with stage.app.run_test(size=size) as stage.pilot:
        await stage.pilot.pause()
        yield stage
