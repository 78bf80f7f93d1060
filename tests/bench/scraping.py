"""Costs of a scrape: all series of a fleet as text, with a tenth down."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from findings import Finding, in_turn
from fleets import decoded, pages_of, plain_rows
from support.builders import NOW, listed, reading

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.metrics.exposition import OPENMETRICS, exposition, with_poll
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE, USUAL = 10_000, 1_000


def scrape() -> list[Finding]:
    """Write all series of a usual fleet, and of a large fleet with series of 2,000 environments."""
    text, openmetrics, large, parts = in_turn(
        _scrape_of(USUAL), _scrape_of(USUAL, OPENMETRICS), _scrape_of(LARGE), _scrape_of(2 * USUAL)
    )
    one = partial(Finding, unit="ms", reference=parts, against="a scrape of 2,000 rows, all with series")
    return [
        one(what="scrape of 1,000 rows (CPU)", measured=text),
        one(what="scrape of 1,000 rows as OpenMetrics (CPU)", measured=openmetrics),
        one(what="scrape of 10,000 rows, 2,000 with series (CPU)", measured=large),
    ]


def _scrape_of(count: int, accept: str = "") -> Callable[[], object]:
    rows = [
        row | ({"connectionId": None, "lastHeartbeat": None} if number % 10 == 0 else {})
        for number, row in enumerate(plain_rows(count))
    ]
    outcome = listed(decoded(pages_of(rows)))
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}, profile_name=clean("default")).apply(
        NO_PROFILE, outcome, reading()
    )
    polls = with_poll({}, NO_PROFILE, outcome)
    return lambda: exposition(monitor, polls, reading(NOW + 1_000), accept=accept)
