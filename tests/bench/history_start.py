"""Costs of a 14-day history at the dashboard's start, and blocking of the loop during reading of the last day."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding
from programs import ENVWATCH, Glass, home_for, served
from support.builders import beating, listed

from envwatch.cli.commands.dashboard import TURN_S
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.history.past import Moment
from envwatch.history.stored import Retention, StoredPast, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean
from envwatch.tui.rewind.past_reader import PastReader
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.environment import Environment

_ROWS = 100
_DAY_S = 86_400
_DAYS = 14
_STARTS = 12
_HOLDS = 5


def start() -> list[Finding]:
    with served(_ROWS) as server, home_for(server) as environ:
        folder = history_folder(
            Path(environ["HOME"]) / ".local/state/envwatch", "default", server.base_url.partition("://")[2]
        )
        _write_history(folder)
        starts: dict[str, list[tuple[float, float]]] = {"": [], "--no-history": []}
        for _number in range(_STARTS):
            for option, found in starts.items():
                command = [*ENVWATCH, "--interval", "600", *([option] if option else [])]
                with Glass(command, environ) as dashboard:
                    found.append((dashboard.first_data(), dashboard.cpu * 1000))
    findings = []
    for place, kind in enumerate(("wall", "CPU")):
        ours, without = (median(each[place] for each in found[1:]) for found in starts.values())
        findings.append(
            Finding(
                what=f"dashboard, exec to first data on screen, 100 rows, a history of {_DAYS} days ({kind})",
                measured=ours,
                unit="ms",
                reference=without,
                against="with --no-history",
            )
        )
        if kind == "wall":
            what = f"delay of the first data by a history of {_DAYS} days (wall)"
            findings.append(Finding(what=what, measured=ours - without, unit="ms"))
    return findings


def hold() -> list[Finding]:
    """Read the last day next to a loop, and measure the loop's delay in CPU, independent of other processes."""
    sys.setswitchinterval(TURN_S)
    with TemporaryDirectory() as home:
        folder = Path(home)
        _write_history(folder)
        runs = [asyncio.run(_holds(folder)) for _number in range(_HOLDS)]
    idle, reading, loaded_s = (median(each) for each in zip(*runs, strict=True))
    return [
        Finding(
            what="longest hold of the event loop while the last day of 100 rows is read at the start",
            measured=reading,
            unit="ms",
            reference=idle,
            against="of an idle loop",
        ),
        Finding(what="time to read it", measured=loaded_s * 1000, unit="ms"),
    ]


async def _holds(folder: Path) -> tuple[float, float, float]:
    now = time.time()
    outcome = listed(beating(_ROWS, now * 1000), now * 1000)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)

    async def load() -> None:
        loading = PastReader({NO_PROFILE: StoredPast(folder, NO_PROFILE)})
        loading.note(NO_PROFILE, monitor, outcome.ended)
        seeded, _ = await loading.load(NO_PROFILE)
        await Watch(monitor).seed(seeded)

    idle = await _longest_hold(asyncio.ensure_future(asyncio.sleep(1)))
    started = time.perf_counter()
    reading = await _longest_hold(asyncio.ensure_future(load()))
    return idle, reading, time.perf_counter() - started


async def _longest_hold(work: asyncio.Future[None]) -> float:
    """Return the longest delay of the loop by other threads, in CPU milliseconds, after a millisecond of sleep."""
    longest = 0.0
    while not work.done():
        started = time.process_time()
        await asyncio.sleep(0.001)
        longest = max(longest, time.process_time() - started - 0.001)
    await work
    return longest * 1000


def _write_history(folder: Path) -> None:
    """Write 14 days of polls until now: the last day at 5 s, earlier days at 10 minutes."""
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    end = time.time()
    moments = [end - _DAYS * _DAY_S + second for second in range(0, (_DAYS - 1) * _DAY_S, 600)]
    moments += [end - _DAY_S + second for second in range(0, _DAY_S, 5)]
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for number, (at, rows) in enumerate(zip(moments, _life(moments), strict=True)):
        outcome = listed(rows, at * 1000)
        clocks = Clocks(WallMs(at * 1000), MonotonicS(number * 5.0))
        outcome = outcome._replace(started=clocks, ended=clocks, interval=timedelta(seconds=5))
        monitor, changes = monitor.apply(NO_PROFILE, outcome, clocks)
        moment = Moment.of(monitor, NO_PROFILE, clocks)
        writer.write(moment, PollResult.LISTED, changes.events)
        monitor = replace(monitor, event_log=type(monitor.event_log)())
    writer.close()


def _life(moments: list[float]) -> Iterator[list[Environment]]:
    rows = beating(_ROWS, moments[0] * 1000)
    for number, at in enumerate(moments):
        rows = [
            replace(row, last_heartbeat_at=ServerMs(at * 1000))
            if (place + number) % 6 == 0 and row.connection_id
            else row
            for place, row in enumerate(rows)
        ]
        if number % 12 == 0:
            place = number // 12 % _ROWS
            row = rows[place]
            rows[place] = replace(row, connection_id=None if row.connection_id else clean(f"conn-{number}"))
        yield rows
