"""The outcome of a poll: causes, a listing's rows, age and cost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, beating, environment, failed, listed, slept

from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, WallMs
from envwatch.model.outcome import Cause, Failure, ListedPage, ListingCost, PollResult, RelayInfo, Snapshot, SourceError
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.outcome import Outcome


def test_only_401_and_403_are_a_refusal_of_the_key() -> None:
    assert {cause for cause in Cause if cause.is_refusal} == {Cause.UNAUTHORIZED, Cause.FORBIDDEN}


def test_only_429_and_503_are_an_overload() -> None:
    assert {cause for cause in Cause if cause.is_overload} == {Cause.RATE_LIMITED, Cause.UNAVAILABLE}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"lastHeartbeat": NOW}, {"lastHeartbeat": NOW - 1}, 0),
        ({"lastHeartbeat": NOW - 1}, {"lastHeartbeat": NOW}, 1),
        ({"lastHeartbeat": None}, {"lastHeartbeat": -1}, 1),
        ({"lastHeartbeat": -1}, {"lastHeartbeat": None}, 0),
        ({"lastSeenAt": NOW}, {"lastSeenAt": NOW - 1}, 0),
        ({"lastSeenAt": NOW - 1}, {"lastSeenAt": NOW}, 1),
        ({"connectionName": "a"}, {"connectionName": "b"}, 1),
        ({"connectionName": "b"}, {"connectionName": "a"}, 0),
        ({}, {}, 0),
    ],
)
def test_of_two_rows_with_one_id_the_newest_heartbeat_counts(
    first: dict[str, Any], second: dict[str, Any], kept: int
) -> None:
    rows = [environment(**first), environment(**second)]
    pages = tuple(ListedPage([row], WallMs(NOW + place)) for place, row in enumerate(rows))
    clock = ServerClock((OffsetBounds(-1_000, -1_000),))
    snapshot = Snapshot.of_pages(pages)
    assert snapshot.rows == {"env-1": rows[kept]}
    assert [*snapshot.timed_rows(clock)] == [(rows[kept], NOW + kept - 1_000)]


@pytest.mark.parametrize(
    ("served", "is_repeat"), [(None, False), (RelayInfo(0.0), False), (RelayInfo(0.0, is_repeat=True), True)]
)
def test_only_a_server_with_a_stored_listing_repeats_a_listing(served: RelayInfo | None, *, is_repeat: bool) -> None:
    assert Snapshot.of_pages((), served=served).is_repeat is is_repeat


@pytest.mark.parametrize(("served", "age_s"), [(None, 0.0), (RelayInfo(0.0), 0.0), (RelayInfo(2.5), 2.5)])
def test_a_stored_listing_was_asked_for_before_the_poll(served: RelayInfo | None, age_s: float) -> None:
    outcome = listed(beating(1))
    asked = outcome._replace(snapshot=outcome.snapshot._replace(served=served)).asked
    assert asked == (NOW - 1_000 * age_s, outcome.started.monotonic - age_s)


@pytest.mark.parametrize(
    ("sizes", "rejected", "requests", "cost"),
    [
        ([], 0, 0, ListingCost(1, 0, 0)),
        ([3], 0, 1, ListingCost(1, 3, 3)),
        ([3, 5, 2], 0, 3, ListingCost(3, 10, 5, is_paged=True)),
        ([3, 2], 4, 7, ListingCost(7, 9, 7, is_paged=True)),
    ],
)
def test_a_listing_costs_requests_rows_and_time(
    sizes: list[int], rejected: int, requests: int, cost: ListingCost
) -> None:
    pages = tuple(ListedPage([environment()] * size, WallMs(NOW)) for size in sizes)
    outcome = listed([])._replace(snapshot=Snapshot.of_pages(pages, rejected=rejected, requests=requests))
    ended = Clocks(outcome.started.wall, MonotonicS(outcome.started.monotonic + 2.5))
    assert outcome.cost == cost
    assert outcome._replace(ended=ended).cost == cost._replace(took=timedelta(seconds=2.5))


def test_a_missing_count_is_nothing() -> None:
    snapshot = Snapshot.of_pages(())
    assert (snapshot.rejected, snapshot.requests, snapshot.received) == (0, 0, 0)
    assert ListingCost() == ListingCost(1, 0, 0, is_paged=False, took=timedelta())
    failure = Failure(Cause.TIMEOUT, clean("late"))
    assert failure.pages_read == 0
    assert str(SourceError(failure)) == "late"


def test_each_kind_of_outcome_has_a_result() -> None:
    outcomes: list[Outcome] = [listed([]), failed(), slept(NOW, NOW + 1)]
    assert [PollResult.from_outcome(each) for each in outcomes] == ["listed", "failed", "slept"]
