"""Commands in the test's process, and their server in another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.faulty_server import Faulty, running
from support.in_process import Envwatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def envwatch(empty_home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Envwatch:
    return Envwatch(empty_home, capfd, monkeypatch)


@pytest.fixture
def faulty(envwatch: Envwatch) -> Iterator[Faulty]:
    """Serve an empty listing to the commands until the test sets rows; every loss needs a person."""
    server = Faulty([])
    with running(server):
        envwatch.connect(server.url, ENVWATCH_ALERT="id:*")
        yield server


@pytest.fixture
def scripted(request: pytest.FixtureRequest, envwatch: Envwatch) -> Iterator[Faulty]:
    """Serve the rows of the module's function `fleet` to the commands."""
    server = Faulty(request.module.fleet)
    with running(server):
        envwatch.connect(server.url)
        yield server
