"""Changes between two runs, as a single run would see them after a blind time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, slept, watched

from envwatch.fleet.events import NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.profile_state import ProfileState
from envwatch.history.earlier_runs import changes_between_runs
from envwatch.history.past import Moment
from envwatch.model.clock import OffsetBounds
from envwatch.model.outcome import Slept
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome

HOUR = 3_600_000.0
LATER = NOW + 3 * HOUR


def moment(*outcomes: Outcome, profile_state: ProfileState | None = None) -> Moment:
    last = outcomes[-1]
    return Moment(last.awake if isinstance(last, Slept) else last.started, watched(outcomes, profile_state)[0])


def between(
    before: Sequence[Environment], first: Sequence[Environment], *, at: float = LATER, **profile_state: Any
) -> list[Event]:
    """Return the changes between two runs; the first run ended with a listing three hours before `at`."""
    return list(
        changes_between_runs(
            moment(listed(before)), moment(listed(first, at), profile_state=ProfileState(**profile_state))
        )
    )


def said(events: Sequence[Event]) -> list[tuple[Kind, SafeText | None, SafeText | None, SafeText | None]]:
    return [(event.kind, event.id, event.before, event.after) for event in events]


def test_values_that_an_offline_row_lacks_are_no_change_between_two_runs() -> None:
    lost = environment("env-1", connectionId=None, lastHeartbeat=None, currentMode=None, metadata=None)
    (group,) = between(beating(2), [lost, environment("env-2", lastHeartbeat=LATER)])
    assert said(group.members) == [(Kind.OFFLINE, "env-1", "online", "offline")]


def test_what_changed_between_two_runs_is_one_group_with_its_beginning_and_end() -> None:
    rows = beating(6, LATER)
    now = [
        environment("env-1", connectionId=None),
        environment("env-2", lastHeartbeat=LATER, currentMode="unrestricted"),
        environment("env-3", lastHeartbeat=LATER, connectionName="renamed"),
        environment("env-4", lastHeartbeat=LATER, connectionId="another"),
        *rows[5:],
        environment("env-7", lastHeartbeat=LATER),
    ]
    (group,) = between(beating(6), now)
    assert (group.kind, group.reason, group.since, group.at) == (Kind.WHILE_BLIND, NOT_RUNNING, NOW, LATER)
    assert [(event.kind, event.id) for event in group.members] == [
        (Kind.OFFLINE, "env-1"),
        (Kind.MODE, "env-2"),
        (Kind.RENAMED, "env-3"),
        (Kind.RECONNECTED, "env-4"),
        (Kind.APPEARED, "env-7"),
        (Kind.GONE, "env-5"),
    ]
    assert {event.lasted for event in group.members} == {None}, "when the state before ended was not seen"
    assert {event.at for event in group.members} == {LATER}


@pytest.mark.parametrize(
    ("offset_ms", "at_ms"), [(299, 300), (300, 301), (400, 401), (5_299, 5_300), (5_300, 300), (3_600_000, 300)]
)
def test_what_changed_comes_after_the_run_before_if_the_estimates_of_the_clock_may_both_be_right(
    offset_ms: float, at_ms: float
) -> None:
    """If the estimates contradict each other, a clock was set back, and no event has a future time."""

    def dated(listing: Listed, offset_ms: float) -> Listed:
        return listing._replace(snapshot=listing.snapshot._replace(clock=(OffsetBounds(offset_ms, offset_ms),)))

    lost = [environment("env-1", connectionId=None), *beating(3, NOW + 300)[1:]]
    before, first = moment(dated(listed(beating(3)), offset_ms)), moment(dated(listed(lost, NOW + 300), 0))
    (event,) = changes_between_runs(before, first)
    assert event.at == NOW + at_ms


def test_the_beats_alone_are_no_event() -> None:
    assert between(beating(6), beating(6, LATER)) == []


def test_a_run_that_ended_blind_has_seen_nothing_since_its_last_listing() -> None:
    before = moment(listed(beating(2)), failed(at=NOW + 2 * HOUR))
    (group,) = changes_between_runs(before, moment(listed(beating(1, LATER), LATER)))
    assert group.since == NOW


@pytest.mark.parametrize(("gap", "is_group"), [(60_000, False), (60_001, True)])
def test_too_short_a_gap_to_be_blind_is_as_one_run(gap: float, *, is_group: bool) -> None:
    (event,) = between(beating(2), [environment(connectionId=None), *beating(2)[1:]], at=NOW + gap)
    assert event.kind is (Kind.WHILE_BLIND if is_group else Kind.OFFLINE)
    assert (event.reason == NOT_RUNNING) is is_group
    lost = [environment(row.id, connectionId=None) for row in beating(12)]
    (event,) = between(beating(12), lost, at=NOW + gap)
    assert event.kind is (Kind.WHILE_BLIND if is_group else Kind.TOGETHER)
    assert len(event.members) == 12


def test_a_run_that_ended_asleep_or_on_another_boot_is_compared_by_the_wall_clock() -> None:
    asleep = moment(listed(beating(2)), slept(NOW + 1_000, NOW + 2_000))
    (group,) = changes_between_runs(asleep, moment(listed(beating(1, NOW + 3_000), NOW + 3_000)))
    assert (group.kind, group.since) == (Kind.WHILE_BLIND, NOW + 1_000)
    outcome = listed(beating(1, LATER), LATER)
    booted = outcome.started._replace(monotonic=reading().monotonic)
    first = moment(outcome._replace(started=booted, ended=booted))
    (group,) = changes_between_runs(moment(listed(beating(2))), first)
    assert (group.kind, group.since) == (Kind.WHILE_BLIND, NOW)


@pytest.mark.parametrize("runs", [(failed(), listed(beating(1))), (listed(beating(1)), failed())])
def test_without_two_listings_nothing_is_compared(runs: tuple[Outcome, Outcome]) -> None:
    assert changes_between_runs(*map(moment, runs)) == ()


def test_the_rows_of_another_account_are_not_compared() -> None:
    others = [environment("other-1", organizationId="org-2")]
    assert between(beating(3), others) == []
    assert between(beating(3), [*others, *beating(3, LATER)]) != []
    assert between(beating(3), []) != []


def test_what_one_listing_lacks_is_gone_for_that_reason_unless_it_may_exist() -> None:
    (group,) = between(beating(2), beating(1, LATER))
    assert [(event.kind, event.reason) for event in group.members] == [(Kind.GONE, "not in the first listing")]

    before = moment(listed(beating(2)), listed(beating(1, NOW + 5_000), NOW + 5_000))
    assert before.profile_state.environments[clean("env-2")].absent == 1
    (group,) = changes_between_runs(before, moment(listed(beating(1, LATER), LATER)))
    assert [event.reason for event in group.members] == ["no longer listed"]

    outcome = listed(beating(1, LATER), LATER)
    unread = outcome._replace(snapshot=outcome.snapshot._replace(rejected_ids=frozenset({clean("env-2")})))
    assert changes_between_runs(moment(listed(beating(2))), moment(unread)) == []


def test_a_mass_loss_is_found_beside_a_row_that_may_exist() -> None:
    lost = [environment(row.id, connectionId=None) for row in beating(12)]
    outcome = listed(lost, NOW + 5_000)
    unread = outcome._replace(snapshot=outcome.snapshot._replace(rejected_ids=frozenset({clean("env-13")})))
    (event,) = changes_between_runs(moment(listed(beating(13))), moment(unread))
    assert (event.kind, len(event.members)) == (Kind.TOGETHER, 12)


def test_what_was_gone_is_told_when_it_returns_only() -> None:
    before = moment(listed(beating(2)), *(listed(beating(1, NOW + s), NOW + s) for s in (5_000, 10_000)))
    assert changes_between_runs(before, moment(listed(beating(1, LATER), LATER))) == []
    (group,) = changes_between_runs(before, moment(listed(beating(2, LATER), LATER)))
    assert said(group.members) == [(Kind.RETURNED, "env-2", "gone", "online")]


def test_a_first_listing_knows_nothing_of_flapping() -> None:
    before = moment(listed(beating(1)))
    flapping = {id_: replace(each, is_flapping=True) for id_, each in before.profile_state.environments.items()}
    before = replace(before, profile_state=replace(before.profile_state, environments=flapping))
    assert changes_between_runs(before, moment(listed(beating(1, LATER), LATER))) == []


def test_a_time_that_cannot_be_true_proves_nothing() -> None:
    seconds_for_milliseconds = [environment(lastHeartbeat=LATER / 1000)]
    assert between(beating(1), seconds_for_milliseconds) == []
    assert between([environment(lastHeartbeat=NOW / 1000)], beating(1, LATER)) == []


def test_an_expected_environment_that_is_missing_in_both_runs_is_no_change() -> None:
    expect = (clean("build-7"),)
    before = moment(listed(beating(1)), profile_state=ProfileState(expect=expect))
    first = moment(listed(beating(1, LATER), LATER), profile_state=ProfileState(expect=expect))
    assert len(first.profile_state.environments) == 2
    assert changes_between_runs(before, first) == []
    assert changes_between_runs(moment(listed(beating(1))), first) == []


ROW = st.sampled_from(
    [{}, {"connectionId": None}, {"connectionId": "another"}, {"currentMode": "unrestricted"}, {"lastHeartbeat": NOW}]
)
"""States of a row three hours later; the earlier heartbeat is lost."""


@given(
    before=st.lists(st.booleans(), min_size=6, max_size=10),
    after=st.lists(ROW, min_size=10, max_size=12),
    vanished=st.sets(st.integers(1, 6), max_size=2),
)
def test_two_runs_see_what_one_run_that_was_blind_meanwhile_sees(
    before: list[bool], after: list[dict[str, Any]], vanished: set[int]
) -> None:
    """Except that a gone row needs a second listing, and the duration of a state is known."""
    old = [
        environment(f"env-{n}", **({} if is_up else {"connectionId": None, "lastHeartbeat": None}))
        for n, is_up in enumerate(before, 1)
    ]
    new = [
        environment(f"env-{n}", **({"lastHeartbeat": LATER - 1_000} | changes))
        for n, changes in enumerate(after, 1)
        if n not in vanished
    ]
    one_run, seen = watched([listed(old), listed(new, LATER)])
    _, proven = watched([listed(new, LATER + 1)], one_run)
    expected = {*said(flatten(seen)), *said(flatten(proven))}
    assert {*said(flatten(between(old, new)))} == expected
