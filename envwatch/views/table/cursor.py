"""The cursor and the lines of the screen: block first, then table.

* An unmoved cursor stays on the first matching line, and the table at the top.
* The cursor follows an environment into the block. When an incident's line goes, the cursor moves to the block's next
  line, or to the table's first row.
* A block line whose members are back stays while under the cursor.
* A table row under a moved cursor keeps its place, even in a new state or without matching. When its group is folded,
  the cursor moves to the header.
* If a new filter excludes the cursor's line, the cursor goes to the first matching line, if any. The next view with the
  line moves the cursor back, unless the user moved the cursor or kept the filter.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
from envwatch.views.table.arrangement import Arrangement, OrderReason, table_lines
from envwatch.views.table.block import Block, BlockLine, LineKey
from envwatch.views.table.table_view import GroupHeader, Line, TableLine, View, index_of_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


_LEAST_MEMBERS = 2
"""Members of an unfolded incident in a block without room."""


class More(NamedTuple):
    """Counts of machines in hidden block lines and of the fresh losses among them, or of hidden members."""

    machines: int = 0
    fresh: int = 0
    members: int = 0


class RowCursor:
    """The lines of block and table, and the cursor."""

    def __init__(self) -> None:
        self.lines: Sequence[Line] = ()
        self.table_lines: Sequence[TableLine] = ()
        self.pinned = 0
        self.unfolded: LineKey | None = None
        self.was_moved = False
        self.is_due = False
        """Whether rows await a new order."""
        self.place: int | None = None
        """The cursor's index in `lines`."""
        self.passes_on = False
        """Whether the cursor leaves an acknowledged line for the next open line."""
        self._chosen: LineKey | None = None
        self._view = View()
        self._arrangement = Arrangement()
        self._order_reasons: dict[EnvironmentKey, OrderReason] = {}
        self._visited: dict[LineKey, float] = {}
        """`noticed_at` of block lines at the last visit."""
        self._trail: deque[LineKey] = deque(maxlen=100)

    @property
    def rows(self) -> Sequence[TrackedEnvironment]:
        """All rows of the table, including folded groups."""
        return self._arrangement.rows

    @property
    def matches(self) -> int:
        """The number of matching environments in table and block."""
        return len(self._arrangement.rows) + len(self._arrangement.in_block)

    @property
    def changes_at(self) -> float:
        """When time alone changes the order (this machine's clock, ms)."""
        return self._arrangement.changes_at

    @property
    def cursor(self) -> Line | None:
        """The line under the cursor."""
        return None if self.place is None else self.lines[self.place]

    @property
    def is_in_block(self) -> bool:
        """Whether the cursor is in the block."""
        return self.place is not None and self.place < self.pinned

    @property
    def table_place(self) -> int | None:
        """The cursor's index in `table_lines`, or None in the block."""
        return None if self.place is None or self.is_in_block else self.place - self.pinned

    @property
    def order_reason(self) -> OrderReason | None:
        """The reason for the place of the table row under a moved cursor."""
        cursor = self.cursor
        if not self.was_moved or self.is_in_block or not isinstance(cursor, TrackedEnvironment):
            return None
        return self._order_reasons.get(cursor.key) or self._placed(cursor)

    def _placed(self, tracked: TrackedEnvironment) -> OrderReason:
        return OrderReason(tracked, self._arrangement.wall)

    def place_of(self, key: LineKey) -> int | None:
        """Return the index of a key's line, or of the block line with an environment."""
        place = index_of_line(self.lines, key)
        if place is None:
            places = enumerate(self.lines[: self.pinned])
            place = next((place for place, line in places if isinstance(line, BlockLine) and _shows(line, key)), None)
        return place

    def pin(self) -> None:
        """Keep the cursor in place, as after a move by the user."""
        self.was_moved = True
        self._chosen = None if self.cursor is None else self.cursor.key
        self._visit()

    def settle(self) -> None:
        """Pin a moved cursor."""
        if self.was_moved:
            self.pin()

    def _block_lines(self, block: Block) -> list[Line]:
        lines: list[Line] = []
        for line in self._with_cursor(block):
            lines.append(line)
            if line.key == self.unfolded and line.single is None:
                lines += line.off  # members that are back stand in the table
        return lines

    def _with_cursor(self, block: Block) -> Sequence[BlockLine]:
        cursor = self.cursor
        is_over = isinstance(cursor, BlockLine) and bool(cursor.returned) and self.was_moved
        if not is_over or not isinstance(cursor, BlockLine) or any(line.key == cursor.key for line in block.lines):
            return block.lines
        if any(tracked.key in block.homes for tracked in cursor.members):
            return block.lines
        place = min(self.place or 0, len(block.lines))
        return (*block.lines[:place], cursor, *block.lines[place:])

    def take(  # noqa: PLR0913  the state of the screen
        self,
        view: View,
        block: Block,
        arranged: Callable[[OrderReason | None, Collection[EnvironmentKey]], Arrangement],
        *,
        is_steady: bool = False,
        top: int = 0,
        height: int = 0,
    ) -> int:
        """Replace the lines, and return the index of the table's first visible line, until now `top`.

        A `view` different from the last is a change by the user. `arranged` returns rows for the held row's reason and
        the block's keys. `is_steady` keeps present rows in place, puts new rows behind, and sets `is_due`. `height` is
        the number of visible table lines.
        """
        before, self._view = self._view, view
        is_new_filter = not before.chooses_like(view)
        lines, table_place = self.table_lines, self.table_place
        block_lines = self._block_lines(block)
        singles = (line.single for line in block_lines if isinstance(line, BlockLine))
        in_block = block.keys.union(single.key for single in singles if single is not None)
        order_reason = None if is_new_filter or not before.orders_like(view) else self.order_reason
        if order_reason is not None and order_reason.tracked.key in in_block:
            order_reason = None
        self._put(arranged(order_reason, in_block), block_lines, is_steady=is_steady)
        if before != view and self.was_moved and self._chosen is not None:
            place = self.place_of(self._chosen)
            is_back = place is not None and not (is_new_filter and self._is_outside(place))
            self.place = place if is_back else self.place
        if is_new_filter and self.place is not None and self._is_outside(self.place):
            self.place = self._home
        places = None
        if self.was_moved and table_place is not None and self.table_place is not None:
            places = (table_place, self.table_place)
        return kept_top(lines, self.table_lines, top, height, places)

    def _put(self, arrangement: Arrangement, block_lines: Sequence[Line], *, is_steady: bool) -> None:
        if is_steady:
            steady = self._steady(arrangement)
            self.is_due = list(steady.rows) != list(arrangement.rows)
            arrangement = steady
        else:
            self.is_due = False
            order_reason = arrangement.order_reason
            self._order_reasons = {} if order_reason is None else {order_reason.tracked.key: order_reason}
        self._set(arrangement, block_lines)

    def hidden(self, keys: Collection[EnvironmentKey]) -> frozenset[EnvironmentKey]:
        """Return the keys outside block and table; folded rows are in the table."""
        if not keys:
            return frozenset()
        lines = self.lines[: self.pinned]
        members = chain.from_iterable(line.members for line in lines if isinstance(line, BlockLine))
        return frozenset(keys).difference(tracked.key for tracked in chain(members, self._arrangement.rows))

    @property
    def _home(self) -> int | None:
        matching = [place for place in range(self.pinned) if not self._is_outside(place)][:1]
        rows = enumerate(self.table_lines, self.pinned)
        matching += [next((place for place, line in rows if not isinstance(line, GroupHeader)), self.pinned)]
        return matching[0] if matching[0] < len(self.lines) else None

    def _is_outside(self, place: int) -> bool:
        line = self.lines[place]
        if place >= self.pinned or isinstance(line, GroupHeader):
            return False
        members = line.members if isinstance(line, BlockLine) else (line,)
        if not members:  # the platform's or envwatch's own line
            return self._arrangement.is_narrowed
        return len(self.outside(members)) == len(members)

    def outside(self, members: Sequence[TrackedEnvironment]) -> frozenset[EnvironmentKey]:
        """Return the keys of members outside the view."""
        arrangement = self._arrangement
        if not arrangement.is_narrowed:
            return frozenset()
        keys = frozenset([member.key for member in members]) - arrangement.in_block
        return keys.difference(row.key for row in arrangement.rows) if keys else keys

    def _steady(self, arrangement: Arrangement) -> Arrangement:
        before = self._arrangement
        coming = {tracked.key: tracked for tracked in arrangement.rows}
        present, old = [], 0
        for place, was in enumerate(before.rows):
            tracked = coming.pop(was.key, None)
            if tracked is None:
                continue
            if tracked is not was:
                self._order_reasons.setdefault(was.key, self._placed(was))
            present.append(tracked)
            old += place >= len(before.rows) - before.old
        end = len(present) - old
        rows = [*present[:end], *coming.values(), *present[end:]]
        return arrangement._replace(rows=rows, old=old, wall=before.wall)

    def _set(self, arrangement: Arrangement, block_lines: Sequence[Line]) -> None:
        cursor, place, was_in_block = self.cursor if self.was_moved else None, self.place or 0, self.is_in_block
        head = self._head_of(place)
        self._arrangement = arrangement
        self.table_lines = table_lines(arrangement, self._view)
        self.lines = [*block_lines, *self.table_lines]
        self.pinned = len(block_lines)
        self.place = None if cursor is None else self.place_of(cursor.key)
        if self.place is None and cursor is not None and was_in_block:
            joined = map(
                self.place_of, (tracked.key for tracked in cursor.off) if isinstance(cursor, BlockLine) else ()
            )
            found = (each for each in joined if each is not None and each < self.pinned)
            self.place = next(found, self._next_in_block(place))
        elif self.place is None and cursor is not None:
            self.place = self._header_of_folded(cursor.key)
        if self.passes_on and was_in_block and self.is_in_block:
            self.place = self._place_after(head, is_member=place > head)
            self.pin()
        self.passes_on = False
        if self.place is None:
            self.place = self._home

    @property
    def _heads(self) -> list[int]:
        return [place for place, line in enumerate(self.lines[: self.pinned]) if isinstance(line, BlockLine)]

    def _head_of(self, place: int) -> int:
        return max((head for head in self._heads if head <= place), default=place)

    def _place_after(self, before: int, *, is_member: bool) -> int:
        """Return the place of the next open line, or of its first member if the last member left it acknowledged."""
        here = self.place or 0
        lines = [place for place in self._open_lines() if not self._is_outside(place)]
        if not lines or self._head_of(here) in lines:
            return here
        following = next((line for line in lines if line >= before), lines[0])
        first_member = following + 1
        is_unfolded = first_member < self.pinned and first_member not in self._heads
        stays_inside = is_member and following == before and is_unfolded
        return first_member if stays_inside else following

    def _next_in_block(self, place: int) -> int | None:
        heads = [head for head in self._heads if not self._is_outside(head)]
        return next((head for head in heads if head >= place), heads[-1] if heads else None)

    def _header_of_folded(self, key: LineKey) -> int | None:
        lines = enumerate(self.lines)
        folded = ((place, line) for place, line in lines if isinstance(line, GroupHeader) and not line.is_open)
        return next((place for place, line in folded if index_of_line(line.environments, key) is not None), None)

    def move_to(self, place: int) -> bool:
        """Move the cursor to the nearest line; return True if a row outside the view was left and removed."""
        if not self.lines:
            return False
        before, left = self.place or 0, self.cursor
        self.place = min(max(place, 0), len(self.lines) - 1)
        self.pin()
        if self.place == before or not isinstance(left, TrackedEnvironment):
            self.is_due = self.is_due or isinstance(left, BlockLine)
            return False
        if left.key == self._arrangement.ghost:
            self._set(self._arrangement.without(left.key), self.lines[: self.pinned])
            return True
        self.is_due = self.is_due or left.key in self._order_reasons
        return False

    def heading(self) -> GroupHeader | None:
        """Return the header of the cursor's group."""
        place = self.place
        lines = self.lines[self.pinned : place + 1] if place is not None else ()
        return next((line for line in reversed(lines) if isinstance(line, GroupHeader)), None)

    def _open_lines(self) -> dict[int, BlockLine]:
        lines = enumerate(self.lines[: self.pinned])
        return {place: line for place, line in lines if isinstance(line, BlockLine) and line.is_open}

    def next_open(self) -> int | None:
        """Return the place of the first open line not visited since its newest loss, else of the next open line.

        The unvisited line may be under the cursor. Returns None without a second open line.
        """
        here, lines = self.place, self._open_lines()
        places = [place for place in lines if place != here]
        if not places:
            return None
        unvisited = (place for place, line in lines.items() if self._visited.get(line.key, -inf) < line.noticed_at)
        below = (place for place in places if here is not None and place > here)
        following = next(unvisited, next(below, places[0]))
        if following != here and (cursor := self.cursor) is not None:
            self._trail.append(cursor.key)
        return following

    def previous_open(self) -> int | None:
        """Return the place where `next_open` last started, else the open line above."""
        while self._trail:
            place = self.place_of(self._trail.pop())
            if place is not None and place != self.place:
                return place
        places = [place for place in self._open_lines() if place != self.place]
        above = [place for place in places if self.place is not None and place < self.place]
        return above[-1] if above else places[-1] if places else None

    def _visit(self) -> None:
        if isinstance(line := self.cursor, BlockLine):
            self._visited[line.key] = line.noticed_at
            present = {each.key for each in self.lines[: self.pinned]}
            self._visited = {key: stamp for key, stamp in self._visited.items() if key in present}

    def visible_block(self, most: int, wall: float) -> list[int | More]:
        """Return the block indices that fit into `most` lines, and counts of hidden lines.

        The newest open line has priority, then the cursor's line, the counts, and lines from the top. `wall` is this
        machine's clock in ms.
        """
        block = self.lines[: self.pinned]
        if len(block) <= most:
            return list(range(len(block)))
        if most <= 0:
            return []
        heads = self._heads
        members = [place for place in range(len(block)) if place not in heads]
        first = [place for place in [*self._open_lines()][:1] if place != self.place]
        if self.is_in_block and self.place is not None:
            first.append(self.place)
        if members and members[0] - 1 not in first and len(first) < most - 1:
            first.append(members[0] - 1)
        first = first[:most]
        room = most - len(first) - (len(first) < most)
        others = [place for place in heads if place not in first]
        for_members = min(len(members), max(room - len(others), min(_LEAST_MEMBERS, room)))
        chosen = {*first, *others[: max(room - for_members, 0)]}
        start = (self.place or 0) - for_members if self.place in members else 0
        chosen.update([place for place in members if place >= start and place not in first][: max(for_members, 0)])
        shown: list[int | More] = sorted(chosen)
        hidden = [line for place in heads if place not in chosen and isinstance(line := block[place], BlockLine)]
        if hidden and len(shown) < most:
            machines = sum(line.machines for line in hidden)
            shown.append(More(machines, sum(line.fresh_losses(wall) for line in hidden)))
        elif members and len(shown) < most and (left := len(members) - len(chosen.intersection(members))):
            end = max((place for place in chosen if place in members), default=members[0] - 1)
            shown.insert(shown.index(end) + 1 if end in shown else len(shown), More(members=left))
        return shown


def _shows(line: BlockLine, key: LineKey) -> bool:
    return any(tracked.key == key for tracked in line.members)


def kept_top(
    before: Sequence[TableLine],
    after: Sequence[TableLine],
    top: int,
    height: int,
    cursor: tuple[int, int] | None,
) -> int:
    """Return the index of the first visible line that keeps visible rows in place.

    A moved cursor's visible line has priority, then the top of the list, then most visible lines. No line stays empty
    while a row is out of sight. `cursor` holds the old and new index of a moved cursor's line.
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
