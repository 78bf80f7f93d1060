"""The columns: content, sorting, widths, and `meta.KEY`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import (
    ALL,
    BARE,
    cell_of,
    context_of,
    contexts_at,
    fleet_of,
    gone,
    late,
    matches,
    named,
    offline,
    online,
    tracked,
)

from envwatch.model.limits import Limits
from envwatch.model.text import cells, clean
from envwatch.query.completion import metadata_keys
from envwatch.query.language import parse
from envwatch.query.presentation import for_text, mode_text
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.columns import (
    COLUMNS,
    FIXED,
    LEFT,
    NAME_AT_LEAST,
    SCROLLBAR,
    column_at,
    column_of,
    fitting,
    is_column,
    metadata_value,
    rank_of,
)
from envwatch.views.table.table_view import GROUPINGS, GroupHeader, View, grouping_of, groups_of, is_grouping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText
    from envwatch.query.presentation import Presentation


PANE = 0.38
"""The detail pane's share of a wide terminal, but at least 46 cells: see the stylesheet."""


def name_in(fit: Sequence[tuple[Presentation, int]]) -> int:
    return next(width for column, width in fit if column.id == "name")


@given(st.integers(-5, 400), st.booleans(), st.sampled_from([(), ("device",), ("why", "branch", "mode")]))
def test_columns_never_take_more_than_the_table_has(width: int, has_profiles: bool, ids: tuple[str, ...]) -> None:  # noqa: FBT001
    fit = fitting(width, ids, has_profiles=has_profiles)
    assert tuple(column.id for column, _ in fit[:4]) == FIXED
    assert all(cell >= 1 for _, cell in fit)
    if width > LEFT:
        assert LEFT - 1 + sum(cell + 1 for _, cell in fit[3:]) <= width
    assert all(column.from_width <= max(width + SCROLLBAR, 0) for column, _ in fit)


@given(
    st.integers(40, 249), st.booleans(), st.sampled_from([(), ("device",), ("why", "branch", "user", "pod", "mode")])
)
def test_a_wider_terminal_never_makes_a_name_shorter(width: int, has_profiles: bool, ids: tuple[str, ...]) -> None:  # noqa: FBT001
    def names(terminal: int) -> list[int]:
        """Return the widths of NAME without the pane, and next to the pane with default columns."""
        has_pane = terminal >= 120 and not ids
        beside = terminal - max(round(terminal * PANE), 46) if has_pane else terminal
        tables = (terminal, beside)
        return [
            name_in(fitting(table - SCROLLBAR, ids, has_profiles=has_profiles, terminal=terminal)) for table in tables
        ]

    assert max(names(width)) <= min(names(width + 1))


WIDE = "mode=13 version=9 branch=%d up=5 os=6 user=12 pod=8 directory=20"
WIDEST = "why=24 24h=24 device=14 connection=14 node=9 owner=12 update=7 seen=5 first=5 up7d=5"


@pytest.mark.parametrize(
    ("terminal", "ids", "has_profiles", "widths"),
    [
        (1, "", False, "name=1"),
        (40, "", False, "name=18"),
        (80, "", False, "name=24 mode=13 version=9 branch=10"),
        (70, "", False, "name=19 mode=13 version=9"),
        (80, "", True, "name=20 profile=9 mode=13 version=9"),
        (54, "", False, "name=18 mode=13"),
        (105, "", True, "name=24 profile=9 mode=13 version=9 branch=12 up=5 os=6"),
        (119, "", False, "name=25 mode=13 version=9 branch=24 up=5 os=6"),
        (99, "", False, "name=25 mode=13 version=9 branch=24"),
        (99, "", True, "name=21 profile=9 mode=13 version=9 branch=22"),
        (100, "", False, "name=25 mode=13 version=9 branch=16 up=5 os=6"),
        (120, "", False, "name=25 mode=13 version=9 branch=14 up=5 os=6 user=12 pod=8"),
        (159, "", False, f"name=30 {WIDE % 24}"),
        (160, "", False, f"name=30 {WIDE % 13} why=14"),
        (174, "", False, f"name=30 {WIDE % 24} why=17"),
        (185, "", False, f"name=30 {WIDE % 24} why=28"),
        (200, "", False, f"name=32 {WIDE % 16} why=24 24h=24"),
        (200, "", True, f"name=31 profile=9 {WIDE % 24} why=30"),
        (300, "", False, f"name=59 {WIDE % 10} {WIDEST}"),
        (300, "", True, f"name=49 profile=9 {WIDE % 10} {WIDEST}"),
        (61, "device mode name", False, "name=18 device=14"),
        (81, "device", False, "name=45 device=14"),
        (67, "why mode", False, "name=18 why=27"),
        (68, "why mode", False, "name=18 why=14 mode=13"),
        (100, "why mode", True, "name=40 profile=9 why=14 mode=13"),
        (60, "branch profile", False, "name=28 branch=10"),
        (60, "branch profile", True, "name=18 branch=10 profile=9"),
        (100, "24h why", False, "name=39 24h=24 why=14"),
        (100, "meta.rack", False, "name=64 meta.rack=14"),
        (60, "", False, "name=18 mode=13"),
    ],
)
def test_a_table_has_these_columns(terminal: int, ids: str, widths: str, *, has_profiles: bool) -> None:
    fit = fitting(terminal - SCROLLBAR, ids.split(), has_profiles=has_profiles)

    assert [(column.id, width) for column, width in fit[:3]] == [("state", 6), ("for", 6), ("beat", 4)]
    assert " ".join(f"{column.id}={width}" for column, width in fit[3:]) == widths


@pytest.mark.parametrize(
    ("x", "id_"),
    [
        (0, "state"),
        (7, "state"),
        (8, "for"),
        (14, "for"),
        (15, "beat"),
        (19, "beat"),
        (20, "name"),
        (44, "name"),
        (45, "mode"),
        (58, "mode"),
        (79, "branch"),
        (80, None),
    ],
)
def test_a_cell_is_of_the_column_or_of_the_space_behind_the_column(x: int, id_: str | None) -> None:
    column = column_at(fitting(79), x)
    assert (column.id if column else None) == id_


@pytest.mark.parametrize("terminal", range(160, 320, 7))
def test_why_has_room_for_the_end_of_a_silence_before_columns_on_its_right_appear(terminal: int) -> None:
    widths = {column.id: width for column, width in fitting(terminal - SCROLLBAR)}
    assert widths["why"] >= len("silenced until Mon 10:00") or "24h" not in widths
    without = [column.id for column, _ in fitting(terminal - SCROLLBAR, has_past=False)]
    assert "24h" not in without
    assert {*widths} - {"24h"} <= {*without}


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.id)
def test_every_column_can_show_a_bare_row_and_a_full_one(column: Any) -> None:
    for row in (BARE, tracked()):
        context = context_of(row)
        text, rank = column.cell_text(row, context), rank_of(column.id, [row])(row, context)
        assert text is None or text
        assert (rank is None) <= (text is None) or column.needs_past
    assert cells(column.title) <= column.width + 1
    assert len(column.about) <= 50, "the lists of columns, at 80 cells"


def test_ages_are_of_the_given_moment() -> None:
    assert cell_of("beat", tracked(), limits=LIMITS) == "12s"
    assert cell_of("up", tracked(), limits=LIMITS) == "1h"
    assert cell_of("up", tracked(connectedAt=NOW - 59_999), limits=LIMITS) == "<1m"
    assert cell_of("up", tracked(), NOW + 60 * 60_000, LIMITS) == "2h"
    assert cell_of("beat", tracked(), NOW - 10**9, LIMITS) == "0s"


YEAR_2020 = 1_577_836_800_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("seen_at", "text"),
    [(NOW / 1000, None), (YEAR_2020 - 1, None), (YEAR_2020, "5y"), (NOW + DAY, "0s"), (NOW + DAY + 1, None)],
)
def test_a_loss_at_an_impossible_time_has_no_duration(seen_at: float, text: str | None) -> None:
    row = tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=seen_at)
    assert for_text(row, NOW, Limits()) == text


@pytest.mark.parametrize(("age", "text"), [(119_999, "1h"), (120_000, None)])
def test_a_down_environment_has_no_up_time(age: float, text: str | None) -> None:
    row = tracked(lastHeartbeat=NOW - age)
    assert cell_of("up", row, limits=LIMITS) == text
    assert rank_of("up", [row])(row, context_of(row)) == (text and 3_600_000 - NOW)


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (None, None),
        ("standard", "standard"),
        ("default", "standard"),
        ("unrestricted", "unrestricted!"),
        ("bypassPermissions", "unrestricted!"),
        ("fullAccess", "unrestricted!"),
        ("Unrestricted", "Unrestricted"),
        ("mystery", "mystery"),
    ],
)
def test_modes_have_their_current_name_and_unrestricted_is_marked(mode: str | None, shown: str | None) -> None:
    assert mode_text(None if mode is None else clean(mode)) == shown


@pytest.mark.parametrize("terminal", [120, 121, 249])
def test_wanted_columns_stand_next_to_the_pane_too(terminal: int) -> None:
    table = terminal - max(round(terminal * PANE), 46) - SCROLLBAR
    assert [column.id for column, _ in fitting(table, ["user", "pod"], terminal=terminal)] == [*FIXED, "user", "pod"]
    beside = fitting(120 - 46 - SCROLLBAR, terminal=120)
    assert [(column.id, width) for column, width in beside[3:]] == [("name", 25), ("mode", 13), ("version", 9)]
    assert name_in(fitting(10, terminal=120)) == 1


LIMITS = Limits(online_for=timedelta(seconds=100), late_after=timedelta(seconds=40))


@pytest.mark.parametrize(
    ("row", "lasted", "beat"),
    [
        (online("a"), "1h", "12s"),
        (late("a", 60), "20s", "1m"),
        (late("a", 101), "1m", "101s"),
        (offline("a", 60), "1m", None),
        (named("a", lastHeartbeat=NOW - 240_000, lastSeenAt=NOW), "4m", "4m"),
        (named("a", lastHeartbeat=None), "12s", None),
        (gone("a"), "0s", None),
        (replace(offline("a"), has_impossible_time=True), None, None),
    ],
)
def test_how_long_and_how_old(row: TrackedEnvironment, lasted: str | None, beat: str | None) -> None:
    found = [cell_of(id_, row, limits=LIMITS) for id_ in ("for", "beat")]
    assert found == [lasted, beat.replace("1m", "60s") if beat else None]


# Metadata.


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


def test_a_dotted_key_leads_to_a_nested_value_a_key_with_dots_or_a_member_of_the_row() -> None:
    nested = tracked(metadata={"machine": {"cpu": "M4"}, "k8s.io/zone": "a"})
    assert column_of("meta.machine.cpu").text(nested) == "M4"
    assert column_of("meta.k8s.io/zone").text(nested) == "a"
    assert metadata_value("meta.machine")(nested) == {"cpu": "M4"}
    row = tracked(site="eu-1", metadata={"self_update": {"supported": True, "manual_command": "npm i"}})
    assert column_of("meta.site").text(row) == "eu-1", "a member of the row"
    assert matches(parse("meta.site:eu-1"), row)
    assert column_of("meta.self_update.manual_command").text(row) == "npm i"
    assert (cell_of("meta.rack", BARE), rank_of("meta.rack", [BARE])(BARE, context_of(BARE))) == (None, None)
    assert grouping_of("meta.rack")(BARE) is None


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


def test_a_metadata_column_grows_into_unused_cells_and_a_name_keeps_its_cells() -> None:
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
    assert "".join(in_order(10, None, 9, inverted=True)) == "021", "missing values stay last"


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | st.booleans() | numbers | st.text(max_size=9) | st.lists(st.integers())


@given(st.lists(values, max_size=6))
def test_any_values_have_an_order_with_rows_without_a_value_last(found: list[object]) -> None:
    order = in_order(*found)
    assert sorted(order) == sorted(map(str, range(len(found))))
    missing = [text_of("rack", found[int(place)]) is None for place in order]
    assert missing == sorted(missing)


def test_a_visible_metadata_column_is_searched_and_grouped() -> None:
    row = named("a", metadata={"team": "ml"})
    assert matches(parse("ml"), row, columns=(column_of("meta.team"),))
    assert not matches(parse("ml"), row)
    lines = groups_of([row, named("b")], "meta.team", frozenset())
    titles = [line.title for line in lines if isinstance(line, GroupHeader)]
    assert titles == ["meta.team ml", "no meta.team"]


@given(st.dictionaries(st.text(max_size=6), values, max_size=4))
def test_every_offered_key_has_a_column_with_a_value(metadata: dict[str, Any]) -> None:
    row = tracked(metadata=metadata)
    for key, _ in metadata_keys([row]):
        assert is_column(f"meta.{key}")
        assert column_of(f"meta.{key}").text(row) is not None
