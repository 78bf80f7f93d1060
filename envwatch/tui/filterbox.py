"""The filter box: a line to type in, and a line above it that helps, completes and says what is wrong.

Owns the typing. What a query means is `query`'s business; a valid one is told to the screen as it is typed, an invalid
one changes nothing but the line above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from envwatch.fleets import Fleets
from envwatch.query.hints import HELP, completions
from envwatch.query.language import Query, parse
from envwatch.query.tokens import QueryError
from envwatch.tui.field import Field
from envwatch.tui.lines import Line, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from envwatch.query.hints import Completion


class HintLine(Line):
    """What can be typed next, or what is wrong with what was typed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}

    error: reactive[QueryError | None] = reactive(None)
    offers: reactive[Sequence[Completion]] = reactive(())
    is_empty: reactive[bool] = reactive(default=True)

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the mistake, else the offers, else examples of the language."""
        if self.error is not None:
            pointer = " " * self.error.start + "^"
            return [Part(pointer, "key", 1), Part(str(self.error), "", 9, is_cut=True)], []
        if self.is_empty:
            examples = [
                (Part(example, "key", -n), Part(meaning, "faint", -n)) for n, (example, meaning) in enumerate(HELP)
            ]
            return [part for pair in examples for part in pair], []
        offers = [Part(offer.text, "key", -n) for n, offer in enumerate(self.offers)]
        return ([Part("tab", "faint", 9), *offers], []) if offers else ([], [])


class FilterBox(Vertical):
    """A box to type a query into."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", key_display="tab", priority=True, id="find.complete"),
        Binding("enter", "keep", "Keep", key_display="⏎", priority=True, id="find.keep"),
    ]

    fleets: reactive[Fleets] = reactive(Fleets, init=False)

    class Asked(Message):
        """A valid query stands in the box."""

        def __init__(self, query: Query) -> None:
            super().__init__()
            self.query = query

    class Kept(Message):
        """The user is done, and the filter stays."""

    def compose(self) -> ComposeResult:
        """Return the hints and the line to type in."""
        yield HintLine()
        hint = "words and field:value terms, all of which must hold"
        yield Field(id="query", placeholder=hint, select_on_focus=False, compact=True)

    @property
    def box(self) -> Input:
        """The line to type in."""
        return self.query_one("#query", Input)

    def open(self, query: Query) -> None:
        """Show a query, ready to go on with."""
        self.display = True
        text = str(query)
        self.box.value = f"{text} " if text else ""
        self.box.cursor_position = len(self.box.value)
        self.screen.set_focus(self.box)
        self._hint()

    @on(Input.Changed, "#query")
    def _ask(self) -> None:
        hints = self.query_one(HintLine)
        try:
            query = parse(self.box.value)
        except QueryError as error:
            hints.error = error
            return
        hints.error = None
        self._hint()
        if self.display:
            self.post_message(self.Asked(query))

    def _hint(self) -> None:
        hints = self.query_one(HintLine)
        hints.is_empty = not self.box.value.strip()
        hints.offers = [] if hints.is_empty else self._offers()

    def _offers(self) -> list[Completion]:
        return completions(self.box.value, self.box.cursor_position, self.fleets.watches)

    def action_complete(self) -> None:
        """Take the first offer."""
        box = self.box
        if offers := self._offers():
            offer = offers[0]
            box.value = box.value[: offer.start] + offer.text + box.value[offer.end :]
            box.cursor_position = offer.start + len(offer.text)

    def action_keep(self) -> None:
        """Close the box and keep what it filters."""
        self.post_message(self.Kept())
