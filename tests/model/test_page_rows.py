"""Splitting of an unparsable page into rows."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.model.page import id_in, split

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text('"\\[]{}:,é', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXT, inside, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


@given(
    st.lists(OBJECTS, max_size=4),
    OBJECTS,
    st.sampled_from([None, 1]),
    st.booleans(),
    st.booleans(),
)
def test_every_page_falls_into_its_rows_and_the_rest(
    rows: list[Any],
    others: dict[str, Any],
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  hypothesis passes by place
    rows_first: bool,  # noqa: FBT001
) -> None:
    others = {key: value for key, value in others.items() if key != "connections"}
    page = {"connections": rows} | others if rows_first else others | {"connections": rows}
    pieces = split(json.dumps(page, indent=indent, ensure_ascii=ascii_only).encode())

    assert pieces is not None
    assert [json.loads(row) for row in pieces[0]] == rows
    assert json.loads(pieces[1]) == page | {"connections": []}


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.data())
def test_a_page_that_ends_too_early_is_never_whole(rows: list[Any], data: st.DataObject) -> None:
    page = json.dumps({"hasNextPage": False, "connections": rows}).encode()
    pieces = split(page[: data.draw(st.integers(0, len(page) - 1))])

    if pieces is not None:
        with pytest.raises(ValueError, match=r"."):
            json.loads(pieces[1])


@given(OBJECTS, st.none() | TEXT)
def test_the_id_of_a_row_is_found_without_reading_the_row(row: dict[str, Any], id_: str | None) -> None:
    row = {key: value for key, value in row.items() if key != "id"} | {"deep": {"id": "not this"}}
    if id_ is not None:
        row["id"] = id_
    found = id_in(json.dumps(row, ensure_ascii=False).encode())

    assert (None if found is None else json.loads(found)) == id_


def test_the_last_of_two_ids_holds_as_it_does_for_a_parser() -> None:
    assert id_in(b'{"id": "a", "x": [{}], "id": "b"}') == b'"b"'
    assert id_in(b'{"id": "a", "id": 5}') == b'"a"'


SIZE = 2 << 20
START = b'{"connections": ['


PAGES = (
    START + b"{" * (SIZE // 2) + b"}" * (SIZE // 2),
    START + b"{}," * (SIZE // 12),
    START + b'{"' + b'\\"' * (SIZE // 2),
    START + b"{}" + b" " * SIZE,
)
"""A page of each sort: nested rows, many rows, a text of escapes, blanks."""
OTHERS = (
    START + b"{}," * (SIZE // 3),
    b"[" * SIZE,
    b'{"connections":' * (SIZE // 15),
    START + b"[" * SIZE,
    START + b"{" * SIZE,
    START + b"{" + b"[]" * (SIZE // 2),
    START + b'{"' + b"\\" * SIZE,
    START + b"{" + b'"' * SIZE,
    START + b" " * SIZE,
    b'{"connections"' + b" " * SIZE,
    b'{"connections"   ' * (SIZE // 16),
)


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(pytest.param(page, marks=pytest.mark.slow) for page in OTHERS)],
    ids=lambda page: f"{page[:24]!r}",
)
def test_the_time_grows_with_the_size_of_a_page_and_not_with_its_square(page: bytes) -> None:
    def cost(size: int) -> float:
        started = time.process_time()
        split(page[:size])
        id_in(page[:size])
        return time.process_time() - started

    # A sixteenth of the page takes a sixteenth of a linear time, a 256th of a quadratic time.
    assert cost(len(page)) <= 64 * max(cost(len(page) // 16), 0.02)
