"""A profile's history folder: day files, lock, retention; and readers."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, repeat
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import quote, unquote

from envwatch.fleet.events import NO_PROFILE, Event
from envwatch.history.past import NO_EVENTS, EmptyError, GoneError, HistoryError, LeftOut, RecordedStep
from envwatch.model.clock import WallMs
from envwatch.model.limits import HISTORY_DAYS, HISTORY_MB
from envwatch.model.text import clean
from envwatch.model.times import DAY_MS, MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.history.day_reader import DayReader, DayRecords
    from envwatch.history.past import Moment
    from envwatch.history.rebuilder import Rebuilder
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText


T = TypeVar("T")

_FIRST: Final = WallMs(-inf)
_LAST: Final = WallMs(inf)


class StoredPast:
    """Reads the history in a folder, which may not exist.

    Unreadable days are skipped, but reported by `steps`; without a readable day, methods raise `HistoryError`, unless
    all days are empty.
    `profile` labels events and moments. `wait` is called before each read.
    """

    def __init__(self, folder: Path, profile: SafeText = NO_PROFILE, wait: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._profile = profile
        self._wait = wait
        self._rebuilding = threading.Lock()
        self._rebuilder: Rebuilder | None = None

    def polls(self, since: WallMs = _FIRST, until: WallMs = _LAST) -> Sequence[RecordedPoll]:
        """See `Past.polls`."""
        days, _ = self._each_day(since, until, lambda _, reader: reader.polls(since, until))
        return sorted((poll for day in days.values() for poll in day), key=itemgetter(0))

    def moment(self, poll: RecordedPoll) -> Moment:
        """See `Past.moment`."""
        self._wait()
        with self._reader(day_path(self._folder, utc_day(poll.at))) as reader:
            return self._rebuilt(reader, poll)

    def moments(self, polls: Iterable[RecordedPoll]) -> Iterator[Moment | HistoryError]:
        """Yield the moment after each poll, or its error; consecutive polls of a day share an open file."""
        for path, group in groupby(polls, lambda poll: day_path(self._folder, utc_day(poll.at))):
            self._wait()
            of_day = list(group)
            try:
                with self._reader(path) as reader:
                    for poll in of_day:
                        try:
                            moment: Moment | HistoryError = self._rebuilt(reader, poll)
                        except HistoryError as error:
                            moment = error.with_traceback(None)  # the frames hold a whole moment
                        yield moment
            except HistoryError as error:
                yield from repeat(error, len(of_day))

    def _rebuilt(self, reader: DayReader, poll: RecordedPoll) -> Moment:
        from envwatch.history.rebuilder import Rebuilder

        with self._rebuilding:
            rebuilder = self._rebuilder = self._rebuilder or Rebuilder(self._profile)
            return rebuilder.moment(reader, poll.number)

    def event_times(self, since: WallMs = _FIRST, until: WallMs = _LAST) -> Sequence[WallMs]:
        """See `Past.event_times`."""
        days, _ = self._each_day(since, until, lambda _, reader: reader.event_times(since, until))
        return [at for day in days.values() for at in day]

    def steps(
        self, since: WallMs = _FIRST, until: WallMs = _LAST, known: Mapping[Event, Event] = NO_EVENTS
    ) -> Iterator[RecordedStep]:
        """See `Past.steps`."""
        days, errors = self._each_day(
            since, until, lambda path, reader: reader.records(since, until, self._profile, self._times(path), known)
        )
        polls = {(poll.number, poll.at): poll for day in days.values() for poll in day.polls}
        events: dict[tuple[int, WallMs], list[Event]] = {}
        for _, at, number, event in sorted((each for day in days.values() for each in day.events), key=itemgetter(0)):
            events.setdefault((number, at), []).append(event)
        lost = {place: _lost_poll(place[1]) for day in days.values() for place in day.lost_polls}
        for place in sorted({**polls, **lost, **events}, key=itemgetter(0)):  # stable: a poll precedes later events
            yield RecordedStep(place[1], polls.get(place), events.get(place, []), lost.get(place))
        others = (*self._lost_days(days, errors, since, until), *_lost_events(days.values()))
        for each in others:
            if each.since <= until and each.until >= since:
                yield RecordedStep(WallMs(each.since), None, [], each)

    def last_listing(self) -> RecordedPoll | None:
        """Return the newest poll with a listing, or None."""
        days, _ = self._each_day(_FIRST, _LAST, lambda _, reader: reader.last_listing())
        return max(filter(None, days.values()), key=itemgetter(0), default=None)

    def forget(self) -> None:
        """See `Past.forget`."""
        self._rebuilder = None

    def _reader(self, path: Path) -> AbstractContextManager[DayReader]:
        try:
            from envwatch.history.day_reader import DayReader
        except ImportError as error:
            raise HistoryError(str(error)) from None
        return closing(DayReader(path))

    def _each_day(
        self, since: WallMs, until: WallMs, read: Callable[[Path, DayReader], T]
    ) -> tuple[dict[Path, T], dict[Path, HistoryError]]:
        self._wait()
        found: dict[Path, T] = {}
        errors: dict[Path, HistoryError] = {}
        for path in self._paths(since, until):
            try:
                with self._reader(path) as reader:
                    found[path] = read(path, reader)
            except GoneError:  # deleted as too old, or just begun
                continue
            except HistoryError as error:
                errors[path] = error.with_traceback(None)  # the frames hold this dictionary
        unreadable = [error for error in errors.values() if not isinstance(error, EmptyError)]
        if unreadable and not found:
            raise unreadable[-1]
        return found, errors

    def _lost_days(
        self, days: Mapping[Path, DayRecords], errors: Mapping[Path, HistoryError], since: WallMs, until: WallMs
    ) -> Iterator[LeftOut]:
        for path, error in errors.items():
            yield _lost_day(path, str(error))
        for path, day in days.items():
            if day.cut_at is not None:
                yield _lost_day(path, "its end is damaged or missing", since=day.cut_at)
        for path in day_paths(self._folder, utc_day(since), utc_day(until), ASIDE):
            day_file = path.with_suffix("")
            if day_file not in errors:
                day_after = days.get(day_file)
                yield _lost_day(day_file, "it was set aside", until=None if day_after is None else day_after.began_at)

    def _times(self, path: Path) -> tuple[float, float]:
        return _times_of(path)

    def _paths(self, since: WallMs, until: WallMs) -> list[Path]:
        try:
            return day_paths(self._folder, utc_day(since), utc_day(until))
        except OSError as error:
            from envwatch.history.day_file import explained

            raise HistoryError(explained(error)) from error


def _times_of(path: Path) -> tuple[float, float]:
    begin = (date.fromisoformat(path.stem) - _EPOCH.date()) / MS
    return begin, begin + DAY_MS


def _lost_day(path: Path, reason: str, since: WallMs = _FIRST, until: WallMs | None = None) -> LeftOut:
    begin, end = _times_of(path)
    return LeftOut("history", max(begin, since), end if until is None else until, clean(reason))


def _lost_poll(at: WallMs) -> LeftOut:
    from envwatch.history.encoding.packing import NONSENSE

    return LeftOut("poll", at, at, clean(NONSENSE), 1)


def _lost_events(days: Iterable[DayRecords]) -> Iterator[LeftOut]:
    lost = [each for day in days for each in day.lost_events]
    if lost:
        times = [at for at, _ in lost]
        yield LeftOut("event", min(times), max(times), lost[0][1], len(lost))


class RecordedFile(StoredPast):
    """Reads a recording, also while it grows; raises like `recording.opened`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            from envwatch.history.past import About
            from envwatch.history.recording import opened
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

    def _times(self, path: Path) -> tuple[float, float]:
        del path
        return 0.0, 1e15

    def _lost_days(self, *_: object) -> Iterator[LeftOut]:
        yield from ()  # reported by `is_cut`


SUFFIX: Final = ".sqlite"
BESIDE: Final = ("-wal", "-shm")
"""SQLite's log, with the newest polls, and its index."""
ASIDE: Final = ".aside"
LOCK: Final = "lock"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 200
"""File systems allow 255 bytes."""
_OF_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.sqlite(?:\.aside)?(?:-wal|-shm)?", re.ASCII)


class Retention(NamedTuple):
    """Limits of a history folder; whole days are deleted."""

    history_days: int = HISTORY_DAYS
    history_mb: int = HISTORY_MB

    @property
    def bytes(self) -> int:
        """`history_mb` in bytes."""
        return self.history_mb << 20


def history_folder(state_folder: Path, profile: str, server: str) -> Path:
    """Return a profile's history folder; `server` is the host, an unusual port, and the base URL's path."""
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


def utc_day(wall: WallMs) -> date:
    """Return an instant's UTC day, within `date.min` and `date.max`."""
    try:
        return (_EPOCH + timedelta(milliseconds=wall)).date()
    except (OverflowError, ValueError):
        return date.max if wall > 0 else date.min


def day_path(folder: Path, day: date) -> Path:
    """Return a day's path."""
    return folder / f"{day}{SUFFIX}"


def day_paths(folder: Path, first: date = date.min, last: date = date.max, suffix: str = "") -> list[Path]:
    """Return the day files from `first` to `last`, oldest first; with `ASIDE`, files set aside."""
    return [
        folder / f"{day}{SUFFIX}{suffix}"
        for day, names in _by_day(folder)
        if first <= day <= last and f"{day}{SUFFIX}{suffix}" in names
    ]


def size_of(folder: Path) -> int:
    """Return the bytes of all days."""
    return sum(_size(folder / name) for _, names in _by_day(folder) for name in names)


def tidy(folder: Path, retention: Retention, today: date) -> dict[Path, OSError]:
    """Delete days beyond `history_days`, then the oldest of a too large folder; never today.

    Returns undeletable files, whose size still counts. Raises `OSError`.
    """
    oldest = today - timedelta(days=retention.history_days)
    days = [(day, {folder / name: _size(folder / name) for name in names}) for day, names in _by_day(folder)]
    total = sum(sum(sizes.values()) for _, sizes in days)
    stuck: dict[Path, OSError] = {}
    for day, sizes in days:
        if day < today and (day < oldest or total > retention.bytes):
            for path, size in sizes.items():
                try:
                    path.unlink(missing_ok=True)
                    total -= size
                except OSError as error:
                    stuck[path] = error
    return stuck


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
