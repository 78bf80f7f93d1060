"""A recorder and pasts that load SQLite and the storage of histories only when they are needed.

Owns the order at the start: the first data is on the screen, or in the pipe, before anything of this is imported.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from envwatch.fleet.history import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.history import Moment, Past, RecordedPoll, RecordedStep
    from envwatch.fleet.monitor import Monitor, MonitorChanges, Recorder
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText

    class ClosingRecorder(Recorder, Protocol):
        """A recorder that writes what is left when it is closed."""

        def close(self) -> None:
            """Write what is left, within bounded time."""


_DRAWN_AFTER_S: Final = 0.5
"""From the first outcome until it has been judged and drawn, on a slow machine."""
_MOST_WAITING: Final = 12
"""Outcomes that wait for a recorder that is still being loaded; the oldest are left out."""


class LateRecorder:
    """Makes a recorder soon after the first outcome, in a thread, and hands on to it what waited."""

    def __init__(
        self, make: Callable[[], ClosingRecorder], notify: Callable[[str], None], delay_s: float = _DRAWN_AFTER_S
    ) -> None:
        self._make = make
        self._notify = notify
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._is_made = False
        self._recorder: ClosingRecorder | None = None
        """None as well if it could not be made."""
        self._start: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[SafeText | None, Outcome | None, Monitor, MonitorChanges, Clocks]] = deque(
            maxlen=_MOST_WAITING
        )
        self._hands_on = False

    def record(
        self, profile: SafeText | None, outcome: Outcome | None, monitor: Monitor, changes: MonitorChanges, now: Clocks
    ) -> None:
        """Record one outcome, or what time alone changed; see `Recorder`. Call it in a running loop."""
        if outcome is None and not changes.events:
            return
        if self._hands_on:
            if self._recorder is not None:
                self._recorder.record(profile, outcome, monitor, changes, now)
            return
        self._waiting.append((profile, outcome, monitor, changes, now))
        if self._start is None:
            self._start = asyncio.ensure_future(self._start_soon())

    def close(self) -> None:
        """Write what is left, within bounded time."""
        if self._start is not None:
            self._start.cancel()
            self._load()
            self._hand_on()
        if self._recorder is not None:
            self._recorder.close()

    async def _start_soon(self) -> None:
        await asyncio.sleep(self._delay_s)
        await asyncio.to_thread(self._load)
        self._hand_on()

    def _load(self) -> None:
        with self._lock:
            if self._is_made:
                return
            self._is_made = True
            try:
                self._recorder = self._make()
            except ImportError as error:  # Python can be built without SQLite
                self._notify(f"no history is kept: {error}; set history = false, or use a Python with SQLite")

    def _hand_on(self) -> None:
        self._hands_on = True
        while self._waiting:
            entry = self._waiting.popleft()
            if self._recorder is not None:
                self._recorder.record(*entry)


class LatePast:
    """A `Past` that is opened when it is first read."""

    def __init__(self, open_past: Callable[[], Past]) -> None:
        self._open = open_past

    @cached_property
    def _past(self) -> Past:
        try:
            return self._open()
        except ImportError as error:  # as above
            raise HistoryError(str(error)) from None

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a time; see `Past`, as for all others."""
        return self._past.polls(since, until)

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return what was known right after a poll."""
        return self._past.moment(poll)

    def moments(self, polls: Iterable[RecordedPoll]) -> Iterator[Moment]:
        """Yield what was known after each of consecutive polls."""
        return self._past.moments(polls)

    def events(self, since: WallMs, until: WallMs) -> Sequence[Event]:
        """Return the events of a time."""
        return self._past.events(since, until)

    def steps(self, since: WallMs, until: WallMs) -> Iterator[RecordedStep]:
        """Yield the polls of a time with their events, and what time alone changed."""
        return self._past.steps(since, until)
