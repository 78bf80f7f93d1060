"""A question with one line to type in, over the dashboard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from envwatch.model.clock import WallMs
from envwatch.model.times import past_moment_of
from envwatch.tui.widgets.footer import HELP_WHILE_TYPING, KeyFooter
from envwatch.tui.widgets.problem_block import PresentLines
from envwatch.tui.widgets.text_input import TextInput
from envwatch.views.status_text import EXAMPLES, mistake_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from textual.app import ComposeResult
    from textual.events import Key

_LONGEST_MOMENT: Final = 40
"""Characters of a moment as people write it."""


class PromptResult(NamedTuple):
    """The answer to a prompt."""

    text: str
    withdraws: bool = False
    """Whether the user withdraws what the prompt is about."""


class Prompt(ModalScreen["PromptResult | None"]):
    """Asks for a line of text of so many characters at most; returns a `PromptResult`, or None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc", id="prompt.cancel"),
        # Not ctrl+d, which deletes a character in Emacs and shells.
        Binding("ctrl+r", "withdraw", "Withdraw", priority=True, id="prompt.withdraw"),
        HELP_WHILE_TYPING,
    ]

    FOOTER_ORDER: ClassVar[Sequence[str]] = ()

    ENTER = "Keep"
    """What enter does with the text, in a word."""

    def __init__(self, question: str, hint: str, longest: int, text: str = "", *, may_withdraw: bool = False) -> None:
        super().__init__()
        self._question = question
        self._hint = hint
        self._longest = longest
        self._text = text
        self._may_withdraw = may_withdraw

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Vertical(id="prompt"):
            yield Static(self._question, id="menu-title", markup=False)
            yield TextInput(
                self._text, placeholder=self._hint, max_length=self._longest, select_on_focus=False, compact=True
            )
            yield Static(id="prompt-mistake", markup=False)
        yield KeyFooter()

    @on(Input.Submitted)
    def _answer(self) -> None:
        text = self.query_one(Input).value
        if mistake := self.mistake_in(text):
            self._say(mistake)
        else:
            self.dismiss(PromptResult(text))

    @on(Input.Changed)
    def _forget_mistake(self) -> None:
        self._say("")

    def on_key(self, event: Key) -> None:
        """Say so of a key that neither types nor has a meaning here."""
        if event.key not in self.active_bindings and not event.is_printable:
            event.stop()
            self._say(f"{self.app.get_key_display(Binding(event.key, '', ''))} does nothing here: F1 has the keys")

    def mistake_in(self, text: str) -> str:  # noqa: ARG002  a prompt for notes takes any text
        """Return what is wrong with an answer, with which the prompt stays; empty if nothing is."""
        return ""

    def _say(self, mistake: str) -> None:
        line = self.query_one("#prompt-mistake", Static)
        line.update(mistake)
        line.display = bool(mistake)

    def label_of(self, binding: Binding) -> str | None:
        if binding.action == "withdraw" and not self._may_withdraw:
            return None
        return self.ENTER if binding.action == "submit" else binding.description

    def action_withdraw(self) -> None:
        if self._may_withdraw:
            self.dismiss(PromptResult("", withdraws=True))
        else:
            self._say("there is nothing to withdraw")


class TimePrompt(Prompt):
    """Asks for a moment, until it is one: an age before the last one that there is, or a time in a zone."""

    ENTER = "Go"

    def __init__(self, last: WallMs, zone: tzinfo | None) -> None:
        super().__init__("Show the screen as it was at", EXAMPLES, _LONGEST_MOMENT)
        self._last = last
        self._zone = zone

    def moment_in(self, text: str) -> WallMs | None:
        """Return the moment that a text names; None if it names none."""
        last = datetime.fromtimestamp(self._last / 1000, UTC)
        found = past_moment_of(text, last, self._zone) if text.strip() else None
        return None if found is None else WallMs(found.timestamp() * 1000)

    def mistake_in(self, text: str) -> str:
        return "" if self.moment_in(text) is not None else mistake_text(text)
