"""The demo's App with a line of hints that leads a newcomer through six keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.reactive import reactive

from envwatch.tui.app import EnvwatchApp
from envwatch.tui.terminal.app import add_binding
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.line import Part, Row, TextLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.actions import ActionParseResult
    from textual.dom import DOMNode
    from textual.events import Resize
    from textual.screen import Screen

    from envwatch.tui.arguments import Inputs, Preferences


LEAST_LINES: Final = 20
"""Screens with fewer lines show no hints."""


HINTS: Final = {
    ("problem(1)",): "goes to the next loss",
    ("open",): "opens the row's details, with what to do",
    ("alerts",): "makes this row alert always, never or by rule",
    ("filter",): "filters: web mode:unrestricted beat:>90s",
    ("events", "explain"): "shows all events; an event leads to its row",
    ("help",): "explains all signs, colours and keys",
}
"""Hints by the actions that count as tried; the first action's key stands before the text."""


class HintBar(TextLine):
    """The first hint whose key was not used, and the key that closes the hints."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}
    GAP = 1

    left: reactive[Sequence[tuple[str, ...]]] = reactive(tuple(HINTS))

    def __init__(self, close_key: str) -> None:
        super().__init__()
        self._close_key = close_key

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def note(self, action: str) -> None:
        self.left = tuple(actions for actions in self.left if action not in actions)

    def fit(self, lines: int) -> None:
        self.display = lines >= LEAST_LINES

    def parts(self) -> Row:
        if not self.left:
            return [], []
        actions, number = self.left[0], len(HINTS) - len(self.left) + 1
        place = Part(f"hint {number} of {len(HINTS)}:", "faint", 4)
        if (key := self._key_of(actions[0])) is None:
            return [place, Part("the table follows the text as you type", "", 7, cut_at=6)], []
        left = [place, Part(key, "key", 8), Part(HINTS[actions], "", 7, cut_at=6)]
        return left, [Part(self._close_key, "key", 9), Part("no more hints", "faint", 9)]

    def _key_of(self, action: str) -> str | None:
        bindings = (each.binding for each in self.screen.active_bindings.values())
        return next((self.app.get_key_display(each) for each in bindings if each.action == action), None)


class HintedApp(EnvwatchApp):
    """The dashboard with hints above the footer, until all hints are followed or closed.

    `close_key` only closes the hints. Later demos show no hints.
    """

    def __init__(self, inputs: Inputs, preferences: Preferences, *, close_key: str) -> None:
        super().__init__(inputs, preferences)
        self._close_key = close_key
        self._hint_bar: HintBar | None = None

    def get_default_screen(self) -> Screen[None]:
        screen = super().get_default_screen()
        binding = Binding(self._close_key, "app.close_hints", "No more hints (demo)", show=False, id="app.hints")
        add_binding(screen, binding)
        return screen

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_hints)

    def _show_hints(self) -> None:
        if not self.dashboard.is_attached:
            return
        self._hint_bar = HintBar(self.get_key_display(Binding(self._close_key, "", "")))
        self._hint_bar.fit(self.size.height)
        self.dashboard.mount(self._hint_bar, before=self.dashboard.query_one(FilterBar))

    def on_resize(self, event: Resize) -> None:
        if self._hint_bar is not None:
            self._hint_bar.fit(event.size.height)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        has_run = await super().run_action(action, default_namespace, namespaces)
        if has_run and self._hint_bar is not None and isinstance(action, str):
            self._hint_bar.note(action.removeprefix("app."))
            if not self._hint_bar.left:
                await self._end_hints()
                self.answer("no hint is left: ? has all keys")
        return has_run

    async def action_close_hints(self) -> None:
        await self._end_hints()
        self.answer("hints are off, also in later demos")

    async def _end_hints(self) -> None:
        bar, self._hint_bar = self._hint_bar, None
        if bar is not None:
            await bar.remove()
        self._inputs.keep(hints=False)
