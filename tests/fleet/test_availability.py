"""The share of the time watched in which an environment was up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, listed, watched
from support.tracked_environments import tracked

from envwatch.fleet.availability import availability, availability_text
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import GONE
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean

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
        id=Clean("env-1"),
        before=None if before is None else Clean(before),
        after=None if after is None else Clean(after),
    )


def fell(at: float) -> Event:
    return event(Kind.OFFLINE, at, "online", "offline")


def rose(at: float) -> Event:
    return event(Kind.ONLINE, at, "offline", "online")


def vanished(at: float) -> Event:
    return event(Kind.GONE, at, "offline", "gone")


def said(one: TrackedEnvironment, events: list[Event], minutes: float) -> str | None:
    found = availability(one, events, NOW, NOW + minutes * MINUTE)
    return None if found is None else availability_text(*found)


@pytest.mark.parametrize(
    ("one", "events", "text"),
    [
        (UP, [], "up 100 % of the 10m watched"),
        (DOWN, [], "up 0 % of the 10m watched"),
        (DOWN, [fell(NOW + 4 * MINUTE)], "up 40.0 % of the 10m watched"),
        (UP, [rose(NOW + 4 * MINUTE)], "up 60.0 % of the 10m watched"),
        (UP, [fell(NOW + 1 * MINUTE), rose(NOW + 3 * MINUTE)], "up 80.0 % of the 10m watched"),
        (UP, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "online")], "up 100 % of the 4m watched"),
        (DOWN, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "offline")], "up 0 % of the 4m watched"),
        (LOST, [fell(NOW + MINUTE), vanished(NOW + 5 * MINUTE)], "up 10.0 % of the 10m watched"),
        (UP, [event(Kind.RETURNED, NOW + 5 * MINUTE, "gone", "online")], "up 50.0 % of the 10m watched"),
        (UP, [event(Kind.RECONNECTED, NOW + 5 * MINUTE, "conn-1", "conn-2")], "up 100 % of the 10m watched"),
        (UP, [event(Kind.MODE, NOW + 5 * MINUTE, "offline", "gone")], "up 100 % of the 10m watched"),
    ],
)
def test_the_time_down_is_what_lies_between_its_events(one: TrackedEnvironment, events: list[Event], text: str) -> None:
    assert said(one, events, 10) == text


def test_late_counts_as_up() -> None:
    assert said(tracked(lastHeartbeat=NOW - 60_000), [], 10) == "up 100 % of the 10m watched"


def test_what_was_before_watching_began_does_not_count() -> None:
    assert said(UP, [fell(NOW - MINUTE), rose(NOW)], 10) == "up 100 % of the 10m watched"
    assert said(DOWN, [fell(NOW)], 10) == "up 0 % of the 10m watched"


def test_after_an_environment_appeared_anew_only_the_time_since_counts() -> None:
    anew = event(Kind.APPEARED, NOW + 5 * MINUTE, None, "online")
    assert said(UP, [fell(NOW + MINUTE), anew], 10) == "up 100 % of the 5m watched"


@pytest.mark.parametrize(("milliseconds", "is_told"), [(59_999, False), (60_000, True)])
def test_less_than_a_minute_says_nothing(milliseconds: float, *, is_told: bool) -> None:
    assert (availability(UP, [], NOW, NOW + milliseconds) is not None) is is_told
    appeared = event(Kind.APPEARED, NOW, None, "online")
    assert (availability(UP, [appeared], NOW - MINUTE, NOW + milliseconds) is not None) is is_told


@pytest.mark.parametrize(
    ("share", "percent"),
    [(1.0, "100"), (0.99999, "99.9"), (0.9999, "99.9"), (0.992, "99.2"), (0.5, "50.0"), (0.0001, "0.1"), (0.0, "0")],
)
def test_all_and_nothing_are_never_rounded_to(share: float, percent: str) -> None:
    text = availability_text(share, timedelta(hours=3, minutes=4))
    assert text == f"up {percent} % of the 3h 4m watched"


def test_one_second_down_in_a_year_shows() -> None:
    year = 365 * 24 * 60
    assert said(UP, [fell(NOW + MINUTE), rose(NOW + MINUTE + 1000)], year) == "up 99.9 % of the 365d watched"


def test_a_clock_that_steps_back_between_events_makes_no_time() -> None:
    events = [fell(NOW + 5 * MINUTE), rose(NOW + 5 * MINUTE - 900)]
    assert said(UP, events, 10) == "up 100 % of the 10m watched"
    assert said(DOWN, [fell(NOW + 11 * MINUTE)], 10) == "up 100 % of the 10m watched"


def test_what_a_real_fleet_tells_adds_up() -> None:
    up, down = environment("env-1"), environment("env-1", connectionId=None)
    back = environment("env-1", lastHeartbeat=NOW + 6 * MINUTE)
    every = timedelta(minutes=1)
    rows = [[up], [up], [down], [down], [], [], [back], [back]]
    polls = [listed(each, NOW + minute * MINUTE, interval=every) for minute, each in enumerate(rows)]

    fleet, events = watched(polls)

    assert [one.kind for one in events] == [Kind.OFFLINE, Kind.GONE, Kind.RETURNED]
    assert said(fleet.environments[up.id], events, 8) == "up 50.0 % of the 8m watched"


@st.composite
def lives(draw: st.DrawFn) -> tuple[TrackedEnvironment, list[Event], list[tuple[int, str | None]], int]:
    """A life in whole seconds: the watch now, its events, its states with their beginnings, and its length."""
    first = draw(st.sampled_from(["online", "offline"]))
    moments: list[int] = sorted(draw(st.sets(st.integers(1, 299), max_size=6)))
    life: list[tuple[int, str | None]] = [(0, first)]
    events = []
    is_new = draw(st.booleans())
    if moments and is_new:
        life = [(0, None), (moments[0], first)]
        events.append(event(Kind.APPEARED, NOW + moments[0] * 1000, None, first))
        moments = moments[1:]
    for moment in moments:
        before = life[-1][1]
        after = draw(st.sampled_from([state for state in ("online", "offline", "gone") if state != before]))
        kind = Kind.RETURNED if before == "gone" else Kind(after)
        events.append(event(kind, NOW + moment * 1000, before, after))
        events.append(event(Kind.BRANCH, NOW + moment * 1000, "main", "fix"))
        life.append((moment, after))
    one = {"online": UP, "offline": DOWN, "gone": LOST}[life[-1][1] or "gone"]
    return one, events, life, draw(st.integers(max(300, life[-1][0] + 60), 400))


@given(lives())
def test_the_share_is_what_looking_every_second_finds(
    drawn: tuple[TrackedEnvironment, list[Event], list[tuple[int, str | None]], int],
) -> None:
    one, events, life, end = drawn
    spans = pairwise([*life, (end, None)])
    seen = [state for (start, state), (stop, _) in spans for _ in range(start, stop) if state is not None]

    found = availability(one, events, NOW, NOW + end * 1000)

    assert found is not None
    share, length = found
    assert length == timedelta(seconds=len(seen))
    assert share == pytest.approx(seen.count("online") / len(seen))
    assert (share == 1, share == 0) == (set(seen) == {"online"}, "online" not in seen)
