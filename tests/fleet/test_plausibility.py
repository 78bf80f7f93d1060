"""Impossible times: no verdict and no event follows, whatever the listing's schema became."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples, first_quick
from support.builders import NOW, counts_of, environment, list_of, listed, reading, watched
from support.values import fields_of_type

from envwatch.fleet.events import Kind, flatten
from envwatch.fleet.plausibility import IMPOSSIBLE_TIMES, Doubt, date_fault, without_impossible
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.model.clock import OffsetBounds, ServerClock, ServerMs
from envwatch.model.environment import Environment
from envwatch.model.text import clean, wrapped
from envwatch.views.output.formats import listing_json, listing_table
from envwatch.views.pane.explanation import trace
from envwatch.views.pane.state_details import proof, state_headline
from envwatch.views.state_style import clock_text_of, doubt_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.outcome import Listed

STEP = 5_000.0
DAY = 86_400_000.0
YEAR_2020 = 1_577_836_800_000.0
"""2020-01-01T00:00:00Z in milliseconds."""

TIMES = fields_of_type(Environment, ServerMs)
ABOUT_THE_PLATFORM = {Kind.STALLED, Kind.RESUMED}


def fleet_rows(at: float, count: int = 50) -> list[Environment]:
    """Return a fleet: 1 in 5 disconnected, 1 in 5 connected and silent, the rest beat every 30 s."""
    kinds: list[Callable[[int], dict[str, Any]]] = [
        lambda _: {"connectionId": None, "connectedAt": None, "lastHeartbeat": None},
        lambda number: {"lastHeartbeat": NOW - 600_000 - number},
        *[lambda number: {"lastHeartbeat": at - (at + number * 6_000) % 30_000}] * 3,
    ]
    return [environment(f"env-{number}", **kinds[number % 5](number)) for number in range(count)]


def with_times(row: Environment, times: Mapping[str, Any]) -> Environment:
    return replace(row, **times)


def in_unit(row: Environment, factor: float) -> Environment:
    return with_times(row, {name: getattr(row, name) and getattr(row, name) * factor for name in TIMES})


def listings(factors: Iterable[float], count: int = 50) -> Iterator[Listed]:
    for number, factor in enumerate(factors):
        at = NOW + number * STEP
        yield listed([in_unit(row, factor) for row in fleet_rows(at, count)], at)


def about_rows(events: Iterable[Event]) -> list[Event]:
    return [event for event in flatten(events) if event.kind not in ABOUT_THE_PLATFORM]


def presences(profile_state: ProfileState) -> dict[str, Presence]:
    return {id_: tracked.presence for id_, tracked in profile_state.environments.items()}


def unknown_in(profile_state: ProfileState, at: float) -> int:
    return sum(profile_state.is_unknown(tracked, reading(at)) for tracked in profile_state.environments.values())


@pytest.mark.parametrize("factor", [0.001, 1000.0, -1.0])
@pytest.mark.parametrize("count", first_quick([3, 20]))
def test_a_whole_fleet_whose_unit_changes_and_changes_back_is_no_event(factor: float, count: int) -> None:
    before, _ = watched(listings([1.0] * 8))
    profile_state, events = watched(listings([1.0] * 8 + [factor] * count))
    assert about_rows(events) == []
    assert presences(profile_state) == presences(before)
    connected = [tracked for tracked in profile_state.environments.values() if tracked.environment.connection_id]
    assert len(connected) == 40
    assert all(tracked.clock_suspect for tracked in connected)
    assert unknown_in(profile_state, NOW + (7 + count) * STEP) == 40

    profile_state, events = watched(listings([1.0] * 8 + [factor] * count + [1.0] * 8))
    assert about_rows(events) == []
    assert presences(profile_state) == presences(before)
    assert unknown_in(profile_state, NOW + (15 + count) * STEP) == 0
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_a_fleet_first_seen_in_another_unit_is_unknown_and_becomes_known_without_an_event(factor: float) -> None:
    profile_state, _ = watched(listings([factor]))
    assert unknown_in(profile_state, NOW) == 40
    profile_state, events = watched(listings([factor] * 3 + [1.0]))
    assert events == []
    assert unknown_in(profile_state, NOW + 3 * STEP) == 0
    assert counts_of(profile_state) == {Presence.ONLINE: 30, Presence.OFFLINE: 20}


@pytest.mark.parametrize("number", [1, 2])
def test_one_row_in_another_unit_costs_one_row(number: int) -> None:
    def outcomes() -> Iterator[Listed]:
        for step in range(20):
            at = NOW + step * STEP
            rows = fleet_rows(at, 10)
            if 8 <= step < 16:
                rows[number] = in_unit(rows[number], 0.001)
            yield listed(rows, at)

    results = list(outcomes())
    profile_state, events = watched(results[:16])
    assert events == []
    assert unknown_in(profile_state, NOW + 15 * STEP) == 1
    profile_state, events = watched(results[16:], profile_state)
    assert (events, unknown_in(profile_state, NOW + 19 * STEP)) == ([], 0)


def test_a_closed_link_is_a_loss_whatever_the_times_are() -> None:
    row = environment("env-1", lastHeartbeat=NOW / 1000)
    left = environment("env-1", connectionId=None, connectedAt=None, lastHeartbeat=None)
    for first in (environment("env-1"), row):
        _, events = watched([listed([first]), listed([row], NOW + STEP), listed([left], NOW + 2 * STEP)])
        assert [(event.kind, event.reason) for event in events] == [(Kind.OFFLINE, "disconnected")]


def test_an_unlisted_row_is_gone_whatever_its_times_were() -> None:
    both = [environment("env-1"), environment("env-2", lastHeartbeat=1.0)]
    _, events = watched(listed(rows, NOW + n * STEP) for n, rows in enumerate([both, both[:1], both[:1], both[:1]]))
    assert [(event.kind, event.before, event.after) for event in events] == [(Kind.GONE, "unknown", "gone")]


def test_a_machine_stopped_meanwhile_is_lost_when_its_times_can_be_true_again() -> None:
    sane, odd = environment("env-1", lastHeartbeat=NOW + 2_000), environment("env-1", lastHeartbeat=NOW / 1000)
    known = [listed([environment("env-1")]), listed([sane], NOW + STEP)]
    unclear = [listed([odd], NOW + step * STEP) for step in range(2, 120)]
    for last in (sane, environment("env-1", lastHeartbeat=NOW + 200_000)):
        profile_state, events = watched([*known, *unclear, listed([last], NOW + 120 * STEP)])
        assert [(event.kind, event.reason) for event in events] == [(Kind.OFFLINE, f"heartbeat lost ({lost(last)} s)")]
        assert not profile_state.environments[clean("env-1")].clock_suspect


def lost(row: Environment) -> int:
    assert row.last_heartbeat_at is not None
    return round((NOW + 120 * STEP - row.last_heartbeat_at) / 1000)


def test_a_new_row_with_such_times_appears_as_unknown() -> None:
    odd = environment("env-2", lastHeartbeat=NOW / 1000)
    _, (event,) = watched([listed([environment()]), listed([environment(), odd], NOW + STEP)])
    assert (event.kind, event.after, event.reason) == (Kind.APPEARED, "unknown", "its heartbeat's time cannot be true")


def test_what_is_gone_stays_gone_until_its_times_can_be_true() -> None:
    both, one = [environment("env-1"), environment("env-2")], [environment("env-1")]
    odd = [environment("env-1"), environment("env-2", lastHeartbeat=1.0)]
    back = [environment("env-1"), environment("env-2", lastHeartbeat=NOW + 25_000)]
    moments = [both, one, one, odd, odd, back]
    _, events = watched(listed(rows, NOW + number * STEP) for number, rows in enumerate(moments))
    assert [(event.kind, event.at - NOW) for event in events] == [(Kind.GONE, 10_000), (Kind.RETURNED, 25_000)]


@pytest.mark.parametrize(
    ("beat", "is_unknown"),
    [(YEAR_2020, False), (YEAR_2020 - 1, True), (NOW + DAY, False), (NOW + DAY + 1, True), (0.0, True)],
)
def test_a_heartbeat_can_be_of_2020_and_a_day_ahead_at_most(beat: float, *, is_unknown: bool) -> None:
    profile_state, _ = watched([listed([environment(lastHeartbeat=beat)])])
    (tracked,) = profile_state.environments.values()
    assert profile_state.is_unknown(tracked, reading()) is is_unknown


@pytest.mark.parametrize("skew", [-DAY, -3_600_000.0, 3_600_000.0, DAY])
@pytest.mark.parametrize("beat", [YEAR_2020 - 1, NOW + DAY, NOW + DAY + 1])
def test_a_wrong_local_clock_makes_no_time_possible_or_impossible(beat: float, skew: float) -> None:
    rows = [environment(lastHeartbeat=beat), environment("env-2")]
    right, _ = watched([listed(rows), listed(rows, NOW + STEP)])
    wrong, _ = watched([listed(rows, skew=skew), listed(rows, NOW + STEP, skew=skew)])
    assert wrong.environments == right.environments


def test_without_a_server_time_nothing_is_too_far_ahead() -> None:
    """This machine's clock may have lost battery power: a clock in 1970 says nothing about the rows."""
    profile_state, _ = watched([listed([environment()], skew=-NOW, dated=False)])
    (tracked,) = profile_state.environments.values()
    assert (tracked.presence, profile_state.is_unknown(tracked, reading(skew=-NOW))) == (Presence.ONLINE, False)


@pytest.mark.parametrize("connected_at", [NOW / 1000, NOW * 1000, 0.0, YEAR_2020 - 1, NOW + 2 * DAY])
def test_a_connection_is_not_new_by_an_impossible_instant(connected_at: float) -> None:
    sane, odd = environment(), environment(connectedAt=connected_at)
    moments = [sane, odd, odd, sane]
    profile_state, events = watched(listed([row], NOW + number * STEP) for number, row in enumerate(moments))
    assert events == []
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


@pytest.mark.parametrize("instant", ["firstSeenAt", "lastSeenAt"])
@pytest.mark.parametrize(("value", "stays"), [(YEAR_2020 - 1, False), (YEAR_2020, True), (NOW + 2 * DAY, False)])
def test_an_impossible_instant_is_as_in_the_listing_before(instant: str, value: float, *, stays: bool) -> None:
    changes: dict[str, Any] = {instant: value}
    profile_state, _ = watched([listed([environment()]), listed([environment(**changes)], NOW + STEP)])
    (tracked,) = profile_state.environments.values()
    assert tracked.environment == (environment(**changes) if stays else environment())


@pytest.mark.parametrize("possible", [YEAR_2020, NOW])
def test_the_instants_beside_an_impossible_one_stay(possible: float) -> None:
    others: dict[str, Any] = {"connectedAt": possible, "lastHeartbeat": possible, "lastSeenAt": possible}
    row = without_impossible(environment(firstSeenAt=0, **others), environment(), NOW)
    assert row == environment(**others)


@pytest.mark.parametrize(
    ("is_dated", "doubt", "wrong"),
    [
        (True, Doubt.SERVER_CLOCK, "the server's clock (Date) is at least 2m behind the heartbeats"),
        (False, Doubt.OUR_CLOCK, "this machine's clock is at least 2m behind the heartbeats"),
    ],
)
def test_the_fault_names_the_clock_and_its_least_error(doubt: Doubt, wrong: str, *, is_dated: bool) -> None:
    rows = [environment(f"env-{number}", lastHeartbeat=NOW + 120_000 + number) for number in range(3)]
    profile_state, _ = watched([listed(rows, dated=is_dated)])
    fault = profile_state.clock_fault
    assert fault is not None
    assert (fault.wrong, fault.doubt, fault.error_ms) == (wrong, doubt, -120_002.0)
    tracked = profile_state.environments[clean("env-0")]
    assert clock_text_of(tracked, profile_state) == doubt_text(profile_state, UTC) == fault.text
    assert fault.text.endswith("(clk?) are judged by new heartbeats, losses page")


@pytest.mark.parametrize("clock", [ServerClock(), ServerClock((OffsetBounds(-500, 500),))])
@pytest.mark.parametrize("error_ms", [-86_340_000.0, 86_340_000.0])
def test_the_fault_of_a_date_takes_at_most_two_lines_of_80_cells(clock: ServerClock, error_ms: float) -> None:
    assert len(wrapped(date_fault(clock, error_ms).text, 78)) <= 2


def test_a_gone_row_in_doubt_is_no_fault_of_a_clock() -> None:
    odd, down = environment("env-0", lastHeartbeat=NOW + 120_000), environment("env-1", connectionId=None)
    before, _ = watched([listed([odd, down])])
    assert before.clock_fault is not None
    after, _ = watched([listed([down], NOW + number * 5_000) for number in (1, 2)], before)
    assert after.environments[clean("env-0")].presence is Presence.GONE
    assert after.clock_fault is None


def test_one_row_in_doubt_is_no_fault_of_a_clock() -> None:
    rows = [environment("env-0", lastHeartbeat=NOW + 120_000), environment("env-1")]
    profile_state, _ = watched([listed(rows)])
    odd, sane = profile_state.environments.values()
    assert profile_state.clock_fault is None
    assert (clock_text_of(odd, profile_state) or "").startswith("this heartbeat contradicts the server's clock")
    assert clock_text_of(sane, profile_state) is None


def test_rows_with_an_impossible_heartbeat_count_as_unknown_and_are_no_problem() -> None:
    profile_state, _ = watched(listings([0.001], 10))
    assert profile_state.clock_fault == IMPOSSIBLE_TIMES
    one_sane, _ = watched([listed([*profile_state.rows, environment("sane")])])
    assert one_sane.clock_fault is None
    known = [row.presence for row in profile_state.known(reading())]
    assert (len(profile_state.environments), known) == (10, [Presence.OFFLINE] * 2)
    assert sum(is_problem(row, NOW) for row in profile_state.environments.values()) == 2


INSTANTS = st.sampled_from([0, -1, 1e-300, NOW / 1000, NOW * 1000, 1e300, -1e300, 9e15, NOW]) | st.floats(
    allow_nan=False, allow_infinity=False
)


OPTIONAL = {field.name for field in fields(Environment) if field.default is None}
ALL_TIMES = st.fixed_dictionaries({name: st.none() | INSTANTS if name in OPTIONAL else INSTANTS for name in TIMES})


@given(times=st.lists(ALL_TIMES, min_size=1))
@settings(max_examples=examples(100), deadline=None)
def test_no_instants_break_what_is_shown(times: list[dict[str, float | None]]) -> None:
    rows = [with_times(environment(), instants) for instants in times]
    profile_state, _ = watched(listed([row], NOW + number * STEP) for number, row in enumerate(rows))
    (tracked,) = profile_state.environments.values()
    now = reading(NOW + len(rows) * STEP)
    assert state_headline(tracked, profile_state, (), now)
    assert proof(tracked, profile_state, now, UTC)
    assert trace(tracked, profile_state, now)
    listing_output = list_of(listed(rows[:1], interval=timedelta(seconds=5)))
    assert list(listing_json(listing_output))
    assert list(listing_table(listing_output, width=80, encoding="utf-8", ascii_only=False))
