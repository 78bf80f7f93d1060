"""The client against a test server that is correct, or only slow, busy or far away."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import threading
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, page_bytes, wire_row, wire_rows
from support.faulty_server import (
    KEY,
    Faulty,
    How,
    Reply,
    Stop,
    Where,
    edits,
    everything_in,
    faulty_server,
    says,
    skewed,
)
from support.letta_client_calls import PATIENT, client_of, error_or_none, failure_of

from envwatch.model import limits
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, Snapshot
from envwatch.redactor import Secret
from envwatch.sources.letta.client import ListingFetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HASTY = Limits(page_size=2, page_deadline=timedelta(seconds=0.5))
"""A hang costs this time; other pages must be faster, even on a busy machine."""


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(5)) as faulty:
        yield faulty


def ids_in(snapshot: Snapshot) -> list[list[str]]:
    return [[row.id for row in page.environments] for page in snapshot.pages]


async def test_a_walk_reads_every_page_once_in_order(server: Faulty) -> None:
    async with client_of(server) as client:
        snapshot = await client.snapshot()
    assert ids_in(snapshot) == [["env-1", "env-2"], ["env-3", "env-4"], ["env-5"]]
    assert [seen.query for seen in server.seen] == [
        {"limit": "2"},
        {"limit": "2", "after": "env-2"},
        {"limit": "2", "after": "env-4"},
    ]
    assert (snapshot.requests, snapshot.rejected) == (3, 0)


async def test_a_refused_key_is_looked_for_again_before_the_next_listing(server: Faulty) -> None:
    keys = [Secret("sk-let-still-the-old-one"), Secret(KEY)]
    async with client_of(server, key=Secret("sk-let-an-old-one"), find_key=lambda: keys.pop(0)) as client:
        assert (await failure_of(client)).cause is Cause.UNAUTHORIZED
        assert (await failure_of(client)).cause is Cause.UNAUTHORIZED
        assert keys == [Secret(KEY)]
        assert len(ids_in(await client.snapshot())) == 3
        await client.snapshot()  # an accepted key is kept: a second search would find no key
    assert keys == []


async def test_a_search_for_the_key_that_hangs_holds_up_no_listing_and_is_not_begun_twice(server: Faulty) -> None:
    may_end, searches = threading.Event(), list[Secret]()

    def find_key() -> Secret:
        searches.append(Secret(KEY))
        may_end.wait()
        return searches[-1]

    hasty = replace(PATIENT, page_deadline=timedelta(seconds=2))
    async with client_of(server, hasty, key=Secret("sk-let-an-old-one"), find_key=find_key) as client:
        for _ in range(3):
            assert (await failure_of(client)).cause is Cause.UNAUTHORIZED
        may_end.set()
        while await error_or_none(client) is not None:
            pass
    assert len(searches) == 1


async def test_no_other_failure_looks_for_the_key_again(server: Faulty) -> None:
    keys: list[Secret] = []
    async with client_of(server, find_key=keys.pop) as client:
        server.break_every_page(says(403))
        await failure_of(client)
        await failure_of(client)
        server.heal()
        await client.snapshot()


async def test_a_key_is_tried_with_one_request(server: Faulty) -> None:
    async with client_of(server) as client:
        assert await client.refusal() is None
        assert len(server.seen) == 1
        server.break_every_page(says(500))
        assert await client.refusal() is None
    async with client_of(server, key=Secret("sk-let-an-old-one")) as client:
        assert "401" in (await client.refusal() or "")


async def test_an_empty_listing_is_a_complete_one() -> None:
    async with faulty_server([]) as server, client_of(server) as client:
        assert ids_in(await client.snapshot()) == [[]]


async def test_the_query_has_the_names_of_the_api(server: Faulty) -> None:
    async with client_of(server, online_only=True, source="remote", user="user 1&2") as client:
        await client.snapshot()
    assert all(
        seen.query.items() >= {"onlineOnly": "true", "source": "remote", "userId": "user 1&2"}.items()
        for seen in server.seen
    )


async def test_a_cursor_goes_back_as_it_came(server: Faulty) -> None:
    cursor = "a&b=c%20+d/?#é\u202e\x1b漢"
    server.rows = [wire_row("env-1"), wire_row(cursor), wire_row("env-3")]
    async with client_of(server) as client:
        await client.snapshot()
    assert server.seen[1].query["after"] == cursor


async def test_a_request_names_the_program_and_the_accepted_encodings(server: Faulty) -> None:
    async with client_of(server) as client:
        await client.snapshot()
    headers = server.seen[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("envwatch/")


async def test_a_path_in_the_base_url_stays() -> None:
    async with faulty_server([]) as server, client_of(server, base_url=f"{server.url}/letta/") as client:
        assert (await failure_of(client)).cause is Cause.NO_SUCH_ROUTE
    assert server.seen[0].path == "/letta/v1/environments"


async def test_two_polls_share_one_connection(server: Faulty) -> None:
    server.stop_at(0, How.CLOSE)
    async with client_of(server) as client:
        await client.snapshot()
        await client.snapshot()
        await server.settled(1)
    connection, request_and_pieces = 1, 5
    assert server.operations == connection + 6 * request_and_pieces


async def test_no_cookie_is_kept(server: Faulty) -> None:
    server.break_every_page(skewed(0, **{"Set-Cookie": "a=b"}))
    async with client_of(server) as client:
        await client.snapshot()
    assert not any("cookie" in seen.headers for seen in server.seen)


async def test_progress_is_reported_page_by_page(server: Faulty) -> None:
    read: list[tuple[int, int]] = []
    async with client_of(server, on_page=lambda *counts: read.append(counts)) as client:
        await client.snapshot()
    assert read == [(1, 2), (2, 4), (3, 5)]


async def test_received_counts_bytes_on_the_wire(server: Faulty) -> None:
    async with client_of(server) as client:
        small = (await client.snapshot()).received
        server.break_every_page(lambda reply: Reply(body=reply.body, headers={"Content-Encoding": "identity"}))
        large = (await client.snapshot()).received
    assert large == sum(
        len(page_bytes(rows, has_next))
        for rows, has_next in ((server.rows[:2], True), (server.rows[2:4], True), (server.rows[4:], False))
    )
    assert 0 < small < large / 2


@pytest.mark.parametrize("skew", [-86_400, -30, 0, 30, 86_400])
async def test_each_response_bounds_the_servers_clock(server: Faulty, skew: float) -> None:
    server.break_every_page(skewed(skew))
    async with client_of(server) as client:
        snapshot = await client.snapshot()
    assert len(snapshot.clock) == 3
    assert all(bounds.low <= skew * 1000 <= bounds.high for bounds in snapshot.clock)


@pytest.mark.parametrize(
    "headers",
    [{"Age": "1"}, {"Age": "soon"}, {"Date": None}, {"Date": "yesterday"}, {"Date": "Mon, 99 Foo 2026 00:00:00 GMT"}],
)
async def test_a_cached_or_undated_response_gives_no_bounds_of_the_clock(
    server: Faulty, headers: dict[str, Any]
) -> None:
    server.break_page(1, lambda reply: Reply(body=reply.body, headers=headers))
    async with client_of(server) as client:
        assert len((await client.snapshot()).clock) == 2


async def test_an_age_header_of_zero_counts_as_fresh(server: Faulty) -> None:
    server.break_every_page(skewed(0, Age="0"))
    async with client_of(server) as client:
        assert len((await client.snapshot()).clock) == 3


async def test_a_page_has_the_time_before_its_request(server: Faulty) -> None:
    moments = iter(range(6))
    async with client_of(server, wall=lambda: NOW + next(moments)) as client:
        snapshot = await client.snapshot()
    assert [page.asked_at - NOW for page in snapshot.pages] == [0, 2, 4]


async def test_one_bad_row_in_a_hundred_is_set_aside(server: Faulty) -> None:
    server.rows = [wire_row(), {"id": 7}, *wire_rows(101)[1:]]
    async with client_of(server, Limits(page_size=10)) as client:
        snapshot = await client.snapshot()
    assert snapshot.rejected == 1
    assert sum(map(len, ids_in(snapshot))) == 101


async def test_a_row_that_no_parser_takes_is_named_and_the_walk_goes_on_from_it(server: Faulty) -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    server.rows = wire_rows(30)
    server.rows[9] |= {"metadata": {"deep": nested}}
    async with client_of(server, Limits(page_size=10)) as client:
        snapshot = await client.snapshot()
    assert (snapshot.rejected, sorted(snapshot.rejected_ids)) == (1, ["env-10"])
    assert [len(page) for page in ids_in(snapshot)] == [9, 10, 10]


@pytest.mark.parametrize("how", [How.RESET, How.CLOSE])
async def test_an_idle_connection_that_breaks_is_replaced_at_once(server: Faulty, how: How) -> None:
    async with client_of(server, Limits()) as client:
        await client.snapshot()
        server.stop_at(1, how)
        snapshot = await client.snapshot()
    assert snapshot.requests == 2


async def test_a_new_connection_that_breaks_is_a_failure(server: Faulty) -> None:
    async with client_of(server, Limits()) as client:
        server.stop_at(2, How.RESET)
        assert (await failure_of(client)).cause is Cause.UNREACHABLE
    assert len(server.seen) == 1


async def test_an_idle_connection_that_breaks_within_a_response_is_a_failure(server: Faulty) -> None:
    async with client_of(server, Limits()) as client:
        await client.snapshot()
        server.break_page(0, Stop(Where.HEADED, How.RESET))
        assert (await failure_of(client)).cause is Cause.UNREACHABLE
    assert len(server.seen) == 2


async def test_a_replaced_connection_is_not_replaced_again(server: Faulty) -> None:
    async with client_of(server, Limits()) as client:
        await client.snapshot()
        server.break_page(0, Stop(Where.REQUEST, How.RESET))
        assert (await failure_of(client)).cause is Cause.UNREACHABLE
    assert len(server.seen) == 3


async def test_a_slow_page_meets_its_deadline(server: Faulty) -> None:
    server.break_page(1, lambda reply: Reply(body=reply.body, byte_every=0.05))
    async with client_of(server, HASTY) as client:
        error = await failure_of(client)
    assert (error.cause, error.pages_read) == (Cause.TIMEOUT, 1)
    assert error.message.endswith("did not send page 2 within 0.5 s")


async def test_pages_in_time_can_still_miss_the_walks_deadline_whichever_hangs() -> None:
    limits = Limits(page_size=1, walk_deadline=timedelta(seconds=2))

    async def failure_where(page: int) -> Failure:
        async with faulty_server(wire_rows(5)) as server, client_of(server, limits) as client:
            server.break_page(page, Stop(Where.REQUEST, How.HANG))
            return await failure_of(client)

    hanging = (0, 1, 2, 4)
    failures = await asyncio.gather(*map(failure_where, hanging))
    assert [failure.pages_read for failure in failures] == [*hanging]
    for failure in failures:
        assert failure.cause is Cause.TIMEOUT
        assert failure.message.endswith("did not send the whole listing within 2 s")


async def test_an_errors_text_that_never_ends_does_not_hide_the_error(server: Faulty) -> None:
    limits = Limits(page_deadline=timedelta(seconds=1))
    server.break_page(0, says(503, "being restarted", Retry_After="7"), Stop(Where.BODY, How.HANG))
    async with client_of(server, limits) as client:
        error = await failure_of(client)
    assert (error.cause, error.retry_after) == (Cause.UNAVAILABLE, timedelta(seconds=7))


async def test_being_cancelled_is_no_failure(server: Faulty) -> None:
    server.break_page(1, Stop(Where.BODY, How.HANG))
    reached = asyncio.Event()
    async with client_of(server, on_page=lambda *_: reached.set()) as client:
        poll = asyncio.create_task(client.snapshot())
        await reached.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        server.heal()
        assert len((await client.snapshot()).pages) == 3


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize(("excess", "fits"), [(0, True), (1, False)])
async def test_a_page_may_have_eight_mebibytes(encoding: str, excess: int, fits: bool) -> None:  # noqa: FBT001
    async with faulty_server([]) as server, client_of(server) as client:
        body = page_bytes([]).ljust(limits.PAGE_BYTES + excess)
        headers = {} if encoding == "gzip" else {"Content-Encoding": encoding}
        server.break_page(0, lambda _: Reply(body=body, headers=headers))
        if fits:
            await client.snapshot()
        else:
            assert (await failure_of(client)).cause is Cause.TOO_LARGE


@pytest.mark.parametrize(("excess", "fits"), [(0, True), (1, False)])
async def test_a_page_may_be_as_many_bytes_on_the_wire_however_few_they_become(excess: int, fits: bool) -> None:  # noqa: FBT001
    """A gzip stream may hold parts that inflate to nothing: here, a file name of eight mebibytes."""
    stream = gzip.compress(page_bytes([]))[10:]
    name = b"x" * (limits.PAGE_BYTES + excess - len(stream) - 11)
    reply = Reply(
        body=b"\x1f\x8b\x08\x08" + bytes(5) + b"\xff" + name + b"\0" + stream, headers={"Content-Encoding": "gzip"}
    )
    async with faulty_server([]) as server, client_of(server) as client:
        server.break_page(0, lambda _: reply)
        if fits:
            assert (await client.snapshot()).received == limits.PAGE_BYTES
        else:
            assert (await failure_of(client)).cause is Cause.TOO_LARGE


async def test_an_endless_error_text_is_not_read(server: Faulty) -> None:
    server.break_page(0, says(500, "x" * (1 << 25), Content_Encoding="identity"))
    async with client_of(server) as client:
        error = await failure_of(client)
        assert len(error.message) < 300
        server.heal()
        await client.snapshot()


@pytest.mark.parametrize(
    ("how", "is_warm"),
    [
        (How.RESET, False),
        (How.RESET, True),
        (How.CLOSE, False),
        (How.CLOSE, True),
        pytest.param(How.HANG, False, marks=pytest.mark.slow),
    ],
)
async def test_a_poll_that_breaks_anywhere_fails_alone(server: Faulty, how: How, *, is_warm: bool) -> None:
    limits = HASTY if how is How.HANG else PATIENT
    operation, was_reached = 0, True
    while was_reached:
        operation += 1
        async with client_of(server, limits) as client:
            if is_warm:
                await client.snapshot()
                await server.settled(1)
            server.stop_at(operation, how)
            error = await error_or_none(client)
            assert KEY not in everything_in(error)
            assert error is None or error.failure.cause in {Cause.UNREACHABLE, Cause.TIMEOUT}
            was_reached = server.operations >= operation
            server.heal()
            assert len((await client.snapshot()).pages) == 3
        await server.settled(0)
    assert operation > 15


async def test_failures_leave_no_descriptor_behind(server: Faulty) -> None:
    faults = (
        Stop(Where.REQUEST, How.RESET),
        Stop(Where.BODY, How.CLOSE),
        says(500, "no"),
        says(200, "<html>"),
        edits(lambda page: page.update(connections=None)),
    )
    async with client_of(server) as client:
        await client.snapshot()
        await server.settled(1)
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208  # counting, with no paths to make
        for poll in range(50):
            server.break_page(poll % 3, faults[poll % 5])
            await failure_of(client)
            server.heal()
        await client.snapshot()
        await server.settled(1)
        assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


async def test_a_failure_does_not_hold_the_pages_that_came_before_it(server: Faulty) -> None:
    server.break_page(1, says(500))
    async with client_of(server) as client:
        gc.collect()
        gc.disable()
        try:
            failure = await failure_of(client)
            assert failure.pages_read == 1
            assert [found for found in gc.get_objects() if isinstance(found, ListingFetch)] == []
        finally:
            gc.enable()


async def test_a_failure_does_not_hold_the_response_that_it_came_from(server: Faulty) -> None:
    server.break_page(1, says(200, "no JSON"))
    async with client_of(server) as client:
        error = await error_or_none(client)
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    assert {frame.name for frame in frames if frame.filename.endswith("sources/letta/client.py")} == {"snapshot"}


async def test_the_key_is_not_shown_by_the_client(server: Faulty) -> None:
    async with client_of(server) as client:
        assert KEY not in repr(client)
        assert KEY not in repr(vars(client))
