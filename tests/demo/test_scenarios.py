"""The demo's scenarios keep their promises, judged by the program's monitor in simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.scenario_run import START, ScenarioRun

from envwatch.demo.lives import simulated_fleet
from envwatch.demo.scenarios import FleetSpec, Scenario
from envwatch.fleet.events import Kind
from envwatch.fleet.presence import Presence
from envwatch.model.outcome import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.scenario_run import Step

SEEDS = st.integers(0, 2**32)
SIZES = st.integers(26, 60)
MINUTE = 60_000


def kinds(steps: Sequence[Step]) -> set[Kind]:
    return {event.kind for step in steps for event in step.events}


@given(
    scenario=st.sampled_from(Scenario),
    size=st.integers(0, 40),
    seed=SEEDS,
    moments=st.lists(st.integers(0, 10 * MINUTE), min_size=1, max_size=5),
)
@settings(max_examples=examples(40), deadline=None)
def test_a_moment_is_the_same_whatever_was_asked_before(
    scenario: Scenario, size: int, seed: int, moments: list[int]
) -> None:
    asked_often = simulated_fleet(FleetSpec(size, seed, scenario), START)
    for moment in moments:
        rows = asked_often.rows(START + moment)
        assert rows == simulated_fleet(FleetSpec(size, seed, scenario), START).rows(START + moment)


# Calm.


@example(seed=2599118722, size=4)
@given(seed=SEEDS, size=st.integers(1, 60))
@settings(max_examples=examples(50), deadline=None)
def test_in_the_calm_nothing_is_ever_wrong(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.CALM, seed=seed, size=size).until(300)]
    assert all(not step.down for step in steps)
    assert kinds(steps).isdisjoint({Kind.OFFLINE, Kind.GONE, Kind.FLAPPING, Kind.FAILING, Kind.HELD, Kind.STALLED})


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=examples(50), deadline=None)
def test_in_the_calm_a_version_is_rolled_out_one_machine_after_the_other(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.CALM, seed=seed, size=size).until(300)]
    times = [step.elapsed_s for step in steps for event in step.events if event.kind is Kind.VERSION]
    assert min(times) < 30
    assert len(times) >= size / 3
    assert max(times.count(time) for time in times) <= 3
    assert {Kind.MODE, Kind.BRANCH} <= kinds(steps)


# The outage.


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=examples(50), deadline=None)
def test_in_the_outage_a_pod_is_lost_within_20_seconds_and_stays_down(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.OUTAGE, seed=seed, size=size).until(240)]
    early = next(step for step in steps if step.down)
    assert early.elapsed_s <= 20
    first = steps[0].profile_state.environments
    lost = {first[id_].pod_id for id_ in early.down}
    assert len(lost) == 1
    of_the_pod = {id_: each for id_, each in first.items() if each.pod_id in lost and each.verdict.is_up}
    assert early.down == {id_ for id_, each in of_the_pod.items() if early.counts(each)}
    assert len(early.down) >= 5
    assert all(step.down == early.down for step in steps if step.elapsed_s >= early.elapsed_s)


@given(seed=SEEDS, size=SIZES, after_s=st.integers(20, 300), chosen=st.integers(0, 100))
@settings(max_examples=examples(50), deadline=None)
def test_what_the_pane_says_helps_brings_the_pod_back(seed: int, size: int, after_s: int, chosen: int) -> None:
    run = ScenarioRun(Scenario.OUTAGE, seed=seed, size=size)
    before = [*run.until(after_s)][-1]
    startable = sorted(before.down)
    assert run.start_listener(startable[chosen % len(startable)])
    after = [*run.until(after_s + 20)][-1]
    assert not after.down
    assert {after.profile_state.environments[id_].pod_id for id_ in before.down}.isdisjoint(
        before.profile_state.environments[id_].pod_id for id_ in before.down
    )


def test_only_a_machine_that_is_down_can_be_started() -> None:
    run = ScenarioRun(Scenario.OUTAGE)
    step = [*run.until(30)][-1]
    up = next(id_ for id_, each in step.profile_state.environments.items() if each.verdict.is_up)
    assert run.start_listener(up) is False
    assert run.start_listener("env-unknown") is None
    assert [*run.until(60)][-1].down == step.down


def test_all_machines_of_the_pod_can_be_started_one_after_the_other() -> None:
    run = ScenarioRun(Scenario.OUTAGE)
    down = sorted([*run.until(30)][-1].down)
    assert len(down) > 1
    assert [run.start_listener(id_) for id_ in down] == [True] * len(down)
    assert not [*run.until(60)][-1].down
    assert [run.start_listener(id_) for id_ in down] == [False] * len(down)


def test_a_machine_that_was_down_before_is_started_alone() -> None:
    run = ScenarioRun(Scenario.OUTAGE)
    (first, *_, step) = run.until(30)
    old = [each for each in first.profile_state.environments.values() if not each.verdict.is_up]
    chosen = next(each.environment.id for each in old if not each.environment.is_sandbox)
    assert run.start_listener(chosen)
    after = [*run.until(60)][-1]
    assert after.profile_state.environments[chosen].presence is Presence.ONLINE
    assert after.down == step.down


def test_a_sandbox_is_started_by_nobody() -> None:
    run = ScenarioRun(Scenario.OUTAGE, size=200)
    step = [*run.until(30)][-1]
    sandbox = next(
        id_ for id_, each in step.profile_state.environments.items()
        if not each.verdict.is_up and each.environment.device_id.startswith("sandbox-")
    )  # fmt: skip
    assert run.start_listener(sandbox) is False


@pytest.mark.parametrize("scenario", [None, Scenario.CALM, Scenario.NIGHT])
def test_other_stories_start_no_listener(scenario: Scenario | None) -> None:
    fleet = simulated_fleet(FleetSpec(40, 7, scenario), START)
    down = next(row["id"] for row in fleet.rows(START) if row["connectionId"] is None)
    assert fleet.start_listener(down, START) is False


# The night.


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=examples(50), deadline=None)
def test_in_the_night_a_deploy_restarts_in_waves(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.NIGHT, seed=seed, size=size).until(58)]
    lost = [event.id for step in steps for event in step.events if event.kind is Kind.OFFLINE and not event.members]
    updated = [event.id for step in steps for event in step.events if event.kind is Kind.VERSION and not event.members]
    assert len(lost) == len(set(lost)) >= size / 3
    waves = {
        int((step.elapsed_s - 8) // 12) for step in steps if any(each.kind is Kind.OFFLINE for each in step.events)
    }
    assert waves == {0, 1, 2}
    assert len(set(updated)) >= size / 3
    assert not steps[-1].down


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=examples(50), deadline=None)
def test_in_the_night_a_wrong_date_is_not_believed(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.NIGHT, seed=seed, size=size).until(72)]
    doubted = [step for step in steps if step.profile_state.clock_fault is not None]
    assert len(doubted) >= 3
    assert all(48 <= step.elapsed_s < 66 for step in doubted)
    assert not any(event.kind is Kind.OFFLINE for step in steps if step.elapsed_s > 48 for event in step.events)
    assert steps[-1].profile_state.clock_fault is None


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=examples(50), deadline=None)
def test_in_the_night_a_blind_gap_hides_a_loss_that_is_found_after_it(seed: int, size: int) -> None:
    steps = [*ScenarioRun(Scenario.NIGHT, seed=seed, size=size).until(180)]
    gap = [step for step in steps if isinstance(step.outcome, Failed)]
    assert [step.elapsed_s for step in steps if 72 <= step.elapsed_s < 142] == [step.elapsed_s for step in gap]
    blind = next(step.elapsed_s for step in steps for event in step.events if event.kind is Kind.BLIND)
    assert 126 <= blind < 142
    assert kinds(gap) == {Kind.FAILING, Kind.BLIND}
    after = [step for step in steps if step.elapsed_s >= 142]
    assert {Kind.REACHED, Kind.VISIBLE} <= kinds(after)
    assert all(len(step.down) == 1 for step in after)
