"""A bench's findings as lines of a table, and the statistics that benches share.

No finding fails: a bench reports, and the reader judges by the ratios.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING

from support.budgets import Budget

from envwatch.cli import gc_tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD = (
    "| what | measured | reference in the same run | ratio | budget | met? |\n"
    "|---|--:|---|--:|---|:-:|"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure and its reference. `budgets.toml` has the budget under the finding's text."""

    what: str
    measured: float
    unit: str
    reference: float | None = None
    """In the same unit."""
    against: str = ""
    """What the reference is."""

    @property
    def ratio(self) -> float | None:
        """How much of the reference it is."""
        return self.measured / self.reference if self.reference else None

    def keeps(self, budget: Budget) -> bool | None:
        """Return whether the figure is within a budget, or None without one."""
        if budget == Budget():
            return None
        return self.measured <= budget.limit and (self.ratio or 0) <= budget.ratio

    def line(self, budget: Budget) -> str:
        """Return the line of the table."""
        reference = "–" if self.reference is None else f"{number_text(self.reference)} {self.unit} {self.against}"
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
        met = {True: "yes", False: "**no**", None: "–"}[self.keeps(budget)]
        measured = f"{number_text(self.measured)} {self.unit}"
        return f"| {self.what} | {measured} | {reference} | {ratio} | {str(budget) or '–'} | {met} |"


def found_by(place: str) -> list[Finding]:
    """Run one bench, named by its module and function, and return what it found.

    To be called in a process of its own, which then has imported no other. What was imported is left out of garbage
    collections from here on, as the dashboard does.
    """
    module, _, name = place.partition(".")
    run = getattr(import_module(module), name)
    gc.collect()
    gc_tuning.start()
    found: list[Finding] = run()
    return found


def in_turn(*works: Callable[[], object], times: int = 5) -> list[float]:
    """Return the median CPU milliseconds of each work; they take turns, so that noise meets all of them alike.

    What is garbage before is collected before, and what a work returns is dropped after its time is taken.
    """
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, each in zip(works, spent, strict=True):
            gc.collect()
            started = time.process_time()
            result = work()
            each.append((time.process_time() - started) * 1000)
            del result
    return [median(each) for each in spent]


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which a part of them lie: 0.99 for p99."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def number_text(value: float) -> str:
    """Return a figure with three digits or so."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
