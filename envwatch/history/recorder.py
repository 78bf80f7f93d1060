"""Records a monitor's state in a thread; disk trouble neither delays nor fails the caller.

Only the thread imports SQLite, so the first listing is drawn earlier.
"""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.model.outcome import Listed, PollResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.alerts.monitor import Monitor, MonitorChanges
    from envwatch.history.stored import Retention
    from envwatch.history.writer import FolderWriter
    from envwatch.model.text import SafeText

_QUEUED: Final = 12
"""A minute of a profile's usual polls."""
_CLOSE_TIMEOUT_S: Final = 0.5


def nothing(*_: object) -> None:
    """Do nothing."""


class HistoryRecorder:
    """Records polls and events of several profiles.

    Only one process records into a folder; after its end, another takes over at the next poll.

    Args:
        notify: Takes a line, in any thread, about lost or resumed recording.
        delay_s: Seconds from the first outcome to the imports; `close` ends the wait.
        prepare: Called first, in the thread.
        on_ready: Called in the thread for each profile, once the first listing is readable or this process does not
            record.
    """

    def __init__(  # noqa: PLR0913 - all but two have a default
        self,
        folders: Mapping[SafeText, Path],
        retentions: Mapping[SafeText, Retention] = MappingProxyType({}),
        *,
        notify: Callable[[str], None],
        delay_s: float = 0.0,
        prepare: Callable[[], None] = nothing,
        on_ready: Callable[[SafeText], None] = nothing,
    ) -> None:
        self._folders = folders
        self._retentions = retentions
        self._writers: dict[SafeText, FolderWriter] = {}
        self._notify = notify
        self._delay_s = delay_s
        self._has_begun = threading.Event()
        self._is_closing = threading.Event()
        self._is_prepared = threading.Event()
        self._has_outcome = False
        self._prepare = prepare
        self._on_ready = on_ready
        self._entries: SimpleQueue[tuple[MonitorChanges, Monitor, bool] | None] = SimpleQueue()
        """Changes, the monitor afterwards, and whether earlier polls were dropped; None at the end."""
        self._most = _QUEUED * len(folders)
        self._gaps: set[SafeText | None] = set()
        self._is_slow = False
        self._is_lost = False
        self._unready = set(folders)
        self._troubles: dict[SafeText, str] = {}
        self._thread = threading.Thread(target=self._run_thread, name="history", daemon=True)
        self._thread.start()

    def record(self, monitor: Monitor, changes: MonitorChanges) -> None:
        """Queue an outcome, or events alone; never waits or fails."""
        profile = changes.profile
        if (profile not in self._folders and not changes.events) or self._is_lost:
            return
        if self._entries.qsize() >= self._most:
            self._gaps.add(profile)
            if not self._is_slow:
                self._is_slow = True
                self._notify(f"no history is kept: the disk is too slow; see what else uses it ({self._place})")
            return
        self._entries.put((changes, monitor, profile in self._gaps))
        self._gaps.discard(profile)
        self._has_outcome = True
        self._has_begun.set()

    def close(self, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Write the queue within `timeout_s` seconds."""
        self._entries.put(None)
        self._is_closing.set()
        self._is_prepared.set()
        self._has_begun.set()
        self._thread.join(timeout_s)

    def wait(self) -> None:
        """Wait until `prepare` has ended or `close` was called."""
        self._is_prepared.wait()

    @property
    def _place(self) -> Path:
        return next(iter(self._folders.values())).parent

    def _run_thread(self) -> None:
        self._has_begun.wait()
        self._is_closing.wait(self._delay_s)
        if not self._has_outcome:
            return
        try:
            self._open()
        except ImportError as error:
            self._is_lost = True
            self._is_prepared.set()
            self._notify(f"no history is kept: {error}; set history = false, or use a Python with SQLite")
            return
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - as below
            self._notify(f"no history from before: {_explained(error)} ({self._place})")
        self._is_prepared.set()
        for profile in self._writers:
            self._try(profile, lambda writer: not writer.take())
        while (entry := self._entries.get()) is not None:
            changes, *_ = entry
            concerned = {changes.profile, *(event.profile for event in changes.events)}
            for profile in [profile for profile in self._writers if profile in concerned]:
                self._try(profile, partial(self._write, profile, entry))
            if self._is_slow and self._entries.empty():
                self._is_slow = False
                self._notify("history is kept again")
        for writer in self._writers.values():
            writer.close()

    def _open(self) -> None:
        from envwatch.history.stored import Retention
        from envwatch.history.writer import FolderWriter

        for profile, folder in self._folders.items():
            self._writers[profile] = FolderWriter(
                folder,
                self._retentions.get(profile, Retention()),
                profile=profile,
                note=self._notify,
            )

    def _try(self, profile: SafeText, write: Callable[[FolderWriter], bool]) -> None:
        try:
            is_ready = write(self._writers[profile])
        except Exception as error:  # noqa: BLE001 - a bug here costs the history, and nothing else
            is_ready, trouble = True, _explained(error)
            is_new = trouble not in self._troubles.values()
            self._troubles[profile] = trouble
            if is_new:
                self._notify(f"no history is kept: {trouble} ({self._place})")
        else:
            if self._troubles.pop(profile, None) is not None and not self._troubles:
                self._notify("history is kept again")
        if is_ready and profile in self._unready:
            self._unready.discard(profile)
            self._on_ready(profile)

    def _write(self, profile: SafeText, entry: tuple[MonitorChanges, Monitor, bool], writer: FolderWriter) -> bool:
        if not writer.take():
            return True
        from envwatch.history.past import Moment

        changes, monitor, is_after_gap = entry
        outcome = changes.outcome
        if is_after_gap and profile == changes.profile:
            writer.restart()
        events = [event for event in changes.events if event.profile == profile]
        if outcome is None or profile != changes.profile:
            writer.write_events(changes.now, events)
            return False
        moment = Moment.of(monitor, profile, changes.now)
        listed = outcome if isinstance(outcome, Listed) else None
        writer.write(moment, PollResult.from_outcome(outcome), events, listed)
        return moment.profile_state.listings > 0


def _explained(error: Exception) -> str:
    from envwatch.history.day_file import explained

    return explained(error)
