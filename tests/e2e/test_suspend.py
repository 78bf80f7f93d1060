"""The real program, stopped and resumed by signals while the fleet changes."""

from __future__ import annotations

import re
import signal
from threading import Event
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import Terminal

from envwatch.demo.fleet_spec import FleetSpec
from envwatch.demo.server import Server

if TYPE_CHECKING:
    from pathlib import Path

KEY = "demo-key-of-the-test"
STOPPED_FOR = 9.0
"""Seconds: more than three intervals, and long enough for changes of the demo fleet."""


@pytest.mark.slow
def test_changes_while_the_process_was_stopped_are_one_group_of_events(tmp_path: Path) -> None:
    with Server(FleetSpec(40, 7), key=KEY) as server:
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
