"""Standard output for lines that come one by one: each is out at once, and no reader can hold up the loop.

What a slow reader does not take yet waits here. Pieces are so small that a descriptor that is ready takes them without
blocking, because the descriptor is shared with other processes and cannot be made non-blocking.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Final

from envwatch.cli.streams import output_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST: Final = 4 << 20
"""Bytes that may wait; then the reader decides the pace."""
_TERMINAL_PIECE: Final = 256
"""Bytes for a terminal, which may be ready with little room."""


class LineWriter:
    """Writes lines to an open descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._piece = _TERMINAL_PIECE if os.isatty(descriptor) else select.PIPE_BUF
        self._rest = bytearray()
        self._is_waiting = False
        self._moved = asyncio.Event()
        self._error: Exception | None = None

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines; wait only while `_MOST` bytes wait already.

        Raises:
            StopError: if that fails; without a message if the reader has left.
        """
        for line in lines:
            self._rest += line
            if len(self._rest) >= self._piece:
                self._flush()
            await self._drained(_MOST)
        self._flush()
        self.check()

    async def finish(self) -> None:
        """Wait until everything has been taken; raises as `write` does."""
        await self._drained(0)

    def check(self) -> None:
        """Raise as `write` does if the reader has left, or an earlier piece could not be written."""
        if self._state(0) & (select.POLLERR | select.POLLHUP):
            self._error = self._error or BrokenPipeError()
        self._raise()

    def close(self) -> None:
        """Drop what waits."""
        self._rest.clear()
        self._wait_for_reader(needed=False)

    async def _drained(self, most: int) -> None:
        if len(self._rest) > most:
            self._flush()
        while len(self._rest) > most:  # an error leaves nothing
            self._moved.clear()
            await self._moved.wait()
        self._raise()

    def _flush(self) -> None:
        """Write what the descriptor takes now, and have the rest written when it is ready."""
        try:
            while self._rest and self._state(select.POLLOUT):
                written = os.write(self._descriptor, self._rest[: self._piece])
                del self._rest[:written]
        except BlockingIOError:  # the parent made it non-blocking
            pass
        except OSError as error:
            self._error = error
            self._rest.clear()
        self._moved.set()
        self._wait_for_reader(needed=bool(self._rest))

    def _state(self, events: int) -> int:
        """Return what holds of the descriptor now: some of these events, or an error."""
        poll = select.poll()
        poll.register(self._descriptor, events)
        return sum(state for _, state in poll.poll(0))

    def _wait_for_reader(self, *, needed: bool) -> None:
        if needed is self._is_waiting:
            return
        self._is_waiting = needed
        loop = asyncio.get_running_loop()
        if needed:
            loop.add_writer(self._descriptor, self._flush)
        else:
            loop.remove_writer(self._descriptor)

    def _raise(self) -> None:
        if self._error is not None:
            with output_errors():
                raise self._error
