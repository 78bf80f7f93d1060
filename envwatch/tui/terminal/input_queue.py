"""Serialises input: each key, click or paste is handled before the next event.

Textual routes a key to the focus at reading time. On slow links, several keys arrive in one packet. Keys after a key
that opens a box would reach the covered screen: half of a note would be commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual.events import InputEvent, Key, MouseDown, MouseEvent, MouseUp, Paste

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.app import App
    from textual.dom import DOMNode
    from textual.events import Event
    from textual.screen import Screen
    from textual.widget import Widget

_TIMEOUT_S: Final = 0.5
"""An event may delay the next event by at most this time."""

_FRAME_S: Final = 0.02
"""Time to draw before the queue checks whether a key is handled."""


class InputQueue:
    """The queue of an app's input."""

    def __init__(self, app: App[Any], deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._app = app
        self._deliver = deliver
        self._events: deque[InputEvent | Paste] = deque()
        self._is_busy = False
        self._focus: tuple[Screen[Any], Widget | None] | None = None
        self._became_busy, self._next_waits = asyncio.Event(), asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._events

    async def put(self, event: InputEvent | Paste) -> None:
        self._events.append(event)
        await self._deliver_waiting()

    async def run(self) -> None:
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
        """Return escape and the key if alt+key is unbound: terminals send the same for both."""
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
        """Return whether an event may move the focus. Keys within a widget do not, and arrive in crowds."""
        if isinstance(event, Key):
            bound = self._app.screen.active_bindings.get(event.key)
            if bound is None or bound.node is not self._app.focused:
                return True
            return not (bound.binding.id or "").startswith("move.")
        return not isinstance(event, MouseEvent) or isinstance(event, MouseDown | MouseUp)

    async def settle(self) -> None:
        app = self._app
        await self._drain_messages()
        while app.screen_stack and self._focus != (focus := (app.screen, app.focused)):
            self._focus = focus
            for _ in range(2):  # first the size, then the layout of the content
                await _called(focus[0].call_after_refresh)
                await self._drain_messages()

    async def _drain_messages(self) -> None:
        app = self._app
        target: DOMNode | None = app.focused or app.screen if app.screen_stack else None
        while target is not None:
            await _called(target.call_later)
            target = target.parent


async def _called(schedule: Callable[[Callable[[], None]], bool]) -> None:
    called = asyncio.Event()
    if schedule(called.set):
        await called.wait()
