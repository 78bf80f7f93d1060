"""The fleet from outcome to outcome: believed rows, events, freshness, and the invariants; see `FleetMachine`."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from support.budget import examples
from support.builders import NOW, beating, counts_of, environment, failed, listed, reading, slept, watched, with_pages
from support.fleet_state_machine import FleetMachine

from envwatch.fleet.events import Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Freshness
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.outcome import Cause, ListedPage
from envwatch.model.text import clean
from envwatch.views.pane.state_details import proof

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.events import Event
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome


HOUR = 3_600_000.0
DAY = 24 * HOUR


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


def test_the_first_listing_is_a_silent_baseline() -> None:
    rows = [environment("env-1"), environment("env-2", connectionId=None), environment("env-3", lastHeartbeat=0)]
    profile_state, events = watched([listed(rows)])
    assert events == []
    assert counts_of(profile_state) == {Presence.ONLINE: 1, Presence.OFFLINE: 2}


def test_an_environment_is_gone_after_two_listings_without_the_row_and_returns_when_listed() -> None:
    all_three, two = beating(3), beating(2)
    listings = [all_three, two, all_three, two, two, two, all_three]
    _, events = watched(listed(rows, NOW + 5_000 * number) for number, rows in enumerate(listings))
    assert [(event.kind, event.id, event.at - NOW) for event in events] == [
        (Kind.GONE, "env-3", 20_000),
        (Kind.RETURNED, "env-3", 30_000),
    ]


def test_an_environment_whose_row_is_listed_but_cannot_be_read_is_unknown_and_neither_gone_nor_offline() -> None:
    def without_the_third(at: float, rejected_ids: set[str]) -> Listed:
        one = listed(beating(2, at), at)
        snapshot = one.snapshot._replace(rejected=1, rejected_ids=frozenset(map(clean, rejected_ids)))
        return one._replace(snapshot=snapshot)

    unreadable = [without_the_third(NOW + 60_000 * number, {"env-3"}) for number in range(1, 4)]
    profile_state, events = watched([listed(beating(3)), *unreadable])
    third = profile_state.environments[clean("env-3")]

    assert events == []
    assert (third.presence, third.absent, third.environment) == (Presence.ONLINE, 0, beating(3)[2])
    now = reading(NOW + 180_000)
    assert [profile_state.is_unknown(each, now) for each in profile_state.environments.values()] == [False, False, True]
    assert "cannot be read: this is the last verdict" in proof(third, profile_state, now, UTC)

    lacking = [without_the_third(NOW + at, set()) for at in (185_000, 190_000)]
    twice, events = watched([lacking[0], unreadable[2], *lacking], profile_state)

    assert [(event.kind, event.id) for event in events] == [(Kind.GONE, "env-3")]
    assert not twice.is_unreadable(third)


def test_what_is_gone_and_then_cannot_be_read_stays_gone() -> None:
    gone, _ = watched([listed(beating(2)), *(listed(beating(1), NOW + at) for at in (5_000, 10_000))])
    one = listed(beating(1), NOW + 15_000)
    one = one._replace(snapshot=one.snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-2")})))
    profile_state, events = watched([one], gone)
    assert events == []
    assert profile_state.environments[clean("env-2")] is gone.environments[clean("env-2")]


@pytest.mark.parametrize(("age", "kind"), [(HOUR - 1, Kind.RETURNED), (HOUR, Kind.APPEARED)])
def test_what_is_gone_is_remembered_for_an_hour(age: float, kind: Kind) -> None:
    gone_at = NOW + 10_000
    rest = [listed(beating(1, gone_at + part * age), gone_at + part * age) for part in (0.5, 1)]
    back = listed(beating(2, gone_at + age), gone_at + age + 1)
    profile_state, _ = watched([listed(beating(2)), listed(beating(1), NOW + 5_000), listed(beating(1), gone_at)])
    events = watched([*rest, back], profile_state)[1]
    assert [(leaf.kind, leaf.id) for leaf in flatten(events)] == [(kind, "env-2")]


def test_a_page_speaks_for_the_moment_of_its_request() -> None:
    """During a walk over many pages, the first page's rows grow no older."""
    walk = listed([], NOW + 119_999)
    first, second = beating(2, NOW + 10_000)
    pages = (ListedPage([first], WallMs(NOW + 119_999)), ListedPage([second], WallMs(NOW + 120_000)))
    profile_state, _ = watched([with_pages(walk, *pages)])
    assert [tracked.presence for tracked in profile_state.environments.values()] == [Presence.LATE, Presence.OFFLINE]


def test_a_row_on_two_pages_is_one_row_with_one_event() -> None:
    row = environment(connectionId=None)
    pages = (ListedPage([row], WallMs(NOW + 5_000)), ListedPage([row], WallMs(NOW + 5_100)))
    profile_state, events = watched([listed([environment()]), with_pages(listed([], NOW + 5_000), *pages)])
    assert [event.kind for event in events] == [Kind.OFFLINE]
    assert [*profile_state.rows] == [row]


@pytest.mark.parametrize("cause", Cause)
def test_a_failed_poll_changes_no_verdict_and_is_no_event_of_a_row(cause: Cause) -> None:
    before, _ = watched([listed(beating(3))])
    after, events = watched([failed(cause, NOW + second * 1000, pages_read=2) for second in range(5, 3_600, 5)], before)
    assert events == []
    assert after.environments is before.environments
    assert (after.failures, after.failure and after.failure.cause) == (719, cause)
    after, _ = watched([listed(beating(3))], after)
    assert (after.failure, after.failures) == (None, 0)


def test_before_the_first_listing_there_is_nothing_to_be_blind_to() -> None:
    profile_state, events = watched([failed(), failed()])
    assert profile_state.freshness(reading(NOW + DAY)) is Freshness.WAITING
    assert (profile_state.age(reading()), profile_state.clock_fault, events) == (None, None, [])


@pytest.mark.parametrize(
    ("interval", "milliseconds", "freshness"),
    [
        (5, 15_000, Freshness.LIVE),
        (5, 15_001, Freshness.STALE),
        (5, 60_000, Freshness.STALE),
        (5, 60_001, Freshness.BLIND),
        (10, 30_000, Freshness.LIVE),
        (10, 30_001, Freshness.STALE),
        (100, 300_000, Freshness.LIVE),
        (100, 300_001, Freshness.BLIND),
    ],
)
@pytest.mark.parametrize("sleeping", ["neither", "wall", "monotonic"])
def test_sight_fades_with_the_age_of_the_data_by_whichever_clock_says_more(
    interval: int, milliseconds: float, freshness: Freshness, sleeping: str
) -> None:
    profile_state, _ = watched([listed(beating(1), interval=timedelta(seconds=interval))])
    now = reading(NOW + milliseconds)
    if sleeping != "neither":
        now = Clocks(WallMs(NOW), now.monotonic) if sleeping == "wall" else Clocks(now.wall, MonotonicS(0))
    assert profile_state.freshness(now) is freshness
    assert profile_state.is_unknown(profile_state.environments[environment().id], now) is (freshness is Freshness.BLIND)


@pytest.mark.parametrize(("before", "after"), [(5, 120), (120, 5)])
def test_a_new_pace_makes_no_fresh_data_old(before: int, after: int) -> None:
    profile_state, _ = watched([listed(beating(1), interval=timedelta(seconds=before))])
    changed = profile_state.with_interval(timedelta(seconds=after))
    seen = [changed.freshness(reading(NOW + age)) for age in (360_000, 360_001)]
    assert seen == [Freshness.LIVE, Freshness.BLIND]


def test_the_first_failure_at_a_shorter_pace_ends_the_patience_of_the_longer_one() -> None:
    profile_state, _ = watched([listed(beating(1), interval=timedelta(seconds=120))])
    profile_state, _ = watched([failed()], profile_state.with_interval(timedelta(seconds=5)))
    seen = [profile_state.freshness(reading(NOW + age)) for age in (60_000, 60_001)]
    assert seen == [Freshness.STALE, Freshness.BLIND]


AFTER = NOW + HOUR
CHANGED = [environment("env-1", connectionId=None), environment("env-2", lastHeartbeat=AFTER, currentMode="strict")]


def test_what_changed_while_blind_is_one_event_with_its_beginning_and_end() -> None:
    _, (event,) = watched(
        [listed(beating(2)), listed(beating(2, NOW + 5_000), NOW + 5_000), failed(), listed(CHANGED, AFTER)]
    )
    assert (event.kind, event.since, event.at) == (Kind.WHILE_BLIND, NOW + 5_000, AFTER)
    assert [(leaf.kind, leaf.id) for leaf in event.members] == [(Kind.OFFLINE, "env-1"), (Kind.MODE, "env-2")]


@pytest.mark.parametrize(
    ("before", "after", "gap", "blind"),
    [
        *((5, 5, 60_000, False), (5, 5, 60_001, True)),
        *((5, 120, 360_000, False), (5, 120, 360_001, True), (120, 5, 360_000, False), (120, 5, 360_001, True)),
    ],
)
def test_a_gap_is_blindness_only_when_the_screen_said_so(before: int, after: int, gap: float, *, blind: bool) -> None:
    """The longer of the two intervals decides."""
    first = listed(beating(1), interval=timedelta(seconds=before))
    lost = listed([environment(connectionId=None)], NOW + gap, interval=timedelta(seconds=after))
    _, events = watched([first, *([failed()] if before == after else []), lost])
    assert kinds(events) == [Kind.WHILE_BLIND if blind else Kind.OFFLINE]


def test_what_changed_while_asleep_is_one_event_however_short_the_sleep() -> None:
    sleeps: list[Outcome] = [slept(NOW + 1_000, NOW + 7_000), failed(), slept(NOW + 8_000, NOW + 20_000)]
    profile_state, events = watched([listed(beating(2)), *sleeps])
    assert events == []
    profile_state, (event,) = watched([listed(CHANGED, NOW + 21_000)], profile_state)
    assert (event.kind, event.since, event.at) == (Kind.WHILE_BLIND, NOW + 1_000, NOW + 21_000)
    _, events = watched([listed(beating(2, NOW + 26_000), NOW + 26_000)], profile_state)
    assert kinds(events) == [Kind.ONLINE, Kind.MODE]


def test_sleep_starts_the_offset_over() -> None:
    profile_state, _ = watched([listed(beating(1), skew=HOUR), slept(NOW, AFTER)])
    assert not profile_state.clock.is_known


def beats_every_thirty_seconds(minutes: int, *, dated: bool, skew: float) -> Iterator[Outcome]:
    """Yield listings of ten beating machines and `env-0`, which stops in the third minute, on a wrong local clock."""
    for second in range(0, minutes * 60, 5):
        rows = beating(10, NOW + (second // 30 * 30 + 10) * 1000)
        last = NOW + min(second // 30 * 30, 150) * 1000
        yield listed([environment("env-0", lastHeartbeat=last), *rows], NOW + second * 1000, dated=dated, skew=skew)


def test_a_local_clock_five_minutes_ahead_declares_no_beating_fleet_down_for_good() -> None:
    """No response is dated, and all heartbeats look five minutes old; the advancing heartbeats are better evidence."""
    profile_state, events = watched(beats_every_thirty_seconds(1, dated=False, skew=300_000))
    assert counts_of(profile_state) == {Presence.ONLINE: 11}
    assert all(tracked.clock_suspect for tracked in profile_state.environments.values())
    assert [(event.kind, event.of) for event in events] == [(Kind.TOGETHER, Kind.ONLINE)]


@pytest.mark.parametrize("skew", [-300_000, 300_000])
def test_a_wrong_local_clock_hides_no_stopped_machine(skew: float) -> None:
    profile_state, events = watched(beats_every_thirty_seconds(8, dated=False, skew=skew))
    assert counts_of(profile_state) == {Presence.ONLINE: 10, Presence.OFFLINE: 1}
    assert (events[-1].kind, events[-1].id) == (Kind.OFFLINE, "env-0")


def test_a_newcomer_in_a_listing_without_the_other_row_is_named_beside_the_other() -> None:
    """A twin must be in the same listing; a gone row was not offline, so no row replaces it."""
    old = environment(id="old", connectionName="nas", deviceId="d-1")
    new = environment(id="new", connectionName="nas", deviceId="d-1")
    moments = ([old], [new], [new])
    _, events = watched(listed(rows, NOW + 5_000 * number) for number, rows in enumerate(moments))
    assert [(event.kind, event.id, event.reason) for event in events] == [
        (Kind.APPEARED, "new", "beside nas, same device"),
        (Kind.GONE, "old", "no longer listed"),
    ]


LISTENER: Final = {"listenerInstanceId": "server-0123456789abcdef"}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (environment(id="old", connectionName="nas", deviceId="d-1", **LISTENER), "twin of nas, same device"),
        (environment(id="old", connectionName="nas", deviceId="d-1"), "beside nas, same device"),
        (environment(id="old", connectionName="nas", deviceId="d-1", connectionId=None), "beside nas, same device"),
        (environment(id="old", connectionName="nas", deviceId="d-2"), None),
    ],
)
def test_a_newcomer_on_a_listed_device_is_named_with_the_row_of_the_device(
    other: Environment, reason: str | None
) -> None:
    newcomer = environment(id="new", connectionName="nas-2", deviceId="d-1", **LISTENER)
    _, events = watched([listed([other]), listed([other, newcomer], NOW + 5_000)])
    assert [(event.kind, event.reason) for event in events] == [(Kind.APPEARED, reason)]


TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(
    max_examples=examples(300), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
