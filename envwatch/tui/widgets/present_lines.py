"""The first lines of every screen over the dashboard: the status line, and the newest loss that needs a person."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.reactive import reactive

from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.problem_block import NewestLoss
from envwatch.tui.widgets.status_bar import StatusBar

if TYPE_CHECKING:
    from textual.app import ComposeResult


class PresentLines(Vertical):
    """Follows the state of the App, so that no screen hides a new loss."""

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    options: reactive[DisplayOptions] = reactive(DisplayOptions, init=False)

    def compose(self) -> ComposeResult:
        cls = PresentLines
        below = next((bar for screen in self.app.screen_stack for bar in screen.query(StatusBar)), None)
        if below is not None:
            yield below.copy().data_bind(cls.state, cls.options)
        yield NewestLoss(is_over=True).data_bind(cls.state, cls.options)

    def on_mount(self) -> None:
        for name in ("state", "options"):
            self.watch(self.app, name, partial(setattr, self, name))
