"""The real program's bell in bytes: one bell for a lasting loss, none if switched off."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_rows
from support.byte_scanner import kinds_in
from support.faulty_server import credentials, serving
from support.load import scaled
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.faulty_server import Faulty

COUNT = 12
BELL = "control '\\x07'"


def profile_state(lost: int = 0) -> list[dict[str, Any]]:
    now = time.time() * 1000
    up = [{**row, "lastHeartbeat": now, "lastSeenAt": now} for row in wire_rows(COUNT)]
    return [{**row, "connectionId": None, "connectedAt": None, "lastHeartbeat": None} for row in up[:lost]] + up[lost:]


@contextmanager
def watching(server: Faulty, home: Path, *, bell: bool) -> Iterator[Terminal]:
    environ = credentials(server) | {"ENVWATCH_BELL": str(bell).lower(), "ENVWATCH_ALERT_AFTER": "10s"}
    home.mkdir()
    with Terminal.of_envwatch("--interval", "1", home=home, columns=120, environ=environ) as terminal:
        terminal.wait_for(f"● {COUNT} on")
        yield terminal


def bells(terminal: Terminal) -> int:
    return kinds_in(bytes(terminal.received))[BELL]


@pytest.mark.slow
def test_a_mass_loss_that_lasts_rings_once_after_ten_seconds_and_only_if_the_bell_is_on(tmp_path: Path) -> None:
    with (
        serving(profile_state()) as server,
        watching(server, tmp_path / "on", bell=True) as loud,
        watching(server, tmp_path / "off", bell=False) as quiet,
    ):
        started = time.monotonic()
        server.rows = profile_state(lost=10)
        loud.wait_for("10 went offline together")
        seen = time.monotonic()
        loud.wait_until(lambda: bells(loud), "the bell")
        rung = time.monotonic()
        assert rung - started >= 10 - 1.5, "the silence began with the last listing before the loss, a second ago"
        assert rung - seen < 10 + scaled(5)
        for terminal in (loud, quiet):
            terminal.wait_for("10 went offline together: .* (1[2-9]|[2-9][0-9])s ago$")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        assert (bells(loud), bells(quiet)) == (1, 0)
