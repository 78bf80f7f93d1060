"""Requests over real connections: paths, tokens, refusals, metrics; acknowledgements with rights, bodies and limits."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import environment
from support.demo_client import Client
from support.serving import OTHER, TOKEN, WRONG, Serving, ends, put_forward, rows_in, serving, tokens_of, until

from envwatch.model.acks import REQUEST_BYTES, AckedLoss, AckRequest
from envwatch.model.text import clean
from envwatch.serve.app import Act
from envwatch.serve.listening import Certificate
from envwatch.serve.server import HEAD_S
from envwatch.serve.tokens import ACKS, GUESSES, Viewer

if TYPE_CHECKING:
    from support.demo_client import Answer


LISTING = "/v1/environments"
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"
JSON = {"Content-Type": "application/json"}


def test_a_token_opens_the_listing_and_a_row_and_no_other_thing_does() -> None:
    with serving() as served:
        assert rows_in(served.ask()) == ["env-1", "env-2"]
        assert rows_in(served.ask(f"{LISTING}?limit=1&after=env-1", OTHER)) == ["env-2"]
        assert served.ask(f"{LISTING}/device-of-env-2").json["id"] == "env-2"
        for token in (None, WRONG, "", TOKEN[:-1], f"{TOKEN}0"):
            refused = served.ask(token=token)
            assert (refused.status, refused.body) == (401, b'{"message":"Unauthorized"}')
            assert refused.headers["Connection"] == "close"
        assert served.ask(f"{LISTING}/device-of-env-2", WRONG).status == 401


def test_other_paths_do_not_exist_and_health_needs_no_token() -> None:
    with serving() as served:
        for path in ("/", "/v1", "/v1/agents", f"{LISTING}/a/b", "/v1%2Fenvironments", "//v1/environments"):
            missing = served.ask(path)
            assert (missing.status, missing.json) == (404, {"detail": "Not Found"}), path
        assert served.ask("/profiles/office/v1/environments").body == served.ask().body
        for path in ("/v1/health", "/profiles/office/v1/health"):
            answer = served.ask(path, None)
            assert (answer.status, answer.json["status"]) == (200, "ok")


def test_every_answer_is_dated_by_the_clock_of_upstream_and_names_no_server() -> None:
    with serving() as served:
        asked = [served.ask(), served.ask(token=None), served.ask("/v1/health", None), served.ask("/nope")]
        assert {answer.headers["Date"] for answer in asked} == {asked[0].headers["Date"]}
        assert asked[0].headers["Date"].endswith(" GMT")
        assert not any("Server" in answer.headers for answer in asked)


def test_a_walk_is_recognized_by_its_connection_or_else_by_its_token() -> None:
    with serving() as served, Client(served.url, TOKEN) as first, Client(served.url, TOKEN) as second:
        orders = ["env-1 env-2 env-3 env-4", "env-4 env-1 env-3 env-2", "env-1 env-2 env-4 env-3"]
        for viewer, order in zip((first, second, None), orders, strict=True):
            served.show([environment(id_) for id_ in order.split()])
            if viewer is not None:
                viewer.ask(f"{LISTING}?limit={1 + (viewer is second)}")
        after = f"{LISTING}?limit=1&after=env-1"
        assert [rows_in(client.ask(after)) for client in (first, second)] == [["env-2"], ["env-3"]]
        assert rows_in(served.ask(after)) == ["env-3"]
        assert rows_in(served.ask(after, OTHER)) == ["env-2"]


def test_an_unchanged_page_is_not_sent_again() -> None:
    with serving() as served, Client(served.url, TOKEN) as client:
        first = client.ask(LISTING)
        second = client.ask(LISTING, **{"If-None-Match": first.headers["ETag"]})
        assert (second.status, second.body, second.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert client.ask(LISTING).body == first.body  # on the same connection


# Tokens.


def test_wrong_tokens_of_an_address_are_limited_and_right_ones_still_work() -> None:
    """No header makes guesses come from elsewhere."""
    with serving() as served:
        for number in range(GUESSES):
            elsewhere = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
            assert served.ask(token=WRONG, **elsewhere).status == 401
        limited = served.ask(token=WRONG, **{"X-Forwarded-For": "192.0.2.99"})
        assert (limited.status, limited.headers["Retry-After"]) == (429, "60")
        assert served.ask().status == 200
        assert served.ask(token=None).status == 429
        assert served.notes == ["too many wrong tokens from 127.0.0.1: the next ones must wait"]
        put_forward(served, 60)
        assert served.ask(token=WRONG).status == 401


def test_tokens_taken_away_stop_working_on_open_connections() -> None:
    with serving() as served, Client(served.url, TOKEN) as client:
        assert client.ask(LISTING).status == 200
        served.tokens["office"] = tokens_of(ben=OTHER)
        assert client.ask(LISTING).status == 401


def test_requests_are_counted_by_status_and_token() -> None:
    with serving() as served:
        for token in (TOKEN, TOKEN, OTHER, WRONG):
            served.ask(token=token)
        line = served.app.take_counts()
        assert line == "answered 3 x 200, 1 x 401; requests by token: ann 2, ben 1"
        assert served.app.take_counts() == "answered nothing; requests by token: none"


# Several profiles.


def test_several_profiles_have_paths_named_by_the_root_to_holders_of_a_token() -> None:
    with serving("office", "home") as served:
        served.tokens["home"] = tokens_of(ben=OTHER)
        assert rows_in(served.ask("/profiles/office/v1/environments")) == ["env-1", "env-2"]
        assert served.ask("/profiles/home/v1/environments").status == 401
        assert served.ask("/profiles/home/v1/environments", OTHER).status == 200
        for path in (LISTING, f"{LISTING}/x", "/profiles/nope/v1/environments"):
            assert served.ask(path, WRONG).status == 401
            missing = served.ask(path)
            assert (missing.status, missing.json["error"]) == (404, "the base URL must end with /profiles/office")
            both = served.ask(path, OTHER).json["error"]
            assert both == "the base URL must end with /profiles/office or /profiles/home"
        assert served.ask("/profiles/office").status == 404
        assert served.ask("/profiles/office/v1/agents").status == 404


# Blindness.


def test_a_blind_server_answers_503_with_the_cause_and_a_stopping_one_says_so() -> None:
    with serving() as served:
        put_forward(served, 61)
        blind = served.ask()
        assert (blind.status, blind.json["errorCode"]) == (503, "envwatch_blind")
        assert "61 s" in blind.json["error"]
        assert 1 <= int(blind.headers["Retry-After"]) <= 30
        assert served.ask("/v1/health").status == 200
        served.server.call(served.endpoints["office"].end)
        assert served.ask().json["errorCode"] == "envwatch_stopping"


# Metrics, and bugs.


def test_without_metrics_their_path_names_the_extra_to_holders_of_a_token() -> None:
    with serving() as served:
        assert served.ask("/metrics", WRONG).status == 401
        answer = served.ask("/metrics")
        assert (answer.status, answer.json) == (404, {"error": "there are no series: they need the extra `metrics`"})


def test_metrics_need_a_token_of_every_profile_and_are_made_once_a_second() -> None:
    made: list[str] = []

    def metrics(accept: str) -> tuple[bytes, str]:
        made.append(accept)
        return b"up 1\n", "text/plain"

    with serving("office", "home", metrics=metrics) as served:
        served.tokens["home"] = tokens_of(ben=OTHER)
        assert [served.ask("/metrics", token).status for token in (None, WRONG, TOKEN)] == [401] * 3
        first = served.ask("/metrics", OTHER, Accept="text/plain")
        assert (first.status, first.body, first.headers["Content-Type"]) == (200, b"up 1\n", "text/plain")
        served.ask("/metrics", OTHER, Accept="text/plain")
        assert made == ["text/plain"]
        put_forward(served, 1)
        served.ask("/metrics", OTHER, Accept="text/plain")
        assert made == ["text/plain"] * 2
        assert served.ask("/metrics", OTHER, method="POST").status == 405


def test_a_bug_is_noted_and_tells_a_viewer_nothing() -> None:
    def metrics(accept: str) -> tuple[bytes, str]:
        raise RuntimeError(f"something about the inside, and {accept}")

    with serving(metrics=metrics) as served:
        answer = served.ask("/metrics", Accept="text/plain")
        assert (answer.status, answer.json) == (500, {"error": "internal error"})
        assert served.ask().status == 200
        assert served.notes == ["bug: no answer for a viewer: RuntimeError: something about the inside, and text/plain"]


@pytest.mark.parametrize("token", [TOKEN, OTHER, WRONG])
def test_no_answer_holds_a_token(token: str) -> None:
    paths = ("/", LISTING, f"{LISTING}/{token}x?after={token}", "/profiles/x/v1/environments", "/v1/health")
    about_acks = [("PUT", b"{}"), ("PUT", b'{"rows": [{"id": "env-1", "sign_at": 5}]}'), ("POST", None)]
    with serving() as served:
        answers = [served.ask(path, token) for path in paths]
        for method, body in about_acks:
            answers.append(served.ask(f"/v1/envwatch/acks/{UUID}", token, method, body, **JSON))
        for answer in answers:
            assert token not in json.dumps([*answer.headers.items()]) + answer.body.decode()


CERT = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"
PATH = f"/v1/envwatch/acks/{UUID}"
ROW = {"id": "env-1", "sign_at": 5}
BODY = json.dumps({"rows": [ROW]}).encode()


# Requests about acknowledgements


def put(served: Serving, body: bytes = BODY, token: str | None = TOKEN, path: str = PATH) -> Answer:
    return served.ask(path, token, "PUT", body, **JSON)


def content(**members: Any) -> bytes:
    return json.dumps({"rows": [ROW], **members}).encode()


def head(*lines: str, token: str = TOKEN, method: str = "PUT", path: str = PATH) -> bytes:
    kind = "Content-Type: application/json"
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", kind, *lines, "", ""]
    ).encode()


def statuses(received: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1.1 (\d+)", received)


def test_a_request_reaches_the_decision_with_who_asks_and_the_answer_comes_back() -> None:
    with serving() as served:
        answer = put(served, content(note=" disk\n\x1b[31mswap ", for_s=3_600))
        assert answer.status == 200
        assert answer.json == {"rows": [{"id": "env-1", "result": "acked", "by": "ann", "at": 1_760_000_000_000.0}]}
        ended = served.ask(
            f"/profiles/office{PATH.upper().replace('/V1/ENVWATCH/ACKS', '/v1/envwatch/acks')}", TOKEN, "DELETE"
        )
        assert (ended.status, ended.json) == (200, {"rows": []})
        request = AckRequest((AckedLoss(clean("env-1"), 5.0),), clean("disk \\x1b[31mswap"), 3_600.0)
        who = ("office", clean(UUID), clean("ann"), clean("127.0.0.1"))
        assert served.acts == [Act(*who, request), Act(*who, None)]


def test_only_a_token_with_the_right_acknowledges_and_polling_goes_on_without() -> None:
    with serving() as served, Client(served.url, OTHER) as ben:
        for token in (None, WRONG):
            assert [put(served, token=token).status, served.ask(PATH, token, "DELETE").status] == [401, 401]
        for method, body in (("PUT", BODY), ("DELETE", None)):
            refused = ben.ask(PATH, method=method, body=body, **JSON)
            assert refused.status == 403
            why = "the token ben may not acknowledge: its line in the file of tokens lacks the word `ack`"
            assert refused.json == {"error": why}
        assert served.acts == []
        assert (ben.ask(LISTING).status, ben.ask(LISTING).headers["Envwatch-Rights"]) == (200, "read")
        assert "Envwatch-Rights" not in served.ask(LISTING, TOKEN).headers


def test_only_a_path_with_a_uuid_is_found_and_takes_put_and_delete() -> None:
    with serving() as served:
        for path in ("/v1/envwatch/acks", "/v1/envwatch/acks/", f"{PATH}0", f"{PATH}/", f"{PATH[:-1]}g"):
            assert put(served, path=path).status == 404, path
            assert put(served, path=path, token=WRONG).status == 401
        for method, body in (("GET", None), ("POST", BODY), ("POST", BODY)):
            answer = served.ask(PATH, TOKEN, method, body, **JSON)
            assert (answer.status, answer.headers["Allow"]) == (405, "PUT, PATCH, DELETE")
        assert served.acts == []


def test_of_several_profiles_the_path_names_the_one() -> None:
    with serving("office", "home") as served:
        assert put(served, path=f"/profiles/home{PATH}").status == 200
        assert [act.profile for act in served.acts] == ["home"]
        missing = put(served)
        assert missing.status == 404
        assert missing.json["error"].startswith("the base URL must end with /profiles/office or ")
        served.tokens["home"] = tokens_of(ben=OTHER)
        assert put(served, path=f"/profiles/home{PATH}").status == 401
        assert len(served.acts) == 1


# Bodies.


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_has_at_most_64_kib(more: int, status: int, *, is_chunked: bool) -> None:
    body = content(pad="")
    body = content(pad="x" * (REQUEST_BYTES + more - len(body)))
    assert len(body) == (64 << 10) + more
    framing, sent = f"Content-Length: {len(body)}", body
    if is_chunked:
        chunks = [body[at : at + 1_000] for at in range(0, len(body), 1_000)]
        framing, sent = "Transfer-Encoding: chunked", b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in [*chunks, b""])
    with serving() as served, served.connect() as connection:
        connection.sendall(head(framing, "Connection: close") + sent)
        assert statuses(ends(connection)) == [b"%d" % status]
        assert len(served.acts) == (status == 200)


def test_a_client_with_far_too_much_to_send_still_reads_why() -> None:
    with serving() as served:
        answer = put(served, b"x" * (8 << 20))
        assert (answer.status, answer.json) == (413, {"error": "a body has at most 65,536 bytes"})
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("size", [len(BODY), 8 << 20])
def test_bodies_come_over_tls_too(size: int) -> None:
    context = ssl.create_default_context(cafile=CERT)
    with serving(tls=Certificate(CERT, CERT).context) as served, served.connect() as connection:
        with context.wrap_socket(connection, server_hostname="localhost") as wrapped:
            wrapped.sendall(head(f"Content-Length: {size}") + BODY.ljust(size))
            assert statuses(wrapped.recv(1 << 16)) == [b"200" if size == len(BODY) else b"413"]
        until(lambda: not served.server.connections)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_kind_is_refused(kind: str) -> None:
    with serving() as served:
        answer = served.ask(PATH, TOKEN, "PUT", BODY, **{"Content-Type": kind})
        assert (answer.status, answer.json) == (415, {"error": "the body must be `application/json`"})
        assert served.ask(PATH, TOKEN, "PUT", BODY, **{"Content-Type": "Application/JSON; charset=utf-8"}).status == 200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", BODY + b"{}", b"[" * 60_000, b'{"rows":' * 8_000),
        *(b"\xef\xbb\xbf" + BODY, BODY.decode().encode("utf-16")),
        content(rows=[ROW, ROW]),
        content(for_s=float("nan")),
        content(other=float("inf")),
        b'{"rows":[{"id":"env-1","sign_at":1e999}]}',
        b'{"rows":[{"id":"env-1","sign_at":' + b"9" * 5_000 + b"}]}",
        b'{"rows":[{"id":"env-1","sign_at":-' + b"9" * 60_000 + b"}]}",
        b'{"rows":[{"id":"\\ud800","sign_at":5}]}',
        b'{"rows":[{"id":"\xed\xa0\x80","sign_at":5}]}',
        content(note="\ud800"),
    ],
)
def test_a_body_without_a_request_is_refused_with_a_reason_and_harms_nothing(body: bytes) -> None:
    with serving() as served, Client(served.url, TOKEN) as client:
        refused = client.ask(PATH, method="PUT", body=body, **JSON)
        assert refused.status == 422
        assert refused.json["error"].startswith("no request: ")
        assert client.ask(PATH, method="PUT", body=BODY, **JSON).status == 200
        assert len(served.acts) == 1
        assert served.notes == []


def test_a_hostile_note_is_cleaned_before_the_decision() -> None:
    notes = ("a\r\nb", "\x1b]52;c;eA==\x07", "\u202eabc", "a\u0301\u0301\u0301\u0301", "[/]", "\0")
    with serving() as served:
        for note in notes:
            assert put(served, content(note=note)).status == 200
        taken = [act.request.note for act in served.acts if act.request is not None]
        assert len(taken) == len(notes)
        assert all(note == clean(note) and "\n" not in note for note in taken)


def test_neither_an_end_nor_another_path_takes_a_body() -> None:
    with serving() as served:
        answer = served.ask(PATH, TOKEN, "DELETE", BODY, **JSON)
        assert (answer.status, answer.json) == (413, {"error": "a request must have no body"})
        for path in (LISTING, "/v1/health", "/metrics", "/v1/envwatch", "/v1/envwatch/acksx", "/"):
            for method in ("POST", "PUT", "DELETE", "GET"):
                assert served.ask(path, TOKEN, method, BODY, **JSON).status == 413, (path, method)
        assert served.acts == []


# Frames.


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("Content-Length: 1000", token=WRONG), b"401"),
        (head("Content-Length: 1000", token=OTHER), b"403"),
        (head("Content-Length: 1000", path="/v1/envwatch/acks/x"), b"404"),
        (head("Content-Length: 1000", method="POST"), b"405"),
        (head("Content-Length: 1000", method="DELETE"), b"413"),
        (head(f"Content-Length: {REQUEST_BYTES + 1}"), b"413"),
        (head(f"Content-Length: {'9' * 20}"), b"413"),
        (head("Content-Length: 1000").replace(b"/json", b"/xml"), b"415"),
        (head("Content-Length: 10", "Transfer-Encoding: chunked"), b"400"),
        (head("Content-Length: 10", "Content-Length: 11"), b"400"),
        (head("Content-Length: -1"), b"400"),
        (head("Transfer-Encoding: gzip, chunked"), b"501"),
        (head("Transfer-Encoding: chunked") + b"zz\r\n", b"400"),
        (head("Transfer-Encoding: chunked") + b"f" * 30 + b"\r\n", b"400"),
        *(
            (head(*framing, method="GET", path=LISTING), status)
            for framing, status in (
                (["Content-Length: 100"], b"413"),
                (["Transfer-Encoding: chunked"], b"413"),
                (["Transfer-Encoding: chunked", "Content-Length: 0"], b"413"),
                (["Content-Length: 0", "Content-Length: 100"], b"400"),
                (["Transfer-Encoding: identity"], b"501"),
            )
        ),
    ],
)
def test_a_refused_request_is_answered_before_its_body_and_no_byte_of_the_body_is_a_request(
    request_head: bytes, status: bytes
) -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(request_head)
        received = connection.recv(1 << 16)
        with suppress(OSError):
            connection.sendall(head("Content-Length: 0", method="GET", path=LISTING))
        received += ends(connection)
        assert statuses(received) == [status]
        assert received.lower().count(b"connection: close") == 1
        assert served.acts == []
        assert served.notes == []


def test_a_waiting_client_is_asked_for_its_body() -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 \r\n\r\n"
        connection.sendall(BODY)
        assert statuses(ends(connection)) == [b"200"]


@pytest.mark.parametrize(
    ("length", "token", "status"), [(10, WRONG, b"401"), (10, OTHER, b"403"), (REQUEST_BYTES + 1, TOKEN, b"413")]
)
def test_a_waiting_client_sends_no_body_after_a_refusal(length: int, token: str, status: bytes) -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(head(f"Content-Length: {length}", "Expect: 100-continue", token=token))
        assert statuses(ends(connection)) == [status]


def test_after_a_body_the_connection_goes_on() -> None:
    with serving() as served, served.connect() as connection:
        length = f"Content-Length: {len(BODY)}"
        last = head("Connection: close", method="GET", path=LISTING)
        connection.sendall(head(length) + BODY + head("Transfer-Encoding: chunked") + b"0\r\n\r\n" + last)
        assert statuses(ends(connection)) == [b"200", b"422", b"200"]


def test_a_body_with_an_early_end_is_no_request() -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(head("Content-Length: 1000") + BODY)
        connection.shutdown(1)
        assert statuses(ends(connection)) == [b"400"]
        assert served.acts == []


@pytest.mark.parametrize(("waited_s", "answered"), [(HEAD_S / 4, [b"200"]), (HEAD_S / 2, [])])
def test_head_and_body_have_ten_seconds_together(waited_s: float, answered: list[bytes]) -> None:
    start = head(f"Content-Length: {len(BODY)}", "Connection: close")
    with serving() as served, served.connect() as slow:
        slow.sendall(start[:-1])
        until(lambda: len(served.server.connections) == 1)
        for sent in (start[-1:] + BODY[:-1], b""):
            assert served.ask().status == 200
            served.pass_time(waited_s)
            slow.sendall(sent)
        assert served.ask().status == 200
        with suppress(OSError):
            slow.sendall(BODY[-1:])
        assert statuses(ends(slow)) == answered
        assert len(served.acts) == len(answered)


# Limits, and the server's state.


def test_a_token_may_send_30_requests_in_a_minute_and_another_token_as_many() -> None:
    tokens = tuple((Viewer(viewer.name, may_ack=True), digest) for viewer, digest in tokens_of(ann=TOKEN, ben=OTHER))
    with serving(tokens=tokens) as served:
        assert [put(served).status for _ in range(ACKS - 1)] == [200] * 29
        assert served.ask(PATH, TOKEN, "DELETE").status == 200
        for method, body in (("PUT", BODY), ("DELETE", None)):
            limited = served.ask(PATH, TOKEN, method, body, **JSON)
            assert (limited.status, limited.headers["Retry-After"]) == (429, "60")
            assert limited.json == {"error": "more than 30 requests about acknowledgements in a minute"}
        assert put(served, token=OTHER).status == 200
        assert served.ask().status == 200
        put_forward(served, 59.5)
        assert put(served).status == 429
        put_forward(served, 0.5)
        assert put(served).status == 200
        assert len(served.acts) == 32


def test_refused_tokens_use_up_no_requests_of_others() -> None:
    with serving() as served:
        for _ in range(ACKS + 1):
            assert put(served, token=OTHER).status == 403
        assert put(served).status == 200


def test_a_blind_server_takes_acknowledgements_and_a_stopping_one_says_so() -> None:
    with serving() as served:
        put_forward(served, 61)
        assert served.ask().json["errorCode"] == "envwatch_blind"
        assert put(served).status == 200
        served.server.call(served.endpoints["office"].end)
        stopping = put(served)
        assert (stopping.status, stopping.json["errorCode"]) == (503, "envwatch_stopping")
        assert served.ask(PATH, TOKEN, "DELETE").status == 503
        assert len(served.acts) == 1
