"""Writes the history of the day before the demo's opening."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.alerts.acknowledgements import ack_of
from envwatch.alerts.monitor import Monitor
from envwatch.cli.demo_settings import DEMO_PROFILE, uptimes_before
from envwatch.demo.fleet import DemoFleet
from envwatch.demo.machines import SIZE
from envwatch.demo.story import ACKNOWLEDGED, DAY, FAILING, UNWATCHED
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import Moment
from envwatch.history.stored import Retention, day_paths
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import clean_note
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.listing_api import listing_body
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, PollResult, Snapshot
from envwatch.model.page import Pool, parse_page
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText

_EVERY_S: Final = 240.0
_LAST_S: Final = -1.5
"""Seconds from the opening to the last poll."""
_FAILURE: Final = clean("the demo's server answered 503: Service Unavailable")
_NOTE: Final = "disk is full, OPS-412"


def write_past(folder: Path, started_at: int | None) -> None:
    """Replace an earlier demo's history by the day before an opening, unless another demo records.

    `started_at` is the opening, in ms since the epoch; None writes no day.

    Raises:
        HistoryError, OSError, sqlite3.Error: writing fails.
    """
    writer = FolderWriter(folder, Retention())
    if not writer.take():
        return
    try:
        for path in day_paths(folder):
            path.unlink()
        monitor, is_watched = _monitor(), True
        for elapsed, outcome in () if started_at is None else _outcomes(started_at):
            if not is_watched:
                writer.close()
                writer = FolderWriter(folder, Retention())
                writer.take()
                monitor = _monitor().with_acks(monitor.acks)
            if is_watched := not _covers(UNWATCHED, elapsed):
                if _covers(ACKNOWLEDGED, elapsed) and not monitor.acks:
                    monitor = _with_ack(monitor, outcome.ended)
                monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
                moment = Moment.of(monitor, NO_PROFILE, outcome.ended)
                listed = outcome if isinstance(outcome, Listed) else None
                writer.write(moment, PollResult.from_outcome(outcome), changes.events, listed)
    finally:
        writer.close()


def _monitor() -> Monitor:
    monitor = Monitor.create({NO_PROFILE: Limits()}, profile_name=clean(DEMO_PROFILE))
    return monitor.with_uptime_record(NO_PROFILE, uptimes_before(SIZE))


def _covers(span: tuple[float, float], elapsed: float) -> bool:
    return span[0] <= elapsed < span[1]


def _with_ack(monitor: Monitor, now: Clocks) -> Monitor:
    rows = monitor.fleet.by_profile[NO_PROFILE]
    broken = next(each for each in rows.environments.values() if each.environment.name == "build-box-8")
    ack = ack_of(broken, rows.clock.server_time(now.wall), clean_note(_NOTE))
    return monitor.with_acks({(EMPTY, broken.environment.id): ack})


def _outcomes(started_at: int) -> Iterator[tuple[float, Listed | Failed]]:
    fleet, pool, interval = DemoFleet(SIZE, started_at), Pool(), timedelta(seconds=_EVERY_S)
    known: dict[SafeText, Environment] = {}
    for elapsed in (_LAST_S - _EVERY_S * number for number in range(int(DAY / _EVERY_S) - 1, -1, -1)):
        at = started_at + int(elapsed * 1_000)
        now = Clocks(WallMs(at), MonotonicS(at / 1_000))
        if _covers(FAILING, elapsed):
            cause, message = Cause.UNAVAILABLE, _FAILURE
            yield elapsed, Failed(cause=cause, message=message, started=now, ended=now, interval=interval)
        else:
            body = listing_body(fleet.page(at)[0], has_next_page=False)
            page = parse_page(body, known, pool)
            known = {row.id: row for row in page.environments}
            pages, clock = (ListedPage(page.environments, now.wall),), (OffsetBounds(-500, 500),)
            snapshot = Snapshot.of_pages(pages=pages, clock=clock, requests=1, received=len(body))
            yield elapsed, Listed(snapshot, now, now, interval)
