"""What every part of the dashboard works on: what is known, what the user wants to see of it, and the table.

The parts are classes of their own, each with its keys (`arranging`, `taking`); the dashboard is made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import reactive
from textual.screen import Screen

from envwatch.fleets import Fleets
from envwatch.text import clean
from envwatch.tui.news import NO_NOTICE, NewsLine
from envwatch.tui.table import EnvironmentTable
from envwatch.view import View

if TYPE_CHECKING:
    from envwatch.acknowledged import Acks
    from envwatch.clock import Reading
    from envwatch.watch import Watch


class Viewing(Screen[None]):
    """A screen with a table."""

    fleets: reactive[Fleets] = reactive(Fleets, init=False, repaint=False)
    """What is known."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    """This machine's clocks, read each second."""
    acks: reactive[Acks] = reactive(dict, init=False, repaint=False)
    """Problems that are acknowledged."""
    view: reactive[View] = reactive(View)
    """What the user wants to see."""

    @property
    def table(self) -> EnvironmentTable:
        """The live table."""
        return self.query_one(EnvironmentTable)

    def flash(self, text: str) -> None:
        """Answer a key in the news line."""
        if self.now is not None:
            self.query_one(NewsLine).flash = (clean(text), self.now.monotonic)

    def pointed_at(self) -> Watch | None:
        """Return the environment under the cursor; where there is none, say so."""
        watch = self.table.cursor
        if watch is None:
            self.flash("no environment under the cursor")
        return watch

    def see(self, view: View) -> None:
        """Show what the user wants to see now, and the keys that work then; an answer to what was before is stale."""
        self.view = view
        self.query_one(NewsLine).flash = NO_NOTICE
        self.refresh_bindings()
