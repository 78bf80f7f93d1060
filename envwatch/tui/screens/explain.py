"""The verdict on one environment and every rule behind it, updated each second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.model.text import Clean, wrapped
from envwatch.model.times import zone_of
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.tui.widgets.pager import Pager
from envwatch.views.explanation import answer, trace

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.views.explanation import Step

_RULE = 17
"""Cells of the column with the rules' names."""


class ExplainScreen(ModalScreen[None]):
    """Every rule that made a verdict."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,E,q,enter", "dismiss", "Close", key_display="esc"),
        HELP,
    ]

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    options: reactive[DisplayOptions] = reactive(DisplayOptions, init=False)

    def __init__(self, key: EnvironmentKey) -> None:
        super().__init__()
        self._key = key

    def compose(self) -> ComposeResult:
        with Pager(id="explain"):
            yield Static(id="trace", markup=False)
        yield KeyFooter()

    def watch_state(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        """Wrap the text again; the first size comes after mounting."""
        self._draw()

    def _draw(self) -> None:
        if self.is_mounted:
            self.query_one("#trace", Static).update(self._explanation())

    def _explanation(self) -> Content:
        fleets = self.state.fleets
        tracked = fleets.tracked(self._key)
        if tracked is None:
            return Content("This environment has left the fleet: nothing is known of it any more.")
        lines = [
            Content.assemble((tracked.environment.name, "bold"), "  why is it ", (tracked.presence.value, "bold"), "?"),
        ]
        arguments = (tracked, fleets.of(tracked), self.state.now, zone_of(self.options.times))
        for steps in (answer(*arguments), trace(*arguments)):
            lines.append(Content(""))
            for step in steps:
                lines += self._step_lines(step)
        return Content("\n").join(lines)

    def _step_lines(self, step: Step) -> list[Content]:
        width = max(self.size.width - _RULE - 4, 20)
        first, *rest = wrapped(step.inputs, width)
        result = wrapped(Clean(f"→ {step.result}"), width)
        style = "bold $state-offline" if step.is_against else "$state-online"
        return [
            Content.assemble((f"{step.rule:<{_RULE}}", "$faint"), first),
            *(Content(" " * _RULE + line) for line in rest),
            *(Content.assemble(" " * _RULE, (line, style)) for line in result),
        ]
