"""The file of Textual's writer thread over a terminal. Writes never raise, and the file can be closed mid-write.

For ASCII terminals, similar ASCII characters of the same width replace all other characters.
"""

from __future__ import annotations

import os
import re
import select
import signal
import termios
import threading
from contextlib import suppress
from functools import lru_cache
from typing import Final
from unicodedata import name, normalize

from envwatch.model.text import cells

_CHUNK: Final = 4096
"""The most bytes in flight when `close_with` is called."""

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")

_SIMILAR: Final = str.maketrans("…·•–—−‘’“”↑↓←→▲▼▸▾⏎●◐○Δ▁×≥", "..*---''\"\"^v<>^v>v<+~x*_x>")


class TerminalFile:
    """A write-only file; output to a lost terminal vanishes without an error."""

    def __init__(self, descriptor: int, *, ascii_only: bool) -> None:
        self._descriptor = descriptor
        self._ascii_only = ascii_only
        self._pending: list[str] = []
        self._lock = threading.Lock()
        self._writer: int | None = None
        self._is_closed = False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> None:
        self._pending.append(text)

    def flush(self) -> None:
        """Write the pending text; blocks while the terminal is not read."""
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
        """Write `text` last, from any thread, and drop unread output."""
        self._is_closed = True
        with suppress(OSError, termios.error):
            # The first flush unblocks a write to an unread terminal; the second flush drops that write's output.
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            if (writer := self._writer) is not None:
                signal.pthread_kill(writer, signal.SIGCONT)
            self._lock.acquire(timeout=0.1)
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        with suppress(OSError):
            if select.select([], [self._descriptor], [], 0)[1]:
                os.write(self._descriptor, text.encode())


def to_ascii(text: str) -> str:
    """Return an ASCII text of equal width."""
    return text if text.isascii() else _NOT_ASCII.sub(lambda match: _replacement(match[0]), text)


@lru_cache(maxsize=4096)
def _replacement(character: str) -> str:
    width = cells(character)
    similar = character.translate(_SIMILAR)
    if not similar.isascii():
        similar = _line_or_block(name(character, "")) or normalize("NFKD", character)[:1]
    return similar.ljust(width) if width and similar.isascii() else "?" * width


def _line_or_block(unicode_name: str) -> str:
    if unicode_name.startswith("BOX DRAWINGS"):
        is_flat, is_upright = "HORIZONTAL" in unicode_name, "VERTICAL" in unicode_name
        return "-" if is_flat and not is_upright else "|" if is_upright and not is_flat else "+"
    if unicode_name.endswith(" BLOCK"):
        return "|" if unicode_name.startswith(("LEFT", "RIGHT")) else "#"
    return ""
