"""The columns of the table: what each shows, how it sorts, and at which widths it appears.

Pure. Must not know widgets or colours. STATE comes first and has the age that changes every second: a frame then
rewrites only the left edge of each line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from envwatch.model.environment import update_text
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.text import Clean
from envwatch.model.times import minutes_age, short_age, span
from envwatch.model.versions import version_key
from envwatch.query.language import Searchable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.versions import VersionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Searchable):
    """One value of an environment that can be shown, searched and sorted by."""

    id: str
    title: str
    width: int
    """Cells, without the space after it."""
    from_width: int
    """Cells of the terminal from which the column may be shown by default."""
    about: str
    """A few words for the column picker."""
    rank: Callable[[TrackedEnvironment], Any]
    """Returns the value that sorting compares: of one type for all rows, or None."""
    falls: bool = False
    """Whether what it shows decreases while `rank` increases: an instant shown as its age."""
    is_ticking: bool = False
    """Whether it changes with time alone, at most once a minute."""
    keep: Literal["start", "ends", "end"] = "start"
    """Which part stays when the text is cut."""


def mode_text(raw_mode: Clean | None) -> Clean | None:
    """Return a mode as the table shows it: `!` marks the one that approves everything."""
    mode = mode_of(raw_mode)
    return Clean(f"{mode} !") if mode == UNRESTRICTED else mode


def _field(id_: str, width: int, from_width: int, about: str, value: Callable[[Environment], Clean | None]) -> Column:
    return Column(
        id=id_,
        title=_TITLES.get(id_, id_.upper()),
        width=width,
        from_width=from_width,
        about=about,
        text=lambda tracked, _: value(tracked.environment),
        rank=lambda tracked: (value(tracked.environment) or Clean("")).casefold() or None,
        keep=_KEEP.get(id_, "start"),
    )


def _version(id_: str, width: int, from_width: int, about: str, value: Callable[[Environment], Clean | None]) -> Column:
    def rank(tracked: TrackedEnvironment) -> VersionKey | None:
        version = value(tracked.environment)
        return version_key(version) if version else None

    return replace(_field(id_, width, from_width, about, value), rank=rank)


def _instant(
    id_: str, width: int, from_width: int, about: str, instant: Callable[[TrackedEnvironment], float | None]
) -> Column:
    def text(tracked: TrackedEnvironment, now: float) -> Clean | None:
        at = instant(tracked)
        return None if at is None else minutes_age(span(now - at))

    def rank(tracked: TrackedEnvironment) -> float | None:
        at = instant(tracked)
        return None if at is None else -at

    column = _field(id_, width, from_width, about, lambda _: None)
    return replace(column, text=text, rank=rank, is_searched=False, is_ticking=True)


_TITLES: Mapping[str, str] = {"owner": "KEY OWNER"}

_KEEP: Mapping[str, Literal["ends", "end"]] = {
    "name": "ends",
    "user": "ends",
    "pod": "ends",
    "directory": "end",
    "device": "ends",
    "connection": "ends",
    "owner": "ends",
}
"""The parts kept of texts whose start does not distinguish rows."""

FIXED = ("state", "name")
"""Ids of the columns at the left that are always shown."""
SCROLLBAR = 1
"""Cells at the right of the table that belong to no column."""
NAME_AT_LEAST = 16
"""The minimal width of NAME: other columns get what is left."""
MARK_WIDTH = 2
"""Cells of the mark of change after NAME, with a space."""

_ALL = (
    Column(
        id="state",
        title="STATE  BEAT",
        width=11,
        from_width=0,
        about="the verdict, and the time since the last heartbeat",
        text=lambda tracked, now: short_age(span(now - tracked.quiet_at)),
        rank=lambda tracked: tracked.quiet_at,  # the longest silence first
        falls=True,
        is_searched=False,
    ),
    _field("name", NAME_AT_LEAST, 0, "the name its user chose", lambda environment: environment.name),
    Column(
        id="profile",
        title="PROFILE",
        width=9,
        from_width=0,
        about="under which profile it is listed",
        text=lambda tracked, _: tracked.profile or None,
        rank=lambda tracked: tracked.profile.casefold() or None,
    ),
    replace(
        _field("mode", 14, 0, "permission mode", lambda environment: mode_text(environment.mode)),
        search_text=lambda tracked, _: mode_of(tracked.environment.mode),
    ),
    _version("version", 9, 0, "version of Letta Code", lambda environment: environment.version),
    _field("branch", 15, 0, "git branch", lambda environment: environment.branch),
    _instant("up", 5, 100, "time since it connected, while it is up", lambda tracked: tracked.up_since),
    _field("os", 6, 100, "operating system", lambda environment: environment.os),
    _field("user", 12, 120, "id of its user", lambda environment: environment.user_id),
    _field("pod", 8, 120, "pod of the platform", lambda environment: environment.pod_id),
    _field("directory", 20, 120, "working directory", lambda environment: environment.working_directory),
    _field("device", 14, 160, "id of the machine", lambda environment: environment.device_id),
    _field("connection", 14, 160, "id of the live link", lambda environment: environment.connection_id),
    _version("node", 9, 160, "version of Node.js", lambda environment: environment.node_version),
    _field("owner", 12, 160, "owner of its API key", lambda environment: environment.api_key_owner),
    _field("update", 7, 160, "whether it updates itself", update_text),
    _instant("seen", 5, 160, "time since it was last seen", lambda tracked: tracked.environment.last_seen_at),
    _instant("first", 5, 160, "time since it was first seen", lambda tracked: tracked.environment.first_seen_at),
)

COLUMNS: Mapping[str, Column] = {column.id: column for column in _ALL}
"""By id, in the order of the table, which is also the order in which they get its width."""

PROBLEMS: Final = "problems"
"""The name of the default order in settings, where other names are columns."""


def fitting(width: int, ids: Sequence[str] = (), *, has_profiles: bool = False) -> tuple[tuple[Column, int], ...]:
    """Return the columns that fit into a table, each with its width; NAME takes the rest.

    Args:
        width: cells of the table.
        ids: the columns to show after STATE and NAME, in this order; none for the default ones.
        has_profiles: whether there are rows of several profiles: PROFILE is shown only then.
    """
    state, name, profile, *usual = COLUMNS.values()
    chosen = [id_ for id_ in ids if id_ not in FIXED]
    others = [COLUMNS[id_] for id_ in chosen if id_ != "profile"] if ids else usual
    if has_profiles:
        others.insert(chosen.index("profile") if "profile" in chosen else 0, profile)
    left = width - (state.width + 1) - (name.width + 1) - MARK_WIDTH
    fit = []
    for column in others:
        if (column.from_width > width + SCROLLBAR and not ids) or column.width + 1 > left:
            break
        fit.append((column, column.width))
        left -= column.width + 1
    return ((state, state.width), (name, max(name.width + left, 1)), *fit)
