"""The App of the demo while it shows hints; no other module uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding

from envwatch.tui.app import EnvwatchApp
from envwatch.tui.terminal.textual_internals import add_binding
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.hint_bar import HintBar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from textual.actions import ActionParseResult
    from textual.dom import DOMNode
    from textual.events import Resize
    from textual.screen import Screen

    from envwatch.tui.arguments import Inputs, Persistence, Preferences


class HintedApp(EnvwatchApp):
    """The dashboard with a line of hints above its footer, until they were all followed or are closed.

    `close_key` closes them, and has no other meaning; `keep_closed` is called when they end: no later demo shows them.
    """

    def __init__(
        self,
        inputs: Inputs,
        saved: Persistence,
        preferences: Preferences,
        *,
        close_key: str,
        keep_closed: Callable[[], None],
    ) -> None:
        super().__init__(inputs, saved, preferences)
        self._close_key = close_key
        self._keep_closed = keep_closed
        self._hint_bar: HintBar | None = None

    def get_default_screen(self) -> Screen[None]:
        """Return the dashboard, with the key that closes the hints."""
        screen = super().get_default_screen()
        binding = Binding(self._close_key, "app.close_hints", "No more hints (demo)", show=False, id="app.hints")
        add_binding(screen, binding)
        return screen

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_hints)

    def _show_hints(self) -> None:
        if not self.dashboard.is_attached:
            return  # the user has quit already
        self._hint_bar = HintBar(self.get_key_display(Binding(self._close_key, "", "")))
        self._hint_bar.fit(self.size.height)
        self.dashboard.mount(self._hint_bar, before=self.dashboard.query_one(FilterBar))

    def on_resize(self, event: Resize) -> None:
        """Give the line back to a screen that has become low."""
        if self._hint_bar is not None:
            self._hint_bar.fit(event.size.height)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Perform an action, as Textual does, and show the next hint if this one was about it."""
        has_run = await super().run_action(action, default_namespace, namespaces)
        if has_run and self._hint_bar is not None and isinstance(action, str):
            self._hint_bar.note(action.removeprefix("app."))
            if not self._hint_bar.left:
                await self._end_hints()
                self.answer("those were the hints: ? has all keys")
        return has_run

    async def action_close_hints(self) -> None:
        await self._end_hints()
        self.answer("no more hints, in later demos either")

    async def _end_hints(self) -> None:
        bar, self._hint_bar = self._hint_bar, None
        if bar is not None:
            await bar.remove()
        self._keep_closed()
