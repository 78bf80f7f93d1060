"""Acknowledgements, silences, words and uptimes on disk, which any process may change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from envwatch.storage.state_file import (
    ACKNOWLEDGEMENTS,
    SILENCES,
    WORDS,
    ChangedFile,
    StateFile,
    acknowledged,
    silences_in,
    words_in,
)
from envwatch.watch.loop import Decisions, News, with_changes
from envwatch.watch.profiles import server_in, state_file
from envwatch.watch.uptime_files import UptimeFiles, stored_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from envwatch.fleet.monitor import Monitor, MonitorChanges
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.text import SafeText
    from envwatch.storage.state_file import StateFormat
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.profiles import Profiles

K = TypeVar("K")
T = TypeVar("T")


class _Entries(Generic[K, T]):
    """Entries of a state file that other processes change, too."""

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
        """Return the entries, with the changes that this process has not written yet; None if the file is unchanged."""
        unwritten = self.file.unwritten
        entries = self._reader.changed()
        for changes in () if entries is None else unwritten:
            entries = with_changes(entries or {}, changes)
        return entries


class StateFiles:
    """The state files of a long run. `warn` is called from any thread with a line."""

    def __init__(
        self,
        profiles: Profiles,
        warn: Callable[[str], None],
        alerts: AlertFiles | None = None,
        failing_hooks: Callable[[Clocks], Mapping[SafeText, WallMs]] | None = None,
    ) -> None:
        silences = partial(silences_in, matcher_of=profiles.silence_matcher)
        self._acks = _Entries("acknowledged", ACKNOWLEDGEMENTS, acknowledged, warn)
        self._silences = _Entries("silences", SILENCES, silences, warn)
        self._words = _Entries("alerts-by-hand", WORDS, words_in, warn)
        self._uptimes = UptimeFiles(profiles, warn)
        self._warn = warn
        self._alerts = alerts
        self._failing_hooks = failing_hooks

    def read(self, now: Clocks) -> News:
        """Return what has changed since the last reading. The disk may be slow."""
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
        if decisions.acks:
            self._acks.file.keep(decisions.acks)
        if decisions.silences:
            self._silences.file.keep(decisions.silences)
        if decisions.words:
            self._words.file.keep(decisions.words)

    def observe(self, monitor: Monitor, changes: MonitorChanges) -> None:
        """Save the uptimes now and then; never waits."""
        if changes.profile is not None:
            self._uptimes.keep(monitor, changes.now)

    def close(self) -> None:
        """Write pending changes."""
        for file in (self._acks.file, self._silences.file, self._words.file):
            file.close()
        self._uptimes.close()


def stored_news(profiles: Profiles, listed: Iterable[SafeText]) -> News:
    """Return the content of the state files, to judge a single listing of the listed profiles."""
    records = {
        name: stored_record(server_in(profiles[name].credentials.base_url), profiles[name].settings) for name in listed
    }
    return News(
        acknowledged(state_file("acknowledged")),
        silences_in(state_file("silences"), profiles.silence_matcher),
        words_in(state_file("alerts-by-hand")),
        {name: record for name, record in records.items() if record is not None},
    )
