"""What the pane tells of a group: how many are how, which are the problems, and what they have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, listed, reading

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleets import Fleets
from envwatch.model.text import Clean
from envwatch.model.times import long_age
from envwatch.views.group_details import group_lines
from envwatch.views.grouping import GroupHeader, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


def row(name: str, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **changes)


def off(name: str, seconds: float) -> Environment:
    at = NOW - seconds * 1000
    return row(name, connectionId=None, lastHeartbeat=at, lastSeenAt=at)


def told(rows: Sequence[Environment], *, acks: Sequence[str] = (), after: float = 0.0) -> dict[str, str]:
    fleets, _ = Fleets().after(NO_PROFILE, listed(rows))
    heading = headed(list(fleets.environments))
    acked = {Clean(f"env-{name}"): Ack(NOW, Clean("")) for name in acks}
    return {fact.label: fact.text for fact in group_lines(heading, fleets, acked, reading(NOW + after))}


def headed(environments: Sequence[TrackedEnvironment]) -> GroupHeader:
    heading = grouped(environments, "user", frozenset(), None)[0]
    assert isinstance(heading, GroupHeader)
    return heading


def test_a_group_that_is_well_tells_its_number_and_what_all_have() -> None:
    assert told([row("a"), row("b")]) == {
        "online": "2",
        "modes": "standard",
        "versions": "0.34.12",
        "branches": "main",
        "systems": "linux",
        "pods": "pod-1",
    }


def test_problems_are_named_with_how_long_nothing_was_heard() -> None:
    facts = told([row("a"), off("b", 130), off("c", 3_900), row("d", lastHeartbeat=NOW - 50_000)], acks=["c"])
    assert facts["online"] == "1"
    assert facts["late"] == "1 · silent for 50s · d"
    assert facts["offline"] == "2 · silent for 2m 10s to 1h 5m · b, c"
    assert facts["acked"] == "c"


@pytest.mark.parametrize(("late", "seconds"), [(15.0, 65), (15.001, 50)])
def test_nobody_is_called_silent_for_longer_than_was_listened(late: float, seconds: int) -> None:
    facts = told([row("d", lastHeartbeat=NOW - 50_000)], after=late * 1000)
    assert facts["late"].startswith(f"1 · silent for {long_age(timedelta(seconds=seconds))} ")


def test_flapping_ones_are_named() -> None:
    fleets, _ = Fleets().after(NO_PROFILE, listed([row("a"), row("b")]))
    first, second = fleets.environments
    facts = group_lines(headed([first, replace(second, is_flapping=True)]), fleets, {}, reading())
    assert {fact.label: fact.text for fact in facts}["flapping"] == "b"


def test_values_are_counted_the_most_frequent_first_and_not_without_end() -> None:
    rows = [row(str(number), podId=f"p-{max(number - 2, 0)}") for number in range(12)]
    assert told(rows)["pods"] == "p-0 ×3 · " + " · ".join(f"p-{n} ×1" for n in range(1, 8)) + " · 2 more"
    names = told([off(f"{number:02}", 200) for number in range(10)])["offline"]
    assert names.endswith("00, 01, 02, 03, 04, 05, 06, 07 and 2 more")


def test_who_has_no_value_is_counted_too() -> None:
    rows = [row(str(number), podId="p-5" if number < 2 else None) for number in range(7)]
    assert told(rows)["pods"] == "p-5 ×2 · none ×5"
    assert told(rows[:2])["pods"] == "p-5"
    assert "pods" not in told(rows[2:])
    many = [row(str(number), podId=f"p-{number}" if number < 9 else "") for number in range(10)]
    assert told(many)["pods"].endswith("p-7 ×1 · 1 more · none ×1")


def test_a_blind_eye_says_so_first() -> None:
    facts = told([row("a"), row("b")], after=61_000)
    assert next(iter(facts)) == "unknown"
    assert facts["unknown"].startswith("2 of 2")


async def test_the_pane_tells_of_the_group_under_the_cursor_and_opening_it_brings_it_into_sight() -> None:
    async with staged((120, 20)) as stage:
        rows = [row(f"up-{n:02}", lastHeartbeat=stage.at) for n in range(30)]
        await stage.show([*rows, *(off(f"old-{n}", 90_000) for n in range(6))])
        await stage.press("G")
        assert "offline for over 24 h" in stage.lines[-3]
        assert "6 environments" in "\n".join(line[74:] for line in stage.lines)
        await stage.press("x")
        table = "\n".join(line[:70] for line in stage.lines)
        assert all(f"old-{n}" in table for n in range(6))
        assert stage.app.dashboard.table.header is not None
        await stage.press("x")
        assert "old-0" not in "\n".join(line[:70] for line in stage.lines)
