"""Listings relayed by `envwatch serve`: a viewer must conclude the same as a direct observer at the server's poll
times.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, beating, failed, listed, reading, served, slept
from support.fleet_state_machine import FleetMachine
from support.policies import soon

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Listed, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


def of_rows(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.id is not None or event.members]


def without_incidents(events: Sequence[Event]) -> list[Event]:
    return [replace(event, incident=None, members=tuple(without_incidents(event.members))) for event in of_rows(events)]


def after(profile_state: ProfileState, *outcomes: Outcome) -> tuple[ProfileState, list[Event]]:
    all_events: list[Event] = []
    for outcome in outcomes:
        profile_state, events = profile_state.apply(outcome)
        all_events += events
    return profile_state, all_events


class ViewerMachine(FleetMachine):
    """The platform in any state, a direct observer, and a viewer that gets each listing late."""

    def __init__(self) -> None:
        super().__init__()
        self.viewer = ProfileState()
        self.late_viewer = ProfileState()
        """A viewer whose requests take up to 2 s, varying."""

    def after(self, profile_state: ProfileState, outcome: Outcome) -> tuple[ProfileState, tuple[Event, ...]]:
        if profile_state is self.profile_state and isinstance(outcome, Slept):
            self.viewer, _ = self.viewer.apply(outcome)
            self.late_viewer, _ = self.late_viewer.apply(outcome)
        return super().after(profile_state, outcome)

    def _take(self, rows: list[Environment], seed: int) -> None:
        before = self.profile_state
        super()._take(rows, seed)
        if self.profile_state is not before:
            direct = self._listed(rows, 0)
            _, events = super().after(before, direct)
            self._view(direct, of_rows(events), random.Random(seed))

    def _view(self, direct: Listed, events: list[Event], chance: random.Random) -> None:
        age_s, listed_before = chance.randrange(60), self.viewer.listed
        self.viewer, seen = self.viewer.apply(served(direct, age_s))
        assert self.viewer.environments == self.profile_state.environments, "the age of a listing changed a verdict"
        assert of_rows(seen) == events, "the age of a listing changed an event"
        assert (self.viewer.listed, self.viewer.elapsed_ms) == (
            self.profile_state.listed,
            self.profile_state.elapsed_ms,
        )
        assert (self.viewer.stall_detector, self.viewer.quarantine) == (
            self.profile_state.stall_detector,
            self.profile_state.quarantine,
        )
        for _ in range(chance.randrange(4)):
            age_s += chance.randrange(1, 6)
            self._view_again(served(direct, age_s, is_repeat=True))
        self._view_late(direct, chance)
        assert listed_before is None or self.viewer.listed is not None

    def _view_again(self, repeated: Listed) -> None:
        again, seen = self.viewer.apply(repeated)
        assert not of_rows(seen), "a listing that came twice was an event"
        assert again.environments is self.viewer.environments
        assert (again.listings, again.listed, again.quarantine) == (
            self.viewer.listings,
            self.viewer.listed,
            self.viewer.quarantine,
        )
        self.viewer = again

    def _view_late(self, direct: Listed, chance: random.Random) -> None:
        before = self.late_viewer
        outcome = served(direct, chance.randrange(60), jitter_s=chance.randrange(64) / 32)
        self.late_viewer, seen = before.apply(outcome)
        assert self.late_viewer.elapsed_ms >= before.elapsed_ms
        if before.listed is not None and self.late_viewer.listed is not None:
            assert self.late_viewer.listed.monotonic >= before.listed.monotonic, "time went backwards"
        assert all(event.lasted is None or event.lasted >= timedelta() for event in seen)
        assert all(event.since is None or event.since <= event.at for event in seen)
        states = (self.profile_state, self.late_viewer)
        if any(each.quarantine is not None or not each.stall_detector.beats_count for each in states):
            return  # either may believe or doubt the platform a poll earlier
        # A row missing from the listing keeps the verdict, maybe from a listing that only one side believed.
        for id_ in {row.id for page in direct.snapshot.pages for row in page.environments}:
            tracked, was = self.late_viewer.environments[id_], self.profile_state.environments.get(id_)
            if was is not None and was.verdict.is_up and tracked.presence is Presence.OFFLINE:
                assert not tracked.environment.connection_id, "lost because the request took its time"


TestViewer = ViewerMachine.TestCase
TestViewer.settings = settings(
    max_examples=examples(200), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(
    age_s=st.integers(0, 59),
    lives=st.lists(st.tuples(st.integers(1, 40), st.sets(st.integers(1, 12))), min_size=1, max_size=20),
)
@settings(max_examples=examples(100), deadline=None)
def test_a_monitor_behind_a_cache_comes_to_the_verdicts_of_a_direct_one(
    age_s: int, lives: list[tuple[int, set[int]]]
) -> None:
    direct, viewer = (Monitor.create({NO_PROFILE: Limits()}, policies=soon()) for _ in range(2))
    at, beats = float(NOW), {number: NOW - number * 2_000 for number in range(1, 13)}
    for seconds, silent in lives:
        at += seconds * 1000
        beats = {number: beat if number in silent else at - (at + number) % 30_000 for number, beat in beats.items()}
        rows = [beating(number, beat + 10_000)[-1] for number, beat in beats.items()]
        outcome, late = listed(rows, at), served(listed(rows, at), age_s)
        direct, changes = direct.apply(NO_PROFILE, outcome, outcome.ended)
        viewer, seen = viewer.apply(NO_PROFILE, late, late.ended)
        viewed, asked = viewer.fleet.by_profile[NO_PROFILE], direct.fleet.by_profile[NO_PROFILE]
        assert viewed.environments == asked.environments
        # A return counts after a minute of `now`, which is later here: a next loss may join the old incident, or not.
        assert without_incidents(seen.events) == without_incidents(changes.events)
        assert viewer.watched[NO_PROFILE] == direct.watched[NO_PROFILE]


@pytest.mark.parametrize("age_s", [0, 4, 14, 16, 59])
def test_data_is_stale_and_blind_at_the_same_moment_as_on_the_serving_host(age_s: int) -> None:
    outcome = listed(beating(3))
    host, _ = ProfileState().apply(outcome)
    viewer, _ = after(ProfileState(), served(outcome, age_s), served(outcome, age_s, is_repeat=True))

    def seen(profile_state: ProfileState) -> list[Freshness]:
        return [profile_state.freshness(reading(NOW + at)) for at in (14_999, 15_001, 60_000, 60_001)]

    assert seen(viewer) == seen(host) == [Freshness.LIVE, Freshness.STALE, Freshness.STALE, Freshness.BLIND]


def test_an_interval_of_the_server_longer_than_the_interval_of_the_polls_decides() -> None:
    outcome = served(listed(beating(3)), 50)._replace(interval=timedelta(seconds=60))
    profile_state, _ = ProfileState().apply(outcome)
    assert profile_state.freshness(reading(NOW + 179_000)) is Freshness.LIVE
    assert profile_state.freshness(reading(NOW + 181_000)) is Freshness.BLIND


@pytest.mark.parametrize(("age_s", "is_over"), [(60, True), (60.001, False)])
def test_a_listing_too_old_to_be_true_ends_no_blindness(age_s: float, *, is_over: bool) -> None:
    late = served(listed(beating(3), NOW + 10_000), age_s)
    profile_state, events = after(ProfileState(), listed(beating(3)), failed(at=NOW + 70_000), late)
    assert [event.kind for event in events] == [Kind.BLIND, *([Kind.VISIBLE] if is_over else [])]
    assert (profile_state.freshness(late.started) is not Freshness.BLIND) is is_over


def test_a_failing_period_ends_when_the_server_is_reached_however_old_its_listing_is() -> None:
    first, second = listed(beating(3)), listed(beating(3, NOW + 5_000), NOW + 5_000)
    failures = [failed(Cause.UNAVAILABLE, NOW + at) for at in (10_000, 11_000)]
    for outcome in (served(second, 20), served(first, 25, is_repeat=True)):
        _, events = after(ProfileState(), first, *failures, outcome)
        over = [event for event in events if event.kind is Kind.REACHED]
        assert [(event.at, event.lasted) for event in over] == [(NOW + 25_000, timedelta(seconds=15))]


def test_a_row_is_not_gone_by_one_listing_served_twice() -> None:
    whole, less = listed(beating(3)), listed(beating(2, NOW + 5_000), NOW + 5_000)
    viewer, _ = after(
        ProfileState(), whole, served(less, 1), served(less, 2, is_repeat=True), served(less, 3, is_repeat=True)
    )
    assert viewer.environments[clean("env-3")].presence is Presence.ONLINE
    viewer, events = after(viewer, served(listed(beating(2, NOW + 10_000), NOW + 10_000), 1))
    assert [event.kind for event in events] == [Kind.GONE]


def test_a_listing_served_again_after_a_sleep_ends_the_wait_for_one() -> None:
    outcome = listed(beating(3))
    asleep, _ = after(ProfileState(), outcome, slept(NOW + 1_000, NOW + 8_000))
    awake, events = after(asleep, served(outcome, 9, is_repeat=True))
    assert asleep.unseen_since is not None
    assert (awake.unseen_since, of_rows(events)) == (None, [])


def test_changes_in_a_listing_from_before_a_sleep_did_not_begin_after_the_listing() -> None:
    asleep, _ = after(ProfileState(), listed(beating(3)), slept(NOW + 6_000, NOW + 13_000))
    lost = beating(2, NOW + 5_000)
    _, events = after(asleep, served(listed(lost, NOW + 5_000), 9), served(listed(lost, NOW + 10_000), 9))
    assert of_rows(events)
    assert all(event.since is None or event.since <= event.at for event in events)


def test_time_does_not_go_backwards_where_a_request_took_longer_than_the_one_before() -> None:
    first, second = served(listed(beating(3)), 4.0), served(listed(beating(3), NOW + 100), 4.0, jitter_s=2.0)
    profile_state, _ = after(ProfileState(), first, second)
    assert (profile_state.listed, profile_state.elapsed_ms) == (reading(), 0.0)


def test_a_wall_clock_set_back_is_followed() -> None:
    first = served(listed(beating(3)), 4.0)
    second = served(listed(beating(3), NOW + 1_000, skew=-3_600_000), 2.0, jitter_s=1.5)
    profile_state, _ = after(ProfileState(), first, second)
    assert profile_state.listed == reading(NOW, skew=-3_600_000)
