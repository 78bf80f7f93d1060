"""The visible moment, reading, and a replay's clock.

Keys during a read change the destination, and only the last place is read. Polling continues.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from envwatch.history.past import HistoryError
from envwatch.history.rewound import LogEnds, rewound
from envwatch.model.clock import Clocks, MonotonicS, ServerClock, ServerMs, WallMs
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import DAY_MS
from envwatch.tui.rewind.destinations import Destinations, Place
from envwatch.tui.rewind.past_reader import PastReader
from envwatch.tui.screens.table_screen import LIVE, AtTime, Goal, Reached, Steps
from envwatch.tui.state import DisplayOptions, MonitorState, Rewound
from envwatch.views import state_style
from envwatch.views.events.day_line import Day, day_of
from envwatch.views.table.table_view import AmbiguousNames

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.history.past import Moment
    from envwatch.tui.arguments import Inputs, Replay


_SLOW_S: Final = 0.1
"""The screen says that a read takes long after this many seconds."""


class _Rewound(NamedTuple):
    place: Place
    state: MonitorState
    """`now` has the recording machine's clocks."""

    @property
    def server_time(self) -> ServerMs:
        return self.clocks[self.place.poll_ref.profile].server_time(self.state.now.wall)

    @property
    def clocks(self) -> Mapping[SafeText, ServerClock]:
        return {profile_state.profile: profile_state.clock for profile_state in self.state.monitor.fleet}


class Screen(Protocol):
    """The App's methods for the time machine."""

    def republish(self) -> None:
        """Publish the state again."""

    def answer(self, text: str) -> None:
        """Answer a key; an empty text removes the last answer."""

    def select(self, keys: Sequence[EnvironmentKey], text: str) -> None:
        """Move the cursor to an event's environments, if any, and answer a key."""

    def run_worker(self, work: Coroutine[Any, Any, None], /) -> object:
        """Run a coroutine in the background; an exception ends the program."""

    @property
    def options(self) -> DisplayOptions:
        """How to show times."""


class TimeMachine:
    """The screen's position in time.

    Args:
        began_at: the present's event log is complete from this moment on (this machine's clock).
    """

    def __init__(self, inputs: Inputs, screen: Screen, began_at: WallMs, live: MonitorState) -> None:
        self._screen = screen
        self.reader = PastReader(inputs.pasts)
        self._began_at = began_at
        self._log_ends = LogEnds()
        self._newest_at = self._began_at
        self._live = live
        self._goals: deque[Goal] = deque()
        """The user's wishes; each starts at the destination of the previous wish."""
        self._is_running = False
        self._returns = 0
        """Counts returns to the present, because a return invalidates earlier reads."""
        self._rewound: _Rewound | None = None
        """None in the present, and before a replay's first moment."""
        self._names = AmbiguousNames()
        self._day: Day | None = None
        self._is_day_read = False
        self._has_answered = False
        self._is_slow = False
        self._replay = None if inputs.replay is None else ReplayClock(inputs.replay)

    def note(self, profile: SafeText, monitor: Monitor, now: Clocks) -> None:
        self._newest_at = now.wall
        if self.reader.pasts:
            self._log_ends.note(now.wall, monitor.event_log)
            self.reader.note(profile, monitor, now)

    def shown(self, live: MonitorState) -> MonitorState:
        self._live = live
        live = replace(live, is_reading=self._is_slow)
        rewound, replay = self._rewound, self._replay
        if rewound is None and replay is None:
            return replace(live, is_leaving=self._is_running)
        mark = Rewound(
            present=live.now,
            end=live.now.wall if replay is None else replay.end,
            at=None if rewound is None else rewound.server_time,
            day=self._day if rewound is None or self._has_day_of(rewound) else None,
            live=state_style.trouble_text(live.monitor.fleet, live.now) if replay is None else EMPTY,
            present_state=live if replay is None else None,
            playing=None if replay is None else replay.playing,
        )
        if rewound is None:
            return replace(live, rewound=mark)
        state = replace(rewound.state, notice=live.notice, failing_hooks=live.failing_hooks, is_reading=live.is_reading)
        return replace(state, rewound=mark)

    @property
    def refuses_polling(self) -> str:
        if self._replay is not None:
            return state_style.REPLAY_POLLS_NOTHING
        return state_style.POLLS_GO_ON if self._rewound is not None or self._is_running else ""

    @property
    def is_moving(self) -> bool:
        return self._is_running or self._is_day_read

    def go(self, goal: Goal) -> None:
        if goal == LIVE and self._replay is None:
            self._return()
        elif refusal := self._refusal(goal):
            self._answer(refusal)
        else:
            if (self._has_answered or self._rewound is None) and not isinstance(goal, Reached):
                self._answer("")  # the answer is about another moment
            last = self._goals[-1] if self._goals else None
            if isinstance(goal, Steps) and isinstance(last, Steps) and _is_alike(goal, last):
                self._goals[-1] = goal._replace(by=last.by + goal.by)
            else:
                self._goals.append(goal)
            self._run()

    def _refusal(self, goal: Goal) -> str:
        if not self.reader.pasts:
            return state_style.NO_HISTORY
        is_live = self._rewound is None and self._replay is None and not self._is_running
        return state_style.IS_LIVE if is_live and isinstance(goal, Steps) and goal.by > 0 else ""

    def _return(self, text: str = "live again") -> None:
        self._answer(text if self._rewound is not None or self._is_running else state_style.IS_LIVE)
        self._returns += 1
        self._goals.clear()
        self._rewound = self._day = None
        self.reader.forget()
        self._screen.republish()

    def _answer(self, text: str) -> None:
        self._has_answered = bool(text)
        self._screen.answer(text)

    def _run(self) -> None:
        if not self._is_running and (self._replay is None or self._replay.has_begun):
            self._is_running = True
            self._screen.run_worker(self._take_all())
            if self._rewound is None:
                self._screen.republish()

    async def _take_all(self) -> None:
        try:
            while self._goals:
                slow = asyncio.get_running_loop().call_later(_SLOW_S, lambda: self._set_slow(is_slow=True))
                try:
                    await self._take_goals()
                finally:
                    slow.cancel()
                    self._set_slow(is_slow=False)
        except HistoryError as error:
            self._goals.clear()
            self._answer(f"cannot read the history: {error}")
        finally:
            self._is_running = False
            if self._rewound is None:
                self._screen.republish()

    def _set_slow(self, *, is_slow: bool) -> None:
        if is_slow != self._is_slow:
            self._is_slow = is_slow
            self._screen.republish()

    async def _take_goals(self) -> None:
        returns, text = self._returns, ""
        rows: Sequence[EnvironmentKey] = ()
        place = None if self._rewound is None else self._rewound.place
        is_played = isinstance(self._goals[0], Reached)
        while self._goals:
            goal = self._goals.popleft()
            is_played = is_played and isinstance(goal, Reached)
            place, text, rows = await self._destinations.find(goal, place)
        if returns != self._returns:
            return
        if place is None:
            self._stay_live(text)
            self._screen.select(rows, text)
            return
        if is_played and not text and self._rewound is not None and place.poll_ref == self._rewound.place.poll_ref:
            return
        moments = await self.reader.moments(*place)
        base = await self._base(place, moments)
        if returns == self._returns:
            if text:
                self._answer(text)
            if self._replay is not None:
                self._replay.goes_to(place.wall, by_itself=is_played)
                if is_played and text:
                    self._replay.pause(is_paused=True)
            self._show(place, moments, base)
            self._screen.select(rows, text)

    def _stay_live(self, text: str) -> None:
        if self._rewound is not None:
            self._return(text or "live again")
        elif text:
            self._answer(text)

    @property
    def _end(self) -> WallMs:
        return self._newest_at if self._replay is None else self._replay.end

    @property
    def _destinations(self) -> Destinations:
        shown = self._live if self._rewound is None else self._rewound.state
        return Destinations(
            reader=self.reader,
            newest_at=self._end,
            is_replay=self._replay is not None,
            clocks={profile_state.profile: profile_state.clock for profile_state in shown.monitor.fleet},
            ambiguous_names=shown.ambiguous_names,
            wall=self._live.now.wall,
            zone=self._screen.options.zone,
        )

    async def _base(self, place: Place, moments: Mapping[SafeText, Moment]) -> Monitor:
        monitor = self._live.monitor
        if self._replay is None and place.wall >= self._began_at:
            return replace(monitor, event_log=self._log_ends.log_at(place.wall, monitor.event_log))
        clocks = {profile_state.profile: profile_state.clock for profile_state in monitor.fleet}
        clocks |= {profile: moment.profile_state.clock for profile, moment in moments.items()}
        events = await self.reader.events(place.wall, self._end, clocks)
        log = events.log_at(place.timeline.known_at(place.position))
        return replace(monitor, event_log=log, watched=events.watched)

    def _show(self, place: Place, moments: Mapping[SafeText, Moment], base: Monitor) -> None:
        before = self._rewound
        now = moments[place.poll_ref.profile].now
        monitor = rewound(base, moments)
        names = self._names.among(monitor.fleet.environments)
        self._rewound = _Rewound(place, MonitorState(monitor=monitor, now=now, ambiguous_names=names).judged())
        self._screen.republish()
        if not self._goals:
            self.reader.read_ahead(*place, 1 if before is not None and before.place.wall < place.wall else -1)
        if not self._is_day_read and not self._has_day_of(self._rewound):
            self._is_day_read = True
            self._screen.run_worker(self._read_day())

    def _has_day_of(self, rewound: _Rewound) -> bool:
        return self._day is not None and self._day.covers(rewound.server_time)

    async def _read_day(self) -> None:
        try:
            while (rewound := self._rewound) is not None and not self._has_day_of(rewound):
                events = await self.reader.events(rewound.place.wall, self._end, rewound.clocks)
                at = rewound.server_time
                newest = rewound.clocks[rewound.place.poll_ref.profile].server_time(events.until)
                # This machine's clock may have been set back since that moment.
                until = ServerMs(max(min(newest, at + DAY_MS / 2), at))
                day = await asyncio.to_thread(day_of, events.log, events.watched.values(), until)
                if self._rewound is not None:
                    # A failed poll may be earlier than the first listing.
                    self._day = replace(day, since=min(day.since, at))
                    self._screen.republish()
        except HistoryError as error:
            self._answer(f"cannot read the events: {error}")
        finally:
            self._is_day_read = False

    async def start_replay(self) -> None:
        if self._replay is None:
            return
        try:
            ends = await self.reader.ends()
        except HistoryError as error:
            self._goals.clear()
            self._answer(f"cannot read the recording: {error}")
        else:
            if ends is None:
                self._goals.clear()
                self._answer(state_style.EMPTY_RECORDING)
            else:
                # Keys that were pressed during the read count from the beginning.
                self._goals.appendleft(AtTime(self._replay.begins(*ends)))
        finally:
            self._replay.has_begun = True
        if self._goals:
            self._run()

    def pause(self) -> bool:
        if self._replay is None:
            return False
        is_paused = self._replay.playing > 0
        self._replay.pause(is_paused=is_paused)
        self._answer("paused: p goes on" if is_paused else "playing")
        self._screen.republish()
        return True

    def play(self, now: Clocks) -> None:
        if self._replay is None or self._rewound is None or self._is_running:
            return
        if (wall := self._replay.recorded_time(now.monotonic)) is not None:
            self.go(Reached(wall))


def _is_alike(goal: Steps, last: Steps) -> bool:
    if goal.is_wanted is None or last.is_wanted is None:
        return goal.is_wanted is last.is_wanted
    return goal.by * last.by > 0


class ReplayClock:
    """The position of a replay."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._is_paused = not replay.plays
        self._at = WallMs(0)
        self._reached: MonotonicS | None = None
        """When the replay reached `_at`, or None if the time since then does not count."""
        self.end = WallMs(0)
        self.has_begun = False
        """Whether the ends of the recording were read; goals wait for that."""

    @property
    def playing(self) -> float:
        """The speed, 0 while paused."""
        return 0.0 if self._is_paused else self._replay.speed

    def begins(self, first: WallMs, last: WallMs) -> WallMs:
        self.end = last
        return first if self._replay.at is None else self._replay.at

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused, self._reached = is_paused, None

    def goes_to(self, wall: WallMs, *, by_itself: bool) -> None:
        self._at = max(self._at, wall) if by_itself else wall

    def recorded_time(self, now: MonotonicS) -> WallMs | None:
        if self._is_paused:
            return None
        if self._reached is not None:
            self._at = WallMs(self._at + (now - self._reached) * 1000 * self._replay.speed)
        self._reached = now
        return self._at
