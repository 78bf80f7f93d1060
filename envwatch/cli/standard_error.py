"""Standard error while the dashboard has the terminal: a line there would be drawn over the screen.

Owns the file descriptor 2 for that time. What asyncio's debug mode, the logging and warnings modules, a C library or a
child process writes there is handed over line by line. `sys.__stderr__` stays the terminal: the screen is drawn on it,
and `output.print_error` writes to it. Knows neither the screen nor the log.
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
"""Characters that are handed over at once, so many as a line of the log holds; a longer line comes in parts."""

_PATIENCE: Final = 0.3
"""Seconds to wait for the last lines: a child process may hold the pipe open for longer than we live."""


@contextmanager
def standard_error_to(take: Callable[[str], None]) -> Iterator[None]:
    """Hand over what is written to standard error, instead of showing it.

    Args:
        take: called with each line that is not blank, in a thread of its own.
    """
    usual = sys.__stderr__
    if usual is None:
        yield
        return
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=usual.encoding, errors=usual.errors)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    reader = threading.Thread(target=_hand_over, args=(reading, take), name="standard-error", daemon=True)
    reader.start()
    sys.__stderr__ = terminal  # type: ignore[misc]  # the one place where it changes, see the module's docstring
    try:
        with _logging_to_standard_error():
            yield
    finally:
        sys.__stderr__ = usual  # type: ignore[misc]  # and changes back
        sys.stderr.flush()
        os.dup2(terminal.fileno(), 2)
        terminal.close()
        reader.join(_PATIENCE)


@contextmanager
def _logging_to_standard_error() -> Iterator[None]:
    """Let the logging and warnings modules write where `sys.stderr` leads now, whatever Textual puts there later.

    Textual would drop what it gets.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(handler)


def _hand_over(descriptor: int, take: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(LONGEST_LINE):
            if text := line.strip():
                take(text)
