"""Reading the past for `watch --since` does not outlast the command."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, reading
from support.memory_history import MemoryHistory

from envwatch.cli.commands.watch import EarlierEvents
from envwatch.fleet.events import NO_PROFILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import RecordedPoll


class Stalled(MemoryHistory):
    """Starts reading, and returns nothing until allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()
        self.may_end = threading.Event()
        self.has_ended = False

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        self.is_read.set()
        self.may_end.wait(5)
        self.may_end.set()
        self.has_ended = True
        return super().polls(since, until)


async def read_until_cancelled(past: Stalled) -> None:
    since = datetime.fromtimestamp(NOW / 1000 - 60, UTC)
    task = asyncio.create_task(EarlierEvents.read({NO_PROFILE: past}, since, reading(NOW)))
    assert await asyncio.to_thread(past.is_read.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_end_does_not_wait_for_a_disk_that_does_not_answer() -> None:
    past = Stalled()
    asyncio.run(read_until_cancelled(past))
    assert not past.has_ended
    past.may_end.set()
