"""Marks of rows and acknowledgements: only a server whose health names envwatch is believed, and sent anything."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import wire_row, wire_rows
from support.faulty_server import KEY, Faulty, How, Reply, everything_in, faulty_server, says, sends
from support.letta_client_calls import client_of

from envwatch.model.acks import MOST_ROWS, AckedLoss, AckedRow, AckRequest, AckResult
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from envwatch.letta.client import Client
    from envwatch.model.outcome import Snapshot

HEALTH = "/v1/health"
UUID = clean("0f0e0d0c-0b0a-4908-8706-050403020100")
ACKS = f"/v1/envwatch/acks/{UUID}"
MARK = {"ack": {"by": "ops-1", "at": 5, "note": "on it"}}
REQUEST = AckRequest((AckedLoss(clean("env-2"), 7.0),), clean("disk swap"), 3_600.0)
NO_ACKS = "HOST takes no acknowledgements: does a proxy let only GET through?"
MAYBE_ARRIVED = "if the request arrived all the same, the next poll shows it"
IS_ENVWATCH = says(200, '{"version": "envwatch-2.0.0", "status": "ok"}')
SLOW_S = 1.0
HASTY = Limits(page_size=2, page_deadline=timedelta(seconds=SLOW_S))
"""The health's deadline is a quarter."""


def aged(reply: Reply) -> Reply:
    return replace(reply, headers={**reply.headers, "Envwatch-Listing-Age": "1.000"})


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    """A server with a mark at the second row, and ages, like `envwatch serve`; the health is the platform's."""
    rows = [*wire_rows(4), wire_row("env-5")]
    rows[1]["envwatch"] = MARK
    async with faulty_server(rows) as faulty:
        faulty.break_every_page(aged)
        faulty.break_devices(aged)
        yield faulty


def health_requests(server: Faulty) -> int:
    return sum(seen.path == HEALTH for seen in server.seen)


def sent(server: Faulty) -> list[tuple[str, str]]:
    return [(seen.method, seen.path) for seen in server.seen if seen.method != "GET"]


def authors(snapshot: Snapshot) -> Sequence[str]:
    found = [ack.by for row in snapshot.rows.values() if (ack := shared_ack_of(row)) is not None]
    assert all(snapshot.rows[row.id] is row for page in snapshot.pages for row in page.environments)
    return found


async def test_marks_of_an_envwatch_server_count_and_its_health_is_asked_once(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    async with client_of(server) as client:
        found = [authors(await client.snapshot()) for _ in range(3)]
        assert client.team is client

    assert (found, health_requests(server)) == ([["ops-1"]] * 3, 1)


@pytest.mark.parametrize(
    "health", [says(200, '{"version": "0.16.4"}'), says(200, '{"version": 7}'), says(200, "[["), says(404), says(302)]
)
async def test_marks_of_any_other_server_are_dropped_and_its_health_is_asked_once(
    server: Faulty, health: Callable[[Reply], Reply]
) -> None:
    server.break_health(health)
    async with client_of(server) as client:
        snapshots = [await client.snapshot() for _ in range(2)]
        assert client.team is None

    assert [authors(each) for each in snapshots] == [[], []]
    assert [*snapshots[0].rows] == [row["id"] for row in server.rows]
    assert health_requests(server) == 1


@pytest.mark.parametrize("name", ["envwatch", "\\u0065nvwatch"])
async def test_no_spelling_of_the_marks_passes_and_other_unknown_fields_do(server: Faulty, name: str) -> None:
    def respell(reply: Reply) -> Reply:
        return replace(reply, body=reply.body.replace(b'"envwatch"', b'"%b"' % name.encode()))

    server.rows[1]["tier"] = "gold"  # type: ignore[index]  # the fixture's own list
    server.break_every_page(respell)
    async with client_of(server) as client:
        snapshot = await client.snapshot()

    assert (authors(snapshot), snapshot.rows[clean("env-2")].unknown) == ([], {"tier": "gold"})


async def test_marks_wait_for_a_health_without_an_answer_and_the_listing_does_not_fail(server: Faulty) -> None:
    async with client_of(server, HASTY) as client:
        server.break_health(lambda reply: replace(reply, latency=SLOW_S))
        assert authors(await client.snapshot()) == []
        server.break_health(says(503))
        assert authors(await client.snapshot()) == []
        assert client.team is None
        assert health_requests(server) == 2


async def test_a_listing_without_an_age_ends_the_team_and_a_failed_one_does_not(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    async with client_of(server) as client:
        await client.snapshot()
        server.break_every_page(says(503))
        with pytest.raises(SourceError):
            await client.snapshot()
        assert client.team is client
        server.break_every_page()
        await client.snapshot()
        assert client.team is None


async def test_a_listing_without_marks_and_age_asks_for_no_health() -> None:
    async with faulty_server(wire_rows(5)) as server, client_of(server) as client:
        server.break_health(IS_ENVWATCH)
        await client.snapshot()
        assert (client.team, health_requests(server)) == (None, 0)


@pytest.mark.parametrize(("health", "found"), [(IS_ENVWATCH, ["ops-1"]), (says(404), [])])
async def test_a_row_found_by_its_own_request_keeps_marks_by_the_same_rule(
    server: Faulty, health: Callable[[Reply], Reply], found: list[str]
) -> None:
    server.break_health(health)
    marked, server.rows = server.rows[1], [each for each in server.rows if "envwatch" not in each]
    server.rows = [*server.rows, {**marked, "envwatch": {}}]
    async with client_of(server) as client:
        await client.snapshot()
        server.rows, server.unlisted = server.rows[:-1], [marked]
        server.break_every_page(lambda reply: replace(reply, headers={"Envwatch-Listing-Age": "0.001"}))
        server.break_devices()
        snapshot = await client.snapshot()

    assert [row.id for row in snapshot.pages[-1].environments] == ["env-2"]
    assert authors(snapshot) == found


async def test_an_acknowledgement_and_its_end_are_sent_with_the_key(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    rows = [{"id": "env-2", "result": "already", "by": "ann\u001b[31m", "at": 9}, {"id": "env-3", "result": "new word"}]
    server.answer_acks(says(200, json.dumps({"rows": rows})))
    async with client_of(server) as client:
        answer = await client.acknowledge(UUID, REQUEST)
        await client.end(UUID)

    assert answer == (AckedRow(clean("env-2"), AckResult.ALREADY, clean("ann\u001b[31m"), 9.0),)
    put, delete = server.seen[-2:]
    assert (put.method, put.path, delete.method, delete.path, delete.body) == ("PUT", ACKS, "DELETE", ACKS, b"")
    assert AckRequest.from_json(json.loads(put.body)) == REQUEST
    assert put.headers["authorization"] == delete.headers["authorization"] == f"Bearer {KEY}"
    assert (put.headers["content-type"], put.headers["content-length"]) == ("application/json", str(len(put.body)))


async def test_another_note_is_sent_with_the_key_and_a_refusal_is_named(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    server.answer_acks(says(200, '{"rows": []}'))
    refusals = ((404, Cause.REFUSED, "knows no such acknowledgement"), (403, Cause.FORBIDDEN, "may not acknowledge"))
    async with client_of(server) as client:
        await client.change_note(UUID, clean("café"))
        for status, cause, message in refusals:
            server.answer_acks(says(status))
            with pytest.raises(SourceError, match=message) as raised:
                await client.change_note(UUID, clean("eta"))
            assert raised.value.failure.cause is cause

    patch = next(seen for seen in server.seen if seen.method == "PATCH")
    assert sent(server) == [("PATCH", ACKS)] * 3
    assert json.loads(patch.body) == {"note": "café"}
    assert (patch.headers["authorization"], patch.headers["content-type"]) == (f"Bearer {KEY}", "application/json")


@pytest.mark.parametrize(("rights", "may_ack"), [("read", False), (" read ", False), ("", True), (None, True)])
async def test_a_listing_tells_whether_the_token_may_acknowledge(
    server: Faulty, rights: str | None, *, may_ack: bool
) -> None:
    server.break_health(IS_ENVWATCH)
    rights_header = {} if rights is None else {"Envwatch-Rights": rights}
    server.break_every_page(lambda reply: replace(reply, headers={**aged(reply).headers, **rights_header}))
    async with client_of(server) as client:
        assert client.may_ack, "not known before the first listing"
        snapshot = await client.snapshot()
        assert snapshot.served is not None
        assert (snapshot.served.may_ack, client.may_ack) == (may_ack, may_ack)
        server.break_every_page(aged)
        await client.snapshot()
        assert client.may_ack, "the newest listing tells"


@pytest.mark.parametrize("health", [says(200, '{"version": "0.16.4"}'), says(404), says(500)])
async def test_nothing_is_sent_to_another_server(server: Faulty, health: Callable[[Reply], Reply]) -> None:
    server.break_health(health)
    server.answer_acks(says(200, "{}"))
    async with client_of(server) as client:
        for is_listed in (False, True):
            if is_listed:
                await client.snapshot()
            with pytest.raises(SourceError, match="is not surely an envwatch server: nothing was sent"):
                await client.acknowledge(UUID, REQUEST)
            with pytest.raises(SourceError, match="nothing was sent"):
                await client.end(UUID)

    assert sent(server) == []


async def failure_of(client: Client, *, end: bool = False) -> Failure:
    with pytest.raises(SourceError) as raised:
        await (client.end(UUID) if end else client.acknowledge(UUID, REQUEST))
    assert KEY not in everything_in(raised.value)
    return raised.value.failure


@pytest.mark.parametrize(
    ("answer", "cause", "message"),
    [
        (
            says(401, '{"message": "Unauthorized"}'),
            Cause.UNAUTHORIZED,
            "Is the key from a test right, and still valid?",
        ),
        (says(403), Cause.FORBIDDEN, "the token of this machine may not acknowledge: ask for the right `ack` at HOST"),
        (says(404), Cause.REFUSED, NO_ACKS),
        (says(405), Cause.REFUSED, NO_ACKS),
        (says(409), Cause.REFUSED, "HOST knows another acknowledgement under this id: try again"),
        (says(413), Cause.TOO_LARGE, "the request is too large for HOST: acknowledge fewer machines at once"),
        (says(415, '{"error": "json only"}'), Cause.REFUSED, "(json only): update envwatch here or there"),
        (says(422, '{"error": "no \x1b rows"}'), Cause.REFUSED, "update envwatch here or there"),
        (says(429, Retry_After="7"), Cause.RATE_LIMITED, "from this token for now: try again in 7 s"),
        (says(429), Cause.RATE_LIMITED, "try again in a minute"),
        (says(500, '{"error": "internal error"}'), Cause.SERVER, "HOST answered 500: internal error: try again"),
        (
            says(503, '{"error": "no space on disk", "errorCode": "envwatch_unsaved"}'),
            Cause.UNAVAILABLE,
            "HOST answered 503: no space on disk (envwatch_unsaved): try again",
        ),
        (
            says(302, Location="http://other.example/"),
            Cause.REDIRECTED,
            "HOST answered with a redirect to other",
        ),
        (sends(b"nonsense\r\n\r\n"), Cause.GARBLED, MAYBE_ARRIVED),
        (sends(b""), Cause.UNREACHABLE, MAYBE_ARRIVED),
    ],
)
async def test_each_refusal_says_what_to_do(
    server: Faulty, answer: Callable[[Reply], Reply], cause: Cause, message: str
) -> None:
    server.break_health(IS_ENVWATCH)
    server.answer_acks(answer)
    async with client_of(server, key_origin="a test") as client:
        failure = await failure_of(client)

    assert failure.cause is cause
    assert message.replace("HOST", server.url.removeprefix("http://")) in failure.message
    assert failure.message.isprintable()
    assert set(sent(server)) == {("PUT", ACKS)}


async def test_a_slow_answer_leaves_open_whether_the_server_knows(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    server.answer_acks(lambda reply: replace(reply, latency=1.5 * SLOW_S))
    async with client_of(server, HASTY) as client:
        failure = await failure_of(client)

    assert (failure.cause, failure.message) == (Cause.TIMEOUT, f"no answer within 1 s; {MAYBE_ARRIVED}")


@pytest.mark.parametrize("how", [How.RESET, How.CLOSE])
async def test_an_acknowledgement_is_sent_again_if_the_idle_connection_is_dead(server: Faulty, how: How) -> None:
    server.break_health(IS_ENVWATCH)
    server.answer_acks(says(200, "{}"))
    async with client_of(server) as client:
        await client.snapshot()
        server.stop_at(1, how)
        assert await client.acknowledge(UUID, REQUEST) == ()

    assert sent(server) == [("PUT", ACKS)] * 2
    assert len({seen.body for seen in server.seen[-2:]}) == 1


async def test_an_unknown_end_and_too_many_rows_are_refused_in_plain_words(server: Faulty) -> None:
    server.break_health(IS_ENVWATCH)
    losses = tuple(AckedLoss(clean(f"env-{number:0100}"), 1.0) for number in range(MOST_ROWS))
    async with client_of(server) as client:
        with pytest.raises(SourceError, match="acknowledge fewer at once"):
            await client.acknowledge(UUID, AckRequest(losses))
        assert sent(server) == []
        failure = await failure_of(client, end=True)

    assert failure.cause is Cause.REFUSED
    assert "knows no such acknowledgement: it may have ended" in failure.message


async def test_no_connection_is_named() -> None:
    async with faulty_server(wire_rows(2)) as server:
        server.break_health(IS_ENVWATCH)
        server.break_every_page(aged)
        client = client_of(server)
        await client.snapshot()
        await client.aclose()
    failure = await failure_of(client)
    await client.aclose()

    assert (failure.cause, failure.message[:18]) == (Cause.UNREACHABLE, "nothing listens at")
