"""The demo fleet's day before the opening: events, and the same opening at the end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples

from envwatch.demo.fleet import SimulatedFleet
from envwatch.demo.scenarios import FleetSpec
from envwatch.demo.times import DAY_MS

if TYPE_CHECKING:
    from envwatch.demo.day_before import DayBefore

START = 1_764_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
EVENING = 20 * HOUR + 17 * MINUTE
SEEDS = (0, 1, 7, 42, 2026)

Row = dict[str, Any]


def by_id(fleet: SimulatedFleet, now: int) -> dict[str, Row]:
    return {row["id"]: row for row in fleet.rows(now)}


def day_of(fleet: SimulatedFleet) -> DayBefore:
    assert fleet.day_before is not None
    return fleet.day_before


def is_up(row: Row, now: int) -> bool:
    return bool(row["connectionId"]) and row["lastHeartbeat"] is not None and now - row["lastHeartbeat"] < 120_000


@given(
    size=st.integers(0, 60),
    seed=st.integers(0, 2**32),
    time_of_day=st.integers(0, DAY_MS - 1),
    later=st.lists(st.integers(0, 40 * MINUTE), max_size=4),
)
@settings(max_examples=examples(40), deadline=None)
def test_the_day_changes_nothing_of_the_opening_but_since_when_some_are_connected(
    size: int, seed: int, time_of_day: int, later: list[int]
) -> None:
    spec = FleetSpec(size, seed)
    alone, after_a_day = SimulatedFleet(spec, START), SimulatedFleet(spec, START, time_of_day)
    for moment in (START, *(START + each for each in later)):
        expected, found = alone.rows(moment), after_a_day.rows(moment)
        for row, other in zip(expected, found, strict=True):
            assert row | {"connectedAt": 0} == other | {"connectedAt": 0}
            assert (row["connectedAt"] is None) == (other["connectedAt"] is None)
            if row["connectedAt"] != other["connectedAt"]:
                assert other["connectedAt"] < START


@given(seed=st.integers(0, 2**32), time_of_day=st.integers(0, DAY_MS - 1), moment=st.integers(0, DAY_MS))
@settings(max_examples=examples(60), deadline=None)
def test_no_time_of_the_day_lies_in_the_future_or_out_of_order(seed: int, time_of_day: int, moment: int) -> None:
    now = START - moment
    for row in SimulatedFleet(FleetSpec(40, seed), START, time_of_day).rows(now):
        assert row["firstSeenAt"] <= row["lastSeenAt"] <= now
        assert row["connectedAt"] is None or row["firstSeenAt"] <= row["connectedAt"] <= now
        if row["lastHeartbeat"] is not None and is_up(row, now):
            assert row["connectedAt"] <= row["lastHeartbeat"] <= now


@given(st.integers(0, DAY_MS - 1))
def test_everything_has_room_in_the_day_at_any_time_of_day(time_of_day: int) -> None:
    day = day_of(SimulatedFleet(FleetSpec(40, 7), START, time_of_day))
    for part in (day.pod_loss, day.roll_out, day.drift, day.flapping, day.breakdown):
        assert START - DAY_MS < part.at < part.until <= START - 30 * MINUTE


@pytest.mark.parametrize("hour", [0, 4, 9, 12, 20])
def test_the_pod_is_lost_in_the_night(hour: int) -> None:
    day = day_of(SimulatedFleet(FleetSpec(40, 7), START, hour * HOUR))
    midnight = START - hour * HOUR
    assert (day.pod_loss.at - midnight) % DAY_MS == 2 * HOUR + 41 * MINUTE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pod_is_lost_with_its_environments_which_return_together_on_another(seed: int) -> None:
    fleet = SimulatedFleet(FleetSpec(40, seed), START, EVENING)
    loss = day_of(fleet).pod_loss
    before, during, after = (by_id(fleet, at) for at in (loss.at - 1, loss.at, loss.until))
    lost = [id_ for id_ in before if before[id_]["connectionId"] and not during[id_]["connectionId"]]
    assert len(lost) >= 9
    assert {before[id_]["podId"] for id_ in lost} == {"p-4"}
    assert {during[id_]["podId"] for id_ in lost} == {None}
    assert all(is_up(after[id_], loss.until) for id_ in lost)
    assert "p-4" not in {after[id_]["podId"] for id_ in after}


@pytest.mark.parametrize("seed", SEEDS)
def test_over_half_an_hour_versions_move_with_new_connections(seed: int) -> None:
    fleet = SimulatedFleet(FleetSpec(40, seed), START, EVENING)
    roll_out = day_of(fleet).roll_out
    before, half, after = (by_id(fleet, at) for at in (roll_out.at, sum(roll_out) // 2, roll_out.until + MINUTE))

    def on(rows: dict[str, Row], version: str) -> set[str]:
        return {id_ for id_, row in rows.items() if (row.get("metadata") or {}).get("lettaCodeVersion") == version}

    moved = on(before, "0.34.11")
    assert len(moved) >= 5
    assert moved > on(half, "0.34.11") > on(after, "0.34.11") == set()
    assert moved <= on(after, "0.34.12")
    assert all(before[id_]["connectionId"] != after[id_]["connectionId"] for id_ in moved)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_machine_flaps_one_is_down_for_hours_and_one_is_unrestricted_for_a_while(seed: int) -> None:
    fleet = SimulatedFleet(FleetSpec(40, seed), START, EVENING)
    day = day_of(fleet)
    turns: Counter[str] = Counter()
    moments = range(day.flapping.at, day.flapping.until, MINUTE)
    for earlier, later in pairwise(by_id(fleet, at) for at in moments):
        turns.update(id_ for id_, row in later.items() if row["connectionId"] != earlier[id_]["connectionId"])
    (_, most), (_, second) = [*turns.most_common(2), ("", 0)][:2]
    assert most >= 12
    assert second <= 3

    assert day.broken is not None
    id_ = fleet.id_at(day.broken)
    states = [
        is_up(by_id(fleet, at)[id_], at)
        for at in (day.breakdown.at - 1, day.breakdown.at, day.breakdown.until - 1, day.breakdown.until)
    ]
    assert states == [True, False, False, True]

    modes = [{id_: row.get("currentMode") for id_, row in by_id(fleet, at).items()} for at in (*day.drift, START)]
    before = {id_: row.get("currentMode") for id_, row in by_id(fleet, day.drift.at - 1).items()}
    (drifted,) = [id_ for id_ in before if before[id_] != modes[0][id_] == "unrestricted"]
    assert modes[1][drifted] == before[drifted]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [5, 40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_most_are_online_all_day(size: int, seed: int) -> None:
    fleet = SimulatedFleet(FleetSpec(size, seed), START, EVENING)
    for minute in range(0, 24 * 60, 17):
        now = START - DAY_MS + minute * MINUTE
        rows = fleet.rows(now)
        loss = day_of(fleet).pod_loss
        share = 0.3 if loss.at <= now < loss.until else 0.5
        assert sum(is_up(row, now) for row in rows) > len(rows) * share


def test_a_heartbeat_of_the_day_advances_every_30_seconds() -> None:
    fleet = SimulatedFleet(FleetSpec(40, 7), START, EVENING)
    day = day_of(fleet)
    for at in range(day.began_at, START - HOUR, 97 * MINUTE):
        rows = [by_id(fleet, at + beat * 30_000) for beat in range(3)]
        steady = [
            id_ for id_ in rows[0] if len({row[id_]["connectionId"] for row in rows}) == 1 and is_up(rows[2][id_], at)
        ]
        advanced = [id_ for id_ in steady if rows[1][id_]["lastHeartbeat"] - rows[0][id_]["lastHeartbeat"] == 30_000]
        assert len(advanced) >= len(steady) - 2
        assert steady


@given(seed=st.integers(0, 2**32), later=st.integers(1, 3 * HOUR))
@settings(max_examples=examples(30), deadline=None)
def test_an_opening_later_on_the_same_day_finds_most_machines_on_the_same_connections(seed: int, later: int) -> None:
    first = by_id(SimulatedFleet(FleetSpec(40, seed), START, EVENING), START)
    second = by_id(SimulatedFleet(FleetSpec(40, seed), START + later, EVENING + later), START + later)
    connected = [id_ for id_ in first if first[id_]["connectedAt"] is not None and is_up(first[id_], START)]
    moved = [id_ for id_ in connected if first[id_]["connectedAt"] != second[id_]["connectedAt"]]
    assert len(moved) <= 8
