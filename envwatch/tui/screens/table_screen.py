"""The base of the dashboard's parts: the state, the view and the table that all of their keys work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import reactive
from textual.screen import Screen

from envwatch.model.text import clean
from envwatch.tui.state import NO_NOTICE, DisplayOptions, MonitorState, Notice
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.news_bar import NewsBar
from envwatch.views.table_view import View

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment


class TableScreen(Screen[None]):
    """A screen with a table."""

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    """What is known."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions)
    """How it is displayed."""
    view: reactive[View] = reactive(View)
    """What of it the user wants to see."""

    @property
    def table(self) -> EnvironmentTable:
        """The live table."""
        return self.query_one(EnvironmentTable)

    def show_message(self, text: str) -> None:
        """Answer a key in the news bar."""
        self.query_one(NewsBar).message = Notice(clean(text), self.state.now.monotonic)

    def selected(self) -> TrackedEnvironment | None:
        """Return the environment under the cursor, with a message if there is none."""
        tracked = self.table.cursor
        if tracked is None:
            self.show_message("no environment under the cursor")
        return tracked

    def set_view(self, view: View) -> None:
        """Show another view, without the message about the one before, and with the keys that work in it."""
        self.view = view
        self.query_one(NewsBar).message = NO_NOTICE
        self.refresh_bindings()
