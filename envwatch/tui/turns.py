"""Keys and clicks in turn: each has done all that it does before the next one is looked at.

Owns the order of what a person does. Textual gives a key to what has the focus when the key is read. Of keys that come
in one packet, as slow links send them, those behind one that opens a box would act on what the box is about to cover:
half of a note would be commands.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from textual.app import App, ReturnType
from textual.events import InputEvent, MouseMove, Paste

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.events import Event
    from textual.message_pump import MessagePump

_LONGEST_TURN: Final = 0.5
"""Seconds after which what is still not dealt with no longer holds up what was done next."""


class TurnTakingApp(App[ReturnType]):
    """An App that deals with one key, click or pasted text after the other."""

    _turn: Event | None = None
    """What is dealt with now."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Queue[InputEvent | Paste] = asyncio.Queue()

    def on_mount(self) -> None:
        """Wait for the first key."""
        self.run_worker(self._take_turns())

    async def on_event(self, event: Event) -> None:
        """Put what a person does behind what they did before, and take everything else at once."""
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded and event is not self._turn:
            self._waiting.put_nowait(event)
        else:
            await super().on_event(event)

    async def _take_turns(self) -> None:
        while True:
            self._turn = await self._waiting.get()
            self.post_message(self._turn)
            if isinstance(self._turn, MouseMove):  # many, and none changes where the next one goes
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_TURN):
                    await self._settle()

    async def _settle(self) -> None:
        """Wait until a key, what it brings about, and a screen that it opens or closes have all been dealt with."""
        before: object = None
        while before != (before := (self.screen, self.focused)):
            await self._pass_all()  # the key
            await self._pass_all()  # the messages that it made a widget post

    async def _pass_all(self) -> None:
        await _pass(self)
        target: DOMNode | None = self.focused or self.screen
        while target is not None:
            await _pass(target)
            target = target.parent
        await _pass(self.screen)


async def _pass(pump: MessagePump) -> None:
    """Wait until all messages that stand before one now have been dealt with."""
    passed = asyncio.Event()
    if pump.call_later(passed.set):
        await passed.wait()
