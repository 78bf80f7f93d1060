"""One environment from listing to listing: verdict, skew check, events."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, wire_row

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import DISCONNECTED, GONE, HEARTBEAT_LOST, UNTIMED, Presence, PresenceRule, Reason
from envwatch.fleet.tracking import (
    ChangeTag,
    ListingContext,
    RecentChange,
    TrackedEnvironment,
    events_between,
    marked_absent,
    observed,
)
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

JUDGE = PresenceRule(Limits())
GAP = 5_000.0
NO_BEAT = {"lastHeartbeat": None}


def listing_at(at: float, **changes: Any) -> ListingContext:
    values: dict[str, Any] = {"number": 2, "asked_at": (at - NOW) / 1000, "gap_ms": GAP, "elapsed_ms": at - NOW}
    return ListingContext(**(values | {"rule": JUDGE} | changes))


def next_value(
    tracked: TrackedEnvironment | None, at: float, listing: ListingContext | None = None, **row: Any
) -> TrackedEnvironment:
    return observed(tracked, environment(**row), ServerMs(at), listing or listing_at(at))


def first_value(**row: Any) -> TrackedEnvironment:
    return next_value(None, NOW, listing_at(NOW, number=1), **row)


def events_to(before: TrackedEnvironment, after: TrackedEnvironment, at: float = NOW + 5_000) -> list[Event]:
    return list(events_between(before, after, ServerMs(at)))


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


@pytest.mark.parametrize("row", [{}, {"connectionId": None}, NO_BEAT])
def test_a_row_that_says_nothing_new_leaves_the_very_same_value(row: dict[str, Any]) -> None:
    tracked = first_value(**row)

    assert next_value(tracked, NOW + 5_000, **row) is tracked


@pytest.mark.parametrize(("at", "clock_suspect"), [(NOW - 37_000, False), (NOW - 37_001, True)])
def test_a_row_that_does_not_change_makes_a_clock_that_goes_back_suspect(at: float, *, clock_suspect: bool) -> None:
    """A listing already held the heartbeat of NOW - 12 s five seconds ago, and one whole beat is tolerated."""
    again = next_value(first_value(), at, listing_at(NOW + 5_000))

    assert again.clock_suspect is clock_suspect


def test_a_heartbeat_alone_is_no_change() -> None:
    later = next_value(first_value(), NOW + 5_000, lastHeartbeat=NOW)

    assert (later.last_change, later.since_at) == (None, None)


def test_only_what_came_after_the_first_listing_reads_as_changed() -> None:
    later = next_value(None, NOW + 5_000, listing_at(NOW + 5_000, number=7))

    assert first_value().last_change is None
    assert later.last_change == RecentChange(ChangeTag.JOINED, ServerMs(NOW + 5_000))


def test_the_pod_of_a_lost_row_is_remembered_until_it_has_another() -> None:
    lost = next_value(first_value(podId="p-7"), NOW + 5_000, podId=None, connectionId=None)
    still = next_value(lost, NOW + 10_000, podId=None, connectionId=None, lastSeenAt=NOW + 1)
    back = next_value(still, NOW + 15_000, podId="p-8")

    assert [tracked.pod_id for tracked in (lost, still, back)] == ["p-7", "p-7", "p-8"]
    assert next_value(back, NOW + 20_000, podId=None).pod_id == "p-8"
    assert first_value(podId=None).pod_id is None


LEAVING: dict[str, dict[str, Any]] = {
    "disconnected": {"connectionId": None, "lastHeartbeat": None},
    "no heartbeat": {"lastHeartbeat": None},
    "heartbeat lost": {"lastHeartbeat": NOW - 116_000},
}
WITHOUT_VALUES: dict[str, dict[str, Any]] = {
    "left out": {"currentMode": None, "metadata": None, "userId": None},
    "empty": {"currentMode": "", "userId": "", "metadata": {"lettaCodeVersion": "", "gitBranch": None}},
}


@pytest.mark.parametrize("leaving", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("dropped", WITHOUT_VALUES.values(), ids=WITHOUT_VALUES)
def test_an_offline_row_keeps_the_values_that_the_server_drops(
    leaving: dict[str, Any], dropped: dict[str, Any]
) -> None:
    metadata = {"lettaCodeVersion": "0.33.7", "gitBranch": "main", "workingDirectory": "~/src", "os": "linux"}
    row: dict[str, Any] = {
        "lastHeartbeat": NOW - 116_000,
        "currentMode": "unrestricted",
        "userId": "ana",
        "metadata": metadata,
    }
    up = first_value(**row)
    lost = next_value(up, NOW + 5_000, **row | leaving | dropped)
    assert kinds(events_to(up, lost)) == [Kind.OFFLINE]
    kept = lost.environment
    assert (kept.mode, kept.user_id, kept.metadata) == ("unrestricted", "ana", metadata)
    assert next_value(lost, NOW + 10_000, **row | leaving | dropped) is lost
    # A value that the offline row has is news.
    moved: dict[str, Any] = {"currentMode": "standard", "metadata": {"gitBranch": "fix", "os": ""}}
    changed = next_value(lost, NOW + 10_000, **row | leaving | moved)
    assert [(each.field, each.before, each.after) for each in events_to(lost, changed)] == [
        ("mode", "unrestricted", "standard"),
        ("branch", "main", "fix"),
    ]
    back = next_value(lost, NOW + 10_000, **row | {"lastHeartbeat": NOW + 10_000})
    assert kinds(events_to(lost, back)) == [Kind.ONLINE]


def test_a_row_that_is_up_has_the_listed_values_only() -> None:
    up = first_value(currentMode="unrestricted", metadata={"gitBranch": "main"})
    assert next_value(up, NOW + 5_000, currentMode=None, metadata=None).environment.mode is None
    lost = next_value(up, NOW + 5_000, currentMode=None, **LEAVING["disconnected"])
    assert next_value(lost, NOW + 10_000, currentMode=None, lastHeartbeat=NOW + 9_000).environment.mode is None


def test_a_heartbeat_does_not_go_backwards_on_one_connection() -> None:
    tracked = next_value(first_value(lastHeartbeat=NOW), NOW + 5_000, lastHeartbeat=NOW - 30_000)

    assert tracked.environment.last_heartbeat_at == NOW


@pytest.mark.parametrize(("ahead", "kept"), [(5_000, True), (5_001, False)])
def test_a_stored_heartbeat_of_the_future_is_dropped_because_the_servers_clock_was_ahead(
    ahead: float, *, kept: bool
) -> None:
    at = NOW + 5_000
    tracked = next_value(first_value(lastHeartbeat=at + ahead), at, lastHeartbeat=NOW - 10_000)

    assert tracked.environment.last_heartbeat_at == (at + ahead if kept else NOW - 10_000)
    assert (tracked.presence, tracked.clock_suspect) == (Presence.ONLINE, False)


@pytest.mark.parametrize(("advance", "is_up"), [(-0.5, False), (0.5, False), (14_999, False), (15_000, True)])
def test_a_dead_row_stays_dead_unless_its_heartbeat_advances_by_half_a_beat(advance: float, *, is_up: bool) -> None:
    """Two replicas may round one heartbeat differently."""
    dead = first_value(lastHeartbeat=NOW - 1_000_000)
    moved = next_value(dead, NOW + 5_000, lastHeartbeat=NOW - 1_000_000 + advance)
    again = next_value(moved, NOW + 10_000, lastHeartbeat=NOW - 1_000_000)

    assert [each.verdict.is_up for each in (dead, moved, again)] == [False, is_up, is_up]


@pytest.mark.parametrize("between", [{"lastHeartbeat": None}, {"connectionId": None}, {"connectionId": None} | NO_BEAT])
def test_a_heartbeat_does_not_go_backwards_after_a_row_without_one(between: dict[str, Any]) -> None:
    """An earlier copy of the row may answer at any time."""
    tracked = next_value(first_value(lastHeartbeat=NOW), NOW + 5_000, **({"lastHeartbeat": NOW} | between))
    tracked = next_value(tracked, NOW + 10_000, **({"lastHeartbeat": NOW} | between))
    tracked = next_value(tracked, NOW + 15_000, lastHeartbeat=NOW - 110_000)

    assert (tracked.environment.last_heartbeat_at, tracked.presence) == (NOW, Presence.ONLINE)
    assert next_value(tracked, NOW + 20_000, lastHeartbeat=NOW - 109_000).environment.last_heartbeat_at == NOW


def test_the_last_known_heartbeat_does_not_hold_back_a_newer_one_nor_another_connections() -> None:
    without_beat = next_value(first_value(lastHeartbeat=NOW), NOW + 5_000, lastHeartbeat=None)

    for row in ({"lastHeartbeat": NOW + 8_000}, {"connectionId": "conn-2", "lastHeartbeat": NOW - 9_000}):
        tracked = next_value(without_beat, NOW + 10_000, **row)
        assert tracked.environment.last_heartbeat_at == row["lastHeartbeat"]


def test_a_new_connection_brings_its_own_heartbeat() -> None:
    tracked = next_value(first_value(lastHeartbeat=NOW), NOW + 5_000, connectionId="conn-2", lastHeartbeat=NOW - 30_000)

    assert tracked.environment.last_heartbeat_at == NOW - 30_000


# A beat that advanced between two listings is no older than these 5 s; one whole beat is tolerated.
@pytest.mark.parametrize(
    ("age", "clock_suspect"), [(-30_001, True), (-30_000, False), (0, False), (35_000, False), (35_001, True)]
)
def test_a_heartbeat_that_advanced_must_be_fresh_by_the_clock(age: float, *, clock_suspect: bool) -> None:
    at = NOW + 5_000
    tracked = next_value(first_value(lastHeartbeat=NOW - 3_600_000), at, lastHeartbeat=at - age)

    assert tracked.clock_suspect is clock_suspect


@pytest.mark.parametrize(("elapsed", "is_up"), [(119_999, True), (120_000, False)])
@pytest.mark.parametrize("skew", [-300_000, 300_000])
def test_a_doubted_row_is_judged_by_the_time_since_its_heartbeat_advanced(
    skew: float, elapsed: float, *, is_up: bool
) -> None:
    at = NOW + 5_000
    doubted = next_value(first_value(lastHeartbeat=at - skew - 30_000), at, lastHeartbeat=at - skew)
    assert doubted.clock_suspect
    assert doubted.presence is Presence.ONLINE

    assert next_value(doubted, at + elapsed, lastHeartbeat=at - skew).verdict.is_up is is_up


def test_doubt_ends_when_the_clocks_agree_again() -> None:
    doubted = next_value(first_value(), NOW + 5_000, lastHeartbeat=NOW + 305_000)

    assert not next_value(doubted, NOW + 310_000, lastHeartbeat=NOW + 309_000).clock_suspect


def test_an_old_heartbeat_is_no_contradiction_when_nobody_looked_meanwhile() -> None:
    """Blind for an hour, in which the row beat for half an hour: the row is offline, and no clock is wrong."""
    at = NOW + 3_600_000
    tracked = next_value(first_value(), at, listing_at(at, gap_ms=3_600_000.0), lastHeartbeat=at - 1_800_000)

    assert (tracked.presence, tracked.clock_suspect) == (Presence.OFFLINE, False)


def test_that_holds_when_the_row_was_not_listed_meanwhile() -> None:
    tracked = first_value()
    for seconds in range(5, 300, 5):
        tracked = marked_absent(tracked, ServerMs(NOW + seconds * 1000), listing_at(NOW + seconds * 1000))
    tracked = next_value(tracked, NOW + 300_000, lastHeartbeat=NOW + 60_000)

    assert (tracked.presence, tracked.clock_suspect) == (Presence.OFFLINE, False)


def test_that_holds_when_a_row_had_no_heartbeat_meanwhile() -> None:
    tracked = next_value(first_value(), NOW + 5_000, lastHeartbeat=None)
    tracked = next_value(tracked, NOW + 200_000, lastHeartbeat=NOW + 60_000)

    assert (tracked.presence, tracked.clock_suspect) == (Presence.OFFLINE, False)


def test_silence_proves_nothing_while_the_platforms_heartbeats_stand_still() -> None:
    at = NOW + 200_000
    stalled = listing_at(at, beats_count=False)

    assert next_value(first_value(), at, stalled).verdict.is_up
    assert not next_value(first_value(), at, stalled, connectionId=None).verdict.is_up


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"connectionId": None, "lastHeartbeat": None}, "disconnected"),
        ({"lastHeartbeat": None}, "no heartbeat"),
        ({"lastHeartbeat": NOW - 116_000}, "heartbeat lost (121 s)"),
    ],
)
def test_going_offline_tells_why_and_how_long_it_was_online(after: dict[str, Any], said: str) -> None:
    before = first_value(lastHeartbeat=NOW - 116_000, connectedAt=NOW - 95_000)
    tracked = next_value(before, NOW + 5_000, **after)

    assert events_to(before, tracked) == [
        Event(
            kind=Kind.OFFLINE,
            at=ServerMs(NOW + 5_000),
            id=tracked.environment.id,
            name=tracked.environment.name,
            before=clean("online"),
            after=clean("offline"),
            reason=clean(said),
            lasted=timedelta(seconds=100),
        )
    ]


def test_coming_back_tells_how_long_it_was_away() -> None:
    up = first_value()
    down = next_value(up, NOW + 5_000, connectionId=None)
    back = next_value(down, NOW + 257_000, connectionId="conn-2", lastHeartbeat=NOW + 256_000)
    (event,) = events_to(down, back, NOW + 257_000)

    assert (event.kind, event.before, event.after) == (Kind.ONLINE, "offline", "online")
    assert event.lasted == timedelta(minutes=4, seconds=12)


def test_what_was_seen_to_come_back_was_online_since_then_whenever_it_connected() -> None:
    down = next_value(first_value(), NOW + 5_000, connectionId=None)
    back = next_value(down, NOW + 60_000, connectionId="conn-2", lastHeartbeat=NOW + 59_000, connectedAt=NOW + 50_000)
    lost = next_value(back, NOW + 70_000, connectionId=None)
    (event,) = events_to(back, lost, NOW + 70_000)

    assert (event.kind, event.lasted) == (Kind.OFFLINE, timedelta(seconds=10))


def test_being_late_is_no_event() -> None:
    before = first_value()
    late = next_value(before, NOW + 60_000)

    assert late.presence is Presence.LATE
    assert events_to(before, late) == []


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"connectionId": "conn-2"}, Kind.RECONNECTED),
        ({"connectedAt": NOW}, Kind.RECONNECTED),
        ({"connectionId": "conn-2", "listenerInstanceId": "server-2"}, Kind.RESTARTED),
    ],
)
def test_a_new_connection_never_seen_offline_is_a_reconnect_or_a_restart(row: dict[str, Any], kind: Kind) -> None:
    before = first_value()
    after = next_value(before, NOW + 5_000, **row)
    (event,) = events_to(before, after)

    assert (event.kind, event.before, event.after) == (kind, "conn-of-env-1", after.environment.connection_id)
    assert after.transitions == (NOW + 5_000,)
    assert after.since_at is None


def test_an_upgrade_is_a_restart_and_a_new_version() -> None:
    before = first_value()
    metadata = wire_row()["metadata"] | {"lettaCodeVersion": "0.35.0"}
    after = next_value(before, NOW + 5_000, connectionId="conn-2", metadata=metadata)

    assert kinds(events_to(before, after)) == [Kind.RESTARTED, Kind.VERSION]


def test_one_listing_that_lacks_a_row_proves_nothing_and_the_second_that_it_is_gone() -> None:
    tracked = first_value()
    absent = marked_absent(tracked, ServerMs(NOW + 5_000), listing_at(NOW + 5_000))
    gone = marked_absent(absent, ServerMs(NOW + 10_000), listing_at(NOW + 10_000, number=3))

    assert (absent.verdict, events_to(tracked, absent)) == (tracked.verdict, [])
    assert (gone.verdict, gone.last_change) == (GONE, RecentChange(ChangeTag.NEW, ServerMs(NOW + 10_000)))
    (event,) = events_to(absent, gone)
    assert (event.kind, event.before, event.after, event.reason) == (Kind.GONE, "online", "gone", Reason.ABSENT.value)


def test_a_row_that_is_listed_again_in_time_was_never_away() -> None:
    tracked = first_value()
    absent = marked_absent(tracked, ServerMs(NOW + 5_000), listing_at(NOW + 5_000))
    listed = next_value(absent, NOW + 10_000)
    absent_again = marked_absent(listed, ServerMs(NOW + 15_000), listing_at(NOW + 15_000))

    assert absent_again.presence is Presence.ONLINE


@pytest.mark.parametrize(("connection_id", "after"), [("conn-of-env-1", "online"), (None, "offline")])
def test_a_row_that_is_listed_after_it_was_gone_returned(connection_id: str | None, after: str) -> None:
    gone = first_value()
    for _ in range(2):
        gone = marked_absent(gone, ServerMs(NOW + 10_000), listing_at(NOW + 10_000))
    back = next_value(gone, NOW + 15_000, connectionId=connection_id)
    (event,) = events_to(gone, back, NOW + 15_000)

    assert (event.kind, event.before, event.after) == (Kind.RETURNED, "gone", after)
    assert event.lasted == timedelta(seconds=5)
    assert (back.since_at, back.transitions, back.absent) == (NOW + 15_000, (NOW + 15_000,), 0)


def test_a_row_that_is_still_gone_is_no_event() -> None:
    gone = first_value()
    for _ in range(2):
        gone = marked_absent(gone, ServerMs(NOW + 10_000), listing_at(NOW + 10_000))

    assert events_to(gone, marked_absent(gone, ServerMs(NOW + 15_000), listing_at(NOW + 15_000))) == []


def test_a_new_environment_appeared() -> None:
    (event,) = events_between(None, first_value(connectionId=None), NOW)

    assert (event.kind, event.before, event.after, event.reason) == (Kind.APPEARED, None, "offline", "disconnected")


def test_flapping_begins_and_ends_with_an_event() -> None:
    tracked, events = first_value(), []
    for minute in range(30):
        at = NOW + minute * 60_000
        connection_id = None if minute % 2 and minute < 8 else "conn-of-env-1"
        before, tracked = tracked, next_value(tracked, at, connectionId=connection_id, lastHeartbeat=at)
        events += [
            (minute, kind) for kind in kinds(events_to(before, tracked, at)) if kind in (Kind.FLAPPING, Kind.STEADY)
        ]

    # Samples 0, 2, 4, 6, 8 weigh 28.6 %, the sixth change makes 33.6 %. Minutes later the last five, in samples 10 to
    # 18, weigh 22.0 %, and the last four 17.1 %.
    assert events == [(6, Kind.FLAPPING), (14, Kind.STEADY)]


def test_what_flaps_and_is_gone_flaps_no_longer_and_gone_is_its_only_event() -> None:
    flapping = replace(first_value(), transitions=(NOW,), is_flapping=True)
    absent = marked_absent(flapping, ServerMs(NOW + 5_000), listing_at(NOW + 5_000))
    gone = marked_absent(absent, ServerMs(NOW + 10_000), listing_at(NOW + 10_000))

    assert (absent.is_flapping, gone.is_flapping, gone.is_unhealthy) == (True, False, False)
    assert kinds(events_to(absent, gone, NOW + 10_000)) == [Kind.GONE]


def test_flapping_ends_even_if_the_row_never_changes_again() -> None:
    flapping = replace(first_value(), transitions=(NOW,), is_flapping=True)
    steady = next_value(flapping, NOW + 5_000)

    assert kinds(events_to(flapping, steady)) == [Kind.STEADY]


def test_what_is_down_for_another_reason_has_been_down_since_it_went() -> None:
    lost = next_value(first_value(), NOW + 150_000)
    then_closed = next_value(lost, NOW + 155_000, connectionId=None)
    closed = next_value(first_value(), NOW + 5_000, connectionId=None)
    then_lost = next_value(closed, NOW + 150_000)

    assert (lost.verdict, closed.verdict) == (HEARTBEAT_LOST, DISCONNECTED)
    assert (then_closed.verdict, then_closed.since_at) == (DISCONNECTED, NOW + 150_000)
    assert (then_lost.verdict, then_lost.since_at) == (HEARTBEAT_LOST, NOW + 5_000)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("row", [{}, {"connectionId": None}, NO_BEAT, {"lastHeartbeat": NOW / 1000}])
def test_a_copy_of_a_tracked_environment_changes_as_the_original_does(
    copied: Callable[[TrackedEnvironment], TrackedEnvironment], row: dict[str, Any]
) -> None:
    """Results do not depend on the identity of a verdict, a row or a skew check."""
    first = first_value(**row)
    gone = marked_absent(marked_absent(first, NOW, listing_at(NOW)), NOW, listing_at(NOW))
    lost = next_value(first, ServerMs(NOW + 200_000), listing_at(NOW + 200_000, elapsed_ms=5_000.0), **row)
    for original in (first, gone, lost, replace(first, verdict=UNTIMED)):
        twin = copied(original)
        assert twin == original
        assert twin.is_unhealthy == original.is_unhealthy
        listing = listing_at(NOW + 205_000)
        assert marked_absent(twin, NOW, listing) == marked_absent(original, NOW, listing)
        for change in ({}, row, {"lastHeartbeat": NOW + 204_000}, {"connectionId": "conn-2"}):
            after = next_value(original, NOW + 205_000, listing, **change)
            assert next_value(twin, NOW + 205_000, listing, **change) == after
            assert events_to(twin, after) == events_to(original, after)


def test_a_row_that_says_nothing_new_leaves_a_copy_as_it_is() -> None:
    twin = copy.deepcopy(first_value())

    assert next_value(twin, NOW + 5_000) is twin


def test_a_lost_heartbeat_stays_lost_when_the_servers_clock_is_set_back_behind_it() -> None:
    lost = first_value(lastHeartbeat=NOW - 130_000)
    assert lost.verdict == HEARTBEAT_LOST

    at = NOW - 160_000
    again = next_value(lost, at, listing_at(at, asked_at=5.0, elapsed_ms=GAP), lastHeartbeat=NOW - 130_000)
    assert (again.verdict, again.clock_suspect) == (HEARTBEAT_LOST, True)
