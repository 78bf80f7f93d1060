"""Which environments the table shows, and in what order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, listed
from support.tracked_environments import ALL, tracked

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.fleets import Fleets
from envwatch.fleet.presence import GONE, Presence
from envwatch.model.text import Clean
from envwatch.query.language import parse
from envwatch.views.baseline import Baseline, comparison_columns
from envwatch.views.columns import COLUMNS, MARK_WIDTH
from envwatch.views.table_view import (
    Preset,
    View,
    ambiguous_names,
    in_default_order,
    in_order,
    is_new_problem,
    visible_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.language import SearchCache

IDS = [column.id for column in ALL]


def named(name: str, **changes: Any) -> TrackedEnvironment:
    return tracked(id=f"env-{name}", connectionName=name, **changes)


def online(name: str) -> TrackedEnvironment:
    return named(name)


def late(name: str, seconds: float = 60) -> TrackedEnvironment:
    return named(name, lastHeartbeat=NOW - seconds * 1000)


def offline(name: str, since: float = 300) -> TrackedEnvironment:
    return named(name, connectionId=None, lastHeartbeat=NOW - since * 1000, lastSeenAt=NOW - since * 1000)


def gone(name: str) -> TrackedEnvironment:
    return replace(offline(name), verdict=GONE, since_at=NOW)


def fleet_of(environments: Iterable[TrackedEnvironment], listings: int = 9) -> Fleets:
    fleet, _ = Fleet().after(listed([]))
    by_id = MappingProxyType({tracked.environment.id: tracked for tracked in environments})
    return Fleets({NO_PROFILE: replace(fleet, environments=by_id, listings=listings)})


def names(environments: Iterable[TrackedEnvironment]) -> list[str]:
    return [tracked.environment.name for tracked in environments]


def seen(environments: Iterable[TrackedEnvironment], view: View) -> list[str]:
    return names(visible_rows(fleet_of(environments), view, ALL, NOW))


def test_problems_come_first_with_the_newest_loss_and_the_longest_silence_on_top() -> None:
    rows = [
        gone("g"),
        online("b"),
        online("A"),
        late("l1", 50),
        late("l2", 110),
        offline("o1", 9_000),
        offline("o2", 10),
    ]
    assert names(in_default_order(rows)) == ["o2", "o1", "l2", "l1", "A", "b", "g"]


WATCHES = st.builds(
    lambda name, number, kind: kind(f"{name}{number}"),
    st.sampled_from("abAB"),
    st.integers(0, 30),
    st.sampled_from([online, late, partial(late, seconds=90), offline, partial(offline, since=900), gone]),
)


@given(
    rows=st.lists(WATCHES, unique_by=lambda tracked: tracked.environment.id),
    column=st.sampled_from([None, *IDS]),
    is_inverted=st.booleans(),
    random=st.randoms(),
)
def test_the_order_is_total_and_independent_of_the_input_order(
    *, rows: list[TrackedEnvironment], column: str | None, is_inverted: bool, random: Random
) -> None:
    ordered = in_order(rows, column, is_inverted=is_inverted)
    mixed = rows.copy()
    random.shuffle(mixed)
    assert in_order(mixed, column, is_inverted=is_inverted) == ordered
    assert sorted(names(ordered)) == sorted(names(rows))


@given(rows=st.lists(WATCHES, unique_by=lambda tracked: tracked.environment.id))
def test_the_default_order_is_by_presence_then_urgency_then_name(*, rows: list[TrackedEnvironment]) -> None:
    places = {Presence.OFFLINE: 0, Presence.LATE: 1, Presence.ONLINE: 2, Presence.GONE: 3}
    urgencies: dict[Presence, Callable[[TrackedEnvironment], float]] = {
        Presence.OFFLINE: lambda tracked: -tracked.lost_at,
        Presence.LATE: lambda tracked: tracked.quiet_at,
        Presence.ONLINE: lambda _: 0.0,
        Presence.GONE: lambda tracked: -tracked.lost_at,
    }

    def place(tracked: TrackedEnvironment) -> tuple[int, float, str, str]:
        row = tracked.environment
        return (places[tracked.presence], urgencies[tracked.presence](tracked), row.name.casefold(), row.id)

    assert in_default_order(rows) == sorted(rows, key=place)


@given(pairs=st.sets(st.tuples(st.text(" !aAß\u0301~", min_size=1, max_size=3), st.text("a~", min_size=1, max_size=2))))
def test_a_name_comes_before_longer_ones_that_begin_with_it_whatever_their_ids(*, pairs: set[tuple[str, str]]) -> None:
    rows = [tracked(id=f"{id_}{number}", connectionName=name) for number, (name, id_) in enumerate(pairs)]
    expected = sorted(rows, key=lambda tracked: (tracked.environment.name.casefold(), tracked.environment.id))
    assert in_default_order(rows) == expected


@pytest.mark.parametrize("is_inverted", [False, True])
def test_rows_without_a_value_come_last_in_both_directions(*, is_inverted: bool) -> None:
    rows = [named("x", podId=None), named("a", podId="p-2"), named("b", podId="p-1"), named("c", podId="")]
    ordered = names(in_order(rows, "pod", is_inverted=is_inverted))
    assert ordered[:2] == (["a", "b"] if is_inverted else ["b", "a"])
    assert ordered[2:] == ["c", "x"]


def test_ties_go_by_name_then_id_in_both_directions() -> None:
    rows = [named("b", podId="p"), named("A", podId="p"), tracked(id="env-0", connectionName="a", podId="p")]
    for is_inverted in (False, True):
        ordered = [tracked.environment.id for tracked in in_order(rows, "pod", is_inverted=is_inverted)]
        assert ordered == ["env-0", "env-A", "env-b"]


def test_versions_sort_as_versions_in_the_table() -> None:
    rows = [named(version, metadata={"lettaCodeVersion": version}) for version in ("0.34.12", "0.9.0", "0.34.9")]
    assert names(in_order(rows, "version", is_inverted=False)) == ["0.9.0", "0.34.9", "0.34.12"]
    rows = [named(version, metadata={"nodeVersion": version}) for version in ("v22.1.0", "v9.1.0", "v100.0.0")]
    assert names(in_order(rows, "node", is_inverted=False)) == ["v9.1.0", "v22.1.0", "v100.0.0"]


ONE_OF_EACH = [
    online("on"),
    late("late"),
    offline("off"),
    gone("gone"),
    replace(online("flap"), is_flapping=True),
    replace(named("new", currentMode="strict"), changed_in=9),
]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (Preset.ALL, {"on", "late", "off", "gone", "flap", "new"}),
        (Preset.ONLINE, {"on", "late", "flap", "new"}),
        (Preset.LATE, {"late"}),
        (Preset.OFFLINE, {"off", "gone"}),
        (Preset.FLAPPING, {"flap"}),
        (Preset.CHANGED, {"new"}),
    ],
)
def test_presets_show_parts_of_the_fleet(preset: Preset, expected: set[str]) -> None:
    assert set(seen(ONE_OF_EACH, View(preset=preset))) == expected


def test_all_words_must_match_in_either_case_within_the_preset() -> None:
    rows = [named("Build-1", podId="p-7"), named("build-2", podId="p-8"), offline("build-3")]
    assert seen(rows, View(query=parse("BUILD p-7"))) == ["Build-1"]
    assert seen(rows, View(query=parse("build"), preset=Preset.OFFLINE)) == ["build-3"]
    assert seen(rows, View(query=parse("build nothing"))) == []


def test_search_caches_spare_reading_unchanged_rows_again() -> None:
    reads: list[TrackedEnvironment] = []

    def text(one: TrackedEnvironment, _: float) -> Clean:
        reads.append(one)
        return one.environment.name

    columns = (replace(COLUMNS["name"], text=text),)
    fleets = fleet_of([named("ada"), named("bob")])
    kept: dict[Clean, SearchCache] = {}
    for _ in range(2):
        assert names(visible_rows(fleets, View(query=parse("bob")), columns, NOW, kept)) == ["bob"]
    assert len(reads) == 2


def test_words_are_looked_for_only_in_visible_columns() -> None:
    fleet = fleet_of([named("a", podId="p-7")])
    visible = [column for column in ALL if column.id != "pod"]
    assert visible_rows(fleet, View(query=parse("p-7")), visible, NOW) == []
    assert len(visible_rows(fleet, View(query=parse("p-7")), ALL, NOW)) == 1


def test_only_a_preset_or_a_query_narrows() -> None:
    assert not View(sort="name", is_inverted=True).is_narrowed
    assert View(preset=Preset.LATE).is_narrowed
    assert View(query=parse("x")).is_narrowed


@pytest.mark.parametrize(("listings", "is_fresh"), [(5, True), (6, True), (7, False)])
def test_a_change_is_fresh_for_two_listings(listings: int, *, is_fresh: bool) -> None:
    assert replace(online("a"), changed_in=5).is_fresh(listings) is is_fresh
    assert not online("a").is_fresh(listings)


def test_problems_are_environments_that_are_offline_late_or_flapping() -> None:
    rows = [online("a"), late("b"), offline("c"), gone("d"), replace(online("e"), is_flapping=True)]
    assert names(row for row in rows if row.is_problem) == ["b", "c", "e"]
    assert rows[3].presence is Presence.GONE


def test_names_that_are_used_twice_or_look_alike_are_ambiguous() -> None:
    found = ambiguous_names(Counter(Clean(name) for name in ("nas", "nas", "hiro", "hirο", "mac-1")))
    assert found == {"nas", "hiro", "hirο"}


def test_acknowledged_problems_come_after_other_problems_and_before_healthy_environments() -> None:
    rows = [offline("o1", 10), offline("o2", 20), late("l1"), late("l2", 110), online("on"), gone("g")]
    acks = {Clean(f"env-{name}"): Ack(NOW, Clean("")) for name in ("o1", "l2", "on")}
    fleets = fleet_of(rows)
    assert names(visible_rows(fleets, View(), ALL, NOW, acks=acks)) == ["o2", "l1", "o1", "l2", "on", "g"]
    inverted = names(visible_rows(fleets, View(is_inverted=True), ALL, NOW, acks=acks))
    assert inverted == ["g", "on", "l2", "o1", "l1", "o2"]
    by_name = names(visible_rows(fleets, View(sort="name"), ALL, NOW, acks=acks))
    assert by_name == sorted(names(rows))
    assert [is_new_problem(row, acks) for row in rows] == [False, True, True, False, False, False]


def test_a_comparison_shows_only_differing_environments_including_lost_ones() -> None:
    before = [online("same"), online("fell"), online("lost"), online("other")]
    after = [before[0], offline("fell", 10), named("other", currentMode="strict"), online("new")]
    view = View(baseline=Baseline.of(before, NOW), compares=True)
    assert view.is_narrowed
    assert set(seen(after, view)) == {"fell", "lost", "other", "new"}
    assert set(seen(after, replace(view, query=parse("mode:strict")))) == {"other"}
    assert set(seen(after, replace(view, preset=Preset.ONLINE))) == {"lost", "other", "new"}
    assert seen(before, view) == []
    assert len(seen(after, replace(view, compares=False))) == 4
    assert not view.widened.compares
    assert view.widened.baseline is view.baseline


def test_the_columns_of_a_comparison_say_what_was_and_what_is() -> None:
    before, after = [online("a"), online("b")], [offline("a", 10), online("c")]
    fleets = fleet_of(after)
    columns = comparison_columns(78, Baseline.of(before, NOW), fleets)
    assert [column.id for column, _ in columns] == ["state", "name", "changes"]
    texts = {row.environment.name: columns[2][0].text(row, NOW) for row in (*after, before[1])}
    assert texts == {"a": "state online → offline", "b": "gone, was online", "c": "new, online"}


@given(st.integers(1, 300))
def test_the_columns_of_a_comparison_fit(width: int) -> None:
    columns = comparison_columns(width, Baseline.of([], NOW), Fleets())
    assert all(room >= 1 for _, room in columns)
    if width >= 20:
        assert sum(room + 1 for _, room in columns) + MARK_WIDTH <= width + 1
