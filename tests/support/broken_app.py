"""The dashboard with a bug: `python broken_app.py PLACE LOG`, with the key in the environment.

The app breaks at the key `t`, or at once in places that no key reaches. The exception and local variables hold the API
key, as in real bugs. The place `unending` has no bug: only TERM or a crash ends the app, whatever keys are pressed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.app_harness import target_of, watch_of
from support.builders import environment
from textual.screen import Screen
from textual.widgets import Static

from envwatch.cli.bootstrap import report_crash
from envwatch.cli.commands.dashboard import run_app
from envwatch.files import export_here
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import Poller, Session
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import ListedPage, Snapshot
from envwatch.model.redactor import Redactor
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.arguments import Inputs, Preferences
from envwatch.watch.log import PollLog

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from rich.console import RenderableType
    from textual.app import ComposeResult

    from envwatch.model.outcome import Outcome

KEY = os.environ.get("LETTA_API_KEY", "")


def fail() -> NoReturn:
    header = {"Authorization": f"Bearer {KEY}"}
    raise RuntimeError(f"a bug with {header}, {KEY[2:15]}, {KEY!r} and {KEY}")


def get_stuck() -> NoReturn:
    os.write(2, b"\x1b[Hstuck")
    while True:  # Python may lose a signal right before a sleep, and handles the signal after the sleep
        time.sleep(1)


class BrokenClient:
    def __init__(self, place: str) -> None:
        self._place = place

    async def snapshot(self) -> Snapshot:
        if self._place == "client":
            fail()
        now = time.time() * 1000
        rows = [environment(f"env-{number}", lastHeartbeat=now) for number in range(3)]
        if self._place == "unending":
            rows.append(environment("off-1", connectionId=None))
        return Snapshot.of_pages(pages=(ListedPage(rows, WallMs(now)),), requests=1)


class BrokenPoller(Poller):
    async def outcomes(self) -> AsyncGenerator[Outcome]:
        async for outcome in super().outcomes():
            yield outcome
            fail()


class BrokenWidget(Static):
    def render(self) -> NoReturn:
        fail()


class BrokenScreen(Screen[None]):
    def compose(self) -> ComposeResult:
        yield Static("one")
        fail()


class BrokenApp(EnvwatchApp):
    place: ClassVar[str] = ""

    def action_times(self) -> None:
        ways: dict[str, Callable[[], object]] = {
            "action": fail,
            "worker": lambda: self.run_worker(self._fail_later()),
            "thread": lambda: self.run_worker(fail, thread=True),
            "timer": lambda: self.set_timer(0.01, fail),
            "callback": lambda: self.call_next(fail),
            "render": lambda: self.screen.mount(BrokenWidget()),
            "compose": lambda: self.push_screen(BrokenScreen()),
            "leave": lambda: self.exit(0),
            "task": lambda: (asyncio.get_running_loop().call_soon(fail), self.call_later(self.exit, 0)),
            "stuck": get_stuck,
        }
        ways[self.place]()

    async def _fail_later(self) -> None:
        fail()

    def on_unmount(self) -> None:
        if self.place == "leave":
            fail()


class UnendingApp(EnvwatchApp):
    """Ignores every key that ends an app."""

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        if return_code == 128 + signal.SIGTERM:
            super().exit(result, return_code, message)


async def main(place: str, poll_log: PollLog) -> int:
    BrokenApp.place = place
    poller_class = BrokenPoller if place == "poller" else Poller
    targets = {NO_PROFILE: target_of(poller_class(BrokenClient(place), Limits()))}
    async with Session(targets, poll_log.observe) as session:
        inputs = Inputs(watch=watch_of(session), export=export_here)
        broken = BrokenApp(inputs, Preferences(keymap={"app.times": "t"}))
        app = UnendingApp(inputs, Preferences()) if place == "unending" else broken
        return await run_app(app, poll_log)


if __name__ == "__main__":
    redactor = Redactor()
    redactor.learn(KEY)
    log = PollLog(Path(sys.argv[2]), redactor)
    try:
        code = asyncio.run(main(sys.argv[1], log))
    except Exception as error:  # noqa: BLE001  as the command line does
        code = report_crash(error, log)
    sys.exit(code)
