"""The real program, stopped and resumed by signals while the fleet changes, and under a wall clock that is set."""

from __future__ import annotations

import re
import signal
import sys
from threading import Event
from typing import TYPE_CHECKING

import pytest
from support.fast_clock import needs_faketime
from support.pty_terminal import Terminal, environment

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from pathlib import Path

KEY = "demo-key-of-the-test"
STOPPED_FOR = 9.0
"""Seconds: more than three intervals, enough for changes of the demo fleet."""


@pytest.mark.slow
def test_changes_while_the_process_was_stopped_are_one_group_of_events(tmp_path: Path) -> None:
    with Server(40, key=KEY) as server:
        credentials = {"LETTA_BASE_URL": server.base_url, "LETTA_API_KEY": KEY}
        with Terminal.of_envwatch("--interval", "1", home=tmp_path, columns=110, environ=credentials) as terminal:
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
def test_a_wall_clock_that_is_set_by_three_days_is_a_notice_between_events_of_the_same_day(tmp_path: Path) -> None:
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
        program = [sys.executable, "-m", "envwatch", "--interval", "1"]
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
