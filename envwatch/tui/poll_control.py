"""The keys that say when to ask: pause, poll now, interval.

Owns what the user wants of the pollers, and the answers to it; when they do ask is their own business.
"""

from __future__ import annotations

import math
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from textual.app import App, ReturnType
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from envwatch.model import limits
from envwatch.model.times import long_age

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.text import Clean
    from envwatch.sources.poller import Poller, PollSchedule, RefreshDelay
    from envwatch.sources.session import Target

_INTERVALS: Final = [timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)]


POLLING_KEYS: Final[list[BindingType]] = [
    Binding("p", "pause", "Pause", id="poll.pause"),
    Binding("r", "refresh_now", "Refresh now", show=False, id="poll.now"),
    Binding("plus", "interval(1)", "Poll less often", key_display="+", show=False, id="poll.slower"),
    Binding("minus", "interval(-1)", "Poll more often", key_display="-", show=False, id="poll.faster"),
]
"""For the app to put among its own: the foot of the screen shows keys in that order, and inherited ones first."""


class PollingApp(App[ReturnType]):
    """An App that tells pollers what the user wants of them."""

    schedules: reactive[Mapping[Clean, PollSchedule]] = reactive(dict, repaint=False)
    """What the pollers do next, by profile."""

    targets: Mapping[Clean, Target] = MappingProxyType({})
    """Whom we ask, by profile."""

    @property
    def pollers(self) -> list[Poller]:
        """Those who ask."""
        return [target.poller for target in self.targets.values()]

    def read_schedules(self) -> None:
        """Look what the pollers do next."""
        self.schedules = {profile: target.poller.schedule for profile, target in self.targets.items()}

    def answer(self, text: str) -> None:
        """Answer a key."""
        raise NotImplementedError

    def action_pause(self) -> None:
        """Stop polling, or go on."""
        paused = not all(poller.schedule.is_paused for poller in self.pollers)
        for poller in self.pollers:
            poller.pause(paused=paused)
        self._answer_wish("paused: p goes on, r polls once" if paused else "polling again")

    def action_refresh_now(self) -> None:
        """Poll now."""
        self._answer_wish(_refresh_text({profile: target.poller.refresh() for profile, target in self.targets.items()}))

    def action_interval(self, step: int) -> None:
        """Take the next interval that is longer than the one in force, or shorter than the wanted one."""
        for poller in self.pollers:
            if step > 0:
                longer = [interval for interval in _INTERVALS if interval > poller.interval]
                poller.want_interval(min(longer, default=poller.wanted_interval))
            else:
                shorter = [interval for interval in _INTERVALS if interval < poller.wanted_interval]
                poller.want_interval(max(shorter, default=poller.wanted_interval))
        intervals = dict.fromkeys(long_age(_whole(poller.interval)) for poller in self.pollers)
        is_stretched = any(poller.interval > poller.wanted_interval for poller in self.pollers)
        why = ": the request budget allows no more" if is_stretched else ""
        self._answer_wish(f"polling every {' and '.join(intervals)}{why}")

    def _answer_wish(self, text: str) -> None:
        self.read_schedules()
        self.answer(text)


def _refresh_text(waits: Mapping[Clean, RefreshDelay | None]) -> str:
    """Return what comes of the wish to poll now under each profile."""
    barred = {profile: wait.left for profile, wait in waits.items() if wait is not None and wait.is_forbidden}
    if barred:
        left = _whole(max(barred.values()))
        whose = f"{', '.join(barred)}: " if len(waits) > 1 else ""
        others = "; asking the others" if len(barred) < len(waits) else ""
        return f"{whose}the server asked to wait: {long_age(left)} left{others}"
    longest = max((wait.left for wait in waits.values() if wait is not None), default=timedelta())
    if longest > limits.FORCED_EVERY:
        return f"asking in {long_age(_whole(longest))}: the request budget allows no sooner"
    return "asking now"


def _whole(span: timedelta) -> timedelta:
    """Return a duration in whole seconds, rounded up."""
    return timedelta(seconds=math.ceil(span.total_seconds()))
