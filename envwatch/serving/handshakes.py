"""Connections on which TLS has not been agreed on yet, held within a number.

asyncio makes the protocol of such a connection known only after its handshake, so the listening socket counts them.
The oldest ones end first: a viewer's handshake takes some milliseconds, one that never ends takes until its timeout.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class ListeningSocket(socket.socket):
    """A listening socket that ends the oldest handshakes where there are too many of them."""

    def __init__(self, listening: socket.socket) -> None:
        """Take the place of another socket, which cannot be used any more."""
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.most_handshakes: Callable[[], int] | None = None
        """Returns how many there may be; None where connections begin without one."""
        self._handshaking: dict[int, socket.socket] = {}
        """Accepted sockets by their descriptors, the oldest first; some may be closed already."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        accepted, address = super().accept()
        if self.most_handshakes is not None:
            self._handshaking.pop(accepted.fileno(), None)  # a closed one that had its number
            self._handshaking[accepted.fileno()] = accepted
            self._end_oldest(self.most_handshakes())
        return accepted, address

    def agreed(self, descriptor: int) -> None:
        """Note the end of a handshake."""
        self._handshaking.pop(descriptor, None)

    def _end_oldest(self, most: int) -> None:
        if len(self._handshaking) <= most:
            return
        self._handshaking = {number: each for number, each in self._handshaking.items() if each.fileno() == number}
        for number in list(self._handshaking)[: max(len(self._handshaking) - most, 0)]:
            with suppress(OSError):  # its client has ended it
                self._handshaking.pop(number).shutdown(socket.SHUT_RDWR)  # its transport then closes it
