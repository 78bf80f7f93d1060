"""Reads a day file, also while another process writes the file.

A truncated file is read up to the last whole page. A recording may come from anybody: each clock reading must be
possible; a row's instants, from the platform, must only be numbers.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import contextmanager, suppress
from itertools import chain
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.fleet.events import Event
from envwatch.history import day_file
from envwatch.history.day_file import Numbers, is_damage
from envwatch.history.encoding.events import EventDecoder
from envwatch.history.encoding.frames import Frame, FrameKind
from envwatch.history.encoding.moment_builder import MomentBuilder
from envwatch.history.encoding.packing import NONSENSE
from envwatch.history.past import NO_EVENTS, DamagedError, GoneError, HistoryError
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
    from envwatch.history.moment import Moment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

    T = TypeVar("T")


_BUSY_S: Final = 1.0
_LONGEST_INTERVAL_S: Final = 1e9
"""About 30 years."""
_LATEST_MS: Final = 250_000_000_000_000
"""The year 9892: any zone can show a poll's time."""
_ROOT_PAGES: Final = 5
"""The schema and the first page of each table: SQLite reads no table if one is missing."""
_NEAR: Final = 8
"""The builder this many frames before the requested moment is kept, so that several steps back are cheap."""
_INDEX_IN_MEMORY: Final = "mode=ro&vfs=unix-none"
_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_ROLLING_BACK: Final = "mode=rw"
RECORDING_MODES: Final = ("mode=ro", _ROLLING_BACK)
"""`rw` applies the rollback journal of a killed process."""


def connected(path: Path, modes: Sequence[str] = ()) -> tuple[sqlite3.Connection, bool]:
    """Return a connection that reads a file, and whether the file is truncated.

    `modes` are query strings of SQLite's URI, empty for a day file. If a mode lacks a right, the next mode is tried.

    Raises:
        GoneError: if the file is empty so far.
        HistoryError: if the file has another format.
        OSError: if the file cannot be read.
        sqlite3.Error: likewise.
    """
    # Without a write-ahead log, `immutable` avoids locks, which would leave a log behind; a writer makes a log before a
    # change. With a log, an unwritable folder may lack the log's index: an exclusive connection makes the index in
    # memory.
    has_log = path.with_name(f"{path.name}-wal").exists()
    for mode in modes or (("mode=ro", _INDEX_IN_MEMORY) if has_log else ("mode=ro&immutable=1",)):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        try:
            if mode == _INDEX_IN_MEMORY:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            _check_begun(connection)
            if not day_file.is_cut(connection, path):
                return connection, False
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error) or (mode == _ROLLING_BACK and day_file.primary_code(error) in _NOT_WRITABLE):
                break
            if day_file.primary_code(error) not in _NOT_WRITABLE or mode != "mode=ro":
                raise
        except BaseException:
            connection.close()
            raise
        else:
            connection.close()
            break
    return _whole_pages_of(path), True


def _check_begun(connection: sqlite3.Connection) -> None:
    if not day_file.check_form(connection):
        raise GoneError("there is nothing in it yet")


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
        _check_begun(connection)
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
_poll: Final = RecordedPoll._make


class DayRecords(NamedTuple):
    """The records of a period in a file."""

    polls: Sequence[RecordedPoll]
    events: Sequence[tuple[int, WallMs, int, Event]]
    """See `DayReader.events`."""
    lost_polls: Sequence[tuple[int, WallMs]]
    """Number and time of each poll with an impossible value."""
    lost_events: Sequence[tuple[WallMs, SafeText]]
    """Time and damage of each damaged event."""
    began_at: WallMs | None
    """The time of the file's first readable poll, also before the period."""
    cut_at: WallMs | None
    """The newest readable record's time in a damaged or cut file, -inf without a record; None for a whole file."""


class DayReader:
    """Reads a file, in one thread at a time. Close the reader at the end.

    Methods raise `HistoryError` for an unreadable file.

    Args:
        connect: returns a connection, and whether the end of the content is missing.

    Raises:
        GoneError: if the file is missing, or empty so far.
    """

    def __init__(self, path: Path, connect: Callable[[Path], tuple[sqlite3.Connection, bool]] = connected) -> None:
        with _explaining():
            status = day_file.check_regular(path)
            self._path = path
            self._connection, self.is_cut = connect(path)
        self.identity = (path.name, status.st_dev, status.st_ino)
        """Changes when another file takes the path."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def about(self) -> dict[str, str]:
        """Return the rows of the `about` table."""
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

    def last_listing(self) -> RecordedPoll | None:
        """Return the newest poll with a listing."""
        with _explaining():
            row = self._row(f"{_POLLS} AND result = ? ORDER BY number DESC LIMIT 1", PollResult.LISTED)
            return None if row is None else RecordedPoll(row[0], row[1], _RESULTS[row[2]], *row[3:])

    def last_numbers(self) -> Numbers:
        """See `day_file.last_numbers`."""
        with _explaining():
            return day_file.last_numbers(self._connection)

    def events(
        self, since: WallMs, until: WallMs, profile: SafeText, known: Mapping[Event, Event] = NO_EVENTS
    ) -> list[tuple[int, WallMs, int, Event | SafeText]]:
        """Return the events of a period, both ends included, in recording order.

        Each entry has the event's number (grows over days and runs), the recording time, the newest poll's number (0
        before the first poll), and the event, or the damage of an unreadable event. `known` is as for `Past.steps`.
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
        """Return the records of a period, both ends included, and the records that cannot be read.

        `day` is the time of all records in the file, in ms without the end. `known` is as for `Past.steps`.
        """
        polls = self.polls(since, until)
        with _explaining():
            first = next(self._intact(_POLLS), None)
        cut_at = self._newest_at() if self.is_cut else None
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

    def _newest_at(self) -> WallMs:
        return max((poll.at for poll in self.polls(WallMs(-inf), WallMs(inf))), default=WallMs(-inf))

    def _senseless(
        self, table: str, is_sound: str, since: WallMs, day: tuple[float, float]
    ) -> list[tuple[int, WallMs]]:
        """Return number and time of each row with an impossible value.

        A row without a possible time has the time of an earlier row, of a later row, or `since`.
        """
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
        """Return the numbers of a moment's KEY and BRIDGE; without a BRIDGE, the KEY twice."""
        with _explaining():
            newest = "SELECT number FROM polls WHERE kind = ? AND number BETWEEN ? AND ? ORDER BY number DESC LIMIT 1"
            key = self._row(newest, FrameKind.KEY, 0, number)
            if key is None or self._row("SELECT 1 FROM polls WHERE number = ?", number) is None:
                raise HistoryError("that poll is no longer there")
            bridge = self._row(newest, FrameKind.BRIDGE, key[0], number)
            return key[0], bridge[0] if bridge else key[0]

    def frames(self, first: int, last: int) -> Iterator[Frame]:
        """Yield the frames of the polls from `first` to `last`; raise `DamagedError` at a damaged or missing frame."""
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
        """Raise `DamagedError` with the file's first problem."""
        with _explaining():
            if self.is_cut:
                raise DamagedError("its end is missing")
            day_file.check_whole(self._connection, self._path)

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
        """Yield rows by number, up to the first damage."""
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

    For each row, sqlite3 releases the interpreter for an instant. The release restarts a waiting thread's wait, so the
    thread never waits long enough to get the interpreter by force.
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
        raise kind(day_file.explained(error)) from error
    except (KeyError, TypeError, ValueError) as error:  # a column with a wrong type
        raise DamagedError(NONSENSE) from error


class _Mark(NamedTuple):
    file: object
    number: int
    builder: MomentBuilder


class _Broken(NamedTuple):
    file: object
    number: int
    reason: str


class Rebuilder:
    """Rebuilds moments, in one thread. The next moment costs one frame, a slightly earlier moment a few."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._newest: _Mark | None = None
        self._broken: _Broken | None = None
        """The newest frame that could not be applied: no moment that needs the frame is tried again."""
        self._checked: Environments = {}
        self._marks: tuple[_Mark, ...] = ()
        """The builders at the newest BRIDGE and shortly before the requested moment; steps back start here."""

    def moment(self, file: DayReader, number: int) -> Moment:
        """Return the moment right after a poll; raise `HistoryError` if unreadable."""
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
        broken = self._broken
        if (
            broken is not None
            and broken.file == file.identity
            and (broken.number == key or bridge <= broken.number <= number)
        ):
            raise DamagedError(broken.reason)
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
            self._broken = _Broken(file.identity, number, str(error))
            raise


_LATEST: Final = 1e15
"""In ms: more than years 1 to 9999, within a `timedelta`."""
_LARGEST: Final = sys.float_info.max
_instants_of: Final = attrgetter(*(each.name for each in API_FIELDS.values() if each.kind is ValueKind.INSTANT))


def check_clocks(moment: Moment, known: Environments = MappingProxyType({})) -> None:
    """Raise `HistoryError` for an impossible number; rows in `known` were checked before."""
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
