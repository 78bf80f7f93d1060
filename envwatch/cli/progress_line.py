"""One line of progress on standard error, rewritten in place, where that is a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Final, Self

from envwatch.cli.streams import print_error
from envwatch.model.text import cells, clean, fitted, shortened
from envwatch.storage.redactor import redactor

_EVERY_S: Final = 1.0
_USUAL_COLUMNS: Final = 80
"""Of a terminal that does not know its size."""


class ProgressLine:
    """A line that is shown while a context lasts, and erased at its end.

    It is rewritten at most once a second, with a carriage return and blanks: any terminal understands these.

    Args:
        after_s: seconds in which nothing is shown, as most of what is shown later is over by then.
    """

    def __init__(self, after_s: float = 0.0) -> None:
        self._shown_at = time.monotonic() + after_s - _EVERY_S
        self._width = 0
        """Cells of the line that is there, or about to be."""

    def __enter__(self) -> Self:
        return self

    @property
    def is_due(self) -> bool:
        """Whether there is a terminal, and a second has passed since the last text."""
        stream = sys.__stderr__
        return stream is not None and stream.isatty() and time.monotonic() - self._shown_at >= _EVERY_S

    def show(self, text: str) -> None:
        """Show a text, cut to the terminal's width, if it `is_due`."""
        stream = sys.__stderr__
        if stream is None or not self.is_due:
            return
        self._shown_at = time.monotonic()
        width = max((os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS) - 1, 1)
        line = shortened(clean(redactor()(text)), width)
        before, self._width = self._width, cells(line)
        print_error(f"\r{fitted(line, max(self._width, min(before, width)))}", end="")

    def erase(self) -> None:
        """Take the line away, as when the context ends; also from a handler of a signal."""
        if self._width:
            print_error(f"\r{' ' * self._width}\r", end="")
            self._width = 0

    def __exit__(self, *_: object) -> None:
        self.erase()
