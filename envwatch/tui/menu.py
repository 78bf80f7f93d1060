"""A list to choose one thing from, over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class Choice(NamedTuple):
    """One thing to choose."""

    id: str
    title: str
    note: str = ""
    """What it stands for now, in few words."""


class Menu(ModalScreen["str | None"]):
    """A menu; it answers with the id of the choice, or with none.

    Args:
        title: what is chosen.
        choices: at least one.
        chosen: id of the choice that holds now.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", key_display="esc"),
        Binding("j", "move('down')", show=False),
        Binding("k", "move('up')", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], chosen: str | None = None) -> None:
        super().__init__()
        self._title_text = title
        self._choices = choices
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Return the title and the list."""
        with Vertical(id="menu"):
            yield Static(self._title_text, id="menu-title", markup=False)
            width = max(len(choice.title) for choice in self._choices) + 2
            yield OptionList(
                *(
                    Option(Content.assemble(f"{choice.title:<{width}}", (choice.note, "$faint")), id=choice.id)
                    for choice in self._choices
                ),
                markup=False,
                compact=True,
            )

    def on_mount(self) -> None:
        """Stand on what holds now."""
        ids = [choice.id for choice in self._choices]
        self.query_one(OptionList).highlighted = ids.index(self._chosen) if self._chosen in ids else 0

    def action_move(self, direction: str) -> None:
        """Move to the next or the previous choice."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if direction == "down" else options.action_cursor_up)()

    @on(OptionList.OptionSelected)
    def _answer(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_id)
