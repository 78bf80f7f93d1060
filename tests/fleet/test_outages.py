"""An environment's states over time, from events, the present state and the watched time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading
from support.memory_history import MemoryHistory, recorded
from support.tracked_environments import tracked

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import GONE, NEVER_LISTED, UNTIMED
from envwatch.fleet.watched_time import UNWATCHED, Interval, Span, UptimeState, WatchedTime, outages, state_of, states
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.outcome import Outcome

UP = tracked()
DOWN = tracked(connectionId=None)
LOST = replace(tracked(), verdict=GONE)
MOVED = replace(DOWN, replaced_by=clean("env-2"), replaced_by_name=clean("new"))
FLAPS = replace(UP, is_flapping=True)
ALWAYS = WatchedTime((Span(ServerMs(0), ServerMs(1e15)),))


def at(second: float) -> ServerMs:
    return ServerMs(NOW + 1000 * second)


def event(kind: Kind, second: float, before: str | None = None, after: str | None = None, reason: str = "") -> Event:
    return Event(
        kind=kind,
        at=at(second),
        id=clean("env-1"),
        before=None if before is None else clean(before),
        after=None if after is None else clean(after),
        reason=clean(reason) or None,
    )


def fell(second: float) -> Event:
    return event(Kind.OFFLINE, second, "online", "offline", "disconnected")


def rose(second: float) -> Event:
    return event(Kind.ONLINE, second, "offline", "online")


def watched(*spans: tuple[float, float]) -> WatchedTime:
    return WatchedTime(tuple(Span(at(since), at(until)) for since, until in spans))


def said(one: TrackedEnvironment | None, events: list[Event], times: WatchedTime = ALWAYS, end: float = 10) -> str:
    return " ".join(
        f"{each.state}@{(each.since - NOW) / 1000:g}" for each in states(one, events, times, at(0), at(end))
    )


@pytest.mark.parametrize(
    ("one", "events", "expected"),
    [
        (UP, [], "up@0"),
        (DOWN, [], "down@0"),
        (LOST, [], "down@0"),
        (tracked(lastHeartbeat=NOW - 60_000), [], "up@0"),
        (replace(DOWN, verdict=NEVER_LISTED), [], "down@0"),
        (replace(DOWN, verdict=UNTIMED), [], "unknown@0"),
        (None, [], "absent@0"),
        (UP, [fell(2), rose(5)], "up@0 down@2 up@5"),
        (DOWN, [fell(2)], "up@0 down@2"),
        (DOWN, [fell(10)], "up@0"),
        (DOWN, [fell(0)], "down@0"),
        (DOWN, [fell(-1)], "down@0"),
        (DOWN, [fell(11)], "up@0"),
        (UP, [event(Kind.APPEARED, 3, None, "online")], "absent@0 up@3"),
        (DOWN, [event(Kind.APPEARED, 3, None, "offline")], "absent@0 down@3"),
        (LOST, [fell(2), event(Kind.GONE, 4, "offline", "gone")], "up@0 down@2"),
        (LOST, [event(Kind.GONE, 4, "online", "gone"), event(Kind.MISSING, 6, "gone", "missing")], "up@0 down@4"),
        (DOWN, [event(Kind.MISSING, 6, None, "missing")], "absent@0 down@6"),
        (UP, [event(Kind.GONE, 2, "online", "gone"), event(Kind.RETURNED, 5, "gone", "online")], "up@0 down@2 up@5"),
        (UP, [event(Kind.GONE, 2, "online", "gone"), event(Kind.APPEARED, 5, None, "online")], "up@0 down@2 up@5"),
        (None, [event(Kind.GONE, 2, "online", "gone")], "up@0 down@2"),
        (UP, [event(Kind.ONLINE, 4, "unknown", "online")], "unknown@0 up@4"),
        (UP, [event(Kind.RECONNECTED, 5, "conn-1", "conn-2"), event(Kind.MODE, 6, "offline", "gone")], "up@0"),
        (UP, [fell(5), rose(4.5)], "up@0"),
        (FLAPS, [], "flapping@0"),
        (FLAPS, [event(Kind.FLAPPING, 4)], "up@0 flapping@4"),
        (UP, [event(Kind.STEADY, 4)], "flapping@0 up@4"),
        (
            UP,
            [event(Kind.FLAPPING, 2), fell(4), rose(5), event(Kind.STEADY, 7)],
            "up@0 flapping@2 down@4 flapping@5 up@7",
        ),
        (LOST, [event(Kind.FLAPPING, 2), event(Kind.GONE, 4, "online", "gone")], "up@0 flapping@2 down@4"),
        # A replaced row is neither up nor down: the machine goes on under another name.
        (MOVED, [fell(2), event(Kind.RENAMED, 4, "old", "new")], "up@0 down@2 absent@4"),
        (UP, [fell(2), event(Kind.RENAMED, 4, "old", "new"), rose(8)], "up@0 down@2 absent@4 up@8"),
        (
            None,
            [fell(2), event(Kind.RENAMED, 4, "old", "new"), event(Kind.GONE, 6, "offline", "gone")],
            "up@0 down@2 absent@4",
        ),
        (
            replace(MOVED, verdict=GONE),
            [fell(2), event(Kind.RENAMED, 4, "old", "new"), event(Kind.GONE, 6, "offline", "gone")],
            "up@0 down@2 absent@4",
        ),
        (
            UP,
            [event(Kind.FLAPPING, 2), event(Kind.GONE, 4, "online", "gone"), event(Kind.RETURNED, 6, "gone", "online")],
            "up@0 flapping@2 down@4 up@6",
        ),
    ],
)
def test_what_it_was_follows_from_its_events_and_from_what_it_is(
    one: TrackedEnvironment | None, events: list[Event], expected: str
) -> None:
    assert said(one, events) == expected


@pytest.mark.parametrize(
    ("one", "events", "times", "expected"),
    [
        (UP, [], watched(), "unknown@0"),
        (UP, [], watched((2, 4), (6, 9)), "unknown@0 up@2 unknown@4 up@6 unknown@9"),
        (DOWN, [], watched((0, 4), (6, 10)), "down@0 unknown@4 down@6"),
        (DOWN, [fell(6)], watched((0, 4), (6, 10)), "up@0 unknown@4 down@6"),
        (DOWN, [fell(5)], watched((0, 4), (6, 10)), "up@0 unknown@4 down@6"),
        (UP, [], watched((0, 0), (3, 3)), "unknown@0"),
        (UP, [], watched((0, 5), (5, 10)), "up@0"),
        # A change without an event happened in the gap, if there is one.
        (UP, [fell(2)], watched((0, 4), (6, 10)), "up@0 down@2 unknown@4 up@6"),
        (UP, [fell(2)], watched((0, 10)), "up@0"),
        (DOWN, [fell(2), fell(7)], watched((0, 4), (6, 10)), "up@0 down@2 unknown@4 up@6 down@7"),
        (UP, [event(Kind.FLAPPING, 2)], watched((0, 4), (6, 10)), "up@0 flapping@2 unknown@4 up@6"),
        (FLAPS, [event(Kind.FLAPPING, 2)], watched((0, 4), (6, 10)), "up@0 flapping@2 unknown@4 flapping@6"),
        # A run takes over flapping from the previous run.
        (FLAPS, [], watched((0, 4), (6, 10)), "up@0 unknown@4 flapping@6"),
        (UP, [event(Kind.STEADY, 8)], watched((0, 4), (6, 10)), "up@0 unknown@4 flapping@6 up@8"),
        (UP, [event(Kind.STEADY, 5)], watched((0, 4), (6, 10)), "up@0 unknown@4 up@6"),
        (FLAPS, [event(Kind.STEADY, 8)], watched((0, 4), (6, 10)), "up@0 unknown@4 flapping@6"),
        (FLAPS, [event(Kind.APPEARED, 7, None, "online")], watched((0, 10)), "absent@0 flapping@7"),
        (UP, [event(Kind.APPEARED, 6, None, "online")], watched((0, 4), (6, 10)), "absent@0 unknown@4 up@6"),
    ],
)
def test_what_was_not_watched_is_not_known(
    one: TrackedEnvironment, events: list[Event], times: WatchedTime, expected: str
) -> None:
    assert said(one, events, times) == expected


def test_a_reason_is_that_of_the_event_or_of_the_verdict() -> None:
    reasons = [each.reason for each in states(DOWN, [fell(2)], watched((0, 9)), at(0), at(10))]
    assert reasons == [None, "disconnected", UNWATCHED]
    assert states(DOWN, [], ALWAYS, at(0), at(1))[0].reason == "disconnected"
    assert states(UP, [rose(1)], ALWAYS, at(0), at(2))[0].reason is None


@pytest.mark.parametrize(("first", "reason"), [("", "no longer listed"), ("disconnected", "disconnected")])
def test_a_state_of_several_reasons_has_the_first_that_is_known(first: str, reason: str) -> None:
    events = [
        event(Kind.OFFLINE, 2, "online", "offline", first),
        event(Kind.GONE, 4, "offline", "gone", "no longer listed"),
    ]
    assert [each.reason for each in states(LOST, events, ALWAYS, at(0), at(10))] == [None, reason]


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (UP, UptimeState.UP),
        (FLAPS, UptimeState.FLAPPING),
        (DOWN, UptimeState.DOWN),
        (replace(DOWN, is_flapping=True), UptimeState.DOWN),
        (LOST, UptimeState.DOWN),
        (replace(DOWN, verdict=UNTIMED), UptimeState.UNKNOWN),
    ],
)
def test_what_is_up_flaps_or_not(one: TrackedEnvironment, state: UptimeState) -> None:
    assert state_of(one) is state


def test_nothing_was_in_no_time() -> None:
    assert states(UP, [], ALWAYS, at(1), at(1)) == ()


def spoken(*parts: tuple[UptimeState, float]) -> str:
    begin, intervals = 0.0, []
    for state, length in parts:
        intervals.append(Interval(state, at(begin), at(begin + length)))
        begin += length
    return " ".join(
        f"{(each.since - NOW) / 1000:g}-{(each.until - NOW) / 1000:g}:{each.down.total_seconds():g}"
        f"{'' if each.is_over else '…'}{f'?{each.unseen.total_seconds():g}' if each.unseen else ''}"
        for each in outages(intervals)
    )


D, U, F, N, A = UptimeState.DOWN, UptimeState.UP, UptimeState.FLAPPING, UptimeState.UNKNOWN, UptimeState.ABSENT


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], ""),
        ([(U, 5)], ""),
        ([(D, 5)], "0-5:5…"),
        ([(D, 5), (U, 1)], "0-5:5"),
        ([(D, 5), (F, 1), (D, 2)], "0-5:5 6-8:2…"),
        ([(U, 1), (D, 5), (N, 2), (D, 3), (U, 1)], "1-11:8?2"),
        ([(D, 5), (N, 2)], "0-5:5…"),
        ([(D, 5), (N, 2), (U, 3)], "0-5:5"),
        ([(A, 2), (D, 5)], "2-7:5…"),
    ],
)
def test_an_outage_lasts_until_it_was_seen_up(parts: list[tuple[UptimeState, float]], expected: str) -> None:
    assert spoken(*parts) == expected


# Against a simulation of each second.


class Life(NamedTuple):
    one: TrackedEnvironment
    events: list[Event]
    watched: WatchedTime
    expected: list[UptimeState]


_PRESENCES = {UptimeState.UP: "online", UptimeState.DOWN: "offline", UptimeState.ABSENT: None}


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Draw a life in whole seconds; changes in a gap are found at the gap's end."""
    length = draw(st.integers(1, 60))
    was = draw(st.sampled_from([UptimeState.UP, UptimeState.DOWN, UptimeState.ABSENT]))
    actual: list[UptimeState] = []
    for _ in range(length):
        if draw(st.integers(0, 5)) == 0:
            was = draw(st.sampled_from([UptimeState.UP, UptimeState.DOWN]))
        actual.append(was)
    is_seen = [True]
    for _ in range(length - 1):
        is_seen.append(draw(st.booleans()) if draw(st.integers(0, 3)) == 0 else is_seen[-1])
    spans: list[tuple[float, float]] = []
    events: list[Event] = []
    last = actual[0]
    for second in range(length):
        if not is_seen[second]:
            continue
        spans[-1:] = (
            [(spans[-1][0], second + 1)] if spans and spans[-1][1] == second else [*spans[-1:], (second, second + 1)]
        )
        if actual[second] is not last:
            kind = Kind.APPEARED if last is UptimeState.ABSENT else Kind(_PRESENCES[actual[second]] or "")
            events.append(event(kind, second, _PRESENCES[last], _PRESENCES[actual[second]]))
            last = actual[second]
    expected = [state if seen else UptimeState.UNKNOWN for state, seen in zip(actual, is_seen, strict=True)]
    one = {UptimeState.UP: UP, UptimeState.DOWN: DOWN, UptimeState.ABSENT: UP}[last]
    return Life(one, events, watched(*spans), expected)


@given(lives(), st.integers(0, 30), st.integers(1, 60))
def test_the_states_are_what_looking_each_second_finds(life: Life, since: int, length: int) -> None:
    if all(state in (UptimeState.ABSENT, UptimeState.UNKNOWN) for state in life.expected):
        return  # not tracked yet
    until = since + length
    intervals = states(life.one, life.events, life.watched, at(since), at(until))

    assert (intervals[0].since, intervals[-1].until) == (at(since), at(until))
    assert all(one.until == other.since and one.state is not other.state for one, other in pairwise(intervals))
    assert all(each.since < each.until for each in intervals)
    expected = [*life.expected, *[UptimeState.UNKNOWN] * 100][since:until]
    found = [each.state for each in intervals for _ in range(round((each.until - each.since) / 1000))]
    assert found == expected


ALL_TIMES = (WallMs(0), WallMs(1e15))


def seeded(history: MemoryHistory, *outcomes: Outcome) -> Monitor:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for outcome in outcomes:
        assert not isinstance(outcome, Slept)
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    return monitor.with_past(NO_PROFILE, history.events(*ALL_TIMES), history.polls(*ALL_TIMES))


def states_text(monitor: Monitor, name: str, end: float) -> str:
    one = monitor.fleet.by_profile[NO_PROFILE].environments[clean(name)]
    found = monitor.states_of(one, at(0), reading(at(end)))
    return " ".join(f"{each.state}@{(each.since - NOW) / 1000:g}" for each in found)


def test_a_past_is_continued() -> None:
    up, down = beating(2, at(200)), [*beating(1, at(200)), environment("env-2", connectionId=None)]
    history = recorded([listed(up, at(0)), listed(down, at(30)), listed(up, at(60))])

    monitor = seeded(history, listed(up, at(200)), listed(up, at(250)))

    assert states_text(monitor, "env-1", 260) == "up@0 unknown@60 up@200"
    assert states_text(monitor, "env-2", 260) == "up@0 down@30 unknown@60 up@200"
    # The earlier run's heartbeats lie in the future of its clock.
    kinds = [each.kind for each in monitor.event_log if each.kind is not Kind.CLOCK_WRONG]
    assert kinds == [Kind.OFFLINE, Kind.ONLINE]


def test_what_changed_while_blind_did_so_at_an_unknown_time() -> None:
    up, down = beating(2, at(100)), [*beating(1, at(100)), environment("env-2", connectionId=None)]
    polls: list[Outcome] = [
        listed(up, at(0)),
        failed(at=at(30)),
        failed(at=at(70)),
        listed(down, at(100)),
        listed(down, at(105)),
    ]
    assert states_text(seeded(MemoryHistory(), *polls), "env-2", 110) == "unknown@0 down@100"
    assert states_text(seeded(recorded(polls), listed(down, at(110))), "env-2", 110) == "unknown@0 down@100 unknown@105"


def test_a_mass_loss_counts_for_each_of_its_members() -> None:
    up = beating(12, at(0))
    down = [replace(row, connection_id=None) for row in up]
    monitor = seeded(MemoryHistory(), listed(up, at(0)), listed(down, at(5)), listed(down, at(10)))
    assert [each.kind for each in monitor.event_log] == [Kind.TOGETHER]
    assert states_text(monitor, "env-7", 10) == "up@0 down@5"


def test_nothing_is_known_of_the_time_whose_events_were_dropped() -> None:
    monitor = seeded(MemoryHistory(), listed(beating(1, at(0)), at(0)), listed(beating(1, at(50)), at(50)))
    notice = Event(kind=Kind.NOTICE, at=at(20))
    cut = replace(
        monitor, event_log=monitor.event_log.with_events([notice]).with_events([replace(notice, at=at(30))], 1)
    )
    assert states_text(monitor, "env-1", 60) == "up@0"
    assert states_text(cut, "env-1", 60) == "unknown@0 up@20"


def test_an_interval_knows_its_length() -> None:
    assert Interval(UptimeState.UP, at(1), at(3)).lasted == timedelta(seconds=2)
