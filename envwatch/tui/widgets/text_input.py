"""An input line that removes control characters from what is pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from envwatch.model.text import clean

if TYPE_CHECKING:
    from textual.events import Paste


class TextInput(Input):
    """Textual's `Input`; a clipboard may hold escape sequences from elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep", key_display="⏎", id="text.keep"),
        # What macOS sends for option with an arrow, and readline's keys.
        Binding("alt+b", "cursor_left_word", "A word to the left", show=False, id="text.word_left"),
        Binding("alt+f", "cursor_right_word", "A word to the right", show=False, id="text.word_right"),
        Binding("alt+backspace", "delete_left_word", "Delete a word", show=False, id="text.delete_word"),
    ]

    def _on_paste(self, event: Paste) -> None:
        # Textual's own handler runs after this one, and inserts the first line.
        event.text = clean(next(iter(event.text.splitlines()), ""))
