"""The column picker: which columns are shown, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from envwatch.tui.screens.menu import PickList
from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.tui.widgets.problem_block import PresentLines
from envwatch.views.table.columns import COLUMNS, FIXED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class ColumnPicker(ModalScreen["tuple[str, ...] | None"]):
    """A list to choose from and to order; returns column ids, empty for those that fit, None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x", "mark", "Show or hide", key_display="space", id="columns.mark"),
        Binding("J,shift+down", "shift(1)", "Down", key_display="J", id="columns.lower"),
        Binding("K,shift+up", "shift(-1)", "Up", key_display="K", id="columns.higher"),
        Binding("enter", "keep", "Keep", key_display="⏎", priority=True, id="columns.keep"),
        Binding("0", "forget", "Those that fit", id="columns.reset"),
        Binding("escape,q,C", "dismiss", "Cancel", key_display="esc", id="columns.cancel"),
        HELP,
    ]

    def __init__(self, visible: Sequence[str], *, has_profiles: bool) -> None:
        super().__init__()
        ids = [id_ for id_ in COLUMNS if id_ not in FIXED and (has_profiles or id_ != "profile")]
        chosen = [id_ for id_ in visible if id_ in ids]
        self._chosen = set(chosen)
        self._order = chosen + [id_ for id_ in ids if id_ not in self._chosen]

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Vertical(id="menu"):
            yield Static("Columns after NAME", id="menu-title", markup=False)
            yield PickList(markup=False, compact=True)
        yield KeyFooter()

    def on_mount(self) -> None:
        self._update_list(0)

    def _update_list(self, highlighted: int) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(self._line(id_), id=id_) for id_ in self._order)
        options.highlighted = highlighted

    def _line(self, id_: str) -> Content:
        column = COLUMNS[id_]
        mark = "[x]" if id_ in self._chosen else "[ ]"
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
