"""State carried over from the previous run, as if watched all the time, if the rows prove that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, beating, environment, failed, listed, watched

from envwatch.fleet.alerting.alert_state import AlertState
from envwatch.fleet.alerting.losses import Loss
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.run_before import known_rows, with_run_before
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment

MINUTE = 60_000
HOUR = 60 * MINUTE
DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW + 4_000}


def row(at: float, id_: str = "env-1", **changes: Any) -> Environment:
    return environment(id_, **({"lastHeartbeat": at - 1_000} | changes))


def lives(*listings: tuple[float, Sequence[Environment]]) -> ProfileState:
    return watched([listed(rows, NOW + after) for after, rows in listings])[0]


def taken_over(before: ProfileState, first: ProfileState, id_: str = "env-1") -> TrackedEnvironment:
    return with_run_before(first, before).environments[clean(id_)]


LOST = lives((0, [row(NOW)]), (5_000, [row(NOW, **DOWN)]))


@pytest.mark.parametrize(("gap", "tag"), [(5 * MINUTE, "NEW"), (15 * MINUTE - 1, "NEW"), (15 * MINUTE, None)])
def test_a_loss_that_the_run_before_saw_is_marked_as_long_as_it_is_recent(gap: int, tag: str | None) -> None:
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
def test_all_that_happened_in_a_gap_of_minutes_is_marked(changes: dict[str, Any], tag: str | None) -> None:
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


def test_a_row_that_flaps_goes_on_flapping_without_another_event() -> None:
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


def test_what_was_offline_when_it_went_has_no_heartbeat_to_hold_back() -> None:
    before = lives((0, [row(NOW), row(NOW, "env-2", **DOWN)]))
    assert taken_over(before, lives((20_000, beating(1, NOW + 20_000))), "env-2").last_known_heartbeat is None


@pytest.mark.parametrize(("gap", "is_kept"), [(HOUR - 1, True), (HOUR, False)])
def test_what_is_gone_is_kept_for_an_hour(gap: int, *, is_kept: bool) -> None:
    at = NOW + gap
    first = with_run_before(lives((gap, beating(1, at))), lives((0, beating(2))))
    assert ("env-2" in first.environments) is is_kept


def test_the_heartbeat_of_what_was_gone_is_no_proof_when_it_returns() -> None:
    """The heartbeat has not advanced between two listings of this run, so only the server's clock gives an age."""
    first = with_run_before(lives((MINUTE, beating(1, NOW + MINUTE))), lives((0, beating(2))))
    rows = [*beating(1, NOW + 10 * MINUTE), row(NOW + MINUTE / 2, "env-2")]
    after, _ = watched([failed(at=NOW + 9 * MINUTE), listed(rows, NOW + 10 * MINUTE)], first)
    found = after.environments[clean("env-2")]
    assert (found.presence, found.clock_suspect) == (Presence.OFFLINE, False)


def test_without_two_listings_nothing_is_taken_over() -> None:
    assert with_run_before(ProfileState(), LOST) == ProfileState()
    assert with_run_before(LOST, ProfileState()) is LOST


def test_no_row_that_may_be_listed_is_gone() -> None:
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


def test_a_row_that_an_earlier_run_knew_as_lost_or_as_a_twin_alone_has_the_presence_of_the_loss() -> None:
    def loss(id_: str, kind: Kind) -> Loss:
        event = Event(kind=kind, at=NOW, id=clean(id_))
        return Loss(event, Span(NOW, NOW), MonotonicS(0.0), MonotonicS(0.0))

    twin = clean("twin")
    waiting = (loss("gone", Kind.GONE), loss("missing", Kind.MISSING), loss("off", Kind.OFFLINE))
    state = AlertState(looked_at=WallMs(NOW), waiting=waiting, siblings={twin: (frozenset(), frozenset())})
    rows = known_rows(state, NO_PROFILE)
    assert {id_: row.presence for id_, row in rows.items()} == {
        "gone": Presence.GONE,
        "missing": Presence.MISSING,
        "off": Presence.OFFLINE,
        "twin": Presence.OFFLINE,
    }
    assert [rows[clean(id_)].since_at for id_ in ("gone", "twin")] == [NOW, None]
