"""The history in a folder, read day by day, also while another process records it.

SQLite and the encoding are imported with the first reading: a dashboard is on the screen before.
"""

from __future__ import annotations

import threading
from functools import cached_property
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import WallMs
from envwatch.past.history import GoneError, HistoryError, RecordedStep
from envwatch.storage.history.folder import day_of, day_path, day_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date
    from pathlib import Path
    from typing import TypeVar

    from envwatch.fleet.events import Event
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText
    from envwatch.past.history import Moment
    from envwatch.storage.history.encoding.frames import Rebuilder
    from envwatch.storage.history.reading import DayReader, RecordedEvent

    T = TypeVar("T")


class StoredPast:
    """Reads the history in a folder, which need not exist: a `Past`.

    Unreadable days are left out. If no day is readable, `HistoryError` is raised, as for a moment.

    Args:
        folder: the profile's history.
        profile: the label of events and moments.
        wait: called before each reading; returns once the folder may be read.
    """

    def __init__(self, folder: Path, profile: SafeText = NO_PROFILE, wait: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._profile = profile
        self._wait = wait
        self._rebuilding = threading.Lock()

    @cached_property
    def _rebuilder(self) -> Rebuilder:
        return self._new_rebuilder()

    def _new_rebuilder(self) -> Rebuilder:
        from envwatch.storage.history.encoding.frames import Rebuilder

        return Rebuilder(self._profile)

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a time, both ends included, in the order of recording."""
        days = self._each_day(since, until, lambda reader: reader.polls(since, until))
        return sorted((poll for day in days for poll in day), key=itemgetter(0))

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return what was known right after a poll."""
        with self._rebuilding, self._reader_of(poll) as reader:
            return self._rebuilder.moment(reader, poll.number)

    def moments(self, polls: Iterable[RecordedPoll]) -> Iterator[Moment]:
        """Yield what was known after each of consecutive polls."""
        rebuilder = self._new_rebuilder()
        day: date | None = None
        reader: DayReader | None = None
        try:
            for poll in polls:
                if reader is None or day_of(poll.at) != day:
                    if reader is not None:
                        reader.close()
                    day, reader = day_of(poll.at), self._reader_of(poll)
                yield rebuilder.moment(reader, poll.number)
        finally:
            if reader is not None:
                reader.close()

    def events(self, since: WallMs, until: WallMs) -> Sequence[Event]:
        """Return the events of a time, both ends included, in the order of recording; groups with their members."""
        return [each.event for each in self._recorded_events(since, until)]

    def steps(self, since: WallMs, until: WallMs) -> Iterator[RecordedStep]:
        """Yield the polls of a time, each with its events, and what time alone changed, in the order of recording."""
        events: dict[tuple[int, WallMs], list[Event]] = {}
        for each in self._recorded_events(since, until):
            events.setdefault((each.poll, each.at), []).append(each.event)
        polls = {(poll.number, poll.at): poll for poll in self.polls(since, until)}
        for number, at in sorted({**polls, **events}, key=itemgetter(0)):  # stable: a poll is before what came after it
            yield RecordedStep(at, polls.get((number, at)), events.get((number, at), ()))

    def _recorded_events(self, since: WallMs, until: WallMs) -> list[RecordedEvent]:
        days = self._each_day(since, until, lambda reader: reader.events(since, until, self._profile))
        return sorted((each for day in days for each in day), key=itemgetter(0))

    def last_listing(self) -> RecordedPoll | None:
        """Return the newest poll that gave a listing; None without one."""
        days = self._each_day(WallMs(-inf), WallMs(inf), lambda reader: reader.last_listing())
        return max(filter(None, days), key=itemgetter(0), default=None)

    def _reader_of(self, poll: RecordedPoll) -> DayReader:
        self._wait()
        return self._reader(day_path(self._folder, day_of(poll.at)))

    def _reader(self, path: Path) -> DayReader:
        try:
            from envwatch.storage.history.reading import DayReader
        except ImportError as error:  # Python can be built without SQLite
            raise HistoryError(str(error)) from None
        return DayReader(path)

    def _each_day(self, since: WallMs, until: WallMs, read: Callable[[DayReader], T]) -> list[T]:
        """Return what can be read of each day of a time."""
        self._wait()
        found: list[T] = []
        error: HistoryError | None = None
        for path in self._paths(since, until):
            try:
                with self._reader(path) as reader:
                    found.append(read(reader))
            except GoneError:  # deleted by now, as it is too old; or just begun
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
            from envwatch.storage.history.schema import explained

            raise HistoryError(explained(error)) from error
