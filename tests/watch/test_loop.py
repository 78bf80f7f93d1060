"""The watch: who changes the monitor, and which state files come first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.builders import beating, listed, reading

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.limits import Limits
from envwatch.sources.poller import Runtime, Session
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


class Prompt(Session):
    """A session that has an outcome at once."""

    def __init__(self) -> None:
        super().__init__({})
        self.has_given = False

    async def __anext__(self) -> tuple[SafeText, Outcome]:
        await asyncio.sleep(0)
        self.has_given = True
        return NO_PROFILE, listed(beating(1))


def new_monitor() -> Monitor:
    return Monitor.create({NO_PROFILE: Limits()})


async def test_an_outcome_before_the_end_of_a_wait_does_not_end_the_next_wait() -> None:
    """Otherwise the loop spins: a wait for an event that is set gives no other task a turn."""
    session, waits = Prompt(), 0

    async def wait(event: asyncio.Event, _seconds: float) -> None:
        nonlocal waits
        waits += 1
        assert waits < 20, "the loop spins"
        while not (event.is_set() or session.has_given):  # noqa: ASYNC110  before the callback that sets an event
            await asyncio.sleep(0)
        session.has_given = False

    watch = Watch(new_monitor(), session, runtime=Runtime(reading, wait))
    outcomes = [(await anext(watch)).changes.outcome for _ in range(4)]
    assert None not in outcomes
    await watch.aclose()
