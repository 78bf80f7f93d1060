"""Where the server listens: addresses with ports, and the socket."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from envwatch.serving.handshakes import ListeningSocket

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
