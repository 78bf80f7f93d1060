"""A profile's watched time, from live outcomes and from recorded polls."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, failed, listed, reading, slept
from support.memory_history import recorded

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.watched_time import NOT_WATCHED, Span, WatchedTime
from envwatch.model.clock import OffsetBounds, ServerClock, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

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
def test_a_time_in_which_no_listing_was_believed_is_a_gap_though_polls_succeeded(interval: int, step: int) -> None:
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


def test_recorded_polls_end_a_span_after_three_intervals_also_without_an_event_that_says_so() -> None:
    for second, expected in ((180, [(0, 180)]), (180.001, [(0, 0), (180.001, 180.001)])):
        polls = [poll(1, 0, interval_s=60), poll(2, second, interval_s=60)]
        assert WatchedTime.recorded(polls, (), ServerClock()) == spans(*expected)


def test_the_shape_differs_where_a_span_begins_or_has_its_first_length_and_not_as_the_newest_goes_on() -> None:
    once, short, long = spans((0, 5), (60, 60)), spans((0, 5), (60, 65)), spans((0, 5), (60, 70))
    assert once.shape != short.shape == long.shape
    assert long.shape != spans((0, 6), (60, 70)).shape
    assert long.shape != spans((0, 5), (61, 70)).shape
    assert long.shape != spans((60, 70)).shape
    assert NOT_WATCHED.shape == ()


def test_a_clock_that_was_set_back_makes_no_time_twice() -> None:
    polls = [poll(1, 0), poll(2, 30), poll(3, 10), poll(4, 40), poll(5, -20)]
    assert WatchedTime.recorded(polls, (), ServerClock()) == spans((-20, -20), (0, 40))


def test_polls_of_the_past_are_placed_on_the_servers_clock() -> None:
    clock = ServerClock((OffsetBounds(2000, 2000),))
    assert WatchedTime.recorded([poll(1, 0), poll(2, 5)], (), clock) == spans((2, 7))


def test_a_server_clock_that_steps_back_makes_no_span() -> None:
    outcomes = [*lists(0, 5), listed(beating(3), NOW + 10_000, skew=5_500)]
    assert watched_live(outcomes) == spans((0, 10))


def test_no_poll_makes_it_longer() -> None:
    watched = watched_live(lists(*range(0, 5000, 5)))
    assert watched == spans((0, 4995))


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


def test_a_request_at_the_end_of_a_span_begins_no_span() -> None:
    near = spans((10, 20), (60, 95))
    last, after = map(ServerMs, at_seconds(20, 20.001))
    assert near.begun_by(last) == near
    assert near.begun_by(after) == spans((10, 20), (20.001, 95))


def test_an_event_says_when_the_listing_of_a_recorded_poll_was_asked_for() -> None:
    lost = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"))
    assert WatchedTime.recorded([poll(1, 5)], [lost], ServerClock()) == spans((0, 5))
    assert WatchedTime.recorded([poll(1, 5)], [replace(lost, id=None)], ServerClock()) == spans((5, 5))
    assert WatchedTime.recorded([poll(1, 5)], [replace(lost, id=None, members=(lost,))], ServerClock()) == spans((0, 5))


def test_of_a_time_both_ends_belong_to_it() -> None:
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


def test_what_was_not_watched_has_no_begin_and_no_end() -> None:
    assert (NOT_WATCHED.began_at, NOT_WATCHED.until) == (None, None)


def test_it_is_watched_until_now_while_the_newest_listing_holds() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for second, outcome in zip((0, 5), lists(0, 5), strict=True):
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(NOW + 1000 * second))
    assert monitor.watched_at(NO_PROFILE, reading(NOW + 65_000)) == spans((0, 65))
    assert monitor.watched_at(NO_PROFILE, reading(NOW + 65_001)) == spans((0, 5))
    assert Monitor().watched_at(NO_PROFILE, reading()) == NOT_WATCHED
