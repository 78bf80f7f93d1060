"""The detail pane: everything that is known of the environment under the cursor, as text that can be selected.

Draws what `facts` says. The part that changes with the time alone is a widget of its own, so that a tick lays out five
lines and not fifty.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envwatch.fleet.event_log import EventLog
from envwatch.fleet.fleets import Fleets
from envwatch.model.text import Clean, cells, fitted, shortened, wrapped
from envwatch.model.times import NOTHING, TimeStyle
from envwatch.tui.glyphs import UNICODE, Glyphs
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
    from collections.abc import Iterable, Iterator, Sequence

    from textual.app import ComposeResult

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.events import Event
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.views.grouping import TableLine

_LABEL = 11
"""Cells of the labels' column."""
_MOST = 50
"""Events of an environment that are shown: more is what the log is for."""
_UNSHOWN = Clean("y copies it: this screen lacks some of its letters")
"""In place of a command that nobody could type from here: it would act on another name."""


_CALM = frozenset({"online", "plain", "gone"})


def _style(name: str) -> str:
    """Return a style by its name in the stylesheet, bold for what is the matter."""
    return f"{'' if name in _CALM else 'bold '}$state-{name}" if name else ""


class DetailPane(Pager):
    """One environment in full."""

    fleets: reactive[Fleets] = reactive(Fleets, init=False)
    acks: reactive[Acks] = reactive(dict, init=False)
    """Problems that are acknowledged."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    view: reactive[View] = reactive(View, init=False)
    """Its baseline is compared with."""
    watched: reactive[TrackedEnvironment | GroupHeader | None] = reactive(None, init=False)
    """What to show: an environment, or a group."""
    event_log: reactive[EventLog] = reactive(EventLog, init=False)
    """All events."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE, init=False)
    glyphs: reactive[Glyphs] = reactive(UNICODE, init=False)

    _pulse_lines = -1

    def compose(self) -> ComposeResult:
        """Return the parts: state and pulse, facts, events, who it is."""
        for part in ("pulse", "facts", "history", "identity"):
            yield Static(id=part, markup=False)

    def watch_watched(self, before: TableLine | None, after: TableLine | None) -> None:
        """Show another environment from its top, or the same one's news where the reader is."""
        if before is None or after is None or before.key != after.key:
            self.action_to_top()
        self.redraw()

    def watch_times(self) -> None:
        """Show instants the other way."""
        self.redraw()

    def watch_view(self, before: View, after: View) -> None:
        """Tell what differs from a newer baseline."""
        if before.baseline is not after.baseline:
            self.redraw()

    def watch_acks(self) -> None:
        """Tell who knows of it."""
        self.redraw()

    def watch_event_log(self) -> None:
        """Show the newest events."""
        self.redraw()

    def watch_now(self) -> None:
        """Let the pulse tick, if anybody sees it."""
        if self.display:
            self._draw_stall()

    def on_resize(self) -> None:
        """Wrap anew."""
        self.redraw()

    def redraw(self) -> None:
        """Lay everything out anew, if anybody sees it."""
        if not self.display or not self.is_mounted or not self.size:
            return  # it is drawn when it gets its size
        self._draw_stall()
        tracked = self.watched
        facts, event_log, identity = Content(""), Content(""), Content("")
        if tracked is not None and not isinstance(tracked, GroupHeader):
            fleet = self.fleets.of(tracked)
            own = self.event_log.of(tracked.key)
            helps = list(remedy_lines(tracked, fleet, self.now)) if self.now is not None else []
            known = [
                *availability_lines(tracked, fleet, own, self._began_at(fleet)),
                *environment_lines(tracked, fleet),
            ]
            facts = self._lines([*helps, *known] if tracked.is_problem else [*known, *helps])
            parts = []
            if changed := list(self._changed(tracked)):
                parts.append(self._part("since the baseline", changed))
            if own:
                parts.append(self._part("events", [*event_lines(own[: -_MOST - 1 : -1], self.times), *_left(own)]))
            event_log = Content("\n").join(parts)
            identity = Content.assemble("\n" if parts else "", self._lines(identity_lines(tracked.environment)))
        self.query_one("#facts", Static).update(facts)
        self.query_one("#history", Static).update(event_log)
        self.query_one("#identity", Static).update(identity)

    def _part(self, title: str, facts: Iterable[DetailLine]) -> Content:
        return Content.assemble("\n", (f"{self.glyphs.rule * 2} {title}\n", "$faint"), self._lines(facts))

    def _changed(self, tracked: TrackedEnvironment) -> Iterator[DetailLine]:
        """Yield what differs from the baseline, each with what it was."""
        baseline = self.view.baseline
        if baseline is None:
            return
        for difference in baseline.differences(tracked.key, self.fleets.tracked(tracked.key)):
            text = f"{difference.before or NOTHING} → {difference.after or NOTHING}"
            yield DetailLine(difference.field, Clean(text), difference.style)

    def _began_at(self, fleet: Fleet) -> float | None:
        """Return since when the events tell all: from the first listing on, or from the oldest event that is kept."""
        began_at = fleet.began_at
        cut_at = self.event_log.cut_at
        return began_at if began_at is None or cut_at is None else max(began_at, cut_at)

    def _draw_stall(self) -> None:
        watched, now = self.watched, self.now
        if watched is None or now is None:
            content = Content("")
        else:
            content = self._group(watched, now) if isinstance(watched, GroupHeader) else self._pulse(watched, now)
        lines = content.plain.count("\n")
        self.query_one("#pulse", Static).update(content, layout=lines != self._pulse_lines)
        self._pulse_lines = lines

    def _pulse(self, tracked: TrackedEnvironment, now: Reading) -> Content:
        """Return what the time alone changes of an environment."""
        fleet = self.fleets.of(tracked)
        state = state_line(tracked, fleet, now)
        total, missed = missed_beats(tracked, fleet, now) or (0, 0)
        glyph = state.label if not self.glyphs.is_ascii else ""
        acked = acknowledgement_lines(tracked, self.acks, fleet.clock.at(now.wall), self.times)
        return Content.assemble(
            self._title(tracked.environment.name),
            (f"{glyph} {state.text}".strip() + "  ", f"bold $state-{state.style}"),
            (self.glyphs.beat * (total - missed), "$state-online"),
            (self.glyphs.missed * missed, _style("late")),
            (f" {missed} missed" if missed else "", _style("late")),
            "\n",
            self._lines((*acked, *ticking_lines(tracked, fleet, now, self.times))),
        )

    def _group(self, group: GroupHeader, now: Reading) -> Content:
        """Return what is to be said of a group."""
        count = f"{len(group)} environment{'' if len(group) == 1 else 's'}\n"
        return Content.assemble(
            self._title(group.title), count, self._lines(group_lines(group, self.fleets, self.acks, now))
        )

    def _title(self, text: Clean) -> Content:
        return Content.styled(
            f"{shortened(text, 2 * self._width, keep='ends', ellipsis=self.glyphs.ellipsis)}\n", "bold"
        )

    @property
    def _width(self) -> int:
        return max(self.scrollable_content_region.width, _LABEL + 12)

    def _lines(self, facts: Iterable[DetailLine]) -> Content:
        return Content("\n").join(chain.from_iterable(map(self._wrapped, facts)))

    def _wrapped(self, fact: DetailLine) -> list[Content]:
        style = _style(fact.style)
        text = fact.text
        if fact.is_command and self.glyphs.is_ascii and not text.isascii():
            text, style = _UNSHOWN, ""
        name = Clean(f"{'  ' * fact.depth}{fact.label}")
        if cells(name) < _LABEL:
            first, *rest = wrapped(text, self._width - _LABEL)
            label = fitted(name, _LABEL)
            head = Content.assemble((label, "$faint"), (first, style))
        else:
            rest = wrapped(text, self._width - _LABEL)
            head = Content.styled(shortened(name, self._width), "$faint")
        return [head, *(Content.assemble(" " * _LABEL, (line, style)) for line in rest)]


def _left(own: Sequence[Event]) -> list[DetailLine]:
    """Return how many events are not shown."""
    return [DetailLine("", Clean(f"{len(own) - _MOST} more before these"))] if len(own) > _MOST else []
