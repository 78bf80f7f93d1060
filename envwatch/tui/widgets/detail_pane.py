"""The detail pane: everything known of the environment or group under the cursor, as text that can be selected.

Draws the lines of `views.details`. Those that change each second are a widget of their own, so that a tick lays out
five lines and not fifty.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.model.text import Clean, cells, fitted, shortened, wrapped
from envwatch.model.times import NOTHING
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.pager import Pager
from envwatch.views.details import (
    DetailLine,
    acknowledgement_lines,
    availability_lines,
    environment_lines,
    event_lines,
    identity_lines,
    missed_beats,
    remedy_lines,
    state_line,
    ticking_lines,
)
from envwatch.views.group_details import group_lines
from envwatch.views.grouping import GroupHeader
from envwatch.views.table_view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from textual.app import ComposeResult

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.grouping import TableLine

_LABEL = 11
"""Cells of the labels' column."""
_MAX_EVENTS = 50
"""Events of an environment that are shown; the log has all."""
_NOT_TYPEABLE = Clean("y copies it: this terminal cannot show all of it")
"""In place of a command that in ASCII would name another environment."""
_NOT_BOLD = frozenset({"online", "plain", "gone"})


def _style(name: str) -> str:
    """Return a style by its name in the stylesheet, bold for problems."""
    return f"{'' if name in _NOT_BOLD else 'bold '}$state-{name}" if name else ""


class DetailPane(Pager):
    """One environment, or one group, in full."""

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    view: reactive[View] = reactive(View, init=False)
    """Has the baseline to compare with."""
    line: reactive[TableLine | None] = reactive(None, init=False)
    """The table's line to show: an environment or a group's header."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions, init=False)

    _ticking_newlines = -1

    def compose(self) -> ComposeResult:
        """Return the parts: what changes each second, the fields, the history, the identity."""
        for part in ("ticking", "fields", "history", "identity"):
            yield Static(id=part, markup=False)

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Redraw all for new acknowledgements and events, else what changes each second.

        A new listing redraws by way of `line`.
        """
        if new.acks is not old.acks or new.event_log is not old.event_log:
            self.redraw()
        elif self.display and new.now != old.now:
            self._draw_ticking()

    def watch_view(self, old: View, new: View) -> None:
        if old.baseline is not new.baseline:
            self.redraw()

    def watch_line(self, old: TableLine | None, new: TableLine | None) -> None:
        """Show another line from its top; an update of the same line keeps the scroll position."""
        if old is None or new is None or old.key != new.key:
            self.action_to_top()
        self.redraw()

    def watch_options(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Draw everything, if it is visible; else it is drawn when it gets a size."""
        if not self.display or not self.is_mounted or not self.size:
            return
        self._draw_ticking()
        fields = history = identity = Content("")
        if self.line is not None and not isinstance(self.line, GroupHeader):
            fields, history, identity = self._environment(self.line)
        self.query_one("#fields", Static).update(fields)
        self.query_one("#history", Static).update(history)
        self.query_one("#identity", Static).update(identity)

    def _environment(self, tracked: TrackedEnvironment) -> tuple[Content, Content, Content]:
        """Return the fields, the history and the identity of an environment."""
        fleet, event_log = self.state.fleets.of(tracked), self.state.event_log
        events = event_log.of(tracked.key)
        remedies = list(remedy_lines(tracked, fleet, self.state.now))
        fields = [
            *availability_lines(tracked, fleet, events, self._complete_since(fleet)),
            *environment_lines(tracked, fleet),
        ]
        sections = []
        if differences := list(self._differences(tracked)):
            sections.append(self._section("since the baseline", differences))
        if events:
            newest = [*event_lines(events[: -_MAX_EVENTS - 1 : -1], self.options.times)]
            if (older := len(events) - _MAX_EVENTS) > 0:
                newest.append(DetailLine("", Clean(f"{older} more before these")))
            sections.append(self._section("events", newest))
        return (
            self._wrapped_lines([*remedies, *fields] if tracked.is_problem else [*fields, *remedies]),
            Content("\n").join(sections),
            Content.assemble("\n" if sections else "", self._wrapped_lines(identity_lines(tracked.environment))),
        )

    def _section(self, title: str, lines: Iterable[DetailLine]) -> Content:
        rule = self.options.glyphs.rule * 2
        return Content.assemble("\n", (f"{rule} {title}\n", "$faint"), self._wrapped_lines(lines))

    def _differences(self, tracked: TrackedEnvironment) -> Iterator[DetailLine]:
        """Yield each field that differs from the baseline, with its old value."""
        if self.view.baseline is None:
            return
        newest = self.state.fleets.tracked(tracked.key)
        for difference in self.view.baseline.differences(tracked.key, newest):
            text = f"{difference.before or NOTHING} → {difference.after or NOTHING}"
            yield DetailLine(difference.field, Clean(text), difference.style)

    def _complete_since(self, fleet: Fleet) -> float | None:
        """Return since when no event is missing: the first listing, or the oldest event kept (server's clock, ms)."""
        began_at, cut_at = fleet.began_at, self.state.event_log.cut_at
        return began_at if began_at is None or cut_at is None else max(began_at, cut_at)

    def _draw_ticking(self) -> None:
        line = self.line
        if line is None:
            content = Content("")
        else:
            content = self._group(line) if isinstance(line, GroupHeader) else self._verdict(line)
        newlines = content.plain.count("\n")
        self.query_one("#ticking", Static).update(content, layout=newlines != self._ticking_newlines)
        self._ticking_newlines = newlines

    def _verdict(self, tracked: TrackedEnvironment) -> Content:
        """Return the name, the state, the last beats, and the lines that change with time."""
        fleet, now, options = self.state.fleets.of(tracked), self.state.now, self.options
        state = state_line(tracked, fleet, now)
        total, missed = missed_beats(tracked, fleet, now) or (0, 0)
        glyph = state.label if not options.glyphs.is_ascii else ""
        acked = acknowledgement_lines(tracked, self.state.acks, fleet.clock.at(now.wall), options.times)
        return Content.assemble(
            self._title(tracked.environment.name),
            (f"{glyph} {state.text}".strip() + "  ", f"bold $state-{state.style}"),
            (options.glyphs.beat * (total - missed), "$state-online"),
            (options.glyphs.missed * missed, _style("late")),
            (f" {missed} missed" if missed else "", _style("late")),
            "\n",
            self._wrapped_lines((*acked, *ticking_lines(tracked, fleet, now, options.times))),
        )

    def _group(self, header: GroupHeader) -> Content:
        count = f"{len(header)} environment{'' if len(header) == 1 else 's'}\n"
        lines = group_lines(header, self.state.fleets, self.state.acks, self.state.now)
        return Content.assemble(self._title(header.title), count, self._wrapped_lines(lines))

    def _title(self, text: Clean) -> Content:
        title = shortened(text, 2 * self._width, keep="ends", ellipsis=self.options.glyphs.ellipsis)
        return Content.styled(f"{title}\n", "bold")

    @property
    def _width(self) -> int:
        return max(self.scrollable_content_region.width, _LABEL + 12)

    def _wrapped_lines(self, lines: Iterable[DetailLine]) -> Content:
        return Content("\n").join(chain.from_iterable(map(self._wrapped, lines)))

    def _wrapped(self, line: DetailLine) -> list[Content]:
        text, style = line.text, _style(line.style)
        if line.is_command and self.options.glyphs.is_ascii and not text.isascii():
            text, style = _NOT_TYPEABLE, ""
        label = Clean(f"{'  ' * line.depth}{line.label}")
        rest = wrapped(text, self._width - _LABEL)
        if cells(label) < _LABEL:
            first, *rest = rest
            head = Content.assemble((fitted(label, _LABEL), "$faint"), (first, style))
        else:
            head = Content.styled(shortened(label, self._width), "$faint")
        return [head, *(Content.assemble(" " * _LABEL, (each, style)) for each in rest)]
