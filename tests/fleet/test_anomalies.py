"""Listings too unlikely to be believed at once, heartbeats that stand still everywhere, and mass changes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, counts_of, environment, failed, listed, reading, slept, watched, wire_row

from envwatch.fleet.anomalies import Anomaly, blast_radius, is_mass
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import MonotonicS
from envwatch.model.text import SafeText, clean
from envwatch.views.events.event_text import event_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome


STEP = 5_000.0


def story(*listings: list[Environment]) -> Iterable[Outcome]:
    return [listed(rows, NOW + number * STEP) for number, rows in enumerate(listings)]


def without_beats(rows: list[Environment], count: int) -> list[Environment]:
    return [environment(row.id, lastHeartbeat=None) for row in rows[:count]] + rows[count:]


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


def quarantined(profile_state: ProfileState) -> tuple[Anomaly, int] | None:
    return (
        None
        if profile_state.quarantine is None
        else (profile_state.quarantine.anomaly, profile_state.quarantine.listings)
    )


@pytest.mark.parametrize(
    ("listings", "step", "believed"),
    [(12, STEP, False), (13, STEP, True), (2, 60_000.0, False), (3, 30_000.0, True), (3, 29_999.0, False)],
)
def test_an_emptied_list_is_believed_after_three_listings_and_a_minute(
    listings: int, step: float, *, believed: bool
) -> None:
    first = [listed(beating(3)), listed(beating(3, NOW + step), NOW + step)]
    profile_state, events = watched([*first, *(listed([], NOW + step * number) for number in range(2, 2 + listings))])
    assert (profile_state.quarantine is None) is believed
    assert counts_of(profile_state) == {Presence.GONE if believed else Presence.ONLINE: 3}
    assert [(leaf.kind, leaf.reason) for leaf in flatten(events)] == [
        (Kind.HELD, Anomaly.EMPTIED.value),
        *([(Kind.GONE, "no longer listed")] * 3 if believed else []),
    ]
    assert watched([listed([], NOW + step * (2 + listings))], profile_state)[1] == [] or not believed


@pytest.mark.parametrize(("seconds", "left_s"), [(5, 60), (35, 30), (65, 0), (100, 0)])
def test_a_quarantine_knows_its_least_remaining_time(seconds: float, left_s: float) -> None:
    profile_state, _ = watched(story(beating(3), []))
    assert profile_state.quarantine is not None
    assert profile_state.quarantine.left_s(MonotonicS(seconds)) == left_s


def test_a_list_of_two_may_empty_but_absence_still_needs_two_listings() -> None:
    profile_state, events = watched(story(beating(2), []))
    assert (profile_state.quarantine, counts_of(profile_state), events) == (None, {Presence.ONLINE: 2}, [])
    profile_state, events = watched([listed([], NOW + 2 * STEP)], profile_state)
    assert counts_of(profile_state) == {Presence.GONE: 2}


def test_an_emptied_list_filled_again_during_its_quarantine_changed_nothing() -> None:
    rows = beating(3)
    profile_state, events = watched(story(rows, [], [], rows, [], []))
    assert (quarantined(profile_state), counts_of(profile_state)) == ((Anomaly.EMPTIED, 2), {Presence.ONLINE: 3})
    assert kinds(events) == [Kind.HELD, Kind.HELD]


def test_a_row_in_a_quarantined_listing_is_not_absent() -> None:
    rows = beating(10)
    profile_state, events = watched(story(rows, rows[:9], without_beats(rows, 5), rows[:9]))
    assert kinds(events) == [Kind.HELD]
    assert profile_state.environments[clean("env-10")].absent == 1
    profile_state, events = watched([listed(rows[:9], NOW + 4 * STEP)], profile_state)
    assert kinds(events) == [Kind.GONE]


def test_a_failed_poll_neither_confirms_nor_clears_a_quarantined_listing() -> None:
    profile_state, events = watched([*story(beating(3), [], []), failed(at=NOW + 3 * STEP), listed([], NOW + 65_000)])
    assert counts_of(profile_state) == {Presence.GONE: 3}
    assert kinds(flatten(events)) == [Kind.HELD, *[Kind.GONE] * 3]


def test_the_data_on_the_screen_grows_old_while_a_listing_is_quarantined() -> None:
    profile_state, _ = watched(story(beating(3), [], []))
    assert profile_state.age(reading(NOW + 2 * STEP)) == profile_state.interval * 2


def lacking(
    count: int,
    first: int,
    last: int,
    at: float,
    *,
    confirmed_absent: frozenset[SafeText] = frozenset(),
    in_doubt: frozenset[SafeText] = frozenset(),
) -> Listed:
    missing = ids(first, last)
    outcome = listed([row for row in beating(count, at) if row.id not in missing], at)
    snapshot = outcome.snapshot._replace(confirmed_absent=confirmed_absent, in_doubt=in_doubt)
    return outcome._replace(snapshot=snapshot)


def ids(first: int, last: int) -> frozenset[SafeText]:
    return frozenset(clean(f"env-{number}") for number in range(first, last + 1))


@pytest.mark.parametrize(
    ("count", "vanished", "is_quarantined"), [(250, 150, True), (250, 51, True), (250, 50, False), (9, 2, False)]
)
def test_rows_vanishing_together_are_quarantined_from_three_and_a_fifth_on(
    count: int, vanished: int, *, is_quarantined: bool
) -> None:
    outcomes = [lacking(count, 1, vanished, NOW + step * STEP) for step in range(1, 3)]
    profile_state, events = watched([listed(beating(count)), *outcomes])
    assert quarantined(profile_state) == ((Anomaly.VANISHED, 2) if is_quarantined else None)
    assert counts_of(profile_state)[Presence.GONE] == (0 if is_quarantined else vanished)
    if is_quarantined:
        assert [(event.kind, event.reason) for event in events] == [
            (Kind.HELD, f"{vanished} of {count} machines vanished at once")
        ]


def test_listed_rows_without_a_readable_entry_have_not_vanished() -> None:
    one = lacking(10, 1, 4, NOW + STEP)
    one = one._replace(snapshot=one.snapshot._replace(rejected=2, rejected_ids=ids(1, 2)))
    profile_state, events = watched([listed(beating(10)), one])
    assert (quarantined(profile_state), events) == (None, [])
    assert [tracked.absent for tracked in profile_state.environments.values()].count(1) == 2


def test_listed_rows_are_watched_while_the_others_are_quarantined() -> None:
    lost = lacking(10, 1, 5, NOW + 2 * STEP)
    rows = [*lost.snapshot.pages[0].environments[:-1], environment("env-10", connectionId=None)]
    outcomes = [lacking(10, 1, 5, NOW + STEP), listed(rows, NOW + 2 * STEP)]
    profile_state, events = watched([listed(beating(10)), *outcomes])
    assert profile_state.age(reading(NOW + 2 * STEP)) == timedelta()
    assert [(event.kind, event.id) for event in events] == [(Kind.HELD, None), (Kind.OFFLINE, "env-10")]


def test_rows_back_during_their_quarantine_were_never_away() -> None:
    """60 rows are missing each time, with variations: 54 rows are missing all the time."""
    moments = [NOW + step * STEP for step in range(1, 14)]
    others = [lacking(250, 1 + step // 2, 60 + step // 2, at) for step, at in enumerate(moments)]
    profile_state, events = watched([listed(beating(250)), *others])
    assert profile_state.quarantine is None
    assert {event.id for event in flatten(events) if event.kind is Kind.GONE} == ids(7, 60)
    profile_state, events = watched([lacking(250, 61, 66, moments[-1] + STEP)], profile_state)
    assert {leaf.id for leaf in flatten(events) if leaf.kind is Kind.GONE} == ids(61, 66)


def test_a_row_back_during_its_quarantine_is_judged_by_its_last_listing_and_not_by_the_gap() -> None:
    """The heartbeat advanced some time since the row was last listed, not since the previous listing."""
    beat = NOW + 31_000
    rows = [environment(f"env-{number}", lastHeartbeat=beat) for number in range(1, 11)]
    outcomes = [lacking(10, 1, 5, NOW + at) for at in (STEP, 90_000.0)]
    profile_state, _ = watched([listed(beating(10)), *outcomes, listed(rows, NOW + 95_000)])
    assert {tracked.clock_suspect for tracked in profile_state.environments.values()} == {False}
    assert profile_state.environments[clean("env-1")].presence is Presence.LATE


def test_other_vanishing_rows_are_quarantined_anew_without_another_event() -> None:
    moments = [NOW + step * 20_000 for step in range(1, 8)]
    parts = [(1, 100), (1, 100), (101, 200), (101, 200), (101, 200), (1, 100), (1, 100)]
    profile_state, events = watched(
        [listed(beating(250)), *(lacking(250, *part, at) for part, at in zip(parts, moments, strict=True))]
    )
    assert (quarantined(profile_state), counts_of(profile_state)[Presence.GONE]) == ((Anomaly.VANISHED, 2), 0)
    assert kinds(events) == [Kind.HELD]


def test_rows_vanishing_later_are_quarantined_for_a_minute_of_their_own() -> None:
    moments = [NOW + step * 20_000 for step in range(1, 8)]
    lasts = [100, 100, 100, 200, 200, 200, 200]
    outcomes = [lacking(250, 1, last, at) for last, at in zip(lasts, moments, strict=True)]
    profile_state, events = watched([listed(beating(250)), *outcomes[:4]])
    assert (quarantined(profile_state), counts_of(profile_state)[Presence.GONE]) == ((Anomaly.VANISHED, 1), 100)
    profile_state, events = watched(outcomes[4:6], profile_state)
    assert (quarantined(profile_state), events) == ((Anomaly.VANISHED, 3), [])
    profile_state, events = watched(outcomes[6:], profile_state)
    assert (quarantined(profile_state), counts_of(profile_state)[Presence.GONE]) == (None, 200)


def test_confirmations_add_up_until_no_more_than_a_fifth_is_left() -> None:
    """60 of 250 vanish, 9 are confirmed each time: after two times 42 are left, less than a fifth."""
    profile_state, _ = watched([listed(beating(250)), lacking(250, 1, 60, NOW + STEP, confirmed_absent=ids(1, 9))])
    assert quarantined(profile_state) == (Anomaly.VANISHED, 1)

    confirmed, doubted = ids(10, 18), ids(19, 60)
    profile_state, events = watched(
        [
            lacking(250, 1, 60, NOW + 2 * STEP, confirmed_absent=confirmed, in_doubt=doubted),
            lacking(250, 1, 60, NOW + 3 * STEP, in_doubt=doubted),
        ],
        profile_state,
    )
    assert profile_state.quarantine is None
    assert {event.id for event in flatten(events)} == ids(1, 18)


def test_an_absence_in_doubt_is_never_believed() -> None:
    moments = [NOW + step * STEP for step in range(1, 30)]
    profile_state, events = watched(
        [listed(beating(20)), *(lacking(20, 1, 2, at, in_doubt=ids(2, 2)) for at in moments)]
    )
    assert [event.id for event in events] == ["env-1"]
    profile_state, events = watched([lacking(20, 1, 2, NOW + 30 * STEP)], profile_state)
    assert [(event.kind, event.id) for event in events] == [(Kind.GONE, "env-2")]


def test_another_anomaly_in_between_starts_the_count_over_and_makes_nothing_gone() -> None:
    rows = beating(10)
    outcomes = [lacking(10, 1, 5, NOW + STEP), listed([], NOW + 2 * STEP), lacking(10, 1, 5, NOW + 3 * STEP)]
    profile_state, events = watched([listed(rows), *outcomes])
    assert (quarantined(profile_state), counts_of(profile_state)) == ((Anomaly.VANISHED, 1), {Presence.ONLINE: 10})
    assert kinds(events) == [Kind.HELD] * 3


@pytest.mark.parametrize(("lost", "of", "quarantined"), [(2, 4, False), (3, 4, True), (3, 14, True), (3, 15, False)])
def test_many_heartbeats_lost_on_a_kept_connection_are_quarantined(lost: int, of: int, *, quarantined: bool) -> None:
    rows = beating(of)
    profile_state, events = watched(story(rows, without_beats(rows, lost)))
    assert (profile_state.quarantine is not None) is quarantined
    assert counts_of(profile_state)[Presence.OFFLINE] == (0 if quarantined else lost)
    assert kinds(flatten(events)) == ([Kind.HELD] if quarantined else [Kind.OFFLINE] * lost)


@pytest.mark.parametrize("connection_id", [None, "new"])
def test_heartbeats_lost_with_their_connections_are_no_anomaly(connection_id: str | None) -> None:
    """A new connection may not have beaten yet."""
    rows = beating(5)
    cut_off = [environment(row.id, connectionId=connection_id, lastHeartbeat=None) for row in rows]
    profile_state, events = watched(story(rows, cut_off))
    assert (profile_state.quarantine, counts_of(profile_state)) == (None, {Presence.OFFLINE: 5})
    assert kinds(flatten(events)) == [Kind.OFFLINE] * 5


def standing_still(
    count: int, until: float, *, dated: bool = True, skew: float = 0.0
) -> tuple[ProfileState, list[Event]]:
    """Return a fleet that beat once more five seconds after the first listing, then never again."""
    rows = beating(count, NOW + STEP)
    moments = [NOW + STEP * n for n in range(1, 1000) if NOW + STEP * n < until]
    moments.append(until)
    first = listed(beating(count), NOW, dated=dated, skew=skew)
    return watched([first, *(listed(rows, at, dated=dated, skew=skew) for at in moments)])


@pytest.mark.parametrize(
    ("count", "seconds", "stalled"), [(10, 59.999, False), (10, 60, True), (10, 600, True), (9, 60, False)]
)
def test_ten_still_heartbeats_are_the_platforms_trouble_after_a_minute(
    count: int, seconds: float, *, stalled: bool
) -> None:
    profile_state, events = standing_still(count, NOW + STEP + seconds * 1000)
    assert profile_state.stall_detector.is_stalled is stalled
    assert kinds(events) == ([Kind.STALLED] if stalled else [])


def test_one_advancing_heartbeat_anywhere_is_no_stall() -> None:
    for place in (0, 11):
        moments = [NOW + STEP * number for number in range(20)]
        rows = [
            beating(12),
            *([beating(12)[:place] + beating(12, at)[place:][:1] + beating(12)[place + 1 :] for at in moments[1:]]),
        ]
        profile_state, _ = watched(listed(each, at) for each, at in zip(rows, moments, strict=True))
        assert not profile_state.stall_detector.is_stalled


def test_stalled_rows_count_as_unknown_and_the_others_by_their_presence() -> None:
    rows = [*beating(10, NOW + STEP), environment("down", connectionId=None, lastHeartbeat=None)]
    profile_state, _ = watched(
        [listed([*beating(10), rows[-1]]), *(listed(rows, NOW + STEP * n) for n in range(1, 14))]
    )
    assert [row.presence for row in profile_state.known(reading())] == [Presence.OFFLINE]
    assert counts_of(profile_state) == {Presence.LATE: 10, Presence.OFFLINE: 1}
    moving, _ = watched([listed([*beating(10, NOW + 14 * STEP), rows[-1]], NOW + 14 * STEP)], profile_state)
    known = Counter(row.presence for row in moving.known(reading()))
    assert known == {Presence.ONLINE: 10, Presence.OFFLINE: 1}


@pytest.mark.parametrize("gap", ["failures", "blindness", "sleep"])
def test_a_time_without_successful_polls_proves_no_stall(gap: str) -> None:
    """Ten minutes later one listing has ten-minute-old heartbeats: the heartbeats were lost meanwhile."""
    before, _ = standing_still(12, NOW + 2 * STEP)
    later = NOW + 600_000
    between: dict[str, list[Outcome]] = {
        "failures": [failed(at=at) for at in (NOW + 3 * STEP, later - STEP)],
        "blindness": [],
        "sleep": [slept(NOW + 2 * STEP, later - STEP)],
    }
    profile_state, events = watched([*between[gap], listed(beating(12, NOW + STEP), later)], before)

    assert not profile_state.stall_detector.is_stalled
    assert counts_of(profile_state) == {Presence.OFFLINE: 12}
    assert [(event.kind, len(event.members)) for event in events] == [(Kind.WHILE_BLIND, 12)]


def test_a_short_sleep_proves_no_stall() -> None:
    before, _ = standing_still(10, NOW + STEP + 50_000)
    woken = NOW + STEP + 65_000
    profile_state, _ = watched([slept(woken - 14_000, woken - 1_000), listed(beating(10, NOW + STEP), woken)], before)
    assert not profile_state.stall_detector.is_stalled


@pytest.mark.parametrize(("seconds", "stalled"), [(69.999, False), (70, True)])
def test_a_failed_poll_in_between_stops_the_count_without_a_new_start(seconds: float, *, stalled: bool) -> None:
    """A poll fails once a minute; a stall must still be known before the heartbeats are two minutes old."""
    rows = beating(10, NOW + STEP)
    before, _ = standing_still(10, NOW + STEP + 30_000)
    moments = [NOW + STEP + second * 1000 for second in (40, 45, 50, 55, 60, 65, seconds)]
    profile_state, events = watched([failed(at=NOW + STEP + 35_000), *(listed(rows, at) for at in moments)], before)
    assert profile_state.stall_detector.is_stalled is stalled
    assert kinds(events) == ([Kind.STALLED] if stalled else [])


def test_a_stall_known_before_a_gap_lasts_until_a_heartbeat_advances() -> None:
    before, _ = standing_still(10, NOW + 100_000)
    profile_state, events = watched([failed(at=NOW + 200_000), listed(beating(10, NOW + STEP), NOW + 700_000)], before)
    assert (profile_state.stall_detector.is_stalled, counts_of(profile_state), events) == (True, counts_of(before), [])


def test_a_disconnect_is_believed_while_heartbeats_stand_still() -> None:
    now = NOW + 600_000
    profile_state, _ = standing_still(12, now)
    rows = [environment("env-1", connectionId=None, lastHeartbeat=None), *beating(12, NOW + STEP)[1:]]
    profile_state, events = watched([listed(rows, now + STEP)], profile_state)
    assert kinds(events) == [Kind.OFFLINE]


def test_when_heartbeats_resume_every_row_has_time_to_beat() -> None:
    """The rows beat again within 30 s; a row that does not is offline once the rest had time."""
    resumed = NOW + 600_000
    profile_state, all_events = standing_still(10, resumed - STEP)
    for second in range(0, 60, 5):
        missed_beats = [
            NOW - STEP if n == 10 or second < 3 * n else resumed + _last_beat(second, n) for n in range(1, 11)
        ]
        rows = [environment(f"env-{n}", lastHeartbeat=beat) for n, beat in enumerate(missed_beats, 1)]
        profile_state, events = watched([listed(rows, resumed + second * 1000)], profile_state)
        all_events += events

    assert [(event.kind, event.id) for event in all_events] == [
        (Kind.STALLED, None),
        (Kind.RESUMED, None),
        (Kind.OFFLINE, "env-10"),
    ]
    assert all_events[2].at - all_events[1].at == 45_000


def _last_beat(second: int, n: int) -> float:
    """Return the newest beat: every 30 s, with each row three seconds after the previous row."""
    return ((second - 3 * n) // 30 * 30 + 3 * n) * 1000


def test_a_new_connection_is_no_sign_of_resumed_heartbeats() -> None:
    now = NOW + 600_000
    profile_state, _ = standing_still(12, now)
    rows = [environment("env-1", connectionId="conn-2", lastHeartbeat=now), *beating(12, NOW + STEP)[1:]]
    profile_state, events = watched([listed(rows, now + STEP)], profile_state)
    assert profile_state.stall_detector.is_stalled
    assert kinds(events) == [Kind.RECONNECTED]


@pytest.mark.parametrize("future", [1_000, 29_000, 31_000, 3_600_000, 1e300])
def test_one_heartbeat_from_the_future_stalls_nothing(future: float) -> None:
    all_events: list[Event] = []
    profile_state = ProfileState()
    for second in range(0, 300, 5):
        at = NOW + second * 1000
        beat = NOW + second // 30 * 30_000
        rows = [environment("env-0", lastHeartbeat=NOW + future), *beating(10, beat + 10_000)]
        profile_state, events = watched([listed(rows, at)], profile_state)
        all_events += events

    assert [event for event in all_events if event.id != "env-0"] == []
    assert all(profile_state.environments[row.id].verdict.is_up for row in beating(10))


METADATA = wire_row()["metadata"]


def same(kind: Kind, count: int, before: str = "online") -> list[Event]:
    return [Event(kind=kind, at=NOW, before=clean(before)) for _ in range(count)]


def cut_off(rows: list[Environment], count: int) -> list[Environment]:
    gone = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None, "podId": None}
    return [environment(row.id, **gone) for row in rows[:count]] + rows[count:]


def events_when_lost(rows: list[Environment], count: int) -> list[Event]:
    _, events = watched([listed(rows), listed(cut_off(rows, count), NOW + 5_000)])
    return events


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("count", "mass"), [(9, False), (10, True)])
def test_ten_at_once_are_one_event_in_a_fleet_of_any_size(kind: Kind, count: int, *, mass: bool) -> None:
    assert is_mass(same(kind, count), were_online=10_000) is mass


@pytest.mark.parametrize("kind", [Kind.OFFLINE, Kind.GONE, Kind.RECONNECTED, Kind.RESTARTED])
@pytest.mark.parametrize(
    ("count", "were_online", "mass"), [(2, 2, False), (3, 3, True), (3, 5, True), (5, 9, True), (6, 11, False)]
)
def test_three_events_are_a_mass_change_if_they_are_55_percent_of_those_online(
    kind: Kind, count: int, were_online: int, *, mass: bool
) -> None:
    assert is_mass(same(kind, count), were_online) is mass


def test_what_cannot_befall_those_online_has_no_share_of_them() -> None:
    assert not is_mass(same(Kind.ONLINE, 9, before="offline"), were_online=1)
    assert not is_mass(same(Kind.GONE, 9, before="offline"), were_online=1)
    assert not is_mass(same(Kind.MODE, 9), were_online=9)


def test_a_mass_change_of_modes_does_not_hide_a_change_to_unrestricted() -> None:
    rows = beating(12, currentMode="standard")
    changed = [environment(row.id, currentMode="acceptEdits") for row in rows]
    changed[3] = environment(rows[3].id, currentMode="bypassPermissions")
    _, events = watched([listed(rows), listed(changed, NOW + 5_000)])
    together, drift = events
    assert (together.of, len(together.members), event_text(together)[:40]) == (
        Kind.MODE,
        11,
        "11 changed together: mode → acceptEdits:",
    )
    assert (drift.kind, drift.id, drift.after) == (Kind.MODE, rows[3].id, "unrestricted")


def test_rows_lost_together_are_one_event_with_their_common_values() -> None:
    rows = beating(3, podId="pod-7") + beating(5)[3:]
    (event,) = events_when_lost(rows, 3)
    assert (event.kind, event.of, event.reason) == (Kind.TOGETHER, Kind.OFFLINE, "pod pod-7")
    assert [(leaf.id, leaf.kind, leaf.after) for leaf in event.members] == [
        (f"env-{number}", Kind.OFFLINE, "offline") for number in (1, 2, 3)
    ]


def test_rows_back_together_are_one_event_without_common_values() -> None:
    rows, windows = beating(12), METADATA | {"os": "win32"}
    lost = [environment(row.id, connectionId=None, lastHeartbeat=None, metadata=windows) for row in rows[:10]]
    back = [environment(row.id, metadata=windows) for row in rows[:10]]
    _, events = watched([listed(lost + rows[10:]), listed(back + rows[10:], NOW + 5_000)])
    (event,) = events
    assert (event.kind, event.of, event.reason) == (Kind.TOGETHER, Kind.ONLINE, None)


def test_a_mass_may_share_nothing_of_its_own_and_fewer_losses_are_single_events() -> None:
    (event,) = events_when_lost(beating(5), 3)
    assert (event.of, event.reason) == (Kind.OFFLINE, None)
    assert [event.kind for event in events_when_lost(beating(6), 3)] == [Kind.OFFLINE] * 3


def test_a_mass_stands_where_its_first_event_would_and_the_others_keep_their_places() -> None:
    rows = beating(12)
    renamed = [environment(row.id, connectionName=f"new {row.id}", lastHeartbeat=NOW - 10_000) for row in rows]
    first = environment("env-1", connectionName="new env-1", currentMode="strict", lastHeartbeat=NOW - 10_000)
    last = environment("env-12", connectionName="new env-12", currentMode="strict", lastHeartbeat=NOW - 10_000)

    _, events = watched([listed(rows), listed([first, *renamed[1:-1], last], NOW + 5_000)])

    assert [(event.kind, event.id) for event in events] == [
        (Kind.TOGETHER, None),
        (Kind.MODE, "env-1"),
        (Kind.MODE, "env-12"),
    ]
    assert Counter(leaf.kind for leaf in flatten(events)) == {Kind.RENAMED: 12, Kind.MODE: 2}


def test_the_blast_radius_is_what_all_the_lost_share_and_no_survivor_has() -> None:
    lost = [
        environment(userId="u-1", podId="pod-7", metadata=METADATA | {"lettaCodeVersion": "0.31.2", "os": "darwin"}),
        environment(userId="u-2", podId="pod-7", metadata=METADATA | {"lettaCodeVersion": "0.31.2", "os": "linux"}),
    ]
    assert blast_radius(lost, [environment()]) == (("pod", "pod-7"), ("version", "0.31.2"))
    assert blast_radius(lost, [environment(podId="pod-7")]) == (("version", "0.31.2"),)
    # A legacy name of a mode is the mode, and a value that nobody has is not shared.
    modes = [environment(currentMode=mode, podId=None) for mode in ("bypassPermissions", "unrestricted")]
    assert blast_radius(modes, [environment()]) == (("mode", "unrestricted"),)


def test_every_field_with_a_possible_cause_is_named_by_its_label() -> None:
    metadata = {"os": "linux", "lettaCodeVersion": "0.31.2", "nodeVersion": "v20.1.0", "gitBranch": "main"}
    members = {"podId": "p", "userId": "u", "apiKeyOwner": "k", "organizationId": "o", "currentMode": "strict"}
    lost = [environment(f"env-{number}", metadata=metadata, **members) for number in (1, 2)]
    labels = ["pod", "user", "key owner", "organization", "os", "version", "node", "branch", "mode"]
    assert [label for label, _ in blast_radius(lost, [])] == labels
