"""Writes the demo's past: a shipped day, moved in time to end at the opening.

`docs/demo_day.py` simulates the day. Each line of the shipped file is a poll: a frame and its events, as plain JSON.
Instants are in ms since the epoch.
"""

from __future__ import annotations

import json
import lzma
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.cli.demo_settings import start_file
from envwatch.demo.fleet import DAYS
from envwatch.demo.scenarios import DAY_MS
from envwatch.files import ProcessLock, write_private
from envwatch.fleet.events import NO_PROFILE, Event
from envwatch.history.earlier_runs import changes_between_runs
from envwatch.history.encoding.events import EventDecoder
from envwatch.history.encoding.frames import Frame, FrameKind, MomentBuilder
from envwatch.history.encoding.packing import FramePart, checksum_of, packed
from envwatch.history.stored import LOCK, Retention, StoredPast, day_of, day_path, day_paths
from envwatch.history.writer import FolderWriter, next_numbers
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from envwatch.history.past import Moment

SHIPPED_START: Final = 1_767_236_260_000
"""The opening after the shipped days: 2026-01-01, 02:57:40 UTC."""
_FIRST_INSTANT: Final = 1e12
"""From here on, a number is an instant."""
_FAST: Final = 1


class PastPoll(NamedTuple):
    """A poll of a day, and the monitor's state and events."""

    moment: Moment
    result: PollResult
    events: Sequence[Event]
    cause: str | None
    """Of a failure."""
    starts_run: bool


def write_past(folder: Path, day: str | None, started_at: int) -> bool:
    """Write the day before a demo's opening into its history, unless the folder has polls of these 24 hours.

    Skips each UTC day that has a file. A reader finds all new days at once. The start is always noted.

    Args:
        folder: need not exist.
        day: the shipped day's name; None without a day.
        started_at: the opening's start.

    Returns:
        Whether the day was written.

    Raises:
        HistoryError: the day cannot be written.
        OSError: likewise.
        sqlite3.Error: likewise.
    """
    lock = ProcessLock(folder / LOCK)
    if not lock.acquire():
        return False
    try:
        polls = StoredPast(folder).polls(WallMs(started_at - DAY_MS), WallMs(started_at))
        is_written = False
        if day is not None and not polls:
            is_written = True
            new = folder / folder.name
            rmtree(new, ignore_errors=True)
            _write(folder, new, day, started_at)
            for path in day_paths(new):
                path.replace(folder / path.name)
            rmtree(new)
        start_file(folder).unlink(missing_ok=True)
        write_private(start_file(folder), str(started_at).encode())
        return is_written
    finally:
        lock.release()


def moved_day(day: str, started_at: int) -> Iterator[PastPoll]:
    """Yield a shipped day's polls, moved to an opening."""
    by = started_at - SHIPPED_START
    builder, base = MomentBuilder(NO_PROFILE), 0
    events: dict[int, bytes] = {}
    event_decoder = EventDecoder(NO_PROFILE, events.__getitem__)
    with lzma.open(DAYS / f"{day}.jsonl.xz") as lines:
        for line in lines:
            poll = _moved(json.loads(line), by)
            data = packed([FramePart(poll["frame"], poll["numbers"], base)], _FAST)
            builder.apply(Frame(FrameKind.STEP if base else FrameKind.KEY, data))
            base = checksum_of(data)
            found = []
            for plain in poll["events"]:
                event = events[len(events) + 1] = packed([FramePart(plain)], _FAST)
                found.append(event_decoder.decode(event))
            yield PastPoll(builder.moment(), PollResult(poll["result"]), found, poll["cause"], poll["starts_run"])


def _moved(value: Any, by: int) -> Any:  # noqa: ANN401  any JSON value
    if isinstance(value, dict):
        return {name: _moved(each, by) for name, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, by) for each in value]
    return value + by if isinstance(value, (int, float)) and value >= _FIRST_INSTANT else value


def _write(folder: Path, new: Path, day: str, started_at: int) -> None:

    def next_writer() -> FolderWriter:
        numbers = next_numbers(folder, new)
        return FolderWriter(new, Retention(), between_runs=changes_between_runs, numbers=numbers)

    writer = next_writer()
    try:
        for poll in moved_day(day, started_at):
            moment = poll.moment
            if poll.starts_run:
                writer.close()
                writer = next_writer()
            if not day_path(folder, day_of(moment.now.wall)).exists():
                writer.write(moment, poll.result, poll.events)
    finally:
        writer.close()
