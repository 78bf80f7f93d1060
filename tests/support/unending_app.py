"""The dashboard that only TERM or a crash ends: `python unending_app.py`, for tests that press random keys."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.app_harness import target_of, watch_of
from support.builders import environment

from envwatch.cli.bootstrap import report_crash
from envwatch.cli.commands.dashboard import show
from envwatch.files import export_here
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import ListedPage, Snapshot
from envwatch.redactor import Redactor
from envwatch.sources.poller import Poller, Session
from envwatch.storage.log import PollLog
from envwatch.tui.app import EnvwatchApp
from envwatch.tui.arguments import Inputs, Preferences

if TYPE_CHECKING:
    from rich.console import RenderableType


class SmallClient:
    async def snapshot(self) -> Snapshot:
        now = time.time() * 1000
        rows = [environment(f"env-{number}", lastHeartbeat=now) for number in range(12)]
        return Snapshot.of_pages(
            pages=(ListedPage([*rows, environment("off-1", connectionId=None)], WallMs(now)),), requests=1
        )


class UnendingApp(EnvwatchApp):
    """Ignores every key that ends an app."""

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        if return_code == 128 + signal.SIGTERM:
            super().exit(result, return_code, message)


async def main(poll_log: PollLog) -> int:
    targets = {NO_PROFILE: target_of(Poller(SmallClient(), Limits()))}
    async with Session(targets, poll_log.observe) as session:
        app = UnendingApp(Inputs(watch=watch_of(session), export=export_here), Preferences())
        return await show(app, poll_log)


if __name__ == "__main__":
    log = PollLog(None, Redactor())
    try:
        code = asyncio.run(main(log))
    except Exception as error:  # noqa: BLE001  as the command line does
        code = report_crash(error, log)
    sys.exit(code)
