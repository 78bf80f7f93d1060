"""Recordings of earlier runs: reading, gaps, and the seam to a new run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, watched
from support.memory_history import MemoryHistory, recorded

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, Kind
from envwatch.fleet.presence import Reason
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import CLOCK_ERROR_MS
from envwatch.history.earlier_runs import EarlierRuns, Seam
from envwatch.history.past import HistoryError, Moment
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, RecordedPoll

MINUTE = 60_000.0
HOUR = 60 * MINUTE
DAY = timedelta(hours=24)


def at(ms: float) -> WallMs:
    return WallMs(NOW + ms)


def read(history: MemoryHistory, began: float, lasts: timedelta = DAY) -> EarlierRuns:
    return EarlierRuns.read(history, NO_PROFILE, lasts, at(began))


def polls_at(*moments: float, history: MemoryHistory | None = None, count: int = 2) -> MemoryHistory:
    return recorded((listed(beating(count, NOW + ms), NOW + ms) for ms in moments), history)


def first_at(ms: float, rows: Iterable[Environment] | None = None) -> ProfileState:
    return watched([first_listing(ms, rows)])[0]


def first_listing(ms: float, rows: Iterable[Environment] | None = None) -> Listed:
    return listed([*(beating(2, NOW + ms) if rows is None else rows)], NOW + ms)


def changes_since(last: Moment, *listings: Listed) -> list[Event]:
    """Return the changes of the first listings since a recorded moment."""
    seam, found = Seam.after(last, ProfileState()), list[Event]()
    for each in listings:
        assert seam is not None
        seam, events = seam.after_outcome(each)
        found += events
    return found


def spans(events: Iterable[Event]) -> list[tuple[float, float]]:
    assert all((event.kind, event.reason, event.members) == (Kind.WHILE_BLIND, NOT_RUNNING, ()) for event in events)
    return [((event.since or 0.0) - NOW, event.at - NOW) for event in events]


def test_the_last_moment_is_the_last_listing_before_this_run() -> None:
    history = polls_at(0, 5_000)
    recorded([failed(at=NOW + 10_000)], history)
    polls_at(HOUR, history=history)
    last = read(history, HOUR).last
    assert last is not None
    assert last.now.wall == at(5_000)
    for days in (3, 30):
        assert read(history, days * 24 * HOUR).last == read(history, HOUR + 1).last
    assert read(MemoryHistory(), 0) == EarlierRuns(NO_PROFILE, (), [], None)
    edge = 1 + 31 * 24 * HOUR  # the last listing is sought for 31 days
    assert [read(polls_at(0), edge + later).last is not None for later in (0, 1)] == [True, False]


def test_a_damaged_moment_costs_neither_polls_nor_events() -> None:
    class Damaged(MemoryHistory):
        def moment(self, poll: RecordedPoll) -> Moment:
            raise HistoryError(f"poll {poll.number} is damaged")

    rows = [environment(connectionId=None), *beating(2, NOW + 5_000)[1:]]
    history = recorded([listed(beating(2)), listed(rows, NOW + 5_000)], Damaged())
    runs = read(history, HOUR)
    assert (runs.last, len(runs.polls), [event.kind for event in runs.events]) == (None, 2, [Kind.OFFLINE])


def test_gaps_are_the_blind_times_between_runs() -> None:
    history = polls_at(0, 5_000)
    polls_at(65_000, 70_000, history=history)
    polls_at(130_001, history=history)
    assert spans(read(history, HOUR).gaps(at(-59_000))) == [(70_000, 130_001)]
    assert spans(read(history, HOUR).gaps(at(-HOUR))) == [(-HOUR, 0), (70_000, 130_001)]
    assert read(MemoryHistory(), HOUR).gaps(at(0)) == []


def test_gaps_follow_the_slower_run_the_servers_clock_and_listings_alone() -> None:
    for intervals in ((60, 5), (5, 60)):
        history = MemoryHistory()
        for interval_s, ms in zip(intervals, (0, 180_000), strict=True):
            recorded([listed(beating(2, NOW + ms), NOW + ms, interval=timedelta(seconds=interval_s))], history)
        assert read(history, HOUR).gaps(at(0)) == []
    history = recorded([listed(beating(2), skew=HOUR)])
    recorded([listed(beating(2, NOW + HOUR), NOW + HOUR, skew=HOUR)], history)
    assert spans(read(history, 3 * HOUR).gaps(at(HOUR))) == [(0, HOUR)]
    history = recorded([listed(beating(2)), failed(at=NOW + 50_000)])
    polls_at(100_000, history=history)
    assert spans(read(history, HOUR).gaps(at(0))) == [(0, 100_000)]


def test_a_gap_with_an_event_comes_once() -> None:
    history = polls_at(0)
    polls_at(HOUR, history=history)
    runs = read(history, 2 * HOUR)
    assert spans(runs.gaps(at(0))) == [(0, HOUR)]
    known = Event(kind=Kind.WHILE_BLIND, at=NOW + HOUR - 100, since=NOW, reason=NOT_RUNNING)  # type: ignore[arg-type]
    assert runs._replace(events=[known]).gaps(at(0)) == []
    assert spans(runs._replace(events=[replace(known, reason=None)]).gaps(at(0))) == [(0, HOUR)]
    before, after = (replace(known, since=ServerMs(NOW + at), at=ServerMs(NOW + at + HOUR)) for at in (-HOUR, HOUR))
    assert spans(runs._replace(events=[before, after]).gaps(at(0))) == [(0, HOUR)]


@pytest.mark.parametrize(("began", "gap"), [(60_000, []), (60_001, [(0, 60_001)])])
def test_the_seam_is_a_gap_if_nothing_changed_in_a_blind_time(began: float, gap: list[tuple[float, float]]) -> None:
    runs = read(polls_at(0), began)
    assert spans(runs.until_now((), first_at(began), at(-HOUR))) == gap
    assert runs.last is not None
    changes = changes_since(runs.last, first_listing(began, [environment(connectionId=None), *beating(2)[1:]]))
    (changed,) = runs.until_now(changes, first_at(began), at(-HOUR))
    assert changed.kind is (Kind.WHILE_BLIND if gap else Kind.OFFLINE)


@pytest.mark.parametrize(("began", "is_said"), [(15 * MINUTE - 1, False), (15 * MINUTE, True)])
def test_an_unchanged_time_is_said_from_a_quarter_of_an_hour_and_for_the_same_account(
    began: float, *, is_said: bool
) -> None:
    runs, others = read(polls_at(0), began), [environment("other-1", organizationId="org-2")]
    now = reading(NOW + began)
    assert runs.unchanged_for(first_at(began), now) == (timedelta(milliseconds=began) if is_said else None)
    assert runs.unchanged_for(first_at(began, others), now) is None
    assert read(MemoryHistory(), began).unchanged_for(first_at(began), now) is None


def test_a_gap_begins_at_the_wanted_time_at_the_earliest() -> None:
    first = first_at(HOUR)
    assert spans(read(polls_at(0), HOUR).until_now((), first, at(MINUTE))) == [(MINUTE, HOUR)]
    assert spans(read(MemoryHistory(), HOUR).until_now((), first, at(0))) == [(0, HOUR)]
    assert read(polls_at(0), HOUR).until_now((), ProfileState(), at(0)) == ()


def last_of(*listings: list[Environment], every_ms: float = 5_000) -> Moment:
    history = recorded(listed(rows, NOW + n * every_ms) for n, rows in enumerate(listings))
    return history.moment(history.polls(WallMs(0), at(DAY / MS))[-1])


@pytest.mark.parametrize(
    ("listed_at", "dated_at"),
    [(5_010, 5_010), (5_000, 5_001), (5_001 - CLOCK_ERROR_MS, 5_001), (5_000 - CLOCK_ERROR_MS, 5_000 - CLOCK_ERROR_MS)],
)
def test_a_change_is_dated_after_the_last_run_within_the_error_of_two_clocks(listed_at: float, dated_at: float) -> None:
    changed = first_listing(listed_at, [environment(connectionId=None), *beating(2)[1:]])
    (event,) = changes_since(last_of(beating(2), beating(2)), changed)
    assert (event.kind, event.at - NOW) == (Kind.OFFLINE, dated_at)
    assert event.reason == Reason.DISCONNECTED.value


def test_changes_in_a_blind_time_are_a_group_without_durations() -> None:
    changed = first_listing(HOUR, [environment(connectionId=None), *beating(2)[1:], environment("env-3")])
    (group,) = changes_since(last_of(beating(2)), changed)
    assert (group.kind, group.reason, group.since) == (Kind.WHILE_BLIND, NOT_RUNNING, NOW)
    assert {(each.kind, each.lasted) for each in group.members} >= {(Kind.OFFLINE, None), (Kind.APPEARED, None)}


ROW = environment("env-1")
OFF = environment("env-1", connectionId=None)
BARE: dict[str, Any] = {"connectionId": None, "currentMode": None, "metadata": {}}


@pytest.mark.parametrize(
    ("before", "first", "changes"),
    [
        ([beating(2)], beating(1), []),
        ([beating(2), beating(1)], beating(1), [(Kind.GONE, Reason.ABSENT)]),
        ([beating(2), beating(1), beating(1)], beating(1), []),
        ([beating(1)], beating(2), [(Kind.APPEARED, None)]),
        ([beating(2), beating(1), beating(1)], beating(2), [(Kind.RETURNED, None)]),
        ([[OFF]], [environment("env-1", **BARE)], []),
        ([[ROW]], [environment("env-1", **BARE)], [(Kind.OFFLINE, Reason.DISCONNECTED)]),
        ([[OFF]], [environment("env-1", currentMode="unrestricted")], [(Kind.ONLINE, None), (Kind.MODE, None)]),
    ],
)
def test_changes_between_runs_are_changes_of_listed_rows(
    before: list[list[Environment]], first: list[Environment], changes: list[tuple[Kind, str | None]]
) -> None:
    """The server drops values of a row that is offline."""
    listed_at = len(before) * 5_000
    found = changes_since(last_of(*before), first_listing(listed_at, first))
    assert [(event.kind, event.reason) for event in found] == changes


def test_a_second_listing_proves_a_row_gone_unless_an_entry_is_unreadable() -> None:
    first, second = (listed(beating(1, NOW + ms), NOW + ms) for ms in (5_000, 10_000))
    snapshot = second.snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-2")}))
    found = changes_since(last_of(beating(3)), first, second._replace(snapshot=snapshot))
    assert [(event.kind, event.id) for event in found] == [(Kind.GONE, "env-3")]


def test_a_run_keeps_its_own_events_except_the_baselines_of_its_first_listing() -> None:
    seam = Seam.after(last_of(beating(3)), ProfileState())
    assert seam is not None
    own = [Event(kind=kind, at=ServerMs(NOW), id=clean("env-1")) for kind in (Kind.APPEARED, Kind.ACKNOWLEDGED)]
    never = Event(kind=Kind.OFFLINE, at=ServerMs(NOW), id=clean("expected env-9"))
    seam, events = seam.after_outcome(listed(beating(2, NOW + 5_000), NOW + 5_000), [*own, never])
    assert [*events] == [own[1], never]
    assert not seam.is_over
    gone = Event(kind=Kind.GONE, at=ServerMs(NOW + 10_000), id=clean("env-3"))
    for known, count in (([own[0]], 2), ([own[0], gone], 2)):
        over, events = seam.after_outcome(listed(beating(2, NOW + 10_000), NOW + 10_000), known)
        assert over.is_over
        assert len(events) == count
        assert {(event.kind, event.id) for event in events} == {(Kind.APPEARED, "env-1"), (Kind.GONE, "env-3")}


def test_a_flapping_row_has_not_become_steady_by_the_first_listing() -> None:
    flaps = [
        [environment(connectionId="conn-1" if n % 2 else None, lastHeartbeat=NOW + n * 30_000 - 1_000)]
        for n in range(20)
    ]
    last = last_of(*flaps, every_ms=30_000)
    assert last.profile_state.environments[clean("env-1")].is_flapping
    assert changes_since(last, first_listing(20 * 30_000, flaps[-1])) == []


STATES: tuple[dict[str, Any], ...] = (
    {},
    {"connectionId": None},
    {"currentMode": "unrestricted"},
    {"connectionName": "another name"},
)
LIFE = st.lists(st.tuples(*(st.sampled_from(STATES) for _ in range(3))), min_size=2, max_size=8)


def listing(states: Iterable[dict[str, Any]], ms: float) -> Listed:
    rows = [environment(f"env-{n}", lastHeartbeat=NOW + ms - 1_000, **each) for n, each in enumerate(states, 1)]
    return listed(rows, NOW + ms)


@given(
    life=LIFE, start=st.integers(1, 7), offset=st.sampled_from([0.0, 2_000.0]), pause=st.sampled_from([0, 3_600_000])
)
def test_over_the_seam_each_change_comes_once(life: list[Any], start: int, offset: float, pause: int) -> None:
    """One process records; a process that begins later, or after the first, reports all changes in a chain."""
    start = min(start, len(life) - 1)
    history = recorded(listing(states, n * 5_000) for n, states in enumerate(life[:start] if pause else life))
    began = start * 5_000 - 1_000 + pause
    runs = read(history, began)
    found = [*runs.events]
    monitor = Monitor.create({NO_PROFILE: Limits()})
    profile_state = monitor.fleet.by_profile[NO_PROFILE]
    seam = runs.seam(profile_state)
    for n, states in enumerate(life[start:], start):
        outcome = listing(states, n * 5_000 + offset + pause)
        before = monitor
        monitor, update = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        profile_state = monitor.fleet.by_profile[NO_PROFILE]
        events: Sequence[Event] = update.events
        if seam is not None:
            seam, events = seam.after_outcome(outcome, events)
        if before.fleet.by_profile[NO_PROFILE].listed is None:
            events = runs.until_now(events, profile_state, at(0))
        found += events
    for id_ in ("env-1", "env-2", "env-3"):
        for kinds in ({Kind.ONLINE, Kind.OFFLINE}, {Kind.MODE}, {Kind.RENAMED}):
            changes = [event for each in found for event in (each.members or (each,)) if event.kind in kinds]
            chain = [event for event in changes if event.id == id_]
            assert all(earlier.after == later.before for earlier, later in pairwise(chain))
            if chain:
                final = profile_state.environments[chain[0].id or chain[0].profile]
                values = {str(final.presence), final.environment.mode, final.environment.name}
                assert chain[-1].after in values
            expected = sum(_differ(one, other, kinds, int(id_[-1]) - 1) for one, other in pairwise(life))
            assert len(chain) == expected


def _differ(before: Any, after: Any, kinds: set[Kind], place: int) -> bool:
    field = "connectionId" if Kind.ONLINE in kinds else "currentMode" if Kind.MODE in kinds else "connectionName"
    return bool((field in before[place]) != (field in after[place]))


def test_a_recording_of_another_account_is_no_past_of_this_one() -> None:
    """The events are of another account's environments; this account's were not watched then."""
    gone = [environment(connectionId=None, organizationId="org-2")]
    history = recorded([listed([environment(organizationId="org-2")]), listed(gone, NOW + 5_000)])
    outcome = listed(beating(2, NOW + HOUR), NOW + HOUR)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    assert read(history, HOUR).seeded(monitor, [outcome]) == (monitor, ())
    without_last, _ = EarlierRuns(NO_PROFILE, read(history, HOUR).events).seeded(monitor, [outcome])
    assert len(without_last.event_log) == 1


@pytest.mark.parametrize("later", [0, 1, 2])
def test_a_run_that_learns_of_the_run_before_goes_on_as_if_it_had_known_it(later: int) -> None:
    """The records are read while the run polls, so one or more listings have come."""
    history = polls_at(0, 5_000, count=4)
    lacking = [environment("env-1", connectionId=None), *beating(3, NOW + MINUTE)[1:]]
    outcomes = [listed(lacking, NOW + MINUTE + 5_000 * n) for n in range(4)]
    last = read(history, MINUTE).last
    assert last is not None
    _, knowing_events = watched(outcomes, ProfileState().resuming(last.profile_state.as_last_run))
    monitor, found = Monitor.create({NO_PROFILE: Limits()}), list[Event]()
    for n, outcome in enumerate(outcomes):
        monitor, update = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        found += update.events
        if n == later:
            monitor, changes = read(history, MINUTE).seeded(monitor, outcomes[: n + 1])
            found += changes
    assert [(event.kind, event.id) for event in found] == [(event.kind, event.id) for event in knowing_events]
    assert monitor.fleet.by_profile[NO_PROFILE].environments.keys() == {f"env-{n}" for n in (1, 2, 3, 4)}
