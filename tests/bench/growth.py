"""Costs from 100 to 100,000 rows, as a table and as `docs/pictures/growth.svg`.

The reference is 1,000 rows. Moves and ticks must not grow; a listing's cost grows with the rows.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from arranged import moves
from findings import Finding, in_turn
from fleets import beating, decoded, demo_rows, pages_of
from plot import log_plot

from envwatch.views.table.table_view import View

SIZES = (100, 1_000, 10_000, 100_000)
USUAL = 1_000
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "growth.svg"


def growth() -> list[Finding]:
    """Measure at every size and draw the plot; takes some minutes."""
    costs: dict[str, dict[int, float]] = {}
    for size in SIZES:
        for what, spent in _costs(size).items():
            costs.setdefault(what, {})[size] = spent
    PICTURE.write_text(log_plot(costs, across="environments", up="CPU milliseconds"), encoding="utf-8")
    return [
        Finding(
            what=f"{what}, {size:,} rows (CPU)",
            measured=spent,
            unit="ms",
            reference=by_size[USUAL],
            against=f"{USUAL:,} rows",
        )
        for what, by_size in costs.items()
        for size, spent in by_size.items()
    ]


def _costs(size: int) -> dict[str, float]:
    rows = demo_rows(size)
    pages, later = pages_of(rows), pages_of(beating(rows))
    first = decoded(pages)
    known = {row.id: row for row in first}
    fresh, again = in_turn(partial(decoded, pages), partial(decoded, later, known))
    moved = asyncio.run(moves(first, View()))
    return {
        "first listing decoded": fresh,
        "next listing decoded": again,
        "same listing again, drawn": moved["a listing taken in and drawn"],
        "page down": moved["key page down"],
        "cursor down": moved["key down"],
        "a second passes": moved["a tick"],
    }
