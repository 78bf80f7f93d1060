"""The keys that take something from the table or say something of it: copy, export, acknowledge."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.fleet.acknowledgements import LONGEST_NOTE, Ack, ack_of, note_of
from envwatch.model.text import Clean, shortened
from envwatch.tui.screens.menu import Choice, CopyMenu, Menu
from envwatch.tui.screens.plain_text import PlainText
from envwatch.tui.screens.prompt import Prompt, PromptResult
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.tui.terminal.escape_codes import LONGEST
from envwatch.views.details import Copy, copies
from envwatch.views.output import csv_of, environment_list_of_rows, json_of, row_json_of
from envwatch.views.table_view import is_new_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment

_NOTE: Final = 60
"""Cells of a text beside its name in the menu."""


class RowActions(TableScreen):
    """What is done with a row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "acknowledge", "Acknowledge a problem, or change that", show=False, id="row.acknowledge"),
        Binding("c", "copy_name", "Copy the name", show=False, id="row.copy_name"),
        Binding("y", "copy_menu", "Copy …", show=False, id="row.copy"),
        Binding("ctrl+s", "export", "Export what is shown …", show=False, id="app.export"),
    ]

    class Acknowledged(Message):
        """Problems are acknowledged by the environments' ids, or, with None, no longer."""

        def __init__(self, changes: Mapping[Clean, Ack | None]) -> None:
            super().__init__()
            self.changes = changes

    class ExportWanted(Message):
        """The user wants a file of what is shown."""

        def __init__(self, make: Callable[[], bytes], suffix: str, what: str) -> None:
            super().__init__()
            self.make = make
            """Makes what stands in it; takes long for a large fleet, and may be called in any thread."""
            self.suffix = suffix
            self.what = what

    def action_copy_name(self) -> None:
        """Send to the terminal's clipboard what is selected with the mouse, else the name."""
        if selected := self.get_selected_text():
            self._copy(Copy("selection", Clean(selected)))
            self.clear_selection()
        elif (tracked := self.pointed_at()) is not None:
            self._copy(Copy("name", tracked.environment.name))

    def action_copy_menu(self) -> None:
        """Choose what to send to the terminal's clipboard."""
        if (tracked := self.pointed_at()) is None or self.now is None:
            return
        told = environment_list_of_rows([tracked], self.fleets, self.view, self.acks, self.now)
        texts = {text.label: text for text in (*copies(tracked.environment), Copy("JSON", row_json_of(told)))}

        def copy(chosen: tuple[str, bool] | None) -> None:
            if chosen is None:
                return
            label, is_plain = chosen
            if is_plain:
                self.app.push_screen(PlainText(self._legible(texts[label].text)))
            else:
                self._copy(texts[label])

        gists = ((text.label, shortened(self._legible(text.gist), _NOTE)) for text in texts.values())
        choices = [Choice(label, label, gist) for label, gist in gists]
        self.app.push_screen(CopyMenu("Copy", choices), copy)

    def _legible(self, text: Clean) -> Clean:
        r"""Return a text that is there to be read letter by letter: where others cannot be shown, as `\u6771`."""
        return Clean(text.encode("ascii", "backslashreplace").decode()) if self.table.glyphs.is_ascii else text

    def _copy(self, copy: Copy) -> None:
        self.app.copy_to_clipboard(copy.text)
        cut = f" (the first {LONGEST:,} bytes)" if len(copy.text.encode()) > LONGEST else ""
        self.show_message(f"sent to the clipboard{cut}: {copy.gist}")

    def action_export(self) -> None:
        """Choose a format, and write what is shown to a file."""
        rows, now = self.table.rows, self.now
        if now is None:
            return
        what = f"{len(rows)} environment{'' if len(rows) == 1 else 's'}"
        choices = [
            Choice("json", "JSON", f"{what} with every field"),
            Choice("csv", "CSV", f"{what} for a spreadsheet"),
            Choice("svg", "SVG", "a picture of the screen"),
        ]

        def export(kind: str | None) -> None:
            if kind == "svg":
                self.call_after_refresh(self._export_picture)
            elif kind is not None:
                told = environment_list_of_rows(rows, self.fleets, self.view, self.acks, now)
                pieces = json_of(told) if kind == "json" else csv_of(told)
                self.post_message(self.ExportWanted(partial(b"".join, pieces), f".{kind}", what))

        self.app.push_screen(Menu("Export what is shown", choices), export)

    def _export_picture(self) -> None:
        picture = _FONTS.sub("", self.app.export_screenshot(title="envwatch")).encode()
        self.post_message(self.ExportWanted(lambda: picture, ".svg", "a picture of the screen"))

    def action_acknowledge(self) -> None:
        """Ask for a note and acknowledge the problem under the cursor, or all of a group; if it was, ask what to do."""
        self.table.hold()
        heading, tracked = self.table.heading, self.table.cursor
        environments: Sequence[TrackedEnvironment] = (
            heading.environments if heading is not None else [tracked] if tracked is not None else []
        )
        problems = [each for each in environments if is_new_problem(each, self.acks)]
        known = [each for each in environments if each.environment.id in self.acks]
        if problems:
            self._ask_for_a_note(problems)
        elif known:
            self._ask_what_becomes_of(known)
        else:
            self.show_message(
                f"nothing to acknowledge: {_named(environments)}, no problem"
                if environments
                else "nothing to acknowledge"
            )

    def _ask_for_a_note(self, problems: Sequence[TrackedEnvironment]) -> None:
        def acknowledge(answer: PromptResult | None) -> None:
            if answer is None or self.now is None:
                return
            fleets, wall, note = self.fleets, self.now.wall, note_of(answer.text)
            newest = [fleets.tracked(tracked.key) or tracked for tracked in problems]
            meant = [tracked for tracked in newest if tracked.is_problem]
            if not meant:
                self.show_message(f"recovered meanwhile: {_named(problems)}")
                return
            self.post_message(
                self.Acknowledged(
                    {
                        tracked.environment.id: ack_of(tracked, fleets.of(tracked).clock.at(wall), note)
                        for tracked in meant
                    }
                )
            )
            self.show_message(f"acknowledged until it recovers: {_named(meant)}")

        question = f"Acknowledge {_named(problems)}, until it recovers"
        self.app.push_screen(Prompt(question, "a note for whoever looks next; may be empty", LONGEST_NOTE), acknowledge)

    def _ask_what_becomes_of(self, known: Sequence[TrackedEnvironment]) -> None:
        notes = {self.acks[tracked.environment.id].note for tracked in known}
        note = notes.pop() if len(notes) == 1 else Clean("")

        def change(answer: PromptResult | None) -> None:
            ids = [tracked.environment.id for tracked in known if tracked.environment.id in self.acks]
            if answer is None:
                return
            if not ids:
                self.show_message(f"recovered meanwhile: {_named(known)}")
            elif answer.withdraws:
                self.post_message(self.Acknowledged(dict.fromkeys(ids)))
                self.show_message(f"no longer acknowledged: {_named(known)}")
            elif (typed := note_of(answer.text)) == note:
                self.show_message(f"still acknowledged: {_named(known)}")
            else:
                self.post_message(self.Acknowledged({id_: replace(self.acks[id_], note=typed) for id_ in ids}))
                self.show_message(f"acknowledged with another note: {_named(known)}")

        question = f"{_named(known)}, acknowledged already: another note?"
        hint = "another note for all of them; empty keeps what each has" if notes else "no note"
        self.app.push_screen(Prompt(question, hint, LONGEST_NOTE, note, may_withdraw=True), change)


_FONTS: Final = re.compile(r"@font-face \{[^}]*\}\s*")
"""What has whoever looks at a picture fetch its fonts from a host of somebody else's."""


def _named(environments: Sequence[TrackedEnvironment]) -> str:
    """Return environments for people: the one by its name, several by how many they are."""
    return environments[0].environment.name if len(environments) == 1 else f"{len(environments)} environments"
