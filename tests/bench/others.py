"""envwatch next to other programs, which must be installed: `letta` (Letta Code's command line) and `htop`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from findings import Finding
from polling import polls_in_turn
from programs import ENVWATCH, REFERENCE, SDK, Glass, home_for, peak_of, run, served
from screen import DATA_TABLE, dashboard_of, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 1_000
_LETTA, _HTOP = "`letta computers list`", "`htop -d 10`"
_ENVWATCH, _SDK = "`envwatch list`", "the SDK"
_START_S, _IDLE_S = 3.0, 15.0


def others() -> list[Finding]:
    """Compare listings and idle screens in one run."""
    if missing := [name for name in ("letta", "htop") if shutil.which(name) is None]:
        sys.exit(f"install {' and '.join(missing)} first")
    return [*_listings(), *_idle_screens()]


def _listings() -> Iterator[Finding]:
    commands = {
        _ENVWATCH: [*ENVWATCH, "list"],
        _SDK: SDK,
        _LETTA: ["letta", "computers", "list", "--limit", str(_ROWS)],
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with served(_ROWS) as server, home_for(server) as environ:
        for command in commands.values():
            run(command, environ)
        for _ in range(7):
            for name, command in commands.items():
                spent[name].append(run(command, environ))
        peaks = {name: peak_of(command, environ) for name, command in commands.items()}
        polls, _ = asyncio.run(polls_in_turn(server))
    wall, cpu = ({name: median(each[place] for each in runs) for name, runs in spent.items()} for place in (0, 1))
    for what, unit, figures in (("wall", "ms", wall), ("CPU", "ms", cpu), ("most memory", "MiB", peaks)):
        for name in (_ENVWATCH, _SDK):
            yield Finding(
                what=f"{name}, {_ROWS:,} rows, fresh process ({what})",
                measured=figures[name],
                unit=unit,
                reference=figures[_LETTA],
                against=_LETTA,
            )
    yield Finding(
        what=f"a poll of {_ROWS:,} rows: fetch, decode, reduce (CPU)",
        measured=median(polls),
        unit="ms",
        reference=cpu[_LETTA],
        against=_LETTA,
    )


def _idle_screens() -> Iterator[Finding]:
    """Count bytes and CPU of programs that show 40 rows, and of htop with this machine's processes."""
    with stage(40) as (_, environ):
        for columns, lines in ((80, 24), (200, 50)):
            figures = {
                "envwatch": _idling(dashboard_of(environ, columns=columns, lines=lines)),
                DATA_TABLE: _idling(Glass(REFERENCE, environ, columns=columns, lines=lines)),
                _HTOP: _idling(Glass(["htop", "-d", "10"], environ, columns=columns, lines=lines)),
            }
            for name in ("envwatch", DATA_TABLE):
                for place, (what, unit) in enumerate((("bytes a second", "B"), ("CPU, of one core", "%"))):
                    yield Finding(
                        what=f"{name}: {what} at idle, {columns}x{lines}",
                        measured=figures[name][place],
                        unit=unit,
                        reference=figures[_HTOP][place],
                        against=_HTOP,
                    )


def _idling(program: Glass) -> tuple[float, float]:
    """Return the bytes a second and the percentage of a core."""
    with program:
        program.run_for(_START_S)
        cpu, began = program.cpu, time.perf_counter()
        size = program.run_for(_IDLE_S)
        seconds = time.perf_counter() - began
        return size / seconds, (program.cpu - cpu) / seconds * 100
