"""Readers of recorded time: a folder's history, and a recording.

The first read imports SQLite, so the dashboard appears earlier.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import NO_PROFILE, Event
from envwatch.model.clock import WallMs
from envwatch.past.history import GoneError, HistoryError, Moment, RecordedStep
from envwatch.storage.history.folder import day_of, day_path, day_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeVar

    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText
    from envwatch.storage.history.reading import DayReader, Rebuilder

    T = TypeVar("T")

_FIRST: Final = WallMs(-inf)
_LAST: Final = WallMs(inf)


class StoredPast:
    """Reads the history in a folder, which may not exist.

    Unreadable days are skipped. Without a readable day, methods raise `HistoryError`.

    Args:
        profile: the label of events and moments.
        wait: called before each read; returns once the folder may be read.
    """

    def __init__(self, folder: Path, profile: SafeText = NO_PROFILE, wait: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._profile = profile
        self._wait = wait
        self._rebuilding = threading.Lock()

    @cached_property
    def _rebuilder(self) -> Rebuilder:
        from envwatch.storage.history.reading import Rebuilder

        return Rebuilder(self._profile)

    def polls(self, since: WallMs = _FIRST, until: WallMs = _LAST) -> Sequence[RecordedPoll]:
        """See `Past.polls`."""
        days = self._each_day(since, until, lambda reader: reader.polls(since, until))
        return sorted((poll for day in days for poll in day), key=itemgetter(0))

    def moment(self, poll: RecordedPoll) -> Moment:
        """See `Past.moment`."""
        (moment,) = self.moments([poll])
        return moment

    def moments(self, polls: Iterable[RecordedPoll]) -> Iterator[Moment]:
        """Yield the moment after each poll; consecutive polls of a day share an open file."""
        for path, of_day in groupby(polls, lambda poll: day_path(self._folder, day_of(poll.at))):
            self._wait()
            with self._reader(path) as reader:
                for poll in of_day:
                    with self._rebuilding:
                        moment = self._rebuilder.moment(reader, poll.number)
                    yield moment

    def steps(self, since: WallMs = _FIRST, until: WallMs = _LAST) -> Iterator[RecordedStep]:
        """See `Past.steps`."""
        events: dict[tuple[int, WallMs], list[Event]] = {}
        days = self._each_day(since, until, lambda reader: reader.events(since, until, self._profile))
        for _, at, number, event in sorted((each for day in days for each in day), key=itemgetter(0)):
            events.setdefault((number, at), []).append(event)
        polls = {(poll.number, poll.at): poll for poll in self.polls(since, until)}
        for number, at in sorted({**polls, **events}, key=itemgetter(0)):  # stable: a poll precedes later events
            yield RecordedStep(at, polls.get((number, at)), events.get((number, at), []))

    def last_listing(self) -> RecordedPoll | None:
        """Return the newest poll with a listing."""
        days = self._each_day(_FIRST, _LAST, lambda reader: reader.last_listing())
        return max(filter(None, days), key=itemgetter(0), default=None)

    def _reader(self, path: Path) -> AbstractContextManager[DayReader]:
        try:
            from envwatch.storage.history.reading import DayReader
        except ImportError as error:
            raise HistoryError(str(error)) from None
        return closing(DayReader(path))

    def _each_day(self, since: WallMs, until: WallMs, read: Callable[[DayReader], T]) -> list[T]:
        self._wait()
        found: list[T] = []
        error: HistoryError | None = None
        for path in self._paths(since, until):
            try:
                with self._reader(path) as reader:
                    found.append(read(reader))
            except GoneError:  # deleted as too old, or just begun
                continue
            except HistoryError as its_error:
                error = its_error
        if error is not None and not found:
            raise error
        return found

    def _paths(self, since: WallMs, until: WallMs) -> list[Path]:
        try:
            return day_paths(self._folder, day_of(since), day_of(until))
        except OSError as error:
            from envwatch.storage.history.day_file import explained

            raise HistoryError(explained(error)) from error


class RecordedFile(StoredPast):
    """Reads a recording, also while another process writes the file.

    Raises:
        HistoryError: if unreadable, no recording, or of a newer envwatch.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            from envwatch.past.history import About
            from envwatch.storage.history.recording import opened
        except ImportError as error:
            raise HistoryError(str(error)) from None
        self._file = opened(path)
        # Some builds of SQLite do not allow two threads at once.
        self._reading = threading.RLock()
        try:
            self.about = About.from_rows(self._file.about())
            self.polls()  # finds damage
        except BaseException:
            self.close()
            raise
        self.is_cut = self._file.is_cut
        """Whether the end is missing or damaged."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _reader(self, path: Path) -> Iterator[DayReader]:
        del path
        with self._reading:
            yield self._file

    def _paths(self, since: WallMs, until: WallMs) -> list[Path]:
        del since, until
        return [self._folder]
