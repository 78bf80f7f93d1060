"""Recordings of earlier runs: reading, gaps, and the seam to a new run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed
from support.memory_history import MemoryHistory, recorded

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, Kind
from envwatch.fleet.presence import Reason
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import CLOCK_ERROR_MS
from envwatch.history.earlier_runs import LACKED, EarlierRuns, changes_between_runs
from envwatch.history.past import HistoryError, Moment
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def first_at(ms: float, rows: Iterable[Environment] | None = None) -> Moment:
    history = recorded([listed([*(beating(2, NOW + ms) if rows is None else rows)], NOW + ms)])
    (poll,) = history.polls(WallMs(0), at(ms))
    return history.moment(poll)


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
    assert spans(runs.until_now(first_at(began), at(-HOUR))) == gap
    (changed,) = runs.until_now(first_at(began, [environment(connectionId=None), *beating(2)[1:]]), at(-HOUR))
    assert changed.kind is (Kind.WHILE_BLIND if gap else Kind.OFFLINE)


@pytest.mark.parametrize(("began", "is_said"), [(15 * MINUTE - 1, False), (15 * MINUTE, True)])
def test_an_unchanged_time_is_said_from_a_quarter_of_an_hour_and_for_the_same_account(
    began: float, *, is_said: bool
) -> None:
    runs, others = read(polls_at(0), began), [environment("other-1", organizationId="org-2")]
    assert runs.unchanged_for(first_at(began)) == (timedelta(milliseconds=began) if is_said else None)
    assert runs.unchanged_for(first_at(began, others)) is None
    assert read(MemoryHistory(), began).unchanged_for(first_at(began)) is None


def test_a_gap_begins_at_the_wanted_time_at_the_earliest() -> None:
    first = first_at(HOUR)
    assert spans(read(polls_at(0), HOUR).until_now(first, at(MINUTE))) == [(MINUTE, HOUR)]
    assert spans(read(MemoryHistory(), HOUR).until_now(first, at(0))) == [(0, HOUR)]
    unlisted = replace(first, profile_state=ProfileState())
    assert read(polls_at(0), HOUR).until_now(unlisted, at(0)) == ()


def last_of(*listings: list[Environment], every_ms: float = 5_000) -> Moment:
    history = recorded(listed(rows, NOW + n * every_ms) for n, rows in enumerate(listings))
    return history.moment(history.polls(WallMs(0), at(DAY / MS))[-1])


@pytest.mark.parametrize(
    ("listed_at", "dated_at"),
    [(5_010, 5_010), (5_000, 5_001), (5_001 - CLOCK_ERROR_MS, 5_001), (5_000 - CLOCK_ERROR_MS, 5_000 - CLOCK_ERROR_MS)],
)
def test_a_change_is_dated_after_the_last_run_within_the_error_of_two_clocks(listed_at: float, dated_at: float) -> None:
    changed = first_at(listed_at, [environment(connectionId=None), *beating(2)[1:]])
    (event,) = changes_between_runs(last_of(beating(2), beating(2)), changed)
    assert (event.kind, event.at - NOW) == (Kind.OFFLINE, dated_at)
    assert event.reason == Reason.DISCONNECTED.value


def test_changes_in_a_blind_time_are_a_group_without_durations() -> None:
    changed = first_at(HOUR, [environment(connectionId=None)])
    (group,) = changes_between_runs(last_of(beating(2)), changed)
    assert (group.kind, group.reason, group.since) == (Kind.WHILE_BLIND, NOT_RUNNING, NOW)
    assert [(each.kind, each.lasted) for each in group.members] == [(Kind.OFFLINE, None), (Kind.GONE, None)]


ROW = environment("env-1")
OFF = environment("env-1", connectionId=None)
BARE: dict[str, Any] = {"connectionId": None, "currentMode": None, "metadata": {}}


@pytest.mark.parametrize(
    ("before", "first", "changes"),
    [
        ([beating(2)], beating(1), [(Kind.GONE, LACKED)]),
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
    found = changes_between_runs(last_of(*before), first_at(listed_at, first))
    assert [(event.kind, event.reason) for event in found] == changes


def test_a_row_with_an_unreadable_entry_in_the_first_listing_is_not_gone() -> None:
    outcome = listed(beating(1), NOW + 5_000)
    unreadable = outcome.snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-2")}))
    history = recorded([outcome._replace(snapshot=unreadable)])
    first = history.moment(history.polls(WallMs(0), at(HOUR))[0])
    assert changes_between_runs(last_of(beating(3)), first)[0].id == "env-3"
    assert len(changes_between_runs(last_of(beating(3)), first)) == 1


def test_a_row_back_offline_has_no_values_from_before() -> None:
    gone = last_of(beating(2), beating(1), beating(1))
    bare = environment("env-2", **BARE)
    returned, *_ = changes_between_runs(gone, first_at(15_000, [*beating(1), bare]))
    assert returned.kind is Kind.RETURNED
    assert returned.then is not None
    assert returned.then.environment == bare


def test_a_flapping_row_has_not_become_steady_by_the_first_listing() -> None:
    flaps = [
        [environment(connectionId="conn-1" if n % 2 else None, lastHeartbeat=NOW + n * 30_000 - 1_000)]
        for n in range(20)
    ]
    last = last_of(*flaps, every_ms=30_000)
    assert last.profile_state.environments[clean("env-1")].is_flapping
    assert changes_between_runs(last, first_at(20 * 30_000, flaps[-1])) == []


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
    for n, states in enumerate(life[start:], start):
        outcome = listing(states, n * 5_000 + offset + pause)
        before = monitor
        monitor, update = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        profile_state = monitor.fleet.by_profile[NO_PROFILE]
        if before.fleet.by_profile[NO_PROFILE].listed is None:
            found += runs.until_now(Moment(outcome.ended, profile_state), at(0))
        found += update.events
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
    assert read(history, HOUR).seeded(monitor, ()) is monitor
    assert len(EarlierRuns(NO_PROFILE, read(history, HOUR).events).seeded(monitor, ()).event_log) == 1
