"""Served rows are upstream's rows: all rows, in order, unchanged."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, TEXT_MEMBERS, wire_row, wire_rows
from support.hostile_fleet import SURROGATE, hostile_rows
from support.served import Row, Served, any_rows, header, plain_listing
from support.values import exact

from envwatch.demo.server import Server
from envwatch.model.listing_api import LISTING_PATH
from envwatch.model.outcome import RelayInfo as HandedOn
from envwatch.model.page import parse_environment, parse_page
from envwatch.model.text import BITS, clean_key
from envwatch.serve.answers import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.environment import Environment

deep = settings(max_examples=examples(300), deadline=None)

LATER_MS = 50_000
"""Guaranteed serving time of a listing."""


@deep
@given(any_rows(), st.integers(1, 13), st.integers(0, LATER_MS))
@example(hostile_rows(NOW), 7, 0)
def test_a_viewer_reads_exactly_the_rows_of_the_poller_at_any_size_of_a_page(
    rows: list[Row], limit: int, later: int
) -> None:
    served = Served()
    served.poll(rows)
    decoded = [environment for page in served.pages(limit, NOW + later) for environment in page.environments]
    assert exact(decoded) == exact(served.environments)
    assert len(decoded) == len(rows)


@deep
@given(any_rows())
def test_a_listing_served_again_stays_the_same(rows: list[Row]) -> None:
    """A serving process may be the upstream of another."""
    first, second = Served(), Served()
    first.poll(rows)
    second.poll(first.rows())
    assert exact(second.environments) == exact(first.environments)
    assert second.rows() == first.rows()


@deep
@given(plain_listing(), st.integers(1, 13))
def test_pages_joined_have_each_row_once_in_the_order_of_upstream(rows: list[Row], limit: int) -> None:
    served = Served()
    served.poll(rows)
    assert [row["id"] for row in served.rows(limit)] == [row["id"] for row in rows]


OFFLINE: dict[str, Any] = dict.fromkeys(["connectionId", "connectedAt", "lastHeartbeat", "podId"])


@pytest.mark.parametrize(
    "sent",
    [
        wire_row(region={"zone": 1, "share": 1.0}, userId="user-1", apiKeyOwner="key-1"),
        wire_row(metadata={"big": 2 ** (BITS - 1) + 1}),
        {name: value for name, value in wire_row(**OFFLINE).items() if name not in {"metadata", "currentMode"}},
        wire_row(**dict.fromkeys(TEXT_MEMBERS, "some text"), region="eu"),
    ],
    ids=["unknown fields", "a number beyond floats", "null and missing fields", "every field"],
)
def test_a_row_keeps_its_names_and_numbers_on_the_wire(sent: Row) -> None:
    served = Served()
    served.poll([sent])
    (row,) = served.rows()
    assert row == sent
    assert exact(row.get("region")) == exact(sent.get("region"))
    assert isinstance(row["lastHeartbeat"], int | None)
    assert next(served.pages()).environments == [parse_environment(sent)]


def test_a_huge_instant_is_not_written_out() -> None:
    served = Served()
    served.poll([wire_row(lastSeenAt=1e300)])
    assert re.search(rb'"lastSeenAt":1e\+?300,', served.ask().body)  # with a sign, by newer pydantic-core


@pytest.mark.parametrize(
    ("id_", "is_kept"),
    [
        *((id_, True) for id_ in ("a\u202eb", "a\x1b[2Jb", "ok~12345678", "ü" * 1_024)),
        *((id_, False) for id_ in (SURROGATE, "x" * 1_025)),
    ],
)
def test_an_id_is_served_as_received_or_as_cleaned_where_sending_back_is_impossible(id_: str, *, is_kept: bool) -> None:
    served = Served()
    served.poll([wire_row(id_), wire_row("next")])
    assert [row["id"] for row in served.rows(limit=1)] == [id_ if is_kept else clean_key(id_), "next"]
    assert served.environments[0].id == clean_key(id_)


def test_two_rows_never_share_an_id() -> None:
    key = clean_key(SURROGATE)
    served = Served()
    served.poll([wire_row(key), wire_row(SURROGATE), wire_row("last")])
    rows = served.rows(limit=1)
    assert len({row["id"] for row in rows}) == 3
    assert len({environment.id for page in served.pages(1) for environment in page.environments}) == 3


@pytest.mark.parametrize("name", ["id", "currentMode", "lastHeartbeat", "metadata"])
def test_an_unknown_field_never_becomes_a_known_one(name: str) -> None:
    """Cleaning removes a mark from the name, which then equals a known field's name."""
    sent = wire_row(**{f"{name}\ufe0f": "forged"})
    del sent["currentMode"]
    served = Served()
    served.poll([sent])
    (page,) = served.pages()
    assert page.environments == served.environments == [parse_environment(sent)]
    assert page.environments[0].unknown == {name: "forged"}
    assert page.environments[0].mode is None


def test_of_two_rows_with_one_id_the_newest_heartbeat_is_served_at_the_first_place() -> None:
    served = Served()
    older, newer = wire_row("a", lastHeartbeat=NOW - 9_000), wire_row("a", lastHeartbeat=NOW - 1_000)
    served.poll([older, wire_row("b"), newer])
    assert [(row["id"], row["lastHeartbeat"]) for row in served.rows(1)] == [
        ("a", NOW - 1_000),
        ("b", NOW - 12_000),
    ]


# Cursors


@given(st.lists(st.booleans(), min_size=1, max_size=10), st.lists(st.booleans(), min_size=10, max_size=10), st.data())
def test_a_row_gone_meanwhile_still_marks_its_place(
    stay_first: list[bool], stay_second: list[bool], data: st.DataObject
) -> None:
    served, order = Served(), [f"env-{number}" for number in range(len(stay_first))]
    once = [id_ for id_, stays in zip(order, stay_first, strict=True) if stays]
    twice = [id_ for id_, stays in zip(order, stay_second, strict=False) if stays and id_ in once]
    for number, ids in enumerate([order, once, twice]):
        rows = [wire_row(id_) for id_ in [*ids, "stays"]]
        served.poll(rows, NOW + 5_000 * number, confirmed_absent=frozenset(order) - frozenset(ids))
    cursor = data.draw(st.sampled_from(order))
    page = json.loads(served.ask(urlencode({"after": cursor}), NOW + 11_000).body)
    assert [row["id"] for row in page["connections"]] == [id_ for id_ in [*twice, "stays"] if id_ > cursor]


def test_a_place_is_kept_when_the_row_before_leaves_as_well() -> None:
    served = Served()
    for number, ids in enumerate(["abcd", "abd", "ad"]):
        served.poll([wire_row(id_) for id_ in ids], NOW + 5_000 * number)
    page = json.loads(served.ask("after=c", NOW + 11_000).body)
    assert [row["id"] for row in page["connections"]] == ["d"]


def test_a_row_back_again_has_its_new_place() -> None:
    served = Served()
    for number, ids in enumerate([["a", "b", "c"], ["a", "c"], ["c", "b", "a"]]):
        served.poll([wire_row(id_) for id_ in ids], NOW + 5_000 * number)
    page = json.loads(served.ask("after=b", NOW + 11_000).body)
    assert [row["id"] for row in page["connections"]] == ["a"]


def test_an_unknown_cursor_and_a_long_gone_row_start_from_the_top() -> None:
    served = Served()
    served.poll(wire_rows(3))
    assert len(json.loads(served.ask("after=unknown").body)["connections"]) == 3
    for number in range(1, 15):
        served.poll([wire_row("env-1", lastHeartbeat=NOW + number), wire_row("env-2")], NOW + 5_000 * number)
    ids = [row["id"] for row in json.loads(served.ask("after=env-3", NOW + 70_000).body)["connections"]]
    assert ids == ["env-1", "env-2"]


def test_a_page_of_very_large_rows_ends_early_and_promises_more() -> None:
    rows = [wire_row(f"env-{number}", metadata={f"m{k}": "x" * 1_000 for k in range(240)}) for number in range(40)]
    served = Served()
    served.poll(rows)
    pages = list(served.pages(1_000))
    assert len(pages) > 1
    assert [environment for page in pages for environment in page.environments] == served.environments
    assert len(served.ask("limit=1000").body) <= PAGE_BYTES + 100


# Filters


def official(row: Row, now: float, params: dict[str, str]) -> bool:
    """Whether the parameters select a row: a second implementation, from the API's description."""
    beat, connection = row["lastHeartbeat"], row["connectionId"]
    if params.get("onlineOnly") == "true" and not (
        isinstance(connection, str) and connection != "" and isinstance(beat, int | float) and now - beat < 120_000
    ):
        return False
    if params.get("source") == "local" and row["organizationId"] != "local":
        return False
    if params.get("source") == "remote" and row["organizationId"] == "local":
        return False
    return "userId" not in params or row["userId"] == params["userId"]


PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "onlineOnly": st.sampled_from(["true", "false"]),
        "source": st.sampled_from(["local", "remote"]),
        "userId": st.sampled_from(["user-1", "user-2", "user-3"]),
    },
)


@deep
@given(plain_listing(), st.integers(1, 13), PARAMS, st.lists(st.integers(0, LATER_MS), min_size=1, max_size=3))
def test_filters_follow_the_official_rule_at_every_moment(
    rows: list[Row], limit: int, params: dict[str, str], moments: list[int]
) -> None:
    served = Served()
    served.poll(rows)
    for later in moments:
        found = served.rows(limit, NOW + later, **params)
        assert [row["id"] for row in found] == [row["id"] for row in rows if official(row, NOW + later, params)]


def test_a_row_is_filtered_out_when_its_heartbeat_is_120_seconds_old() -> None:
    served = Served()
    served.poll([wire_row("a", lastHeartbeat=NOW - 100_000), wire_row("b", lastHeartbeat=NOW - 99_999)])
    assert [row["id"] for row in served.rows(1, NOW + 19_999, onlineOnly="true")] == ["a", "b"]
    assert [row["id"] for row in served.rows(1, NOW + 20_000, onlineOnly="true")] == ["b"]
    assert [row["id"] for row in served.rows(1, NOW + 19_999, onlineOnly="true")] == ["a", "b"]


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with Server(60, key="demo-key", now=lambda: int(NOW)) as server:
        yield server


def demo_body(demo: Server, target: str) -> Any:
    return json.loads(demo.body(target, "Bearer demo-key"))


@pytest.fixture(scope="module")
def served_demo(demo: Server) -> Served:
    served = Served()
    served.poll(demo_body(demo, f"{LISTING_PATH}?limit=1000")["connections"])
    return served


@given(PARAMS, st.integers(1, 70), st.integers(-1, 59))
def test_the_demo_answers_the_same(
    demo: Server, served_demo: Served, params: dict[str, str], limit: int, cursor: int
) -> None:
    ids = [environment.id for environment in served_demo.environments]
    after = {} if cursor < 0 else {"after": ids[cursor % len(ids)]}
    user = {"userId": str(served_demo.environments[0].user_id)} if params.get("userId") == "user-1" else {}
    query = urlencode({"limit": limit, **params, **user, **after})
    theirs, ours = demo_body(demo, f"{LISTING_PATH}?{query}"), json.loads(served_demo.ask(query).body)
    assert theirs["hasNextPage"] == ours["hasNextPage"]
    assert decoded(theirs["connections"]) == decoded(ours["connections"])


def test_the_demo_retrieves_the_same(demo: Server, served_demo: Served) -> None:
    for environment in served_demo.environments:
        path = f"{LISTING_PATH}/{quote(environment.device_id, safe='')}"
        ours = json.loads(served_demo.ask(path=path).body)
        assert decoded([demo_body(demo, path)]) == decoded([ours])


def decoded(rows: list[Row]) -> list[Environment]:
    return [parse_environment(row) for row in rows]


# One device


def test_a_device_is_retrieved_by_its_quoted_id_and_the_first_of_its_listeners() -> None:
    served = Served()
    served.poll([wire_row("a", deviceId="desktop:Ä/1"), wire_row("b"), wire_row("c", deviceId="desktop:Ä/1")])
    answer = served.ask(path=f"{LISTING_PATH}/desktop%3A%C3%84%2F1")
    assert (answer.status, json.loads(answer.body)["id"]) == (200, "a")


def test_a_row_in_doubt_is_retrieved_as_last_known_and_not_listed() -> None:
    served = Served()
    served.poll(wire_rows(9))
    known = served.rows()[2]
    rows = [row for row in wire_rows(9) if row["id"] != "env-3"]
    for number in (1, 2):
        served.poll(rows, NOW + 5_000 * number, in_doubt=frozenset({"env-3"}))
        at = NOW + 5_000 * number
        assert json.loads(served.ask(path=f"{LISTING_PATH}/device-of-env-3", at=at).body) == known
        assert len(served.rows(at=at)) == 8
    served.poll(rows, NOW + 15_000, confirmed_absent=frozenset({"env-3"}))
    assert served.ask(path=f"{LISTING_PATH}/device-of-env-3", at=NOW + 15_000).status == 404


def test_a_listing_handed_on_twice_takes_no_doubt_away() -> None:
    """Absences are not looked up if a listing only shows that the server is reachable."""
    served = Served()
    served.poll(wire_rows(9), served=HandedOn(0.0))
    rows = [row for row in wire_rows(9) if row["id"] != "env-3"]
    served.poll(rows, NOW + 5_000, in_doubt=frozenset({"env-3"}), served=HandedOn(0.0))
    served.poll(rows, NOW + 7_000, served=HandedOn(2.0, is_repeat=True))
    answer = served.ask(path=f"{LISTING_PATH}/device-of-env-3", at=NOW + 8_000)
    assert answer.status == 200
    assert header(answer, "Envwatch-Listing-Age") == "3.000"


def test_an_unreadable_row_is_set_aside_by_viewers_too() -> None:
    served = Served()
    served.poll(wire_rows(20))
    bad = [row if row["id"] != "env-3" else row | {"lastHeartbeat": "soon"} for row in wire_rows(20)]
    for number in (1, 2):
        at = NOW + 5_000 * number
        served.poll(bad, at)
        pages = list(served.pages(7, at))
        assert [id_ for page in pages for id_ in page.rejected_ids] == ["env-3"]
        assert [environment for page in pages for environment in page.environments] == served.environments
        assert [row["id"] for row in served.rows(at=at, onlineOnly="true")].count("env-3") == 0
        answer = served.ask(path=f"{LISTING_PATH}/device-of-env-3", at=at)
        assert parse_page(b'{"connections":[%b],"hasNextPage":false}' % answer.body).rejected_ids == ("env-3",)
    served.poll(wire_rows(20), NOW + 15_000)
    assert len(served.environments) == len(served.rows(at=NOW + 15_000)) == 20


def test_a_row_unreadable_from_the_start_is_set_aside_by_viewers_too() -> None:
    served = Served()
    served.poll([wire_row("a\u202eb", firstSeenAt=None), *wire_rows(20)])
    assert [id_ for page in served.pages(7) for id_ in page.rejected_ids] == [clean_key("a\u202eb")]
    assert served.ask(path=f"{LISTING_PATH}/").status == 404


def test_the_bytes_of_an_unchanged_row_are_kept() -> None:
    served = Served()
    served.poll(wire_rows(3))
    before = served.endpoint.listing
    served.poll([wire_row("env-2", lastHeartbeat=NOW), wire_row("env-3"), wire_row("env-1")], NOW + 5_000)
    after = served.endpoint.listing
    assert before is not None
    assert after is not None
    kept = {row.id for row in after.rows if any(row.data is other.data for other in before.rows)}
    assert kept == {"env-1", "env-3"}
    assert after.rows[0].data != before.rows[1].data
