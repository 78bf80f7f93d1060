"""The first start without a line of configuration: servers need a person, laptops and jobs do not."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

from support import programs
from support.faulty_server import Faulty, down, running, unlimited, up
from support.pty_terminal import ENTER, Terminal, environment

if TYPE_CHECKING:
    from pathlib import Path

STARTED = time.time() * 1000
HOUR = 3_600_000
SERVERS = {name: {"connectedAt": STARTED - 72 * HOUR} for name in ("db-1", "nas", "web-1", "web-2")}
LAPTOPS: dict[str, dict[str, Any]] = {
    "mac-ana": {"connectedAt": STARTED - 72 * HOUR, "metadata": {"os": "darwin"}},
    "pc-ben": {"connectedAt": STARTED - 30 * HOUR, "metadata": {"os": "win32"}},
    "linux-cyd": {"connectedAt": STARTED - 9 * HOUR},
}
JOBS = {f"ci-{number}": {"connectedAt": STARTED - HOUR // 3} for number in range(3)}
ALL = {**SERVERS, **LAPTOPS, **JOBS}


def fleet(now: float) -> list[dict[str, Any]]:
    return [up(name, now, podId=None, **values) for name, values in ALL.items()]


def fleet_without_power(now: float) -> list[dict[str, Any]]:
    return [down(name, now - 2_000, podId=None, **{**values, "connectedAt": None}) for name, values in ALL.items()]


def test_of_servers_laptops_and_jobs_that_all_go_down_the_block_names_the_servers(tmp_path: Path) -> None:
    server = Faulty(fleet)
    with running(server):
        environ = {**unlimited(server), "ENVWATCH_ALERT": "", "ENVWATCH_INTERVAL": "1s"}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for(r"^── 10 online ─")
            server.script = fleet_without_power
            terminal.wait_for(r"^▌.○ 4 off +[0-9]+s NEW ")
            terminal.wait_for(r"^── 6 not alerting ─")
            (line,) = [line for line in terminal.display if "NEW" in line and "▌" in line]
            assert set(re.findall(r"[a-z]+-?[a-z0-9]*", line.partition("NEW")[2])) & set(ALL) == set(SERVERS)
            terminal.press("G", ENTER)
            terminal.wait_for(r"alerts +a loss needs nobody: watched for 0 of 48 h")
            for name, word, shown in (("ci-0", "always", "5 off"), ("nas", "never", "4 of 5 off|4 off")):
                command = [sys.executable, "-m", "envwatch", "alerts", "set", name, word]
                ended = programs.run(command, environment(tmp_path, **environ))
                assert (ended.returncode, word in ended.stderr.decode()) == (0, True)
                terminal.wait_for(shown)
            terminal.wait_for(r"^── 6 not alerting \(1 never\) ─")
            terminal.press("q", "q")
            assert terminal.wait_for_end() == 0
