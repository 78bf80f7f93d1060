"""Values that the App hands to screens and widgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import TimeStyle
from envwatch.views.table.block import NO_BLOCK, Block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.profile_state import Freshness
    from envwatch.model.clock import ServerMs
    from envwatch.sources.poller import PollSchedule
    from envwatch.views.events.day_line import Day


_DASH: Final = clean("–")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """A set of glyphs, each one cell wide except the ASCII ellipsis."""

    is_ascii: bool = False
    cursor: str = "►"
    marked: str = "+"
    marked_cursor: str = "◆"
    lost: str = "▌"
    """The bar of a recent loss."""
    returned: str = "▌"
    """The bar of a recent return or arrival."""
    acknowledged: str = "✓"
    silenced: str = "⊘"
    behind: str = "↓"
    """For a version older than the newest."""
    up: str = "▲"
    down: str = "▼"
    ellipsis: str = "…"
    nothing: SafeText = _DASH
    separator: str = "·"
    rule: str = "─"
    opened: str = "▾"
    closed: str = "▸"

    def mark(self, *, is_cursor: bool, is_marked: bool) -> str:
        if is_cursor:
            return self.marked_cursor if is_marked else self.cursor
        return self.marked if is_marked else " "


UNICODE = Glyphs()
ASCII = Glyphs(
    is_ascii=True,
    cursor=">",
    marked="=",
    marked_cursor="#",
    lost="!",
    returned="*",
    acknowledged="a",
    silenced="M",
    behind="<",
    up="^",
    down="v",
    ellipsis="..",
    nothing=clean("-"),
    separator="-",
    rule="-",
    opened="-",
    closed="+",
)


class Notice(NamedTuple):
    """A line for the news bar."""

    text: str
    given_at: float
    """Monotonic seconds."""
    style: str = "late"
    """One of `STATE_STYLES`; "late" is for warnings."""


NO_NOTICE: Final = Notice("", float("-inf"))
_ROW_PARTS: Final = attrgetter("fleet", "acks", "silences", "watched")
"""The table's rows depend on these."""
_NO_READING: Final = Clocks(WallMs(0), MonotonicS(0))


class Playing(NamedTuple):
    """How a replay plays."""

    speed: float
    """Recorded seconds per second."""
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rewound:
    """A recorded moment on the screen."""

    present: Clocks
    end: WallMs
    """The present, or a replay's end."""
    at: ServerMs | None = None
    """By the server's clock; None before the first moment is read."""
    day: Day | None = None
    """The events around the moment; None until read."""
    live: SafeText = EMPTY
    """Trouble with the live data in a few words, else empty."""
    present_state: MonitorState | None = None
    """None in a replay."""
    playing: Playing | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorState:
    """Everything known at one moment.

    A new value comes each second with `now`. All other parts stay the same objects until a change, so watchers compare
    by identity; comparing the fleet by value would visit all environments.
    """

    monitor: Monitor = field(default_factory=Monitor)
    now: Clocks = _NO_READING
    """At the moment on the screen."""
    block: Block = NO_BLOCK
    """Incidents that need a person."""
    ambiguous_names: frozenset[SafeText] = frozenset()
    """Names of several environments, and names that look alike."""
    schedules: Mapping[SafeText, PollSchedule] = field(default_factory=dict)
    """By profile."""
    pages_read: int = 0
    """Of listings in progress."""
    notice: Notice = NO_NOTICE
    """The last notice that answered no key."""
    rewound: Rewound | None = None
    failing_hooks: Mapping[SafeText, WallMs] = field(default_factory=dict)
    """When other processes' hooks began to fail, by hook name."""
    is_leaving: bool = False
    """Whether a recorded moment is being read while the screen shows the present."""
    is_reading: bool = False
    """Whether the screen says that the history takes long."""

    @property
    def present(self) -> Clocks:
        """This machine's clocks, even while `rewound`."""
        return self.now if self.rewound is None else self.rewound.present

    @property
    def last(self) -> WallMs:
        return self.now.wall if self.rewound is None else self.rewound.end

    @property
    def freshness(self) -> Sequence[Freshness]:
        """Each profile's freshness; a blind profile's rows read unknown."""
        return [profile_state.freshness(self.now) for profile_state in self.monitor.fleet]

    def has_rows_of(self, other: MonitorState) -> bool:
        """Whether the fleet, block, acknowledgements, silences and watched times are the same objects."""
        return self.block is other.block and all(map(is_, _ROW_PARTS(self.monitor), _ROW_PARTS(other.monitor)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOptions:
    """Display settings."""

    times: TimeStyle = TimeStyle.RELATIVE
    glyphs: Glyphs = UNICODE
    bell: bool = False
    start_key: SafeText = EMPTY
    """Starts a down environment's listener; empty without such a key."""
