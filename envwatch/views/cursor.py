"""The lines of the table and the cursor among them, through every change of the rows.

Owns the rules that keep a reader's place:

* The cursor follows its row when the order changes. Until it is moved for the first time, it stays on the first row.
* A row that disappears under the cursor stays as a ghost until the cursor leaves it; if it was folded away, the cursor
  goes to the header of its group.
* Rows keep their places while the cursor has just moved.

Must not know widgets, scrolling or clocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.views.grouping import GroupHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.views.grouping import LineKey, TableLine


def _plain(rows: Sequence[TrackedEnvironment]) -> Sequence[TableLine]:
    return rows


class RowCursor:
    """The lines of the table, and which of them the cursor is on."""

    def __init__(self) -> None:
        self.rows: Sequence[TrackedEnvironment] = ()
        """All environments that the view shows, in order, including those in folded groups."""
        self.lines: Sequence[TableLine] = ()
        """The visible rows and the headers of groups."""
        self.was_moved = False
        """Whether the user has moved the cursor."""
        self.is_due = False
        """Whether the rows are still to be put into their order."""
        self.place: int | None = None
        """Index of the line under the cursor; None if there are no lines."""
        self._ghost: EnvironmentKey | None = None
        self._grouped: Callable[[Sequence[TrackedEnvironment]], Sequence[TableLine]] = _plain

    @property
    def cursor(self) -> TableLine | None:
        """The line under the cursor."""
        return None if self.place is None else self.lines[self.place]

    def place_of(self, key: LineKey) -> int | None:
        """Return the index of the line of an environment or a header; None if it has none."""
        return next((place for place, line in enumerate(self.lines) if line.key == key), None)

    def take(
        self,
        rows: Sequence[TrackedEnvironment],
        grouped: Callable[[Sequence[TrackedEnvironment]], Sequence[TableLine]],
        *,
        is_steady: bool,
        lookup: Callable[[EnvironmentKey], TrackedEnvironment | None] | None,
    ) -> None:
        """Replace the rows.

        Args:
            rows: what the view shows, in the order to show it in.
            grouped: turns rows into lines.
            is_steady: whether present rows keep their places for now, followed by new ones; sets `is_due`.
            lookup: returns the current state of the row under the cursor if `rows` lacks it and it stays as a ghost;
                None if there are to be no ghosts.
        """
        self._grouped = grouped
        self.is_due = False
        if is_steady:
            by_key = {tracked.key: tracked for tracked in rows}
            present = [by_key.pop(tracked.key) for tracked in self.rows if tracked.key in by_key]
            steady = [*present, *by_key.values()]
            self.is_due = steady != list(rows)
            rows = steady
        self._ghost = None
        self._set_rows(rows if lookup is None else self._with_ghost(rows, lookup))

    def _with_ghost(
        self, rows: Sequence[TrackedEnvironment], lookup: Callable[[EnvironmentKey], TrackedEnvironment | None]
    ) -> Sequence[TrackedEnvironment]:
        """Return the rows, with the one under the cursor inserted where it was if they lack it."""
        cursor = self.cursor
        if not self.was_moved or cursor is None or isinstance(cursor, GroupHeader):
            return rows
        key = cursor.key
        if any(tracked.key == key for tracked in rows):
            return rows
        self._ghost = key
        place = next(place for place, tracked in enumerate(self.rows) if tracked.key == key)
        return [*rows[:place], lookup(key) or cursor, *rows[place:]]

    def _set_rows(self, rows: Sequence[TrackedEnvironment]) -> None:
        cursor = self.cursor if self.was_moved else None
        self.rows = rows
        self.lines = self._grouped(rows)
        self.place = None if cursor is None else self.place_of(cursor.key)
        if self.place is None and cursor is not None:
            self.place = self._header_of_folded(cursor.key)
        if self.place is None and self.lines:
            self.place = next((place for place, line in enumerate(self.lines) if not isinstance(line, GroupHeader)), 0)

    def _header_of_folded(self, key: LineKey) -> int | None:
        """Return the index of the header of the folded group that an environment is in."""
        for place, line in enumerate(self.lines):
            if not isinstance(line, GroupHeader) or line.is_open:
                continue
            if any(tracked.key == key for tracked in line.environments):
                return place
        return None

    def move_to(self, place: int) -> bool:
        """Move the cursor to the line nearest to an index.

        Returns:
            Whether the lines changed, because a ghost was left.
        """
        if not self.lines:
            return False
        self.was_moved = True
        self.place = min(max(place, 0), len(self.lines) - 1)
        ghost = self._ghost
        if ghost is None or ghost == self.lines[self.place].key:
            return False
        self._ghost = None
        self._set_rows([tracked for tracked in self.rows if tracked.key != ghost])
        return True

    def heading(self) -> GroupHeader | None:
        """Return the header of the group that the cursor is in or on; None without groups."""
        place = self.place
        lines = self.lines[: place + 1] if place is not None else ()
        return next((line for line in reversed(lines) if isinstance(line, GroupHeader)), None)
