"""Several sizes in transit to a screen."""

from __future__ import annotations

from typing import Any

from support.app_harness import staged
from support.builders import beating
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen


class Other(Message):
    """Separates two sizes: of two in a row, Textual drops the first."""


MANY = 50
"""Layouts; four sizes need fewer than ten."""
SMALL, PRESENT = Size(30, 7), Size(80, 24)


async def test_sizes_that_overtake_each_other_end_with_the_present_one() -> None:
    async with staged() as stage:
        await stage.show(beating(3, stage.at))
        screen, layouts = stage.app.screen, list[Screen[Any]]()

        def count(laid_out: Screen[Any]) -> None:
            layouts.append(laid_out)
            if len(layouts) == MANY:
                stage.app.exit()  # else the app would never end

        screen.screen_layout_refresh_signal.subscribe(screen, count)
        for size in (SMALL, PRESENT, SMALL, PRESENT):
            screen.post_message(Resize(size, size))
            screen.post_message(Other())
        for _ in range(20):
            await stage.pilot.pause()
        assert 0 < len(layouts) < MANY
        assert {"-narrow", "-short"} <= screen.classes
