"""The demo's past: what envwatch would have recorded of its fleet in the 24 hours before the start.

Simulated outcomes go through the program's own `Monitor`, and the history's own writer writes them. That takes seconds
of computing, and so a process of its own (`demo_past_process.py`). Not all of that day was watched: for 40 minutes
envwatch did not run, and for 6 minutes the server failed.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import sqlite3
import sys
from datetime import date, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.demo.fleet import SimulatedFleet
from envwatch.demo.machines import random_at
from envwatch.demo.scenarios import FleetSpec
from envwatch.demo.times import DAY_MS, MINUTE_MS, TimeWindow, time_of_day
from envwatch.files import write_private
from envwatch.fleet.alerting.acknowledgements import ack_of, note_of
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, PollResult, Snapshot
from envwatch.model.page import Pool, page_of
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.past.earlier_runs import changes_between_runs
from envwatch.past.history import HistoryError, Moment
from envwatch.storage.history.folder import BESIDE, FolderLock, Retention, day_of, day_paths
from envwatch.storage.history.past import StoredPast
from envwatch.storage.history.schema import explained
from envwatch.storage.history.writer import FolderWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from envwatch.demo.day_before import DayBefore
    from envwatch.fleet.events import Event
    from envwatch.model.environment import Environment

LARGEST: Final = 2_000
"""Environments of the largest fleet that gets a past: it would take too long to make for more."""
_ROWS_A_SECOND: Final = 40 / 75
"""Rows listed a second of the past, which the interval is made for."""
_SHORTEST_INTERVAL_S: Final = 75
_LONGEST_INTERVAL_S: Final = 600
_MOST_LATE: Final = 10
"""Percent of the interval by which a poll was late at most, as a poller's are."""
_BEFORE_START_MS: Final = 1_000
"""The last poll was asked at least so long before the opening."""
_BOOTED_S: Final = 400_000.0
"""What the monotonic clock showed when the day began."""
_RANDOM: Final = -102
_NICENESS: Final = 2
"""The screen comes first, on a machine with one processor too."""
_MARK: Final = "demo-past"
"""A file in the folder as long as its past is not complete: from which day on. The next demo begins that anew."""
_NOTE: Final = "disk is full, OPS-412"
_FAILURE: Final = clean("the demo's server answered 503: Service Unavailable")


class SimulatedPoll(NamedTuple):
    """One poll of the day, and what a monitor made of it."""

    moment: Moment
    result: PollResult
    events: Sequence[Event]
    cause: str | None
    """Of a failure."""
    is_first: bool
    """Whether a run of envwatch begins with it."""


def interval_for(size: int) -> timedelta:
    """Return how often a fleet was polled: less often if it is large, so that its past is made in time."""
    return timedelta(seconds=min(max(_SHORTEST_INTERVAL_S, round(size / _ROWS_A_SECOND)), _LONGEST_INTERVAL_S))


def steps(spec: FleetSpec, started_at: int, since: int) -> Iterator[SimulatedPoll]:
    """Yield what a monitor made of a demo fleet from `since`, or the beginning of its day before, to its opening.

    Args:
        spec: of the fleet.
        started_at: when the opening begins, in milliseconds since the epoch.
        since: likewise, the earliest poll.
    """
    fleet = SimulatedFleet(spec, started_at, time_of_day(started_at))
    day = fleet.day_before
    if day is None:
        return
    limits = {NO_PROFILE: Limits()}
    profile_name = clean("demo")
    unwatched = day.span(19, 30, lasts=40 * MINUTE_MS)
    acknowledged = TimeWindow(day.breakdown.at + 41 * MINUTE_MS, day.breakdown.until - 2 * MINUTE_MS)
    broken = None if day.broken is None else clean(fleet.id_at(day.broken))
    monitor = Monitor.create(limits, profile_name=profile_name)
    is_first = True
    for outcome in _outcomes(fleet, spec, day, max(since, day.began_at)):
        now = outcome.ended
        if unwatched.covers(now.wall):
            is_first = True
            continue
        if is_first:
            monitor = Monitor.create(limits, monitor.acks, profile_name=profile_name)
        if broken is not None and acknowledged.covers(now.wall) and not monitor.acks:
            monitor = _with_ack(monitor, broken, now)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        cause = f"{outcome.cause}: {outcome.message}" if isinstance(outcome, Failed) else None
        moment = Moment(now, monitor.fleet.by_profile[NO_PROFILE], monitor.own_acks(NO_PROFILE))
        yield SimulatedPoll(moment, PollResult.from_outcome(outcome), changes.events, cause, is_first)
        is_first = False


def _with_ack(monitor: Monitor, id_: SafeText, now: Clocks) -> Monitor:
    tracked = monitor.fleet.tracked((NO_PROFILE, id_))
    if tracked is None or tracked.verdict.is_up:
        return monitor
    at = monitor.fleet.for_environment(tracked).clock.server_time(now.wall)
    return monitor.with_acks({(EMPTY, id_): ack_of(tracked, at, note_of(_NOTE))})


def _outcomes(fleet: SimulatedFleet, spec: FleetSpec, day: DayBefore, since: int) -> Iterator[Listed | Failed]:
    """Yield the outcome of each poll, as a poller would have given it."""
    interval, random = interval_for(spec.size), random_at(spec.seed, _RANDOM)
    failing = day.span(5, 10, lasts=6 * MINUTE_MS)
    known: dict[SafeText, Environment] = {}
    pool = Pool()
    interval_ms = int(interval.total_seconds() * 1_000)
    last = day.began_at + DAY_MS - _MOST_LATE * interval_ms // 100 - _BEFORE_START_MS
    for tick in range(since + (last - since) % interval_ms, last + 1, interval_ms):
        asked = tick + random.randrange(_MOST_LATE * interval_ms // 100)
        answered = asked + random.randrange(9, 70)
        started, ended = _reading(asked, day), _reading(answered, day)
        if failing.covers(asked):
            yield Failed(cause=Cause.UNAVAILABLE, message=_FAILURE, started=started, ended=ended, interval=interval)
            continue
        rows, _ = fleet.page(asked, limit=None)
        body = b'{"connections":[%b],"hasNextPage":false}' % b",".join(rows)
        page = page_of(body, known, pool)
        known = {environment.id: environment for environment in page.environments}
        clock = OffsetBounds.of_answer(asked // 1_000 * 1_000, asked, answered)
        snapshot = Snapshot(
            pages=(ListedPage(page.environments, WallMs(asked)),),
            clock=(clock,),
            requests=-(-len(rows) // 100) or 1,
            received=len(body),
        )
        yield Listed(snapshot, started, ended, interval)


def _reading(at: int, day: DayBefore) -> Clocks:
    return Clocks(WallMs(at), MonotonicS(_BOOTED_S + (at - day.began_at) / 1_000))


def write_past(folder: Path, spec: FleetSpec, started_at: int, is_wanted: Callable[[], bool] = lambda: True) -> bool:
    """Write the day before a demo's opening into the folder of its history, unless anything of it is recorded there.

    What an earlier process left incomplete is taken back first.

    Args:
        folder: which need not exist.
        spec: of the fleet.
        started_at: when the opening begins, in milliseconds since the epoch.
        is_wanted: asked before each poll; once it is not, all is taken back, and the next demo begins anew.

    Returns:
        Whether the day was written.

    Raises:
        HistoryError: if it cannot be written.
        OSError: likewise.
        sqlite3.Error: likewise.
    """
    lock = FolderLock(folder)
    if not lock.take():  # another process records there
        return False
    try:
        _take_back(folder)
        since = _first_free(folder, WallMs(started_at))
        if since is None or spec.size > LARGEST:
            return False
        write_private(folder / _MARK, str(day_of(since)).encode())
        try:
            _write(folder, takewhile(lambda _: is_wanted(), steps(spec, started_at, int(since))))
        except BaseException:  # also an interrupt: half a day is worth nothing
            _take_back(folder)
            raise
        if not is_wanted():
            _delete_marked(folder)  # the mark stays: what the ending dashboard still records must not stand alone
            return False
        (folder / _MARK).unlink()
        return True
    finally:
        lock.release()


def _write(folder: Path, day: Iterable[SimulatedPoll]) -> None:
    """Write polls, each run of envwatch by a writer of its own."""
    writer = _writer(folder)
    try:
        for step in day:
            if step.is_first:
                writer.close()
                writer = _writer(folder)
            writer.write(
                step.moment, step.result, step.moment.profile_state.interval.total_seconds(), step.events, step.cause
            )
    finally:
        writer.close()


def _writer(folder: Path) -> FolderWriter:
    return FolderWriter(folder, Retention(), between_runs=changes_between_runs)


def _first_free(folder: Path, started_at: WallMs) -> WallMs | None:
    """Return from when on the day before a start can be written: in files of its own, which begin at midnight UTC.

    None if anything of that day is recorded, as it would stand before that.
    """
    began_at = WallMs(started_at - DAY_MS)
    if StoredPast(folder).polls(began_at, started_at) or day_paths(folder, first=day_of(started_at)):
        return None
    if not day_paths(folder, first=day_of(began_at)):
        return began_at
    return WallMs(started_at - started_at % DAY_MS)


def _take_back(folder: Path) -> None:
    """Delete the days that a demo began and did not complete; the caller holds the folder's lock.

    Raises:
        OSError: if that cannot be done.
    """
    _delete_marked(folder)
    (folder / _MARK).unlink(missing_ok=True)


def _delete_marked(folder: Path) -> None:
    try:
        first = date.fromisoformat((folder / _MARK).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return
    for path in day_paths(folder, first=first):
        for suffix in ("", *BESIDE):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _has_parent() -> bool:
    """Whether standard input is still open at its other end."""
    return not select.select([sys.stdin], [], [], 0)[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the past for `demo_past_process.py`, as long as standard input is open; return the exit code."""
    parser = argparse.ArgumentParser(prog="envwatch.cli.demo_past")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--started-at", type=int, required=True)
    FleetSpec.add_arguments(parser)
    options = parser.parse_args(arguments)
    os.nice(_NICENESS)
    gc.disable()  # a short life, and nothing in it refers to itself
    try:
        write_past(options.folder, FleetSpec.from_options(options), options.started_at, _has_parent)
    except (HistoryError, OSError, sqlite3.Error) as error:
        sys.stderr.write(explained(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
