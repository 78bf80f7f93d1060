"""An app counts as idle once messages are handled and frames drawn, however long that takes."""

from __future__ import annotations

import asyncio

import pytest
from support.idle import FRAME_S, draw_when_idle, skip, wait_for_idle
from textual.app import App
from textual.events import Key
from textual.screen import UPDATE_PERIOD
from textual.widget import Widget


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


class Slow(App[None]):
    """An app that is busy with a key for longer than a frame."""

    handled = 0

    async def on_key(self) -> None:
        going_on = asyncio.Event()
        asyncio.get_running_loop().call_later(3 * FRAME_S, going_on.set)
        await going_on.wait()
        self.handled += 1


async def test_a_message_that_takes_longer_than_a_frame_is_waited_for() -> None:
    app = Slow()
    async with app.run_test() as pilot:
        app.post_message(Key("x", "x"))
        await pilot.pause()
        assert app.handled == 1


class Steps(Widget):
    """A widget that takes a step a frame for several frames."""

    step = 0

    def on_mount(self) -> None:
        self.drawn: list[int] = []

    def begin(self) -> None:
        self.drawn.clear()
        self.set_interval(UPDATE_PERIOD, self.take, repeat=3)

    def take(self) -> None:
        self.step += 1
        self.refresh()

    def render(self) -> str:
        self.drawn.append(self.step)
        return str(self.step)


async def test_an_app_that_draws_when_idle_draws_the_last_of_several_frames_alone() -> None:
    app, steps = App[None](), Steps()
    draw_when_idle(app)
    async with app.run_test() as pilot:
        await app.mount(steps)
        await pilot.pause()
        assert steps.drawn[-1:] == [0]
        steps.begin()
        await pilot.pause()
        assert steps.drawn == [steps.step]
