"""A group's detail pane: presences, problems, and the members' values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, key_of, listed, reading

from envwatch.fleet.events import NO_PROFILE, EventLog
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import GONE, Presence
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.views.pane.details import EVENTS
from envwatch.views.pane.group_details import common_lines, group_headline, newest_events, problem_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment


def row(name: str, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **changes)


def off(name: str, seconds: float) -> Environment:
    at = NOW - seconds * 1000
    return row(name, connectionId=None, lastHeartbeat=at, lastSeenAt=at)


def lines_of(rows: Sequence[Environment], *, acks: Sequence[str] = (), after: float = 0.0) -> dict[str, str]:
    fleet, _ = Fleet().apply(NO_PROFILE, listed(rows))
    members = list(fleet.environments)
    acked = {key_of(f"env-{name}"): Ack(NOW, clean("")) for name in acks}
    shared, different = common_lines(members)
    lines = [*problem_lines(members, Monitor(fleet, acked), reading(NOW + after)), *shared, *different]
    return {"head": " ".join(piece.text for piece in group_headline(members))} | {
        line.label: line.text for line in lines
    }


def test_a_healthy_group_shows_its_count_and_shared_values() -> None:
    assert lines_of([row("a"), row("b")]) == {
        "head": "2 environments · ● 2 online",
        "mode": "standard",
        "version": "0.34.12",
        "branch": "main",
        "os": "linux",
        "pod": "pod-1",
    }


def test_problems_are_named_with_the_length_of_their_silence() -> None:
    lines = lines_of([row("a"), off("b", 130), off("c", 3_900), row("d", lastHeartbeat=NOW - 50_000)], acks=["c"])
    assert lines["head"] == "4 environments · ● 1 online · ◐ 1 late · ○ 2 offline"
    assert lines["late"] == "silent for 50s · d"
    assert lines["offline"] == "silent for 2m to 1h · b, c"
    assert lines["acked"] == "c"


def test_an_acknowledged_one_is_named_when_it_is_gone_as_well() -> None:
    fleet, _ = Fleet().apply(NO_PROFILE, listed([row("a")]))
    gone, acks = replace(next(iter(fleet.environments)), verdict=GONE), {key_of("env-a"): Ack(NOW, clean(""))}
    lines = {line.label: line.text for line in problem_lines([gone], Monitor(fleet, acks), reading())}
    assert lines["acked"] == "a"


@pytest.mark.parametrize(("late", "silence"), [(15.0, "1m"), (15.001, "50s")])
def test_silence_is_measured_only_up_to_the_newest_listing_once_it_is_stale(late: float, silence: str) -> None:
    lines = lines_of([row("d", lastHeartbeat=NOW - 50_000)], after=late * 1000)
    assert lines["late"] == f"silent for {silence} · d"


def test_the_silence_of_an_expected_row_lasts_since_the_first_listing() -> None:
    state = ProfileState(expect=(clean("build-1"),))
    state, _ = state.apply(listed([row("a")]))
    (missing,) = [tracked for tracked in state.environments.values() if tracked.presence is Presence.MISSING]
    monitor = Monitor(Fleet({NO_PROFILE: state}))
    lines = {line.label: line.text for line in problem_lines([missing], monitor, reading(NOW + 10_000))}
    assert lines["missing"] == "silent for 10s · build-1"


def test_flapping_environments_are_named() -> None:
    fleet, _ = Fleet().apply(NO_PROFILE, listed([row("a"), row("b")]))
    first, second = fleet.environments
    lines = problem_lines([first, replace(second, is_flapping=True)], Monitor(fleet), reading())
    assert {line.label: line.text for line in lines}["flapping"] == "b"


def test_values_are_counted_the_most_frequent_first_up_to_a_limit() -> None:
    rows = [row(str(number), podId=f"p-{max(number - 2, 0)}") for number in range(12)]
    assert lines_of(rows)["pod"] == "p-0 ×3 · " + " · ".join(f"p-{n} ×1" for n in range(1, 8)) + " · 2 more"
    names = lines_of([off(f"{number:02}", 200) for number in range(10)])["offline"]
    assert names.endswith("00, 01, 02, 03, 04, 05, 06, 07 and 2 more")


def test_a_long_value_is_shortened_so_that_it_is_not_broken() -> None:
    pods = ("user-304173b4-49fd-4da7-b4d1-e6a39f166e3b", "bo")
    lines = lines_of([row(pod[:2], podId=pod) for pod in pods])
    assert lines["pod"] == "bo ×1 · user-304173b4-49…e3b ×1"


def test_members_without_a_value_are_counted_too() -> None:
    rows = [row(str(number), podId="p-5" if number < 2 else None) for number in range(7)]
    assert lines_of(rows)["pod"] == "p-5 ×2 · none ×5"
    assert lines_of(rows[:2])["pod"] == "p-5"
    assert "pod" not in lines_of(rows[2:])
    many = [row(str(number), podId=f"p-{number}" if number < 9 else "") for number in range(10)]
    assert lines_of(many)["pod"].endswith("p-7 ×1 · 1 more · none ×1")


def test_the_newest_events_of_all_members_are_shown_the_newest_first() -> None:
    rows = [row(name) for name in "ab"]
    fleet, log = Fleet(), EventLog()
    for number in range(6):
        lost = rows[number % 2]
        lost = off(lost.name, 200) if number else lost
        fleet, events = fleet.apply(NO_PROFILE, listed([lost, rows[(number + 1) % 2]], NOW + number * 5_000))
        log = log.with_events(events)
    found = newest_events(list(fleet.environments), log)
    assert len(found) == EVENTS
    assert [event.at for event in found] == sorted((event.at for event in found), reverse=True)
    assert {event.name for event in found} == {"a", "b"}


def test_a_blind_dashboard_says_so_first() -> None:
    lines = lines_of([row("a"), row("b")], after=61_000)
    assert list(lines)[1] == "unknown"
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
