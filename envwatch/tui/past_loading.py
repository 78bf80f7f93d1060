"""Loads what earlier runs recorded, once a profile, after the first listing and beside the screen.

Owns from when on a profile's past can be read, and which moments it is compared with. What it means for the monitor is
decided in `fleet.earlier_runs`. Reads and computes in threads: the loop, and so each key, waits for neither.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.earlier_runs import EarlierRuns
from envwatch.fleet.history import Moment
from envwatch.fleet.run_before import changes_between_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.history import Past
    from envwatch.fleet.monitor import Monitor
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.text import SafeText

_LOADED: Final = timedelta(hours=24)
"""What the event log and the availability cover at the start."""


class LoadedPast(NamedTuple):
    """What earlier runs recorded of a profile, and what changed until the first listing of this one."""

    runs: EarlierRuns
    changes: Sequence[Event]
    unchanged_for: timedelta | None
    """How long ago the last run ended, if nothing has changed since and that is worth a word."""

    @classmethod
    def read(cls, past: Past, profile: SafeText, began: WallMs, first: Moment) -> LoadedPast:
        """Read it.

        Raises:
            HistoryError: if it cannot be read.
        """
        runs = EarlierRuns.read(past, profile, _LOADED, began)
        changes = () if runs.last is None else changes_between_runs(runs.last, first)
        return cls(runs, changes, None if changes else runs.unchanged_for(first))

    async def seed(self, current: Callable[[], Monitor]) -> Monitor:
        """Return the current monitor with this past; it is computed once more if another one is current then."""
        while True:
            monitor = current()
            seeded = await asyncio.to_thread(self.runs.seeded, monitor, self.changes)
            if current() is monitor:
                return seeded


class PastLoading:
    """Waits for the first listing of each profile, and loads what was recorded before its first outcome."""

    def __init__(self, pasts: Mapping[SafeText, Past]) -> None:
        self._pasts = pasts
        self._began: dict[SafeText, WallMs] = {}
        self._first: dict[SafeText, Moment] = {}
        self._is_listed = {profile: asyncio.Event() for profile in pasts}

    def note(self, profile: SafeText, monitor: Monitor, now: Clocks) -> None:
        """Note an outcome of a profile, and the monitor after it."""
        if profile not in self._pasts or (is_listed := self._is_listed[profile]).is_set():
            return
        self._began.setdefault(profile, now.wall)
        profile_state = monitor.fleet.by_profile[profile]
        if profile_state.listed is not None:
            self._first[profile] = Moment(now, profile_state, monitor.own_acks(profile))
            is_listed.set()

    async def load(self, profile: SafeText) -> LoadedPast:
        """Return the past of a profile that can be read; call it once.

        Raises:
            HistoryError: if it cannot be read after all.
        """
        await self._is_listed[profile].wait()
        began, first = self._began[profile], self._first.pop(profile)
        return await asyncio.to_thread(LoadedPast.read, self._pasts[profile], profile, began, first)
