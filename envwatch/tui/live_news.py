"""What is new in the present while the screen shows the past. Must not know widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.fleet.profile_state import Freshness
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.tui.state import MonitorState


def _down(live: MonitorState) -> frozenset[EnvironmentKey]:
    """Return the keys of what is down and worth a person's attention."""
    down = (tracked for tracked in live.fleet.environments if not tracked.verdict.is_up)
    return frozenset(tracked.key for tracked in down if live.is_alerting(tracked))


class LiveNews:
    """Compares the present with what it was when the screen left it."""

    def __init__(self) -> None:
        self._known: frozenset[EnvironmentKey] = frozenset()
        """What was down when the screen left the present."""
        self._counted: Fleet | None = None
        """The fleet of the count."""
        self._count = 0

    def leave(self, live: MonitorState) -> None:
        """Take note of the present, which the screen leaves now."""
        self._known, self._counted = _down(live), None

    def since_left(self, live: MonitorState) -> SafeText:
        """Return what is new since, in a few words: `2 new down`, `blind`; empty if nothing is."""
        if self._counted is not live.fleet:
            self._counted, self._count = live.fleet, len(_down(live) - self._known)
        if any(profile_state.is_refused for profile_state in live.fleet):
            return clean("key refused")
        if any(profile_state.freshness(live.now) is Freshness.BLIND for profile_state in live.fleet):
            return clean("blind")
        return clean(f"{self._count} new down" if self._count else "")
