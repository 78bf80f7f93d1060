"""The demo API as a child process, which never outlives its parent.

Cheap to import: only the child imports the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from envwatch.demo.scenarios import FleetSpec

_EXIT_TIMEOUT_S = 2.0
_IMPORT_ROOT = Path(__file__).parents[2]


class ChildServer:
    """A demo API server in a child process; a context manager.

    The child ends with its standard input: also when the parent is killed.
    """

    def __init__(self, process: subprocess.Popen[bytes], key: str) -> None:
        self.key = key
        self._process = process
        self._message: dict[str, Any] | None = None

    @classmethod
    def start(cls, spec: FleetSpec, *, ages_from: int | None = None) -> Self:
        """Start a child with a fleet and a fresh key, without waiting for the server.

        `ages_from` is as for `SimulatedFleet`.

        Raises:
            OSError: the process cannot be started.
        """
        key = f"demo-{secrets.token_urlsafe(24)}"
        process = subprocess.Popen(  # noqa: S603 - this interpreter with this package
            [sys.executable, "-m", "envwatch.demo.server", json.dumps([*spec, ages_from])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LETTA_API_KEY": key},
            cwd=_IMPORT_ROOT,
            start_new_session=True,  # ctrl+c and ctrl+z reach the dashboard only
        )
        return cls(process, key)

    @property
    def started_at(self) -> int:
        """The opening's start, in ms since the epoch; waits as `base_url` does."""
        return int(self._announced()["started_at"])

    @property
    def base_url(self) -> str:
        """The server's URL; waits until the child listens.

        Raises:
            OSError: the child cannot listen, or has ended.
        """
        return str(self._announced()["base_url"])

    def _announced(self) -> dict[str, Any]:
        if self._message is None:
            stdout = self._process.stdout
            line = b"" if stdout is None or stdout.closed else stdout.readline()
            if not line:
                raise OSError("the demo server ended before it could listen")
            message: dict[str, Any] = json.loads(line)
            if "error" in message:
                raise OSError(message["error"])
            self._message = message
        return self._message

    def close(self) -> None:
        """End the child: close its input, then SIGTERM, then SIGKILL."""
        for end in (self._close_input, self._process.terminate, self._process.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_TIMEOUT_S)
                break
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
