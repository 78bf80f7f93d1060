"""Textual's private parts are used in envwatch/tui/terminal only."""

from __future__ import annotations

import re
from pathlib import Path

import envwatch

PACKAGE = Path(envwatch.__file__).parent

SUPPRESSED = re.compile(r"noqa:?[^\n]*SLF001")
"""Ruff reports private members unless suppressed."""
UNSEEN_BY_RUFF = re.compile(r"(from|import) textual\S*\._|getattr\([^)\n]*, [\"']_")
"""Textual's private modules, and private attributes by name."""


def test_only_the_terminal_package_uses_private_parts_of_textual() -> None:
    outside = [path for path in PACKAGE.rglob("*.py") if (PACKAGE / "tui" / "terminal") not in path.parents]
    assert len(outside) > 50
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in outside
        for line in path.read_text(encoding="utf-8").splitlines()
        if SUPPRESSED.search(line) or UNSEEN_BY_RUFF.search(line)
    }
    assert found == set()
