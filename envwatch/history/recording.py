"""Recordings: day files under any name, with one profile and any number of days."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import struct
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from envwatch.files import open_regular, write_private
from envwatch.history.day_file import APPLICATION_ID, RECORDING_MODES, TABLES, DayFile, DayReader, Numbers, connected
from envwatch.history.encoding.frames import FORMAT_VERSION, FrameKind
from envwatch.history.past import About, HistoryError
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment
    from envwatch.history.redaction import Redaction
    from envwatch.model.clock import WallMs


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
_NEWER: Final = "a newer envwatch made it; update this one"
_DAMAGED: Final = "it is damaged at its beginning"


def opened(path: Path) -> DayReader:
    """Return the reader of a recording or copied day file; raise `HistoryError` if unusable."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head = file.read(_HEAD_BYTES)
            content = head + file.read() if head.startswith(_TITLE) else b""
    except OSError as error:
        raise HistoryError(error.strerror or str(error)) from None
    path = path.resolve()
    if content:
        return DayReader(path, lambda _: _converted(content))
    if not head.startswith(_MAGIC) or int.from_bytes(head[_APPLICATION_ID], "big") != APPLICATION_ID:
        raise HistoryError("it is no recording of envwatch")
    if int.from_bytes(head[_USER_VERSION], "big") > FORMAT_VERSION:
        raise HistoryError(_NEWER)
    return DayReader(path, partial(connected, modes=RECORDING_MODES) if head[_WRITE_VERSION] == 1 else connected)


# The format of envwatch 1.0.0.

_TITLE: Final = b"envwatch recording "
_CHUNK: Final = struct.Struct("<IIB")
"""Body length, CRC-32 of kind and body, kind."""
_CHECKED_FROM: Final = 8
_ABOUT_CHUNK, _POLL_CHUNK, _EVENTS_CHUNK = 0, 1, 2
"""Unknown kinds are skipped."""
_POLL: Final = struct.Struct("<dBBdBI")
"""Wall clock (ms), result, whether a run begins, interval (s), frame kind, frame length."""
_WALL: Final = struct.Struct("<d")
_LENGTH: Final = struct.Struct("<I")
_RESULTS: Final = (PollResult.LISTED, PollResult.FAILED, PollResult.SLEPT)


def _converted(content: bytes) -> tuple[sqlite3.Connection, bool]:
    line, has_end, _ = content.partition(b"\n")
    version = line.removeprefix(_TITLE)
    if not has_end or not version.isdigit():
        raise HistoryError(_DAMAGED)
    if int(version) > FORMAT_VERSION:
        raise HistoryError(_NEWER)
    chunks = _chunks(content, len(line) + 1)
    kind, body, end = next(chunks, (None, b"", 0))
    if kind != _ABOUT_CHUNK:
        raise HistoryError(_DAMAGED)
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(TABLES)
        connection.executemany("INSERT INTO about VALUES (?, ?)", _about_rows(body).items())
        with suppress(struct.error, ValueError, IndexError, sqlite3.IntegrityError):
            for its_end in _added(connection, chunks):
                end = its_end
    except BaseException:
        connection.close()
        raise
    return connection, end < len(content)


def _chunks(content: bytes, start: int) -> Iterator[tuple[int, bytes, int]]:
    while start + _CHUNK.size <= len(content):
        length, checksum, kind = _CHUNK.unpack_from(content, start)
        begin, checked = start + _CHUNK.size, start + _CHECKED_FROM
        start = begin + length
        if start > len(content) or zlib.crc32(content[checked:start]) != checksum:
            return
        yield kind, content[begin:start], start


def _about_rows(body: bytes) -> dict[str, str]:
    try:
        fields = json.loads(body)
        texts = {name: "".join(fields[name]) for name in ("profile", "base_url", "version")}
        return {**texts, "is_redacted": str(fields.get("is_redacted") is True)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise HistoryError(_DAMAGED) from None


def _added(connection: sqlite3.Connection, chunks: Iterable[tuple[int, bytes, int]]) -> Iterator[int]:
    poll = event = run = 0
    for kind, body, end in chunks:
        at, rest = 0.0, b""
        if kind == _POLL_CHUNK:
            at, result, starts_run, interval_s, frame_kind, length = _POLL.unpack_from(body)
            poll += 1
            run = poll if starts_run or not run else run
            row = (poll, at, _RESULTS[result], run, interval_s, None, FrameKind(frame_kind))
            frame, rest = body[_POLL.size : _POLL.size + length], body[_POLL.size + length :]
            connection.execute("INSERT INTO polls VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO frames VALUES (?, ?)", (poll, frame))
        elif kind == _EVENTS_CHUNK:
            (at,) = _WALL.unpack_from(body)
            rest = body[_WALL.size :]
        while rest:
            (length,) = _LENGTH.unpack_from(rest)
            data, rest = rest[_LENGTH.size : _LENGTH.size + length], rest[_LENGTH.size + length :]
            event += 1
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (event, at, poll, data))
        yield end
