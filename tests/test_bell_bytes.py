"""The bell of the real program, by the bytes that arrive: one for a loss that holds, none for nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from builders import wire_rows
from scanning import access, kinds_in, serving
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faulty import Faulty

COUNT = 12
BELL = "control '\\x07'"


def fleet(lost: int = 0) -> list[dict[str, Any]]:
    """Rows that are up, the first of them lost."""
    now = time.time() * 1000
    up = [{**row, "lastHeartbeat": now, "lastSeenAt": now} for row in wire_rows(COUNT)]
    return [{**row, "connectionId": None, "connectedAt": None, "lastHeartbeat": None} for row in up[:lost]] + up[lost:]


@contextmanager
def watching(server: Faulty, home: Path, *, bell: bool) -> Iterator[Terminal]:
    environ = access(server) | {"ENVWATCH_BELL": str(bell).lower()}
    home.mkdir()
    with Terminal.of_envwatch("--interval", "1", home=home, columns=120, environ=environ) as terminal:
        terminal.wait_for(f"● {COUNT} on")
        yield terminal


def bells(terminal: Terminal) -> int:
    return kinds_in(bytes(terminal.received))[BELL]


def quit_of(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def test_a_mass_loss_that_holds_rings_once_after_ten_seconds_and_only_if_the_bell_is_on(tmp_path: Path) -> None:
    with (
        serving(fleet()) as server,
        watching(server, tmp_path / "on", bell=True) as loud,
        watching(server, tmp_path / "off", bell=False) as quiet,
    ):
        server.rows = fleet(lost=10)
        loud.wait_for("10 lost together")
        heard = time.monotonic()
        loud.wait_until(lambda: bells(loud), "the bell")
        assert 9 <= time.monotonic() - heard < 15
        # No other comes when the next might: an environment that is told of once is told of.
        for terminal in (loud, quiet):
            terminal.wait_for("10 lost together .* 2[2-9]s ago$", within=40)
            quit_of(terminal)
        assert (bells(loud), bells(quiet)) == (1, 0)


def test_a_mass_loss_that_does_not_hold_rings_not_at_all_and_b_turns_the_bell_off(tmp_path: Path) -> None:
    with (
        serving(fleet()) as server,
        watching(server, tmp_path / "on", bell=True) as back,
        watching(server, tmp_path / "turned", bell=True) as turned,
    ):
        server.rows = fleet(lost=10)
        for terminal in (back, turned):
            terminal.wait_for("10 lost together .* 3s ago$")
        turned.press("B")
        turned.wait_for("bell off")
        server.rows = fleet()
        for terminal in (back, turned):
            terminal.wait_for("10 back together .* 1[2-9]s ago$", within=40)
        assert bells(back) == 0
        server.rows = fleet(lost=10)
        turned.wait_for("10 lost together .* 1[2-9]s ago$", within=40)
        for terminal in (back, turned):
            quit_of(terminal)
        assert bells(turned) == 0


def test_a_loss_that_somebody_has_acknowledged_does_not_ring(tmp_path: Path) -> None:
    with serving(fleet()) as server, watching(server, tmp_path / "on", bell=True) as terminal:
        server.rows = fleet(lost=1)
        terminal.wait_for("went offline")
        terminal.press("ga")
        terminal.wait_for("Acknowledge ")
        terminal.press("\r")
        terminal.wait_for("1 known")
        terminal.wait_for("went offline .* 1[3-9]s ago$", within=40)
        quit_of(terminal)
        assert bells(terminal) == 0
