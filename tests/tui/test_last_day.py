"""The column 24H and the strip of the last 24 hours on the screen."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.app_harness import staged
from support.pasts import ALL_TIMES, at, day, rows_at, with_past

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import EMPTY, clean
from envwatch.tui.screens.row_actions import RowActions, silence_rows

if TYPE_CHECKING:
    from support.app_harness import Stage

SHOWN = ("24h", "version")


async def seed(stage: Stage) -> None:
    await stage.show(rows_at(0))
    await stage.tick(0.5)
    await stage.watch.seed(lambda monitor: with_past(monitor, day()))
    stage.app._publish(stage.app.state)  # noqa: SLF001
    await stage.pilot.pause()


async def silence(stage: Stage) -> None:
    """Silence the down row, which then is in the table."""
    stage.app.dashboard.post_message(
        RowActions.Decided(partial(silence_rows, [(NO_PROFILE, clean("env-lost"))], timedelta(days=1), EMPTY))
    )
    await stage.pilot.pause()


def hours_of(stage: Stage, name: str) -> str:
    (line,) = [line for line in stage.body if f" {name} " in line]
    return next(word for word in line.split() if len(word) == 24)


async def test_the_column_shows_each_hour_by_its_worst_state_and_since_when() -> None:
    async with staged((100, 24), columns=SHOWN) as stage:
        await stage.show(rows_at(0))
        assert hours_of(stage, "steady") in {"░" * 24, "░" * 23 + "▄"}
        await seed(stage)
        await silence(stage)
        assert "24H   -18h  -12h -6h now" in stage.titles
        assert {name: hours_of(stage, name) for name in ("steady", "once", "lost", "new")} == {
            "steady": "▄" * 16 + "░░" + "▄" * 6,
            "once": "▄" * 8 + "████" + "▄" * 4 + "░░" + "▄" * 6,
            "lost": "▄" * 16 + "░░" + "▄" * 3 + "███",
            "new": "·" * 13 + "▄" * 3 + "░░" + "▄" * 6,
        }


@pytest.mark.parametrize("columns", [(), SHOWN])
async def test_the_column_comes_by_itself_once_an_hour_is_recorded(columns: tuple[str, ...]) -> None:
    async with staged((220, 24), columns=columns) as stage:
        await stage.show(rows_at(0))
        await stage.press("escape")  # closes the pane
        assert ("24H" in stage.titles) is bool(columns)
        await stage.tick(1)
        await seed(stage)
        await silence(stage)
        assert "24H" in stage.titles


async def test_a_past_without_events_is_shown_at_once_too() -> None:
    async with staged((100, 24), columns=SHOWN) as stage:
        await stage.show(rows_at(0))
        polls = day().polls(*ALL_TIMES)
        await stage.watch.seed(lambda monitor: monitor.with_past(NO_PROFILE, [], polls))
        stage.app._publish(stage.app.state)  # noqa: SLF001
        await stage.pilot.pause()
        assert hours_of(stage, "steady") == "▄" * 16 + "░░" + "▄" * 6


async def test_the_worst_comes_first_where_it_sorts_and_last_where_it_is_inverted() -> None:
    async with staged((100, 24), columns=SHOWN, sort="24h") as stage:
        await seed(stage)
        await silence(stage)
        assert stage.names == ["once", "lost", "new", "steady"]
        assert "24H▲  -18h  -12h -6h now" in stage.titles
        await stage.press("o")
        await stage.press("o")
        assert "24H▼" in stage.text
        assert stage.names == ["new", "steady", "lost", "once"]


async def test_a_new_hour_moves_the_cells_of_what_does_not_change_otherwise() -> None:
    async with staged((100, 24), columns=SHOWN) as stage:
        await seed(stage)
        left_s = 3600 - at(0) / 1000 % 3600
        while stage.now < left_s - 50:
            await stage.tick(50)
            await stage.show(rows_at(stage.now / 3600))
        await stage.tick(left_s - stage.now)
        assert hours_of(stage, "steady") == "▄" * 16 + "░░" + "▄" * 6
        await stage.tick(1)
        assert hours_of(stage, "steady") == "▄" * 15 + "░░" + "▄" * 7


async def test_the_pane_draws_the_day_once_there_is_one() -> None:
    async with staged((80, 64), columns=SHOWN) as stage:
        await stage.show(rows_at(0))
        await stage.press("enter")
        assert "uptime  " not in stage.text
        await stage.tick(30)
        await stage.show(rows_at(0))
        await stage.tick(30)
        assert "uptime   up 0 % of the 1m watched in 24h" in stage.text
        assert "last 24 h" not in stage.text
    async with staged((80, 56), columns=SHOWN) as stage:
        await seed(stage)
        await stage.press("enter")
        assert "── last 24 h ──" in stage.text
        assert "uptime  " not in stage.text
        assert "1 outage: 1h 57m since" in stage.text


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_ascii_has_no_block(size: tuple[int, int]) -> None:
    async with staged(size, columns=SHOWN, ascii_only=True) as stage:
        await seed(stage)
        await silence(stage)
        assert hours_of(stage, "lost") == "+" * 16 + "??" + "+++xxx"
        await stage.press("enter")
        assert not set("▄█░") & set(stage.text)


async def test_an_outage_is_a_full_block_without_colours_too() -> None:
    """Without colours the state offline is reverse, and a full block in reverse is an empty cell."""
    async with staged((100, 24), columns=SHOWN) as stage:
        await seed(stage)
        await silence(stage)
        stage.app.screen.add_class("-colourless")
        await stage.pilot.pause()
        strips = [stage.table.render_line(line) for line in range(1, 5)]
        blocks = [segment for strip in strips for segment in strip if set(segment.text) == {"█"}]
        assert blocks
        assert not any(segment.style is not None and segment.style.reverse for segment in blocks)
