"""The meaning of a listing request."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.model.listing_api import (
    PageParams,
    RefusedError,
    accepts_gzip,
    device_in,
    is_online,
    listing_body,
    page_of_rows,
)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", PageParams(limit=50)),
        ("limit=7", PageParams(limit=7)),
        ("limit=1", PageParams(limit=1)),
        ("limit=101", PageParams(limit=100)),
        ("limit=999999999", PageParams(limit=100)),
        ("after=a%2Fb&limit=1&limit=2", PageParams(limit=2, after="a/b")),
        ("after=", PageParams(after="")),
        ("onlineOnly=true", PageParams(online_only=True)),
        ("onlineOnly=false", PageParams()),
        ("source=local&userId=%F0%9F%9A%80", PageParams(source="local", user_id="🚀")),
        ("source=remote&colour=green&&=", PageParams(source="remote")),
    ],
)
def test_a_query_has_parameters(query: str, params: PageParams) -> None:
    assert PageParams.from_query(query, 100) == params


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1000000000", "limit=", "limit=1.5", "limit=%D9%A3", "limit=" + "9" * 5_000),
        *("onlineOnly=yes", "source=", "source=x"),
    ],
)
def test_a_forbidden_value_is_400_and_named(query: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        PageParams.from_query(query, 100)
    assert refusal.value.status == 400
    assert query.partition("=")[0] in refusal.value.body["error"]


@given(st.text())
def test_any_query_has_parameters_or_is_refused(query: str) -> None:
    with suppress(RefusedError):
        assert 1 <= PageParams.from_query(query, 100).limit <= 100


def test_a_path_asks_for_the_listing_or_for_a_device() -> None:
    assert device_in("/v1/environments") is None
    assert device_in("/v1/environments/") == ""
    assert device_in("/v1/environments/desktop%3aA%2F%C3%BC") == "desktop:A/ü"


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/environmentsx", "/v1/environments/a/b", "/x/v1/environments"])
def test_any_other_path_is_404(path: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        device_in(path)
    assert (refusal.value.status, refusal.value.body) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("connection_id", "beat", "expected"),
    [
        ("conn", 1_000_000 - 119_999, True),
        ("conn", 1_000_000 - 120_000, False),
        ("conn", 1_000_000 + 5_000, True),
        ("conn", None, False),
        ("", 1_000_000, False),
        (None, 1_000_000, False),
    ],
)
def test_online_is_what_the_official_client_says(
    connection_id: str | None,
    beat: float | None,
    expected: bool,  # noqa: FBT001  # the parameter of a table
) -> None:
    assert is_online(connection_id, beat, 1_000_000) is expected


@given(st.integers(0, 30), st.none() | st.integers(1, 31))
def test_a_page_has_the_first_rows_and_says_whether_there_are_more(count: int, limit: int | None) -> None:
    page, has_next_page = page_of_rows(iter(range(count)), limit)
    assert page == list(range(count if limit is None else min(count, limit)))
    assert has_next_page is (limit is not None and count > limit)


def test_a_page_reads_one_row_beyond_its_end() -> None:
    rows = iter(range(10))
    page_of_rows(rows, 3)
    assert next(rows) == 4


def test_the_body_of_a_page_has_two_members() -> None:
    assert listing_body([b"{}", b"[1]"], has_next_page=True) == b'{"connections":[{},[1]],"hasNextPage":true}'
    assert listing_body([], has_next_page=False) == b'{"connections":[],"hasNextPage":false}'


def test_a_row_passes_the_filters_of_its_organization_and_its_user() -> None:
    assert PageParams(source="local").admits("local", None)
    assert not PageParams(source="remote").admits("local", None)
    assert PageParams(source="remote").admits("Local", None)
    assert PageParams(user_id="a").admits("x", "a")
    assert not PageParams(user_id="a").admits("x", None)
    assert not PageParams(source="local", user_id="a").admits("x", "a")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *((header, True) for header in ("gzip", "br, GZIP;q=0.5", "gzip;q=1", "gzip;q=1.000", "gzip;q=0.001")),
        *((header, False) for header in ("gzip; q=0.000", "gzip;q=0", "br;q=1, gzip;q=0", "gzipped", "", "*")),
    ],
)
def test_gzip_is_accepted_where_named(header: str, expected: bool) -> None:  # noqa: FBT001  # a table's column
    assert accepts_gzip(header) is expected
