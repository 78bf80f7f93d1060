"""Assembly of pages, without HTTP."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import page_bytes, wire_rows

from envwatch.model.clock import OffsetBounds
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.page import Page, page_of
from envwatch.model.text import clean
from envwatch.sources.letta.client import ListingFetch, PageHistory
from envwatch.sources.letta.transport import Response


def page(first: int, last: int, *, has_next: bool = False, rejected: int = 0) -> Page:
    read = page_of(page_bytes(wire_rows(last)[first - 1 :], has_next))
    return Page(read.environments, read.has_next_page, read.cursor, rejected)


def response(asked_at: float = 0.0, *, requests: int = 1, received: int = 100, **headers: str) -> Response:
    return Response(
        status=200,
        headers=httpx.Headers(headers),
        body=b"",
        received=received,
        requests=requests,
        asked_at=asked_at,
        answered_at=asked_at + 2.0,
        tls=None,
    )


def add(walk: ListingFetch, one: Page) -> str | None:
    return walk.add(one, response())


def test_what_was_read_is_added_up() -> None:
    walk = ListingFetch(Limits())
    dated = response(5.0, requests=2, received=10, Date="Thu, 01 Jan 1970 00:00:01 GMT")
    assert walk.add(page(1, 2, has_next=True), dated) == "env-2"
    assert walk.add(page(3, 3), response(6.0, received=20)) is None
    snapshot = walk.snapshot()
    assert [one.asked_at for one in snapshot.pages] == [5.0, 6.0]
    assert snapshot.clock == (OffsetBounds(1_000 - 7.0, 2_000 - 5.0),)
    assert (snapshot.requests, snapshot.received, walk.pages_read) == (3, 30, 2)


@given(st.integers(1, 300), st.integers(1, 100))
def test_any_listing_is_walked_to_its_end(rows: int, size: int) -> None:
    walk = ListingFetch(Limits())
    firsts = range(1, rows + 1, size)
    cursors = [add(walk, page(first, min(first + size - 1, rows), has_next=first + size <= rows)) for first in firsts]
    assert cursors[-1] is None
    assert None not in cursors[:-1]
    assert sum(len(one.environments) for one in walk.snapshot().pages) == rows


def test_a_last_page_may_repeat_rows_that_moved_meanwhile() -> None:
    walk = ListingFetch(Limits())
    add(walk, page(1, 2, has_next=True))
    assert add(walk, page(1, 1)) is None
    assert len(walk.snapshot().pages) == 2


@pytest.mark.parametrize(("rejected", "fits"), [(0, True), (1, True), (2, False)])
def test_a_tenth_of_the_rows_may_be_bad(rejected: int, *, fits: bool) -> None:
    walk = ListingFetch(Limits())
    add(walk, page(1, 10 - rejected, rejected=rejected))
    if fits:
        assert walk.snapshot().rejected == rejected
    else:
        with pytest.raises(SourceError, match="2 of 10 rows do not fit"):
            walk.snapshot()


def test_a_page_of_one_row_that_cannot_be_read_does_not_end_the_walk() -> None:
    walk = ListingFetch(Limits())
    for number in range(1, 11):
        read = page(number, number, has_next=True)
        add(walk, Page([], True, read.cursor, 1, (clean("env-5"),)) if number == 5 else read)
    add(walk, page(11, 11))
    assert (walk.snapshot().rejected, sorted(walk.snapshot().rejected_ids)) == (1, ["env-5"])


def test_a_row_that_could_be_read_on_another_page_is_not_named_as_set_aside() -> None:
    walk = ListingFetch(Limits())
    add(walk, Page(page(1, 9).environments, True, "env-9", 1, (clean("env-10"),)))
    add(walk, page(10, 11))
    assert (walk.snapshot().rejected, walk.snapshot().rejected_ids) == (1, frozenset())


@pytest.mark.parametrize(("limits", "fits"), [(Limits(max_pages=2), True), (Limits(max_pages=1), False)])
def test_a_walk_has_a_most_of_pages(limits: Limits, *, fits: bool) -> None:
    walk = ListingFetch(limits)
    if fits:
        add(walk, page(1, 1, has_next=True))
        assert add(walk, page(2, 2)) is None
    else:
        with pytest.raises(SourceError, match="more than 1 pages") as caught:
            add(walk, page(1, 1, has_next=True))
        assert caught.value.failure.cause is Cause.ENDLESS


@pytest.mark.parametrize(("rows", "fits"), [(10, True), (11, False)])
def test_a_walk_has_a_most_of_rows_good_or_bad(rows: int, *, fits: bool) -> None:
    walk = ListingFetch(Limits(max_rows=10))
    if fits:
        add(walk, page(1, rows - 1, rejected=1))
    else:
        with pytest.raises(SourceError, match="more than 10 rows"):
            add(walk, page(1, rows - 1, rejected=1))


def read_endlessly(walk: ListingFetch) -> None:
    for number in range(1, 10_000):
        add(walk, page(number, number, has_next=True))


@pytest.mark.parametrize(
    ("last_pages", "pages"), [(None, 200), (1, 21), (2, 22), (10, 30), (11, 33), (50, 150), (100, 200)]
)
def test_a_walk_ends_beyond_three_times_the_pages_of_the_last_good_one_or_twenty_more(
    last_pages: int | None, pages: int
) -> None:
    walk = ListingFetch(Limits(max_pages=200), last_pages)
    with pytest.raises(SourceError) as caught:
        read_endlessly(walk)
    assert (caught.value.failure.cause, walk.pages_read) == (Cause.ENDLESS, pages)


def test_a_walk_that_outgrows_the_last_good_one_says_so() -> None:
    with pytest.raises(SourceError) as caught:
        read_endlessly(ListingFetch(Limits(), 2))
    assert caught.value.failure.message == "it goes on after 22 pages, and the last complete listing had 2"


def test_a_walk_may_have_as_many_pages_as_that() -> None:
    walk = ListingFetch(Limits(), 1)
    cursors = [add(walk, page(number, number, has_next=number < 21)) for number in range(1, 22)]
    assert cursors[-1] is None
    assert len(walk.snapshot().pages) == 21


def test_the_first_walk_has_no_bound() -> None:
    history = PageHistory()
    assert history.last_pages is None
    history.note_failed(Cause.ENDLESS)
    assert history.last_pages is None


def test_after_five_endless_walks_one_is_read_without_a_bound() -> None:
    """A fleet that grew, or a server with smaller pages, must not leave envwatch blind forever."""
    history = PageHistory()
    history.note_complete(7)
    found = []
    for _ in range(13):
        found.append(history.last_pages)
        history.note_failed(Cause.ENDLESS)
    assert found == [7, 7, 7, 7, 7, None, 7, 7, 7, 7, 7, None, 7]
    history.note_complete(9)
    assert history.last_pages == 9


def test_other_failures_between_do_not_delay_that() -> None:
    history = PageHistory()
    history.note_complete(7)
    for _ in range(5):
        history.note_failed(Cause.UNREACHABLE)
        history.note_failed(Cause.ENDLESS)
    assert history.last_pages is None
    history.note_failed(Cause.TIMEOUT)
    assert history.last_pages == 7


@pytest.mark.parametrize(
    ("per_minute", "last_pages", "burst"), [(3, None, 3), (3, 2, 3), (3, 5, 5), (60, None, 60), (12, 7, 12)]
)
def test_pages_are_spaced_beyond_the_budget_of_a_minute_and_the_length_of_the_last_complete_walk(
    per_minute: int, last_pages: int | None, burst: int
) -> None:
    walk = ListingFetch(Limits(requests_per_minute=per_minute), last_pages)
    for number in range(1, burst):
        add(walk, page(number, number, has_next=True))
        assert walk.pause(0.0) == 0
    add(walk, page(burst, burst, has_next=True))
    assert [walk.pause(since) for since in (0.0, 0.002, 0.005, 1.0)] == pytest.approx([0.005, 0.003, 0, 0])
