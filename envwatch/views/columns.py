"""The columns of the table: what each shows, how it sorts, and from which width on it may appear.

Pure. Must not know widgets or colours. STATE, FOR, BEAT and NAME come first: what changes every second stands at the
left, so that a tick rewrites only the left edge of each line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from envwatch.fleet.hours import HOURS
from envwatch.fleet.presence import Presence, Reason
from envwatch.fleet.problems import state_began_at
from envwatch.model.environment import NEVER, update_text
from envwatch.model.limits import Limits
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.text import SafeText, natural_key
from envwatch.model.times import minutes_age, short_age, span, state_age
from envwatch.model.versions import version_key
from envwatch.query.language import Searchable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    from_width: int = 0
    """Cells of the terminal from which the column may be shown by default."""
    about: str
    """A few words for the column picker."""
    rank: Callable[[TrackedEnvironment], Any]
    """Returns the value that sorting compares: of one type for all rows, or None."""
    is_ticking: bool = False
    """Whether it changes with time alone, at most once a minute."""
    keep: Literal["start", "ends", "end"] = "start"
    """Which part stays when the text is cut."""
    align: Literal["left", "right"] = "left"
    timed_text: Callable[[TrackedEnvironment, float, Limits], SafeText | None] | None = None
    """Returns what it shows, where that depends on the thresholds of the fleet."""

    def shown(self, tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
        """Return what it shows at a moment (server's clock, ms) under the thresholds of a fleet."""
        if self.timed_text is None:
            return self.text(tracked, now)
        return self.timed_text(tracked, now, fleet_limits)


def mode_text(raw_mode: SafeText | None) -> SafeText | None:
    """Return a mode as the table shows it: `!` marks the one that approves everything."""
    mode = mode_of(raw_mode)
    return SafeText(f"{mode}!") if mode == UNRESTRICTED else mode


def _field(
    id_: str, width: int, from_width: int, about: str, value: Callable[[Environment], SafeText | None]
) -> Column:
    return Column(
        id=id_,
        title=_TITLES.get(id_, id_.upper()),
        width=width,
        from_width=from_width,
        about=about,
        text=lambda tracked, _: value(tracked.environment),
        rank=lambda tracked: (value(tracked.environment) or SafeText("")).casefold() or None,
        keep=_KEEP.get(id_, "start"),
    )


def _version(
    id_: str, width: int, from_width: int, about: str, value: Callable[[Environment], SafeText | None]
) -> Column:
    def rank(tracked: TrackedEnvironment) -> VersionKey | None:
        version = value(tracked.environment)
        return version_key(version) if version else None

    return replace(_field(id_, width, from_width, about, value), rank=rank)


def _instant(
    id_: str, width: int, from_width: int, about: str, instant: Callable[[TrackedEnvironment], float | None]
) -> Column:
    def text(tracked: TrackedEnvironment, now: float) -> SafeText | None:
        at = instant(tracked)
        return None if at is None or at == NEVER else minutes_age(span(now - at))

    column = _field(id_, width, from_width, about, lambda _: None)
    return replace(column, text=text, rank=_age_rank(instant), is_searched=False, is_ticking=True)


def _age_rank(instant: Callable[[TrackedEnvironment], float | None]) -> Callable[[TrackedEnvironment], float | None]:
    """Return the rank of what is shown as its age: the newest instant comes first."""

    def rank(tracked: TrackedEnvironment) -> float | None:
        at = instant(tracked)
        return None if at is None or at == NEVER else -at

    return rank


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

FIXED = ("state", "for", "beat", "name")
"""Ids of the columns at the left that are always shown."""
NAME_AT_LEAST: Final = 18
"""The minimal width of NAME, with the tag of a change; other columns get what is left."""
_USUAL: Final = Limits()


def for_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return how long an environment has been in its state; None while that is unknown."""
    began_at = state_began_at(tracked, fleet_limits)
    return None if began_at is None or began_at == NEVER else state_age(span(now - began_at))


def beat_text(tracked: TrackedEnvironment, now: float) -> SafeText | None:
    """Return the age of the heartbeat; None where there is no connection that could have one."""
    beat_at = _beat_at(tracked)
    return None if beat_at is None else short_age(span(now - beat_at))


def _beat_at(tracked: TrackedEnvironment) -> float | None:
    environment = tracked.environment
    has_one = bool(environment.connection_id) and not tracked.presence.is_absent
    return environment.last_heartbeat_at if has_one else None


def cause_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return why an environment is down or going down, in at most 14 cells; None for one that is well."""
    match tracked.presence:
        case Presence.LATE if not tracked.clock_suspect:
            left = (fleet_limits.online_for - span(now - tracked.environment.last_seen_alive_at)).total_seconds()
            return SafeText(f"off in {left:.0f} s" if left > 0 else "off next poll")
        case Presence.ONLINE if tracked.is_flapping:
            return SafeText(f"{len(tracked.transitions)} changes/h")
        case _:
            return _reason(tracked)


def _reason(tracked: TrackedEnvironment) -> SafeText | None:
    """Return the reason of a verdict, without what changes with time; None for one that is well."""
    reason = tracked.verdict.reason
    if reason in (Reason.BEATING, Reason.UNTIMED):
        return None
    return _SHORT_REASONS.get(reason) or SafeText(reason.value)


_SHORT_REASONS: Final = {
    Reason.ABSENT: SafeText("not listed"),
    Reason.EXPECTED: SafeText("not listed"),
    Reason.NEVER_LISTED: SafeText("never listed"),
    Reason.MISSED: SafeText("ping missed"),
}


def _cause_or_branch(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    return cause_text(tracked, now, fleet_limits) or tracked.environment.branch


_WHY: Final = Column(
    id="why",
    title="WHY",
    width=14,
    about="why it is down; else the branch",
    text=lambda tracked, now: cause_text(tracked, now, _USUAL),
    timed_text=cause_text,
    search_text=lambda tracked, _: _reason(tracked),
    rank=_reason,
    is_ticking=True,
)
WHY_OR_BRANCH: Final = replace(
    _WHY,
    text=lambda tracked, now: _cause_or_branch(tracked, now, _USUAL),
    timed_text=_cause_or_branch,
    search_text=lambda tracked, _: _reason(tracked) or tracked.environment.branch,
)
"""WHY where BRANCH does not fit: the branch of what is up."""

_PRESENCES: Final = tuple(Presence)

_ALL = (
    Column(
        id="state",
        title="STATE",
        width=6,
        about="the verdict",
        text=lambda tracked, _: SafeText(tracked.presence.value),
        rank=lambda tracked: _PRESENCES.index(tracked.presence),
        is_searched=False,
    ),
    Column(
        id="for",
        title="FOR",
        width=6,
        about="the time in this state",
        text=lambda tracked, now: for_text(tracked, now, _USUAL),
        timed_text=for_text,
        rank=_age_rank(lambda tracked: state_began_at(tracked, _USUAL)),
        is_searched=False,
        align="right",
    ),
    Column(
        id="beat",
        title="BEAT",
        width=4,
        about="the age of the heartbeat",
        text=beat_text,
        rank=_age_rank(_beat_at),
        is_searched=False,
        align="right",
    ),
    replace(
        _field("name", NAME_AT_LEAST, 0, "the name its user chose, or else the id", attrgetter("label")),
        rank=lambda tracked: natural_key(tracked.environment.label),
    ),
    Column(
        id="profile",
        title="PROFILE",
        width=9,
        about="under which profile it is listed",
        text=lambda tracked, _: tracked.profile or None,
        rank=lambda tracked: tracked.profile.casefold() or None,
        keep="ends",
    ),
    replace(
        _field("mode", 13, 0, "permission mode", lambda environment: mode_text(environment.mode)),
        search_text=lambda tracked, _: mode_of(tracked.environment.mode),
    ),
    _version("version", 9, 0, "version of Letta Code", lambda environment: environment.version),
    _WHY,
    _instant("up", 5, 100, "time since it connected, while it is up", lambda tracked: tracked.up_since),
    _field("os", 6, 100, "operating system", lambda environment: environment.os),
    _field("branch", 15, 100, "git branch", lambda environment: environment.branch),
    _field("user", 12, 120, "id of its user", lambda environment: environment.user_id),
    replace(
        _field("pod", 8, 120, "pod of the platform, or the last one", lambda environment: environment.pod_id),
        text=lambda tracked, _: tracked.pod_id,
        rank=lambda tracked: (tracked.pod_id or SafeText("")).casefold() or None,
    ),
    _field("directory", 20, 120, "working directory", lambda environment: environment.working_directory),
    Column(
        id="24h",
        title="24H",
        width=HOURS,
        from_width=160,
        about="the last 24 hours; sorts by the time up",
        text=lambda _, __: None,
        rank=lambda _: None,
        is_searched=False,
    ),
    _field("device", 14, 160, "id of the machine", lambda environment: environment.device_id),
    _field("connection", 14, 160, "id of the live link", lambda environment: environment.connection_id),
    _version("node", 9, 160, "version of Node.js", lambda environment: environment.node_version),
    _field("owner", 12, 160, "owner of its API key", lambda environment: environment.api_key_owner),
    _field("update", 7, 160, "whether it updates itself", update_text),
    _instant("seen", 5, 160, "time since it was last seen", lambda tracked: tracked.environment.last_seen_at),
    _instant("first", 5, 160, "time since it was first seen", lambda tracked: tracked.environment.first_seen_at),
)

COLUMNS: Mapping[str, Column] = {column.id: column for column in _ALL}
"""By id, in the order of the table."""

LAST_DAY: Final = "24h"
"""The column that is not made from a row: what it shows and sorts by comes from `fleet.hours.LastDays`."""
PROBLEMS: Final = "problems"
"""The name of the default order in settings, where other names are columns."""
