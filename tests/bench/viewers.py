"""Costs of viewers for the real `envwatch serve`, and the delay of a change. Linux only."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from findings import Finding
from support.demo_client import LISTING, Client
from support.faulty_server import KEY, serving, up
from support.serve_program import TOKEN, ServeProgram, serve_program, tokens_file
from support.serve_program import upstream as asking

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 1_000
_VIEWERS = 100
_EVERY_S = 5.0
_SECONDS = 30.0
_CHANGES = 20
_TICKS_S = os.sysconf("SC_CLK_TCK")
_HEADERS = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\nAccept-Encoding: gzip\r\n\r\n"


class _Spent(NamedTuple):
    cpu_s: float
    requests: int
    late_s: float


def viewers() -> list[Finding]:
    """Measure the CPU of viewers beyond the polls alone, and the delay of changes."""
    with _serving(_Fleet(_ROWS), "--interval", f"{_EVERY_S:g}s") as served:
        alone = asyncio.run(_spent(served, 0, 100))
        found = []
        for limit in (100, 1_000):
            together = asyncio.run(_spent(served, _VIEWERS, limit))
            each_ms = (together.cpu_s - alone.cpu_s) / _SECONDS / _VIEWERS * 1000
            found.append(
                Finding(
                    what=f"CPU of `serve` in a second for a viewer of 1,000 rows every 5 s in pages of {limit}",
                    measured=each_ms,
                    unit="ms",
                    reference=alone.cpu_s / _SECONDS * 1000,
                    against=f"of its polls alone; {1000 / each_ms:,.0f} viewers a core",
                )
            )
            assert together.requests >= 0.9 * _VIEWERS * (_ROWS / limit) * _SECONDS / _EVERY_S, together
            assert not together.late_s, f"the viewers were too slow to ask as often as they should: {together}"
    return [*found, *_lags()]


@dataclass
class _Fleet:
    """Rows that are up; the first has a name that changes."""

    size: int
    name: str = "hiro-studio"
    listed_at: dict[str, float] = field(default_factory=dict)
    """Monotonic second of the first listing with a name."""

    def rows(self, now: float) -> list[dict[str, Any]]:
        self.listed_at.setdefault(self.name, time.monotonic())
        first = up("env-0", now, connectionName=self.name)
        return [first, *(up(f"env-{number}", now) for number in range(1, self.size))]


@contextmanager
def _serving(fleet: _Fleet, *arguments: str) -> Iterator[ServeProgram]:
    with serving(fleet.rows) as upstream, TemporaryDirectory() as folder:
        home = Path(folder)
        tokens_file(home)
        with serve_program(asking(home, upstream.url, KEY), home, "--no-history", *arguments) as served:
            while served.ask().status != 200:
                time.sleep(0.1)
            yield served


def _cpu_s(served: ServeProgram) -> float:
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


async def _spent(served: ServeProgram, count: int, limit: int) -> _Spent:
    requests, lates = [0], [0.0]
    tasks = [asyncio.create_task(_view(served.port, limit, place / count, requests, lates)) for place in range(count)]
    await asyncio.sleep(_EVERY_S)
    before, at = _cpu_s(served), requests[0]
    await asyncio.sleep(_SECONDS)
    spent = _Spent(_cpu_s(served) - before, requests[0] - at, max(lates))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return spent


async def _view(port: int, limit: int, phase: float, requests: list[int], lates: list[float]) -> None:
    """Walk over all pages repeatedly on one connection, without decoding, to leave the CPU to the server."""
    await asyncio.sleep(phase * _EVERY_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ids = await _cursors(port, limit)
    due = time.monotonic()
    while True:
        for cursor in ids:
            writer.write(f"GET {LISTING}?limit={limit}{cursor} HTTP/1.1\r\n{_HEADERS}".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200 "), head
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            requests[0] += 1
        due += _EVERY_S
        lates.append(max(time.monotonic() - due, 0.0))
        await asyncio.sleep(due - time.monotonic())


async def _cursors(port: int, limit: int) -> list[str]:

    def read() -> list[str]:
        with Client(f"http://127.0.0.1:{port}", TOKEN) as client:
            return ["", *(f"&after={page[-1]['id']}" for page in list(client.pages("", limit))[:-1])]

    return await asyncio.to_thread(read)


def _lags() -> list[Finding]:
    """Time changes: from upstream's answer, and from the change, to a viewer that polls continuously."""
    from_answer, from_change = list[float](), list[float]()
    fleet = _Fleet(40)
    with _serving(fleet, "--interval", "1s") as served, Client(served.urls[0], TOKEN) as client:
        for number in range(_CHANGES):
            name = f"changed-{number}-"
            time.sleep(number * 0.37 % 1.0)  # a change comes at any moment between two polls
            fleet.name, changed_at = name, time.monotonic()
            while name.encode() not in client.ask(f"{LISTING}?limit=100").body:
                time.sleep(0.005)
            seen_at = time.monotonic()
            from_answer.append(seen_at - fleet.listed_at[name])
            from_change.append(seen_at - changed_at)
    return [
        Finding(
            what=f"a change on its way from upstream's answer to a viewer's, median of {_CHANGES}",
            measured=median(from_answer) * 1000,
            unit="ms",
        ),
        Finding(
            what=f"a change on its way from upstream's answer to a viewer's, the longest of {_CHANGES}",
            measured=max(from_answer) * 1000,
            unit="ms",
        ),
        Finding(
            what="from the change itself, which a poll of the server every second must find first, median",
            measured=median(from_change) * 1000,
            unit="ms",
            reference=max(from_change) * 1000,
            against="the longest",
        ),
    ]
