"""Reasons of polls slower than the interval, and faster settings for this fleet."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.model.limits import SETTABLE, Limits
from envwatch.model.text import SafeText, clean, counted
from envwatch.model.times import long_age, seconds_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.outcome import ListingCost

_BOUNDS: Final = {each.name: each.metadata["bounds"] for each in SETTABLE}
LARGEST_PAGE: Final[int] = _BOUNDS["page_size"][1]
_MOST_REQUESTS: Final[int] = _BOUNDS["requests_per_minute"][1]
_MINUTE: Final = timedelta(minutes=1)
_ROUND: Final = 100


LargePage: TypeAlias = tuple[int, timedelta]
"""Rows and duration of the server's largest page."""


class FasterPolls(NamedTuple):
    """New values of settings for more frequent polls."""

    settings: Mapping[str, int]
    interval: timedelta


def reason_of(limits: Limits, cost: ListingCost) -> SafeText | None:
    """Return why polls are slower than the interval; None if equal to the second."""
    interval, budgeted = limits.pace(cost.requests, cost.took), limits.budgeted(cost.requests)
    if long_age(interval) == long_age(limits.interval):
        return None
    reasons = []
    if budgeted > limits.interval:
        pages = f"{cost.requests:,} page{'' if cost.requests == 1 else 's'}"
        reasons.append(f"{pages} at {limits.requests_per_minute:,} requests a minute take {long_age(budgeted)}")
    if interval > max(budgeted, limits.interval):
        reasons.append(f"a poll takes {long_age(seconds_up(cost.took))}")
    slow = f"polls come every {long_age(interval)}, not every {long_age(limits.interval)}"
    return clean(f"{slow}: {' and '.join(reasons)}")


def ways_to_poll_faster(limits: Limits, cost: ListingCost, largest: LargePage | None = None) -> tuple[FasterPolls, ...]:
    """Return alternative settings, fewest requests first.

    `cost` was measured with `limits`; `largest` is None if unknown.
    """
    slow = limits.pace(cost.requests, cost.took)
    if slow <= limits.interval:
        return ()
    found = []
    if largest is not None and largest[0] > limits.page_size:
        found.append(_with_larger_pages(limits, cost, *largest))
    per_minute, interval = _least_budget(limits, cost.requests, cost.took)
    found.append(FasterPolls({"requests_per_minute": per_minute}, interval))
    return tuple(remedy for remedy in found if remedy.interval < slow)


def remedies_text(
    found: tuple[FasterPolls, ...], limits: Limits, cost: ListingCost, largest: LargePage | None = None
) -> SafeText:
    """Return configuration lines with conditions, or general advice if `found` is empty."""
    if not found:
        whole = seconds_up(cost.took)  # wastes no time between listings
        is_better = whole < limits.pace(cost.requests, cost.took)
        better = f'; `interval = "{whole.total_seconds():.0f}s"` skips no poll' if is_better else ""
        return clean(f"no setting makes the polls faster: look at the network, the proxy and the server{better}")
    intervals = dict.fromkeys(long_age(remedy.interval) for remedy in found)
    text = f"{', or '.join(map(_spelled, found))}: polls every {', '.join(intervals)}"
    if len(intervals) > 1:
        text = "; or ".join(f"{_spelled(remedy)}: polls every {long_age(remedy.interval)}" for remedy in found)
    if any("requests_per_minute" in remedy.settings for remedy in found):
        text += ", if the server allows so many requests"
    if largest is None and cost.is_paged and cost.page_rows < LARGEST_PAGE:
        text += f" (the server sends at most {counted(cost.page_rows, 'machine')} a page)"
    return clean(text)


def _spelled(remedy: FasterPolls) -> str:
    return " and ".join(f"`{name} = {value}`" for name, value in remedy.settings.items())


def pace_advice(limits: Limits, cost: ListingCost) -> SafeText | None:
    """Return `reason_of` with helpful settings."""
    reason = reason_of(limits, cost)
    if reason is None:
        return None
    helps = [f"{_spelled(remedy)} helps" for remedy in ways_to_poll_faster(limits, cost)]
    is_full = cost.is_paged and limits.page_size <= cost.page_rows  # the server may send larger pages
    if is_full and limits.page_size < LARGEST_PAGE:
        helps.append("a greater `page_size` may help")
    if not helps:
        return clean(f"{reason}; `envwatch doctor` measures what helps")
    return clean(f"{reason}; {', '.join(helps)} (`envwatch doctor` measures)")


def _with_larger_pages(limits: Limits, cost: ListingCost, rows: int, took: timedelta) -> FasterPolls:

    def cost_with(size: int) -> tuple[int, timedelta]:
        pages = max(math.ceil(cost.rows / size), 1)
        return pages, pages * took

    sizes = [*(size for size in range(_ROUND, rows, _ROUND) if size > limits.page_size), rows]
    size = min(sizes, key=lambda each: (limits.pace(*cost_with(each)), each))
    per_minute, interval = _least_budget(limits, *cost_with(size))
    budget = {} if per_minute == limits.requests_per_minute else {"requests_per_minute": per_minute}
    return FasterPolls({"page_size": size} | budget, interval)


def _least_budget(limits: Limits, requests: int, took: timedelta) -> tuple[int, timedelta]:
    """Return the least budget with the best pace, at least the present budget, and the pace."""
    ticks = max(math.ceil(took / limits.interval), 1)
    best = limits.interval * ticks
    # No tick is lost if the budget fills the best pace or a whole part.
    exact = (math.ceil(_MINUTE * requests * part / best) for part in range(1, ticks + 1))
    least = limits.requests_per_minute
    budgets = {least, max(least, _MOST_REQUESTS), *(budget for budget in exact if least < budget < _MOST_REQUESTS)}
    paces = ((replace(limits, requests_per_minute=each).pace(requests, took), each) for each in budgets)
    interval, per_minute = min(paces)
    return per_minute, interval
