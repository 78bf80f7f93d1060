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

from envwatch.facts import (
    Fact,
    ack_facts,
    availability_facts,
    beats,
    environment_facts,
    event_facts,
    heading,
    identity_facts,
    pulse_facts,
    remedy_facts,
)
from envwatch.fleets import Fleets
from envwatch.history import History
from envwatch.phrases import NOTHING, TimeStyle
from envwatch.sections import Heading
from envwatch.summary import group_facts
from envwatch.text import Clean, cells, fitted, shortened, wrapped
from envwatch.tui.marks import UNICODE, Marks
from envwatch.tui.pager import Pager
from envwatch.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from textual.app import ComposeResult

    from envwatch.acknowledged import Acks
    from envwatch.clock import Reading
    from envwatch.events import Event
    from envwatch.fleet import Fleet
    from envwatch.sections import Line
    from envwatch.watch import Watch

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
    watched: reactive[Watch | Heading | None] = reactive(None, init=False)
    """What to show: an environment, or a group."""
    history: reactive[History] = reactive(History, init=False)
    """All events."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE, init=False)
    marks: reactive[Marks] = reactive(UNICODE, init=False)

    _pulse_lines = -1

    def compose(self) -> ComposeResult:
        """Return the parts: state and pulse, facts, events, who it is."""
        for part in ("pulse", "facts", "history", "identity"):
            yield Static(id=part, markup=False)

    def watch_watched(self, before: Line | None, after: Line | None) -> None:
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

    def watch_history(self) -> None:
        """Show the newest events."""
        self.redraw()

    def watch_now(self) -> None:
        """Let the pulse tick, if anybody sees it."""
        if self.display:
            self._draw_pulse()

    def on_resize(self) -> None:
        """Wrap anew."""
        self.redraw()

    def redraw(self) -> None:
        """Lay everything out anew, if anybody sees it."""
        if not self.display or not self.is_mounted or not self.size:
            return  # it is drawn when it gets its size
        self._draw_pulse()
        watch = self.watched
        facts, history, identity = Content(""), Content(""), Content("")
        if watch is not None and not isinstance(watch, Heading):
            fleet = self.fleets.of(watch)
            own = self.history.of(watch.key)
            helps = list(remedy_facts(watch, fleet, self.now)) if self.now is not None else []
            known = [*availability_facts(watch, fleet, own, self._began_at(fleet)), *environment_facts(watch, fleet)]
            facts = self._lines([*helps, *known] if watch.is_problem else [*known, *helps])
            parts = []
            if changed := list(self._changed(watch)):
                parts.append(self._part("since the baseline", changed))
            if own:
                parts.append(self._part("events", [*event_facts(own[: -_MOST - 1 : -1], self.times), *_left(own)]))
            history = Content("\n").join(parts)
            identity = Content.assemble("\n" if parts else "", self._lines(identity_facts(watch.environment)))
        self.query_one("#facts", Static).update(facts)
        self.query_one("#history", Static).update(history)
        self.query_one("#identity", Static).update(identity)

    def _part(self, title: str, facts: Iterable[Fact]) -> Content:
        return Content.assemble("\n", (f"{self.marks.rule * 2} {title}\n", "$faint"), self._lines(facts))

    def _changed(self, watch: Watch) -> Iterator[Fact]:
        """Yield what differs from the baseline, each with what it was."""
        baseline = self.view.baseline
        if baseline is None:
            return
        for difference in baseline.differences(watch.key, self.fleets.watch(watch.key)):
            text = f"{difference.before or NOTHING} → {difference.after or NOTHING}"
            yield Fact(difference.field, Clean(text), difference.style)

    def _began_at(self, fleet: Fleet) -> float | None:
        """Return since when the events tell all: from the first listing on, or from the oldest event that is kept."""
        began_at = fleet.began_at
        cut_at = self.history.cut_at
        return began_at if began_at is None or cut_at is None else max(began_at, cut_at)

    def _draw_pulse(self) -> None:
        watched, now = self.watched, self.now
        if watched is None or now is None:
            content = Content("")
        else:
            content = self._group(watched, now) if isinstance(watched, Heading) else self._pulse(watched, now)
        lines = content.plain.count("\n")
        self.query_one("#pulse", Static).update(content, layout=lines != self._pulse_lines)
        self._pulse_lines = lines

    def _pulse(self, watch: Watch, now: Reading) -> Content:
        """Return what the time alone changes of an environment."""
        fleet = self.fleets.of(watch)
        state = heading(watch, fleet, now)
        total, missed = beats(watch, fleet, now) or (0, 0)
        glyph = state.label if not self.marks.is_ascii else ""
        acked = ack_facts(watch, self.acks, fleet.clock.at(now.wall), self.times)
        return Content.assemble(
            self._title(watch.environment.name),
            (f"{glyph} {state.text}".strip() + "  ", f"bold $state-{state.style}"),
            (self.marks.beat * (total - missed), "$state-online"),
            (self.marks.missed * missed, _style("late")),
            (f" {missed} missed" if missed else "", _style("late")),
            "\n",
            self._lines((*acked, *pulse_facts(watch, fleet, now, self.times))),
        )

    def _group(self, group: Heading, now: Reading) -> Content:
        """Return what is to be said of a group."""
        count = f"{len(group)} environment{'' if len(group) == 1 else 's'}\n"
        return Content.assemble(
            self._title(group.title), count, self._lines(group_facts(group, self.fleets, self.acks, now))
        )

    def _title(self, text: Clean) -> Content:
        return Content.styled(
            f"{shortened(text, 2 * self._width, keep='ends', ellipsis=self.marks.ellipsis)}\n", "bold"
        )

    @property
    def _width(self) -> int:
        return max(self.scrollable_content_region.width, _LABEL + 12)

    def _lines(self, facts: Iterable[Fact]) -> Content:
        return Content("\n").join(chain.from_iterable(map(self._wrapped, facts)))

    def _wrapped(self, fact: Fact) -> list[Content]:
        style = _style(fact.style)
        text = fact.text
        if fact.is_command and self.marks.is_ascii and not text.isascii():
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


def _left(own: Sequence[Event]) -> list[Fact]:
    """Return how many events are not shown."""
    return [Fact("", Clean(f"{len(own) - _MOST} more before these"))] if len(own) > _MOST else []
