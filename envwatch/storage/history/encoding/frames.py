"""Moments as frames: whole ones, and what changed since the one before.

Pure. A KEY frame is a whole moment, a STEP what changed since the moment before, a BRIDGE what changed since the newest
KEY; so a moment is rebuilt from one KEY, at most one BRIDGE, and the STEPs since. A KEY and a BRIDGE also hold what
changed since the moment before, so that a reader who goes on from there keeps what did not change. `MomentBuilder`
reads frames.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.storage.history.encoding.changes import difference
from envwatch.storage.history.encoding.packing import checksum_of, packed

if TYPE_CHECKING:
    from envwatch.past.history import Moment

FORMAT_VERSION: Final = 1

_KEY_EVERY: Final = 720
"""An hour at a poll every 5 s."""
_BRIDGE_EVERY: Final = 80
"""A BRIDGE is as large as some thirty STEPs, and to apply that many STEPs takes as long as to read a whole moment."""
_LEVEL: Final = 6


class FrameKind(IntEnum):
    """What a frame is relative to."""

    KEY = 0
    BRIDGE = 1
    STEP = 2


class Frame(NamedTuple):
    """One moment as bytes."""

    kind: FrameKind
    data: bytes


class FrameEncoder:
    """Turns the moments of one profile into frames, in their order."""

    def __init__(self, *, key_every: int = _KEY_EVERY, bridge_every: int = _BRIDGE_EVERY) -> None:
        self._key_every = key_every
        self._bridge_every = bridge_every
        self._key: tuple[Moment, int] | None = None
        self._last: tuple[Moment, int] | None = None
        """The moment of the newest KEY, and of the newest frame, each with the checksum of its frame."""
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
            parts = [difference(None, 0, moment)]
        elif count % self._bridge_every == 0:
            kind, parts = FrameKind.BRIDGE, [difference(*key, moment)]
        else:
            kind, parts = FrameKind.STEP, []
        if last is not None:
            parts.append(difference(*last, moment))
        data = packed(parts, _LEVEL)
        self._last = (moment, checksum_of(data))
        self._key, self._count = key if kind is not FrameKind.KEY else self._last, count + 1
        return Frame(kind, data)

    def restart(self) -> None:
        """Let the next frame be a KEY that refers to no other frame."""
        self._key = self._last = None
        self._count = 0
