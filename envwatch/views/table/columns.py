"""The columns of the table. STATE, FOR and BEAT stand left, so that a tick rewrites only each line's left edge."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.model.text import SafeText, clean, composed, shortened
from envwatch.query.presentation import PRESENTATIONS, Presentation, cached_key, no_text
from envwatch.views.fitting import steady_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.language import Searched
    from envwatch.query.presentation import RowContext


FIXED = ("state", "for", "beat", "name")
NAME_AT_LEAST: Final = PRESENTATIONS["name"].width
"""Least width of NAME, including a change's tag."""
_ORDER: Final = (
    "state for beat name profile mode version branch up os user pod directory why 24h device connection node owner"
    " update seen first up7d"
)
"""Omitted columns come last."""


def _column_of(presentation: Presentation) -> Presentation:
    return replace(
        presentation,
        title=presentation.title or presentation.id.upper(),
        about=presentation.column_about or presentation.about,
    )


_ALL: Final = {each.id: _column_of(each) for each in PRESENTATIONS.values() if each.width}

COLUMNS: Final[Mapping[str, Presentation]] = {id_: _ALL[id_] for id_ in dict.fromkeys([*_ORDER.split(), *_ALL])}


META: Final = "meta."
"""Prefix of a column id with a metadata path; dots separate levels, as in the filter."""
_META_WIDTH, _META_TITLE = 14, 40
"""Cells of the column, and of the title in menus. Cut titles have `..`, because every terminal shows it."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,4})?")


def is_column(id_: str) -> bool:
    """Whether `id_` is in `COLUMNS` or like `meta.KEY`."""
    return id_ in COLUMNS or (id_.startswith(META) and len(id_) > len(META))


def column_of(id_: str) -> Presentation:
    """Return a column by id.

    Raises:
        KeyError: if `is_column` is false.
    """
    return COLUMNS[id_] if id_ in COLUMNS or not is_column(id_) else _metadata_column(id_)


def metadata_title(id_: str) -> SafeText:
    """Return a metadata column's title for menus and messages."""
    return shortened(clean(f"META.{id_.removeprefix(META)}"), _META_TITLE, keep="ends", ellipsis="..")


@lru_cache(256)
def _metadata_column(id_: str) -> Presentation:
    text = metadata_text(id_)
    return Presentation(
        id_,
        f"the key {clean(id_.removeprefix(META))} of the metadata",
        title=shortened(clean(id_.upper()), _META_WIDTH, keep="ends", ellipsis=".."),
        width=_META_WIDTH,
        from_width=0,
        text=text,
        rank=lambda tracked, _: None if (value := text(tracked)) is None else cached_key(value),
    )


def metadata_value(id_: str) -> Callable[[TrackedEnvironment], Any]:
    """Return the reader of a metadata column's JSON value."""
    from envwatch.query.fields import member_of  # noqa: PLC0415 - only for such a column

    return partial(member_of, path=clean(id_.removeprefix(META)))


def metadata_text(id_: str) -> Callable[[TrackedEnvironment], SafeText | None]:
    """Return the reader of a metadata column: a text, or compact JSON; None for null and an empty text."""
    from json import dumps  # noqa: PLC0415 - only for such a column

    value_of = metadata_value(id_)

    def text(tracked: TrackedEnvironment) -> SafeText | None:
        value = value_of(tracked)
        if value is None or value == "":
            return None
        return composed(value if isinstance(value, str) else dumps(value, ensure_ascii=False, separators=(",", ":")))

    return text


def rank_of(id_: str, rows: Iterable[TrackedEnvironment]) -> Callable[[TrackedEnvironment, RowContext], Any]:
    """Return the reader of a column's sort value for `rows`.

    Metadata sorts by number if all values are numbers or texts such as `16`, because labels often are texts.
    """
    column = column_of(id_)
    text_of = column.text
    if id_.startswith(META) and all(map(_NUMBER.fullmatch, set(filter(None, map(text_of, rows))))):
        return lambda tracked, _: None if (text := text_of(tracked)) is None else float(text)
    return column.ranking()


def searched_in(columns: Iterable[Presentation]) -> tuple[Searched, ...]:
    """Return the columns' readers of search texts."""
    return tuple(column.text for column in columns if column.text is not no_text)


SEARCHED: Final = searched_in(COLUMNS.values())
"""Search texts for output without visible columns."""

LOSSES: Final = "losses"


SCROLLBAR = 1
GUTTER = 2
"""Cells for the bar of a recent change and the cursor's mark."""
_WIDEST: Final = {"branch": 24, "why": 30, META: 24}
_NOTE: Final = 24
"""Cells of WHY with a note: `silenced until Mon 10:00`."""
LEFT: Final = GUTTER + sum(COLUMNS[id_].width for id_ in FIXED[:3]) + 2
"""Cells before NAME."""

_Fit: TypeAlias = tuple[tuple[Presentation, int], ...]


def gap_after(column: Presentation) -> int:
    """Return the cells between a column and the next."""
    return 0 if column.id == "state" else 1


def column_at(fit: _Fit, x: int) -> Presentation | None:
    """Return the column at cell `x`, including the gap behind."""
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
    has_past: bool = True,
    terminal: int | None = None,
) -> _Fit:
    """Return the columns that fit into `width` cells, with widths.

    Default columns leave NAME equally wide in all tables of a terminal, and never narrower in a wider terminal. Chosen
    `ids` may leave NAME only `_name_goal` cells. Without `has_past`, columns of the past must be chosen. `terminal` is
    None if the table has all cells.
    """
    terminal = width + SCROLLBAR if terminal is None or ids else terminal
    return _fitting(width, tuple(ids), has_profiles, has_past, terminal)


@lru_cache(256)
def _fitting(
    width: int,
    ids: tuple[str, ...],
    has_profiles: bool,  # noqa: FBT001
    has_past: bool,  # noqa: FBT001
    terminal: int,
) -> _Fit:
    candidates = _candidates(ids, has_profiles=has_profiles, has_past=has_past)
    room = max(width - LEFT, 1)
    name = min(_name_width(terminal, candidates), room)
    fit = _chosen(candidates, room - name, terminal)
    left, others = room - name - _cells_of(fit), list[tuple[Presentation, int]]()
    for column in fit:
        widest = _WIDEST.get(META if column.id.startswith(META) else column.id, 0)
        more = min(left, widest - column.width) if widest else 0
        others.append((column, column.width + more))
        left -= more
    fixed = (COLUMNS[id_] for id_ in FIXED)
    return (*((column, name if column.id == "name" else column.width) for column in fixed), *others)


def _candidates(ids: tuple[str, ...], *, has_profiles: bool, has_past: bool) -> tuple[Presentation, ...]:
    usual = (id_ for id_, column in COLUMNS.items() if has_past or not column.needs_past)
    chosen = [id_ for id_ in ids or usual if id_ not in FIXED]
    columns = [column_of(id_) for id_ in chosen if id_ != "profile"]
    if has_profiles:
        columns.insert(chosen.index("profile") if "profile" in chosen else 0, COLUMNS["profile"])
    return tuple(replace(column, from_width=0) for column in columns) if ids else tuple(columns)


def _chosen(candidates: Sequence[Presentation], room: int, terminal: int) -> list[Presentation]:
    fit: list[Presentation] = []
    for column in candidates:
        room -= column.width + 1
        if column.from_width and fit and fit[-1].id == "why":
            room -= _NOTE - fit[-1].width
            if room >= 0 and column.from_width <= terminal:
                fit[-1] = replace(fit[-1], width=_NOTE)
        if room < 0 or column.from_width > terminal:
            break
        fit.append(column)
    return fit


def _cells_of(columns: Iterable[Presentation]) -> int:
    return sum(column.width + 1 for column in columns)


def _name_goal(terminal: int) -> int:
    return max(NAME_AT_LEAST, NAME_AT_LEAST + (terminal - 64) // 10)


@lru_cache(256)
def _name_width(terminal: int, candidates: tuple[Presentation, ...]) -> int:

    def left(columns: int) -> int:
        room = columns - SCROLLBAR - LEFT
        return room - _cells_of(_chosen(candidates, room - _name_goal(columns), columns))

    return steady_width(terminal, left, _name_goal)
