"""The verdict over one row, against a second implementation of the official rule; problems and counts."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, failed, listed, reading
from support.tracked_environments import tracked

from envwatch.fleet.presence import (
    DISCONNECTED,
    GONE,
    HEARTBEAT_LOST,
    LATE,
    NEVER_LISTED,
    UNTIMED,
    Presence,
    PresenceRule,
    Reason,
    Verdict,
    heartbeat_age,
)
from envwatch.fleet.problems import Counts, counts_at, has_been_silent, is_old, is_problem, state_began_at
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.state_looks import glyph_of, style_of

JUDGE = PresenceRule(Limits())


def official_rule(connection_id: str | None, last_heartbeat: float | None, now: float) -> str:
    """Return the official client's state, in the order of a user's explanation."""
    has_connection = connection_id is not None and len(connection_id) > 0
    is_fresh = last_heartbeat is not None and (now - last_heartbeat) < 120 * 1000
    return "online" if has_connection and is_fresh else "offline"


@pytest.mark.parametrize(
    ("age", "presence", "reason"),
    [
        (0, Presence.ONLINE, Reason.BEATING),
        (44_999, Presence.ONLINE, Reason.BEATING),
        (45_000, Presence.LATE, Reason.MISSED),
        (119_999, Presence.LATE, Reason.MISSED),
        (120_000, Presence.OFFLINE, Reason.HEARTBEAT_LOST),
        (1e12, Presence.OFFLINE, Reason.HEARTBEAT_LOST),
        (-1, Presence.ONLINE, Reason.BEATING),
        (-1e12, Presence.ONLINE, Reason.BEATING),
    ],
)
def test_the_age_of_the_heartbeat_decides(age: float, presence: Presence, reason: Reason) -> None:
    verdict = JUDGE.verdict(environment(lastHeartbeat=NOW - age), NOW)
    assert (verdict.presence, verdict.reason) == (presence, reason)
    assert verdict.is_up is (presence is not Presence.OFFLINE)


@pytest.mark.parametrize("connection_id", [None, ""])
def test_without_a_connection_nothing_is_online(connection_id: str | None) -> None:
    verdict = JUDGE.verdict(environment(connectionId=connection_id, lastHeartbeat=NOW), NOW)
    assert (verdict.presence, verdict.reason) == (Presence.OFFLINE, Reason.DISCONNECTED)


def test_a_connection_without_a_heartbeat_is_offline() -> None:
    verdict = JUDGE.verdict(environment(lastHeartbeat=None), NOW)
    assert (verdict.presence, verdict.reason) == (Presence.OFFLINE, Reason.NEVER_BEAT)


def test_the_limits_are_the_users() -> None:
    rule = PresenceRule(Limits(online_for=timedelta(seconds=60), late_after=timedelta(seconds=31)))
    ages = (30_999, 31_000, 59_999, 60_000)
    presences = [rule.verdict(environment(lastHeartbeat=NOW - age), NOW).presence.value for age in ages]
    assert presences == ["online", "late", "late", "offline"]


def test_an_age_is_never_negative_and_never_too_long() -> None:
    ages = [heartbeat_age(environment(lastHeartbeat=beat), NOW) for beat in (NOW + 5_000, 1e300, NOW - 5_000, None)]
    assert ages == [timedelta(), timedelta(), timedelta(seconds=5), None]
    assert heartbeat_age(environment(lastHeartbeat=-1e300), NOW) == timedelta(milliseconds=1e14)


OF_THE_PAST = {Reason.ABSENT, Reason.UNTIMED, Reason.NEVER_LISTED, Reason.EXPECTED}
"""Reasons that no single row has."""


def test_random_rows_agree_with_the_official_rule() -> None:
    dice = random.Random(20_251_009)
    usual = environment()
    verdicts = []
    for _ in range(examples(100_000)):
        connection_id = dice.choice([None, "", "c", "conn-1"])
        spread = dice.choice([1, 100, 100_000, 1e13])
        beat = dice.choice([None, 0, NOW - 120_000 + dice.randint(-2, 2), NOW - dice.uniform(-spread, 3 * spread)])
        row = replace(
            usual,
            connection_id=None if connection_id is None else clean(connection_id),
            last_heartbeat_at=None if beat is None else ServerMs(beat),
        )
        verdict = JUDGE.verdict(row, NOW)
        verdicts.append(verdict)
        shown = "online" if verdict.presence in (Presence.ONLINE, Presence.LATE) else verdict.presence.value
        assert shown == official_rule(connection_id, beat, NOW)
        assert verdict.is_up is (shown == "online")
    assert {verdict.reason for verdict in verdicts} == set(Reason) - OF_THE_PAST


# Problems of a moment, and each problem's begin

DAY = 86_400_000
ONLINE = tracked()


def test_a_row_down_or_flapping_is_a_problem_and_a_late_row_is_none() -> None:
    assert not is_problem(ONLINE, NOW)
    assert not is_problem(replace(ONLINE, verdict=LATE), NOW)
    assert is_problem(replace(ONLINE, is_flapping=True), NOW)
    assert is_problem(replace(ONLINE, verdict=LATE, is_flapping=True), NOW)
    assert is_problem(replace(ONLINE, verdict=HEARTBEAT_LOST, since_at=NOW), NOW)


@pytest.mark.parametrize(("verdict", "lasts_ms"), [(DISCONNECTED, DAY), (HEARTBEAT_LOST, DAY), (GONE, 900_000)])
@pytest.mark.parametrize("end_ms", [None, -DAY, 0, 1])
def test_a_loss_is_a_problem_for_a_day_and_a_gone_row_for_15_minutes_or_from_the_end_of_a_silence(
    verdict: Verdict, lasts_ms: int, end_ms: int | None
) -> None:
    """A silence may end before the listing with the loss, although the row's last sign of life precedes the silence."""
    lost = replace(ONLINE, verdict=verdict, since_at=NOW)
    silence = () if end_ms is None else (NOW + end_ms,)
    for age_ms, is_one in ((-1, True), (0, False)):
        now = NOW + lasts_ms + max(end_ms or 0, 0) + age_ms
        assert is_problem(lost, now, *silence) is is_one
        assert is_old(lost, now, *silence) is (not is_one and verdict is not GONE)
    assert not is_old(replace(lost, verdict=LATE), NOW + DAY)


def test_an_instant_in_seconds_does_not_make_an_environment_old() -> None:
    offline = tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=NOW / 1000, connectedAt=None)
    assert not is_old(offline, NOW)
    assert is_problem(offline, NOW)


def test_what_cannot_be_judged_is_neither() -> None:
    untimed = replace(ONLINE, verdict=UNTIMED, has_impossible_time=True)
    assert not is_problem(untimed, NOW)
    assert not is_old(untimed, NOW + 9 * DAY)
    assert state_began_at(untimed, Limits()) is None


def test_a_state_begins_at_the_change_seen_or_by_the_row() -> None:
    limits, row, since_at = Limits(), ONLINE.environment, ServerMs(NOW - 5_000)
    assert state_began_at(ONLINE, limits) == row.connected_at
    assert state_began_at(replace(ONLINE, since_at=since_at), limits) == since_at
    assert state_began_at(replace(ONLINE, verdict=HEARTBEAT_LOST), limits) == row.last_heartbeat_at
    assert state_began_at(replace(ONLINE, verdict=HEARTBEAT_LOST, since_at=since_at), limits) == since_at
    late_ms = limits.late_after.total_seconds() * 1000
    assert (
        state_began_at(replace(ONLINE, verdict=LATE, since_at=since_at), limits)
        == ONLINE.environment.last_seen_alive_at + late_ms
    )


@pytest.mark.parametrize(("silent_ms", "has"), [(9_999, False), (10_000, True)])
def test_a_single_listing_measures_silence_from_the_heartbeat_or_else_from_the_last_sight(
    silent_ms: float, *, has: bool
) -> None:
    row, lasts = replace(ONLINE.environment, last_seen_at=ServerMs(NOW - 3_000)), timedelta(seconds=10)
    assert row.last_heartbeat_at is not None
    lost = replace(ONLINE, environment=row, verdict=HEARTBEAT_LOST)
    assert has_been_silent(lost, row.last_heartbeat_at + silent_ms, lasts) is has
    closed = replace(ONLINE, environment=replace(row, last_heartbeat_at=None), verdict=DISCONNECTED)
    assert has_been_silent(closed, row.last_seen_at + silent_ms, lasts) is has


def test_a_state_other_than_a_dated_loss_counts_at_once() -> None:
    for one in (ONLINE, replace(ONLINE, verdict=LATE), replace(ONLINE, verdict=NEVER_LISTED, since_at=NOW)):
        assert has_been_silent(one, NOW, timedelta(days=1))
    assert has_been_silent(replace(ONLINE, verdict=UNTIMED, has_impossible_time=True), NOW, timedelta(days=1))


# Counts of the status line

ROWS = st.sampled_from(
    [
        {},
        {"connectionId": None},
        {"lastHeartbeat": NOW - 46_000},
        {"lastHeartbeat": NOW - 121_000},
        {"lastHeartbeat": NOW + 40_000},
        {"lastHeartbeat": NOW / 1000},
        {"lastHeartbeat": NOW + 2 * 86_400_000},
        {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 30 * 86_400_000},
    ]
)


@given(
    first=st.lists(ROWS, max_size=14),
    second=st.lists(ROWS, max_size=14),
    seconds=st.sampled_from([0, 59, 61, 300]),
    fails=st.booleans(),
)
def test_the_counts_are_those_of_the_rows(
    first: list[dict[str, object]], second: list[dict[str, object]], seconds: int, *, fails: bool
) -> None:
    profile_state = ProfileState()
    for rows, at in ((first, NOW), (second, NOW + 5_000), (second, NOW + 10_000)):
        profile_state, _ = profile_state.apply(
            listed([environment(f"env-{n}", **row) for n, row in enumerate(rows)], at)
        )
    if fails:
        profile_state, _ = profile_state.apply(failed(at=NOW + 15_000))
    now = reading(NOW + 15_000 + seconds * 1000)
    known = profile_state.known(now)
    shown = Counter[str]()
    for one in profile_state.environments.values():
        style = style_of(one, is_unknown=profile_state.is_unknown(one, now))
        shown["unknown" if style.style == "unknown" else style.glyph] += 1
    assert len(profile_state.environments) - len(known) == shown.pop("unknown", 0)
    assert Counter(glyph_of(row.presence, ascii_only=False) for row in known) == shown


A, B, ONE, TWO = clean("a"), clean("b"), clean("1.0"), clean("2.0")


def test_the_counts_of_two_profiles_are_the_sums() -> None:
    one = Counts(flapping=3, unrestricted=4, behind=5, newest=ONE)
    other = Counts(flapping=30, unrestricted=40, behind=50, newest=ONE)
    both = one + replace(other, mostly_behind=frozenset({A})) + Counts(mostly_behind=frozenset({B}))
    assert both == Counts(
        flapping=33,
        unrestricted=44,
        behind=55,
        newest=ONE,
        mostly_behind=frozenset({A, B}),
    )


@pytest.mark.parametrize(
    ("one", "other", "newest"),
    [
        (Counts(behind=1, newest=ONE), Counts(behind=1, newest=ONE), ONE),
        (Counts(behind=1, newest=ONE), Counts(behind=1, newest=TWO), None),
        (Counts(behind=1, newest=ONE), Counts(behind=0, newest=TWO), ONE),
        (Counts(newest=ONE), Counts(newest=ONE), None),
    ],
)
def test_profiles_with_old_versions_have_one_newest_version_or_none(
    one: Counts, other: Counts, newest: str | None
) -> None:
    assert (one + other).newest == newest


def test_flapping_rows_unrestricted_rows_and_rows_behind_are_counted_while_up() -> None:
    old = {"metadata": {"lettaCodeVersion": "0.30.0"}}
    states: list[dict[str, Any]] = [{}, {}, {"currentMode": "unrestricted"}, old, old | {"connectionId": None}]
    states.append({"currentMode": "unrestricted", "connectionId": None})
    rows = [environment(f"env-{n}", **each) for n, each in enumerate(states)]
    profile_state, _ = ProfileState().apply(listed(rows))
    flapping = replace(profile_state.environments[clean("env-0")], is_flapping=True)
    replaced = replace(profile_state.environments[clean("env-1")], is_flapping=True, replaced_by=clean("env-2"))
    changed = {**profile_state.environments, flapping.environment.id: flapping, replaced.environment.id: replaced}
    counts = counts_at(replace(profile_state, environments=changed), reading())
    assert (counts.flapping, counts.unrestricted, counts.behind, counts.newest) == (1, 1, 1, "0.34.12")


def test_a_fleet_without_a_row_up_knows_since_when() -> None:
    down = environment("env-1", connectionId=None)
    never, _ = ProfileState().apply(listed([down]))
    profile_state, _ = ProfileState().apply(listed([environment("env-1"), environment("env-2")]))
    assert (never.none_up_since, profile_state.none_up_since) == (None, None)
    profile_state, _ = profile_state.apply(listed([down], NOW + 5_000))
    assert profile_state.none_up_since is None  # one listing does not prove env-2 gone
    profile_state, _ = profile_state.apply(listed([down], NOW + 10_000))
    assert profile_state.none_up_since == reading(NOW + 5_000)
    profile_state, _ = profile_state.apply(listed([environment("env-1")], NOW + 15_000))
    assert profile_state.none_up_since is None
