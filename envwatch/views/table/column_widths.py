"""How the columns of the table share its width: which fit, and how wide each is.

Pure.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.views.table.columns import COLUMNS, FIXED, NAME_AT_LEAST, Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCROLLBAR = 1
"""Cells at the right of the table that belong to no column."""
GUTTER = 2
"""Cells at the left of the table: the bar of a recent change, and the mark of the cursor."""
_WIDEST: Final = {"branch": 24, "why": 30}
"""Cells of a column at most, where there is room that no column takes."""
LEFT: Final = GUTTER + sum(COLUMNS[id_].width for id_ in FIXED[:3]) + 2
"""Cells before NAME: the gutter, and the columns that change every second. STATE and FOR need no space between them."""

_Fit: TypeAlias = tuple[tuple[Column, int], ...]


def gap_after(column: Column) -> int:
    """Return the cells between a column and the next."""
    return 0 if column.id == "state" else 1


def column_at(fit: _Fit, x: int) -> Column | None:
    """Return the column that the cell `x` of a table belongs to, with the space behind it."""
    left = GUTTER
    for column, width in fit:
        left += width + gap_after(column)
        if x < left:
            return column
    return None


def fitting(width: int, ids: Sequence[str] = (), *, has_profiles: bool = False, terminal: int | None = None) -> _Fit:
    """Return the columns that fit into a table, each with its width.

    With the default columns, NAME has the same width in every table of a terminal, never less than in a narrower
    terminal. Columns that were chosen go before more than the least of it, also beside the detail pane.

    Args:
        width: cells of the table.
        ids: the columns to show after the fixed ones, in this order; none for the default ones.
        has_profiles: whether there are rows of several profiles: PROFILE is shown only then.
        terminal: cells of the terminal; None if the table has all of them.
    """
    terminal = width + SCROLLBAR if terminal is None or ids else terminal
    return _fitting(width, tuple(ids), has_profiles, terminal)


@lru_cache(256)
def _fitting(width: int, ids: tuple[str, ...], has_profiles: bool, terminal: int) -> _Fit:  # noqa: FBT001  a cache's key
    candidates = _candidates(ids, has_profiles=has_profiles)
    room = max(width - LEFT, 1)
    name = min(_name_width(terminal, candidates), room)
    fit = _chosen(candidates, room - name, terminal)
    left, others = room - name - _cells_of(fit), list[tuple[Column, int]]()
    for column in fit:
        more = min(left, _WIDEST.get(column.id, 0) - column.width) if column.id in _WIDEST else 0
        others.append((column, column.width + more))
        left -= more
    fixed = (COLUMNS[id_] for id_ in FIXED)
    return (*((column, name if column.id == "name" else column.width) for column in fixed), *others)


def _candidates(ids: tuple[str, ...], *, has_profiles: bool) -> tuple[Column, ...]:
    """Return the columns after the fixed ones, as far as there is room, in their order."""
    chosen = [id_ for id_ in ids or COLUMNS if id_ not in FIXED]
    columns = [COLUMNS[id_] for id_ in chosen if id_ != "profile"]
    if has_profiles:
        columns.insert(chosen.index("profile") if "profile" in chosen else 0, COLUMNS["profile"])
    return tuple(replace(column, from_width=0) for column in columns) if ids else tuple(columns)


def _chosen(candidates: Sequence[Column], room: int, terminal: int) -> list[Column]:
    """Return the columns that fit into so many cells behind NAME, up to the first that does not."""
    fit = []
    for column in candidates:
        room -= column.width + 1
        if room < 0 or column.from_width > terminal:
            break
        fit.append(column)
    return fit


def _cells_of(columns: Iterable[Column]) -> int:
    return sum(column.width + 1 for column in columns)


def _name_goal(terminal: int) -> int:
    """Return the cells of NAME that no other column may take: they grow with the terminal."""
    return max(NAME_AT_LEAST, NAME_AT_LEAST + (terminal - 64) // 10)


@lru_cache(256)
def _name_width(terminal: int, candidates: tuple[Column, ...]) -> int:
    """Return the width of NAME: what is left in this terminal, but no more than is left in any wider one."""

    def left(columns: int) -> int:
        room = columns - SCROLLBAR - LEFT
        return room - _cells_of(_chosen(candidates, room - _name_goal(columns), columns))

    width = left(terminal)
    while _name_goal(terminal) < width:
        terminal += 1
        width = min(width, left(terminal))
    return max(width, 1)
