"""All wrong answers of a server or a proxy: one plain cause each, and no further harm."""

from __future__ import annotations

import errno
import gzip
import json
import socket
import ssl
import tracemalloc
import zlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.builders import page_bytes, wire_row, wire_rows
from support.faulty_server import KEY, Fault, Faulty, How, Reply, Stop, Where, edits, faulty_server, says, sends
from support.letta_client_calls import client_of, failure_of

from envwatch.letta.client import Client
from envwatch.letta.errors import FAILURES, Endpoint, explain_failure
from envwatch.letta.http import httpx
from envwatch.model.limits import PAGE_BYTES, Limits
from envwatch.model.outcome import Cause
from envwatch.model.redactor import Secret
from envwatch.model.text import clean

WRONG_URL = "wrong LETTA_BASE_URL?"
SELF_HOSTED = "A self-hosted Letta server has no such route: environments are a feature of Letta's cloud"
HTML = "<!DOCTYPE html>\n<html><head><title>502 Bad\n Gateway</title></head><body><h1>nginx</h1></body></html>"
GOOD = page_bytes([wire_row("env-x")])


def body(content: bytes, **headers: str) -> Fault:
    return lambda reply: replace(reply, body=content, headers=headers)


def field(name: str, value: Any) -> Fault:
    return edits(lambda page: page.update({name: value}))


def number(text: str) -> Fault:
    return lambda reply: replace(
        reply, body=reply.body.replace(b'"lastHeartbeat": ', f'"x": {text}, "y": '.encode(), 1)
    )


def spoilt(page: dict[str, Any]) -> None:
    page["connections"] = [{"id": row["id"]} for row in page["connections"]]


FAULTS: dict[str, tuple[Cause, list[Fault]]] = {
    **{
        f"{word} {place}": (Cause.TIMEOUT if how is How.HANG else Cause.UNREACHABLE, [Stop(where, how)])
        for place, where in (
            ("on arrival", Where.ACCEPT),
            ("when asked", Where.REQUEST),
            ("within the head", Where.HEAD),
            ("within the body", Where.BODY),
        )
        for word, how in (("reset", How.RESET), ("closed", How.CLOSE), ("silent", How.HANG))
    },
    "silent after the head": (Cause.TIMEOUT, [Stop(Where.HEADED, How.HANG)]),
    "closed within chunks": (
        Cause.UNREACHABLE,
        [lambda reply: replace(reply, chunked=True), Stop(Where.BODY, How.CLOSE)],
    ),
    "slow": (Cause.TIMEOUT, [lambda reply: replace(reply, latency=1)]),
    "moved": (Cause.REDIRECTED, [says(302, Location="https://evil.example/v1/environments")]),
    "moved to nonsense": (Cause.REDIRECTED, [says(308, Location="http://[::1/\x1b]52;")]),
    "moved nowhere": (Cause.REDIRECTED, [says(304)]),
    "401": (Cause.UNAUTHORIZED, [says(401, '{"message":"Unauthorized"}')]),
    "403": (Cause.FORBIDDEN, [says(403, '{"error":"only available for pro or enterprise"}')]),
    "404": (Cause.NO_SUCH_ROUTE, [says(404, '{"detail":"Not Found"}')]),
    "418": (Cause.REFUSED, [says(418, "teapot")]),
    "429": (Cause.RATE_LIMITED, [says(429, '{"error":"Rate limit exceeded"}', Retry_After="7")]),
    "500": (Cause.SERVER, [says(500)]),
    "502": (Cause.SERVER, [says(502, HTML, Content_Type="text/html")]),
    "503": (Cause.UNAVAILABLE, [says(503, '{"errorCode":"cloud_api_shutting_down","retryable":true}')]),
    "504 with broken gzip": (Cause.SERVER, [says(504, b"\x1f\x8bgarbage", Content_Encoding="gzip")]),
    "status 999": (Cause.SERVER, [says(999)]),
    "204": (Cause.GARBLED, [says(204, Content_Length=None, Content_Encoding="")]),
    "206": (Cause.GARBLED, [says(206, GOOD)]),
    "HTML": (Cause.GARBLED, [says(200, HTML, Content_Type="text/html")]),
    "garbage bytes": (Cause.GARBLED, [sends(bytes(range(256)) * 8)]),
    "TLS to a plain port": (Cause.GARBLED, [sends(b"\x15\x03\x01\x00\x02\x02\x46")]),
    "another protocol": (Cause.GARBLED, [sends(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")]),
    "no HTTP version": (Cause.GARBLED, [sends(b"HTTP/x.y 200 OK\r\n\r\n")]),
    "bad header": (Cause.GARBLED, [sends(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")]),
    "two lengths": (Cause.GARBLED, [sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}")]),
    "endless head": (Cause.GARBLED, [sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000)]),
    "bad chunk": (Cause.GARBLED, [sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}")]),
    "empty body": (Cause.GARBLED, [body(b"")]),
    "no JSON": (Cause.GARBLED, [body(b'{"connections": [')]),
    "no UTF-8": (Cause.GARBLED, [body(b'{"connections": ["\xff"], "hasNextPage": false}')]),
    "UTF-16": (Cause.GARBLED, [body(GOOD.decode().encode("utf-16"))]),
    "NaN": (Cause.GARBLED, [number("NaN")]),
    "infinity": (Cause.GARBLED, [number("-Infinity")]),
    "1e999": (Cause.GARBLED, [number("1e999")]),
    "5,000 digits": (Cause.GARBLED, [number("9" * 5_000)]),
    "deep nesting": (Cause.GARBLED, [body(b"[" * 100_000)]),
    "deep nesting in a row": (Cause.GARBLED, [number("[" * 5_000 + "]" * 5_000)]),
    "no object": (Cause.GARBLED, [body(b"[]")]),
    "null": (Cause.GARBLED, [body(b"null")]),
    "no connections": (Cause.GARBLED, [field("connections", None)]),
    "hasNextPage as text": (Cause.GARBLED, [field("hasNextPage", "false")]),
    "hasNextPage as null": (Cause.GARBLED, [field("hasNextPage", None)]),
    "rows that are no objects": (Cause.GARBLED, [field("connections", ["env-1", 2, None])]),
    "rows without fields": (Cause.GARBLED, [edits(spoilt)]),
    "large body": (Cause.TOO_LARGE, [body(b" " * (PAGE_BYTES + 1), **{"Content-Encoding": "identity"})]),
    "gzip bomb": (Cause.TOO_LARGE, [body(b" " * (16 << 20))]),
    "brotli": (Cause.GARBLED, [body(GOOD, **{"Content-Encoding": "br"})]),
    "deflate": (Cause.GARBLED, [body(GOOD, **{"Content-Encoding": "deflate"})]),
    "gzip twice": (Cause.GARBLED, [body(GOOD, **{"Content-Encoding": "gzip, gzip"})]),
    "no gzip": (Cause.GARBLED, [body(GOOD, **{"Content-Encoding": "gzip"})]),
    "half of a gzip": (Cause.GARBLED, [body(gzip.compress(GOOD)[:-20], **{"Content-Encoding": "gzip"})]),
    "gzip without its end": (Cause.GARBLED, [body(gzip.compress(GOOD)[:-4], **{"Content-Encoding": "gzip"})]),
    "gzip with a wrong sum": (
        Cause.GARBLED,
        [body(gzip.compress(GOOD)[:-8] + b"12345678", **{"Content-Encoding": "gzip"})],
    ),
    "gzip and more": (Cause.GARBLED, [body(gzip.compress(GOOD) + b"more", **{"Content-Encoding": "gzip"})]),
    "empty page that goes on": (Cause.ENDLESS, [edits(lambda page: page.update(connections=[], hasNextPage=True))]),
    "a cursor that cannot be sent": (
        Cause.GARBLED,
        [edits(lambda page: page.update(connections=[*page["connections"], {"id": "x" * 70_000}], hasNextPage=True))],
    ),
}


async def message_of(*faults: Fault) -> str:
    async with faulty_server([]) as server, client_of(server, Limits()) as client:
        server.break_page(0, *faults)
        return (await failure_of(client)).message.replace(server.url.removeprefix("http://"), "HOST")


@pytest.mark.parametrize(("fault", "page"), [(fault, number % 3) for number, fault in enumerate(FAULTS)])
async def test_a_fault_is_one_failure_with_its_cause_and_nothing_more(fault: str, page: int) -> None:
    """Faults break the first, the middle and the last page in turn."""
    cause, faults = FAULTS[fault]
    deadline = timedelta(seconds=0.5 if cause is Cause.TIMEOUT else 10)
    limits = Limits(page_size=2, page_deadline=deadline)
    async with faulty_server(wire_rows(6)) as server, client_of(server, limits) as client:
        server.break_page(page, *faults)
        error = await failure_of(client)
        assert error.cause is cause
        assert error.pages_read in range(page, 4)
        assert len(error.message) < 400
        assert error.message.isprintable()
        server.heal()
        assert sum(len(read.environments) for read in (await client.snapshot()).pages) == 6
        assert {seen.headers["host"] for seen in server.seen} == {server.url.removeprefix("http://")}


async def test_a_bomb_is_not_inflated_beyond_its_bound() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    async with faulty_server([]) as server, client_of(server, Limits()) as client:
        server.break_page(0, body(bomb, **{"Content-Encoding": "gzip"}))
        tracemalloc.start()
        try:
            assert (await failure_of(client)).cause is Cause.TOO_LARGE
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 3 * PAGE_BYTES


@pytest.mark.parametrize(
    ("rows", "leads_to"),
    [
        ([wire_row("env-9"), wire_row("env-2")], "page 2 leads back to an earlier one"),
        ([wire_row("env-1"), wire_row("env-2")], "page 2 leads back to an earlier one"),
        ([wire_row("env-2"), wire_row("env-1")], "page 2 brought nothing new"),
        ([*wire_rows(2)[::-1] * 10, {}], "page 2 brought nothing new"),
        ([{}], "1 of 3 machines do not fit what is known of the API"),
        ([*wire_rows(22)[2:], wire_row("")], "page 2 promises another page, but is empty"),
        ([], "page 2 promises another page, but is empty"),
    ],
)
async def test_a_listing_without_an_end_is_abandoned(rows: list[Any], leads_to: str) -> None:
    async with faulty_server(wire_rows(6)) as server, client_of(server, Limits(page_size=2)) as client:
        server.break_page(1, edits(lambda page: page.update(connections=rows)))
        error = await failure_of(client)
        assert error.message == leads_to
        assert len(server.seen) == 2


async def test_a_page_of_one_new_unfit_row_is_no_reason_to_stop() -> None:
    async with faulty_server(wire_rows(30)) as server, client_of(server, Limits(page_size=10)) as client:
        server.break_page(1, edits(lambda page: page.update(connections=[{"id": "env-20", "x": "and no row"}])))
        snapshot = await client.snapshot()
    assert (len(snapshot.pages), snapshot.rejected, sorted(snapshot.rejected_ids)) == (3, 1, ["env-20"])


async def test_an_endless_listing_after_a_complete_one_is_abandoned_after_twenty_more_pages() -> None:
    invented = iter(range(1_000))
    more = edits(lambda page: page.update(connections=[wire_row(f"new-{next(invented)}")], hasNextPage=True))
    async with faulty_server(wire_rows(3)) as server, client_of(server, Limits(page_size=1)) as client:
        await client.snapshot()
        server.break_every_page(more)
        server.seen.clear()
        error = await failure_of(client)
        assert (error.cause, error.pages_read, len(server.seen)) == (Cause.ENDLESS, 23, 23)
        server.heal()
        assert len((await client.snapshot()).pages) == 3


async def test_pages_beyond_the_budget_of_a_minute_are_requested_five_milliseconds_apart() -> None:
    now, waits = 0.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waits.append(seconds)

    limits = Limits(page_size=1, requests_per_minute=10)
    async with faulty_server(wire_rows(30)) as server:
        client = Client(
            base_url=server.url, key=Secret(KEY), limits=limits, environ={}, monotonic=lambda: now, sleep=sleep
        )
        async with client:
            await client.snapshot()
            assert waits == pytest.approx([0.005] * 20)
            waits.clear()
            await client.snapshot()
            assert waits == []


async def test_an_endless_first_listing_is_ended_by_its_deadline_at_little_cost() -> None:
    """In a fifth of a second: a page every 5 ms and the burst; a busy machine requests fewer."""
    invented = iter(range(10_000))
    more = edits(lambda page: page.update(connections=[wire_row(f"new-{next(invented)}")], hasNextPage=True))
    limits = Limits(page_size=1, requests_per_minute=5, walk_deadline=timedelta(seconds=0.2))
    async with faulty_server([]) as server, client_of(server, limits) as client:
        server.break_every_page(more)
        error = await failure_of(client)
        assert error.cause is Cause.TIMEOUT
        assert len(server.seen) <= 5 + 40 + 1


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (302, "", {"Location": "https://User:pw@Evil.example:444/x"}, f"redirect to evil.example:444: {WRONG_URL}"),
        (302, "", {"Location": "/login?next=%1b"}, f"redirect to HOST/login: {WRONG_URL}"),
        (302, "", {}, f"redirect to nowhere: {WRONG_URL}"),
        (
            401,
            '{"message":"Unauthorized"}',
            {},
            "401: Unauthorized. Is the key from LETTA_API_KEY right, and still valid?",
        ),
        (403, '{"error":"for enterprise"}', {}, "403: for enterprise"),
        (404, '{"detail":"Not Found"}', {}, f"404: Not Found. {SELF_HOSTED}"),
        (404, '{"error":"the base URL must end with /a"}', {}, "404: the base URL must end with /a"),
        (429, '{"error":"Rate limit exceeded","errorCode":"rps"}', {}, "429: Rate limit exceeded (rps)"),
        (503, '{"errorCode":"shutting_down","retryable":true}', {}, "503: shutting_down"),
        (502, HTML, {"Content_Type": "text/html"}, "502: a web page, “502 Bad Gateway”"),
        (502, HTML, {}, "502: a web page, “502 Bad Gateway”"),
        (504, "<html></html>", {}, "504: a web page"),
        (500, "", {}, "500: Internal Server Error"),
        (599, "", {}, "599"),
        (500, " a\r\n\x1b]0;b\x07 ", {}, r"500: a \x1b]0;b\x07"),
        (500, "x" * 300, {}, f"500: {'x' * 199}…"),
        (500, '{"message": 1, "error": ""}', {}, '500: {"message": 1, "error": ""}'),
        (200, HTML, {}, "a web page, “502 Bad Gateway”: wrong LETTA_BASE_URL, or a proxy's login page?"),
    ],
)
async def test_an_error_quotes_the_server_and_adds_advice(
    status: int, body: str, headers: dict[str, str], message: str
) -> None:
    text = await message_of(says(status, body, **headers))
    assert text in {f"HOST answered {message}", f"HOST answered with {message}", f"HOST answered with a {message}"}


@pytest.mark.parametrize(
    "fault",
    [
        says(401, json.dumps({"message": f"no such key: {KEY}"})),
        says(403, json.dumps({"error": "no", "errorCode": KEY})),
        says(500, f"{'x' * 180} {KEY}"),
        says(500, f"<title>{KEY}</title>", Content_Type="text/html"),
        says(302, Location=f"https://evil.example/?{KEY}"),
        says(302, Location=f"https://{KEY}.example/"),
        says(302, Location=f"http://[{KEY}"),
        says(200, "{}", Content_Encoding=KEY),
        says(200, f'{{"connections": {KEY}'),
        says(429, "no", Retry_After=KEY),
        says(200, f"<title>{KEY}</title>"),
    ],
)
async def test_no_error_quotes_a_repeated_key(fault: Fault) -> None:
    assert KEY[:12] not in await message_of(fault)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "600"}, 600),
        ({"Retry-After": "601"}, 600),
        ({"Retry-After": "9" * 5_000}, 600),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 30),
        ({"Retry-After": "Tue, 14 Nov 2023 23:13:20 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 600),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:10 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT", "Date": None}, 20),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_read_as_seconds_or_by_the_servers_clock(
    status: int, headers: dict[str, str | None], seconds: float | None
) -> None:
    wall = 1_700_000_010_000.0  # ten seconds after the date above
    async with faulty_server([]) as server:
        client = Client(base_url=server.url, key=Secret(KEY), limits=Limits(), wall=lambda: wall, environ={})
        async with client:
            server.break_page(0, lambda _: Reply(status=status, headers=headers))
            error = await failure_of(client)
    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))


async def test_nothing_listens() -> None:
    async with client_of(Faulty([]), base_url="http://127.0.0.1:1") as client:
        error = await failure_of(client)
    assert error.cause is Cause.UNREACHABLE
    assert error.message == "nothing listens at 127.0.0.1:1: is the address right, and the server up?"


# Failures no local server can cause

DIRECT = Endpoint(clean("api.letta.com"), None, Secret(KEY), clean("a test"))
BEHIND_A_PROXY = Endpoint(clean("api.letta.com"), clean("proxy:3128"), Secret(KEY), clean("a test"))


def connect_error(*reasons: OSError) -> httpx.ConnectError:
    """Return a failed connection as httpx reports it: the reasons are nested, one for each address."""
    error = httpx.ConnectError("All connection attempts failed")
    error.__context__ = OSError("All connection attempts failed")
    error.__context__.__cause__ = ExceptionGroup("multiple", reasons) if len(reasons) > 1 else reasons[0]
    return error


def refused_certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


UNREACHED = OSError(errno.ENETUNREACH, "unreachable")
UNKNOWN_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
OLD_TLS = ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version")
UNKNOWN_ISSUER = refused_certificate(20, "unable to get local issuer certificate")
NO_TLS = "no TLS with HOST (no reason given): is that an https port?"
COMPANY = "is from an unknown authority: name your company's file in SSL_CERT_FILE"


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (httpx.ConnectTimeout(""), Cause.TIMEOUT, "no connection to HOST within 5 s"),
        (httpx.ReadTimeout(""), Cause.TIMEOUT, "HOST was silent for 10 s"),
        (httpx.PoolTimeout(""), Cause.TIMEOUT, "HOST was silent for 10 s"),
        (httpx.ReadError(""), Cause.UNREACHABLE, "HOST broke the connection"),
        (httpx.WriteError(""), Cause.UNREACHABLE, "HOST broke the connection"),
        (httpx.ConnectError(""), Cause.UNREACHABLE, "no connection to HOST"),
        (
            connect_error(UNKNOWN_NAME),
            Cause.UNREACHABLE,
            "no address is known for HOST: is the name right, and DNS up?",
        ),
        (connect_error(UNREACHED, UNREACHED), Cause.UNREACHABLE, "no way to HOST: is this machine's network up?"),
        (connect_error(OLD_TLS), Cause.TLS, NO_TLS),
        (connect_error(UNKNOWN_ISSUER), Cause.TLS, f"the certificate of HOST {COMPANY}"),
        (
            connect_error(refused_certificate(23, "certificate revoked\x1b")),
            Cause.TLS,
            r"the certificate of HOST is refused: certificate revoked\x1b",
        ),
        (ssl.SSLError(1, "bad record mac"), Cause.TLS, NO_TLS),
        (zlib.error(""), Cause.GARBLED, "the answer of HOST is damaged: its gzip data cannot be inflated"),
        (RecursionError(), Cause.GARBLED, "the answer of HOST cannot be decoded (RecursionError)"),
        (MemoryError(), Cause.GARBLED, "the answer of HOST cannot be decoded (MemoryError)"),
        (OverflowError(), Cause.GARBLED, "the answer of HOST cannot be decoded (OverflowError)"),
    ],
)
def test_a_failure_has_a_plain_message(error: Exception, cause: Cause, message: str) -> None:
    assert isinstance(error, FAILURES)
    found = explain_failure(error, DIRECT)
    assert (found.failure.cause, found.failure.message) == (cause, message.replace("HOST", "api.letta.com"))
    assert found.__cause__ is found.__context__ is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ConnectTimeout(""), "no connection to the proxy proxy:3128 within 5 s"),
        (httpx.ConnectError(""), "no connection to the proxy proxy:3128"),
        (httpx.ProxyError("407 Authentication Required"), "the proxy proxy:3128 refused: 407 Authentication Required"),
        (httpx.ReadError(""), "api.letta.com broke the connection"),
    ],
)
def test_a_proxy_is_blamed_for_failures_on_the_way_to_the_proxy(error: Exception, message: str) -> None:
    assert explain_failure(error, BEHIND_A_PROXY).failure.message == message
