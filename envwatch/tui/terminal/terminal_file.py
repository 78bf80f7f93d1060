"""The terminal as the file that Textual's writer thread writes to. It never raises and can be closed mid-write."""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
from contextlib import suppress
from typing import Final

from envwatch.tui.terminal.ascii import to_ascii

_CHUNK: Final = 4096
"""Bytes per write: at most this much is in flight when `close_with` is called."""


class TerminalFile:
    """A write-only file over a terminal. Output to a terminal that is gone is lost without an error."""

    def __init__(self, descriptor: int, *, ascii_only: bool) -> None:
        self._descriptor = descriptor
        self._ascii_only = ascii_only
        self._pending: list[str] = []
        self._lock = threading.Lock()
        self._writer: int | None = None
        """Id of the thread inside `os.write`."""
        self._is_closed = False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> None:
        """Keep text until the next flush."""
        self._pending.append(text)

    def flush(self) -> None:
        """Write what was kept; blocks while the terminal is not read."""
        text = "".join(self._pending)
        self._pending.clear()
        rest = memoryview((to_ascii(text) if self._ascii_only else text).encode("utf-8", "replace"))
        with suppress(OSError):
            while rest:
                with self._lock:
                    if self._is_closed:
                        return
                    self._writer = threading.get_ident()
                    try:
                        rest = rest[os.write(self._descriptor, rest[:_CHUNK]) :]
                    finally:
                        self._writer = None

    def close_with(self, text: str) -> None:
        """Write `text` as the last output, from any thread; drop what the terminal has not read yet."""
        self._is_closed = True
        with suppress(OSError, termios.error):
            # The first flush unblocks a write to a terminal that is not read; the second drops what that write added.
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            if (writer := self._writer) is not None:
                signal.pthread_kill(writer, signal.SIGCONT)  # interrupts the blocked write, so that it sees the room
            self._lock.acquire(timeout=0.1)
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        with suppress(OSError):
            if select.select([], [self._descriptor], [], 0)[1]:
                os.write(self._descriptor, text.encode())
