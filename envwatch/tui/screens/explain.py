"""The verdict on one environment and the rules behind it, on a screen of its own that keeps up with the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.fleet.fleets import Fleets
from envwatch.model.text import Clean, wrapped
from envwatch.model.times import TimeStyle, zone_of
from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.tui.widgets.pager import Pager
from envwatch.views.explanation import answer, trace

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import Reading
    from envwatch.views.explanation import Step

_RULE = 17
"""Cells of the rules' column."""


class ExplainScreen(ModalScreen[None]):
    """Every rule that made a verdict."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,E,q,enter", "dismiss", "Close", key_display="esc"),
        HELP,
    ]

    fleets: reactive[Fleets] = reactive(Fleets, init=False)
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE, init=False)

    def __init__(self, key: EnvironmentKey) -> None:
        super().__init__()
        self._key = key

    def compose(self) -> ComposeResult:
        """Return the trace and its keys."""
        with Pager(id="explain"):
            yield Static(id="trace", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Draw it for the first time."""
        self._draw()

    def watch_now(self) -> None:
        """Follow the clock."""
        self._draw()

    def on_resize(self) -> None:
        """Wrap anew."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted or self.now is None:
            return
        tracked = self.fleets.tracked(self._key)
        if tracked is None:
            gone = "This environment has left the fleet: nothing is known of it any more."
            self.query_one("#trace", Static).update(gone)
            return
        lines = [
            Content.assemble((tracked.environment.name, "bold"), "  why is it ", (tracked.presence.value, "bold"), "?"),
        ]
        known = (tracked, self.fleets.of(tracked), self.now, zone_of(self.times))
        for steps in (answer(*known), trace(*known)):
            lines.append(Content(""))
            for step in steps:
                lines += self._lines(step)
        self.query_one("#trace", Static).update(Content("\n").join(lines))

    def _lines(self, step: Step) -> list[Content]:
        width = max(self.size.width - _RULE - 4, 20)
        first, *rest = wrapped(step.inputs, width)
        result = wrapped(Clean(f"→ {step.result}"), width)
        style = "bold $state-offline" if step.is_against else "$state-online"
        return [
            Content.assemble((f"{step.rule:<{_RULE}}", "$faint"), first),
            *(Content(" " * _RULE + line) for line in rest),
            *(Content.assemble(" " * _RULE, (line, style)) for line in result),
        ]
