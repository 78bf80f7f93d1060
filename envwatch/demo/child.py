"""The demo API in a process of its own: started at once, waited for later, and ended for certain.

Cheap to import, unlike the server itself, for the parent has a screen to draw meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Self

_PATIENCE_S = 2.0
_IMPORT_ROOT = Path(__file__).parents[2]


class ChildServer:
    """A demo API server as a child process.

    `start` returns at once; `ready`, and `base_url` with it, wait until the child listens. Close it, or use it as a
    context manager. The child also ends by itself when this process is gone.
    """

    def __init__(self, process: subprocess.Popen[bytes], key: str) -> None:
        self.key = key
        self._process = process
        self._base_url: str | None = None

    @classmethod
    def start(cls, size: int, seed: int) -> Self:
        """Start a child with a fleet of that size and a fresh key.

        Raises:
            OSError: there can be no such process.
        """
        key = f"demo-{secrets.token_urlsafe(24)}"
        command = [sys.executable, "-m", "envwatch.demo.server", f"--size={size}", f"--seed={seed}", "--child"]
        process = subprocess.Popen(  # noqa: S603 - this interpreter with this package
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the screen belongs to the dashboard
            env={**os.environ, "LETTA_API_KEY": key},
            cwd=_IMPORT_ROOT,  # the package is found, whatever stands in the folder that the user is in
            start_new_session=True,  # ctrl+c and ctrl+z mean the dashboard, from the first moment on
        )
        return cls(process, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Where it listens; waits for it as `ready` does."""
        return self.ready()

    def ready(self) -> str:
        """Wait until the child listens, and return its base URL.

        Raises:
            OSError: it could not listen, or died before it did.
        """
        if self._base_url is None:
            self._base_url = self._announced()
        return self._base_url

    def close(self) -> None:
        """End the child and wait for its end: by its standard input, else by force."""
        for end in (self._close_input, self._process.terminate, self._process.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
                break
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _announced(self) -> str:
        stdout = self._process.stdout
        line = b"" if stdout is None or stdout.closed else stdout.readline()
        if not line:
            raise OSError("the demo server ended before it could listen")
        answer: dict[str, str] = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["base_url"]
