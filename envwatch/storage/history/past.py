"""A profile's history folder: name, day files, recorder's lock, retention; and readers of recorded time.

The first read imports SQLite, so the dashboard appears earlier.
"""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

from envwatch.fleet.events import NO_PROFILE, Event
from envwatch.model.clock import WallMs
from envwatch.model.limits import HISTORY_DAYS, HISTORY_MB
from envwatch.past.history import GoneError, HistoryError, Moment, RecordedStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeVar

    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText
    from envwatch.storage.history.reading import DayReader, Rebuilder


if TYPE_CHECKING:
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
        self._rebuilder: Rebuilder | None = None

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
                from envwatch.storage.history.reading import Rebuilder

                for poll in of_day:
                    with self._rebuilding:
                        rebuilder = self._rebuilder = self._rebuilder or Rebuilder(self._profile)
                        moment = rebuilder.moment(reader, poll.number)
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

    def forget(self) -> None:
        """See `Past.forget`."""
        self._rebuilder = None

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


SUFFIX: Final = ".sqlite"
BESIDE: Final = ("-wal", "-shm")
"""SQLite's files next to a day file: the newest polls, and the index."""
DAMAGED: Final = ".damaged"
LOCK: Final = "lock"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 200
"""In bytes; file systems take 255."""
_OF_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.sqlite(?:\.damaged)?(?:-wal|-shm)?", re.ASCII)


class Retention(NamedTuple):
    """Limits of a history, whose files are deleted by whole days."""

    history_days: int = HISTORY_DAYS
    history_mb: int = HISTORY_MB
    """The size of the whole folder, in units of 2^20 bytes."""

    @property
    def bytes(self) -> int:
        """`history_mb` in bytes."""
        return self.history_mb << 20


def history_folder(state_folder: Path, profile: str, server: str) -> Path:
    """Return the history folder of a profile and server, which may not exist.

    The server is the host, an unusual port, and the base URL's path.
    """
    name = f"{quote(profile, safe='')}@{quote(server, safe=':')}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return history_root(state_folder) / name


def history_root(state_folder: Path) -> Path:
    """Return the folder of all histories."""
    return state_folder / "history"


def profile_and_host(folder: Path) -> tuple[str, str]:
    """Return profile and host from a folder's name; long names are cut."""
    profile, _, host = folder.name.partition("@")
    return unquote(profile), unquote(host)


def day_of(wall: WallMs) -> date:
    """Return the UTC day of an instant, within `date.min` and `date.max`."""
    try:
        return (_EPOCH + timedelta(milliseconds=wall)).date()
    except (OverflowError, ValueError):
        return date.max if wall > 0 else date.min


def day_path(folder: Path, day: date) -> Path:
    """Return a day's path."""
    return folder / f"{day}{SUFFIX}"


def day_paths(folder: Path, first: date = date.min, last: date = date.max) -> list[Path]:
    """Return existing day files from `first` to `last`, oldest first."""
    paths = [day_path(folder, day) for day, names in _by_day(folder) if day_path(folder, day).name in names]
    return [path for path in paths if str(first) <= path.stem <= str(last)]


def size_of(folder: Path) -> int:
    """Return the bytes of all days."""
    return sum(_size(folder / name) for _, names in _by_day(folder) for name in names)


def tidy(folder: Path, retention: Retention, today: date) -> None:
    """Delete days beyond `history_days`, then the oldest while the folder is too large; never today."""
    oldest = today - timedelta(days=retention.history_days)
    days = [(day, names, sum(_size(folder / name) for name in names)) for day, names in _by_day(folder)]
    total = sum(size for _, _, size in days)
    for day, names, size in days:
        if day < today and (day < oldest or total > retention.bytes):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            total -= size


def _by_day(folder: Path) -> Iterator[tuple[date, list[str]]]:
    found: dict[date, list[str]] = {}
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if match := _OF_DAY.fullmatch(path.name):
                with suppress(ValueError):
                    found.setdefault(date.fromisoformat(match[1]), []).append(path.name)
    yield from sorted(found.items())


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
