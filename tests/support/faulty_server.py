"""A server of our own for tests: it lists environments as the platform does, and breaks wherever a test wants it to.

HTTP/1.1 over asyncio's streams, written without any HTTP library, so that it can also speak it wrongly. A fault is a
function from the reply that would have been right to the one that is sent; `Faulty.break_page` puts faults on one page
of the listing, `Faulty.stop_at` breaks the n-th thing that the server does, and `Faulty.heal` ends all of it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
import traceback
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from support.builders import page_bytes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
"""The key that is accepted, and that must never be seen anywhere else."""

DEVICE_ROUTE = "/v1/environments/"

TIMEOUT_S = 30.0
"""Seconds after which a test that waits for the server has failed: a busy machine is slow and not wrong."""


class How(Enum):
    """How a connection ends before its time."""

    HANG = auto()
    """Not at all: nothing comes any more."""
    CLOSE = auto()
    RESET = auto()


class Where(Enum):
    """How far an exchange gets."""

    ACCEPT = auto()
    """A new connection, before anything is read."""
    REQUEST = auto()
    """The request is read, nothing is sent."""
    HEAD = auto()
    """Half of the head is sent."""
    HEADED = auto()
    """The head is sent, nothing of the body."""
    BODY = auto()
    """Half of the body is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes over the wire for one request."""

    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Beyond the usual ones, or instead of them; None leaves one out."""
    body: bytes = b""
    raw: bytes | None = None
    """Everything, instead of status, headers and body."""
    chunked: bool = False
    latency: float = 0.0
    """Seconds before anything is sent."""
    byte_every: float | None = None
    """Seconds between bytes of the body."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The fault of breaking off somewhere."""

    where: Where
    how: How


Fault: TypeAlias = "Callable[[Reply], Reply] | Stop"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""


def says(status: int, body: str | bytes = b"", **headers: str | None) -> Fault:
    """Answer something else; `Retry_After` stands for the header `Retry-After`."""
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply: replace(reply, status=status, body=content, headers={**reply.headers, **named})


def sends(raw: bytes) -> Fault:
    """Send these bytes, which need not be HTTP, and close."""
    return lambda reply: replace(reply, raw=raw)


def edits(change: Callable[[dict[str, Any]], None]) -> Fault:
    """Change the decoded page before it is sent."""

    def fault(reply: Reply) -> Reply:
        page = json.loads(reply.body)
        change(page)
        return replace(reply, body=json.dumps(page).encode())

    return fault


def skewed(seconds: float, **headers: str) -> Fault:
    """Answer with the clock set forward, or back if negative."""
    return lambda reply: replace(
        reply, headers={**reply.headers, "Date": formatdate(time.time() + seconds, usegmt=True), **headers}
    )


class _StoppedError(Exception):
    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how = how


class Faulty:
    """A listing of rows behind a key, and the faults in it. Made by `faulty_server`."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows
        """Rows of the next poll. The server answers all requests of one poll from the rows at the first request."""
        self._polled_rows = rows
        """Rows of the newest poll."""
        self.unlisted: Sequence[Mapping[str, Any]] = ()
        """Rows that exist and that the listing lacks."""
        self.url = ""
        self.seen: list[Seen] = []
        """Requests, oldest first."""
        self.operations = 0
        """Things done since the last `stop_at`: connections taken, requests read, pieces sent."""
        self.answers_devices = True
        """Whether there is `GET /v1/environments/{deviceId}`."""
        self._spoil: dict[int, list[Callable[[Reply], Reply]]] = {}
        self._device_faults: list[Callable[[Reply], Reply]] = []
        self._health_faults: list[Callable[[Reply], Reply]] = []
        self._stops: dict[int, Stop] = {}
        self._stop_at: tuple[int, How] | None = None
        self._turn = 0
        self._open = 0
        self._changed = asyncio.Condition()

    def break_page(self, index: int, *faults: Fault) -> None:
        """Let faults, the first one first, spoil every reply for one page; the first page is 0."""
        self._spoil[index] = [fault for fault in faults if not isinstance(fault, Stop)]
        for fault in faults:
            if isinstance(fault, Stop):
                self._stops[index] = fault

    def break_every_page(self, *faults: Fault) -> None:
        """Let faults spoil the replies for the first hundred pages."""
        for index in range(100):
            self.break_page(index, *faults)

    def break_devices(self, *faults: Callable[[Reply], Reply]) -> None:
        """Let faults spoil every reply for a single device."""
        self._device_faults = list(faults)

    def break_health(self, *faults: Callable[[Reply], Reply]) -> None:
        """Let faults spoil every reply to `GET /v1/health`."""
        self._health_faults = list(faults)

    def stop_at(self, operation: int, how: How) -> None:
        """Break off at the n-th operation from now, the first one being 1."""
        self._stop_at = (operation, how)
        self.operations = 0

    def heal(self) -> None:
        """Answer rightly from now on."""
        self._spoil = {}
        self._device_faults = []
        self._health_faults = []
        self._stops = {}
        self._stop_at = None
        self._turn = 0

    async def settled(self, connections: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(lambda: self._open == connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        await self._count(1)
        try:
            await self._operate()
            self._reach(Where.ACCEPT)
            while await self._exchange(reader, writer):
                pass
        except _StoppedError as stopped:
            if stopped.how is How.HANG:
                await reader.read()  # until the other side has had enough
            if stopped.how is How.RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side left, which it may at any time
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self._changed:
            self._open += change
            self._changed.notify_all()

    async def _operate(self) -> None:
        self.operations += 1
        if self._stop_at is not None and self._stop_at[0] == self.operations:
            raise _StoppedError(self._stop_at[1])

    def _reach(self, where: Where) -> None:
        if (stop := self._stops.get(self._turn)) is not None and stop.where is where:
            raise _StoppedError(stop.how)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read a request and answer it; return whether the connection goes on."""
        first = await reader.readexactly(1)
        if not first.isalpha():
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # as plain servers answer to TLS
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        target = urlsplit(head[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        seen = Seen(target.path, dict(parse_qsl(target.query)), headers)
        self.seen.append(seen)
        await self._operate()
        reply = self._answer(seen)
        self._reach(Where.REQUEST)
        await asyncio.sleep(reply.latency)
        if reply.raw is not None:
            await self._send(writer, reply.raw)
            return False
        following = self._stops.get(self._turn + 1)
        ends = following is not None and following.where is Where.ACCEPT  # which takes a new connection
        start, body = _encoded(reply, takes_gzip="gzip" in headers.get("accept-encoding", ""), ends=ends)
        await self._send(writer, start[: len(start) // 2])
        self._reach(Where.HEAD)
        await self._send(writer, start[len(start) // 2 :])
        self._reach(Where.HEADED)
        for half in (body[: len(body) // 2], body[len(body) // 2 :]):
            await self._send(writer, half, every=reply.byte_every)
            self._reach(Where.BODY)
        self._turn += 1
        return not ends

    async def _send(self, writer: asyncio.StreamWriter, part: bytes, every: float | None = None) -> None:
        await self._operate()
        for some in (part,) if every is None else (bytes([byte]) for byte in part):
            await asyncio.sleep(every or 0)
            writer.write(some)
            await writer.drain()

    def _answer(self, seen: Seen) -> Reply:
        """Return the reply to a request, with its faults."""
        if seen.path == "/v1/health":  # needs no key
            self._turn = -1  # no page's faults are its own
            reply = Reply(body=b'{"version":"0.16.4","status":"ok"}')
            for fault in self._health_faults:
                reply = fault(reply)
            return reply
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(status=401, body=b'{"message":"Unauthorized"}')
        if seen.path.startswith(DEVICE_ROUTE) and self.answers_devices:
            return self._device(unquote(seen.path.removeprefix(DEVICE_ROUTE)))
        if seen.path != "/v1/environments":
            return Reply(status=404, body=b'{"detail":"Not Found"}')
        return self._listing(seen)

    def _device(self, device_id: str) -> Reply:
        """Return the reply to a question for one device: its newest row, as the list has it."""
        row = next((row for row in self._devices() if row.get("deviceId") == device_id), None)
        reply = Reply(status=404, body=b'{"error":"Environment connection not found"}')
        if row is not None:
            reply = Reply(body=json.dumps(row).encode())
        for fault in self._device_faults:
            reply = fault(reply)
        return reply

    def _devices(self) -> Sequence[Mapping[str, Any]]:
        """Return the rows that the server has, listed or not."""
        return [*self._polled_rows, *self.unlisted]

    def _listing(self, seen: Seen) -> Reply:
        size = int(seen.query["limit"])
        after = seen.query.get("after")
        if after is None:
            self._polled_rows = self.rows
        rows = self._polled_rows
        ids = [row.get("id") for row in rows]
        index = 0 if after is None else (ids.index(after) + 1) // size if after in ids else self._turn
        page = rows[index * size : (index + 1) * size]
        self._turn = index
        reply = Reply(body=page_bytes(page, (index + 1) * size < len(rows)))
        for fault in self._spoil.get(index, ()):
            reply = fault(reply)
        self._turn = index
        return reply


def _encoded(reply: Reply, *, takes_gzip: bool, ends: bool) -> tuple[bytes, bytes]:
    """Return head and body as bytes."""
    headers: dict[str, str | None] = {"Date": formatdate(usegmt=True), "Content-Type": "application/json"}
    body = reply.body
    if takes_gzip and "Content-Encoding" not in reply.headers:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 1)
    if ends:
        headers["Connection"] = "close"
    if reply.chunked:
        headers["Transfer-Encoding"] = "chunked"
        parts = [part for part in (body[:50], body[50:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        headers["Content-Length"] = str(len(body))
    headers |= reply.headers
    lines = [
        f"HTTP/1.1 {reply.status} Whatever",
        *(f"{name}: {value}" for name, value in headers.items() if value is not None),
    ]
    return "\r\n".join([*lines, "", ""]).encode(), body


@asynccontextmanager
async def faulty_server(rows: Sequence[Mapping[str, Any]], tls: ssl.SSLContext | None = None) -> AsyncIterator[Faulty]:
    """Serve rows on a free port of this machine, over TLS if a context is given."""
    faulty = Faulty(rows)
    async with serving(faulty, tls):
        yield faulty


@asynccontextmanager
async def serving(faulty: Faulty, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Let a server listen on a free port of this machine."""
    server = await asyncio.start_server(faulty.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    faulty.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield
    finally:
        server.close()
        await faulty.settled(0)


@asynccontextmanager
async def proxy_to(server: Faulty) -> AsyncIterator[str]:
    """A proxy (`http://…`) that leads to one server, whatever name it is asked for."""
    port = int(server.url.rpartition(":")[2])

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(1 << 16):
                writer.write(some)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        there = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


def everything_in(error: BaseException | None) -> str:
    """All that anything could print of an error: it, what led to it, and every local variable on its way."""
    if error is None:
        return ""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts = (str(error), repr(error), repr(error.args), repr(vars(error)), *report.format())
    return "\n".join([*parts, everything_in(error.__cause__), everything_in(error.__context__)])
