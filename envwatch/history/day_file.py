"""SQLite files of recorded polls: writer, reader, and errors in words.

Each file starts with a KEY, so it needs no other file. Each poll is a commit, so a killed process loses at most the
current poll. A recording has a rollback journal only during a commit, so it is a single file.

Reading works during writing, and up to the last whole page of a truncated file. Recordings may come from strangers:
clock readings must be possible; a row's instants, from the platform, must only be numbers.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.files import make_private_folder, write_private
from envwatch.fleet.events import Event
from envwatch.history.encoding.events import EventDecoder, EventEncoder
from envwatch.history.encoding.frames import FORMAT_VERSION, Frame, FrameEncoder, FrameKind, MomentBuilder
from envwatch.history.encoding.packing import NONSENSE
from envwatch.history.past import NO_EVENTS, DamagedError, EmptyError, GoneError, HistoryError, OtherVersionError
from envwatch.model.clock import WallMs
from envwatch.model.environment import API_FIELDS, ValueKind
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import clean
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from envwatch.fleet.tracking import Environments, TrackedEnvironment
    from envwatch.history.past import Moment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

    T = TypeVar("T")


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


_READER_BUSY_S: Final = 1.0
_LONGEST_INTERVAL_S: Final = 1e9
_LATEST_MS: Final = 250_000_000_000_000
"""The year 9892, so any time zone can show a poll's time."""
_HEAD_BYTES: Final = 100
_ROOT_PAGES: Final = 5
"""The schema and each table's first page; SQLite reads no table if any is missing."""
_NEAR: Final = 8
"""Frames from a kept builder to the requested moment, for cheap steps back."""
_INDEX_IN_MEMORY: Final = "mode=ro&vfs=unix-none"
_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_ROLLING_BACK: Final = "mode=rw"
RECORDING_MODES: Final = ("mode=ro", _ROLLING_BACK)
"""`rw` applies the rollback journal of a killed process."""


def connected(path: Path, modes: Sequence[str] = ()) -> tuple[sqlite3.Connection, bool]:
    """Return a connection for reading, and whether the file is truncated.

    `modes` are query strings of SQLite's URI, empty for a day file; if a mode lacks a right, the next is tried.
    """
    # Without a log, `immutable` avoids locks, which would leave a log behind; writers create a log before any change.
    # An unwritable folder may lack the log's index, so an exclusive connection makes it in memory.
    has_log = path.with_name(f"{path.name}-wal").exists()
    for mode in modes or (("mode=ro", _INDEX_IN_MEMORY) if has_log else ("mode=ro&immutable=1",)):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            timeout=_READER_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        try:
            if mode == _INDEX_IN_MEMORY:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            _check_begun(connection, path)
            if not is_cut(connection, path):
                return connection, False
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error) or (mode == _ROLLING_BACK and primary_code(error) in _NOT_WRITABLE):
                break
            if primary_code(error) not in _NOT_WRITABLE or mode != "mode=ro":
                raise
        except BaseException:
            connection.close()
            raise
        else:
            connection.close()
            break
    return _whole_pages_of(path), True


def _check_begun(connection: sqlite3.Connection, path: Path) -> None:
    if check_form(connection):
        _check_tables(connection)
    elif path.lstat().st_size < _HEAD_BYTES:  # SQLite takes such a file for a database without tables
        raise EmptyError("the file is empty")
    else:
        raise GoneError("there is nothing in it yet")


def _check_tables(connection: sqlite3.Connection) -> None:
    unnumbered = (
        "SELECT 1 FROM sqlite_schema AS found, pragma_table_info(found.name) AS field"
        " WHERE field.name = 'number' AND NOT (field.pk AND field.type = 'INTEGER')"
    )
    # After damage to the words PRIMARY KEY, SQLite would read NULL as the number of each row.
    if connection.execute(unnumbered).fetchone() is not None:
        raise DamagedError("its tables are damaged")


def _whole_pages_of(path: Path) -> sqlite3.Connection:
    found = path.read_bytes()
    page_bytes = int.from_bytes(found[16:18], "big")
    if not found.startswith(b"SQLite format 3\0") or not 512 <= page_bytes <= len(found):
        raise DamagedError("it is damaged from its beginning on")
    pages = len(found) // page_bytes
    content = bytearray(found[: pages * page_bytes].ljust(_ROOT_PAGES * page_bytes, b"\0"))
    content[18:20] = b"\1\1"  # memory has no write-ahead log
    content[28:32] = (len(content) // page_bytes).to_bytes(4, "big")
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.deserialize(bytes(content))
        _check_begun(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


_IS_TIME: Final = f"at >= 0 AND at < {_LATEST_MS}"
"""Also rejects texts, blobs and NULL."""
_RESULTS: Final = {result.value: result for result in PollResult}
_IS_POLL: Final = (
    f"{_IS_TIME} AND result IN {tuple(_RESULTS)} AND interval_s BETWEEN 0 AND {_LONGEST_INTERVAL_S}"
    " AND typeof(run) = 'integer'"
)
_IS_EVENT: Final = f"{_IS_TIME} AND typeof(poll) = 'integer'"
_POLLS: Final = f"SELECT number, at, result, run, interval_s FROM polls WHERE {_IS_POLL}"  # noqa: S608 - our own
_EVENTS: Final = f"SELECT number, at, poll, data FROM events WHERE {_IS_EVENT} AND at BETWEEN ? AND ?"  # noqa: S608
_EVENT_TIMES: Final = f"SELECT at FROM events WHERE {_IS_EVENT} AND at BETWEEN ? AND ?"  # noqa: S608 - our own
_poll: Final = RecordedPoll._make


class DayRecords(NamedTuple):
    """A file's records of a period."""

    polls: Sequence[RecordedPoll]
    events: Sequence[tuple[int, WallMs, int, Event]]
    lost_polls: Sequence[tuple[int, WallMs]]
    """Numbers and times of impossible polls."""
    lost_events: Sequence[tuple[WallMs, SafeText]]
    began_at: WallMs | None
    """Time of the file's first readable poll, also before the period."""
    cut_at: WallMs | None
    """Newest readable time in a damaged file, or -inf; None for a whole file."""


class DayReader:
    """Reads a file, in a single thread at a time; must be closed.

    Raises `HistoryError`, or `GoneError` if the file is missing or just begun. `connect` also returns whether the
    end is missing.
    """

    def __init__(self, path: Path, connect: Callable[[Path], tuple[sqlite3.Connection, bool]] = connected) -> None:
        with _explaining():
            status = check_regular(path)
            self._path = path
            self._connection, self.is_cut = connect(path)
        self.identity = (path.name, status.st_dev, status.st_ino)
        """Changes when another file takes the path."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def about(self) -> dict[str, str]:
        """Return the `about` table."""
        with _explaining():
            return dict(self._connection.execute("SELECT name, value FROM about"))

    def polls(self, since: WallMs, until: WallMs) -> list[RecordedPoll]:
        """See `Past.polls`."""
        with _explaining():
            if not self.is_cut:
                rows = self._connection.execute(f"{_POLLS} AND at BETWEEN ? AND ? ORDER BY number", (since, until))
                with suppress(sqlite3.DatabaseError):
                    # `_make` saves a third of the time; a day has 17,280 polls.
                    return [
                        _poll((n, at, _RESULTS[result], run, every)) for n, at, result, run, every in _in_turns(rows)
                    ]
            last = max((number for (number, *_) in self._intact("SELECT number, data FROM frames")), default=0)
            found = []
            for n, at, result, run, every in self._intact(_POLLS):
                if since <= at <= until and n <= last:
                    found.append(RecordedPoll(n, at, _RESULTS[result], run, every))
            return found

    def event_times(self, since: WallMs, until: WallMs) -> list[WallMs]:
        """See `Past.event_times`."""
        with _explaining():
            return [at for (at,) in self._intact(_EVENT_TIMES, since, until)]

    def last_listing(self) -> RecordedPoll | None:
        """Return the newest poll with a listing, or None."""
        with _explaining():
            row = self._row(f"{_POLLS} AND result = ? ORDER BY number DESC LIMIT 1", PollResult.LISTED)
            return None if row is None else RecordedPoll(row[0], row[1], _RESULTS[row[2]], *row[3:])

    def last_numbers(self) -> Numbers:
        """See `last_numbers`."""
        with _explaining():
            return last_numbers(self._connection)

    def events(
        self, since: WallMs, until: WallMs, profile: SafeText, known: Mapping[Event, Event] = NO_EVENTS
    ) -> list[tuple[int, WallMs, int, Event | SafeText]]:
        """Return the events of a period, both ends included, in recording order.

        An entry has the event's number (grows over days and runs), recording time, newest poll's number or 0, and the
        event or its damage.
        """
        found: list[tuple[int, WallMs, int, Event | SafeText]] = []
        decoder = EventDecoder(profile, self._event_bytes)
        with _explaining():
            for number, at, poll, data in self._intact(_EVENTS, since, until):
                try:
                    event = decoder.decode(data)
                    found.append((number, at, poll, known.get(event, event)))
                except HistoryError as error:
                    found.append((number, at, poll, clean(str(error))))
                except TypeError:
                    found.append((number, at, poll, clean(NONSENSE)))
        return found

    def records(
        self,
        since: WallMs,
        until: WallMs,
        profile: SafeText,
        day: tuple[float, float],
        known: Mapping[Event, Event] = NO_EVENTS,
    ) -> DayRecords:
        """Return the readable and lost records of a period, both ends included.

        `day` is the file's begin and excluded end, in ms.
        """
        polls = self.polls(since, until)
        with _explaining():
            first = next(self._intact(_POLLS), None)
        every = self.polls(WallMs(-inf), WallMs(inf)) if self.is_cut else ()
        cut_at = max((poll.at for poll in every), default=WallMs(-inf)) if self.is_cut else None
        events = self.events(since, until, profile, known)
        if self.is_cut and cut_at is None:  # only the events are damaged
            cut_at = events[-1][1] if events else since
        senseless = self._senseless("events", _IS_EVENT, since, day)
        lost_polls = self._senseless("polls", _IS_POLL, since, day)
        numbers = {number for number, _ in lost_polls}
        lost = [(at, damage) for _, at, _, damage in events if not isinstance(damage, Event)]
        lost += [(at, clean(NONSENSE)) for _, at in senseless if since <= at <= until]
        return DayRecords(
            polls=[poll for poll in polls if poll.number not in numbers],
            events=[(number, at, poll, event) for number, at, poll, event in events if isinstance(event, Event)],
            lost_polls=[(number, at) for number, at in lost_polls if since <= at <= until],
            lost_events=lost,
            began_at=None if first is None else first[1],
            cut_at=cut_at,
        )

    def _senseless(
        self, table: str, is_sound: str, since: WallMs, day: tuple[float, float]
    ) -> list[tuple[int, WallMs]]:
        begin, end = day
        is_of_day = f"{_IS_TIME} AND at >= {begin} AND at < {end}"
        is_sound = f"({is_sound} AND {is_of_day})"
        first = f"SELECT 1 FROM {table} WHERE {is_sound} IS NOT TRUE LIMIT 1"  # noqa: S608 - our own, as below
        rows = f"SELECT number, CASE WHEN {is_of_day} THEN at END, {is_sound} IS TRUE FROM {table}"  # noqa: S608
        with _explaining():
            if not self.is_cut and self._row(first) is None:
                return []
            dated = list(self._intact(rows))
        at = next((at for _, at, _ in dated if at is not None), since)
        found = []
        for number, its_at, is_fine in dated:
            at = at if its_at is None else its_at
            if not is_fine:
                found.append((number, at))
        return found

    def chain(self, number: int) -> tuple[int, int]:
        """Return the numbers of a moment's KEY and BRIDGE, equal without a BRIDGE."""
        with _explaining():
            newest = "SELECT number FROM polls WHERE kind = ? AND number BETWEEN ? AND ? ORDER BY number DESC LIMIT 1"
            key = self._row(newest, FrameKind.KEY, 0, number)
            if key is None or self._row("SELECT 1 FROM polls WHERE number = ?", number) is None:
                raise HistoryError("that poll is no longer there")
            bridge = self._row(newest, FrameKind.BRIDGE, key[0], number)
            return key[0], bridge[0] if bridge else key[0]

    def frames(self, first: int, last: int) -> Iterator[Frame]:
        """Yield the frames of polls `first` to `last`; raise `DamagedError` at a gap or damage."""
        query = "SELECT number, kind, data FROM polls JOIN frames USING (number) WHERE number BETWEEN ? AND ?"
        number = first
        with _explaining():
            for found, kind, data in self._connection.execute(f"{query} ORDER BY number", (first, last)):
                if found != number:
                    break
                yield Frame(FrameKind(kind), memoryview(data).tobytes())
                number += 1
        if number <= last:
            raise DamagedError("a poll is no longer there")

    def quick_check(self) -> None:
        """See `check_whole`."""
        with _explaining():
            if self.is_cut:
                raise DamagedError("its end is missing")
            check_whole(self._connection, self._path)

    def _event_bytes(self, number: int) -> bytes:
        with _explaining():
            row = self._row("SELECT data FROM events WHERE number = ?", number)
        if row is None or type(row[0]) is not bytes:
            raise HistoryError("an event that another one refers to is no longer there")
        return row[0]

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def _intact(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        self._connection.text_factory = lambda data: data.decode(errors="replace")
        try:
            yield from _in_turns(self._connection.execute(f"{query} ORDER BY number", values))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self.is_cut = True


_TURN_S: Final = 0.001
_PAUSE_S: Final = 0.0002
"""Enough for a waiting thread to wake up."""


def _in_turns(rows: Iterable[T]) -> Iterator[T]:
    """Yield rows from SQLite, with pauses for other threads.

    sqlite3 releases the interpreter briefly for each row. This restarts a thread's wait, which never lasts long enough
    to force a switch.
    """
    turn_end = time.perf_counter() + _TURN_S
    for row in rows:
        yield row
        if time.perf_counter() > turn_end:
            time.sleep(_PAUSE_S)
            turn_end = time.perf_counter() + _TURN_S


@contextmanager
def _explaining() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise GoneError("it is no longer there") from None
    except (OSError, sqlite3.Error) as error:
        kind = DamagedError if is_damage(error) else HistoryError
        raise kind(explained(error)) from error
    except (KeyError, TypeError, ValueError) as error:  # a column with a wrong type
        raise DamagedError(NONSENSE) from error


class _Mark(NamedTuple):
    file: object
    number: int
    builder: MomentBuilder


class Rebuilder:
    """Rebuilds moments in a single thread, cheaply for the next or a slightly earlier moment."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._newest: _Mark | None = None
        self._broken: tuple[object, int, str] | None = None
        """Newest unusable frame (file, number, damage); moments that need it fail at once."""
        self._checked: Environments = {}
        self._marks: tuple[_Mark, ...] = ()

    def moment(self, file: DayReader, number: int) -> Moment:
        """See `Past.moment`."""
        newest, self._newest = self._newest, None
        if newest is not None and newest.file == file.identity and newest.number in (number - 1, number):
            builder = newest.builder
            self._apply(builder, file, newest.number + 1, number)
        else:
            builder = self._rebuilt(file, number)
        self._newest = _Mark(file.identity, number, builder)
        moment = builder.moment()
        check_clocks(moment, self._checked)
        self._checked = moment.profile_state.environments
        return moment

    def _rebuilt(self, file: DayReader, number: int) -> MomentBuilder:
        (key, bridge), marks, self._marks = file.chain(number), self._marks, ()
        broken_file, broken, damage = self._broken or (None, 0, "")
        if broken_file == file.identity and (broken == key or bridge <= broken <= number):
            raise DamagedError(damage)
        marks = tuple(mark for mark in marks if mark.file == file.identity and bridge <= mark.number <= number)
        if not marks:
            builder = MomentBuilder(self._profile)
            self._apply(builder, file, key, key)
            if bridge != key:
                self._apply(builder, file, bridge, bridge)
            marks = (_Mark(file.identity, bridge, builder),)
        start = marks[-1]
        builder, near = start.builder.copy(), max(number - _NEAR, start.number)
        self._apply(builder, file, start.number + 1, near)
        self._marks = (marks[0], _Mark(file.identity, near, builder.copy()))
        self._apply(builder, file, near + 1, number)
        return builder

    def _apply(self, builder: MomentBuilder, file: DayReader, first: int, last: int) -> None:
        number = first
        try:
            for frame in file.frames(first, last):
                builder.apply(frame)
                number += 1
        except DamagedError as error:
            self._broken = (file.identity, number, str(error))
            raise


_LATEST: Final = 1e15
"""Latest time in ms, beyond the year 9999."""
_LARGEST: Final = sys.float_info.max
_instants_of: Final = attrgetter(*(each.name for each in API_FIELDS.values() if each.kind is ValueKind.INSTANT))


def check_clocks(moment: Moment, known: Environments = MappingProxyType({})) -> None:
    """Raise `HistoryError` for an impossible number; `known` rows were checked before."""
    state = moment.profile_state
    failure, stall, quarantine = state.failure, state.stall_detector, state.quarantine
    polls = () if failure is None else (failure.started, failure.ended)
    rows = [tracked for id_, tracked in state.environments.items() if known.get(id_) is not tracked]
    times: list[float | None] = [
        *chain.from_iterable(map(_in_ms, (moment.now, state.listed, state.last_up, state.unseen_since, *polls))),
        *chain.from_iterable((bounds.low, bounds.high) for bounds in state.clock.samples),
        state.elapsed_ms,
        state.interval / MS,
        state.began_at,
        state.date_error,
        stall.silent_s * 1000,
        stall.resumed_at,
        *state.periods.values(),
        None if quarantine is None else quarantine.since * 1000,
        *chain.from_iterable(tracked.transitions for tracked in rows),
    ]
    numbers = chain.from_iterable(map(_numbers_of_row, rows))
    # NaN fails every comparison.
    if not (
        all(-_LATEST < time < _LATEST for time in times if time is not None)
        and all(-_LARGEST <= number <= _LARGEST or number in {-inf, inf} for number in numbers if number is not None)
    ):
        raise HistoryError("a clock in it shows what none can")


def _in_ms(reading: Clocks | None) -> tuple[float, ...]:
    return () if reading is None else (reading.wall, reading.monotonic * 1000)


def _numbers_of_row(tracked: TrackedEnvironment) -> Iterable[float | None]:
    change, last_known = tracked.last_change, tracked.last_known_heartbeat
    yield from (*_instants_of(tracked.environment), tracked.since_at, *tracked.skew_check)
    if change is not None:
        yield change.at
    if last_known is not None:
        yield from (last_known.at, last_known.elapsed_ms)
