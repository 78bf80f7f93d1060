"""The bell: the key, and the bytes to the terminal."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import BELL, staged
from support.builders import NOW, environment, failed, key_of
from support.policies import soon

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.environment import Environment


def rows(at: float, lost: int = 0, count: int = 4) -> list[Environment]:
    off: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
    return [environment(f"env-{n}", **(off if n < lost else {"lastHeartbeat": at})) for n in range(count)]


@asynccontextmanager
async def ringing(lost: int = 1, count: int = 4, **wishes: Any) -> AsyncIterator[Stage]:
    async with staged(**{"bell": True, "policies": soon(), **wishes}) as stage:
        await stage.show(rows(stage.at, 0, count))
        stage.now = 5
        await stage.show(rows(stage.at, lost, count))
        yield stage


async def pass_on(stage: Stage, seconds: int, lost: int, count: int = 4) -> None:
    for _ in range(seconds // 5):
        await stage.tick(5)
        await stage.show(rows(stage.at, lost, count))


async def test_the_bell_is_off_until_its_key_and_rings_for_no_loss_from_before() -> None:
    kept: list[dict[str, Any]] = []
    async with ringing(bell=False, keep=lambda **changes: kept.append(changes)) as stage:
        assert "bell" not in stage.lines[0]
        await pass_on(stage, 15, 1)
        await stage.press("B")
        assert stage.news == "bell on: rings when an environment stays down"
        assert re.search(r" bell on ", stage.lines[0])
        await pass_on(stage, 15, 1)
        assert stage.app.sent == []
        await stage.press("B")
        assert stage.news == "bell off"
        assert "bell" not in stage.lines[0]
    assert kept == [{"bell": True}, {"bell": False}]


@pytest.mark.parametrize(("held", "sent"), [(4.999, []), (5.0, [BELL])])
async def test_a_loss_rings_once_after_ten_seconds_of_silence(held: float, sent: list[str]) -> None:
    async with ringing() as stage:
        assert stage.app.sent == []
        await stage.tick(held)
        assert stage.app.sent == sent
        await pass_on(stage, 20, 1)
        assert stage.app.sent == [BELL]


async def test_the_first_listing_and_failed_polls_ring_for_no_environment() -> None:
    async with staged(bell=True, policies=soon()) as stage:
        await stage.show(rows(stage.at, 2))
        await pass_on(stage, 15, 2)
        for _ in range(20):
            await stage.tick(5)
            await stage.take(failed(at=stage.at))
        assert stage.app.sent == []


async def test_a_mass_rings_once() -> None:
    async with ringing(12, 20) as stage:
        assert "12 went offline together" in stage.news
        await pass_on(stage, 20, 12, 20)
        assert stage.app.sent == [BELL]


async def test_a_loss_soon_after_a_bell_waits_for_ten_seconds_between_two() -> None:
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=4))}
    async with ringing(policies=policies) as stage:
        await stage.tick(4)
        assert stage.app.sent == [BELL]
        await stage.tick(1)
        await stage.show(rows(stage.at, 3))
        await stage.tick(8)
        assert stage.app.sent == [BELL]
        await stage.tick(1)
        assert stage.app.sent == [BELL, BELL]


async def test_nothing_rings_for_a_row_that_came_back_in_time() -> None:
    async with ringing() as stage:
        await stage.tick(4)
        await stage.show(rows(stage.at))
        await pass_on(stage, 15, 0)
        assert stage.app.sent == []


async def test_nothing_rings_for_an_acknowledged_loss_until_the_acknowledgement_is_withdrawn() -> None:
    async with ringing() as stage:
        await stage.press("a", "enter")
        await pass_on(stage, 20, 1)
        assert stage.app.sent == []
        await stage.press("a", "ctrl+r")
        await pass_on(stage, 20, 1)
        assert (stage.app.state.monitor.acks, stage.app.sent) == ({}, [BELL])


async def test_a_row_that_was_acknowledged_before_and_fails_anew_rings() -> None:
    async with ringing(acks={key_of("env-0"): Ack(NOW, clean(""))}) as stage:
        await pass_on(stage, 15, 1)
        assert stage.app.sent == [BELL]


async def test_an_acknowledged_flapper_that_stays_down_rings_once_as_it_begins_to_flap() -> None:
    """The incident opened at the begin of flapping, and stays open while the environment is down."""
    lost: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW + 481_000}
    policies = {NO_PROFILE: AlertPolicy(alert_after=timedelta(minutes=10))}
    async with staged((40, 8), bell=True, policies=policies) as stage:
        for minute in range(9):
            stage.now = 60 * minute
            await stage.show(rows(stage.at, minute % 2))
        await stage.press("g", "a", "enter")
        counts = []
        for _ in range(30):
            await stage.tick(60)
            await stage.show([environment("env-0", **lost), *rows(stage.at)[1:]])
            counts.append((len(stage.app.state.monitor.acks), len(stage.app.sent)))
    assert counts == sorted(counts, reverse=True), "an acknowledgement came back"
    assert set(counts) == {(1, 1), (0, 1)}


@pytest.mark.parametrize(("listings_before", "sent"), [(0, []), (1, [BELL])])
async def test_a_row_that_came_back_unseen_and_fell_again_rings_unless_it_was_so_from_the_first(
    listings_before: int, sent: list[str]
) -> None:
    async with staged(bell=True, policies=soon(), acks={key_of("env-0"): Ack(NOW, clean(""), NOW - 500_000)}) as stage:
        first = [environment("env-0", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 500_000)]
        for _ in range(listings_before):
            await stage.show(first)
            assert list(stage.app.state.monitor.acks) == [key_of("env-0")]
        await pass_on(stage, 15, 1, 1)
        assert (stage.app.state.monitor.acks, stage.app.sent) == ({}, sent)


async def test_nothing_rings_while_blind_and_a_loss_that_still_holds_rings_after_it() -> None:
    async with ringing() as stage:
        await stage.take(failed(at=stage.at))
        await stage.tick(61)
        assert "BLIND" in stage.lines[0]
        await stage.tick(30)
        assert stage.app.sent == []
        await stage.show(rows(stage.at, 1))
        await stage.tick()
        assert stage.app.sent == [BELL]


@pytest.mark.parametrize(
    ("style", "sequence"),
    [
        ("osc9", "\x1b]9;envwatch: laptop of env-0 went offline\x07"),
        ("osc777", "\x1b]777;notify;envwatch;laptop of env-0 went offline\x07"),
    ],
)
async def test_a_notification_is_sent_with_the_bell_if_configured(
    monkeypatch: pytest.MonkeyPatch, style: str, sequence: str
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    async with ringing(notify=style) as stage:
        await stage.tick(10)
        assert stage.app.sent == [BELL, sequence]
