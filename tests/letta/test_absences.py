"""Rows missing from a listing: the client asks the server before an absence is believed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, wire_row, wire_rows
from support.faulty_server import (
    DEVICE_ROUTE,
    PERIOD_MS,
    Fault,
    Faulty,
    Reply,
    Shifting,
    Stop,
    faulty_server,
    listening,
    says,
    sends,
)
from support.letta_client_calls import client_of as client_with

from envwatch.fleet.events import Kind, flatten
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed, ListedPage, Snapshot
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from envwatch.letta.client import Client


def client_of(server: Faulty, limits: Limits | None = None, **changes: Any) -> Client:
    """Return a client with pages of the default size."""
    return client_with(server, limits or Limits(), **changes)


async def gone_in(server: Shifting, walks: int, *, leave: frozenset[str] = frozenset()) -> list[tuple[int, str | None]]:
    """Return the gone rows with the number of the walk, for walks every 30 s, the first 15 s earlier.

    Args:
        server: the listing.
        walks: number of walks.
        leave: ids deleted after the second walk.
    """
    profile_state = ProfileState()
    gone: list[tuple[int, str | None]] = []
    async with client_of(server, wall=lambda: server.now) as client:
        for number in range(walks):
            server.left = leave if number > 1 else frozenset()
            server.now = NOW + PERIOD_MS * (number + 0.5 if number else 0)
            started = Clocks(WallMs(server.now), MonotonicS(server.now / 1000))
            snapshot = await client.snapshot()
            ended = Clocks(WallMs(server.now), MonotonicS(server.now / 1000))
            profile_state, events = profile_state.apply(Listed(snapshot, started, ended, timedelta(seconds=30)))
            gone += [(number, event.id) for event in flatten(events) if event.kind is Kind.GONE]
    return gone


@pytest.mark.parametrize(
    ("count", "walks"), [(600, 15), pytest.param(3_000, 50, marks=pytest.mark.slow)], ids=["some", "many"]
)
async def test_no_row_is_falsely_gone_where_the_order_shifts_in_step_with_the_polls(count: int, walks: int) -> None:
    """At the default page size, 54 of 3,000 rows beat and jump ahead during each walk of 0.54 s."""
    server = Shifting(count, page_ms=54_000 / count)
    async with listening(server):
        gone = await gone_in(server, walks)

    assert gone == []


async def test_rows_deleted_meanwhile_are_gone_with_the_second_walk_without_them() -> None:
    """Of 300 rows, each walk misses five and asks about five."""
    server = Shifting(300, page_ms=180.0)
    async with listening(server):
        gone = await gone_in(server, walks=10, leave=frozenset({"env-7", "env-140", "env-299"}))

    assert set(gone) == {(3, "env-299"), (3, "env-140"), (3, "env-7")}
    assert len(gone) == 3


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(5)) as faulty:
        yield faulty


def loses(server: Faulty, *numbers: int, exist: bool) -> None:
    """Remove rows from the listing, by number from 1; with `exist` the server still knows the rows."""
    lost = [server.rows[number - 1] for number in numbers]
    server.rows = [row for row in server.rows if row not in lost]
    server.unlisted = lost if exist else ()


def asked_about(server: Faulty) -> list[str]:
    return [seen.path.removeprefix(DEVICE_ROUTE) for seen in server.seen if seen.path.startswith(DEVICE_ROUTE)]


def ids_in(snapshot: Snapshot) -> set[str]:
    return {row.id for page in snapshot.pages for row in page.environments}


async def test_a_row_the_server_still_knows_is_added_to_the_listing(server: Faulty) -> None:
    async with client_of(server, wall=lambda: NOW) as client:
        await client.snapshot()
        loses(server, 2, exist=True)
        snapshot = await client.snapshot()
    assert ids_in(snapshot) == {"env-1", "env-2", "env-3", "env-4", "env-5"}
    assert snapshot.pages[-1] == ListedPage([environment("env-2")], WallMs(NOW))
    assert not snapshot.confirmed_absent | snapshot.in_doubt
    assert snapshot.requests == 3
    assert asked_about(server)[1:] == ["device-of-env-2"]


async def test_rows_back_during_a_poll_are_in_the_next_poll(server: Faulty) -> None:
    """The tests' server answers a whole poll from the same rows, because a test cannot know a poll's progress."""
    rows, ids = server.rows, {"env-1", "env-2", "env-3", "env-4", "env-5"}

    def bring_back(reply: Reply) -> Reply:
        server.rows = rows
        return reply

    async with client_of(server) as client:
        await client.snapshot()
        server.rows = ()
        server.break_page(0, bring_back)
        assert (ids_in(await client.snapshot()), len(asked_about(server))) == (set(), 5)
        assert ids_in(await client.snapshot()) == ids


async def test_a_row_the_server_does_not_know_is_confirmed_absent_once(server: Faulty) -> None:
    """Nothing is requested while no row is missing, nor after the confirmation."""
    async with client_of(server) as client:
        await client.snapshot()
        same = await client.snapshot()
        assert (asked_about(server), same.requests, same.in_doubt) == ([], 1, frozenset())
        loses(server, 2, 4, exist=False)
        first, second = await client.snapshot(), await client.snapshot()
    assert first.confirmed_absent == {"env-2", "env-4"}
    assert (len(first.in_doubt), first.requests) == (0, 4)
    assert (second.confirmed_absent, second.in_doubt, second.requests) == (frozenset(), frozenset(), 1)
    assert asked_about(server)[1:] == ["device-of-env-2", "device-of-env-4"]


async def test_without_the_device_route_nothing_is_proven_and_nothing_waits(server: Faulty) -> None:
    server.answers_devices = False
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 2, 4, exist=True)
        snapshot = await client.snapshot()
    assert (snapshot.confirmed_absent, snapshot.in_doubt, snapshot.requests) == (frozenset(), frozenset(), 2)
    assert not {"device-of-env-2", "device-of-env-4"} & set(asked_about(server))


async def test_an_unreadable_listed_row_is_not_requested() -> None:
    async with faulty_server(wire_rows(20)) as server, client_of(server) as client:
        await client.snapshot()
        server.rows = [dict(row, connectedAt="now") if row["id"] == "env-2" else row for row in server.rows]
        snapshot = await client.snapshot()
    assert snapshot.rejected_ids == {"env-2"}
    assert (asked_about(server), snapshot.in_doubt, snapshot.requests) == ([], frozenset(), 1)


async def test_a_second_listener_on_the_same_machine_proves_nothing(server: Faulty) -> None:
    twin = wire_row("env-6", deviceId="device-of-env-2")
    server.rows = [*server.rows, twin]
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 2, exist=False)
        snapshots = [await client.snapshot() for _ in range(4)]
    assert [snapshot.confirmed_absent for snapshot in snapshots] == [frozenset()] * 4
    assert [snapshot.in_doubt for snapshot in snapshots] == [{"env-2"}, {"env-2"}, frozenset(), frozenset()]
    assert "env-2" not in ids_in(snapshots[-1])


@pytest.mark.parametrize(
    "fault",
    [
        says(500, "oops"),
        says(429, '{"error":"slow down"}', Retry_After="600"),
        says(401, '{"message":"Unauthorized"}'),
        says(200, "<!doctype html><title>Login</title>"),
        says(200, "[]"),
        says(200, '{"id":"env-2"}'),
        says(200, b"\xff\xfe"),
        says(301, Location="https://elsewhere.example/"),
        sends(b"SSH-2.0-OpenSSH\r\n"),
    ],
)
async def test_a_failed_request_for_a_row_fails_no_listing_and_proves_nothing(server: Faulty, fault: Fault) -> None:
    assert not isinstance(fault, Stop)
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 2, exist=False)
        server.break_devices(fault)
        unknown = await client.snapshot()
        server.break_devices()
        loses(server, 2, exist=True)  # env-3
        assert ids_in(await client.snapshot()) == {"env-1", "env-3", "env-4", "env-5"}
        loses(server, 2, exist=False)  # env-4
        server.break_devices(fault)
        snapshots = [await client.snapshot() for _ in range(4)]
    assert (ids_in(unknown), unknown.confirmed_absent, unknown.in_doubt) == (
        {"env-1", "env-3", "env-4", "env-5"},
        frozenset(),
        frozenset(),
    )
    assert [snapshot.confirmed_absent for snapshot in snapshots] == [frozenset()] * 4
    doubted = [{"env-3", "env-4"}, {"env-3", "env-4"}, frozenset(), frozenset()]
    assert [snapshot.in_doubt for snapshot in snapshots] == doubted


async def test_a_slow_device_route_takes_at_most_half_a_page_deadline(server: Faulty) -> None:
    hasty = Limits(page_deadline=timedelta(seconds=1))
    async with client_of(server, hasty) as client:
        await client.snapshot()
        loses(server, 2, exist=False)
        server.break_devices(lambda reply: Reply(body=reply.body, byte_every=0.05))
        async with asyncio.timeout(10):  # the whole answer would take twice that
            snapshot = await client.snapshot()
    assert (ids_in(snapshot), snapshot.confirmed_absent) == ({"env-1", "env-3", "env-4", "env-5"}, frozenset())


@pytest.mark.parametrize(
    ("lost", "confirmed", "in_doubt"),
    [(9, [9, 0], [0, 0]), (10, [0, 9, 1, 0], [0, 1, 0, 0]), (25, [0, 9, 9, 7, 0], [0, 16, 7, 0, 0])],
)
async def test_at_most_ten_rows_are_requested_per_poll_until_every_absence_is_confirmed(
    lost: int, confirmed: list[int], in_doubt: list[int]
) -> None:
    """One of the ten is a listed row. More absences than nine are believed from the second listing on."""
    async with faulty_server(wire_rows(60)) as server, client_of(server) as client:
        await client.snapshot()
        loses(server, *range(1, lost + 1), exist=False)
        snapshots = [await client.snapshot() for _ in confirmed]
    assert [len(snapshot.confirmed_absent) for snapshot in snapshots] == confirmed
    assert [len(snapshot.in_doubt) for snapshot in snapshots] == in_doubt
    assert [snapshot.requests for snapshot in snapshots] == [1 + count + (count > 0) for count in confirmed]
    assert not {"device-of-env-1", f"device-of-env-{lost}"} - set(asked_about(server))


async def test_ten_listings_without_an_existing_row_are_proof_enough() -> None:
    async with faulty_server(wire_rows(300)) as server, client_of(server) as client:
        await client.snapshot()
        loses(server, *range(1, 201), exist=False)
        snapshots = [await client.snapshot() for _ in range(10)]
    assert [len(snapshot.in_doubt) for snapshot in snapshots] == [0, *(200 - 9 * number for number in range(1, 9)), 0]


async def test_one_existing_row_keeps_all_others_in_doubt() -> None:
    """A listing truncated for long lacks existing rows, and each poll finds some."""
    async with faulty_server(wire_rows(300)) as server, client_of(server) as client:
        await client.snapshot()
        loses(server, *range(1, 201), exist=True)
        snapshots = [await client.snapshot() for _ in range(25)]
    assert [len(ids_in(snapshot)) for snapshot in snapshots[:3]] == [100, 109, 109]
    for snapshot in snapshots[1:]:
        assert len(ids_in(snapshot) | snapshot.in_doubt) == 300


@pytest.mark.parametrize(
    ("known", "found", "absent"), [(3, {"env-3", "env-4", "env-5"}, {"env-1", "env-2"}), (0, set(), set())]
)
async def test_an_empty_listing_is_refuted_by_any_row_the_server_knows(
    server: Faulty, known: int, found: set[str], absent: set[str]
) -> None:
    """If the server knows no row, the empty listing proves nothing."""
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 1, 2, 3, 4, 5, exist=True)
        server.unlisted = server.unlisted[5 - known :]
        snapshot = await client.snapshot()
    assert ids_in(snapshot) == found
    assert (snapshot.confirmed_absent, snapshot.in_doubt) == (frozenset(map(clean, absent)), frozenset())


@pytest.mark.parametrize(
    ("device_id", "segment"),
    [
        ("desktop:7f3a", "desktop%3A7f3a"),
        ("sandbox-agent-1", "sandbox-agent-1"),
        ("7c0e0ee5-2d0b-4e4b-8c0f-2f0d3c8e6a51", "7c0e0ee5-2d0b-4e4b-8c0f-2f0d3c8e6a51"),
        ("a..b", "a..b"),
        *((odd, None) for odd in ("", ".", "..", "...", "a/b", "../v1/agents", "a%2Fb", "a?b", "a#b", "a b")),
        *((odd, None) for odd in ("Büro", "a\u202eb", "a\\x1b", "a\x1b", "x" * 257)),
    ],
)
async def test_only_a_documented_device_id_is_requested_and_quoted_in_the_path(
    server: Faulty, device_id: str, segment: str | None
) -> None:
    server.rows = [wire_row("env-0", deviceId=device_id), *server.rows]
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 1, exist=True)
        snapshot = await client.snapshot()
    assert asked_about(server)[1:] == ([] if segment is None else [segment])
    assert ("env-0" in ids_in(snapshot)) is (segment is not None)
    assert (snapshot.confirmed_absent, snapshot.in_doubt) == (frozenset(), frozenset())


async def test_nothing_waits_if_no_listed_row_can_be_requested(server: Faulty) -> None:
    """Nor in a listing of online rows only, where a row that goes offline leaves."""
    async with client_of(server, online_only=True) as client:
        await client.snapshot()
        loses(server, 1, exist=True)
        snapshot = await client.snapshot()
        assert (asked_about(server), "env-1" in ids_in(snapshot)) == ([], False)
    server.rows = [wire_row("env-0", deviceId="desktop-0"), wire_row("env-1", deviceId="a/b")]
    async with client_of(server) as client:
        await client.snapshot()
        loses(server, 1, exist=True)
        snapshot = await client.snapshot()
    assert (asked_about(server), snapshot.in_doubt) == ([], frozenset())
