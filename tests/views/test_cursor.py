"""The cursor among the lines of the table: it keeps its place through every change of the rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from support.tracked_environments import tracked

from envwatch.model.text import Clean
from envwatch.views.cursor import RowCursor
from envwatch.views.grouping import GroupHeader, group_key, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.views.grouping import LineKey

POD_1 = group_key("pod", Clean("p-1"))


def row(name: str) -> TrackedEnvironment:
    return tracked(id=f"env-{name}", connectionName=name, podId=f"p-{int(name) % 2}")


def named(cursor: RowCursor) -> str | None:
    line = cursor.cursor
    if line is None:
        return None
    return line.title if isinstance(line, GroupHeader) else line.environment.name


def take(
    cursor: RowCursor,
    names: str,
    *,
    group: str | None = None,
    folded: frozenset[LineKey] = frozenset(),
    is_steady: bool = False,
    keeps_ghost: bool = True,
) -> None:
    def lookup(_: EnvironmentKey) -> None:
        return None

    cursor.take(
        [row(name) for name in names],
        partial(grouped, group=group, folded=folded, is_old=None),
        is_steady=is_steady,
        lookup=lookup if keeps_ghost else None,
    )


def names(cursor: RowCursor) -> str:
    return "".join(tracked.environment.name for tracked in cursor.rows)


def test_an_empty_table_has_no_cursor_and_moving_it_is_harmless() -> None:
    cursor = RowCursor()
    assert cursor.cursor is None
    assert not cursor.move_to(3)
    take(cursor, "")
    assert cursor.place is None


def test_until_it_is_moved_the_cursor_stands_on_the_first_row() -> None:
    cursor = RowCursor()
    take(cursor, "123")
    assert named(cursor) == "1"
    take(cursor, "321")
    assert named(cursor) == "3"
    take(cursor, "21", group="pod")
    assert named(cursor) == "2"
    assert cursor.place == 1


def test_a_moved_cursor_follows_its_row() -> None:
    cursor = RowCursor()
    take(cursor, "123")
    cursor.move_to(1)
    take(cursor, "312")
    assert (named(cursor), cursor.place) == ("2", 2)


def test_a_row_that_disappears_under_the_cursor_stays_until_the_cursor_leaves_it() -> None:
    cursor = RowCursor()
    take(cursor, "123")
    cursor.move_to(1)
    take(cursor, "34")
    assert names(cursor) == "324"
    assert named(cursor) == "2"
    take(cursor, "43")
    assert names(cursor) == "423"
    assert cursor.move_to(2)
    assert names(cursor) == "43"
    assert named(cursor) == "3"


def test_a_new_filter_leaves_no_ghost() -> None:
    cursor = RowCursor()
    take(cursor, "123")
    cursor.move_to(1)
    take(cursor, "34", keeps_ghost=False)
    assert names(cursor) == "34"
    assert named(cursor) == "3"


def test_steady_rows_keep_their_places_and_new_ones_come_last() -> None:
    cursor = RowCursor()
    take(cursor, "123")
    take(cursor, "4312", is_steady=True)
    assert names(cursor) == "1234"
    assert cursor.is_due
    take(cursor, "4312")
    assert names(cursor) == "4312"
    assert not cursor.is_due


def test_steady_rows_keep_their_places_within_groups() -> None:
    cursor = RowCursor()
    take(cursor, "1234", group="pod")
    take(cursor, "4321", group="pod", is_steady=True)
    assert [line.environment.name for line in cursor.lines if not isinstance(line, GroupHeader)] == ["1", "3", "2", "4"]


def test_the_cursor_goes_to_the_header_of_a_folded_row_and_stays_there() -> None:
    cursor = RowCursor()
    take(cursor, "1234", group="pod")
    cursor.move_to(cursor.place_of(row("3").key) or 0)
    take(cursor, "1234", group="pod", folded=frozenset({POD_1}))
    assert named(cursor) == "pod p-1"
    take(cursor, "1234", group="pod")
    assert named(cursor) == "pod p-1"
    header = cursor.heading()
    assert header is not None
    assert header.key == POD_1


def test_the_header_over_a_row_is_found_and_there_is_none_without_groups() -> None:
    cursor = RowCursor()
    take(cursor, "12")
    assert cursor.heading() is None
    take(cursor, "1234", group="pod")
    cursor.move_to(4)
    header = cursor.heading()
    assert header is not None
    assert header.title == "pod p-0"


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("0123456789"), unique=True).map("".join),
            st.booleans(),
            st.sampled_from([None, "pod"]),
            st.sampled_from([frozenset(), frozenset({POD_1})]),
            st.none() | st.integers(-3, 12),
        )
    )
)
def test_any_sequence_of_changes_keeps_the_cursor_on_a_line_and_loses_no_row(
    steps: Sequence[tuple[str, bool, str | None, frozenset[LineKey], int | None]],
) -> None:
    cursor = RowCursor()
    for shown, is_steady, group, folded, move in steps:
        before = cursor.cursor
        take(cursor, shown, group=group, folded=folded, is_steady=is_steady)
        ghost = set(names(cursor)) - set(shown)
        assert ghost <= {named(cursor), *(ghost if isinstance(cursor.cursor, GroupHeader) else ())}
        assert set(names(cursor)) == set(shown) | ghost
        assert (cursor.place is None) is (not cursor.lines)
        if cursor.was_moved and before is not None and before.key in {line.key for line in cursor.lines}:
            assert cursor.cursor is not None
            assert cursor.cursor.key == before.key
        if move is not None:
            cursor.move_to(move)
            assert set(names(cursor)) >= set(shown)
            if cursor.lines and not ghost:
                assert cursor.place == min(max(move, 0), len(cursor.lines) - 1)
