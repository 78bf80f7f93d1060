"""The watch: who changes the monitor, and which state files come first."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from support.builders import NOW, beating, key_of, listed, reading

from envwatch.fleet.alerting.acknowledgements import Ack
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.sources.poller import Runtime, Session
from envwatch.watch.loop import Decisions, News, Watch

if TYPE_CHECKING:
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


ACK = Ack(ServerMs(NOW), clean("disk"))


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


async def test_a_decision_during_the_reading_of_the_files_stays() -> None:
    is_reading, goes_on = threading.Event(), threading.Event()

    def read(_now: Clocks) -> News:
        is_reading.set()
        goes_on.wait()
        return News(acks={key_of("theirs"): ACK}, words={})

    watch = Watch(new_monitor(), Prompt(), read=read)
    following = asyncio.ensure_future(anext(watch))
    await asyncio.to_thread(is_reading.wait)
    watch.decide(Decisions(acks={key_of("ours"): ACK}))
    goes_on.set()
    update = await following
    while update.changes.outcome is None:
        update = await anext(watch)
    assert update.monitor.acks.keys() == {key_of("theirs"), key_of("ours")}
    await watch.aclose()


async def test_a_slow_disk_stops_no_second() -> None:
    goes_on = threading.Event()

    def read(_now: Clocks) -> News:
        goes_on.wait()
        return News()

    seconds = iter(range(100))
    watch = Watch(new_monitor(), Prompt(), read=read, runtime=Runtime(lambda: reading(NOW + next(seconds) * 1000)))
    assert (await anext(watch)).changes.outcome is None
    goes_on.set()
    await watch.aclose()


async def test_records_of_earlier_runs_are_added_to_the_newest_monitor() -> None:
    watch = Watch(new_monitor(), has_log=True)
    is_adding, goes_on = threading.Event(), threading.Event()

    def seeded(monitor: Monitor) -> Monitor:
        is_adding.set()
        goes_on.wait()
        return monitor.with_acks({key_of("old"): ACK})

    adding = asyncio.ensure_future(watch.seed(seeded))
    await asyncio.to_thread(is_adding.wait)
    watch.take(NO_PROFILE, listed(beating(3)))
    goes_on.set()
    await adding
    assert len(watch.monitor.fleet) == 3
    assert watch.monitor.acks.keys() == {key_of("old")}
