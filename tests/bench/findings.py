"""What a bench found, as a line of a table, and the few statistics that all of them need.

Nothing here fails: a bench reports, and its reader judges by the ratios.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING

from envwatch.cli import gc_tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD = (
    "| what | measured | reference in the same run | ratio | budget | met? |\n"
    "|---|--:|---|--:|---|:-:|"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure, what it is to be held against, and its budget from the project's notes on speed."""

    what: str
    measured: float
    unit: str
    reference: float | None = None
    """In the same unit."""
    against: str = ""
    """What the reference is."""
    limit: float | None = None
    """The most that the budget allows, in the same unit."""
    ratio_limit: float | None = None
    """The most that the budget allows in terms of the reference."""

    @property
    def ratio(self) -> float | None:
        """How much of the reference it is."""
        return self.measured / self.reference if self.reference else None

    @property
    def budget(self) -> str:
        """The budget in words."""
        limits = []
        if self.limit is not None:
            limits.append(f"≤ {number_text(self.limit)} {self.unit}")
        if self.ratio_limit is not None:
            limits.append(f"≤ {self.ratio_limit:g} ×")
        return " and ".join(limits) or "–"

    @property
    def is_met(self) -> bool | None:
        """Whether it keeps within its budget; None without one."""
        if self.limit is None and self.ratio_limit is None:
            return None
        is_small = self.limit is None or self.measured <= self.limit
        return is_small and (self.ratio_limit is None or (self.ratio or 0) <= self.ratio_limit)

    def line(self) -> str:
        """Return the line of the table."""
        reference = "–" if self.reference is None else f"{number_text(self.reference)} {self.unit} {self.against}"
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
        met = {True: "yes", False: "**no**", None: "–"}[self.is_met]
        measured = f"{number_text(self.measured)} {self.unit}"
        return f"| {self.what} | {measured} | {reference} | {ratio} | {self.budget} | {met} |"


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
