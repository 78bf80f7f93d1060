"""How a replay goes on: at its speed, from where the user goes to.

Pure: the moment is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model.clock import WallMs
from envwatch.tui.state import Playing

if TYPE_CHECKING:
    from envwatch.model.clock import MonotonicS
    from envwatch.tui.arguments import Replay


class ReplayClock:
    """Where a replay is."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._is_paused = not replay.plays
        self._at = WallMs(0)
        """The recorded moment that is reached."""
        self._reached: MonotonicS | None = None
        """When it was reached; None if the time since then does not count."""
        self.end = WallMs(0)
        """When the last poll was recorded."""

    @property
    def playing(self) -> Playing:
        return Playing(self._replay.speed, self._is_paused)

    def begins(self, first: WallMs, last: WallMs) -> WallMs:
        """Take note of when the recording begins and ends; return where the replay starts."""
        self.end = last
        return first if self._replay.at is None else self._replay.at

    def pause(self, *, is_paused: bool) -> None:
        """Stop, or go on from where it is."""
        self._is_paused, self._reached = is_paused, None

    def goes_to(self, wall: WallMs, *, by_itself: bool) -> None:
        """Go on from a moment: one that the user went to, or one that was reached, maybe beyond a gap."""
        self._at = max(self._at, wall) if by_itself else wall

    def recorded_time(self, now: MonotonicS) -> WallMs | None:
        """Return the recorded moment that is reached now; None while it is paused."""
        if self._is_paused:
            return None
        if self._reached is not None:
            self._at = WallMs(self._at + (now - self._reached) * 1000 * self._replay.speed)
        self._reached = now
        return self._at
