"""The full log of events over the dashboard: with a filter of its own, and all of the event under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.fleet.event_log import EventLog
from envwatch.fleet.fleets import Fleets
from envwatch.fleet.tracking import EnvironmentKey
from envwatch.model.text import Clean, shortened, wrapped
from envwatch.model.times import TimeStyle, date_text, zone_of
from envwatch.query.language import Query
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.tui.widgets.event_list import EventList
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.tui.widgets.line import Part, TextLine
from envwatch.views.event_text import event_style, event_text
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.events import Event


class LogTitle(TextLine):
    """How many events there are, and which are shown."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--title", "line--faint", "line--badge"}

    counted: reactive[tuple[int, int]] = reactive((0, 0))
    """Events that are shown, and events in all."""
    asked_for: reactive[str] = reactive("")
    """The query."""

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the title, and what is hidden."""
        shown, total = self.counted
        left = [Part("events", "title", 9), Part(self.asked_for, "faint", 1, is_cut=True)]
        return left, [Part(f" FILTER {shown}/{total} ", "badge") if self.asked_for else Part(f"{total}", "faint")]


class WholeEvent(Static):
    """All of the event under the cursor, with its date: its line in the list may be cut."""

    LINES = 2

    event: reactive[Event | None] = reactive(None, always_update=True, init=False)
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset, init=False)
    """Names that do not tell environments apart."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE, init=False)
    glyphs: reactive[Glyphs] = reactive(UNICODE, init=False)

    def watch_event(self) -> None:
        """Tell it."""
        self._tell()

    def on_resize(self) -> None:
        """Wrap anew."""
        self._tell()

    def _tell(self) -> None:
        event, width = self.event, self.content_size.width
        if event is None or not width:
            self.update("")
            return
        zone = zone_of(self.times)
        name = f"{event.name}{id_tail(event.name, event.id, self.ambiguous)}" if event.name else None
        words = (date_text(event.at, zone), event.profile, name, event_text(event, zone))
        lines = wrapped(Clean(f" {self.glyphs.separator} ".join(filter(None, words))), width)
        if len(lines) > self.LINES:
            rest = Clean(" ".join(lines[self.LINES - 1 :]))
            lines[self.LINES - 1 :] = [shortened(rest, width, ellipsis=self.glyphs.ellipsis)]
        self.update(Content.styled("\n".join(lines), f"$state-{event_style(event).style}"))


class EventLogScreen(ModalScreen[EnvironmentKey | None]):
    """The log over the dashboard; it answers with the key of an environment to go to, or with none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("e,q", "dismiss", "Close", key_display="q"),
        HELP,
    ]

    event_log: reactive[EventLog] = reactive(EventLog)
    fleets: reactive[Fleets] = reactive(Fleets, init=False, repaint=False)
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset, repaint=False)
    acks: reactive[Acks] = reactive(dict, init=False, repaint=False)
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    glyphs: reactive[Glyphs] = reactive(UNICODE)

    def compose(self) -> ComposeResult:
        """Return the title, the list, the filter and the keys."""
        cls = EventLogScreen
        yield LogTitle()
        yield EventList().data_bind(cls.acks, cls.event_log, cls.ambiguous, cls.times, cls.glyphs)
        yield WholeEvent(markup=False).data_bind(cls.ambiguous, cls.times, cls.glyphs)
        yield FilterBar(is_of_log=True).data_bind(cls.fleets)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self._events.focus()

    @property
    def _events(self) -> EventList:
        return self.query_one(EventList)

    @property
    def _box(self) -> FilterBar:
        return self.query_one(FilterBar)

    @on(EventList.Listed)
    def _count(self) -> None:
        title, events = self.query_one(LogTitle), self._events
        title.counted = (events.shown, len(self.event_log))
        title.asked_for = str(events.wanted)

    @on(EventList.Pointed)
    def _tell_whole(self, message: EventList.Pointed) -> None:
        self.query_one(WholeEvent).event = message.event

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let keys be typed into the filter."""
        return not self._box.display if action == "filter" else super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the filter box."""
        self._box.open(self._events.wanted)
        self.refresh_bindings()

    @on(FilterBar.Asked)
    def _filter(self, message: FilterBar.Asked) -> None:
        self._events.wanted = message.draft.query
        if not self._events.shown:
            self._events.wanted = message.draft.settled

    @on(FilterBar.Kept)
    def _keep_filter(self, message: FilterBar.Kept) -> None:
        self._box.display = False
        self._events.wanted = message.query
        self._events.focus()
        self.refresh_bindings()

    def action_back(self) -> None:
        """Leave one layer: the box, the filter, the log."""
        if self._box.display:
            self._box.action_cancel()
        elif self._events.wanted:
            self._events.wanted = Query()
        else:
            self.dismiss()

    def on_event_list_chosen(self, message: EventList.Chosen) -> None:
        """Answer with the chosen environment."""
        self.dismiss(message.key)
