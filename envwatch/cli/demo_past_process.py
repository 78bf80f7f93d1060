"""The process that makes the demo's past beside the dashboard; it ends with it at the latest."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from envwatch.demo.scenarios import FleetSpec

_IMPORT_ROOT: Final = Path(__file__).parents[2]


class DemoPast:
    """The making of a demo's past, in a process of its own. Its opening begins at `started_at`, ms since the epoch."""

    def __init__(self, folder: Path, spec: FleetSpec, started_at: int) -> None:
        options = [f"--folder={folder.absolute()}", *spec.arguments(), f"--started-at={started_at}"]
        self._command = [sys.executable, "-m", "envwatch.cli.demo_past", *options]
        self._lock = Lock()
        self._is_closed = False
        self._is_over = Event()
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make it and wait until it is there, at most until `close`. May be called in any thread, once.

        Raises:
            OSError: if it cannot be made.
        """
        try:
            self._make()
        finally:
            self._is_over.set()

    def _make(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._process = process = subprocess.Popen(  # noqa: S603 - this interpreter with this package
                self._command,
                stdin=subprocess.PIPE,  # at its end, what is written is taken back
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # the screen belongs to the dashboard
                cwd=_IMPORT_ROOT,  # finds the package from any working directory
                start_new_session=True,  # ctrl+c and ctrl+z reach the dashboard only
            )
        with process:
            said = b"" if process.stderr is None else process.stderr.read()
        if process.returncode and not self._is_closed:
            raise OSError(said.decode(errors="replace").strip() or "its process has failed")

    def wait(self) -> None:
        """Wait until it is there, or given up; may be called in any thread, and often."""
        self._is_over.wait()

    def close(self) -> None:
        """Give up what is not made yet, without waiting for that."""
        self._is_over.set()
        with self._lock:
            self._is_closed = True
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()


class DemoHistory(NamedTuple):
    """Where the demo records."""

    host: str
    """In place of its address, which is another one each time."""
    past: DemoPast | None = None
    """It has to be there before anything is recorded."""
