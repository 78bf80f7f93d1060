"""The event log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.alerts.losses import LOSSES, RETURNS, key_of
from envwatch.fleet.events import Event, flatten
from envwatch.fleet.tracking import EnvironmentKey
from envwatch.model.text import cells, composed, counted, shortened, wrapped
from envwatch.model.times import date_text
from envwatch.query.language import Query
from envwatch.screen.screens.table_screen import Target
from envwatch.screen.state import NO_NOTICE, MonitorState, Notice, StateNode
from envwatch.screen.terminal.app import forget_detached_watchers
from envwatch.screen.widgets.event_list import EventList
from envwatch.screen.widgets.filter_bar import FilterBar, FilterHistory
from envwatch.screen.widgets.footer import HELP, KeyFooter
from envwatch.screen.widgets.line import TextLine
from envwatch.screen.widgets.news_bar import MESSAGE_S, NewsBar
from envwatch.screen.widgets.problem_block import PresentLines
from envwatch.screen.widgets.status_bar import rewound_badges
from envwatch.views.events.event_text import event_style, event_text, watched_text
from envwatch.views.fitting import CUT_AT, Part, Row
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.events import Key

    from envwatch.screen.screens.row_actions import RowActions

_NO_ENVIRONMENT: Final = "the event is about no machine"


class LogTitle(TextLine, StateNode):
    """The numbers of matching and of all events."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--title", "line--faint", "line--badge", "line--rewound"}

    counts: reactive[tuple[int, int]] = reactive((0, 0))
    filter_text: reactive[str] = reactive("")

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Draw only changes in the present, because `parts` reads the whole log."""
        is_past = old.rewound is not None or new.rewound is not None
        if is_past or new.monitor.event_log is not old.monitor.event_log or not new.has_rows_of(old):
            self.refresh_if_changed()

    def parts(self) -> Row:
        matches, total = self.counts
        covers = watched_text(self.state.monitor, self.state.now, self.options.zone)
        left = [Part("events", "title", 9), Part(covers, "faint", 6)]
        if self.filter_text:
            left[1:] = [Part(self.filter_text, "faint", 6, cut_at=CUT_AT), Part(covers, "faint", 1)]
            right = Part(f" FILTER {matches:,}/{total:,} ", "badge", 8)
        else:
            right = Part(counted(total, "event"), "faint", 5)
        return left, [right, *rewound_badges(self.state, self.options)]


class WholeEvent(Static, StateNode):
    """The cursor's event in full with date, or an answer."""

    LINES = 6

    event: reactive[Event | None] = reactive(None, always_update=True, init=False)
    answer: reactive[Notice] = reactive(NO_NOTICE, always_update=True, init=False)

    _is_answer = False

    def watch_state(self) -> None:
        if self._is_answer:
            self._draw()

    def _draw(self) -> None:
        event, width, answer = self.event, self.content_size.width, self.answer
        lasts_s = MESSAGE_S if cells(answer.text) <= width else 2 * MESSAGE_S
        self._is_answer = self.state.present.monotonic - answer.given_at < lasts_s
        if self._is_answer:
            self.update(Content.styled(answer.text, "bold $state-online"))
            return
        if event is None or not width:
            self.update("")
            return
        zone, glyphs = self.options.zone, self.options.glyphs
        name = f"{event.name}{id_tail(event.name, event.id, self.state.ambiguous_names)}" if event.name else None
        texts = (date_text(event.at, zone), event.profile, name, event_text(event, zone))
        lines = wrapped(composed(f" {glyphs.separator} ".join(filter(None, texts))), width)
        if len(lines) > self.LINES:
            rest = composed(" ".join(lines[self.LINES - 1 :]))
            lines[self.LINES - 1 :] = [shortened(rest, width, ellipsis=glyphs.ellipsis)]
        self.update(Content.styled("\n".join(lines), f"$state-{event_style(event, self.state.block).style}"))

    watch_event = watch_answer = on_resize = _draw


class EventLogScreen(ModalScreen[EnvironmentKey | None], StateNode):
    """The event log; returns the chosen environment's key, or None.

    The cursor starts at the event of the cut `message`, if any.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc", id="log.back"),
        Binding("slash", "filter", "Filter", key_display="/", id="log.filter"),
        Binding("e,q", "dismiss", "Close", key_display="q", id="log.close"),
        Binding("a", "acknowledge", "Acknowledge", id="log.acknowledge"),
        Binding("y", "copy", "Copy …", id="log.copy"),
        Binding("M", "silence", "Silence …", show=False, id="log.silence"),
        Binding("A", "alerts", "Override: page by rule, always or never …", show=False, id="log.alerts"),
        HELP,
    ]

    def __init__(self, dashboard: RowActions, filters: FilterHistory, message: str = "") -> None:
        super().__init__()
        self._dashboard = dashboard
        self._news_bar = dashboard.query_one(NewsBar)
        self._message = message
        self._title, self._events, self._filter_bar = LogTitle(), EventList(), FilterBar(filters, is_of_log=True)
        self._whole_event = WholeEvent(markup=False)

    def compose(self) -> ComposeResult:
        cls = EventLogScreen
        yield PresentLines()
        yield self._title.data_bind(cls.state, cls.options)
        yield self._events.data_bind(cls.state, cls.options)
        yield self._whole_event.data_bind(cls.state, cls.options)
        yield self._filter_bar.data_bind(cls.state)
        yield KeyFooter(label_of=self._label_of)

    def on_mount(self) -> None:
        self._events.focus()
        self.call_after_refresh(self._events.go_to_notice, self._message)
        self.watch(self._news_bar, "message", partial(setattr, self._whole_event, "answer"), init=False)
        self.watch(self._events, "highlighted", self._show_whole)

    def on_unmount(self) -> None:
        self.app.call_later(forget_detached_watchers, self._news_bar)

    def _show_whole(self, event: Event | None) -> None:
        self._title.counts = (self._events.matches, len(self.state.monitor.event_log))
        self._title.filter_text = str(self._events.filter_query)
        self._whole_event.event = event
        self.query_one(KeyFooter).refresh()

    def _label_of(self, binding: Binding) -> str | None:
        is_refused = binding.id == "log.acknowledge" and not self._dashboard.may_acknowledge(self._target)
        return None if is_refused else binding.description

    def on_key(self, event: Key) -> None:
        if event.key not in self.active_bindings and not self._filter_bar.display:
            event.stop()
            key = self.app.get_key_display(Binding(event.key, "", ""))
            self._dashboard.show_message(f"{key} does nothing in the log: ? has the keys")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self._filter_bar.display if action == "filter" else super().check_action(action, parameters)

    def action_filter(self) -> None:
        self._filter_bar.open(self._events.filter_query)
        self.refresh_bindings()

    @on(FilterBar.Changed)
    def _filter(self, message: FilterBar.Changed) -> None:
        self._events.filter_by(message.partial.query, message.partial.settled)

    @on(FilterBar.Closed)
    def _close_filter(self, message: FilterBar.Closed) -> None:
        self._filter_bar.display = False
        self._events.filter_by(message.query)
        self._events.focus()
        self.refresh_bindings()

    def action_back(self) -> None:
        if self._filter_bar.display:
            self._filter_bar.action_cancel()
        elif self._events.filter_query:
            self._events.filter_by(Query())
        else:
            self.dismiss()

    def action_go_to_environment(self) -> None:
        if (event := self._events.highlighted) is None or event.id is None:
            self._dashboard.show_message(f"nothing to go to: {_NO_ENVIRONMENT}")
        else:
            self.dismiss(key_of(event))

    def action_acknowledge(self) -> None:
        self._dashboard.acknowledge(self._target)

    def action_copy(self) -> None:
        self._dashboard.copy(self._target)

    def action_silence(self) -> None:
        self._dashboard.silence(self._target)

    def action_alerts(self) -> None:
        self._dashboard.decide(self._target)

    @property
    def _target(self) -> Target:
        event, state = self._events.highlighted, self.state
        about = [] if event is None else [leaf for leaf in flatten([event]) if leaf.id is not None]
        if event is None or not about:
            return Target((), _NO_ENVIRONMENT)
        keys = sorted(state.monitor.incidents.lost_in(event.incident)) if event.incident else []
        found = self._dashboard.known(keys)
        lost = [tracked for tracked in found if self._dashboard.is_unwell(tracked)]
        found = lost or self._dashboard.known(dict.fromkeys(map(key_of, about)))
        if not found:
            name = about[0].name if len(about) == 1 else f"{len(about):,} machines"
            return Target((), f"{name} left the fleet")
        was_lost = all(leaf.kind in LOSSES | RETURNS for leaf in about)
        return self._dashboard.target_of(found)._replace(was_lost=was_lost)
