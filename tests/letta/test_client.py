"""The client against a test server that is correct, or only slow, busy or far away.

At the end: assembly of pages, without HTTP.
"""

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

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
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

from envwatch.letta.client import ListingFetch, PageHistory
from envwatch.letta.transport import Response
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, Snapshot, SourceError
from envwatch.model.page import Page, parse_page
from envwatch.model.redactor import Secret
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


HASTY = Limits(page_size=2, page_deadline=timedelta(seconds=0.5))
"""A hang costs this time; other pages must be faster, even on a busy machine."""


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(5)) as faulty:
        yield faulty


def ids_in(snapshot: Snapshot) -> list[list[str]]:
    return [[row.id for row in page.environments] for page in snapshot.pages]


async def test_a_walk_reads_every_page_once_in_order_and_reports_its_progress(server: Faulty) -> None:
    """Each request has the key, names the program, and returns no cookie."""
    read: list[tuple[int, int]] = []
    server.break_every_page(skewed(0, **{"Set-Cookie": "a=b"}))
    async with client_of(server, on_page=lambda *counts: read.append(counts)) as client:
        snapshot = await client.snapshot()
    assert ids_in(snapshot) == [["env-1", "env-2"], ["env-3", "env-4"], ["env-5"]]
    assert [seen.query for seen in server.seen] == [
        {"limit": "2"},
        {"limit": "2", "after": "env-2"},
        {"limit": "2", "after": "env-4"},
    ]
    assert (snapshot.requests, snapshot.rejected) == (3, 0)
    assert read == [(1, 2), (2, 4), (3, 5)]
    for seen in server.seen:
        assert (seen.headers["authorization"], seen.headers["accept-encoding"]) == (f"Bearer {KEY}", "gzip")
        assert seen.headers["user-agent"].startswith("envwatch/")
        assert "cookie" not in seen.headers


async def test_a_refused_key_is_looked_for_again_before_the_next_listing(server: Faulty) -> None:
    keys = [Secret("sk-let-still-the-old-one"), Secret(KEY)]
    async with client_of(server, key=Secret("sk-let-an-old-one"), find_key=lambda: keys.pop(0)) as client:
        assert (await failure_of(client)).cause is Cause.UNAUTHORIZED
        assert (await failure_of(client)).cause is Cause.UNAUTHORIZED
        assert keys == [Secret(KEY)]
        assert len(ids_in(await client.snapshot())) == 3
        await client.snapshot()  # an accepted key is kept: a second search would find no key
    assert keys == []


async def test_a_hanging_search_for_the_key_holds_up_no_listing_and_is_not_begun_twice(server: Faulty) -> None:
    may_end, searches = threading.Event(), list[Secret]()

    def find_key() -> Secret:
        searches.append(Secret(KEY))
        may_end.wait()
        return searches[-1]

    hasty = replace(PATIENT, page_deadline=timedelta(seconds=1))
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


async def test_the_query_has_the_names_of_the_api_and_a_cursor_goes_back_unchanged(server: Faulty) -> None:
    cursor = "a&b=c%20+d/?#é\u202e\x1b漢"
    server.rows = [wire_row("env-1"), wire_row(cursor), wire_row("env-3")]
    async with client_of(server, online_only=True, source="remote", user="user 1&2") as client:
        await client.snapshot()
    wanted = {"limit": "2", "onlineOnly": "true", "source": "remote", "userId": "user 1&2"}
    assert [seen.query for seen in server.seen] == [wanted, {**wanted, "after": cursor}]


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
async def test_each_fresh_response_bounds_the_servers_clock(server: Faulty, skew: float) -> None:
    server.break_every_page(skewed(skew, Age="0"))
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


async def test_a_page_has_the_time_before_its_request(server: Faulty) -> None:
    moments = iter(range(6))
    async with client_of(server, wall=lambda: NOW + next(moments)) as client:
        snapshot = await client.snapshot()
    assert [page.asked_at - NOW for page in snapshot.pages] == [0, 2, 4]


async def test_a_row_beyond_any_parser_is_named_and_the_walk_goes_on_behind_the_row(server: Faulty) -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    server.rows = wire_rows(30)
    server.rows[9] |= {"metadata": {"deep": nested}}
    async with client_of(server, Limits(page_size=10)) as client:
        snapshot = await client.snapshot()
    assert (snapshot.rejected, sorted(snapshot.rejected_ids)) == (1, ["env-10"])
    assert [len(page) for page in ids_in(snapshot)] == [9, 10, 10]


@pytest.mark.parametrize(
    ("polls_before", "breaks", "requests"),
    [
        (1, lambda server: server.stop_at(1, How.RESET), 2),
        (1, lambda server: server.stop_at(1, How.CLOSE), 2),
        (0, lambda server: server.stop_at(2, How.RESET), None),
        (1, lambda server: server.break_page(0, Stop(Where.HEADED, How.RESET)), None),
        (1, lambda server: server.break_page(0, Stop(Where.REQUEST, How.RESET)), None),
    ],
    ids=["idle, reset", "idle, closed", "new", "within a response", "replaced and broken again"],
)
async def test_only_an_idle_connection_is_replaced_once_if_broken(
    server: Faulty, polls_before: int, breaks: Callable[[Faulty], object], requests: int | None
) -> None:
    async with client_of(server, Limits()) as client:
        for _ in range(polls_before):
            await client.snapshot()
        breaks(server)
        if requests is None:
            assert (await failure_of(client)).cause is Cause.UNREACHABLE
        else:
            assert (await client.snapshot()).requests == requests


async def test_a_slow_page_meets_its_deadline(server: Faulty) -> None:
    server.break_page(1, lambda reply: Reply(body=reply.body, byte_every=0.05))
    async with client_of(server, HASTY) as client:
        error = await failure_of(client)
    assert (error.cause, error.pages_read) == (Cause.TIMEOUT, 1)
    assert error.message.endswith("did not send page 2 within 0.5 s")


async def test_pages_in_time_can_still_miss_the_walks_deadline_whichever_hangs() -> None:
    limits = Limits(page_size=1, walk_deadline=timedelta(seconds=1))

    async def failure_where(page: int) -> Failure:
        async with faulty_server(wire_rows(5)) as server, client_of(server, limits) as client:
            server.break_page(page, Stop(Where.REQUEST, How.HANG))
            return await failure_of(client)

    hanging = (0, 2, 4)
    failures = await asyncio.gather(*map(failure_where, hanging))
    assert [failure.pages_read for failure in failures] == [*hanging]
    for failure in failures:
        assert failure.cause is Cause.TIMEOUT
        assert failure.message.endswith("did not send the whole poll within 1 s")


async def test_an_endless_text_of_an_error_does_not_hide_the_error(server: Faulty) -> None:
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


def page_with_name(size: int) -> Reply:
    """Return a small page whose gzip stream holds a file name: so many bytes on the wire inflate to nothing."""
    stream = gzip.compress(page_bytes([]))[10:]
    name = b"x" * (size - len(stream) - 11)
    body = b"\x1f\x8b\x08\x08" + bytes(5) + b"\xff" + name + b"\0" + stream
    return Reply(body=body, headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(("excess", "fits"), [(0, True), (1, False)])
@pytest.mark.parametrize(
    "reply_of",
    [
        lambda size: Reply(body=page_bytes([]).ljust(size)),
        lambda size: Reply(body=page_bytes([]).ljust(size), headers={"Content-Encoding": "identity"}),
        page_with_name,
    ],
    ids=["gzip", "identity", "bytes on the wire"],
)
async def test_a_page_may_have_eight_mebibytes(
    reply_of: Callable[[int], Reply],
    excess: int,
    fits: bool,  # noqa: FBT001
) -> None:
    reply = reply_of(limits.PAGE_BYTES + excess)
    async with faulty_server([]) as server, client_of(server) as client:
        server.break_page(0, lambda _: reply)
        error = await error_or_none(client)
    assert (error is None) is fits
    assert error is None or error.failure.cause is Cause.TOO_LARGE


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
async def test_a_poll_fails_alone_wherever_the_connection_breaks(server: Faulty, how: How, *, is_warm: bool) -> None:
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


def listing_fetches() -> list[ListingFetch]:
    return [found for found in gc.get_objects() if isinstance(found, ListingFetch)]


async def test_a_failure_holds_neither_pages_nor_the_response(server: Faulty) -> None:
    server.break_page(1, says(200, "no JSON"))
    async with client_of(server) as client:
        gc.collect()
        before = listing_fetches()  # of threads that other tests left behind
        gc.disable()
        try:
            error = await error_or_none(client)
            assert [fetch for fetch in listing_fetches() if fetch not in before] == []
        finally:
            gc.enable()
    assert error is not None
    assert error.failure.pages_read == 1
    frames = traceback.extract_tb(error.__traceback__)
    assert {frame.name for frame in frames if frame.filename.endswith("letta/client.py")} == {"snapshot"}


async def test_the_key_is_not_shown_by_the_client(server: Faulty) -> None:
    async with client_of(server) as client:
        assert KEY not in repr(client)
        assert KEY not in repr(vars(client))


# Assembly of pages, without HTTP


def page(first: int, last: int, *, has_next: bool = False, rejected: int = 0) -> Page:
    read = parse_page(page_bytes(wire_rows(last)[first - 1 :], has_next))
    return Page(read.environments, read.has_next_page, read.cursor, rejected)


def response(asked_at: float = 0.0, *, requests: int = 1, received: int = 100, **headers: str) -> Response:
    return Response(
        status=200,
        headers=httpx.Headers(headers),
        body=b"",
        received=received,
        requests=requests,
        asked_at=asked_at,
        answered_at=asked_at + 2.0,
        tls=None,
    )


def add(walk: ListingFetch, one: Page) -> str | None:
    return walk.add(one, response())


def test_what_was_read_is_added_up() -> None:
    walk = ListingFetch(Limits())
    dated = response(5.0, requests=2, received=10, Date="Thu, 01 Jan 1970 00:00:01 GMT")
    assert walk.add(page(1, 2, has_next=True), dated) == "env-2"
    assert walk.add(page(3, 3), response(6.0, received=20)) is None
    snapshot = walk.snapshot()
    assert [one.asked_at for one in snapshot.pages] == [5.0, 6.0]
    assert snapshot.clock == (OffsetBounds(1_000 - 7.0, 2_000 - 5.0),)
    assert (snapshot.requests, snapshot.received, walk.pages_read) == (3, 30, 2)


@given(st.integers(1, 300), st.integers(1, 100))
def test_any_listing_is_walked_to_its_end(rows: int, size: int) -> None:
    walk = ListingFetch(Limits())
    firsts = range(1, rows + 1, size)
    cursors = [add(walk, page(first, min(first + size - 1, rows), has_next=first + size <= rows)) for first in firsts]
    assert cursors[-1] is None
    assert None not in cursors[:-1]
    assert sum(len(one.environments) for one in walk.snapshot().pages) == rows


def test_a_last_page_may_repeat_moved_rows() -> None:
    walk = ListingFetch(Limits())
    add(walk, page(1, 2, has_next=True))
    assert add(walk, page(1, 1)) is None
    assert len(walk.snapshot().pages) == 2


@pytest.mark.parametrize(("rejected", "fits"), [(0, True), (1, True), (2, False)])
def test_a_tenth_of_the_rows_may_be_bad(rejected: int, *, fits: bool) -> None:
    walk = ListingFetch(Limits())
    add(walk, page(1, 10 - rejected, rejected=rejected))
    if fits:
        assert walk.snapshot().rejected == rejected
    else:
        with pytest.raises(SourceError, match="2 of 10 machines do not fit"):
            walk.snapshot()


def test_a_page_of_one_unreadable_row_does_not_end_the_walk() -> None:
    walk = ListingFetch(Limits())
    for number in range(1, 11):
        read = page(number, number, has_next=True)
        add(walk, Page([], True, read.cursor, 1, (clean("env-5"),)) if number == 5 else read)
    add(walk, page(11, 11))
    assert (walk.snapshot().rejected, sorted(walk.snapshot().rejected_ids)) == (1, ["env-5"])


def test_a_row_readable_on_another_page_is_not_named_as_set_aside() -> None:
    walk = ListingFetch(Limits())
    add(walk, Page(page(1, 9).environments, True, "env-9", 1, (clean("env-10"),)))
    add(walk, page(10, 11))
    assert (walk.snapshot().rejected, walk.snapshot().rejected_ids) == (1, frozenset())


def test_a_walk_has_a_most_of_pages_and_of_rows_good_or_bad() -> None:
    walk = ListingFetch(Limits(max_pages=2, max_rows=10))
    add(walk, page(1, 1, has_next=True))
    assert add(walk, page(2, 9, rejected=1)) is None
    with pytest.raises(SourceError, match="more than 1 pages") as caught:
        add(ListingFetch(Limits(max_pages=1)), page(1, 1, has_next=True))
    assert caught.value.failure.cause is Cause.ENDLESS
    with pytest.raises(SourceError, match="more than 10 machines"):
        add(ListingFetch(Limits(max_rows=10)), page(1, 10, rejected=1))


@pytest.mark.parametrize(
    ("last_pages", "pages"), [(None, 200), (1, 21), (2, 22), (10, 30), (11, 33), (50, 150), (100, 200)]
)
def test_a_walk_ends_beyond_three_times_the_pages_of_the_last_good_walk_or_twenty_more(
    last_pages: int | None, pages: int
) -> None:
    walk = ListingFetch(Limits(max_pages=200), last_pages)
    for number in range(1, pages):
        add(walk, page(number, number, has_next=True))
    with pytest.raises(SourceError) as caught:
        add(walk, page(pages, pages, has_next=True))
    assert (caught.value.failure.cause, walk.pages_read) == (Cause.ENDLESS, pages)
    if pages < 200:
        words = f"it goes on after {pages} pages, and the last complete answer had {last_pages}"
        assert caught.value.failure.message == words


def test_a_walk_may_have_twenty_more_pages_than_the_last_one() -> None:
    walk = ListingFetch(Limits(), 1)
    cursors = [add(walk, page(number, number, has_next=number < 21)) for number in range(1, 22)]
    assert cursors[-1] is None
    assert len(walk.snapshot().pages) == 21


def test_after_five_endless_walks_one_is_read_without_a_bound() -> None:
    """A fleet that grew, or a server with smaller pages, must not leave envwatch blind forever.

    The first walk has no bound. Other failures do not count, and end a walk without a bound.
    """
    history = PageHistory()

    def bound_after(*causes: Cause) -> int | None:
        for cause in causes:
            history.note_failed(cause)
        return history.last_pages

    assert (bound_after(), bound_after(Cause.ENDLESS)) == (None, None)
    history.note_complete(7)
    assert bound_after() == 7
    for other in (Cause.UNREACHABLE, Cause.TIMEOUT):
        assert [bound_after(other, Cause.ENDLESS) for _ in range(5)] == [7, 7, 7, 7, None]
        assert bound_after(other) == 7
    assert [bound_after(Cause.ENDLESS) for _ in range(6)] == [7, 7, 7, 7, None, 7]
    history.note_complete(9)
    assert bound_after() == 9


@pytest.mark.parametrize(
    ("per_minute", "last_pages", "burst"), [(3, None, 3), (3, 2, 3), (3, 5, 5), (60, None, 60), (12, 7, 12)]
)
def test_pages_are_spaced_beyond_the_budget_of_a_minute_and_the_length_of_the_last_complete_walk(
    per_minute: int, last_pages: int | None, burst: int
) -> None:
    walk = ListingFetch(Limits(requests_per_minute=per_minute), last_pages)
    for number in range(1, burst):
        add(walk, page(number, number, has_next=True))
        assert walk.pause(0.0) == 0
    add(walk, page(burst, burst, has_next=True))
    assert [walk.pause(since) for since in (0.0, 0.002, 0.005, 1.0)] == pytest.approx([0.005, 0.003, 0, 0])
