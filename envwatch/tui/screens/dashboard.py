"""The screen that is watched: status line, table, detail pane, news, filter, keys.

Owns the layout, what the user wants to see of the fleet, and which layer a key goes to. State comes from the app by
data binding; wishes about polling go up to it as actions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.fleet.event_log import EventLog
from envwatch.model.times import TimeStyle
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.tui.screens.row_actions import RowActions
from envwatch.tui.screens.table_actions import TableActions
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.footer import KeyFooter
from envwatch.tui.widgets.news_bar import NO_NOTICE, NewsBar
from envwatch.tui.widgets.status_bar import StatusBar
from envwatch.views.table_view import Preset, View, is_new_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.dom import DOMNode
    from textual.events import Resize

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.text import Clean
    from envwatch.sources.poller import PollSchedule

_PRESETS = dict(zip("123456", Preset, strict=True))


class Dashboard(TableActions, RowActions):
    """The live view of the fleet."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", id="find.filter"),
        Binding("enter", "open", "Detail", key_display="⏎", id="row.open"),
        Binding("escape", "back", "Back", key_display="esc", id="app.back"),
        Binding("n", "problem(1)", "Next problem", id="find.next_problem"),
        Binding("N", "problem(-1)", "Previous problem", show=False, id="find.previous_problem"),
        Binding("v", "detail", "Detail pane on or off", show=False, id="row.pane"),
        *(
            Binding(key, f"preset('{preset}')", f"Show {preset}", show=False, id=f"find.{preset}")
            for key, preset in _PRESETS.items()
        ),
        Binding("0", "reset", "Reset all of the view but its columns", show=False, id="find.reset"),
    ]

    schedules: reactive[Mapping[Clean, PollSchedule]] = reactive(dict, repaint=False)
    rings: reactive[bool] = reactive(default=False, repaint=False)
    """Whether the bell is on."""
    notice: reactive[tuple[str, float]] = reactive(NO_NOTICE, init=False, repaint=False)
    pages: reactive[int] = reactive(0, repaint=False)
    event_log: reactive[EventLog] = reactive(EventLog, init=False, repaint=False)
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset, repaint=False)
    """Names that do not tell environments apart."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    glyphs: reactive[Glyphs] = reactive(UNICODE)
    wants_detail: reactive[bool | None] = reactive(None, init=False)
    """Whether the user wants the detail pane; None leaves it to the room there is."""

    def __init__(self, *, watched: str, view: View) -> None:
        super().__init__()
        self.set_reactive(Dashboard.view, view)
        self._watched = watched
        self._has_problems = False
        self._labels: Mapping[str, str | None] = {}
        """What keys of the footer do, other than they are declared; None for nothing."""

    def compose(self) -> ComposeResult:
        """Return the screen from top to bottom."""
        cls = Dashboard
        yield StatusBar(watched=self._watched).data_bind(
            cls.fleets, cls.now, cls.schedules, cls.view, cls.acks, cls.rings, cls.pages, cls.glyphs
        )
        with Container(id="body"):
            yield EnvironmentTable(id="table").data_bind(
                cls.ambiguous, cls.fleets, cls.now, cls.view, cls.acks, cls.glyphs
            )
            yield DetailPane(id="detail").data_bind(
                cls.fleets, cls.now, cls.acks, cls.view, cls.event_log, cls.times, cls.glyphs
            )
        yield NewsBar().data_bind(
            cls.fleets, cls.ambiguous, cls.event_log, cls.now, cls.schedules, cls.notice, cls.times, cls.glyphs
        )
        yield FilterBar().data_bind(cls.fleets)
        yield KeyFooter()
        yield Static("too small", id="too-small", markup=False)

    def on_mount(self) -> None:
        """Give the keys to the table, and a place to the detail pane."""
        self.table.focus()
        self._lay_out()

    @property
    def _box(self) -> FilterBar:
        return self.query_one(FilterBar)

    @property
    def parts(self) -> tuple[DOMNode, ...]:
        """Everything here that has keys of its own."""
        return (self.table, self.query_one(DetailPane), self, self._box)

    @property
    def _is_wide(self) -> bool:
        return self.size.width >= 120

    @property
    def _has_room(self) -> bool:
        return self._is_wide or self.size.height >= 40

    @property
    def _shows_detail(self) -> bool:
        return self._is_wide if self.wants_detail is None else self.wants_detail

    @property
    def _covers_table(self) -> bool:
        return self._shows_detail and not self._has_room

    # State comes down.

    def watch_wants_detail(self) -> None:
        """Open or close the pane."""
        self._lay_out()

    @on(EnvironmentTable.Moved)
    def _show_selected(self) -> None:
        line = self.table.line
        self.query_one(DetailPane).watched = line
        if line is None and self._covers_table:
            self.wants_detail = False  # or nobody could read why nothing is shown
        self._label_keys()

    def watch_schedules(self) -> None:
        """Offer to go on while polling is paused."""
        if self.is_mounted:
            self._label_keys()

    @on(EnvironmentTable.Arranged)
    def _count_shown(self) -> None:
        """Tell how much the view shows, and how many problems it hides."""
        table, status, acks = self.table, self.query_one(StatusBar), self.acks
        problems = sum(is_new_problem(tracked, acks) for tracked in table.rows)
        hidden = 0
        if self.view.is_narrowed:
            hidden = sum(is_new_problem(tracked, acks) for tracked in self.fleets.environments) - problems
        status.shown, status.hidden_problems = len(table.rows), hidden
        self._has_problems = problems > 0
        self._label_keys()

    def on_resize(self, _: Resize) -> None:
        """Find a place for the detail pane."""
        self._lay_out()

    def _lay_out(self) -> None:
        detail, table, shows = self.query_one(DetailPane), self.table, self._shows_detail
        was_focused = self.focused in {detail, table}
        detail.display = shows
        table.display = not self._covers_table
        if was_focused:
            (table if table.display else detail).focus()
        if shows:
            detail.redraw()
        self.refresh_bindings()

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide keys that would do nothing now."""
        match action:
            case "back":
                return self._box.display or self._shows_detail or self.view.is_narrowed
            case "filter":
                return not self._box.display
            case "open":
                return not self.query_one(DetailPane).has_focus
            case _:
                return super().check_action(action, parameters)

    def label_of(self, binding: Binding) -> str | None:
        """Return what a key of the footer does now, None if it would only say that there is nothing to do."""
        return self._labels.get(binding.action, binding.description)

    def _label_keys(self) -> None:
        table, labels = self.table, dict[str, str | None]()
        if not self._has_problems:
            labels["problem(1)"] = None
        if table.line is None:
            labels["open"] = None
        elif (heading := table.heading) is not None:
            labels["open"] = "Fold" if heading.is_open else "Open"
        if table.cursor is None:
            labels["explain"] = None
        if self.schedules and all(schedule.is_paused for schedule in self.schedules.values()):
            labels["pause"] = "Resume"
        if labels != self._labels:
            self._labels = labels
            self.query_one(KeyFooter).refresh()

    def action_open(self) -> None:
        """Open the detail pane, or go into it; on a heading, open or fold the group."""
        if (heading := self.table.heading) is not None and self.table.has_focus:
            self.toggle(heading)
            return
        if self._has_nothing_to_open():
            return
        self.table.hold()
        self.wants_detail = True
        self.query_one(DetailPane).focus()
        self.refresh_bindings()

    def action_detail(self) -> None:
        """Open or close the detail pane."""
        if self._has_room or self._shows_detail or not self._has_nothing_to_open():
            self.wants_detail = not self._shows_detail

    def _has_nothing_to_open(self) -> bool:
        """Whether the cursor stands on nothing; then say so."""
        if self.table.line is not None:
            return False
        self.show_message("nothing to open: no environment is shown")
        return True

    def action_back(self) -> None:
        """Leave one layer: the filter box, a pane that has the keys, the filter, the pane."""
        if self._box.display:
            self._box.action_cancel()
        elif self.query_one(DetailPane).has_focus and self._has_room:
            self.table.focus()
        elif self._covers_table:
            self.wants_detail = False
        elif self.view.is_narrowed:
            self.set_view(self.view.widened)
        else:
            self.wants_detail = False
        self.refresh_bindings()

    def action_problem(self, direction: int) -> None:
        """Go to the next or the previous problem."""
        if not self.table.go_to_problem(direction):
            self.show_message("no problems in view")

    def action_preset(self, preset: str) -> None:
        """Show a part of the fleet."""
        self.set_view(replace(self.view, preset=Preset(preset)))

    def action_reset(self) -> None:
        """Show everything in the default order and one list; the baseline stays marked."""
        self.set_view(View(columns=self.view.columns, baseline=self.view.baseline))
        self.show_message("everything, problems first, in one list")

    @on(EnvironmentTable.Opened)
    def _open_selected(self) -> None:
        self.action_open()

    # The filter box.

    def action_filter(self) -> None:
        """Open the filter box, in sight of what it filters."""
        self._box.open(self.view.query)
        if self._covers_table:
            self.wants_detail = False
        self.refresh_bindings()

    @on(FilterBar.Asked)
    def _filter(self, message: FilterBar.Asked) -> None:
        self.view = replace(self.view, query=message.draft.query)
        if not self.table.rows:
            self.view = replace(self.view, query=message.draft.settled)

    @on(FilterBar.Kept)
    def _keep_filter(self, message: FilterBar.Kept) -> None:
        self._box.display = False
        self.view = replace(self.view, query=message.query)
        (self.table if self.table.display else self.query_one(DetailPane)).focus()
        self.refresh_bindings()

    def select(self, key: EnvironmentKey) -> None:
        """Move the cursor to an environment, widening the view if it hides it."""
        if self.table.select(key):
            return
        tracked = self.fleets.tracked(key)
        if tracked is None:
            self.show_message("it has left the fleet: nothing is known of it any more")
        else:
            was_narrowed = self.view.is_narrowed
            self.set_view(replace(self.view.widened, folded=frozenset()))
            if was_narrowed:
                self.show_message(f"filter cleared: {tracked.environment.name} was hidden")
            self.call_after_refresh(self.table.select, key)
