"""Recordings: polls, moments and events of one profile in one file, which can be sent to somebody.

The file is a line that says what it is, and then chunks, each with its length and a checksum: what the recording is of,
and then each poll with its frame and its events, in the order of recording. It is only ever appended to. So a file that
was cut off, or whose writer was killed, has lost its end and nothing else, and one that is being written can be read.
That is why it is no database, whose pages are not in the order of time. Frames and events are those of a day file.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import asdict
from enum import IntEnum
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Self

from envwatch.files import open_regular
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.past.history import HistoryError, Moment, RecordedStep
from envwatch.storage.history.encoding.events import decode_event, encode_event
from envwatch.storage.history.encoding.frames import (
    FORMAT_VERSION,
    Chain,
    Frame,
    FrameEncoder,
    FrameKind,
    Rebuilder,
)
from envwatch.storage.history.possible_clocks import LONGEST_INTERVAL_S, ClockCheck
from envwatch.storage.history.schema import About

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.storage.history.redaction import Redaction

_TITLE: Final = b"envwatch recording "
"""Begins the first line, which ends with the version of the format."""
_LINE_BYTES: Final = 40
"""Of the first line at most."""
_CHUNK: Final = struct.Struct("<IIB")
"""Before each chunk: the length of its body, a CRC-32 of all that follows, and what it is."""
_CHECKED_FROM: Final = 8
_POLL: Final = struct.Struct("<dBBdBI")
"""Before a frame: wall clock (ms), result, whether a run begins, interval (s), kind and length of the frame."""
_WALL: Final = struct.Struct("<d")
_LENGTH: Final = struct.Struct("<I")
"""Before each event."""
_RESULTS: Final = (PollResult.LISTED, PollResult.FAILED, PollResult.SLEPT)


_LATEST_MS: Final = 250_000_000_000_000
"""In the year 9892, so that any zone can show it."""


class _ChunkKind(IntEnum):
    ABOUT = 0
    POLL = 1
    EVENTS = 2
    """Events that came with no poll."""


class RecordingWriter:
    """Writes a new recording; each poll is in the file once `write` returns.

    Args:
        path: the file, which must not exist. It is private to the user.
        about: what it is of.
        redaction: of everything that is written; None to write it as it is.

    Raises:
        FileExistsError: if the path exists.
        OSError: if the file cannot be made.
    """

    def __init__(self, path: Path, about: About, redaction: Redaction | None = None) -> None:
        self.polls = 0
        self.size = 0
        self._redaction = redaction
        self._encoder = FrameEncoder()
        self._starts_run = True
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(self._descriptor, 0o600)  # the umask may have taken away the owner's own rights
            about = redaction.about(about) if redaction else about
            title = _TITLE + f"{FORMAT_VERSION}\n".encode()
            self._append(title + _chunk(_ChunkKind.ABOUT, json.dumps(asdict(about)).encode()))
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_run(self) -> None:
        """Let the next poll be the first of another run."""
        self._starts_run = True
        self._encoder.restart()

    def write(self, moment: Moment, result: PollResult, interval_s: float, events: Iterable[Event] = ()) -> None:
        """Add one poll with its events.

        Raises:
            HistoryError: if a moment or an event cannot be encoded; the poll is missing then.
            OSError: if the file cannot be written; it ends with the poll before then.
        """
        try:
            frame = self._encoder.encode(self._redaction.moment(moment) if self._redaction else moment)
            head = _POLL.pack(
                moment.now.wall,
                _RESULTS.index(result),
                self._starts_run,
                interval_s,
                frame.kind,
                len(frame.data),
            )
            self._append(_chunk(_ChunkKind.POLL, head + frame.data + self._joined(events)))
        except (HistoryError, OSError):
            self._encoder.restart()
            raise
        self.polls += 1
        self._starts_run = False

    def write_events(self, at: WallMs, events: Iterable[Event]) -> None:
        """Add events that came with no poll; raises as `write` does."""
        self._append(_chunk(_ChunkKind.EVENTS, _WALL.pack(at) + self._joined(events)))

    def close(self) -> None:
        """Have the disk keep what was written, and close the file.

        Raises:
            OSError: if the disk cannot; some report only now that they are full.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _joined(self, events: Iterable[Event]) -> bytes:
        redacted = map(self._redaction.event, events) if self._redaction else events
        return b"".join(_LENGTH.pack(len(data)) + data for data in map(encode_event, redacted))

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise
        self.size += len(data)


class _Place(NamedTuple):
    """Where a frame stands in the file, and which ones it needs."""

    kind: FrameKind
    start: int
    length: int
    chain: Chain


class _Events(NamedTuple):
    """Where the events of a step stand in the file, and which poll they came with, if any."""

    at: WallMs
    poll: RecordedPoll | None
    start: int
    length: int


class RecordedFile:
    """A recording that is read, also while it is written: a `Past` of what was whole in it when it was opened.

    Raises:
        HistoryError: if it cannot be read, is no recording, or was made by a newer envwatch.
    """

    def __init__(self, path: Path, profile: SafeText = NO_PROFILE) -> None:
        self._profile = profile
        self._polls: list[RecordedPoll] = []
        self._places: list[_Place] = []
        self._steps: list[_Events] = []
        self._rebuilder = Rebuilder(profile)
        self._check = ClockCheck()
        self._rebuilding = Lock()
        self.identity = object()
        self.is_cut = False
        """Whether its end is missing, or damaged."""
        try:
            descriptor = open_regular(path)
        except OSError as error:
            raise HistoryError(error.strerror or str(error)) from None
        self._file: BinaryIO = os.fdopen(descriptor, "rb")
        try:
            self._read()
        except OSError as error:
            self.close()
            raise HistoryError(error.strerror or str(error)) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def all_polls(self) -> Sequence[RecordedPoll]:
        """Return every poll in the order of recording."""
        return self._polls

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a time, both ends included, in the order of recording."""
        return [poll for poll in self._polls if since <= poll.at <= until]

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return what was known right after a poll."""
        with self._rebuilding:
            return self._rebuilt(self._rebuilder, poll, self._check)

    def moments(self, polls: Iterable[RecordedPoll]) -> Iterator[Moment]:
        """Yield what was known after each of consecutive polls."""
        rebuilder, check = Rebuilder(self._profile), ClockCheck()
        return (self._rebuilt(rebuilder, poll, check) for poll in polls)

    def events(self, since: WallMs, until: WallMs) -> Sequence[Event]:
        """Return the events of a time, both ends included, in the order of recording; groups with their members."""
        return [event for step in self.steps(since, until) for event in step.events]

    def all_steps(self) -> Iterator[RecordedStep]:
        """Yield everything in the order of recording."""
        return self.steps(WallMs(-inf), WallMs(inf))

    def steps(self, since: WallMs, until: WallMs) -> Iterator[RecordedStep]:
        """Yield the polls of a time, each with its events, and what time alone changed, in the order of recording."""
        return (
            RecordedStep(step.at, step.poll, self._events_at(step)) for step in self._steps if since <= step.at <= until
        )

    def chain(self, number: int) -> Chain:
        """Return which frames give the moment of a poll."""
        if not 0 < number <= len(self._places):
            raise HistoryError("that poll is not in it")
        return self._places[number - 1].chain

    def frames(self, first: int, last: int) -> list[Frame]:
        """Return the frames of polls with these numbers, both included."""
        places = self._places[first - 1 : last]
        return [Frame(place.kind, self._bytes_at(place.start, place.length)) for place in places]

    def _read(self) -> None:
        """Note where everything stands."""
        size = os.fstat(self._file.fileno()).st_size
        line = self._file.readline(_LINE_BYTES)
        if not line.startswith(_TITLE):
            raise HistoryError("it is no recording of envwatch")
        version = line.removeprefix(_TITLE).removesuffix(b"\n")
        if not line.endswith(b"\n") or not version.isdigit():
            raise HistoryError("it is damaged at its beginning")
        if int(version) > FORMAT_VERSION:
            raise HistoryError("a newer envwatch made it; update this one")
        chunks = self._chunks(len(line), size)
        kind, body, start = next(chunks, (None, b"", 0))
        if kind != _ChunkKind.ABOUT:
            raise HistoryError("it is damaged at its beginning")
        self.about = _about_in(body)
        end = start + len(body)
        for kind, body, start in chunks:
            try:
                self._note(kind, body, start)
            except (struct.error, ValueError, IndexError):
                break
            end = start + len(body)
        self.is_cut = end < size

    def _chunks(self, start: int, size: int) -> Iterator[tuple[int | None, bytes, int]]:
        """Yield kind and body of each chunk from there on, and where its body begins, up to one that is not whole."""
        while True:
            head = self._file.read(_CHUNK.size)
            if len(head) < _CHUNK.size:
                return
            length, checksum, kind = _CHUNK.unpack(head)
            start += _CHUNK.size
            body = self._file.read(length) if length <= size - start else b""
            if len(body) < length or zlib.crc32(body, zlib.crc32(head[_CHECKED_FROM:])) != checksum:
                return
            yield kind, body, start
            start += length

    def _note(self, kind: int | None, body: bytes, start: int) -> None:
        """Note a chunk whose body begins there; kinds that this version does not know are left out."""
        if kind == _ChunkKind.POLL:
            at, result, starts_run, interval_s, frame_kind, length = _POLL.unpack_from(body)
            number = len(self._polls) + 1
            run = number if starts_run or not self._polls else self._polls[-1].run
            if not 0 <= interval_s <= LONGEST_INTERVAL_S:
                raise ValueError("no interval")
            poll = RecordedPoll(number, _checked(at), _RESULTS[result], run, interval_s)
            chain = self._chain_to(number, FrameKind(frame_kind))
            self._places.append(_Place(FrameKind(frame_kind), start + _POLL.size, length, chain))
            self._polls.append(poll)
            skipped = _POLL.size + length
            self._steps.append(_Events(poll.at, poll, start + skipped, len(body) - skipped))
        elif kind == _ChunkKind.EVENTS:
            (at,) = _WALL.unpack_from(body)
            self._steps.append(_Events(_checked(at), None, start + _WALL.size, len(body) - _WALL.size))

    def _rebuilt(self, rebuilder: Rebuilder, poll: RecordedPoll, check: ClockCheck) -> Moment:
        moment = rebuilder.moment(self, poll.number)
        check(moment)
        return moment

    def _chain_to(self, number: int, kind: FrameKind) -> Chain:
        if kind is FrameKind.KEY:
            return Chain(number, number)
        key, bridge = self._places[-1].chain
        return Chain(key, number if kind is FrameKind.BRIDGE else bridge)

    def _events_at(self, step: _Events) -> Sequence[Event]:
        events, rest = [], memoryview(self._bytes_at(step.start, step.length))
        while rest:
            if len(rest) < _LENGTH.size:
                raise HistoryError("an event is damaged")
            (length,) = _LENGTH.unpack_from(rest)
            events.append(decode_event(bytes(rest[_LENGTH.size : _LENGTH.size + length]), self._profile))
            rest = rest[_LENGTH.size + length :]
        return events

    def _bytes_at(self, start: int, length: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), length, start) if length > 0 else b""
        except (OSError, ValueError) as error:  # the latter once it is closed
            raise HistoryError(str(error)) from None


def _chunk(kind: _ChunkKind, body: bytes) -> bytes:
    checked = _CHUNK.pack(len(body), 0, kind)[_CHECKED_FROM:]
    return _CHUNK.pack(len(body), zlib.crc32(body, zlib.crc32(checked)), kind) + body


def _checked(at: float) -> WallMs:
    """Return a time that the calendar has; raise `ValueError` if it has not."""
    if not 0 <= at < _LATEST_MS:
        raise ValueError("no time")
    return WallMs(at)


def _about_in(body: bytes) -> About:
    try:
        fields: dict[str, Any] = json.loads(body)
        texts = {name: clean(fields[name]) for name in ("profile", "base_url", "version")}
        return About(**texts, is_redacted=fields.get("is_redacted") is True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise HistoryError("it is damaged at its beginning") from None
