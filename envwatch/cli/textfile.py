"""The file that `envwatch metrics` writes again and again, in a thread, and what happens when it cannot be written."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.streams import print_error
from envwatch.files import SharedFile
from envwatch.metrics.environment_series import is_seen
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.model.text import SafeText


class Textfile:
    """A file for the textfile collector of node_exporter. Its values must never stay when they are of the past.

    Args:
        path: as the user named it.

    Raises:
        StopError: if something else than a file is there.
    """

    def __init__(self, path: str) -> None:
        self.warn: Callable[[str], None] = print_error
        """Called from any thread with one line when it cannot be written any more, and when it can again."""
        self._name = clean(path)
        self._lock = threading.Lock()
        self._is_closed = False
        self._was_written = False
        self._is_failing = False
        try:
            self._file = SharedFile(Path(path))
        except OSError as error:
            raise StopError(Exit.USAGE, f"--textfile {self._name}: {error.strerror}") from None

    def write(self, body: bytes) -> None:
        """Replace the content. Where that fails later than the first time, the file is removed, and said so once.

        Raises:
            StopError: if it fails the first time.
        """
        with self._lock:
            if self._is_closed:  # by a signal, while a thread was on its way here
                return
            try:
                self._file.write(body)
            except OSError as error:
                trouble = f"cannot write {self._name}: {error.strerror or 'unknown error'}"
                if not self._was_written:
                    raise StopError(Exit.FAILED, trouble) from None
                self._file.remove()
                if not self._is_failing:
                    self.warn(f"{trouble}; it is removed until it can be written again")
                self._is_failing = True
                return
            if self._is_failing:
                self.warn(f"{self._name} is written again")
            self._is_failing, self._was_written = False, True

    def close(self) -> None:
        """Remove the file, and write it never again."""
        with self._lock:
            self._is_closed = True
            self._file.remove()


class Changes:
    """Whether an update changes the series: by an outcome, by time alone, or because a profile is blind now."""

    def __init__(self) -> None:
        self._blind: frozenset[SafeText] | None = None

    def are_in(self, update: MonitorUpdate) -> bool:
        """Whether the file must be written after an update; it must after the first update."""
        fleet, changes = update.monitor.fleet.by_profile, update.changes
        before, self._blind = self._blind, frozenset(name for name in fleet if not is_seen(fleet[name], changes.now))
        has_news = changes.outcome is not None or any((changes.events, changes.opened, changes.resolved))
        return has_news or self._blind != before
