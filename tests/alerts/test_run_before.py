"""Changes between two runs, as one run would see them after a blind time, and the state carried over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, slept, watched

from envwatch.alerts.alert_state import AlertState
from envwatch.alerts.losses import Loss
from envwatch.alerts.run_before import known_rows, with_run_before
from envwatch.fleet import presence
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.presence import DISCONNECTED, NEVER_LISTED, Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.watched_time import Span
from envwatch.history.earlier_runs import changes_between_runs
from envwatch.history.past import Moment
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.outcome import Slept
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


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


def test_a_run_ended_asleep_or_on_another_boot_is_compared_by_the_wall_clock() -> None:
    asleep = moment(listed(beating(2)), slept(NOW + 1_000, NOW + 2_000))
    (group,) = changes_between_runs(asleep, moment(listed(beating(1, NOW + 3_000), NOW + 3_000)))
    assert (group.kind, group.since) == (Kind.WHILE_BLIND, NOW + 1_000)
    outcome = listed(beating(1, LATER), LATER)
    booted = outcome.started._replace(monotonic=reading().monotonic)
    first = moment(outcome._replace(started=booted, ended=booted))
    (group,) = changes_between_runs(moment(listed(beating(2))), first)
    assert (group.kind, group.since) == (Kind.WHILE_BLIND, NOW)


def test_the_rows_of_another_account_are_not_compared() -> None:
    others = [environment("other-1", organizationId="org-2")]
    assert between(beating(3), others) == []
    assert between(beating(3), [*others, *beating(3, LATER)]) != []
    assert between(beating(3), []) != []


def test_a_mass_loss_is_found_beside_a_row_of_doubtful_absence() -> None:
    lost = [environment(row.id, connectionId=None) for row in beating(12)]
    outcome = listed(lost, NOW + 5_000)
    unread = outcome._replace(snapshot=outcome.snapshot._replace(rejected_ids=frozenset({clean("env-13")})))
    (event,) = changes_between_runs(moment(listed(beating(13))), moment(unread))
    assert (event.kind, len(event.members)) == (Kind.TOGETHER, 12)


def test_an_impossible_time_proves_nothing_between_two_runs() -> None:
    seconds_for_milliseconds = [environment(lastHeartbeat=LATER / 1000)]
    assert between(beating(1), seconds_for_milliseconds) == []
    assert between([environment(lastHeartbeat=NOW / 1000)], beating(1, LATER)) == []


def test_an_expected_environment_missing_in_both_runs_is_no_change() -> None:
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
def test_two_runs_see_what_one_run_blind_meanwhile_sees(
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


# Carried over from the run before, as if watched all the time, if the rows prove that

MINUTE = 60_000
DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW + 4_000}


def row(at: float, id_: str = "env-1", **changes: Any) -> Environment:
    return environment(id_, **({"lastHeartbeat": at - 1_000} | changes))


def lives(*listings: tuple[float, Sequence[Environment]]) -> ProfileState:
    return watched([listed(rows, NOW + after) for after, rows in listings])[0]


def taken_over(before: ProfileState, first: ProfileState, id_: str = "env-1") -> TrackedEnvironment:
    return with_run_before(first, before).environments[clean(id_)]


LOST = lives((0, [row(NOW)]), (5_000, [row(NOW, **DOWN)]))


@pytest.mark.parametrize(("gap", "tag"), [(5 * MINUTE, "NEW"), (15 * MINUTE - 1, "NEW"), (15 * MINUTE, None)])
def test_a_loss_seen_by_the_run_before_is_marked_while_recent(gap: int, tag: str | None) -> None:
    at = NOW + 5_000 + gap
    found = taken_over(LOST, lives((5_000 + gap, [row(at, **DOWN)])))
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
    found = taken_over(lives((0, [row(NOW)])), lives((at - NOW, [row(at, **changes)])))
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
    assert taken_over(lives((0, [row(NOW)])), lives((at - NOW, [row(at, **changes)]))).tag(at) == tag


def test_a_return_in_the_gap_is_marked_by_its_connection_and_what_is_new_as_such() -> None:
    at = NOW + HOUR
    back = row(at, connectionId="another", connectedAt=at - MINUTE)
    assert taken_over(LOST, lives((HOUR, [back]))).tag(at) == "BACK"
    first = lives((MINUTE, [row(NOW + MINUTE, **DOWN), row(NOW + MINUTE, "env-2")]))
    assert taken_over(LOST, first, "env-2").tag(NOW + MINUTE) == "JOIN"
    first = lives((HOUR, [row(at, **DOWN), row(at, "env-2")]))
    assert taken_over(LOST, first, "env-2").tag(at) is None


def test_what_this_run_has_seen_stands_above_what_the_run_before_knew() -> None:
    first = lives((MINUTE, [row(NOW + MINUTE)]), (MINUTE + 5_000, [row(NOW + MINUTE, connectionId=None)]))
    found = taken_over(lives((0, [row(NOW, connectionId="another")])), first)
    assert found is first.environments[clean("env-1")]


def test_reconnects_count_on_and_a_pod_is_remembered() -> None:
    before = lives(*((n * 5_000, [row(NOW + n * 5_000, connectionId=f"conn-{n}")]) for n in range(4)))
    first = lives((20_000, [row(NOW + 20_000, connectionId="conn-3")]))
    assert taken_over(before, first).transitions == (NOW + 5_000, NOW + 10_000, NOW + 15_000)
    gone_quiet = lives((20_000, [row(NOW, connectionId=None, podId=None)]))
    assert taken_over(before, gone_quiet).pod_id == "pod-1"


def flaps(until: int) -> list[tuple[float, list[Environment]]]:
    states: tuple[dict[str, Any], ...] = ({}, {"connectionId": None, "lastHeartbeat": None})
    return [(n * 30_000, [row(NOW + n * 30_000, **states[n % 2])]) for n in range(until)]


def test_a_flapping_row_goes_on_flapping_without_another_event() -> None:
    before = lives(*flaps(12))
    assert before.environments[clean("env-1")].is_flapping
    at = 12 * 30_000
    (_, last) = flaps(12)[-1]
    first = with_run_before(lives((at, last)), before)
    assert first.environments[clean("env-1")].is_flapping
    _, events = watched([listed(last, NOW + at + 5_000)], first)
    assert events == []
    turned = with_run_before(lives((at, [row(NOW + at, connectionId="another")])), before)
    assert turned.environments[clean("env-1")].is_flapping
    late = with_run_before(lives((HOUR, last)), before)
    assert not late.environments[clean("env-1")].is_flapping


GONE = lives((0, beating(2)), (5_000, beating(1)), (10_000, beating(1)))


@pytest.mark.parametrize(("before", "since_at"), [(GONE, NOW + 10_000), (lives((0, beating(2))), NOW + 20_000)])
def test_what_is_gone_stays_in_sight_and_may_return(before: ProfileState, since_at: float) -> None:
    first = with_run_before(lives((20_000, beating(1, NOW + 20_000))), before)
    gone = first.environments[clean("env-2")]
    assert (gone.presence, gone.since_at, gone.tag(NOW + 20_000)) == (Presence.GONE, since_at, "NEW")
    assert is_problem(gone, NOW + 20_000)
    assert before.listed is not None
    assert gone.last_known_heartbeat is not None
    assert gone.last_known_heartbeat.elapsed_ms == 1000 * before.listed.monotonic - 20_000, "by the clock of this run"
    after, events = watched([listed(beating(1, NOW + 25_000), NOW + 25_000)], first)
    assert events == []
    _, (event,) = watched([listed(beating(2, NOW + 30_000), NOW + 30_000)], after)
    assert (event.kind, event.id) == (Kind.RETURNED, "env-2")


def test_a_row_offline_before_going_has_no_heartbeat_to_hold_back() -> None:
    before = lives((0, [row(NOW), row(NOW, "env-2", **DOWN)]))
    assert taken_over(before, lives((20_000, beating(1, NOW + 20_000))), "env-2").last_known_heartbeat is None


@pytest.mark.parametrize(("gap", "is_kept"), [(HOUR - 1, True), (HOUR, False)])
def test_what_is_gone_is_kept_for_an_hour(gap: int, *, is_kept: bool) -> None:
    at = NOW + gap
    first = with_run_before(lives((gap, beating(1, at))), lives((0, beating(2))))
    assert ("env-2" in first.environments) is is_kept


def test_the_heartbeat_of_a_gone_row_is_no_proof_at_the_return() -> None:
    """The heartbeat has not advanced between two listings of this run, so only the server's clock gives an age."""
    first = with_run_before(lives((MINUTE, beating(1, NOW + MINUTE))), lives((0, beating(2))))
    rows = [*beating(1, NOW + 10 * MINUTE), row(NOW + MINUTE / 2, "env-2")]
    after, _ = watched([failed(at=NOW + 9 * MINUTE), listed(rows, NOW + 10 * MINUTE)], first)
    found = after.environments[clean("env-2")]
    assert (found.presence, found.clock_suspect) == (Presence.OFFLINE, False)


def test_without_two_listings_nothing_is_taken_over() -> None:
    assert with_run_before(ProfileState(), LOST) == ProfileState()
    assert with_run_before(LOST, ProfileState()) is LOST


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
    first = with_run_before(watched([unread])[0], lives((0, beating(2))))
    assert set(first.environments) == {"env-1"}
    assert ServerMs(at) == first.clock.server_time(outcome.started.wall)


def test_a_row_known_to_an_earlier_run_as_lost_or_as_a_twin_alone_has_the_presence_of_the_loss() -> None:
    def loss(id_: str, kind: Kind = Kind.OFFLINE, reason: str = "disconnected") -> Loss:
        event = Event(kind=kind, at=NOW, id=clean(id_), reason=clean(reason))
        return Loss(event, Span(NOW, NOW), MonotonicS(0.0), MonotonicS(0.0))

    twin = clean("twin")
    waiting = (
        loss("gone", Kind.GONE),
        loss("never", reason="never seen"),
        loss("acked", reason="gone, acknowledgement ended"),
        loss("off"),
    )
    state = AlertState(looked_at=WallMs(NOW), waiting=waiting, siblings={twin: (frozenset(), frozenset())})
    rows = known_rows(state, NO_PROFILE)
    assert {id_: row.verdict for id_, row in rows.items()} == {
        "gone": presence.GONE,
        "never": NEVER_LISTED,
        "acked": NEVER_LISTED,
        "off": DISCONNECTED,
        "twin": DISCONNECTED,
    }
    assert [rows[clean(id_)].since_at for id_ in ("gone", "twin")] == [NOW, None]
