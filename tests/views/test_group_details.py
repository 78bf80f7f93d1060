"""The detail pane of a group: its presences, its problems, and the values of its members."""

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


def lines_of(rows: Sequence[Environment], *, acks: Sequence[str] = (), after: float = 0.0) -> dict[str, str]:
    fleets, _ = Fleets().after(NO_PROFILE, listed(rows))
    header = header_of(list(fleets.environments))
    acked = {Clean(f"env-{name}"): Ack(NOW, Clean("")) for name in acks}
    return {line.label: line.text for line in group_lines(header, fleets, acked, reading(NOW + after))}


def header_of(environments: Sequence[TrackedEnvironment]) -> GroupHeader:
    header = grouped(environments, "user", frozenset(), None)[0]
    assert isinstance(header, GroupHeader)
    return header


def test_a_healthy_group_shows_its_count_and_shared_values() -> None:
    assert lines_of([row("a"), row("b")]) == {
        "online": "2",
        "modes": "standard",
        "versions": "0.34.12",
        "branches": "main",
        "systems": "linux",
        "pods": "pod-1",
    }


def test_problems_are_named_with_the_length_of_their_silence() -> None:
    lines = lines_of([row("a"), off("b", 130), off("c", 3_900), row("d", lastHeartbeat=NOW - 50_000)], acks=["c"])
    assert lines["online"] == "1"
    assert lines["late"] == "1 · silent for 50s · d"
    assert lines["offline"] == "2 · silent for 2m 10s to 1h 5m · b, c"
    assert lines["acked"] == "c"


@pytest.mark.parametrize(("late", "seconds"), [(15.0, 65), (15.001, 50)])
def test_silence_is_measured_only_up_to_the_newest_listing_once_it_is_stale(late: float, seconds: int) -> None:
    lines = lines_of([row("d", lastHeartbeat=NOW - 50_000)], after=late * 1000)
    assert lines["late"].startswith(f"1 · silent for {long_age(timedelta(seconds=seconds))} ")


def test_flapping_environments_are_named() -> None:
    fleets, _ = Fleets().after(NO_PROFILE, listed([row("a"), row("b")]))
    first, second = fleets.environments
    lines = group_lines(header_of([first, replace(second, is_flapping=True)]), fleets, {}, reading())
    assert {line.label: line.text for line in lines}["flapping"] == "b"


def test_values_are_counted_the_most_frequent_first_up_to_a_limit() -> None:
    rows = [row(str(number), podId=f"p-{max(number - 2, 0)}") for number in range(12)]
    assert lines_of(rows)["pods"] == "p-0 ×3 · " + " · ".join(f"p-{n} ×1" for n in range(1, 8)) + " · 2 more"
    names = lines_of([off(f"{number:02}", 200) for number in range(10)])["offline"]
    assert names.endswith("00, 01, 02, 03, 04, 05, 06, 07 and 2 more")


def test_members_without_a_value_are_counted_too() -> None:
    rows = [row(str(number), podId="p-5" if number < 2 else None) for number in range(7)]
    assert lines_of(rows)["pods"] == "p-5 ×2 · none ×5"
    assert lines_of(rows[:2])["pods"] == "p-5"
    assert "pods" not in lines_of(rows[2:])
    many = [row(str(number), podId=f"p-{number}" if number < 9 else "") for number in range(10)]
    assert lines_of(many)["pods"].endswith("p-7 ×1 · 1 more · none ×1")


def test_a_blind_dashboard_says_so_first() -> None:
    lines = lines_of([row("a"), row("b")], after=61_000)
    assert next(iter(lines)) == "unknown"
    assert lines["unknown"].startswith("2 of 2")


async def test_the_pane_shows_the_group_under_the_cursor_and_opening_it_scrolls_it_into_view() -> None:
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
