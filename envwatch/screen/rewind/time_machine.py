"""The screen's moment in recorded time, and a replay's clock.

Keys during a read change the destination; only the last place is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.history.past import HistoryError
from envwatch.history.rewound import LogEnds, rewound
from envwatch.model.clock import Clocks, MonotonicS, ServerClock, ServerMs, WallMs
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import DAY_MS
from envwatch.screen.rewind.destinations import Destination, Destinations, Place
from envwatch.screen.rewind.past_reader import PastReader
from envwatch.screen.screens.table_screen import LIVE, AtTime, Goal, Steps
from envwatch.screen.state import MonitorState, Rewound
from envwatch.views import state_style
from envwatch.views.events.day_line import Day, day_of
from envwatch.views.table.table_view import AmbiguousNames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.history.past import Moment
    from envwatch.screen.arguments import Inputs, Replay


_SLOW_S: Final = 0.1


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


class RewindAnswer(NamedTuple):
    """Answer to a key, or a change of the visible moment."""

    text: str | None = None
    """None keeps the last answer; an empty text clears the answer."""
    rows: Sequence[EnvironmentKey] = ()


class TimeMachine:
    """The screen's position in time.

    Args:
        began_at: begin of the present's complete event log, by this machine's clock.
    """

    def __init__(self, inputs: Inputs, began_at: WallMs, live: MonitorState) -> None:
        self.reader = PastReader(inputs.pasts)
        self._began_at = began_at
        self._log_ends = LogEnds()
        self._newest_at = self._began_at
        self._live = live
        self._goals: deque[Goal] = deque()
        """A return to the present replaces the queue, which invalidates running reads."""
        self._is_reading = False
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
            return replace(live, is_leaving=self._is_busy)
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
        """Reason against polling keys; empty if allowed."""
        if self._replay is not None:
            return state_style.REPLAY_POLLS_NOTHING
        return state_style.POLLS_GO_ON if self._rewound is not None or self._is_busy else ""

    @property
    def _is_busy(self) -> bool:
        return self._is_reading or bool(self._goals)

    def go(self, goal: Goal) -> RewindAnswer | None:
        """Note a goal for `travel`; return None if the screen stays."""
        if goal == LIVE and self._replay is None:
            is_away = self._rewound is not None or self._is_busy
            self._goals.clear()
            self._goals = deque()
            self._leave()
            return self._answer("live again" if is_away else state_style.IS_LIVE)
        if not self.reader.pasts:
            return self._answer(state_style.NO_HISTORY)
        is_live = self._rewound is None and self._replay is None and not self._is_busy
        if is_live and isinstance(goal, Steps) and goal.by > 0:
            return self._answer(state_style.IS_LIVE)
        last = self._goals[-1] if self._goals else None
        if isinstance(goal, Steps) and isinstance(last, Steps) and _is_alike(goal, last):
            self._goals[-1] = goal._replace(by=last.by + goal.by)
        else:
            self._goals.append(goal)
        if _is_played(goal) or (self._rewound is not None and not self._has_answered):
            return None
        return self._answer("")  # the last answer is about another moment

    def _leave(self) -> None:
        self._rewound = self._day = None
        self.reader.forget()

    def _answer(self, text: str, rows: Sequence[EnvironmentKey] = ()) -> RewindAnswer:
        self._has_answered = bool(text)
        return RewindAnswer(text, rows)

    async def travel(self, zone: tzinfo | None) -> AsyncIterator[RewindAnswer]:
        """Go where the goals lead, and read the day's events. A running call takes new goals."""
        if self._is_reading or (self._replay is not None and not self._replay.has_begun):
            return
        before = self._rewound
        while goals := self._goals:
            self._is_reading = True
            reading = asyncio.create_task(self._take(goals, zone))
            await asyncio.wait([reading], timeout=_SLOW_S)
            if not reading.done():
                self._is_slow = True
                yield RewindAnswer()
            try:
                answer = await reading
            except HistoryError as error:
                goals.clear()
                answer = self._answer(f"cannot read the history: {error}")
            self._is_reading = self._is_slow = False
            if answer is not None:
                yield answer if goals is self._goals else RewindAnswer()
        if self._rewound is not None and self._rewound is not before:
            is_later = before is not None and before.place.wall < self._rewound.place.wall
            self.reader.read_ahead(*self._rewound.place, 1 if is_later else -1)
            async for answer in self._read_day():
                yield answer

    async def _take(self, goals: deque[Goal], zone: tzinfo | None) -> RewindAnswer | None:
        place, text, rows = Destination(None if self._rewound is None else self._rewound.place)
        is_played = True
        while goals:
            goal = goals.popleft()
            is_played = is_played and _is_played(goal)
            place, text, rows = await self._destinations(zone).find(goal, place)
        if goals is not self._goals:
            return RewindAnswer()
        if place is None:
            if self._rewound is not None:
                self._leave()
                text = text or "live again"
        elif is_played and not text and self._rewound is not None and place.poll_ref == self._rewound.place.poll_ref:
            return RewindAnswer() if self._is_slow else None
        else:
            moments = await self.reader.moments(*place)
            base = await self._base(place, moments)
            if goals is not self._goals:
                return RewindAnswer()
            if self._replay is not None:
                self._replay.goes_to(place.wall, by_itself=is_played)
                if is_played and text:
                    self._replay.pause(is_paused=True)
            now, monitor = moments[place.poll_ref.profile].now, rewound(base, moments)
            names = self._names.among(monitor.fleet.environments)
            self._rewound = _Rewound(place, MonitorState(monitor=monitor, now=now, ambiguous_names=names).judged())
        return self._answer(text, rows) if text else RewindAnswer()

    @property
    def _end(self) -> WallMs:
        return self._newest_at if self._replay is None else self._replay.end

    def _destinations(self, zone: tzinfo | None) -> Destinations:
        shown = self._live if self._rewound is None else self._rewound.state
        return Destinations(
            reader=self.reader,
            newest_at=self._end,
            is_replay=self._replay is not None,
            clocks={profile_state.profile: profile_state.clock for profile_state in shown.monitor.fleet},
            ambiguous_names=shown.ambiguous_names,
            wall=self._live.now.wall,
            zone=zone,
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

    def _has_day_of(self, rewound: _Rewound) -> bool:
        return self._day is not None and self._day.covers(rewound.server_time)

    async def _read_day(self) -> AsyncIterator[RewindAnswer]:
        if self._is_day_read:
            return
        self._is_day_read = True
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
                    yield RewindAnswer()
        except HistoryError as error:
            yield self._answer(f"cannot read the events: {error}")
        finally:
            self._is_day_read = False

    async def begin(self) -> RewindAnswer:
        """Read a recording's ends; earlier goals count from the beginning."""
        if (replay := self._replay) is None:
            return RewindAnswer()
        try:
            ends = await self.reader.ends()
        except HistoryError as error:
            text = f"cannot read the recording: {error}"
        else:
            text = state_style.EMPTY_RECORDING
            if ends is not None:
                self._goals.appendleft(AtTime(replay.begins(*ends)))
                return RewindAnswer()
        finally:
            replay.has_begun = True
        self._goals.clear()
        return self._answer(text)

    def pause(self) -> RewindAnswer:
        """Pause or continue a replay."""
        if self._replay is None:
            return RewindAnswer()
        is_paused = self._replay.playing > 0
        self._replay.pause(is_paused=is_paused)
        return self._answer("paused: p goes on" if is_paused else "playing")

    def reached(self, now: MonotonicS) -> AtTime | None:
        """Return a replay's moment now, or None without progress."""
        if self._replay is None or self._rewound is None or self._is_busy:
            return None
        wall = self._replay.recorded_time(now)
        return None if wall is None else AtTime(wall, is_played=True)


def _is_played(goal: Goal) -> bool:
    return isinstance(goal, AtTime) and goal.is_played


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
        """Time when the replay reached `_at`; None if the time since does not count."""
        self.end = WallMs(0)
        self.has_begun = False
        """Whether the recording's ends were read; goals wait until then."""

    @property
    def playing(self) -> float:
        return 0.0 if self._is_paused else self._replay.speed

    def begins(self, first: WallMs, last: WallMs) -> WallMs:
        self.end = last
        return first if self._replay.at is None else self._replay.at

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused, self._reached = is_paused, None

    def goes_to(self, wall: WallMs, *, by_itself: bool) -> None:
        """Move to a moment; playing never moves back."""
        self._at = max(self._at, wall) if by_itself else wall

    def recorded_time(self, now: MonotonicS) -> WallMs | None:
        """Advance to `now`; return None while paused."""
        if self._is_paused:
            return None
        if self._reached is not None:
            self._at = WallMs(self._at + (now - self._reached) * 1000 * self._replay.speed)
        self._reached = now
        return self._at
