"""A line to type in, which a clipboard that somebody else has filled cannot turn against the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from envwatch.model.text import clean

if TYPE_CHECKING:
    from textual.events import Paste


class TextInput(Input):
    """Textual's line to type in; what is pasted is cleaned before it is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Keep", key_display="⏎")]

    def _on_paste(self, event: Paste) -> None:
        # Textual's own handler comes after this one, and takes the first line.
        event.text = clean(next(iter(event.text.splitlines()), ""))
