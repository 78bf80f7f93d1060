"""Costs of `envwatch serve` for a listing and an answer, without sockets."""

from __future__ import annotations

import json
import time
import tracemalloc
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from findings import Finding, in_turn
from fleets import PAGE, decoded, demo_rows, pages_of
from support.builders import NOW, listed, reading
from support.demo_client import LISTING

from envwatch.fleet.profile_state import ProfileState
from envwatch.serving.answers import NOTHING_SHARED, ProfileEndpoint, Request, ServedListing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envwatch.model.environment import Environment
    from envwatch.serving.answers import Answer

_ROWS = 1_000
_TIMES = 2_000
_FIRST = 20
_GZIP = {"accept-encoding": "gzip, deflate"}


def answers() -> list[Finding]:
    return [*_answered(), *_built(), *_held()]


def _answered() -> list[Finding]:
    environments = decoded(pages_of(demo_rows(_ROWS)))
    endpoint = _endpoint(environments)
    query, device = f"limit={PAGE}", environments[PAGE].device_id
    page = Request(path=LISTING, query=query, headers=_GZIP)
    tag = next(value for name, value in _ask(endpoint, page).headers if name == "ETag")
    requests = {
        "a page of 100 rows, made before, gzip": page,
        "304 for a page of 100 rows": Request(path=LISTING, query=query, headers={"if-none-match": tag}),
        "a page of 100 rows that are online, made before": Request(
            path=LISTING, query=f"{query}&onlineOnly=true", headers=_GZIP
        ),
        "one device": Request(path=f"{LISTING}/{device}", headers=_GZIP),
    }
    found = [
        Finding(what=f"answer: {what} (CPU)", measured=_each_us(partial(_ask, endpoint, request)), unit="µs")
        for what, request in requests.items()
    ]
    rows = [json.loads(row.data) for row in ServedListing.from_outcome(listed(environments)).rows[:PAGE]]
    fresh, encoded = in_turn(
        partial(_first_answers, endpoint, count()),
        lambda: [json.dumps({"connections": rows, "hasNextPage": True}) for _ in range(_FIRST)],
    )
    return [
        *found,
        Finding(
            what="answer: a page of 100 rows, made for the first time, gzip (CPU)",
            measured=fresh / _FIRST,
            unit="ms",
            reference=encoded / _FIRST,
            against="`json.dumps` of the page",
        ),
    ]


def _built() -> list[Finding]:
    rows = demo_rows(_ROWS)
    before = decoded(pages_of(rows))
    later_rows = [row if place % 5 else row | _beat() for place, row in enumerate(rows)]
    after = decoded(pages_of(later_rows), {row.id: row for row in before})
    first = ServedListing.from_outcome(listed(before))
    outcome = listed(after, NOW + 5_000)
    whole, again, encoded = in_turn(
        lambda: ServedListing.from_outcome(listed(before)),
        lambda: ServedListing.from_outcome(outcome, first),
        lambda: [json.dumps(row) for row in later_rows],
    )
    return [
        Finding(
            what=f"listing of 1,000 rows to serve, {what} (CPU)",
            measured=spent,
            unit="ms",
            reference=encoded,
            against="`json.dumps` of each row",
        )
        for what, spent in (("the first", whole), ("one row in five with a new heartbeat", again))
    ]


def _held() -> list[Finding]:
    """Measure the memory of 10,000 served rows, of all pages, and of a next listing with a new walk.

    Excludes the poller's rows. A sixth of the rows has a new heartbeat, as after 5 s.
    """
    rows = demo_rows(10 * _ROWS)
    received = sum(map(len, pages_of(rows)))
    environments = decoded(pages_of(rows))
    beaten = [row if place % 6 else row | _beat() for place, row in enumerate(rows)]
    outcome = listed(environments)
    next_outcome = listed(decoded(pages_of(beaten), {row.id: row for row in environments}), NOW + 5_000)
    profile_state, _ = ProfileState().apply(outcome)
    next_state, _ = profile_state.apply(next_outcome)
    tracemalloc.start()
    endpoint = ProfileEndpoint()
    endpoint.update(profile_state, outcome, reading(), NOTHING_SHARED)
    alone, _ = tracemalloc.get_traced_memory()
    listing = endpoint.listing
    assert listing is not None
    for cursor in ["", *(f"&after={row.id}" for row in listing.rows[PAGE - 1 : -1 : PAGE])]:
        answer = _ask(endpoint, Request(path=LISTING, query=f"limit={PAGE}{cursor}", headers=_GZIP))
        assert answer.status == 200
    with_pages, _ = tracemalloc.get_traced_memory()
    endpoint.update(next_state, next_outcome, reading(NOW + 5_000), NOTHING_SHARED)
    with_next, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        Finding(
            what=f"memory of 10,000 rows to serve{what}",
            measured=size / 1e6,
            unit="MB",
            reference=received / 1e6,
            against="the rows' bytes as received",
        )
        for what, size in (
            ("", alone),
            (", with all pages made, gzip", with_pages),
            (", with the next listing as well", with_next),
        )
    ]


def _beat() -> dict[str, Any]:
    return {"lastHeartbeat": NOW - 1_000, "lastSeenAt": NOW - 1_000}


def _endpoint(environments: Sequence[Environment]) -> ProfileEndpoint:
    outcome, endpoint = listed(environments), ProfileEndpoint()
    endpoint.update(ProfileState().apply(outcome)[0], outcome, reading(), NOTHING_SHARED)
    return endpoint


def _ask(endpoint: ProfileEndpoint, request: Request) -> Answer:
    return endpoint.answer(request, reading(NOW + 2_000))


def _first_answers(endpoint: ProfileEndpoint, numbers: Iterator[int]) -> int:
    """Return the bytes of uncached answers: each query has another unknown parameter."""
    queries = [f"limit={PAGE}&unknown={next(numbers)}" for _ in range(_FIRST)]
    return sum(len(_ask(endpoint, Request(path=LISTING, query=each, headers=_GZIP)).body) for each in queries)


def _each_us(work: Callable[[], object]) -> float:
    """Return the CPU microseconds of one run: the minimum of several series, because noise only adds."""
    work()
    series = []
    for _ in range(5):
        started = time.process_time()
        for _number in range(_TIMES):
            work()
        series.append((time.process_time() - started) * 1e6 / _TIMES)
    return min(series)
