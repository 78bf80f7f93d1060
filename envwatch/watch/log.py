"""The log: lines about polls and notable events in a bounded file, and crash reports without local variables.

A thread drops lines that a full or slow disk does not take. Python's `logging` does not fit: the rotating file fails
for good after a full disk, and takes the mode from the umask.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from queue import Full, Queue
from traceback import TracebackException
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.files import open_private
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.model.outcome import Failed, Listed, Outcome, RelayInfo, Slept
from envwatch.model.text import SafeText, clean, composed, named_ids, shortened, sliced
from envwatch.model.times import in_zone, long_age, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.model.clock import Clocks
    from envwatch.model.redactor import Redactor


LIMIT: Final = 1 << 20
"""Most bytes of the file; a full file is renamed to `.1`."""

_QUEUED_LINES: Final = 1_000
_CLOSE_TIMEOUT_S: Final = 0.3


LogLine: TypeAlias = "tuple[int, SafeText]"
"""Level and text, without time and profile."""


def log_line_of(outcome: Outcome) -> LogLine:
    """Return the line about an outcome."""
    match outcome:
        case Listed(snapshot=snapshot):
            rows = sum(len(page.environments) for page in snapshot.pages)
            ids = named_ids(snapshot.rejected_ids, snapshot.rejected)
            aside = f", {snapshot.rejected} machines set aside{ids}" if snapshot.rejected else ""
            size = f"{len(snapshot.pages)} pages, {snapshot.received} bytes, {rows} machines{aside}"
            age = "" if snapshot.served is None else f", {_age_text(snapshot.served)}"
            return logging.INFO, clean(f"poll: {_seconds(outcome.started, outcome.ended)}, {size}{age}")
        case Failed():
            wait = f", asked to wait {long_age(outcome.retry_after)}" if outcome.retry_after else ""
            reason = f"{outcome.pages_read} pages, {outcome.cause}: {outcome.message}{wait}"
            return logging.WARNING, composed(f"poll failed: {_seconds(outcome.started, outcome.ended)}, {reason}")
        case Slept(last_awake=last, awake=awake):
            gap = timedelta(milliseconds=max(awake.wall - last.wall, (awake.monotonic - last.monotonic) * 1000))
            text = f"this machine or process stood still for {long_age(gap)}"
            if awake.slept_since(last):
                text = f"this machine stood still for {long_age(gap)}, or its clock was set"
            return logging.WARNING, clean(text)


def _age_text(served: RelayInfo) -> str:
    return f"{'the same data' if served.is_repeat else 'data'} of {served.age_s:.1f} s before"


def _seconds(started: Clocks, ended: Clocks) -> str:
    return f"{ended.monotonic - started.monotonic:.3f} s"


class PollLog:
    """The log file; the first line starts the writing thread.

    `least` is the lowest written level. `notify` shows a line to the user, from any thread; the writing thread calls
    `notify` if the file cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        redactor: Redactor,
        *,
        least: int = logging.INFO,
        follows_link: bool = False,
        notify: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._least = least
        self._follows_link = follows_link
        self.notify = notify
        self._lines: Queue[bytes | None] = Queue(_QUEUED_LINES)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.trouble: str | None = None
        """Why the last line was not written, if so; final after `close`."""

    def write(self, line: LogLine, profile: SafeText = NO_PROFILE) -> None:
        """Queue a line; never waits or fails."""
        level, line_text = line
        if self._path is None or level < self._least:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._path,), name="poll log", daemon=True)
                self._thread.start()
        now = in_zone(datetime.now(UTC)).isoformat(timespec="milliseconds")
        text = self._redactor(f"{profile}: {line_text}" if profile else line_text)
        with suppress(Full):
            self._lines.put_nowait(f"{now} [{os.getpid()}] {logging.getLevelName(level).lower()} {text}\n".encode())

    def note(self, text: str) -> None:
        """Write a line of level INFO."""
        self.write((logging.INFO, clean(text)))

    def warn(self, text: str) -> None:
        """Write a line, and show the user."""
        self.note(text)
        self.notify(text)

    def note_stray_line(self, text: str) -> None:
        """Write a stray line of standard error."""
        self.write((logging.WARNING, clean(f"standard error: {text}")))

    def write_crash(self, error: BaseException) -> None:
        """Write an exception's whole traceback."""
        for line in (clean("crashed:"), *whole_report(error, self._redactor)):
            self.write((logging.ERROR, line))

    def observe(self, profile: SafeText, outcome: Outcome) -> None:
        """Write the line about an outcome."""
        self.write(log_line_of(outcome), profile)

    def note_blindness(self, events: Iterable[Event]) -> None:
        """Write a line for each start and end of blindness."""
        for event in events:
            if event.kind is Kind.BLIND and event.since is not None:
                text = f"blind: the last data is {long_age(span(event.at - event.since))} old"
                self.write((logging.WARNING, clean(text)), event.profile)
            elif event.kind is Kind.VISIBLE:
                text = f"seeing again: the data before was {long_age(event.lasted)} old"
                self.write((logging.INFO, clean(text)), event.profile)

    def close(self) -> None:
        """Write queued lines, for a limited time."""
        if self._thread is not None:
            with suppress(Full):
                self._lines.put(None, timeout=_CLOSE_TIMEOUT_S)
            self._thread.join(_CLOSE_TIMEOUT_S)
            if self._thread.is_alive():
                self.trouble = "it takes too long"

    def screen_report(self, error: BaseException, *, columns: int, lines: int) -> list[SafeText]:
        """Return a screenful about a crash. Call `close` first, to learn whether the log is complete."""
        if self._path is None:
            where = "No log was kept: --log-file keeps one."
        elif self.trouble is not None:
            where = f"It could not be written to {self._path}: {self.trouble}"
        else:
            where = f"The whole traceback is in {self._path}"
        return screen_report(error, self._redactor, where, columns=columns, lines=lines)

    def _run(self, path: Path) -> None:
        while (line := self._lines.get()) is not None:
            had_trouble = self.trouble is not None
            try:
                _append(path, line, follows_link=self._follows_link)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                if not had_trouble:
                    self.notify(f"no log is kept: {self.trouble}; --log-file names another ({path})")
            else:
                self.trouble = None


def _append(path: Path, line: bytes, *, follows_link: bool) -> None:
    descriptor = open_private(path, follows_link=follows_link)
    try:
        size = os.fstat(descriptor).st_size
        if not size or size + len(line) <= LIMIT:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return
    finally:
        os.close(descriptor)
    full = path.resolve()  # rename the file itself, not a link
    full.replace(full.with_name(f"{full.name}.1"))
    _append(path, line, follows_link=follows_link)


_LOG_LINES: Final = 300
"""The last lines hold the error."""

_APOLOGY: Final = clean("envwatch crashed. That is a bug in envwatch: nothing was changed anywhere.")


def whole_report(error: BaseException, redactor: Redactor) -> list[SafeText]:
    """Return a traceback's lines, with causes, for the log."""
    lines = redactor.lines("".join(TracebackException.from_exception(error).format()))
    return lines[-_LOG_LINES:]


def screen_report(error: BaseException, redactor: Redactor, log: str, *, columns: int, lines: int) -> list[SafeText]:
    """Return a traceback's last frames and message, and `log`, cut to a screen with a free line for the shell."""
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
    """Return lines broken at the edge, because a shortened path is useless."""
    return [sliced(line, start, start + columns) for line in lines for start in range(0, len(line), columns)]
