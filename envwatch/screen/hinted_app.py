"""The demo's App with hints for newcomers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from textual.binding import Binding
from textual.reactive import reactive

from envwatch.screen.app import EnvwatchApp
from envwatch.screen.state import StateNode
from envwatch.screen.terminal.app import add_binding
from envwatch.screen.widgets.filter_bar import FilterBar
from envwatch.screen.widgets.line import TextLine
from envwatch.views.fitting import Part, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.actions import ActionParseResult
    from textual.dom import DOMNode
    from textual.events import Resize
    from textual.screen import Screen

    from envwatch.screen.arguments import Inputs, Preferences


LEAST_LINES: Final = 20


Hint: TypeAlias = "tuple[float, tuple[str, ...], str]"
"""Seconds from the first frame to the hint, actions that end the hint, and the first action's description."""


class HintBar(TextLine, StateNode):
    """The first hint that is left, and the key that closes the hints."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}

    left: reactive[Sequence[Hint]] = reactive(())

    def __init__(self, hints: Sequence[Hint], close_key: str, began_at: float) -> None:
        super().__init__()
        self._count, self._close_key, self._began_at = len(hints), close_key, began_at
        self.set_reactive(HintBar.left, hints)

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())
        self.watch(self, "state", self.refresh_if_changed)

    def note(self, action: str) -> None:
        self.left = [hint for hint in self.left if action not in hint[1]]

    def parts(self) -> Row:
        if not self.left:
            return [], []
        (at, actions, text), place = self.left[0], f"hint {self._count - len(self.left) + 1} of {self._count}"
        close = [Part(self._close_key, "key", 9), Part(" no more hints", "faint", 9, is_joined=True)]
        if self.state.rewound is not None and (key := self._key_of("live")) is not None:
            return [Part(key, "key", 8), Part(" returns to the present", "", 7, cut_at=6, is_joined=True)], close
        if (key := self._key_of(actions[0])) is None:
            return [Part("the table follows the text as you type; esc leads back", "", 7, cut_at=6)], []
        if self.state.present.monotonic - self._began_at < at:
            return [Part(f"{place} comes with the next change", "faint", 7, cut_at=6)], close
        return [
            Part(f"{place}:", "faint", 4),
            Part(key, "key", 8),
            Part(f" {text}", "", 7, cut_at=6, is_joined=True),
        ], close

    def _key_of(self, action: str) -> str | None:
        bindings = (each.binding for each in self.screen.active_bindings.values())
        return next((self.app.get_key_display(each) for each in bindings if each.action == action), None)


class HintedApp(EnvwatchApp):
    """The dashboard with hints; once the hints end, later demos show no hints."""

    def __init__(self, inputs: Inputs, preferences: Preferences, hints: Sequence[Hint], *, close_key: str) -> None:
        super().__init__(inputs, preferences)
        self._hints = hints
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
        key = self.get_key_display(Binding(self._close_key, "", ""))
        bar = HintBar(self._hints, key, self.state.present.monotonic)
        bar.display = self.size.height >= LEAST_LINES
        self._hint_bar = bar.data_bind(EnvwatchApp.state)
        self.dashboard.mount(bar, before=self.dashboard.query_one(FilterBar))

    def on_resize(self, event: Resize) -> None:
        if self._hint_bar is not None:
            self._hint_bar.display = event.size.height >= LEAST_LINES

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
