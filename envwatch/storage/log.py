"""The log: one line a poll, and one for whatever else matters after a bad night, in one bounded file.

Owns the lines' words and the file. Watches outcomes pass by and changes none. A disk that is full, slow, read-only or
gone is nobody's trouble: a thread of its own writes, and what it cannot write is dropped.

Not by `logging`: its rotating file keeps a descriptor, a buffer that a full disk jams, and modes that follow the umask.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from queue import Full, Queue
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet, Freshness
from envwatch.model.outcome import Failed, Listed, Outcome, Slept
from envwatch.model.text import Clean, clean, named_ids
from envwatch.model.times import long_age
from envwatch.model.zones import in_zone
from envwatch.storage.crash_report import screen_report, whole_report
from envwatch.storage.private_files import open_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envwatch.model.clock import Reading
    from envwatch.storage.redactor import Redactor

LIMIT: Final = 1 << 20
"""Bytes of the file. A full one becomes the old one (`.1`), and the old one before it goes."""

WAITING: Final = 1_000
"""Lines that may wait for the disk."""

_PATIENCE: Final = 0.3
"""Seconds that the last lines may take to be written."""


class Level(IntEnum):
    """How much a line matters."""

    INFO = 1
    WARNING = 2
    ERROR = 3


class LogLine(NamedTuple):
    """What the log says at a moment."""

    level: Level
    text: Clean


def log_line_of(outcome: Outcome) -> LogLine:
    """Return what the log says of an outcome."""
    match outcome:
        case Listed(snapshot=snapshot):
            rows = sum(len(page.environments) for page in snapshot.pages)
            named = named_ids(snapshot.set_aside_ids, snapshot.set_aside)
            aside = f", {snapshot.set_aside} rows set aside{named}" if snapshot.set_aside else ""
            size = f"{len(snapshot.pages)} pages, {snapshot.received} bytes, {rows} rows{aside}"
            return LogLine(Level.INFO, Clean(f"poll: {_seconds(outcome.started, outcome.ended)}, {size}"))
        case Failed():
            asked = outcome.retry_after
            later = f", asked to wait {long_age(asked)}" if asked else ""
            what = f"{outcome.pages_read} pages, {outcome.cause}: {outcome.message}{later}"
            return LogLine(Level.WARNING, Clean(f"poll failed: {_seconds(outcome.started, outcome.ended)}, {what}"))
        case Slept(last_awake=last, awake=awake):
            gap = timedelta(milliseconds=max(awake.wall - last.wall, (awake.monotonic - last.monotonic) * 1000))
            return LogLine(Level.WARNING, Clean(f"this machine or process stood still for {long_age(gap)}"))


def _seconds(started: Reading, ended: Reading) -> str:
    return f"{ended.monotonic - started.monotonic:.3f} s"


class BlindnessLog:
    """Notices when the dashboard goes blind, and when it sees again."""

    def __init__(self) -> None:
        self._seen = Fleet()
        self._sight = Freshness.WAITING

    def after(self, outcome: Outcome) -> LogLine | None:
        """Return what an outcome changes of the sight, None if nothing worth a line."""
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        age = self._seen.age(now)
        if isinstance(outcome, Listed):
            # Only how fresh the fleet is counts here, not its rows.
            self._seen = replace(self._seen, listed=outcome.started, interval=outcome.interval)
        else:
            self._seen, _ = self._seen.after(outcome)
        before, self._sight = self._sight, self._seen.freshness(now)
        if (self._sight is Freshness.BLIND) is (before is Freshness.BLIND):
            return None
        if self._sight is Freshness.BLIND:
            return LogLine(Level.WARNING, Clean(f"blind: the last listing is {long_age(age)} old"))
        return LogLine(Level.INFO, Clean(f"seeing again: the listing before was {long_age(age)} old"))


class PollLog:
    """One log file and the thread that writes it; the first line starts both.

    Args:
        path: the file; None for no log.
        redactor: what must not be told.
        least: lines of a lower level are left out.
        follows_link: whether a link in the file's place is followed, since the user named it; see `open_private`.
        notify: called with one line when the file cannot be written any more, from the writing thread.
    """

    def __init__(
        self,
        path: Path | None,
        redactor: Redactor,
        *,
        least: Level = Level.INFO,
        follows_link: bool = False,
        notify: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._path = path
        self._censor = redactor
        self._least = least
        self._follows_link = follows_link
        self._notify = notify
        self._blindness: dict[Clean, BlindnessLog] = {}
        self._lines: Queue[bytes | None] = Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.trouble: str | None = None
        """Why the last line could not be written; None if it could. Known for certain once all is closed."""

    def print_error(self, line: LogLine, profile: Clean = NO_PROFILE) -> None:
        """Write a line, with its profile where there are several, some time soon; never waits, never fails."""
        if self._path is None or line.level < self._least:
            return
        self._start(self._path)
        now = in_zone(datetime.now(UTC)).isoformat(timespec="milliseconds")
        whose = f"{profile}: " if profile else ""
        told = f"{now} [{os.getpid()}] {line.level.name.lower()} {self._censor(whose + line.text)}\n"
        with suppress(Full):
            self._lines.put_nowait(told.encode())

    def note(self, text: str) -> None:
        """Write what is neither about a poll nor a bug."""
        self.print_error(LogLine(Level.INFO, clean(text)))

    def note_stray_line(self, text: str) -> None:
        """Write a line that a library or a child process wrote to standard error."""
        self.print_error(LogLine(Level.WARNING, clean(f"standard error: {text}")))

    def tell_crash(self, error: BaseException) -> None:
        """Write an exception with its whole traceback, but no local variable."""
        for line in (Clean("crashed:"), *whole_report(error, self._censor)):
            self.print_error(LogLine(Level.ERROR, line))

    def observe(self, profile: Clean, outcome: Outcome) -> None:
        """Write a line about an outcome, and one when the dashboard goes blind or sees again."""
        blindness = self._blindness.setdefault(profile, BlindnessLog())
        for line in filter(None, (log_line_of(outcome), blindness.after(outcome))):
            self.print_error(line, profile)

    def close(self) -> None:
        """Write what is left, unless that takes too long."""
        if self._thread is not None:
            with suppress(Full):
                self._lines.put(None, timeout=_PATIENCE)
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                self.trouble = "it takes too long"

    def screen_report(self, error: BaseException, *, columns: int, lines: int) -> list[Clean]:
        """Return one screen about a crash; ask after closing, so that it can say whether the log has the rest."""
        if self._path is None:
            where = "No log was kept: --log-file keeps one."
        elif self.trouble is not None:
            where = f"It could not be written to {self._path}: {self.trouble}"
        else:
            where = f"The whole traceback is in {self._path}"
        return screen_report(error, self._censor, where, columns=columns, lines=lines)

    def _start(self, path: Path) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, args=(path,), name="journal", daemon=True)
                self._thread.start()

    def _write(self, path: Path) -> None:
        while (line := self._lines.get()) is not None:
            was_well = self.trouble is None
            try:
                _append(path, line, follows_link=self._follows_link)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                if was_well:
                    self._notify(f"no log is kept: {self.trouble}; --log-file names another ({path})")
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
    full = path.resolve()  # beside the file that is full, so that a link to it stays
    full.replace(full.with_name(f"{full.name}.1"))
    _append(path, line, follows_link=follows_link)
