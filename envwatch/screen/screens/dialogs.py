"""Dialogs: menus, a column picker and a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from envwatch.model.text import counted
from envwatch.screen.widgets.filter_bar import TextInput
from envwatch.screen.widgets.footer import HELP, HELP_WHILE_TYPING, KeyFooter
from envwatch.screen.widgets.problem_block import PresentLines
from envwatch.views.table.columns import COLUMNS, FIXED, META, metadata_title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual.app import ComposeResult
    from textual.events import Key

    from envwatch.screen.state import Choice


_METADATA: Final = "META."
"""Prefix of metadata keys in titles, skipped by typed letters."""


class PickList(OptionList):
    """Textual's list with `j` and `k`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="menu.down"),
        Binding("k", "cursor_up", "Up", show=False, id="menu.up"),
    ]


class _ChoiceList(PickList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Choose", key_display="⏎", id="menu.choose")]


def _titled(title: str, options: OptionList) -> ComposeResult:
    yield PresentLines()
    with Vertical(id="menu"):
        yield Static(title, id="menu-title", markup=False)
        yield options
    yield KeyFooter()


class Menu(ModalScreen["str | None"]):
    """A list of choices; returns the choice's id, or None.

    `current` is the id in force; `preview` gets each highlighted id.
    """

    LIST: ClassVar[type[OptionList]] = _ChoiceList
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", key_display="esc", id="menu.close"),
        HELP,
    ]

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        current: str | None = None,
        preview: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._title_text = title
        self._choices = choices
        self._current = current
        self._preview = preview

    def compose(self) -> ComposeResult:
        width = max(len(choice.title) for choice in self._choices) + 2
        options = (
            Option(Content.assemble(f"{choice.title:<{width}}", (choice.note, "$faint")), id=choice.id)
            for choice in self._choices
        )
        yield from _titled(self._title_text, self.LIST(*options, markup=False, compact=True))

    def on_mount(self) -> None:
        ids = [choice.id for choice in self._choices]
        self.query_one(OptionList).highlighted = ids.index(self._current) if self._current in ids else 0

    def on_key(self, event: Key) -> None:
        """Go to the next choice with the letter, preferably in the same case."""
        letter = event.character
        if letter is None or not letter.isalpha() or event.key in self.active_bindings:
            return
        options = self.query_one(OptionList)
        count, here = len(self._choices), options.highlighted or 0
        following = [(here + step) % count for step in range(1, count + 1)]
        names = [choice.title.removeprefix(_METADATA) for choice in self._choices]
        found = [place for place in following if names[place].startswith((letter, letter.swapcase()))]
        # A metadata key must not change the target of a letter.
        found = [place for place in found if names[place] == self._choices[place].title and place != here] or found
        if found:
            event.stop()
            exact = (place for place in found if names[place].startswith(letter))
            options.highlighted = next(exact, found[0])

    @property
    def _highlighted(self) -> str:
        return self._choices[self.query_one(OptionList).highlighted or 0].id

    @on(OptionList.OptionHighlighted)
    def _show_choice(self, message: OptionList.OptionHighlighted) -> None:
        self._preview(message.option_id or "")

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_id)


class SortMenu(Menu):
    """The menu of sortable columns."""

    is_again = False

    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "again", "Sort; again: invert", id="menu.sort")]

    def action_again(self) -> None:
        self.is_again = self._highlighted == self._current
        self.dismiss(self._highlighted)


class _CopyList(OptionList):
    """A list whose `j` and `k` are letters, not cursor keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "Copy", key_display="⏎", id="copy.choose")]


class CopyMenu(Menu):
    """A menu of texts; a choice's id is the letter that copies the text, or a label."""

    LIST = _CopyList
    is_plain = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "show", "Show as plain text", key_display="space", id="copy.show")
    ]

    def action_show(self) -> None:
        self.is_plain = True
        self.dismiss(self._highlighted)

    def on_key(self, event: Key) -> None:
        letter = event.character
        if letter is None or not letter.isalpha() or event.key in self.active_bindings:
            return
        event.stop()
        if any(choice.id == letter for choice in self._choices):
            self.dismiss(letter)
        else:
            self.query_one("#menu-title", Static).update(f"{self._title_text}: {letter} has nothing to copy here")


class ColumnPicker(ModalScreen["tuple[str, ...] | None"]):
    """A dialog for columns; returns ids, () for all that fit, None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x", "mark", "Show or hide", key_display="space", id="columns.mark"),
        Binding("J,shift+down", "shift(1)", "Down", key_display="J", id="columns.lower"),
        Binding("K,shift+up", "shift(-1)", "Up", key_display="K", id="columns.higher"),
        Binding("enter", "keep", "Keep", key_display="⏎", priority=True, id="columns.keep"),
        Binding("0", "forget", "As many as fit", id="columns.reset"),
        Binding("escape,q,C", "dismiss", "Cancel", key_display="esc", id="columns.cancel"),
        HELP,
    ]

    def __init__(self, visible: Sequence[str], *, has_profiles: bool, metadata: Mapping[str, int]) -> None:
        super().__init__()
        self._metadata = metadata
        ids = [id_ for id_ in COLUMNS if id_ not in FIXED and (has_profiles or id_ != "profile")]
        ids += dict.fromkeys((*(id_ for id_ in visible if id_.startswith(META)), *metadata))
        chosen = [id_ for id_ in visible if id_ in ids]
        self._chosen = set(chosen)
        self._order = chosen + [id_ for id_ in ids if id_ not in self._chosen]

    def compose(self) -> ComposeResult:
        yield from _titled("Columns after NAME", PickList(markup=False, compact=True))

    def on_mount(self) -> None:
        self._update_list(0)

    def _update_list(self, highlighted: int) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(self._line(id_), id=id_) for id_ in self._order)
        options.highlighted = highlighted

    def _line(self, id_: str) -> Content:
        mark = "[x]" if id_ in self._chosen else "[ ]"
        if id_.startswith(META):
            return Content.assemble(
                f"{mark} {metadata_title(id_)}  ", (counted(self._metadata.get(id_, 0), "machine"), "$faint")
            )
        column = COLUMNS[id_]
        return Content.assemble(f"{mark} {column.title:<12}", (column.about, "$faint"))

    @property
    def _place(self) -> int:
        return self.query_one(OptionList).highlighted or 0

    @on(OptionList.OptionSelected)
    def action_mark(self) -> None:
        self._chosen ^= {self._order[self._place]}
        self._update_list(self._place)

    def action_shift(self, step: int) -> None:
        place = self._place
        target = min(max(place + step, 0), len(self._order) - 1)
        self._order.insert(target, self._order.pop(place))
        self._update_list(target)

    def action_keep(self) -> None:
        chosen = tuple(id_ for id_ in self._order if id_ in self._chosen)
        self.dismiss(("state", "name", *chosen))

    def action_forget(self) -> None:
        self.dismiss(())


class Prompt(ModalScreen["str | None"]):
    """Asks for a line of text; returns the text, or None if cancelled.

    Args:
        may_withdraw: whether a key withdraws the subject of the question.
        others: further questions for `tab`; `chosen` is the visible question's index.
        mistake_in: returns the mistake in a text, or an empty text.
        is_replaced: whether the first letter replaces `text`; a key that moves keeps it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", key_display="esc", id="prompt.cancel"),
        # Not ctrl+d, which deletes a character in Emacs and shells.
        Binding("ctrl+r", "withdraw", "Withdraw", priority=True, id="prompt.withdraw"),
        Binding("tab", "choose(1)", "How long", priority=True, id="prompt.next"),
        Binding("shift+tab", "choose(-1)", "Shorter", priority=True, show=False, id="prompt.previous"),
        HELP_WHILE_TYPING,
    ]

    is_withdrawn = False
    chosen = 0

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
        others: Sequence[str] = (),
        is_replaced: bool = False,
    ) -> None:
        super().__init__()
        self._questions = (question, *others)
        self._input = TextInput(text, placeholder=hint, max_length=longest, select_on_focus=is_replaced, compact=True)
        self._mistake = Static(id="prompt-mistake", markup=False)
        self._may_withdraw = may_withdraw
        self._enter = enter
        self._mistake_in = mistake_in

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Vertical(id="prompt"):
            yield Static(self._questions[0], id="menu-title", markup=False)
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
        if binding.action.startswith("choose") and len(self._questions) == 1:
            return None
        return self._enter if binding.action == "submit" else binding.description

    def action_choose(self, by: int) -> None:
        if len(self._questions) == 1:
            self._say("there is nothing to choose")
            return
        self.chosen = (self.chosen + by) % len(self._questions)
        self.query_one("#menu-title", Static).update(self._questions[self.chosen])

    def action_withdraw(self) -> None:
        if self._may_withdraw:
            self.is_withdrawn = True
            self.dismiss("")
        else:
            self._say("there is nothing to withdraw")
