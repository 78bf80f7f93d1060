"""One loss from the first minute to the handover, in the real program: screen, next run, explanation, recording,
replay, report.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.faulty_server import Faulty, credentials, down, running, up
from support.pty_terminal import ESC, Terminal, environment

if TYPE_CHECKING:
    from pathlib import Path

POD = [f"db-{number:02}" for number in range(12)]
OTHERS = [f"web-{number:02}" for number in range(20)]


class Fleet:
    def __init__(self) -> None:
        self.lost_at: float | None = None
        self.back_at: float | None = None

    def rows(self, now: float) -> list[dict[str, Any]]:
        return [self._of_pod(id_, now) for id_ in POD] + [up(id_, now, podId="p-2") for id_ in OTHERS]

    def _of_pod(self, id_: str, now: float) -> dict[str, Any]:
        if self.lost_at is None:
            return up(id_, now, podId="p-7")
        if self.back_at is None:
            return down(id_, self.lost_at, podId=None)
        return up(id_, now, podId="p-7", connectionId=f"again-{id_}", connectedAt=self.back_at)


def dashboard(server: Faulty, home: Path) -> Terminal:
    return Terminal.of_envwatch("--interval", "1s", home=home, environ=credentials(server))


def run(server: Faulty, home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "envwatch", *arguments]
    done = programs.run(command, environment(home, **credentials(server)))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def quit_from(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def go_back_to_the_loss(terminal: Terminal) -> None:
    """Step by event back to the loss, which is the oldest; the pod's return may be the newest moment."""
    terminal.press("{", "{")
    terminal.wait_for("○ 12 off +[0-9]+s NEW +pod p-7: db-00, db-01, db-02 and 9 more +disconnected")
    terminal.wait_for("12 went offline together: all pod p-7")


@pytest.mark.slow
def test_a_loss_is_found_again_explained_cut_out_replayed_and_reported(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    file = tmp_path / "pod.rec"
    profile_state = Fleet()
    server = Faulty(profile_state.rows)
    with running(server):
        with dashboard(server, home) as terminal:
            terminal.wait_for("● 32 on")
            terminal.wait_until(lambda: len(server.seen) >= 3, "more listings than the first")
            profile_state.lost_at = time.time() * 1000 - 6_000
            terminal.wait_for("12 went offline together: all pod p-7")
            polls = len(server.seen)
            terminal.wait_until(lambda: len(server.seen) >= polls + 2, "a listing after the loss")
            quit_from(terminal)

        profile_state.back_at = time.time() * 1000
        with dashboard(server, home) as terminal:
            terminal.wait_for("12 came back together")
            go_back_to_the_loss(terminal)
            terminal.press("x", "j")
            terminal.wait_for("► +○ off +[0-9]+s +db-00 ")
            terminal.press("E")
            terminal.wait_for("no connectionId|no live connection")
            terminal.press(ESC)
            terminal.press("L")
            terminal.wait_for("● 32 on")
            quit_from(terminal)

        run(server, home, "record", "--since", "1h ago", "-o", str(file))
        report = run(server, home, "report", "--since", "1h")

    with Terminal.of_envwatch("replay", str(file), home=elsewhere) as terminal:
        terminal.press("L")  # to the end
        terminal.wait_for("PAUSED")
        go_back_to_the_loss(terminal)
        quit_from(terminal)

    assert "12 went offline together, all `pod p-7`: `db-00`, `db-01`" in report
    assert "; all back within" in report
    assert "\x1b" not in report
