"""What the App hands down to its screens and widgets: one value for what is known, one for how it is displayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import MonotonicS, Reading, WallMs
from envwatch.model.times import TimeStyle
from envwatch.tui.glyphs import UNICODE, Glyphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.event_log import EventLog
    from envwatch.fleet.fleets import Fleets
    from envwatch.model.text import Clean
    from envwatch.sources.poller import PollSchedule


class Notice(NamedTuple):
    """A line of text for the news bar."""

    text: str
    given_at: float
    """Monotonic seconds."""


NO_NOTICE: Final = Notice("", float("-inf"))
_NO_READING: Final = Reading(WallMs(0), MonotonicS(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorState:
    """Everything that is known at one moment.

    A new value comes each second with `now`. Its other parts stay the same objects until they change, so watchers
    compare them by identity; equality of whole fleets would cost a pass over all environments.
    """

    monitor: Monitor = field(default_factory=Monitor)
    now: Reading = _NO_READING
    """This machine's clocks."""
    ambiguous_names: frozenset[Clean] = frozenset()
    """Names that more than one environment has, or that look alike."""
    schedules: Mapping[Clean, PollSchedule] = field(default_factory=dict)
    """What each poller does next, by profile."""
    pages_read: int = 0
    """Pages read so far of the listings that are being fetched."""
    notice: Notice = NO_NOTICE
    """The last notice that did not answer a key."""

    @property
    def fleets(self) -> Fleets:
        """Every fleet, by profile."""
        return self.monitor.fleets

    @property
    def acks(self) -> Acks:
        """Acknowledged problems, by the environment's id."""
        return self.monitor.acks

    @property
    def event_log(self) -> EventLog:
        """Events since the start."""
        return self.monitor.event_log


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOptions:
    """How things are displayed, whatever is known."""

    times: TimeStyle = TimeStyle.RELATIVE
    glyphs: Glyphs = UNICODE
    """Those that the terminal can show."""
    rings: bool = False
    """Whether the bell is on."""
