"""What a view chooses: named views, and differences from a baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, listed, watched, wire_row
from support.tracked_environments import BARE, fleet_of, named, offline, online, tracked

from envwatch.fleet.plausibility import SkewCheck
from envwatch.fleet.presence import GONE
from envwatch.fleet.tracking import ChangeTag, RecentChange
from envwatch.model.clock import MonotonicS
from envwatch.model.environment import mode_of, update_text
from envwatch.model.text import cells, clean
from envwatch.query.language import parse
from envwatch.views.table.baseline import Baseline, difference_text, differences
from envwatch.views.table.table_view import BUILT_IN_VIEWS, GROUPINGS, NamedView, Preset, View

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


GPU = NamedView(name="gpu", key="V", filter="name:gpu-*", columns=("name", "meta.team"), sort="version", group="os")
PLAIN = NamedView(name="plain")
views = st.builds(
    View,
    preset=st.sampled_from(Preset),
    query=st.sampled_from(["", "gpu", "meta.team:a"]).map(parse),
    sort=st.sampled_from([None, "name", "meta.team"]),
    columns=st.sampled_from([(), ("name", "mode")]),
    group=st.sampled_from([None, *GROUPINGS, "meta.team"]),
    baseline=st.sampled_from([None, Baseline.from_environments([named("one")], NOW)]),
    named=st.sampled_from([None, GPU, PLAIN]),
    view_columns=st.sampled_from([None, (), ("name",)]),
)
own = st.sampled_from([GPU, PLAIN])


@given(views, own)
def test_a_view_is_the_same_after_any_other_choice(before: View, view: NamedView) -> None:
    after = view.chosen(before)
    assert after == view.chosen(View(columns=before.columns, baseline=before.baseline))
    assert (after.name, after.preset, after.compares) == (view.name, Preset.ALL, False)


@given(views, own)
def test_no_view_changes_the_users_own_columns_or_the_baseline(before: View, view: NamedView) -> None:
    after = view.chosen(before)
    assert (after.columns, after.baseline) == (before.columns, before.baseline)
    assert after.visible_columns == (view.columns or before.columns)
    assert BUILT_IN_VIEWS["reset"].chosen(after).visible_columns == before.columns


@given(views, st.sampled_from(Preset))
def test_a_built_in_part_of_the_fleet_keeps_all_other_parts_of_the_view(before: View, preset: Preset) -> None:
    assert BUILT_IN_VIEWS[preset].chosen(before) == replace(before, preset=preset)


@given(views)
def test_reset_drops_everything_but_columns_and_baseline(before: View) -> None:
    assert BUILT_IN_VIEWS["reset"].chosen(before) == View(columns=before.columns, baseline=before.baseline)


@pytest.mark.parametrize(
    ("changed", "has_query", "has_order"),
    [
        ({"preset": Preset.OFF}, True, True),
        ({"query": parse("name:other")}, False, True),
        ({"query": parse("")}, False, True),
        ({"sort": None}, True, False),
        ({"is_inverted": True}, True, False),
        ({"group": None}, True, False),
        ({"view_columns": ("name", "mode")}, True, True),
        ({"view_columns": None}, True, True),
    ],
)
def test_a_changed_view_has_a_star_until_the_change_is_undone_and_keeps_query_and_order(
    changed: dict[str, object], *, has_query: bool, has_order: bool
) -> None:
    chosen = GPU.chosen(View())
    other = replace(chosen, **changed)  # type: ignore[arg-type]
    assert (chosen.name, other.name) == ("gpu", "gpu*")
    assert GPU.chosen(other) == chosen
    assert replace(other, **{name: getattr(chosen, name) for name in changed}).name == "gpu"
    assert (chosen.has_named_query, chosen.has_named_order) == (True, True)
    assert (other.has_named_query, other.has_named_order) == (has_query, has_order)
    assert not View().has_named_query
    assert not View().has_named_order


def test_folding_and_the_baseline_change_no_view() -> None:
    chosen = replace(GPU.chosen(View()), folded=frozenset(), baseline=Baseline.from_environments([], NOW))
    assert chosen.name == "gpu"
    assert replace(chosen, compares=True).name == "gpu"
    assert replace(chosen, query=parse('name:"gpu-"*')).name == "gpu", "another spelling"


def test_columns_chosen_in_a_view_with_columns_belong_to_the_view() -> None:
    within = GPU.chosen(View(columns=("name", "mode"))).with_columns(("name", "os"))
    assert (within.columns, within.visible_columns) == (("name", "mode"), ("name", "os"))
    everywhere = PLAIN.chosen(View(columns=("name", "mode"))).with_columns(("name", "os"))
    assert everywhere.columns == everywhere.visible_columns == ("name", "os")
    assert everywhere.name == "plain"
    assert GPU.chosen(View(columns=("name", "mode"))).with_columns(()).visible_columns == ()


def test_every_view_has_key_id_and_description() -> None:
    assert [view.key for view in BUILT_IN_VIEWS.values()] == [*"12340"]
    assert [view.id for view in BUILT_IN_VIEWS.values()] == [f"find.{name}" for name in (*Preset, "reset")]
    assert (GPU.id, GPU._replace(name="late").id) == ("view.gpu", "view.late")
    assert [view.description for view in BUILT_IN_VIEWS.values()] == [
        *(preset.description for preset in Preset),
        "Reset the view except the columns",
    ]
    assert GPU.description == "View: gpu"


# A baseline.


METADATA = wire_row()["metadata"]
OFFLINE = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None}


def gone(**changes: Any) -> TrackedEnvironment:
    return replace(tracked(**changes), verdict=GONE, absent=2)


def text(before: TrackedEnvironment | None, after: TrackedEnvironment | None) -> str:
    return difference_text(differences(before, after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (tracked(), tracked(**OFFLINE), "state online → offline"),
        (tracked(**OFFLINE), tracked(), "state offline → online"),
        (tracked(), tracked(lastHeartbeat=NOW - 120_000), "state online → offline"),
        (tracked(), tracked(lastHeartbeat=NOW - 119_999), ""),
        (tracked(lastHeartbeat=NOW - 45_000), tracked(lastHeartbeat=NOW - 44_999), ""),
        (tracked(**OFFLINE), tracked(lastHeartbeat=NOW - 120_000), ""),
        (None, tracked(), "new, online"),
        (None, tracked(**OFFLINE), "new, offline"),
        (tracked(), None, "gone, was online"),
        (tracked(**OFFLINE), gone(**OFFLINE), "gone, was offline"),
        (gone(), tracked(), "state gone → online"),
        (gone(), gone(), ""),
        (gone(), None, ""),
        (None, gone(), ""),
        (None, None, ""),
    ],
)
def test_presence_is_compared_as_in_events(
    before: TrackedEnvironment | None, after: TrackedEnvironment | None, expected: str
) -> None:
    assert text(before, after) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"connectionId": "conn-2"}, "reconnected"),
        ({"connectedAt": NOW}, "reconnected"),
        ({"connectionId": "conn-2", "listenerInstanceId": "server-2"}, "restarted"),
        ({"listenerInstanceId": "server-2"}, ""),
        ({"connectionId": "conn-2", "lastHeartbeat": NOW - 120_000}, "state online → offline"),
        ({"connectionId": "conn-2", "metadata": METADATA | {"nodeVersion": "v24"}}, "restarted · node v22.1.0 → v24"),
    ],
)
def test_a_new_connection_is_a_difference_unless_the_state_differs(after: dict[str, Any], expected: str) -> None:
    row = environment(**after)
    assert text(tracked(), replace(tracked(**after), environment=row)) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"connectionName": "nas"}, "name laptop of env-1 → nas"),
        ({"currentMode": "acceptEdits"}, "mode standard → acceptEdits"),
        ({"currentMode": "default"}, ""),
        ({"userId": "u-1"}, "user – → u-1"),
        ({"podId": "pod-2"}, "pod pod-1 → pod-2"),
        ({"podId": None}, ""),
        ({"apiKeyOwner": "kim"}, "key owner – → kim"),
        ({"organizationId": "org-2"}, "organization org-1 → org-2"),
        ({"deviceId": "other"}, "device device-of-env-1 → other"),
        ({"region": {"zone": "b"}}, "meta.region.zone – → b"),
    ],
)
def test_a_field_of_the_row_differs(after: dict[str, Any], expected: str) -> None:
    assert text(tracked(), tracked(**after)) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"lettaCodeVersion": "0.35.0"}, "version 0.34.12 → 0.35.0"),
        ({"gitBranch": None}, "branch main → –"),
        ({"gitBranch": 5}, "branch main → – · meta.gitBranch – → 5"),
        ({"self_update": {"supported": True}}, "update yes → by hand"),
        ({"self_update": {"supported": True, "writable": True, "reason": "x"}}, "meta.self_update.reason – → x"),
        ({"supportsPairedListenerGenerations": True}, "meta.supportsPairedListenerGenerations – → true"),
        ({"environmentMessageProtocol": "v2-input"}, "protocol – → v2-input"),
        ({"supported_commands": ["reload", "abort"]}, ""),
        ({"supported_commands": ["abort", "stop", "start"]}, "commands reload → start, stop"),
        ({"supported_commands": ["abort", "reload", "stop"]}, "commands – → stop"),
        ({"supported_commands": ["abort", "reload", "", 7]}, ""),
        ({"gpu": {"count": 2, "names": ["A100"]}}, 'meta.gpu.count – → 2 · meta.gpu.names – → ["A100"]'),
        ({"gpu": {}}, ""),
        ({"machine": METADATA["machine"] | {"cpu": "M4"}}, "meta.machine.cpu Ryzen 7 → M4"),
    ],
)
def test_a_field_of_the_metadata_differs_by_its_dotted_name(after: dict[str, Any], expected: str) -> None:
    assert text(tracked(), tracked(metadata=after)) == expected


def test_differences_are_in_a_fixed_order_presence_first() -> None:
    after = tracked(
        metadata={"zeta": 1, "alpha": 1, "gitBranch": "fix", "supported_commands": ["abort"]},
        apiKeyOwner="kim",
        currentMode="unrestricted",
        **OFFLINE,
    )

    found = differences(tracked(), after)

    fields = ["state", "mode", "branch", "key owner", "commands", "meta.alpha", "meta.zeta"]
    assert [difference.field for difference in found] == fields
    assert [difference.style for difference in found][:3] == ["offline", "unrestricted", ""]
    fields = [difference.field for difference in differences(BARE, tracked())]
    assert fields[:6] == ["state", "mode", "version", "branch", "directory", "node"]
    assert {"os", "update", "commands", "meta.machine.cpu"} <= set(fields)
    pairs = [(tracked(**OFFLINE), tracked()), (tracked(), None), (None, tracked())]
    assert [differences(*pair)[0].style for pair in pairs] == ["online", "gone", "online"]


def test_only_a_change_to_unrestricted_is_highlighted_and_differences_are_limited() -> None:
    (back,) = differences(tracked(currentMode="bypassPermissions"), tracked())
    assert (back.before, back.after, back.style) == ("unrestricted", "standard", "")
    (branch,) = differences(tracked(), tracked(metadata={"gitBranch": "unrestricted"}))
    assert (branch.style, difference_text(())) == ("", "")
    found = differences(tracked(), tracked(metadata={f"key-{number}": "x" * 1000 for number in range(200)}))
    assert len(found) == 60
    assert all(cells(difference.after or clean("")) <= 200 for difference in found)


def test_no_instant_is_a_difference() -> None:
    later: dict[str, Any] = {"lastHeartbeat": NOW - 1, "lastSeenAt": NOW - 1, "firstSeenAt": 0.0}
    assert differences(tracked(), tracked(**later)) == ()
    seen = replace(
        tracked(),
        since_at=NOW,
        transitions=(NOW,),
        last_change=RecentChange(ChangeTag.NEW, NOW),
        skew_check=SkewCheck(MonotonicS(1.0), 0.0),
    )
    assert differences(tracked(), seen) == ()


def test_only_differing_environments_are_returned_lost_ones_last_and_as_they_were() -> None:
    profile_state, _ = watched([listed(beating(4))])
    first, second, third, fourth = profile_state.environments.values()
    baseline = Baseline.from_environments(profile_state.environments.values(), NOW)
    renamed = replace(second, environment=environment("env-2", connectionName="nas", lastHeartbeat=NOW))
    newcomer = replace(tracked(), environment=environment("env-9"))

    found = baseline.differing([first, newcomer, renamed, fourth])

    assert [(one.environment.id, difference_text(changes)) for one, changes in found] == [
        ("env-9", "new, online"),
        ("env-2", "name laptop of env-2 → nas"),
        ("env-3", "gone, was online"),
    ]
    assert found[-1][0] is third
    assert baseline.differing(profile_state.environments.values()) == []


def test_a_profile_without_a_listing_is_not_compared() -> None:
    here, there = replace(tracked(), profile=clean("here")), replace(tracked(), profile=clean("there"))
    baseline = Baseline.from_environments([], NOW, [clean("there")])
    assert [one.profile for one, _ in baseline.differing([here, there])] == ["here"]
    assert baseline.differences(there.key, there) == ()
    assert difference_text(baseline.differences(here.key, here)) == "new, online"
    baseline = Baseline.from_environments([here], NOW)
    assert [one.profile for one, _ in baseline.differing([here, there])] == ["there"], "one id under two profiles"


SCALARS = st.none() | st.booleans() | st.integers(2, 3) | st.sampled_from(["", "x", "y"])
JSON = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.sampled_from("ab"), values, max_size=2),
    max_leaves=4,
)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


FIELDS = {
    "connectionName": some("a", "b"),
    "connectionId": some(None, "", "conn-1", "conn-2"),
    "connectedAt": some(None, NOW, NOW - 1),
    "lastHeartbeat": some(None, NOW, NOW - 60_000, NOW - 120_000),
    "lastSeenAt": some(NOW, NOW - 1),
    "podId": some(None, "", "p-1", "p-2"),
    "currentMode": some(None, "default", "standard", "unrestricted"),
    "apiKeyOwner": some(None, "kim"),
    "listenerInstanceId": some("server-1", "server-2"),
    "metadata": st.none()
    | st.dictionaries(
        some("gitBranch", "self_update", "supported_commands", "machine", "gpu"),
        JSON | st.fixed_dictionaries({"supported": st.booleans(), "writable": st.booleans()}),
        max_size=3,
    ),
    "region": JSON,
}


def tracked_of(row: dict[str, Any], *, is_gone: bool) -> TrackedEnvironment:
    one = replace(tracked(**row), environment=environment(**row))
    return replace(one, verdict=GONE) if is_gone else one


GONES = st.integers(0, 4).map(lambda number: number == 0)
WATCHES = st.builds(tracked_of, st.fixed_dictionaries(FIELDS), is_gone=GONES)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[TrackedEnvironment, TrackedEnvironment]:
    row = draw(st.fixed_dictionaries(FIELDS))
    changed = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=2))
    later = row | {name: draw(FIELDS[name]) for name in changed}
    return tracked_of(row, is_gone=draw(GONES)), tracked_of(later, is_gone=draw(GONES))


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict):
        return {key: leaf for name in value for key, leaf in leaves(value[name], (*path, name)).items()}
    return {} if value is None else {path: value}


def compared_values(row: Environment) -> Any:
    """Return an independent reading of the compared values, without connections, pods and presence."""
    metadata = dict(row.metadata or {})
    for key in ("gitBranch", "supported_commands"):
        if isinstance(metadata.get(key), str if key == "gitBranch" else list):
            del metadata[key]
    if isinstance(update := metadata.get("self_update"), dict):
        metadata["self_update"] = {key: update[key] for key in update.keys() - {"supported", "writable"}}
    return (
        (row.name, mode_of(row.mode), row.api_key_owner, row.branch, update_text(row)),
        set(row.supported_commands or ()) - {""},
        leaves(metadata),
        leaves(row.unknown),
    )


def presence_of(one: TrackedEnvironment) -> str:
    return "online" if one.verdict.is_up else one.presence.value


def has_new_connection(before: Environment, after: Environment) -> bool:
    if not (before.connection_id and after.connection_id):
        return False
    if before.connection_id != after.connection_id:
        return True
    instants = (before.connected_at, after.connected_at)
    return None not in instants and max(instants) - min(instants) >= 1_000  # type: ignore[type-var,operator]  # no None


@given(pairs() | st.tuples(WATCHES, WATCHES))
def test_equal_rows_and_only_they_have_no_differences(pair: tuple[TrackedEnvironment, TrackedEnvironment]) -> None:
    before, after = pair
    was, now = before.environment, after.environment
    is_same = (
        presence_of(before) == presence_of(after)
        and not has_new_connection(was, now)
        and not (was.pod_id and now.pod_id and was.pod_id != now.pod_id)
        and compared_values(was) == compared_values(now)
    )

    found = differences(before, after)
    assert (found == ()) is is_same
    assert len({"state", "reconnected", "restarted"} & {difference.field for difference in found}) <= 1
    assert difference_text(found).isprintable()
    back = [(each.field, each.after, each.before) for each in differences(after, before)]
    assert back == [(each.field, each.before, each.after) for each in found]


@pytest.mark.parametrize(
    ("width", "name", "changes"),
    [(10, 1, 1), (21, 1, 1), (24, 1, 2), (27, 2, 4), (80, 19, 40), (117, 32, 64), (200, 32, 147)],
)
def test_a_comparing_table_has_the_name_in_a_third_and_then_the_changes(width: int, name: int, changes: int) -> None:
    fit = Baseline.from_environments([], NOW).columns(width, fleet_of([]))
    assert [column.id for column, _ in fit] == ["state", "for", "beat", "name", "changes"]
    assert [cells for _, cells in fit[3:]] == [name, changes]


def test_the_column_of_changes_says_before_and_after() -> None:
    before, after = [online("a"), online("b")], [offline("a", 10), online("c")]
    fleet = fleet_of(after)
    columns = Baseline.from_environments(before, NOW).columns(78, fleet)
    texts = {row.environment.name: columns[-1][0].text(row) for row in (*after, before[1])}
    assert texts == {"a": "state online → offline", "b": "gone, was online", "c": "new, online"}
