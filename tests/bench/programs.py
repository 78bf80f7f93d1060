"""Measured programs: fresh processes, and programs in a terminal.

Linux only: other systems do not account for other processes as exactly.
"""

from __future__ import annotations

import os
import re
import resource
import select
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support.pty_terminal import ROOT, Terminal, without_settings

from envwatch.demo.child import ChildServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent

ENVWATCH = [sys.executable, "-m", "envwatch"]
SDK = [sys.executable, str(HERE / "sdk.py")]
REFERENCE = [sys.executable, str(HERE / "data_table.py")]

TIMEOUT_S = 120.0
"""Seconds until a program without output has failed."""

_CACHE = "PYTHONPYCACHEPREFIX"

_ROW = re.compile(rb"(?:on|late|off)(?: |\x1b\[[0-9;]*[A-Za-z])*[0-9]+[smhd](?: |\x1b)")
"""A state followed by an age: the first row of data, in envwatch and in the reference."""
_ASKS_FOR_FRAMES = b"\x1b[?2026$p"


@contextmanager
def served(size: int) -> Iterator[ChildServer]:
    with closing(ChildServer(size)) as server:
        assert server.base_url
        yield server


@contextmanager
def home_for(server: ChildServer) -> Iterator[dict[str, str]]:
    with TemporaryDirectory() as home:
        cached = {_CACHE: os.environ[_CACHE]} if _CACHE in os.environ else {}
        credentials = {"LETTA_API_KEY": server.key, "LETTA_BASE_URL": server.base_url}
        yield without_settings(Path(home), **cached, **credentials)


def run(command: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a program; return wall and CPU milliseconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, cpu * 1000


_PEAK = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A process's peak includes the peak of the process that starts it, so a small process starts the measured one."""


def peak_of(command: Sequence[str], environ: dict[str, str]) -> float:
    """Run a program; return the peak memory in MiB."""
    peak = subprocess.check_output([sys.executable, "-ISc", _PEAK, *command], env=environ, cwd=ROOT)
    return int(peak) / 1024


class Glass(Terminal):
    """A program in a terminal whose bytes are counted and timed, and never drawn."""

    def __init__(self, command: Sequence[str], environ: dict[str, str], *, columns: int = 80, lines: int = 24) -> None:
        self.started = time.perf_counter()
        super().__init__(command, environ, columns=columns, lines=lines, may_fork=False)

    @property
    def cpu(self) -> float:
        """CPU seconds of all threads."""
        # The other process's clock, as computed by `clock_getcpuclockid`.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def peak(self) -> float:
        """Peak memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        return int(peak[1]) / 1024 if peak else float("nan")

    def take(self, seconds: float) -> bytes:
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        chunk = os.read(self._master, 1 << 16)
        self.received += chunk
        if _ASKS_FOR_FRAMES in chunk:
            self.press("\x1b[?2026;2$y")
        return chunk

    def run_for(self, seconds: float) -> int:
        """Drop all output for some time; return the number of bytes."""
        deadline, size = time.perf_counter() + seconds, 0
        while (left := deadline - time.perf_counter()) > 0:
            size += len(self.take(left))
            self.received.clear()
        return size

    def burst(self, quiet: float) -> int:
        """Read until `quiet` seconds pass without a byte; return the number of bytes."""
        size = 0
        while chunk := self.take(quiet):
            size += len(chunk)
        return size

    def first_data(self) -> float:
        """Return the milliseconds from the start to the first row of data."""
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
        """Wait for silence, press a key, and return the milliseconds until the first byte."""
        self.burst(0.03)
        started = time.perf_counter()
        self.press(key)
        self.take(TIMEOUT_S)
        return (time.perf_counter() - started) * 1000
