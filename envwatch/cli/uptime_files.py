"""Each profile's uptime record on disk: written by one process that polls, read by all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.cli.bootstrap import alert_file_for, history_folder_for, server_in
from envwatch.files import ProcessLock
from envwatch.fleet.uptime_record import UptimeRecord, content_of, record_of
from envwatch.model import limits
from envwatch.model.times import MS
from envwatch.storage.state_file import UPTIME, ChangedFile, StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.cli.bootstrap import Profiles, SelectedProfile
    from envwatch.fleet.monitor import Monitor
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

_WRITTEN_EVERY_MS: Final = limits.UPTIME_REFRESHED / MS


def uptime_file_for(profile: SelectedProfile) -> Path:
    """Return the path of a profile's uptime record; each set of filters has its own record."""
    path = alert_file_for(*profile)
    return path.parent.parent / "uptime" / path.name


def stored_record(profile: SelectedProfile) -> UptimeRecord | None:
    """Return a profile's stored uptime record, if any, to judge a single listing."""
    return record_of(UPTIME.read_or_empty(uptime_file_for(profile)))


class UptimeFiles:
    """The uptime records of the watched profiles. `warn` is called from any thread with a line.

    If a file is missing or damaged, the history says who was up when.
    """

    def __init__(self, profiles: Profiles, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._paths = {name: uptime_file_for(profile) for name, profile in profiles.items()}
        self._histories = {
            name: history_folder_for(server_in(credentials.base_url), settings)
            for name, (credentials, settings) in profiles.items()
            if settings.history
        }
        self._locks = {name: ProcessLock(path.with_suffix(".lock")) for name, path in self._paths.items()}
        self._others = {name: ChangedFile(path, _read) for name, path in self._paths.items()}
        self._files = dict[SafeText, StateFile]()
        self._written_at = dict[SafeText, float]()

    def newest(self, now: Clocks) -> Mapping[SafeText, UptimeRecord]:
        """Return the records that this process lacks: at first all, later those of another writer.

        The disk may be slow.
        """
        found: dict[SafeText, UptimeRecord] = {}
        for name, path in self._paths.items():
            is_first = name not in self._written_at
            if is_first:
                self._written_at[name] = now.wall
            if name not in self._files:
                record = self._others[name].changed()
                if record is None and is_first:
                    record = self._rebuilt(name)
                if record is not None:
                    found[name] = record
                if self._acquire(name):
                    self._files[name] = StateFile(UPTIME, path, self._warn)
        return found

    def keep(self, monitor: Monitor, now: Clocks) -> None:
        """Write the records of the last write before ten minutes; never waits."""
        for name, file in self._files.items():
            if not 0 <= now.wall - self._written_at[name] < _WRITTEN_EVERY_MS:
                self._written_at[name] = now.wall
                file.keep(content_of(monitor.uptime_records[name]))

    def close(self, monitor: Monitor) -> None:
        """Write the records, and release the locks."""
        for name, file in self._files.items():
            record = monitor.uptime_records[name]
            if record.has_begun:
                file.keep(content_of(record))
            file.close()
        for lock in self._locks.values():
            lock.release()

    def _acquire(self, name: SafeText) -> bool:
        try:
            return self._locks[name].acquire()
        except OSError:
            return False

    def _rebuilt(self, name: SafeText) -> UptimeRecord:
        folder = self._histories.get(name)
        if folder is None or not folder.is_dir():
            return UptimeRecord()
        from envwatch.past.uptimes import recorded_uptimes
        from envwatch.storage.history.past import StoredPast

        return recorded_uptimes(StoredPast(folder, name))


def _read(path: Path) -> UptimeRecord | None:
    return record_of(UPTIME.read_or_empty(path))
