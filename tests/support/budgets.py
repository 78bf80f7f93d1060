"""The budgets of `tests/bench/budgets.toml`, for benches, tests and `docs/generate.py`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = Path(__file__).parents[1] / "bench" / "budgets.toml"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limit of a figure; `Budget()` marks a figure without a budget."""

    limit: float = inf
    """In `unit`."""
    unit: str = ""
    ratio: float = inf
    """Multiple of the reference `against`, measured in the same run."""
    against: str = ""

    def __str__(self) -> str:
        limit = f"≤ {self.limit:,g} {self.unit}" if self.limit < inf else ""
        ratio = f"≤ {self.ratio:g} × {self.against}" if self.ratio < inf else ""
        return " and ".join(filter(None, (limit, ratio)))


BUDGETS: Final = {
    bench: {what: Budget(**entry) for what, entry in entries.items()}
    for bench, entries in tomllib.loads(_FILE.read_text(encoding="utf-8")).items()
}

OTHER_TESTS: Final = "tests"
"""The table whose budgets no bench measures."""


def faults(budgets: Mapping[str, Budget], units: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return a line for each entry without a finding, finding without an entry, and budget in other units.

    Args:
        budgets: a bench's entries by text of the finding; empty if the bench has no budgets.
        units: unit and reference name of each finding, by text.
    """
    if not budgets:
        return []
    found = [f"no finding reads {what!r}" for what in budgets if what not in units]
    for what, (unit, against) in units.items():
        if what not in budgets:
            found.append(f"no entry reads {what!r}")
            continue
        budget = budgets[what]
        fitting = (unit if budget.limit < inf else "", against if budget.ratio < inf else "")
        if (budget.unit, budget.against) != fitting:
            found.append(f"{what!r} has a budget of {budget}, and is measured in {unit} against {against or 'nothing'}")
    return found
