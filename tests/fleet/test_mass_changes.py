"""Mass changes: grouped events, and the affected rows' common values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, listed, watched, wire_row

from envwatch.fleet.anomalies import blast_radius, is_mass
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.model.text import clean
from envwatch.views.events.event_text import event_text

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

METADATA = wire_row()["metadata"]


def same(kind: Kind, count: int, before: str = "online") -> list[Event]:
    return [Event(kind=kind, at=NOW, before=clean(before)) for _ in range(count)]


def cut_off(rows: list[Environment], count: int) -> list[Environment]:
    gone = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None, "podId": None}
    return [environment(row.id, **gone) for row in rows[:count]] + rows[count:]


def events_when_lost(rows: list[Environment], count: int) -> list[Event]:
    _, events = watched([listed(rows), listed(cut_off(rows, count), NOW + 5_000)])
    return events


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("count", "mass"), [(9, False), (10, True)])
def test_ten_at_once_are_one_event_in_a_fleet_of_any_size(kind: Kind, count: int, *, mass: bool) -> None:
    assert is_mass(same(kind, count), were_online=10_000) is mass


@pytest.mark.parametrize("kind", [Kind.OFFLINE, Kind.GONE, Kind.RECONNECTED, Kind.RESTARTED])
@pytest.mark.parametrize(
    ("count", "were_online", "mass"), [(2, 2, False), (3, 3, True), (3, 5, True), (5, 9, True), (6, 11, False)]
)
def test_three_events_are_a_mass_change_if_they_are_55_percent_of_those_online(
    kind: Kind, count: int, were_online: int, *, mass: bool
) -> None:
    assert is_mass(same(kind, count), were_online) is mass


def test_what_cannot_befall_those_online_has_no_share_of_them() -> None:
    assert not is_mass(same(Kind.ONLINE, 9, before="offline"), were_online=1)
    assert not is_mass(same(Kind.GONE, 9, before="offline"), were_online=1)
    assert not is_mass(same(Kind.MODE, 9), were_online=9)


def test_a_mass_change_of_modes_does_not_hide_a_change_to_unrestricted() -> None:
    rows = beating(12, currentMode="standard")
    changed = [environment(row.id, currentMode="acceptEdits") for row in rows]
    changed[3] = environment(rows[3].id, currentMode="bypassPermissions")
    _, events = watched([listed(rows), listed(changed, NOW + 5_000)])
    together, drift = events
    assert (together.of, len(together.members), event_text(together)[:40]) == (
        Kind.MODE,
        11,
        "11 changed together: mode → acceptEdits:",
    )
    assert (drift.kind, drift.id, drift.after) == (Kind.MODE, rows[3].id, "unrestricted")


def test_rows_lost_together_are_one_event_that_names_what_they_share() -> None:
    rows = beating(3, podId="pod-7") + beating(5)[3:]

    (event,) = events_when_lost(rows, 3)

    assert (event.kind, event.of, event.reason) == (Kind.TOGETHER, Kind.OFFLINE, "pod pod-7")
    assert [(leaf.id, leaf.kind, leaf.after) for leaf in event.members] == [
        (f"env-{number}", Kind.OFFLINE, "offline") for number in (1, 2, 3)
    ]


def test_rows_that_come_back_together_are_one_event_that_names_nothing_they_share() -> None:
    rows, windows = beating(12), METADATA | {"os": "win32"}
    lost = [environment(row.id, connectionId=None, lastHeartbeat=None, metadata=windows) for row in rows[:10]]
    back = [environment(row.id, metadata=windows) for row in rows[:10]]
    _, events = watched([listed(lost + rows[10:]), listed(back + rows[10:], NOW + 5_000)])
    (event,) = events
    assert (event.kind, event.of, event.reason) == (Kind.TOGETHER, Kind.ONLINE, None)


def test_a_mass_that_shares_nothing_of_its_own_names_nothing() -> None:
    (event,) = events_when_lost(beating(5), 3)

    assert (event.of, event.reason) == (Kind.OFFLINE, None)


def test_losses_that_are_no_mass_change_stay_single_events() -> None:
    assert [event.kind for event in events_when_lost(beating(6), 3)] == [Kind.OFFLINE] * 3


def test_a_mass_stands_where_its_first_event_would_and_the_others_keep_their_places() -> None:
    rows = beating(12)
    renamed = [environment(row.id, connectionName=f"new {row.id}", lastHeartbeat=NOW - 10_000) for row in rows]
    first = environment("env-1", connectionName="new env-1", currentMode="strict", lastHeartbeat=NOW - 10_000)
    last = environment("env-12", connectionName="new env-12", currentMode="strict", lastHeartbeat=NOW - 10_000)

    _, events = watched([listed(rows), listed([first, *renamed[1:-1], last], NOW + 5_000)])

    assert [(event.kind, event.id) for event in events] == [
        (Kind.TOGETHER, None),
        (Kind.MODE, "env-1"),
        (Kind.MODE, "env-12"),
    ]
    assert Counter(leaf.kind for leaf in flatten(events)) == {Kind.RENAMED: 12, Kind.MODE: 2}


def test_the_blast_radius_is_what_all_the_lost_share_and_no_survivor_has() -> None:
    lost = [
        environment(userId="u-1", podId="pod-7", metadata=METADATA | {"lettaCodeVersion": "0.31.2", "os": "darwin"}),
        environment(userId="u-2", podId="pod-7", metadata=METADATA | {"lettaCodeVersion": "0.31.2", "os": "linux"}),
    ]

    assert blast_radius(lost, [environment()]) == (("pod", "pod-7"), ("version", "0.31.2"))
    assert blast_radius(lost, [environment(podId="pod-7")]) == (("version", "0.31.2"),)


def test_every_field_that_may_tell_a_cause_is_named_by_its_label() -> None:
    metadata = {"os": "linux", "lettaCodeVersion": "0.31.2", "nodeVersion": "v20.1.0", "gitBranch": "main"}
    members = {"podId": "p", "userId": "u", "apiKeyOwner": "k", "organizationId": "o", "currentMode": "strict"}
    lost = [environment(f"env-{number}", metadata=metadata, **members) for number in (1, 2)]
    labels = ["pod", "user", "key owner", "organization", "os", "version", "node", "branch", "mode"]
    assert [label for label, _ in blast_radius(lost, [])] == labels


def test_a_value_that_nobody_has_is_not_shared() -> None:
    assert blast_radius([environment(podId=None), environment(podId=None)], [environment()]) == ()


def test_a_legacy_name_of_a_mode_is_the_mode() -> None:
    lost = [environment(currentMode="bypassPermissions"), environment(currentMode="unrestricted")]

    assert blast_radius(lost, [environment()]) == (("mode", "unrestricted"),)
