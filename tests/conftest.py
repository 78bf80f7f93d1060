"""What holds for every test: how apps are waited for, how many examples properties get, and which files come first."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if sys.dont_write_bytecode:
    # Modules are compiled once, and not by each worker and each of the hundreds of programs that are started: beside
    # pytest's cache, not in the tree.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import pytest
from support import budget, collector, idle, stylesheets

from envwatch.model.times import use_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

budget.register()
collector.relax()
idle.install()
stylesheets.share()

for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # A shell starts what runs in the background with these ignored, `nohup` as well: so would every program be that a
    # test starts, and none would end by ctrl+c.
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def local_zone_of_the_machine() -> Iterator[None]:
    """Let no test leave its time zone to the next one."""
    yield
    use_zone(None)


LONG = ("e2e", "tui", "cli", "storage", "demo")
"""Folders of files that take long, longest first: started last, one of them would keep the other workers waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files start in an order that keeps every worker busy to the end; within a file nothing moves."""
    folders = {folder: place for place, folder in enumerate(LONG)}
    items.sort(key=lambda item: folders.get(item.path.parent.name, len(LONG)))
