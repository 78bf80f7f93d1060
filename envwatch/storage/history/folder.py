"""The folder of one profile's history: its name, its day files, the lock of its recorder, and what is kept of it."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

from envwatch.model.limits import HISTORY_DAYS, HISTORY_MB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.model.clock import WallMs

SUFFIX: Final = ".sqlite"
BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a file: the newest polls, and an index of them."""
DAMAGED: Final = ".damaged"
LOCK: Final = "lock"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 200
"""Bytes of a folder's name; file systems take 255."""
_OF_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.sqlite(?:\.damaged)?(?:-wal|-shm)?", re.ASCII)


class Retention(NamedTuple):
    """How much of a history is kept, in whole days."""

    history_days: int = HISTORY_DAYS
    """Days before today."""
    history_mb: int = HISTORY_MB
    """Of the whole folder at most, in units of 2^20 bytes."""

    @property
    def bytes(self) -> int:
        """The same in bytes."""
        return self.history_mb << 20


def history_folder(state_folder: Path, profile: str, server: str) -> Path:
    """Return the folder of what is recorded of a server under a profile; it need not exist.

    The server is its host, with the port if it is not the usual one, and the path of its base URL.
    """
    name = f"{quote(profile, safe='')}@{quote(server, safe=':')}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return history_root(state_folder) / name


def history_root(state_folder: Path) -> Path:
    """Return the folder of the histories of all profiles; it need not exist."""
    return state_folder / "history"


def profile_and_host(folder: Path) -> tuple[str, str]:
    """Return what a folder is of, as far as its name says it."""
    profile, _, host = folder.name.partition("@")
    return unquote(profile), unquote(host)


def day_of(wall: WallMs) -> date:
    """Return the UTC day of a moment of this machine's wall clock; the first or last one that exists beyond them."""
    try:
        return (_EPOCH + timedelta(milliseconds=wall)).date()
    except (OverflowError, ValueError):
        return date.max if wall > 0 else date.min


def day_path(folder: Path, day: date) -> Path:
    """Return the file of a day, existing or not."""
    return folder / f"{day}{SUFFIX}"


def day_paths(folder: Path, first: date = date.min, last: date = date.max) -> list[Path]:
    """Return the files of days that exist, both ends included, oldest first."""
    paths = [day_path(folder, day) for day, names in _by_day(folder) if day_path(folder, day).name in names]
    return [path for path in paths if str(first) <= path.stem <= str(last)]


def size_of(folder: Path) -> int:
    """Return the bytes of all days together, with what is beside them."""
    return sum(_size(folder / name) for _, names in _by_day(folder) for name in names)


def tidy(folder: Path, retention: Retention, today: date) -> None:
    """Delete the days that are too old, and the oldest ones as long as all together are too large; never today."""
    oldest = today - timedelta(days=retention.history_days)
    days = [(day, names, sum(_size(folder / name) for name in names)) for day, names in _by_day(folder)]
    total = sum(size for _, _, size in days)
    for day, names, size in days:
        if day < today and (day < oldest or total > retention.bytes):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            total -= size


def _by_day(folder: Path) -> Iterator[tuple[date, list[str]]]:
    """Yield each day with the names of its files, damaged ones as well, oldest first."""
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
