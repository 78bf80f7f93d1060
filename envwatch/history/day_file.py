"""SQLite files of recorded polls: their form, their errors in words, and the writer.

Each file starts with a KEY, so it needs no other file. Each poll is a commit, so a killed process loses at most the
current poll. A recording has a rollback journal only during a commit, so it is a single file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.files import make_private_folder, write_private
from envwatch.history.encoding.events import EventEncoder
from envwatch.history.encoding.frames import FORMAT_VERSION, FrameEncoder
from envwatch.history.past import DamagedError, HistoryError, OtherVersionError
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment
    from envwatch.model.clock import WallMs

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""The statements are constant, so SQLITE_ERROR means changed tables."""
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_FULL = "the disk is full; free some space"
_LOCKED = "another program holds it locked; end that program"
_REFUSED = "check the owner and the mode of that folder, or set history = false"


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 0."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: Exception) -> bool:
    """Whether an error means damaged content."""
    return isinstance(error, DamagedError) or (isinstance(error, sqlite3.Error) and primary_code(error) in _DAMAGE)


def explained(error: Exception) -> str:
    """Return the problem, and any remedy, without a path."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, OSError):
        if error.errno in _DISK_FULL:
            return _FULL
        return f"{error.strerror or error}; {_REFUSED}"
    return str(error) if isinstance(error, HistoryError) else f"{type(error).__name__}: {error}"


def _of_sqlite(error: sqlite3.Error) -> str:
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return _FULL
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _LOCKED
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"{error}; {_REFUSED}"
        case sqlite3.SQLITE_IOERR:
            return f"{error}; see whether the disk is full or fails"
        case _:
            return str(error)


APPLICATION_ID: Final = int.from_bytes(b"envw", "big")

PAGE_BYTES: Final = 16_384
"""B-trees up to 30 MB then have two levels, so a truncated file loses only the end."""

TABLES: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE polls (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,          -- wall clock of the machine that recorded it, ms since the epoch
    result TEXT NOT NULL,      -- listed, failed, slept
    run INTEGER NOT NULL,      -- the number of the first poll of the same process
    interval_s REAL NOT NULL,
    cause TEXT,                -- of a failure
    kind INTEGER NOT NULL      -- of its frame: 0 KEY, 1 BRIDGE, 2 STEP
);
CREATE TABLE frames (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,          -- wall clock when it was recorded
    poll INTEGER NOT NULL,     -- the newest poll then; 0 for none
    data BLOB NOT NULL
);
"""


class Numbers(NamedTuple):
    """Numbers of a poll and an event."""

    poll: int
    event: int


def check_form(connection: sqlite3.Connection) -> bool:
    """Whether the tables exist; False while another process creates the tables.

    Raises `DamagedError`, `OtherVersionError`, or `sqlite3.Error`.
    """
    connection.execute("BEGIN")  # all reads see the same commit
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        has_tables = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    finally:
        if connection.in_transaction:  # some failures end the transaction
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID:
        if application or version or has_tables:
            raise DamagedError("it is no history of envwatch")
        return False
    if version != FORMAT_VERSION:
        raise OtherVersionError("another version of envwatch recorded this day")
    return True


def last_numbers(connection: sqlite3.Connection) -> Numbers:
    """Return the newest poll's and event's numbers, or 0."""
    newest = "SELECT (SELECT max(number) FROM polls), (SELECT max(number) FROM events)"
    poll, event = connection.execute(newest).fetchone()
    return Numbers(poll or 0, event or 0)


def is_cut(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file ends within a page; unreliable while the file grows."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    size = path.lstat().st_size
    return size % page_bytes != 0 and path.lstat().st_size == size


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `DamagedError` with a file's first problem; takes about 10 ms."""
    if is_cut(connection, path):
        raise DamagedError("its end is missing")
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise DamagedError(str(result))


def check_regular(path: Path) -> os.stat_result:
    """Return a file's status; raise `OSError` unless it is a regular file, not a link.

    The file is not opened: closing would release SQLite's locks.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "It is a link, which is not followed here")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    return status


_BUSY_S: Final = 0.5
_SECOND: Final = timedelta(seconds=1)
_READ_S: Final = 10.0
"""Seconds to wait for a recording's readers."""
_WAL_PAGES: Final = 128
"""Log pages before a merge into the file: 2 MiB."""


class DayFile:
    """Writes a file, created if missing, in a single thread at a time. After an error, call `restart` or `close`.

    Raises `sqlite3.Error`, `OSError`, or `HistoryError`.

    Args:
        numbers: Lowest numbers of the next poll and event.
        is_checked: Whether an existing file is known to be whole.
        is_recording: Whether to use a rollback journal, and not to wait for the disk.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, str],
        numbers: Numbers,
        *,
        is_checked: bool = False,
        is_recording: bool = False,
    ) -> None:
        _make(path)
        self.path = path
        self.restart()
        timeout_s = _READ_S if is_recording else _BUSY_S
        self._connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        try:
            self._begin(about, is_checked=is_checked, is_recording=is_recording)
            poll, event = last_numbers(self._connection)
            self.numbers = Numbers(max(numbers.poll, poll + 1), max(numbers.event, event + 1))
            self._status = path.lstat()
        except BaseException:
            self._connection.close()
            raise

    def write(self, moment: Moment, result: PollResult, events: Sequence[Event], run: int) -> None:
        """Add a poll with events atomically; `run` is the run's first poll number."""
        number, profile_state = self.numbers.poll, moment.profile_state
        failure = profile_state.failure if result is PollResult.FAILED else None
        cause = None if failure is None else f"{failure.cause}: {failure.message}"
        interval_s = profile_state.interval / _SECOND
        frame = self._encoder.encode(moment)
        poll = (number, moment.now.wall, result, run, interval_s, cause, frame.kind)
        self._insert(moment.now.wall, events, number, poll, frame.data)

    def write_events(self, at: WallMs, events: Sequence[Event]) -> None:
        """Add events without a poll."""
        self._insert(at, events, self.numbers.poll - 1)

    def restart(self) -> None:
        """Make the next frame a KEY, without reference to earlier events."""
        self._encoder = FrameEncoder()
        self._event_encoder = EventEncoder()

    def size(self) -> int | None:
        """Return the file's bytes without the log; None if gone from the path."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return None
        return status.st_size if os.path.samestat(status, self._status) else None

    def close(self) -> None:
        """Close the file; merge the write-ahead log unless a reader prevents it."""
        with suppress(sqlite3.Error):  # an unmerged log is readable
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing skips this while a reader exists
        self._connection.close()

    def _begin(self, about: Mapping[str, str], *, is_checked: bool, is_recording: bool) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {PAGE_BYTES}")  # no effect on an existing file
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA trusted_schema = OFF")
        if not check_form(self._connection):
            execute(f"PRAGMA journal_mode = {'DELETE' if is_recording else 'WAL'}")
            with self._transaction():
                for statement in TABLES.split(";\n"):
                    execute(statement)
                self._connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif not is_checked:
            check_whole(self._connection, self.path)
        # In WAL mode, a power cut loses the newest commits only.
        execute(f"PRAGMA synchronous = {'OFF' if is_recording else 'NORMAL'}")
        execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        execute(f"PRAGMA journal_size_limit = {2 * _WAL_PAGES * PAGE_BYTES}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
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
    try:
        check_regular(path)
    except FileNotFoundError:
        make_private_folder(path.parent)
        write_private(path, b"")
