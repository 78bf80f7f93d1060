"""Reports of a crash: one screen for the user, the whole traceback for the log, both without secrets.

Pure: returns text, prints none. Never reads local variables. All text is cleaned, as an exception's message can contain
what another machine sent.
"""

from __future__ import annotations

from traceback import TracebackException
from typing import TYPE_CHECKING, Final

from envwatch.model.text import SafeText, clean, shortened, sliced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.storage.redactor import Redactor

_LOG_LINES: Final = 300
"""Lines of one traceback in the log at most, the last ones: the bug is at the end."""

_APOLOGY: Final = clean("envwatch crashed. That is a bug in envwatch: nothing was changed anywhere.")


def whole_report(error: BaseException, redactor: Redactor) -> list[SafeText]:
    """Return the lines of an exception's traceback, its causes included, for the log."""
    lines = redactor.lines("".join(TracebackException.from_exception(error).format()))
    return lines[-_LOG_LINES:]


def screen_report(error: BaseException, redactor: Redactor, log: str, *, columns: int, lines: int) -> list[SafeText]:
    """Return as much of an exception's traceback as fits on one screen: its last frames and its message.

    Args:
        error: the exception.
        redactor: takes secrets out of the text.
        log: a sentence about where the rest is.
        columns: of the terminal.
        lines: of the terminal, one of which is left to the shell.
    """
    traceback = TracebackException.from_exception(error)
    message = _fitting(redactor.lines("".join(traceback.format_exception_only())), columns)[:3]
    end = [*message, *_wrapped(redactor.lines(log), columns)]
    room = max((lines - 2 - len(end)) // 2, 0)
    frames = [
        line
        for frame in traceback.stack[-room:]
        if room
        for line in redactor.lines(f"  {frame.filename}:{frame.lineno} in {frame.name}\n    {frame.line}")
    ]
    return [*_fitting([_APOLOGY], columns), *_fitting(frames, columns), *end]


def _fitting(lines: Iterable[SafeText], columns: int) -> list[SafeText]:
    return [shortened(line, columns, keep="ends") for line in lines]


def _wrapped(lines: Iterable[SafeText], columns: int) -> list[SafeText]:
    """Return lines broken at the terminal's edge: a shortened path would be of no use."""
    return [sliced(line, start, start + columns) for line in lines for start in range(0, len(line), columns)]
