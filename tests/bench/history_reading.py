"""Costs of reading a history: a start with 14 days, the last day next to the loop, a step back, a report."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding, share
from programs import ENVWATCH, Glass, home_for, served
from support import builders
from support.builders import beating, listed
from support.lives import simulated_life
from support.pty_terminal import without_settings

from envwatch.alerts.monitor import Monitor
from envwatch.cli.commands.dashboard import TURN_S
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import About, Moment
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import Retention, StoredPast, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean
from envwatch.screen.rewind.past_reader import PastReader
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envwatch.model.environment import Environment


_FEW_ROWS = 100
_DAY_S = 86_400
_DAYS = 14
_STARTS = 12
_HOLDS = 5


def start() -> list[Finding]:
    with served(_FEW_ROWS) as server, home_for(server) as environ:
        folder = history_folder(
            Path(environ["HOME"]) / ".local/state/envwatch", "default", server.base_url.partition("://")[2]
        )
        _write(folder, _days())
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
        _write(folder, _days())
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
    outcome = listed(beating(_FEW_ROWS, now * 1000), now * 1000)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)

    async def load() -> None:
        loading = PastReader({NO_PROFILE: StoredPast(folder, NO_PROFILE)})
        loading.note(NO_PROFILE, monitor, outcome.ended)
        runs, _ = await loading.load(NO_PROFILE)
        await Watch(monitor).seed(NO_PROFILE, lambda monitor, _: runs.seeded(monitor, [outcome]))

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


def _write(folder: Path, listings: Iterable[tuple[float, list[Environment]]]) -> None:
    """Write listings as a history: times (server's clock, ms) with rows."""
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for at, rows in listings:
        outcome = listed(rows, at, page_size=_MANY_ROWS)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        writer.write(Moment.of(monitor, NO_PROFILE, outcome.ended), PollResult.LISTED, changes.events)
        monitor = replace(monitor, event_log=type(monitor.event_log)())
    writer.close()


def _days() -> Iterator[tuple[float, list[Environment]]]:
    """Yield 14 days of listings until now: the last day at 5 s, earlier days at 10 minutes."""
    end = time.time()
    moments = [end - _DAYS * _DAY_S + second for second in range(0, (_DAYS - 1) * _DAY_S, 600)]
    moments += [end - _DAY_S + second for second in range(0, _DAY_S, 5)]
    for at, rows in zip(moments, _life_of_days(moments), strict=True):
        yield at * 1000, rows


def _life_of_days(moments: list[float]) -> Iterator[list[Environment]]:
    rows = beating(_FEW_ROWS, moments[0] * 1000)
    for number, at in enumerate(moments):
        rows = [
            replace(row, last_heartbeat_at=ServerMs(at * 1000))
            if (place + number) % 6 == 0 and row.connection_id
            else row
            for place, row in enumerate(rows)
        ]
        if number % 12 == 0:
            place = number // 12 % _FEW_ROWS
            row = rows[place]
            rows[place] = replace(row, connection_id=None if row.connection_id else clean(f"conn-{number}"))
        yield rows


_MANY_ROWS = 1_000
_POLLS = 300
_STEPS = 120
_PAUSE_S = 0.15
"""From a key's answer to the next key: as fast as a person looks at a screen."""


def _recording(path: Path) -> None:
    about = About(profile=clean("bench"), base_url=clean("https://api.letta.com"), version=clean("1"))
    with closing(RecordingWriter(path, about)) as writer:
        for moment, _, changes in simulated_life(_MANY_ROWS, _POLLS):
            writer.write(moment, PollResult.LISTED, changes.events)


def _answers(program: Glass, key: str) -> Iterator[float]:
    for _ in range(_STEPS):
        program.run_for(_PAUSE_S)
        yield program.answer_to(key)


def steps() -> list[Finding]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "life.rec"
        _recording(path)
        command = [*ENVWATCH, "replay", str(path)]
        with Glass(command, without_settings(Path(folder))) as replay:
            replay.first_data()
            replay.press("p")
            replay.press("L")
            replay.run_for(2)
            moves = [*_answers(replay, "j")]
            times = [*_answers(replay, "[")]
            replay.received.clear()
    return [
        Finding(
            what=f"key to paint of a step back in time at {_MANY_ROWS:,} rows, {name} of {_STEPS} (wall)",
            measured=share(times, part),
            unit="ms",
            reference=share(moves, part),
            against="`j` in the same program",
        )
        for name, part in (("p50", 0.5), ("p99", 0.99))
    ]


_STEP_S = 5
_PERIOD_S = 8 * 3600
_RUNS = 9


def report() -> list[Finding]:
    with TemporaryDirectory() as home:
        environ = {"HOME": home, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home, "PATH": ""}
        end = int(time.time() * 1000)
        _write(
            history_folder(Path(home) / "envwatch", "default", "api.letta.com"),
            _life(range(end - _PERIOD_S * 1000, end, _STEP_S * 1000)),
        )
        walls, spent = [], []
        for _number in range(_RUNS):
            started, cpu = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
            subprocess.run([*ENVWATCH, "report", "--since", "9h"], env=environ, check=True, stdout=subprocess.DEVNULL)
            walls.append((time.perf_counter() - started) * 1000)
            after = getrusage(RUSAGE_CHILDREN)
            spent.append((after.ru_utime - cpu.ru_utime + after.ru_stime - cpu.ru_stime) * 1000)
    what = "`envwatch report` on 8 h of 1,000 rows, fresh process"
    return [
        Finding(what=f"{what} (wall)", measured=median(walls), unit="ms"),
        Finding(what=f"{what} (CPU)", measured=median(spent), unit="ms"),
    ]


def _life(moments: range) -> Iterator[tuple[int, list[Environment]]]:
    """Yield moments with rows: a heartbeat each 30 s, a loss about each 40 s, and a pod lost each half hour."""
    random, back_at = Random(1), dict[int, int]()
    rows = [
        builders.environment(f"env-{place}", lastHeartbeat=moments[0] - 30 * place, podId=f"p-{place % 40}")
        for place in range(_MANY_ROWS)
    ]
    for number, at in enumerate(moments):
        lost = [random.randrange(_MANY_ROWS)] if random.random() < 0.12 else []
        if number % 360 == 359:
            lost = list(range(random.randrange(40), _MANY_ROWS, 40))
        for place in lost:
            back_at[place] = at + random.randrange(20_000, 900_000)
            rows[place] = replace(rows[place], connection_id=None, last_heartbeat_at=None, pod_id=None)
        for place, row in enumerate(rows):
            if place in back_at:
                if at >= back_at[place]:
                    del back_at[place]
                    link = clean(f"conn-{place}-{at}")
                    pod = clean(f"p-{place % 40}")
                    rows[place] = replace(row, connection_id=link, last_heartbeat_at=ServerMs(at), pod_id=pod)
            elif row.last_heartbeat_at is not None and row.last_heartbeat_at <= at - 30_000:
                rows[place] = replace(row, last_heartbeat_at=ServerMs(at))
        yield at, list(rows)
