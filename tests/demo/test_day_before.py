"""The shipped days before the demo's opening: what happened in them, and that they lead to the opening."""

from __future__ import annotations

import lzma
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import demo_day
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.exact import exact

from envwatch.cli.demo_past import SHIPPED_START, PastPoll, moved_day
from envwatch.cli.demo_settings import uptimes_before
from envwatch.demo.fleet import CONNECTED
from envwatch.demo.lives import simulated_fleet
from envwatch.demo.scenarios import DAY_MS, FleetSpec, Scenario
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model.outcome import PollResult
from envwatch.model.text import EMPTY

if TYPE_CHECKING:
    from envwatch.demo.fleet import SimulatedFleet

START = 1_795_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
STORIES = (None, *Scenario)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def fleet() -> demo_day.FleetWithDay:
    return demo_day.fleet_with_day(FleetSpec(40, 7), START)


@pytest.fixture(scope="module")
def day() -> list[PastPoll]:
    return [*moved_day("default", START)]


@pytest.fixture(scope="module")
def events(day: list[PastPoll]) -> list[Event]:
    return [event for poll in day for event in poll.events]


def by_id(fleet: SimulatedFleet, now: int) -> dict[str, Row]:
    return {row["id"]: row for row in fleet.rows(now)}


def is_up(row: Row, now: int) -> bool:
    return bool(row["connectionId"]) and row["lastHeartbeat"] is not None and now - row["lastHeartbeat"] < 120_000


def test_the_shipped_files_are_what_the_generator_makes() -> None:
    generated = demo_day.files()
    assert {path.name for path in generated} == {path.name for path in CONNECTED.parent.iterdir()}
    stale = [
        path.name
        for path, content in generated.items()
        if content != (path.read_bytes() if path == CONNECTED else lzma.decompress(path.read_bytes()))
    ]
    assert stale == [], "run `uv run python docs/demo_day.py`"


def without_incidents(poll: PastPoll) -> PastPoll:
    """A poll without the names of incidents, which derive from times."""

    def nameless(event: Event) -> Event:
        return replace(event, incident=None, members=tuple(map(nameless, event.members)))

    alerts = poll.moment.alerts
    assert alerts is not None
    waiting = [loss._replace(event=nameless(loss.event), incident=EMPTY) for loss in alerts.waiting]
    opened = [each._replace(id=EMPTY, losses=tuple(map(nameless, each.losses))) for each in alerts.open]
    moment = replace(poll.moment, alerts=alerts._replace(waiting=tuple(waiting), open=tuple(opened)))
    return poll._replace(moment=moment, events=[*map(nameless, poll.events)])


@pytest.mark.parametrize("spec", demo_day.SPECS)
def test_a_moved_day_is_the_day_that_another_start_would_have_had(spec: FleetSpec) -> None:
    assert spec.day is not None
    start = SHIPPED_START + 300 * DAY_MS + 1_234_000  # in whole seconds, as the `Date` header
    moved = [*map(without_incidents, moved_day(spec.day, start))]
    simulated = [*map(without_incidents, demo_day.polls_of(demo_day.fleet_with_day(spec, start)))]
    assert moved == simulated
    assert exact(moved[::40]) == exact(simulated[::40])


@pytest.mark.parametrize("scenario", STORIES)
def test_every_story_of_the_default_fleet_begins_with_the_rows_that_its_day_ends_with(
    scenario: Scenario | None,
) -> None:
    spec = FleetSpec(40, 7, scenario)
    assert by_id(demo_day.fleet_with_day(spec, START), START) == by_id(simulated_fleet(spec, START), START)
    assert spec.day is not None
    last = [*moved_day(spec.day, START)][-1].moment.profile_state.environments
    for row in simulated_fleet(spec, START).rows(START):
        known = last[row["id"]].environment
        found = (row["connectionId"], row["connectedAt"], row["firstSeenAt"], row["podId"])
        assert found == (known.connection_id, known.connected_at, known.first_seen_at, known.pod_id)


@pytest.mark.parametrize(("size", "seed"), [(39, 7), (41, 7), (40, 8)])
def test_only_the_default_fleet_has_a_day_before(size: int, seed: int) -> None:
    assert FleetSpec(size, seed).day is None
    assert FleetSpec(40, 7).day is not None


def test_connections_are_as_old_as_at_an_earlier_start_if_that_is_given() -> None:
    spec = FleetSpec(40, 7)
    first, second = (
        by_id(simulated_fleet(spec, START), START),
        by_id(simulated_fleet(spec, START + HOUR, START), START + HOUR),
    )
    for id_, row in first.items():
        names = ("connectionId", "connectedAt", "firstSeenAt", "podId")
        assert [row[name] for name in names] == [second[id_][name] for name in names]
    assert sum(is_up(row, START + HOUR) for row in second.values()) == sum(is_up(row, START) for row in first.values())


def test_it_covers_the_day_but_for_one_gap_of_40_minutes(day: list[PastPoll]) -> None:
    times = [poll.moment.now.wall for poll in day]
    assert 0 <= times[0] - (START - DAY_MS) < 75_000
    assert 1_000 < START - times[-1] < 9_000
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len([gap for gap in gaps if gap > 75_000]) == 1
    assert 40 * MINUTE <= max(gaps) < 42 * MINUTE
    firsts = [poll.moment.now.wall for poll in day if poll.starts_run]
    assert firsts == [times[0], times[gaps.index(max(gaps)) + 1]]


def test_the_lost_pod_is_one_event_that_names_it_and_so_is_its_return(events: list[Event]) -> None:
    together = [event for event in events if event.kind is Kind.TOGETHER]
    assert [(event.of, event.reason) for event in together] == [(Kind.OFFLINE, "pod p-4"), (Kind.ONLINE, None)]
    assert len(together[0].members) >= len(together[1].members) >= 10


def test_everything_that_the_log_can_show_is_in_it(events: list[Event]) -> None:
    kinds = {event.kind for event in flatten(events)}
    assert kinds >= {Kind.FLAPPING, Kind.STEADY, Kind.VERSION, Kind.MODE, Kind.BRANCH, Kind.APPEARED, Kind.RESTARTED}
    assert kinds >= {Kind.FAILING, Kind.BLIND, Kind.REACHED, Kind.VISIBLE, Kind.RECONNECTED}
    assert "unrestricted" in {event.after for event in events if event.kind is Kind.MODE}


def test_a_day_is_calm(events: list[Event]) -> None:
    rows = uptimes_before(FleetSpec(40, 7)).rows
    lost = {event.id for event in flatten(events) if event.id is not None and event.kind is Kind.OFFLINE}
    assert len({id_ for id_ in lost if rows[id_].is_permanent}) <= 17


@pytest.mark.parametrize("spec", demo_day.SPECS)
def test_a_machine_that_was_up_nine_tenths_of_the_day_counts(spec: FleetSpec) -> None:
    assert spec.day is not None
    polls = [*moved_day(spec.day, START)]
    polls_up = Counter(
        tracked.environment.id
        for poll in polls
        for tracked in poll.moment.profile_state.environments.values()
        if tracked.verdict.is_up and not tracked.environment.is_sandbox
    )
    uptimes = uptimes_before(spec).rows
    assert all(uptimes[id_].is_permanent for id_, count in polls_up.items() if count >= 0.9 * len(polls))
    assert {uptimes[id_].is_permanent for id_ in polls_up} == {True, False}


def test_one_machine_is_down_for_hours_and_acknowledged_until_it_recovers(day: list[PastPoll]) -> None:
    acknowledged = [poll.moment for poll in day if poll.moment.acks]
    ((id_, ack),) = acknowledged[0].acks.items()
    assert "OPS-412" in ack.note
    assert all(moment.profile_state.environments[id_].presence is Presence.OFFLINE for moment in acknowledged)
    assert acknowledged[-1].now.wall - acknowledged[0].now.wall > 4 * 60 * MINUTE
    assert not day[-1].moment.acks


def test_failed_polls_are_part_of_it_with_their_cause(day: list[PastPoll]) -> None:
    failed = [poll for poll in day if poll.result is PollResult.FAILED]
    assert 4 <= len(failed) <= 6
    assert all(poll.cause is not None and "503" in poll.cause for poll in failed)


FLEETS = [demo_day.fleet_with_day(spec, START) for spec in demo_day.SPECS]


@given(fleet=st.sampled_from(FLEETS), moment=st.integers(0, DAY_MS))
@settings(max_examples=examples(60), deadline=None)
def test_no_time_of_the_day_lies_in_the_future_or_out_of_order(fleet: SimulatedFleet, moment: int) -> None:
    now = START - moment
    for row in fleet.rows(now):
        assert row["firstSeenAt"] <= row["lastSeenAt"] <= now
        assert row["connectedAt"] is None or row["firstSeenAt"] <= row["connectedAt"] <= now
        if row["lastHeartbeat"] is not None and is_up(row, now):
            assert row["connectedAt"] <= row["lastHeartbeat"] <= now


def test_everything_has_room_in_the_day(fleet: demo_day.FleetWithDay) -> None:
    day = fleet.day
    for part in (day.pod_loss, day.roll_out, day.drift, day.flapping, day.breakdown, day.unwatched, day.failing):
        assert START - DAY_MS < part.at < part.until <= START - 30 * MINUTE


def test_a_pod_is_lost_with_its_environments_which_return_together_on_another(fleet: demo_day.FleetWithDay) -> None:
    loss = fleet.day.pod_loss
    before, during, after = (by_id(fleet, at) for at in (loss.at - 1, loss.at, loss.until))
    lost = [id_ for id_ in before if before[id_]["connectionId"] and not during[id_]["connectionId"]]
    assert len(lost) >= 9
    assert {before[id_]["podId"] for id_ in lost} == {"p-4"}
    assert {during[id_]["podId"] for id_ in lost} == {None}
    assert all(is_up(after[id_], loss.until) for id_ in lost)
    assert "p-4" not in {after[id_]["podId"] for id_ in after}


def test_over_half_an_hour_versions_move_with_new_connections(fleet: demo_day.FleetWithDay) -> None:
    roll_out = fleet.day.roll_out
    before, half, after = (by_id(fleet, at) for at in (roll_out.at, sum(roll_out) // 2, roll_out.until + MINUTE))

    def on(rows: dict[str, Row], version: str) -> set[str]:
        return {id_ for id_, row in rows.items() if (row.get("metadata") or {}).get("lettaCodeVersion") == version}

    moved = on(before, "0.34.11")
    assert len(moved) >= 5
    assert moved > on(half, "0.34.11") > on(after, "0.34.11") == set()
    assert moved <= on(after, "0.34.12")
    assert all(before[id_]["connectionId"] != after[id_]["connectionId"] for id_ in moved)


def test_one_machine_flaps_one_is_down_for_hours_and_one_is_unrestricted_for_a_while(
    fleet: demo_day.FleetWithDay,
) -> None:
    day = fleet.day
    turns: Counter[str] = Counter()
    moments = range(day.flapping.at, day.flapping.until, MINUTE)
    for earlier, later in pairwise(by_id(fleet, at) for at in moments):
        turns.update(id_ for id_, row in later.items() if row["connectionId"] != earlier[id_]["connectionId"])
    (_, most), (_, second) = [*turns.most_common(2), ("", 0)][:2]
    assert most >= 12
    assert second <= 3

    id_ = fleet.environment(day.broken).machine.identity["id"]
    states = [
        is_up(by_id(fleet, at)[id_], at)
        for at in (day.breakdown.at - 1, day.breakdown.at, day.breakdown.until - 1, day.breakdown.until)
    ]
    assert states == [True, False, False, True]

    modes = [{id_: row.get("currentMode") for id_, row in by_id(fleet, at).items()} for at in (*day.drift, START)]
    before = {id_: row.get("currentMode") for id_, row in by_id(fleet, day.drift.at - 1).items()}
    (drifted,) = [id_ for id_ in before if before[id_] != modes[0][id_] == "unrestricted"]
    assert modes[1][drifted] == before[drifted]


def test_most_are_online_all_day(fleet: demo_day.FleetWithDay) -> None:
    loss = fleet.day.pod_loss
    for minute in range(0, 24 * 60, 17):
        now = START - DAY_MS + minute * MINUTE
        rows = fleet.rows(now)
        share = 0.3 if loss.at <= now < loss.until else 0.5
        assert sum(is_up(row, now) for row in rows) > len(rows) * share


def test_a_heartbeat_of_the_day_advances_every_30_seconds(fleet: demo_day.FleetWithDay) -> None:
    for at in range(fleet.day.began_at, START - HOUR, 97 * MINUTE):
        rows = [by_id(fleet, at + beat * 30_000) for beat in range(3)]
        steady = [
            id_ for id_ in rows[0] if len({row[id_]["connectionId"] for row in rows}) == 1 and is_up(rows[2][id_], at)
        ]
        advanced = [id_ for id_ in steady if rows[1][id_]["lastHeartbeat"] - rows[0][id_]["lastHeartbeat"] == 30_000]
        assert len(advanced) >= len(steady) - 2
        assert steady
