"""The columns of the table.

STATE, FOR, BEAT and NAME come first: values that change every second stand at the left, so that a tick rewrites only
the left edge of each line.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from envwatch.fleet.presence import Presence, Reason
from envwatch.fleet.problems import state_began_at
from envwatch.fleet.uptime import share_text
from envwatch.history.hours import HOURS
from envwatch.model import limits
from envwatch.model.environment import NEVER, UNRESTRICTED, mode_of
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean, composed, natural_key, shortened
from envwatch.model.times import MS, minutes_age, short_age, span, state_age
from envwatch.model.versions import version_key
from envwatch.presentation import PRESENTATIONS, Match, Presentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.language import Searched


class Column(NamedTuple):
    """A value that can be shown, searched and sorted."""

    id: str
    text: Callable[[TrackedEnvironment, float, Limits], SafeText | None]
    """The text at a moment (server's clock, ms) under a fleet's thresholds."""
    title: str
    width: int
    about: str
    rank: Callable[[TrackedEnvironment], Any]
    """The sort value, None or of the same type for all rows."""
    search_text: Searched | None = None
    """The text that words are searched in; None for values that change with time."""
    from_width: int = 0
    is_ticking: bool = False
    """Whether the text changes with time alone, at most once a minute."""
    keep: Literal["start", "ends", "end"] = "start"
    align: Literal["left", "right"] = "left"


def mode_text(raw_mode: SafeText | None) -> SafeText | None:
    """Return a mode's text in the table: `!` marks the mode that approves everything."""
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
        text=lambda tracked, *_: text_of(tracked),
        search_text=text_of,
        rank=lambda tracked: (text_of(tracked) or "").casefold() or None,
        keep=presentation.keep,
    )
    if presentation.match is Match.VERSION:
        return column._replace(rank=lambda tracked: version_key(version) if (version := text_of(tracked)) else None)
    if presentation.instant is not None:
        text, rank = _age_text(presentation.instant, minutes_age), _age_rank(presentation.instant)
        return column._replace(text=text, rank=rank, keep="start", search_text=None, is_ticking=True)
    return column


def _age_text(
    instant: Callable[[TrackedEnvironment], float | None], worded: Callable[[timedelta], SafeText]
) -> Callable[[TrackedEnvironment, float, Limits], SafeText | None]:
    def text(tracked: TrackedEnvironment, now: float, _: Limits) -> SafeText | None:
        at = instant(tracked)
        return None if at is None else worded(span(now - at))

    return text


def _age_rank(instant: Callable[[TrackedEnvironment], float | None]) -> Callable[[TrackedEnvironment], float | None]:

    def rank(tracked: TrackedEnvironment) -> float | None:
        at = instant(tracked)
        return None if at is None or at == NEVER else -at

    return rank


FIXED = ("state", "for", "beat", "name")
NAME_AT_LEAST: Final = PRESENTATIONS["name"].width
"""The least width of NAME, including the tag of a change."""
_USUAL: Final = Limits()
_AHEAD_MS: Final = limits.MOST_AHEAD / MS


def for_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return how long an environment has been in its state; None if unknown."""
    age_ms = for_rank(tracked, now, fleet_limits)
    return None if age_ms is None else state_age(span(age_ms))


def for_rank(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> float | None:
    """Return the ms in the state (server's clock), or None if unknown.

    Limits and clocks differ between profiles, so only durations can be compared across them.
    """
    began_at = state_began_at(tracked, fleet_limits, now + _AHEAD_MS)
    return None if began_at is None or began_at == NEVER else now - began_at


def _beat_at(tracked: TrackedEnvironment) -> float | None:
    environment = tracked.environment
    has_one = bool(environment.connection_id) and not tracked.presence.is_absent
    return environment.last_heartbeat_at if has_one else None


def cause_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return why an environment is down, late or flapping, in at most 14 cells; None for a healthy row."""
    match tracked.presence:
        case Presence.LATE if not tracked.clock_suspect:
            left = (fleet_limits.online_for - span(now - tracked.environment.last_seen_alive_at)).total_seconds()
            return composed(f"off in {left:.0f} s" if left > 0 else "off next poll")
        case Presence.ONLINE if tracked.is_flapping:
            return composed(f"{len(tracked.transitions)} changes/h")
        case _:
            return _reason(tracked)


def _reason(tracked: TrackedEnvironment) -> SafeText | None:
    """Return a verdict's reason without parts that change with time."""
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


_WIDE: Final = 160
"""Columns of the terminal from which a usual table explains the states."""

_WHY: Final = Column(
    id="why",
    title="WHY",
    width=14,
    from_width=_WIDE,
    about="reason of late or down",
    text=cause_text,
    search_text=_reason,
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
        text=lambda tracked, *_: clean(tracked.presence.value),
        rank=lambda tracked: _PRESENCES.index(tracked.presence),
    ),
    Column(
        id="for",
        title="FOR",
        width=6,
        about="the time in this state",
        text=for_text,
        rank=_age_rank(lambda tracked: state_began_at(tracked, _USUAL)),
        align="right",
    ),
    Column(
        id="beat",
        title="BEAT",
        width=4,
        about="the age of the heartbeat",
        text=_age_text(_beat_at, short_age),
        rank=_age_rank(_beat_at),
        align="right",
    ),
    Column(
        id="profile",
        title="PROFILE",
        width=9,
        about="profile of the row",
        text=lambda tracked, *_: tracked.profile or None,
        search_text=lambda tracked: tracked.profile or None,
        rank=lambda tracked: tracked.profile.casefold() or None,
        keep="ends",
    ),
    _WHY,
    Column(
        id="up7d",
        title="UP7D",
        width=5,
        from_width=_WIDE,
        about="the share of the last watched week up",
        text=lambda tracked, *_: None if tracked.up_share is None else share_text(tracked.up_share),
        rank=lambda tracked: tracked.up_share,
        align="right",
    ),
    Column(
        id="24h",
        title="24H",
        width=HOURS,
        from_width=_WIDE,
        about="the last 24 hours; sorts by the time up",
        text=lambda *_: None,
        rank=lambda _: None,
    ),
)

_cached_key: Final = lru_cache(maxsize=65_536)(natural_key)
"""A sorted column compares the same texts after each poll."""

_PRESENTED: Final = {each.id: _column_of(each) for each in PRESENTATIONS.values() if each.width}
_ALL: Final = {
    **{column.id: column for column in _COMPUTED},
    **_PRESENTED,
    "name": _PRESENTED["name"]._replace(
        text=lambda tracked, *_: tracked.environment.label,
        search_text=lambda tracked: tracked.environment.label,
        rank=lambda tracked: _cached_key(tracked.environment.label),
    ),
    "mode": _PRESENTED["mode"]._replace(
        text=lambda tracked, *_: mode_text(tracked.environment.mode),
    ),
}
_ORDER: Final = (
    "state for beat name profile mode version branch up os user pod directory why 24h device connection node owner"
    " update seen first up7d"
)
"""Columns missing here come last."""

COLUMNS: Final[Mapping[str, Column]] = {id_: _ALL[id_] for id_ in dict.fromkeys([*_ORDER.split(), *_ALL])}


META: Final = "meta."
"""Precedes a path of the metadata in the id of a column; dots separate levels, as in the filter."""
_META_WIDTH, _META_TITLE = 14, 40
"""Cells of the column, and of the title in menus. A cut title has `..`, which every terminal shows."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,4})?")


def is_column(id_: str) -> bool:
    """Whether an id names a column: one of `COLUMNS`, or `meta.KEY`."""
    return id_ in COLUMNS or (id_.startswith(META) and len(id_) > len(META))


def column_of(id_: str) -> Column:
    """Return a column by id.

    Raises:
        KeyError: if `is_column` is false.
    """
    return COLUMNS[id_] if id_ in COLUMNS or not is_column(id_) else _metadata_column(id_)


def metadata_title(id_: str) -> SafeText:
    """Return the title of a metadata column for menus and messages, the key as the machine writes it."""
    return shortened(clean(f"META.{id_.removeprefix(META)}"), _META_TITLE, keep="ends", ellipsis="..")


@lru_cache(256)
def _metadata_column(id_: str) -> Column:
    text = metadata_text(id_)
    return Column(
        id=id_,
        title=shortened(clean(id_.upper()), _META_WIDTH, keep="ends", ellipsis=".."),
        width=_META_WIDTH,
        about=f"the key {clean(id_.removeprefix(META))} of the metadata",
        text=lambda tracked, *_: text(tracked),
        search_text=text,
        rank=lambda tracked: None if (value := text(tracked)) is None else _cached_key(value),
        keep="ends",
    )


def metadata_value(id_: str) -> Callable[[TrackedEnvironment], Any]:
    """Return the reader of a JSON value."""
    from envwatch.query.fields import member_of  # noqa: PLC0415 - only for such a column

    return partial(member_of, path=clean(id_.removeprefix(META)))


def metadata_text(id_: str) -> Callable[[TrackedEnvironment], SafeText | None]:
    """Return the reader of a JSON value as text: compact JSON except for a text; None for null and an empty text."""
    from json import dumps  # noqa: PLC0415 - only for such a column

    value_of = metadata_value(id_)

    def text(tracked: TrackedEnvironment) -> SafeText | None:
        value = value_of(tracked)
        if value is None or value == "":
            return None
        return composed(value if isinstance(value, str) else dumps(value, ensure_ascii=False, separators=(",", ":")))

    return text


def metadata_rank(id_: str, rows: Iterable[TrackedEnvironment]) -> Callable[[TrackedEnvironment], float | str | None]:
    """Return the sort value of a metadata column: a number if the value of every row is a number, else a text.

    A text such as `16` is a number, because labels often are texts.
    """
    text_of = metadata_text(id_)
    texts = set(filter(None, map(text_of, rows)))
    if not all(map(_NUMBER.fullmatch, texts)):
        return column_of(id_).rank
    return lambda row: None if (text := text_of(row)) is None else float(text)


def searched_in(columns: Iterable[Column]) -> tuple[Searched, ...]:
    """Return the search texts of columns."""
    return tuple(column.search_text for column in columns if column.search_text is not None)


SEARCHED: Final = searched_in(COLUMNS.values())
"""The search texts for output without visible columns."""

LAST_DAY: Final = "24h"
"""Text and sort value come from `past.hours.LastDays`, not from a row."""
STATE_TIME: Final = "for"
PROBLEMS: Final = "problems"
"""The default order's name in settings."""


SCROLLBAR = 1
"""Cells at the right of the table."""
GUTTER = 2
"""Cells at the left: the bar of a recent change and the mark of the cursor."""
_WIDEST: Final = {"branch": 24, "why": 30, META: 24}
"""The greatest width of a column that grows into free room."""
_NOTE: Final = 24
"""Cells of WHY next to other columns: `silenced until Mon 10:00`."""
LEFT: Final = GUTTER + sum(COLUMNS[id_].width for id_ in FIXED[:3]) + 2
"""Cells before NAME. STATE and FOR need no space between them."""

_Fit: TypeAlias = tuple[tuple[Column, int], ...]


def gap_after(column: Column) -> int:
    """Return the cells between a column and the next."""
    return 0 if column.id == "state" else 1


def column_at(fit: _Fit, x: int) -> Column | None:
    """Return the column at cell `x`, including the space behind the column."""
    left = GUTTER
    for column, width in fit:
        left += width + gap_after(column)
        if x < left:
            return column
    return None


def fitting(
    width: int,
    ids: Sequence[str] = (),
    *,
    has_profiles: bool = False,
    has_last_day: bool = True,
    terminal: int | None = None,
) -> _Fit:
    """Return the columns that fit into a table, with widths.

    With default columns, NAME has the same width in every table of a terminal, and never less than in a narrower
    terminal. Chosen columns (`ids`) may leave NAME only `_name_goal` cells. Without `has_last_day`, `24H` comes only if
    chosen. `terminal` is None if the table has all cells.
    """
    terminal = width + SCROLLBAR if terminal is None or ids else terminal
    return _fitting(width, tuple(ids), has_profiles, has_last_day, terminal)


@lru_cache(256)
def _fitting(
    width: int,
    ids: tuple[str, ...],
    has_profiles: bool,  # noqa: FBT001
    has_last_day: bool,  # noqa: FBT001
    terminal: int,
) -> _Fit:
    candidates = _candidates(ids, has_profiles=has_profiles, has_last_day=has_last_day)
    room = max(width - LEFT, 1)
    name = min(_name_width(terminal, candidates), room)
    fit = _chosen(candidates, room - name, terminal)
    left, others = room - name - _cells_of(fit), list[tuple[Column, int]]()
    for column in fit:
        widest = _WIDEST.get(META if column.id.startswith(META) else column.id, 0)
        more = min(left, widest - column.width) if widest else 0
        others.append((column, column.width + more))
        left -= more
    fixed = (COLUMNS[id_] for id_ in FIXED)
    return (*((column, name if column.id == "name" else column.width) for column in fixed), *others)


def _candidates(ids: tuple[str, ...], *, has_profiles: bool, has_last_day: bool) -> tuple[Column, ...]:
    usual = (id_ for id_ in COLUMNS if has_last_day or id_ != LAST_DAY)
    chosen = [id_ for id_ in ids or usual if id_ not in FIXED]
    columns = [column_of(id_) for id_ in chosen if id_ != "profile"]
    if has_profiles:
        columns.insert(chosen.index("profile") if "profile" in chosen else 0, COLUMNS["profile"])
    return tuple(column._replace(from_width=0) for column in columns) if ids else tuple(columns)


def _chosen(candidates: Sequence[Column], room: int, terminal: int) -> list[Column]:
    """Return the columns that have room; WHY has room for a note before a default column follows."""
    fit: list[Column] = []
    for column in candidates:
        room -= column.width + 1
        if column.from_width and fit and fit[-1].id == "why":
            room -= _NOTE - fit[-1].width
            if room >= 0 and column.from_width <= terminal:
                fit[-1] = fit[-1]._replace(width=_NOTE)
        if room < 0 or column.from_width > terminal:
            break
        fit.append(column)
    return fit


def _cells_of(columns: Iterable[Column]) -> int:
    return sum(column.width + 1 for column in columns)


def _name_goal(terminal: int) -> int:
    return max(NAME_AT_LEAST, NAME_AT_LEAST + (terminal - 64) // 10)


@lru_cache(256)
def _name_width(terminal: int, candidates: tuple[Column, ...]) -> int:

    def left(columns: int) -> int:
        room = columns - SCROLLBAR - LEFT
        return room - _cells_of(_chosen(candidates, room - _name_goal(columns), columns))

    width = left(terminal)
    while _name_goal(terminal) < width:
        terminal += 1
        width = min(width, left(terminal))
    return max(width, 1)
