"""Writes a profile's history."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from itertools import chain, filterfalse
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch import __version__
from envwatch.files import ProcessLock, set_aside
from envwatch.fleet.events import NO_PROFILE, Event, Kind, is_never_seen
from envwatch.history.day_file import DayFile, DayReader, Numbers, is_damage
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
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path

    from envwatch.history.past import Moment
    from envwatch.history.stored import Retention
    from envwatch.model.text import SafeText

    BetweenRuns = Callable[[Moment, Moment], Sequence[Event]]

_TIDY_EVERY_S: Final = 3600.0
_NOT_COMPARED: Final = frozenset({Kind.FLAPPING, Kind.STEADY})
"""No comparison of two moments finds these events."""


class FolderWriter:
    """Writes day files in a single thread, while holding the folder's lock.

    After an error, the next call reopens the file and starts with a KEY. `HistoryError` means a day over the size
    limit, or a value that cannot be encoded.

    Args:
        between_runs: Returns the events from the last written listing to the first after another run or dropped polls,
            in place of the listing's changes.
        note: Takes a line for a damaged file set aside, and daily for an undeletable file.
        numbers: Lowest numbers of the first poll and event; None continues the folder's.
    """

    def __init__(  # noqa: PLR0913 - all but two have a default
        self,
        folder: Path,
        retention: Retention,
        *,
        profile: SafeText = NO_PROFILE,
        between_runs: BetweenRuns | None = None,
        note: Callable[[str], None] = lambda _line: None,
        numbers: Numbers | None = None,
    ) -> None:
        self._folder = folder
        self._retention = retention
        self._profile = profile
        self._between_runs = between_runs
        self._note = note
        self._lock = ProcessLock(folder / LOCK)
        self._day: date | None = None
        self._file: DayFile | None = None
        self._numbers = numbers
        self._run: int | None = None
        self._is_compared = False
        self._before: Moment | None = None
        self._tidied_at = -inf
        self._stuck: dict[Path, date] = {}
        """Undeletable files, with the day of the newest line."""

    def take(self) -> bool:
        """Take a free lock without waiting; return whether this process holds it."""
        had, has = self._lock.is_held, self._lock.acquire()
        if had and not has:
            self._leave()
            self._before = None
        return has

    def write(self, moment: Moment, result: PollResult, events: Sequence[Event] = ()) -> None:
        """Add a poll with events, then delete old days; call `take` before."""

        def add(file: DayFile) -> None:
            run = self._run or file.numbers.poll
            file.write(moment, result, all_events, run)
            self._run = run

        is_first = result is PollResult.LISTED and moment.profile_state.listings > 0 and not self._is_compared
        between = self._changes_between_runs(moment) if is_first else None
        all_events = events if between is None else (*between, *filterfalse(_is_compared, events))
        self._add(moment.now, add)
        if is_first:
            self._is_compared, self._before = True, None
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
        self._is_compared = False
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

    def _changes_between_runs(self, first: Moment) -> Sequence[Event] | None:
        if self._between_runs is None:
            return None
        past = StoredPast(self._folder, self._profile)
        try:
            if self._before is None and (poll := past.last_listing()) is not None:
                self._before = past.moment(poll)
        except HistoryError:  # damaged moments are not compared
            return None
        return None if self._before is None else self._between_runs(self._before, first)

    def _close_file(self) -> None:
        if self._file is not None:
            self._numbers = self._file.numbers
            file, self._file = self._file, None
            with suppress(sqlite3.Error):
                file.close()

    def _leave(self) -> None:
        self._close_file()
        self._numbers = None
        self._is_compared = False


def _is_compared(event: Event) -> bool:
    if event.kind in _NOT_COMPARED or is_never_seen(event):
        return False
    return bool(event.members or event.id is not None)


def next_numbers(*folders: Path) -> Numbers:
    """Return the numbers after all readable polls and events."""
    poll, event = 0, 0
    for path in chain.from_iterable(map(day_paths, folders)):
        with suppress(HistoryError), closing(DayReader(path)) as reader:
            last = reader.last_numbers()
            poll, event = max(poll, last.poll), max(event, last.event)
    return Numbers(poll + 1, event + 1)
