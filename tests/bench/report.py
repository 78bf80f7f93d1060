"""Time of a report on the last 8 hours of 1,000 rows."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding
from programs import ENVWATCH
from support.builders import environment, listed

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.history.past import Moment
from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.environment import Environment

_ROWS = 1_000
_STEP_S = 5
_PERIOD_S = 8 * 3600
_RUNS = 9


def report() -> list[Finding]:
    with TemporaryDirectory() as home:
        environ = {"HOME": home, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home, "PATH": ""}
        _write_history(history_folder(Path(home) / "envwatch", "default", "api.letta.com"))
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


def _write_history(folder: Path) -> None:
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    monitor = Monitor.create({NO_PROFILE: Limits()})
    end = int(time.time() * 1000)
    for at, rows in _life(range(end - _PERIOD_S * 1000, end, _STEP_S * 1000)):
        outcome = listed(rows, at, page_size=_ROWS)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        moment = Moment(outcome.ended, monitor.fleet.by_profile[NO_PROFILE])
        writer.write(moment, PollResult.LISTED, changes.events)
        monitor = replace(monitor, event_log=type(monitor.event_log)())
    writer.close()


def _life(moments: range) -> Iterator[tuple[int, list[Environment]]]:
    """Yield moments with rows: a heartbeat each 30 s, a loss about each 40 s, and a pod lost each half hour."""
    random, back_at = Random(1), dict[int, int]()
    rows = [
        environment(f"env-{place}", lastHeartbeat=moments[0] - 30 * place, podId=f"p-{place % 40}")
        for place in range(_ROWS)
    ]
    for number, at in enumerate(moments):
        lost = [random.randrange(_ROWS)] if random.random() < 0.12 else []
        if number % 360 == 359:
            lost = list(range(random.randrange(40), _ROWS, 40))
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
