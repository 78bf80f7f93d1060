"""Programs under measurement: fresh processes, programs in a terminal, and what the system says they used.

Linux only: other systems do not tell so exactly what another process used.
"""

from __future__ import annotations

import os
import re
import resource
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support.pty_terminal import ROOT, Terminal, environment

from envwatch.demo.child import ChildServer
from envwatch.demo.scenarios import FleetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent

ENVWATCH = [sys.executable, "-m", "envwatch"]
SDK = [sys.executable, str(HERE / "sdk.py")]
REFERENCE = [sys.executable, str(HERE / "data_table.py")]

TIMEOUT_S = 120.0
"""Seconds until a program that shows nothing has failed."""

_CACHE = "PYTHONPYCACHEPREFIX"

_ROW = re.compile(rb"(?:on|late|off)(?: |\x1b\[[0-9;]*[A-Za-z])*[0-9]+[smhd](?: |\x1b)")
"""A state with an age behind it: the first row of data, of envwatch and of the reference."""
_ASKS_FOR_FRAMES = b"\x1b[?2026$p"


@contextmanager
def served(size: int) -> Iterator[ChildServer]:
    """Serve a demo fleet from a process of its own."""
    with ChildServer.start(FleetSpec(size, 7)) as server:
        server.ready()
        yield server


@contextmanager
def home_for(server: ChildServer) -> Iterator[dict[str, str]]:
    """Return the environment of programs that ask a server, with a home of their own for so long."""
    with TemporaryDirectory() as home:
        cached = {_CACHE: os.environ[_CACHE]} if _CACHE in os.environ else {}
        credentials = {"LETTA_API_KEY": server.key, "LETTA_BASE_URL": server.base_url}
        yield environment(Path(home), **cached, **credentials)


def run(command: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a program to its end, and return its wall and CPU milliseconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, cpu * 1000


def peak_of(command: Sequence[str], environ: dict[str, str]) -> float:
    """Run a program to its end, and return the most memory that it had at once, in MiB."""
    with subprocess.Popen(
        command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_maxrss / 1024


class Glass(Terminal):
    """A program in a terminal whose bytes are counted and timed, and never drawn."""

    def __init__(self, command: Sequence[str], environ: dict[str, str], *, columns: int = 80, lines: int = 24) -> None:
        self.started = time.perf_counter()
        super().__init__(command, environ, columns=columns, lines=lines, may_fork=False)

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has used, in all its threads."""
        # The clock of another process: what `clock_getcpuclockid` makes of its number.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def peak(self) -> float:
        """The most memory that it has had at once, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        return int(peak[1]) / 1024 if peak else float("nan")

    def take(self, seconds: float) -> bytes:
        """Read what comes next; nothing if nothing comes in time."""
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        chunk = os.read(self._master, 1 << 16)
        self.received += chunk
        if _ASKS_FOR_FRAMES in chunk:
            self.press("\x1b[?2026;2$y")
        return chunk

    def run_for(self, seconds: float) -> None:
        """Read what comes in so many seconds, and keep none of it."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.take(left)
            self.received.clear()

    def burst(self, quiet: float) -> int:
        """Read until nothing comes for so many seconds, and return how many bytes there were."""
        size = 0
        while chunk := self.take(quiet):
            size += len(chunk)
        return size

    def first_data(self) -> float:
        """Return the milliseconds from its start until a row of data stood on the screen."""
        deadline = self.started + TIMEOUT_S
        while not _ROW.search(self.received):
            if time.perf_counter() > deadline:
                raise AssertionError(f"no data: {bytes(self.received)!r}")
            self.take(1.0)
        return (time.perf_counter() - self.started) * 1000

    def ticks(self, count: int) -> list[int]:
        """Return the bytes of the next ticks: bursts with silence in between."""
        sizes: list[int] = []
        while len(sizes) < count:
            if size := self.burst(0.3):
                sizes.append(size)
        return sizes

    def answer_to(self, key: str) -> float:
        """Press a key once nothing more comes, and return the milliseconds until the answer to it begins."""
        self.burst(0.03)
        started = time.perf_counter()
        self.press(key)
        self.take(TIMEOUT_S)
        return (time.perf_counter() - started) * 1000
