"""Each profile's uptime record on disk: written by one process that polls, read by all others."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from envwatch.files import ProcessLock
from envwatch.fleet.uptime_record import UptimeRecord, content_of, record_of
from envwatch.model import limits
from envwatch.model.text import SafeText
from envwatch.model.times import MS
from envwatch.storage.state_file import UPTIME, ChangedFile, StateFile
from envwatch.watch.profiles import history_folder_for, server_in, state_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.config.settings import Settings
    from envwatch.fleet.monitor import Monitor
    from envwatch.model.clock import Clocks
    from envwatch.watch.profiles import Profiles

_WRITTEN_EVERY_MS: Final = limits.UPTIME_REFRESHED / MS


def uptime_file_for(server: str, settings: Settings) -> Path:
    """Return the path of the uptime record of a server (`server_in`); each set of filters has its own record."""
    return state_file(f"uptime/{history_folder_for(server, settings).name}")


def stored_record(server: str, settings: Settings) -> UptimeRecord | None:
    """Return the stored uptime record of a server, if any, to judge a single listing."""
    return record_of(UPTIME.read_or_empty(uptime_file_for(server, settings)))


class UptimeFiles:
    """The uptime records of the watched profiles. `warn` is called from any thread with a line.

    If a file is missing or damaged, a thread reads in the history who was up when.
    """

    def __init__(self, profiles: Profiles, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._paths = {
            name: uptime_file_for(server_in(credentials.base_url), settings)
            for name, (credentials, settings) in profiles.items()
        }
        self._histories = {
            name: history_folder_for(server_in(credentials.base_url), settings)
            for name, (credentials, settings) in profiles.items()
            if settings.history
        }
        self._locks = {name: ProcessLock(path.with_suffix(".lock")) for name, path in self._paths.items()}
        self._others = {name: ChangedFile(path, _read) for name, path in self._paths.items()}
        self._files = dict[SafeText, StateFile]()
        self._rebuilt: SimpleQueue[tuple[SafeText, UptimeRecord]] = SimpleQueue()
        self._records: Mapping[SafeText, UptimeRecord] = {}
        self._written_at: float | None = None

    def newest(self, now: Clocks) -> Mapping[SafeText, UptimeRecord]:
        """Return the records that the monitor lacks: at first all, later those of another writer.

        The disk may be slow.
        """
        found: dict[SafeText, UptimeRecord] = {}
        for name, path in self._paths.items():
            if name in self._files:
                continue
            record = self._others[name].changed()
            if record is None and self._written_at is None and not self._is_rebuilding(name):
                record = UptimeRecord()
            if record is not None:
                found[name] = record
            if self._acquire(name):
                self._files[name] = StateFile(UPTIME, path, self._warn)
        self._written_at = self._written_at or now.wall
        while not self._rebuilt.empty():
            found.update([self._rebuilt.get()])
        return found

    def keep(self, monitor: Monitor, now: Clocks) -> None:
        """Take the monitor's records, and write the records every ten minutes; never waits."""
        self._records = monitor.uptime_records
        if self._written_at is not None and not 0 <= now.wall - self._written_at < _WRITTEN_EVERY_MS:
            self._written_at = now.wall
            self._write()

    def close(self) -> None:
        """Write the records, and release the locks."""
        self._write()
        for file in self._files.values():
            file.close()
        for lock in self._locks.values():
            lock.release()

    def _write(self) -> None:
        for name, file in self._files.items():
            if name in self._records and self._records[name].has_begun:
                file.keep(content_of(self._records[name]))

    def _acquire(self, name: SafeText) -> bool:
        try:
            return self._locks[name].acquire()
        except OSError:
            return False

    def _is_rebuilding(self, name: SafeText) -> bool:
        """Whether there is a history, which a thread reads now."""
        folder = self._histories.get(name)
        if folder is None or not folder.is_dir():
            return False

        def rebuild() -> None:
            from envwatch.history.stored import StoredPast
            from envwatch.history.uptimes import recorded_uptimes

            self._rebuilt.put((name, recorded_uptimes(StoredPast(folder, name))))

        Thread(target=rebuild, name="uptimes", daemon=True).start()
        return True


def _read(path: Path) -> UptimeRecord | None:
    return record_of(UPTIME.read_or_empty(path))
