"""The HTTP server of `envwatch serve`.

A separate thread keeps viewers from delaying polls. Every wait for a client has a deadline.
"""

from __future__ import annotations

import asyncio
import re
import resource
import threading
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import h11

from envwatch.model.listing_api import RefusedError
from envwatch.serve.answers import Answer, Request

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable


App: TypeAlias = "Callable[[Request], Awaitable[Answer]]"

MOST_CONNECTIONS: Final = 1_000
HEAD_BYTES: Final = 16 << 10
HANDSHAKE_S: Final = 5.0
HEAD_S: Final = 10.0
"""Seconds for a request with body, and for an idle connection without a valid token."""
IDLE_S: Final = 75.0
"""Seconds for a viewer's idle connection: slightly more than the longest usual interval."""
ANSWER_S: Final = 30.0
"""Seconds for a client to read an answer."""

_LAST_ANSWERS_S: Final = 1.0
"""Seconds for answers to connected clients after the stop."""
_LAST_BYTES_S: Final = 2.0
"""Seconds for clients to read the last answers."""
_OWN_DESCRIPTORS: Final = 256
"""Descriptors for polls, history, log, hooks, closing connections, and 100 connections that asyncio accepts at once."""
_USUAL_DESCRIPTORS: Final = 1_024

_ORIGIN: Final = re.compile(r"^https?://[^/?]*", re.IGNORECASE)
"""Origin of a target that is a URL, which servers must accept (RFC 9112 3.2.2)."""


def most_connections() -> int:
    """Return the connection limit under this process's limit of open files."""
    try:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # a hardened service may forbid the system call
        files = _USUAL_DESCRIPTORS
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(min(files - _OWN_DESCRIPTORS, MOST_CONNECTIONS), 16)


class Connection:
    """A client's connection, with answers in the order of requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_viewer = False
        self.is_answering = False
        self.is_ending = False
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._deadline = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        """When the newest deadline was set, in seconds of the loop's clock."""

    async def run(self, app: App, tls: ssl.SSLContext | None) -> None:
        """Answer requests until the client, a deadline or the server ends the connection."""
        with suppress(OSError):  # a missed deadline, or the client broke the connection
            async with self._deadline:
                self._writer.transport.set_write_buffer_limits(high=1, low=0)  # `drain` waits for all bytes
                if tls is not None:
                    self._wait_at_most(HANDSHAKE_S)
                    await self._writer.start_tls(tls)
                    self._writer.transport.set_write_buffer_limits(high=1, low=0)
                await self._converse(app)
                self._wait_at_most(_LAST_BYTES_S)
                await self._skip_body()
                self._writer.close()
                await self._writer.wait_closed()

    async def _converse(self, app: App) -> None:
        try:
            while (head := await self._next_head()) is not None:
                self.is_answering = True
                request = self._parse_request(head)
                self._wait_at_most(ANSWER_S)
                if not request.has_body:
                    self._http.next_event()  # the end of the request
                answer = await app(request)
                self.is_viewer = self.is_viewer or bool(request.viewer)
                await self._send(answer, has_body=head.method != b"HEAD")
                self.is_answering = False
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(Answer(error.error_status_hint, (), b""), has_body=False)

    async def _next_head(self) -> h11.Request | None:
        """Return the next request's head; None at the end of the connection.

        Raises:
            h11.RemoteProtocolError: the head is invalid or too large.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self.is_ending or self._http.our_state is not h11.IDLE:
            return None
        await asyncio.sleep(0)  # all clients have a turn between pipelined requests
        has_begun = bool(self._http.trailing_data[0])
        self._wait_at_most(IDLE_S if self.is_viewer and not has_begun else HEAD_S)
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(HEAD_BYTES))
            if not has_begun:
                has_begun = True
                self._wait_at_most(HEAD_S)
        if not isinstance(event, h11.Request):
            return None
        if event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("unknown version of HTTP")
        return event

    def _parse_request(self, head: h11.Request) -> Request:
        address, port = (self._writer.get_extra_info("peername") or ("", 0))[:2]
        path, _, query = _ORIGIN.sub("", head.target.decode("ascii")).partition("#")[0].partition("?")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}  # the last value wins
        request = Request(path, query, head.method.decode("ascii"), headers, address, f"{address}:{port}")
        if request.has_body:
            request.read_body = partial(self._read_body, request, self.since + HEAD_S)
        return request

    async def _read_body(self, request: Request, until: float, limit: int) -> bytes:
        length = request.header("content-length")
        if length and request.header("transfer-encoding"):  # RFC 9112 6.1: perhaps a smuggled request
            raise _refused(HTTPStatus.BAD_REQUEST, "a request must not have two lengths")
        self._deadline.reschedule(until)
        body = b""
        try:
            size = int(length or 0)
            if size <= limit and self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            while size <= limit and not isinstance(event := self._http.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Data):
                    body += event.data
                    size = max(size, len(body))
                else:
                    self._http.receive_data(await self._reader.read(HEAD_BYTES))
        except h11.RemoteProtocolError:
            raise _refused(HTTPStatus.BAD_REQUEST, "the body is broken") from None
        if size > limit:
            raise _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {limit:,} bytes")
        self._wait_at_most(ANSWER_S)
        return body

    async def _skip_body(self) -> None:
        """Read an unread body to the end: a reset would take the answer from a client that still sends."""
        if self._http.their_state is h11.SEND_BODY:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            while await self._reader.read(HEAD_BYTES):
                pass

    async def _send(self, answer: Answer, *, has_body: bool) -> None:
        headers = list(answer.headers)
        if self._http.their_state in (h11.SEND_BODY, h11.ERROR) and ("Connection", "close") not in headers:
            headers.append(("Connection", "close"))
        if answer.status != HTTPStatus.NOT_MODIFIED:
            headers.append(("Content-Length", str(len(answer.body))))
        reason = HTTPStatus(answer.status).phrase.encode()
        events = (
            h11.Response(status_code=answer.status, headers=headers, reason=reason),
            h11.Data(data=answer.body if has_body else b""),
            h11.EndOfMessage(),
        )
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()

    def _wait_at_most(self, seconds: float) -> None:
        self.since = self._loop.time()
        self._deadline.reschedule(self.since + seconds)


def _refused(status: HTTPStatus, why: str) -> RefusedError:
    return RefusedError(status, {"error": why})


class HttpServer:
    """A server in a separate thread, which finally closes the listening socket.

    `note` gets a line about a problem, in any thread. A full server cuts the idle connection with the oldest deadline;
    connections without a valid token go first.
    """

    def __init__(  # noqa: PLR0913 - tests set the limit and the loop's clock
        self,
        app: App,
        listening: socket.socket,
        note: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        *,
        most: int | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app = app
        self._listening = listening
        self._note = note
        self.tls = tls
        """TLS context of new connections; another thread may replace it."""
        self._most = most_connections() if most is None else most
        self._loop = loop or asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="envwatch-serve", daemon=True)
        self.connections: dict[Connection, asyncio.Task[None]] = {}
        self.error: Exception | None = None

    def start(self) -> None:
        """Start accepting connections."""
        self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the server's thread, unless ended.

        An exception ends the server, because later answers could be outdated.
        """
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._called, function)

    async def close(self) -> None:
        """Answer clients for up to a second, then close port and connections."""
        self.call(self._stop.set)
        await asyncio.to_thread(self._thread.join, _LAST_ANSWERS_S + _LAST_BYTES_S + 1.0)

    def _called(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - raised in the main thread, see `error`
            self.error = self.error or error
            self._stop.set()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())  # at the end, the runner cancels the remaining connections
        except Exception as error:  # noqa: BLE001 - raised in the main thread, see `error`
            self.error = self.error or error
        finally:
            self._listening.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(self._on_error)
        server = await asyncio.start_server(self._accept, sock=self._listening, limit=HEAD_BYTES)
        await self._stop.wait()
        await self._wait_for_connections(_LAST_ANSWERS_S)
        server.close()
        for connection, task in list(self.connections.items()):
            connection.is_ending = True
            if not connection.is_answering:
                task.cancel()
        await self._wait_for_connections(_LAST_BYTES_S)

    async def _wait_for_connections(self, seconds: float) -> None:
        if self.connections:
            await asyncio.wait(self.connections.values(), timeout=seconds)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.connections) >= self._most:
            idle = (each for each in self.connections if not each.is_answering)
            oldest = min(idle, key=lambda each: (each.is_viewer, each.since), default=None)
            if oldest is None:
                writer.transport.abort()
                return
            self.connections.pop(oldest).cancel()
        if self.tls is not None:
            cast("asyncio.Transport", writer.transport).pause_reading()  # until `start_tls` reads
        connection = Connection(reader, writer)
        task = self.connections[connection] = self._loop.create_task(connection.run(self._app, self.tls))

        def end(_: object) -> None:  # also after a cancellation before the first step
            self.connections.pop(connection, None)
            writer.transport.abort()

        task.add_done_callback(end)

    def _on_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note asyncio's errors, except broken connections: clients may leave at any time."""
        error = context.get("exception")
        if not isinstance(error, ConnectionError | TimeoutError):
            self._note(f"serving: {context.get('message')}: {error!r}")
