"""The base of the dashboard's parts: the state, the view and the table that all of their keys work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import reactive
from textual.screen import Screen

from envwatch.model.text import clean
from envwatch.model.times import zone_of
from envwatch.tui.state import NO_NOTICE, DisplayOptions, MonitorState, Notice
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.news_bar import NewsBar
from envwatch.views.rewound_text import NOT_NOW, REPLAYED, moment_text
from envwatch.views.table_view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Clocks


class TableScreen(Screen[None]):
    """A screen with a table."""

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    options: reactive[DisplayOptions] = reactive(DisplayOptions)
    view: reactive[View] = reactive(View)
    """What of it the user wants to see."""
    marked: reactive[frozenset[EnvironmentKey]] = reactive(frozenset, init=False)
    """The environments that the user marked."""

    @property
    def table(self) -> EnvironmentTable:
        return self.query_one(EnvironmentTable)

    def show_message(self, text: str, now: Clocks | None = None) -> None:
        """Answer a key in the news bar, by the clocks of the newest state; an empty text takes the last answer away."""
        given_at = (now or self.state.present).monotonic
        self.query_one(NewsBar).message = Notice(clean(text), given_at) if text else NO_NOTICE

    def selected(self) -> TrackedEnvironment | None:
        """Return the environment under the cursor, with a message if there is none."""
        tracked = self.table.cursor
        if tracked is None:
            self.show_message("no environment under the cursor")
        return tracked

    @property
    def under_cursor(self) -> Sequence[TrackedEnvironment]:
        """The environment under the cursor, or all of the incident or the group whose line it is on."""
        header, tracked, incident = self.table.header, self.table.cursor, self.table.incident
        if incident is not None:
            return incident.members
        return header.environments if header is not None else [tracked] if tracked is not None else []

    @property
    def as_of(self) -> str:
        """The moment that is shown, to be added to what is taken from the screen; empty in the present."""
        state = self.state
        if state.rewound is None:
            return ""
        return f", as of {moment_text(state.now.wall, state.present.wall, zone_of(self.options.times))}"

    def does_act(self) -> bool:
        """Whether the screen shows the present, on which a key can act; a message says so if not."""
        rewound, is_past = self.state.rewound, self.state.rewound is not None or self.state.is_leaving
        if is_past:
            self.show_message(REPLAYED if rewound is not None and rewound.playing is not None else NOT_NOW)
        return not is_past

    def set_view(self, view: View) -> None:
        """Show another view, without the message about the one before, and with the keys that work in it."""
        self.view = view
        self.query_one(NewsBar).message = NO_NOTICE
        self.refresh_bindings()
