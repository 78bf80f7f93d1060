"""The main screen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.query.language import parse
from envwatch.screen.screens.row_actions import RowActions
from envwatch.screen.screens.table_actions import TableActions, binding_of
from envwatch.screen.screens.table_screen import NO_ENVIRONMENT
from envwatch.screen.widgets.detail_pane import DetailPane
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.screen.widgets.filter_bar import FilterBar, FilterHistory
from envwatch.screen.widgets.footer import KeyFooter, keyless_binding
from envwatch.screen.widgets.news_bar import MESSAGE_S, NewsBar
from envwatch.screen.widgets.problem_block import NewestLoss, ProblemBlock
from envwatch.screen.widgets.status_bar import DayBar, StatusBar
from envwatch.views.table.block_text import nothing_open_text
from envwatch.views.table.table_view import BUILT_IN_VIEWS, NamedView, View, index_of_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult
    from textual.dom import DOMNode
    from textual.events import Resize

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.screen.state import MonitorState, Rewound
    from envwatch.views.command_context import CommandSettings

_EVENT_LINES = 8

_PANE_LINES = 30

_EMPTY_LINES = 7

_LINES_FOR_RULE, _LINES_FOR_THIRD = 10, 16

_TALL = 40

_SHORT_LABELS: Final[Mapping[str, str]] = {"acknowledge": "Ack", "copy_menu": "Copy", "loss(1)": "Next"}

_FOOTER_ORDER: Final = (
    *("filter", "open", "loss(1)", "events", "acknowledge", "copy_menu"),
    *("command_palette", "help", "close"),
)

_QUIT_AGAIN: Final = "one more click quits; the key q quits at once"


_TIME_LABELS: Final = {
    "step(-1)": "Back",
    "step(1)": "On",
    "event(-1)": "Event",
    "event(1)": "Event",
    "go_to_time": "Time",
    "live": "Live",
    "pause": "Pause",
}

_MORE_LABELS: Final = {
    "explain": "Explain",
    "event(-1)": "Past",
    "silence": "Silence",
    "fold": "Fold",
    "pick_sort": "Sort",
    "mark_row": "Mark",
    "alerts": "Override",
    "pick_group": "Group",
    "pick_columns": "Columns",
    "go_to_time": "To a time",
    "pause": "Pause",
    "refresh_now": "Refresh",
    "mark": "Baseline",
    "export": "Export",
}

_OF_PRESENT: Final = frozenset({"silence", "alerts", "refresh_now"})
_OF_LINE: Final = frozenset({"explain", "silence", "alerts", "mark_row"})


def _more_labels(rewound: Rewound | None, *, has_line: bool) -> dict[str, str]:
    hidden = frozenset[str]() if has_line else _OF_LINE
    if rewound is not None:
        hidden |= _OF_PRESENT | _TIME_LABELS.keys()
    return {action: label for action, label in _MORE_LABELS.items() if action not in hidden}


def _time_label(action: str, rewound: Rewound | None) -> str | None:
    if rewound is None or (rewound.playing is None and action == "pause"):
        return None
    if rewound.playing is not None and action in {"live", "pause"}:
        return "End" if action == "live" else "Pause" if rewound.playing else "Play"
    return _TIME_LABELS[action]


def _is_other_time(old: Rewound | None, new: Rewound | None) -> bool:
    before, after = (None if each is None else each.playing for each in (old, new))
    return (old is None) is not (new is None) or before != after


class Dashboard(TableActions, RowActions):
    """The live view of the fleet."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", id="find.filter"),
        Binding("enter", "open", "Detail", key_display="⏎", id="machine.open"),
        Binding("n", "loss(1)", "Next loss", id="find.next_loss"),
        Binding("N", "loss(-1)", "Previous loss", show=False, id="find.previous_loss"),
        Binding("E", "explain", "Explain", show=False, id="machine.explain"),
        Binding("escape", "back", "Back", key_display="esc", show=False, id="app.back"),
        Binding("q", "close", "Quit", id="app.quit"),
        keyless_binding("detail", "Detail pane on or off", "machine.pane"),
        *map(binding_of, BUILT_IN_VIEWS.values()),
    ]

    wants_detail: reactive[bool | None] = reactive(None, init=False)
    """The user's wish; None lets the screen's size decide."""

    def __init__(
        self,
        *,
        watched: tuple[str, str],
        view: View,
        commands: CommandSettings,
        views: Mapping[str, NamedView] | None = None,
        filters: FilterHistory,
    ) -> None:
        super().__init__()
        self.filters = filters
        self.bind_views(views or {})
        self.bind_commands(commands)
        self.set_reactive(Dashboard.view, view)
        self._watched = watched
        self.table, self._detail = EnvironmentTable(id="table"), DetailPane(id="detail")
        self._filter_bar = FilterBar(filters)
        self._wanted_before: bool | None = None
        self._labels: Mapping[str, str | None] = {}
        """Footer labels by action; None hides the key."""

    def compose(self) -> ComposeResult:
        cls = Dashboard
        yield StatusBar(watched=self._watched).data_bind(cls.state, cls.view, cls.options)
        yield NewestLoss(is_over=False).data_bind(cls.state, cls.options)
        yield DayBar().data_bind(cls.state, cls.options)
        yield ProblemBlock().data_bind(cls.state, cls.options)
        with Container(id="body"):
            yield self.table.data_bind(cls.state, cls.view, cls.options)
            yield self._detail.data_bind(cls.state, cls.view, cls.options)
        yield NewsBar().data_bind(cls.state, cls.options)
        yield self._filter_bar.data_bind(cls.state)
        yield KeyFooter(
            label_of=self._label_of,
            order=_FOOTER_ORDER,
            more_labels=lambda: _more_labels(self.state.rewound, has_line=self.table.line is not None),
            takes_click=self.takes_click,
        )
        yield Static("too small: envwatch needs 40x8 cells", id="too-small", markup=False)

    def on_mount(self) -> None:
        # After the table's bindings, so that counts and block change in the same frame.
        self.watch(self, "state", self._show_block, init=False)
        self.set_focus(self.table)
        self._lay_out()

    @property
    def nodes_with_keys(self) -> tuple[DOMNode, ...]:
        return (self.table, self._detail, self, self._filter_bar)

    @property
    def _is_wide(self) -> bool:
        return self.size.width >= 120

    @property
    def _has_room(self) -> bool:
        return self._is_wide or self.size.height >= _TALL

    @property
    def _shows_detail(self) -> bool:
        return self._has_room if self.wants_detail is None else self.wants_detail

    @property
    def _covers_table(self) -> bool:
        return self._shows_detail and not self._has_room

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        if _is_other_time(old.rewound, new.rewound) or old.servers != new.servers:
            self._label_keys()
            self.query_one(KeyFooter).refresh()

    def on_descendant_focus(self) -> None:
        """Relabel keys: the focus changes after the request."""
        self._label_keys()

    def on_resize(self, event: Resize) -> None:
        """Ignore outdated sizes: a layout for an outdated size posts another `Resize`, in an endless loop."""
        if event.size == self.app.size:
            self._lay_out()
        else:
            event.prevent_default().stop()

    @on(EnvironmentTable.Changed)
    def _show_changes(self, message: EnvironmentTable.Changed) -> None:
        table = self.table
        if message.has_other_rows:
            self.query_one(StatusBar).visible_rows = table.row_cursor.matches
            self._count_marks()
            self._share_lines()
        self._detail.line = table.cursor or table.line
        if table.line is None and self._covers_table:
            self.wants_detail = False
        self._show_block()
        self._label_keys()

    def watch_marked(self) -> None:
        self.table.marked = self.marked
        self._count_marks()
        self._show_block()

    def _count_marks(self) -> None:
        hidden = self.table.row_cursor.hidden(self.marked)
        self.query_one(StatusBar).marks = (len(self.marked), len(hidden))

    @on(ProblemBlock.LineClicked)
    def _click_on_block(self, message: ProblemBlock.LineClicked) -> None:
        line = self.table.line
        if line is not None and line.key == message.key:
            self.action_open()
        else:
            self.table.select(message.key)

    def _show_block(self) -> None:
        """Give the block up to a third of the screen, and lines that the table does not need."""
        table, block, height = self.table, self.query_one(ProblemBlock), self.size.height
        if height < _LINES_FOR_RULE:
            most = 2
        elif height < _LINES_FOR_THIRD:
            most = 3
        else:
            most = max(height // 3, self._spare_lines + block.size.height - 2 if table.display else 0)
        cursor = table.line.key if table.line is not None and table.row_cursor.is_in_block else None
        block.show(table.visible_block(most), cursor, self.marked, has_rule=height >= _LINES_FOR_RULE)

    @property
    def _spare_lines(self) -> int:
        needed = self.table.virtual_size.height if self.table.rows else _EMPTY_LINES
        return self.table.size.height + self.query_one(NewsBar).size.height - needed

    def _share_lines(self) -> None:
        self._show_block()
        table, news = self.table, self.query_one(NewsBar)
        spare = self._spare_lines if table.display else 0
        if self._shows_detail:
            left = table.size.height + news.size.height - _PANE_LINES if self._is_wide else 0
            spare = min(spare, max(left, _EVENT_LINES))
        least = _EVENT_LINES - 2 if self.size.height >= _TALL else int(self.size.height >= _LINES_FOR_RULE)
        news.room = max(spare, least) if least else 0

    def _lay_out(self) -> None:
        detail, table = self._detail, self.table
        was_focused = self.focused in {detail, table}
        detail.display = self._shows_detail
        detail.explains = detail.explains and detail.display
        table.display = not self._covers_table
        if was_focused:
            self.set_focus(table if table.display else detail)  # a deferred focus would take a box's keys
        if detail.display:
            detail.redraw()
        self.call_after_refresh(self._share_lines)
        self._update_keys()

    watch_wants_detail = _lay_out

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self._filter_bar.display if action == "filter" else super().check_action(action, parameters)

    def _label_of(self, binding: Binding) -> str | None:
        if binding.action in _TIME_LABELS:
            return _time_label(binding.action, self.state.rewound)
        return self._labels.get(binding.action, binding.description)

    def takes_click(self, binding: Binding) -> bool:
        """Whether a click acts. Quitting takes two clicks: a stray click must not end the watch."""
        if binding.id != "app.quit" or "close" in self._labels:
            return True
        answer = self.query_one(NewsBar).message
        is_asked = answer.text == _QUIT_AGAIN and self.state.present.monotonic - answer.given_at < MESSAGE_S
        if not is_asked:
            self.show_message(_QUIT_AGAIN)
        return is_asked

    def _update_keys(self) -> None:
        self._label_keys()
        self.refresh_bindings()

    def _label_keys(self) -> None:
        labels = dict[str, str | None](_SHORT_LABELS)
        is_empty, has_focus = self.table.line is None, self._detail.has_focus
        is_refused = bool(self.state.servers.read_only) and not self.may_acknowledge(self.target)
        if (header := self.table.header) is not None:
            labels["open"] = "Fold" if header.is_open else "Open"
        if has_focus or self._detail.explains:
            labels["close"] = "Close"
        without_effect = {
            "loss(1)": self.state.block.newest is None,
            "open": is_empty or has_focus,
            "copy_menu": is_empty,
            "acknowledge": is_empty or self.state.rewound is not None or is_refused,
        }
        labels |= dict.fromkeys(action for action, is_hidden in without_effect.items() if is_hidden)
        if labels != self._labels:
            self._labels = labels
            self.query_one(KeyFooter).refresh()

    def action_open(self) -> None:
        if self._detail.has_focus:
            self.show_message("the detail is open already: esc goes back to the table")
        elif (header := self.table.header) is not None:
            self.toggle(header)
        elif self._can_open():
            self.table.row_cursor.pin()
            was_visible, self.wants_detail = self._shows_detail, True
            if was_visible:
                self._detail.focus()
            self._update_keys()

    def action_detail(self) -> None:
        if self._has_room or self._shows_detail or self._can_open():
            self.wants_detail = not self._shows_detail

    def action_explain(self) -> None:
        if self._detail.explains:
            self._close_explanation()
            return
        self.table.go_to_member()
        if self.table.cursor is None:
            self.show_message(NO_ENVIRONMENT)
            return
        self.table.row_cursor.pin()
        self._wanted_before, self.wants_detail = self.wants_detail, True
        self._detail.explains = True
        self._update_keys()

    def _close_explanation(self) -> None:
        self._detail.explains = False
        self.wants_detail = self._wanted_before
        self._update_keys()

    def _can_open(self) -> bool:
        if self.table.line is None:
            empty = "nothing matches the filter" if self.view.is_narrowed else "the table is empty"
            self.show_message(f"nothing to open: {empty}")
            return False
        return True

    def action_back(self) -> None:
        if self._filter_bar.display:
            self._filter_bar.action_cancel()
        elif self._detail.explains:
            self._close_explanation()
        elif self._detail.has_focus and self._has_room:
            self.table.focus()
        elif self.marked and not self._covers_table:
            self.marked = frozenset()
            self.show_message("none marked")
        elif self.view.is_narrowed and not self._covers_table:
            self.set_view(self.view.widened)
        elif self._shows_detail:
            self.wants_detail = False
        elif self.state.rewound is not None and self.state.rewound.playing is None:
            self.action_live()
        else:
            self.show_message("nothing to leave here: q quits")
        self._update_keys()

    def action_close(self) -> None:
        if self._detail.has_focus or self._detail.explains:
            self.action_back()
        else:
            self.app.exit(0)

    def action_loss(self, direction: int) -> None:
        before = self.table.line
        if not self.table.go_to_open(direction):
            state = self.state
            self.show_message(nothing_open_text(state.block, state.monitor.fleet, state.now, self.options.zone))
        elif self.table.line is before:
            self.show_message("the newest loss: n again goes to the next")

    def action_filter(self) -> None:
        self._filter_bar.open(self.view.query)
        self.table.is_filtering = True
        if self._covers_table:
            self.wants_detail = False
        self.refresh_bindings()

    @on(FilterBar.Changed)
    def _filter(self, message: FilterBar.Changed) -> None:
        self.view = replace(self.view, query=message.partial.query)
        if not self.table.row_cursor.matches:
            self.view = replace(self.view, query=message.partial.settled)

    @on(FilterBar.Closed)
    def _close_filter(self, message: FilterBar.Closed) -> None:
        self._filter_bar.display = self.table.is_filtering = False
        self.view = replace(self.view, query=message.query)
        if message.query:
            self.table.row_cursor.pin()  # a cleared filter then keeps the cursor on the row
        else:
            self.table.row_cursor.settle()
        (self.table if self.table.display else self._detail).focus()
        self.refresh_bindings()

    def filter_by(self, query: str) -> None:
        self.set_view(replace(self.view, query=parse(query, has_past=True)))
        self.table.row_cursor.pin()

    def show_rows(self, keys: Sequence[EnvironmentKey]) -> str:
        """Move the cursor to an environment, or to the incident of several environments.

        Opens folded groups. Returns the reason if no line is found.
        """
        table = self.table
        if not any(table.select(key, is_steady=False) for key in keys):
            folded = (header for header in table.headers if index_of_line(header.environments, keys[0]) is not None)
            if (header := next(folded, None)) is None:
                is_listed = self.state.monitor.fleet.tracked(keys[0]) is not None
                return "the filter hides the machine" if is_listed else "the machine has left the fleet"
            self.set_view(replace(self.view, folded=self.view.folded - {header.key}))
            table.select(keys[0], is_steady=False)
        if len(keys) == 1 and table.incident is not None and table.incident.single is None:
            table.go_to_member()
            table.select(keys[0], is_steady=False)
        return ""

    def select(self, key: EnvironmentKey) -> None:
        """Select an environment; clear a filter that hides the row."""
        if self.table.select(key):
            return
        tracked = self.state.monitor.fleet.tracked(key)
        if tracked is None:
            self.show_message("the machine has left the fleet")
            return
        was_narrowed = self.view.is_narrowed
        self.set_view(replace(self.view.widened, folded=frozenset()))
        if was_narrowed:
            self.show_message(f"filter cleared: {tracked.environment.label} was hidden")
        self.call_after_refresh(self.table.select, key)
