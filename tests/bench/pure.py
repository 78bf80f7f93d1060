"""Costs without network and screen: decoding a listing, reducing to changes, and a scrape of all series."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from findings import Finding, in_turn
from fleets import beating, decoded, demo_rows, pages_of, plain_rows
from support.builders import NOW, listed, reading

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.environment import Environment
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.serve.exposition import OPENMETRICS, exposition, with_poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


ROWS = 10_000


def decode() -> list[Finding]:
    """Decode and validate page by page, as the first poll and as later polls do."""
    found = []
    for name, rows_of in (("rows of plain ASCII", plain_rows), ("of the demo's rows", demo_rows)):
        pages, later = pages_of(rows_of(ROWS)), pages_of(beating(rows_of(ROWS)))
        known = {row.id: row for row in decoded(pages)}
        first, again, plain = in_turn(partial(decoded, pages), partial(decoded, later, known), partial(_parsed, pages))
        for what, spent in (("", first), (", the next poll", again)):
            found.append(
                Finding(
                    what=f"decode and validate 10,000 {name}{what} (CPU)",
                    measured=spent,
                    unit="ms",
                    reference=plain,
                    against="`json.loads` of the same bytes",
                )
            )
    return found


def _parsed(pages: Sequence[bytes]) -> list[Any]:
    return [row for page in pages for row in json.loads(page)["connections"]]


def reduce() -> list[Finding]:
    """Reduce an unchanged listing, and a listing with one new heartbeat in six."""
    pages, later_pages = pages_of(plain_rows(ROWS)), pages_of(beating(plain_rows(ROWS)))
    before = decoded(pages)
    known = {row.id: row for row in before}
    same, later = (decoded(each, known) for each in (pages, later_pages))
    apart = decoded(later_pages)
    profile_state, _ = ProfileState().apply(listed(before, NOW))
    names = [field.name for field in fields(Environment)]
    left, right = ([tuple(getattr(row, name) for name in names) for row in each] for each in (before, apart))
    outcomes = [listed(each, NOW + 5_000) for each in (same, later)]
    nothing, missed_beats, tuples = in_turn(
        lambda: profile_state.apply(outcomes[0]),
        lambda: profile_state.apply(outcomes[1]),
        lambda: sum(one != other for one, other in zip(left, right, strict=True)),
        times=9,
    )
    return [
        Finding(
            what=f"fleet after a listing of 10,000 rows, {what} (CPU)",
            measured=spent,
            unit="ms",
            reference=tuples,
            against="comparing 10,000 pairs of tuples",
        )
        for what, spent in (("nothing changed", nothing), ("one in six with a new heartbeat", missed_beats))
    ]


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
