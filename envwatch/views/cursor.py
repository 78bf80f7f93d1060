"""The lines of the table and the cursor among them, through every change of the rows.

Owns the rules that keep a reader's place:

* Until the cursor is moved for the first time, it stays on the first row, and the list at its top.
* A row under a cursor that was moved keeps its place, also if it changes its state or the view no longer shows it; it
  goes where it belongs when the cursor has left it. If it was folded away, the cursor goes to the header of its group.
* A row that another view hid, as a filter does while it is typed, has the cursor again in the next view that shows it,
  unless the cursor was moved or the filter was kept meanwhile.
* What is visible stays where it is on the screen: the row under the cursor, else most of the visible rows. Only the end
  of the list moves it: no line stays empty while a row is out of sight.
* Rows keep their places while the cursor has just moved.

Must not know widgets or clocks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.views.arrangement import Arrangement, OrderReason
from envwatch.views.grouping import Divider, GroupHeader, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.views.grouping import Line, LineKey, TableLine


class RowCursor:
    """The lines of the table, and which of them the cursor is on."""

    def __init__(self) -> None:
        self.lines: Sequence[Line] = ()
        """The visible rows, the headers of groups, the rule."""
        self.was_moved = False
        """Whether the user has moved the cursor."""
        self.is_due = False
        """Whether rows are still to be put into their places."""
        self.place: int | None = None
        """Index of the line under the cursor; None if there are no lines."""
        self._chosen: LineKey | None = None
        """What the user moved the cursor to last."""
        self._arrangement = Arrangement()
        self._order_reasons: dict[EnvironmentKey, OrderReason] = {}
        """What decided the places of rows that have changed since then."""
        self._lines_of: Callable[[Arrangement], Sequence[Line]] = lambda arrangement: arrangement.rows

    @property
    def rows(self) -> Sequence[TrackedEnvironment]:
        """All environments that the view shows, in order, including those in folded groups."""
        return self._arrangement.rows

    @property
    def cursor(self) -> TableLine | None:
        """The line under the cursor."""
        line = None if self.place is None else self.lines[self.place]
        return None if isinstance(line, Divider) else line

    @property
    def order_reason(self) -> OrderReason | None:
        """What decided the place of the row under the cursor, if it is to stay there."""
        cursor = self.cursor
        if not self.was_moved or cursor is None or isinstance(cursor, GroupHeader):
            return None
        return self._order_reasons.get(cursor.key) or self._placed(cursor)

    def _placed(self, tracked: TrackedEnvironment) -> OrderReason:
        return OrderReason(tracked, self._arrangement.order_inputs)

    def place_of(self, key: LineKey) -> int | None:
        """Return the index of the line of an environment or a header; None if it has none."""
        return place_of(self.lines, key)

    def pin(self) -> None:
        """Keep the cursor on its line from now on, as if the user had moved it there."""
        self.was_moved = True
        self._chosen = None if self.cursor is None else self.cursor.key

    def settle(self) -> None:
        """Take the cursor's line for the one that the user chose, if the cursor was ever moved."""
        if self.was_moved:
            self.pin()

    def take(
        self,
        arrangement: Arrangement,
        lines_of: Callable[[Arrangement], Sequence[Line]],
        *,
        is_steady: bool = False,
        is_new_view: bool = False,
    ) -> None:
        """Replace the rows.

        Args:
            arrangement: what the view shows, with given the `order_reason` of a row that keeps its place.
            lines_of: turns an arrangement into lines.
            is_steady: whether present rows keep their places for now, followed by new ones; sets `is_due`.
            is_new_view: whether the user has changed what is shown.
        """
        self._lines_of = lines_of
        if is_steady:
            steady = self._steady(arrangement)
            self.is_due = list(steady.rows) != list(arrangement.rows)
            arrangement = steady
        else:
            self.is_due = False
            order_reason = arrangement.order_reason
            self._order_reasons = {} if order_reason is None else {order_reason.tracked.key: order_reason}
        self._set(arrangement)
        if is_new_view and self.was_moved and self._chosen is not None:
            place = self.place_of(self._chosen)
            self.place = self.place if place is None else place

    def _steady(self, arrangement: Arrangement) -> Arrangement:
        """Return the rows of an arrangement in the places that they have now; those that are new follow."""
        before = self._arrangement
        coming = {tracked.key: tracked for tracked in arrangement.rows}
        present, problems, old = [], 0, 0
        for place, was in enumerate(before.rows):
            tracked = coming.pop(was.key, None)
            if tracked is None:
                continue
            if tracked is not was:
                self._order_reasons.setdefault(was.key, self._placed(was))
            present.append(tracked)
            problems += place < before.problems
            old += place >= len(before.rows) - before.old
        end = len(present) - old
        return replace(
            arrangement,
            rows=[*present[:end], *coming.values(), *present[end:]],
            problems=problems,
            old=old,
            order_inputs=before.order_inputs,
        )

    def _set(self, arrangement: Arrangement) -> None:
        cursor = self.cursor if self.was_moved else None
        self._arrangement = arrangement
        self.lines = self._lines_of(arrangement)
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
            if place_of(line.environments, key) is not None:
                return place
        return None

    def move_to(self, place: int) -> bool:
        """Move the cursor to the line nearest to an index.

        Returns:
            Whether the lines changed, because a row was left that the view does not show.
        """
        if not self.lines:
            return False
        before, left = self.place or 0, self.cursor
        self.place = min(max(place, 0), len(self.lines) - 1)
        if isinstance(self.lines[self.place], Divider):
            self.place += 1 if self.place > before else -1  # there is a row above and one below
        self.pin()
        if left is None or self.place == before or isinstance(left, GroupHeader):
            return False
        if left.key == self._arrangement.ghost:
            self._set(self._arrangement.without(left.key))
            return True
        self.is_due = self.is_due or left.key in self._order_reasons
        return False

    def heading(self) -> GroupHeader | None:
        """Return the header of the group that the cursor is in or on; None without groups."""
        place = self.place
        lines = self.lines[: place + 1] if place is not None else ()
        return next((line for line in reversed(lines) if isinstance(line, GroupHeader)), None)


def kept_top(
    before: Sequence[Line], after: Sequence[Line], top: int, height: int, cursor: tuple[int, int] | None
) -> int:
    """Return the first line to show, so that what is visible stays where it is on the screen.

    The row under the cursor keeps its line of the screen while it is visible; otherwise most of the visible lines do. A
    list that stands at its top, without a cursor in sight that was moved, stays there.

    Args:
        before: all lines until now.
        after: all lines from now on.
        top: the index of the first visible line until now.
        height: visible lines.
        cursor: the indices of the line under a cursor that was moved, until now and from now on; None for none.
    """
    highest = max(len(after) - height, 0)
    if cursor is not None and top <= cursor[0] < top + height:
        return min(max(cursor[1] - (cursor[0] - top), 0), highest)
    if top == 0:
        return 0
    places = {line.key: place for place, line in enumerate(before[top : top + height], top)}
    shifts = Counter(place - places[line.key] for place, line in enumerate(after) if line.key in places)
    shift = max(shifts, key=lambda each: (shifts[each], -abs(each)), default=0)
    return min(max(top + shift, 0), highest)
