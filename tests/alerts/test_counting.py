"""When a loss counts: after a silence since the last sign of life, and a time listed as lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, key_of, listed
from support.policies import soon
from support.scripted_watch import LIMITS, Night, beating, night

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.losses import Loss, chains
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.watched_time import Span
from envwatch.model.acks import Ack
from envwatch.model.clock import MonotonicS, OffsetBounds, ServerMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = timedelta(seconds=1)


def counts_at(
    silent_since: float,
    noticed_at: float,
    interval: timedelta = 5 * SECOND,
    *,
    kind: Kind = Kind.OFFLINE,
    is_doubtful: bool = False,
    **policy: Any,
) -> float:
    loss = Loss(
        event=Event(kind=kind, at=NOW, id=clean("a")),
        died=Span(NOW, NOW),
        silent_since=MonotonicS(silent_since),
        noticed_at=MonotonicS(noticed_at),
        is_doubtful=is_doubtful,
    )
    return loss.counts_at(AlertPolicy(**policy), interval)


@pytest.mark.parametrize(("noticed_at", "at"), [(5, 240), (180, 240), (181, 241), (600, 660)])
def test_a_loss_counts_after_four_minutes_of_silence_and_one_minute_of_listings(noticed_at: float, at: float) -> None:
    assert counts_at(0, noticed_at) == at


@pytest.mark.parametrize(("alert_after", "listed_for"), [(0, 0), (12, 3), (236, 59), (240, 60), (600, 60)])
def test_a_short_alert_after_asks_for_a_quarter_in_the_listings(alert_after: int, listed_for: float) -> None:
    assert counts_at(0, 1_000, alert_after=alert_after * SECOND) == 1_000 + listed_for


@pytest.mark.parametrize(
    ("alert_after", "interval", "silent_for"),
    [
        (240, 30, 240),
        (240, 50, 240),
        (240, 51, 239),
        (290, 31, 259),
        (291, 31, 291),
        (600, 600, 600),
        (240, 290, 0),
        (240, 600, 0),
    ],
)
def test_with_slow_polls_silence_and_interval_together_last_290_seconds(
    alert_after: int, interval: int, silent_for: float
) -> None:
    assert counts_at(0, -1_000, interval * SECOND, alert_after=alert_after * SECOND) == silent_for


@pytest.mark.parametrize(
    ("blind_after", "alert_after", "at"), [(900, 240, 905), (900, 1_800, 1_800), (30, 240, 240), (None, 240, 240)]
)
def test_a_doubtful_loss_waits_for_blind_after(blind_after: int | None, alert_after: int, at: float) -> None:
    lasts, silent_for = None if blind_after is None else blind_after * SECOND, alert_after * SECOND
    assert counts_at(0, 5, is_doubtful=True, blind_after=lasts, alert_after=silent_for) == at
    assert counts_at(0, 5, blind_after=lasts, alert_after=silent_for) == alert_after


def test_flapping_counts_at_once() -> None:
    assert counts_at(0, 5, kind=Kind.FLAPPING) == 5


# The last sign of life, in seconds since the first listing


def silences(one: Night) -> list[float]:
    """Return the begin of each waiting loss's silence."""
    return [loss.silent_since for loss in one.monitor.incidents.waiting]


def beats(*beat_at: float, polls: range, skew_from: float = 1_000) -> Night:
    """Poll a row with heartbeats at some seconds and a healthy row; from `skew_from` on, `Date` is an hour ahead."""
    one = Night([], Monitor.create(LIMITS))
    for second in polls:
        one.at = NOW + second * 1000
        newest = max(each for each in beat_at if each <= second)
        listing = listed([beating("a", NOW + newest * 1000), beating("b", one.at - 1_000)], one.at)
        if second >= skew_from:
            ahead = (OffsetBounds(3_599_500, 3_600_500),)
            listing = listing._replace(snapshot=listing.snapshot._replace(clock=ahead))
        one.take(listing)
    return one


def listed_after_blindness() -> Night:
    one = night("a", "b").later(600)
    return one.show([beating("a", one.at - 130_000), beating("b", one.at)])


SILENT_SINCE: dict[str, tuple[Callable[[], Night], float]] = {
    "a lost heartbeat: the heartbeat": (lambda: beats(-7, 23, polls=range(0, 150, 5)), 23),
    "a heartbeat of uncertain age: the listing in which the heartbeat advanced": (
        lambda: beats(-7, 23, polls=range(0, 200, 5), skew_from=40),
        25,
    ),
    "a closed connection: the last listing with the connection": (lambda: night("a", "b").poll().poll("a", after=7), 5),
    "a vanished row: the last listing with the row": (
        lambda: night("a", "b", "c").poll().poll(without=("a",)).poll(without=("a",), after=7),
        5,
    ),
    "a row that left the list before its connection closed": (
        lambda: night("a", "b", "c").poll().poll(without=("a",)).poll("a"),
        5,
    ),
    "a closed connection after blindness: the last listing before": (
        lambda: night("a", "b").poll().poll("a", after=600),
        5,
    ),
    "a lost heartbeat after blindness: the heartbeat": (listed_after_blindness, 470),
    "a sleep of this machine counts": (lambda: night("a", "b").poll().sleep(3_600).poll("a"), 5),
    "a never registered name: the first listing": (
        lambda: night("a", policies=soon(expect=(clean("never"),))).poll(),
        0,
    ),
}


@pytest.mark.parametrize(("story", "since"), SILENT_SINCE.values(), ids=SILENT_SINCE)
def test_a_row_is_silent_since_its_last_sign_of_life(story: Callable[[], Night], since: float) -> None:
    assert silences(story()) == [since]


def test_the_end_of_a_silence_begins_the_count() -> None:
    one = night("a", "b").silence("a", lasts=60 * SECOND)
    assert silences(one.hold(55, "a")) == [0]
    assert silences(one.poll("a")) == [60]


def test_the_end_of_an_acknowledgement_leaves_the_last_sign_of_life() -> None:
    one = Night(["a", "b"]).poll("a", after=0).decide({key_of("a"): Ack(NOW - 600_000, clean("known"), NOW - 600_000)})
    assert silences(one.poll("a")) == [-1]


@pytest.mark.parametrize(("up_s", "since"), [(59.999, [0]), (60, [70])])
def test_a_return_of_under_a_minute_does_not_restart_the_count(up_s: float, since: list[float]) -> None:
    assert silences(night("a", "b", policies={}).poll("a").poll().poll(after=up_s).poll("a")) == since


@pytest.mark.parametrize(
    ("spans", "linked"),
    [
        ([(0, 10), (10, 20), (20, 30)], ["abc"]),
        ([(0, 10), (11, 20)], ["a", "b"]),
        ([(0, 100), (10, 20), (50, 60), (101, 110)], ["abc", "d"]),  # a long span holds shorter spans
    ],
)
def test_losses_with_touching_spans_of_death_are_a_chain(spans: list[tuple[int, int]], linked: list[str]) -> None:
    losses = [
        Loss(
            event=Event(kind=Kind.OFFLINE, at=NOW, id=clean(name)),
            died=Span(ServerMs(NOW + since), ServerMs(NOW + until)),
            silent_since=MonotonicS(0.0),
            noticed_at=MonotonicS(0.0),
        )
        for name, (since, until) in zip("abcd", spans, strict=False)
    ]
    assert ["".join(str(loss.event.id) for loss in chain) for chain in chains(losses)] == linked
