"""The key that silences rows for a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from envwatch.fleet.acknowledgements import LONGEST_NOTE, note_of
from envwatch.model.text import counted
from envwatch.model.times import long_age
from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.screens.prompt import Prompt, PromptResult
from envwatch.tui.screens.row_actions import RowActions, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment

_LASTS: Final[Mapping[str, timedelta]] = {
    long_age(lasts): lasts
    for lasts in (timedelta(minutes=30), *(timedelta(hours=hours) for hours in (1, 2, 4, 8, 24, 72, 168)))
}
_END: Final = "end"


class SilenceActions(RowActions):
    """The key that silences."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("M", "silence", "Silence for a time, or end that", show=False, id="row.silence"),
    ]

    def action_silence(self) -> None:
        """Silence the row under the cursor, or all of a group: ask for how long, and why."""
        if not self.does_act():
            return
        self.table.pin_cursor()
        rows = self.under_cursor
        if not rows:
            self.show_message("nothing to silence: no row under the cursor")
            return
        name = name_of(rows)
        monitor, now = self.state.monitor, self.state.now
        silences = {silence.id for row in rows if (silence := monitor.silence_of(row, now)) is not None}
        choices = [Choice(lasts, lasts) for lasts in _LASTS]
        if silences:
            verb = "holds" if len(silences) == 1 else "hold"
            choices.insert(0, Choice(_END, "end", f"{counted(len(silences), 'silence')} that now {verb}"))

        def choose(choice: str | None) -> None:
            if choice == _END:
                self.post_message(self.Unsilenced(sorted(silences)))
            elif choice is not None:
                self._ask_why(rows, name, _LASTS[choice])

        self.app.push_screen(Menu(f"Silence {name} for", choices), choose)

    def _ask_why(self, rows: Sequence[TrackedEnvironment], name: str, lasts: timedelta) -> None:
        def silence(answer: PromptResult | None) -> None:
            if answer is not None:
                keys = [row.key for row in rows]
                self.post_message(self.Silenced(keys, lasts, note_of(answer.text)))

        question = f"Silence {name} for {long_age(lasts)}: why?"
        self.app.push_screen(Prompt(question, "a note for the next reader; may be empty", LONGEST_NOTE), silence)
