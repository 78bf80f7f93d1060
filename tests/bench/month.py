"""Quality of alerts: 30 days of 200 machines, on virtual time: `uv run python tests/bench month [--seeds N]`.

Prints a Markdown table of several alert policies and two naive watchers. Equal arguments give equal tables. `--misses`
also prints each missed need and each false message of envwatch, with the cause.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.month.ordinary import ordinary_month
from support.month.scoring import HEAD, Score, score
from support.month.watchers import watched, watchers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CORES = 2


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("month", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many months (20)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--days", type=int, default=30, help="days of a month (30)")
    parser.add_argument("--misses", action="store_true", help="print missed needs and false messages of envwatch too")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    totals: dict[str, Score] = {}
    works = [(seed, options.days) for seed in range(options.first, options.first + options.seeds)]
    with multiprocessing.get_context("spawn").Pool(min(_CORES, len(works))) as pool:
        for found in pool.imap(_month, works):
            for watcher, each in found.items():
                totals.setdefault(watcher, Score()).add(each)
    sys.stdout.write(f"{HEAD}\n")
    sys.stdout.writelines(f"{total.line(watcher)}\n" for watcher, total in totals.items())
    if options.misses:
        for watcher, total in totals.items():
            if not watcher.startswith("naive"):
                sys.stdout.write(f"\n{watcher}\n\n")
                sys.stdout.writelines(f"{count:,} × {kind}\n" for kind, count in total.kinds.most_common())
                sys.stdout.write("\n")
                sys.stdout.writelines(f"{fault}\n" for fault in total.faults)
    sys.stderr.write(f"\n{options.seeds} × {options.days} days in {time.perf_counter() - started:.0f} s\n")


def _month(work: tuple[int, int]) -> Mapping[str, Score]:
    seed, days = work
    script, everybody = ordinary_month(seed, days), watchers()
    watched(script, everybody.values())
    return {name: score(script, watcher.messages, prefix=f"seed {seed}, ") for name, watcher in everybody.items()}


if __name__ == "__main__":
    main()
