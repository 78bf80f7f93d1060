"""A server that answers from a cached listing, like `envwatch serve`: the listing's age, and refusals."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_row, wire_rows
from support.documents import names, page
from support.faulty_server import DEVICE_ROUTE, KEY, Faulty, Reply, faulty_server, says
from support.letta_client_calls import client_of, error_or_none, failure_of

from envwatch.letta.relayed_listing import age_in
from envwatch.model.outcome import Cause, RelayInfo, Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Serving:
    """A fault of `Faulty` that adds the listing's age; None adds nothing."""

    def __init__(self) -> None:
        self.listed_at: float | None = time.monotonic() - 100
        self.headers: dict[str, str | None] = {}
        self.on_page: Callable[[], None] = lambda: None

    def list_anew(self, after_s: float = 0.9) -> None:
        """Publish a new listing; 0.9 s is the shortest interval."""
        self.listed_at = (self.listed_at or 0.0) + after_s

    def __call__(self, reply: Reply) -> Reply:
        self.on_page()
        age = {} if self.listed_at is None else {"Envwatch-Listing-Age": f"{time.monotonic() - self.listed_at:.3f}"}
        return replace(reply, headers={**reply.headers, **age, **self.headers})


@pytest.fixture
def serving() -> Serving:
    return Serving()


@pytest.fixture
async def server(serving: Serving) -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(5)) as faulty:
        faulty.break_every_page(serving)
        faulty.break_devices(serving)
        yield faulty


def served(snapshot: Snapshot) -> RelayInfo:
    assert snapshot.served is not None
    return snapshot.served


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("0", 0.0),
        ("4.213", 4.213),
        ("86400", 86_400.0),
        ("86400.001", None),
        ("-1", None),
        ("+1", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٤", None),
        ("", None),
        ("4, 5", None),
        ("9" * 5000, None),
    ],
)
def test_an_impossible_age_is_ignored(text: str, age: float | None) -> None:
    assert age_in({"Envwatch-Listing-Age": text}) == age


async def test_a_listing_counts_from_the_request_to_upstream(server: Faulty, serving: Serving) -> None:
    async with client_of(server) as client:
        before = time.time() * 1000
        serving.listed_at = time.monotonic() - 40
        snapshot = await client.snapshot()
        after = time.time() * 1000

    assert 40.0 <= served(snapshot).age_s < 41.0 + (after - before) / 1000
    assert all(before - 40_000 - (after - before) - 1 <= page.asked_at <= after - 40_000 for page in snapshot.pages)
    assert snapshot.clock[0].high - snapshot.clock[0].low < 5_000 + (after - before), "the Date is that of the request"


async def test_a_listing_is_a_repeat_until_there_is_a_new_one(server: Faulty, serving: Serving) -> None:
    """No device is asked about for a repeat. A server without the header answers by itself."""
    async with client_of(server) as client:
        assert not served(await client.snapshot()).is_repeat
        server.rows = server.rows[:4]
        assert [served(await client.snapshot()).is_repeat for _ in range(2)] == [True, True]
        assert not any(seen.path.startswith(DEVICE_ROUTE) for seen in server.seen)
        serving.list_anew()
        assert (await client.snapshot()).confirmed_absent == {"env-5"}
        assert served(await client.snapshot()).is_repeat
        serving.listed_at = None
        assert [(await client.snapshot()).served for _ in range(2)] == [None, None]


async def test_a_row_found_by_its_own_request_alone_is_as_old_as_the_listing(server: Faulty, serving: Serving) -> None:
    async with client_of(server) as client:
        serving.listed_at = time.monotonic() - 50
        await client.snapshot()
        server.unlisted, server.rows = server.rows[4:], server.rows[:4]
        serving.listed_at = time.monotonic() - 40
        found = (await client.snapshot()).pages[-1]

    assert [row.id for row in found.environments] == ["env-5"]
    assert time.time() * 1000 - found.asked_at >= 40_000 - 1


async def test_a_walk_overtaken_by_a_new_listing_begins_anew_and_is_of_one_listing(
    server: Faulty, serving: Serving
) -> None:
    new = [wire_row(f"new-{number}") for number in range(5)]

    def overtake() -> None:
        if len(server.seen) == 2:
            serving.list_anew()
            server.rows = new

    serving.on_page = overtake
    async with client_of(server) as client:
        snapshot = await client.snapshot()

    assert [row.id for page in snapshot.pages for row in page.environments] == [row["id"] for row in new]
    assert snapshot.requests == len(server.seen) == 2 + 3 + 1, "one for the server's health"


async def test_a_walk_overtaken_by_every_page_ends_and_counts_from_the_oldest(server: Faulty, serving: Serving) -> None:
    serving.on_page = serving.list_anew
    async with client_of(server) as client:
        snapshot = await client.snapshot()
        requests = len(server.seen)
        again = await client.snapshot()

    assert (len(snapshot.pages), requests) == (3, 2 + 3 + 1)
    assert served(snapshot).age_s >= 100 - 0.9 * 3
    assert not served(again).is_repeat


@pytest.mark.parametrize(
    ("text", "interval"), [("60", timedelta(minutes=1)), ("0", None), ("x", None), ("99999", None)]
)
async def test_the_interval_of_the_server_is_read(
    server: Faulty, serving: Serving, text: str, interval: timedelta | None
) -> None:
    serving.headers = {"Envwatch-Listing-Interval": text}
    async with client_of(server) as client:
        assert served(await client.snapshot()).interval == interval


def refusal(code: str, words: Any = "envwatch serve has had no data for 62 s: nothing listens at up:1") -> str:
    return json.dumps({"error": words, "errorCode": code, "retryable": True})


CODES = sorted(name for name in names(page("viewers.md")) if name.startswith("envwatch_"))


def test_both_sides_have_the_same_codes_on_their_pages() -> None:
    of_acknowledgements = {"envwatch_unsaved"}
    assert {name for name in names(page("serve.md")) if name.startswith("envwatch_")} == {*CODES} | of_acknowledgements


@pytest.mark.parametrize("code", CODES)
async def test_a_server_without_a_listing_says_plainly_why(server: Faulty, code: str) -> None:
    server.break_every_page(says(503, refusal(code), Retry_After="7"))
    async with client_of(server) as client:
        error = await error_or_none(client)

    assert error is not None
    host = server.url.removeprefix("http://")
    assert error.failure.message == f"{host}: envwatch serve has had no data for 62 s: nothing listens at up:1"
    assert (error.failure.cause, error.is_relayed, error.failure.retry_after) == (
        Cause.UNAVAILABLE,
        True,
        timedelta(seconds=7),
    )


@pytest.mark.parametrize(
    "body",
    [
        refusal("other_code"),
        refusal("envwatch_blind", 7),
        refusal("envwatch_blind", ""),
        json.dumps({"error": "down", "errorCode": ["envwatch_blind"]}),
        "[" * 100_000,
        '"envwatch_blind"',
        "",
    ],
)
async def test_any_other_503_is_a_server_in_trouble(server: Faulty, body: str) -> None:
    server.break_every_page(says(503, body))
    async with client_of(server) as client:
        error = await error_or_none(client)

    assert error is not None
    assert not error.is_relayed
    assert "answered 503" in error.failure.message


async def test_no_key_and_no_control_character_comes_back_in_its_words(server: Faulty) -> None:
    server.break_every_page(says(503, refusal("envwatch_blind", f"no\x1b[31m listing, {KEY}\nand more" + "x" * 5_000)))
    async with client_of(server) as client:
        message = (await failure_of(client)).message

    assert KEY not in message
    assert message.isprintable()
    assert len(message) < 300
