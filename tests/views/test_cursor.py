"""The cursor among the lines of block and table: cursor and visible lines keep their places through every change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW
from support.tracked_environments import ALL, contexts_at, fleet_of, late, named, offline, online

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import Fleet
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import Arrangement, arrange
from envwatch.views.table.block import Block, BlockLine
from envwatch.views.table.cursor import More, RowCursor, kept_top
from envwatch.views.table.table_view import GroupHeader, Preset, View, group_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.table.table_view import Line, TableLine

KINDS = {"+": online, "~": late, "x": offline}
OS = group_key("os", clean("linux"))


def row(name: str, kind: str) -> TrackedEnvironment:
    return KINDS[kind](name)


def incident(names: str, at: float = 0.0, *, state: str = "", id_: str = "") -> BlockLine:
    """Return a block line of environments named by single letters.

    Args:
        names: one letter a name.
        at: when the newest loss was noticed, in seconds.
        state: `acked`, or `back` for a line whose members are back.
        id_: the incident's id; the default is made of the names.
    """
    rows = tuple(online(name) if state == "back" else offline(name) for name in names)
    return BlockLine(
        key=("incident", "", id_ or names),
        profile=NO_PROFILE,
        off=() if state == "back" else rows,
        returned=rows if state == "back" else (),
        member_keys=frozenset(tracked.key for tracked in rows),
        total=len(rows),
        began_at=WallMs(NOW + at * 1000),
        noticed_at=WallMs(NOW + at * 1000),
        losses_at=() if state else (WallMs(NOW + at * 1000),) * len(rows),
        acked=len(rows) if state == "acked" else 0,
    )


class Screen:
    """A cursor over a block and a fleet, whose rows are written as `a+ b~ cx`: online, late, offline.

    Offline rows outside the block need nobody.
    """

    def __init__(self, height: int = 3) -> None:
        self.cursor = RowCursor()
        self.view = View()
        self.height = height
        self.top = 0

    def take(
        self,
        rows: str | Mapping[str, str] | Fleet,
        *block: BlockLine,
        view: View | None = None,
        is_steady: bool = False,
        at: float = NOW,
    ) -> Screen:
        if isinstance(rows, Fleet):
            fleet = rows
        else:
            kinds = {word[0]: word[1] for word in rows.split()} if isinstance(rows, str) else rows
            fleet = fleet_of(row(name, kind) for name, kind in kinds.items())
        self.view = chosen = view or self.view
        homes = {tracked.key: line.key for line in block for tracked in line.off}
        self.top = self.cursor.take(
            chosen,
            Block(lines=block, keys=frozenset(homes), homes=homes),
            lambda reason, in_block: arrange(
                contexts_at(fleet, at), chosen, ALL, in_block=in_block, order_reason=reason
            ),
            is_steady=is_steady,
            top=self.top,
            height=self.height,
        )
        return self

    def go(self, place: int) -> None:
        self.cursor.move_to(place)
        if (table_place := self.cursor.table_place) is not None:
            self.top = min(max(self.top, table_place - self.height + 1), table_place)

    @property
    def line(self) -> int | None:
        place = self.cursor.table_place
        return None if place is None or not self.top <= place < self.top + self.height else place - self.top

    @property
    def on(self) -> str | None:
        return None if self.cursor.cursor is None else name_of(self.cursor.cursor)

    @property
    def shown(self) -> str:
        return "".join(map(name_of, self.cursor.table_lines))

    @property
    def block(self) -> list[str]:
        return [name_of(line) for line in self.cursor.lines[: self.cursor.pinned]]


def name_of(line: Line | TableLine) -> str:
    """Return a line's name; an incident's name is `<names>`."""
    if isinstance(line, BlockLine):
        return f"<{''.join(tracked.environment.name or '' for tracked in line.members)}>"
    return f"[{line.title}]" if isinstance(line, GroupHeader) else line.environment.name or ""


# The screen.


@pytest.mark.parametrize(
    ("before", "after", "top", "cursor", "kept"),
    [
        ("abcdefgh", "abcdefgh", 2, None, 2),
        ("abcdefgh", "xabcdefgh", 2, None, 3),
        ("abcdefgh", "xyabcdefgh", 0, None, 0),
        ("abcdefgh", "bcdefgh", 2, None, 1),
        ("abcdefgh", "cdefgh", 1, None, 0),
        ("abcdefgh", "xabcdefgh", 2, (3, 6), 5),
        ("abcdefgh", "xabcdefgh", 2, (2, 3), 3),
        ("abcdefgh", "xabcdefgh", 2, (4, 5), 3),
        ("abcdefgh", "xabcdefgh", 2, (5, 6), 3),
        ("abcdefgh", "xabcdefgh", 2, (5, 0), 3),
        ("abcdefgh", "xabcdefgh", 2, (1, 0), 3),
        ("abcdefgh", "abcdefgh", 2, (4, 0), 0),
        ("abcdefgh", "abcdefgh", 2, (2, 7), 5),
        ("abcdefgh", "xabcdefgh", 0, (0, 1), 1),
        ("abcdefgh", "ab", 5, None, 0),
        ("abcdefgh", "uvwxyz", 3, None, 3),
        ("abcdefghijklm", "abcdxefghijklm", 1, None, 1),
        ("abcdefghijklm", "abxcdefghijklm", 1, None, 2),
        ("abcdefgh", "uvwxyz", 5, None, 3),
    ],
)
def test_visible_lines_stay_where_most_of_them_are(
    before: str, after: str, top: int, cursor: tuple[int, int] | None, kept: int
) -> None:
    was, now = (
        [online(f"{letter}{number}" if letter == "x" else letter) for number, letter in enumerate(each)]
        for each in (before, after)
    )
    assert kept_top(was, now, top, 3, cursor) == kept


def test_nothing_hidden_and_no_rows_count_nothing() -> None:
    assert More() == More(machines=0, fresh=0, members=0)
    assert Arrangement() == Arrangement(rows=(), old=0, wall=0.0)


def test_an_empty_table_has_no_cursor_and_a_move_is_harmless() -> None:
    cursor = RowCursor()
    assert cursor.cursor is None
    assert not cursor.move_to(3)
    assert Screen().take("").cursor.place is None


def test_an_unmoved_cursor_stands_on_the_first_row_at_the_top() -> None:
    screen = Screen().take("a+ b+ c+")
    assert (screen.on, screen.top) == ("a", 0)
    screen.take("a+ b+ c~")
    assert (screen.shown, screen.on, screen.line) == ("cab", "c", 0)
    screen.take("a+ b+", view=View(group="os"))
    assert (screen.on, screen.line) == ("a", 1)


@pytest.mark.parametrize("after", ["a~ bx c+ d+", "a+ b~ c+ d+", "a+ c+ d+", "a~ c+ d+ e+"])
def test_a_row_under_a_moved_cursor_keeps_its_place_after_any_change(after: str) -> None:
    screen = Screen().take("a+ b+ c+ d+")
    screen.go(1)
    screen.take(after)
    assert "bcd" in screen.shown
    assert (screen.on, screen.line) == ("b", 1)


def test_a_row_left_by_the_cursor_goes_to_its_place() -> None:
    screen = Screen().take("a+ b+ c+")
    screen.go(1)
    screen.take("a+ b~ c+")
    assert (screen.shown, screen.cursor.is_due) == ("abc", False)
    screen.take("a+ b~ c+")
    screen.go(2)
    assert screen.cursor.is_due
    screen.take("a+ b~ c+")
    assert (screen.shown, screen.on, screen.line) == ("bac", "c", 2)


def test_time_alone_does_not_move_the_row_under_the_cursor() -> None:
    screen = Screen().take("ax bx c+")
    screen.go(1)
    screen.take("ax bx c+", at=NOW + 90_000_000)
    assert screen.shown == "bc[off for over 24 h]"
    screen.take("ax bx c+", at=NOW + 90_000_000)
    assert screen.on == "b"


def test_a_vanished_row_under_the_cursor_stays_until_the_cursor_leaves() -> None:
    screen = Screen().take("a+ b+ c+")
    screen.go(1)
    screen.take("c+ d+")
    assert (screen.shown, screen.on) == ("bcd", "b")
    screen.take("c~ d+")
    assert (screen.shown, screen.on, screen.line) == ("cbd", "b", 1)
    assert screen.cursor.move_to(2)
    assert (screen.shown, screen.on) == ("cd", "d")


def test_another_view_orders_every_row_and_leaves_no_ghost() -> None:
    screen = Screen().take("a+ b+ c+")
    screen.go(1)
    screen.take("a+ b~ c+")
    assert screen.shown == "abc"
    screen.take("a+ b~ c+", view=View(sort="name", is_inverted=True))
    assert (screen.shown, screen.on) == ("cba", "b")
    screen.take("a+ b~ c+", view=View(query=parse("name:c")))
    assert (screen.shown, screen.on) == ("c", "c")


def test_the_cursor_keeps_its_row_while_the_order_changes() -> None:
    screen = Screen().take("a+ b+ c+ d+")
    screen.go(2)
    for view, shown in (
        (View(sort="name", is_inverted=True), "dcba"),
        (View(query=parse("name:c"), sort="name"), "c"),
        (View(sort="name"), "abcd"),
        (View(group="os"), "[os linux]abcd"),
    ):
        screen.take("a+ b+ c+ d+", view=view)
        assert (screen.shown, screen.on) == (shown, "c")


def test_a_row_leaves_a_preset_only_after_the_cursor() -> None:
    screen = Screen().take("ax bx cx d+", view=View(preset=Preset.OFF))
    screen.go(1)
    screen.take("ax b+ cx d+")
    assert (screen.shown, screen.on) == ("abc", "b")
    screen.go(0)
    assert (screen.shown, screen.on) == ("ac", "a")


def test_steady_rows_keep_their_places_before_new_and_old_rows() -> None:
    screen = Screen().take("a~ b+ c+")
    screen.take("a~ b+ c~ d+", is_steady=True)
    assert (screen.shown, screen.cursor.is_due) == ("abcd", True)
    screen.take("a~ b+ c~ d+")
    assert (screen.shown, screen.cursor.is_due) == ("acbd", False)
    rows = [online("a"), online("b"), offline("o", 90_000), offline("p", 99_000)]
    screen = Screen()
    for number, fleet in enumerate((rows, [*rows[1:], online("d")], [*rows[1:3], online("d")])):
        screen.take(fleet_of(fleet), is_steady=number > 0)
    assert screen.shown == "bd[off for over 24 h]"
    (old,) = [line for line in screen.cursor.table_lines if isinstance(line, GroupHeader)]
    assert [row.environment.name for row in old.environments] == ["o"]
    screen = Screen().take("a+ bx c+", incident("b"))
    screen.take("ax b+ c+ d+", incident("a"), is_steady=True)
    assert (screen.block, screen.shown) == (["<a>"], "cbd")


def test_a_row_changed_between_steady_rows_stays_under_the_cursor() -> None:
    screen = Screen().take("a+ b+ c+ d+")
    screen.go(1)
    screen.take("a+ b+ c~ d+", is_steady=True)
    screen.go(2)
    screen.take("a+ b+ c~ d+")
    assert (screen.shown, screen.on, screen.line) == ("abcd", "c", 2)


def test_the_cursor_goes_to_the_header_of_a_folded_row_and_stays_there() -> None:
    screen = Screen().take("a+ b+", view=View(group="os"))
    screen.go(2)
    screen.take("a+ b+", view=View(group="os", folded=frozenset({OS})))
    assert screen.on == "[os linux]"
    screen.cursor.pin()
    screen.take("a+ b+", view=View(group="os"))
    assert screen.on == "[os linux]"
    header = screen.cursor.heading()
    assert header is not None
    assert header.key == OS
    assert Screen().take("a+").cursor.heading() is None
    grouped = Screen().take("a+ b~ c+", view=View(group="mode", folded=frozenset()))
    grouped.go(0)
    assert grouped.cursor.heading() is grouped.cursor.lines[0]
    two = fleet_of([named("a", currentMode="strict"), named("b", currentMode="standard")])
    grouped = Screen().take(two, view=View(group="mode"))
    grouped.go(1)
    assert grouped.cursor.heading() is grouped.cursor.lines[0]


def test_visible_rows_stay_in_place_below_new_late_rows() -> None:
    screen = Screen(3).take("a+ b+ c+ d+ e+ f+")
    screen.top = 2
    screen.take("a+ b+ c+ d+ e~ f+")
    assert screen.shown[screen.top : screen.top + 3] == "cdf"
    screen.take("a+ b+ c~ d+ e~ f+")
    assert screen.shown == "ceabdf"
    assert screen.shown[screen.top : screen.top + 3] == "bdf"


KINDS_OF_ROWS = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from("+~x"))


@given(
    st.lists(
        st.tuples(
            KINDS_OF_ROWS,
            st.frozensets(st.sampled_from("abcdefghij")),
            st.booleans(),
            st.none() | st.integers(-1, 12),
        ),
        max_size=8,
    ),
    st.integers(1, 6),
    st.sampled_from([View(), View(sort="name"), View(group="os"), View(preset=Preset.OFF, query=parse("status:off"))]),
)
def test_the_row_under_the_cursor_keeps_its_line_and_no_row_is_lost(
    steps: Sequence[tuple[Mapping[str, str], frozenset[str], bool, int | None]], height: int, view: View
) -> None:
    """Rows that are off and need a person have one block line each, in every view."""
    screen = Screen(height)
    screen.view = view
    for kinds, needs_a_person, is_steady, move in steps:
        on, line, was_moved = screen.on, screen.line, screen.cursor.was_moved
        block = sorted(name for name in needs_a_person if kinds.get(name) == "x")
        screen.take(kinds, *map(incident, block), is_steady=is_steady)
        assert screen.block == [f"<{name}>" for name in block]
        expected = {name for name, kind in kinds.items() if view.preset is Preset.ALL or kind == "x"}.difference(block)
        rows = {tracked.environment.name for tracked in screen.cursor.rows}
        assert rows - expected <= {on}
        assert rows >= expected
        assert rows.isdisjoint(block)
        assert (screen.cursor.place is None) is (not screen.cursor.lines)
        place, count = screen.cursor.table_place, len(screen.cursor.table_lines)
        if was_moved and on is not None and f"<{on}>" in screen.block:
            assert screen.on == f"<{on}>"
        elif was_moved and on is not None and on in screen.block:
            assert screen.on == on
        elif was_moved and on is not None and on in screen.shown and line is not None and place is not None:
            assert screen.on == on
            # Only an end of the list moves the cursor.
            assert screen.line == line or screen.top in (0, max(count - height, 0))
            assert screen.line == line or not 0 <= place - line <= max(count - height, 0)
        if not was_moved:
            assert screen.top == 0
            assert not screen.cursor.lines or screen.cursor.place == int(
                isinstance(screen.cursor.lines[0], GroupHeader)
            )
        if move is not None and screen.cursor.lines:
            screen.go(move)
            # A group's header disappears with the ghost that was the only member.
            assert screen.line is not None or screen.cursor.is_in_block or not screen.cursor.table_lines
            assert screen.cursor.cursor is not None or not screen.cursor.lines


def test_an_unmoved_cursor_stands_on_the_newest_loss() -> None:
    screen = Screen().take("a+ bx c+", incident("b"))
    assert (screen.on, screen.shown) == ("<b>", "ac")
    screen.take("ax bx c+", incident("a", 9), incident("b"))
    assert screen.on == "<a>"
    screen.take("a+ b+ c+")
    assert screen.on == "a"


def test_the_cursor_follows_its_environment_its_line_and_the_members_of_its_line() -> None:
    screen = Screen().take("a+ b+ c+")
    screen.go(1)
    screen.take("a+ bx c+", incident("a", 9), incident("b"))
    assert screen.on == "<b>"
    screen.take("a+ bx cx", incident("a", 9), incident("bc", id_="b"))
    assert screen.on == "<bc>"
    screen = Screen().take("ax bx cx", incident("a", 3), incident("b", 2), incident("c", 1))
    screen.go(1)
    screen.take("ax bx cx dx", incident("d", 4), incident("a", 3), incident("c", 1), incident("b", 2, state="acked"))
    assert (screen.on, screen.cursor.place) == ("<b>", 3)
    screen = Screen().take("ax bx cx", incident("a", 3), incident("b", 2), incident("c", 1))
    screen.go(2)
    screen.take("ax bx cx", incident("ac", 3, id_="storm"), incident("b", 2))
    assert screen.on == "<ac>"


@pytest.mark.parametrize(
    ("place", "left", "on"),
    [(0, "bc", "<b>"), (1, "ac", "<c>"), (2, "ab", "<b>"), (1, "c", "<c>"), (1, "", "d")],
)
def test_when_the_cursors_line_goes_the_cursor_goes_to_the_next_line_or_to_the_first_row(
    place: int, left: str, on: str
) -> None:
    screen = Screen().take("d~ e+", *map(incident, "abc"))
    screen.go(place)
    screen.take("d~ e+", *map(incident, left))
    assert screen.on == on


def test_a_line_with_all_members_back_stays_under_the_cursor() -> None:
    screen = Screen().take("ax bx c+", incident("a"), incident("b"))
    screen.go(1)
    screen.take("ax b+ c+", incident("a"), incident("b", state="back"))
    for _ in range(3):
        screen.take("ax b+ c+", incident("a"))
        assert (screen.block, screen.on, screen.shown) == (["<a>", "<b>"], "<b>", "c")
    screen.go(0)
    assert screen.cursor.is_due
    screen.take("ax b+ c+", incident("a"))
    assert (screen.block, screen.on, screen.shown) == (["<a>"], "<a>", "bc")


def test_a_line_under_the_cursor_with_a_member_lost_again_is_not_shown_twice() -> None:
    screen = Screen().take("ax b+", incident("a"))
    screen.go(0)
    screen.take("a+ b+", incident("a", state="back"))
    screen.take("ax b+", incident("a", id_="other"))
    assert (screen.block, screen.on) == (["<a>"], "<a>")


def test_the_members_of_the_unfolded_incident_are_lines_and_the_cursor_stays_on_its_member() -> None:
    screen = Screen().take("ax bx cx d+", incident("c", 9), incident("ab"))
    screen.go(1)
    screen.cursor.unfolded = ("incident", "", "ab")
    screen.take("ax bx cx d+", incident("c", 9), incident("ab"))
    assert (screen.block, screen.on) == (["<c>", "<ab>", "a", "b"], "<ab>")
    screen.go(3)
    screen.take("ax bx cx dx", incident("d", 12), incident("c", 9), incident("ab"))
    assert (screen.on, screen.cursor.place) == ("b", 4)
    screen.cursor.unfolded = None
    screen.take("ax bx cx dx", incident("d", 12), incident("c", 9), incident("ab"))
    assert (screen.block, screen.on) == (["<d>", "<c>", "<ab>"], "<ab>")


def test_only_members_off_are_lines_and_an_incident_of_one_does_not_unfold() -> None:
    screen = Screen().take("ax bx c+", incident("ab"))
    screen.go(0)
    screen.cursor.unfolded = ("incident", "", "ab")
    screen.take("ax bx c+", incident("ab"))
    screen.go(2)
    screen.take("a+ b+ c+", incident("ab", state="back"))
    assert (screen.block, screen.on) == (["<ab>"], "b")
    assert screen.shown.count("b") == 1
    screen = Screen()
    screen.cursor.unfolded = ("incident", "", "a")
    assert screen.take("ax", incident("a")).block == ["<a>"]


# After a filter.

LOST = incident("a", 3), incident("bc", 2), incident("d", 1)


def filtered(*names: str) -> View:
    return View(query=parse(f"name:{','.join(names)}"))


@pytest.mark.parametrize("start", [None, 0, 1, 3, 4])
@pytest.mark.parametrize(
    ("view", "matches"),
    [
        (filtered("d"), ["<d>"]),
        (filtered("c"), ["<bc>"]),
        (filtered("c", "e"), ["<bc>", "e"]),
        (filtered("e"), ["e"]),
        (filtered("f", "d"), ["<d>", "f"]),
        (View(query=parse("status:on,late")), ["e", "f"]),
        (replace(filtered("f"), group="os"), ["f"]),
        (filtered("x"), [None]),
    ],
)
def test_after_a_filter_the_cursor_stays_on_a_match_or_goes_to_the_first_in_block_and_table(
    start: int | None, view: View, matches: list[str | None]
) -> None:
    screen = Screen().take("ax bx cx dx e+ f+", *LOST)
    if start is not None:
        screen.go(start)
    expected = screen.on if start is not None and screen.on in matches else matches[0]
    assert screen.take("ax bx cx dx e+ f+", *LOST, view=view).on == expected


def test_the_cursor_returns_to_a_line_of_the_block_outside_a_filter() -> None:
    screen = Screen().take("ax bx cx dx e+ f+", *LOST)
    screen.go(1)
    found = []
    for view in (filtered("e"), filtered("x"), filtered("d"), View()):
        screen.take("ax bx cx dx e+ f+", *LOST, view=view)
        found.append(screen.on)
    assert found == ["e", None, "<d>", "<bc>"]


def test_the_cursor_returns_to_a_hidden_row_by_another_view_alone_and_only_until_a_move() -> None:
    screen = Screen().take("a+ b+ c+ d+")
    screen.go(2)
    for view, on in ((filtered("b"), "b"), (filtered("x"), None), (filtered("c", "d"), "c"), (filtered("b"), "b")):
        assert screen.take("a+ b+ c+ d+", view=view).on == on
    assert screen.take("a+ b+ c+ d+").on == "b"
    assert screen.take("a+ b+ c+ d+", view=filtered("a", "d")).on == "a"
    screen.go(1)
    assert screen.take("a+ b+ c+ d+", view=View()).on == "d"


def test_after_a_kept_filter_is_cleared_the_cursor_stays_on_its_row() -> None:
    screen = Screen().take("ax bx cx dx e+ f+", *LOST)
    for view in (filtered("f"), View()):
        screen.take("ax bx cx dx e+ f+", *LOST, view=view)
        screen.cursor.pin()
        assert screen.on == "f"


def test_without_a_match_the_cursor_waits_for_a_match_and_moves_from_the_top() -> None:
    screen = Screen().take("ax bx cx dx e+", *LOST)
    screen.go(2)
    screen.take("ax bx cx dx e+", *LOST, view=filtered("f"))
    assert (screen.on, screen.cursor.next_open()) == (None, 0)
    assert screen.take("ax bx cx dx e+ f+", *LOST).on == "f"


def test_an_unfolded_member_outside_the_filter_yields_to_its_incident_if_another_member_matches() -> None:
    screen = Screen()
    screen.cursor.unfolded = LOST[1].key
    screen.take("ax bx cx dx e+", *LOST)
    screen.go(2)
    assert screen.on == "b"
    assert screen.take("ax bx cx dx e+", *LOST, view=filtered("c")).on == "<bc>"
    screen.go(3)
    assert screen.take("ax bx cx dx e+", *LOST, view=filtered("c", "d")).on == "c"


def test_a_line_with_all_members_back_matches_by_its_rows_in_the_table() -> None:
    screen = Screen().take("ax b+ c+ e+", incident("a"), incident("bc", state="back"))
    assert screen.take("ax b+ c+ e+", incident("a"), incident("bc", state="back"), view=filtered("c")).on == "<bc>"


def test_a_gone_or_acknowledged_line_passes_the_cursor_on_to_a_match_only() -> None:
    screen = Screen().take("ax bx cx dx e+", *LOST, view=filtered("a", "d", "e"))
    screen.go(0)
    screen.cursor.passes_on = True
    acked = incident("a", 3, state="acked")
    assert screen.take("ax bx cx dx e+", *LOST[1:], acked).on == "<d>"
    assert screen.take("ax bx cx d+ e+", LOST[1], acked).on == "<a>"
    assert screen.take("a+ bx cx d+ e+", LOST[1]).on == "a"


def test_a_move_to_a_line_outside_the_filter_holds_until_another_filter() -> None:
    screen = Screen().take("ax bx cx dx e+", *LOST, view=filtered("e"))
    screen.go(0)
    assert screen.take("ax bx cx dx e+", *LOST).on == "<a>"
    assert screen.take("ax bx cx dx e+", *LOST, view=replace(filtered("e"), sort="name")).on == "<a>"
    assert screen.take("ax bx cx dx e+", *LOST, view=filtered("d")).on == "<d>"


# After an acknowledgement.


@pytest.mark.parametrize(
    ("place", "after", "on"),
    [
        (0, [incident("b"), incident("c"), incident("a", state="acked")], "<b>"),
        (1, [incident("a"), incident("c"), incident("b", state="acked")], "<c>"),
        (2, [incident("a"), incident("b"), incident("c", state="acked")], "<a>"),
        (1, [incident(name, state="acked") for name in "abc"], "<b>"),
    ],
)
def test_the_cursor_goes_on_to_the_next_open_line_after_an_acknowledgement(
    place: int, after: list[BlockLine], on: str
) -> None:
    screen = Screen().take("d+", *map(incident, "abc"))
    screen.go(place)
    screen.cursor.passes_on = True
    assert screen.take("d+", *after).on == on
    assert not screen.cursor.passes_on


def test_the_cursor_passes_on_at_once_or_not_at_all() -> None:
    screen = Screen().take("d+", *map(incident, "ab"))
    screen.go(0)
    screen.cursor.passes_on = True
    assert screen.take("d+", *map(incident, "ab")).on == "<a>"
    assert screen.take("d+", incident("b"), incident("a", state="acked")).on == "<a>"


def test_from_an_acknowledged_member_the_cursor_passes_on_to_the_first_open_member() -> None:
    screen = Screen()
    whole, other = incident("abc", id_="abc"), incident("d")
    screen.cursor.unfolded = whole.key
    screen.take("e+", whole, other)
    screen.go(1)
    assert screen.on == "a"
    screen.cursor.passes_on = True
    assert screen.take("e+", incident("bc", id_="abc"), other, incident("a", state="acked")).on == "b"
    screen.cursor.passes_on = True
    assert screen.take("e+", incident("c", id_="abc"), other, incident("ab", state="acked")).on == "<c>", "one is left"
    screen.cursor.passes_on = True
    assert screen.take("e+", other, incident("abc", id_="abc", state="acked")).on == "<d>"


def visited(screen: Screen, direction: int, count: int) -> str:
    """Return the lines' names of `count` steps, `.` for a step without another line."""
    found = ""
    for _ in range(count):
        place = screen.cursor.next_open() if direction > 0 else screen.cursor.previous_open()
        if place is not None:
            screen.go(place)
        found += "." if place is None else (screen.on or "").strip("<>")
    return found


def test_the_next_line_is_the_newest_not_visited_then_the_next_below_and_back_is_the_way_back() -> None:
    block = [*map(incident, "abcd"), incident("e", state="back"), incident("f", state="acked")]
    screen = Screen().take("g+", *block)
    screen.go(2)
    assert visited(screen, 1, 3) == "abd"
    assert visited(screen, 1, 5) == "abcda"
    assert visited(screen, -1, 8) == "dcbadbac"
    assert visited(screen, -1, 3) == "bad"


def test_the_first_step_is_the_newest_line_unless_visited_and_the_way_back_leads_to_the_row() -> None:
    screen = Screen().take("d+", *map(incident, "abc"))
    assert visited(screen, 1, 4) == "abca"
    assert visited(screen, -1, 1) == "c"
    assert visited(Screen().take("d+", incident("a")), 1, 1) == "."
    screen = Screen().take("d+", *map(incident, "ab"))
    screen.cursor.pin()
    assert visited(screen, 1, 1) == "b"
    screen = Screen().take("c+ d+", *map(incident, "ab"))
    screen.go(3)
    assert visited(screen, 1, 2) == "ab"
    assert visited(screen, -1, 2) == "ad"


def test_a_line_counts_as_not_visited_only_after_a_newer_loss() -> None:
    screen = Screen().take("d+", *map(incident, "abc"))
    screen.go(0)
    assert visited(screen, 1, 2) == "bc"
    screen.take("d+", incident("a"), incident("b", 60), incident("c"))
    assert visited(screen, 1, 2) == "bc"
    screen.take("d+", incident("e", 90), incident("a"), incident("b", 60), incident("c"))
    assert visited(screen, 1, 1) == "e"
    screen = Screen().take("d+", incident("a"), incident("b", 60), incident("c"))
    screen.go(0)
    assert visited(screen, 1, 2) == "bc"
    screen.go(0)
    screen.take("d+", incident("a"), incident("c"), incident("b", 30))
    assert visited(screen, 1, 1) == "c"


def test_no_other_line_is_open() -> None:
    screen = Screen().take("c+", incident("a"), incident("b", state="acked"))
    screen.go(0)
    assert (visited(screen, 1, 1), visited(screen, -1, 1)) == (".", ".")
    screen.go(1)
    assert (visited(screen, 1, 2), visited(Screen().take("a+"), 1, 1)) == ("a.", ".")


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 3))
def test_going_on_visits_every_open_line_once_before_any_line_twice(count: int, start: int, acked: int) -> None:
    names = "abcdefghi"[:count]
    screen = Screen().take("z+", *map(incident, names), *(incident(name, state="acked") for name in "xyw"[:acked]))
    screen.go(min(start, count - 1))
    first = (screen.on or "").strip("<>")
    assert sorted(first + visited(screen, 1, count - 1)) == sorted(names)
    for direction in (1, -1):
        assert set(visited(screen, direction, 2 * count)) == (set(names) if count > 1 else {"."})


def shown_block(screen: Screen, most: int) -> list[str]:
    """Return the block's visible lines; `+5,2` counts the machines of hidden lines and the fresh losses, `3 more`."""
    found = []
    for each in screen.cursor.visible_block(most, NOW):
        match each:
            case More(members=0):
                found.append(f"+{each.machines},{each.fresh}")
            case More():
                found.append(f"{each.members} more")
            case _:
                found.append(name_of(screen.cursor.lines[each]))
    return found


LONG_AGO = -3_600.0
FEW = [incident("a"), incident("b", -1), incident("c", LONG_AGO), incident("d", LONG_AGO), incident("e", state="acked")]


@pytest.mark.parametrize(
    ("most", "place", "shown"),
    [
        (0, 0, []),
        (1, 0, ["<a>"]),
        (1, 3, ["<a>"]),
        (1, 6, ["<a>"]),
        (2, 0, ["<a>", "+4,1"]),
        (2, 3, ["<a>", "<d>"]),
        (2, 6, ["<a>", "+4,1"]),
        (3, 0, ["<a>", "<b>", "+3,0"]),
        (3, 3, ["<a>", "<d>", "+3,1"]),
        (3, 4, ["<a>", "<e>", "+3,1"]),
        (4, 3, ["<a>", "<b>", "<d>", "+2,0"]),
        (5, 0, ["<a>", "<b>", "<c>", "<d>", "<e>"]),
        (8, 0, ["<a>", "<b>", "<c>", "<d>", "<e>"]),
    ],
)
def test_if_lines_are_short_the_newest_loss_and_the_cursors_line_come_first(
    most: int, place: int, shown: list[str]
) -> None:
    screen = Screen().take("x+ y+", *FEW)
    screen.go(place)
    assert shown_block(screen, most) == shown


@pytest.mark.parametrize(
    ("most", "place", "shown"),
    [
        (1, 1, ["<a>"]),
        (2, 1, ["<a>", "<bcdef>"]),
        (3, 1, ["<a>", "<bcdef>", "+1,1"]),
        (4, 1, ["<a>", "<bcdef>", "b", "+1,1"]),
        (5, 1, ["<a>", "<bcdef>", "b", "c", "+1,1"]),
        (6, 1, ["<a>", "<bcdef>", "b", "c", "3 more", "<g>"]),
        (7, 1, ["<a>", "<bcdef>", "b", "c", "d", "2 more", "<g>"]),
        (8, 1, ["<a>", "<bcdef>", "b", "c", "d", "e", "f", "<g>"]),
        (2, 4, ["<a>", "d"]),
        (2, 8, ["<a>", "+6,6"]),
        (3, 4, ["<a>", "d", "+6,6"]),
        (4, 4, ["<a>", "<bcdef>", "d", "+1,1"]),
        (7, 2, ["<a>", "<bcdef>", "b", "c", "d", "2 more", "<g>"]),
        (7, 6, ["<a>", "<bcdef>", "d", "e", "f", "2 more", "<g>"]),
    ],
)
def test_an_unfolded_incident_shows_as_many_members_as_there_is_room_for(
    most: int, place: int, shown: list[str]
) -> None:
    screen = Screen()
    screen.cursor.unfolded = ("incident", "", "bcdef")
    screen.take("x+", incident("a"), incident("bcdef"), incident("g"))
    screen.go(place)
    assert shown_block(screen, most) == shown


@given(st.lists(st.integers(1, 6), max_size=9), st.data())
@settings(max_examples=examples(1_000), deadline=None)
def test_the_newest_loss_and_the_cursors_line_are_always_visible_and_every_other_line_is_counted(
    sizes: Sequence[int], data: st.DataObject
) -> None:
    open_lines = data.draw(st.integers(0, len(sizes)))
    letters = iter(map(chr, range(ord("a"), ord("a") + 60)))
    block = [
        incident(
            "".join(next(letters) for _ in range(size)),
            at=data.draw(st.sampled_from([0.0, LONG_AGO])),
            state="" if place < open_lines else data.draw(st.sampled_from(["back", "acked"])),
        )
        for place, size in enumerate(sizes)
    ]
    screen = Screen()
    screen.cursor.unfolded = data.draw(st.none() | st.sampled_from([line.key for line in block])) if block else None
    screen.take("1+ 2+", *block)
    cursor = screen.cursor
    cursor.move_to(data.draw(st.integers(0, len(cursor.lines) - 1)))
    most = data.draw(st.integers(0, 12))
    shown = cursor.visible_block(most, NOW)
    assert len(shown) <= most
    places = [each for each in shown if isinstance(each, int)]
    assert places == sorted(set(places))
    heads = {place for place, line in enumerate(cursor.lines[: cursor.pinned]) if isinstance(line, BlockLine)}
    members = set(range(cursor.pinned)) - heads
    if most and open_lines:
        assert 0 in places
    if most >= 2 and cursor.is_in_block:
        assert cursor.place in places
    (more,) = [each for each in shown if isinstance(each, More) and each.machines] or [More()]
    hidden = [line for place in heads.difference(places) if isinstance(line := cursor.lines[place], BlockLine)]
    if most >= 3 or (most == 2 and not (cursor.is_in_block and cursor.place)):
        assert more == More(sum(len(line.members) for line in hidden), sum(line.fresh_losses(NOW) for line in hidden))
        (more_members,) = [each.members for each in shown if isinstance(each, More) and each.members] or [0]
        assert more_members == (0 if hidden else len(members.difference(places)))
    if most >= cursor.pinned:
        assert shown == list(range(cursor.pinned))
