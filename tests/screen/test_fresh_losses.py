"""Losses that page nobody, in the first quarter of an hour, in a first run at 80x24."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import Stage, staged, style_in
from support.builders import environment, list_of, listed
from textual.color import Color

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import EMPTY, clean
from envwatch.screen.screens.row_actions import RowActions
from envwatch.screen.themes import THEMES
from envwatch.views.output.formats import listing_json, prompt_line
from envwatch.watch.deciding import silence_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.theme import Theme

    from envwatch.model.environment import Environment

LOST = ("zoe-laptop", "zz-job")
QUARTER_S = 900


def fleet(at: float, *off: str, mode: str = "standard") -> list[Environment]:
    """Return 30 servers, of which the first has a mode, a laptop and a job."""

    def row(name: str, **changes: Any) -> Environment:
        state = {"connectionId": None, "lastHeartbeat": None} if name in off else {"lastHeartbeat": at - 1_000}
        return environment(f"env-{name}", connectionName=name, lastSeenAt=at - 1_000, **state, **changes)

    servers = [row(f"web-{number:02}", currentMode="standard" if number else mode) for number in range(30)]
    return [*servers, row("zoe-laptop", metadata={"os": "darwin"}), row("zz-job", deviceId="sandbox-agent-1")]


@asynccontextmanager
async def first_run(**options: Any) -> AsyncIterator[Stage]:
    """Yield a screen 5 seconds after the first listing, when a laptop and a job are off."""
    async with staged((80, 24), policies={NO_PROFILE: AlertPolicy()}, **options) as stage:
        await stage.show(fleet(stage.at))
        await stage.tick(5)
        await stage.show(fleet(stage.at, *LOST))
        yield stage


async def test_losses_that_page_nobody_stay_on_the_screen_after_another_machine_changes_mode() -> None:
    async with first_run() as stage:
        await stage.tick(5)
        rows = fleet(stage.at, *LOST, mode="unrestricted")
        await stage.show(rows)
        await stage.tick(10)
        assert "  ○ +2 off  ● 30 on  " in stage.lines[0]
        for name, line in zip(LOST, stage.body, strict=False):
            assert name in line
            assert name in stage.news
        listing = list_of(listed(rows, stage.at))
        text = prompt_line(listing, label=clean("acme"), age=timedelta(), encoding="utf-8", ascii_only=False)
        assert text == "○+2 ●30 acme 0s\n".encode()
        counts = json.loads(b"".join(listing_json(listing)))["counts"]
        assert (counts["offline"], counts["online"]) == (2, 30)


async def test_after_a_quarter_of_an_hour_the_rows_go_to_their_place_by_time_alone() -> None:
    async with first_run() as stage:
        await stage.tick(QUARTER_S - 2)
        assert tuple(stage.names[:2]) == LOST
        await stage.tick(2)
        assert tuple(stage.names[-2:]) == LOST


async def test_a_row_silenced_by_a_person_is_news_neither_in_the_table_nor_in_the_news_line() -> None:
    async with first_run() as stage:
        laptop = [(NO_PROFILE, clean("env-zoe-laptop"))]
        silence = partial(silence_rows, laptop, timedelta(hours=1), EMPTY)
        stage.app.dashboard.post_message(RowActions.Decided(silence))
        await stage.tick(5)
        rows = fleet(stage.at, "zoe-laptop", mode="plan")
        await stage.show(rows)
        await stage.tick(60)
        assert (stage.names[0], stage.names[-1]) == ("web-00", "zoe-laptop")
        assert "zoe-laptop" not in stage.news


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
async def test_a_loss_that_pages_nobody_is_legible_without_the_colour_of_a_loss(theme: Theme) -> None:
    async with first_run(theme=theme.name) as stage:
        loss = Color.parse(theme.variables["state-offline"]).rich_color
        (row, *_) = [strip for strip in stage.strips if "zoe-laptop" in strip.text]
        style = style_in(row, "○ off")
        assert loss not in {style.color, style.bgcolor}
        assert style.color is not None
        assert style.color == Color.parse(theme.variables["state-gone"]).rich_color
