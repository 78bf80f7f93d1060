"""Equal values of many rows are shared."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.builders import page_bytes, wire_row

from envwatch.model.page import Pool, page_of

LIMIT = 10_000

SCALARS = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 2.5]) | st.sampled_from(["", "a"])
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inside, max_size=2),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["os", "machine", "x"]), VALUES), max_size=6))
def test_what_is_shared_reads_as_it_did(rows: list[dict[str, Any]]) -> None:
    pool = Pool()
    for row in rows:
        before = copy.deepcopy(row)
        pool.share(row)
        assert json.dumps(row) == json.dumps(before)  # distinguishes 1, 1.0 and true


def test_rows_of_different_pages_share_what_is_equal_in_their_metadata() -> None:
    pool = Pool()
    one, other = (page_of(page_bytes([wire_row(id_)]), None, pool).environments[0] for id_ in ("env-1", "env-2"))

    assert one.metadata is not None
    assert other.metadata is not None
    assert one.metadata is not other.metadata
    assert all(one.metadata[name] is other.metadata[name] for name in one.metadata)


def test_a_row_that_has_not_changed_stays_the_very_same_object() -> None:
    pool = Pool()
    (before,) = page_of(page_bytes([wire_row()]), None, pool).environments

    assert page_of(page_bytes([wire_row()]), {before.id: before}, Pool()).environments[0] is before


def test_a_value_that_is_new_in_a_known_row_is_shared() -> None:
    pool = Pool()
    known = {row.id: row for row in page_of(page_bytes([wire_row("env-1")])).environments}
    rows = [wire_row(id_, metadata={"rack": [1, 2]}) for id_ in ("env-1", "env-2")]
    one, other = page_of(page_bytes(rows), known, pool).environments

    assert one.metadata is not None
    assert other.metadata is not None
    assert one.metadata["rack"] is other.metadata["rack"]


def test_no_more_values_are_kept_than_are_worth_it() -> None:
    pool = Pool()
    for number in range(LIMIT + 10):
        pool.share({"name": f"text {number}", "list": [number]})
    last: dict[str, Any] = {"name": "text 0", "list": [0], "new": "new", "more": [{"a": "new"}]}
    pool.share(last)

    assert last == {"name": "text 0", "list": [0], "new": "new", "more": [{"a": "new"}]}
    assert len(pool) == 2 * LIMIT
