"""The form of a day file and of a recording: SQLite tables, mark, origin, and errors in words."""

from __future__ import annotations

import errno
import sqlite3
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.past.history import DamagedError, HistoryError, NewerError
from envwatch.storage.history.encoding.frames import FORMAT_VERSION

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path


_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""The last one is a statement that cannot be: ours are constant, so the tables are no longer those that we made."""
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_FULL = "the disk is full; free some space"
_LOCKED = "another program holds it locked; end that program"
_REFUSED = "check the owner and the mode of that folder, or set history = false"


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where an error has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: Exception) -> bool:
    """Whether an error means that the content of a file cannot be right."""
    return isinstance(error, DamagedError) or (isinstance(error, sqlite3.Error) and primary_code(error) in _DAMAGE)


def explained(error: Exception) -> str:
    """Return what is wrong and what to do about it, without a path."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, OSError):
        if error.errno in _DISK_FULL:
            return _FULL
        return f"{error.strerror or error}; {_REFUSED}"
    return str(error) if isinstance(error, HistoryError) else f"{type(error).__name__}: {error}"


def _of_sqlite(error: sqlite3.Error) -> str:
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return _FULL
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _LOCKED
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"{error}; {_REFUSED}"
        case sqlite3.SQLITE_IOERR:
            return f"{error}; see whether the disk is full or fails"
        case _:
            return str(error)


APPLICATION_ID: Final = int.from_bytes(b"envw", "big")
"""Marks a file of ours, see `PRAGMA application_id`."""

PAGE_BYTES: Final = 16_384
"""At this size the tree of a table has two levels up to 30 MB, so that a file cut off anywhere loses only its end."""

TABLES: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE polls (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,          -- wall clock of the machine that recorded it, ms since the epoch
    result TEXT NOT NULL,      -- listed, failed, slept
    run INTEGER NOT NULL,      -- the number of the first poll of the same process
    interval_s REAL NOT NULL,
    cause TEXT,                -- of a failure
    kind INTEGER NOT NULL      -- of its frame: 0 KEY, 1 BRIDGE, 2 STEP
);
CREATE TABLE frames (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,          -- wall clock when it was recorded
    poll INTEGER NOT NULL,     -- the newest poll then; 0 for none
    data BLOB NOT NULL
);
"""


class Numbers(NamedTuple):
    """Of a poll and of an event."""

    poll: int
    event: int


def check_form(connection: sqlite3.Connection) -> bool:
    """Return whether a file has our tables; False if it has none at all yet, also while another process makes them.

    Raises:
        DamagedError: if it has others.
        NewerError: if a newer envwatch wrote it.
        sqlite3.Error: if it cannot be read.
    """
    connection.execute("BEGIN")  # all that is read is of one moment
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        has_tables = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    finally:
        if connection.in_transaction:  # some failures have ended it already
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID:
        if application or version or has_tables:
            raise DamagedError("it is no history of envwatch")
        return False
    if version > FORMAT_VERSION:
        raise NewerError("a newer envwatch recorded this day; update this one")
    return True


def last_numbers(connection: sqlite3.Connection) -> Numbers:
    """Return the numbers of the newest poll and event; 0 without any."""
    newest = "SELECT (SELECT max(number) FROM polls), (SELECT max(number) FROM events)"
    poll, event = connection.execute(newest).fetchone()
    return Numbers(poll or 0, event or 0)


def is_cut(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file ends within a page; while it grows that may seem so for an instant."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    size = path.lstat().st_size
    return size % page_bytes != 0 and path.lstat().st_size == size


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Check a whole file of our form; raise `DamagedError` with the first thing that is wrong. It takes some 10 ms."""
    if is_cut(connection, path):
        raise DamagedError("its end is missing")
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise DamagedError(str(result))


def check_regular(path: Path) -> os.stat_result:
    """Return the status of a file; raise `OSError` if there is none, or it is a link or no regular file.

    It is not opened: to close it would end the locks that SQLite has on it.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "It is a link, which is not followed here")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    return status


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording, as the table `about` has it."""

    profile: SafeText
    """Its name in the settings."""
    base_url: SafeText
    """Of the server."""
    version: SafeText
    """Of the envwatch that made the file."""
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin from the rows of a recording, or of a copy of a day, whose rows have no base URL."""
        texts = {name: clean(str(value)) for name, value in rows.items()}
        base_url = texts.get("base_url") or composed(f"https://{texts.get('host', '')}")
        return cls(
            profile=texts.get("profile", EMPTY),
            base_url=base_url,
            version=texts.get("envwatch", EMPTY),
            is_redacted=texts.get("is_redacted") == "true",
        )

    def rows(self) -> dict[str, str]:
        """Return the rows of the table `about`."""
        redacted = "true" if self.is_redacted else "false"
        return {
            "profile": self.profile,
            "base_url": self.base_url,
            "envwatch": self.version,
            "is_redacted": redacted,
        }

    @property
    def host(self) -> SafeText:
        """Host and port of the server."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])
