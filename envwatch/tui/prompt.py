"""One line to type, over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from envwatch.tui.field import Field
from envwatch.tui.keys import HELP_WHILE_TYPING, KeyLine

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Prompt(ModalScreen["str | None"]):
    """A question; it answers with what was typed, or with none.

    Args:
        question: what is asked.
        hint: what stands where nothing was typed yet.
        longest: characters that can be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc"),
        HELP_WHILE_TYPING,
    ]

    def __init__(self, question: str, hint: str, longest: int) -> None:
        super().__init__()
        self._question = question
        self._hint = hint
        self._longest = longest

    def compose(self) -> ComposeResult:
        """Return the question and the line."""
        with Vertical(id="prompt"):
            yield Static(self._question, id="menu-title", markup=False)
            yield Field(placeholder=self._hint, max_length=self._longest, compact=True)
        yield KeyLine()

    @on(Input.Submitted)
    def _answer(self) -> None:
        """Answer with what was typed."""
        self.dismiss(self.query_one(Input).value)
