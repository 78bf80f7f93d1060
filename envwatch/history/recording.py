"""Recordings: day files under any name, with one profile and any number of days."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from envwatch.files import open_regular, write_private
from envwatch.history.day_file import APPLICATION_ID, DayFile, Numbers
from envwatch.history.day_reader import RECORDING_MODES, DayReader, connected
from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.history.past import About, HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment
    from envwatch.history.redaction import Redaction
    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import PollResult


class RecordingWriter:
    """Writes a new private file, in a single thread at a time; `write` returns once the poll is in the file.

    Raises `OSError`, such as `FileExistsError`.
    """

    def __init__(self, path: Path, about: About, redaction: Redaction | None = None) -> None:
        self.polls = 0
        self._path = path
        self._redaction = redaction
        self._run: int | None = None
        write_private(path, b"")
        about = redaction.about(about) if redaction else about
        try:
            self._file = DayFile(path, about.rows(), Numbers(1, 1), is_recording=True)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, sqlite3.Error):
                raise OSError(errno.EIO, str(error)) from error
            raise

    @property
    def size(self) -> int:
        """File size in bytes; 0 if gone from the path."""
        return self._file.size() or 0

    def start_run(self) -> None:
        """Let the next poll begin a run."""
        self._run = None
        self._file.restart()

    def restart(self) -> None:
        """Make the next frame a KEY, after polls left out."""
        self._file.restart()

    def write(self, moment: Moment, result: PollResult, events: Iterable[Event] = ()) -> None:
        """Add a poll with events, or raise `OSError`, or `HistoryError` for a value that cannot be encoded."""
        run = self._run or self._file.numbers.poll
        with self._restarting():
            moment = self._redaction.moment(moment) if self._redaction else moment
            self._file.write(moment, result, self._redacted(events), run)
        self._run = run
        self.polls += 1

    def write_events(self, at: WallMs, events: Iterable[Event]) -> None:
        """Add events without a poll; raises like `write`."""
        with self._restarting():
            self._file.write_events(at, self._redacted(events))

    def close(self) -> None:
        """Flush and close the file; raise `OSError`, as some disks report fullness late."""
        self._file.close()
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _redacted(self, events: Iterable[Event]) -> list[Event]:
        return [*(map(self._redaction.event, events) if self._redaction else events)]

    @contextmanager
    def _restarting(self) -> Iterator[None]:
        try:
            yield
        except HistoryError:
            self._file.restart()
            raise
        except sqlite3.Error as error:
            self._file.restart()
            raise OSError(errno.EIO, str(error)) from error


_HEAD_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_WRITE_VERSION: Final = 18
"""Offset of a byte: 1 means rollback journal, 2 write-ahead log."""
_USER_VERSION: Final = slice(60, 64)
_APPLICATION_ID: Final = slice(68, 72)
_OTHER_TITLE: Final = b"envwatch recording "
_OTHER_VERSION: Final = "it is a recording of another version of envwatch, which cannot be read"


def opened(path: Path) -> DayReader:
    """Return the reader of a recording or copied day file; raise `HistoryError` if unusable."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise HistoryError(error.strerror or str(error)) from None
    path = path.resolve()
    if head.startswith(_OTHER_TITLE):
        raise HistoryError(_OTHER_VERSION)
    if not head.startswith(_MAGIC) or int.from_bytes(head[_APPLICATION_ID], "big") != APPLICATION_ID:
        raise HistoryError("it is no recording of envwatch")
    if int.from_bytes(head[_USER_VERSION], "big") != FORMAT_VERSION:
        raise HistoryError(_OTHER_VERSION)
    return DayReader(path, partial(connected, modes=RECORDING_MODES) if head[_WRITE_VERSION] == 1 else connected)
