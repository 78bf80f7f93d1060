"""Where the server listens: addresses with ports, and the socket, which holds TLS handshakes within a number."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_ADDRESS: Final = "127.0.0.1:8283"
"""The port is that of Letta's own server."""

_ADDRESS: Final = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-fA-F:.]+)\]|localhost):(?P<port>[0-9]{1,5})")


class ServerError(Exception):
    """The server cannot start, or not go on as it should; the message is one line that says why."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    """An IP address."""
    port: int
    """0 for any free one."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: object) -> Address:
    """Read an address with a port: `127.0.0.1:8283`, `[::1]:8283`, `localhost:8283`.

    An IPv4 address written as IPv6 (`::ffff:127.0.0.1`) is none: whether that is loopback depends on Python's version.

    Raises:
        ValueError: it is none; the message is the end of a sentence.
    """
    parts = _ADDRESS.fullmatch(str(text))
    with suppress(ValueError):
        if parts is not None and int(parts["port"]) < 1 << 16:
            if parts["v6"]:
                address = IPv6Address(parts["v6"])
                if address.ipv4_mapped is None:
                    return Address(str(address), int(parts["port"]))
                raise ValueError
            return Address(str(IPv4Address(parts["v4"] or "127.0.0.1")), int(parts["port"]))
    raise ValueError("must be an IP address and a port: 127.0.0.1:8283, [::1]:8283, 0.0.0.0:8283")


class ListeningSocket(socket.socket):
    """A listening socket that ends the oldest TLS handshakes where there are too many of them.

    asyncio makes the protocol of a connection known only after its handshake, so these are counted here. A viewer's
    takes some milliseconds, one that never ends takes until its timeout.
    """

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


def listen(address: Address) -> ListeningSocket:
    """Return a socket that listens at an address.

    Raises:
        ServerError: that is not possible.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        found = socket.create_server(
            (address.host, address.port), family=family, backlog=128, dualstack_ipv6=address.host == "::"
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(f"{address} is in use, maybe by another `envwatch serve`; --bind takes another") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ServerError(f"cannot listen at {address}: {reason}") from None
    # Connections inherit it. Without it a body waits for the acknowledgement of its head, which clients delay by 40 ms;
    # asyncio sets it only on sockets that were made for TCP by number.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ListeningSocket(found)
