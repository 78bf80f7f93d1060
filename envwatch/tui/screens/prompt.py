"""A question with one line to type in, over the dashboard."""

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
    """The answer to a prompt."""

    text: str
    withdraws: bool = False
    """Whether the user withdraws what the prompt is about."""


class Prompt(ModalScreen["PromptResult | None"]):
    """Asks for a line of text; returns a `PromptResult`, or None if cancelled.

    Args:
        question: the title.
        hint: the placeholder.
        longest: characters that can be typed.
        text: to be edited.
        may_withdraw: whether there is something to withdraw.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc"),
        # Not ctrl+d, which deletes a character in Emacs and shells.
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
        with Vertical(id="prompt"):
            yield Static(self._question, id="menu-title", markup=False)
            yield TextInput(
                self._text, placeholder=self._hint, max_length=self._longest, select_on_focus=False, compact=True
            )
        yield KeyFooter()

    @on(Input.Submitted)
    def _answer(self) -> None:
        self.dismiss(PromptResult(self.query_one(Input).value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the withdraw key if there is nothing to withdraw."""
        return self._may_withdraw if action == "withdraw" else super().check_action(action, parameters)

    def action_withdraw(self) -> None:
        self.dismiss(PromptResult("", withdraws=True))
