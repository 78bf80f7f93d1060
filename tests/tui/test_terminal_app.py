"""Errors in the terminal app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.css.query import NoMatches
from textual.worker import WorkerFailed

from envwatch.tui.terminal.app import TerminalApp

if TYPE_CHECKING:
    from textual.widget import Widget


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


async def test_a_worker_that_finds_no_widgets_while_the_app_ends_is_no_crash() -> None:
    app = Searching(ends=True)
    async with app.run_test() as pilot:
        await pilot.pause()
    assert (app.return_code, app.crash) == (0, None)


async def test_before_that_it_is_one() -> None:
    app = Searching(ends=False)
    with pytest.raises(WorkerFailed):
        async with app.run_test() as pilot:
            await pilot.pause()
    assert app.return_code == 1
    assert isinstance(app.crash, NoMatches)
