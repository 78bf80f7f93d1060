"""Pages put together, without any HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import page_bytes, wire_rows

from envwatch.model.clock import OffsetBounds
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.page import Page, page_of
from envwatch.sources.letta.pagination import Walk


def page(first: int, last: int, *, has_next: bool = False, set_aside: int = 0) -> Page:
    read = page_of(page_bytes(wire_rows(last)[first - 1 :], has_next))
    return Page(read.environments, read.has_next_page, read.cursor, set_aside)


def add(walk: Walk, one: Page) -> str | None:
    return walk.add(one, asked_at=0.0, offset=None, requests=1, received=100)


def test_what_was_read_is_added_up() -> None:
    walk = Walk(Limits())
    bounds = OffsetBounds(-1.0, 2.0)
    assert walk.add(page(1, 2, has_next=True), asked_at=5.0, offset=bounds, requests=2, received=10) == "env-2"
    assert walk.add(page(3, 3), asked_at=6.0, offset=None, requests=1, received=20) is None
    snapshot = walk.snapshot()
    assert [one.asked_at for one in snapshot.pages] == [5.0, 6.0]
    assert snapshot.clock == (bounds,)
    assert (snapshot.requests, snapshot.received, walk.pages_read) == (3, 30, 2)


@given(st.integers(1, 300), st.integers(1, 100))
def test_any_listing_is_walked_to_its_end(rows: int, size: int) -> None:
    walk = Walk(Limits())
    firsts = range(1, rows + 1, size)
    cursors = [add(walk, page(first, min(first + size - 1, rows), has_next=first + size <= rows)) for first in firsts]
    assert cursors[-1] is None
    assert None not in cursors[:-1]
    assert sum(len(one.environments) for one in walk.snapshot().pages) == rows


def test_a_last_page_may_repeat_rows_that_moved_meanwhile() -> None:
    walk = Walk(Limits())
    add(walk, page(1, 2, has_next=True))
    assert add(walk, page(1, 1)) is None
    assert len(walk.snapshot().pages) == 2


@pytest.mark.parametrize(("set_aside", "fits"), [(0, True), (1, True), (2, False)])
def test_a_tenth_of_the_rows_may_be_bad(set_aside: int, *, fits: bool) -> None:
    walk = Walk(Limits())
    add(walk, page(1, 10 - set_aside, set_aside=set_aside))
    if fits:
        assert walk.snapshot().set_aside == set_aside
    else:
        with pytest.raises(SourceError, match="2 of 10 rows do not fit"):
            walk.snapshot()


@pytest.mark.parametrize(("limits", "fits"), [(Limits(max_pages=2), True), (Limits(max_pages=1), False)])
def test_a_walk_has_a_most_of_pages(limits: Limits, *, fits: bool) -> None:
    walk = Walk(limits)
    if fits:
        add(walk, page(1, 1, has_next=True))
        assert add(walk, page(2, 2)) is None
    else:
        with pytest.raises(SourceError, match="more than 1 pages") as caught:
            add(walk, page(1, 1, has_next=True))
        assert caught.value.cause is Cause.ENDLESS


@pytest.mark.parametrize(("rows", "fits"), [(10, True), (11, False)])
def test_a_walk_has_a_most_of_rows_good_or_bad(rows: int, *, fits: bool) -> None:
    walk = Walk(Limits(max_rows=10))
    if fits:
        add(walk, page(1, rows - 1, set_aside=1))
    else:
        with pytest.raises(SourceError, match="more than 10 rows"):
            add(walk, page(1, rows - 1, set_aside=1))
