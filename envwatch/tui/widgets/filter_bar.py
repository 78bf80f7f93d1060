"""The filter box: a line to type in, and a line above it that helps, completes and says what is wrong.

Owns the typing. What a query means is `query`'s business. The screen is told what the line asks for as it is typed:

* A term that means nothing, or nothing yet (`foo:`, `beat:>90`), asks for nothing; the others hold.
* A word at the cursor filters, for names are typed so. If it may become the name of a field (`stat`), it counts only
  where it finds something: nobody who types `status:late` is to see everything vanish and come back.
* `enter` keeps what the line says, word for word; while there is a mistake in it, it points there and keeps nothing.
* `escape` brings back what was asked for when the box was opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.highlighter import Highlighter
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from envwatch.fleet.fleets import Fleets
from envwatch.model.text import cells
from envwatch.query.completion import HELP, LOG_HELP, completions
from envwatch.query.language import PartialQuery, Query, partial_query
from envwatch.tui.widgets.line import Part, TextLine
from envwatch.tui.widgets.text_input import TextInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from textual.app import ComposeResult

    from envwatch.model.text import Clean
    from envwatch.query.completion import Completion
    from envwatch.query.lexer import QueryError


class _Underline(Highlighter):
    """Underlines the mistake in what was typed: the line above has no room for both it and a pointer everywhere."""

    mistake: QueryError | None = None

    def highlight(self, text: Text) -> None:
        """Underline it."""
        if self.mistake is not None:
            text.stylize("underline", self.mistake.start, self.mistake.end)


class HintLine(TextLine):
    """What can be typed next, or what is wrong with what was typed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}

    error: reactive[QueryError | None] = reactive(None)
    error_at: reactive[int] = reactive(0)
    """The cell over the beginning of the mistake."""
    offers: reactive[Sequence[Completion]] = reactive(())
    is_empty: reactive[bool] = reactive(default=True)

    def __init__(self, examples: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._examples = examples

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the mistake, else the offers, else examples of the language."""
        if self.error is not None:
            return self._pointed(self.error.message, self.error_at), []
        if self.is_empty:
            examples = [
                (Part(example, "key", -n), Part(meaning, "faint", -n))
                for n, (example, meaning) in enumerate(self._examples)
            ]
            return [part for pair in examples for part in pair], []
        offers = [Part(offer.text, "key", -n) for n, offer in enumerate(self.offers)]
        return ([Part("tab", "faint", 9), *offers], []) if offers else ([], [])

    def _pointed(self, message: Clean, at: int) -> Sequence[Part]:
        """Return a message behind its pointer, before it, or without one where it has no room beside it."""
        room, length = self.size.width - 2, cells(message)
        if at + 1 + self.GAP + length <= room:
            return [Part(" " * at + "^", "key"), Part(message)]
        if length + self.GAP <= at < room:
            return [Part(" " * (at - self.GAP - length) + message), Part("^", "key")]
        return [Part(" " * (room - length) + message, is_cut=True)]


class FilterBar(Vertical):
    """A box to type a query into.

    Args:
        is_of_log: whether it filters the log of events, and not the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep", key_display="⏎", priority=True, id="find.keep"),
        Binding("tab", "complete", "Complete", key_display="tab", priority=True, id="find.complete"),
        Binding("escape", "cancel", "Cancel", key_display="esc", priority=True, id="find.cancel"),
    ]

    fleets: reactive[Fleets] = reactive(Fleets, init=False)

    class Asked(Message):
        """The line in the box was changed."""

        def __init__(self, draft: PartialQuery) -> None:
            super().__init__()
            self.draft = draft

    class Kept(Message):
        """The user is done, and this is to be asked for: what was typed, or what was asked for before."""

        def __init__(self, query: Query) -> None:
            super().__init__()
            self.query = query

    def __init__(self, *, is_of_log: bool = False) -> None:
        super().__init__()
        self._examples = LOG_HELP if is_of_log else HELP
        self._underline = _Underline()
        self._read = ""
        """The line as it was last read."""
        self._mistake: QueryError | None = None
        self._insists = False
        """Whether the mistake is told though it is still being typed."""
        self._before = Query()
        """What was asked for when the box was opened."""

    def compose(self) -> ComposeResult:
        """Return the hints and the line to type in."""
        yield HintLine(self._examples)
        hint = "words and field:value terms, all of which must hold"
        yield TextInput(id="query", placeholder=hint, select_on_focus=False, compact=True, highlighter=self._underline)

    @property
    def box(self) -> Input:
        """The line to type in."""
        return self.query_one("#query", Input)

    def open(self, query: Query) -> None:
        """Show a query, ready to go on with."""
        self.display = True
        self._before = query
        text = str(query)
        self.box.value = f"{text} " if text else ""
        self.box.cursor_position = len(self.box.value)
        self.screen.set_focus(self.box)
        self._look()

    def on_mount(self) -> None:
        """Follow the cursor and what of the line is in sight."""
        self.watch(self.box, "selection", self._look, init=False)
        self.watch(self.box, "scroll_x", self._look, init=False)

    @on(Input.Changed, "#query")
    def _ask(self) -> None:
        draft = self._draft()
        self._insists = False
        if self.display:
            self.post_message(self.Asked(draft))
        self._look()

    def _draft(self) -> PartialQuery:
        self._read = self.box.value
        draft = partial_query(self._read, self.box.cursor_position)
        self._mistake = draft.mistake
        return draft

    def _look(self) -> None:
        """Hint at what fits the cursor, unless the line was changed and is about to be read."""
        box, hints = self.box, self.query_one(HintLine)
        if box.value != self._read:
            return
        hints.is_empty = not box.value.strip()
        hints.offers = [] if hints.is_empty else self._offers()
        mistake = self._mistake
        is_typed = mistake is not None and mistake.start <= box.cursor_position <= mistake.end
        if is_typed and hints.offers and not self._insists:
            mistake = None  # what is being typed is none, as long as there is a way to go on with it
        if mistake is not None:
            hints.error_at = max(cells(box.value[: mistake.start]) - int(box.scroll_x), 0)
        hints.error = self._underline.mistake = mistake
        box.refresh()

    def _offers(self) -> list[Completion]:
        return completions(self.box.value, self.box.cursor_position, self.fleets.environments)

    def action_complete(self) -> None:
        """Take the first offer."""
        box = self.box
        if offers := self._offers():
            offer = offers[0]
            box.value = box.value[: offer.start] + offer.text + box.value[offer.end :]
            box.cursor_position = offer.start + len(offer.text)

    def action_keep(self) -> None:
        """Keep what was typed, unless there is a mistake in it: then say so."""
        draft = self._draft()
        if draft.mistake is None:
            self.post_message(self.Kept(draft.query))
        else:
            self._insists = True
            self._look()

    def action_cancel(self) -> None:
        """Go back to what was asked for before."""
        self.post_message(self.Kept(self._before))
