"""The key `A`: a person decides whether a loss of rows needs a person."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import environment, key_of
from support.policies import soon

from envwatch.fleet.alerting.alert_policy import AlertPolicy, Word
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.tui.screens.dialogs import Menu
from envwatch.tui.screens.row_actions import RowActions, decide_alerts
from envwatch.watch.loop import Decisions, News

if TYPE_CHECKING:
    from support.app_harness import Stage

    from envwatch.model.environment import Environment

ANN = clean("ann")


def row(name: str, at: float, *, is_up: bool = True, **values: Any) -> Environment:
    link: dict[str, Any] = {"lastHeartbeat": at} if is_up else {"connectionId": None, "lastHeartbeat": None}
    return environment(f"env-{name}", connectionName=name, **{**link, **values})


def laptop(name: str, at: float, *, is_up: bool = True) -> Environment:
    return row(name, at, is_up=is_up, metadata={"os": "darwin"})


def words(stage: Stage) -> dict[str, bool]:
    return {id_: word.is_always for (_, id_), word in stage.app.state.monitor.words.items()}


async def decide(stage: Stage, answer: str) -> None:
    await stage.press("A", answer, "enter")


async def test_never_takes_a_loss_out_of_the_block_and_auto_brings_the_loss_back() -> None:
    kept: list[Decisions] = []
    async with staged(kept=kept.append, user=ANN) as stage:
        await stage.show([row("ci-7", stage.at), row("web", stage.at)])
        stage.now = 5
        await stage.show([row("ci-7", stage.at, is_up=False), row("web", stage.at)])
        assert [line.strip() for line in stage.block if "ci-7" in line]
        await stage.press("A")
        assert isinstance(stage.app.screen, Menu)
        assert "ci-7: a loss needs a person: no record of the uptime, and no system" in stage.text
        await stage.press("n", "enter")
        assert stage.news == "ci-7 never alerts now: A changes that"
        assert not any("ci-7" in line for line in stage.block)
        assert "1 not alerting (1 never)" in stage.rule
        stage.go_to("env-ci-7")
        await stage.press("A")
        assert "ci-7: a loss needs nobody: never, by ann, 9 Oct" in stage.text
        await stage.press("b", "enter")
        assert stage.news.startswith("ci-7 alerts as the rules say: a loss needs a person: no record")
        assert any("ci-7" in line for line in stage.block)
        key = key_of("env-ci-7")
        assert [each.words for each in kept] == [
            {key: Word(is_always=False, at=WallMs(stage.at), by=clean("ann"))},
            {key: None},
        ]


async def test_the_menu_begins_at_the_choice_in_force() -> None:
    async with staged() as stage:
        await stage.show([row("web", stage.at)])
        for answer, now in (("n", False), ("a", True)):
            await decide(stage, answer)
            assert words(stage) == {"env-web": now}
            await stage.press("A", "enter")
            assert words(stage) == {"env-web": now}


async def test_always_makes_a_row_that_is_off_a_loss_of_this_moment() -> None:
    async with staged(policies=soon(alert=None)) as stage:
        await stage.show([laptop("mac", stage.at, is_up=False), row("web", stage.at)])
        assert not stage.app.state.block.lines
        stage.go_to("env-mac")
        await decide(stage, "a")
        assert stage.news == "mac always alerts now: A changes that"
        (line,) = stage.app.state.block.lines
        assert [member.environment.name for member in line.members] == ["mac"]
        assert [event.kind for event in stage.app.state.monitor.event_log] == [Kind.ALERTING]
        for _ in range(20):
            await stage.tick()
        (incident,) = stage.app.state.monitor.incidents.open
        assert [loss.name for loss in incident.losses] == ["mac"]


async def test_the_marked_rows_are_decided_together_and_unmarked() -> None:
    async with staged() as stage:
        await stage.show([laptop("ada", stage.at), row("bob", stage.at), row("cyd", stage.at)])
        await stage.press("space", "space", "A")
        assert "ada and bob: a loss of 1 of these needs a person" in stage.text
        await stage.press("n", "enter")
        assert stage.news == "ada and bob never alert now: A changes that"
        assert words(stage) == {"env-ada": False, "env-bob": False}
        assert stage.app.dashboard.marked == frozenset()
        await stage.press("g", "space", "space", "A", "b", "enter")
        assert stage.news == "ada and bob alert as the rules say: a loss of 1 of these needs a person"
        assert words(stage) == {}


async def test_a_row_of_expect_says_why_never_has_no_effect() -> None:
    policies = {NO_PROFILE: AlertPolicy(expect=(clean("web"),))}
    async with staged(policies=policies) as stage:
        await stage.show([row("web", stage.at)])
        await decide(stage, "n")
        assert stage.news == "web is in `expect`: a loss always needs a person"


async def test_a_word_of_another_process_holds_from_the_next_poll_on() -> None:
    news = News()
    async with staged(news=lambda _: news) as stage:
        await stage.show([row("web", stage.at), row("ci", stage.at)])
        news = News(words={key_of("env-web"): Word(True, WallMs(stage.at), clean("bob"))})
        stage.now = 5
        await stage.show([row("web", stage.at), row("ci", stage.at)])
        assert words(stage) == {"env-web": True}


async def test_a_row_that_left_the_fleet_meanwhile_has_no_word() -> None:
    async with staged() as stage:
        await stage.show([row("web", stage.at)])
        stage.app.dashboard.post_message(
            RowActions.Decided(partial(decide_alerts, [(NO_PROFILE, clean("env-z"))], None, is_always=True))
        )
        await stage.tick(0)
        assert stage.news == "nothing to decide: the row has left the fleet"
        assert words(stage) == {}


async def test_the_event_log_decides_about_the_row_of_the_event() -> None:
    async with staged() as stage:
        await stage.show([row("web", stage.at), row("ci", stage.at)])
        stage.now = 5
        await stage.show([row("web", stage.at), row("ci", stage.at, is_up=False)])
        await stage.press("e", "A", "n", "enter", "escape")
        assert stage.news == "ci never alerts now: A changes that"
        assert words(stage) == {"env-ci": False}


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=str)
async def test_the_pane_says_which_rule_decides(size: tuple[int, int]) -> None:
    async with staged(size, user=ANN) as stage:
        await stage.show([laptop("mac", stage.at)])
        await decide(stage, "n")
        await stage.press("enter")
        pane = " ".join(line.partition("▏")[2] or line for line in stage.lines)
        assert "alerts a loss needs nobody: never, by ann, 9 Oct" in " ".join(pane.split())
