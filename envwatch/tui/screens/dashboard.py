"""The main screen: status bar, table, detail pane, news bar, filter bar, footer.

Owns the layout, the view, and which layer a key goes to. The state comes down from the App by data binding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.tui.screens.row_actions import RowActions
from envwatch.tui.screens.table_actions import TableActions
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.footer import KeyFooter
from envwatch.tui.widgets.news_bar import NewsBar
from envwatch.tui.widgets.status_bar import StatusBar
from envwatch.views.table_view import Preset, View, is_new_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.dom import DOMNode
    from textual.events import Resize

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.tui.state import MonitorState

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

    wants_detail: reactive[bool | None] = reactive(None, init=False)
    """Whether the user wants the detail pane; None if its place decides."""

    def __init__(self, *, watched: str, view: View) -> None:
        super().__init__()
        self.set_reactive(Dashboard.view, view)
        self._watched = watched
        self._has_problems = False
        self._labels: Mapping[str, str | None] = {}
        """Labels in the footer that differ from their bindings', by action; None hides the key."""

    def compose(self) -> ComposeResult:
        cls = Dashboard
        yield StatusBar(watched=self._watched).data_bind(cls.state, cls.view, cls.options)
        with Container(id="body"):
            yield EnvironmentTable(id="table").data_bind(cls.state, cls.view, cls.options)
            yield DetailPane(id="detail").data_bind(cls.state, cls.view, cls.options)
        yield NewsBar().data_bind(cls.state, cls.options)
        yield FilterBar().data_bind(cls.state)
        yield KeyFooter()
        yield Static("too small", id="too-small", markup=False)

    def on_mount(self) -> None:
        self.table.focus()
        self._lay_out()

    @property
    def _filter_bar(self) -> FilterBar:
        return self.query_one(FilterBar)

    @property
    def _detail(self) -> DetailPane:
        return self.query_one(DetailPane)

    @property
    def nodes_with_keys(self) -> tuple[DOMNode, ...]:
        """Everything here that has keys of its own, in the order of the help."""
        return (self.table, self._detail, self, self._filter_bar)

    @property
    def _is_wide(self) -> bool:
        return self.size.width >= 120

    @property
    def _has_room(self) -> bool:
        """Whether the detail pane and the table fit the screen together."""
        return self._is_wide or self.size.height >= 40

    @property
    def _shows_detail(self) -> bool:
        return self._is_wide if self.wants_detail is None else self.wants_detail

    @property
    def _covers_table(self) -> bool:
        return self._shows_detail and not self._has_room

    # State.

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Relabel the pause key."""
        if new.schedules is not old.schedules and self.is_mounted:
            self._label_keys()

    def watch_wants_detail(self) -> None:
        self._lay_out()

    def on_resize(self, _: Resize) -> None:
        self._lay_out()

    @on(EnvironmentTable.CursorMoved)
    def _show_selected(self) -> None:
        self._detail.line = self.table.line
        if self.table.line is None and self._covers_table:
            self.wants_detail = False  # the table says why it is empty
        self._label_keys()

    @on(EnvironmentTable.RowsChanged)
    def _count_rows(self) -> None:
        """Count what the view shows, and the problems that it hides."""
        table, status, acks = self.table, self.query_one(StatusBar), self.state.acks
        problems = sum(is_new_problem(tracked, acks) for tracked in table.rows)
        hidden = 0
        if self.view.is_narrowed:
            hidden = sum(is_new_problem(tracked, acks) for tracked in self.state.fleets.environments) - problems
        status.visible_rows, status.hidden_problems = len(table.rows), hidden
        self._has_problems = problems > 0
        self._label_keys()

    def _lay_out(self) -> None:
        detail, table = self._detail, self.table
        was_focused = self.focused in {detail, table}
        detail.display = self._shows_detail
        table.display = not self._covers_table
        if was_focused:
            (table if table.display else detail).focus()
        if detail.display:
            detail.redraw()
        self.refresh_bindings()

    # Which keys there are.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide keys that would do nothing now."""
        match action:
            case "back":
                return self._filter_bar.display or self._shows_detail or self.view.is_narrowed
            case "filter":
                return not self._filter_bar.display
            case "open":
                return not self._detail.has_focus
            case _:
                return super().check_action(action, parameters)

    def label_of(self, binding: Binding) -> str | None:
        """Return what a key of the footer does now; None hides it."""
        return self._labels.get(binding.action, binding.description)

    def _label_keys(self) -> None:
        table, schedules, labels = self.table, self.state.schedules, dict[str, str | None]()
        if not self._has_problems:
            labels["problem(1)"] = None
        if table.line is None:
            labels["open"] = None
        elif (header := table.header) is not None:
            labels["open"] = "Fold" if header.is_open else "Open"
        if table.cursor is None:
            labels["explain"] = None
        if schedules and all(schedule.is_paused for schedule in schedules.values()):
            labels["pause"] = "Resume"
        if labels != self._labels:
            self._labels = labels
            self.query_one(KeyFooter).refresh()

    # Keys.

    @on(EnvironmentTable.Selected)
    def action_open(self) -> None:
        """Open the detail pane and focus it; on a group's header, open or fold the group."""
        if (header := self.table.header) is not None and self.table.has_focus:
            self.toggle(header)
        elif self._can_open():
            self.table.pin_cursor()
            self.wants_detail = True
            self._detail.focus()
            self.refresh_bindings()

    def action_detail(self) -> None:
        if self._has_room or self._shows_detail or self._can_open():
            self.wants_detail = not self._shows_detail

    def _can_open(self) -> bool:
        """Whether the cursor stands on a line; shows a message if not."""
        if self.table.line is None:
            self.show_message("nothing to open: the table is empty")
            return False
        return True

    def action_back(self) -> None:
        """Leave one layer: the filter bar, a focused pane, a covering pane, the filter, the pane."""
        if self._filter_bar.display:
            self._filter_bar.action_cancel()
        elif self._detail.has_focus and self._has_room:
            self.table.focus()
        elif self.view.is_narrowed and not self._covers_table:
            self.set_view(self.view.widened)
        else:
            self.wants_detail = False
        self.refresh_bindings()

    def action_problem(self, direction: int) -> None:
        if not self.table.go_to_problem(direction):
            self.show_message("no problems in view")

    def action_preset(self, preset: str) -> None:
        self.set_view(replace(self.view, preset=Preset(preset)))

    def action_reset(self) -> None:
        """Drop filter, sorting and groups; keep the columns and the baseline."""
        self.set_view(View(columns=self.view.columns, baseline=self.view.baseline))
        self.show_message("view reset: all environments, problems first, no groups")

    def action_filter(self) -> None:
        """Open the filter bar, with the table visible."""
        self._filter_bar.open(self.view.query)
        if self._covers_table:
            self.wants_detail = False
        self.refresh_bindings()

    @on(FilterBar.Changed)
    def _filter(self, message: FilterBar.Changed) -> None:
        self.view = replace(self.view, query=message.partial.query)
        if not self.table.rows:
            self.view = replace(self.view, query=message.partial.settled)

    @on(FilterBar.Closed)
    def _close_filter(self, message: FilterBar.Closed) -> None:
        self._filter_bar.display = False
        self.view = replace(self.view, query=message.query)
        (self.table if self.table.display else self._detail).focus()
        self.refresh_bindings()

    def select(self, key: EnvironmentKey) -> None:
        """Move the cursor to an environment, widening the view if it hides it."""
        if self.table.select(key):
            return
        tracked = self.state.fleets.tracked(key)
        if tracked is None:
            self.show_message("it has left the fleet: nothing is known of it any more")
            return
        was_narrowed = self.view.is_narrowed
        self.set_view(replace(self.view.widened, folded=frozenset()))
        if was_narrowed:
            self.show_message(f"filter cleared: {tracked.environment.name} was hidden")
        self.call_after_refresh(self.table.select, key)
