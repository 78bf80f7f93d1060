"""The reader of day files and recordings.

Reading works during writing, and up to the last whole page of a truncated file. Recordings may come from strangers:
the values of a poll or an event must be possible.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.fleet.events import Event
from envwatch.history.day_file import (
    Numbers,
    check_form,
    check_regular,
    check_whole,
    explained,
    is_cut,
    is_damage,
    last_numbers,
    primary_code,
)
from envwatch.history.encoding.events import EventDecoder
from envwatch.history.encoding.frames import Frame, FrameKind
from envwatch.history.encoding.packing import NONSENSE
from envwatch.history.past import NO_EVENTS, DamagedError, EmptyError, GoneError, HistoryError
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from envwatch.model.text import SafeText

    T = TypeVar("T")

_READER_BUSY_S: Final = 1.0
_LONGEST_INTERVAL_S: Final = 1e9
_LATEST_MS: Final = 250_000_000_000_000
"""The year 9892, so any time zone can show a poll's time."""
_HEAD_BYTES: Final = 100
_ROOT_PAGES: Final = 5
"""The schema and each table's first page; SQLite reads no table if any is missing."""
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
