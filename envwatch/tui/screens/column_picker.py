"""The chooser of columns: which are shown, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.views.columns import COLUMNS, FIXED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class ColumnPicker(ModalScreen["tuple[str, ...] | None"]):
    """A list to choose from and to put in order; it answers with ids of columns, none of them for those that fit.

    Args:
        shown: ids of the columns that are shown now, in their order.
        has_profiles: whether PROFILE can be chosen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x", "mark", "Show or hide", key_display="space"),
        Binding("J,shift+down", "shift(1)", "Down", key_display="J"),
        Binding("K,shift+up", "shift(-1)", "Up", key_display="K"),
        Binding("enter", "keep", "Keep", key_display="⏎", priority=True),
        Binding("0", "forget", "Those that fit"),
        Binding("escape,q,C", "dismiss", "Cancel", key_display="esc"),
        Binding("j", "move('down')", "Cursor down", show=False),
        Binding("k", "move('up')", "Cursor up", show=False),
        HELP,
    ]

    def __init__(self, shown: Sequence[str], *, has_profiles: bool) -> None:
        super().__init__()
        known = [id_ for id_ in COLUMNS if id_ not in FIXED and (has_profiles or id_ != "profile")]
        self._chosen = {id_ for id_ in shown if id_ in known}
        self._order = [id_ for id_ in shown if id_ in known] + [id_ for id_ in known if id_ not in self._chosen]

    def compose(self) -> ComposeResult:
        """Return the title, the list and the keys."""
        with Vertical(id="menu"):
            yield Static("Columns, after STATE and NAME", id="menu-title", markup=False)
            yield OptionList(markup=False, compact=True)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Stand on the first."""
        self._list(0)

    def _list(self, highlighted: int) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(self._line(id_), id=id_) for id_ in self._order)
        options.highlighted = highlighted

    def _line(self, id_: str) -> Content:
        column = COLUMNS[id_]
        box = "[x]" if id_ in self._chosen else "[ ]"
        return Content.assemble(f"{box} {column.title:<12}", (column.about, "$faint"))

    @property
    def _place(self) -> int:
        return self.query_one(OptionList).highlighted or 0

    def action_mark(self) -> None:
        """Show or hide the column under the cursor."""
        self._chosen ^= {self._order[self._place]}
        self._list(self._place)

    @on(OptionList.OptionSelected)
    def _toggle_clicked(self) -> None:
        self.action_mark()

    def action_shift(self, step: int) -> None:
        """Move the column under the cursor by a place."""
        place = self._place
        target = min(max(place + step, 0), len(self._order) - 1)
        self._order.insert(target, self._order.pop(place))
        self._list(target)

    def action_move(self, direction: str) -> None:
        """Move to the next or the previous column."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if direction == "down" else options.action_cursor_up)()

    def action_keep(self) -> None:
        """Answer with what is chosen."""
        chosen = tuple(id_ for id_ in self._order if id_ in self._chosen)
        self.dismiss(("state", "name", *chosen))

    def action_forget(self) -> None:
        """Answer that the width shall decide."""
        self.dismiss(())
