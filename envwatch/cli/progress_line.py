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
    """

    def __init__(self) -> None:
        self._shown_at = float("-inf")
        self._width = 0
        """Cells of the line that is there."""

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
        print_error(f"\r{fitted(line, max(cells(line), min(self._width, width)))}", end="")
        self._width = cells(line)

    def __exit__(self, *_: object) -> None:
        if self._width:
            print_error(f"\r{' ' * self._width}\r", end="")
