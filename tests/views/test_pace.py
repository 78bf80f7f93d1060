"""Advice for slow polls: each advised setting gives the advised pace in the real poller."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.fake_clock import Script, World, outcomes_of, poller_of, walk

from envwatch.model.limits import Limits
from envwatch.model.outcome import ListingCost
from envwatch.views.pace import LargePage, pace_advice, reason_of, remedies_text, ways_to_poll_faster

S = timedelta(seconds=1)
ROWS = ListingCost(requests=100, rows=10_000, page_rows=100, is_paged=True, took=3 * S)
IF_ALLOWED = ", if the server allows so many requests"
AT_MOST_100 = " (the server sends at most 100 machines a page)"
SLOW_SERVER = "no setting makes the polls faster: look at the network, the proxy and the server"


def cost_of(rows: int, page_size: int, took_s: float) -> ListingCost:
    pages = max(math.ceil(rows / page_size), 1)
    return ListingCost(pages, rows, min(rows, page_size), is_paged=pages > 1, took=timedelta(seconds=took_s))


@pytest.mark.parametrize(
    ("limits", "cost", "pace", "why"),
    [
        (Limits(), ROWS._replace(requests=5), None, ""),
        (Limits(), ROWS._replace(requests=6), "6s", "6 pages at 60 requests a minute take 6s"),
        (Limits(), ROWS, "1m 40s", "100 pages at 60 requests a minute take 1m 40s"),
        (Limits(requests_per_minute=1001), ROWS, None, ""),
        (Limits(requests_per_minute=1000), ROWS, "6s", "100 pages at 1,000 requests a minute take 6s"),
        (Limits(), ListingCost(took=5 * S), None, ""),
        (Limits(), ListingCost(took=6 * S), "10s", "a poll takes 6s"),
        (
            Limits(),
            ROWS._replace(requests=6, took=7 * S),
            "12s",
            "6 pages at 60 requests a minute take 6s and a poll takes 7s",
        ),
        (Limits(requests_per_minute=10), ListingCost(took=S), "6s", "1 page at 10 requests a minute take 6s"),
    ],
)
def test_the_reason_for_slow_polls_names_pages_and_budget_or_the_time_of_a_listing(
    limits: Limits, cost: ListingCost, pace: str | None, why: str
) -> None:
    reason = None if pace is None else f"polls come every {pace}, not every 5s: {why}"
    assert reason_of(limits, cost) == reason


@pytest.mark.parametrize(
    ("limits", "cost", "largest", "text"),
    [
        (Limits(), ROWS, None, f"`requests_per_minute = 1200`: polls every 5s{IF_ALLOWED}{AT_MOST_100}"),
        (Limits(), ROWS, (100, S / 5), f"`requests_per_minute = 1200`: polls every 5s{IF_ALLOWED}"),
        (Limits(interval=7 * S), ROWS, None, f"`requests_per_minute = 858`: polls every 7s{IF_ALLOWED}{AT_MOST_100}"),
        (Limits(), ListingCost(took=6 * S), None, f'{SLOW_SERVER}; `interval = "6s"` skips no poll'),
        (Limits(), ListingCost(took=10 * S), None, SLOW_SERVER),
        (
            Limits(),
            ROWS,
            (1000, S / 5),
            (
                "`page_size = 1000` and `requests_per_minute = 120`, or `requests_per_minute = 1200`: polls every 5s"
                f"{IF_ALLOWED}"
            ),
        ),
        (
            Limits(page_size=10),
            cost_of(400, 10, 1),
            (1000, S / 5),
            f"`page_size = 100`, or `requests_per_minute = 480`: polls every 5s{IF_ALLOWED}",
        ),
        (
            Limits(requests_per_minute=6000),
            cost_of(1_000, 100, 12),
            (1000, 4 * S),
            "`page_size = 1000`: polls every 5s",
        ),
        (
            Limits(),
            cost_of(100_000, 100, 3),
            (1000, S / 50),
            (
                "`page_size = 1000` and `requests_per_minute = 1200`: polls every 5s; "
                f"or `requests_per_minute = 6000`: polls every 10s{IF_ALLOWED}"
            ),
        ),
    ],
)
def test_advice_names_settings_with_values_for_this_fleet(
    limits: Limits, cost: ListingCost, largest: LargePage | None, text: str
) -> None:
    assert remedies_text(ways_to_poll_faster(limits, cost, largest), limits, cost, largest) == text


@pytest.mark.parametrize(
    ("limits", "cost", "advice"),
    [
        (
            Limits(),
            ROWS,
            "`requests_per_minute = 1200` helps, a greater `page_size` may help (`envwatch doctor` measures)",
        ),
        (Limits(page_size=500), ROWS, "`requests_per_minute = 1200` helps (`envwatch doctor` measures)"),
        (Limits(), ListingCost(took=6 * S), "`envwatch doctor` measures what helps"),
    ],
)
def test_the_help_advises_larger_pages_unless_the_server_sends_smaller_pages_than_the_setting(
    limits: Limits, cost: ListingCost, advice: str
) -> None:
    assert pace_advice(limits, cost) == f"{reason_of(limits, cost)}; {advice}"
    assert pace_advice(limits, ListingCost()) is None


async def interval_of(limits: Limits, requests: int, took_s: float) -> timedelta:
    """Return the time between two polls of the real poller."""
    script = Script(world := World(), walk(requests), takes=took_s)
    await outcomes_of(poller_of(world, script, limits), 3)
    return timedelta(seconds=script.asked_at[2] - script.asked_at[1])


@settings(max_examples=examples(200))
@given(
    limits=st.builds(
        Limits,
        interval=st.integers(1, 30).map(lambda seconds: timedelta(seconds=seconds)),
        requests_per_minute=st.integers(10, 6_000),
        page_size=st.integers(50, 1_000),
    ),
    rows=st.integers(1, 50_000),
    took_s=st.integers(0, 3_000).map(lambda tenths: tenths / 100),
    largest=st.none() | st.tuples(st.integers(1, 1_000), st.integers(1, 200).map(lambda part: S * part / 100)),
)
async def test_each_advised_setting_gives_the_advised_pace_and_a_smaller_budget_does_not(
    limits: Limits, rows: int, took_s: float, largest: LargePage | None
) -> None:
    cost = cost_of(rows, limits.page_size, took_s)
    slow = limits.pace(cost.requests, cost.took)
    found = ways_to_poll_faster(limits, cost, largest)
    assert await interval_of(limits, cost.requests, took_s) == pytest.approx(slow, abs=S / 1000)
    assert (reason_of(limits, cost) is None) == (slow // S == limits.interval // S)
    for remedy in found:
        assert limits.interval <= remedy.interval < slow
        advised = replace(limits, **cast("Any", remedy.settings))
        pages, seconds = cost.requests, took_s
        if (page_size := remedy.settings.get("page_size")) is not None:
            assert largest is not None
            assert limits.page_size < page_size <= largest[0]
            pages = math.ceil(rows / page_size)
            seconds = pages * largest[1].total_seconds()
        assert await interval_of(advised, pages, seconds) == pytest.approx(remedy.interval, abs=S / 1000)
        assert advised.requests_per_minute <= 6_000
        if (budget := remedy.settings.get("requests_per_minute")) is not None:
            assert budget > limits.requests_per_minute
            fewer = replace(advised, requests_per_minute=budget - 1)
            assert fewer.pace(pages, timedelta(seconds=seconds)) > remedy.interval
    if not found and largest is None:
        most = replace(limits, requests_per_minute=6_000)
        assert most.pace(cost.requests, cost.took) >= slow
