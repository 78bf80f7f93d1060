"""Costs of `envwatch serve`: an answer without sockets, viewers of the real program, and the delay of a change."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from findings import Finding, in_turn
from fleets import PAGE, decoded, demo_rows, pages_of
from support.builders import NOW, listed, reading
from support.demo_client import LISTING, Client
from support.faulty_server import KEY, serving, up
from support.serve_program import TOKEN, ServeProgram, serve_program, tokens_file
from support.serve_program import upstream as asking

from envwatch.fleet.profile_state import ProfileState
from envwatch.serve.answers import NOTHING_SHARED, ProfileEndpoint, Request, ServedListing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envwatch.model.environment import Environment
    from envwatch.serve.answers import Answer


_ROWS = 1_000
_TIMES = 2_000
_FIRST = 20
_GZIP = {"accept-encoding": "gzip, deflate"}


def answers() -> list[Finding]:
    return [*_answered(), *_built(), *_held()]


def _answered() -> list[Finding]:
    environments = decoded(pages_of(demo_rows(_ROWS)))
    endpoint = _endpoint(environments)
    query, device = f"limit={PAGE}", environments[PAGE].device_id
    page = Request(path=LISTING, query=query, headers=_GZIP)
    tag = next(value for name, value in _ask(endpoint, page).headers if name == "ETag")
    requests = {
        "a page of 100 rows, made before, gzip": page,
        "304 for a page of 100 rows": Request(path=LISTING, query=query, headers={"if-none-match": tag}),
        "a page of 100 rows that are online, made before": Request(
            path=LISTING, query=f"{query}&onlineOnly=true", headers=_GZIP
        ),
        "one device": Request(path=f"{LISTING}/{device}", headers=_GZIP),
    }
    found = [
        Finding(what=f"answer: {what} (CPU)", measured=_each_us(partial(_ask, endpoint, request)), unit="µs")
        for what, request in requests.items()
    ]
    rows = [json.loads(row.data) for row in ServedListing.from_outcome(listed(environments)).rows[:PAGE]]
    fresh, encoded = in_turn(
        partial(_first_answers, endpoint, count()),
        lambda: [json.dumps({"connections": rows, "hasNextPage": True}) for _ in range(_FIRST)],
    )
    return [
        *found,
        Finding(
            what="answer: a page of 100 rows, made for the first time, gzip (CPU)",
            measured=fresh / _FIRST,
            unit="ms",
            reference=encoded / _FIRST,
            against="`json.dumps` of the page",
        ),
    ]


def _built() -> list[Finding]:
    rows = demo_rows(_ROWS)
    before = decoded(pages_of(rows))
    later_rows = [row if place % 5 else row | _beat() for place, row in enumerate(rows)]
    after = decoded(pages_of(later_rows), {row.id: row for row in before})
    first = ServedListing.from_outcome(listed(before))
    outcome = listed(after, NOW + 5_000)
    whole, again, encoded = in_turn(
        lambda: ServedListing.from_outcome(listed(before)),
        lambda: ServedListing.from_outcome(outcome, first),
        lambda: [json.dumps(row) for row in later_rows],
    )
    return [
        Finding(
            what=f"listing of 1,000 rows to serve, {what} (CPU)",
            measured=spent,
            unit="ms",
            reference=encoded,
            against="`json.dumps` of each row",
        )
        for what, spent in (("the first", whole), ("one row in five with a new heartbeat", again))
    ]


def _held() -> list[Finding]:
    """Measure the memory of 10,000 served rows, of all pages, and of a next listing with a new walk.

    Excludes the poller's rows. A sixth of the rows has a new heartbeat, as after 5 s.
    """
    rows = demo_rows(10 * _ROWS)
    received = sum(map(len, pages_of(rows)))
    environments = decoded(pages_of(rows))
    beaten = [row if place % 6 else row | _beat() for place, row in enumerate(rows)]
    outcome = listed(environments)
    next_outcome = listed(decoded(pages_of(beaten), {row.id: row for row in environments}), NOW + 5_000)
    profile_state, _ = ProfileState().apply(outcome)
    next_state, _ = profile_state.apply(next_outcome)
    tracemalloc.start()
    endpoint = ProfileEndpoint()
    endpoint.update(profile_state, outcome, reading(), NOTHING_SHARED)
    alone, _ = tracemalloc.get_traced_memory()
    listing = endpoint.listing
    assert listing is not None
    for cursor in ["", *(f"&after={row.id}" for row in listing.rows[PAGE - 1 : -1 : PAGE])]:
        answer = _ask(endpoint, Request(path=LISTING, query=f"limit={PAGE}{cursor}", headers=_GZIP))
        assert answer.status == 200
    with_pages, _ = tracemalloc.get_traced_memory()
    endpoint.update(next_state, next_outcome, reading(NOW + 5_000), NOTHING_SHARED)
    with_next, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        Finding(
            what=f"memory of 10,000 rows to serve{what}",
            measured=size / 1e6,
            unit="MB",
            reference=received / 1e6,
            against="the rows' bytes as received",
        )
        for what, size in (
            ("", alone),
            (", with all pages made, gzip", with_pages),
            (", with the next listing as well", with_next),
        )
    ]


def _beat() -> dict[str, Any]:
    return {"lastHeartbeat": NOW - 1_000, "lastSeenAt": NOW - 1_000}


def _endpoint(environments: Sequence[Environment]) -> ProfileEndpoint:
    outcome, endpoint = listed(environments), ProfileEndpoint()
    endpoint.update(ProfileState().apply(outcome)[0], outcome, reading(), NOTHING_SHARED)
    return endpoint


def _ask(endpoint: ProfileEndpoint, request: Request) -> Answer:
    return endpoint.answer(request, reading(NOW + 2_000))


def _first_answers(endpoint: ProfileEndpoint, numbers: Iterator[int]) -> int:
    """Return the bytes of uncached answers: each query has another unknown parameter."""
    queries = [f"limit={PAGE}&unknown={next(numbers)}" for _ in range(_FIRST)]
    return sum(len(_ask(endpoint, Request(path=LISTING, query=each, headers=_GZIP)).body) for each in queries)


def _each_us(work: Callable[[], object]) -> float:
    """Return the CPU microseconds of one run: the minimum of several series, because noise only adds."""
    work()
    series = []
    for _ in range(5):
        started = time.process_time()
        for _number in range(_TIMES):
            work()
        series.append((time.process_time() - started) * 1e6 / _TIMES)
    return min(series)


_VIEWED_ROWS = 1_000
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
    with _serving(_Fleet(_VIEWED_ROWS), "--interval", f"{_EVERY_S:g}s") as served:
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
            assert together.requests >= 0.9 * _VIEWERS * (_VIEWED_ROWS / limit) * _SECONDS / _EVERY_S, together
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
