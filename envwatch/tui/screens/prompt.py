"""One line to type, over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from envwatch.tui.widgets.footer import HELP_WHILE_TYPING, KeyFooter
from envwatch.tui.widgets.text_input import TextInput

if TYPE_CHECKING:
    from textual.app import ComposeResult


class PromptResult(NamedTuple):
    """What a person made of a question."""

    text: str
    """What was typed."""
    withdraws: bool = False
    """Whether all of it is to be taken back instead."""


class Prompt(ModalScreen["PromptResult | None"]):
    """A question; it answers with what was typed, or with none.

    Args:
        question: what is asked.
        hint: what stands where nothing was typed yet.
        longest: characters that can be typed.
        text: what stands there already, to be edited.
        may_withdraw: whether there is something to take back.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc"),
        # Not ctrl+d, by which hands that know Emacs or a shell delete a character of the note.
        Binding("ctrl+r", "withdraw", "Withdraw", priority=True),
        HELP_WHILE_TYPING,
    ]

    def __init__(self, question: str, hint: str, longest: int, text: str = "", *, may_withdraw: bool = False) -> None:
        super().__init__()
        self._question = question
        self._hint = hint
        self._longest = longest
        self._text = text
        self._may_withdraw = may_withdraw

    def compose(self) -> ComposeResult:
        """Return the question and the line."""
        with Vertical(id="prompt"):
            yield Static(self._question, id="menu-title", markup=False)
            yield TextInput(
                self._text, placeholder=self._hint, max_length=self._longest, select_on_focus=False, compact=True
            )
        yield KeyFooter()

    @on(Input.Submitted)
    def _answer(self) -> None:
        """Answer with what was typed."""
        self.dismiss(PromptResult(self.query_one(Input).value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the key that takes back where there is nothing to."""
        return self._may_withdraw if action == "withdraw" else super().check_action(action, parameters)

    def action_withdraw(self) -> None:
        """Answer that it is taken back."""
        self.dismiss(PromptResult("", withdraws=True))
