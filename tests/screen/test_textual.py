"""What the dashboard and the tests take from Textual: private parts, errors, and waits for an idle app."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Final

import pytest
from support.quick_apps import FRAME_S, draw_when_idle, skip, wait_for_idle
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.binding import BindingsMap
from textual.css.query import NoMatches
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.screen import UPDATE_PERIOD
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import WorkerFailed

import envwatch
from envwatch.screen.terminal.app import TerminalApp
from envwatch.screen.terminal.driver import TerminalDriver

PACKAGE = Path(envwatch.__file__).parent
TERMINAL = PACKAGE / "screen" / "terminal"

OWNERS: Final = (App, BindingsMap, LinuxDriver, Strip, Widget, WriterThread, XTermParser)

SUPPRESSED = re.compile(r"noqa:?[^\n]*SLF001")
"""Ruff reports private members unless suppressed."""
UNSEEN_BY_RUFF = re.compile(r"(from|import) textual\S*\._|getattr\([^)\n]*, [\"']_")
"""Textual's private modules, and private attributes by name."""


# Private parts.


def test_only_the_terminal_package_uses_private_parts_of_textual() -> None:
    outside = [path for path in PACKAGE.rglob("*.py") if TERMINAL not in path.parents]
    assert len(outside) > 50
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in outside
        for line in path.read_text(encoding="utf-8").splitlines()
        if SUPPRESSED.search(line) or UNSEEN_BY_RUFF.search(line)
    }
    assert found == set()


def attributes_of(owner: type) -> set[str]:
    """The attributes of a class, and the attributes that the methods of the class and of its bases set."""
    functions = (each for base in owner.__mro__ for each in vars(base).values() if inspect.isfunction(each))
    return {*dir(owner)}.union(*(function.__code__.co_names for function in functions))


def test_the_installed_textual_has_each_private_part() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in TERMINAL.glob("*.py"))
    own = {*re.findall(r"def (_\w+)", source), *re.findall(r"self\.(_\w+)(?=[^\n=(]*=[^=])", source)}
    read = {*re.findall(r"\.(_[a-z]\w*)", source)} - own
    assert {"_batch_count", "_keymap", "_timeout_time", "_writer_thread"} <= read
    needed = read - {"_compositor", "_xterm_parser"} | {"_file", "_must_signal_resume"}  # Textual reads the last two
    assert needed - set().union(*map(attributes_of, OWNERS)) == set()


@pytest.mark.parametrize(
    ("own", "base", "name"),
    [
        *((TerminalApp, App, name) for name in ("_display", "_fatal_error", "_handle_exception")),
        (TerminalApp, App, "_print_error_renderables"),
        *((TerminalDriver, LinuxDriver, name) for name in ("_run_input_thread", "_enable_mouse_support")),
        *((TerminalDriver, LinuxDriver, name) for name in ("_enable_mouse_pixels", "_disable_in_band_window_resize")),
    ],
)
def test_the_installed_textual_has_each_replaced_private_method(own: type, base: type, name: str) -> None:
    assert [*inspect.signature(vars(own)[name]).parameters] == [*inspect.signature(getattr(base, name)).parameters]


# Errors.


class Searching(TerminalApp):
    def __init__(self, *, ends: bool) -> None:
        super().__init__(ascii_only=False, has_title=False)
        self._ends = ends

    def on_mount(self) -> None:
        self.run_worker(self._search())

    async def _search(self) -> Widget:
        if self._ends:
            self.exit(0)
        return self.query_one("#missing")


async def test_a_worker_without_its_widgets_is_no_crash_while_the_app_ends() -> None:
    app = Searching(ends=True)
    async with app.run_test() as pilot:
        await pilot.pause()
    assert (app.return_code, app.crash) == (0, None)


async def test_a_worker_without_its_widgets_is_a_crash_before_the_end() -> None:
    app = Searching(ends=False)
    with pytest.raises(WorkerFailed):
        async with app.run_test() as pilot:
            await pilot.pause()
    assert app.return_code == 1
    assert isinstance(app.crash, NoMatches)


# Waits of tests.


@pytest.mark.parametrize("late_periods", [0.5, 1.02, 1.5, 1.98, 10.02])
async def test_a_wait_covers_the_frame_of_a_late_timer(late_periods: float) -> None:
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


async def test_a_wait_covers_a_message_of_several_frames() -> None:
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


async def test_an_app_with_drawing_when_idle_draws_the_last_frame_alone() -> None:
    app, steps = App[None](), Steps()
    draw_when_idle(app)
    async with app.run_test() as pilot:
        await app.mount(steps)
        await pilot.pause()
        assert steps.drawn[-1:] == [0]
        steps.begin()
        await pilot.pause()
        assert steps.drawn == [steps.step]
