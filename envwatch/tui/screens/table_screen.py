"""What every part of the dashboard works on: what is known, what the user wants to see of it, and the table.

The parts are classes of their own, each with its keys (`arranging`, `taking`); the dashboard is made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import reactive
from textual.screen import Screen

from envwatch.fleet.fleets import Fleets
from envwatch.model.text import clean
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.news_bar import NO_NOTICE, NewsBar
from envwatch.views.table_view import View

if TYPE_CHECKING:
    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading


class TableScreen(Screen[None]):
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

    def show_message(self, text: str) -> None:
        """Answer a key in the news line."""
        if self.now is not None:
            self.query_one(NewsBar).message = (clean(text), self.now.monotonic)

    def pointed_at(self) -> TrackedEnvironment | None:
        """Return the environment under the cursor; where there is none, say so."""
        tracked = self.table.cursor
        if tracked is None:
            self.show_message("no environment under the cursor")
        return tracked

    def set_view(self, view: View) -> None:
        """Show what the user wants to see now, and the keys that work then; an answer to what was before is stale."""
        self.view = view
        self.query_one(NewsBar).message = NO_NOTICE
        self.refresh_bindings()
