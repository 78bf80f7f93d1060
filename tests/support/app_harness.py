"""The app without a terminal, on outcomes and clocks that the test hands out."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from support.builders import NOW, listed, reading
from support.fake_clock import Script, World, walk
from support.own_keys import OWN_KEYS
from textual.events import Key
from textual.keys import REPLACED_KEYS, key_to_character

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.sources.poller import Poller
from envwatch.sources.session import Target
from envwatch.storage.export import export_here
from envwatch.tui.app import EnvwatchApp
from envwatch.tui.arguments import Inputs, Persistence, Preferences
from envwatch.tui.widgets.news_bar import NewsBar
from envwatch.tui.widgets.problem_block import ProblemBlock
from envwatch.views.table.block import BlockLine
from envwatch.views.table.grouping import GroupHeader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rich.style import Style
    from textual.pilot import Pilot
    from textual.strip import Strip
    from textual.widget import Widget

    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.tui.widgets.environment_table import EnvironmentTable


BELL = "\x07"

_Arguments = TypeVar("_Arguments", Preferences, Persistence)

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
"""Textual's names of the keys that type punctuation."""


def target_of(poller: Poller, profile: str = "default", limits: Limits | None = None) -> Target:
    """Return a target for a poller."""
    limits = limits or Limits()
    return Target(profile=profile, host="api.example", key_origin="a test", poller=poller, limits=limits)


def _taken(kind: type[_Arguments], options: dict[str, Any]) -> _Arguments:
    """Move the options that are fields of a dataclass into one."""
    return kind(**{each.name: options.pop(each.name) for each in fields(kind) if each.name in options})


class RecordingApp(EnvwatchApp):
    """The App, recording what it sends to the terminal beside its frames."""

    def __init__(self, inputs: Inputs, saved: Persistence, preferences: Preferences) -> None:
        super().__init__(inputs, saved, preferences)
        self.sent: list[str] = []
        self.titles: list[str] = []

    def bell(self) -> None:
        """Without a terminal, Textual rings no bell."""
        self.send(BELL)

    def send(self, sequence: str) -> None:
        self.sent.append(sequence)

    def show_title(self, title: SafeText) -> None:
        self.titles.append(title)


class Stage:
    """An App with its clock and its outcomes."""

    def __init__(
        self,
        *,
        profiles: Sequence[SafeText] = (NO_PROFILE,),
        poller: Poller | None = None,
        **options: Any,
    ) -> None:
        self.now = 0.0
        """Seconds since `NOW`, on all clocks."""
        self._queue: asyncio.Queue[tuple[SafeText, Outcome]] = asyncio.Queue()
        self.poller = poller or Poller(Script(World(), walk()), Limits())
        """Has not polled yet, unless the test brings its own."""
        targets = {profile: target_of(self.poller, profile or "default") for profile in profiles}
        inputs = {"targets": targets, "outcomes": self._outcomes(), "clocks": self.clocks}
        options = {"export": export_here, "keymap": OWN_KEYS, **inputs, **options}
        preferences, saved = _taken(Preferences, options), _taken(Persistence, options)
        self.app = RecordingApp(Inputs(**options), saved, preferences)
        self.pilot: Pilot[int]

    @property
    def at(self) -> float:
        """Now in milliseconds since the epoch."""
        return NOW + self.now * 1000

    def clocks(self) -> Clocks:
        return reading(self.at)

    async def _outcomes(self) -> AsyncIterator[tuple[SafeText, Outcome]]:
        while True:
            yield await self._queue.get()
            self._queue.task_done()

    def hand_out(self, outcome: Outcome, profile: SafeText = NO_PROFILE) -> None:
        """Queue an outcome for the App."""
        self._queue.put_nowait((profile, outcome))

    async def take(self, outcome: Outcome, profile: SafeText = NO_PROFILE) -> None:
        """Queue an outcome, and wait until the App shows it."""
        self.hand_out(outcome, profile)
        await self._queue.join()
        await self.pilot.pause()

    async def show(self, rows: Sequence[Environment], profile: SafeText = NO_PROFILE) -> None:
        """Queue a listing, and wait until the App shows it."""
        await self.take(listed(rows, self.at), profile)

    async def tick(self, seconds: float = 1.0) -> None:
        """Advance the clock in one tick of the App."""
        self.now += seconds
        self.app._tick()  # noqa: SLF001  its timer waits for real seconds
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys, which arrive in one packet, and wait until they are handled."""
        for key in keys:
            event = Key(key, key_to_character(REPLACED_KEYS.get(key, key)))
            event.set_sender(self.app)
            self.app.post_message(event)
        await self.turns()

    async def turns(self) -> None:
        """Wait until every key has been handled and nothing is pending."""
        await self.pilot.pause()
        while not self.app.input_queue.is_empty:
            await self.pilot.pause()
            await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text, and wait until it is handled."""
        await self.press(*(_KEYS.get(letter, letter) for letter in text))

    def go_to(self, id_: str) -> None:
        """Put the cursor on the line of an environment."""
        self.app.dashboard.select((NO_PROFILE, clean(id_)))

    @property
    def copied(self) -> list[str]:
        """The texts that the terminal was asked to take."""
        found = [re.fullmatch(r"\x1b\]52;c;(.*)\x07", sequence) for sequence in self.app.sent]
        return [base64.b64decode(match[1]).decode() for match in found if match]

    @property
    def table(self) -> EnvironmentTable:
        return self.app.dashboard.table

    @property
    def names(self) -> list[str]:
        """Names of the environments that the view shows, folded or not, in order."""
        return [tracked.environment.name for tracked in self.table.rows]

    @property
    def cursor(self) -> str | None:
        """The name of the environment under the cursor, the names of an incident, or the title of a group's header."""
        line = self.table.line
        if isinstance(line, BlockLine):
            return ", ".join(tracked.environment.name for tracked in line.members)
        return None if line is None else line.title if isinstance(line, GroupHeader) else line.environment.name

    @property
    def matching(self) -> list[str]:
        """Names of the environments that match the view, in the table and in the block, in order."""
        return [tracked.environment.name for tracked in self.table.matching]

    @property
    def text(self) -> str:
        """The top screen as text."""
        return "\n".join(line.rstrip() for line in self.lines)

    @property
    def news(self) -> str:
        """The first line of the news bar, where keys are answered, without the rule above the events."""
        first = self.app.dashboard.query_one(NewsBar).region.y
        return next(line.strip() for line in self.lines[first:] if line.strip("─"))

    @property
    def body(self) -> list[str]:
        """The lines of the table below its titles, without empty ones."""
        return [line.strip(" ▌►") for line in self.lines_of(self.table)[1:] if line.strip()]

    @property
    def titles(self) -> str:
        """The titles of the table's columns."""
        return self.lines_of(self.table)[0]

    @property
    def block(self) -> list[str]:
        """The lines of the block."""
        block = self.app.dashboard.query_one(ProblemBlock)
        return self.lines_of(block)[: len(block.content)]

    @property
    def rule(self) -> str:
        """The rule below the block."""
        return self.lines_of(self.app.dashboard.query_one(ProblemBlock))[-1]

    def lines_of(self, widget: Widget) -> list[str]:
        """Return the lines of the screen that a widget takes."""
        return self.lines[widget.region.y : widget.region.bottom]

    @property
    def lines(self) -> list[str]:
        """The lines of the top screen."""
        return ["".join(segment.text for segment in strip) for strip in self.strips]

    @property
    def strips(self) -> list[Strip]:
        """The lines of the top screen with their styles."""
        return self.app.screen._compositor.render_strips()  # noqa: SLF001  Textual has no other way to the drawn text

    def line_of(self, text: str) -> Strip:
        """Return the first line of the top screen that has a text."""
        return next(strip for strip in self.strips if text in strip.text)


def style_in(strip: Strip, text: str) -> Style:
    """Return the style of a text in a line, which has only one; the line has narrow characters only."""
    place = strip.text.index(text)
    styles = [segment.style for segment in strip for _ in segment.text][place : place + len(text)]
    assert len(set(styles)) == 1, (text, styles)
    assert styles[0] is not None
    return styles[0]


@asynccontextmanager
async def staged(size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Stage]:
    """Run an App in a terminal of some size."""
    async with running(Stage(**options), size) as stage:
        yield stage


@asynccontextmanager
async def running(stage: Stage, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """Run a prepared stage."""
    async with stage.app.run_test(size=size) as stage.pilot:
        await stage.pilot.pause()
        yield stage
