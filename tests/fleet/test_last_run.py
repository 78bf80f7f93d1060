"""Changes between two runs, as one run would see them after a blind time, and the state carried over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, watched

from envwatch.fleet.events import NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.last_run import NO_RUN
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


HOUR = 3_600_000.0
LATER = NOW + 3 * HOUR


def between(
    before: Sequence[Environment], first: Sequence[Environment], *, at: float = LATER, **profile_state: Any
) -> list[Event]:
    """Return the changes between two runs; the first run ended with a listing three hours before `at`."""
    return changes_of(lives((0, before)), listed(first, at), **profile_state)


def changes_of(before: ProfileState, first: Outcome, **profile_state: Any) -> list[Event]:
    _, events = ProfileState(**profile_state).resuming(before.as_last_run).apply(first)
    return [event for event in events if event.id or event.members]


def said(events: Sequence[Event]) -> list[tuple[Kind, SafeText | None, SafeText | None, SafeText | None]]:
    return [(event.kind, event.id, event.before, event.after) for event in events]


def test_a_run_on_another_boot_is_compared_by_the_wall_clock() -> None:
    outcome = listed([*beating(1, LATER), environment("env-2", connectionId=None)], LATER)
    booted = outcome.started._replace(monotonic=reading().monotonic)
    (group,) = changes_of(lives((0, beating(2))), outcome._replace(started=booted, ended=booted))
    assert (group.kind, group.reason, group.since) == (Kind.WHILE_BLIND, NOT_RUNNING, NOW)
    assert [(event.id, event.kind, event.lasted) for event in group.members] == [("env-2", Kind.OFFLINE, None)]


def test_the_rows_of_another_account_are_not_compared() -> None:
    others = [environment("other-1", organizationId="org-2")]
    assert between(beating(3), others) == []
    assert between(beating(3), [*others, *beating(3, LATER)]) != []


def test_a_mass_loss_is_found_beside_a_row_of_doubtful_absence() -> None:
    lost = [environment(row.id, connectionId=None) for row in beating(12)]
    outcome = listed(lost, NOW + 5_000)
    unread = outcome._replace(snapshot=outcome.snapshot._replace(rejected_ids=frozenset({clean("env-13")})))
    (event,) = changes_of(lives((0, beating(13))), unread)
    assert (event.kind, len(event.members)) == (Kind.TOGETHER, 12)


def test_an_impossible_time_proves_nothing_between_two_runs() -> None:
    seconds_for_milliseconds = [environment(lastHeartbeat=LATER / 1000)]
    assert between(beating(1), seconds_for_milliseconds) == []
    assert between([environment(lastHeartbeat=NOW / 1000)], beating(1, LATER)) == []


def test_an_expected_environment_missing_in_both_runs_is_no_change() -> None:
    expect = (clean("build-7"),)
    before, _ = watched([listed(beating(1))], ProfileState(expect=expect))
    first = listed(beating(1, LATER), LATER)
    assert len(before.environments) == 2
    assert changes_of(before, first, expect=expect) == []
    assert changes_of(lives((0, beating(1))), first, expect=expect) == []
    resumed, _ = watched([first], ProfileState().resuming(before.as_last_run))
    assert len(resumed.environments) == 1, "no longer expected"


@pytest.mark.parametrize(("gap", "since"), [(180_000, None), (180_001, NOW)])
def test_a_gap_of_three_intervals_of_the_run_before_is_no_blindness(gap: float, since: float | None) -> None:
    before, _ = watched([listed(beating(2), interval=timedelta(minutes=1))])
    first = [*beating(1, NOW + gap), environment("env-2", connectionId=None)]
    (loss,) = changes_of(before, listed(first, NOW + gap))
    assert loss.since == since


ROW = st.sampled_from(
    [{}, {"connectionId": None}, {"connectionId": "another"}, {"currentMode": "unrestricted"}, {"lastHeartbeat": NOW}]
)
"""States of a row three hours later; the earlier heartbeat is lost."""


@given(
    before=st.lists(st.booleans(), min_size=6, max_size=10),
    after=st.lists(ROW, min_size=10, max_size=12),
    vanished=st.sets(st.integers(1, 6), max_size=2),
)
def test_two_runs_see_what_one_run_blind_meanwhile_sees(
    before: list[bool], after: list[dict[str, Any]], vanished: set[int]
) -> None:
    old = [
        environment(f"env-{n}", **({} if is_up else {"connectionId": None, "lastHeartbeat": None}))
        for n, is_up in enumerate(before, 1)
    ]
    new = [
        environment(f"env-{n}", **({"lastHeartbeat": LATER - 1_000} | changes))
        for n, changes in enumerate(after, 1)
        if n not in vanished
    ]
    listings = [listed(new, LATER), listed(new, LATER + 1)]
    _, seen = watched([listed(old), *listings])
    _, found = watched(listings, ProfileState().resuming(lives((0, old)).as_last_run))
    assert said(flatten(found)) == said(flatten(seen))


# Carried over from the run before, as if watched all the time, if the rows prove that

MINUTE = 60_000
DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW + 4_000}


def row(at: float, id_: str = "env-1", **changes: Any) -> Environment:
    return environment(id_, **({"lastHeartbeat": at - 1_000} | changes))


def lives(*listings: tuple[float, Sequence[Environment]]) -> ProfileState:
    return watched([listed(rows, NOW + after) for after, rows in listings])[0]


def resumed(before: ProfileState, *listings: tuple[float, Sequence[Environment]]) -> ProfileState:
    """Return the state of a run after some listings, in milliseconds after `NOW`."""
    begin = ProfileState().resuming(before.as_last_run)
    return watched([listed(rows, NOW + after) for after, rows in listings], begin)[0]


def taken_over(
    before: ProfileState, *listings: tuple[float, Sequence[Environment]], id_: str = "env-1"
) -> TrackedEnvironment:
    return resumed(before, *listings).environments[clean(id_)]


LOST = lives((0, [row(NOW)]), (5_000, [row(NOW, **DOWN)]))


@pytest.mark.parametrize(("gap", "tag"), [(5 * MINUTE, "NEW"), (15 * MINUTE - 1, "NEW"), (15 * MINUTE, None)])
def test_a_loss_seen_by_the_run_before_is_marked_while_recent(gap: int, tag: str | None) -> None:
    at = NOW + 5_000 + gap
    found = taken_over(LOST, (5_000 + gap, [row(at, **DOWN)]))
    assert found.since_at == NOW + 5_000
    assert found.tag(at) == tag


@pytest.mark.parametrize(
    ("changes", "tag", "changed_at"),
    [
        ({"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW + HOUR}, "NEW", NOW + HOUR),
        ({"connectionId": "another", "connectedAt": NOW + HOUR}, "CONN", NOW + HOUR),
        ({"connectionId": "another", "connectedAt": NOW - 1}, None, None),
        ({"connectionId": "another", "connectedAt": NOW}, None, NOW),
        ({"connectionId": "another", "connectedAt": NOW + HOUR + 5 * MINUTE}, "CONN", NOW + HOUR + 5 * MINUTE),
        ({"connectionId": "another", "connectedAt": NOW + HOUR + 5 * MINUTE + 1}, None, None),
        ({"currentMode": "unrestricted"}, None, None),
        ({}, None, None),
    ],
)
def test_what_happened_in_a_long_gap_is_marked_if_the_row_says_when(
    changes: dict[str, Any], tag: str | None, changed_at: float | None
) -> None:
    """A mode that changed within hours has no proof of a recent change."""
    at = NOW + HOUR + 5 * MINUTE
    found = taken_over(lives((0, [row(NOW)])), (at - NOW, [row(at, **changes)]))
    assert found.tag(at) == tag
    assert (found.last_change.at if found.last_change else None) == changed_at
    assert found.transitions == (() if changed_at is None or at - changed_at >= HOUR else (changed_at,))
    assert found.since_at is None


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({"connectionId": None}, "NEW"),
        ({"currentMode": "unrestricted"}, "MODE"),
        ({"connectionId": "another"}, "CONN"),
        ({}, None),
    ],
)
def test_every_change_in_a_gap_of_minutes_is_marked(changes: dict[str, Any], tag: str | None) -> None:
    at = NOW + 10 * MINUTE
    assert taken_over(lives((0, [row(NOW)])), (at - NOW, [row(at, **changes)])).tag(at) == tag


def test_a_return_in_the_gap_is_marked_by_its_connection_and_what_is_new_as_such() -> None:
    at = NOW + HOUR
    back = row(at, connectionId="another", connectedAt=at - MINUTE)
    assert taken_over(LOST, (HOUR, [back])).tag(at) == "BACK"
    first: tuple[float, list[Environment]] = (
        MINUTE,
        [row(NOW + MINUTE, **DOWN), row(NOW + MINUTE, "env-2")],
    )
    assert taken_over(LOST, first, id_="env-2").tag(NOW + MINUTE) == "JOIN"
    first = HOUR, [row(at, **DOWN), row(at, "env-2")]
    assert taken_over(LOST, first, id_="env-2").tag(at) is None
    first = HOUR, [row(at, **DOWN)]
    later = HOUR + 5_000, [row(at, **DOWN), row(at + 5_000, "env-2")]
    assert taken_over(LOST, first, later, id_="env-2").tag(at + 5_000) == "JOIN"


def test_reconnects_count_on_and_a_pod_is_remembered() -> None:
    before = lives(*((n * 5_000, [row(NOW + n * 5_000, connectionId=f"conn-{n}")]) for n in range(4)))
    first = 20_000, [row(NOW + 20_000, connectionId="conn-3")]
    assert taken_over(before, first).transitions == (NOW + 5_000, NOW + 10_000, NOW + 15_000)
    gone_quiet = 20_000, [row(NOW, connectionId=None, podId=None)]
    assert taken_over(before, gone_quiet).pod_id == "pod-1"


def flaps(until: int) -> list[tuple[float, list[Environment]]]:
    states: tuple[dict[str, Any], ...] = ({}, {"connectionId": None, "lastHeartbeat": None})
    return [(n * 30_000, [row(NOW + n * 30_000, **states[n % 2])]) for n in range(until)]


def test_a_flapping_row_goes_on_flapping_without_another_event() -> None:
    before = lives(*flaps(12))
    assert before.environments[clean("env-1")].is_flapping
    at = 12 * 30_000
    (_, last) = flaps(12)[-1]
    first = resumed(before, (at, last))
    assert first.environments[clean("env-1")].is_flapping
    _, events = watched([listed(last, NOW + at + 5_000)], first)
    assert events == []
    turned = resumed(before, (at, [row(NOW + at, connectionId="another")]))
    assert turned.environments[clean("env-1")].is_flapping
    late = resumed(before, (HOUR, last))
    assert not late.environments[clean("env-1")].is_flapping


GONE = lives((0, beating(2)), (5_000, beating(1)), (10_000, beating(1)))


@pytest.mark.parametrize(("before", "since_at"), [(GONE, NOW + 10_000), (lives((0, beating(2))), NOW + 25_000)])
def test_what_is_gone_stays_in_sight_and_may_return(before: ProfileState, since_at: float) -> None:
    """A row that was up needs two listings to be gone, and is out of sight meanwhile."""
    first = resumed(before, (20_000, beating(1, NOW + 20_000)))
    assert ("env-2" in first.environments) is (before is GONE)
    assert first.last_run.rows.keys() == (set() if before is GONE else {"env-2"})
    second, events = watched([listed(beating(1, NOW + 25_000), NOW + 25_000)], first)
    assert said(events) == ([] if before is GONE else [(Kind.GONE, "env-2", "online", "gone")])
    gone = second.environments[clean("env-2")]
    assert (gone.presence, gone.since_at, gone.tag(NOW + 25_000)) == (Presence.GONE, since_at, "NEW")
    assert is_problem(gone, NOW + 25_000)
    _, (event,) = watched([listed(beating(2, NOW + 30_000), NOW + 30_000)], second)
    assert (event.kind, event.id) == (Kind.RETURNED, "env-2")


def test_a_row_offline_before_going_has_no_heartbeat_to_hold_back() -> None:
    before = lives((0, [row(NOW), row(NOW, "env-2", **DOWN)]))
    listings = [(at, beating(1, NOW + at)) for at in (20_000, 25_000)]
    assert taken_over(before, *listings, id_="env-2").last_known_heartbeat is None


@pytest.mark.parametrize(("gap", "is_kept"), [(HOUR - 5_001, True), (HOUR - 5_000, False)])
def test_what_is_gone_is_kept_for_an_hour(gap: int, *, is_kept: bool) -> None:
    listings = [listed(beating(1, NOW + at), NOW + at) for at in (gap, gap + 5_000)]
    state, events = watched(listings, ProfileState().resuming(lives((0, beating(2))).as_last_run))
    assert ("env-2" in state.environments) is is_kept
    assert [event.kind for event in flatten(events)] == [Kind.GONE]


def test_the_heartbeat_of_a_gone_row_is_no_proof_at_the_return() -> None:
    """The heartbeat has not advanced between two listings of this run, so only the server's clock gives an age."""
    first = resumed(lives((0, beating(2))), *((at, beating(1, NOW + at)) for at in (MINUTE, MINUTE + 5_000)))
    rows = [*beating(1, NOW + 10 * MINUTE), row(NOW + MINUTE / 2, "env-2")]
    after, _ = watched([failed(at=NOW + 9 * MINUTE), listed(rows, NOW + 10 * MINUTE)], first)
    found = after.environments[clean("env-2")]
    assert (found.presence, found.clock_suspect) == (Presence.OFFLINE, False)


def test_without_a_listing_there_is_no_run_before() -> None:
    assert ProfileState().as_last_run is NO_RUN
    first = resumed(ProfileState(), (0, beating(2)))
    assert first == lives((0, beating(2)))


def test_a_run_without_a_listing_passes_the_run_before_on() -> None:
    before = lives((0, beating(2))).as_last_run
    assert [*ProfileState().resuming(before).as_last_run.rows] == [*before.rows]
    lacking, _ = watched([listed(beating(1, NOW + MINUTE), NOW + MINUTE)], ProfileState().resuming(before))
    assert [*lacking.as_last_run.rows] == ["env-2", "env-1"]


def test_no_possibly_listed_row_is_gone() -> None:
    at = NOW + MINUTE
    outcome = listed(beating(1, at), at)
    snapshot = outcome.snapshot
    unread = type(outcome)(
        snapshot=type(snapshot).of_pages(
            pages=snapshot.pages, clock=snapshot.clock, rejected=1, rejected_ids=frozenset({clean("env-2")})
        ),
        started=outcome.started,
        ended=outcome.ended,
        interval=outcome.interval,
    )
    first, events = watched([unread] * 3, ProfileState().resuming(lives((0, beating(2))).as_last_run))
    assert (set(first.environments), events) == ({"env-1"}, [])
    assert [*first.last_run.rows] == ["env-2"]
