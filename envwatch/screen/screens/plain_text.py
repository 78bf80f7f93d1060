"""Full-screen texts for the terminal's mouse selection, because some terminals ignore OSC 52."""

from __future__ import annotations

import asyncio
from datetime import timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.history.past import HistoryError
from envwatch.model.clock import WallMs
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS
from envwatch.screen.screens.table_actions import TableActions
from envwatch.screen.state import Choice, DisplayOptions, MonitorState
from envwatch.screen.widgets.detail_pane import Pager
from envwatch.screen.widgets.footer import HELP, KeyFooter
from envwatch.screen.widgets.problem_block import PresentLines

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from envwatch.screen.arguments import Inputs
    from envwatch.screen.terminal.app import TerminalApp


NO_HISTORY: Final = "a report needs the history: set history = true; e has the events since the start"
_NO_REPORT: Final = "esc goes back; e has the events since the start. `envwatch doctor` checks the history."
_READING: Final = "reading the history"
HOURS: Final = [Choice(str(hours), f"{hours} h") for hours in (1, 4, 8, 12, 24)]
SHIFT: Final = "8"


class PlainText(ModalScreen[None]):
    """A text on a full screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", key_display="esc", id="plain.close"),
        HELP,
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = Static(text, markup=False)

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Pager(id="plain"):
            yield self._text
        yield KeyFooter()

    def on_mount(self) -> None:
        cast("TerminalApp", self.app).lend_mouse(is_lent=True)

    def on_unmount(self) -> None:
        cast("TerminalApp", self.app).lend_mouse(is_lent=False)


def read_report(inputs: Inputs, state: MonitorState, hours: int, zone: tzinfo | None) -> tuple[str, str]:
    """Return the report on the hours before the visible moment, and reasons for missing profiles.

    Both texts are Markdown and may be empty. The function is slow: call in a thread.
    """
    from envwatch.views.report.document import code, code_text, render_markdown
    from envwatch.views.report.period import recorded_in
    from envwatch.views.report.sections import build_report

    replay, until = inputs.replay, state.now.wall
    since = WallMs(until - timedelta(hours=hours) / MS)
    acks = state.monitor.acks if state.rewound is None else None
    reports, lacking = [], dict[SafeText, str]()
    for profile_state in state.monitor.fleet:
        if replay is None:
            profile, host = profile_state.profile_name, inputs.watch.targets[profile_state.profile].host
        else:
            profile, host = clean(replay.profile), replay.host
        past = inputs.pasts.get(profile_state.profile)
        if past is None:
            lacking[profile] = "no history is kept of it (history = false)"
            continue
        try:
            recorded = recorded_in(
                past, since, until, profile=profile, host=clean(host), acks=acks, server=profile_state.server
            )
        except HistoryError as error:
            lacking[profile] = f"its history cannot be read: {code_text(clean(str(error)))}"
            continue
        if recorded is None:
            lacking[profile] = "nothing was recorded of it in that time"
        else:
            reports.append(build_report(recorded, zone))
    why = "".join(f"- {code(profile)}: {reason}\n" for profile, reason in lacking.items())
    if not reports:
        return "", why
    return render_markdown(reports), why and f"\n## Not in this report\n{why}"


class HandoverScreen(PlainText):
    """The report, and a key that writes a file."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("w", "write", "Write to a file", id="handover.write")]

    def __init__(self, hours: int, inputs: Inputs, state: MonitorState, options: DisplayOptions) -> None:
        super().__init__("")
        self._name = f"report on the last {hours} h"
        self._read_report = partial(read_report, inputs, state, hours, options.zone)
        self._export = inputs.export
        self._is_ascii = options.glyphs.is_ascii
        self._markdown = ""
        self._lack = f"still {_READING}"
        self._last_answer = Static(id="handover-answer", markup=False)

    def on_mount(self) -> None:
        self.mount(self._last_answer, before=self.query_one(KeyFooter))
        self.run_worker(self._read())

    def _answer(self, text: str) -> None:
        self._last_answer.update(text)
        self._last_answer.display = bool(text)

    async def _read(self) -> None:
        self._answer(f"{_READING} for the {self._name}")
        report, why = await asyncio.to_thread(self._read_report)
        self._markdown, self._lack = (report and report + why), "there is no report"
        text = self._markdown or f"There is no {self._name}:\n{why}\n{_NO_REPORT}"
        self._answer("")
        text = text.encode("ascii", "backslashreplace").decode() if self._is_ascii else text
        self._text.update(text)

    def action_write(self) -> None:
        if data := self._markdown.encode():
            export = TableActions.ExportRequested(lambda: data, ".md", f"the {self._name}")
            self.run_worker(export.write(self._export, self._answer))
        else:
            self._answer(f"nothing to write: {self._lack}")
