"""The lines of the table: what is grouped, what is folded, and that no row is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, listed
from support.tracked_environments import tracked

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.fleets import Fleets
from envwatch.fleet.presence import GONE
from envwatch.model.text import Clean
from envwatch.query.language import parse
from envwatch.views.grouping import GROUPINGS, OLD, GroupHeader, group_key, grouped, old_in
from envwatch.views.table_view import Preset, View, table_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.grouping import LineKey, TableLine

DAY = 86_400_000
FLEETS = Fleets({NO_PROFILE: Fleet().after(listed([]))[0]})


def named(name: str, **changes: Any) -> TrackedEnvironment:
    return tracked(id=f"env-{name}", connectionName=name, **changes)


def offline(name: str, since: float) -> TrackedEnvironment:
    return named(name, connectionId=None, podId=None, lastHeartbeat=NOW - since, lastSeenAt=NOW - since)


def shape(lines: Iterable[TableLine]) -> list[str]:
    return [
        f"{'-' if line.is_open else '+'}{line.title} ({len(line)})"
        if isinstance(line, GroupHeader)
        else line.environment.name
        for line in lines
    ]


def members(lines: Iterable[TableLine]) -> list[TrackedEnvironment]:
    """The rows in groups, folded or not."""
    found: list[TrackedEnvironment] = []
    for line in lines:
        if isinstance(line, GroupHeader):
            found += line.environments
    return found


def test_without_groups_and_without_old_ones_lines_are_rows() -> None:
    rows = [named("b"), named("a"), offline("c", 1000)]
    assert grouped(rows, None, frozenset({OLD}), old_in(FLEETS, NOW)) == rows


@pytest.mark.parametrize(("since", "is_old"), [(DAY - 1, False), (DAY, True)])
def test_an_environment_that_has_been_offline_for_a_day_is_old(since: float, *, is_old: bool) -> None:
    assert old_in(FLEETS, NOW)(offline("a", since)) is is_old


def test_only_an_offline_environment_can_be_old() -> None:
    is_old = old_in(FLEETS, NOW)
    assert not is_old(named("a", lastHeartbeat=NOW - 10, lastSeenAt=NOW - 9 * DAY))
    assert not is_old(replace(offline("a", 9 * DAY), verdict=GONE))


def test_the_time_offline_is_by_the_servers_clock() -> None:
    skewed = Fleets({NO_PROFILE: Fleet().after(listed([], skew=2 * DAY))[0]})
    assert not old_in(skewed, NOW + 2 * DAY)(offline("a", DAY - 1000))
    assert old_in(skewed, NOW + 2 * DAY)(offline("a", DAY + 1000))


def test_old_environments_are_one_folded_group_at_the_end() -> None:
    rows = [offline("old-1", 2 * DAY), offline("new", 1000), offline("old-2", 3 * DAY), named("up")]
    folded = grouped(rows, None, frozenset({OLD}), old_in(FLEETS, NOW))
    assert shape(folded) == ["new", "up", "+offline for over 24 h (2)"]
    opened = grouped(rows, None, frozenset(), old_in(FLEETS, NOW))
    assert shape(opened) == ["new", "up", "-offline for over 24 h (2)", "old-1", "old-2"]


def test_groups_follow_the_order_of_their_first_rows_and_missing_values_are_one_group() -> None:
    rows = [
        named("a", podId="p-2"),
        named("b", podId=None),
        named("c", podId="p-1"),
        named("d", podId="p-2"),
        named("e", podId=""),
    ]
    lines = grouped(rows, "pod", frozenset({group_key("pod", Clean("p-1"))}), None)
    assert shape(lines) == ["-pod p-2 (2)", "a", "d", "-no pod (2)", "b", "e", "+pod p-1 (1)"]


def test_a_header_counts_the_presences_of_its_group() -> None:
    rows = [named("a"), named("b", lastHeartbeat=NOW - 60_000), offline("c", 1000), named("d")]
    header = grouped(rows, "os", frozenset(), None)[0]
    assert isinstance(header, GroupHeader)
    assert {presence.value: count for presence, count in header.counts.items()} == {
        "online": 2,
        "late": 1,
        "offline": 1,
    }


def test_old_and_new_names_of_a_mode_are_one_group() -> None:
    rows = [named("a", currentMode="bypassPermissions"), named("b", currentMode="unrestricted")]
    assert shape(grouped(rows, "mode", frozenset(), None))[0] == "-mode unrestricted (2)"


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
        st.sampled_from([OLD, group_key("pod", Clean("p-1")), group_key("pod", None), group_key("os", Clean("linux"))])
    ),
    folds_old=st.booleans(),
)
def test_every_row_appears_once_in_order_under_its_header(
    *, rows: Sequence[TrackedEnvironment], group: str | None, folded: frozenset[LineKey], folds_old: bool
) -> None:
    lines = grouped(rows, group, folded, old_in(FLEETS, NOW) if folds_old else None)
    assert len({line.key for line in lines}) == len(lines)
    below: list[TrackedEnvironment] | None = None
    loose: list[TrackedEnvironment] = []
    for line in [*lines, None]:
        if line is None or isinstance(line, GroupHeader):
            assert not below, "an open header has exactly its own rows below it"
            below = list(line.environments) if line is not None and line.is_open else None
        elif below is None:
            loose.append(line)
        else:
            assert below.pop(0) is line
    all_rows = [*loose, *members(lines)]
    assert sorted(row.key for row in all_rows) == sorted(row.key for row in rows)
    places = {row.key: place for place, row in enumerate(rows)}
    for header in lines:
        if isinstance(header, GroupHeader):
            assert header.is_open is (header.key not in folded)
            inside = [places[row.key] for row in header.environments]
            assert inside == sorted(inside)
            assert len(header) > 0


def test_old_environments_are_folded_only_without_a_filter() -> None:
    rows = [offline("old", 2 * DAY)]
    assert shape(table_lines(rows, FLEETS, View(), NOW)) == ["+offline for over 24 h (1)"]
    assert shape(table_lines(rows, FLEETS, View(query=parse("old")), NOW)) == ["old"]
    assert shape(table_lines(rows, FLEETS, View(preset=Preset.OFFLINE), NOW)) == ["old"]
