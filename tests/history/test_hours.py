"""The last 24 hours: the worst state of each clock hour as cells, and uptime as a share of the watched time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from math import nextafter
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, listed, reading
from support.tracked_environments import tracked

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import GONE
from envwatch.fleet.watched_time import Interval, Span, UptimeState, WatchedTime, states
from envwatch.history.hours import (
    HOUR_MS,
    HOURS,
    Availability,
    LastDays,
    availability_text,
    first_hour,
    percent_text,
    worst_states,
)
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment


MIDNIGHT = ServerMs(1_760_054_400_000.0)
"""2025-10-10 00:00 UTC."""
MINUTE = 60_000.0
SHORT = {
    UptimeState.UP: "u",
    UptimeState.FLAPPING: "f",
    UptimeState.DOWN: "D",
    UptimeState.UNKNOWN: "?",
    UptimeState.ABSENT: ".",
}


@pytest.mark.parametrize(
    ("now_ms", "offset", "hours_before"),
    [
        (0, timedelta(), 24),
        (1, timedelta(), 23),
        (HOUR_MS, timedelta(), 23),
        (HOUR_MS + 1, timedelta(), 22),
        (1, timedelta(hours=2), 23),
        (1, timedelta(hours=5, minutes=30), 23.5),
        (HOUR_MS / 2, timedelta(hours=5, minutes=30), 23.5),
        (HOUR_MS / 2 + 1, timedelta(hours=5, minutes=30), 22.5),
        (1, -timedelta(hours=3, minutes=30), 23.5),
    ],
)
def test_cells_are_hours_of_the_clock_in_the_zone(now_ms: float, offset: timedelta, hours_before: float) -> None:
    assert first_hour(ServerMs(MIDNIGHT + now_ms), timezone(offset)) == MIDNIGHT - hours_before * HOUR_MS
    beyond = ServerMs(80_000_000 * HOUR_MS)  # an instant beyond the calendar has no offset
    assert first_hour(beyond, timezone(timedelta(minutes=30))) == beyond - HOURS * HOUR_MS


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(UptimeState.UP, 60), (UptimeState.DOWN, 1), (UptimeState.UP, 179)], "uDu"),
        ([(UptimeState.FLAPPING, 1), (UptimeState.UNKNOWN, 119), (UptimeState.DOWN, 1)], "f?D"),
        (
            [(UptimeState.ABSENT, 30), (UptimeState.UNKNOWN, 30), (UptimeState.FLAPPING, 30), (UptimeState.DOWN, 30)],
            ".D?",
        ),
        ([], "???"),
    ],
)
def test_a_cell_has_the_worst_state_within(parts: list[tuple[UptimeState, float]], expected: str) -> None:
    intervals, at = [], 0.0
    for state, minutes in parts:
        intervals.append(
            Interval(state, ServerMs(MIDNIGHT + at * MINUTE), ServerMs(MIDNIGHT + (at + minutes) * MINUTE))
        )
        at += minutes
    assert "".join(SHORT[cell] for cell in worst_states(intervals, MIDNIGHT, HOUR_MS, 3)) == expected


@given(
    st.lists(st.tuples(st.sampled_from(UptimeState), st.integers(1, 90)), max_size=30),
    st.integers(-100, 100),
    st.integers(1, 90),
    st.integers(1, 30),
)
def test_the_worst_of_a_cell_is_the_worst_of_its_minutes(
    parts: list[tuple[UptimeState, int]], start: int, cell: int, count: int
) -> None:
    minutes = [state for state, length in parts for _ in range(length)]
    intervals, at = [], start
    for state, length in parts:
        intervals.append(Interval(state, ServerMs(MIDNIGHT + at * MINUTE), ServerMs(MIDNIGHT + (at + length) * MINUTE)))
        at += length
    order = list(UptimeState)
    expected = []
    for place in range(count):
        in_cell = [minute - start for minute in range(place * cell, (place + 1) * cell)]
        states = [minutes[index] for index in in_cell if 0 <= index < len(minutes)]
        expected.append(min(states, key=order.index, default=UptimeState.UNKNOWN))
    assert worst_states(intervals, MIDNIGHT, cell * MINUTE, count) == tuple(expected)


def at(hours: float) -> ServerMs:
    return ServerMs(MIDNIGHT + hours * HOUR_MS)


def monitor_at(hours: float, *events: Event, rows: int = 3, since: float = -20.0) -> Monitor:
    outcome = listed(beating(rows, at(hours)), at(hours))
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    monitor = replace(monitor, watched={NO_PROFILE: WatchedTime((Span(at(since), at(hours)),))})
    return replace(monitor, event_log=monitor.event_log.with_past(events))


def change(kind: Kind, hours: float, id_: str = "env-1") -> Event:
    before, after = ("online", "offline") if kind is Kind.OFFLINE else ("offline", "online")
    return Event(kind=kind, at=at(hours), id=clean(id_), before=clean(before), after=clean(after))


def row_of(monitor: Monitor, id_: str = "env-1") -> TrackedEnvironment:
    return monitor.fleet.by_profile[NO_PROFILE].environments[clean(id_)]


def cells_of(days: LastDays, monitor: Monitor, id_: str = "env-1") -> str:
    return "".join(SHORT[cell] for cell in days.cells(row_of(monitor, id_)))


OUTAGE = (change(Kind.OFFLINE, -5.5), change(Kind.ONLINE, -4.5))


def test_the_last_cell_is_the_present_hour_and_all_cells_move_on_with_the_hour() -> None:
    monitor = monitor_at(0.1, *OUTAGE)
    days = LastDays(monitor, reading(at(0.1)), UTC)
    assert cells_of(days, monitor) == "???" + "u" * 14 + "DD" + "uuuuu"
    assert cells_of(days, monitor, "env-2") == "???" + "u" * 21
    assert len(days.cells(row_of(monitor))) == HOURS
    monitor = monitor_at(1, *OUTAGE)
    days = LastDays(monitor, reading(at(1)), UTC)
    assert cells_of(days, monitor) == "???" + "u" * 14 + "DD" + "uuuuu"
    monitor = monitor_at(1.001, *OUTAGE)
    assert cells_of(days.as_of(monitor, reading(at(1.001)), UTC), monitor) == "??" + "u" * 14 + "DD" + "uuuuuu"


def test_a_new_hour_is_watched_from_its_first_moment_while_data_is_recent() -> None:
    monitor = monitor_at(0.999)
    assert cells_of(LastDays(monitor, reading(at(1) + 1), UTC), monitor)[-1] == "u"
    assert cells_of(LastDays(monitor, reading(at(1.1)), UTC), monitor)[-1] == "?"
    nepal = timezone(timedelta(hours=5, minutes=45))
    before, after = monitor_at(0.2499), monitor_at(0.2503)
    days = LastDays(before, reading(at(0.2502)), nepal)
    assert cells_of(days, before)[-2:] == "uu"
    days = LastDays(before, reading(at(0.2502) + 60_000), nepal)
    assert cells_of(days, before)[-2:] == "u?"
    assert cells_of(days.as_of(after, reading(at(0.2503)), nepal), after)[-2:] == "uu"
    outcome = listed(beating(1, at(0.5)), at(0.5))
    first, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    days = LastDays(first, reading(at(0.5)), UTC)
    assert cells_of(days, first)[-1] == "?"
    assert cells_of(days.as_of(first, reading(at(0.5) + 1), UTC), first)[-1] == "u"


def test_rows_without_events_share_a_result_and_rows_with_events_keep_theirs() -> None:
    monitor = monitor_at(0.1, *OUTAGE)
    days = LastDays(monitor, reading(at(0.1)), UTC)
    first, shared = days.cells(row_of(monitor)), days.cells(row_of(monitor, "env-2"))
    assert days.cells(row_of(monitor, "env-3")) is shared

    later = monitor_at(0.2, *OUTAGE)
    later = replace(later, event_log=monitor.event_log)
    next_days = days.as_of(later, reading(at(0.2)), UTC)
    assert next_days.cells(row_of(later)) is first
    assert next_days.cells(row_of(later, "env-3")) is shared
    assert days.as_of(monitor, reading(at(0.1)), UTC) is days


def test_an_event_a_gap_another_state_and_an_hour_are_seen_at_once() -> None:
    monitor = monitor_at(0.1, *OUTAGE)
    days = LastDays(monitor, reading(at(0.1)), UTC)
    before = cells_of(days, monitor)

    with_event = replace(monitor, event_log=monitor.event_log.with_past([change(Kind.ONLINE, -2.5)]))
    assert cells_of(days.as_of(with_event, reading(at(0.1)), UTC), monitor) != before

    spans = (Span(at(-20), at(-10)), Span(at(-8), at(0.1)))
    with_gap = replace(monitor, watched={NO_PROFILE: WatchedTime(spans)})
    assert cells_of(days.as_of(with_gap, reading(at(0.1)), UTC), monitor)[13:15] == "??"

    (row,) = [each for each in beating(2, at(0.1)) if each.id == "env-2"]
    outcome = listed([row, environment("env-1", connectionId=None)], at(0.1))
    down, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    down = replace(down, watched=monitor.watched, event_log=monitor.event_log)
    assert cells_of(days.as_of(down, reading(at(0.1)), UTC), down)[-1] == "D"
    assert cells_of(days.as_of(monitor, reading(at(0.1)), timezone(timedelta(minutes=30))), monitor) != before


@pytest.mark.parametrize(("watched_ms", "has_hour"), [(HOUR_MS - 1, False), (HOUR_MS, True)])
def test_an_hour_of_the_last_day_is_recorded_of_any_profile(watched_ms: float, *, has_hour: bool) -> None:
    """No profile was seen in the last three hours."""
    short, long = clean("short"), clean("long")
    monitor = Monitor.create({short: Limits(), long: Limits()})
    for profile in (short, long):
        outcome = listed(beating(1, at(-3)), at(-3))
        monitor, _ = monitor.apply(profile, outcome, outcome.ended)

    def recorded_hour(since: ServerMs, until: float) -> bool:
        watched = {short: WatchedTime((Span(at(-5), at(-4.5)),)), long: WatchedTime((Span(since, ServerMs(until)),))}
        days = LastDays(replace(monitor, watched=watched), reading(at(0)), UTC)
        assert days.has_hour is days.has_hour
        return days.has_hour

    assert recorded_hour(at(-6), at(-6) + watched_ms) is has_hour
    assert not recorded_hour(at(-49), at(-47))


def test_the_share_is_the_time_up_of_the_known_time() -> None:
    monitor = monitor_at(0, *OUTAGE, change(Kind.OFFLINE, -7, "env-2"), change(Kind.ONLINE, -4, "env-2"))
    days = LastDays(monitor, reading(at(0)), UTC)
    assert [days.share(row_of(monitor, f"env-{n}")) for n in (1, 2, 3)] == [19 / 20, 17 / 20, 1]
    nothing = replace(monitor, watched={})
    assert days.as_of(nothing, reading(at(2)), UTC).share(row_of(monitor)) is None
    half_a_second = monitor_at(0, since=-0.5 / 3_600)
    assert LastDays(half_a_second, reading(at(0)), UTC).share(row_of(half_a_second)) == 1
    outcome = listed([environment("env-1", lastHeartbeat=at(0) / 1000)], at(0))  # an implausible time
    unknown, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    unknown = replace(unknown, watched={NO_PROFILE: WatchedTime((Span(at(-20), at(0)),))})
    assert LastDays(unknown, reading(at(0)), UTC).share(row_of(unknown)) is None


@given(st.integers(0, 150), st.integers(0, 150), st.booleans())
@example(1, 60, True)
@example(1, 60, False)
def test_a_share_carried_on_equals_a_share_worked_out_anew(first: int, later: int, is_down: bool) -> None:  # noqa: FBT001  drawn
    first, later = sorted((first, later))
    events = OUTAGE[: 1 if is_down else 2]

    def monitor(minute: int) -> Monitor:
        built = monitor_at(minute / 60)
        if is_down:
            outcome = listed([environment("env-1", connectionId=None)], at(minute / 60))
            built, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
            built = replace(built, watched=monitor_at(minute / 60).watched)
        return replace(built, event_log=log)

    log = Monitor().event_log.with_events(events)
    one, other = monitor(first), monitor(later)
    days = LastDays(one, reading(at(first / 60)), UTC)
    assert days.share(row_of(one)) is not None
    carried = days.as_of(other, reading(at(later / 60)), UTC)
    anew = LastDays(other, reading(at(later / 60)), UTC)
    assert carried.share(row_of(other)) == pytest.approx(anew.share(row_of(other)), rel=1e-12)
    assert carried.cells(row_of(other)) == anew.cells(row_of(other))


def test_profiles_have_their_own_time_watched() -> None:
    one, two = clean("one"), clean("two")
    monitor = Monitor.create(MappingProxyType({one: Limits(), two: Limits()}))
    for profile, hours in ((one, 0.0), (two, 0.01)):
        outcome = listed(beating(1, at(hours)), at(hours))
        monitor, _ = monitor.apply(profile, outcome, outcome.ended)
    monitor = replace(monitor, watched={**monitor.watched, one: WatchedTime((Span(at(-2), at(0)),))})
    days = LastDays(monitor, reading(at(0.01) + 1), UTC)
    found = [days.cells(monitor.fleet.by_profile[each].environments[clean("env-1")]) for each in (one, two)]
    assert [each.count(UptimeState.UP) for each in found] == [3, 1]


UP = tracked()
DOWN = tracked(connectionId=None)
LATE = tracked(lastHeartbeat=NOW - 60_000)
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
    ("one", "events", "share", "minutes"),
    [
        (UP, [], "100", 10),
        (DOWN, [], "0", 10),
        (LATE, [], "100", 10),
        (DOWN, [fell(NOW + 4 * MINUTE)], "40.0", 10),
        (UP, [rose(NOW + 4 * MINUTE)], "60.0", 10),
        (UP, [fell(NOW + 1 * MINUTE), rose(NOW + 3 * MINUTE)], "80.0", 10),
        (UP, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "online")], "100", 4),
        (DOWN, [event(Kind.APPEARED, NOW + 6 * MINUTE, None, "offline")], "0", 4),
        (UP, [vanished(NOW + MINUTE), event(Kind.APPEARED, NOW + 5 * MINUTE, None, "online")], "50.0", 10),
        (LOST, [fell(NOW + MINUTE), vanished(NOW + 5 * MINUTE)], "10.0", 10),
        (UP, [event(Kind.RETURNED, NOW + 5 * MINUTE, "gone", "online")], "50.0", 10),
        (UP, [event(Kind.RECONNECTED, NOW + 5 * MINUTE, "conn-1", "conn-2")], "100", 10),
        (UP, [event(Kind.MODE, NOW + 5 * MINUTE, "offline", "gone")], "100", 10),
        # Before the begin of watching.
        (UP, [fell(NOW - MINUTE), rose(NOW)], "100", 10),
        (DOWN, [fell(NOW)], "0", 10),
        # A clock set back between two events makes no time.
        (UP, [fell(NOW + 5 * MINUTE), rose(NOW + 5 * MINUTE - 900)], "100", 10),
        (DOWN, [fell(NOW + 11 * MINUTE)], "100", 10),
    ],
)
def test_the_time_down_lies_between_the_events(
    one: TrackedEnvironment, events: list[Event], share: str, minutes: int
) -> None:
    assert said(one, events, 10) == f"up {share} % of the {minutes}m watched in 24h"


@pytest.mark.parametrize(("milliseconds", "is_told"), [(59_999, False), (60_000, True)])
def test_less_than_a_minute_says_nothing(milliseconds: float, *, is_told: bool) -> None:
    assert (said(UP, [], milliseconds / MINUTE) is not None) is is_told
    appeared = event(Kind.APPEARED, NOW + MINUTE, None, "online")
    assert (said(UP, [appeared], 1 + milliseconds / MINUTE) is not None) is is_told


@pytest.mark.parametrize(("missing_ms", "text"), [(0, "24h"), (59_999, "24h"), (60_000, "the 23h 59m watched in 24h")])
def test_a_day_without_less_than_a_minute_is_whole(missing_ms: float, text: str) -> None:
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
    assert percent_text(share) == f"{percent} %"
    assert percent_text(nextafter(1.0, 0.0)) == "99.9 %"
    assert availability_text(Availability(known * share, known)) == f"up {percent} % of the 3h 4m watched in 24h"


@given(st.lists(st.tuples(st.sampled_from(UptimeState), st.integers(0, 10_000))))
def test_up_and_down_are_the_known_time(parts: list[tuple[UptimeState, int]]) -> None:
    length = dict.fromkeys(UptimeState, 0)
    for state, seconds in parts:
        length[state] += seconds
    intervals = [Interval(state, NOW, ServerMs(NOW + 1000 * seconds)) for state, seconds in parts]
    up, known = Availability.from_intervals(intervals)
    assert up == timedelta(seconds=length[UptimeState.UP] + length[UptimeState.FLAPPING])
    assert known - up == timedelta(seconds=length[UptimeState.DOWN])
