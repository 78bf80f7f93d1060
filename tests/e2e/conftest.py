"""A demo server, the environment of a program that polls it, and the home of commands in the test's process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import environment
from support.shells import KEY, SIZE

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(SIZE, key=KEY) as running:
        yield running


@pytest.fixture
def environ(server: Server, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.base_url)


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only home and folder of commands in this process, without a setting in a variable."""
    for name in [name for name in os.environ if name.startswith(("LETTA_", "ENVWATCH_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path
