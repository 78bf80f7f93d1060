"""Moments as frames: whole ones, and what changed since the one before.

Pure. A KEY frame is a whole moment, a STEP what changed since the moment before, a BRIDGE what changed since the newest
KEY; so a moment is rebuilt from one KEY, at most one BRIDGE, and the STEPs since. A KEY and a BRIDGE also hold what
changed since the moment before, so that a reader who goes on from there keeps what did not change. A `Rebuilder` asks a
`FrameFile` for the frames of a moment.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from envwatch.past.history import HistoryError, Moment
from envwatch.storage.history.encoding.changes import difference
from envwatch.storage.history.encoding.moment_builder import MomentBuilder
from envwatch.storage.history.encoding.packing import checksum_of, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.text import SafeText
    from envwatch.storage.history.encoding.packing import FramePart

FORMAT_VERSION: Final = 1

_KEY_EVERY: Final = 720
"""An hour at a poll every 5 s."""
_BRIDGE_EVERY: Final = 80
"""A BRIDGE is as large as some thirty STEPs, and to apply that many STEPs takes as long as to read a whole moment."""
_LEVEL: Final = 6
_NEAR: Final = 8
"""Frames before a moment out of order where a mark is left, so that several steps back cost few frames each."""


class FrameKind(IntEnum):
    """What a frame is relative to."""

    KEY = 0
    BRIDGE = 1
    STEP = 2


class Frame(NamedTuple):
    """One moment as bytes."""

    kind: FrameKind
    data: bytes


class _Sent(NamedTuple):
    """A moment with the checksum of its frame."""

    moment: Moment
    checksum: int

    def to(self, later: Moment) -> FramePart:
        """Return what changed from it to a later moment."""
        return difference(self.moment, later, self.checksum)


class FrameEncoder:
    """Turns the moments of one profile into frames, in their order."""

    def __init__(self, *, key_every: int = _KEY_EVERY, bridge_every: int = _BRIDGE_EVERY) -> None:
        self._key_every = key_every
        self._bridge_every = bridge_every
        self._key: _Sent | None = None
        self._last: _Sent | None = None
        self._count = 0

    def encode(self, moment: Moment) -> Frame:
        """Return the frame of the next moment.

        Raises:
            HistoryError: if it cannot be written; the next frame is a KEY.
        """
        key, last, count = self._key, self._last, self._count
        self.restart()
        if key is None or last is None or count == self._key_every:
            kind, count = FrameKind.KEY, 0
            parts = [difference(None, moment)]
        elif count % self._bridge_every == 0:
            kind, parts = FrameKind.BRIDGE, [key.to(moment)]
        else:
            kind, parts = FrameKind.STEP, []
        if last is not None:
            parts.append(last.to(moment))
        data = packed(parts, _LEVEL)
        self._last = _Sent(moment, checksum_of(data))
        self._key, self._count = key if kind is not FrameKind.KEY else self._last, count + 1
        return Frame(kind, data)

    def restart(self) -> None:
        """Let the next frame be a KEY that refers to no other frame."""
        self._key = self._last = None
        self._count = 0


class FrameDecoder:
    """Turns frames back into moments, under a profile's label."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._state = MomentBuilder(profile)
        self._checksum: int | None = None

    def copy(self) -> FrameDecoder:
        """Return a decoder that has reached the same frame, and takes frames on its own from here."""
        copy = FrameDecoder(self._profile)
        copy._state, copy._checksum = self._state.copy(), self._checksum
        return copy

    def apply(self, frame: Frame) -> None:
        """Take a frame: any KEY, a BRIDGE right after its KEY, or the frame that follows the one applied last.

        Raises:
            HistoryError: if it is damaged, or another one is missing; then the next one has to be a KEY.
        """
        last, self._checksum = self._checksum, None
        parts = unpacked(frame.data)
        part = next((part for part in reversed(parts) if part.base == last), None)
        if part is None:
            if frame.kind is not FrameKind.KEY or not parts:
                raise HistoryError("the frame before it is missing")
            self._state, part = MomentBuilder(self._profile), parts[0]
        self._state.apply(part)
        self._checksum = checksum_of(frame.data)

    def moment(self) -> Moment:
        """Return the moment of the frame that was applied last; what did not change since the last call is the same.

        Raises:
            HistoryError: if there is none, or it makes no sense.
        """
        if self._checksum is None:
            raise HistoryError("no frame was read")
        return self._state.moment()


class Chain(NamedTuple):
    """The numbers of the polls where the frames begin that give a moment."""

    key: int
    bridge: int
    """The newest BRIDGE, which comes right after the KEY; the KEY itself if there is none."""


class FrameFile(Protocol):
    """A file that holds frames, one for each poll: a day file or a recording. Every method raises `HistoryError`."""

    @property
    def identity(self) -> object:
        """Differs from the identity of every other file, also of one that took the place of this one."""

    def chain(self, number: int) -> Chain:
        """Return which frames give the moment of a poll."""

    def frames(self, first: int, last: int) -> list[Frame]:
        """Return the frames of polls with these numbers, both included."""


class _Mark(NamedTuple):
    """A decoder, and the frame that it has reached."""

    file: object
    number: int
    decoder: FrameDecoder


class Rebuilder:
    """Rebuilds moments from frames: the next one in a file costs one frame, one shortly before a few. Of one thread."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._newest: _Mark | None = None
        self._marks: tuple[_Mark, ...] = ()
        """Earlier ones, from which steps back start: the newest BRIDGE, and a frame shortly before."""

    def moment(self, file: FrameFile, number: int) -> Moment:
        """Return what was known right after a poll; raise `HistoryError` if that cannot be read."""
        newest, self._newest = self._newest, None
        if newest is not None and newest.file == file.identity and newest.number in (number - 1, number):
            decoder = newest.decoder
            _apply(decoder, file.frames(newest.number + 1, number))
        else:
            decoder = self._rebuilt(file, number)
        self._newest = _Mark(file.identity, number, decoder)
        return decoder.moment()

    def _rebuilt(self, file: FrameFile, number: int) -> FrameDecoder:
        """Return a decoder that has reached a frame, by way of the nearest mark or of the KEY before it."""
        chain, marks, self._marks = file.chain(number), self._marks, ()
        marks = tuple(mark for mark in marks if mark.file == file.identity and chain.bridge <= mark.number <= number)
        if not marks:
            decoder = FrameDecoder(self._profile)
            _apply(decoder, file.frames(chain.key, chain.key))
            if chain.bridge != chain.key:
                _apply(decoder, file.frames(chain.bridge, chain.bridge))
            marks = (_Mark(file.identity, chain.bridge, decoder),)
        start = marks[-1]
        decoder, near = start.decoder.copy(), max(number - _NEAR, start.number)
        _apply(decoder, file.frames(start.number + 1, near))
        self._marks = (marks[0], _Mark(file.identity, near, decoder.copy()))
        _apply(decoder, file.frames(near + 1, number))
        return decoder


def _apply(decoder: FrameDecoder, frames: Iterable[Frame]) -> None:
    for frame in frames:
        decoder.apply(frame)
