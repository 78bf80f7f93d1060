"""What differs from a marked moment, by row and by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from builders import NOW, beating, environment, listed, watched, wire_row
from hypothesis import given
from hypothesis import strategies as st
from watches import BARE, watch

from envwatch.baseline import Baseline, Difference, difference_text, differences, differing
from envwatch.columns import update_text
from envwatch.modes import mode_of
from envwatch.presence import GONE
from envwatch.text import Clean, cells
from envwatch.witness import Witness

if TYPE_CHECKING:
    from envwatch.models import Environment
    from envwatch.watch import Watch

METADATA = wire_row()["metadata"]
OFFLINE = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None}


def gone(**changes: Any) -> Watch:
    return replace(watch(**changes), verdict=GONE, absent=2)


def text(before: Watch | None, after: Watch | None) -> str:
    return difference_text(differences(before, after))


def sides(told: tuple[Difference, ...]) -> list[tuple[str, str | None, str | None]]:
    return [(difference.field, difference.before, difference.after) for difference in told]


# Presence


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (watch(), watch(**OFFLINE), "state online → offline"),
        (watch(**OFFLINE), watch(), "state offline → online"),
        (watch(), watch(lastHeartbeat=NOW - 120_000), "state online → offline"),
        (watch(), watch(lastHeartbeat=NOW - 119_999), ""),
        (watch(lastHeartbeat=NOW - 45_000), watch(lastHeartbeat=NOW - 44_999), ""),
        (watch(**OFFLINE), watch(lastHeartbeat=NOW - 120_000), ""),
        (None, watch(), "new, online"),
        (None, watch(**OFFLINE), "new, offline"),
        (watch(), None, "gone, was online"),
        (watch(**OFFLINE), gone(**OFFLINE), "gone, was offline"),
        (gone(), watch(), "state gone → online"),
        (gone(), gone(), ""),
        (gone(), None, ""),
        (None, gone(), ""),
        (None, None, ""),
    ],
)
def test_presence_differs_as_events_speak_of_it(before: Watch | None, after: Watch | None, told: str) -> None:
    assert text(before, after) == told


def test_a_state_has_the_colour_of_what_it_is_now() -> None:
    pairs = [(watch(), watch(**OFFLINE)), (watch(**OFFLINE), watch()), (watch(), None), (None, watch())]
    assert [differences(*pair)[0].style for pair in pairs] == ["offline", "online", "gone", "online"]


# Connections


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"connectionId": "conn-2"}, "reconnected"),
        ({"connectedAt": NOW}, "reconnected"),
        ({"connectionId": "conn-2", "listenerInstanceId": "server-2"}, "restarted"),
        ({"listenerInstanceId": "server-2"}, ""),
        ({"connectionId": "conn-2", "lastHeartbeat": NOW - 120_000}, "state online → offline"),
        ({"connectionId": "conn-2", "metadata": METADATA | {"nodeVersion": "v24"}}, "restarted · node v22.1.0 → v24"),
    ],
)
def test_a_new_connection_is_told_unless_the_state_says_it_all(after: dict[str, Any], told: str) -> None:
    row = environment(**after)
    assert text(watch(), replace(watch(**after), environment=row)) == told


# Fields


@pytest.mark.parametrize(
    ("after", "told"),
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
def test_a_field_of_the_row_differs(after: dict[str, Any], told: str) -> None:
    assert text(watch(), watch(**after)) == told


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"lettaCodeVersion": "0.35.0"}, "version 0.34.12 → 0.35.0"),
        ({"gitBranch": None}, "branch main → –"),
        ({"gitBranch": 5}, "branch main → – · meta.gitBranch – → 5"),
        ({"self_update": {"supported": True}}, "update yes → by hand"),
        ({"self_update": {"supported": True, "writable": True, "reason": "x"}}, "meta.self_update.reason – → x"),
        ({"supported_commands": ["reload", "abort"]}, ""),
        ({"supported_commands": ["abort", "stop", "start"]}, "commands reload → start, stop"),
        ({"supported_commands": ["abort", "reload", "stop"]}, "commands – → stop"),
        ({"supported_commands": ["abort", "reload", "", 7]}, ""),
        ({"gpu": {"count": 2, "names": ["A100"]}}, 'meta.gpu.count – → 2 · meta.gpu.names – → ["A100"]'),
        ({"gpu": {}}, ""),
        ({"machine": METADATA["machine"] | {"cpu": "M4"}}, "meta.machine.cpu Ryzen 7 → M4"),
    ],
)
def test_a_field_of_the_metadata_differs_by_its_dotted_name(after: dict[str, Any], told: str) -> None:
    assert text(watch(), watch(metadata=after)) == told


def test_differences_stand_in_a_fixed_order_presence_first() -> None:
    after = watch(
        metadata={"zeta": 1, "alpha": 1, "gitBranch": "fix", "supported_commands": ["abort"]},
        apiKeyOwner="kim",
        currentMode="unrestricted",
        **OFFLINE,
    )

    told = differences(watch(), after)

    fields = ["state", "mode", "branch", "key owner", "commands", "meta.alpha", "meta.zeta"]
    assert [difference.field for difference in told] == fields
    assert [difference.style for difference in told][:3] == ["offline", "unrestricted", ""]


def test_only_the_way_to_unrestricted_stands_out() -> None:
    (back,) = differences(watch(currentMode="bypassPermissions"), watch())
    assert (back.before, back.after, back.style) == ("unrestricted", "standard", "")
    (branch,) = differences(watch(), watch(metadata={"gitBranch": "unrestricted"}))
    assert branch.style == ""


def test_no_instant_is_a_difference() -> None:
    later: dict[str, Any] = {"lastHeartbeat": NOW - 1, "lastSeenAt": NOW - 1, "firstSeenAt": 0.0}
    assert differences(watch(), watch(**later)) == ()
    seen = replace(watch(), since_at=NOW, shifts=(NOW,), changed_in=7, witness=Witness(1.0, 0.0))
    assert differences(watch(), seen) == ()


def test_metadata_replaced_as_a_whole_is_told_up_to_a_bound_and_no_value_runs_on() -> None:
    told = differences(watch(), watch(metadata={f"key-{number}": "x" * 1000 for number in range(200)}))
    assert len(told) == 60
    assert all(cells(difference.after or Clean("")) <= 200 for difference in told)


def test_what_stands_for_no_value_can_be_told() -> None:
    told = differences(watch(), watch(userId="u-1"))
    assert difference_text(told, Clean("-")) == "user - → u-1"
    assert difference_text(()) == ""


# All at once


def test_only_what_differs_is_found_the_lost_last_and_as_they_were() -> None:
    fleet, _ = watched([listed(beating(4))])
    first, second, third, fourth = fleet.watches.values()
    baseline = Baseline.of(fleet.watches.values(), NOW)
    renamed = replace(second, environment=environment("env-2", connectionName="nas", lastHeartbeat=NOW))
    newcomer = replace(watch(), environment=environment("env-9"))

    found = differing(baseline, [first, newcomer, renamed, fourth])

    assert [(one.environment.id, difference_text(told)) for one, told in found] == [
        ("env-9", "new, online"),
        ("env-2", "name laptop of env-2 → nas"),
        ("env-3", "gone, was online"),
    ]
    assert found[-1][0] is third
    assert differing(baseline, fleet.watches.values()) == []


def test_one_id_under_two_profiles_is_two_environments() -> None:
    here, there = replace(watch(), profile=Clean("here")), replace(watch(), profile=Clean("there"))
    baseline = Baseline.of([here], NOW)

    assert [(one.profile, difference_text(told)) for one, told in differing(baseline, [here, there])] == [
        ("there", "new, online")
    ]


def test_of_a_profile_that_was_not_listed_nothing_differs() -> None:
    here, there = replace(watch(), profile=Clean("here")), replace(watch(), profile=Clean("there"))
    baseline = Baseline.of([], NOW, [Clean("there")])
    assert [one.profile for one, _ in differing(baseline, [here, there])] == ["here"]
    assert baseline.differences(there.key, there) == ()
    assert difference_text(baseline.differences(here.key, here)) == "new, online"


# Laws

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


def watch_of(row: dict[str, Any], *, is_gone: bool) -> Watch:
    one = replace(watch(**row), environment=environment(**row))
    return replace(one, verdict=GONE) if is_gone else one


GONES = st.integers(0, 4).map(lambda number: number == 0)
WATCHES = st.builds(watch_of, st.fixed_dictionaries(FIELDS), is_gone=GONES)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Watch, Watch]:
    """Two sightings that have most in common."""
    row = draw(st.fixed_dictionaries(FIELDS))
    changed = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=2))
    later = row | {name: draw(FIELDS[name]) for name in changed}
    return watch_of(row, is_gone=draw(GONES)), watch_of(later, is_gone=draw(GONES))


def settled(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every leaf by its path, without those that say nothing."""
    if isinstance(value, dict):
        return {key: leaf for name in value for key, leaf in settled(value[name], (*path, name)).items()}
    return {} if value is None else {path: value}


def essence(row: Environment) -> Any:
    """A second opinion on what a person would ask about; connections, pods and presence apart."""
    metadata = dict(row.metadata or {})
    for key in ("gitBranch", "supported_commands"):
        if isinstance(metadata.get(key), str if key == "gitBranch" else list):
            del metadata[key]
    if isinstance(update := metadata.get("self_update"), dict):
        metadata["self_update"] = {key: update[key] for key in update.keys() - {"supported", "writable"}}
    return (
        (row.name, mode_of(row.mode), row.api_key_owner, row.branch, update_text(row)),
        set(row.supported_commands or ()) - {""},
        settled(metadata),
        settled(row.unknown),
    )


def essential_presence(one: Watch) -> str:
    return "online" if one.verdict.is_up else one.presence.value


def has_new_link(before: Environment, after: Environment) -> bool:
    if not (before.connection_id and after.connection_id):
        return False
    instants = {before.connected_at, after.connected_at}
    return before.connection_id != after.connection_id or (len(instants) == 2 and None not in instants)


@given(pairs() | st.tuples(WATCHES, WATCHES))
def test_nothing_is_told_exactly_when_nothing_differs(pair: tuple[Watch, Watch]) -> None:
    before, after = pair
    was, now = before.environment, after.environment
    is_same = (
        essential_presence(before) == essential_presence(after)
        and not has_new_link(was, now)
        and not (was.pod_id and now.pod_id and was.pod_id != now.pod_id)
        and essence(was) == essence(now)
    )

    assert (differences(before, after) == ()) is is_same


@given(WATCHES)
def test_nothing_differs_from_itself(one: Watch) -> None:
    again = replace(one, environment=replace(one.environment))
    assert differences(one, one) == differences(one, again) == ()


@given(st.none() | WATCHES, st.none() | WATCHES)
def test_looking_back_swaps_before_and_after(before: Watch | None, after: Watch | None) -> None:
    forth, back = differences(before, after), differences(after, before)
    assert sides(back) == [(field, now, was) for field, was, now in sides(forth)]


@given(st.none() | WATCHES, st.none() | WATCHES)
def test_state_and_connection_are_never_told_both_and_all_is_printable(
    before: Watch | None, after: Watch | None
) -> None:
    told = differences(before, after)
    assert len({"state", "reconnected", "restarted"} & {difference.field for difference in told}) <= 1
    assert difference_text(told).isprintable()


def test_a_row_that_has_nothing_differs_from_one_that_has_all_in_all() -> None:
    fields = [difference.field for difference in differences(BARE, watch())]
    assert fields[:6] == ["state", "mode", "version", "branch", "directory", "node"]
    assert {"os", "update", "commands", "meta.machine.cpu"} <= set(fields)
