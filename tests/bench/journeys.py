"""Memory of the dashboard under random keys, half of them into the past.

A platform of 1,000 rows changes 5 % of the rows at each poll, and a key follows each second. Standard error has the
memory after each minute. `python tests/bench/journeys.py [--minutes 20] [--seed 1]` runs this bench alone, and ends
with 1 if a figure is over the budget. A shorter run has the same budgets.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random
from statistics import linear_regression
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from findings import HEAD, Finding
from programs import ENVWATCH, Glass
from support.budgets import BUDGETS
from support.faulty_server import Faulty, credentials, running, up
from support.pty_terminal import ENTER, ESC, without_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTES: Final = 20
_ROWS: Final = 1_000
_CHANGED: Final = _ROWS // 20
"""Rows that change at a poll."""
_BEAT_MS: Final = 30_000.0
_KEY_EVERY_S: Final = 1.0
_KEYS_A_MINUTE: Final = 60
_OPTIONS: Final = ("--interval", "5s", "--page-size", "500")
"""With pages of 100 rows, the request budget would double the interval."""

_PAST: Final = (
    *("{", "[", "[", "]", "]", "{", "}", "}", "L", ESC),
    *(f"T{time}{ENTER}" for time in ("30s ago", "2m ago", "5m ago", "12m ago")),
)
_PRESENT: Final = (
    *("j", "k", "\x04", "\x15", "g", "G", "n", "N", "x", "E", "e", "r", " ", ENTER, ESC),
    *("0", "0", "1", "2", "3", "4"),
    *("o", f"o{ENTER}", f"C{ESC}", f"bj{ENTER}", f"b{ENTER}", f"/web{ENTER}", f"/{ESC}", "yn", f"?{ESC}", f":{ESC}"),
)
"""Keys that neither quit nor pause."""


class Platform:
    """Rows that beat every 30 s; at each listing, some rows are lost, return, or change a value."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._changes: list[dict[str, Any]] = [{"podId": f"pod-{number % 40}"} for number in range(_ROWS)]
        self._lost_at: dict[int, float] = {}

    def rows(self, now: float) -> list[dict[str, Any]]:
        for number in self._random.sample(range(_ROWS), _CHANGED):
            self._change(number, now)
        return [self._row(number, now) for number in range(_ROWS)]

    def _change(self, number: int, now: float) -> None:
        changes = self._changes[number]
        match self._random.choice(("connection", "mode", "branch", "version")):
            case "connection" if number in self._lost_at:
                del self._lost_at[number]
                changes |= {"connectionId": f"conn-{number}-{now:.0f}", "connectedAt": now}
            case "connection":
                self._lost_at[number] = now
            case "mode":
                changes["currentMode"] = self._random.choice(("standard", "acceptEdits", "unrestricted"))
            case what:
                key = "gitBranch" if what == "branch" else "lettaCodeVersion"
                before = changes.get("metadata", {"os": "linux", "gitBranch": "main", "lettaCodeVersion": "0.34.12"})
                changes["metadata"] = before | {key: f"0.34.{self._random.randrange(9)}"}

    def _row(self, number: int, now: float) -> dict[str, Any]:
        beat: float | None = now - (now - number * _BEAT_MS / _ROWS) % _BEAT_MS
        changes = self._changes[number] | {"lastSeenAt": beat, "lastHeartbeat": beat}
        if (lost_at := self._lost_at.get(number)) is not None:
            changes |= {"lastSeenAt": lost_at, "lastHeartbeat": None, "connectionId": None}
        return up(f"web-{number:04}", now, **changes)


def _keys(random: Random) -> Iterator[str]:
    while True:
        yield random.choice(_PAST)
        yield random.choice(_PRESENT)


def course(minutes: int, seed: int) -> list[float]:
    """Return the resident MiB after each minute."""
    found: list[float] = []
    server, keys = Faulty(Platform(Random(seed)).rows), _keys(Random(seed))
    with TemporaryDirectory() as home, running(server):
        environ = without_settings(Path(home), **credentials(server))
        with Glass([*ENVWATCH, *_OPTIONS], environ, columns=120, lines=40) as program:
            program.first_data()
            for minute in range(1, minutes + 1):
                for _ in range(_KEYS_A_MINUTE):
                    program.press(next(keys))
                    program.run_for(_KEY_EVERY_S)
                found.append(program.resident)
                sys.stderr.write(f"after {minute:2} minutes: {found[-1]:.1f} MiB\n")
    return found


def journeys(minutes: int = _MINUTES, seed: int = 1) -> list[Finding]:
    """Measure the memory; growth is the slope of the best line through the second half of the run."""
    found = course(minutes, seed)
    late = found[minutes // 2 :]
    slope = linear_regression(range(len(late)), late).slope
    about = f"{_ROWS:,} rows, 5 % changed at each poll, a key a second, half of the keys into the past"
    return [
        Finding(what=f"most memory of the dashboard: {about}, {_MINUTES} minutes", measured=max(found), unit="MiB"),
        Finding(what="growth of this memory in the last ten minutes", measured=10 * slope, unit="MiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=_MINUTES, help="at least 3")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    budgets = BUDGETS["journeys"]
    found = journeys(options.minutes, options.seed)
    sys.stdout.write(f"{HEAD}\n")
    sys.stdout.writelines(f"{finding.line(budgets[finding.what])}\n" for finding in found)
    sys.exit(0 if all(finding.keeps(budgets[finding.what]) for finding in found) else 1)


if __name__ == "__main__":
    main()
