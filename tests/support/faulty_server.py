"""The scripted platform of all tests: lists environments as the platform does, over a real socket, with faults.

The listing is a sequence of rows, or a script that returns the rows of an instant, so that rows keep beating. The
server uses no HTTP library, so that replies can violate HTTP. A fault maps the correct reply to a faulty reply:
`Faulty.break_page` adds faults to one page, `Faulty.stop_at` breaks off at the n-th operation, and `Faulty.heal`
removes all faults. `faulty_server` runs in the test's event loop, `serving` and `running` in a thread.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
import traceback
from bisect import bisect_left
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum, auto
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from support.builders import NOW, page_bytes, wire_row

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
"""The accepted key, which must appear nowhere else."""

DEVICE_ROUTE = "/v1/environments/"

TIMEOUT_S = 30.0
"""Seconds after which a wait for the server fails: generous, because a busy machine is slow."""


class How(Enum):
    HANG = auto()
    """The connection stays open and silent."""
    CLOSE = auto()
    RESET = auto()


class Where(Enum):
    ACCEPT = auto()
    """New connection, nothing read."""
    REQUEST = auto()
    """Request read, nothing sent."""
    HEAD = auto()
    """Half of the head sent."""
    HEADED = auto()
    """Head sent, no body."""
    BODY = auto()
    """Half of the body sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Headers that add to or replace the defaults; None removes a default."""
    body: bytes = b""
    raw: bytes | None = None
    """Bytes sent instead of status, headers and body."""
    chunked: bool = False
    latency: float = 0.0
    """Seconds before the first byte."""
    byte_every: float | None = None
    """Seconds between bytes of the body."""


@dataclass(frozen=True, slots=True)
class Stop:
    where: Where
    how: How


Fault: TypeAlias = "Callable[[Reply], Reply] | Stop"

Script: TypeAlias = "Callable[[float], Sequence[Mapping[str, Any]]]"
"""Returns the rows of a listing at an instant in milliseconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Keys in lower case."""
    method: str = "GET"
    body: bytes = b""


def says(status: int, body: str | bytes = b"", **headers: str | None) -> Callable[[Reply], Reply]:
    """Reply with another status, body and headers; `Retry_After` becomes the header `Retry-After`."""
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply: replace(reply, status=status, body=content, headers={**reply.headers, **named})


def sends(raw: bytes) -> Fault:
    return lambda reply: replace(reply, raw=raw)


def edits(change: Callable[[dict[str, Any]], None]) -> Fault:

    def fault(reply: Reply) -> Reply:
        page = json.loads(reply.body)
        change(page)
        return replace(reply, body=json.dumps(page).encode())

    return fault


def skewed(seconds: float, **headers: str) -> Fault:
    """Shift the reply's `Date` by seconds; negative is back."""
    return lambda reply: replace(
        reply, headers={**reply.headers, "Date": formatdate(time.time() + seconds, usegmt=True), **headers}
    )


class _StoppedError(Exception):
    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how = how


class Faulty:
    """A listing behind a key, with faults."""

    def __init__(self, listing: Sequence[Mapping[str, Any]] | Script) -> None:
        self.script = listing if callable(listing) else None
        """Gives the rows of each poll, if there is a script. May be replaced while the server runs."""
        self.rows: Sequence[Mapping[str, Any]] = () if callable(listing) else listing
        """Rows of the next poll. All requests of a poll get the rows at the poll's first request."""
        self._polled_rows = self.rows
        self.unlisted: Sequence[Mapping[str, Any]] = ()
        """Existing rows that the listing omits."""
        self.url = ""
        self.seen: list[Seen] = []
        self.operations = 0
        """Operations since the last `stop_at`: connections taken, requests read, pieces sent."""
        self.answers_devices = True
        """Whether `GET /v1/environments/{deviceId}` exists."""
        self._spoil: dict[int, list[Callable[[Reply], Reply]]] = {}
        self._device_faults: list[Callable[[Reply], Reply]] = []
        self._health_faults: list[Callable[[Reply], Reply]] = []
        self._ack_faults: list[Callable[[Reply], Reply]] = []
        self._stops: dict[int, Stop] = {}
        self._stop_at: tuple[int, How] | None = None
        self._turn = 0
        self._open = 0
        self._changed = asyncio.Condition()
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop of a running server."""
        self.sockets: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    def break_page(self, index: int, *faults: Fault) -> None:
        """Apply faults, in order, to each reply for one page; the first page is 0."""
        self._spoil[index] = [fault for fault in faults if not isinstance(fault, Stop)]
        for fault in faults:
            if isinstance(fault, Stop):
                self._stops[index] = fault

    def break_every_page(self, *faults: Fault) -> None:
        for index in range(100):
            self.break_page(index, *faults)

    def break_devices(self, *faults: Callable[[Reply], Reply]) -> None:
        self._device_faults = list(faults)

    def break_health(self, *faults: Callable[[Reply], Reply]) -> None:
        self._health_faults = list(faults)

    def answer_acks(self, *faults: Callable[[Reply], Reply]) -> None:
        """Answer acknowledgements by a change of the 404."""
        self._ack_faults = list(faults)

    def stop_at(self, operation: int, how: How) -> None:
        """Break off at the n-th operation from now; the next operation is 1."""
        self._stop_at = (operation, how)
        self.operations = 0

    def heal(self) -> None:
        self._spoil = {}
        self._device_faults = []
        self._health_faults = []
        self._stops = {}
        self._stop_at = None
        self._turn = 0

    def shut(self) -> None:
        """Let a server in a thread refuse connections, and break all off."""
        self._do(self._shut())

    def open(self) -> None:
        """Let a server in a thread listen on the same port again."""
        self._do(self._listen_again())

    def _do(self, change: Coroutine[Any, Any, None]) -> None:
        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(change, self.loop).result(TIMEOUT_S)

    async def _shut(self) -> None:
        for server in self.sockets:
            server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _listen_again(self) -> None:
        port = int(self.url.rpartition(":")[2])
        self.sockets.append(await asyncio.start_server(self.serve, "127.0.0.1", port))

    async def settled(self, connections: int) -> None:
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(lambda: self._open == connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._count(1)
        self._writers.add(writer)
        try:
            await self._operate()
            self._reach(Where.ACCEPT)
            while await self._exchange(reader, writer):
                pass
        except _StoppedError as stopped:
            if stopped.how is How.HANG:
                await reader.read()  # until the client closes
            if stopped.how is How.RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client may leave at any time
        finally:
            self._writers.discard(writer)
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
        """Answer a request; return whether the connection stays open."""
        first = await reader.readexactly(1)
        if not first.isalpha():
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # the answer of plain servers to TLS
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        target = urlsplit(head[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        sent = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(target.path, dict(parse_qsl(target.query)), headers, head[0].split(" ")[0], sent)
        self.seen.append(seen)
        await self._operate()
        reply = self._answer(seen)
        self._reach(Where.REQUEST)
        await asyncio.sleep(reply.latency)
        if reply.raw is not None:
            await self._send(writer, reply.raw)
            return False
        following = self._stops.get(self._turn + 1)
        ends = following is not None and following.where is Where.ACCEPT  # this fault needs a new connection
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
        if seen.path == "/v1/health":  # needs no key
            self._turn = -1
            reply = Reply(body=b'{"version":"0.16.4","status":"ok"}')
            for fault in self._health_faults:
                reply = fault(reply)
            return reply
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(status=401, body=b'{"message":"Unauthorized"}')
        if seen.path.startswith(DEVICE_ROUTE) and self.answers_devices:
            return self._device(unquote(seen.path.removeprefix(DEVICE_ROUTE)))
        if seen.path != "/v1/environments":
            self._turn = -1
            reply = Reply(status=404, body=b'{"detail":"Not Found"}')
            for fault in self._ack_faults if "/acks/" in seen.path else ():
                reply = fault(reply)
            return reply
        return self._listing(seen)

    def _device(self, device_id: str) -> Reply:
        row = next((row for row in self._devices() if row.get("deviceId") == device_id), None)
        reply = Reply(status=404, body=b'{"error":"Environment connection not found"}')
        if row is not None:
            reply = Reply(body=json.dumps(row).encode())
        for fault in self._device_faults:
            reply = fault(reply)
        return reply

    def _devices(self) -> Sequence[Mapping[str, Any]]:
        return [*self._polled_rows, *self.unlisted]

    def _listing(self, seen: Seen) -> Reply:
        size = int(seen.query["limit"])
        after = seen.query.get("after")
        if after is None:
            self.rows = self.rows if self.script is None else self.script(time.time() * 1000)
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


PERIOD_MS = 30_000.0
"""Interval of the heartbeats of `Shifting`."""


class Shifting(Faulty):
    """A listing ordered by the last sign of life, so that rows shift during a walk; with a separate clock.

    Machines beat every 30 s, one after the other, and the clock moves with each page. A row with a new heartbeat moves
    to the front, and a walk may miss the row. Paging uses the cursor's position in the order.
    """

    def __init__(self, count: int, page_ms: float) -> None:
        """Prepare `count` machines and `page_ms` milliseconds per page."""
        super().__init__([wire_row(f"env-{number}", metadata=None) for number in range(count)])
        self.now: float = NOW
        self.left: frozenset[str] = frozenset()
        """Ids of deleted machines."""
        self._page_ms = page_ms
        self._positions: dict[str, float] = {}
        """The heartbeat last sent with a row, by id."""

    def _beat(self, number: int) -> float:
        phase = number * PERIOD_MS / len(self.rows)
        return self.now - (self.now - NOW - phase) % PERIOD_MS

    def _row(self, number: int) -> dict[str, Any]:
        return dict(self.rows[number], lastHeartbeat=self._beat(number))

    def _order(self) -> list[int]:
        """Return the numbers of existing machines, newest sign of life first."""
        count = len(self.rows)
        newest = int((self.now - NOW) % PERIOD_MS * count / PERIOD_MS)
        order = [*range(newest, -1, -1), *range(count - 1, newest, -1)]
        return [number for number in order if self.rows[number]["id"] not in self.left]

    def _devices(self) -> list[dict[str, Any]]:
        return [self._row(number) for number in self._order()]

    def _listing(self, seen: Seen) -> Reply:
        self.now += self._page_ms
        numbers, size, after = self._order(), int(seen.query["limit"]), seen.query.get("after")
        first = 0
        if after is not None:
            older = -self._positions[after] + 1e-3
            first = bisect_left(numbers, older, key=lambda number: -self._beat(number))
        page = [self._row(number) for number in numbers[first : first + size]]
        self._positions |= {row["id"]: row["lastHeartbeat"] for row in page[-1:]}
        self._turn = 0
        return Reply(body=page_bytes(page, first + size < len(numbers)), headers={"Date": None})


def _encoded(reply: Reply, *, takes_gzip: bool, ends: bool) -> tuple[bytes, bytes]:
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
    """Serve rows on a free local port, over TLS if a context is given."""
    faulty = Faulty(rows)
    async with listening(faulty, tls):
        yield faulty


@asynccontextmanager
async def listening(faulty: Faulty, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    servers = faulty.sockets = [await asyncio.start_server(faulty.serve, "127.0.0.1", 0, ssl=tls)]
    faulty.loop = asyncio.get_running_loop()
    port = servers[0].sockets[0].getsockname()[1]
    if tls:  # the certificate's name has a second address on many machines
        with suppress(OSError):
            servers.append(await asyncio.start_server(faulty.serve, "::1", port, ssl=tls))
    faulty.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await faulty.settled(0)


@contextmanager
def serving(listing: Sequence[Mapping[str, Any]] | Script) -> Iterator[Faulty]:
    """Serve rows or a script in a thread."""
    server = Faulty(listing)
    with running(server):
        yield server


@contextmanager
def running(server: Faulty) -> Iterator[None]:
    """Run a server in a thread."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with listening(server):
            started.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, ended = started.result(TIMEOUT_S)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def credentials(server: Faulty) -> dict[str, str]:
    return {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}


def unlimited(server: Faulty) -> dict[str, str]:
    """Lift the limit of requests, by default one a second."""
    return credentials(server) | {"ENVWATCH_REQUESTS_PER_MINUTE": "6000"}


@asynccontextmanager
async def proxy_to(server: Faulty) -> AsyncIterator[str]:
    """Run a proxy that leads every name to one server; yield the proxy's `http://` URL."""
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
    """Return all text that an error could expose: message, causes, and local variables of every frame."""
    if error is None:
        return ""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts = (str(error), repr(error), repr(error.args), repr(vars(error)), *report.format())
    return "\n".join([*parts, everything_in(error.__cause__), everything_in(error.__context__)])


# -- rows --------------------------------------------------------------------------------------------------------------
_STARTED = time.time() * 1000


def up(id_: str, now: float, **changes: Any) -> dict[str, Any]:
    """Return a row that connected a day ago and beat 5 s ago; the default name is the id."""
    beat = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": _STARTED - 86_400_000}
    return wire_row(id_, **({"connectionName": id_} | beat | changes))


def down(id_: str, seen_at: float, **changes: Any) -> dict[str, Any]:
    """Return a row without connection, last seen at an instant in milliseconds."""
    return up(id_, seen_at, connectionId=None, lastHeartbeat=None, lastSeenAt=seen_at, **changes)
