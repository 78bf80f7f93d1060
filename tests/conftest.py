"""Setup for every test: waits for apps, number of property examples, home of commands, order of files."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if sys.dont_write_bytecode:
    # Compile modules once for all workers and started programs: next to pytest's cache, outside the tree.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import pytest
from hypothesis import given, settings, strategies
from support import budget, quick_apps

from envwatch.model.times import use_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

budget.register()
quick_apps.install()

for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # A shell ignores these signals in background jobs, as `nohup` does; started programs would inherit that and survive
    # ctrl+c.
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def first_property() -> None:
    """Run a property before any test: Hypothesis then looks for the owner of its random generator.

    The search finds no owner after the `gc.freeze` of a test.
    """
    settings(max_examples=1, database=None)(given(strategies.none())(lambda _: None))()


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    """Undo what a command that ran in this process set for all of it: the zone, and no garbage collection."""
    yield
    use_zone(None)
    gc.enable()


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only home and folder of commands in this process, without a setting in a variable."""
    for name in [name for name in os.environ if name.startswith(("LETTA_", "ENVWATCH_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG = (
    "test_story.py",
    "test_viewers.py",
    "test_soak.py",
    "test_alerts.py",
    "test_new_parts.py",
    "test_hostile.py",
    "test_packages.py",
    "test_night_in_block.py",
    "e2e",
    "transcripts",
    "screen",
    "cli",
    "watch",
    "demo",
)
"""Files of over half a minute, then folders of slow files, slowest first: a slow file started last would keep the
workers waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONG)}

    def place_of(item: pytest.Item) -> int:
        return min(places.get(name, len(LONG)) for name in (item.path.name, item.path.parent.name))

    items.sort(key=place_of)
