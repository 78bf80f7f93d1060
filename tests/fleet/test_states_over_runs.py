"""A run knows as much of the earlier time as the previous run did."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading, slept
from support.memory_history import MemoryHistory

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.watched_time import UptimeState, states
from envwatch.history.earlier_runs import EarlierRuns
from envwatch.history.past import Moment
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.watched_time import Interval
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

COUNT = 7
_ROWS = st.lists(st.sampled_from(["up", "up", "up", "down", "absent"]), min_size=COUNT, max_size=COUNT)


class Step(NamedTuple):
    seconds: int
    what: str
    rows: list[str]
    """States of all machines from then on."""


STEPS = st.lists(
    st.builds(
        Step, st.sampled_from([5, 30, 60, 61, 300]), st.sampled_from(["list", "list", "list", "fail", "sleep"]), _ROWS
    ),
    min_size=1,
    max_size=12,
)


def rows_of(states_: list[str], now: float) -> list[Environment]:
    return [
        environment(
            f"env-{number}", lastHeartbeat=now - 10_000, connectionId=f"conn-{number}" if state == "up" else None
        )
        for number, state in enumerate(states_)
        if state != "absent"
    ]


def run(steps: list[Step], second: float, history: MemoryHistory) -> tuple[Monitor, float]:
    """Play a life on a recorded monitor, which reads the earlier records after the first listing."""
    history.start_run()
    monitor, is_seeded = Monitor.create({NO_PROFILE: Limits()}), False
    for step in steps:
        before, second = second, second + step.seconds
        now, outcome = reading(NOW + 1000 * second), _outcome(step, before, second)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        history.record(monitor, changes)
        profile_state = monitor.fleet.by_profile[NO_PROFILE]
        if not is_seeded and profile_state.listed is not None:
            earlier = EarlierRuns.read(history, NO_PROFILE, timedelta(days=1), now.wall)
            monitor = earlier.seeded(monitor, earlier.until_now(Moment(now, profile_state), WallMs(NOW)))
            is_seeded = True
    return monitor, second


def _outcome(step: Step, before: float, second: float) -> Outcome:
    match step.what:
        case "fail":
            return failed(at=NOW + 1000 * second)
        case "sleep":
            return slept(NOW + 1000 * before, NOW + 1000 * second)
        case _:
            return listed(rows_of(step.rows, NOW + 1000 * second), NOW + 1000 * second)


def up_or_down(intervals: Iterable[Interval]) -> list[tuple[UptimeState, float]]:
    """Return states with begins in seconds. No event says that a row still flaps after a gap."""
    found = [
        (UptimeState.UP if each.state is UptimeState.FLAPPING else each.state, (each.since - NOW) / 1000)
        for each in intervals
    ]
    return [each for place, each in enumerate(found) if not place or each[0] is not found[place - 1][0]]


@given(STEPS, st.sampled_from([10, 70, 4_000]), STEPS)
def test_the_states_before_a_run_are_those_that_the_run_before_knew(
    first_life: list[Step], between: int, second_life: list[Step]
) -> None:
    history = MemoryHistory()
    one, second = run([Step(0, "list", ["up"] * COUNT), *first_life], 0.0, history)
    two, _ = run([Step(between, "list", first_life[-1].rows), *second_life], second, history)

    profile_state = one.fleet.by_profile[NO_PROFILE]
    assert profile_state.listed is not None
    until = profile_state.clock.server_time(profile_state.listed.wall)
    now = reading(until)
    for id_, before in profile_state.environments.items():
        after = two.fleet.by_profile[NO_PROFILE].environments.get(id_)
        known = up_or_down(one.states_of(before, ServerMs(NOW), now))
        watched = two.watched_at(NO_PROFILE, reading(NOW + 1e9))
        again = states(after, two.event_log.for_environment((NO_PROFILE, id_)), watched, ServerMs(NOW), until)
        assert up_or_down(again) == known
