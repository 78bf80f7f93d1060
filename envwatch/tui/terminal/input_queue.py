"""Keys and clicks in turn: each has done all that it does before the next one is looked at.

Owns the order of what a person does. Textual gives a key to what has the focus when the key is read. Of keys that come
in one packet, as slow links send them, those behind one that opens a box would act on what the box is about to cover:
half of a note would be commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual.app import App, ReturnType
from textual.events import InputEvent, Key, MouseDown, MouseEvent, MouseUp, Paste

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from textual.dom import DOMNode
    from textual.events import Event
    from textual.screen import Screen
    from textual.widget import Widget

_LONGEST_TURN: Final = 0.5
"""Seconds after which what is still not dealt with no longer holds up what was done next."""

_FRAME: Final = 0.02
"""Seconds in which a key is to be seen before we look whether all is done, unless the next key waits."""


class TurnTakingApp(App[ReturnType]):
    """An App that deals with one key, click or pasted text after the other."""

    _is_dealing: bool = False
    """Whether something is still being dealt with."""

    def __init__(self) -> None:
        super().__init__()
        self._place: tuple[Screen[Any], Widget | None] | None = None
        self._moving: Widget | None = None
        self._moved_by: AbstractSet[str] = frozenset()
        self._waiting: deque[InputEvent | Paste] = deque()
        self._has_begun, self._is_awaited = asyncio.Event(), asyncio.Event()

    def on_mount(self) -> None:
        """Be there to end turns."""
        self.run_worker(self._end_turns())

    async def on_event(self, event: Event) -> None:
        """Put what a person does behind what they did before, and take everything else at once."""
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded:
            self._waiting.append(event)
            await self._begin_turn()
        else:
            await super().on_event(event)

    async def _begin_turn(self) -> None:
        while self._waiting and not self._is_dealing:
            event = self._waiting.popleft()
            self._is_dealing = self._may_lead_elsewhere(event)
            self._place = (self.screen, self.focused)
            await super().on_event(event)
            if self._is_dealing:
                self._has_begun.set()
        if self._waiting:
            self._is_awaited.set()

    def _may_lead_elsewhere(self, event: InputEvent | Paste) -> bool:
        """Whether the next key may have to go to something else: not after what only moves, of which many may come."""
        if isinstance(event, Key):
            return event.key not in self._moves()
        return not isinstance(event, MouseEvent) or isinstance(event, MouseDown | MouseUp)

    def _moves(self) -> AbstractSet[str]:
        """Return the keys by which whatever has the focus moves in itself."""
        focused = self.focused
        if focused is not self._moving:
            self._moving = focused
            self._moved_by = {
                key
                for key, (node, binding, *_) in self.screen.active_bindings.items()
                if node is focused and (binding.id or "").startswith("move.")
            }
        return self._moved_by

    async def _end_turns(self) -> None:
        while await self._has_begun.wait():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_awaited.wait(), _FRAME)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settle(), _LONGEST_TURN)
            self._has_begun.clear()
            self._is_awaited.clear()
            self._is_dealing = False
            self.call_later(self._begin_turn)

    async def _settle(self) -> None:
        """Wait until a key, what it brings about, and a screen that it opens or closes have all been dealt with."""
        await self._pass_all()
        while self.screen_stack and self._place != (place := (self.screen, self.focused)):
            self._place = place
            await _passed(place[0].call_after_refresh)  # what gets the keys now knows how long it is
            await self._pass_all()

    async def _pass_all(self) -> None:
        """Wait until what stands before all whom a key can reach has been dealt with: nobody, while the app ends."""
        target: DOMNode | None = self.focused or self.screen if self.screen_stack else None
        while target is not None:
            await _passed(target.call_later)
            target = target.parent


async def _passed(call: Callable[[Callable[[], None]], bool]) -> None:
    """Wait until it is the turn of what is called now."""
    passed = asyncio.Event()
    if call(passed.set):
        await passed.wait()
