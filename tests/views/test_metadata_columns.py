"""`meta.KEY` as column, sort key and group: text, order, hostile keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import BARE, cell_of, context_of, contexts_at, fleet_of, matches, named, tracked

from envwatch.model.text import cells, clean
from envwatch.query.completion import metadata_keys
from envwatch.query.language import parse
from envwatch.views.table.arrangement import arrange, lines_of
from envwatch.views.table.columns import (
    COLUMNS,
    FIXED,
    LEFT,
    NAME_AT_LEAST,
    column_of,
    fitting,
    is_column,
    metadata_value,
    rank_of,
)
from envwatch.views.table.table_view import GROUPINGS, GroupHeader, View, grouping_of, is_grouping

if TYPE_CHECKING:
    from envwatch.model.text import SafeText

HOSTILE_KEYS = ("x" * 5_000, "\x1b[31mred", "a.b.c", 'say "hi"', " ", "..", "[bold]", "東京", "\u202eabc", "a,b", "!")


def text_of(key: str, value: Any) -> SafeText | None:
    return column_of(f"meta.{key}").text(tracked(metadata={key: value}))


def in_order(*values: Any, inverted: bool = False) -> list[str]:
    """Return the names of rows, which are their places, sorted by the values of a key."""
    rows = [named(f"{place}", metadata={"rack": value}) for place, value in enumerate(values)]
    view = View(sort="meta.rack", is_inverted=inverted)
    return [each.environment.name for each in arrange(contexts_at(fleet_of(rows), NOW), view, ()).rows]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eu-1", "eu-1"),
        (16, "16"),
        (0, "0"),
        (2.5, "2.5"),
        (True, "true"),
        (False, "false"),
        ({"a": [1, "b"]}, '{"a":[1,"b"]}'),
        ([], "[]"),
        ("", None),
        (None, None),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        (["\x1b[2J"], r'["\\x1b[2J"]'),
    ],
)
def test_a_value_is_cleaned_text_nested_values_are_compact_json_and_a_missing_value_is_none(
    value: object, text: str | None
) -> None:
    assert text_of("rack", value) == text


def test_a_row_without_metadata_has_no_value() -> None:
    assert (cell_of("meta.rack", BARE), rank_of("meta.rack", [BARE])(BARE, context_of(BARE))) == (None, None)
    assert grouping_of("meta.rack")(BARE) is None


def test_a_dotted_key_leads_to_a_nested_value_and_a_key_with_dots_is_found_too() -> None:
    nested = tracked(metadata={"machine": {"cpu": "M4"}, "k8s.io/zone": "a"})
    assert column_of("meta.machine.cpu").text(nested) == "M4"
    assert column_of("meta.k8s.io/zone").text(nested) == "a"
    assert metadata_value("meta.machine")(nested) == {"cpu": "M4"}


def test_an_unknown_member_of_the_row_is_read_as_the_filter_reads_it() -> None:
    row = tracked(site="eu-1")
    assert column_of("meta.site").text(row) == "eu-1"
    assert matches(parse("meta.site:eu-1"), row)


@pytest.mark.parametrize(("id_", "is_one"), [("meta.x", True), ("meta.", False), ("meta", False), ("META.x", False)])
def test_a_column_of_metadata_has_a_key(id_: str, is_one: bool) -> None:  # noqa: FBT001
    assert is_column(id_) is is_grouping(id_) is is_one
    if not is_one:
        with pytest.raises(KeyError):
            column_of(id_)
        with pytest.raises(KeyError):
            grouping_of(id_)


@pytest.mark.parametrize("id_", COLUMNS)
def test_every_other_column_is_its_own(id_: str) -> None:
    assert is_column(id_)
    assert column_of(id_) is COLUMNS[id_]
    assert is_grouping(id_) is (id_ in GROUPINGS)


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_a_hostile_key_is_a_column_whose_title_fits_and_is_clean(key: str) -> None:
    column = column_of(f"meta.{key}")
    assert column.title == clean(column.title)
    assert 0 < cells(clean(column.title)) <= column.width
    row = tracked(metadata={clean(key): "x"})
    assert column.text(row) == "x"
    widths = {each.id: width for each, width in fitting(79, [column.id])}
    assert widths["name"] >= NAME_AT_LEAST
    assert widths[column.id] == column.width


def test_a_metadata_column_grows_into_cells_that_nothing_else_uses_and_a_name_keeps_its_cells() -> None:
    ids = ("meta.rack", "mode", "version", "branch", "up")
    tables = [{column.id: width for column, width in fitting(width, ids)} for width in range(40, 200)]
    widths = {table["meta.rack"] for table in tables if "meta.rack" in table}
    assert (min(widths), max(widths)) == (column_of("meta.rack").width, 24)
    assert all(table["name"] >= NAME_AT_LEAST for table in tables if "meta.rack" in table)
    assert [column.id for column, _ in fitting(LEFT + NAME_AT_LEAST, ["meta.rack"])] == [*FIXED]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((10, 9, 100), "102"),
        ((-1, -2, 3), "102"),
        ((2.5, "2.25"), "10"),
        (("10", "9", "100"), "102"),
        ((1.5, "-2", 1e3, "1e2"), "1032"),
        ((10, 9, "x"), "102"),  # not all are numbers: text in natural order
        ((10, None, 9), "201"),
        (("", "b", "A"), "210"),
        (("rack-10", "rack-9"), "10"),
        ((True, 5), "10"),  # true is no number
    ],
)
def test_numbers_sort_as_numbers_if_all_are_numbers_and_missing_values_come_last(
    values: tuple[object, ...], order: str
) -> None:
    assert "".join(in_order(*values)) == order


def test_missing_values_stay_last_if_the_order_is_inverted() -> None:
    assert "".join(in_order(10, None, 9, inverted=True)) == "021"


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | st.booleans() | numbers | st.text(max_size=9) | st.lists(st.integers())


@given(st.lists(values, max_size=6))
def test_any_values_have_an_order_in_which_rows_without_a_value_are_last(found: list[object]) -> None:
    order = in_order(*found)
    assert sorted(order) == sorted(map(str, range(len(found))))
    missing = [text_of("rack", found[int(place)]) is None for place in order]
    assert missing == sorted(missing)


def test_groups_have_a_line_each_and_rows_without_the_key_one_line() -> None:
    rows = [named("a", metadata={"team": "ml"}), named("b"), named("c", metadata={"team": "ml"})]
    view = View(group="meta.team")
    lines = lines_of(arrange(contexts_at(fleet_of(rows), NOW), view, ()), view)
    titles = [line.title for line in lines if isinstance(line, GroupHeader)]
    assert titles == ["meta.team ml", "no meta.team"]


def test_a_word_is_searched_in_a_visible_metadata_column_only() -> None:
    row = named("a", metadata={"team": "ml"})
    assert matches(parse("ml"), row, columns=(column_of("meta.team"),))
    assert not matches(parse("ml"), row)


def test_parts_of_the_ability_to_update_can_be_named() -> None:
    update = {"self_update": {"supported": True, "manual_command": "npm i"}}
    assert column_of("meta.self_update.manual_command").text(tracked(metadata=update)) == "npm i"


@given(st.dictionaries(st.text(max_size=6), values, max_size=4))
def test_every_offered_key_has_a_column_with_a_value(metadata: dict[str, Any]) -> None:
    row = tracked(metadata=metadata)
    for key, _ in metadata_keys([row]):
        assert is_column(f"meta.{key}")
        assert column_of(f"meta.{key}").text(row) is not None
