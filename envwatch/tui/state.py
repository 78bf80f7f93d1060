"""What the App hands down to its screens and widgets: one value for what is known, one for how it is displayed."""

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
    """One set of glyphs, each one cell wide except the ASCII ellipsis; the Unicode ones by default."""

    is_ascii: bool = False
    cursor: str = "►"
    marked: str = "+"
    marked_cursor: str = "◆"
    """Of a marked row under the cursor."""
    lost: str = "▌"
    """The bar at the left edge of what was lost lately."""
    returned: str = "▌"
    """The bar of what came or came back lately."""
    acknowledged: str = "✓"
    silenced: str = "⊘"
    behind: str = "↓"
    """On a version older than the fleet's newest."""
    up: str = "▲"
    down: str = "▼"
    ellipsis: str = "…"
    nothing: SafeText = _DASH
    """In place of a missing value."""
    separator: str = "·"
    rule: str = "─"
    opened: str = "▾"
    closed: str = "▸"

    def mark(self, *, is_cursor: bool, is_marked: bool) -> str:
        """Return the glyph at the left of a line."""
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
    """A line of text for the news bar."""

    text: str
    given_at: float
    """Monotonic seconds."""
    style: str = "late"
    """Of `STATE_STYLES`: what is no warning has another one."""


NO_NOTICE: Final = Notice("", float("-inf"))
_ROW_PARTS: Final = attrgetter("fleet", "acks", "silences", "watched")
"""Of a `Monitor`: what the table's rows are made of."""
_NO_READING: Final = Clocks(WallMs(0), MonotonicS(0))


class Playing(NamedTuple):
    """How a replay goes on."""

    speed: float
    """Recorded seconds in one second."""
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rewound:
    """That the screen shows a recorded moment."""

    present: Clocks
    """This machine's clocks."""
    end: WallMs
    """Up to when one can go: the present, or the end of a replay."""
    at: ServerMs | None = None
    """The moment by its server's clock; None before the first one has been read."""
    day: Day | None = None
    """The events around it; None as long as they have not been read."""
    live: SafeText = EMPTY
    """What keeps the present from being seen, in a few words; empty if nothing does."""
    present_state: MonitorState | None = None
    """The state of the present; None in a replay, which has no present."""
    playing: Playing | None = None
    """Set in a replay, which has no present to go back to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorState:
    """Everything that is known at one moment.

    A new value comes each second with `now`. Its other parts stay the same objects until they change, so watchers
    compare them by identity; equality of the whole fleet would cost a pass over all environments.
    """

    monitor: Monitor = field(default_factory=Monitor)
    now: Clocks = _NO_READING
    """This machine's clocks at the moment that is shown: in the present, unless `rewound`."""
    block: Block = NO_BLOCK
    """What needs a person at that moment."""
    ambiguous_names: frozenset[SafeText] = frozenset()
    """Names that more than one environment has, or that look alike."""
    schedules: Mapping[SafeText, PollSchedule] = field(default_factory=dict)
    """What each poller does next, by profile."""
    pages_read: int = 0
    """Pages read so far of the listings that are being fetched."""
    notice: Notice = NO_NOTICE
    """The last notice that did not answer a key."""
    rewound: Rewound | None = None
    """Set while a recorded moment is shown."""
    failing_hooks: Mapping[SafeText, WallMs] = field(default_factory=dict)
    """Since when hooks of other processes fail, by their names."""
    is_leaving: bool = False
    """Whether a recorded moment is being read, in place of the present that is still shown."""
    is_reading: bool = False
    """Whether the history has been read for so long that the screen says so."""

    @property
    def present(self) -> Clocks:
        """This machine's clocks in the present, also while a recorded moment is shown."""
        return self.now if self.rewound is None else self.rewound.present

    @property
    def last(self) -> WallMs:
        """The newest moment that can be shown."""
        return self.now.wall if self.rewound is None else self.rewound.end

    @property
    def freshness(self) -> Sequence[Freshness]:
        """How recent the data of each profile is; the rows of a blind profile read unknown."""
        return [profile_state.freshness(self.now) for profile_state in self.monitor.fleet]

    def has_rows_of(self, other: MonitorState) -> bool:
        """Whether the rows of another state are these: the same fleet, block, marks and past."""
        return self.block is other.block and all(map(is_, _ROW_PARTS(self.monitor), _ROW_PARTS(other.monitor)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOptions:
    """How things are displayed, whatever is known."""

    times: TimeStyle = TimeStyle.RELATIVE
    glyphs: Glyphs = UNICODE
    """Those that the terminal can show."""
    bell: bool = False
    """Whether the bell is on."""
    start_key: SafeText = EMPTY
    """The key that starts the listener of an environment that is down; empty if none does."""
