"""A profile's history folder: name, day files, recorder's lock, and retention."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

from envwatch.files import open_private
from envwatch.model.limits import HISTORY_DAYS, HISTORY_MB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.model.clock import WallMs

SUFFIX: Final = ".sqlite"
BESIDE: Final = ("-wal", "-shm")
"""SQLite's newest polls, and index."""
DAMAGED: Final = ".damaged"
LOCK: Final = "lock"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 200
"""Bytes; file systems take 255."""
_OF_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.sqlite(?:\.damaged)?(?:-wal|-shm)?", re.ASCII)


class Retention(NamedTuple):
    """Limits of a history; deletion is by day."""

    history_days: int = HISTORY_DAYS
    """Before today."""
    history_mb: int = HISTORY_MB
    """Of the whole folder, in units of 2^20 bytes."""

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
    """Return profile and host from a folder's name, cut if long."""
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
    """Return existing day files, both ends included, oldest first."""
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
    """Yield each day's file names, oldest first."""
    found: dict[date, list[str]] = {}
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if match := _OF_DAY.fullmatch(path.name):
                with suppress(ValueError):  # no date
                    found.setdefault(date.fromisoformat(match[1]), []).append(path.name)
    yield from sorted(found.items())


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


class FolderLock:
    """Lets one process record. The system releases the lock of a killed process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Return whether this process holds the lock, after taking a free lock. Never waits.

        Raises:
            OSError: if no lock is possible.
        """
        if self._descriptor is not None:
            if self._is_in_place(self._descriptor):
                return True
            self.release()
        descriptor = open_private(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._descriptor = descriptor
        with suppress(OSError):  # a full disk; the number is for people
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return True

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False
