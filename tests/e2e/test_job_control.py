"""Job control: stop, resume, a start in the background, a sleep, and a wall clock that is set."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from contextlib import suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import pytest
from support.budget import first_quick
from support.fast_clock import needs_faketime
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal, environment
from support.shells import (
    ENVWATCH,
    KEY,
    SHOWN,
    assert_sane,
    bash,
    child_of,
    restored,
    wait_for_stop,
    wait_until_restored,
    with_parent,
)

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from pathlib import Path


def wait_for_stopped_job(terminal: Terminal) -> None:
    """List the shell's jobs until a stopped job appears, which happens some time after the process has stopped."""
    before = terminal.received.count(b"Stopped")
    deadline = time.monotonic() + TIMEOUT_S
    while terminal.received.count(b"Stopped") == before:
        assert time.monotonic() < deadline
        terminal.press("jobs\n")
        with suppress(AssertionError):
            terminal.wait_until(lambda: terminal.received.count(b"Stopped") > before, within=0.5)


def kill_and_see(terminal: Terminal) -> None:
    """Kill the job and see the exit code: at a prompt, the shell forgets ended jobs."""
    child = child_of(terminal)
    ended = os.pidfd_open(child)
    terminal.press(f"kill %1; while kill -0 {child} 2>&-; do :; done; wait %1; echo code $?\n")
    assert select.select([ended], [], [], TIMEOUT_S)[0]
    os.close(ended)
    terminal.wait_for("code 143")
    assert restored(terminal)


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
    """Also after a continue without a stop."""
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        child = child_of(terminal)
        for is_stopped in (True, False, True):
            if is_stopped:
                os.kill(child, number)
                if number == signal.SIGTSTP:  # a program cannot catch STOP
                    wait_until_restored(terminal)
                wait_for_stop(child)
            taken = terminal.received.count(TAKEN)
            os.kill(child, signal.SIGCONT)
            terminal.wait_until(partial(is_drawn_again, terminal, taken), "drawn again")
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
        kill_and_see(terminal)
        terminal.press("exit\n")
        terminal.wait_for_end()


def test_ctrl_z_does_nothing_where_no_shell_could_resume_the_program(environ: dict[str, str]) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1a", "?")
        terminal.wait_for("bell rings")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 130


@pytest.mark.slow
def test_20_stops_and_continues_30_ms_apart_leave_the_program_running(environ: dict[str, str]) -> None:
    """Faster than the terminal can be restored."""
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
        terminal.wait_for("bell rings")
        terminal.press("q")
        terminal.wait_for_no("bell rings")
        terminal.press("q")
        assert_sane(terminal, 0)


COMMANDS = {"envwatch": ENVWATCH, "demo": (*ENVWATCH, "demo", "--no-history", "--size", "20")}


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_start_in_the_background_ends_by_a_signal_and_without_a_shell_like_a_hang_up(environ: dict[str, str]) -> None:
    with bash(environ) as terminal:
        terminal.press(f"{' '.join(ENVWATCH)} &\n")
        wait_for_stop(child_of(terminal))
        kill_and_see(terminal)
        terminal.press(f"( ({' '.join(ENVWATCH)} < /dev/tty; echo code $?) & )\n")
        terminal.wait_for("code 129")
        assert restored(terminal)
        assert TAKEN not in terminal.received
        assert b"Traceback" not in terminal.received
        terminal.press("exit\n")
        terminal.wait_for_end()


# -- time --------------------------------------------------------------------------------------------------------------
STOPPED_FOR = 9.0
"""Seconds: more than three intervals, enough for changes of the demo fleet."""


@pytest.mark.slow
def test_changes_while_the_process_was_stopped_are_one_group_of_events(tmp_path: Path) -> None:
    with Server(40, key=KEY) as server:
        known = environment(tmp_path, LETTA_BASE_URL=server.base_url, LETTA_API_KEY=KEY)
        with Terminal([*ENVWATCH, "--interval", "1"], known, columns=110) as terminal:
            terminal.wait_for("● [0-9]+ on")
            terminal.send_signal(signal.SIGSTOP)
            Event().wait(STOPPED_FOR)
            terminal.send_signal(signal.SIGCONT)
            shown = terminal.wait_for(r"[0-9]+ changed while blind.* \((\S+) to (\S+)\)")
            since, until = (
                sum(int(n) * 60**i for i, n in enumerate(re.findall(r"\d\d", t)[2::-1])) for t in shown.groups()
            )
            assert (until - since) % 86_400 >= STOPPED_FOR - 1
            terminal.press("e")
            terminal.wait_for(r"▸.*changed while blind")
            assert not re.search(r"went offline.*heartbeat lost", terminal.text)


@needs_faketime
@pytest.mark.slow
def test_a_wall_clock_set_ahead_by_three_days_is_a_notice_between_events_of_the_same_day(tmp_path: Path) -> None:
    shift = tmp_path / "shift"
    shift.write_text("+0", encoding="ascii")
    with Server(40, key=KEY) as server:
        environ = environment(
            tmp_path,
            LETTA_BASE_URL=server.base_url,
            LETTA_API_KEY=KEY,
            FAKETIME_TIMESTAMP_FILE=str(shift),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            FAKETIME_FORCE_MONOTONIC_FIX="0",  # with the fix, a thread waits seconds for a lock
        )
        program = [*ENVWATCH, "--interval", "1"]
        # A changed file counts only without the variable that `faketime` sets.
        command = ["faketime", "-m", "-f", "+0", "env", "-u", "FAKETIME", *program]
        with Terminal(command, environ, columns=110, may_fork=False) as terminal:
            terminal.wait_for("● [0-9]+ on")
            # The file is replaced atomically: the program ends on reading an empty file.
            (tmp_path / "next").write_text("+3d", encoding="ascii")
            (tmp_path / "next").replace(shift)
            terminal.press("e")
            terminal.wait_for("this machine's clock was set ahead by 3d")
            # A busy machine may stop the program for some seconds, which counts as a sleep.
            assert not re.search("(slept|blind) for [0-9]+d", terminal.text)
