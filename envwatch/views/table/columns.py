"""The columns of the table: what each shows, how it sorts, and from which width on it may appear.

Pure. Must not know widgets or colours. STATE, FOR, BEAT and NAME come first: what changes every second stands at the
left, so that a tick rewrites only the left edge of each line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from envwatch.fleet.presence import Presence, Reason
from envwatch.fleet.problems import state_began_at
from envwatch.model import limits
from envwatch.model.environment import NEVER
from envwatch.model.limits import Limits
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.text import clean, composed, natural_key
from envwatch.model.times import MS, minutes_age, short_age, span, state_age
from envwatch.model.versions import version_key
from envwatch.past.hours import HOURS
from envwatch.presentation import PRESENTATIONS, Match
from envwatch.query.language import Searchable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.model.versions import VersionKey
    from envwatch.presentation import Presentation


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
    return composed(f"{mode}!") if mode == UNRESTRICTED else mode


def _column_of(presentation: Presentation) -> Column:
    text_of = presentation.text
    column = Column(
        id=presentation.id,
        title=presentation.title or presentation.id.upper(),
        width=presentation.width,
        from_width=presentation.from_width,
        about=presentation.column_about or presentation.about,
        text=lambda tracked, _: text_of(tracked),
        rank=lambda tracked: (text_of(tracked) or "").casefold() or None,
        keep=presentation.keep,
    )
    if presentation.match is Match.VERSION:
        return replace(column, rank=_version_rank(text_of))
    if presentation.match is Match.INSTANT:
        text, rank = _instant_text(presentation.instant), _age_rank(presentation.instant)
        return replace(column, text=text, rank=rank, keep="start", is_searched=False, is_ticking=True)
    return column


def _version_rank(
    text_of: Callable[[TrackedEnvironment], SafeText | None],
) -> Callable[[TrackedEnvironment], VersionKey | None]:
    def rank(tracked: TrackedEnvironment) -> VersionKey | None:
        version = text_of(tracked)
        return version_key(version) if version else None

    return rank


def _instant_text(
    instant: Callable[[TrackedEnvironment], float | None],
) -> Callable[[TrackedEnvironment, float], SafeText | None]:
    def text(tracked: TrackedEnvironment, now: float) -> SafeText | None:
        at = instant(tracked)
        return None if at is None else minutes_age(span(now - at))

    return text


def _age_rank(instant: Callable[[TrackedEnvironment], float | None]) -> Callable[[TrackedEnvironment], float | None]:
    """Return the rank of what is shown as its age: the newest instant comes first."""

    def rank(tracked: TrackedEnvironment) -> float | None:
        at = instant(tracked)
        return None if at is None or at == NEVER else -at

    return rank


FIXED = ("state", "for", "beat", "name")
"""Ids of the columns at the left that are always shown."""
NAME_AT_LEAST: Final = PRESENTATIONS["name"].width
"""The minimal width of NAME, with the tag of a change; other columns get what is left."""
_USUAL: Final = Limits()
_AHEAD_MS: Final = limits.MOST_AHEAD / MS


def for_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return how long an environment has been in its state; None while that is unknown."""
    age_ms = for_rank(tracked, now, fleet_limits)
    return None if age_ms is None else state_age(span(age_ms))


def for_rank(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> float | None:
    """Return the ms that an environment has been in its state, by the server's clock; None while that is unknown.

    Profiles have limits and clocks of their own, so only this time compares rows of two profiles.
    """
    began_at = state_began_at(tracked, fleet_limits, now + _AHEAD_MS)
    return None if began_at is None or began_at == NEVER else now - began_at


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
            return composed(f"off in {left:.0f} s" if left > 0 else "off next poll")
        case Presence.ONLINE if tracked.is_flapping:
            return composed(f"{len(tracked.transitions)} changes/h")
        case _:
            return _reason(tracked)


def _reason(tracked: TrackedEnvironment) -> SafeText | None:
    """Return the reason of a verdict, without what changes with time; None for one that is well."""
    if tracked.replaced_by is not None:
        return tracked.reason
    reason = tracked.verdict.reason
    if reason in (Reason.BEATING, Reason.UNTIMED):
        return None
    return _SHORT_REASONS.get(reason) or clean(reason.value)


_SHORT_REASONS: Final = {
    Reason.ABSENT: clean("not listed"),
    Reason.EXPECTED: clean("not listed"),
    Reason.NEVER_LISTED: clean("never listed"),
    Reason.MISSED: clean("ping missed"),
}


_WHY: Final = Column(
    id="why",
    title="WHY",
    width=14,
    from_width=160,
    about="why it is late or down",
    text=lambda tracked, now: cause_text(tracked, now, _USUAL),
    timed_text=cause_text,
    search_text=lambda tracked, _: _reason(tracked),
    rank=_reason,
    is_ticking=True,
)
_PRESENCES: Final = tuple(Presence)

_COMPUTED: Final = (
    Column(
        id="state",
        title="STATE",
        width=6,
        about="the verdict",
        text=lambda tracked, _: clean(tracked.presence.value),
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
    Column(
        id="profile",
        title="PROFILE",
        width=9,
        about="profile of the row",
        text=lambda tracked, _: tracked.profile or None,
        rank=lambda tracked: tracked.profile.casefold() or None,
        keep="ends",
    ),
    _WHY,
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
)
"""The columns that no single field of the row fills."""

_PRESENTED: Final = {each.id: _column_of(each) for each in PRESENTATIONS.values() if each.width}
_ALL: Final = {
    **{column.id: column for column in _COMPUTED},
    **_PRESENTED,
    "name": replace(
        _PRESENTED["name"],
        text=lambda tracked, _: tracked.environment.label,
        rank=lambda tracked: natural_key(tracked.environment.label),
    ),
    "mode": replace(
        _PRESENTED["mode"],
        text=lambda tracked, _: mode_text(tracked.environment.mode),
        search_text=lambda tracked, _: mode_of(tracked.environment.mode),
    ),
}
_ORDER: Final = (
    "state for beat name profile mode version branch up os user pod directory why 24h device connection node owner"
    " update seen first"
)
"""The order of the table; a column that is not here comes last."""

COLUMNS: Final[Mapping[str, Column]] = {id_: _ALL[id_] for id_ in dict.fromkeys([*_ORDER.split(), *_ALL])}
"""By id, in the order of the table."""

LAST_DAY: Final = "24h"
"""The column that is not made from a row: what it shows and sorts by comes from `fleet.hours.LastDays`."""
STATE_TIME: Final = "for"
"""The column that sorts by the limits and the clock of each row's profile."""
PROBLEMS: Final = "problems"
"""The name of the default order in settings, where other names are columns."""
