"""A small dashboard for a terminal: a table of ages that ticks, a status line, a box with an input.

`python ticking_app.py frames|plain [seconds a tick]`: without seconds, the key `t` ticks.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from envwatch.screen.terminal.frame_writer import FrameWriter

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.app import ComposeResult
    from textual.events import Resize

GREEN, YELLOW, MUTED = (Style(color=color, bgcolor="#1e1e1e") for color in ("#40c0a0", "#e0c040", "#808080"))
TEXT = Style(color="#e0e0e0", bgcolor="#1e1e1e")


class Ages(Widget):
    """One line per environment, with the age at the left, where drawing is cheap."""

    tick = 0
    flood = 0

    def render_line(self, y: int) -> Strip:
        if self.flood:
            return Strip([Segment(chr(ord("A") + self.flood % 26) * self.size.width, (GREEN, TEXT)[self.flood % 2])])
        age = y * 7 % 60 + self.tick
        state, style = ("● on  ", GREEN) if age < 45 else ("◐ late", YELLOW)
        segments = [
            Segment(f" {state} {age:>3}s ", style),
            Segment(f" hiro-laptop-{y:<14}", TEXT),
            Segment(f" {'standard' if y % 3 else '日本語モード':<16}", MUTED),
            Segment(f" 0.34.{y:<3} main", TEXT),
        ]
        return Strip(segments).adjust_cell_length(self.size.width, TEXT)


class Box(ModalScreen[None]):
    DEFAULT_CSS = "Box { align: center middle; } Box Input { width: 30; }"
    BINDINGS: ClassVar = [("escape", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        field = Input(placeholder="the box", select_on_focus=False)
        field.cursor_blink = False
        yield field


class TickingApp(App[None]):
    """Keys: t tick, m box, f flood, x exit."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Ages { height: 1fr; background: #1e1e1e; } Static { height: 1; background: #303030; }"
    BINDINGS: ClassVar = [("t", "tick"), ("m", "box"), ("f", "flood"), ("x", "exit")]

    seconds = 0.0

    def compose(self) -> ComposeResult:
        yield Static("envwatch", markup=False)
        yield Ages()
        yield Static("tick 0", id="status", markup=False)

    def on_mount(self) -> None:
        if self.seconds:
            self.set_interval(self.seconds, self.action_tick)

    def action_tick(self) -> None:
        ages = self.query_one(Ages)
        ages.tick += 1
        ages.refresh(Region(0, 0, 13, ages.size.height))
        self.query_one("#status", Static).update(f"tick {ages.tick}")

    def action_flood(self) -> None:
        ages = self.query_one(Ages)
        ages.flood += 1
        ages.refresh()
        # Reports each flood even if nobody reads the terminal: one byte per frame, sent to the terminal or not.
        self.call_after_refresh(os.write, int(os.environ["FLOODS_FD"]), b".")

    def action_box(self) -> None:
        self.push_screen(Box())

    def action_exit(self) -> None:
        self.exit()


class FramesTickingApp(TickingApp):
    """The same with a `FrameWriter`, wired as in `TerminalApp`, but with Textual's driver and input."""

    def __init__(self) -> None:
        super().__init__()
        self.frame_writer = FrameWriter(self)

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: self.frame_writer.send_difference())

    def on_resize(self, event: Resize) -> None:
        self.frame_writer.resize(event)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if self.frame_writer.draw(renderable):
            self.post_display_hook()
        else:
            super()._display(screen, renderable)


if __name__ == "__main__":
    app = {"frames": FramesTickingApp, "plain": TickingApp}[sys.argv[1]]()
    if sys.argv[2:]:
        app.seconds = float(sys.argv[2])
    app.run()
