"""The table's rows and order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import ALL, contexts_at, fleet_of, gone, late, named, offline, online, tracked

from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Fleet
from envwatch.fleet.tracking import ChangeTag, RecentChange
from envwatch.model.text import SafeText, clean, natural_key
from envwatch.query.language import parse
from envwatch.views.table.arrangement import ArrangeCache, arrange
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.columns import COLUMNS, LEFT, rank_of
from envwatch.views.table.table_view import (
    AmbiguousNames,
    Preset,
    View,
    ambiguous_names,
    by_name,
    by_value,
    id_tail,
    in_default_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from envwatch.fleet.tracking import TrackedEnvironment

IDS = [column.id for column in ALL]


def names(environments: Iterable[TrackedEnvironment]) -> list[str]:
    return [tracked.environment.name for tracked in environments]


def seen(environments: Iterable[TrackedEnvironment], view: View) -> list[str]:
    return names(arrange(contexts_at(fleet_of(environments), NOW), view, ALL).rows)


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


def sorted_by(rows: Sequence[TrackedEnvironment], column: str, *, is_inverted: bool) -> list[TrackedEnvironment]:
    rank, contexts = rank_of(column, rows), contexts_at(fleet_of(rows))
    return by_value(by_name(rows), lambda row: rank(row, contexts[row.profile]), is_inverted=is_inverted)


@given(
    rows=st.lists(WATCHES, unique_by=lambda tracked: tracked.environment.id),
    column=st.sampled_from(IDS),
    is_inverted=st.booleans(),
    random=st.randoms(),
)
def test_the_order_is_total_and_independent_of_the_input_order(
    *, rows: list[TrackedEnvironment], column: str, is_inverted: bool, random: Random
) -> None:
    ordered = sorted_by(rows, column, is_inverted=is_inverted)
    mixed = rows.copy()
    random.shuffle(mixed)
    assert sorted_by(mixed, column, is_inverted=is_inverted) == ordered
    assert sorted(names(ordered)) == sorted(names(rows))


@given(rows=st.lists(WATCHES, unique_by=lambda tracked: tracked.environment.id))
def test_the_default_order_is_by_presence_then_urgency_then_name(*, rows: list[TrackedEnvironment]) -> None:
    places = {Presence.OFFLINE: 0, Presence.LATE: 1, Presence.ONLINE: 2, Presence.GONE: 3}
    urgencies: dict[Presence, Callable[[TrackedEnvironment], float]] = {
        Presence.OFFLINE: lambda tracked: -tracked.lost_at,
        Presence.LATE: lambda tracked: tracked.environment.last_seen_alive_at,
        Presence.ONLINE: lambda _: 0.0,
        Presence.GONE: lambda tracked: -tracked.lost_at,
    }

    def place(tracked: TrackedEnvironment) -> tuple[int, float, str, int, str]:
        row = tracked.environment
        number = int(row.name[1:])
        return (places[tracked.presence], urgencies[tracked.presence](tracked), row.name[0].casefold(), number, row.id)

    assert in_default_order(rows) == sorted(rows, key=place)


def test_numbers_in_names_sort_as_numbers_and_a_row_without_a_name_by_its_id() -> None:
    rows = [online("web-10"), online("Web-2"), online("5753"), online("574"), online("web-2-b"), online("web-007")]
    unnamed = tracked(id="env-3", connectionName=" ")
    in_their_order = ["574", "5753", " ", "Web-2", "web-2-b", "web-007", "web-10"]
    assert names(in_default_order([*rows, unnamed])) == in_their_order
    assert names(sorted_by([*rows, unnamed], "name", is_inverted=False)) == in_their_order


@given(numbers=st.lists(st.integers(0, 10**60), min_size=2))
def test_names_that_differ_by_a_number_sort_by_it(*, numbers: list[int]) -> None:
    assert sorted(numbers, key=lambda number: natural_key(f"web-{number}")) == sorted(numbers)


NAMES = st.text(" !aAß\u0301~", min_size=1, max_size=3).filter(str.strip)


@given(pairs=st.sets(st.tuples(NAMES, st.text("a~", min_size=1, max_size=2))))
def test_a_name_comes_before_longer_ones_that_begin_with_it_whatever_their_ids(*, pairs: set[tuple[str, str]]) -> None:
    rows = [tracked(id=f"{id_}{number}", connectionName=name) for number, (name, id_) in enumerate(pairs)]
    expected = sorted(rows, key=lambda tracked: (tracked.environment.label.casefold(), tracked.environment.id))
    assert in_default_order(rows) == expected


@given(
    listings=st.lists(st.dictionaries(st.sampled_from("abcd"), st.text(" aB2", max_size=2)), min_size=1, max_size=4),
    random=st.randoms(),
)
def test_a_kept_order_of_names_is_the_order_of_names_though_rows_come_and_go_and_are_renamed(
    *, listings: list[dict[str, str]], random: Random
) -> None:
    order = ArrangeCache()
    for listing in listings:
        rows = [tracked(id=f"env-{id_}", connectionName=name) for id_, name in listing.items()]
        if random.random() < 0.5:
            order.learn(rows)
        for part in (rows, random.sample(rows, len(rows) // 2)):
            assert order.by_name(part) == by_name(part)


def test_many_new_rows_are_put_into_the_order_of_names_and_ranked_with_the_next_listing() -> None:
    order, few = ArrangeCache(), [named("b-2"), named("b-10")]
    many = [*few, *(named(f"{letter}-{number}") for letter in "ca" for number in range(200))]
    order.learn(few)
    assert order.by_name(many) == by_name(many)
    order.learn(many)
    assert order.by_name(many) == by_name(many)


@pytest.mark.parametrize("is_inverted", [False, True])
def test_rows_without_a_value_come_last_in_both_directions(*, is_inverted: bool) -> None:
    rows = [named("x", podId=None), named("a", podId="p-2"), named("b", podId="p-1"), named("c", podId="")]
    ordered = names(sorted_by(rows, "pod", is_inverted=is_inverted))
    assert ordered[:2] == (["a", "b"] if is_inverted else ["b", "a"])
    assert ordered[2:] == ["c", "x"]


def test_ties_go_by_name_then_id_in_both_directions() -> None:
    rows = [named("b", podId="p"), named("A", podId="p"), tracked(id="env-0", connectionName="a", podId="p")]
    for is_inverted in (False, True):
        ordered = [tracked.environment.id for tracked in sorted_by(rows, "pod", is_inverted=is_inverted)]
        assert ordered == ["env-0", "env-A", "env-b"]


def test_versions_sort_as_versions_in_the_table() -> None:
    rows = [named(version, metadata={"lettaCodeVersion": version}) for version in ("0.34.12", "0.9.0", "0.34.9")]
    assert names(sorted_by(rows, "version", is_inverted=False)) == ["0.9.0", "0.34.9", "0.34.12"]
    rows = [named(version, metadata={"nodeVersion": version}) for version in ("v22.1.0", "v9.1.0", "v100.0.0")]
    assert names(sorted_by(rows, "node", is_inverted=False)) == ["v9.1.0", "v22.1.0", "v100.0.0"]


ONE_OF_EACH = [
    online("on"),
    late("late"),
    offline("off"),
    gone("gone"),
    replace(online("flap"), is_flapping=True),
    replace(named("new", currentMode="strict"), last_change=RecentChange(ChangeTag.MODE, NOW)),
]


PARTS = {
    Preset.ALL: {"on", "late", "off", "gone", "flap", "new"},
    Preset.ONLINE: {"on", "late", "flap", "new"},
    Preset.LATE: {"late"},
    Preset.OFFLINE: {"off", "gone"},
    Preset.FLAPPING: {"flap"},
    Preset.CHANGED: {"new"},
}


@pytest.mark.parametrize("preset", Preset)
def test_presets_show_parts_of_the_fleet(preset: Preset) -> None:
    assert set(seen(ONE_OF_EACH, View(preset=preset))) == PARTS[preset]


def test_all_words_must_match_in_either_case_within_the_preset() -> None:
    rows = [named("Build-1", podId="p-7"), named("build-2", podId="p-8"), offline("build-3")]
    assert seen(rows, View(query=parse("BUILD p-7"))) == ["Build-1"]
    assert seen(rows, View(query=parse("build"), preset=Preset.OFFLINE)) == ["build-3"]
    assert seen(rows, View(query=parse("build nothing"))) == []


def test_search_caches_spare_reading_unchanged_rows_again() -> None:
    reads: list[TrackedEnvironment] = []

    def text(one: TrackedEnvironment) -> SafeText:
        reads.append(one)
        return one.environment.name

    columns = (replace(COLUMNS["name"], text=text),)
    fleet = fleet_of([named("ada"), named("bob")])
    cache = ArrangeCache()
    for _ in range(2):
        assert names(arrange(contexts_at(fleet, NOW), View(query=parse("bob")), columns, cache=cache).rows) == ["bob"]
    assert len(reads) == 2


def test_words_are_looked_for_only_in_visible_columns() -> None:
    profile_state = fleet_of([named("a", podId="p-7")])
    visible = [column for column in ALL if column.id != "pod"]
    assert arrange(contexts_at(profile_state, NOW), View(query=parse("p-7")), visible).rows == []
    assert len(arrange(contexts_at(profile_state, NOW), View(query=parse("p-7")), ALL).rows) == 1


def test_only_a_preset_or_a_query_narrows() -> None:
    assert not View(sort="name", is_inverted=True).is_narrowed
    assert View(preset=Preset.LATE).is_narrowed
    assert View(query=parse("x")).is_narrowed


@pytest.mark.parametrize(
    ("name", "id_", "tail"),
    [
        ("laptop", "5b491561-2b14-472f", " 472f"),
        ("laptop", "row-12", " w-12"),
        ("laptop", "abc", " abc"),
        ("laptop", "x-4567", " 4567"),
        ("laptop", "row--12", " 12"),
        ("web-1", "env-web-1", " env"),
        ("web-1", "0017-web-1", " 0017"),
        ("Cloud", "agent-9__cloud__", " nt-9"),
        ("web-1", "web-1", " eb-1"),
        ("web-1", None, ""),
        ("other", "env-1", ""),
    ],
)
def test_an_ambiguous_name_has_a_part_of_the_id_that_does_not_repeat_the_name(
    name: str, id_: str | None, tail: str
) -> None:
    ambiguous = frozenset({clean("laptop"), clean("web-1"), clean("Cloud")})
    assert id_tail(clean(name), None if id_ is None else clean(id_), ambiguous) == tail


def test_names_that_are_used_twice_or_look_alike_are_ambiguous() -> None:
    found = ambiguous_names(Counter(clean(name) for name in ("nas", "nas", "hiro", "hirο", "mac-1")))
    assert found == {"nas", "hiro", "hirο"}


def test_one_environment_under_two_profiles_is_no_pair_of_twins() -> None:
    home, work = clean("home"), clean("work")
    both = [replace(named("nas"), profile=profile) for profile in (home, work)]
    assert AmbiguousNames().among(both) == frozenset()
    assert AmbiguousNames().among([*both, replace(tracked(id="env-2", connectionName="nas"), profile=work)]) == {"nas"}


def test_a_comparison_shows_only_differing_environments_including_lost_ones() -> None:
    before = [online("same"), online("fell"), online("lost"), online("other")]
    after = [before[0], offline("fell", 10), named("other", currentMode="strict"), online("new")]
    view = View(baseline=Baseline.from_environments(before, NOW), compares=True)
    assert view.is_narrowed
    assert set(seen(after, view)) == {"fell", "lost", "other", "new"}
    assert set(seen(after, replace(view, query=parse("mode:strict")))) == {"other"}
    assert set(seen(after, replace(view, preset=Preset.ONLINE))) == {"lost", "other", "new"}
    assert seen(before, view) == []
    assert set(seen(after, replace(view, compares=False))) == {"same", "fell", "other", "new"}
    assert set(seen(after, replace(view, baseline=None))) == {"same", "fell", "other", "new"}
    assert not view.widened.compares
    assert view.widened.baseline is view.baseline


def test_the_columns_of_a_comparison_say_what_was_and_what_is() -> None:
    before, after = [online("a"), online("b")], [offline("a", 10), online("c")]
    fleet = fleet_of(after)
    columns = Baseline.from_environments(before, NOW).columns(78, fleet)
    assert [column.id for column, _ in columns] == ["state", "for", "beat", "name", "changes"]
    texts = {row.environment.name: columns[-1][0].text(row) for row in (*after, before[1])}
    assert texts == {"a": "state online → offline", "b": "gone, was online", "c": "new, online"}


@given(st.integers(1, 300))
def test_the_columns_of_a_comparison_fit(width: int) -> None:
    columns = Baseline.from_environments([], NOW).columns(width, Fleet())
    assert all(room >= 1 for _, room in columns)
    if width >= LEFT + 4:
        assert LEFT + sum(room + 1 for _, room in columns[3:]) <= width + 1
