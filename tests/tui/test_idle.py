"""What tests wait for: a frame is drawn before an app counts as idle, however late its timer is."""

from __future__ import annotations

import asyncio

import pytest
from support.idle import skip, wait_for_idle
from textual.app import App
from textual.screen import UPDATE_PERIOD


@pytest.mark.parametrize("late_periods", [0.5, 1.02, 1.5, 1.98, 10.02])
async def test_a_frame_that_a_late_timer_puts_off_is_waited_for(late_periods: float) -> None:
    frames, drawn = 0, asyncio.Event()

    def draw() -> None:
        nonlocal frames
        frames += 1
        timer.pause()
        drawn.set()

    async with App[None]().run_test() as pilot:
        timer = pilot.app.set_interval(UPDATE_PERIOD, draw)
        await asyncio.sleep(0)
        skip(asyncio.get_running_loop(), (1 + late_periods) * UPDATE_PERIOD)
        await drawn.wait()
        timer.resume()
        await wait_for_idle()
        assert frames == 2
