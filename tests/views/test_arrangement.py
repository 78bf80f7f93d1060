"""The table's rows and order, without the block's rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, listed, reading
from support.pasts import day, monitor_now, with_past
from support.tracked_environments import ALL, contexts_at, fleet_of, gone, late, named, offline, online, tracked

from envwatch.fleet.presence import LATE, Presence
from envwatch.fleet.problems import is_old
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.history.hours import LastDays
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import Arrangement, arrange
from envwatch.views.table.columns import for_text
from envwatch.views.table.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment

FLAPPING = replace(online("flap"), is_flapping=True)
DAY = 86_400


def arranged(
    rows: Iterable[TrackedEnvironment], view: View | None = None, in_block: Collection[EnvironmentKey] = ()
) -> Arrangement:
    return arrange(contexts_at(fleet_of(rows), NOW), view or View(), ALL, in_block=in_block)


def names(arrangement: Arrangement) -> list[str]:
    return [tracked.environment.name or "" for tracked in arrangement.rows]


def test_late_rows_come_first_then_rows_that_are_up_then_those_that_are_down_and_at_the_end_the_old_ones() -> None:
    rows = [
        online("b"),
        FLAPPING,
        late("l1", 50),
        late("l2", 110),
        gone("g"),
        offline("o1", 9_000),
        offline("o2", 10),
        offline("old", DAY),
        online("A"),
        replace(gone("left"), since_at=ServerMs(NOW - 900_000)),
    ]
    arrangement = arranged(rows)
    assert names(arrangement) == ["l2", "l1", "A", "b", "flap", "o2", "o1", "g", "left", "old"]
    assert (arrangement.old, arrangement.in_block) == (1, frozenset())


def test_the_order_of_the_parts_cannot_be_inverted_and_a_sort_by_a_column_mixes_all_but_old_rows() -> None:
    rows = [offline("o1", 10), late("l1"), late("l2", 110), online("on"), gone("g"), offline("a", DAY)]
    for view, expected in (
        (View(), ["l2", "l1", "on", "o1", "g", "a"]),
        (View(is_inverted=True), ["l2", "l1", "on", "o1", "g", "a"]),
        (View(sort="name"), ["g", "l1", "l2", "o1", "on", "a"]),
        (View(sort="name", is_inverted=True), ["on", "o1", "l2", "l1", "g", "a"]),
    ):
        arrangement = arranged(rows, view)
        assert names(arrangement) == expected
        assert arrangement.old == 1


def test_a_sort_by_the_last_day_needs_the_last_day_and_other_sorts_do_not() -> None:
    monitor = with_past(monitor_now(), day())
    days = LastDays(monitor, reading())
    fleet = monitor.fleet
    order = {
        sort: names(arrange(contexts_at(fleet, NOW, given), View(sort=sort), ALL))
        for sort, given in (("24h", days), ("name", days), ("mode", None))
    }
    assert order["24h"] == ["once", "lost", "new", "steady"]
    assert order["name"] == order["mode"] == ["lost", "new", "once", "steady"]
    assert names(arrange(contexts_at(fleet, NOW), View(sort="24h"), ALL)) == order["name"]


def test_an_arrangement_without_a_row_has_one_old_row_less_only_if_the_row_was_old() -> None:
    rows = [online("a"), offline("b", 10), offline("c", DAY), offline("d", 2 * DAY)]
    arrangement = arranged(rows)
    assert arrangement.old == 2
    assert [arrangement.without(row.key).old for row in rows] == [2, 2, 1, 1]
    assert names(arrangement.without(rows[1].key)) == ["a", "c", "d"]


def of_two_profiles(late_after_s: float, hours_ahead: float) -> Fleet:
    """Return a fleet of `a`, late for 60 s, and `b`, silent for 119 s, whose profile has separate limits and clock."""
    ahead_ms = hours_ahead * 3_600_000
    profile_states = {}
    for name, silent_s, limits, at in (
        ("a", 105, Limits(), NOW),
        ("b", 119, Limits(late_after=timedelta(seconds=late_after_s)), NOW + ahead_ms),
    ):
        profile = clean(name)
        beat = tracked(id=name, connectionName=name, lastHeartbeat=at - silent_s * 1000)
        profile_state, _ = ProfileState(limits=limits, profile=profile).apply(listed([], at, skew=NOW - at))
        row = replace(beat, verdict=LATE, profile=profile)
        profile_states[profile] = replace(profile_state, environments={row.environment.id: row})
    return Fleet(profile_states)


@pytest.mark.parametrize("hours_ahead", [-3, 0, 3])
@pytest.mark.parametrize(
    ("late_after_s", "shown", "order"), [(58, ["1m", "1m"], ["a", "b"]), (60, ["59s", "1m"], ["b", "a"])]
)
def test_a_sort_by_for_compares_the_times_that_for_shows_under_the_limits_and_the_clock_of_each_profile(
    late_after_s: float, shown: list[str], order: list[str], hours_ahead: float
) -> None:
    fleet = of_two_profiles(late_after_s, hours_ahead)
    moments = fleet.moments(WallMs(NOW))
    for is_inverted in (False, True):
        view = View(sort="for", is_inverted=is_inverted)
        rows = arrange(contexts_at(fleet, NOW), view, ALL).rows
        texts = [for_text(row, moments[row.profile], fleet.for_environment(row).limits) for row in rows]
        assert [row.environment.name for row in rows] == (order[::-1] if is_inverted else order)
        assert texts == (shown[::-1] if is_inverted else shown)


def test_a_row_of_the_block_is_not_in_the_table_and_counts_as_a_match_of_the_view() -> None:
    rows = [offline("o1"), offline("o2"), online("a"), FLAPPING]
    keys = {named("o1").key, FLAPPING.key}
    arrangement = arranged(rows, in_block=keys)
    assert (names(arrangement), arrangement.in_block) == (["a", "o2"], frozenset(keys))
    arrangement = arranged(rows, View(query=parse("name:o")), keys)
    assert (names(arrangement), len(arrangement.in_block)) == (["o2"], 1)
    arrangement = arranged(rows, View(preset=Preset.ONLINE, query=parse("!flap")), keys)
    assert (names(arrangement), len(arrangement.in_block)) == (["a"], 0)


ROWS = st.lists(
    st.builds(
        lambda name, kind: kind(name),
        st.sampled_from("abcdefghijkl"),
        st.sampled_from([online, late, offline, lambda name: offline(name, 2 * DAY), gone]),
    ),
    unique_by=lambda tracked: tracked.key,
)
_PARTS = (Presence.LATE, Presence.ONLINE)


def part_of(tracked: TrackedEnvironment) -> int:
    if tracked.presence in _PARTS:
        return _PARTS.index(tracked.presence)
    return 3 if is_old(tracked, NOW) else 2


@given(
    rows=ROWS,
    view=st.sampled_from([View(), View(preset=Preset.OFFLINE), View(query=parse("!a"))]),
    in_block=st.frozensets(st.sampled_from([named(name).key for name in "abcdefghijkl"])),
)
def test_each_row_that_the_view_shows_is_in_the_block_or_once_in_its_part_of_the_table(
    rows: list[TrackedEnvironment], view: View, in_block: frozenset[EnvironmentKey]
) -> None:
    every = arranged(rows, view).rows
    arrangement = arranged(rows, view, in_block)
    assert arrangement.rows == [tracked for tracked in every if tracked.key not in in_block]
    assert arrangement.in_block == in_block & {tracked.key for tracked in every}
    parts = list(map(part_of, arrangement.rows))
    assert parts == sorted(parts)
    if not view.is_narrowed:
        assert arrangement.old == parts.count(3)
        assert len(every) == len(rows)


def test_a_row_that_is_left_out_leaves_the_counts_right() -> None:
    arrangement = arranged([late("l"), online("a"), offline("old", DAY)])
    counts = {}
    for name in ("l", "a", "old"):
        left = arrangement.without(named(name).key)
        counts[name] = (len(left.rows), left.old)
    assert counts == {"l": (2, 1), "a": (2, 1), "old": (2, 0)}
