"""The detail pane.

Rows that change each second are separate widgets, to save layouts.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.history.hours import LastDays
from envwatch.model.text import clean, composed, counted
from envwatch.model.times import NOTHING, clock_text
from envwatch.query.presentation import contexts_of
from envwatch.screen.state import MonitorState, StateNode
from envwatch.views.state_style import FAINT, KEY, TITLE, Piece
from envwatch.views.table.block import BlockLine
from envwatch.views.table.block_text import line_age_text, line_names_text, line_state, why_text
from envwatch.views.table.table_view import GroupHeader, Line, View, id_tail

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from textual.app import ComposeResult

    from envwatch.fleet.events import Event
    from envwatch.query.presentation import RowContext
    from envwatch.views.pane.layout import DetailLine, PaneLayout, Row


class Pager(VerticalScroll):
    """A scrolling container without animation, whose steps would be frames on a slow link."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "by_lines(1)", "Scroll the text down", show=False, id="move.pane_down"),
        Binding("k,up", "by_lines(-1)", "Scroll the text up", show=False, id="move.pane_up"),
        Binding("g,home", "to_top", "Top of the text", show=False, id="move.pane_top"),
        Binding("G,end", "to_bottom", "Bottom of the text", show=False, id="move.pane_bottom"),
        Binding("ctrl+d,pagedown", "by_pages(1)", "Page down in the text", show=False, id="move.pane_page_down"),
        Binding("ctrl+u,pageup", "by_pages(-1)", "Page up in the text", show=False, id="move.pane_page_up"),
    ]

    def action_by_lines(self, lines: int) -> None:
        self.scroll_relative(y=lines, animate=False, immediate=True)

    def action_by_pages(self, pages: int) -> None:
        self.action_by_lines(pages * self.scrollable_content_region.height)

    def action_to_top(self) -> None:
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_to_bottom(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)


_STYLES = {"": "", "bold": "bold", TITLE: "bold", FAINT: "$faint", KEY: "bold $state-online"}

_MINUTE_MS = 60_000


def _style(name: str) -> str:
    if name in _STYLES:
        return _STYLES[name]
    *bold, state = name.split()
    return " ".join([*bold, f"$state-{state}"])


def _content(rows: Sequence[Row]) -> Content:
    lines = (Content.assemble(*((piece.text, _style(piece.style)) for piece in row)) for row in rows)
    return Content("\n").join(lines)


class DetailPane(Pager, StateNode):
    """The facts about an environment, an incident or a group."""

    view: reactive[View] = reactive(View, init=False)
    line: reactive[Line | None] = reactive(None, init=False)
    explains: reactive[bool] = reactive(False, init=False)

    def __init__(self, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._drawn: dict[str, Sequence[Row]] = {}

    def compose(self) -> ComposeResult:
        for part in ("head", "explanation", "rest"):
            yield Static(id=part, markup=False)

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        is_next_minute = new.now.wall // _MINUTE_MS != old.now.wall // _MINUTE_MS
        if not new.has_rows_of(old) or new.monitor.event_log is not old.monitor.event_log or is_next_minute:
            self.redraw()
        elif self.display and self.size and new.now != old.now:
            self._draw_ticking()

    def watch_view(self, old: View, new: View) -> None:
        if old.baseline is not new.baseline:
            self.redraw()

    def watch_line(self, old: Line | None, new: Line | None) -> None:
        if old is None or new is None or old.key != new.key:
            self.action_to_top()
        self.redraw()

    def watch_explains(self) -> None:
        self.action_to_top()
        self.redraw()

    def redraw(self) -> None:
        if not self.display or not self.is_mounted or not self.size:
            return
        self._draw_ticking()
        line = self.line
        if line is None:
            rows: list[Row] = []
        elif isinstance(line, GroupHeader):
            rows = self._group(line.environments)
        elif isinstance(line, BlockLine):
            rows = self._incident(line)
        else:
            rows = self._environment(line)
        self._draw("rest", rows)

    watch_options = on_resize = redraw

    def _draw_ticking(self) -> None:
        line, layout = self.line, self._layout
        why: list[Row] = []
        if self.explains and isinstance(line, TrackedEnvironment):
            from envwatch.views.pane.explanation import explanation_rows

            rows = explanation_rows(line, self.state.monitor, self.state.now, self.options.zone, layout)
            why = [layout.section("why · E goes back"), *rows]
        self._draw("head", self._head(line))
        self._draw("explanation", why)

    def _draw(self, part: str, rows: Sequence[Row]) -> None:
        before = self._drawn.get(part)
        if rows != before:
            self._drawn[part] = rows
            static = self.query_one(f"#{part}", Static)
            static.update(_content(rows), layout=before is None or len(before) != len(rows))
            # Last: Textual may ask for the height at once and keep the answer.
            static.display = bool(rows)

    @property
    def _layout(self) -> PaneLayout:
        from envwatch.views.pane.layout import PaneLayout

        glyphs = self.options.glyphs
        return PaneLayout(self.scrollable_content_region.width, glyphs.is_ascii, glyphs.ellipsis, glyphs.rule)

    def _head(self, line: Line | None) -> list[Row]:
        if line is None:
            return []
        state, is_ascii, layout = self.state, self.options.glyphs.is_ascii, self._layout
        if isinstance(line, GroupHeader):
            from envwatch.views.pane.group_details import group_headline, problem_lines

            headline = layout.sentence(group_headline(line.environments, is_ascii=is_ascii))
            problems = self._rows(problem_lines(line.environments, state.monitor, state.now))
            return [*layout.title(line.title), *headline, *problems]
        if isinstance(line, BlockLine):
            return self._incident_head(line)
        from envwatch.views.pane import state_details

        context, now, zone, name = self._context_of(line), state.now, self.options.zone, line.environment.label
        profile_state, own_events = context.profile_state, state.monitor.event_log.for_environment(line.key)
        # The explanation has the decision; the past has no decisions.
        decided = () if self.explains or state.rewound is not None else state_details.alert_lines(line, context, zone)
        return [
            *layout.title(composed(name + id_tail(name, line.environment.id, state.ambiguous_names))),
            *layout.sentence(state_details.state_headline(line, profile_state, own_events, now, is_ascii=is_ascii)),
            *layout.sentence([Piece(state_details.proof(line, profile_state, now, zone))]),
            *self._rows(state_details.mark_lines(line, context)),
            *self._rows(decided),
        ]

    def _context_of(self, tracked: TrackedEnvironment) -> RowContext:
        monitor, now = self.state.monitor, self.state.now
        days = LastDays(monitor, now, self.options.zone)
        return contexts_of(monitor, now, days, ascii_only=self.options.glyphs.is_ascii)[tracked.profile]

    def _environment(self, tracked: TrackedEnvironment) -> list[Row]:
        from envwatch.views.pane.details import about_lines, help_lines, id_lines
        from envwatch.views.pane.state_details import availability_of_row, last_day_rows

        state, times, layout = self.state, self.options.times, self._layout
        context = self._context_of(tracked)
        profile_state = context.profile_state
        own_events = state.monitor.event_log.for_environment(tracked.key)
        day = last_day_rows(tracked, context, self.options.zone, layout)
        uptime = None if day else availability_of_row(tracked, context)
        day = [layout.section("last 24 h"), *day] if day else []
        helps = self._rows(help_lines(tracked, profile_state, state.now))
        differences = self._section("since the baseline", self._differences(tracked))
        facts = self._section("about", about_lines(tracked, context, uptime, times))
        ids = self._section("ids", id_lines(tracked))
        if tracked.is_unhealthy or not tracked.verdict.is_up:
            before, after = [*helps, *differences, *day], [*facts, *ids]
        else:
            titled = [layout.section("what helps"), *helps] if helps else []
            before, after = [*day, *facts, *titled, *differences], ids
        above = sum(len(self._drawn.get(part, ())) for part in ("head", "explanation"))
        spare = self.size.height - above - len(before) - len(after)
        return [*before, *self._events(own_events, spare), *after]

    def _events(self, own_events: Sequence[Event], spare: int) -> list[Row]:
        from envwatch.views.pane.details import EVENTS
        from envwatch.views.pane.layout import DetailLine

        newest = own_events[: -max(EVENTS, spare - 2) - 1 : -1]
        rows = self._event_rows(newest)
        if older := len(own_events) - len(newest):
            rows += self._rows([DetailLine("", clean(f"{older} more before these: e has all"))])
        return rows

    def _event_rows(self, events: Iterable[Event], *, is_named: bool = False) -> list[Row]:
        from envwatch.views.pane.details import event_detail

        is_ascii, zone = self.options.glyphs.is_ascii, self.options.zone

        def line(event: Event) -> DetailLine:
            now = self.state.server_now(event.profile)
            return event_detail(event, now, zone, self.state.block, is_ascii=is_ascii, is_named=is_named)

        return self._section("events", map(line, events))

    def _incident_head(self, line: BlockLine) -> list[Row]:
        state, layout, zone = self.state, self._layout, self.options.zone
        look, words = line_state(line, state.monitor, state.now)
        names = line_names_text(line, state.ambiguous_names, layout.width, ellipsis=layout.ellipsis)
        lasted = composed(f"{self.options.glyphs.of(look)} {words} for {line_age_text(line, state.now.wall)}")
        why = why_text(line, state.judge)
        return [
            *layout.title(names),
            *layout.sentence([Piece(lasted, f"bold {look.style}"), *([Piece(clean("·")), Piece(why)] if why else [])]),
            *layout.sentence([Piece(clean(f"since {clock_text(line.began_at, zone)}"))]),
        ]

    def _incident(self, line: BlockLine) -> list[Row]:
        from envwatch.views.pane.details import help_lines
        from envwatch.views.pane.group_details import member_line
        from envwatch.views.pane.remedies import kind_of_start

        state, members, is_ascii = self.state, line.members, self.options.glyphs.is_ascii
        if not members:
            return []
        kinds: dict[Hashable, list[TrackedEnvironment]] = {}
        for each in line.off:
            kinds.setdefault(kind_of_start(each.environment), []).append(each)
        helps: list[Row] = []
        for kind in sorted(kinds.values(), key=len, reverse=True):
            first = kind[0]
            share = f"all {len(kind):,}" if len(kinds) == 1 else f"{len(kind):,} of {len(line.off):,}"
            machines = f"{share}, such as {first.environment.label}" if len(kind) > 1 else first.environment.label
            lines = help_lines(first, state.monitor.fleet.for_environment(first), state.now)
            if len(members) > 1:  # `y` offers no command for several environments
                lines = (each._replace(letter="") for each in lines)
            helps += self._section(f"what helps {machines}", lines)
        names = state.ambiguous_names
        listed = (member_line(each, state.monitor, state.now, is_ascii=is_ascii, ambiguous=names) for each in members)
        return [*helps, *self._section(counted(len(members), "machine"), listed), *self._group(members)]

    def _group(self, environments: Sequence[TrackedEnvironment]) -> list[Row]:
        from envwatch.views.pane.group_details import common_lines, newest_events

        shared, different = common_lines(environments)
        return [
            *self._section("shared by all", shared),
            *self._section("different", different),
            *self._event_rows(newest_events(environments, self.state.monitor.event_log), is_named=True),
        ]

    def _section(self, title: str, lines: Iterable[DetailLine]) -> list[Row]:
        rows = self._rows(lines)
        return [self._layout.section(title), *rows] if rows else []

    def _rows(self, lines: Iterable[DetailLine]) -> list[Row]:
        return list(chain.from_iterable(map(self._layout.rows, lines)))

    def _differences(self, tracked: TrackedEnvironment) -> Iterator[DetailLine]:
        if self.view.baseline is None:
            return
        from envwatch.views.pane.layout import DetailLine

        newest = self.state.monitor.fleet.tracked(tracked.key)
        for difference in self.view.baseline.differences(tracked.key, newest):
            text = f"{difference.before or NOTHING} → {difference.after or NOTHING}"
            yield DetailLine(difference.field, composed(text), difference.style)
