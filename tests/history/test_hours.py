"""The last 24 hours as cells: the worst state of each clock hour, and reuse between moments."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import beating, environment, listed, reading

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.watched_time import Interval, Span, UptimeState, WatchedTime
from envwatch.history.hours import HOUR_MS, HOURS, LastDays, first_hour, worst_states
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


def test_an_instant_beyond_the_calendar_has_hours_without_an_offset() -> None:
    beyond = ServerMs(80_000_000 * HOUR_MS)
    assert first_hour(beyond, timezone(timedelta(minutes=30))) == beyond - HOURS * HOUR_MS


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(UptimeState.UP, 180)], "uuu"),
        ([(UptimeState.UP, 60), (UptimeState.DOWN, 1), (UptimeState.UP, 119)], "uDu"),
        ([(UptimeState.UP, 59), (UptimeState.DOWN, 1), (UptimeState.UP, 120)], "Duu"),
        ([(UptimeState.FLAPPING, 1), (UptimeState.UNKNOWN, 119), (UptimeState.DOWN, 1)], "f?D"),
        ([(UptimeState.UNKNOWN, 59), (UptimeState.UP, 2), (UptimeState.ABSENT, 59)], "uu?"),
        (
            [(UptimeState.ABSENT, 30), (UptimeState.UNKNOWN, 30), (UptimeState.FLAPPING, 30), (UptimeState.DOWN, 30)],
            ".D?",
        ),
        ([(UptimeState.UP, 240)], "uuu"),
        ([], "???"),
    ],
)
def test_a_cell_has_the_worst_state_in_it(parts: list[tuple[UptimeState, float]], expected: str) -> None:
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
def test_the_worst_of_a_cell_is_the_worst_that_looking_each_minute_finds(
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


def test_the_last_cell_is_the_present_hour() -> None:
    monitor = monitor_at(0.1, *OUTAGE)
    days = LastDays(monitor, reading(at(0.1)), UTC)
    assert cells_of(days, monitor) == "???" + "u" * 14 + "DD" + "uuuuu"
    assert cells_of(days, monitor, "env-2") == "???" + "u" * 21
    assert len(days.cells(row_of(monitor))) == HOURS


def test_all_cells_move_on_together_with_the_hour_and_not_before() -> None:
    monitor = monitor_at(1, *OUTAGE)
    days = LastDays(monitor, reading(at(1)), UTC)
    assert cells_of(days, monitor) == cells_of(LastDays(monitor_at(0.1, *OUTAGE), reading(at(0.1)), UTC), monitor)
    monitor = monitor_at(1.001, *OUTAGE)
    assert cells_of(days.as_of(monitor, reading(at(1.001)), UTC), monitor) == "??" + "u" * 14 + "DD" + "uuuuuu"


def test_a_new_hour_is_watched_from_its_first_moment_while_data_is_recent() -> None:
    monitor = monitor_at(0.999)
    assert cells_of(LastDays(monitor, reading(at(1) + 1), UTC), monitor)[-1] == "u"
    assert cells_of(LastDays(monitor, reading(at(1.1)), UTC), monitor)[-1] == "?"


def test_a_new_hour_is_watched_from_its_first_moment_in_a_zone_off_by_a_quarter() -> None:
    nepal = timezone(timedelta(hours=5, minutes=45))
    before, after = monitor_at(0.2499), monitor_at(0.2503)
    days = LastDays(before, reading(at(0.2502)), nepal)
    assert cells_of(days, before)[-2:] == "uu"
    days = LastDays(before, reading(at(0.2502) + 60_000), nepal)
    assert cells_of(days, before)[-2:] == "u?"
    assert cells_of(days.as_of(after, reading(at(0.2503)), nepal), after)[-2:] == "uu"


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


def test_a_share_of_half_a_second_is_a_share() -> None:
    monitor = monitor_at(0, since=-0.5 / 3_600)
    assert LastDays(monitor, reading(at(0)), UTC).share(row_of(monitor)) == 1


def test_it_sorts_by_the_share_of_time_up() -> None:
    monitor = monitor_at(0, *OUTAGE, change(Kind.OFFLINE, -7, "env-2"), change(Kind.ONLINE, -4, "env-2"))
    days = LastDays(monitor, reading(at(0)), UTC)
    assert [days.share(row_of(monitor, f"env-{n}")) for n in (1, 2, 3)] == [19 / 20, 17 / 20, 1]
    nothing = replace(monitor, watched={})
    assert days.as_of(nothing, reading(at(2)), UTC).share(row_of(monitor)) is None


def test_a_state_that_is_not_known_has_no_share() -> None:
    outcome = listed([environment("env-1", lastHeartbeat=at(0) / 1000)], at(0))
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    monitor = replace(monitor, watched={NO_PROFILE: WatchedTime((Span(at(-20), at(0)),))})
    assert LastDays(monitor, reading(at(0)), UTC).share(row_of(monitor)) is None


@given(st.integers(0, 150), st.integers(0, 150), st.booleans())
@example(1, 60, True)
@example(1, 60, False)
def test_a_share_that_is_carried_on_is_the_one_worked_out_anew(first: int, later: int, is_down: bool) -> None:  # noqa: FBT001  drawn
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


def test_what_the_first_listing_showed_does_not_stay_unknown() -> None:
    outcome = listed(beating(1, at(0.5)), at(0.5))
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    days = LastDays(monitor, reading(at(0.5)), UTC)
    assert cells_of(days, monitor)[-1] == "?"
    assert cells_of(days.as_of(monitor, reading(at(0.5) + 1), UTC), monitor)[-1] == "u"
