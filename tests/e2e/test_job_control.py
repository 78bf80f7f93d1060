"""Job control: stop, resume, and a start in the background."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from contextlib import suppress
from functools import partial

import pytest
from support.budget import first_quick
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal
from support.shells import (
    ENVWATCH,
    SHOWN,
    assert_sane,
    bash,
    child_of,
    restored,
    wait_for_stop,
    wait_until_restored,
    with_parent,
)


def wait_for_stopped_job(terminal: Terminal) -> None:
    """List the shell's jobs until a stopped job appears, which happens some time after the process has stopped."""
    before = terminal.received.count(b"Stopped")
    deadline = time.monotonic() + TIMEOUT_S
    while terminal.received.count(b"Stopped") == before:
        assert time.monotonic() < deadline
        terminal.press("jobs\n")
        with suppress(AssertionError):
            terminal.wait_until(lambda: terminal.received.count(b"Stopped") > before, within=0.5)


def kill_and_tell(child: int) -> str:
    """Return a shell line that kills the job and prints the exit code: at a prompt, the shell forgets ended jobs."""
    return f"kill %1; while kill -0 {child} 2>&-; do :; done; wait %1; echo code $?\n"


def press_until_shown(terminal: Terminal, key: str, pattern: str) -> None:
    """Press a key until the effect is visible: input is dropped while the terminal changes hands.

    The key must be idempotent.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not re.search(pattern, terminal.text):
        assert time.monotonic() < deadline, terminal.text
        terminal.press(key)
        with suppress(AssertionError):
            terminal.wait_for(pattern, within=1)


TAKEN = b"\x1b[?1049h"


def is_drawn_again(terminal: Terminal, times: int) -> bool:
    """Whether the terminal was taken more than `times` times, and the whole screen drawn since."""
    drawn = terminal.received.rpartition(TAKEN)[2]
    return terminal.received.count(TAKEN) > times and b" on " in drawn and b"Filter" in drawn


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP], ids=["TSTP", "STOP"])
def test_a_resumed_program_redraws_everything(environ: dict[str, str], number: signal.Signals) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        child = child_of(terminal)
        for _ in range(2):
            os.kill(child, number)
            if number == signal.SIGTSTP:  # a program cannot catch STOP
                wait_until_restored(terminal)
            wait_for_stop(child)
            taken = terminal.received.count(TAKEN)
            os.kill(child, signal.SIGCONT)
            terminal.wait_until(partial(is_drawn_again, terminal, taken), "drawn again")
        terminal.press("q")
        assert_sane(terminal, 0)


def test_a_continue_without_a_stop_has_no_lasting_effect(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        for _ in range(3):
            taken = terminal.received.count(TAKEN)
            os.kill(child_of(terminal), signal.SIGCONT)
            terminal.wait_until(partial(is_drawn_again, terminal, taken), "drawn again")
        terminal.press("?")
        terminal.wait_for("approves everything")
        terminal.press("q")
        terminal.wait_for_no("approves everything")
        terminal.press("q")
        assert_sane(terminal, 0)


def test_a_stopped_job_can_be_resumed_and_ended_from_its_shell(environ: dict[str, str]) -> None:
    with bash(environ) as terminal:
        terminal.press(f"{' '.join(ENVWATCH)}\n")
        terminal.wait_for(SHOWN)
        terminal.press("\x1a")
        terminal.wait_for("Stopped")
        assert restored(terminal)
        terminal.screen.reset()
        terminal.press("fg\n")
        terminal.wait_for(SHOWN)
        terminal.wait_for("Filter")
        terminal.press("\x1a")
        terminal.wait_until(lambda: terminal.received.count(b"Stopped") == 2, "stopped again")
        child = child_of(terminal)
        ended = os.pidfd_open(child)
        terminal.press(kill_and_tell(child))
        assert select.select([ended], [], [], TIMEOUT_S)[0]
        os.close(ended)
        terminal.wait_for("code 143")
        assert restored(terminal)
        terminal.press("exit\n")
        terminal.wait_for_end()


def test_ctrl_z_does_nothing_where_no_shell_could_resume_the_program(environ: dict[str, str]) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1a", "?")
        terminal.wait_for("approves everything")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 130


# TSTP and CONT faster than the terminal can be restored.


def test_20_stops_and_continues_30_ms_apart_leave_the_program_running(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        child = child_of(terminal)
        ended = os.pidfd_open(child)
        for _ in range(20):
            for number in (signal.SIGTSTP, signal.SIGCONT):
                os.kill(child, number)
                assert not select.select([ended], [], [], 0.03)[0]
        os.close(ended)
        press_until_shown(terminal, "4", "[0-9]/[0-9]+  ")
        terminal.press("?")
        terminal.wait_for("approves everything")
        terminal.press("q")
        terminal.wait_for_no("approves everything")
        terminal.press("q")
        assert_sane(terminal, 0)


COMMANDS = {"envwatch": ENVWATCH, "demo": (*ENVWATCH, "demo", "--no-history", "--size", "20")}


@pytest.mark.parametrize("command", first_quick([*COMMANDS]))
def test_a_start_in_the_background_waits_for_the_foreground(environ: dict[str, str], command: str) -> None:
    with bash(environ) as terminal:
        terminal.press(f"{' '.join(COMMANDS[command])} &\n")
        wait_for_stop(child_of(terminal))
        assert TAKEN not in terminal.received
        wait_for_stopped_job(terminal)
        terminal.press("bg\n")
        wait_for_stopped_job(terminal)
        assert TAKEN not in terminal.received
        terminal.press("fg\n")
        terminal.wait_for(SHOWN)
        terminal.press("q")
        wait_until_restored(terminal)
        terminal.wait_until(lambda: terminal.received.endswith(b"$ "), "the shell's prompt")
        terminal.press("echo code $?\n")
        terminal.wait_for("code 0")
        assert b"Traceback" not in terminal.received
        terminal.press("exit\n")
        terminal.wait_for_end()


@pytest.mark.parametrize("command", first_quick([*COMMANDS]))
def test_a_start_in_the_background_can_be_ended_from_its_shell(environ: dict[str, str], command: str) -> None:
    with bash(environ) as terminal:
        terminal.press(f"{' '.join(COMMANDS[command])} &\n")
        wait_for_stop(child_of(terminal))
        child = child_of(terminal)
        ended = os.pidfd_open(child)
        terminal.press(kill_and_tell(child))
        assert select.select([ended], [], [], TIMEOUT_S)[0]
        os.close(ended)
        terminal.wait_for("code 143")
        assert restored(terminal)
        assert TAKEN not in terminal.received
        assert b"Traceback" not in terminal.received
        terminal.press("exit\n")
        terminal.wait_for_end()


def test_a_start_in_the_background_without_a_shell_ends_like_a_hang_up(environ: dict[str, str]) -> None:
    with bash(environ) as terminal:
        terminal.press(f"( ({' '.join(ENVWATCH)} < /dev/tty; echo code $?) & )\n")
        terminal.wait_for("code 129")
        assert restored(terminal)
        assert TAKEN not in terminal.received
        assert b"Traceback" not in terminal.received
        terminal.press("exit\n")
        terminal.wait_for_end()
