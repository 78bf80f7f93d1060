"""The dashboard that no key ends, only TERM or a crash: `python unending_app.py`, for tests that press any key."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING

from builders import environment
from stage import marked, post_of

from envwatch.censor import Censor
from envwatch.cli import crashed, show
from envwatch.events import SOLE
from envwatch.journal import Journal
from envwatch.outcome import ListedPage, Snapshot
from envwatch.poller import Poller
from envwatch.rules import Rules
from envwatch.tui.app import EnvwatchApp

if TYPE_CHECKING:
    from rich.console import RenderableType


class SmallClient:
    """Finds a few environments, one of them offline."""

    async def snapshot(self) -> Snapshot:
        """List the environments."""
        now = time.time() * 1000
        rows = [environment(f"env-{number}", lastHeartbeat=now) for number in range(12)]
        return Snapshot(pages=(ListedPage([*rows, environment("off-1", connectionId=None)], now),), requests=1)


class UnendingApp(EnvwatchApp):
    """Goes on after every key that would end it."""

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """End after TERM, and else stay."""
        if return_code == 128 + signal.SIGTERM:
            super().exit(result, return_code, message)


async def main(journal: Journal) -> int:
    """Run the app."""
    poller = Poller(SmallClient(), Rules())
    app = UnendingApp(posts={SOLE: post_of(poller)}, outcomes=marked(journal.watching(poller.outcomes(), SOLE)))
    return await show(app, journal)


if __name__ == "__main__":
    log = Journal(None, Censor())
    try:
        code = asyncio.run(main(log))
    except Exception as error:  # noqa: BLE001  as the command line does
        code = crashed(error, log)
    sys.exit(code)
