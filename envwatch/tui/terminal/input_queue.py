"""Serialises input: one key, click or paste is handled fully before the next one.

Textual routes a key to what has the focus when the key is read. When several keys arrive in one packet, as on slow
links, those behind a key that opens a box would go to what the box is about to cover: half of a note would be commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual.events import InputEvent, Key, MouseDown, MouseEvent, MouseUp, Paste

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from textual.app import App
    from textual.dom import DOMNode
    from textual.events import Event
    from textual.screen import Screen
    from textual.widget import Widget

_TIMEOUT_S: Final = 0.5
"""How long an event may hold up the next one."""

_FRAME_S: Final = 0.02
"""Time to draw what a key changed before the queue checks whether it is handled, unless the next event waits."""


class InputQueue:
    """The queue of an app's input events, which `deliver` handles as Textual does."""

    def __init__(self, app: App[Any], deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._app = app
        self._deliver = deliver
        self._events: deque[InputEvent | Paste] = deque()
        self._is_busy = False
        """Whether the last event is still being handled."""
        self._focus: tuple[Screen[Any], Widget | None] | None = None
        """Screen and widget with the focus when the last event was delivered."""
        self._moving_widget: Widget | None = None
        self._moving_keys: AbstractSet[str] = frozenset()
        self._became_busy, self._next_waits = asyncio.Event(), asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._events

    async def put(self, event: InputEvent | Paste) -> None:
        """Handle an event after all that came before it."""
        self._events.append(event)
        await self._deliver_waiting()

    async def run(self) -> None:
        """Release the next event each time one is handled. Runs until it is cancelled."""
        while await self._became_busy.wait():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._next_waits.wait(), _FRAME_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.settle(), _TIMEOUT_S)
            self._became_busy.clear()
            self._next_waits.clear()
            self._is_busy = False
            self._app.call_later(self._deliver_waiting)

    async def _deliver_waiting(self) -> None:
        while self._events and not self._is_busy:
            event = self._events.popleft()
            if isinstance(event, Key) and (keys := self._without_alt(event)):
                event, following = keys
                self._events.appendleft(following)
            self._is_busy = self.holds_up_next(event)
            self._focus = (self._app.screen, self._app.focused)
            await self._deliver(event)
            if self._is_busy:
                self._became_busy.set()
        if self._events:
            self._next_waits.set()

    def _without_alt(self, event: Key) -> tuple[Key, Key] | None:
        """Return escape and the key alone if nothing is bound to the key with alt: terminals send the same for both."""
        name = event.key.removeprefix("alt+")
        if name == event.key or event.key in self._app.screen.active_bindings:
            return None
        if name.startswith("shift+") and len(name) == len("shift+") + 1:
            name = name[-1].upper()
        keys = Key("escape", "\x1b"), Key(name, event.character or (name if len(name) == 1 else None))
        for key in keys:
            key.set_sender(self._app)
        return keys

    def holds_up_next(self, event: InputEvent | Paste) -> bool:
        """Whether an event may move the focus. Keys that only move within a widget may not, and they come in crowds."""
        if isinstance(event, Key):
            return event.key not in self._keys_that_move()
        return not isinstance(event, MouseEvent) or isinstance(event, MouseDown | MouseUp)

    def _keys_that_move(self) -> AbstractSet[str]:
        """Return the keys that the focused widget binds to ids of `move.`."""
        focused = self._app.focused
        if focused is not self._moving_widget:
            self._moving_widget = focused
            self._moving_keys = {
                key
                for key, (node, binding, *_) in self._app.screen.active_bindings.items()
                if node is focused and (binding.id or "").startswith("move.")
            }
        return self._moving_keys

    async def settle(self) -> None:
        """Wait until an event, its consequences, and a screen that it opens or closes are handled."""
        app = self._app
        await self._drain_messages()
        while app.screen_stack and self._focus != (focus := (app.screen, app.focused)):
            self._focus = focus
            for _ in range(2):  # what gets the keys now has its size, then the layout of what it draws in it
                await _called(focus[0].call_after_refresh)
                await self._drain_messages()

    async def _drain_messages(self) -> None:
        """Wait for the messages that wait at each node that a key can reach; there is none while the app ends."""
        app = self._app
        target: DOMNode | None = app.focused or app.screen if app.screen_stack else None
        while target is not None:
            await _called(target.call_later)
            target = target.parent


async def _called(schedule: Callable[[Callable[[], None]], bool]) -> None:
    """Wait until a callback that is scheduled now is called."""
    called = asyncio.Event()
    if schedule(called.set):
        await called.wait()
