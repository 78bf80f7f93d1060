"""What keeps a history from being written or read, as one line for people. Pure."""

from __future__ import annotations

import errno
import sqlite3
from typing import Final

from envwatch.fleet.history import DamagedError, HistoryError

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
