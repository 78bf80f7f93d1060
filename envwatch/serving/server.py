"""The HTTP server of `envwatch serve`: thread, connections, graceful end.

The server has its own thread, so that viewers do not delay polls. `Connection` counts bytes and times requests and
answers of uvicorn's HTTP protocol. The server never waits for a client.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import threading
import time
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from envwatch.serving.app import IS_VIEWER
from envwatch.sources.poller import wait_within

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from envwatch.serving.app import Receive, Scope, Send
    from envwatch.serving.listening import ListeningSocket


MOST_CONNECTIONS: Final = 1_000
HEAD_BYTES: Final = 16 << 10
"""Limit of a request, which has no body."""
HEAD_S: Final = 10.0
"""Seconds for a request's arrival, and for an idle connection without a valid token."""
IDLE_S: Final = 75.0
"""Seconds for a viewer's idle connection: slightly more than the longest usual interval."""
ANSWER_S: Final = 30.0
"""Seconds for a client to read an answer."""

_CONNECTION: Final = "connection"

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Phase(Enum):
    """A connection's activity."""

    IDLE = auto()
    READING = auto()
    ANSWERING = auto()


def longest_s(phase: Phase, *, is_viewer: bool, has_unsent: bool) -> float:
    """Return the longest duration of a phase in seconds.

    A connection with a valid token is a viewer's. `has_unsent` means that the client has not read the whole answer.
    """
    if phase is Phase.READING:
        return HEAD_S
    if phase is Phase.ANSWERING or has_unsent:
        return ANSWER_S
    return IDLE_S if is_viewer else HEAD_S


class Connections:
    """At most `most` open connections; `now` is a monotonic clock, in seconds."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self.now = now
        self._most = most
        self._open: dict[Connection, None] = {}
        self.emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def reading(self) -> int:
        """Number of connections with a partial request."""
        return sum(each.phase is Phase.READING for each in list(self._open))

    def add(self, connection: Connection) -> bool:
        """Add a connection, and return whether there is room.

        A full server cuts the connection with the oldest phase, unless answering; connections without a valid token go
        first.
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
        """Remove a closed connection."""
        self._open.pop(connection, None)
        if not self._open:
            self.emptied.set()

    def cut_overdue(self) -> None:
        """Cut every connection whose phase has lasted too long."""
        now = self.now()
        for connection in [each for each in self._open if each.is_overdue(now)]:
            connection.cut()

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.cut()


class Connection(HttpToolsProtocol):
    """A client's connection.

    `agreed` gets the socket's descriptor once bytes can flow: with TLS, after the handshake.
    """

    def __init__(
        self, config: Config, state: ServerState, all_connections: Connections, agreed: Callable[[int], None]
    ) -> None:
        super().__init__(config, state, {_CONNECTION: self})
        self.phase = Phase.IDLE
        self.since = all_connections.now()
        self.is_viewer = False
        self._all_connections = all_connections
        self._agreed = agreed
        self._unread = 0

    def is_overdue(self, now: float) -> bool:
        """Whether the phase has lasted too long."""
        has_unsent = self.transport.get_write_buffer_size() > 0
        return now - self.since >= longest_s(self.phase, is_viewer=self.is_viewer, has_unsent=has_unsent)

    def cut(self) -> None:
        """Close the connection at once, dropping unsent bytes."""
        self._all_connections.remove(self)
        self.transport.abort()

    def answering(self) -> None:
        """Note that a request is complete."""
        self._unread = 0
        self._enter(Phase.ANSWERING)

    def answered(self, *, is_viewer: bool) -> None:
        """Note that the answer is written, though perhaps not sent, and whether the token was valid."""
        self.is_viewer = self.is_viewer or is_viewer
        self._enter(Phase.READING if self._unread else Phase.IDLE)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the HTTP protocol if there is room."""
        self._agreed(transport.get_extra_info("socket").fileno())
        if self._all_connections.add(self):
            super().connection_made(transport)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Forward bytes, unless the request is too large."""
        self._unread += len(data)
        if self._unread > HEAD_BYTES:
            self._refuse()
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.READING)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the HTTP protocol, if started."""
        self._all_connections.remove(self)
        if self.transport is not None:
            super().connection_lost(exc)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._all_connections.now()

    def _refuse(self) -> None:
        if self.phase is not Phase.ANSWERING:
            self.transport.write(_TOO_LARGE)
            self._enter(Phase.READING)
        self.transport.close()


_SWEEP_S: Final = 1.0
_HANDSHAKE_S: Final = 5.0
"""Seconds for a TLS handshake; later limits count from the handshake's end."""
_LEAST_HANDSHAKES: Final = 32
"""The least limit of simultaneous handshakes; usually the limit is half of the free connections."""
_LAST_ANSWERS_S: Final = 1.0
"""Seconds in which a stopping server still answers."""
_LAST_BYTES_S: Final = 2.0
"""Seconds for clients to read the last answers."""
_OWN_DESCRIPTORS: Final = 256
"""Descriptors reserved for polls, history, log, hooks and closing connections.

asyncio accepts 100 connections in a row before `Connections` counts the first."""
_USUAL_DESCRIPTORS: Final = 1_024
_NEVER_S: Final = 1 << 20
"""Disables uvicorn's idle timeout, which would wait for a client that does not read."""


def most_connections() -> int:
    """Return the connection limit that this process's limit of open files allows."""
    try:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # a hardened service may forbid the system call
        files = _USUAL_DESCRIPTORS
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(min(files - _OWN_DESCRIPTORS, MOST_CONNECTIONS), 16)


class HttpServer:
    """A server in a separate thread, which closes the listening socket at the end.

    `note` gets a line about a problem, in any thread. By default there are as many connections as this process can
    hold.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        listening: ListeningSocket,
        note: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._app = app
        self._listening = listening
        self._note = note
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._connections = Connections(most_connections(), time.monotonic) if connections is None else connections
        self._state = ServerState()
        self._thread = threading.Thread(target=self._run, name="envwatch-serve", daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        """Start accepting connections."""
        self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function soon in the server's thread, unless the server has ended.

        An exception ends the server: answers could be outdated from then on.
        """
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._called, function)

    async def close(self) -> None:
        """Answer connected clients for up to a second, then close port and connections."""
        self.call(self._stop.set)
        await asyncio.to_thread(self._thread.join, _LAST_ANSWERS_S + _LAST_BYTES_S + _SWEEP_S)

    def _called(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - raised in the main thread, see `error`
            self.error = self.error or error
            self._stop.set()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised in the main thread, see `error`
            self.error = self.error or error
        finally:
            self._listening.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(self._on_error)
        if self._tls is not None:
            self._listening.most_handshakes = self._most_handshakes
        server = await self._loop.create_server(
            partial(Connection, self._config(), self._state, self._connections, self._listening.agreed),
            sock=self._listening,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else _HANDSHAKE_S,
            ssl_shutdown_timeout=None if self._tls is None else _LAST_BYTES_S,
        )
        while not self._stop.is_set():
            await wait_within(self._stop, _SWEEP_S)
            self._connections.cut_overdue()
        if self._connections:
            await wait_within(self._connections.emptied, _LAST_ANSWERS_S)
        server.close()
        for protocol in list(self._state.connections):
            protocol.shutdown()
        if self._connections:
            await wait_within(self._connections.emptied, _LAST_BYTES_S)
        self._connections.cut_all()

    def _most_handshakes(self) -> int:
        return max((most_connections() - len(self._connections)) // 2, _LEAST_HANDSHAKES)

    def _config(self) -> Config:
        logger = logging.getLogger("uvicorn.error")
        logger.propagate, logger.handlers = False, [_Notes(self._note)]
        config = Config(
            self._timed,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_NEVER_S,
        )
        config.load()
        return config

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope["state"][_CONNECTION]
        connection.answering()
        try:
            await self._app(scope, receive, send)
        finally:
            connection.answered(is_viewer=IS_VIEWER in scope["state"])

    def _on_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note asyncio's errors, except that clients may break connections at any time."""
        error = context.get("exception")
        if not isinstance(error, ConnectionError | TimeoutError):
            self._note(f"serving: {context.get('message')}: {error!r}")


class _Notes(logging.Handler):
    """Notes uvicorn's errors; lower levels concern clients that do not speak HTTP."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._note(f"serving: {record.getMessage().strip()}{'' if error is None else f': {error!r}'}")
