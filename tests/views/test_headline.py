"""Which event stands in the line for the newest."""

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


def told(*event_log: Event, after: float = 10) -> Event | None:
    return headline(event_log, lambda _: NOW + after * 1000)


def test_without_events_none_is_told() -> None:
    assert told() is None


def test_of_small_events_the_newest_is_told() -> None:
    first, second = event(Kind.MODE), event(Kind.RECONNECTED, 5)
    assert told(first, second) is second


@pytest.mark.parametrize("small", [Kind.MODE, Kind.VERSION, Kind.RECONNECTED, Kind.APPEARED, Kind.FLAPPING])
def test_a_loss_stands_before_the_small_events_after_it(small: Kind) -> None:
    fell = event(Kind.OFFLINE)
    assert told(fell, event(small, 5, "env-9")) is fell


@pytest.mark.parametrize(("seconds", "stands"), [(59.999, True), (60, False)])
def test_it_stands_for_a_minute(seconds: float, *, stands: bool) -> None:
    later = event(Kind.MODE, 5, "env-9")
    assert told(LOST, later, after=seconds) is (LOST if stands else later)


def test_an_old_loss_is_told_while_nothing_else_has_happened() -> None:
    assert told(LOST, after=9_000) is LOST


@pytest.mark.parametrize(
    "kind", [LOST, event(Kind.WHILE_BLIND), event(Kind.STALLED), event(Kind.TOGETHER, of=Kind.GONE, count=3)]
)
def test_what_concerns_many_stands_before_the_loss_of_one(kind: Event) -> None:
    assert told(kind, event(Kind.OFFLINE, 5, "env-9")) is kind


def test_of_two_that_are_as_grave_the_newer_is_told() -> None:
    first, second = event(Kind.OFFLINE), event(Kind.GONE, 5, "env-9")
    assert told(first, second) is second
    assert told(event(Kind.STALLED), resumed := event(Kind.RESUMED, 5)) is resumed


def test_a_drift_to_unrestricted_is_as_grave_as_a_loss_and_a_drift_away_is_small() -> None:
    fell = event(Kind.OFFLINE)
    drift = replace(event(Kind.MODE, 5, "env-9"), before=Clean("standard"), after=Clean("unrestricted"))
    assert told(fell, drift) is drift
    assert told(fell, replace(drift, before=drift.after, after=drift.before)) is fell


def test_a_graver_one_is_told_at_once() -> None:
    assert told(event(Kind.OFFLINE, -5), LOST) is LOST


def test_what_has_come_back_is_no_longer_grave() -> None:
    back = event(Kind.ONLINE, 5)
    assert told(event(Kind.OFFLINE), back) is back
    assert told(LOST, group := event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3)) is group


def test_of_a_mass_that_has_come_back_in_part_the_loss_stands() -> None:
    assert told(LOST, event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)) is LOST


def test_what_fell_came_back_and_fell_again_is_told_as_it_is() -> None:
    again = event(Kind.OFFLINE, 8)
    assert told(event(Kind.OFFLINE), event(Kind.ONLINE, 5), again) is again


async def test_the_news_line_keeps_the_incident_for_a_minute() -> None:
    ids = [f"env-{n}" for n in range(12)]
    async with staged() as stage:
        await stage.show([environment(id_) for id_ in (*ids, "env-x")])
        await stage.show([*(environment(id_, connectionId=None) for id_ in ids), environment("env-x")])
        stage.now = 5
        await stage.show(
            [*(environment(id_, connectionId=None) for id_ in ids), environment("env-x", currentMode="plan")]
        )
        assert "12 lost together" in stage.news
        await stage.tick(54)
        assert "12 lost together" in stage.news
        await stage.tick(2)
        assert "mode standard → plan" in stage.news
