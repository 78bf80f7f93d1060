"""Budgets of the real program: modules before the first frame, and bytes of a tick for each table arrangement."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_rows
from support.byte_scanner import credentials, serving
from support.pty_terminal import ENTER, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TICKS = 8
BUDGET = 300
"""Bytes per tick at 80x24, as for the plain table in `test_frame_writer`."""

MODULES = 163
"""Own modules that the dashboard may import before the first frame with data."""

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
"""The program, which writes the names of its own modules to a file after its first frame with data."""


def test_the_first_frame_imports_few_own_modules(tmp_path: Path) -> None:
    with serving(profile_state(100)) as server:
        command = (sys.executable, "-c", NOTE_MODULES, "--interval", "60")
        with Terminal(command, environment(tmp_path, **credentials(server))) as terminal:
            terminal.wait_until((tmp_path / "modules").exists, "a frame with data")
            imported = (tmp_path / "modules").read_text().split()
    assert "envwatch.tui.app" in imported
    assert len(imported) <= MODULES, imported


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
"""Keys, and what is shown afterwards."""


@pytest.mark.slow
def test_a_tick_stays_within_the_byte_budget(tmp_path: Path) -> None:
    with serving(profile_state()) as server, ExitStack() as stack:
        terminals, before = {}, {}
        for name, steps in ARRANGEMENTS.items():
            home = tmp_path / name.replace(" ", "-")
            home.mkdir()
            program = Terminal.of_envwatch("--interval", "60", home=home, environ=credentials(server))
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
    assert {name: each for name, each in spent.items() if each > BUDGET} == {}


def age_of(terminal: Terminal) -> int:
    return int(terminal.wait_for("live ([0-9]+)s")[1])


def is_old(terminal: Terminal, seconds: int) -> bool:
    return age_of(terminal) >= seconds
