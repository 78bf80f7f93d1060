"""Quality of alerts: 30 days of 200 machines, on virtual time: `uv run python tests/bench month [--seeds N]`.

Prints a Markdown table of envwatch without settings, off at night and with settings, and of two naive watchers. Equal
arguments give equal tables. `--misses` also prints each missed need and each false message of envwatch, with the cause.
`--resume FILE` keeps each finished month in a file and reads the file again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.month.ordinary import ordinary_month, servers_in
from support.month.playing import DEFAULT, HEAD, SETTINGS, Score, score, watched, watchers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CORES = 2


class _Work(NamedTuple):
    seed: int
    days: int
    is_default_only: bool
    is_each_poll: bool


class _Month(NamedTuple):
    work: _Work
    scores: Mapping[str, Score]
    cpu_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("month", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many months (20)")
    parser.add_argument("--first", type=int, default=101, help="the first seed (101)")
    parser.add_argument("--days", type=int, default=30, help="days of a month (30)")
    parser.add_argument("--misses", action="store_true", help="print missed needs and false messages of envwatch too")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished months in a file, and do not repeat")
    parser.add_argument("--default-only", action="store_true", help="only envwatch without settings")
    parser.add_argument("--each-poll", action="store_true", help="look every 5 s, which takes 25 times as long")
    options = parser.parse_args(arguments)
    works = [
        _Work(seed, options.days, options.default_only, options.each_poll)
        for seed in range(options.first, options.first + options.seeds)
    ]
    months = dict(_kept(options.resume)) if options.resume else {}
    for month in _played([work for work in works if work not in months]):
        months[month.work] = month
        line = json.dumps({"work": month.work, "scores": {name: vars(each) for name, each in month.scores.items()}})
        if options.resume:
            with options.resume.open("a") as file:
                file.write(f"{line}\n")
        default = month.scores[DEFAULT]
        sys.stderr.write(
            f"seed {month.work.seed}: {month.cpu_s:.0f} s, {default.true} of {default.judged} true, "
            f"{default.wrong} wrong, {default.missed} of {default.needs} missed\n"
        )
    _print([months[work] for work in works], are_misses=options.misses)


def _kept(path: Path) -> Iterator[tuple[_Work, _Month]]:
    for line in path.read_text().splitlines() if path.exists() else ():
        kept = json.loads(line)
        work = _Work(*kept["work"])
        scores = {name: Score(**{**each, "kinds": Counter(each["kinds"])}) for name, each in kept["scores"].items()}
        yield work, _Month(work, scores, 0)


def _played(works: Sequence[_Work]) -> Iterator[_Month]:
    if works:
        with multiprocessing.get_context("spawn").Pool(min(_CORES, len(works))) as pool:
            yield from pool.imap_unordered(_month, works)


def _month(work: _Work) -> _Month:
    script = ordinary_month(work.seed, work.days)
    everybody = watchers(servers_in(script))
    if work.is_default_only:
        everybody = {DEFAULT: everybody[DEFAULT]}
    began = time.process_time()
    watched(script, everybody.values(), polls=bytes([1]) * (script.length // 5_000) if work.is_each_poll else None)
    prefix = f"seed {work.seed}, "
    scores = {name: score(each.script(script), each.messages, prefix=prefix) for name, each in everybody.items()}
    return _Month(work, scores, time.process_time() - began)


def _print(months: Sequence[_Month], *, are_misses: bool) -> None:
    totals: dict[str, Score] = {}
    for month in months:
        for watcher, each in month.scores.items():
            totals.setdefault(watcher, Score()).add(each)
    sys.stdout.write(f"{HEAD}\n")
    sys.stdout.writelines(f"{total.line(watcher)}\n" for watcher, total in totals.items())
    sys.stdout.write(f"\nThe settings:\n\n{SETTINGS}\n")
    sys.stdout.writelines(f"Not reached without settings: {each}\n" for each in totals[DEFAULT].unreached)
    if are_misses:
        for watcher, total in totals.items():
            if not watcher.startswith("naive"):
                sys.stdout.write(f"\n{watcher}\n\n")
                sys.stdout.writelines(f"{count:,} × {kind}\n" for kind, count in total.kinds.most_common())
                sys.stdout.write("\n")
                sys.stdout.writelines(f"{fault}\n" for fault in total.faults)


if __name__ == "__main__":
    main()
