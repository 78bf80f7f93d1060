"""The text of a bell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW
from support.hostile_fleet import WEAPONS
from support.incidents import incident_of

from envwatch.fleet.alerting.incidents import ring_text
from envwatch.fleet.events import Event, Kind
from envwatch.model.text import cells, clean, composed

if TYPE_CHECKING:
    from envwatch.fleet.alerting.incidents import Incident


def incident(*names: str, kinds: tuple[Kind, ...] = (Kind.OFFLINE,), **changes: Any) -> Incident:
    losses = tuple(
        Event(
            kind=kinds[min(number, len(kinds) - 1)],
            at=NOW,
            id=composed(f"env-{name}"),
            name=clean(name),
            before=clean("online"),
            **changes,
        )
        for number, name in enumerate(names)
    )
    return incident_of(*losses)


@pytest.mark.parametrize(
    ("incidents", "text"),
    [
        ([incident("mac-mini-2")], "mac-mini-2 went offline"),
        ([incident("mac-mini-2"), incident("b")], "mac-mini-2 and 1 other went offline"),
        ([incident("mac-mini-2", "b", "c")], "mac-mini-2 and 2 others went offline"),
        ([incident("mac-mini-2", kinds=(Kind.GONE,))], "mac-mini-2 is gone"),
        ([incident("mac-mini-2", "b", kinds=(Kind.GONE,))], "mac-mini-2 and 1 other are gone"),
        ([incident("mac-mini-2", kinds=(Kind.MISSING,))], "mac-mini-2 is missing"),
        (
            [incident("mac-mini-2", "b", kinds=(Kind.OFFLINE, Kind.GONE))],
            "mac-mini-2 and 1 other went offline, flap or are gone",
        ),
        ([incident("mac-mini-2", kinds=(Kind.FLAPPING,))], "mac-mini-2 flaps"),
        ([incident("mac-mini-2", "b", kinds=(Kind.FLAPPING,))], "mac-mini-2 and 1 other flap"),
        (
            [incident_of(Event(kind=Kind.BLIND, at=NOW, reason=clean("key refused: Unauthorized")))],
            "envwatch is blind: key refused: Unauthorized",
        ),
    ],
)
def test_a_ring_is_one_short_sentence(incidents: list[Incident], text: str) -> None:
    assert ring_text(incidents) == text


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 48 + "…" + "x" * 11)])
def test_a_long_name_keeps_both_its_ends(length: int, shown: str) -> None:
    assert ring_text([incident("x" * length)]) == f"{shown} went offline"


def test_an_environment_without_a_name_is_named_by_its_id() -> None:
    assert ring_text([incident("")]) == "env- went offline"


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_name_makes_it_long_or_unclean(weapon: str) -> None:
    text = ring_text([incident(clean(weapon), "b")])
    assert cells(text) <= 60 + len(" and 1 other went offline")
    assert clean(text) == text
