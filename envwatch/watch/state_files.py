"""Acknowledgements, silences, words and uptimes on disk, which any process may change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from envwatch.storage.state_file import (
    ACKNOWLEDGEMENTS,
    WORDS,
    ChangedFile,
    StateFile,
    acknowledged,
    silences_in,
    words_in,
)
from envwatch.watch.profiles import state_file
from envwatch.watch.uptime_files import UptimeFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.fleet.alerting.alert_policy import Words
    from envwatch.fleet.alerting.alert_state import AlertState
    from envwatch.fleet.alerting.silences import Silences
    from envwatch.fleet.events import Event
    from envwatch.fleet.monitor import Monitor, MonitorChanges
    from envwatch.fleet.uptime_record import UptimeRecord
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText
    from envwatch.sources.poller import Target
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.profiles import Profiles


class _Newest(NamedTuple):
    acks: Acks | None
    silences: Silences | None
    words: Words | None
    uptimes: Mapping[SafeText, UptimeRecord]
    taken_over: Mapping[SafeText, AlertState | None]


class StateFiles:
    """Acknowledgements, silences and alerts on disk, which any process may change."""

    def __init__(self, profiles: Profiles, warn: Callable[[str], None], alerts: AlertFiles | None = None) -> None:
        path = state_file("acknowledged")
        self._warn = warn
        self._file = StateFile(ACKNOWLEDGEMENTS, path, warn)
        self._acks = ChangedFile(path, acknowledged)
        silences = partial(silences_in, matcher_of=profiles.silence_matcher)
        self._silences = ChangedFile(state_file("silences"), silences)
        words_path = state_file("alerts-by-hand")
        self._words_file = StateFile(WORDS, words_path, warn)
        self._words = ChangedFile(words_path, words_in)
        self._uptimes = UptimeFiles(profiles, warn)
        self._alerts = alerts
        self._taken_over: Mapping[SafeText, AlertState | None] = {}

    async def resumed(self, monitor: Monitor, targets: Mapping[SafeText, Target], now: Clocks) -> Monitor:
        """Return the monitor before the first poll, with the alerts taken over from an earlier run."""
        if self._alerts is not None:
            self._taken_over = await asyncio.to_thread(self._alerts.take_over, now, self._warn)
        for profile, state in self._taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
                known = monitor.fleet.by_profile[profile].earlier
                rows = () if known is None else known.rows.values()
                targets[profile].remember(row.environment for row in rows if not row.presence.is_absent)
        return monitor

    async def newest(
        self, monitor: Monitor, now: Clocks
    ) -> tuple[Monitor, tuple[Event, ...], Mapping[SafeText, AlertState | None]]:
        """Return a monitor with the latest changes on disk, the events that follow, and the alerts taken over."""
        acks, silences, words, uptimes, taken_over = await asyncio.to_thread(self._read, now)  # the disk may be slow
        events: tuple[Event, ...] = ()
        for profile, record in uptimes.items():
            monitor = monitor.with_uptime_record(profile, record)
        if words is not None:
            monitor, events = monitor.with_words(words, now)
        if acks is not None:
            monitor = replace(monitor, acks=acks)
        if silences is not None:
            monitor = replace(monitor, silences=silences)
        for profile, state in taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
        taken_over, self._taken_over = {**self._taken_over, **taken_over}, {}
        return monitor, events, taken_over

    def _read(self, now: Clocks) -> _Newest:
        taken_over = {} if self._alerts is None else self._alerts.take_over(now, self._warn)
        uptimes = self._uptimes.newest(now)
        return _Newest(self._acks.changed(), self._silences.changed(), self._words.changed(), uptimes, taken_over)

    def keep(self, monitor: Monitor, changes: MonitorChanges) -> None:
        """Save ended acknowledgements, inherited words, and now and then the uptimes."""
        if changes.ended_acks:
            self._file.keep(dict.fromkeys(changes.ended_acks))
        if changes.inherited_words:
            self._words_file.keep(changes.inherited_words)
        self._uptimes.keep(monitor, changes.now)

    def close(self) -> None:
        """Write pending changes."""
        self._file.close()
        self._words_file.close()
        self._uptimes.close()
