"""Memory of `envwatch list` for each row of a large listing, in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import environment

from envwatch.cli.commands.list import FORMATS
from envwatch.demo.child import ChildServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ROWS = 20_000
KIB_A_ROW = 3.0
"""100,000 rows and the program's base of 50 MiB then fit into 350 MiB."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ChildServer, ChildServer]]:
    with closing(ChildServer(10)) as few, closing(ChildServer(ROWS)) as many:
        assert few.base_url != many.base_url
        yield few, many


def peak(server: ChildServer, home: Path, output: str) -> float:
    """Return a listing's peak memory in KiB."""
    environ = environment(home, LETTA_API_KEY=server.key, LETTA_BASE_URL=server.base_url)
    command = [sys.executable, "-m", "envwatch", "list", "--page-size", "1000", "-o", output]
    with subprocess.Popen(command, env=environ, cwd=home, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)


@pytest.mark.parametrize("output", FORMATS)
def test_a_listing_takes_little_memory_for_each_of_its_rows(
    servers: tuple[ChildServer, ChildServer], tmp_path: Path, output: str
) -> None:
    few, many = (peak(server, tmp_path, output) for server in servers)

    assert (many - few) / ROWS <= KIB_A_ROW
