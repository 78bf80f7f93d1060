"""The cursor among the lines of the table: it, and what is visible, keep their places through every change."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of
from support.tracked_environments import ALL, fleet_of, late, offline, online

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.silences import NO_SILENCES, silence_of_environments
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.arrangement import OrderInputs, arrange, lines_of
from envwatch.views.cursor import RowCursor, kept_top
from envwatch.views.grouping import Divider, GroupHeader, group_key
from envwatch.views.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.silences import Silences
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.grouping import Line

KINDS = {"+": online, "~": late, "x": offline}
OS = group_key("os", clean("linux"))


def row(name: str, kind: str) -> TrackedEnvironment:
    return KINDS[kind](name)


class Table:
    """A cursor over the lines of a fleet, whose rows are written as `a+ b~ cx`: online, late, offline."""

    def __init__(self, height: int = 3) -> None:
        self.cursor = RowCursor()
        self.view = View()
        self.height = height
        self.top = 0
        self._before: Sequence[Line] = ()

    def take(
        self,
        rows: str | Mapping[str, str],
        *,
        view: View | None = None,
        is_steady: bool = False,
        acks: Acks | None = None,
        silences: Silences = NO_SILENCES,
        at: float = NOW,
    ) -> Table:
        """Show a listing as the widget does."""
        kinds = {word[0]: word[1] for word in rows.split()} if isinstance(rows, str) else rows
        is_held = view is None
        self.view = view or self.view
        fleet = fleet_of(row(name, kind) for name, kind in kinds.items())
        cursor, lines, place = self.cursor, self.cursor.lines, self.cursor.place
        order_reason = cursor.order_reason if is_held else None
        cursor.take(
            arrange(fleet, self.view, ALL, OrderInputs(at, acks or {}, silences), order_reason=order_reason),
            lambda arrangement: lines_of(arrangement, self.view, fleet),
            is_steady=is_steady,
        )
        moved = None if not cursor.was_moved or place is None or cursor.place is None else (place, cursor.place)
        self.top = kept_top(lines, cursor.lines, self.top, self.height, moved)
        return self

    def go(self, place: int) -> None:
        """Move the cursor, and scroll until it is visible."""
        self.cursor.move_to(place)
        place = self.cursor.place or 0
        self.top = min(max(self.top, place - self.height + 1), place)

    @property
    def line(self) -> int | None:
        """Where the cursor is on the screen."""
        place = self.cursor.place
        return None if place is None or not self.top <= place < self.top + self.height else place - self.top

    @property
    def on(self) -> str | None:
        """What the cursor is on."""
        return None if self.cursor.cursor is None else name_of(self.cursor.cursor)

    @property
    def shown(self) -> str:
        """All lines; `-` is the rule."""
        return "".join(map(name_of, self.cursor.lines))


def name_of(line: Line) -> str:
    if isinstance(line, Divider):
        return "-"
    return f"[{line.title}]" if isinstance(line, GroupHeader) else line.environment.name


def test_an_empty_table_has_no_cursor_and_moving_it_is_harmless() -> None:
    cursor = RowCursor()
    assert cursor.cursor is None
    assert not cursor.move_to(3)
    assert Table().take("").cursor.place is None


def test_until_it_is_moved_the_cursor_stands_on_the_first_row_at_the_top() -> None:
    table = Table().take("a+ b+ c+")
    assert (table.on, table.top) == ("a", 0)
    table.take("a+ b+ cx")
    assert (table.shown, table.on, table.line) == ("c-ab", "c", 0)
    table.take("a+ b+", view=View(group="os"))
    assert (table.on, table.line) == ("a", 1)


def test_the_cursor_skips_the_rule_in_both_directions() -> None:
    table = Table().take("ax b+")
    table.go(1)
    assert (table.shown, table.on) == ("a-b", "b")
    table.go(1)
    assert table.on == "a"


@pytest.mark.parametrize("after", ["ax bx c+ d+", "a+ b~ c+ d+", "a+ c+ d+", "ax c+ d+ e+"])
def test_a_row_under_a_moved_cursor_keeps_its_place_whatever_happens_to_it(after: str) -> None:
    table = Table().take("a+ b+ c+ d+")
    table.go(1)
    table.take(after)
    assert "bcd" in table.shown
    assert (table.on, table.line) == ("b", 1)


def test_when_the_cursor_leaves_a_row_it_goes_where_it_belongs() -> None:
    table = Table().take("a+ b+ c+")
    table.go(1)
    table.take("a+ bx c+")
    assert (table.shown, table.cursor.is_due) == ("abc", False)
    table.take("a+ bx c+")
    table.go(2)
    assert table.cursor.is_due
    table.take("a+ bx c+")
    assert (table.shown, table.on, table.line) == ("b-ac", "c", 2)


def test_a_row_that_recovers_under_the_cursor_stays_in_the_block_until_it_is_left() -> None:
    table = Table().take("ax bx c+")
    table.go(1)
    table.take("ax b+ c+")
    assert table.shown == "ab-c"
    table.go(0)
    table.take("ax b+ c+")
    assert table.shown == "a-bc"


def test_an_acknowledged_row_stays_under_the_cursor_and_then_follows_the_others() -> None:
    acks = {key_of("env-a"): Ack(NOW, clean(""))}
    table = Table().take("ax bx c+")
    table.go(1)
    table.go(0)
    table.take("ax bx c+", acks=acks)
    assert (table.shown, table.on) == ("ab-c", "a")
    table.go(1)
    table.take("ax bx c+", acks=acks)
    assert (table.shown, table.on) == ("ba-c", "b")


def test_a_silenced_row_stays_under_the_cursor_and_then_follows_the_others_until_the_silence_ends() -> None:
    silence = silence_of_environments([key_of("env-a")], WallMs(NOW), timedelta(hours=1), clean(""), clean("ada"))
    silences = {silence.id: silence}
    table = Table().take("ax bx c+")
    table.go(1)
    table.go(0)
    table.take("ax bx c+", silences=silences)
    assert (table.shown, table.on) == ("ab-c", "a")
    table.go(1)
    table.take("ax bx c+", silences=silences)
    assert (table.shown, table.on) == ("ba-c", "b")
    table.go(0)
    table.go(1)
    table.take("ax bx c+", silences=silences, at=NOW + 3_600_000)
    assert (table.shown, table.on) == ("ba-c", "a")
    table.go(0)
    table.take("ax bx c+", silences=silences, at=NOW + 3_600_000)
    assert (table.shown, table.on) == ("ab-c", "b")


def test_time_alone_does_not_move_the_row_under_the_cursor() -> None:
    table = Table().take("ax bx c+")
    table.go(1)
    table.take("ax bx c+", at=NOW + 90_000_000)
    assert table.shown == "b-c[offline for over 24 h]"
    table.take("ax bx c+", at=NOW + 90_000_000)
    assert table.on == "b"


def test_a_row_that_disappears_under_the_cursor_stays_until_the_cursor_leaves_it() -> None:
    table = Table().take("a+ b+ c+")
    table.go(1)
    table.take("c+ d+")
    assert (table.shown, table.on) == ("bcd", "b")
    table.take("cx d+")
    assert (table.shown, table.on, table.line) == ("c-bd", "b", 1)
    assert table.cursor.move_to(3)
    assert (table.shown, table.on) == ("c-d", "d")


def test_another_view_puts_every_row_where_it_belongs_and_leaves_no_ghost() -> None:
    table = Table().take("a+ b+ c+")
    table.go(1)
    table.take("a+ bx c+")
    assert table.shown == "abc"
    table.take("a+ bx c+", view=View(sort="name", is_inverted=True))
    assert (table.shown, table.on) == ("cba", "b")
    table.take("a+ bx c+", view=View(query=parse("name:c")))
    assert (table.shown, table.on) == ("c", "c")


def test_steady_rows_keep_their_places_and_new_ones_come_last() -> None:
    table = Table().take("ax b+ c+")
    table.take("ax b+ cx d+", is_steady=True)
    assert (table.shown, table.cursor.is_due) == ("a-bcd", True)
    table.take("ax b+ cx d+")
    assert (table.shown, table.cursor.is_due) == ("ac-bd", False)


def test_a_row_that_changed_while_rows_were_steady_stays_if_the_cursor_came_to_it() -> None:
    table = Table().take("a+ b+ c+ d+")
    table.go(1)
    table.take("a+ b+ cx d+", is_steady=True)
    table.go(2)
    table.take("a+ b+ cx d+")
    assert (table.shown, table.on, table.line) == ("abcd", "c", 2)


def test_the_cursor_goes_to_the_header_of_a_folded_row_and_stays_there() -> None:
    table = Table().take("a+ b+", view=View(group="os"))
    table.go(2)
    table.take("a+ b+", view=View(group="os", folded=frozenset({OS})))
    assert table.on == "[os linux]"
    table.take("a+ b+", view=View(group="os"))
    assert table.on == "[os linux]"
    header = table.cursor.heading()
    assert header is not None
    assert header.key == OS
    assert Table().take("a+").cursor.heading() is None


def test_what_is_visible_stays_where_it_is_when_problems_come_above() -> None:
    table = Table(3).take("a+ b+ c+ d+ e+ f+")
    table.top = 2
    table.take("a+ b+ c+ d+ ex f+")
    assert table.shown[table.top : table.top + 3] == "cdf"
    table.take("a+ b+ cx d+ ex f+")
    assert table.shown == "ce-abdf"
    assert table.shown[table.top : table.top + 3] == "bdf"


def test_a_list_at_its_top_shows_new_problems_unless_the_cursor_was_moved_there() -> None:
    table = Table(3).take("a+ b+ c+ d+")
    table.go(3)
    table.top = 0
    table.take("a+ b+ cx d+")
    assert table.top == 0


KINDS_OF_ROWS = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from("+~x"))


@given(
    st.lists(
        st.tuples(
            KINDS_OF_ROWS,
            st.booleans(),
            st.none() | st.integers(-1, 12),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.integers(1, 6),
    st.sampled_from([View(), View(sort="name"), View(group="os"), View(preset=Preset.OFFLINE)]),
)
def test_the_row_under_the_cursor_keeps_its_line_and_no_row_is_lost(
    steps: Sequence[tuple[Mapping[str, str], bool, int | None, bool]], height: int, view: View
) -> None:
    table = Table(height)
    table.view = view
    for kinds, is_steady, move, is_acked in steps:
        on, line, was_moved = table.on, table.line, table.cursor.was_moved
        acks = {key_of(f"env-{name}"): Ack(NOW, clean("")) for name in kinds if is_acked}
        table.take(kinds, is_steady=is_steady, acks=acks)
        expected = {name for name, kind in kinds.items() if view.preset is Preset.ALL or kind == "x"}
        rows = {tracked.environment.name for tracked in table.cursor.rows}
        assert rows - expected <= {on}
        assert rows >= expected
        assert (table.cursor.place is None) is (not table.cursor.lines)
        place, count = table.cursor.place, len(table.cursor.lines)
        if was_moved and on is not None and on in table.shown and line is not None and place is not None:
            assert table.on == on
            # Nothing but an end of the list moves it.
            assert table.line == line or table.top in (0, max(count - height, 0))
            assert table.line == line or not 0 <= place - line <= max(count - height, 0)
        if not was_moved:
            assert table.top == 0
        if move is not None and table.cursor.lines:
            table.go(move)
            # The header of a group goes with the ghost that was all of it.
            assert table.line is not None or not table.cursor.lines
            assert table.cursor.cursor is not None or not table.cursor.lines
