"""The lines on the screen and the cursor among them, whatever happens to the rows below.

Owns the rules that keep a reader's place: the cursor follows its row through every change of the order; a row that
vanishes under it stays as a ghost until it is left, or the cursor goes to the heading that the row was folded behind;
rows do not change places under a cursor that has just moved; and until somebody moves it, it stands on the first row.
Knows no widget, no scrolling and no clock.
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
    """What stands where."""

    def __init__(self) -> None:
        self.rows: Sequence[TrackedEnvironment] = ()
        """Every environment that the view shows, folded or not, in its order."""
        self.lines: Sequence[TableLine] = ()
        """Those that are not folded away, and the headings."""
        self.was_moved = False
        """Whether somebody has moved the cursor."""
        self.is_due = False
        """Whether the wanted order still waits."""
        self.place: int | None = None
        """The line that the cursor stands on; None where there is none."""
        self._ghost: EnvironmentKey | None = None
        self._sectioned: Callable[[Sequence[TrackedEnvironment]], Sequence[TableLine]] = _plain

    @property
    def cursor(self) -> TableLine | None:
        """What the cursor stands on."""
        return None if self.place is None else self.lines[self.place]

    def place_of(self, key: LineKey) -> int | None:
        """Return the line of an environment or a heading; None if it is not on the screen."""
        return next((place for place, line in enumerate(self.lines) if line.key == key), None)

    def take(
        self,
        rows: Sequence[TrackedEnvironment],
        grouped: Callable[[Sequence[TrackedEnvironment]], Sequence[TableLine]],
        *,
        is_steady: bool,
        known: Callable[[EnvironmentKey], TrackedEnvironment | None] | None,
    ) -> None:
        """Show other rows, or the same ones in another order.

        Args:
            rows: what the view shows, in the wanted order.
            grouped: makes lines of rows.
            is_steady: whether rows that are there already keep their places for now, before those that are new.
            known: tells what is known by now of a row that is missing; None if a row that is missing is no ghost.
        """
        self._sectioned = grouped
        self.is_due = False
        if is_steady:
            wanted = {tracked.key: tracked for tracked in rows}
            kept = [wanted.pop(key) for key in [tracked.key for tracked in self.rows] if key in wanted]
            steady = [*kept, *wanted.values()]
            self.is_due = steady != list(rows)
            rows = steady
        self._ghost = None
        self._put(rows if known is None else self._with_ghost(rows, known))

    def _with_ghost(
        self, rows: Sequence[TrackedEnvironment], known: Callable[[EnvironmentKey], TrackedEnvironment | None]
    ) -> Sequence[TrackedEnvironment]:
        """Return the rows with the one under the cursor, where it was, if they lack it."""
        cursor = self.cursor
        if not self.was_moved or cursor is None or isinstance(cursor, GroupHeader):
            return rows
        key = cursor.key
        if any(tracked.key == key for tracked in rows):
            return rows
        self._ghost = key
        place = next(place for place, tracked in enumerate(self.rows) if tracked.key == key)
        return [*rows[:place], known(key) or cursor, *rows[place:]]

    def _put(self, rows: Sequence[TrackedEnvironment]) -> None:
        cursor = self.cursor if self.was_moved else None
        self.rows = rows
        self.lines = self._sectioned(rows)
        self.place = None if cursor is None else self.place_of(cursor.key)
        if self.place is None and cursor is not None:
            self.place = self._folded_behind(cursor.key)
        if self.place is None and self.lines:
            self.place = next((place for place, line in enumerate(self.lines) if not isinstance(line, GroupHeader)), 0)

    def _folded_behind(self, key: LineKey) -> int | None:
        """Return the line of the heading that a row is folded behind."""
        headings = [(place, line) for place, line in enumerate(self.lines) if isinstance(line, GroupHeader)]
        folded = ((place, heading.environments) for place, heading in headings if not heading.is_open)
        return next(
            (place for place, environments in folded if any(tracked.key == key for tracked in environments)), None
        )

    def move_to(self, place: int) -> bool:
        """Move the cursor to a line, the nearest there is; tell whether the lines changed by that: a ghost was left."""
        if not self.lines:
            return False
        self.was_moved = True
        self.place = min(max(place, 0), len(self.lines) - 1)
        ghost = self._ghost
        if ghost is None or ghost == self.lines[self.place].key:
            return False
        self._ghost = None
        self._put([tracked for tracked in self.rows if tracked.key != ghost])
        return True

    def heading(self) -> GroupHeader | None:
        """Return the heading over the line under the cursor, or that line itself; None without groups."""
        place = self.place
        lines = self.lines[: place + 1] if place is not None else ()
        return next((line for line in reversed(lines) if isinstance(line, GroupHeader)), None)
