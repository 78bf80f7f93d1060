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
from envwatch.tui.widgets.problem_block import PresentLines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.events import Key


class Choice(NamedTuple):
    """One item of a menu."""

    id: str
    title: str
    note: str = ""
    """A short explanation."""


_Result = TypeVar("_Result")


class PickList(OptionList):
    """Textual's list with the cursor keys of the other screens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="menu.down"),
        Binding("k", "cursor_up", "Up", show=False, id="menu.up"),
    ]


class _ChoiceList(PickList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Choose", key_display="⏎", id="menu.choose")]


class _MenuScreen(ModalScreen["_Result | None"], Generic[_Result]):
    """A list of one or more choices over the dashboard; `current` is the id of the one that is in force."""

    LIST: ClassVar[type[OptionList]] = _ChoiceList
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", key_display="esc", id="menu.close"),
        HELP,
    ]

    def __init__(self, title: str, choices: Sequence[Choice], current: str | None = None) -> None:
        super().__init__()
        self._title_text = title
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        yield PresentLines()
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
        ids = [choice.id for choice in self._choices]
        self.query_one(OptionList).highlighted = ids.index(self._current) if self._current in ids else 0

    def on_key(self, event: Key) -> None:
        """Go to the next choice that begins with the typed letter, in the same case if there is one."""
        letter = event.character
        if letter is None or not letter.isalpha() or event.key in self.active_bindings:
            return
        options = self.query_one(OptionList)
        count, here = len(self._choices), options.highlighted or 0
        following = [(here + step) % count for step in range(1, count + 1)]
        found = [place for place in following if self._choices[place].title.startswith((letter, letter.swapcase()))]
        if found:
            event.stop()
            exact = (place for place in found if self._choices[place].title.startswith(letter))
            options.highlighted = next(exact, found[0])


class Menu(_MenuScreen[str]):
    """A menu; returns the id of the choice, or None. `preview` is called with the id of each choice on the way."""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        current: str | None = None,
        preview: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(title, choices, current)
        self._preview = preview

    @on(OptionList.OptionHighlighted)
    def _show_choice(self, message: OptionList.OptionHighlighted) -> None:
        self._preview(message.option_id or "")

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_id)


class SortMenu(_MenuScreen[tuple[str, bool]]):
    """A menu of columns; returns the choice's id, and whether it is the one in force, chosen again by its key."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "again", "Sort; again: invert", id="menu.sort")]

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss((message.option_id or "", False))

    def action_again(self) -> None:
        """Sort by the choice under the cursor; invert the order if it is in force."""
        id_ = self._choices[self.query_one(OptionList).highlighted or 0].id
        self.dismiss((id_, id_ == self._current))


class _CopyList(OptionList):
    """A list without `j` and `k`, which are letters here."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Copy", key_display="⏎", id="copy.choose")]


class CopyMenu(_MenuScreen[tuple[str, bool]]):
    """A menu of texts, each with a letter that copies it at once; the ids of the choices are these letters.

    Returns the letter, and whether the text is to be shown instead of copied.
    """

    LIST = _CopyList
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "show", "Show as plain text", key_display="space", id="copy.show"),
    ]

    @on(OptionList.OptionSelected)
    def action_choose(self) -> None:
        self._choose(is_plain=False)

    def action_show(self) -> None:
        self._choose(is_plain=True)

    def _choose(self, *, is_plain: bool) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self.dismiss((self._choices[place].id, is_plain))

    def on_key(self, event: Key) -> None:
        """Copy what a letter stands for; say so if it stands for nothing here."""
        letter = event.character
        if letter is None or not letter.isalpha() or event.key in self.active_bindings:
            return
        event.stop()
        if any(choice.id == letter for choice in self._choices):
            self.dismiss((letter, False))
        else:
            self.query_one("#menu-title", Static).update(f"{self._title_text}: {letter} has nothing to copy here")
