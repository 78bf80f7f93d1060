"""A walk's pages belong to one listing, although upstream reorders rows meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, wire_row
from support.served import Row, Served, header

if TYPE_CHECKING:
    from collections.abc import Iterable

deep = settings(max_examples=examples(300), deadline=None)


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
        assert json.loads(answer.body)["error"] == "the listing of this walk is too old: read again from the first page"
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
    monkeypatch.setattr("envwatch.serving.answers.WALKS_KEPT", 4)
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
