"""The polling keys: pause, poll now, change the interval."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from textual.binding import Binding, BindingType

from envwatch.model import limits
from envwatch.model.times import long_age, seconds_up
from envwatch.tui.widgets.footer import without_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.text import SafeText
    from envwatch.sources.poller import Target

_INTERVALS: Final = [timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)]

POLLING_KEYS: Final[list[BindingType]] = [
    Binding("p", "pause", "Pause", id="poll.pause"),
    Binding("r", "refresh_now", "Refresh now", show=False, id="poll.now"),
    without_key("interval(1)", "Poll less often", "poll.slower"),
    without_key("interval(-1)", "Poll more often", "poll.faster"),
]
"""The App's bindings; the footer shows keys in order of declaration."""


Targets: TypeAlias = "Mapping[SafeText, Target]"


def toggle_pause(targets: Targets) -> str:
    """Pause all pollers, or continue if all are paused; return the answer, as the functions below."""
    pollers = [target.poller for target in targets.values()]
    is_pause = not all(poller.schedule.is_paused for poller in pollers)
    for poller in pollers:
        poller.pause(paused=is_pause)
    return "paused: p goes on, r polls once" if is_pause else "polling again"


def refresh(targets: Targets) -> str:
    """Poll now, as far as server and request budget allow."""
    delays = {profile: target.poller.refresh() for profile, target in targets.items()}
    forbidden = {profile: delay.left for profile, delay in delays.items() if delay and delay.is_forbidden}
    if forbidden:
        subject = f"{', '.join(forbidden)}: " if len(delays) > 1 else ""
        rest = "; polling the others" if len(forbidden) < len(delays) else ""
        return f"{subject}the server asked to wait: {_seconds_up(max(forbidden.values()))} left{rest}"
    longest = max((delay.left for delay in delays.values() if delay), default=timedelta())
    if longest > limits.FORCED_EVERY:
        return f"polling in {_seconds_up(longest)}: the request budget allows no sooner"
    return "polling now"


def change_interval(step: int, targets: Targets) -> str:
    """Take the next interval: longer than the current (`step` > 0), or shorter than the wanted interval."""
    pollers = [target.poller for target in targets.values()]
    for poller in pollers:
        wanted = poller.limits.interval
        if step > 0:
            wanted = min((each for each in _INTERVALS if each > poller.interval), default=wanted)
        else:
            wanted = max((each for each in _INTERVALS if each < wanted), default=wanted)
        poller.want_interval(wanted)
    intervals = dict.fromkeys(_seconds_up(poller.interval) for poller in pollers)
    schedules = [poller.schedule for poller in pollers]
    took = max((each.took for each in schedules), default=timedelta())
    reason = f": a listing takes {_seconds_up(took)}" if took else ""
    if any(each.requests for each in schedules):
        reason = ": the request budget allows no more"
    return f"polling every {' and '.join(intervals)}{reason}"


def _seconds_up(duration: timedelta) -> str:
    return long_age(seconds_up(duration))
