"""What envwatch remembers from run to run: how the screen looked. State, in the state folder; never configuration.

Owns the file and how it is read and written. Remembering is best effort: what cannot be read is nothing, what cannot be
written is told once and dropped, and nobody waits for a disk, for a thread of its own writes. Several instances may
remember at once: each puts its changes into what stands there, under a lock, so that of each choice the last one counts
and no other is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from envwatch.private import make_private_folder, open_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST: Final = 1 << 16
"""Bytes of a file that can be ours."""

_LONGEST: Final = 200
"""Characters of a text that can be ours."""

_PATIENCE: Final = 0.3
"""Seconds that the last change may take to be written."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the last run left; None for what nobody has chosen yet."""

    theme: str | None = None
    sort: str | None = None
    columns: tuple[str, ...] | None = None


class Choices(TypedDict, total=False):
    """What can be kept; None forgets it."""

    theme: str | None
    sort: str | None
    columns: tuple[str, ...] | None


def remembered(path: Path) -> Remembered:
    """Return what a file remembers: nothing, where it is missing or damaged."""
    kept = _content(path)
    return Remembered(theme=_word(kept.get("theme")), sort=_word(kept.get("sort")), columns=_words(kept.get("columns")))


class Memory:
    """One file of remembered choices, and the thread that writes it; the first change starts it.

    Args:
        path: the file.
        note: told once, in one line, if the file is damaged, and if it cannot be written; from any thread.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self._path = path
        self._note = note
        self._changes: SimpleQueue[Choices | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if _whole(path) is None:
            note(f"forgot how the screen looked: {path} is damaged")

    def keep(self, **changes: Unpack[Choices]) -> None:
        """Remember choices by their names, some time soon; never waits, never fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="memory", daemon=True)
            self._thread.start()
        self._changes.put(changes)

    def close(self) -> None:
        """Write what is left, unless that takes too long."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join(_PATIENCE)

    def _write(self) -> None:
        is_well = True
        while (changes := self._changes.get()) is not None:
            try:
                _merge(self._path, changes)
            except OSError as error:
                if is_well:
                    self._note(f"cannot remember in {self._path}: {error.strerror}")
                is_well = False
            else:
                is_well = True


def _merge(path: Path, changes: Choices) -> None:
    """Put changes into a file, whoever else does the same just now.

    Raises:
        OSError: if that cannot be done; the file then is as it was.
    """
    make_private_folder(path.parent)
    with _locked(path.with_name(f"{path.name}.lock")):
        # Names that we do not know stay: a newer envwatch may have written them.
        content = json.dumps({**_content(path), **changes}, indent=2, sort_keys=True).encode() + b"\n"
        fresh = path.with_name(f"{path.name}.new")
        with suppress(FileNotFoundError):
            fresh.unlink()  # of a run that was killed
        descriptor = open_private(fresh)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its holder, however that ends."""
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _content(path: Path) -> dict[str, Any]:
    return _whole(path) or {}


def _whole(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, which is nothing if there is none; None if it is damaged."""
    try:
        # A pipe in its place would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            told = json.loads(file.read(_MOST))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _word(told: object) -> str | None:
    return told if isinstance(told, str) and 0 < len(told) <= _LONGEST and told.isprintable() else None


def _words(told: object) -> tuple[str, ...] | None:
    words = [_word(word) for word in told] if isinstance(told, list) else []
    return tuple(word for word in words if word) if words and all(words) else None
