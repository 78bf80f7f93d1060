"""The handover report on the last hours, over the dashboard: read from the history, shown, and written to a file."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.binding import Binding, BindingType
from textual.widgets import Static

from envwatch.model.clock import WallMs
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS
from envwatch.past.history import HistoryError
from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.screens.plain_text import PlainText
from envwatch.tui.screens.row_actions import RowActions
from envwatch.tui.widgets.footer import KeyFooter
from envwatch.tui.widgets.pager import Pager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from textual.app import ComposeResult

    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.past.history import Past
    from envwatch.tui.arguments import Inputs
    from envwatch.tui.state import MonitorState

NO_HISTORY: Final = "a report needs the history, which is off (history = false): e has the events since the start"
_NO_REPORT: Final = "esc goes back; e has the events since the start. `envwatch doctor` looks at the history."
_READING: Final = "reading the history"
_HOURS: Final = (1, 4, 8, 12, 24)
_SHIFT: Final = 8
"""The hours under the cursor of the menu: the default of `envwatch report`."""


class HoursMenu(Menu):
    """Asks for the hours of the report."""

    def __init__(self) -> None:
        choices = [Choice(str(hours), f"{hours} h") for hours in _HOURS]
        super().__init__("Handover report of the last", choices, str(_SHIFT))


class _Source(NamedTuple):
    """A profile, and what was recorded under it."""

    profile: SafeText
    host: SafeText
    server: SafeText
    past: Past | None
    """None if the history of the profile is off."""


class Handover(NamedTuple):
    """A report that the user wants, and its sources."""

    sources: Sequence[_Source]
    hours: int
    until: WallMs
    """The moment on the screen."""
    made_at: WallMs
    acks: Acks | None
    """The acknowledgements of the present; None at a recorded moment, which has its own."""
    zone: tzinfo | None
    """The zone of the times; None for the local one."""

    @classmethod
    def wanted(cls, inputs: Inputs, state: MonitorState, hours: int, zone: tzinfo | None) -> Handover:
        """Return the sources of the report on the hours before the moment on the screen."""
        replay, sources = inputs.replay, []
        for profile_state in state.monitor.fleet:
            profile = profile_state.profile
            if replay is None:
                name, host = profile_state.profile_name, inputs.targets[profile].host
            else:
                name, host = clean(replay.profile), replay.host
            sources.append(_Source(name, clean(host), profile_state.server, inputs.pasts.get(profile)))
        acks = state.monitor.acks if state.rewound is None else None
        return cls(sources, hours, state.now.wall, state.present.wall, acks, zone)

    @property
    def name(self) -> str:
        """The name of the report in a sentence."""
        return f"report on the last {self.hours} h"

    def read(self) -> tuple[str, str]:
        """Return the report as Markdown, and the profiles without a report, with reasons; either may be empty.

        It reads a disk, so call it in a thread.
        """
        from envwatch.views.report.chat import code, code_text
        from envwatch.views.report.markdown import markdown_of
        from envwatch.views.report.profile_report import recorded_in, report_of
        from envwatch.views.report.values import Report

        since = WallMs(self.until - timedelta(hours=self.hours) / MS)
        reports, lacking = [], dict[SafeText, str]()
        for profile, host, server, past in self.sources:
            if past is None:
                lacking[profile] = "no history is kept of it (history = false)"
                continue
            try:
                recorded = recorded_in(
                    past, since, self.until, profile=profile, host=host, acks=self.acks, server=server
                )
            except HistoryError as error:
                lacking[profile] = f"its history cannot be read: {code_text(clean(str(error)))}"
                continue
            if recorded is None:
                lacking[profile] = "nothing was recorded of it in that time"
            else:
                reports.append(report_of(recorded))
        why = "".join(f"- {code(profile)}: {reason}\n" for profile, reason in lacking.items())
        if not reports:
            return "", why
        report = Report(since=since, until=self.until, made_at=self.made_at, filter=None, profiles=reports)
        return markdown_of(report, self.zone), why and f"\n## Not in this report\n{why}"


class HandoverScreen(PlainText):
    """The text of the report; a key writes it to a file."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("w", "write", "Write to a file", id="handover.write")]

    def __init__(self, handover: Handover, export: Callable[[bytes, str], Path], *, is_ascii: bool) -> None:
        super().__init__("")
        self._handover = handover
        self._export = export
        self._is_ascii = is_ascii
        self._markdown = ""
        """The report; empty until the history is read."""
        self._lack = f"still {_READING}"
        """Why there is nothing to write."""

    def compose(self) -> ComposeResult:
        with Pager(id="plain"):
            yield Static(id="handover", markup=False)
        yield Static(id="handover-answer", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        self.run_worker(self._read())

    def _answer(self, text: str) -> None:
        answer = self.query_one("#handover-answer", Static)
        answer.update(text)
        answer.display = bool(text)

    async def _read(self) -> None:
        name = self._handover.name
        self._answer(f"{_READING} for the {name}")
        report, why = await asyncio.to_thread(self._handover.read)
        self._markdown, self._lack = (report and report + why), "there is no report"
        text = self._markdown or f"There is no {name}:\n{why}\n{_NO_REPORT}"
        self._answer("")
        text = text.encode("ascii", "backslashreplace").decode() if self._is_ascii else text
        self.query_one("#handover", Static).update(text)

    def action_write(self) -> None:
        """Write the report with exact names, also on a terminal that shows only ASCII."""
        if data := self._markdown.encode():
            export = RowActions.ExportRequested(lambda: data, ".md", f"the {self._handover.name}")
            self.run_worker(export.write(self._export, self._answer))
        else:
            self._answer(f"nothing to write: {self._lack}")
