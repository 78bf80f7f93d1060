"""The table's rows and lines: parts, order, presets, groups, ambiguous names, and without the block's rows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, listed, reading
from support.memory_history import day, monitor_now, with_past
from support.tracked_environments import ALL, contexts_at, fleet_of, gone, late, named, offline, online, tracked

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_environments
from envwatch.fleet.presence import LATE, Presence
from envwatch.fleet.problems import is_old
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.fleet.tracking import ChangeTag, RecentChange
from envwatch.history.hours import LastDays
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.query.language import parse
from envwatch.query.presentation import for_text
from envwatch.views.table.arrangement import ArrangeCache, Arrangement, arrange, table_lines
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.columns import rank_of
from envwatch.views.table.table_view import (
    GROUPINGS,
    OLD,
    AmbiguousNames,
    GroupHeader,
    Preset,
    View,
    ambiguous_names,
    by_name,
    by_value,
    group_key,
    groups_of,
    id_tail,
    in_default_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from random import Random

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.views.table.block import LineKey
    from envwatch.views.table.table_view import TableLine


FLAPPING = replace(online("flap"), is_flapping=True)
DAY = 86_400


def arranged(
    rows: Iterable[TrackedEnvironment], view: View | None = None, in_block: Collection[EnvironmentKey] = ()
) -> Arrangement:
    return arrange(contexts_at(fleet_of(rows), NOW), view or View(), ALL, in_block=in_block)


def names(arrangement: Arrangement) -> list[str]:
    return [tracked.environment.name or "" for tracked in arrangement.rows]


def test_late_rows_come_first_then_news_up_down_and_old_rows() -> None:
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
    assert names(arrangement) == ["l2", "l1", "o2", "A", "b", "flap", "o1", "g", "left", "old"]
    assert (arrangement.old, arrangement.in_block) == (1, frozenset())


def test_a_silenced_loss_is_no_news() -> None:
    rows = [offline("o1"), offline("o2"), named("on")]
    silence = silence_of_environments([rows[0].key], WallMs(NOW), timedelta(hours=1), EMPTY, clean("ana"))
    monitor = Monitor(fleet_of(rows)).with_silences({silence.id: silence})
    assert names(arrange(contexts_at(monitor), View(), ALL)) == ["o2", "on", "o1"]


@pytest.mark.parametrize("skew", [0.0, 90_000.0])
def test_the_order_changes_when_the_first_loss_is_no_news_any_more(skew: float) -> None:
    fleet = fleet_of([offline("o1", 300), offline("o2", 600), named("on")], skew=skew)
    here = NOW + skew
    before = arrange(contexts_at(fleet, here), View(), ALL)
    assert (names(before), before.changes_at) == (["o1", "o2", "on"], here + 300_000)
    after = arrange(contexts_at(fleet, before.changes_at), View(), ALL)
    assert (names(after), after.changes_at) == (["o1", "on", "o2"], here + 600_000)
    assert arrange(contexts_at(fleet, after.changes_at), View(), ALL).changes_at == math.inf


def test_the_order_of_the_parts_cannot_be_inverted_and_a_sort_by_a_column_mixes_all_but_old_rows() -> None:
    rows = [offline("o1", 10), late("l1"), late("l2", 110), online("on"), gone("g"), offline("a", DAY)]
    for view, expected in (
        (View(), ["l2", "l1", "o1", "on", "g", "a"]),
        (View(is_inverted=True), ["l2", "l1", "o1", "on", "g", "a"]),
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
def test_a_sort_by_for_compares_the_visible_times_under_limits_and_clock_of_each_profile(
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
    assert (names(arrangement), arrangement.in_block) == (["o2", "a"], frozenset(keys))
    arrangement = arranged(rows, View(query=parse("name:o*")), keys)
    assert (names(arrangement), len(arrangement.in_block)) == (["o2"], 1)
    arrangement = arranged(rows, View(query=parse("status:on,late !flap")), keys)
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
        return 2 * _PARTS.index(tracked.presence)
    is_news = tracked.presence is Presence.OFFLINE and 0 <= NOW - tracked.lost_at < 900_000
    if is_news and tracked.replaced_by is None and not tracked.has_impossible_time:
        return 1
    return 4 if is_old(tracked, NOW) else 3


@given(
    rows=ROWS,
    view=st.sampled_from([View(), View(preset=Preset.OFF), View(query=parse("!a"))]),
    in_block=st.frozensets(st.sampled_from([named(name).key for name in "abcdefghijkl"])),
)
def test_each_row_of_the_view_is_in_the_block_or_once_in_its_part_of_the_table(
    rows: list[TrackedEnvironment], view: View, in_block: frozenset[EnvironmentKey]
) -> None:
    every = arranged(rows, view).rows
    arrangement = arranged(rows, view, in_block)
    assert arrangement.rows == [tracked for tracked in every if tracked.key not in in_block]
    assert arrangement.in_block == in_block & {tracked.key for tracked in every}
    parts = list(map(part_of, arrangement.rows))
    assert parts == sorted(parts)
    if not view.is_narrowed:
        assert arrangement.old == parts.count(4)
        assert len(every) == len(rows)


# Order, presets and names.


IDS = [column.id for column in ALL]


def names_of(environments: Iterable[TrackedEnvironment]) -> list[str]:
    return [tracked.environment.name for tracked in environments]


def seen(environments: Iterable[TrackedEnvironment], view: View) -> list[str]:
    return names_of(arrange(contexts_at(fleet_of(environments), NOW), view, ALL).rows)


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
    assert sorted(names_of(ordered)) == sorted(names_of(rows))


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


NAMES = st.text(" !aAß\u0301~", min_size=1, max_size=3).filter(str.strip)


@given(pairs=st.sets(st.tuples(NAMES, st.text("a~", min_size=1, max_size=2))))
def test_a_name_comes_before_longer_names_with_the_same_begin(*, pairs: set[tuple[str, str]]) -> None:
    rows = [tracked(id=f"{id_}{number}", connectionName=name) for number, (name, id_) in enumerate(pairs)]
    expected = sorted(rows, key=lambda tracked: (tracked.environment.label.casefold(), tracked.environment.id))
    assert in_default_order(rows) == expected


@given(
    listings=st.lists(st.dictionaries(st.sampled_from("abcd"), st.text(" aB2", max_size=2)), min_size=1, max_size=4),
    random=st.randoms(),
)
def test_a_kept_order_of_names_is_the_order_of_names_after_any_listing(
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


def test_ties_go_by_name_then_id_and_versions_sort_as_versions() -> None:
    rows = [named("b", podId="p"), named("A", podId="p"), tracked(id="env-0", connectionName="a", podId="p")]
    for is_inverted in (False, True):
        ordered = [tracked.environment.id for tracked in sorted_by(rows, "pod", is_inverted=is_inverted)]
        assert ordered == ["env-0", "env-A", "env-b"]
    rows = [named(version, metadata={"lettaCodeVersion": version}) for version in ("0.34.12", "0.9.0", "0.34.9")]
    assert names_of(sorted_by(rows, "version", is_inverted=False)) == ["0.9.0", "0.34.9", "0.34.12"]
    rows = [named(version, metadata={"nodeVersion": version}) for version in ("v22.1.0", "v9.1.0", "v100.0.0")]
    assert names_of(sorted_by(rows, "node", is_inverted=False)) == ["v9.1.0", "v22.1.0", "v100.0.0"]


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
    Preset.OFF: {"late", "off", "gone"},
    Preset.PAGING: {"off", "gone", "flap"},
    Preset.CHANGED: {"new"},
}


@pytest.mark.parametrize("preset", Preset)
def test_presets_show_parts_of_the_fleet(preset: Preset) -> None:
    assert set(seen(ONE_OF_EACH, View(preset=preset))) == PARTS[preset]


def test_all_words_must_match_in_the_visible_columns_within_the_preset() -> None:
    rows = [named("Build-1", podId="p-7"), named("build-2", podId="p-8"), offline("build-3")]
    assert seen(rows, View(query=parse("BUILD p-7"))) == ["Build-1"]
    assert seen(rows, View(query=parse("build"), preset=Preset.OFF)) == ["build-3"]
    assert not View(sort="name", is_inverted=True).is_narrowed
    assert View(preset=Preset.PAGING).is_narrowed
    assert View(query=parse("x")).is_narrowed
    profile_state = fleet_of([named("a", podId="p-7")])
    visible = [column for column in ALL if column.id != "pod"]
    assert arrange(contexts_at(profile_state, NOW), View(query=parse("p-7")), visible).rows == []
    assert len(arrange(contexts_at(profile_state, NOW), View(query=parse("p-7")), ALL).rows) == 1


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
def test_an_ambiguous_name_has_a_part_of_the_id_outside_the_name(name: str, id_: str | None, tail: str) -> None:
    ambiguous = frozenset({clean("laptop"), clean("web-1"), clean("Cloud")})
    assert id_tail(clean(name), None if id_ is None else clean(id_), ambiguous) == tail


def test_equal_and_similar_names_are_ambiguous_but_not_one_environment_under_two_profiles() -> None:
    found = ambiguous_names(Counter(clean(name) for name in ("nas", "nas", "hiro", "hirο", "mac-1")))
    assert found == {"nas", "hiro", "hirο"}
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
    assert set(seen(after, replace(view, query=parse("status:on,late")))) == {"lost", "other", "new"}
    assert seen(before, view) == []
    assert set(seen(after, replace(view, compares=False))) == {"same", "fell", "other", "new"}
    assert set(seen(after, replace(view, baseline=None))) == {"same", "fell", "other", "new"}
    assert not view.widened.compares
    assert view.widened.baseline is view.baseline


DAY_MS = 86_400_000


# Groups.


def silent(name: str, since: float) -> TrackedEnvironment:
    return named(name, connectionId=None, podId=None, lastHeartbeat=NOW - since, lastSeenAt=NOW - since)


def shape(lines: Iterable[TableLine]) -> list[str]:
    def text(line: TableLine) -> str:
        if isinstance(line, GroupHeader):
            return f"{'-' if line.is_open else '+'}{line.title} ({len(line)})"
        return line.environment.name

    return [text(line) for line in lines]


def lines(rows: Iterable[TrackedEnvironment], view: View, at: float = NOW, skew: float = 0.0) -> Sequence[TableLine]:
    return table_lines(arrange(contexts_at(fleet_of(rows, skew=skew), at), view, ALL), view)


def members(lines: Iterable[TableLine]) -> list[TrackedEnvironment]:
    found: list[TrackedEnvironment] = []
    for line in lines:
        if isinstance(line, GroupHeader):
            found += line.environments
    return found


def test_the_time_offline_is_by_the_servers_clock() -> None:
    found = lines([silent("a", DAY_MS - 1000), silent("b", DAY_MS + 1000)], View(), NOW + 2 * DAY_MS, skew=2 * DAY_MS)
    assert shape(found) == ["a", "+off for over 24 h (1)"]


def test_old_environments_are_one_folded_group_at_the_end_in_every_order() -> None:
    rows = [silent("old-1", 2 * DAY_MS), silent("new", 1000), silent("old-2", 3 * DAY_MS), named("up")]
    assert shape(lines(rows, View())) == ["new", "up", "+off for over 24 h (2)"]
    opened = lines(rows, View(folded=frozenset()))
    assert shape(opened) == ["new", "up", "-off for over 24 h (2)", "old-1", "old-2"]
    assert shape(lines(rows, View(sort="name"))) == ["new", "up", "+off for over 24 h (2)"]
    assert shape(lines(rows, View(group="os"))) == ["-os linux (2)", "new", "up", "+off for over 24 h (2)"]
    assert shape(lines(rows, View(query=parse("old")))) == ["old-1", "old-2"], "a filter finds folded rows"
    assert shape(lines(rows[:1], View(preset=Preset.OFF))) == ["old-1"]


def test_a_group_with_a_late_row_is_first_and_rows_of_the_block_are_in_no_group() -> None:
    rows = [
        named("a", podId="p-1"),
        named("b", podId="p-2", lastHeartbeat=NOW - 60_000),
        named("c", podId="p-3"),
        silent("old", DAY_MS),
    ]
    view = View(group="pod")
    assert shape(lines(rows, view))[:4] == ["-pod p-2 (1)", "b", "-pod p-1 (1)", "a"]
    in_block = {rows[0].key, rows[3].key}
    found = table_lines(arrange(contexts_at(fleet_of(rows), NOW), view, ALL, in_block=in_block), view)
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


def test_a_header_counts_presences_and_two_names_of_a_mode_are_one_group() -> None:
    rows = [named("a"), named("b", lastHeartbeat=NOW - 60_000), silent("c", 1000), named("d")]
    header = groups_of(rows, "os", frozenset())[0]
    assert isinstance(header, GroupHeader)
    modes = [named("a", currentMode="bypassPermissions"), named("b", currentMode="unrestricted")]
    assert shape(groups_of(modes, "mode", frozenset()))[0] == "-mode unrestricted (2)"
    assert {presence.value: count for presence, count in header.counts.items()} == {
        "online": 2,
        "late": 1,
        "offline": 1,
    }


GROUPED_ROWS = st.lists(
    st.builds(
        lambda name, pod, since: silent(name, since * 1000) if since else named(name, podId=pod),
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from(["p-1", "p-2", None]),
        st.sampled_from([0, 0, 60, 100_000]),
    ),
    unique_by=lambda row: row.key,
)


@given(
    rows=GROUPED_ROWS,
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
    found = table_lines(arrangement, view)
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
