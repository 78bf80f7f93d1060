"""A web service on loopback that takes messages, or refuses, stalls, and breaks off on demand."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 60.0
"""Seconds to wait for a request: generous, because a busy machine is slow."""


class Posted(NamedTuple):
    target: str
    headers: dict[str, str]
    """Keys in lower case."""
    body: bytes
    method: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    status: int = 202
    body: str = ""
    headers: tuple[str, ...] = ()
    stalls: bool = False
    """Nothing is ever sent."""
    breaks: bool = False
    """The connection is closed without an answer."""
    missing: int = 0
    """Missing bytes at the end of the body; with `stalls`, the connection stays open."""


TAKEN = Answer()


@dataclass
class Receiver:
    """Received requests, and the next answers; further requests are accepted."""

    answers: list[Answer] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    url: str = ""
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, target, _ = head[0].split(" ")
            self.posted.append(Posted(target, headers, body, method))
            self._came.set()
            answer = self.answers.pop(0) if self.answers else TAKEN
            if answer.missing or not (answer.stalls or answer.breaks):
                length = len(answer.body) + answer.missing
                lines = (f"HTTP/1.1 {answer.status} X", f"Content-Length: {length}", *answer.headers)
                writer.write(("\r\n".join(lines) + "\r\n\r\n" + answer.body).encode())
                await writer.drain()
            if answer.stalls:
                await reader.read()  # until the client closes
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def have_come(self, count: int) -> list[Posted]:
        """Wait for `count` requests in total, and return all."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.posted) < count:
                self._came.clear()
                await self._came.wait()
        return self.posted

    async def settled(self) -> None:
        await asyncio.gather(*filter(None, self._open))


@asynccontextmanager
async def receiver(*answers: Answer) -> AsyncIterator[Receiver]:
    found = Receiver(list(answers))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=t0"
    async with server:
        yield found
        server.close()
        await found.settled()
