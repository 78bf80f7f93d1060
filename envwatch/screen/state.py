"""Values that the App hands to screens and widgets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Final, NamedTuple

from textual.dom import DOMNode
from textual.reactive import reactive

from envwatch.alerts.monitor import Monitor
from envwatch.config.declared import ScreenSettings
from envwatch.fleet.problems import Counts, counts_at
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import NOTHING, TimeStyle, zone_of
from envwatch.views.table.block import NO_BLOCK, Block, build_block
from envwatch.watch.acknowledging import NO_TEAM_SERVERS, TeamServers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.alerts.judge import Judge
    from envwatch.fleet.profile_state import Freshness
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.letta.poller import PollSchedule
    from envwatch.query.state_looks import StateStyle
    from envwatch.views.events.day_line import Day
    from envwatch.views.table.row_values import Mark


BAR_STYLES: Final[Mapping[ChangeTag, str]] = {
    ChangeTag.NEW: "loss",
    ChangeTag.BACK: "return",
}


class Glyphs(NamedTuple):
    """Glyphs of a single cell each, except the ASCII ellipsis."""

    is_ascii: bool = False
    cursor: str = "►"
    marked: str = "+"
    marked_cursor: str = "◆"
    lost: str = "▌"
    returned: str = "▌"
    acknowledged: str = "✓"
    silenced: str = "⊘"
    behind: str = "↓"
    up: str = "▲"
    down: str = "▼"
    ellipsis: str = "…"
    nothing: SafeText = NOTHING
    separator: str = "·"
    rule: str = "─"
    opened: str = "▾"
    closed: str = "▸"

    def of(self, look: StateStyle) -> str:
        return look.ascii if self.is_ascii else look.glyph

    def sign(self, mark: Mark) -> str:
        return self.acknowledged if mark == "acknowledged" else self.silenced

    def bar(self, tag: ChangeTag) -> str:
        return self.lost if tag is ChangeTag.NEW else self.returned

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


class Choice(NamedTuple):
    """An item of a menu."""

    id: str
    title: str
    note: str = ""


class Notice(NamedTuple):
    """A line for the news bar."""

    text: str
    given_at: float
    """Monotonic seconds."""
    style: str = "late"
    """A style of `STATE_STYLES`; "late" is for warnings."""


NO_NOTICE: Final = Notice("", float("-inf"))
_ROW_PARTS: Final = attrgetter("fleet", "acks", "silences", "words", "watched", "incidents")
"""Parts of the monitor that change the table's rows."""
_NO_COUNTS: Final = Counts()
_NO_READING: Final = Clocks(WallMs(0), MonotonicS(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rewound:
    """A recorded moment on the screen."""

    present: Clocks
    end: WallMs
    """The present, or a replay's end."""
    at: ServerMs | None = None
    """Server time of the moment; None before the first moment is read."""
    day: Day | None = None
    live: SafeText = EMPTY
    present_state: MonitorState | None = None
    """State of the present; None in a replay."""
    playing: float | None = None
    """A replay's speed, 0 while paused; None without a replay."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorState:
    """Everything known at a moment.

    A new value comes each second. Watchers compare parts by identity, because comparing the fleet by value would visit
    all environments.
    """

    monitor: Monitor = field(default_factory=Monitor)
    now: Clocks = _NO_READING
    block: Block = NO_BLOCK
    counts: Counts = _NO_COUNTS
    ambiguous_names: frozenset[SafeText] = frozenset()
    """Names of several environments, and lookalikes."""
    schedules: Mapping[SafeText, PollSchedule] = field(default_factory=dict)
    pages_read: int = 0
    notice: Notice = NO_NOTICE
    """The newest notice that answers no key."""
    rewound: Rewound | None = None
    failing_hooks: Mapping[SafeText, WallMs] = field(default_factory=dict)
    servers: TeamServers = NO_TEAM_SERVERS
    new_keys_by: Mapping[SafeText, SafeText] = field(default_factory=dict)
    """How the next process gets a new key, for profiles whose key this one cannot look up again."""
    acking: frozenset[EnvironmentKey] = frozenset()
    """Rows with a pending acknowledgement at a server."""
    is_leaving: bool = False
    """Whether a moment is being read while the present is visible."""
    is_reading: bool = False

    @property
    def present(self) -> Clocks:
        """This machine's clocks, even while `rewound`."""
        return self.now if self.rewound is None else self.rewound.present

    @property
    def last(self) -> WallMs:
        return self.now.wall if self.rewound is None else self.rewound.end

    @property
    def freshness(self) -> Sequence[Freshness]:
        return [profile_state.freshness(self.now) for profile_state in self.monitor.fleet]

    def server_now(self, profile: SafeText) -> ServerMs:
        return self.monitor.fleet.by_profile[profile].clock.server_time(self.now.wall)

    @property
    def judge(self) -> Judge:
        return self.monitor.judge(self.now)

    def has_acked_row(self, keys: Iterable[EnvironmentKey]) -> bool:
        rows = map(self.monitor.fleet.tracked, keys)
        return any(row is not None and self.judge.is_acked(row) for row in rows)

    def judged(self) -> MonitorState:
        """Return the state with new block and counts."""
        listed = [profile_state for profile_state in self.monitor.fleet if profile_state.listed is not None]
        counts = sum((counts_at(profile_state, self.now) for profile_state in listed), _NO_COUNTS)
        return replace(self, block=build_block(self.monitor, self.now, self.block), counts=counts)

    def has_rows_of(self, other: MonitorState) -> bool:
        """Whether both states have the same rows, apart from ages."""
        return self.block is other.block and all(map(is_, _ROW_PARTS(self.monitor), _ROW_PARTS(other.monitor)))


class DisplayOptions(NamedTuple):
    """Display options after changes by keys."""

    settings: ScreenSettings = ScreenSettings()
    times: TimeStyle = TimeStyle.RELATIVE
    glyphs: Glyphs = UNICODE

    @property
    def zone(self) -> tzinfo | None:
        return zone_of(self.times)


class StateNode(DOMNode):
    """A node with the App's state; the last of several bases, because Textual takes the first base's CSS."""

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    options: reactive[DisplayOptions] = reactive(DisplayOptions, init=False)

    def on_unmount(self) -> None:
        """Drop the state: a closed screen is a reference cycle until the next full collection."""
        self.set_reactive(StateNode.state, _NO_STATE)


_NO_STATE: Final = MonitorState()
