"""State files: JSON objects that keep named values between runs; never configuration.

An unreadable file counts as empty. A damaged file is renamed before the next write. Several processes may write at
once: a thread merges changes under a lock, so the last change of each name wins.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from envwatch import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Changes: TypeAlias = "Mapping[Any, Any]"
"""New values by name; None removes a name."""

_CLOSE_TIMEOUT_S: Final = 1.5
"""Less than the exit guard allows. Writing takes up to 0.5 s on a busy machine."""

T = TypeVar("T")


class StateFormat(NamedTuple):
    """A kind of state file."""

    about: str
    """The loss if the file is damaged, for people."""
    limit: int
    """Largest size in bytes."""
    changed: Callable[[dict[str, Any], Changes], dict[str, Any]]
    """Returns the new content, within the limit."""

    def read_or_empty(self, path: Path) -> dict[str, Any]:
        """Return the content; empty if missing, damaged or unreadable."""
        try:
            return self.read(path) or {}
        except OSError:
            return {}

    def is_damaged(self, path: Path) -> bool:
        """Return whether an existing file cannot be read."""
        try:
            return self.read(path) is None
        except OSError:
            return True

    def read(self, path: Path) -> dict[str, Any] | None:
        """Return the content, empty if missing; None if damaged.

        Raises:
            OSError: if the file cannot be read.
        """
        try:
            with os.fdopen(files.open_regular(path), "rb") as file:
                content = json.loads(file.read(self.limit))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None


def within(limit: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that fit into `limit` bytes, in order; larger entries are skipped."""
    kept: dict[str, Any] = {}
    room = limit
    for name, entry in entries.items():
        size = len(json.dumps({name: entry}, indent=2)) + 1  # the braces make up for the comma
        if size <= room:
            kept[name] = entry
            room -= size
    return kept


class ChangedFile(Generic[T]):
    """Reads a file again after another process has changed the file.

    The file need not exist; `read` never fails.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> T | None:
        """Return the content on the first call and after changes, else None."""
        seen = files.file_signature(self._path)
        if seen == self._seen:
            return None
        self._seen = seen
        return self._read(self._path)


class StateFile:
    """A state file and the thread that writes changes.

    `note` gets a line, in any thread, for a damaged file, and once for a failure to write.
    """

    def __init__(self, state_format: StateFormat, path: Path, note: Callable[[str], None]) -> None:
        self._format = state_format
        self._path = path
        self._note = note
        self._changes: SimpleQueue[Changes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        try:
            trouble = "damaged" if self._format.read(path) is None else None
        except OSError as error:
            trouble = error.strerror
        if trouble:
            note(f"forgot {self._format.about}: {trouble} ({path})")

    def keep(self, changes: Changes = MappingProxyType({}), /, **named: object) -> None:
        """Queue changes for the writing thread; never waits, never fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="state file", daemon=True)
            self._thread.start()
        self._changes.put({**changes, **named})  # a copy, because the thread reads later

    def close(self) -> None:
        """Write queued changes, for at most 1.5 s."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        has_failed = False
        while (changes := self._changes.get()) is not None:
            try:
                aside = merge(self._path, self._format, changes)
            except OSError as error:
                if not has_failed:
                    self._note(f"cannot remember {self._format.about}: {error.strerror} ({self._path})")
                has_failed = True
            else:
                has_failed = False
                if aside is not None:
                    self._note(f"set aside what was damaged: {aside}")


def merge(path: Path, state_format: StateFormat, changes: Changes) -> Path | None:
    """Merge changes into a file under a lock; return the new path of a damaged file.

    Raises:
        OSError: on failure; the file is unchanged.
    """
    files.make_private_folder(path.parent)
    with _locked(path.with_name(f"{path.name}.lock")):
        before = state_format.read(path)
        content = json.dumps(state_format.changed(before or {}, changes), indent=2, sort_keys=True).encode() + b"\n"
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        files.write_private(fresh, content)
        try:
            aside = files.set_aside(path, f"{path.name}.damaged") if before is None else None
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        return aside


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock, which the system releases if the process is killed."""
    descriptor = files.open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
