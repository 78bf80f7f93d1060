"""The demo's past: a shipped day before the opening, moved in time and written into the history of the demo.

`docs/demo_day.py` simulates the day once. Each line of the shipped file is a poll: a frame and the events of a day
file, as plain JSON.
"""

from __future__ import annotations

import json
import lzma
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.cli.demo_settings import start_file
from envwatch.demo.fleet import DAYS
from envwatch.demo.times import DAY_MS
from envwatch.files import ProcessLock, write_private
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult
from envwatch.past.earlier_runs import changes_between_runs
from envwatch.storage.history.encoding.events import EventDecoder
from envwatch.storage.history.encoding.frames import Frame, FrameKind
from envwatch.storage.history.encoding.moment_builder import MomentBuilder
from envwatch.storage.history.encoding.packing import FramePart, checksum_of, packed
from envwatch.storage.history.folder import LOCK, Retention, day_of, day_path, day_paths
from envwatch.storage.history.past import StoredPast
from envwatch.storage.history.writer import FolderWriter, next_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.past.history import Moment

SHIPPED_START: Final = 1_767_236_260_000
"""When the opening begins after the shipped days, in milliseconds since the epoch: 2026-01-01, 02:57:40 UTC."""
_FIRST_INSTANT: Final = 1e12
"""A number of a day from here on is an instant in milliseconds since the epoch; no other number is as large."""
_FAST: Final = 1
"""The level of compression for bytes that are read at once."""


class PastPoll(NamedTuple):
    """One poll of a day, and what a monitor made of the poll."""

    moment: Moment
    result: PollResult
    events: Sequence[Event]
    cause: str | None
    """Of a failure."""
    starts_run: bool
    """Whether a run of envwatch begins with the poll."""


def write_past(folder: Path, day: str | None, started_at: int) -> bool:
    """Write the day before a demo's opening into the folder of its history, unless anything of it is recorded there.

    A UTC day that has a file already is left out. A reader finds all of the rest at once, or nothing. The start is
    noted in any case.

    Args:
        folder: which need not exist.
        day: the name of the shipped day; None without one.
        started_at: when the opening begins, in milliseconds since the epoch.

    Returns:
        Whether the day was written.

    Raises:
        HistoryError: if it cannot be written.
        OSError: likewise.
        sqlite3.Error: likewise.
    """
    lock = ProcessLock(folder / LOCK)
    if not lock.acquire():  # another process records there
        return False
    try:
        polls = StoredPast(folder).polls(WallMs(started_at - DAY_MS), WallMs(started_at))
        is_written = False
        if day is not None and not polls:
            is_written = True
            new = folder / folder.name
            rmtree(new, ignore_errors=True)  # of a process that was killed
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
    """Yield the polls of a shipped day, moved so that the day leads to an opening at a time in ms since the epoch."""
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
    """Write a day into a new folder. Each run of envwatch has a writer of its own, whose numbers go on."""

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
