"""How many bytes a second of the real program costs on a slow link, however the table is arranged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from builders import wire_rows
from scanning import access, serving
from terminal import ENTER, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TICKS = 10
BUDGET = 300
"""Bytes a tick at 80x24, as for the bare table in `test_frames`."""


def fleet() -> list[dict[str, Any]]:
    """Rows whose ages all read differently each second, at every moment of it, in four groups."""
    now = time.time() * 1000
    rows = wire_rows(40)
    return [
        {
            **row,
            "lastHeartbeat": now - number * 197,
            "lastSeenAt": now - number * 197,
            "metadata": {**row["metadata"], "gitBranch": f"branch-{number % 4}"},
        }
        for number, row in enumerate(rows)
    ]


FILTER = (("/laptop", "FILTER 40/40"), (ENTER, "/ Filter"))
GROUPS = (("b", "Group by"), (f"b{ENTER}", "grouped by BRANCH"), ("", "^ ▾ branch branch-1  ● 10"))
ARRANGEMENTS: dict[str, Sequence[tuple[str, str]]] = {
    "plain": (),
    "filter": FILTER,
    "groups": GROUPS,
    "groups and filter": (*FILTER, *GROUPS),
    "all folded": (*GROUPS, ("X", "^ ▸ branch branch-3  ● 10")),
    "baseline": (("m", "baseline marked"), ("=", "Nothing differs from the baseline")),
}
"""Keys, and what is shown after them."""


@pytest.mark.parametrize("steps", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_a_tick_stays_in_the_budget_of_bytes(tmp_path: Path, steps: Sequence[tuple[str, str]]) -> None:
    with serving(fleet()) as server:
        environ = access(server)
        with Terminal.of_envwatch("--interval", "60", home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("● 40 on")
            for keys, shown in steps:
                terminal.press(keys)
                terminal.wait_for(shown)
            terminal.wait_for_no("grouped by|baseline marked")
            start = int(terminal.wait_for("live ([0-9]+)s")[1])
            before = len(terminal.received)
            terminal.wait_for(f"live {start + TICKS}s", within=TICKS + 10)
            spent = len(terminal.received) - before
            terminal.press("q")
            assert terminal.wait_for_end() == 0
    assert spent / TICKS <= BUDGET
