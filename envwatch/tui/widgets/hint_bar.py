"""The line of the demo that leads a newcomer through five keys, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.reactive import reactive

from envwatch.tui.widgets.line import Part, TextLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.tui.widgets.line import Row

LEAST_LINES: Final = 20
"""Lines of the screen from which one can be spared for a hint."""


class Hint(NamedTuple):
    """What to try."""

    actions: tuple[str, ...]
    """Actions of the keys; the first one's key stands before the text, and each of them is what was meant."""
    text: str


HINTS: Final = (
    Hint(("problem(1)",), "goes to the next loss, if there is one"),
    Hint(("open",), "opens what is known of a row, and what helps"),
    Hint(("filter",), "filters: web mode:unrestricted beat:>90s"),
    Hint(("events", "explain"), "shows all events, any of them leads to its row"),
    Hint(("help",), "explains the signs and colours, and all keys"),
)


class HintBar(TextLine):
    """The first hint whose key has not been used yet, and the key that closes the hints."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}
    GAP = 1

    left: reactive[Sequence[Hint]] = reactive(HINTS)
    """The hints whose keys have not been used."""

    def __init__(self, close_key: str) -> None:
        super().__init__()
        self._close_key = close_key

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def note(self, action: str) -> None:
        """Let no hint stand for a key that was used."""
        self.left = tuple(hint for hint in self.left if action not in hint.actions)

    def fit(self, lines: int) -> None:
        """Stand there if the screen has lines to spare."""
        self.display = lines >= LEAST_LINES

    def parts(self) -> Row:
        if not self.left:
            return [], []
        hint, number = self.left[0], len(HINTS) - len(self.left) + 1
        place = Part(f"hint {number} of {len(HINTS)}:", "faint", 4)
        if (key := self._key_of(hint)) is None:
            return [place, Part("the table shows at once what is typed", "", 7, cut_at=6)], []
        left = [place, Part(key, "key", 8), Part(hint.text, "", 7, cut_at=6)]
        return left, [Part(self._close_key, "key", 9), Part("no more hints", "faint", 9)]

    def _key_of(self, hint: Hint) -> str | None:
        """Return the key of a hint, which the user may have changed; None while keys are text that is typed."""
        bindings = (each.binding for each in self.screen.active_bindings.values())
        return next((self.app.get_key_display(each) for each in bindings if each.action == hint.actions[0]), None)
