"""Draws the pictures of README.md and docs/screens.md: the dashboard on the demo's fleet, in simulated time.

`uv run python docs/pictures.py [NAME …]` draws all pictures, or the named ones; `report` is docs/report.md. Clock,
random numbers and server answers are simulated: every run draws the same pictures.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from animation import Frame, animated
from textual.widgets import Input

from envwatch.alerts.monitor import Monitor
from envwatch.cli.demo_past import write_past
from envwatch.cli.demo_settings import DEMO_PROFILE, uptimes_before
from envwatch.config.declared import ScreenSettings
from envwatch.demo.fleet import DemoFleet
from envwatch.demo.machines import SIZE
from envwatch.demo.story import HINTS
from envwatch.files import export_here
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.stored import StoredPast, history_folder
from envwatch.letta.poller import PolledProfile, Poller, Runtime, Session
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, ListedPage, Snapshot, SourceError
from envwatch.model.page import parse_page
from envwatch.model.text import SafeText, clean
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.arguments import Inputs, Preferences
from envwatch.screen.hinted_app import HintedApp
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from textual.pilot import Pilot

FOLDER = Path(__file__).parent / "pictures"
REPORT = Path(__file__).parent / "report.md"
STARTED = datetime(2026, 11, 25, 2, 57, 40, tzinfo=UTC).timestamp()
POD_LOST_S = 189
"""Just after the demo loses a pod."""
FAILURES = {
    Cause.TIMEOUT: SafeText("api.letta.com did not answer within 10 s. Is the network up here?"),
    Cause.UNAUTHORIZED: SafeText(
        "api.letta.com answered 401: Unauthorized. Is the key from LETTA_API_KEY right, and still valid?"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A terminal, a moment and the pressed keys."""

    size: tuple[int, int] = (80, 24)
    """Columns and lines."""
    seconds: int = POD_LOST_S
    """From the start."""
    keys: tuple[str, ...] = ()
    theme: str = "envwatch-dark"
    columns: tuple[str, ...] = ()
    """Ids; empty for the columns that fit."""
    ascii_only: bool = False
    environ: Mapping[str, str] | None = None
    failure: Cause | None = None
    """Of all polls from `POD_LOST_S` on."""
    has_past: bool = False
    pressed_at: Mapping[int, str] | None = None
    """Keys by second, for an animated picture with the demo's hints."""


PICTURES = {
    "first-20-seconds": Picture(
        seconds=20, has_past=True, pressed_at={7: "enter", 11: "E", 15: "q", 16: "q", 18: "e", 20: "q"}
    ),
    "outage": Picture(),
    "outage-with-pane": Picture(size=(120, 36)),
    "explain": Picture(size=(120, 36), keys=("E",)),
    "groups": Picture(keys=("b", "p", "enter", "G", "x", "x")),
    "blind": Picture(seconds=POD_LOST_S + 100, failure=Cause.TIMEOUT),
    "key-refused": Picture(seconds=POD_LOST_S + 20, failure=Cause.UNAUTHORIZED),
    "rewound": Picture(seconds=40, has_past=True, keys=("T", *"02:20", "enter")),
    "rewound-with-pane": Picture(size=(120, 36), seconds=40, has_past=True, keys=("T", *"02:20", "enter")),
    "last-24-hours": Picture(seconds=40, has_past=True, columns=("state", "for", "name", "24h", "why")),
    "help": Picture(keys=("?",)),
    "filter": Picture(keys=("/", *"mode:unr status:off")),
    "light": Picture(size=(100, 24), theme="envwatch-light"),
    "ascii-without-colour": Picture(ascii_only=True, environ={"NO_COLOR": "1"}),
}


class World:
    """Simulated time and server: the poller's source and runtime."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        started_at = int(STARTED * 1000)
        self._fleet = DemoFleet(SIZE, started_at)
        self._s = 0.0
        """Since the start."""
        self._until = 0.0
        self._goes_on = asyncio.Event()
        self._has_come = asyncio.Event()

    def clocks(self) -> Clocks:
        """Read the clocks, which agree with the server's."""
        return Clocks(WallMs((STARTED + self._s) * 1000), MonotonicS(self._s))

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Let the time pass at once, up to `pass_until`'s limit."""
        for _ in range(3):
            await asyncio.sleep(0)
        if event.is_set():
            return
        end = self._s + seconds
        while end > self._until:
            self._s = max(self._s, self._until)
            self._has_come.set()
            await self._goes_on.wait()
        self._s = end

    async def pass_until(self, seconds: float) -> None:
        """Let the time pass, and wait for all polls before `seconds` after the start."""
        self._until = seconds
        self._has_come.clear()
        self._goes_on.set()
        self._goes_on.clear()
        await self._has_come.wait()

    async def snapshot(self) -> Snapshot:
        """Return the fleet at this moment, or raise the picture's failure."""
        cause = self._picture.failure
        if cause is not None and self._s >= POD_LOST_S:
            raise SourceError(Failure(cause, FAILURES[cause]))
        asked_at = self.clocks().wall
        rows, _ = self._fleet.page(int(asked_at), limit=None)
        page = parse_page(b'{"connections":[%b],"hasNextPage":false}' % b",".join(rows))
        if self._picture.has_past:
            self._s += 0.05  # the hour column needs a loss with a duration
        return Snapshot.of_pages(
            pages=(ListedPage(page.environments, asked_at),), clock=(OffsetBounds(-500, 500),), requests=1
        )


def write_demo_past(state_folder: Path) -> Path:
    """Write the demo's past, and return its history folder."""
    folder = history_folder(state_folder, DEMO_PROFILE, DEMO_PROFILE)
    write_past(folder, int(STARTED * 1000))
    return folder


@asynccontextmanager
async def running(picture: Picture, past_folder: Path) -> AsyncIterator[tuple[World, Pilot[int]]]:
    """Run the dashboard, paused at its start."""
    world = World(picture)
    pasts = {NO_PROFILE: StoredPast(past_folder)} if picture.has_past else {}
    readable = asyncio.Queue[SafeText]()
    for profile in pasts:
        readable.put_nowait(profile)
    poller = Poller(world, Limits(), Runtime(world.clocks, world.wait, lambda: 0.5))
    profile, host = ("acme", "api.letta.com") if picture.pressed_at is None else ("demo", "127.0.0.1:40153")
    target = PolledProfile(profile=profile, host=host, key_origin="LETTA_API_KEY", poller=poller)
    async with Session({NO_PROFILE: target}) as session:
        monitor = Monitor.create({NO_PROFILE: Limits()}, profile_name=clean(profile))
        monitor = monitor.with_uptime_record(NO_PROFILE, uptimes_before(SIZE))
        watch = Watch(monitor, session, runtime=Runtime(world.clocks), has_log=True)
        inputs = Inputs(watch=watch, export=export_here, pasts=pasts, readable=readable)
        looks = ScreenSettings(theme=picture.theme, columns=picture.columns)
        preferences = Preferences(settings=looks, ascii_only=picture.ascii_only)
        app = (
            EnvwatchApp(inputs, preferences)
            if picture.pressed_at is None
            else HintedApp(inputs, preferences, HINTS, close_key="H")
        )
        async with app.run_test(size=picture.size) as pilot:
            await world.pass_until(0)
            await pilot.pause(2 if picture.has_past else 0)  # threads read the past
            yield world, pilot


async def draw(picture: Picture, past_folder: Path) -> str:
    """Return a picture as SVG."""
    if picture.pressed_at is not None:
        return await draw_animated(picture, picture.pressed_at, past_folder)
    async with running(picture, past_folder) as (world, pilot):
        await world.pass_until(picture.seconds)
        await pilot.pause(1.5)
        for key in picture.keys:
            await pilot.press(key)
            await pilot.pause(0.2)
        if picture.has_past:
            await pilot.pause(2)
            await world.pass_until(picture.seconds + 1)  # redraws the time-dependent parts
            await pilot.pause(1.5)  # a tick comes within a second
        for text_input in pilot.app.screen.query(Input):
            text_input.cursor_blink = False
        await pilot.pause(1.5)
        return smaller(pilot.app.export_screenshot(title="envwatch"))


async def draw_animated(picture: Picture, pressed_at: Mapping[int, str], past_folder: Path) -> str:
    """Return an SVG that shows each second from the start."""
    frames = []
    async with running(picture, past_folder) as (world, pilot):
        for second in range(picture.seconds + 1):
            await world.pass_until(second)
            await pilot.pause(1.1)  # the screen draws ages once a second
            if key := pressed_at.get(second, ""):
                await pilot.press(key)
                await pilot.pause(0.2)
            frames.append(Frame(smaller(pilot.app.export_screenshot(title="envwatch demo")), f"{second} s", key))
    return animated(frames)


_CELLS = re.compile(r'<rect fill="([^"]+)" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="24.65" shape.*?/>')


def smaller(svg: str) -> str:
    """Return a picture with short names, without comments, fonts, empty texts and clipped lines."""
    svg = re.sub(r"<!--.*?-->", "", svg)
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    svg = re.sub(r"terminal-[0-9]+-", "t-", svg).replace("&#160;", "\N{NO-BREAK SPACE}")
    svg = re.sub(r'<clipPath id="t-line-[0-9]+">.*?</clipPath>', "", svg, flags=re.DOTALL)
    svg = re.sub(r' clip-path="url\(#t-line-[0-9]+\)"', "", svg)
    svg = re.sub(r"<text[^>]*>\s*\n\s*</text>", "", svg)
    return re.sub(r"\n\s*\n+", "\n", _with_wide_cells(svg))


def _with_wide_cells(svg: str) -> str:
    """Return a picture with neighbours of one colour as one rectangle."""
    joined: list[tuple[str, float, str, float]] = []
    for fill, x, y, width in _CELLS.findall(svg):
        if joined and (joined[-1][0], joined[-1][2]) == (fill, y):
            joined[-1] = (fill, joined[-1][1], y, float(x) + float(width) - joined[-1][1])
        elif float(width):
            joined.append((fill, float(x), y, float(width)))
    cells = "".join(
        f'<rect fill="{fill}" x="{x:g}" y="{y}" width="{width:g}" height="24.65" shape-rendering="crispEdges"/>'
        for fill, x, y, width in joined
    )
    first = _CELLS.search(svg)
    return svg if first is None else f"{svg[: first.start()]}{cells}{_CELLS.sub('', svg[first.start() :])}"


def main(names: list[str]) -> None:
    """Write the pictures."""
    if unknown := set(names) - {*PICTURES, "report"}:
        sys.exit(f"no such picture: {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}, report")
    os.environ["TZ"] = "UTC"
    time.tzset()
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        state_folder = Path(folder) / "envwatch"
        past_folder = write_demo_past(state_folder)
        if not names or "report" in names:
            REPORT.write_bytes(report_in(Path(folder)))
        write_pictures([name for name in names or PICTURES if name in PICTURES], past_folder)


def report_in(state_home: Path) -> bytes:
    """Return the report on the demo's last eight hours."""
    until = datetime.fromtimestamp(STARTED, UTC)
    times = [f"--since={(until - timedelta(hours=8)).isoformat()}", f"--until={until.isoformat()}"]
    command = [sys.executable, "-m", "envwatch", "report", f"--profile={DEMO_PROFILE}", *times]
    environ = {**os.environ, "XDG_STATE_HOME": str(state_home), "XDG_CONFIG_HOME": str(state_home)}
    return subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - our own program


def write_pictures(names: Sequence[str], past_folder: Path) -> None:
    """Draw the named pictures."""
    for name in names:
        picture = PICTURES[name]
        os.environ.pop("NO_COLOR", None)
        os.environ.update(picture.environ or {})
        path = FOLDER / f"{name}.svg"
        path.write_text(asyncio.run(draw(picture, past_folder)), encoding="utf-8")
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
