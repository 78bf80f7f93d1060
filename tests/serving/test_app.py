"""Access control over real connections: paths, tokens, refusals, metrics."""

from __future__ import annotations

import json
import re

import pytest
from support.builders import environment
from support.demo_client import Client
from support.serving import OTHER, TOKEN, WRONG, ends, rows_in, serving, tokens_of

from envwatch.model.clock import MonotonicS, WallMs
from envwatch.serving.tokens import GUESSES

LISTING = "/v1/environments"


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


def test_refusals_are_those_of_the_real_api() -> None:
    with serving() as served:
        unknown = served.ask(f"{LISTING}/no-such-device")
        assert (unknown.status, unknown.json) == (404, {"error": "Environment connection not found"})
        assert served.ask(f"{LISTING}?limit=0").status == 400
        for path in ("/", "/v1", "/v1/agents", f"{LISTING}/a/b", "/v1%2Fenvironments", "//v1/environments"):
            missing = served.ask(path)
            assert (missing.status, missing.json) == (404, {"detail": "Not Found"}), path
        posted = served.ask(method="POST")
        assert (posted.status, posted.headers["Allow"]) == (405, "GET")


def test_every_answer_is_dated_by_the_clock_of_upstream_and_says_neither_who_serves_nor_with_what() -> None:
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


def test_health_needs_no_token() -> None:
    with serving() as served:
        for path in ("/v1/health", "/profiles/office/v1/health"):
            answer = served.ask(path, None)
            assert (answer.status, answer.json["status"]) == (200, "ok")


def test_an_unchanged_page_is_not_sent_again() -> None:
    with serving() as served, Client(served.url, TOKEN) as client:
        first = client.ask(LISTING)
        second = client.ask(LISTING, **{"If-None-Match": first.headers["ETag"]})
        assert (second.status, second.body, second.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert client.ask(LISTING).body == first.body  # on the same connection


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        (b"Content-Length: 100", b"413"),
        (b"Transfer-Encoding: chunked", b"413"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 0", b"413"),
        (b"Content-Length: 0\r\nContent-Length: 100", b"400"),
        (b"Transfer-Encoding: identity", b"501"),
    ],
)
def test_a_request_with_a_body_is_refused_and_no_byte_of_the_body_is_a_request(framing: bytes, status: bytes) -> None:
    with serving() as served, served.connect() as connection:
        request = f"GET {LISTING} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
        connection.sendall(request + framing + b"\r\n\r\n0\r\n\r\n" + request + b"\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", ends(connection)) == [status]


# Tokens.


def test_wrong_tokens_of_an_address_are_limited_and_right_ones_still_work() -> None:
    with serving() as served:
        assert [served.ask(token=WRONG).status for _ in range(GUESSES)] == [401] * GUESSES
        limited = served.ask(token=WRONG)
        assert (limited.status, limited.headers["Retry-After"]) == (429, "60")
        assert served.ask().status == 200
        assert served.ask(token=None).status == 429
        assert served.notes == ["too many wrong tokens from 127.0.0.1: the next ones must wait"]
        now = served.clock[0]
        served.clock[0] = now._replace(monotonic=MonotonicS(now.monotonic + 60), wall=WallMs(now.wall + 60_000))
        assert served.ask(token=WRONG).status == 401


def test_no_header_makes_guesses_come_from_elsewhere() -> None:
    with serving() as served:
        for number in range(GUESSES):
            served.ask(token=WRONG, **{"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"})
        assert served.ask(token=WRONG, **{"X-Forwarded-For": "192.0.2.99"}).status == 429


def test_tokens_that_are_taken_away_stop_working_on_connections_that_are_open() -> None:
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


def test_several_profiles_have_paths_which_the_root_names_to_those_who_have_a_token() -> None:
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


def test_a_single_profile_may_be_named_too() -> None:
    with serving() as served:
        assert served.ask("/profiles/office/v1/environments").body == served.ask().body


# Blindness.


def test_a_blind_server_answers_503_with_the_cause_and_a_stopping_one_says_so() -> None:
    with serving() as served:
        now = served.clock[0]
        served.clock[0] = now._replace(monotonic=MonotonicS(now.monotonic + 61), wall=WallMs(now.wall + 61_000))
        blind = served.ask()
        assert (blind.status, blind.json["errorCode"]) == (503, "envwatch_blind")
        assert "61 s" in blind.json["error"]
        assert 1 <= int(blind.headers["Retry-After"]) <= 30
        assert served.ask("/v1/health").status == 200
        served.server.call(served.endpoints["office"].end)
        assert served.ask().json["errorCode"] == "envwatch_stopping"


# Metrics, and bugs.


def test_without_metrics_their_path_says_what_they_need_to_those_who_have_a_token() -> None:
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
        now = served.clock[0]
        served.clock[0] = now._replace(monotonic=MonotonicS(now.monotonic + 1))
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


@pytest.mark.parametrize("token", [TOKEN, WRONG])
def test_no_answer_holds_a_token(token: str) -> None:
    with serving() as served:
        for path in ("/", LISTING, f"{LISTING}/{token}x?after={token}", "/profiles/x/v1/environments", "/v1/health"):
            answer = served.ask(path, token)
            assert token not in json.dumps([*answer.headers.items()]) + answer.body.decode()
