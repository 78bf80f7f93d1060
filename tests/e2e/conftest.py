"""A demo server, and the environment of a program that polls it."""

from __future__ import annotations

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
