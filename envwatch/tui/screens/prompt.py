"""A question over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from envwatch.tui.widgets.filter_bar import TextInput
from envwatch.tui.widgets.footer import HELP_WHILE_TYPING, KeyFooter
from envwatch.tui.widgets.problem_block import PresentLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.events import Key


class Prompt(ModalScreen["str | None"]):
    """Asks for a line of text; returns the text, or None if cancelled.

    Args:
        hint: shown while the text is empty.
        may_withdraw: whether a key withdraws the subject of the question.
        mistake_in: returns the mistake in a text, or an empty text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc", id="prompt.cancel"),
        # Not ctrl+d, which deletes a character in Emacs and shells.
        Binding("ctrl+r", "withdraw", "Withdraw", priority=True, id="prompt.withdraw"),
        HELP_WHILE_TYPING,
    ]

    is_withdrawn = False

    def __init__(  # noqa: PLR0913  what differs between prompts
        self,
        question: str,
        hint: str,
        longest: int,
        text: str = "",
        *,
        may_withdraw: bool = False,
        enter: str = "Keep",
        mistake_in: Callable[[str], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self._question = question
        self._input = TextInput(text, placeholder=hint, max_length=longest, select_on_focus=False, compact=True)
        self._mistake = Static(id="prompt-mistake", markup=False)
        self._may_withdraw = may_withdraw
        self._enter = enter
        self._mistake_in = mistake_in

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Vertical(id="prompt"):
            yield Static(self._question, id="menu-title", markup=False)
            yield self._input
            yield self._mistake
        yield KeyFooter(label_of=self._label_of)

    @on(Input.Submitted)
    def _answer(self) -> None:
        if mistake := self._mistake_in(self._input.value):
            self._say(mistake)
        else:
            self.dismiss(self._input.value)

    @on(Input.Changed)
    def _forget_mistake(self) -> None:
        self._say("")

    def on_key(self, event: Key) -> None:
        if event.key not in self.active_bindings and not event.is_printable:
            event.stop()
            self._say(f"{self.app.get_key_display(Binding(event.key, '', ''))} does nothing here: F1 has the keys")

    def _say(self, mistake: str) -> None:
        self._mistake.update(mistake)
        self._mistake.display = bool(mistake)

    def _label_of(self, binding: Binding) -> str | None:
        if binding.action == "withdraw" and not self._may_withdraw:
            return None
        return self._enter if binding.action == "submit" else binding.description

    def action_withdraw(self) -> None:
        if self._may_withdraw:
            self.is_withdrawn = True
            self.dismiss("")
        else:
            self._say("there is nothing to withdraw")
