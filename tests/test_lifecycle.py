"""The terminal and the shell after envwatch, whatever ended it: as they were before, soon, with the right exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from modes import ALTERNATE_SCREEN, BRACKETED_PASTE, FOCUS, IN_BAND_RESIZE, MOUSE, Modes, is_fresh, modes_after
from terminal import Terminal, environment

from envwatch.demo.server import Server
from envwatch.tui.lifecycle import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
SIZE = 60
ENVWATCH = (sys.executable, "-m", "envwatch")
BROKEN = (sys.executable, str(Path(__file__).with_name("broken_app.py")))
SHOWN = "● [0-9]+ on"

IN_SHELL = 'stty -g; "$@"; echo "code $?"; stty -g'
"""A shell that tells the terminal's settings and the exit code."""

RESTORED_WITHIN = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(size=SIZE, seed=7, key=KEY) as running:
        yield running


@pytest.fixture
def environ(server: Server, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.base_url)


def in_shell(environ: dict[str, str], *command: str, script: str = IN_SHELL, **size: Any) -> Terminal:
    return Terminal(["sh", "-c", script, "sh", *command], environ, **size)


def child_of(terminal: Terminal) -> int:
    """The program that the shell runs."""
    pid = terminal.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])


def state_of(pid: int) -> str:
    """The letter of a process's state: T when it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def wait_for_stop(terminal: Terminal, pid: int) -> None:
    """Read until a process is stopped and all that it wrote is here."""
    deadline = time.monotonic() + 5
    while state_of(pid) != "T":
        assert time.monotonic() < deadline, terminal.text
        with pytest.raises(AssertionError):
            terminal.wait_until(lambda: state_of(pid) == "T", within=0.05)


def restored(terminal: Terminal) -> bool:
    return is_fresh(modes_after(terminal.received))


def settings(terminal: Terminal) -> list[bytes]:
    """What the shell told of the terminal's settings, before and after."""
    return re.findall(rb"^(?:\S*:){10,}\S*(?=\r\n)", terminal.received, re.MULTILINE)


def assert_sane(terminal: Terminal, code: int) -> None:
    """Read to the shell's end: it has its terminal back, and knows the exit code."""
    assert terminal.wait_for_end() == 0
    assert f"\r\ncode {code}\r\n".encode() in terminal.received or terminal.received.endswith(b"") and (
        f"code {code}\r\n".encode() in terminal.received
    ), terminal.text
    assert restored(terminal), modes_after(terminal.received)
    before, after = settings(terminal)
    assert before == after


WAYS: dict[str, tuple[str | signal.Signals, int]] = {
    "q": ("q", 0),
    "ctrl+c": ("\x03", 130),
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGHUP": (signal.SIGHUP, 129),
}


@pytest.mark.parametrize(("way", "code"), WAYS.values(), ids=WAYS)
def test_every_way_out_gives_the_terminal_back_within_a_second(
    environ: dict[str, str], way: str | signal.Signals, code: int
) -> None:
    with in_shell(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        during = modes_after(terminal.received)
        assert during.private >= {ALTERNATE_SCREEN, BRACKETED_PASTE, FOCUS, 1000, 1003, 1006}
        assert (during.keyboard, 25 in during.private, 7 in during.private) == (1, False, False)
        if isinstance(way, str):
            terminal.press(way)
        else:
            os.kill(child_of(terminal), way)
        terminal.wait_until(lambda: restored(terminal), "the terminal as it was", within=RESTORED_WITHIN)
        assert_sane(terminal, code)


def test_what_a_terminal_offers_in_answers_is_switched_back_too(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1b[?2048;2$y")
        terminal.wait_until(lambda: modes_after(terminal.received).private >= {IN_BAND_RESIZE, 1016}, "the offer taken")
        os.kill(child_of(terminal), signal.SIGTERM)
        assert_sane(terminal, 143)


def test_signals_that_the_starter_ignores_stay_ignored(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH, script='trap "" HUP INT; exec "$@"') as terminal:
        terminal.wait_for(SHOWN)
        terminal.send_signal(signal.SIGHUP)
        terminal.send_signal(signal.SIGINT)
        terminal.press("?")
        terminal.wait_for("Half a page down")
        terminal.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143


@pytest.mark.parametrize("script", ['exec "$@"', 'trap "" HUP; exec "$@"'], ids=["usual", "nohup"])
def test_a_terminal_that_vanishes_ends_the_program_without_spinning(environ: dict[str, str], script: str) -> None:
    with in_shell(environ, *ENVWATCH, script=script) as terminal:
        terminal.wait_for(SHOWN)
        terminal.hang_up()
        before = time.monotonic()
        _, status, usage = os.wait4(terminal.process.pid, 0)
        took = time.monotonic() - before
        terminal.process.returncode = os.waitstatus_to_exitcode(status)
        assert terminal.process.returncode == 129
        assert took < 5
        assert usage.ru_utime + usage.ru_stime < 5


def test_a_crash_is_one_screen_of_traceback_that_names_the_log(environ: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with in_shell(environ, *BROKEN, "action", str(log)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("t")
        terminal.wait_until(lambda: restored(terminal), "the terminal as it was", within=RESTORED_WITHIN)
        assert_sane(terminal, 1)
        report = terminal.text.partition("envwatch crashed")[2].partition("code 1")[0]
    assert 5 < report.count("\n") < 24
    assert "in action_times" in report
    assert "RuntimeError: a bug with" in report
    assert f"The whole traceback is in {log}" in report
    assert "locals" not in report
    assert "header =" not in report.replace('header = {"Authorization"', "")
    assert "in action_times" in log.read_text()


def test_an_app_that_hangs_is_ended_by_force_with_its_terminal_given_back(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with in_shell(environ, *BROKEN, "stuck", str(tmp_path / "log")) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("t")
        terminal.wait_for_no("never shown", within=1)
        os.kill(child_of(terminal), signal.SIGTERM)
        assert_sane(terminal, 143)
