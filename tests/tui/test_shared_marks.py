"""The serving host's marks of a row, on a viewer's screen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import BELL, staged
from support.builders import NOW, environment, key_of
from support.policies import soon

from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.tui.screens.row_actions import RowActions, change_acks, silence_rows

if TYPE_CHECKING:
    from support.app_harness import Stage

    from envwatch.model.environment import Environment

HOUR = 3_600_000
WIDE = (120, 36)


def rows(at: float, **marks: Any) -> list[Environment]:
    lost: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 3 * HOUR}
    return [
        environment("env-a", connectionName="a", envwatch=marks, **lost),
        environment("env-b", connectionName="b", lastHeartbeat=at),
    ]


def ack(note: str = "on it") -> dict[str, Any]:
    return {"ack": {"by": "ops-1", "at": 1, "note": note}}


def silence(stage: Stage, hours: float = 2) -> dict[str, Any]:
    return {"silence": {"by": "ops-1", "until": stage.at + hours * HOUR, "reason": "disks"}}


def row_of(stage: Stage, name: str) -> str:
    return next(line for line in (*stage.block, *stage.body) if f" {name} " in line)


async def test_who_acknowledged_it_on_the_serving_host_stands_in_the_row_and_in_the_pane() -> None:
    async with staged(WIDE, columns=("version", "why")) as stage:
        late = environment("env-c", connectionName="c", lastHeartbeat=stage.at - 60_000)
        await stage.show([*rows(stage.at, **ack()), replace(late, unknown={"envwatch": ack()})])
        assert "acked by ops-1" in row_of(stage, "a")
        assert re.search("c +✓ .* acked by ops-1 ", row_of(stage, "c"))
        await stage.press("enter")
        assert re.search(r"acked .* by ops-1: on it", stage.text)
        assert stage.text.count("on it") == 2, "in row and pane, and not once more among the unknown fields"
        await stage.show([*rows(stage.at), late])
        assert "ops-1" not in stage.text


async def test_a_silence_of_the_serving_host_is_shown_until_it_ends() -> None:
    async with staged(WIDE) as stage:
        await stage.show(rows(stage.at, **silence(stage, 10 / 3600)))
        assert re.search(r" silenced until \d\d:\d\d ", row_of(stage, "a"))
        await stage.press("enter")
        assert re.search(r"shared +silenced until \d\d:\d\d by ops-1:", stage.text)
        assert "disks" in stage.text
        await stage.tick(11)
        assert "ops-1" not in stage.text


async def test_an_own_acknowledgement_is_shown_in_place_of_it() -> None:
    async with staged(WIDE) as stage:
        await stage.show(rows(stage.at, **ack()))
        stage.app.dashboard.post_message(
            RowActions.Decided(partial(change_acks, {key_of("env-a"): Ack(ServerMs(stage.at), clean("mine"))}))
        )
        await stage.tick(0)
        await stage.press("enter")
        assert "on this machine: mine" in stage.text
        assert "ops-1" not in stage.text


async def test_an_own_silence_is_shown_in_place_of_it() -> None:
    async with staged(WIDE) as stage:
        await stage.show(rows(stage.at, **silence(stage)))
        key = (clean(""), clean("env-a"))
        stage.app.dashboard.post_message(
            RowActions.Decided(partial(silence_rows, [key], timedelta(hours=1), clean("mine")))
        )
        await stage.tick(0)
        assert not stage.block
        assert re.search("a +⊘ ", row_of(stage, "a"))
        await stage.press("j", "enter")
        assert ": mine" in stage.text
        assert "ops-1" not in stage.text


@pytest.mark.parametrize(("is_silence", "sent"), [(False, []), (True, [BELL])])
async def test_an_acknowledgement_of_the_serving_host_rings_nothing_and_a_silence_counts_there_only(
    *, is_silence: bool, sent: list[str]
) -> None:
    async with staged(bell=True, policies=soon()) as stage:
        await stage.show([environment("env-a", lastHeartbeat=stage.at), *rows(stage.at)[1:]])
        for _ in range(5):
            stage.now += 5
            await stage.show(rows(stage.at, **(silence(stage) if is_silence else ack())))
            await stage.tick(0)
        (tracked,) = [each for each in stage.app.state.monitor.fleet.environments if each.environment.id == "env-a"]
        assert stage.app.state.monitor.is_alerting(tracked, stage.app.state.now) is is_silence
        assert stage.app.sent == sent


@pytest.mark.parametrize("is_marked", [True, False])
async def test_an_incident_names_who_knows_of_it_once_all_its_members_are_known_there(*, is_marked: bool) -> None:
    async with staged(WIDE) as stage:
        first, online = rows(stage.at, **ack())
        second = replace(first, id=clean("env-c"), name=clean("c"), unknown=first.unknown if is_marked else {})
        await stage.show([first, second, online])
        (line,) = stage.block
        assert "2 off" in line
        assert ("acked by ops-1" in line) == is_marked


async def test_a_filter_finds_what_was_acknowledged_there() -> None:
    async with staged() as stage:
        await stage.show(rows(stage.at, **ack()))
        await stage.type("/status:acknowledged")
        await stage.press("enter")
        assert stage.matching == ["a"]
        assert " status:acknowledged 1/2 " in stage.lines[0]


async def test_a_field_that_is_no_mark_is_shown_as_any_unknown_one() -> None:
    async with staged(WIDE) as stage:
        await stage.show([environment("env-a", envwatch="something")])
        await stage.press("enter")
        await stage.press("end")
        assert "something" in stage.text


async def test_the_decision_of_the_serving_host_counts_here_before_a_record_of_this_machine_does() -> None:
    async with staged(WIDE) as stage:
        await stage.show(rows(stage.at, alerts={"counts": False, "why": "up 61 % of 7 days", "share": 0.61}))
        assert not stage.app.state.block.lines
        assert "1 not alerting" in stage.rule
        stage.go_to("env-a")
        await stage.press("enter")
        assert "alerts   a loss needs nobody: up 61 % of 7" in stage.text
        await stage.press("A", "a", "enter")
        assert stage.app.state.block.lines
        assert "alerts   a loss needs a person: always" in stage.text
