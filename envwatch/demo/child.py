"""The demo API as a child process. Cheap to import, because only the child imports the server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXIT_TIMEOUT_S: Final = 2.0
_IMPORT_ROOT: Final = Path(__file__).parents[2]


class ChildServer:
    """A demo API server with a fleet of `size` in a child process, started without waiting.

    The child ends when standard input ends, even if the parent is killed.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, size: int, program: Sequence[str] = ("-m", "envwatch.demo.server")) -> None:
        self.key = f"demo-{secrets.token_urlsafe(24)}"
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter with this package
            [sys.executable, *program, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LETTA_API_KEY": self.key},
            cwd=_IMPORT_ROOT,
            start_new_session=True,  # ctrl+c and ctrl+z reach the dashboard only
        )

    @cached_property
    def _announced(self) -> dict[str, Any]:
        line = next(iter(self._process.stdout or ()), b'{"error": "the demo server ended before it could listen"}')
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise OSError(message["error"])
        return message

    @property
    def started_at(self) -> int:
        """The opening in ms since the epoch; waits like `base_url`."""
        return int(self._announced["started_at"])

    @property
    def base_url(self) -> str:
        """The server's URL; waits until the child listens.

        Raises:
            OSError: the child cannot listen, or has ended.
        """
        return str(self._announced["base_url"])

    def close(self) -> None:
        """Close the child's input; kill a child still running after 2 s."""
        try:
            self._process.communicate(timeout=_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
