"""A list to choose one thing from, over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from envwatch.tui.widgets.footer import HELP, KeyFooter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.events import Key


class Choice(NamedTuple):
    """One thing to choose."""

    id: str
    title: str
    note: str = ""
    """What it stands for now, in few words."""


_Answer = TypeVar("_Answer")


class _Choices(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Choose", key_display="⏎")]


class _Choosing(ModalScreen["_Answer | None"], Generic[_Answer]):
    """A list over the dashboard.

    Args:
        title: what is chosen.
        choices: at least one.
        chosen: id of the choice that holds now.
    """

    LIST: ClassVar[type[OptionList]] = _Choices
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", key_display="esc"),
        Binding("j", "move('down')", "Down", show=False),
        Binding("k", "move('up')", "Up", show=False),
        HELP,
    ]

    def __init__(self, title: str, choices: Sequence[Choice], chosen: str | None = None) -> None:
        super().__init__()
        self._title_text = title
        self._choices = choices
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Return the title, the list and the keys."""
        with Vertical(id="menu"):
            yield Static(self._title_text, id="menu-title", markup=False)
            width = max(len(choice.title) for choice in self._choices) + 2
            yield self.LIST(
                *(
                    Option(Content.assemble(f"{choice.title:<{width}}", (choice.note, "$faint")), id=choice.id)
                    for choice in self._choices
                ),
                markup=False,
                compact=True,
            )
        yield KeyFooter()

    def on_mount(self) -> None:
        """Stand on what holds now."""
        ids = [choice.id for choice in self._choices]
        self.query_one(OptionList).highlighted = ids.index(self._chosen) if self._chosen in ids else 0

    def on_key(self, event: Key) -> None:
        """Go to the next choice that begins with a letter."""
        letter = event.character
        if letter is None or not letter.isalpha() or letter in "jk":  # which move
            return
        options = self.query_one(OptionList)
        count, here = len(self._choices), options.highlighted or 0
        after = [(here + step) % count for step in range(1, count + 1)]
        begun = [place for place in after if self._choices[place].title.startswith((letter, letter.swapcase()))]
        if begun:
            event.stop()
            exact = (place for place in begun if self._choices[place].title.startswith(letter))
            options.highlighted = next(exact, begun[0])

    def action_move(self, direction: str) -> None:
        """Move to the next or the previous choice."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if direction == "down" else options.action_cursor_up)()


class Menu(_Choosing[str]):
    """A menu; it answers with the id of the choice, or with none."""

    @on(OptionList.OptionSelected)
    def _answer(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_id)


class _Texts(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Copy", key_display="⏎")]


class CopyMenu(_Choosing[tuple[str, bool]]):
    """A menu of texts; it answers with the id of the choice, and whether it is only to be shown."""

    LIST = _Texts
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "show", "Show as plain text", key_display="space"),
    ]

    @on(OptionList.OptionSelected)
    def action_choose(self) -> None:
        """Answer that the text is to be copied."""
        self._answer(is_plain=False)

    def action_show(self) -> None:
        """Answer that the text is to be shown."""
        self._answer(is_plain=True)

    def _answer(self, *, is_plain: bool) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self.dismiss((self._choices[place].id, is_plain))
