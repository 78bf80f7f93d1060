"""Writes a profile's history."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch import __version__
from envwatch.files import ProcessLock, set_aside
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.day_file import DayFile, Numbers, is_damage
from envwatch.history.day_reader import DayReader
from envwatch.history.earlier_runs import Seam
from envwatch.history.past import HistoryError, OtherVersionError
from envwatch.history.stored import (
    ASIDE,
    BESIDE,
    LOCK,
    StoredPast,
    day_path,
    day_paths,
    profile_and_host,
    tidy,
    utc_day,
)
from envwatch.model.clock import Clocks, WallMs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment
    from envwatch.history.stored import Retention
    from envwatch.model.outcome import Listed, PollResult
    from envwatch.model.text import SafeText


_TIDY_EVERY_S: Final = 3600.0


class FolderWriter:
    """Writes day files in a single thread, while holding the folder's lock.

    After an error, the next call reopens the file and starts with a KEY. `HistoryError` means a day over the size
    limit, or a value that cannot be encoded.

    Args:
        note: Takes a line for a damaged file set aside, and daily for an undeletable file.
        numbers: Lowest numbers of the first poll and event; None continues the folder's.
    """

    def __init__(
        self,
        folder: Path,
        retention: Retention,
        *,
        profile: SafeText = NO_PROFILE,
        note: Callable[[str], None] = lambda _line: None,
        numbers: Numbers | None = None,
    ) -> None:
        self._folder = folder
        self._retention = retention
        self._profile = profile
        self._note = note
        self._lock = ProcessLock(folder / LOCK)
        self._day: date | None = None
        self._file: DayFile | None = None
        self._numbers = numbers
        self._run: int | None = None
        self._has_seam = False
        self._seam: Seam | None = None
        self._tidied_at = -inf
        self._stuck: dict[Path, date] = {}
        """Undeletable files, with the day of the newest line."""

    def take(self) -> bool:
        """Take a free lock without waiting; return whether this process holds it."""
        had, has = self._lock.is_held, self._lock.acquire()
        if had and not has:
            self._leave()
        return has

    def write(
        self, moment: Moment, result: PollResult, events: Sequence[Event] = (), listed: Listed | None = None
    ) -> None:
        """Add a poll with events, then delete old days; call `take` before.

        By `listed`, the poll's listing, the first polls after another run or after dropped polls have all events since
        the last recorded moment.
        """

        def add(file: DayFile) -> None:
            run = self._run or file.numbers.poll
            file.write(moment, result, all_events, run)
            self._run = run

        if listed is not None and not self._has_seam:
            self._has_seam, self._seam = True, self._seam_before(moment)
        all_events, seam = events, self._seam
        if listed is not None and seam is not None:
            seam, all_events = seam.after_outcome(listed, events)
        self._add(moment.now, add)
        self._seam = None if seam is None or seam.is_over else seam
        now, clock = moment.now, moment.profile_state.clock
        # A fast clock must not make every day too old.
        if clock.is_known and now.monotonic - self._tidied_at >= _TIDY_EVERY_S:
            self._tidied_at = now.monotonic
            today = utc_day(min(now.wall, WallMs(clock.server_time(now.wall))))
            self._tidy(today)

    def write_events(self, now: Clocks, events: Sequence[Event]) -> None:
        """Add events without a poll; call `take` before."""
        self._add(now, lambda file: file.write_events(now.wall, events))

    def restart(self) -> None:
        """Continue after dropped polls with a KEY and a comparison."""
        self._has_seam = False
        if self._file is not None:
            self._file.restart()

    def close(self) -> None:
        """Close the file and let another process record."""
        self._leave()
        self._lock.release()

    def _tidy(self, today: date) -> None:
        try:
            stuck = tidy(self._folder, self._retention, today)
        except OSError as error:
            stuck = {self._folder: error}
        for path, reason in stuck.items():
            if self._stuck.get(path) != today:
                self._note(f"an old day of the history cannot be deleted: {reason.strerror or reason} ({path})")
        self._stuck = dict.fromkeys(stuck, today)

    def _add(self, now: Clocks, add: Callable[[DayFile], None]) -> None:
        day = utc_day(now.wall)
        try:
            try:
                add(self._file_of(day))
            except (HistoryError, sqlite3.Error) as error:
                if not is_damage(error):
                    raise
                self._set_aside(day, error)
                add(self._file_of(day))
        except BaseException:
            self._leave()
            raise

    def _file_of(self, day: date) -> DayFile:
        file = self._file
        if file is None or day != self._day or file.size() is None:
            self._close_file()
            if self._numbers is None:
                self._numbers = next_numbers(self._folder)
            profile, host = profile_and_host(self._folder)
            about = {"profile": profile, "host": host, "envwatch": __version__}
            is_checked = day == self._day
            file = self._file = DayFile(day_path(self._folder, day), about, self._numbers, is_checked=is_checked)
            self._day = day
        if (file.size() or 0) > self._retention.bytes:
            limit = f"history_mb = {self._retention.history_mb}"
            raise HistoryError(f"this day alone has reached {limit}; set it higher, or it goes on tomorrow (UTC)")
        return file

    def _set_aside(self, day: date, error: Exception) -> None:
        self._close_file()
        path = day_path(self._folder, day)
        aside = set_aside(path, f"{path.name}{ASIDE}")
        for suffix in BESIDE:
            with suppress(FileNotFoundError):
                path.with_name(f"{path.name}{suffix}").replace(aside.with_name(f"{aside.name}{suffix}"))
        is_other = isinstance(error, OtherVersionError)
        what = "a day of another version of envwatch" if is_other else "a damaged day of the history"
        self._note(f"{what} was set aside, and a new one begun ({aside})")

    def _seam_before(self, first: Moment) -> Seam | None:
        past = StoredPast(self._folder, self._profile)
        try:
            poll = past.last_listing()
            return None if poll is None else Seam.after(past.moment(poll), first.profile_state)
        except HistoryError:  # damaged moments are not compared
            return None

    def _close_file(self) -> None:
        if self._file is not None:
            self._numbers = self._file.numbers
            file, self._file = self._file, None
            with suppress(sqlite3.Error):
                file.close()

    def _leave(self) -> None:
        self._close_file()
        self._numbers = None
        self._has_seam = False


def next_numbers(*folders: Path) -> Numbers:
    """Return the numbers after all readable polls and events."""
    poll, event = 0, 0
    for path in chain.from_iterable(map(day_paths, folders)):
        with suppress(HistoryError), closing(DayReader(path)) as reader:
            last = reader.last_numbers()
            poll, event = max(poll, last.poll), max(event, last.event)
    return Numbers(poll + 1, event + 1)
