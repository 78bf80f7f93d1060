"""Alert states on disk.

Only the holder of a profile's lock runs the hooks and writes the file; a waiting process takes over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.alerts.alert_state import (
    AlertState,
    alert_state,
    alert_state_content,
    ledger_content,
)
from envwatch.alerts.monitor import Monitor
from envwatch.files import ProcessLock
from envwatch.fleet.profile_state import Fleet
from envwatch.history.past import HistoryError, Moment
from envwatch.model.clock import Clocks, WallMs
from envwatch.model.outcome import PollResult
from envwatch.model.text import SafeText
from envwatch.model.times import DAY_MS, date_text
from envwatch.watch.profiles import Profiles, SelectedProfile, alert_file_for
from envwatch.watch.state_file import ALERT_STATE, StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from envwatch.alerts.ledger import Ledger
    from envwatch.config.hooks import HookSettings

_WRITTEN_EVERY_MS: Final = 60_000
_DISK_S: Final = 5.0
"""Longest wait for the ledger's write."""


def _state_in_history(folder: Path, profile: SafeText) -> AlertState | None:
    """Return the online rows of the newest readable listing in the history's last day."""
    moment = last_moment(folder, profile)
    return None if moment is None else Monitor(Fleet({profile: moment.profile_state})).alert_state(profile, moment.now)


def last_moment(folder: Path, profile: SafeText) -> Moment | None:
    """Return the newest readable listing in the history's last day."""
    from envwatch.history.stored import StoredPast

    past = StoredPast(folder, profile)
    try:
        last = past.last_listing()
        polls = () if last is None else past.polls(WallMs(last.at - DAY_MS), last.at)
        listed = (poll for poll in reversed(polls) if poll.result is PollResult.LISTED)
        moment = next((each for each in past.moments(listed) if isinstance(each, Moment)), None)
    except HistoryError:
        return None
    return None if moment is None or moment.profile_state.listed is None else moment


def earlier_alerts(name: SafeText, profile: SelectedProfile, now: Clocks) -> AlertState | None:
    """Return a profile's stored losses and incidents."""
    return alert_state(ALERT_STATE.read_or_empty(alert_file_for(*profile)), name, now)


def open_alert_files(profiles: Profiles, hooks: Sequence[HookSettings]) -> AlertFiles:
    """Return the watched profiles' alert states; without hooks, no file is used."""
    names = frozenset(hook.name for hook in hooks)
    watched = profiles if hooks else Profiles()
    return AlertFiles(
        {name: alert_file_for(*profile) for name, profile in watched.items()},
        names,
        {name: profile.history_folder for name, profile in watched.items() if profile.settings.history},
    )


class AlertFiles:
    """Alert states of the watched profiles.

    Nothing stays due on a hook outside `hooks`. `histories` are recorded profiles' folders, for the rows that a file
    lacks.
    """

    def __init__(
        self,
        paths: Mapping[SafeText, Path],
        hooks: Container[SafeText],
        histories: Mapping[SafeText, Path] = MappingProxyType({}),
    ) -> None:
        self._paths = paths
        self._hooks = hooks
        self._histories = histories
        self._locks = {name: ProcessLock(path.with_suffix(".lock")) for name, path in paths.items()}
        self._files = dict[SafeText, StateFile]()
        self._waits_for = dict[SafeText, str]()
        self._written = dict[SafeText, tuple[AlertState, WallMs]]()

    @property
    def held(self) -> frozenset[SafeText]:
        """Profiles whose hooks this process runs."""
        return frozenset(self._files)

    def take_over(self, now: Clocks, warn: Callable[[str], None]) -> dict[SafeText, AlertState | None]:
        """Take free locks, and return the new profiles' stored states. The disk may be slow.

        `warn` gets lines in any thread.
        """
        taken: dict[SafeText, AlertState | None] = {}
        for name, path in self._paths.items():
            if name in self._files or not self._acquire(name, warn):
                continue
            self._files[name] = StateFile(ALERT_STATE, path, warn)
            taken[name] = self._stored_state(name, now, warn)
        return taken

    def _stored_state(self, name: SafeText, now: Clocks, warn: Callable[[str], None]) -> AlertState | None:
        path, of_profile = self._paths[name], f" of profile {name}" if name else ""
        content = ALERT_STATE.read_or_empty(path)
        state = alert_state(content, name, now)
        if state is not None:
            state = replace(state, ledger=state.ledger.only(self._hooks))
        folder = self._histories.get(name)
        is_known = "rows" in content and self._files[name].loss is None
        recorded = None if is_known or folder is None else _state_in_history(folder, name)
        if recorded is None:
            return state
        at = date_text(recorded.last_run.looked_at, None)
        warn(f"the history says which machines{of_profile} were online at {at}, as {path} does not")
        if state is None:
            return recorded
        return replace(state, last_run=state.last_run._replace(rows={**recorded.last_run.rows, **state.last_run.rows}))

    def _acquire(self, name: SafeText, warn: Callable[[str], None]) -> bool:
        lock = self._locks[name]
        try:
            is_held = lock.acquire()
        except OSError as error:
            warn(f"two processes may run the hooks: {error.strerror} ({self._paths[name].parent})")
            return True
        profile = f" of profile {name}" if name else ""
        if not is_held and (holder := lock.holder) != self._waits_for.get(name):
            self._waits_for[name] = holder
            warn(f"hooks{profile} run in process {holder or 'unknown'}; this process takes over when it ends")
        elif is_held and name in self._waits_for:
            warn(f"this process runs the hooks{profile} now")
        return is_held

    def keep(self, profile: SafeText, state: AlertState, now: Clocks) -> None:
        """Write a held profile's state if changed or a minute old; never waits."""
        before, written_at = self._written.get(profile, (None, now.wall))
        is_recent = 0 <= now.wall - written_at < _WRITTEN_EVERY_MS
        if before is not None and is_recent and state.is_like(before):
            return
        self._written[profile] = state, now.wall
        self._files[profile].keep(alert_state_content(state, now))

    async def write(self, profile: SafeText, ledger: Ledger, now: Clocks) -> None:
        """Write a held profile's ledger, with a bounded wait for the disk: a late message is worse."""
        loop, is_written = asyncio.get_running_loop(), asyncio.Event()

        def note() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(is_written.set)

        file = self._files[profile]
        file.keep({"ledger": ledger_content(ledger, profile, now)})
        file.call_when_written(note)
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISK_S):
                await is_written.wait()

    def close(self) -> None:
        """Write pending states and release the locks."""
        for file in self._files.values():
            file.close()
        for lock in self._locks.values():
            lock.release()
