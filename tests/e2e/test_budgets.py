"""Budgets of the real program: modules before the first frame, and bytes of a tick for each table arrangement. Also
faults of the budgets file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.budgets import BUDGETS, OTHER_TESTS, Budget, faults
from support.builders import wire_rows
from support.faulty_server import credentials, serving
from support.pty_terminal import ENTER, ROOT, Terminal, without_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS = 8
NOTE_MODULES = """
import os, sys
from pathlib import Path
from textual.app import App
from envwatch.cli.main import main

def note(app):
    if len(app.state.monitor.fleet):
        own = sorted(name for name in sys.modules if name.partition(".")[0] == "envwatch")
        file = Path(os.environ["HOME"], "writing")
        file.write_text("\\n".join(own))
        file.rename(file.with_name("modules"))
        App.post_display_hook = lambda app: None

App.post_display_hook = note
sys.exit(main())
"""
"""The program, which writes the names of envwatch's loaded modules to a file after the first frame with data."""


def test_the_first_frame_imports_few_own_modules(tmp_path: Path) -> None:
    with serving(profile_state(100)) as server:
        command = (sys.executable, "-c", NOTE_MODULES, "--interval", "60")
        with Terminal(command, without_settings(tmp_path, **credentials(server))) as terminal:
            terminal.wait_until((tmp_path / "modules").exists, "a frame with data")
            # The recorder's thread may write its first poll before the frame, on a busy machine.
            recorders = (
                "envwatch.history.day_file",
                "envwatch.history.day_reader",
                "envwatch.history.encoding",
                "envwatch.history.rebuilder",
            )
            names = (tmp_path / "modules").read_text().split()
            imported = [name for name in names if not name.startswith(recorders)]
    assert "envwatch.screen.app" in imported
    assert len(imported) <= BUDGETS[OTHER_TESTS]["own modules before the first frame with data"].limit, imported


def profile_state(count: int = 40) -> list[dict[str, Any]]:
    """Return rows of four groups whose ages change at different moments of each second."""
    now = time.time() * 1000
    rows = wire_rows(count)
    return [
        {
            **row,
            "lastHeartbeat": now - number * 197,
            "lastSeenAt": now - number * 197,
            "metadata": {**row["metadata"], "gitBranch": f"branch-{number % 4}"},
        }
        for number, row in enumerate(rows)
    ]


FILTER = (("/laptop", "laptop 40/40"), (ENTER, "/ Filter"))
GROUPS = (("b", "Group by"), (f"b{ENTER}", "grouped by BRANCH"), ("", "^  ▾ branch branch-1  ● 10"))
ARRANGEMENTS: dict[str, Sequence[tuple[str, str]]] = {
    "groups and filter": (*FILTER, *GROUPS),
    "all folded": (*GROUPS, ("x", "^ ►▸"), ("x", "^  ▸ branch branch-3  ● 10")),
    "baseline": (("m", "baseline marked"), ("=", "Nothing differs from the baseline")),
}


@pytest.mark.slow
def test_a_tick_stays_within_the_byte_budget(tmp_path: Path) -> None:
    with serving(profile_state()) as server, ExitStack() as stack:
        terminals, before = {}, {}
        for name, steps in ARRANGEMENTS.items():
            home = tmp_path / name.replace(" ", "-")
            home.mkdir()
            config = home / "own-keys.toml"
            config.write_text('[keys]\n"baseline.mark" = "m"\n"baseline.compare" = "="\n', encoding="utf-8")
            environ = credentials(server) | {"ENVWATCH_CONFIG": str(config)}
            program = Terminal.of_envwatch("--interval", "60", home=home, environ=environ)
            terminal = terminals[name] = stack.enter_context(program)
            terminal.wait_for("● 40 on")
            for keys, shown in steps:
                terminal.press(keys)
                terminal.wait_for(shown)
        for name, terminal in terminals.items():
            terminal.wait_for_no("grouped by|baseline marked")
            before[name] = (age_of(terminal), len(terminal.received))
        spent = {}
        for name, terminal in terminals.items():
            start, received = before[name]
            terminal.wait_until(partial(is_old, terminal, start + TICKS), f"{TICKS} ticks")
            spent[name] = (len(terminal.received) - received) / (age_of(terminal) - start)
    budget = BUDGETS["idle-arranged"]["bytes a tick, 80x24, 40 rows filtered, sorted and grouped"].limit
    assert {name: each for name, each in spent.items() if each > budget} == {}


def age_of(terminal: Terminal) -> int:
    return int(terminal.wait_for("live ([0-9]+)s")[1])


def is_old(terminal: Terminal, seconds: int) -> bool:
    return age_of(terminal) >= seconds


@pytest.mark.slow
def test_a_bench_ends_with_1_and_names_the_entry_without_a_finding(tmp_path: Path) -> None:
    for name in ("bench", "support"):
        shutil.copytree(Path(__file__).parents[1] / name, tmp_path / name)
    budgets = tmp_path / "bench" / "budgets.toml"
    budgets.write_text(budgets.read_text().replace("[scrape]", '[scrape]\n"scrape of a row" = {}'))
    command = [sys.executable, "bench", "scrape"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    error = "budgets.toml, [scrape]: no finding reads 'scrape of a row'\n"
    assert (done.returncode, done.stderr) == (1, error)
    assert "| scrape of 1,000 rows (CPU) |" in done.stdout


TIME = Budget(limit=5, unit="ms")
RATIO = Budget(ratio=2, against="a copy")


@pytest.mark.parametrize(
    ("entries", "findings", "expected"),
    [
        ({}, {"read": ("ms", "")}, []),
        ({"read": TIME, "write": Budget()}, {"read": ("ms", ""), "write": ("ms", "a copy")}, []),
        ({"read": TIME, "write": Budget()}, {"read": ("ms", "")}, ["no finding reads 'write'"]),
        ({"read": TIME}, {"read": ("ms", ""), "list": ("ms", "")}, ["no entry reads 'list'"]),
    ],
)
def test_each_entry_has_a_finding_and_each_finding_an_entry(
    entries: dict[str, Budget], findings: dict[str, tuple[str, str]], expected: list[str]
) -> None:
    assert faults(entries, findings) == expected


@pytest.mark.parametrize(
    ("budget", "unit", "against", "is_fitting"),
    [
        (TIME, "ms", "a copy", True),
        (TIME, "s", "a copy", False),
        (RATIO, "ms", "a copy", True),
        (RATIO, "ms", "a sum", False),
        (RATIO, "ms", "", False),
        (Budget(limit=5), "ms", "", False),
        (Budget(unit="ms"), "ms", "", False),
    ],
)
def test_a_budget_in_another_unit_than_the_finding_is_a_fault(
    budget: Budget, unit: str, against: str, *, is_fitting: bool
) -> None:
    assert (faults({"read": budget}, {"read": (unit, against)}) == []) == is_fitting


def test_help_lists_the_benches_instead_of_running_one() -> None:
    command = [sys.executable, "tests/bench", "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Benches: decode, " in printed
    assert all(name in printed for name in BUDGETS if name != OTHER_TESTS)
