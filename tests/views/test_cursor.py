"""The cursor among the lines: it keeps its place through whatever happens to the rows."""

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


def named(lineup: RowCursor) -> str | None:
    line = lineup.cursor
    if line is None:
        return None
    return line.title if isinstance(line, GroupHeader) else line.environment.name


def take(
    lineup: RowCursor,
    names: str,
    *,
    group: str | None = None,
    folded: frozenset[LineKey] = frozenset(),
    is_steady: bool = False,
    keeps_ghost: bool = True,
) -> None:
    def known(_: EnvironmentKey) -> None:
        return None

    lineup.take(
        [row(name) for name in names],
        partial(grouped, group=group, folded=folded, is_old=None),
        is_steady=is_steady,
        known=known if keeps_ghost else None,
    )


def names(lineup: RowCursor) -> str:
    return "".join(tracked.environment.name for tracked in lineup.rows)


def test_nothing_has_no_cursor_and_can_be_moved_in() -> None:
    lineup = RowCursor()
    assert lineup.cursor is None
    assert not lineup.move_to(3)
    take(lineup, "")
    assert lineup.place is None


def test_until_it_is_moved_the_cursor_stands_on_the_first_row() -> None:
    lineup = RowCursor()
    take(lineup, "123")
    assert named(lineup) == "1"
    take(lineup, "321")
    assert named(lineup) == "3"
    take(lineup, "21", group="pod")
    assert named(lineup) == "2"
    assert lineup.place == 1


def test_then_it_follows_its_row() -> None:
    lineup = RowCursor()
    take(lineup, "123")
    lineup.move_to(1)
    take(lineup, "312")
    assert (named(lineup), lineup.place) == ("2", 2)


def test_a_row_that_vanishes_under_the_cursor_stays_until_it_is_left() -> None:
    lineup = RowCursor()
    take(lineup, "123")
    lineup.move_to(1)
    take(lineup, "34")
    assert names(lineup) == "324"
    assert named(lineup) == "2"
    take(lineup, "43")
    assert names(lineup) == "423"
    assert lineup.move_to(2)
    assert names(lineup) == "43"
    assert named(lineup) == "3"


def test_there_is_no_ghost_among_what_a_new_filter_lets_through() -> None:
    lineup = RowCursor()
    take(lineup, "123")
    lineup.move_to(1)
    take(lineup, "34", keeps_ghost=False)
    assert names(lineup) == "34"
    assert named(lineup) == "3"


def test_rows_keep_their_places_while_they_must_and_new_ones_come_last() -> None:
    lineup = RowCursor()
    take(lineup, "123")
    take(lineup, "4312", is_steady=True)
    assert names(lineup) == "1234"
    assert lineup.is_due
    take(lineup, "4312")
    assert names(lineup) == "4312"
    assert not lineup.is_due


def test_rows_that_are_steady_stay_so_within_groups() -> None:
    lineup = RowCursor()
    take(lineup, "1234", group="pod")
    take(lineup, "4321", group="pod", is_steady=True)
    assert [line.environment.name for line in lineup.lines if not isinstance(line, GroupHeader)] == ["1", "3", "2", "4"]


def test_the_cursor_goes_to_the_heading_that_its_row_is_folded_behind_and_not_back() -> None:
    lineup = RowCursor()
    take(lineup, "1234", group="pod")
    lineup.move_to(lineup.place_of(row("3").key) or 0)
    take(lineup, "1234", group="pod", folded=frozenset({POD_1}))
    assert named(lineup) == "pod p-1"
    take(lineup, "1234", group="pod")
    assert named(lineup) == "pod p-1"
    heading = lineup.heading()
    assert heading is not None
    assert heading.key == POD_1


def test_the_heading_over_a_row_is_found_and_none_where_there_is_none() -> None:
    lineup = RowCursor()
    take(lineup, "12")
    assert lineup.heading() is None
    take(lineup, "1234", group="pod")
    lineup.move_to(4)
    heading = lineup.heading()
    assert heading is not None
    assert heading.title == "pod p-0"


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
def test_whatever_happens_the_cursor_stands_on_a_line_and_nothing_is_lost(
    steps: Sequence[tuple[str, bool, str | None, frozenset[LineKey], int | None]],
) -> None:
    lineup = RowCursor()
    for wanted, is_steady, group, folded, move in steps:
        before = lineup.cursor
        take(lineup, wanted, group=group, folded=folded, is_steady=is_steady)
        ghost = set(names(lineup)) - set(wanted)
        assert ghost <= {named(lineup), *(ghost if isinstance(lineup.cursor, GroupHeader) else ())}
        assert set(names(lineup)) == set(wanted) | ghost
        assert (lineup.place is None) is (not lineup.lines)
        if lineup.was_moved and before is not None and before.key in {line.key for line in lineup.lines}:
            assert lineup.cursor is not None
            assert lineup.cursor.key == before.key
        if move is not None:
            lineup.move_to(move)
            assert set(names(lineup)) >= set(wanted)
            if lineup.lines and not ghost:
                assert lineup.place == min(max(move, 0), len(lineup.lines) - 1)
