"""Several profiles side by side, each with a clock, listings and doubts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.app_harness import staged
from support.builders import NOW, beating, environment, failed, listed, reading
from support.tracked_environments import ALL, contexts_at

from envwatch.fleet.events import NO_PROFILE, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import Counts, counts_at
from envwatch.fleet.profile_state import Fleet, Freshness, ProfileState
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import SafeText, clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.table_view import View

WORK, HOME = clean("work"), clean("home")
BOTH = (WORK, HOME)


def both() -> Fleet:
    return Fleet({profile: ProfileState(profile=profile) for profile in BOTH})


def test_one_id_under_two_profiles_is_two_environments() -> None:
    fleet, _ = both().apply(WORK, listed([environment("env-1", connectionName="ours")]))
    fleet, _ = fleet.apply(HOME, listed([environment("env-1", connectionName="mine", connectionId=None)]))
    assert len(fleet) == 2
    assert {tracked.key: tracked.presence for tracked in fleet.environments} == {
        (WORK, "env-1"): Presence.ONLINE,
        (HOME, "env-1"): Presence.OFFLINE,
    }
    ours = fleet.tracked((WORK, clean("env-1")))
    assert ours is not None
    assert ours.environment.name == "ours"
    assert fleet.tracked((clean("other"), clean("env-1"))) is None


def test_a_failed_poll_of_one_is_no_failure_of_the_other() -> None:
    fleet, _ = both().apply(WORK, listed(beating(3)))
    fleet, events = fleet.apply(HOME, failed(Cause.TIMEOUT))
    assert events == ()
    assert [profile_state.failure is None for profile_state in fleet] == [True, False]
    assert fleet.is_listed


@pytest.mark.parametrize(("seconds", "age_s"), [(10, None), (16, 16), (26, 26), (100, 100)])
def test_the_age_of_the_oldest_listing_is_told_if_a_listing_is_stale_or_blind(
    seconds: float, age_s: float | None
) -> None:
    assert both().old_listing_age(reading(NOW)) is None
    fleet, _ = both().apply(WORK, listed(beating(1)))
    fleet, _ = fleet.apply(HOME, listed(beating(1), NOW + 10_000))
    age = None if age_s is None else timedelta(seconds=age_s)
    assert fleet.old_listing_age(reading(NOW + seconds * 1000)) == age


def test_each_is_polled_at_its_own_pace() -> None:
    fleet, _ = both().apply(WORK, listed(beating(1))._replace(interval=timedelta(seconds=120)))
    fleet, _ = fleet.apply(HOME, listed(beating(1)))
    assert [each.freshness(reading(NOW + 73_000)) for each in fleet] == [Freshness.LIVE, Freshness.BLIND]


def test_each_is_judged_by_its_own_server_s_clock() -> None:
    fleet, _ = both().apply(WORK, listed(beating(1), skew=0))
    # The second server's clock is an hour behind: the heartbeats read as an hour old here, and are ten seconds old.
    fleet, _ = fleet.apply(HOME, listed(beating(1), NOW, skew=3_600_000))
    assert all(tracked.presence is Presence.ONLINE for tracked in fleet.environments)
    assert [profile_state.clock.server_time(WallMs(NOW + 3_600_000)) - NOW for profile_state in fleet] == [
        pytest.approx(3_600_000),
        pytest.approx(0),
    ]


def test_a_row_is_doubted_where_its_own_fleet_is_blind() -> None:
    fleet, _ = both().apply(WORK, listed(beating(1)))
    fleet, _ = fleet.apply(HOME, listed(beating(1, NOW + 61_000), NOW + 61_000))
    now = reading(NOW + 62_000)
    assert [profile_state.freshness(now) for profile_state in fleet] == [Freshness.BLIND, Freshness.LIVE]
    assert [fleet.for_environment(tracked).is_unknown(tracked, now) for tracked in fleet.environments] == [True, False]


def test_events_say_under_which_profile_they_happened() -> None:
    fleet = both()
    for profile in BOTH:
        fleet, _ = fleet.apply(profile, listed(beating(12)))
    rows = [environment(f"env-{n}", connectionId=None, lastHeartbeat=None) for n in range(1, 13)]
    fleet, events = fleet.apply(HOME, listed(rows, NOW + 5_000))
    assert [event.kind for event in events] == [Kind.TOGETHER]
    assert {event.profile for event in (*events, *flatten(events))} == {HOME}


@given(st.lists(st.tuples(st.sampled_from(BOTH), st.sets(st.integers(1, 5)), st.booleans()), max_size=12))
def test_what_happens_under_one_profile_is_what_would_happen_without_the_other(
    polls: list[tuple[SafeText, set[int], bool]],
) -> None:
    fleet = both()
    alone = {profile: ProfileState(profile=profile) for profile in BOTH}
    for number, (profile, ids, is_well) in enumerate(polls):
        at = NOW + number * 5_000
        rows = [environment(f"env-{n}", lastHeartbeat=at - 1_000) for n in sorted(ids)]
        outcome = listed(rows, at) if is_well else failed(at=at)
        fleet, events = fleet.apply(profile, outcome)
        alone[profile], own_events = alone[profile].apply(outcome)
        assert events == own_events
        assert dict(fleet.by_profile) == alone


def test_a_filter_asks_for_a_profile_and_uses_each_fleets_clock() -> None:
    fleet, _ = both().apply(WORK, listed([environment("a", lastHeartbeat=NOW - 50_000)]))
    fleet, _ = fleet.apply(HOME, listed([environment("b", lastHeartbeat=NOW - 50_000)], NOW, skew=3_600_000))
    assert [tracked.key for tracked in arrange(contexts_at(fleet, NOW), View(query=parse("profile:wo")), ALL).rows] == [
        (WORK, "a")
    ]
    assert [
        tracked.key for tracked in arrange(contexts_at(fleet, NOW), View(query=parse("!profile:=work")), ALL).rows
    ] == [(HOME, "b")]
    # By the first server's clock the time is NOW, by the second server's an hour before.
    found = arrange(contexts_at(fleet, NOW), View(query=parse("beat:45s..55s")), ALL).rows
    assert [tracked.key for tracked in found] == [(WORK, "a")]
    assert arrange(contexts_at(fleet, NOW), View(query=parse("profile:none")), ALL).rows == []


@pytest.mark.parametrize(
    ("query", "found"),
    [("profile:work", 2), ("profile:=WORK", 2), ("profile:home", 0), ("!profile:home", 2), ("profile:none", 0)],
)
def test_the_rows_of_a_single_profile_are_found_by_its_name(query: str, found: int) -> None:
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}, profile_name=WORK).apply(
        NO_PROFILE, listed(beating(2)), reading()
    )
    assert len(arrange(contexts_at(monitor, NOW), View(query=parse(query)), ALL).rows) == found


@pytest.mark.parametrize("minutes", [1, 10, 600])
def test_a_refused_key_never_takes_a_row_offline_however_long_it_lasts(minutes: int) -> None:
    profile_state, _ = ProfileState().apply(listed(beating(3)))
    at = NOW + minutes * 60_001
    refused, events = profile_state.apply(failed(Cause.UNAUTHORIZED, at))
    assert [event.kind for event in events] == [Kind.KEY_REFUSED]
    assert refused.environments == profile_state.environments
    assert all(refused.is_unknown(tracked, reading(at)) for tracked in refused.environments.values())


def test_a_fleet_is_refused_while_the_newest_poll_was() -> None:
    profile_state, _ = ProfileState().apply(failed(Cause.UNAUTHORIZED))
    assert profile_state.is_refused
    assert not profile_state.apply(failed(Cause.FORBIDDEN))[0].is_refused
    assert not profile_state.apply(listed(beating(2)))[0].is_refused


def test_counts_add_up_and_name_the_newest_version_if_there_is_one() -> None:
    old = environment("a", metadata={"lettaCodeVersion": "0.33.1"})
    off = environment("b", metadata={"lettaCodeVersion": "9.9.9"}, connectionId=None)
    left = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 90 * 86_400_000}
    gone = environment("e", metadata={"lettaCodeVersion": "0.1"}, currentMode="bypassPermissions", **left)
    new = environment("c", metadata={"lettaCodeVersion": "0.34.12"}, currentMode="bypassPermissions")
    newer = environment("d", metadata={"lettaCodeVersion": "0.35.0"})
    work = counts_at(ProfileState().apply(listed([old, off, new, gone]))[0], reading())
    assert (work.behind, work.newest, work.unrestricted) == (1, "0.34.12", 1)
    home = counts_at(ProfileState().apply(listed([new, newer, off, gone]))[0], reading())
    assert (home.behind, home.newest) == (1, "0.35.0")
    total = work + home
    assert (total.behind, total.newest, total.unrestricted) == (2, None, 2)
    assert (work + Counts()).newest == "0.34.12"


async def test_the_screen_shows_profiles_in_a_column_and_each_ones_trouble() -> None:
    async with staged((120, 24), profiles=BOTH) as stage:
        await stage.show([environment("env-1", connectionName="ours")], WORK)
        assert "asking home" in stage.lines[0]
        await stage.show([environment("env-1", connectionName="mine")], HOME)
        assert "work, home" in stage.lines[0]
        assert "● 2 on" in stage.lines[0]
        assert "live 0s" in stage.lines[0]
        assert "PROFILE" in stage.titles
        assert [" ".join(line[:60].split()[4:6]) for line in stage.body[:2]] == ["mine home", "ours work"]
        stage.now = 62
        await stage.show([environment("env-1", connectionName="ours", lastHeartbeat=stage.at)], WORK)
        await stage.take(failed(Cause.TIMEOUT, stage.at), HOME)
        await stage.tick()
        assert " BLIND home 63s " in stage.lines[0]
        assert "● 1 on" in stage.lines[0]
        assert "? 1 unknown" in stage.lines[0]
        assert stage.news.startswith("home: timeout:")
        assert {line[0] for line in stage.body[:2]} == {"?", "●"}


async def test_the_cursor_and_the_log_tell_profiles_apart() -> None:
    async with staged((120, 40), profiles=BOTH) as stage:
        for profile in BOTH:
            await stage.show([environment("env-1", connectionName=f"at {profile}")], profile)
        stage.now = 5
        await stage.show([environment("env-1", connectionName="at work", connectionId=None)], WORK)
        await stage.press("G")
        cursor = stage.app.dashboard.table.cursor
        assert cursor is not None
        assert cursor.key == (HOME, "env-1")
        assert "went offline" not in "\n".join(line[74:] for line in stage.lines[:-2])
        await stage.press("e", "enter")
        cursor = stage.app.dashboard.table.cursor
        assert cursor is not None
        assert cursor.key == (WORK, "env-1")
        assert "went offline" in "\n".join(line[74:] for line in stage.lines[:-2])


async def test_a_column_of_profiles_is_not_there_for_one() -> None:
    async with staged((200, 24)) as stage:
        await stage.show(beating(1))
        assert "PROFILE" not in stage.titles
