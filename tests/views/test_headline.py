"""The choice of the event for the news line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.app_harness import staged
from support.builders import NOW, environment

from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.views.headline import headline


def event(kind: Kind, seconds: float = 0, id_: str = "env-1", *, of: Kind | None = None, count: int = 0) -> Event:
    members = tuple(event(of, seconds, f"env-{n}") for n in range(count)) if of is not None else ()
    return Event(kind=kind, at=ServerMs(NOW + seconds * 1000), id=None if of else Clean(id_), of=of, members=members)


LOST = event(Kind.TOGETHER, of=Kind.OFFLINE, count=3)


def chosen(*event_log: Event, after: float = 10) -> Event | None:
    return headline(event_log, lambda _: NOW + after * 1000)


def test_without_events_there_is_no_headline() -> None:
    assert chosen() is None


def test_the_newest_of_minor_events_is_chosen() -> None:
    first, second = event(Kind.MODE), event(Kind.RECONNECTED, 5)
    assert chosen(first, second) is second


@pytest.mark.parametrize("small", [Kind.MODE, Kind.VERSION, Kind.RECONNECTED, Kind.APPEARED, Kind.FLAPPING])
def test_a_loss_outranks_minor_events_after_it(small: Kind) -> None:
    fell = event(Kind.OFFLINE)
    assert chosen(fell, event(small, 5, "env-9")) is fell


@pytest.mark.parametrize(("seconds", "stands"), [(59.999, True), (60, False)])
def test_a_loss_stays_for_a_minute(seconds: float, *, stands: bool) -> None:
    later = event(Kind.MODE, 5, "env-9")
    assert chosen(LOST, later, after=seconds) is (LOST if stands else later)


def test_an_old_loss_stays_while_nothing_else_happens() -> None:
    assert chosen(LOST, after=9_000) is LOST


@pytest.mark.parametrize(
    "kind", [LOST, event(Kind.WHILE_BLIND), event(Kind.STALLED), event(Kind.TOGETHER, of=Kind.GONE, count=3)]
)
def test_an_event_of_many_outranks_the_loss_of_one(kind: Event) -> None:
    assert chosen(kind, event(Kind.OFFLINE, 5, "env-9")) is kind


def test_the_newer_of_two_equally_severe_events_is_chosen() -> None:
    first, second = event(Kind.OFFLINE), event(Kind.GONE, 5, "env-9")
    assert chosen(first, second) is second
    assert chosen(event(Kind.STALLED), resumed := event(Kind.RESUMED, 5)) is resumed


def test_a_change_to_unrestricted_is_as_severe_as_a_loss_and_the_way_back_is_minor() -> None:
    fell = event(Kind.OFFLINE)
    drift = replace(event(Kind.MODE, 5, "env-9"), before=Clean("standard"), after=Clean("unrestricted"))
    assert chosen(fell, drift) is drift
    assert chosen(fell, replace(drift, before=drift.after, after=drift.before)) is fell


def test_a_more_severe_event_is_chosen_at_once() -> None:
    assert chosen(event(Kind.OFFLINE, -5), LOST) is LOST


def test_a_loss_that_has_come_back_is_no_longer_severe() -> None:
    back = event(Kind.ONLINE, 5)
    assert chosen(event(Kind.OFFLINE), back) is back
    assert chosen(LOST, returned := event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3)) is returned


def test_a_group_that_has_come_back_in_part_stays() -> None:
    assert chosen(LOST, event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)) is LOST


def test_an_environment_lost_again_after_its_return_is_chosen() -> None:
    again = event(Kind.OFFLINE, 8)
    assert chosen(event(Kind.OFFLINE), event(Kind.ONLINE, 5), again) is again


async def test_the_news_line_keeps_an_incident_for_a_minute() -> None:
    ids = [f"env-{n}" for n in range(12)]
    async with staged() as stage:
        await stage.show([environment(id_) for id_ in (*ids, "env-x")])
        await stage.show([*(environment(id_, connectionId=None) for id_ in ids), environment("env-x")])
        stage.now = 5
        await stage.show(
            [*(environment(id_, connectionId=None) for id_ in ids), environment("env-x", currentMode="plan")]
        )
        assert "12 went offline together" in stage.news
        await stage.tick(54)
        assert "12 went offline together" in stage.news
        await stage.tick(2)
        assert "mode standard → plan" in stage.news
