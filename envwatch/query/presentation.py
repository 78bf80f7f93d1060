"""Name, reader, filter and drawing of each value of a row.

The fields, the columns and the pane derive from these entries, and add values that no listing contains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from envwatch.model.environment import CURRENT_MODES, NEVER, mode_of, update_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.hours import LastDays
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.model.text import SafeText


class RowContext(NamedTuple):
    """The moment and the past of a profile's rows."""

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


class Match(Enum):
    """How a filter's value matches a text."""

    TEXT = auto()
    PREFIX = auto()
    VERSION = auto()


def no_text(_: TrackedEnvironment) -> None:
    """Return None, the text of a value that changes with time."""


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """A value of a row, sent by the API or computed."""

    id: str
    """The name in filters and settings, and the column's id."""
    about: str
    example: str = ""
    aliases: tuple[str, ...] = ()
    match: Match = Match.TEXT
    known: Mapping[str, str] = field(default_factory=dict)
    """Values that a person may type, and the usual value meant. Further values may exist."""
    text: Callable[[TrackedEnvironment], SafeText | None] = no_text
    """The text by the row alone, also searched for words."""
    instant: Callable[[TrackedEnvironment], float | None] | None = None
    """An instant in ms of the server's clock. Filter values are ages or dates."""
    title: str = ""
    width: int = 0
    """The width in cells, without the space behind; 0 for no column."""
    from_width: int = 160
    """The least width in cells of a terminal that shows the column by default."""
    column_about: str = ""
    """Replaces `about` in the column picker."""
    keep: Literal["start", "ends", "end"] = "ends"
    align: Literal["left", "right"] = "left"
    pane: str = ""
    """The label in the detail pane; empty for no line."""
    is_id: bool = False
    cell: Callable[[TrackedEnvironment, RowContext], SafeText | None] | None = None
    """The text of column and pane line, if different from `text`; computed once a second for visible cells."""
    rank: Callable[[TrackedEnvironment, RowContext], Any] | None = None
    """The sort value, None or of the same type for all rows. Without a rank, texts are sorted without case."""
    needs_past: bool = False
    """Whether the value needs recorded time. `list` has no such column, and a table by default only after a recorded
    hour."""
    styles: Mapping[str, str] = field(default_factory=dict)
    marks: Callable[[int, str], SafeText] | None = None
    """Returns a title with marks over a cell of a width."""

    def cell_text(self, tracked: TrackedEnvironment, context: RowContext) -> SafeText | None:
        """Return the text of column and pane line."""
        return self.text(tracked) if self.cell is None else self.cell(tracked, context)


def _attribute(name: str) -> Callable[[TrackedEnvironment], SafeText | None]:
    return attrgetter(f"environment.{name}")


def _ever(name: str) -> Callable[[TrackedEnvironment], float | None]:
    instant_of: Callable[[TrackedEnvironment], float] = attrgetter(f"environment.{name}")
    return lambda tracked: None if instant_of(tracked) == NEVER else instant_of(tracked)


_ALL: Final = (
    Presentation(
        "name",
        "the user's name, or the id without a name",
        text=_attribute("label"),
        width=18,
        from_width=0,
    ),
    Presentation(
        "mode",
        "permission mode",
        match=Match.PREFIX,
        known={mode.casefold(): mode for mode in CURRENT_MODES},
        text=lambda tracked: mode_of(tracked.environment.mode),
        width=13,
        from_width=0,
        keep="start",
        pane="mode",
    ),
    Presentation(
        "version",
        "version of Letta Code",
        example="<0.34",
        match=Match.VERSION,
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
        match=Match.PREFIX,
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
        match=Match.VERSION,
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
        match=Match.PREFIX,
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
        instant=lambda tracked: tracked.up_since,
        width=5,
        from_width=100,
        column_about="time since the connection, while up",
    ),
    Presentation(
        "seen",
        "last seen",
        example=">1d",
        instant=_ever("last_seen_at"),
        width=5,
        column_about="time since last seen",
    ),
    Presentation(
        "first",
        "first seen",
        example="<7d, >2026-11-01",
        instant=_ever("first_seen_at"),
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

PRESENTATIONS: Final[Mapping[str, Presentation]] = MappingProxyType({each.id: each for each in _ALL})
"""The API's fields by id, in the order of the detail pane."""
