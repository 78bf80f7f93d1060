"""The app without a terminal, on outcomes and clocks from the test."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import asynccontextmanager
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from support.builders import NOW, listed, reading
from support.fake_clock import Script, World, walk
from support.own_keys import OWN_KEYS
from support.quick_apps import draw_when_idle
from textual.events import Key
from textual.keys import REPLACED_KEYS, key_to_character

from envwatch.alerts.acknowledgements import NO_ACKS, NO_SERVERS
from envwatch.alerts.monitor import Monitor
from envwatch.config.declared import ScreenSettings
from envwatch.files import export_here
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import PolledProfile, Poller, Runtime, Session
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.arguments import Inputs, Preferences
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.screen.widgets.problem_block import ProblemBlock
from envwatch.views.table.block import BlockLine
from envwatch.views.table.table_view import GroupHeader
from envwatch.watch.loop import Watch, ignore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from rich.style import Style
    from textual.pilot import Pilot
    from textual.strip import Strip
    from textual.widget import Widget

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.alerts.alert_policy import AlertPolicy
    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.screen.widgets.environment_table import EnvironmentTable
    from envwatch.watch.loop import Decisions, News


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
"""Textual's names of punctuation keys."""


def target_of(poller: Poller, profile: str = "default") -> PolledProfile:
    return PolledProfile(profile=profile, host="api.example", key_origin="a test", poller=poller)


def watch_of(session: Session) -> Watch:
    """Return a watch of the present, for an app."""
    limits = {profile: target.poller.limits for profile, target in session.targets.items()}
    return Watch(Monitor.create(limits), session, has_log=True)


class Queue(Session):
    """A session whose outcomes a test hands out."""

    def __init__(self, targets: Mapping[SafeText, PolledProfile]) -> None:
        super().__init__(targets)
        self.outcomes: asyncio.Queue[tuple[SafeText, Outcome]] = asyncio.Queue()
        self._is_first = True

    async def __anext__(self) -> tuple[SafeText, Outcome]:
        if not self._is_first:
            self.outcomes.task_done()
        self._is_first = False
        return await self.outcomes.get()


async def _until_set(event: asyncio.Event, _seconds: float) -> None:
    await event.wait()


class RecordingApp(EnvwatchApp):
    """An app that records sequences sent to the terminal, except frames."""

    def __init__(self, inputs: Inputs, preferences: Preferences) -> None:
        super().__init__(inputs, preferences)
        self.sent: list[str] = []
        self.titles: list[str] = []

    def bell(self) -> None:
        """Textual rings no bell without a terminal."""
        self.send(BELL)

    def send(self, sequence: str) -> None:
        self.sent.append(sequence)

    def show_title(self, title: SafeText) -> None:
        self.titles.append(title)


class Stage:
    def __init__(
        self,
        *,
        profiles: Sequence[SafeText] = (NO_PROFILE,),
        poller: Poller | None = None,
        is_drawn_when_idle: bool = True,
        now: float = 0.0,
        targets: Mapping[SafeText, PolledProfile] | None = None,
        record: Callable[[Monitor, MonitorChanges], None] = ignore,
        news: Callable[[Clocks], News] | None = None,
        kept: Callable[[Decisions], None] = ignore,
        acks: Acks = NO_ACKS,
        policies: Mapping[SafeText, AlertPolicy] = MappingProxyType({}),
        servers: Mapping[SafeText, SafeText] = NO_SERVERS,
        **options: Any,
    ) -> None:
        self.now = now
        """Seconds since `NOW`, on all clocks."""
        self.poller = poller or Poller(Script(World(), walk()), Limits())
        """Has not polled yet, unless the test passes a poller."""
        if targets is None:
            targets = {profile: target_of(self.poller, profile or "default") for profile in profiles}
        limits = {profile: target.poller.limits for profile, target in targets.items()} or {NO_PROFILE: Limits()}
        name = clean(next((target.profile for target in targets.values()), ""))
        monitor = Monitor.create(limits, policies, profile_name=name, servers=servers).with_acks(acks)
        self._queue = Queue(targets)
        runtime = Runtime(self.clocks, _until_set)
        awaits_past = options.get("pasts", {}).keys()
        self.watch = Watch(
            monitor, self._queue, read=news, keep=kept, runtime=runtime, has_log=True, awaits_past=awaits_past
        )
        self.watch.observers.append(lambda update: record(update.monitor, update.changes))
        inputs = {each.name: options.pop(each.name) for each in fields(Inputs) if each.name in options}
        looks = {each.name: options.pop(each.name) for each in fields(ScreenSettings) if each.name in options}
        preferences = Preferences(**{"keymap": OWN_KEYS, "settings": ScreenSettings(**looks), **options})
        self.app = RecordingApp(Inputs(**{"watch": self.watch, "export": export_here, **inputs}), preferences)
        if is_drawn_when_idle:
            draw_when_idle(self.app)
        self.pilot: Pilot[int]

    @property
    def at(self) -> float:
        """Milliseconds since the epoch."""
        return NOW + self.now * 1000

    def clocks(self) -> Clocks:
        return reading(self.at)

    async def take(self, outcome: Outcome, profile: SafeText = NO_PROFILE) -> None:
        """Queue an outcome, and wait until the app shows the result."""
        self._queue.outcomes.put_nowait((profile, outcome))
        await self._queue.outcomes.join()
        await self.pilot.pause()

    async def show(self, rows: Sequence[Environment], profile: SafeText = NO_PROFILE) -> None:
        """Queue a listing, and wait until the app shows the rows."""
        await self.take(listed(rows, self.at), profile)

    async def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        await self.app.take(self.watch.tick())
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            event = Key(key, key_to_character(REPLACED_KEYS.get(key, key)))
            event.set_sender(self.app)
            self.app.post_message(event)
        await self.turns()

    async def turns(self) -> None:
        """Wait until every key is handled and no work is pending."""
        await self.pilot.pause()
        while not self.app.input_queue.is_empty:
            await self.pilot.pause()
            await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*(_KEYS.get(letter, letter) for letter in text))

    def go_to(self, id_: str) -> None:
        self.app.dashboard.select((NO_PROFILE, clean(id_)))

    @property
    def copied(self) -> list[str]:
        """Texts sent to the terminal's clipboard."""
        found = [re.fullmatch(r"\x1b\]52;c;(.*)\x07", sequence) for sequence in self.app.sent]
        return [base64.b64decode(match[1]).decode() for match in found if match]

    @property
    def table(self) -> EnvironmentTable:
        return self.app.dashboard.table

    @property
    def names(self) -> list[str]:
        """Names of the environments in the view, in order, including folded rows."""
        return [tracked.environment.name for tracked in self.table.rows]

    @property
    def cursor(self) -> str | None:
        """The environment under the cursor, an incident's names, or a group header's title."""
        line = self.table.line
        if isinstance(line, BlockLine):
            return ", ".join(tracked.environment.name for tracked in line.members)
        return None if line is None else line.title if isinstance(line, GroupHeader) else line.environment.name

    @property
    def matching(self) -> list[str]:
        """Names of the environments that match the view, in table and block, in order."""
        return [tracked.environment.name for tracked in self.table.matching]

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)

    @property
    def news(self) -> str:
        """The news bar's first line, which answers keys, without the rule above the events."""
        first = self.app.dashboard.query_one(NewsBar).region.y
        return next(line.strip() for line in self.lines[first:] if line.strip("─"))

    @property
    def body(self) -> list[str]:
        return [line.strip(" ▌►") for line in self.lines_of(self.table)[1:] if line.strip()]

    @property
    def titles(self) -> str:
        return self.lines_of(self.table)[0]

    @property
    def block(self) -> list[str]:
        block = self.app.dashboard.query_one(ProblemBlock)
        return self.lines_of(block)[: len(block.content)]

    @property
    def rule(self) -> str:
        return self.lines_of(self.app.dashboard.query_one(ProblemBlock))[-1]

    def lines_of(self, widget: Widget) -> list[str]:
        return self.lines[widget.region.y : widget.region.bottom]

    @property
    def lines(self) -> list[str]:
        return ["".join(segment.text for segment in strip) for strip in self.strips]

    @property
    def strips(self) -> list[Strip]:
        return self.app.screen._compositor.render_strips()  # noqa: SLF001  Textual has no other way to the drawn text

    def line_of(self, text: str) -> Strip:
        return next(strip for strip in self.strips if text in strip.text)


def style_in(strip: Strip, text: str) -> Style:
    """Return the single style of a text in a line of narrow characters."""
    place = strip.text.index(text)
    styles = [segment.style for segment in strip for _ in segment.text][place : place + len(text)]
    assert len(set(styles)) == 1, (text, styles)
    assert styles[0] is not None
    return styles[0]


@asynccontextmanager
async def staged(size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Stage]:
    async with running(Stage(**options), size) as stage:
        yield stage


@asynccontextmanager
async def running(stage: Stage, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    async with stage.app.run_test(size=size) as stage.pilot:
        await stage.pilot.pause()
        yield stage
