"""A file of a history that is being written: its tables in SQLite, and what is added to them.

A day file and a recording have the same form. Every file stands alone: its first frame is a KEY. What is written is
committed poll by poll in SQLite's write-ahead log: a killed process loses at most the poll in flight, a power cut the
newest ones. Knows nothing of folders, days and locks.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from envwatch.files import make_private_folder, write_private
from envwatch.storage.history.encoding.events import EventEncoder
from envwatch.storage.history.encoding.frames import FORMAT_VERSION, FrameEncoder
from envwatch.storage.history.schema import (
    APPLICATION_ID,
    PAGE_BYTES,
    TABLES,
    Numbers,
    check_form,
    check_regular,
    check_whole,
    last_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import PollResult
    from envwatch.past.history import Moment

_BUSY_S: Final = 0.5
"""Seconds to wait where another program holds the file locked."""
_WAL_PAGES: Final = 128
"""Pages of the write-ahead log after which it is merged into the file: 2 MiB."""


class DayFile:
    """One file, open for writing; it is made if it does not exist. Of one thread. After an error, close it.

    Methods raise `HistoryError` for what cannot be encoded, and `sqlite3.Error` if it cannot be written.

    Args:
        path: the file.
        about: what is noted in a new file, by name.
        numbers: of the next poll and the next event, unless the file has them already.
        is_checked: whether an existing file is known to be whole.

    Raises:
        DamagedError: if the file is no history, or damaged.
        NewerError: if a newer envwatch wrote it.
        OSError: if it cannot be opened, as does sqlite3.Error.
    """

    def __init__(self, path: Path, about: Mapping[str, str], numbers: Numbers, *, is_checked: bool = False) -> None:
        _make(path)
        self.path = path
        self._encoder = FrameEncoder()
        self._event_encoder = EventEncoder()
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        try:
            self._begin(about, is_checked=is_checked)
            poll, event = last_numbers(self._connection)
            self.numbers = Numbers(max(numbers.poll, poll + 1), max(numbers.event, event + 1))
            self._status = path.lstat()
        except BaseException:
            self._connection.close()
            raise

    def write(  # noqa: PLR0913, PLR0917 - the parts of a poll
        self,
        moment: Moment,
        result: PollResult,
        interval_s: float,
        events: Sequence[Event],
        cause: str | None,
        run: int,
    ) -> None:
        """Add one poll with its events, completely or not at all.

        The columns of `schema.TABLES` say what interval, cause and run are.
        """
        number = self.numbers.poll
        frame = self._encoder.encode(moment)
        poll = (number, moment.now.wall, result, run, interval_s, cause, frame.kind)
        self._insert(moment.now.wall, events, number, poll, frame.data)

    def write_events(self, at: WallMs, events: Sequence[Event]) -> None:
        """Add events that came with no poll."""
        self._insert(at, events, self.numbers.poll - 1)

    def restart(self) -> None:
        """Let the next frame be a KEY."""
        self._encoder.restart()

    def size(self) -> int | None:
        """Return the size of the file without what is beside it; None if it is no longer in its place."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return None
        return status.st_size if os.path.samestat(status, self._status) else None

    def close(self) -> None:
        """Merge what is beside the file into it, as far as it is not read at the moment."""
        with suppress(sqlite3.Error):  # it stays beside the file, and is read from there
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing does not where a reader is connected
        self._connection.close()

    def _begin(self, about: Mapping[str, str], *, is_checked: bool) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; without effect on another
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA trusted_schema = OFF")
        if not check_form(self._connection):
            execute("PRAGMA journal_mode = WAL")
            rows = ", ".join(["(?, ?)"] * len(about))
            with self._transaction():
                for statement in TABLES.split(";\n"):
                    execute(statement)
                if about:
                    execute(f"INSERT INTO about VALUES {rows}", [text for row in about.items() for text in row])  # noqa: S608
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif not is_checked:
            check_whole(self._connection, self.path)
        # A power cut may lose the newest commits, and damages nothing.
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        execute(f"PRAGMA journal_size_limit = {2 * _WAL_PAGES * PAGE_BYTES}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some failures have ended it already
                self._connection.execute("ROLLBACK")
            raise

    def _insert(
        self,
        at: WallMs,
        events: Sequence[Event],
        number: int,
        poll: tuple[object, ...] | None = None,
        frame: bytes | None = None,
    ) -> None:
        encode = self._event_encoder.encode
        rows = [(count, at, number, encode(event, count)) for count, event in enumerate(events, self.numbers.event)]
        with self._transaction():
            if poll is not None:
                self._connection.execute("INSERT INTO polls VALUES (?, ?, ?, ?, ?, ?, ?)", poll)
                self._connection.execute("INSERT INTO frames VALUES (?, ?)", (number, frame))
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        self.numbers = Numbers(self.numbers.poll + (poll is not None), self.numbers.event + len(rows))


def _make(path: Path) -> None:
    """Make an empty private file if there is none; raise `OSError` if something else than a regular file is there."""
    try:
        check_regular(path)
    except FileNotFoundError:
        make_private_folder(path.parent)
        write_private(path, b"")
