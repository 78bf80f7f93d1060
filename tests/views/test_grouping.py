"""The table's lines: grouped, folded, and without a lost row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import ALL, contexts_at, fleet_of, tracked

from envwatch.fleet.presence import GONE
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import arrange, lines_of
from envwatch.views.table.table_view import GROUPINGS, OLD, GroupHeader, Preset, View, group_key, groups_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.table.block import LineKey
    from envwatch.views.table.table_view import TableLine

DAY = 86_400_000


def named(name: str, **changes: Any) -> TrackedEnvironment:
    return tracked(id=f"env-{name}", connectionName=name, **changes)


def offline(name: str, since: float) -> TrackedEnvironment:
    return named(name, connectionId=None, podId=None, lastHeartbeat=NOW - since, lastSeenAt=NOW - since)


def shape(lines: Iterable[TableLine]) -> list[str]:
    def text(line: TableLine) -> str:
        if isinstance(line, GroupHeader):
            return f"{'-' if line.is_open else '+'}{line.title} ({len(line)})"
        return line.environment.name

    return [text(line) for line in lines]


def lines(rows: Iterable[TrackedEnvironment], view: View, at: float = NOW, skew: float = 0.0) -> Sequence[TableLine]:
    return lines_of(arrange(contexts_at(fleet_of(rows, skew=skew), at), view, ALL), view)


def members(lines: Iterable[TableLine]) -> list[TrackedEnvironment]:
    found: list[TrackedEnvironment] = []
    for line in lines:
        if isinstance(line, GroupHeader):
            found += line.environments
    return found


@pytest.mark.parametrize(("since", "is_old"), [(DAY - 1, False), (DAY, True)])
def test_an_environment_that_has_been_offline_for_a_day_is_old(since: float, *, is_old: bool) -> None:
    assert shape(lines([offline("a", since)], View())) == (["+offline for over 24 h (1)"] if is_old else ["a"])


def test_only_an_offline_environment_can_be_old() -> None:
    up = named("a", lastHeartbeat=NOW - 10, lastSeenAt=NOW - 9 * DAY)
    assert shape(lines([up, replace(offline("b", 9 * DAY), verdict=GONE)], View())) == ["a", "b"]


def test_the_time_offline_is_by_the_servers_clock() -> None:
    found = lines([offline("a", DAY - 1000), offline("b", DAY + 1000)], View(), NOW + 2 * DAY, skew=2 * DAY)
    assert shape(found) == ["a", "+offline for over 24 h (1)"]


def test_old_environments_are_one_folded_group_at_the_end_in_every_order() -> None:
    rows = [offline("old-1", 2 * DAY), offline("new", 1000), offline("old-2", 3 * DAY), named("up")]
    assert shape(lines(rows, View())) == ["up", "new", "+offline for over 24 h (2)"]
    opened = lines(rows, View(folded=frozenset()))
    assert shape(opened) == ["up", "new", "-offline for over 24 h (2)", "old-1", "old-2"]
    assert shape(lines(rows, View(sort="name"))) == ["new", "up", "+offline for over 24 h (2)"]
    assert shape(lines(rows, View(group="os"))) == ["-os linux (2)", "up", "new", "+offline for over 24 h (2)"]


def test_a_group_with_a_late_row_is_first_and_rows_of_the_block_are_in_no_group() -> None:
    rows = [
        named("a", podId="p-1"),
        named("b", podId="p-2", lastHeartbeat=NOW - 60_000),
        named("c", podId="p-3"),
        offline("old", DAY),
    ]
    view = View(group="pod")
    assert shape(lines(rows, view))[:4] == ["-pod p-2 (1)", "b", "-pod p-1 (1)", "a"]
    in_block = {rows[0].key, rows[3].key}
    found = lines_of(arrange(contexts_at(fleet_of(rows), NOW), view, ALL, in_block=in_block), view)
    assert shape(found) == ["-pod p-2 (1)", "b", "-pod p-3 (1)", "c"]


def test_groups_follow_the_order_of_their_first_rows_and_missing_values_are_one_group() -> None:
    rows = [
        named("a", podId="p-2"),
        named("b", podId=None),
        named("c", podId="p-1"),
        named("d", podId="p-2"),
        named("e", podId=""),
    ]
    found = groups_of(rows, "pod", frozenset({group_key("pod", clean("p-1"))}))
    assert shape(found) == ["-pod p-2 (2)", "a", "d", "-no pod (2)", "b", "e", "+pod p-1 (1)"]


def test_a_header_counts_the_presences_of_its_group() -> None:
    rows = [named("a"), named("b", lastHeartbeat=NOW - 60_000), offline("c", 1000), named("d")]
    header = groups_of(rows, "os", frozenset())[0]
    assert isinstance(header, GroupHeader)
    assert {presence.value: count for presence, count in header.counts.items()} == {
        "online": 2,
        "late": 1,
        "offline": 1,
    }


def test_old_and_new_names_of_a_mode_are_one_group() -> None:
    rows = [named("a", currentMode="bypassPermissions"), named("b", currentMode="unrestricted")]
    assert shape(groups_of(rows, "mode", frozenset()))[0] == "-mode unrestricted (2)"


ROWS = st.lists(
    st.builds(
        lambda name, pod, since: offline(name, since * 1000) if since else named(name, podId=pod),
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from(["p-1", "p-2", None]),
        st.sampled_from([0, 0, 60, 100_000]),
    ),
    unique_by=lambda row: row.key,
)


@given(
    rows=ROWS,
    group=st.sampled_from([None, *GROUPINGS]),
    folded=st.frozensets(
        st.sampled_from([OLD, group_key("pod", clean("p-1")), group_key("pod", None), group_key("os", clean("linux"))])
    ),
    sort=st.sampled_from([None, "name"]),
)
def test_every_row_appears_once_in_order_under_its_header(
    *, rows: Sequence[TrackedEnvironment], group: str | None, folded: frozenset[LineKey], sort: str | None
) -> None:
    view = View(group=group, folded=folded, sort=sort)
    arrangement = arrange(contexts_at(fleet_of(rows), NOW), view, ALL)
    found = lines_of(arrangement, view)
    assert len({line.key for line in found}) == len(found)
    below: list[TrackedEnvironment] | None = None
    loose: list[TrackedEnvironment] = []
    for line in [*found, None]:
        if line is None or isinstance(line, GroupHeader):
            assert not below, "an open header has exactly its own rows below it"
            below = list(line.environments) if line is not None and line.is_open else None
        elif below is None:
            loose.append(line)
        else:
            assert below.pop(0) is line
    all_rows = [*loose, *members(found)]
    assert sorted(row.key for row in all_rows) == sorted(row.key for row in rows)
    places = {row.key: place for place, row in enumerate(arrangement.rows)}
    for header in found:
        if isinstance(header, GroupHeader):
            assert header.is_open is (header.key not in folded)
            inside = [places[row.key] for row in header.environments]
            assert inside == sorted(inside)
            assert len(header) > 0


def test_old_environments_are_folded_only_without_a_filter() -> None:
    rows = [offline("old", 2 * DAY)]
    assert shape(lines(rows, View(query=parse("old")))) == ["old"]
    assert shape(lines(rows, View(preset=Preset.OFFLINE))) == ["old"]
