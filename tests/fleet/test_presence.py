"""The verdict over one row, against a second implementation of the official rule."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from support.budget import examples
from support.builders import NOW, environment

from envwatch.fleet.presence import Presence, PresenceRule, Reason, heartbeat_age
from envwatch.model.clock import ServerMs
from envwatch.model.environment import Environment
from envwatch.model.limits import Limits
from envwatch.model.text import clean

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


def test_a_connection_that_never_beat_is_offline() -> None:
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
        row = Environment(
            id=usual.id,
            name=usual.name,
            device_id=usual.device_id,
            organization_id=usual.organization_id,
            first_seen_at=ServerMs(0),
            last_seen_at=ServerMs(0),
            connection_id=None if connection_id is None else clean(connection_id),
            last_heartbeat_at=None if beat is None else ServerMs(beat),
        )
        verdict = JUDGE.verdict(row, NOW)
        verdicts.append(verdict)
        shown = "online" if verdict.presence in (Presence.ONLINE, Presence.LATE) else verdict.presence.value
        assert shown == official_rule(connection_id, beat, NOW)
        assert verdict.is_up is (shown == "online")
    assert {verdict.reason for verdict in verdicts} == set(Reason) - OF_THE_PAST
