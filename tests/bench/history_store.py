"""Costs of a history on a disk: bytes and CPU a poll, the caller's time, and the time to list and to step."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding, in_turn
from support.builders import NOW
from support.lives import simulated_life
from support.recording import ALWAYS, PATIENCE_S

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.history.past import Moment
from envwatch.history.recorder import HistoryRecorder
from envwatch.history.stored import Retention, StoredPast, size_of
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.monitor import MonitorChanges

_HOUR = 720
_DAY = 17_280
_MIDNIGHT = NOW // 86_400_000 * 86_400_000


def store() -> list[Finding]:
    """Measure an hour of 1,000 rows at 5 s, and a day of few rows."""
    life = [(moment, changes) for moment, _, changes in simulated_life(1_000, _HOUR + 1)]
    with TemporaryDirectory() as one, TemporaryDirectory() as other, TemporaryDirectory() as third:
        written = _written(Path(one), life)
        return [
            Finding(
                what="bytes on disk a poll of 1,000 rows, with its events and a whole moment an hour",
                measured=size_of(Path(one)) / len(life),
                unit="B",
            ),
            Finding(what="write a poll of 1,000 rows, in the thread (CPU)", measured=written, unit="ms"),
            Finding(
                what="record a poll of 1,000 rows, on the caller's side (wall)",
                measured=_recorded(Path(other), life[:12]),
                unit="ms",
            ),
            *_steps(StoredPast(Path(one))),
            _listing(Path(third)),
        ]


def _written(folder: Path, life: Sequence[tuple[Moment, MonitorChanges]]) -> float:
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    started = time.process_time()
    for moment, changes in life:
        writer.write(moment, PollResult.LISTED, changes.events)
    spent = time.process_time() - started
    writer.close()
    return spent * 1000 / len(life)


def _recorded(folder: Path, life: Sequence[tuple[Moment, MonitorChanges]]) -> float:
    """Record a few polls; return the caller's median milliseconds for a poll."""
    recorder, spent = HistoryRecorder({NO_PROFILE: folder}, notify=print), []
    for moment, changes in life:
        monitor = Monitor(fleet=Fleet({NO_PROFILE: moment.profile_state}))
        started = time.perf_counter()
        recorder.record(monitor, changes)
        spent.append(time.perf_counter() - started)
    recorder.close(PATIENCE_S)
    return median(spent) * 1000


def _steps(past: StoredPast) -> list[Finding]:
    polls = past.polls(*ALWAYS)

    def spent_at(place: int) -> float:
        started = time.thread_time()
        past.moment(polls[place])
        return (time.thread_time() - started) * 1000

    leaps, forward, back = [], [], []
    for start in range(30, len(polls) - 10, 67):
        leaps.append(spent_at(start))
        forward += [spent_at(start + step) for step in range(1, 6)]
        back += [spent_at(start + 5 - step) for step in range(1, 20)]
    return [
        Finding(what=f"{what} of 1,000 rows, the slowest (CPU)", measured=max(spent), unit="ms")
        for what, spent in (
            ("rebuild any moment", leaps),
            ("step to the next moment", forward),
            ("step to the previous moment", back),
        )
    ]


def _listing(folder: Path) -> Finding:
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    for number in range(_DAY):
        now = Clocks(WallMs(_MIDNIGHT + number * 5_000.25), MonotonicS(number * 5.0))
        writer.write(Moment(now, ProfileState()), PollResult.LISTED)
    writer.close()
    (spent,) = in_turn(partial(StoredPast(folder).polls, *ALWAYS))
    return Finding(what=f"list the {_DAY:,} polls of a day (CPU)", measured=spent, unit="ms")
