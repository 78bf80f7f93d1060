"""Acknowledgements, silences, words and uptimes on disk, which any process may change.

`warn` gets lines in any thread.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from envwatch.alerts.acknowledgements import with_changes
from envwatch.alerts.uptime_record import UptimeRecord, parse_record, uptime_content
from envwatch.files import ProcessLock
from envwatch.model import limits
from envwatch.model.text import SafeText
from envwatch.model.times import MS
from envwatch.watch.loop import Decisions, News
from envwatch.watch.profiles import alert_file_for, history_folder_for, state_file
from envwatch.watch.state_file import (
    ACKNOWLEDGEMENTS,
    ALERT_STATE,
    SILENCES,
    UPTIME,
    WORDS,
    ChangedFile,
    StateFile,
    acknowledged,
    silences_in,
    words_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from envwatch.alerts.monitor import Monitor
    from envwatch.config.settings import Settings
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.loop import MonitorUpdate
    from envwatch.watch.profiles import Profiles
    from envwatch.watch.state_file import StateFormat

K = TypeVar("K")
T = TypeVar("T")

_WRITTEN_EVERY_MS: Final = limits.UPTIME_REFRESHED / MS
_HOOKS_RUN_MS: Final = 300_000
"""An older alert state has no process: a running process writes every minute."""


class _Entries(Generic[K, T]):
    def __init__(
        self,
        name: str,
        state_format: StateFormat,
        entries_in: Callable[[Path], Mapping[K, T]],
        warn: Callable[[str], None],
    ) -> None:
        self.file = StateFile(state_format, state_file(name), warn)
        self._reader = ChangedFile(state_file(name), entries_in)

    def newest(self) -> Mapping[K, T] | None:
        """Return the entries with this process's unwritten changes; None if the file is unchanged."""
        unwritten = self.file.unwritten
        if (entries := self._reader.changed()) is None:
            return None
        for changes in unwritten:
            entries = with_changes(entries, changes)
            self._reader.forget()
        return entries


def uptime_file_for(server: str, settings: Settings) -> Path:
    """Return a server's uptime file for the filters."""
    return state_file(f"uptime/{history_folder_for(server, settings).name}")


def stored_record(server: str, settings: Settings) -> UptimeRecord | None:
    """Return a server's stored uptime record, if any."""
    return _record_in(uptime_file_for(server, settings))


class UptimeFiles:
    """Uptime records of the watched profiles.

    A writer's thread rebuilds a missing or damaged record, or its damaged rows, from the history.
    """

    def __init__(self, profiles: Profiles, warn: Callable[[str], None], *, is_writer: bool = True) -> None:
        self._warn = warn
        self._is_writer = is_writer
        self._paths = {name: uptime_file_for(each.server, each.settings) for name, each in profiles.items()}
        self._histories = {name: each.history_folder for name, each in profiles.items() if each.settings.history}
        self._locks = {name: ProcessLock(path.with_suffix(".lock")) for name, path in self._paths.items()}
        self._others = {name: ChangedFile(path, _record_in) for name, path in self._paths.items()}
        self._files = dict[SafeText, StateFile]()
        self._rebuilt: SimpleQueue[tuple[SafeText, UptimeRecord]] = SimpleQueue()
        self._records: Mapping[SafeText, UptimeRecord] = {}
        self._written_at: float | None = None
        self._stored: set[SafeText] = set()
        self._takeovers = 0

    def newest(self, now: Clocks) -> Mapping[SafeText, UptimeRecord]:
        """Return records that the monitor lacks: first all, later another writer's."""
        found: dict[SafeText, UptimeRecord] = {}
        for name, path in self._paths.items():
            if name in self._files:
                continue
            record = self._others[name].changed()
            is_first = self._is_writer and self._written_at is None
            if is_first and (record is None or record.damaged):
                record = None if self._is_rebuilding(name, record) else record or UptimeRecord()
            if record is not None:
                found[name] = record
                if record.has_begun:
                    self._stored.add(name)
            if self._is_writer and self._acquire(name):
                self._files[name] = StateFile(UPTIME, path, self._warn)
        self._written_at = self._written_at or now.wall
        while not self._rebuilt.empty():
            found.update([self._rebuilt.get()])
        return found

    def keep(self, monitor: Monitor, now: Clocks) -> None:
        """Take the monitor's records, and write them; never waits.

        A write follows the first listing of a record, so that other commands judge alike, then every ten minutes, and
        each takeover.
        """
        self._records = monitor.uptime_records
        takeovers = sum(record.takeovers for record in self._records.values())
        is_due = self._written_at is not None and not 0 <= now.wall - self._written_at < _WRITTEN_EVERY_MS
        begun = {name for name in self._files if name in self._records and self._records[name].has_begun}
        if is_due or takeovers != self._takeovers or not begun <= self._stored:
            self._written_at = now.wall
            self._takeovers = takeovers
            self._stored |= begun
            self._write()

    def close(self) -> None:
        """Write the records and release the locks."""
        self._write()
        for file in self._files.values():
            file.close()
        for lock in self._locks.values():
            lock.release()

    def _write(self) -> None:
        for name, file in self._files.items():
            if name in self._records and self._records[name].has_begun:
                file.keep(uptime_content(self._records[name]))

    def _acquire(self, name: SafeText) -> bool:
        try:
            return self._locks[name].acquire()
        except OSError:
            return False

    def _is_rebuilding(self, name: SafeText, record: UptimeRecord | None) -> bool:
        folder = self._histories.get(name)
        if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - `Path.is_dir` raises without rights
            return False

        def rebuild() -> None:
            from envwatch.history.earlier_runs import recorded_uptimes
            from envwatch.history.stored import StoredPast

            rebuilt = recorded_uptimes(StoredPast(folder, name))
            self._rebuilt.put((name, rebuilt if record is None else record.with_rows_of(rebuilt)))

        Thread(target=rebuild, name="uptimes", daemon=True).start()
        return True


def _record_in(path: Path) -> UptimeRecord | None:
    return parse_record(UPTIME.read_or_empty(path))


class StateFiles:
    """State files of a long run."""

    def __init__(
        self,
        profiles: Profiles,
        warn: Callable[[str], None],
        alerts: AlertFiles | None = None,
        failing_hooks: Callable[[Clocks], Mapping[SafeText, WallMs]] | None = None,
        *,
        is_writer: bool = True,
    ) -> None:
        silences = partial(silences_in, matcher_of=profiles.silence_matcher)
        self._acks = _Entries("acknowledged", ACKNOWLEDGEMENTS, acknowledged, warn)
        self._silences = _Entries("silences", SILENCES, silences, warn)
        self._words = _Entries("alerts-by-hand", WORDS, words_in, warn)
        self._uptimes = UptimeFiles(profiles, warn, is_writer=is_writer)
        self._is_writer = is_writer
        self._warn = warn
        self._alerts = alerts
        self._failing_hooks = failing_hooks

    def read(self, now: Clocks) -> News:
        """Return changes since the last reading."""
        return News(
            self._acks.newest(),
            self._silences.newest(),
            self._words.newest(),
            self._uptimes.newest(now),
            {} if self._alerts is None else self._alerts.take_over(now, self._warn),
            {} if self._failing_hooks is None else self._failing_hooks(now),
        )

    def keep(self, decisions: Decisions) -> None:
        """Save decisions; never waits."""
        if not self._is_writer:
            return
        if decisions.acks:
            self._acks.file.keep(decisions.acks)
        if decisions.silences:
            self._silences.file.keep(decisions.silences)
        if decisions.words:
            self._words.file.keep(decisions.words)

    async def acks_written(self) -> None:
        """Wait until kept acknowledgements are on the disk.

        Raises:
            OSError: if the newest were not written.
        """
        file, written = self._acks.file, Future[OSError | None]()
        written.set_running_or_notify_cancel()  # the writing thread sets the result, whoever still waits
        file.call_when_written(lambda: written.set_result(file.error))
        if (error := await asyncio.wrap_future(written)) is not None:
            raise error

    def observe(self, update: MonitorUpdate) -> None:
        """Save the uptimes now and then; never waits."""
        if update.changes.profile is not None:
            self._uptimes.keep(update.monitor, update.changes.now)

    def close(self) -> None:
        """Write pending changes."""
        for file in (self._acks.file, self._silences.file, self._words.file):
            file.close()
        self._uptimes.close()


def failing_hooks_of(profiles: Profiles) -> Callable[[Clocks], Mapping[SafeText, WallMs]]:
    """Return a function that reads the failing hooks of all processes."""
    paths = {alert_file_for(*profile) for profile in profiles.values()}
    files = [ChangedFile(path, ALERT_STATE.read_or_empty) for path in paths]
    found: dict[int, tuple[float, Mapping[SafeText, WallMs]]] = {}

    def newest(now: Clocks) -> Mapping[SafeText, WallMs]:
        for number, file in enumerate(files):
            if (content := file.changed()) is None:
                continue
            found.pop(number, None)
            if content:
                from envwatch.alerts.alert_state import failing_hooks, written_at  # most users have no hooks

                found[number] = written_at(content), failing_hooks(content)
        running = [failing for at, failing in found.values() if now.wall - at < _HOOKS_RUN_MS]
        return {name: since for failing in running for name, since in failing.items()}

    return newest


def stored_news(profiles: Profiles, listed: Iterable[SafeText]) -> News:
    """Return the state files' content."""
    records = {name: stored_record(profiles[name].server, profiles[name].settings) for name in listed}
    return News(
        acknowledged(state_file("acknowledged")),
        silences_in(state_file("silences"), profiles.silence_matcher),
        words_in(state_file("alerts-by-hand")),
        {name: record for name, record in records.items() if record is not None},
    )
