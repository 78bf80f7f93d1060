"""Hours of polls on fast clocks, and the real dashboard for a minute: memory, descriptors and tasks stay flat.

`tests/bench/soak.py` runs the whole day, 17,280 polls; the bench `soak` runs ten minutes of the real dashboard.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest
from support.budget import examples
from support.builders import environment
from support.fake_clock import World, error
from support.pty_terminal import Terminal

from envwatch.alerts.monitor import Monitor
from envwatch.cli.streams import LineWriter
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import ProfileState
from envwatch.history.past import Moment
from envwatch.history.stored import Retention, size_of
from envwatch.history.writer import FolderWriter
from envwatch.letta.poller import PolledProfile, Poller, Session
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import ListedPage, PollResult, Slept, Snapshot
from envwatch.model.text import clean
from envwatch.views.events.event_stream import EventStream
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

pytestmark = pytest.mark.slow

ROWS = 500
WARM = 500
"""Polls after which memory may grow by 16 MiB, and nothing else may grow."""

FULL_LOG = 600
"""Polls with 40 changes each that fill the event log."""

MIB = 2**20

DAY = 17_280
WARM_WATCH = 2_000
"""Polls until gone rows leave at the rate of new ones: rows are kept for an hour (720 polls)."""

WARM_SCREEN = 15
"""Polls until the real dashboard has shown most parts; caches still fill for some minutes."""
MEASURED = 30
"""Polls of the growth measurement, after the warm-up."""
MOST_A_POLL = 0.15
"""MiB. Filling caches take 0.05; freezing live objects after each outcome took 0.35."""


class BusyPlatform:
    """A source whose rows beat, reconnect, change, disconnect and leave, with occasional failures.

    Args:
        world: the clocks.
        rows: number of rows.
        every: polls between rounds of changes.
    """

    def __init__(self, world: World, rows: int = ROWS, every: int = 1) -> None:
        self._world = world
        self._every = every
        self._polls = count(1)
        self._names = count(1)
        self._rows = [self._new_row() for _ in range(rows)]

    async def snapshot(self) -> Snapshot:
        poll = next(self._polls)
        await self._world.sleep(0.2)
        if poll % 40 == 0:
            raise error(pages_read=3)
        now = self._world.clocks().wall
        rows = self._rows
        for index in range(poll % 6, len(rows), 6):
            if rows[index].connection_id:
                rows[index] = replace(rows[index], last_heartbeat_at=ServerMs(now))
        if poll % self._every == 0:
            self._change(poll)
        pages = [ListedPage(rows[first : first + 100], now) for first in range(0, len(rows), 100)]
        return Snapshot.of_pages(pages=tuple(pages), requests=len(pages))

    def _change(self, poll: int) -> None:
        rows = self._rows
        rows[poll * 7 % len(rows)] = self._new_row()
        index = poll * 11 % len(rows)
        rows[index] = replace(rows[index], connection_id=clean(f"conn-{poll}"), mode=clean(f"mode-{poll % 5}"))
        index = poll * 13 % len(rows)
        rows[index] = replace(rows[index], connection_id=None, last_heartbeat_at=None)

    def _new_row(self) -> Environment:
        return environment(f"env-{next(self._names)}", lastHeartbeat=self._world.clocks().wall)


class RestlessPlatform(BusyPlatform):
    def __init__(self, world: World) -> None:
        super().__init__(world, rows=100)

    def _change(self, poll: int) -> None:
        for number in range(40):
            index = (poll * 40 + number) % len(self._rows)
            self._rows[index] = replace(self._rows[index], mode=clean(f"mode-{poll}"))


@dataclass(frozen=True)
class Use:
    peak: int
    blocks: int
    """Memory blocks allocated by Python: leaks increase this number, whatever the earlier peak."""
    descriptors: int
    tasks: int

    @classmethod
    def now(cls) -> Use:
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        descriptors = sum(1 for _ in Path("/dev/fd").iterdir())
        return cls(peak, sys.getallocatedblocks(), descriptors, len(asyncio.all_tasks()))


async def soak(polls: int, rows: int = ROWS) -> tuple[Use, Use]:
    world = World()
    poller = Poller(BusyPlatform(world, rows), Limits(), world.runtime())
    profile_state, events_count, asleep = ProfileState(), 0, 0
    async with aclosing(poller.outcomes()) as outcomes:
        warm, seen = Use.now(), 0
        async for outcome in outcomes:
            seen += 1
            profile_state, events = profile_state.apply(outcome)
            events_count += len(events)
            asleep += isinstance(outcome, Slept)
            if seen == WARM:
                warm = Use.now()
            if seen % 1_000 == 999:
                world.suspend(600)
            if seen == polls:
                break
        end = Use.now()
    assert events_count > polls
    assert asleep == polls // 1_000
    assert len(profile_state.environments) >= rows
    assert profile_state.listings > 0.9 * polls
    return warm, end


def assert_flat(warm: Use, end: Use) -> None:
    assert end.peak - warm.peak <= 16 * MIB
    assert end.blocks - warm.blocks <= warm.blocks * 0.1
    assert end.descriptors <= warm.descriptors
    assert end.tasks <= warm.tasks


async def test_two_hours_of_polls_leave_nothing_behind() -> None:
    assert_flat(*await soak(1_500, rows=100))


async def test_hours_of_watching_leave_nothing_behind(tmp_path: Path) -> None:
    """Loop, monitor, writer and history of `watch -o jsonl`: a day in the profile `thorough`, 7 hours in `.ci/run`."""
    most = WARM_WATCH + examples(DAY - WARM_WATCH)
    world = World()
    history = FolderWriter(tmp_path, Retention())
    assert history.take()
    poller = Poller(BusyPlatform(world, rows=50, every=20), Limits(), world.runtime())
    target = PolledProfile(profile="", host="", key_origin="", poller=poller)
    stream = EventStream(sources={NO_PROFILE: "https://api.letta.com/v1/environments"}, is_json=True)
    polls, lines, warm = 0, 0, Use.now()
    with open_sink() as sink:
        writer = LineWriter(sink.fileno())
        async with (
            Session({NO_PROFILE: target}) as session,
            aclosing(Watch(Monitor.create({NO_PROFILE: Limits()}), session, runtime=world.runtime())) as watch,
        ):
            async for update in watch:
                found = list(stream.lines(update.before, update.monitor, update.changes.events, update.changes.now))
                await writer.write(found)
                lines += len(found)
                if update.changes.outcome is None:
                    continue
                moment = Moment.of(update.monitor, NO_PROFILE, update.changes.now)
                result = PollResult.LISTED if update.has_new_listing else PollResult.FAILED
                history.write(moment, result, update.changes.events)
                polls += 1
                if polls == WARM_WATCH:
                    warm = Use.now()
                if polls == most:
                    break
            end = Use.now()
    history.close()
    assert size_of(tmp_path) < 20 * MIB
    assert lines > polls / 10
    assert_flat(warm, end)


async def test_a_full_event_log_takes_no_more_memory() -> None:
    world = World()
    poller = Poller(RestlessPlatform(world), Limits(), world.runtime())
    monitor, polls, warm = Monitor.create({NO_PROFILE: Limits()}), 0, Use.now()
    async with aclosing(poller.outcomes()) as outcomes:
        async for outcome in outcomes:
            monitor, _ = monitor.apply(NO_PROFILE, outcome, world.clocks())
            polls += 1
            if polls == FULL_LOG:
                assert monitor.event_log.cut_at is not None
                warm = Use.now()
            if polls == 2 * FULL_LOG:
                break
    end = Use.now()
    assert_flat(warm, end)
    assert abs(end.blocks - warm.blocks) <= warm.blocks * 0.03


def open_sink() -> BinaryIO:
    return Path(os.devnull).open("wb")


def test_the_real_dashboard_keeps_next_to_nothing_of_a_poll(tmp_path: Path) -> None:
    log = tmp_path / "polls.log"
    command = ("demo", "--interval", "1s", "--log-file", str(log))
    # Wide enough for the detail pane, which makes most of the garbage; each poll is also recorded.
    with Terminal.of_envwatch(*command, home=tmp_path, columns=120, lines=40) as terminal:

        def wait_for_polls(count: int) -> None:
            terminal.wait_until(lambda: log.exists() and log.read_text().count(" poll: ") >= count, within=120)

        wait_for_polls(WARM_SCREEN)
        warm = terminal.resident
        wait_for_polls(WARM_SCREEN + MEASURED)
        grown = terminal.resident - warm
    assert grown / MEASURED <= MOST_A_POLL
