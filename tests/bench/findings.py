"""A bench's findings as table lines, and the benches' statistics.

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

from envwatch.watch import gc_tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD = (
    "| what | measured | reference in the same run | ratio | budget | met? |\n"
    "|---|--:|---|--:|---|:-:|"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A figure and the reference. `budgets.toml` has the budget under the finding's text."""

    what: str
    measured: float
    unit: str
    reference: float | None = None
    """In the same unit."""
    against: str = ""

    @property
    def ratio(self) -> float | None:
        return self.measured / self.reference if self.reference else None

    def keeps(self, budget: Budget) -> bool | None:
        if budget == Budget():
            return None
        return self.measured <= budget.limit and (self.ratio or 0) <= budget.ratio

    def line(self, budget: Budget) -> str:
        reference = "–" if self.reference is None else f"{number_text(self.reference)} {self.unit} {self.against}"
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
        met = {True: "yes", False: "**no**", None: "–"}[self.keeps(budget)]
        measured = f"{number_text(self.measured)} {self.unit}"
        return f"| {self.what} | {measured} | {reference} | {ratio} | {str(budget) or '–'} | {met} |"


def found_by(place: str) -> list[Finding]:
    """Run a bench by module and function, and return the findings.

    Needs a fresh process. Earlier imports are left out of garbage collections, as in the dashboard.
    """
    module, _, name = place.partition(".")
    run = getattr(import_module(module), name)
    gc.collect()
    gc_tuning.start()
    found: list[Finding] = run()
    return found


def in_turn(*works: Callable[[], object], times: int = 5) -> list[float]:
    """Return the median CPU milliseconds of each work; works take turns, so noise affects all alike.

    Excludes the collection of earlier garbage.
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
    """Return a quantile: 0.99 for p99."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def number_text(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
