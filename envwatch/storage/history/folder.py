"""A profile's history folder: name, day files, recorder's lock, and retention."""

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
