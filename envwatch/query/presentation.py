"""The values of a row: name, reader, filter, column, pane line and JSON of each, declared once.

The filter's fields, the table's columns, the detail pane and the computed values of JSON derive from these entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from math import nan
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import state_began_at
from envwatch.fleet.uptime import share_text
from envwatch.history.hours import HOURS
from envwatch.model import limits
from envwatch.model.environment import CURRENT_MODES, NEVER, UNRESTRICTED, mode_from_query, mode_of, update_text
from envwatch.model.text import SafeText, clean, composed, natural_key
from envwatch.model.times import MS, minutes_age, short_age, span, state_age
from envwatch.model.versions import version_key
from envwatch.query.state_looks import HOUR_GLYPHS, cause_text, hour_marks, hours_text, short_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.hours import LastDays
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.model.limits import Limits


class Moment(Protocol):
    """What filters and columns know at a moment."""

    @property
    def at(self) -> float:
        """The server's time in ms."""

    @property
    def judge(self) -> Judge | None:
        """None if nobody's acknowledgements, silences and policies are known."""

    @property
    def days(self) -> LastDays | None:
        """None without recorded time."""


class MatchContext(NamedTuple):
    """The moment of a filter, and what is known besides the row."""

    at: float
    """The server's time in ms; NaN for what does not depend on time."""
    judge: Judge | None = None
    """Without a judge, no row pages, and none is acknowledged or silenced."""
    profile: SafeText = NO_PROFILE
    """Set only for a single profile, whose rows lack the name."""
    days: LastDays | None = None


TIMELESS: Final = MatchContext(nan)
"""A context for texts, which do not depend on the time."""


class RowContext(NamedTuple):
    """The moment and the past of a profile's rows on the screen or in a list."""

    monitor: Monitor
    judge: Judge
    profile_state: ProfileState
    at: ServerMs
    """The server's time in ms."""
    days: LastDays
    ascii_only: bool = False

    @property
    def now(self) -> Clocks:
        """The moment by this machine's clocks."""
        return self.judge.now


def contexts_of(
    monitor: Monitor, now: Clocks, days: LastDays, *, ascii_only: bool = False
) -> Mapping[SafeText, RowContext]:
    """Return the context of each profile's rows."""
    judge = monitor.judge(now)
    return {
        profile: RowContext(monitor, judge, profile_state, judge.moments[profile], days, ascii_only=ascii_only)
        for profile, profile_state in monitor.fleet.by_profile.items()
    }


class Filter(Enum):
    """What a filter compares a value with."""

    NONE = auto()
    """Nothing: the value has no field."""
    TEXT = auto()
    PREFIX = auto()
    """A text; completion offers what begins with the typed text."""
    VERSION = auto()
    INSTANT = auto()
    """Ms of the server's clock; a filter has ages or dates."""
    SHARE = auto()
    """From 0 to 1; a filter has percentages."""
    NUMBER = auto()
    FLAG = auto()
    """`yes` or `no`."""
    STATE = auto()


def no_text(_: TrackedEnvironment) -> None:
    """Return None, the text of a value that changes with time."""


def _as_typed(text: SafeText) -> SafeText:
    return text


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """A value of a row, sent by the API or computed.

    One reader gives the value: `text`, `texts`, `number` or `flag`, by `filter`.
    """

    id: str
    """The name in filters and settings, and the column's id."""
    about: str
    example: str = ""
    """Values of a filter."""
    aliases: tuple[str, ...] = ()
    in_filters: str = ""
    """The name in filters, if not `id`."""

    filter: Filter = Filter.TEXT
    text: Callable[[TrackedEnvironment], SafeText | None] = no_text
    """The text by the row alone, also searched for words."""
    texts: Callable[[TrackedEnvironment, MatchContext], Iterable[SafeText | None]] | None = None
    """A filter's texts, if not `text`."""
    number: Callable[[TrackedEnvironment, Moment], float | None] | None = None
    flag: Callable[[TrackedEnvironment, Moment], bool | None] | None = None
    """None stands for an unknown flag."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Values that a person may type, and the usual value meant. Further values may exist."""
    canonical: Callable[[SafeText], SafeText] = _as_typed
    """Returns the value that a typed text means."""
    needs_past: bool = False
    """Whether the value needs recorded time. `list` has no such column, a table by default only after a recorded hour,
    and only the dashboard filters by the value."""

    title: str = ""
    """The column's title, if not `id`."""
    width: int = 0
    """The width in cells, without the space behind; 0 for no column."""
    from_width: int = 160
    """The least width in cells of a terminal that shows the column by default."""
    column_about: str = ""
    """Replaces `about` in the column picker."""
    keep: Literal["start", "ends", "end"] = "ends"
    align: Literal["left", "right"] = "left"
    cell: Callable[[TrackedEnvironment, RowContext], SafeText | None] | None = None
    """The text of column and pane line, if not of the value; computed once a second for visible cells."""
    rank: Callable[[TrackedEnvironment, RowContext], Any] | None = None
    """The sort value, if not of the value: None or of the same type for all rows."""
    styles: Mapping[str, str] = field(default_factory=dict)
    marks: Callable[[int, str], SafeText] | None = None
    """Returns a title with marks over a cell of a width."""

    pane: str = ""
    """The label in the detail pane; empty for no line."""
    is_id: bool = False
    in_json: bool = False
    """Whether JSON and CSV have the number of a computed value. `Environment` declares the values of the API there."""

    @property
    def field_name(self) -> str:
        """The name in filters."""
        return self.in_filters or self.id

    @property
    def is_ticking(self) -> bool:
        """Whether the text of column and pane line depends on more than the row, such as the time."""
        return self.cell is not None or self.number is not None or self.flag is not None

    def cell_text(self, tracked: TrackedEnvironment, context: RowContext) -> SafeText | None:
        """Return the text of column and pane line."""
        if self.cell is not None:
            return self.cell(tracked, context)
        if self.flag is not None:
            return scalar_text(self.flag(tracked, context))
        if self.number is None:
            return self.text(tracked)
        number = self.number(tracked, context)
        return None if number is None else _number_text(self.filter, number, context.at)

    def ranking(self) -> Callable[[TrackedEnvironment, RowContext], Any]:
        """Return the reader of the sort value, None or of the same type for all rows; texts are sorted without case."""
        if self.rank is not None:
            return self.rank
        if self.flag is not None:
            return self.flag
        if self.number is not None:
            return _youngest_first(self.number) if self.filter is Filter.INSTANT else self.number
        text_of = self.text
        if self.filter is Filter.VERSION:
            return lambda tracked, _: version_key(version) if (version := text_of(tracked)) else None
        return lambda tracked, _: (text_of(tracked) or "").casefold() or None


_YES: Final = clean("yes")
_NO: Final = clean("no")


def scalar_text(value: SafeText | float | None) -> SafeText | None:
    """Return a text, number or flag as text."""
    match value:
        case None | str():
            return value
        case bool():
            return _YES if value else _NO
        case _:
            return clean(f"{value:.15g}")


def _number_text(kind: Filter, number: float, at: float) -> SafeText | None:
    match kind:
        case Filter.INSTANT:
            return minutes_age(span(at - number))
        case Filter.SHARE:
            return share_text(number)
        case _:
            return scalar_text(number)


def _youngest_first(
    instant_of: Callable[[TrackedEnvironment, Moment], float | None],
) -> Callable[[TrackedEnvironment, RowContext], float | None]:
    def rank(tracked: TrackedEnvironment, context: RowContext) -> float | None:
        at = instant_of(tracked, context)
        return None if at is None or at == NEVER else -at

    return rank


def _attribute(name: str) -> Callable[[TrackedEnvironment], SafeText | None]:
    return attrgetter(f"environment.{name}")


def _instant(name: str) -> Callable[[TrackedEnvironment, Moment], float | None]:
    instant_of: Callable[[TrackedEnvironment], float] = attrgetter(f"environment.{name}")

    def instant(tracked: TrackedEnvironment, _: Moment) -> float | None:
        at = instant_of(tracked)
        return None if at == NEVER else at

    return instant


@lru_cache(256)
def mode_text(raw_mode: SafeText | None) -> SafeText | None:
    """Return a mode's text; `!` marks the mode that approves everything."""
    mode = mode_of(raw_mode)
    return composed(f"{mode}!") if mode == UNRESTRICTED else mode


_AHEAD_MS: Final = limits.MOST_AHEAD / MS


def for_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return the time in the current state, if known."""
    age_ms = for_rank(tracked, now, fleet_limits)
    return None if age_ms is None else state_age(span(age_ms))


def for_rank(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> float | None:
    """Return the ms in the current state, if known.

    Instants do not compare across profiles, because limits and clocks differ.
    """
    began_at = state_began_at(tracked, fleet_limits, now + _AHEAD_MS)
    return None if began_at is None or began_at == NEVER else now - began_at


def _beat_at(tracked: TrackedEnvironment, _: Moment) -> float | None:
    """Return a heartbeat that the column shows: of a connection."""
    environment = tracked.environment
    if not environment.connection_id or tracked.verdict.is_absent:
        return None
    return environment.last_heartbeat_at


def _beat_text(tracked: TrackedEnvironment, context: RowContext) -> SafeText | None:
    at = _beat_at(tracked, context)
    return None if at is None else short_age(span(context.at - at))


_PRESENCES: Final = tuple(Presence)

cached_key: Final = lru_cache(maxsize=65_536)(natural_key)
"""The sort key of a text with numbers."""


def _host(tracked: TrackedEnvironment, _: MatchContext) -> Iterator[SafeText | None]:
    yield tracked.environment.os
    machine = tracked.environment.machine or {}
    yield from (clean(value) for value in machine.values() if isinstance(value, str))


def _share_of_day(tracked: TrackedEnvironment, moment: Moment) -> float | None:
    return None if moment.days is None else moment.days.share(tracked)


def _pages(tracked: TrackedEnvironment, moment: Moment) -> bool:
    return moment.judge is not None and moment.judge.decision_of(tracked).counts


def _is_paging(tracked: TrackedEnvironment, moment: Moment) -> bool:
    return moment.judge is not None and moment.judge.is_alerting(tracked)


def _is_acked(tracked: TrackedEnvironment, moment: Moment) -> bool:
    return moment.judge is not None and moment.judge.is_acked(tracked)


def _is_silenced(tracked: TrackedEnvironment, moment: Moment) -> bool:
    return moment.judge is not None and moment.judge.silenced(tracked) is not None


_SENT: Final = (
    Presentation(
        "name",
        "the user's name, or the id without a name",
        text=_attribute("label"),
        rank=lambda tracked, _: cached_key(tracked.environment.label),
        width=18,
        from_width=0,
    ),
    Presentation(
        "mode",
        "permission mode",
        filter=Filter.PREFIX,
        known={mode.casefold(): mode for mode in CURRENT_MODES},
        canonical=mode_from_query,
        text=lambda tracked: mode_of(tracked.environment.mode),
        cell=lambda tracked, _: mode_text(tracked.environment.mode),
        width=13,
        from_width=0,
        keep="start",
        pane="mode",
    ),
    Presentation(
        "version",
        "version of Letta Code",
        example="<0.34",
        filter=Filter.VERSION,
        text=_attribute("version"),
        width=9,
        from_width=0,
        keep="start",
        pane="version",
    ),
    Presentation(
        "branch", "git branch", text=_attribute("branch"), width=10, from_width=0, keep="start", pane="branch"
    ),
    Presentation(
        "directory",
        "working directory",
        aliases=("dir",),
        text=_attribute("working_directory"),
        width=20,
        from_width=120,
        keep="end",
        pane="in",
    ),
    Presentation(
        "os",
        "darwin, linux, win32",
        filter=Filter.PREFIX,
        known={
            **{system: system for system in ("darwin", "linux", "win32")},
            **dict.fromkeys(("windows", "win64", "win11"), "win32"),
            **dict.fromkeys(("mac", "macos", "osx", "apple"), "darwin"),
        },
        text=_attribute("os"),
        width=6,
        from_width=100,
        column_about="operating system",
        keep="start",
        pane="on",
    ),
    Presentation(
        "node",
        "version of Node.js",
        example=">=22",
        filter=Filter.VERSION,
        text=_attribute("node_version"),
        width=9,
        keep="start",
    ),
    Presentation(
        "pod",
        "platform pod, or the last pod",
        text=lambda tracked: tracked.pod_id,
        width=8,
        from_width=120,
        pane="pod",
    ),
    Presentation("user", "id of the user", text=_attribute("user_id"), width=12, from_width=120, pane="user"),
    Presentation(
        "owner",
        "owner of the API key",
        aliases=("key",),
        text=_attribute("api_key_owner"),
        title="KEY OWNER",
        width=12,
        pane="owner",
    ),
    Presentation(
        "update",
        "automatic updates",
        example="yes, no, by hand",
        filter=Filter.PREFIX,
        text=lambda tracked: update_text(tracked.environment),
        width=7,
        keep="start",
        pane="update",
    ),
    Presentation(
        "up",
        "up since",
        example="<2h",
        aliases=("connected",),
        filter=Filter.INSTANT,
        number=lambda tracked, _: tracked.up_since,
        keep="start",
        width=5,
        from_width=100,
        column_about="time since the connection, while up",
    ),
    Presentation(
        "seen",
        "last seen",
        example=">1d",
        filter=Filter.INSTANT,
        number=_instant("last_seen_at"),
        keep="start",
        width=5,
        column_about="time since last seen",
    ),
    Presentation(
        "first",
        "first seen",
        example="<7d, >2026-11-01",
        filter=Filter.INSTANT,
        number=_instant("first_seen_at"),
        keep="start",
        width=5,
        column_about="time since first seen",
    ),
    Presentation("protocol", "message protocol", text=_attribute("message_protocol"), pane="protocol"),
    Presentation("device", "id of the machine", text=_attribute("device_id"), width=14, pane="device", is_id=True),
    Presentation("id", "id of the machine", text=_attribute("id"), pane="id", is_id=True),
    Presentation(
        "connection",
        "id of the live link",
        aliases=("conn",),
        text=_attribute("connection_id"),
        width=14,
        pane="conn",
        is_id=True,
    ),
    Presentation(
        "listener", "id of the listener's process", text=_attribute("listener_instance_id"), pane="listener", is_id=True
    ),
    Presentation(
        "org",
        "id of the organization",
        aliases=("organization",),
        text=_attribute("organization_id"),
        pane="org",
        is_id=True,
    ),
)

_COMPUTED: Final = (
    Presentation(
        "state",
        "the verdict",
        in_filters="status",
        filter=Filter.STATE,
        width=6,
        from_width=0,
        cell=lambda tracked, _: clean(tracked.presence.value),
        rank=lambda tracked, _: _PRESENCES.index(tracked.presence),
        keep="start",
    ),
    Presentation(
        "for",
        "the time in this state",
        filter=Filter.NONE,
        width=6,
        from_width=0,
        cell=lambda tracked, context: for_text(tracked, context.at, context.profile_state.limits),
        rank=lambda tracked, context: for_rank(tracked, context.at, context.profile_state.limits),
        keep="start",
        align="right",
    ),
    Presentation(
        "beat",
        "last heartbeat",
        ">90s",
        aliases=("heartbeat",),
        filter=Filter.INSTANT,
        number=lambda tracked, _: tracked.environment.last_heartbeat_at,
        width=4,
        from_width=0,
        column_about="the age of the heartbeat",
        cell=_beat_text,
        rank=_youngest_first(_beat_at),
        keep="start",
        align="right",
    ),
    Presentation(
        "profile",
        "profile of the machine",
        text=lambda tracked: tracked.profile or None,
        texts=lambda tracked, context: (tracked.profile or context.profile,),
        width=9,
        from_width=0,
    ),
    Presentation(
        "why",
        "reason of late or down",
        filter=Filter.NONE,
        text=short_reason,
        width=14,
        cell=lambda tracked, context: cause_text(tracked, context.at, context.profile_state.limits),
        rank=lambda tracked, _: short_reason(tracked),
        keep="start",
    ),
    Presentation(
        "up7d",
        "percent of the last watched week up",
        "<90",
        filter=Filter.SHARE,
        number=lambda tracked, _: tracked.up_share,
        width=5,
        column_about="the share of the last watched week up",
        keep="start",
        align="right",
        in_json=True,
    ),
    Presentation(
        "24h",
        "percent of the last 24 hours up, in the dashboard's table",
        "<90",
        filter=Filter.SHARE,
        number=_share_of_day,
        needs_past=True,
        width=HOURS,
        column_about="the last 24 hours; sorts by the time up",
        cell=lambda tracked, context: hours_text(context.days.cells(tracked), ascii_only=context.ascii_only),
        keep="end",
        styles=HOUR_GLYPHS,
        marks=hour_marks,
    ),
    Presentation("host", "system, processor or architecture", texts=_host),
    Presentation(
        "permanent",
        "up nearly all the time",
        "yes, no",
        filter=Filter.FLAG,
        flag=lambda tracked, _: tracked.is_permanent,
    ),
    Presentation("pages", "a loss pages, by policy", "yes, no", filter=Filter.FLAG, flag=_pages),
    Presentation("paging", "off and pages, neither acknowledged nor silenced", filter=Filter.FLAG, flag=_is_paging),
    Presentation("acked", "acknowledged", "yes, no", aliases=("acknowledged",), filter=Filter.FLAG, flag=_is_acked),
    Presentation("silenced", "silenced", "yes, no", filter=Filter.FLAG, flag=_is_silenced),
    Presentation(
        "flapping",
        "going off and coming back",
        "yes, no",
        filter=Filter.FLAG,
        flag=lambda tracked, _: tracked.is_flapping,
    ),
    Presentation(
        "changed",
        "came, left, or changed mode or version in the last 15 minutes",
        "yes, no",
        filter=Filter.FLAG,
        flag=lambda tracked, moment: tracked.tag(moment.at) is not None,
    ),
    Presentation(
        "command",
        "command of the listener",
        aliases=("commands",),
        texts=lambda tracked, _: tracked.environment.supported_commands or (),
    ),
)

PRESENTATIONS: Final[Mapping[str, Presentation]] = MappingProxyType({each.id: each for each in (*_SENT, *_COMPUTED)})
"""The values by id: those of the API in the order of the detail pane, then those that are computed."""
