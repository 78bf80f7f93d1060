"""The columns: what they show, how they sort, and how they fit into a width."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import ALL, BARE, tracked

from envwatch.model.text import Clean, cells
from envwatch.views.columns import COLUMNS, MARK_WIDTH, NAME_AT_LEAST, SCROLLBAR, fitting, mode_text


@given(st.integers(-5, 400))
def test_columns_never_take_more_than_the_table_has(width: int) -> None:
    fit = fitting(width)
    state, name, *others = fit
    assert [state[0].id, name[0].id] == ["state", "name"]
    taken = 1 + sum(cell + 1 for _, cell in fit[1:]) + state[1] + MARK_WIDTH
    if width >= state[1] + 2 + NAME_AT_LEAST + MARK_WIDTH:
        assert taken <= width + 1
        assert name[1] >= NAME_AT_LEAST
    assert all(cell == column.width for column, cell in others)
    assert all(column.from_width <= width + SCROLLBAR for column, _ in others)


@given(st.integers(80, 399))
def test_a_wider_table_keeps_all_columns(width: int) -> None:
    narrow, wide = ([column.id for column, _ in fitting(size)] for size in (width, width + 1))
    assert wide[: len(narrow)] == narrow


@pytest.mark.parametrize(
    ("terminal", "last"),
    [(79, "branch"), (80, "branch"), (99, "branch"), (100, "os"), (119, "os"), (120, "pod"), (300, "first")],
)
def test_columns_appear_at_their_widths(terminal: int, last: str) -> None:
    assert fitting(terminal - SCROLLBAR)[-1][0].id == last


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.id)
def test_every_column_can_show_a_bare_row_and_a_full_one(column: Any) -> None:
    for row in (BARE, tracked()):
        text = column.text(row, NOW)
        assert text is None or text
        assert (column.rank(row) is None) <= (text is None)
    assert cells(Clean(column.title)) <= column.width + 1


def test_ages_are_those_at_the_given_moment() -> None:
    assert COLUMNS["state"].text(tracked(), NOW) == "12s"
    assert COLUMNS["up"].text(tracked(), NOW) == "60m"
    assert COLUMNS["up"].text(tracked(connectedAt=NOW - 59_999), NOW) == "<1m"
    assert COLUMNS["up"].text(tracked(), NOW + 40 * 60_000) == "1h"
    assert COLUMNS["state"].text(tracked(), NOW - 10**9) == "0s"


@pytest.mark.parametrize(("age", "text"), [(119_999, "60m"), (120_000, None)])
def test_an_environment_that_is_down_has_no_up_time(age: float, text: str | None) -> None:
    row = tracked(lastHeartbeat=NOW - age)
    assert COLUMNS["up"].text(row, NOW) == text
    assert COLUMNS["up"].rank(row) == (text and 3_600_000 - NOW)


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (None, None),
        ("standard", "standard"),
        ("default", "standard"),
        ("unrestricted", "unrestricted !"),
        ("bypassPermissions", "unrestricted !"),
        ("fullAccess", "unrestricted !"),
        ("Unrestricted", "Unrestricted"),
        ("mystery", "mystery"),
    ],
)
def test_modes_have_their_current_name_and_the_one_that_approves_everything_is_marked(
    mode: str | None, shown: str | None
) -> None:
    assert mode_text(None if mode is None else Clean(mode)) == shown


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (None, None),
        ({}, "no"),
        ({"supported": False, "writable": True}, "no"),
        ({"supported": True}, "by hand"),
        ({"supported": True, "writable": True}, "yes"),
    ],
)
def test_self_updates_are_shown_in_one_word(update: dict[str, Any] | None, text: str | None) -> None:
    assert COLUMNS["update"].text(tracked(metadata={"self_update": update}), NOW) == text


def test_wanted_columns_keep_their_order_at_any_width() -> None:
    assert [column.id for column, _ in fitting(80, ["device", "mode", "name"])] == ["state", "name", "device", "mode"]
    assert [column.id for column, _ in fitting(50, ["device", "mode"])] == ["state", "name", "device"]
    assert sum(width + 1 for _, width in fitting(80, ["device"])) + MARK_WIDTH == 80
