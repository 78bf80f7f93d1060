"""Addresses, the listening socket, and the TLS certificate."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.files import file_signature
from envwatch.model.redactor import ReportedError
from envwatch.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path


DEFAULT_ADDRESS: Final = "127.0.0.1:8283"
"""Letta's server uses the same port."""

_ADDRESS: Final = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-fA-F:.]+)\]|localhost):(?P<port>[0-9]{1,5})")
_UNREAD_BYTES: Final = 16 << 10


class ServerError(ReportedError):
    """The server cannot start or continue; no message contains a token."""


class Address(NamedTuple):
    """An IP address and a port."""

    host: str
    port: int
    """0 for any free port."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: object) -> Address:
    """Return the address in a text such as `[::1]:8283` or `localhost:8283`.

    IPv4 written as IPv6 (`::ffff:127.0.0.1`) is refused: Python versions disagree whether that is loopback.

    Raises:
        ValueError: the message ends a sentence.
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


def listen(address: Address) -> socket.socket:
    """Return a listening socket; raise `ServerError` on failure."""
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
    # Connections inherit the options. Without TCP_NODELAY, a body waits for the head's acknowledgement, which clients
    # delay by 40 ms; asyncio sets the option only on sockets created with TCP's number. SO_RCVBUF limits unread bytes
    # of a client that reads no answers.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
    return found


class Certificate:
    """A certificate chain and key in PEM files; unusable files raise `ServerError`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._signature = [file_signature(path) for path in self._files]
        self.context = self._loaded()

    def reread(self) -> bool:
        """Load changed files; return whether the files changed.

        Raises:
            ServerError: the changed files are unusable; the old context stays.
        """
        signature = [file_signature(path) for path in self._files]
        if signature == self._signature:
            return False
        self._signature = signature
        self.context = self._loaded()
        return True

    def _loaded(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

        def no_password() -> str:  # without a function, OpenSSL would ask at the terminal
            raise ServerError(f"{clean(str(key))} cannot be used for TLS: it has a password")

        try:
            for path in self._files:
                with path.open("rb"):  # OpenSSL does not name an unreadable file
                    pass
            context.load_cert_chain(certificate, key, password=no_password)
        except ssl.SSLError as error:
            is_mismatch = "MISMATCH" in (error.reason or "")
            reason = "the key is not the certificate's" if is_mismatch else "a certificate or its key is missing"
            names = " and ".join(dict.fromkeys(clean(str(path)) for path in self._files))
            raise ServerError(f"{names} cannot be used for TLS: {reason}") from None
        except OSError as error:
            raise ServerError(f"{clean(str(error.filename))} cannot be used for TLS: {error.strerror}") from None
        return context
