"""How a file of a history is opened for reading, while another process may write it, and also where it is cut off."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from envwatch.fleet.history import DamagedError, GoneError
from envwatch.storage.history.schema import check_form, is_cut
from envwatch.storage.history.troubles import is_damage, primary_code

if TYPE_CHECKING:
    from pathlib import Path

_BUSY_S: Final = 1.0
_INDEX_IN_MEMORY: Final = "mode=ro&vfs=unix-none"
_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def connected(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Return a connection that reads a file, and whether the file is cut off.

    Raises:
        GoneError: if there is nothing in the file yet.
        HistoryError: if it is of another form.
        OSError: if it cannot be read.
        sqlite3.Error: likewise.
    """
    # A file without a write-ahead log changes only by one that is made first, and is read without locks, which would
    # leave such a log behind. With one, a folder that cannot be written may lack the index of it: then it is made in
    # memory, which takes a connection of its own without locks.
    has_log = path.with_name(f"{path.name}-wal").exists()
    for mode in ("mode=ro", _INDEX_IN_MEMORY) if has_log else ("mode=ro&immutable=1",):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        try:
            if mode == _INDEX_IN_MEMORY:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            _check_begun(connection)
            if not is_cut(connection, path):
                return connection, False
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error):
                break
            if primary_code(error) not in _NOT_WRITABLE or mode != "mode=ro":
                raise
        except BaseException:
            connection.close()
            raise
        else:
            connection.close()
            break
    return _whole_pages_of(path), True


def _check_begun(connection: sqlite3.Connection) -> None:
    if not check_form(connection):
        raise GoneError("there is nothing in it yet")


def _whole_pages_of(path: Path) -> sqlite3.Connection:
    """Return a connection to a copy in memory of the whole pages of a file."""
    found = path.read_bytes()
    page_bytes = int.from_bytes(found[16:18], "big")
    if not found.startswith(b"SQLite format 3\0") or not 512 <= page_bytes <= len(found):
        raise DamagedError("it is damaged from its beginning on")
    pages = len(found) // page_bytes
    content = bytearray(found[: pages * page_bytes])
    content[18:20] = b"\1\1"  # without a write-ahead log, which a copy in memory cannot have
    content[28:32] = pages.to_bytes(4, "big")
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.deserialize(bytes(content))
        _check_begun(connection)
    except BaseException:
        connection.close()
        raise
    return connection
