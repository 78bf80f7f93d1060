"""The keys that act on rows: copy, export, acknowledge, silence."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.fleet.alerting.acknowledgements import LONGEST_NOTE, Ack, ack_of, note_of
from envwatch.model.text import EMPTY, SafeText, clean, counted, shortened
from envwatch.model.times import long_age, zone_of
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.tui.terminal.escape_codes import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import Acks, ServerKey
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import WallMs
    from envwatch.tui.screens.prompt import PromptResult
    from envwatch.tui.screens.table_screen import Target
    from envwatch.tui.silence_control import SilenceControl
    from envwatch.tui.state import MonitorState
    from envwatch.views.output.environment_list import EnvironmentList
    from envwatch.views.pane.details import Copy


_PREVIEW: Final = 60
"""Cells of a text beside its name in the menu."""

_NOTE_HINT: Final = "a note for the next reader; may be empty"

_LASTS: Final[Mapping[str, timedelta]] = {
    long_age(lasts): lasts
    for lasts in (timedelta(minutes=30), *(timedelta(hours=hours) for hours in (1, 2, 4, 8, 24, 72, 168)))
}
"""For how long rows can be silenced."""

_END: Final = "end"

_FONTS: Final = re.compile(r"@font-face \{[^}]*\}\s*")
"""In an SVG: would make every viewer fetch fonts from a third party's host."""


class RowActions(TableScreen):
    """The keys that copy, export, acknowledge and silence."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "acknowledge", "Acknowledge a problem, or change that", id="row.acknowledge"),
        Binding("c", "copy_name", "Copy the name", show=False, id="row.copy_name"),
        Binding("y", "copy_menu", "Copy …", id="row.copy"),
        Binding("ctrl+s", "export", "Export what is shown …", show=False, id="app.export"),
        Binding("M", "silence", "Silence for a time, or end that", show=False, id="row.silence"),
        Binding("space", "mark_row", "Mark for the keys that act on rows, or unmark", show=False, id="row.mark"),
    ]

    @dataclass
    class Acknowledged(Message):
        """Acknowledgements changed, by environment id; None for one that is withdrawn."""

        changes: Mapping[ServerKey, Ack | None]

    @dataclass
    class Silenced(Message):
        """The user wants some environments to be quiet for a time."""

        keys: Sequence[EnvironmentKey]
        lasts: timedelta
        note: SafeText

        def change(self, control: SilenceControl, monitor: Monitor, wall: WallMs) -> tuple[Monitor, str]:
            """Return the monitor with the silence, and a line for the user."""
            return control.silence(monitor, self.keys, wall, self.lasts, self.note)

    @dataclass
    class Unsilenced(Message):
        """The user ends silences, by their ids."""

        ids: Sequence[SafeText]

        def change(self, control: SilenceControl, monitor: Monitor, _: WallMs) -> tuple[Monitor, str]:
            """Return the monitor without the silences, and a line for the user."""
            return control.end(monitor, self.ids)

    @dataclass
    class ExportRequested(Message):
        """The user wants a file of what is shown."""

        make: Callable[[], bytes]
        """Returns the file's content; slow for a large fleet, safe in any thread."""
        suffix: str
        what: str
        """What is exported, for the news bar."""

        async def write(self, export: Callable[[bytes, str], Path], answer: Callable[[str], None]) -> None:
            """Write the file in a thread, and say what becomes of it."""
            answer(f"exporting {self.what}")
            try:
                path = await asyncio.to_thread(lambda: export(self.make(), self.suffix))
            except OSError as error:
                answer(f"cannot export here: {error.strerror}; start envwatch in a folder where you may write")
            else:
                answer(f"exported to {path.name}: {self.what}")

    # Mark.

    def action_mark_row(self) -> None:
        """Mark the environments under the cursor, or unmark them if all are marked; go one line down."""
        under_cursor = self.under_cursor
        if not under_cursor.environments:
            self.show_message(f"nothing to mark: {under_cursor.name}")
            return
        keys = {tracked.key for tracked in under_cursor.environments}
        self.marked = self.marked - keys if keys <= self.marked else self.marked | keys
        self.table.action_move(1)
        count = len(self.marked)
        if not count:
            self.show_message("none marked")
            return
        act = "a, M, y and your commands act on" if self.state.rewound is None else "c and y copy"
        self.show_message(f"{count:,} marked: {act} {'it' if count == 1 else 'them'}; esc unmarks")

    # Copy.

    def action_copy_name(self) -> None:
        if (target := self.target).environments:
            self._copy(_names_of(target))
        else:
            self.show_message(f"nothing to copy: {target.name}")

    def action_copy_menu(self) -> None:
        self.copy(self.target)

    def copy(self, target: Target) -> None:
        """Offer the texts of a target: all texts of one environment; names, ids and JSON of several."""
        if not target.environments:
            self.show_message(f"nothing to copy: {target.name}")
            return
        from envwatch.tui.screens.menu import Choice, CopyMenu
        from envwatch.views.output.formats import json_of, row_json_of
        from envwatch.views.pane.details import COPY_LETTERS, Copy, copies
        from envwatch.views.report.chat import incident_sentence

        state, environments = self.state, self._environment_list(target.environments, self.state)
        sentence = incident_sentence(
            target.environments,
            state.monitor,
            state.now,
            zone_of(self.options.times),
            shared=target.shared,
            is_past=state.rewound is not None,
        )
        if len(target.environments) == 1:
            (only,) = target.environments
            own = [(COPY_LETTERS[each.label], each) for each in copies(only, state.monitor.fleet.for_environment(only))]
            as_json = Copy("JSON", row_json_of(environments))
        else:
            ids = "\n".join(tracked.environment.id for tracked in target.environments)
            own = [
                (COPY_LETTERS["name"], _names_of(target)),
                (COPY_LETTERS["environment id"], Copy("environment ids", ids)),
            ]
            as_json = Copy("JSON", b"".join(json_of(environments)).decode())
        added = (Copy("a sentence for a chat", sentence), as_json)
        texts = dict([*own, *((COPY_LETTERS[each.label], each) for each in added)])

        def copy(choice: tuple[str, bool] | None) -> None:
            if choice is None:
                return
            letter, is_plain = choice
            if is_plain:
                from envwatch.tui.screens.plain_text import PlainText

                self.app.push_screen(PlainText(self._legible(texts[letter].text)))
            else:
                self._copy(texts[letter])

        choices = [
            Choice(letter, f"{letter}  {text.label}", shortened(clean(self._legible(text.gist)), _PREVIEW))
            for letter, text in texts.items()
        ]
        self.app.push_screen(CopyMenu(f"Copy from {target.name}", choices), copy)

    def _environment_list(self, rows: Sequence[TrackedEnvironment], state: MonitorState) -> EnvironmentList:
        from envwatch.views.output.environment_list import environment_list_of_rows

        return environment_list_of_rows(rows, state.monitor.fleet, self.view, state.monitor.acks, state.now)

    def _legible(self, text: str) -> str:
        r"""Return a text to be read letter by letter: in ASCII where needed, as `\u6771`."""
        return text.encode("ascii", "backslashreplace").decode() if self.options.glyphs.is_ascii else text

    def _copy(self, copy: Copy) -> None:
        self.app.copy_to_clipboard(copy.text)
        cut = f" (the first {LONGEST:,} bytes)" if len(copy.text.encode()) > LONGEST else ""
        self.show_message(f"sent to the clipboard{cut}{self.as_of}: {copy.gist}")

    # Export.

    def action_export(self) -> None:
        from envwatch.tui.screens.menu import Choice, Menu
        from envwatch.views.output.formats import csv_of, json_of

        rows, state = self.table.matching, self.state
        what = f"{counted(len(rows), 'environment')}{self.as_of}"
        choices = [
            Choice("json", "JSON", f"{what} with every field"),
            Choice("csv", "CSV", f"{what} for a spreadsheet"),
            Choice("svg", "SVG", "a picture of the screen"),
        ]

        def export(suffix: str | None) -> None:
            if suffix == "svg":
                self.call_after_refresh(self._export_picture)
            elif suffix is not None:
                environments = self._environment_list(rows, state)
                pieces = json_of(environments) if suffix == "json" else csv_of(environments)
                self.post_message(self.ExportRequested(partial(b"".join, pieces), f".{suffix}", what))

        self.app.push_screen(Menu("Export what is shown", choices), export)

    def _export_picture(self) -> None:
        picture = _FONTS.sub("", self.app.export_screenshot(title="envwatch")).encode()
        self.post_message(self.ExportRequested(lambda: picture, ".svg", f"a picture of the screen{self.as_of}"))

    # Acknowledge.

    def action_acknowledge(self) -> None:
        self.table.pin_cursor()
        self.acknowledge(self.target)

    def acknowledge(self, target: Target) -> None:
        """Ask for a note, and acknowledge the problems of a target; change the acknowledgements if none is left."""
        if not self.does_act():
            return
        if problems := [each for each in target.environments if self._is_open(each)]:
            self._ask_for_note(target.part(problems), target)
        elif acknowledged := [each for each in target.environments if self.state.monitor.is_acked(each)]:
            self._ask_for_change(target.part(acknowledged), target)
        elif self._is_up_again(target):
            self.show_message(f"nothing to acknowledge: {target.is_or_are} up again")
        else:
            self.show_message(f"nothing to acknowledge: {target.name}{', no problem' if target.environments else ''}")

    def _is_open(self, tracked: TrackedEnvironment) -> bool:
        """Whether it is not well, and not acknowledged."""
        return self.is_unwell(tracked) and not self.state.monitor.is_acked(tracked)

    def _is_up_again(self, target: Target) -> bool:
        """Whether a loss was chosen, and is over."""
        is_up = all(tracked.verdict.is_up and not self.is_unwell(tracked) for tracked in target.environments)
        return target.was_lost and is_up and bool(target.environments)

    def _ask_for_note(self, problems: Target, whole: Target) -> None:
        from envwatch.tui.screens.prompt import Prompt
        from envwatch.views.report.chat import acknowledged_text

        def acknowledge(answer: PromptResult | None) -> None:
            if answer is None or (still := self.newest(problems)) is None:
                return
            fleet, now, note = self.state.monitor.fleet, self.state.now, note_of(answer.text)
            acks = {
                (fleet.server_of(each.profile), each.environment.id): ack_of(
                    each, fleet.for_environment(each).clock.server_time(now.wall), note
                )
                for each in still.environments
            }
            keys = {each.key for each in still.environments}
            self.post_message(self.Acknowledged(acks))
            self.show_message(acknowledged_text(still.name, keys, self.state.monitor.with_acks(acks), now))
            self.unmark(whole)

        recovery = "it recovers" if len(problems.environments) == 1 else "they recover"
        question = f"Acknowledge {problems.name} on this machine, until {recovery}"
        self.app.push_screen(Prompt(question, _NOTE_HINT, LONGEST_NOTE), acknowledge)

    def _ask_for_change(self, acknowledged: Target, whole: Target) -> None:
        from envwatch.tui.screens.prompt import Prompt

        notes = {ack.note for ack in self._acks_of(acknowledged.environments).values()}
        note = notes.pop() if len(notes) == 1 else EMPTY

        def change(answer: PromptResult | None) -> None:
            still = acknowledged.part([each for each in acknowledged.environments if self.state.monitor.is_acked(each)])
            acks = self._acks_of(still.environments)
            if answer is None:
                return
            if not acks:
                self.show_message(f"recovered meanwhile: {acknowledged.name}")
                return
            if answer.withdraws:
                self.post_message(self.Acknowledged(dict.fromkeys(acks)))
                self.show_message(f"no longer acknowledged: {still.name}")
            elif (new_note := note_of(answer.text)) == note:
                self.show_message(f"still acknowledged: {still.name}")
            else:
                self.post_message(self.Acknowledged({key: replace(ack, note=new_note) for key, ack in acks.items()}))
                self.show_message(f"acknowledged with another note: {still.name}")
            self.unmark(whole)

        hint = "another note for all of them; empty keeps what each has" if notes else "no note"
        question = f"{acknowledged.name}, acknowledged already: another note?"
        self.app.push_screen(Prompt(question, hint, LONGEST_NOTE, note, may_withdraw=True), change)

    def _acks_of(self, environments: Iterable[TrackedEnvironment]) -> Acks:
        return {key: ack for each in environments for key, ack in self.state.monitor.acks_by_key(each).items()}

    # Silence.

    def action_silence(self) -> None:
        self.table.pin_cursor()
        self.silence(self.target)

    def silence(self, target: Target) -> None:
        """Ask for how long and why, and silence a target; offer to end its silences."""
        if not self.does_act():
            return
        if not target.environments:
            self.show_message(f"nothing to silence: {target.name}")
            return
        if self._is_up_again(target):
            self.show_message(f"nothing to silence: {target.is_or_are} up again")
            return
        from envwatch.tui.screens.menu import Choice, Menu

        monitor, now = self.state.monitor, self.state.now
        found = [monitor.silence_of(row, now) for row in target.environments]
        silences = {silence.id for silence in found if silence is not None}
        choices = [Choice(lasts, lasts) for lasts in _LASTS]
        if silences:
            verb = "holds" if len(silences) == 1 else "hold"
            choices.insert(0, Choice(_END, "end", f"{counted(len(silences), 'silence')} that now {verb}"))

        def choose(choice: str | None) -> None:
            if choice == _END:
                self.post_message(self.Unsilenced(sorted(silences)))
                self.unmark(target)
            elif choice is not None:
                self._ask_why(target, _LASTS[choice])

        self.app.push_screen(Menu(f"Silence {target.name} for", choices), choose)

    def _ask_why(self, target: Target, lasts: timedelta) -> None:
        from envwatch.tui.screens.prompt import Prompt

        def silence(answer: PromptResult | None) -> None:
            if answer is not None and (still := self.newest(target)) is not None:
                keys = [row.key for row in still.environments]
                self.post_message(self.Silenced(keys, lasts, note_of(answer.text)))
                self.unmark(target)

        question = f"Silence {target.name} for {long_age(lasts)}: why?"
        self.app.push_screen(Prompt(question, _NOTE_HINT, LONGEST_NOTE), silence)


def _names_of(target: Target) -> Copy:
    """Return the names of a target, one a line."""
    from envwatch.views.pane.details import Copy

    label = "name" if len(target.environments) == 1 else "names"
    return Copy(label, "\n".join(tracked.environment.label for tracked in target.environments))
