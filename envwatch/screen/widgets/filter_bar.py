"""The filter bar: a query line with a hint line above.

Unfinished or invalid terms (`foo:`, `beat:>90`) do not filter. A possible field name (`stat`) counts only with a match,
so that typing `status:late` does not empty the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.highlighter import Highlighter
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from envwatch.model.text import SafeText, cells, clean
from envwatch.query.language import PartialQuery, Query, partial_query
from envwatch.screen.state import StateNode
from envwatch.screen.widgets.line import TextLine
from envwatch.views.fitting import CUT_AT, GAP, Part, Row
from envwatch.watch.loop import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.text import Text
    from textual.app import ComposeResult
    from textual.events import Paste
    from textual.timer import Timer

    from envwatch.query.completion import Completion
    from envwatch.query.lexer import QueryError

_ROWS_AT_ONCE: Final = 500
"""Rows whose hint takes no 5 ms."""
_PAUSE_S: Final = 0.3


class TextInput(Input):
    """Textual's `Input` with cleaned pastes: a clipboard may hold escape sequences."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep", key_display="⏎", id="text.keep"),
        # Sent by macOS for option with an arrow, and known from readline.
        Binding("alt+b", "cursor_left_word", "A word to the left", show=False, id="text.word_left"),
        Binding("alt+f", "cursor_right_word", "A word to the right", show=False, id="text.word_right"),
        Binding("alt+backspace", "delete_left_word", "Delete a word", show=False, id="text.delete_word"),
    ]

    def _on_paste(self, event: Paste) -> None:
        # Textual's handler runs next and inserts the first line.
        event.text = clean(next(iter(event.text.splitlines()), ""))


class _Underline(Highlighter):
    """Underlines the mistake: the hint line may lack room for a pointer."""

    mistake: QueryError | None = None

    def highlight(self, text: Text) -> None:
        if self.mistake is not None:
            text.stylize("underline", self.mistake.start, self.mistake.end)


class HintLine(TextLine):
    """Completions, a mistake, a hint about a value, or examples."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}

    error: reactive[QueryError | None] = reactive(None)
    error_at: reactive[int] = reactive(0)
    completions: reactive[Sequence[Completion]] = reactive(())
    hint: reactive[SafeText | None] = reactive(None)
    is_empty: reactive[bool] = reactive(default=True)

    def __init__(self, *, is_of_log: bool) -> None:
        super().__init__()
        self._is_of_log = is_of_log

    def parts(self) -> Row:
        if self.error is not None:
            return self._with_pointer(self.error.message, self.error_at), []
        if self.is_empty:
            from envwatch.query.completion import HELP, LOG_HELP

            examples = [
                (Part(example, "key", -n), Part(meaning, "faint", -n))
                for n, (example, meaning) in enumerate(LOG_HELP if self._is_of_log else HELP)
            ]
            return [part for pair in examples for part in pair], []
        hint = [] if self.hint is None else [Part(self.hint, cut_at=CUT_AT)]
        texts = [Part(completion.text, "key", -n) for n, completion in enumerate(self.completions)]
        tab = Part("tab", "faint", -1 if hint else 9)
        return ([*hint, tab, *texts] if texts else hint), []

    def _with_pointer(self, message: SafeText, at: int) -> Sequence[Part]:
        room, length = self.size.width - 2, cells(message)
        if at + 1 + GAP + length <= room:
            return [Part(" " * at + "^", "key"), Part(message)]
        if length + GAP <= at < room:
            return [Part(" " * (at - GAP - length) + message), Part("^", "key")]
        return [Part(" " * (room - length) + message, cut_at=CUT_AT)]


class FilterHistory:
    """The user's last filters, oldest first; `keep` saves a filter for later runs."""

    def __init__(self, filters: Iterable[str] = (), keep: Callable[..., None] = ignore) -> None:
        self.filters = [*filters]
        self._keep = keep

    def add(self, text: str) -> None:
        self.filters = [*(each for each in self.filters if each != text), text]
        self._keep(filter=text)


class FilterBar(Vertical, StateNode):
    """A query line with hints."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep the filter", key_display="⏎", priority=True, id="find.keep"),
        Binding("up", "recall(-1)", "Earlier filter", show=False, priority=True, id="find.earlier"),
        Binding("down", "recall(1)", "Later filter", show=False, priority=True, id="find.later"),
        Binding("tab", "complete", "Complete the word", key_display="tab", priority=True, id="find.complete"),
        Binding("escape", "cancel", "Cancel the change", key_display="esc", priority=True, id="find.cancel"),
    ]

    @dataclass
    class Changed(Message):
        """The text was changed."""

        partial: PartialQuery

    @dataclass
    class Closed(Message):
        """The user kept or cancelled the query."""

        query: Query

    def __init__(self, history: FilterHistory, *, is_of_log: bool = False) -> None:
        super().__init__()
        self._history = history
        self._recalled: Sequence[str] = ()
        """The earlier filters and the text typed before the first `up`, last."""
        self._place = 0
        self._is_of_log = is_of_log
        self._underline = _Underline()
        self._parsed = ""
        self._partial = PartialQuery(Query(), Query(), None)
        self._shows_mistake = False
        """Whether a mistake is shown despite completions, after `enter`."""
        self._previous = Query()
        self._pause: Timer | None = None
        """Shows the hint of a large fleet after a pause in typing."""

    def compose(self) -> ComposeResult:
        yield HintLine(is_of_log=self._is_of_log)
        hint = "words and field:value terms, all of which must hold"
        yield TextInput(id="query", placeholder=hint, select_on_focus=False, compact=True, highlighter=self._underline)

    @property
    def input(self) -> Input:
        return self.query_one("#query", Input)

    def open(self, query: Query) -> None:
        self.display = True
        self._previous = query
        text = str(query)
        self.input.value = f"{text} " if text else ""
        self.input.cursor_position = len(self.input.value)
        self.screen.set_focus(self.input)
        self._update_hints()

    def on_mount(self) -> None:
        self.watch(self.input, "selection", self._update_hints, init=False)
        self.watch(self.input, "scroll_x", self._update_hints, init=False)

    @on(Input.Changed, "#query")
    def _filter(self) -> None:
        self._parse()
        self._shows_mistake = False
        if self.display:
            self.post_message(self.Changed(self._partial))
        self._update_hints()

    def _parse(self) -> None:
        self._parsed = self.input.value
        self._partial = partial_query(self._parsed, self.input.cursor_position, has_past=not self._is_of_log)

    def _update_hints(self) -> None:
        """Show the hints; a changed text is parsed first, which calls this method again."""
        line, hints = self.input, self.query_one(HintLine)
        if line.value != self._parsed:
            return
        hints.is_empty = not line.value.strip()
        hints.completions = [] if hints.is_empty else self._completions()
        mistake = self._partial.mistake
        if mistake is not None and hints.completions and not self._shows_mistake:
            is_being_typed = mistake.start <= line.cursor_position <= mistake.end
            mistake = None if is_being_typed else mistake
        if mistake is not None:
            hints.error_at = max(cells(line.value[: mistake.start]) - int(line.scroll_x), 0)
        hints.error = self._underline.mistake = mistake
        if self._pause is not None:
            self._pause.stop()
        if len(self.state.monitor.fleet) <= _ROWS_AT_ONCE:
            self._show_hint()
        else:
            hints.hint = None
            self._pause = self.set_timer(_PAUSE_S, self._show_hint)
        line.refresh()

    def _show_hint(self) -> None:
        from envwatch.query.completion import typing_hint, value_hint

        line, hints, environments = self.input, self.query_one(HintLine), self.state.monitor.fleet.environments
        is_completing = bool(hints.completions) and not line.value[: line.cursor_position].endswith(" ")
        # The log has events of environments that the listing lacks.
        hint = None if self._is_of_log else typing_hint(self._partial.query, environments)
        if hint is None and not is_completing:
            hint = value_hint(self._partial.query, environments)
        if hint is not None and not is_completing:
            hints.completions = []
        hints.hint = hint

    def _completions(self) -> list[Completion]:
        from envwatch.query.completion import completions

        environments = self.state.monitor.fleet.environments
        has_past = not self._is_of_log
        return completions(self.input.value, self.input.cursor_position, environments, has_past=has_past)

    def action_complete(self) -> None:
        line = self.input
        if found := self._completions():
            first = found[0]
            line.value = line.value[: first.start] + first.text + line.value[first.end :]
            line.cursor_position = first.start + len(first.text)

    def action_keep(self) -> None:
        self._parse()
        if self._partial.mistake is None:
            if self._partial.query:
                self._history.add(str(self._partial.query))
            self.post_message(self.Closed(self._partial.query))
        else:
            self._shows_mistake = True
            self._update_hints()

    def action_recall(self, step: int) -> None:
        """Show an earlier filter, or a later one; what was typed stands behind the last one."""
        line, typed = self.input, self.input.value.strip()
        if not self._recalled or typed != self._recalled[self._place]:
            self._recalled = [*(each for each in self._history.filters if each != typed), typed]
            self._place = len(self._recalled) - 1
        place = self._place + step
        if not 0 <= place < len(self._recalled):
            self._say("no earlier filter" if step < 0 else "no later filter")
            return
        self._place = place
        line.value = self._recalled[place]
        line.cursor_position = len(line.value)

    def _say(self, text: str) -> None:
        hints = self.query_one(HintLine)
        hints.is_empty, hints.completions, hints.hint = False, [], clean(text)

    def action_cancel(self) -> None:
        self.post_message(self.Closed(self._previous))
