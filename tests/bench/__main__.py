"""Measures every speed budget against a reference in the same run: `uv run python tests/bench [NAME ...]`.

`month` measures the quality of alerts: see `month.py`. `mutants` measures the strength of the tests: see `mutants.py`.

A figure above the budget is no error, because the machine's load is unknown: read the ratios. Exit code 1 means that
entries of `budgets.toml` and findings do not match; standard error has the details.

Each bench has a separate process. All share a cache of compiled modules, as on a user's machine.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import month
import mutants
from findings import HEAD, found_by
from support.budgets import BUDGETS, OTHER_TESTS, Budget, faults

if TYPE_CHECKING:
    from collections.abc import Iterable

BENCHES = {
    "decode": "pure.decode",
    "reduce": "pure.reduce",
    "poll": "polling.poll",
    "list": "polling.listing",
    "start": "screen.start",
    "idle": "screen.idle",
    "idle-arranged": "screen.idle_arranged",
    "keys": "screen.keys",
    "rewind": "history_reading.steps",
    "arranged": "arranged.arranged",
    "hold": "polling.hold",
    "memory": "screen.memory",
    "history": "history.frames",
    "rebuild": "history.rebuild",
    "store": "history.store",
    "serve": "serving.answers",
    "scrape": "pure.scrape",
}
ON_REQUEST = {
    "list-100k": "polling.listing_100k",
    "memory-100k": "screen.memory_100k",
    "views-100k": "arranged.views_100k",
    "arranged-100k": "arranged.arranged_100k",
    "growth": "growth.growth",
    "others": "others.others",
    "start-history": "history_reading.start",
    "hold-history": "history_reading.hold",
    "report": "history_reading.report",
    "soak": "soak.dashboard",
    "journeys": "journeys.journeys",
    "viewers": "serving.viewers",
}
"""Only by name: these benches take minutes."""
OWN_OPTIONS = {"month": month, "mutants": mutants}
"""Programs with options."""


def main(names: Iterable[str]) -> None:
    names = list(names) or [*BENCHES]
    if names[0] in OWN_OPTIONS:
        OWN_OPTIONS[names[0]].main(names[1:])
        return
    if {"-h", "--help"}.intersection(names):
        sys.stdout.write(f"{__doc__}\nBenches: {', '.join(BENCHES)}.\n")
        sys.stdout.write(f"Only by name: {', '.join((*ON_REQUEST, *OWN_OPTIONS))}.\n")
        return
    every = BENCHES | ON_REQUEST
    if unknown := set(names) - every.keys():
        sys.exit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    wrong = [f"budgets.toml: no bench is named {name}" for name in BUDGETS if name not in {*every, OTHER_TESTS}]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.stdout.write(f"{HEAD}\n")
    with (
        TemporaryDirectory() as cache,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes,
    ):
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        for name, found in zip(names, processes.map(found_by, [every[name] for name in names]), strict=True):
            budgets = BUDGETS.get(name, {})
            sys.stdout.writelines(f"{finding.line(budgets.get(finding.what, Budget()))}\n" for finding in found)
            sys.stdout.flush()
            units = {finding.what: (finding.unit, finding.against) for finding in found}
            wrong += [f"budgets.toml, [{name}]: {fault}" for fault in faults(budgets, units)]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    sys.stdout.write(
        f"\nPython {platform.python_version()}, Textual {version('textual')}, {os.cpu_count()} cores, load {load}\n"
    )
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main(sys.argv[1:])
