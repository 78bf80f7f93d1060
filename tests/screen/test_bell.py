"""The bell: the key, the bytes to the terminal, and when a watch rings."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import BELL, Stage, staged
from support.builders import NOW, environment, failed, key_of, listed
from support.policies import soon

from envwatch.alerts.acknowledgements import ended_by_person
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.watch.loop import Decisions

if TYPE_CHECKING:
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

OFF: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}


def rows(at: float, lost: int = 0, count: int = 4) -> list[Environment]:
    return [environment(f"env-{n}", **(OFF if n < lost else {"lastHeartbeat": at})) for n in range(count)]


async def test_the_bell_is_off_until_its_key_and_rings_for_no_loss_from_before() -> None:
    kept: list[dict[str, Any]] = []
    async with staged(policies=soon(), keep=lambda **changes: kept.append(changes)) as stage:
        assert "bell" not in stage.lines[0]
        await stage.show(rows(stage.at))
        for lost in (1, 2):
            for _ in range(4):
                await stage.tick(5)
                await stage.show(rows(stage.at, lost))
            assert stage.app.sent == [BELL] * (lost - 1)
            await stage.press("B")
            assert stage.news == ("bell on: rings when a machine stays down" if lost == 1 else "bell off")
            assert bool(re.search(r" bell on ", stage.lines[0])) is (lost == 1)
    assert kept == [{"bell": True}, {"bell": False}]


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
    async with staged(bell=True, policies=soon(), notify=style) as stage:
        await stage.show(rows(stage.at))
        await stage.show(rows(stage.at, 1))
        await stage.tick(15)
        assert stage.app.sent == [BELL, sequence]


# -- without a screen --------------------------------------------------------------------------------------------------
class Ringing(Stage):
    """Counts the bells of the watch of an app that does not run."""

    def __init__(self, *listings: list[Environment], **options: Any) -> None:
        super().__init__(**{"policies": soon(), **options})
        self.bells = 0
        for listing in listings:
            self.hear(listed(listing, self.at))

    def hear(self, outcome: Outcome) -> None:
        self.watch.take(NO_PROFILE, outcome)
        self.bells += bool(self.watch.due_alerts())

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.watch.tick()
        self.bells += bool(self.watch.due_alerts())

    def pass_on(self, seconds: int, lost: int, count: int = 4) -> None:
        for _ in range(seconds // 5):
            self.wait(5)
            self.hear(listed(rows(self.at, lost, count), self.at))


def with_a_loss(lost: int = 1, count: int = 4, **options: Any) -> Ringing:
    """Return a watch five seconds after the first listing, whose rows were up."""
    ringing = Ringing(rows(NOW, 0, count), **options)
    ringing.now = 5
    ringing.hear(listed(rows(ringing.at, lost, count), ringing.at))
    return ringing


@pytest.mark.parametrize(("held", "bells"), [(4.999, 0), (5.0, 1)])
@pytest.mark.parametrize("lost", [1, 3])
async def test_losses_of_one_moment_ring_once_after_ten_seconds_of_silence(held: float, bells: int, lost: int) -> None:
    ringing = with_a_loss(lost)
    assert ringing.bells == 0
    ringing.wait(held)
    assert ringing.bells == bells
    ringing.pass_on(60, lost)
    assert ringing.bells == 1


async def test_the_first_listing_failed_polls_and_a_return_in_time_ring_for_nothing() -> None:
    ringing = Ringing(rows(NOW, 3))
    ringing.pass_on(30, 3)
    assert ringing.bells == 0
    ringing.hear(listed(rows(ringing.at, 4), ringing.at))
    ringing.wait(4)
    ringing.pass_on(30, 3)
    for _ in range(40):
        ringing.wait(5)
        ringing.hear(failed(at=ringing.at))
    assert ringing.bells == 0


async def test_a_loss_soon_after_a_bell_waits_for_ten_seconds_between_two() -> None:
    ringing = with_a_loss(policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=4))})
    ringing.wait(4)
    assert ringing.bells == 1
    ringing.wait(1)
    ringing.hear(listed(rows(ringing.at, 3), ringing.at))
    for seconds, bells in ((8, 1), (1, 2)):
        ringing.wait(seconds)
        assert ringing.bells == bells


async def test_an_acknowledged_loss_rings_only_after_the_withdrawal_and_a_new_loss_rings() -> None:
    ringing = with_a_loss()
    made = Ack(ringing.at, clean(""), NOW)
    for ack, bells in ((made, 0), (ended_by_person(made, ringing.at + 30_000), 1)):
        ringing.watch.decide(Decisions(acks={key_of("env-0"): ack}))
        ringing.pass_on(30, 1)
        assert ringing.bells == bells
    earlier = with_a_loss(acks={key_of("env-0"): Ack(NOW, clean(""))})
    earlier.pass_on(30, 1)
    assert earlier.bells == 1


async def test_an_acknowledged_flapper_rings_once_at_the_begin_of_flapping_though_down_afterwards() -> None:
    """The incident opened at the begin of flapping, and stays open while the environment is down."""
    ringing = Ringing(policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(minutes=10))})
    for minute in range(9):
        ringing.now = 60 * minute
        ringing.hear(listed(rows(ringing.at, minute % 2), ringing.at))
    ringing.watch.decide(Decisions(acks={key_of("env-0"): Ack(ringing.at, clean(""), NOW + 480_000)}))
    counts = []
    for _ in range(60):
        ringing.wait(30)
        down = environment("env-0", lastSeenAt=NOW + 481_000, **OFF)
        ringing.hear(listed([down, *rows(ringing.at)[1:]], ringing.at))
        counts.append((len(ringing.watch.monitor.acks), ringing.bells))
    assert set(counts) == {(1, 1)}, "a return of half a minute ends no acknowledgement"


@pytest.mark.parametrize(("listings_before", "bells"), [(0, 0), (1, 1)])
async def test_a_loss_after_an_unseen_return_rings_unless_found_in_the_first_listing(
    listings_before: int, bells: int
) -> None:
    first = [environment("env-0", lastSeenAt=NOW - 500_000, **OFF)]
    ringing = Ringing(*[first] * listings_before, acks={key_of("env-0"): Ack(NOW, clean(""), NOW - 500_000)})
    assert list(ringing.watch.monitor.acks) == [key_of("env-0")]
    ringing.pass_on(30, 1, 1)
    assert (ringing.watch.monitor.acks, ringing.bells) == ({}, bells)


async def test_an_acknowledgement_of_the_serving_host_rings_nothing_and_a_silence_counts_there_only() -> None:
    acked = {"ack": {"by": "ops-1", "at": 1, "note": "on it"}}
    silenced = {"silence": {"by": "ops-1", "until": NOW + 3_600_000, "reason": "disks"}}
    for marks, bells in ((acked, 0), (silenced, 1)):
        ringing = Ringing(rows(NOW))
        for _ in range(5):
            ringing.wait(5)
            lost = environment("env-0", envwatch=marks, **OFF)
            ringing.hear(listed([lost, *rows(ringing.at)[1:]], ringing.at))
        assert ringing.bells == bells


async def test_nothing_rings_while_blind_and_a_lasting_loss_rings_afterwards() -> None:
    ringing = with_a_loss()
    ringing.hear(failed(at=ringing.at))
    for seconds in (61, 30):
        ringing.wait(seconds)
        assert ringing.bells == 0
    ringing.hear(listed(rows(ringing.at, 1), ringing.at))
    ringing.wait(1)
    assert ringing.bells == 1
