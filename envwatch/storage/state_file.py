"""Files of state: what is remembered under names from run to run, in the state folder; never configuration.

Owns how such a file is read and written, and nothing of what stands in it. Remembering is best effort: what cannot be
read is nothing, a file that is damaged is set aside before another takes its place, what cannot be written is told once
and dropped, and nobody waits for a disk, for a thread of its own writes. Several instances may remember at once: each
puts its changes into what stands there, under a lock, so that of each name the last change counts and no other is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.storage.private_files import make_private_folder, open_private, set_aside
from envwatch.storage.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Changes: TypeAlias = "Mapping[Any, Any]"
"""New values by their names, of which type is the form's business; None forgets a name."""

_PATIENCE: Final = 0.3
"""Seconds that the last change may take to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What tells one file of state from another."""

    about: str
    """What is forgotten if the file is damaged."""
    limit: int
    """Bytes of a file that can be ours."""
    changed: Callable[[dict[str, Any], Changes], dict[str, Any]]
    """Returns what is to stand in the file, within the limit, given what stands there and the changes."""

    def content(self, path: Path) -> dict[str, Any]:
        """Return what a file holds: nothing, where it is missing, damaged or not for us to read."""
        try:
            return self.whole(path) or {}
        except OSError:
            return {}

    def whole(self, path: Path) -> dict[str, Any] | None:
        """Return what a file holds, which is nothing if there is none; None if it is damaged.

        Raises:
            OSError: if that cannot be known, for it cannot be read.
        """
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                told = json.loads(file.read(self.limit))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None


class StateFile:
    """One file of state, and the thread that writes it; the first change starts it.

    Args:
        path: the file.
        form: what it is.
        note: told once, in one line, if the file is damaged, and if it cannot be written; from any thread.
    """

    def __init__(self, path: Path, form: Form, note: Callable[[str], None]) -> None:
        self._path = path
        self._form = form
        self._note = note
        self._changes: SimpleQueue[Changes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if trouble := _trouble_with(path, form):
            note(f"forgot {form.about}: {trouble} ({path})")

    def put(self, changes: Changes) -> None:
        """Remember changes, some time soon; never waits, never fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="memory", daemon=True)
            self._thread.start()
        self._changes.put(dict(changes))  # as they are now: the thread comes to them later

    def close(self) -> None:
        """Write what is left, unless that takes too long."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join(_PATIENCE)

    def _write(self) -> None:
        is_well = True
        while (changes := self._changes.get()) is not None:
            try:
                aside = merge(self._path, self._form, changes)
            except OSError as error:
                if is_well:
                    self._note(f"cannot remember {self._form.about}: {error.strerror} ({self._path})")
                is_well = False
            else:
                is_well = True
                if aside is not None:
                    self._note(f"set aside what was damaged: {aside}")


def _trouble_with(path: Path, form: Form) -> str | None:
    """Return why a file cannot be read, None if it can."""
    try:
        return "damaged" if form.whole(path) is None else None
    except OSError as error:
        return error.strerror


def merge(path: Path, form: Form, changes: Changes) -> Path | None:
    """Put changes into a file, whoever else does the same just now; a damaged one is set aside.

    Returns:
        The place of the one that is set aside, if any.

    Raises:
        OSError: if that cannot be done; the file then is as it was.
    """
    make_private_folder(path.parent)
    with _locked(path.with_name(f"{path.name}.lock")):
        before = form.whole(path)
        content = json.dumps(form.changed(before or {}, changes), indent=2, sort_keys=True).encode() + b"\n"
        fresh = path.with_name(f"{path.name}.new")
        with suppress(FileNotFoundError):
            fresh.unlink()  # of a run that was killed
        descriptor = open_private(fresh)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            aside = set_aside(path, f"{path.name}.damaged") if before is None else None
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        return aside


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its holder, however that ends."""
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
