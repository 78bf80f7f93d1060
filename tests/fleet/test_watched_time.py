"""A profile's watched time, from live outcomes and from recorded polls; states and outages over time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, slept
from support.memory_history import MemoryHistory, recorded
from support.tracked_environments import tracked

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import GONE, MISSING, NEVER_LISTED, UNTIMED
from envwatch.fleet.watched_time import (
    NOT_WATCHED,
    UNWATCHED,
    Interval,
    Span,
    UptimeState,
    WatchedTime,
    outages,
    states,
    uptime_state,
)
from envwatch.model.clock import OffsetBounds, ServerClock, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.outcome import Outcome


ALL = (WallMs(0), WallMs(1e15))


def spans(*moments: tuple[float, float]) -> WatchedTime:
    return WatchedTime(tuple(Span(ServerMs(NOW + 1000 * a), ServerMs(NOW + 1000 * b)) for a, b in moments))


def lists(*seconds: float, interval: float = 5) -> list[Outcome]:
    return [listed(beating(3, at), at, interval=timedelta(seconds=interval)) for at in at_seconds(*seconds)]


def at_seconds(*seconds: float) -> list[float]:
    return [NOW + 1000 * each for each in seconds]


def sleep(since: float, until: float) -> Outcome:
    return slept(*at_seconds(since, until))


LIVES: dict[str, tuple[list[Outcome], list[tuple[float, float]]]] = {
    "one listing": (lists(0), [(0, 0)]),
    "a listing after another": (lists(0, 5, 10), [(0, 10)]),
    "nearly blind": (lists(0, 60), [(0, 60)]),
    "blind": (lists(0, 60.001), [(0, 0), (60.001, 60.001)]),
    "a long interval": (lists(0, 180, interval=60), [(0, 180)]),
    "blind in a long interval": (lists(0, 180.001, interval=60), [(0, 0), (180.001, 180.001)]),
    "a longer interval from now on": ([*lists(0), *lists(180, interval=60)], [(0, 180)]),
    "a shorter interval from now on": ([*lists(0, interval=60), *lists(180)], [(0, 180)]),
    "blind with a shorter interval": ([*lists(0, interval=60), *lists(180.001)], [(0, 0), (180.001, 180.001)]),
    "a failed poll": ([*lists(0), failed(at=NOW + 5000), *lists(10)], [(0, 10)]),
    "a sleep": ([*lists(0, 5), sleep(5, 25), *lists(25, 30)], [(0, 5), (25, 30)]),
    "a sleep and a failure": ([*lists(0, 5), sleep(5, 25), failed(at=NOW + 26000), *lists(30)], [(0, 5), (30, 30)]),
    "only failures": ([failed(), failed(at=NOW + 5000)], []),
}


def watched_live(outcomes: Sequence[Outcome]) -> WatchedTime:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for outcome in outcomes:
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        monitor, _ = monitor.apply(NO_PROFILE, outcome, now)
    return monitor.watched.get(NO_PROFILE, NOT_WATCHED)


@pytest.mark.parametrize("life", LIVES)
def test_a_span_ends_where_no_listing_came_for_too_long(life: str) -> None:
    outcomes, expected = LIVES[life]
    past = recorded(outcomes)
    assert watched_live(outcomes) == spans(*expected)
    assert WatchedTime.recorded(past.polls(*ALL), past.events(*ALL), ServerClock()) == spans(*expected)


@given(
    st.lists(
        st.tuples(st.sampled_from(["list", "fail", "sleep"]), st.sampled_from([1, 5, 30, 59, 60, 61, 200])), max_size=30
    )
)
def test_recorded_polls_say_what_was_watched_live(steps: list[tuple[str, int]]) -> None:
    outcomes: list[Outcome] = []
    at = 0.0
    for what, seconds in steps:
        before, at = at, at + seconds
        match what:
            case "list":
                outcomes += lists(at)
            case "fail":
                outcomes.append(failed(at=NOW + 1000 * at))
            case _:
                outcomes.append(sleep(before, at))
    past = recorded(outcomes)
    assert WatchedTime.recorded(past.polls(*ALL), past.events(*ALL), ServerClock()) == watched_live(outcomes)


@pytest.mark.parametrize(("interval", "step"), [(5, 65), (30, 85)])
def test_a_time_without_a_believed_listing_is_a_gap_though_polls_succeeded(interval: int, step: int) -> None:
    """In the longer interval the polls are frequent enough, and only the event proves the blind time."""
    quarantined = [listed([], at, interval=timedelta(seconds=interval)) for at in at_seconds(step, 2 * step)]
    outcomes = [*lists(0, interval=interval), *quarantined, *lists(3 * step, interval=interval)]
    past = recorded(outcomes)
    assert watched_live(outcomes) == spans((0, 0), (3 * step, 3 * step))
    assert WatchedTime.recorded(past.polls(*ALL), past.events(*ALL), ServerClock()).span_at(NOW + 100_000) is None


def test_a_run_ends_a_span() -> None:
    history = recorded(lists(0, 5), None)
    recorded(lists(10, 15), history)
    assert WatchedTime.recorded(history.polls(*ALL), (), ServerClock()) == spans((0, 5), (10, 15))


def poll(number: int, second: float, run: int = 1, interval_s: float = 5.0) -> RecordedPoll:
    return RecordedPoll(number, WallMs(NOW + 1000 * second), PollResult.LISTED, run, interval_s)


def test_recorded_polls_end_a_span_after_three_intervals_also_without_an_event() -> None:
    for second, expected in ((180, [(0, 180)]), (180.001, [(0, 0), (180.001, 180.001)])):
        polls = [poll(1, 0, interval_s=60), poll(2, second, interval_s=60)]
        assert WatchedTime.recorded(polls, (), ServerClock()) == spans(*expected)


def test_the_shape_differs_where_a_span_begins_or_has_its_first_length_and_not_as_the_newest_goes_on() -> None:
    once, short, long = spans((0, 5), (60, 60)), spans((0, 5), (60, 65)), spans((0, 5), (60, 70))
    assert once.shape != short.shape == long.shape
    assert long.shape != spans((0, 6), (60, 70)).shape
    assert long.shape != spans((0, 5), (61, 70)).shape
    assert long.shape != spans((60, 70)).shape
    assert (NOT_WATCHED.shape, NOT_WATCHED.began_at, NOT_WATCHED.until) == ((), None, None)


def test_polls_are_placed_on_the_servers_clock_and_a_clock_set_back_makes_no_time_twice() -> None:
    ahead = ServerClock((OffsetBounds(2000, 2000),))
    assert WatchedTime.recorded([poll(1, 0), poll(2, 5)], (), ahead) == spans((2, 7))
    assert watched_live([*lists(0, 5), listed(beating(3), NOW + 10_000, skew=5_500)]) == spans((0, 10))
    polls = [poll(1, 0), poll(2, 30), poll(3, 10), poll(4, 40), poll(5, -20)]
    assert WatchedTime.recorded(polls, (), ServerClock()) == spans((-20, -20), (0, 40))


def test_the_oldest_spans_are_dropped_where_there_are_too_many() -> None:
    watched = watched_live(lists(*range(0, 1_001 * 100, 100)))
    assert len(watched.spans) == 1_000
    assert watched.began_at == NOW + 100_000
    assert watched.until == NOW + 100_000_000


@pytest.mark.parametrize(
    ("since", "until", "rest"),
    [
        (3, 5, spans((0, 3), (5, 10))),
        (0, 5, spans((0, 0), (5, 10))),
        (5, 10, spans((0, 5), (10, 10))),
        (-1, 11, spans()),
        *((10, 12, spans((0, 10))), (-2, 0, spans((0, 10)))),
    ],
)
def test_what_is_left_beside_a_time_keeps_its_moments_at_both_ends(
    since: float, until: float, rest: WatchedTime
) -> None:
    begin, end = at_seconds(since, until)
    assert spans((0, 10)).without(ServerMs(begin), ServerMs(end)) == rest


@pytest.mark.parametrize(
    ("asked_at", "began"),
    [
        *((9, spans((9, 20), (90, 95))), (-50, spans((-50, 20), (90, 95))), (-50.001, spans((10, 20), (90, 95)))),
        *((10, spans((10, 20), (90, 95))), (20, spans((10, 20), (90, 95))), (96, spans((10, 20), (90, 95)))),
        (20.001, spans((10, 20), (90, 95))),
        (30, spans((10, 20), (30, 95))),
    ],
)
def test_a_span_begins_when_its_first_listing_was_asked_for(asked_at: float, began: WatchedTime) -> None:
    """The poll was recorded with the answer, which takes a minute at most."""
    (asked_at_ms,) = at_seconds(asked_at)
    assert spans((10, 20), (90, 95)).begun_by(ServerMs(asked_at_ms)) == began
    near = spans((10, 20), (60, 95))
    last, after = map(ServerMs, at_seconds(20, 20.001))
    assert (near.begun_by(last), near.begun_by(after)) == (near, spans((10, 20), (20.001, 95)))


def test_an_event_says_when_the_listing_of_a_recorded_poll_was_asked_for() -> None:
    lost = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"))
    assert WatchedTime.recorded([poll(1, 5)], [lost], ServerClock()) == spans((0, 5))
    assert WatchedTime.recorded([poll(1, 5)], [replace(lost, id=None)], ServerClock()) == spans((5, 5))
    assert WatchedTime.recorded([poll(1, 5)], [replace(lost, id=None, members=(lost,))], ServerClock()) == spans((0, 5))


def test_both_ends_belong_to_a_span() -> None:
    (first, last, end) = map(ServerMs, at_seconds(0, 10, 20))
    assert spans((0, 10)).between(last, end) == spans((10, 10))
    assert spans((10, 20)).between(first, last) == spans((10, 10))


MOMENTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=6).map(
    lambda pairs: [(float(since), float(since + length)) for since, length in pairs]
)
PROBES = [ServerMs(NOW + 1000 * (second + 0.5)) for second in range(40)]


def seen(watched: WatchedTime) -> list[bool]:
    return [watched.span_at(probe) is not None for probe in PROBES]


@given(MOMENTS, MOMENTS, st.integers(0, 35), st.integers(0, 10))
def test_spans_are_sets_of_moments(
    one: list[tuple[float, float]], other: list[tuple[float, float]], since: int, length: int
) -> None:
    first, second = WatchedTime().united(spans(*one)), WatchedTime().united(spans(*other))
    begin, end = ServerMs(NOW + 1000 * since), ServerMs(NOW + 1000 * (since + length))
    in_first = [any(a <= n + 0.5 <= b for a, b in one) for n in range(40)]
    is_between = [since <= n + 0.5 <= since + length for n in range(40)]

    assert seen(first) == in_first
    assert seen(first.united(second)) == [a or b for a, b in zip(in_first, seen(second), strict=True)]
    assert seen(first.without(begin, end)) == [a and not b for a, b in zip(in_first, is_between, strict=True)]
    assert seen(first.between(begin, end)) == [a and b for a, b in zip(in_first, is_between, strict=True)]
    for each in (first.united(second), first.without(begin, end), first.between(begin, end)):
        assert all(a.until < b.since for a, b in zip(each.spans, each.spans[1:], strict=False)) or length == 0
        assert list(each.spans) == sorted(each.spans)


def test_the_watched_time_reaches_until_now_while_the_newest_listing_holds() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for second, outcome in zip((0, 5), lists(0, 5), strict=True):
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(NOW + 1000 * second))
    assert monitor.watched_at(NO_PROFILE, reading(NOW + 65_000)) == spans((0, 65))
    assert monitor.watched_at(NO_PROFILE, reading(NOW + 65_001)) == spans((0, 5))
    assert Monitor().watched_at(NO_PROFILE, reading()) == NOT_WATCHED


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
        (replace(DOWN, verdict=MISSING), [event(Kind.GONE, 4, "online", "gone")], "up@0 down@4"),
        (DOWN, [event(Kind.OFFLINE, 6, None, "offline")], "absent@0 down@6"),
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
def test_past_states_follow_from_the_events_and_the_present_state(
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


@pytest.mark.parametrize(("first", "reason"), [("", "no longer listed"), ("disconnected", "disconnected")])
def test_a_state_of_several_reasons_has_the_first_known_one(first: str, reason: str) -> None:
    events = [
        event(Kind.OFFLINE, 2, "online", "offline", first),
        event(Kind.GONE, 4, "offline", "gone", "no longer listed"),
    ]
    assert [each.reason for each in states(LOST, events, ALWAYS, at(0), at(10))] == [None, reason]
    seen = watched((0, 9))
    assert [each.reason for each in states(DOWN, [fell(2)], seen, at(0), at(10))] == [None, "disconnected", UNWATCHED]
    assert states(DOWN, [], ALWAYS, at(0), at(1))[0].reason == "disconnected"


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
def test_a_row_is_up_flapping_down_or_unknown(one: TrackedEnvironment, state: UptimeState) -> None:
    assert uptime_state(one) is state
    assert state.is_up is (state in (UptimeState.UP, UptimeState.FLAPPING))


def spoken(*parts: tuple[UptimeState, float]) -> str:
    begin, intervals = 0.0, []
    for state, length in parts:
        intervals.append(Interval(state, at(begin), at(begin + length)))
        begin += length
    return " ".join(
        f"{'<' if each.began_before else ''}{(each.since - NOW) / 1000:g}-{(each.until - NOW) / 1000:g}"
        f":{each.down.total_seconds():g}"
        f"{'' if each.is_over else '…'}{f'?{each.unseen.total_seconds():g}' if each.unseen else ''}"
        for each in outages(intervals)
    )


D, U, F, N, A = UptimeState.DOWN, UptimeState.UP, UptimeState.FLAPPING, UptimeState.UNKNOWN, UptimeState.ABSENT


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], ""),
        ([(U, 5)], ""),
        ([(D, 5)], "<0-5:5…"),
        ([(D, 5), (U, 1)], "<0-5:5"),
        ([(D, 5), (F, 1), (D, 2)], "<0-5:5 6-8:2…"),
        ([(U, 1), (D, 5), (N, 2), (D, 3), (U, 1)], "1-11:8?2"),
        ([(D, 5), (N, 2)], "<0-5:5…"),
        ([(N, 2), (D, 5)], "<2-7:5…"),
        ([(D, 5), (N, 2), (U, 3)], "<0-5:5"),
        ([(A, 2), (D, 5)], "2-7:5…"),
    ],
)
def test_an_outage_lasts_until_the_row_was_seen_up(parts: list[tuple[UptimeState, float]], expected: str) -> None:
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
