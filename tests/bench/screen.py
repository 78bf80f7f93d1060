"""The dashboard in a terminal: start, bytes, idle CPU, response to keys, memory.

The reference is a DataTable of the same rows: `data_table.py`.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from arranged import ARRANGED
from findings import Finding, share
from fleets import write_reference_rows
from programs import ENVWATCH, REFERENCE, TIMEOUT_S, Glass, home_for, run, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.demo.child import ChildServer

DATA_TABLE = "a DataTable app"

_KEYS = ("j", "j", "j", "\x04", "j", "j", "\x04", "k", "G", "k", "k", "\x15", "k", "g")
"""Each key moves the cursor: down, a page, to the end, and back; most keys scroll."""


@contextmanager
def stage(size: int) -> Iterator[tuple[ChildServer, dict[str, str]]]:
    with served(size) as server, home_for(server) as environ:
        rows = Path(environ["HOME"]) / "rows.json"
        write_reference_rows(server, rows)
        yield server, {**environ, "ROWS": str(rows)}


def dashboard_of(
    environ: dict[str, str], *, columns: int = 80, lines: int = 24, options: tuple[str, ...] = ()
) -> Glass:
    """Start the dashboard; after the first poll, no poll follows for ten minutes."""
    command = [*ENVWATCH, "--interval", "600", "--log-file", str(_log(environ)), *options]
    return Glass(command, environ, columns=columns, lines=lines)


@contextmanager
def _arranged_dashboard(environ: dict[str, str]) -> Iterator[Glass]:
    environ = {**environ, "ENVWATCH_SORT": ARRANGED.sort or ""}
    with dashboard_of(environ, options=("--filter", str(ARRANGED.query))) as dashboard:
        dashboard.first_data()
        for key in ("b", "p", "\r"):
            dashboard.burst(0.3)
            dashboard.press(key)
        dashboard.ticks(1)
        yield dashboard


def _log(environ: dict[str, str]) -> Path:
    return Path(environ["HOME"]) / "polls.log"


def start() -> list[Finding]:
    """Time the first data of 100 rows."""
    importing = [sys.executable, "-c", "import textual.app"]
    starts: list[tuple[tuple[float, float], ...]] = []
    with stage(100) as (_, environ):
        for _number in range(8):
            with dashboard_of(environ) as dashboard:
                ours = dashboard.first_data(), dashboard.cpu * 1000
            with Glass(REFERENCE, environ) as reference:
                table = reference.first_data(), reference.cpu * 1000
            starts.append((ours, table, run(importing, environ)))
    del starts[0]  # the first run of each compiles the imports
    found = []
    for place, kind in enumerate(("wall", "CPU")):
        ours_ms, table_ms, import_ms = (median(each[place] for each in column) for column in zip(*starts, strict=True))
        for what, reference_ms, against in (
            ("dashboard, exec to first data on screen, 100 rows", import_ms, "`import textual.app` alone"),
            ("the same, another reference", table_ms, f"{DATA_TABLE} that fetches nothing"),
        ):
            found.append(
                Finding(what=f"{what} ({kind})", measured=ours_ms, unit="ms", reference=reference_ms, against=against)
            )
    return found


def idle() -> list[Finding]:
    found = []
    with stage(40) as (_, environ):
        for columns, lines in ((80, 24), (200, 50)):
            size = f"{columns}x{lines}"
            with dashboard_of(environ, columns=columns, lines=lines) as dashboard:
                ours = _idling(dashboard)
            with Glass(REFERENCE, environ, columns=columns, lines=lines) as reference:
                theirs = _idling(reference)
            for what, unit, measured, against in (
                ("bytes to start", "B", ours[0], theirs[0]),
                ("bytes a tick", "B", ours[1], theirs[1]),
                ("CPU at idle, of one core", "%", ours[2], theirs[2]),
            ):
                found.append(
                    Finding(
                        what=f"{what}, {size}, 40 rows",
                        measured=measured,
                        unit=unit,
                        reference=against,
                        against=DATA_TABLE,
                    )
                )
    return found


def idle_arranged() -> list[Finding]:
    """Count bytes and CPU while only the ages tick, 40 rows filtered, sorted and grouped."""
    with stage(40) as (_, environ):
        with dashboard_of(environ) as dashboard:
            plain = _idling(dashboard)
        with _arranged_dashboard(environ) as dashboard:
            ours = _idling(dashboard)
    return [
        Finding(
            what=f"{what}, 80x24, 40 rows filtered, sorted and grouped",
            measured=measured,
            unit=unit,
            reference=reference,
            against="as they come",
        )
        for what, unit, measured, reference in (
            ("bytes a tick", "B", ours[1], plain[1]),
            ("CPU at idle, of one core", "%", ours[2], plain[2]),
        )
    ]


def _idling(program: Glass) -> tuple[float, float, float]:
    """Return the bytes until idle, the bytes a tick, and the percentage of a core over ten ticks."""
    program.first_data()
    program.burst(0.2)
    started = len(program.received)
    program.ticks(2)
    cpu, wall = program.cpu, time.perf_counter()
    ticks = program.ticks(10)
    spent = (program.cpu - cpu) / (time.perf_counter() - wall)
    return started, median(ticks), spent * 100


def keys() -> list[Finding]:
    with stage(10_000) as (_, environ):
        with dashboard_of(environ) as dashboard:
            ours = _answers(dashboard)
        with _arranged_dashboard(environ) as dashboard:
            arranged = _answers(dashboard)
        with Glass(REFERENCE, environ) as reference:
            theirs = _answers(reference)
    return [
        Finding(
            what=f"key to paint at 10,000 rows{how}, {name} of {len(times)} (wall)",
            measured=share(times, part),
            unit="ms",
            reference=share(theirs, part),
            against=DATA_TABLE,
        )
        for how, times in (("", ours), (" filtered, sorted and grouped", arranged))
        for name, part in (("p50", 0.5), ("p99", 0.99))
    ]


def _answers(program: Glass) -> list[float]:
    program.first_data()
    program.ticks(3)
    return [program.answer_to(key) for _ in range(15) for key in _KEYS]


def memory() -> list[Finding]:
    return _memory(10_000)


def memory_100k() -> list[Finding]:
    """Measure the peak memory of two polls of 100,000 rows; takes minutes."""
    return _memory(100_000)


def _memory(size: int) -> list[Finding]:
    # A program that compiles its imports takes 8 MiB more.
    with stage(100) as (_, environ), dashboard_of(environ) as compiling:
        _wait_for_polls(compiling, environ, 1)
    with stage(size) as (_, environ):
        with dashboard_of(environ) as dashboard:
            _wait_for_polls(dashboard, environ, 1)
            first = dashboard.peak
            dashboard.press("r")
            _wait_for_polls(dashboard, environ, 2)
            second = dashboard.peak
        with Glass(REFERENCE, environ) as reference:
            reference.first_data()
            reference.burst(0.3)
            theirs = reference.peak
    return [
        Finding(
            what=f"most memory of the dashboard at {size:,} rows, {what}",
            measured=measured,
            unit="MiB",
            reference=theirs,
            against=DATA_TABLE,
        )
        for what, measured in (("after one poll", first), ("after two polls", second))
    ]


def _wait_for_polls(dashboard: Glass, environ: dict[str, str], count: int) -> None:
    deadline = time.perf_counter() + TIMEOUT_S
    while not _log(environ).exists() or _log(environ).read_text().count(" rows") < count:
        if time.perf_counter() > deadline:
            raise AssertionError(f"no poll: {_log(environ).read_text()}")
        dashboard.take(0.2)
    dashboard.ticks(2)
