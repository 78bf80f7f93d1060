"""Connections of viewers, held within limits: of their number, and of the time and the bytes that each may take.

`Connection` stands between a transport and the HTTP protocol, and depends on the details of neither: it counts the
bytes that pass, and notes when a request begins and when its answer ends. Nothing here waits for a client.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CONNECTIONS: Final = 1_000
"""Open at once: one more closes that which has been idle for longest."""
HEAD_BYTES: Final = 16 << 10
"""Of a request, which has no body: the path, the token, and what clients add."""
HEAD_S: Final = 10.0
"""How long a request may take to arrive, and how long a connection without a right token may be idle."""
IDLE_S: Final = 75.0
"""How long a viewer's connection may be idle: a little more than the longest interval that is usual."""
ANSWER_S: Final = 30.0
"""How long an answer may take to be taken."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()
    READING = auto()
    """A part of a request has arrived."""
    ANSWERING = auto()


def longest_s(phase: Phase, *, is_viewer: bool, has_unsent: bool) -> float:
    """Return how many seconds a connection may stay as it is.

    A viewer has sent a right token by it; `has_unsent` is whether a part of an answer waits for its reader.
    """
    match phase:
        case Phase.READING:
            return HEAD_S
        case Phase.ANSWERING:
            return ANSWER_S
        case Phase.IDLE if has_unsent:
            return ANSWER_S
        case Phase.IDLE:
            return IDLE_S if is_viewer else HEAD_S


class Connections:
    """All open connections, `most` of them at once; `now` is a clock that is never set, in seconds."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self.now = now
        self._most = most
        self._open: dict[Connection, None] = {}
        self.emptied = asyncio.Event()
        """Whether none is open any more."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def reading(self) -> int:
        """How many have sent a part of a request."""
        return sum(each.phase is Phase.READING for each in list(self._open))

    def add(self, connection: Connection) -> bool:
        """Take a connection, and return whether there is room for it.

        Where there is none, the one that is idle for longest makes room: rather one by which no right token came.
        """
        if len(self._open) >= self._most:
            idle = (each for each in self._open if each.phase is not Phase.ANSWERING)
            oldest = min(idle, key=lambda each: (each.is_viewer, each.since), default=None)
            if oldest is None:
                return False
            oldest.cut()
        self._open[connection] = None
        self.emptied.clear()
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._open.pop(connection, None)
        if not self._open:
            self.emptied.set()

    def cut_overdue(self) -> None:
        """Cut every connection that has taken too long."""
        now = self.now()
        for connection in [each for each in self._open if each.is_overdue(now)]:
            connection.cut()

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.cut()


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        connections: all of them.
        speaking: makes the protocol that speaks HTTP on the connection.
        agreed: called with the descriptor of the socket once bytes can flow, which with TLS is after the handshake.
    """

    def __init__(
        self,
        connections: Connections,
        speaking: Callable[[Connection], asyncio.Protocol],
        agreed: Callable[[int], None],
    ) -> None:
        self.phase = Phase.IDLE
        self.since = connections.now()
        """When the phase began."""
        self.is_viewer = False
        self._connections = connections
        self._protocol = speaking(self)
        self._agreed = agreed
        self._transport: asyncio.Transport | None = None
        self._unread = 0
        """Bytes of requests that have arrived and are not being answered yet."""

    def is_overdue(self, now: float) -> bool:
        """Whether it has taken too long."""
        if self._transport is None:
            return False
        has_unsent = self._transport.get_write_buffer_size() > 0
        return now - self.since >= longest_s(self.phase, is_viewer=self.is_viewer, has_unsent=has_unsent)

    def cut(self) -> None:
        """End it at once, whatever is unsent."""
        self._connections.remove(self)
        if self._transport is not None:
            self._transport.abort()

    def answering(self) -> None:
        """Note that a request is complete and begins to be answered."""
        self._unread = 0
        self._enter(Phase.ANSWERING)

    def answered(self, *, is_viewer: bool) -> None:
        """Note that the answer is written, maybe not sent, and whether a right token came with the request."""
        self.is_viewer = self.is_viewer or is_viewer
        self._enter(Phase.READING if self._unread else Phase.IDLE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - as asyncio has it for a stream
        self._agreed(transport.get_extra_info("socket").fileno())
        self._transport = transport
        if self._connections.add(self):
            self._protocol.connection_made(transport)
        else:
            transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        """Hand on what has arrived, unless it is more than any request has."""
        self._unread += len(data)
        if self._unread > HEAD_BYTES:
            self._refuse()
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.READING)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on that the client sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that it has ended."""
        if self._transport is not None:
            self._connections.remove(self)
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand on that the client reads too slowly."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client reads again."""
        self._protocol.resume_writing()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._connections.now()

    def _refuse(self) -> None:
        assert self._transport is not None  # noqa: S101 - data arrive on a connection only
        if self.phase is not Phase.ANSWERING:
            self._transport.write(_TOO_LARGE)
            self._enter(Phase.READING)
        self._transport.close()
