"""Statuses and headers: an answer's age, caching, and errors; walks.

A walk's pages belong to one listing, although upstream reorders rows meanwhile.
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, failed, slept, wire_row, wire_rows
from support.served import Row, Served, header, inflated

from envwatch.fleet.profile_state import Freshness
from envwatch.model.clock import OffsetBounds, ServerClock, WallMs
from envwatch.model.listing_api import LISTING_PATH
from envwatch.model.outcome import Cause
from envwatch.model.page import parse_page
from envwatch.serve.answers import PageBodies, ServedListing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.serve.answers import Answer


DEVICE = f"{LISTING_PATH}/device-of-env-1"
HOUR_MS = 3_600_000.0


def served(count: int = 3, *, skew: float = 0.0) -> Served:
    polled = Served(skew=skew)
    polled.poll(wire_rows(count))
    return polled


def refusal(answer: Answer) -> tuple[int, dict[str, object]]:
    return answer.status, json.loads(answer.body)


# Clocks and ages


@given(st.floats(-24 * HOUR_MS, 24 * HOUR_MS), st.integers(0, 50_000))
def test_the_date_is_upstreams_whatever_this_machines_clock_says(skew: float, later: int) -> None:
    profile = served(skew=float(round(skew)))
    for answer in (
        profile.ask(at=NOW + later),
        profile.ask("limit=x", NOW + later),
        profile.ask(path="/x", at=NOW + later),
    ):
        date = header(answer, "Date")
        assert date is not None
        assert parsedate_to_datetime(date).timestamp() == (NOW + later) // 1_000


@pytest.mark.parametrize("at", [-1e15, 1e18])
def test_a_clock_beyond_all_dates_stops_no_answer(at: float) -> None:
    assert header(Served().ask(at=at), "Date") in {"Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"}


@given(st.integers(0, 50_000), st.sampled_from([LISTING_PATH, DEVICE]))
def test_the_age_counts_from_the_request_to_upstream(later: int, path: str) -> None:
    profile = served(skew=HOUR_MS)
    first = profile.ask(path=path, at=NOW + later)
    again = profile.ask(path=path, at=NOW + later, if_none_match=str(header(first, "ETag")))
    assert (first.status, again.status) == (200, 304)
    for answer in (first, again):
        assert header(answer, "Envwatch-Listing-Age") == f"{later / 1_000:.3f}"
        assert header(answer, "Envwatch-Listing-Interval") == "5.000"
        assert header(answer, "Age") is None


def test_a_failed_poll_makes_nothing_younger() -> None:
    profile = served()
    before = profile.ask(at=NOW + 4_000)
    profile.step(failed(at=NOW + 5_000), NOW + 5_000)
    profile.step(None, NOW + 6_000)
    after = profile.ask(at=NOW + 6_000)
    assert after.body == before.body
    assert header(after, "Envwatch-Listing-Age") == "6.000"


def test_refusals_have_no_age_and_no_tag() -> None:
    for answer in (served().ask("limit=x"), served().ask(path="/x"), Served().ask()):
        assert header(answer, "Envwatch-Listing-Age") is None
        assert header(answer, "Envwatch-Listing-Interval") is None
        assert header(answer, "ETag") is None


@given(
    st.integers(-86_400_000, 86_400_000),
    st.integers(-86_400_000, 86_400_000),
    st.integers(0, 999),
    st.integers(0, 5_000),
    st.integers(0, 119_999),  # older heartbeats together look like a wrong `Date`
)
def test_a_viewer_sees_the_true_age_of_a_heartbeat_whatever_the_clocks_say(
    skew: int, viewers_skew: int, fraction: int, later: int, age: int
) -> None:
    profile, at = Served(skew=skew), NOW + fraction
    profile.poll([wire_row("env-1", lastHeartbeat=at - age)], at)
    answer = profile.ask(at=at + later)
    asked = at + later + viewers_skew
    date = parsedate_to_datetime(str(header(answer, "Date"))).timestamp() * 1_000
    clock = ServerClock().with_bounds(OffsetBounds.of_answer(date, asked, asked))
    (row,) = parse_page(answer.body).environments
    assert row.last_heartbeat_at is not None
    assert abs(clock.server_time(WallMs(asked)) - row.last_heartbeat_at - (age + later)) <= 500


# 304

_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.sampled_from(["1", "2", "50"]),
        "after": st.sampled_from(["env-1", "env-2", "unknown"]),
        "onlineOnly": st.sampled_from(["true", "false"]),
    },
)
_LIVES = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0, 100_000, 119_000]), max_size=3),  # ages of heartbeats in a new listing, or
        st.integers(0, 20_000),  # only time that passes
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=examples(300), deadline=None)
@given(_LIVES, st.lists(_REQUESTS, min_size=1, max_size=3), st.sampled_from([LISTING_PATH, DEVICE]), st.booleans())
def test_304_means_the_same_body_and_nothing_else(
    life: list[tuple[list[int], int, bool]],
    requests: list[dict[str, str]],
    path: str,
    is_gzip: bool,  # noqa: FBT001  # drawn
) -> None:
    profile, at = Served(), NOW
    profile.poll(wire_rows(3))
    bodies: dict[str, bytes] = {}
    for ages, passed, is_listed in life:
        at = type(at)(at + passed)
        if is_listed:
            profile.poll([wire_row(f"env-{n}", lastHeartbeat=at - age) for n, age in enumerate(ages, 1)], at)
        for params in requests:
            encodings = {"accept_encoding": "gzip"} if is_gzip else {}
            query = urlencode(params)
            answer = profile.ask(query, at, path=path, **encodings)
            if answer.status != 200:
                continue
            body = inflated(answer)
            for tag, earlier in bodies.items():
                again = profile.ask(query, at, path=path, if_none_match=tag, **encodings)
                assert (again.status == 304) is (earlier == body)
                assert again.body == (b"" if again.status == 304 else answer.body)
            bodies[str(header(answer, "ETag"))] = body


@pytest.mark.parametrize(
    ("form", "status"),
    [
        *((form, 304) for form in ("{}", 'W/"other", {}', "*", '"other",{}  ', "{strong}")),
        *((form, 200) for form in ("", '"other"', "other", '""', ",")),
    ],
)
def test_a_tag_may_stand_among_others_and_be_weak_or_strong(form: str, status: int) -> None:
    profile = served()
    tag = str(header(profile.ask(), "ETag"))
    assert tag.startswith('W/"')
    sent = form.replace("{}", tag).replace("{strong}", tag.removeprefix("W/"))
    assert profile.ask(if_none_match=sent).status == status


def test_the_tag_of_rows_online_changes_with_time_alone() -> None:
    profile = served()
    tag = str(header(profile.ask("onlineOnly=true", NOW), "ETag"))
    profile.poll(wire_rows(3), NOW + 90_000)
    assert profile.ask("onlineOnly=true", NOW + 107_999, if_none_match=tag).status == 304
    assert profile.ask("onlineOnly=true", NOW + 108_000, if_none_match=tag).status == 200


# Encodings


def test_a_page_of_some_size_is_compressed_for_those_who_accept_gzip() -> None:
    profile = served()
    plain, packed = profile.ask(), profile.ask(accept_encoding="br, gzip")
    assert (header(plain, "Content-Encoding"), header(packed, "Content-Encoding")) == (None, "gzip")
    assert inflated(packed) == plain.body
    assert header(packed, "ETag") == header(plain, "ETag")
    for answer in (plain, packed, profile.ask(path=DEVICE), profile.ask("limit=x")):
        assert header(answer, "Vary") == "Accept-Encoding"
        assert header(answer, "Cache-Control") == "private, no-cache"
        assert header(answer, "Content-Type") == "application/json; charset=utf-8"
    assert header(profile.ask("limit=1", accept_encoding="gzip"), "Content-Encoding") is None


def test_a_page_is_made_once_for_all_readers() -> None:
    profile = served()
    first = profile.ask("limit=2", accept_encoding="gzip")
    assert profile.ask("limit=2", NOW + 3_000, accept_encoding="gzip").body is first.body
    profile.poll(wire_rows(3), NOW + 5_000)
    assert profile.ask("limit=2", NOW + 5_000, accept_encoding="gzip").body is first.body


@given(st.lists(st.tuples(st.integers(1, 99), st.booleans()), max_size=60))
def test_the_kept_pages_are_bounded(asked: list[tuple[int, bool]]) -> None:
    listing = served(20).endpoint.listing
    assert isinstance(listing, ServedListing)
    pages = PageBodies(listing, 50_000)
    for limit, is_gzip in asked:
        body = pages.body(f"limit={limit}", NOW, may_be_gzip=is_gzip)
        assert body.tag == pages.body(f"limit={limit}", NOW, may_be_gzip=not is_gzip).tag
        assert 0 <= pages.cached <= 50_000
    if len({limit for limit, _ in asked}) > 20:
        assert pages.cached > 20_000


def test_an_outdated_page_is_not_kept() -> None:
    listing = served(20).endpoint.listing
    assert isinstance(listing, ServedListing)
    pages = PageBodies(listing)
    pages.body("onlineOnly=true", NOW, may_be_gzip=False)
    kept = pages.cached
    for at in (NOW - 1_000, NOW - 2_000, NOW - 3_000):
        pages.body("onlineOnly=true", at, may_be_gzip=False)
        assert pages.cached == kept


# Refusals


@pytest.mark.parametrize("count", [3, None])
def test_wrong_requests_are_refused_like_by_the_platform_with_and_without_a_listing(count: int | None) -> None:
    profile = Served() if count is None else served(count)
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"):
        answer = profile.ask(method=method)
        assert refusal(answer) == (405, {"error": "Method Not Allowed"})
        assert header(answer, "Allow") == "GET"
    assert refusal(profile.ask(path="/v1/agents")) == (404, {"detail": "Not Found"})
    if count is not None:
        missing = profile.ask(path=f"{LISTING_PATH}/unknown")
        assert refusal(missing) == (404, {"error": "Environment connection not found"})
        assert refusal(profile.ask("limit=0")) == (400, {"error": "limit must be a positive whole number"})


def test_before_the_first_listing_the_answer_says_why_there_is_none() -> None:
    profile, why = Served(), "envwatch serve has no data yet"
    for at in (NOW, NOW + 1_000):
        answer = profile.ask(at=at)
        assert refusal(answer) == (503, {"error": why, "errorCode": "envwatch_waiting", "retryable": True})
        assert header(answer, "Retry-After") == "1"
        profile.step(None, at)
    profile.step(failed(Cause.UNREACHABLE), NOW)
    expected = {"error": f"{why}: unreachable", "errorCode": "envwatch_waiting", "retryable": True}
    assert refusal(profile.ask()) == (503, expected)


@pytest.mark.parametrize("path", [LISTING_PATH, DEVICE])
def test_a_listing_beyond_the_limit_of_age_is_served_to_nobody(path: str) -> None:
    profile = served()
    profile.step(failed(at=NOW + 5_000), NOW + 5_000)
    assert profile.ask(path=path, at=NOW + 60_000).status == 200
    answer = profile.ask(path=path, at=NOW + 60_001)
    assert profile.profile_state.freshness(profile.now(NOW + 60_001)) is Freshness.BLIND
    assert refusal(answer) == (
        503,
        {
            "error": "envwatch serve has had no data for 60 s: timeout",
            "errorCode": "envwatch_blind",
            "retryable": True,
        },
    )
    assert header(answer, "Retry-After") == "5"
    profile.poll(wire_rows(3), NOW + 70_000)
    assert profile.ask(path=path, at=NOW + 70_000).status == 200


@given(st.integers(0, 200_000))
def test_rows_are_served_exactly_while_the_fleet_is_not_blind(later: int) -> None:
    profile = served()
    is_blind = profile.profile_state.freshness(profile.now(NOW + later)) is Freshness.BLIND
    assert profile.ask(at=NOW + later).status == (503 if is_blind else 200)


def test_after_a_sleep_there_is_nothing_until_the_next_listing() -> None:
    """A sleep is noticed before its outcome has come."""
    profile = served()
    for skew, status in ((6_000, 503), (4_000, 200)):
        profile.skew = skew
        assert profile.ask(at=NOW + 1_000).status == status
    profile = served()
    profile.step(slept(NOW + 1_000, NOW + 20_000), NOW + 20_000)
    status, body = refusal(profile.ask(at=NOW + 20_000))
    assert (status, body["error"]) == (503, "envwatch serve slept, and has had no data since")
    profile.poll(wire_rows(3), NOW + 21_000)
    assert profile.ask(at=NOW + 21_000).status == 200


_ANOMALIES = {
    "the list came back empty": [],
    "7 of 10 machines vanished at once": [wire_row(f"env-{n}", lastHeartbeat=NOW + 4_000) for n in range(1, 4)],
    "many machines lost their heartbeat": [wire_row(f"env-{n}", lastHeartbeat=None) for n in range(1, 11)],
}


@pytest.mark.parametrize("finding", _ANOMALIES)
@pytest.mark.parametrize("path", [LISTING_PATH, DEVICE])
def test_during_a_quarantine_viewers_get_the_believed_listing_until_its_limit_of_age(finding: str, path: str) -> None:
    profile = served(10)
    believed = profile.ask(path=path)
    for at in range(5_000, 60_000, 5_000):
        profile.poll(_ANOMALIES[finding], NOW + at)
        answer = profile.ask(path=path, at=NOW + at)
        assert answer.body == believed.body
        assert header(answer, "Envwatch-Listing-Age") == f"{at / 1_000:.3f}"
    assert profile.ask(path=path, at=NOW + 60_000).body == believed.body
    status, body = refusal(profile.ask(path=path, at=NOW + 61_000))
    assert status == 503
    assert body["error"] == f"envwatch serve has had no data for 61 s that can be believed: {finding}"


@pytest.mark.parametrize("finding", _ANOMALIES)
def test_a_listing_is_served_once_the_quarantine_is_over(finding: str) -> None:
    unlikely, ids = _ANOMALIES[finding], [row["id"] for row in _ANOMALIES[finding]]
    believed, contradicted = served(10), served(10)
    for at in range(5_000, 70_000, 5_000):
        believed.poll(unlikely, NOW + at)
    assert believed.profile_state.quarantine is None
    assert [row["id"] for row in believed.rows(at=NOW + 65_000)] == ids
    contradicted.poll(unlikely, NOW + 5_000)
    contradicted.poll(wire_rows(11), NOW + 10_000)
    assert len(contradicted.rows(at=NOW + 10_000)) == 11


@pytest.mark.parametrize("path", [LISTING_PATH, DEVICE])
def test_a_stopping_server_says_so(path: str) -> None:
    profile = served()
    profile.endpoint.end()
    answer = profile.ask(path=path)
    assert refusal(answer) == (
        503,
        {"error": "envwatch serve is stopping", "errorCode": "envwatch_stopping", "retryable": True},
    )
    assert header(answer, "Retry-After") == "5"
    profile.poll(wire_rows(3), NOW + 5_000)
    assert profile.ask(at=NOW + 5_000).status == 503


deep = settings(max_examples=examples(300), deadline=None)


# Walks


def page_of_walk(
    served: Served, at: float, cursor: str | None = None, viewer: str = "ann", connection: str = "1", **params: str
) -> list[str]:
    query = {"limit": "3"} | params | ({} if cursor is None else {"after": cursor})
    body = served.ask(urlencode(query), at, viewer=viewer, connection=connection).body
    return [row["id"] for row in json.loads(body)["connections"]]


def whole(ids: Iterable[str]) -> list[Row]:
    """Return rows of two alternating users, with values that change from listing to listing."""
    order = list(ids)
    return [wire_row(id_, userId=f"user-{ord(id_) % 2}", branch="".join(order)) for id_ in order]


_ORDERS = st.permutations("abcdefghijkl").map("".join)
_READERS = st.sampled_from([(("ann", "1"), ("ann", "2")), (("ann", ""), ("ben", ""))])


@deep
@given(st.lists(_ORDERS, min_size=2, max_size=9), _READERS, st.integers(1, 9), st.booleans())
def test_two_walks_read_a_listing_each_while_upstream_reorders_its_rows(
    orders: list[str],
    readers: tuple[tuple[str, str], tuple[str, str]],
    limit: int,
    is_filtered: bool,  # noqa: FBT001  # drawn
) -> None:
    """The walks have one token and two connections, or two tokens and a new connection for each page."""
    served, found = Served(), [list[str](), list[str]()]
    params = {"limit": str(limit)} | ({"userId": "user-0"} if is_filtered else {})
    for turn in range(14):
        at = NOW + 1_000 * min(turn, len(orders) - 1)
        if turn < len(orders):
            served.poll(whole(orders[turn]), at)
        for walk, (viewer, connection) in enumerate(readers):
            if turn < walk or found[walk][-1:] == ["end"]:
                continue
            query = params | ({"after": found[walk][-1]} if found[walk] else {})
            port = connection or f"{turn} {walk}"
            page = json.loads(served.ask(urlencode(query), at, viewer=viewer, connection=port).body)
            found[walk] += [row["id"] for row in page["connections"]]
            assert {row["branch"] for row in page["connections"]} <= {orders[walk]}
            if not page["hasNextPage"]:
                found[walk].append("end")
    for order, ids in zip(orders, found, strict=False):
        assert ids == [id_ for id_ in order if not is_filtered or ord(id_) % 2 == 0] + ["end"]


@pytest.mark.parametrize(("begun", "expected"), [(2, "def"), (3, "ghi")])
def test_two_listings_before_the_newest_are_kept_for_viewers_in_the_middle(begun: int, expected: str) -> None:
    served = Served()
    served.poll(whole("abcdefghi"))
    assert page_of_walk(served, NOW) == list("abc")
    for number in range(1, begun + 1):
        served.poll(whole("defabcghi" + "xyz"[:number]), NOW + number * 1_000)
        page_of_walk(served, NOW + number * 1_000, viewer="ben")
    assert page_of_walk(served, NOW + 5_000, "c") == list(expected)


def test_a_listing_without_a_reader_is_not_kept() -> None:
    served = Served()
    kept = []
    for number in range(5):
        at = NOW + number * 1_000
        served.poll(whole("abcdefghi" + "xyz"[: number % 3]), at)
        kept.append(ref(served.endpoint.listing))
        if number == 1:
            page_of_walk(served, at)
        page_of_walk(served, at, limit="100")
    assert [listing() is not None for listing in kept] == [False, True, False, False, True]
    assert page_of_walk(served, NOW + 4_000, "c") == list("def")


@pytest.mark.parametrize(("later", "is_kept"), [(60_000, True), (60_001, False)])
def test_a_replaced_listing_is_kept_for_a_minute(later: int, *, is_kept: bool) -> None:
    served = Served()
    served.poll(whole("abcdefghi"))
    page_of_walk(served, NOW)
    replaced = ref(served.endpoint.listing)
    served.poll(whole("cbadefghi"), NOW + 1_000)
    served.poll(whole("defabcghi"), NOW + 1_000 + later)
    assert (replaced() is not None) is is_kept


@pytest.mark.parametrize(("age", "status"), [(60_000, 200), (60_001, 503)])
def test_a_walk_of_an_outdated_listing_must_begin_again(age: int, status: int) -> None:
    served = Served()
    served.poll(whole("abcdefghi"))
    page_of_walk(served, NOW)
    served.poll(whole("defabcghi"), NOW + 50_000)
    answer = served.ask("limit=3&after=c", NOW + age, viewer="ann", connection="1")
    assert answer.status == status
    if status == 503:
        assert json.loads(answer.body)["error"] == "these pages are too old: read again from the first page"
    assert page_of_walk(served, NOW + age) == list("def")


def test_each_page_of_a_walk_says_how_old_the_walks_listing_is() -> None:
    served = Served()
    served.poll(whole("abcdefghi"))
    page_of_walk(served, NOW + 1_000)
    served.poll(whole("defabcghi"), NOW + 5_000)
    answer = served.ask("limit=3&after=c", NOW + 6_000, viewer="ann", connection="1")
    assert header(answer, "Envwatch-Listing-Age") == "6.000"
    again = served.ask(
        "limit=3&after=c", NOW + 6_000, viewer="ann", connection="1", if_none_match=str(header(answer, "ETag"))
    )
    assert again.status == 304


def test_a_walk_goes_on_after_an_unchanged_first_page() -> None:
    served = Served()
    served.poll(whole("abcdefghi"))
    tag = str(header(served.ask("limit=3"), "ETag"))
    assert served.ask("limit=3", viewer="ann", connection="1", if_none_match=tag).status == 304
    served.poll(whole("defabcghi"), NOW + 5_000)
    assert page_of_walk(served, NOW + 5_000, "c") == list("def")


def test_only_the_newest_walks_of_a_listing_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envwatch.serve.answers.WALKS_KEPT", 4)
    served = Served()
    served.poll(whole("abcdefghi"))
    for viewer in ("ann", "ben", "cay"):
        page_of_walk(served, NOW, viewer=viewer)
    served.poll(whole("defabcghi"), NOW + 5_000)
    assert [page_of_walk(served, NOW, "c", viewer) for viewer in ("ann", "ben", "cay")] == [
        list("ghi"),
        list("def"),
        list("def"),
    ]
