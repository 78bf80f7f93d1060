"""An environment's uptime as a share of the watched time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import nextafter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, listed, watched
from support.tracked_environments import tracked

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import GONE
from envwatch.fleet.watched_time import Interval, Span, UptimeState, WatchedTime, states
from envwatch.history.hours import Availability, availability_text, percent_text
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment

MINUTE = 60_000.0
UP = tracked()
DOWN = tracked(connectionId=None)
LOST = replace(tracked(), verdict=GONE)


def event(kind: Kind, at: float, before: str | None = None, after: str | None = None) -> Event:
    return Event(
        kind=kind,
        at=ServerMs(at),
        id=clean("env-1"),
        before=None if before is None else clean(before),
        after=None if after is None else clean(after),
    )


def fell(at: float) -> Event:
    return event(Kind.OFFLINE, at, "online", "offline")


def rose(at: float) -> Event:
    return event(Kind.ONLINE, at, "offline", "online")


def vanished(at: float) -> Event:
    return event(Kind.GONE, at, "offline", "gone")


def found(one: TrackedEnvironment, events: list[Event], minutes: float, since: float = NOW) -> Availability:
    end = ServerMs(NOW + minutes * MINUTE)
    watched = WatchedTime((Span(ServerMs(since), end),))
    return Availability.from_intervals(states(one, events, watched, NOW, end))


def said(one: TrackedEnvironment, events: list[Event], minutes: float) -> str | None:
    return availability_text(found(one, events, minutes))


@pytest.mark.parametrize(
    ("one", "events", "text"),
    [
        (UP, [], "up 100 % of the 10m watched in 24h"),
        (DOWN, [], "up 0 % of the 10m watched in 24h"),
        (DOWN, [fell(NOW + 4 * MINUTE)], "up 40.0 % of the 10m watched in 24h"),
        (UP, [rose(NOW + 4 * MINUTE)], "up 60.0 % of the 10m watched in 24h"),
        (UP, [fell(NOW + 1 * MINUTE), rose(NOW + 3 * MINUTE)], "up 80.0 % of the 10m watched in 24h"),
        (UP, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "online")], "up 100 % of the 4m watched in 24h"),
        (DOWN, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "offline")], "up 0 % of the 4m watched in 24h"),
        (LOST, [fell(NOW + MINUTE), vanished(NOW + 5 * MINUTE)], "up 10.0 % of the 10m watched in 24h"),
        (UP, [event(Kind.RETURNED, NOW + 5 * MINUTE, "gone", "online")], "up 50.0 % of the 10m watched in 24h"),
        (UP, [event(Kind.RECONNECTED, NOW + 5 * MINUTE, "conn-1", "conn-2")], "up 100 % of the 10m watched in 24h"),
        (UP, [event(Kind.MODE, NOW + 5 * MINUTE, "offline", "gone")], "up 100 % of the 10m watched in 24h"),
    ],
)
def test_the_time_down_is_what_lies_between_its_events(one: TrackedEnvironment, events: list[Event], text: str) -> None:
    assert said(one, events, 10) == text


def test_late_counts_as_up() -> None:
    assert said(tracked(lastHeartbeat=NOW - 60_000), [], 10) == "up 100 % of the 10m watched in 24h"


def test_what_was_before_watching_began_does_not_count() -> None:
    assert said(UP, [fell(NOW - MINUTE), rose(NOW)], 10) == "up 100 % of the 10m watched in 24h"
    assert said(DOWN, [fell(NOW)], 10) == "up 0 % of the 10m watched in 24h"


def test_what_appears_anew_was_gone_until_then() -> None:
    anew = event(Kind.APPEARED, NOW + 5 * MINUTE, None, "online")
    assert said(UP, [vanished(NOW + MINUTE), anew], 10) == "up 50.0 % of the 10m watched in 24h"


@pytest.mark.parametrize(("milliseconds", "is_told"), [(59_999, False), (60_000, True)])
def test_less_than_a_minute_says_nothing(milliseconds: float, *, is_told: bool) -> None:
    assert (said(UP, [], milliseconds / MINUTE) is not None) is is_told
    appeared = event(Kind.APPEARED, NOW + MINUTE, None, "online")
    assert (said(UP, [appeared], 1 + milliseconds / MINUTE) is not None) is is_told


@pytest.mark.parametrize(("missing_ms", "text"), [(0, "24h"), (59_999, "24h"), (60_000, "the 23h 59m watched in 24h")])
def test_a_day_that_lacks_less_than_a_minute_is_whole(missing_ms: float, text: str) -> None:
    day = 24 * 60
    assert availability_text(found(UP, [], day, NOW + missing_ms)) == f"up 100 % of {text}"


@pytest.mark.parametrize(
    ("share", "percent"),
    [
        (1.0, "100"),
        (0.99999, "99.9"),
        (0.9999, "99.9"),
        (0.9989, "99.8"),
        (0.992, "99.2"),
        (0.5, "50.0"),
        (0.0001, "0.1"),
        (0.0, "0"),
    ],
)
def test_all_and_nothing_are_never_rounded_to(share: float, percent: str) -> None:
    known = timedelta(hours=3, minutes=4)
    assert availability_text(Availability(known * share, known)) == f"up {percent} % of the 3h 4m watched in 24h"


def test_the_greatest_share_below_one_is_not_all() -> None:
    assert percent_text(nextafter(1.0, 0.0)) == "99.9 %"


def test_one_second_down_in_a_day_shows() -> None:
    assert said(UP, [fell(NOW + MINUTE), rose(NOW + MINUTE + 1000)], 24 * 60) == "up 99.9 % of 24h"


def test_a_clock_that_steps_back_between_events_makes_no_time() -> None:
    events = [fell(NOW + 5 * MINUTE), rose(NOW + 5 * MINUTE - 900)]
    assert said(UP, events, 10) == "up 100 % of the 10m watched in 24h"
    assert said(DOWN, [fell(NOW + 11 * MINUTE)], 10) == "up 100 % of the 10m watched in 24h"


@given(st.lists(st.tuples(st.sampled_from(UptimeState), st.integers(0, 10_000))))
def test_up_and_down_are_all_that_is_known(parts: list[tuple[UptimeState, int]]) -> None:
    length = dict.fromkeys(UptimeState, 0)
    for state, seconds in parts:
        length[state] += seconds
    intervals = [Interval(state, NOW, ServerMs(NOW + 1000 * seconds)) for state, seconds in parts]
    up, known = Availability.from_intervals(intervals)
    assert up == timedelta(seconds=length[UptimeState.UP] + length[UptimeState.FLAPPING])
    assert known - up == timedelta(seconds=length[UptimeState.DOWN])


def test_what_a_real_fleet_tells_adds_up() -> None:
    up, down = environment("env-1"), environment("env-1", connectionId=None)
    back = environment("env-1", lastHeartbeat=NOW + 6 * MINUTE)
    every = timedelta(minutes=1)
    rows = [[up], [up], [down], [down], [], [], [back], [back]]
    polls = [listed(each, NOW + minute * MINUTE, interval=every) for minute, each in enumerate(rows)]

    profile_state, events = watched(polls)

    assert [one.kind for one in events] == [Kind.OFFLINE, Kind.GONE, Kind.RETURNED]
    assert said(profile_state.environments[up.id], events, 8) == "up 50.0 % of the 8m watched in 24h"
