"""Redirects standard error while the dashboard has the terminal, where a line would be drawn over the screen.

Owns the file descriptor 2 meanwhile. Lines from asyncio's debug mode, the logging and warnings modules, C libraries and
child processes go to a function. `sys.__stderr__` stays the terminal, for the screen and `streams.print_error`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_LINE: Final = 1_000
"""Characters, as in a line of the log; a longer line is passed on in parts."""

_PATIENCE_S: Final = 0.3
"""Seconds to wait for the last lines: a child process may keep the pipe open after this process has ended."""


@contextmanager
def standard_error_to(take: Callable[[str], None]) -> Iterator[None]:
    """Pass lines that are written to standard error to a function, in a separate thread; blank ones are dropped."""
    original = sys.__stderr__
    if original is None:
        yield
        return
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=original.encoding, errors=original.errors)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    reader = threading.Thread(target=_pass_on, args=(reading, take), name="standard-error", daemon=True)
    reader.start()
    sys.__stderr__ = terminal  # type: ignore[misc]  # see the module's docstring
    try:
        with _logging_to_standard_error():
            yield
    finally:
        sys.__stderr__ = original  # type: ignore[misc]
        sys.stderr.flush()
        os.dup2(terminal.fileno(), 2)
        terminal.close()
        reader.join(_PATIENCE_S)


@contextmanager
def _logging_to_standard_error() -> Iterator[None]:
    """Let logging and warnings write to the present `sys.stderr`: Textual's replacement of it drops everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(handler)


def _pass_on(descriptor: int, take: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(LONGEST_LINE):
            if text := line.strip():
                take(text)
