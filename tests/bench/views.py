"""100,000 rows against 10,000: filtering, sorting, and moving on the screen."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from arranged import ARRANGED
from findings import Finding, in_turn
from fleets import decoded, demo_rows, pages_of
from support.app_harness import staged
from support.builders import NOW, listed
from support.tracked_environments import contexts_at

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import Fleet
from envwatch.query.language import parse
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.columns import fitting
from envwatch.views.table.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment

FEW, MANY = 10_000, 100_000

VIEWS = {
    "problems first": View(),
    "sort by name": View(sort="name"),
    "sort by version": View(sort="version"),
    "sort by beat": View(sort="state"),
    "filter by a word": View(query=parse("build")),
    "filter by a field": View(query=parse("version:<0.34")),
    "only offline": View(preset=Preset.OFFLINE),
}
KEYS = {"down": "j", "page down": "pagedown", "end": "G", "top": "g"}


def views_100k() -> list[Finding]:
    few, many = (decoded(pages_of(demo_rows(count))) for count in (FEW, MANY))
    found = []
    for what, measured, reference in (*_choosing(few, many), *_moving(few, many)):
        found.append(
            Finding(
                what=f"100,000 rows: {what}", measured=measured, unit="ms", reference=reference, against="10,000 rows"
            )
        )
    return found


def _choosing(few: Sequence[Environment], many: Sequence[Environment]) -> list[tuple[str, float, float]]:
    columns = tuple(column for column, _ in fitting(79))
    small, large = (Fleet().apply(NO_PROFILE, listed(rows, NOW))[0] for rows in (few, many))
    times = []
    for what, view in VIEWS.items():
        works = (partial(arrange, contexts_at(fleet), view, columns) for fleet in (small, large))
        reference, measured = in_turn(*works, times=3)
        times.append((f"{what}, the pure view (CPU)", measured, reference))
    return times


def _moving(few: Sequence[Environment], many: Sequence[Environment]) -> list[tuple[str, float, float]]:
    found = []
    for how, view in (("", View()), (" filtered, sorted and grouped", ARRANGED)):
        reference, measured = (asyncio.run(moves(rows, view)) for rows in (few, many))
        found += [(f"{what}{how}, headless (CPU)", measured[what], reference[what]) for what in reference]
    return found


async def moves(rows: Sequence[Environment], view: View) -> dict[str, float]:
    """Return the median CPU milliseconds of a listing, of each key, and of a tick."""
    async with staged() as stage:
        stage.app.dashboard.set_view(view)
        times: dict[str, list[float]] = {}

        def note(what: str, started: float) -> None:
            times.setdefault(what, []).append((time.process_time() - started) * 1000)

        outcome = listed(rows, stage.at)
        for _ in range(3):
            started = time.process_time()
            await stage.take(outcome)
            note("a listing taken in and drawn", started)
        for _ in range(5):
            for what, key in KEYS.items():
                started = time.process_time()
                await stage.press(key)
                note(f"key {what}", started)
            started = time.process_time()
            await stage.tick()
            note("a tick", started)
        return {what: median(each) for what, each in times.items()}
