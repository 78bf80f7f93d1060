"""Access control over real connections: paths, tokens, refusals, metrics."""

from __future__ import annotations

import json

import pytest
from support.builders import environment
from support.demo_client import Client
from support.serving import OTHER, TOKEN, WRONG, put_forward, rows_in, serving, tokens_of

from envwatch.serving.tokens import GUESSES

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
