"""One environment from listing to listing: verdict, skew check, events, changed fields, marks, flapping."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from support.builders import NOW, environment, wire_row

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import (
    DISCONNECTED,
    GONE,
    HEARTBEAT_LOST,
    LATE,
    ONLINE,
    UNTIMED,
    Presence,
    PresenceRule,
    Reason,
)
from envwatch.fleet.tracking import (
    ChangeTag,
    ListingContext,
    RecentChange,
    TrackedEnvironment,
    appearance,
    change_rate,
    changes,
    events_between,
    is_flapping,
    is_new_connection,
    is_new_process,
    later_change,
    marked_absent,
    observed,
    turn,
)
from envwatch.fleet.uptime import Uptime
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Callable


JUDGE = PresenceRule(Limits())
GAP = 5_000.0
NO_BEAT = {"lastHeartbeat": None}


def listing_at(at: float, **changes: Any) -> ListingContext:
    values: dict[str, Any] = {"asked_at": (at - NOW) / 1000, "gap_ms": GAP, "elapsed_ms": at - NOW}
    return ListingContext(**(values | {"rule": JUDGE} | changes))


def next_value(
    tracked: TrackedEnvironment | None, at: float, listing: ListingContext | None = None, **row: Any
) -> TrackedEnvironment:
    return observed(tracked, environment(**row), ServerMs(at), listing or listing_at(at))


def first_value(**row: Any) -> TrackedEnvironment:
    return next_value(None, NOW, listing_at(NOW, is_baseline=True, marks_new=False), **row)


def events_to(before: TrackedEnvironment, after: TrackedEnvironment, at: float = NOW + 5_000) -> list[Event]:
    return list(events_between(before, after, ServerMs(at)))


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


@pytest.mark.parametrize("row", [{}, {"connectionId": None}, NO_BEAT])
def test_a_row_without_news_leaves_the_very_same_value(row: dict[str, Any]) -> None:
    first = first_value(**row)
    for tracked in (first, copy.deepcopy(first)):
        assert next_value(tracked, NOW + 5_000, **row) is tracked


def test_a_heartbeat_alone_and_a_late_heartbeat_are_no_change() -> None:
    before = first_value()
    later, late = next_value(before, NOW + 5_000, lastHeartbeat=NOW), next_value(before, NOW + 60_000)
    assert (later.last_change, later.since_at, late.presence) == (None, None, Presence.LATE)
    assert events_to(before, later) == events_to(before, late) == []


@pytest.mark.parametrize(("at", "clock_suspect"), [(NOW - 37_000, False), (NOW - 37_001, True)])
def test_an_unchanged_row_makes_a_clock_set_back_suspect(at: float, *, clock_suspect: bool) -> None:
    """A listing already held the heartbeat of NOW - 12 s five seconds ago, and one whole beat is tolerated."""
    again = next_value(first_value(), at, listing_at(NOW + 5_000))
    assert again.clock_suspect is clock_suspect


def test_only_what_came_after_the_first_listing_reads_as_changed() -> None:
    later = next_value(None, NOW + 5_000, listing_at(NOW + 5_000))
    assert first_value().last_change is None
    assert later.last_change == RecentChange(ChangeTag.JOINED, ServerMs(NOW + 5_000))


def test_the_pod_of_a_lost_row_is_remembered_until_the_next_pod() -> None:
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
def test_an_offline_row_keeps_the_values_dropped_by_the_server(
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


def test_a_row_up_has_the_listed_values_only() -> None:
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
def test_an_advanced_heartbeat_must_be_fresh_by_the_clock(age: float, *, clock_suspect: bool) -> None:
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


@pytest.mark.parametrize("meanwhile", ["blind", "not listed", "without a heartbeat"])
def test_an_old_heartbeat_is_no_contradiction_when_nobody_saw_the_heartbeats_meanwhile(meanwhile: str) -> None:
    """The row beat on for a while, and is offline now: no clock is wrong."""
    at, listing, tracked = NOW + 300_000, None, first_value()
    match meanwhile:
        case "blind":
            listing = listing_at(at, gap_ms=300_000.0)
        case "not listed":
            for seconds in range(5, 300, 5):
                tracked = marked_absent(tracked, ServerMs(NOW + seconds * 1000), listing_at(NOW + seconds * 1000))
        case _:
            tracked = next_value(tracked, NOW + 5_000, lastHeartbeat=None)
    tracked = next_value(tracked, at, listing, lastHeartbeat=NOW + 60_000)

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
def test_going_offline_tells_why_and_how_long_the_row_was_online(after: dict[str, Any], said: str) -> None:
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


def test_coming_back_tells_how_long_the_row_was_away() -> None:
    up = first_value()
    down = next_value(up, NOW + 5_000, connectionId=None)
    back = next_value(down, NOW + 257_000, connectionId="conn-2", lastHeartbeat=NOW + 256_000)
    (event,) = events_to(down, back, NOW + 257_000)

    assert (event.kind, event.before, event.after) == (Kind.ONLINE, "offline", "online")
    assert event.lasted == timedelta(minutes=4, seconds=12)
    # Seen to come back, the row was online since then, whenever it connected.
    lost = next_value(back, NOW + 270_000, connectionId=None)
    (event,) = events_to(back, lost, NOW + 270_000)
    assert (event.kind, event.lasted) == (Kind.OFFLINE, timedelta(seconds=13))


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


def test_one_listing_without_a_row_proves_nothing_and_the_second_proves_the_row_gone() -> None:
    tracked = first_value()
    absent = marked_absent(tracked, ServerMs(NOW + 5_000), listing_at(NOW + 5_000))
    gone = marked_absent(absent, ServerMs(NOW + 10_000), listing_at(NOW + 10_000))
    assert (absent.verdict, events_to(tracked, absent)) == (tracked.verdict, [])
    assert (gone.verdict, gone.last_change) == (GONE, RecentChange(ChangeTag.NEW, ServerMs(NOW + 10_000)))
    (event,) = events_to(absent, gone)
    assert (event.kind, event.before, event.after, event.reason) == (Kind.GONE, "online", "gone", Reason.ABSENT.value)


@pytest.mark.parametrize(("connection_id", "after"), [("conn-of-env-1", "online"), (None, "offline")])
def test_a_gone_row_listed_again_returned(connection_id: str | None, after: str) -> None:
    gone = first_value()
    for _ in range(2):
        gone = marked_absent(gone, ServerMs(NOW + 10_000), listing_at(NOW + 10_000))
    back = next_value(gone, NOW + 15_000, connectionId=connection_id)
    (event,) = events_to(gone, back, NOW + 15_000)
    assert (event.kind, event.before, event.after) == (Kind.RETURNED, "gone", after)
    assert event.lasted == timedelta(seconds=5)
    assert (back.since_at, back.transitions, back.absent) == (NOW + 15_000, (NOW + 15_000,), 0)


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


def test_a_row_down_for_another_reason_has_been_down_since_the_first() -> None:
    lost = next_value(first_value(), NOW + 150_000)
    then_closed = next_value(lost, NOW + 155_000, connectionId=None)
    closed = next_value(first_value(), NOW + 5_000, connectionId=None)
    then_lost = next_value(closed, NOW + 150_000)
    assert (lost.verdict, closed.verdict) == (HEARTBEAT_LOST, DISCONNECTED)
    assert (then_closed.verdict, then_closed.since_at) == (DISCONNECTED, NOW + 150_000)
    assert (then_lost.verdict, then_lost.since_at) == (HEARTBEAT_LOST, NOW + 5_000)


@pytest.mark.parametrize(
    ("alerts", "uptime", "share", "is_permanent"),
    [
        ({"share": 0.9, "pages": False}, None, 0.9, True),
        ({"share": 0.89, "pages": True}, Uptime(up=1e9, watched=1e9), 0.89, False),
        *(({"pages": counts}, Uptime(up=1e9, watched=1e9), None, counts) for counts in (True, False)),
        *((None, Uptime(up=1e9, watched=1e9), 1.0, True), (None, Uptime(up=1e6, watched=1e6), None, False)),
        (None, None, None, True),
    ],
)
def test_the_serving_host_decides_before_the_own_record_how_long_a_row_is_up(
    alerts: dict[str, Any] | None, uptime: Uptime | None, share: float | None, *, is_permanent: bool
) -> None:
    marks = {} if alerts is None else {"alerts": {"why": "by the host"} | alerts}
    tracked = replace(first_value(envwatch=marks), uptime=uptime)
    assert (tracked.up_share, tracked.is_permanent) == (share, is_permanent)


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


def test_a_lost_heartbeat_stays_lost_when_the_servers_clock_is_set_back_behind_the_heartbeat() -> None:
    lost = first_value(lastHeartbeat=NOW - 130_000)
    assert lost.verdict == HEARTBEAT_LOST
    at = NOW - 160_000
    again = next_value(lost, at, listing_at(at, asked_at=5.0, elapsed_ms=GAP), lastHeartbeat=NOW - 130_000)
    assert (again.verdict, again.clock_suspect) == (HEARTBEAT_LOST, True)


# Changes of a row between two sightings, in a person's words

METADATA = wire_row()["metadata"]


Change: TypeAlias = tuple[Kind, str, SafeText | None, SafeText | None]


def changes_to(**after: Any) -> list[Change]:
    return list(changes(environment(), environment(**after)))


def change(kind: Kind, field: str, before: str | None, after: str | None) -> Change:
    return kind, field, None if before is None else clean(before), None if after is None else clean(after)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"connectionName": "nas"}, change(Kind.RENAMED, "name", "laptop of env-1", "nas")),
        ({"currentMode": "unrestricted"}, change(Kind.MODE, "mode", "standard", "unrestricted")),
        ({"currentMode": None}, change(Kind.MODE, "mode", "standard", None)),
        ({"metadata": METADATA | {"lettaCodeVersion": "1"}}, change(Kind.VERSION, "version", "0.34.12", "1")),
        ({"metadata": METADATA | {"gitBranch": "fix"}}, change(Kind.BRANCH, "branch", "main", "fix")),
        ({"metadata": METADATA | {"gitBranch": 5}}, change(Kind.BRANCH, "branch", "main", None)),
        ({"metadata": METADATA | {"os": "darwin"}}, change(Kind.CHANGED, "os", "linux", "darwin")),
        ({"metadata": METADATA | {"nodeVersion": "v24"}}, change(Kind.CHANGED, "node", "v22.1.0", "v24")),
        (
            {"metadata": METADATA | {"workingDirectory": "/"}},
            change(Kind.CHANGED, "directory", "/home/hiro/code/portal", "/"),
        ),
        ({"userId": "u-1"}, change(Kind.CHANGED, "user", None, "u-1")),
        ({"podId": "pod-2"}, change(Kind.CHANGED, "pod", "pod-1", "pod-2")),
    ],
)
def test_a_field_set_by_a_person_is_a_change(after: dict[str, Any], expected: Change) -> None:
    assert changes_to(**after) == [expected]


def test_several_changes_come_in_a_fixed_order() -> None:
    after = {"metadata": METADATA | {"os": "win32", "gitBranch": "x"}, "currentMode": "strict", "connectionName": "n"}
    assert [field for _, field, _, _ in changes_to(**after)] == ["name", "mode", "branch", "os"]


@pytest.mark.parametrize(
    "after",
    [
        {"lastHeartbeat": NOW, "lastSeenAt": NOW},
        {"connectionId": "conn-2", "connectedAt": NOW},
        {"podId": None},
        {"listenerInstanceId": "server-2"},
        {"metadata": METADATA | {"machine": {"memoryBytes": 1}}},
        {"region": "eu"},
    ],
)
def test_what_changes_by_itself_is_none(after: dict[str, Any]) -> None:
    assert changes_to(**after) == []


@pytest.mark.parametrize(
    ("old", "new"), [("default", "standard"), ("bypassPermissions", "unrestricted"), ("fullAccess", "unrestricted")]
)
def test_the_new_name_of_a_mode_is_no_change(old: str, new: str) -> None:
    assert list(changes(environment(currentMode=old), environment(currentMode=new))) == []


@pytest.mark.parametrize(
    ("after", "is_new"),
    [
        ({}, False),
        ({"connectionId": "conn-2"}, True),
        ({"connectedAt": NOW}, True),
        ({"connectedAt": NOW - 3_600_000 + 999}, False),
        ({"connectedAt": NOW - 3_600_000 - 999}, False),
        ({"connectedAt": NOW - 3_600_000 + 1_000}, True),
        ({"connectedAt": NOW - 3_600_000 - 1_000}, True),
        ({"connectedAt": None}, False),
        ({"connectionId": None, "connectedAt": None}, False),
        ({"connectionId": "", "connectedAt": NOW}, False),
    ],
)
def test_a_connection_is_new_by_its_id_or_its_beginning(after: dict[str, Any], *, is_new: bool) -> None:
    assert is_new_connection(environment(), environment(**after)) is is_new
    assert not is_new_connection(environment(connectionId=None), environment(**after))


@pytest.mark.parametrize(
    ("after", "is_new"),
    [
        ({"connectionId": "conn-2"}, False),
        ({"listenerInstanceId": "server-2"}, True),
        ({"listenerInstanceId": None}, False),
        ({"metadata": METADATA | {"lettaCodeVersion": "0.35.0"}}, True),
        ({"metadata": METADATA | {"nodeVersion": "v24"}}, True),
        ({"metadata": None}, False),
    ],
)
def test_a_process_is_new_by_its_instance_or_its_version(after: dict[str, Any], *, is_new: bool) -> None:
    assert is_new_process(environment(), environment(**after)) is is_new


# The change that marks a row, and the mark's duration

MODE: dict[str, Any] = {"currentMode": "plan"}
VERSION: dict[str, Any] = {"metadata": {"lettaCodeVersion": "9.9.9"}}
CONNECTION: dict[str, Any] = {"connectionId": "conn-2"}


def changed(last: RecentChange | None = None, at: float = NOW, **row: Any) -> RecentChange | None:
    return later_change(last, environment(), environment(**row), ServerMs(at))


def test_only_what_is_down_is_marked_as_a_loss() -> None:
    assert [turn(verdict, NOW).tag for verdict in (DISCONNECTED, GONE, ONLINE, LATE)] == ["NEW", "NEW", "BACK", "BACK"]
    assert [appearance(verdict, NOW).tag for verdict in (DISCONNECTED, ONLINE)] == ["NEW", "JOIN"]


def test_mode_version_and_connection_mark_a_row() -> None:
    version = environment(**VERSION)
    assert changed(**MODE) == RecentChange(ChangeTag.MODE, NOW)
    assert later_change(None, version, version, NOW) is None
    assert changed(**VERSION) == RecentChange(ChangeTag.VERSION, NOW)
    assert changed(**CONNECTION) == RecentChange(ChangeTag.CONNECTION, NOW)
    assert changed(**MODE, **VERSION, **CONNECTION) == RecentChange(ChangeTag.MODE, NOW)
    assert changed(lastHeartbeat=NOW) is None


@pytest.mark.parametrize(("first", "second"), list(combinations(ChangeTag, 2)))
def test_a_lesser_change_does_not_hide_a_recent_one(first: ChangeTag, second: ChangeTag) -> None:
    row = {ChangeTag.MODE: MODE, ChangeTag.VERSION: VERSION, ChangeTag.CONNECTION: CONNECTION}.get(second)
    if row is None:
        return  # comings and goings always mark the row: `turn`
    last = RecentChange(first, NOW)
    assert changed(last, NOW + 1e6) is last
    assert changed(last, NOW + 899_999, **row) is last
    assert changed(last, NOW + 900_000, **row) == RecentChange(second, ServerMs(NOW + 900_000))


# Nagios' flap detection, on percentages calculated by hand

SLOT = 30_000


def changes_in(*slots: int) -> list[float]:
    """Return a change in the middle of each slot, 0 for the newest."""
    return [NOW - slot * SLOT - SLOT / 2 for slot in slots]


# The newest of the 20 possible changes weighs 1.25, the oldest 0.75, each step 0.5/19.
@pytest.mark.parametrize(
    ("slots", "percent"),
    [
        ((), 0.0),
        ((0,), 6.25),  # 1.25 / 20
        ((19,), 3.75),  # 0.75 / 20
        ((0, 19), 10.0),
        ((0, 1, 2), 18.355263157894736),  # (3 * 1.25 - 3 * 0.5/19) / 20
        (tuple(range(0, 20, 2)), 50.65789473684210),  # every other sample: (10 * 1.25 - 90 * 0.5/19) / 20
        (tuple(range(20)), 100.0),  # a change in every sample
        ((20,), 0.0),  # past the window
    ],
)
def test_the_rate_is_the_rate_of_nagios(slots: tuple[int, ...], percent: float) -> None:
    assert change_rate(changes_in(*slots), NOW) == pytest.approx(percent, abs=1e-9)


def test_changes_within_one_sample_count_once() -> None:
    assert change_rate([NOW, NOW - 1, NOW - SLOT + 1], NOW) == 6.25


@pytest.mark.parametrize(("age", "percent"), [(SLOT - 1, 6.25), (SLOT, 6.25 - 100 * 0.5 / 19 / 20)])
def test_a_sample_is_thirty_seconds(age: float, percent: float) -> None:
    assert change_rate([NOW - age], NOW) == pytest.approx(percent, abs=1e-9)


@pytest.mark.parametrize(("age", "counts"), [(20 * SLOT - 1, True), (20 * SLOT, False)])
def test_a_change_is_forgotten_after_ten_minutes(age: float, *, counts: bool) -> None:
    assert (change_rate([NOW - age], NOW) > 0) is counts


def test_a_change_from_the_future_counts_for_nothing() -> None:
    assert change_rate([NOW + 1], NOW) == 0


# The weights of 0 and 19, 1 and 18, and so on, add up to 2.0, which is 10 %.
BELOW_TWENTY = changes_in(1, 2, 19)
TWENTY = changes_in(0, 19, 1, 18)
ABOVE_TWENTY = changes_in(0, 19, 1, 17)
BELOW_THIRTY = changes_in(0, 19, 1, 18, 3, 17)
THIRTY = changes_in(0, 19, 1, 18, 2, 17)


@pytest.mark.parametrize(
    ("changed_at", "starts", "goes_on"),
    [
        (BELOW_TWENTY, False, False),
        (TWENTY, False, False),
        (ABOVE_TWENTY, False, True),
        (BELOW_THIRTY, False, True),
        (THIRTY, True, True),
    ],
)
def test_flapping_starts_at_thirty_percent_and_ends_at_twenty(
    changed_at: list[float], *, starts: bool, goes_on: bool
) -> None:
    assert is_flapping(changed_at, NOW, was_flapping=False) is starts
    assert is_flapping(changed_at, NOW, was_flapping=True) is goes_on
