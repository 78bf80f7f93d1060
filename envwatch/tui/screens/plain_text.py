"""A plain text to select with the terminal's own mouse selection, for terminals that ignore OSC 52."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch.tui.widgets.footer import HELP, KeyFooter
from envwatch.tui.widgets.pager import Pager
from envwatch.tui.widgets.problem_block import PresentLines

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from envwatch.tui.terminal.app import TerminalApp


class PlainText(ModalScreen[None]):
    """A text with nothing beside it; the mouse is the terminal's meanwhile."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", key_display="esc", id="plain.close"),
        HELP,
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Pager(id="plain"):
            yield Static(self._text, markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        cast("TerminalApp", self.app).lend_mouse(is_lent=True)

    def on_unmount(self) -> None:
        cast("TerminalApp", self.app).lend_mouse(is_lent=False)
