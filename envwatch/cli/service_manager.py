"""Notifies systemd by the protocol of sd_notify(3): that watching has begun, that listings come, that it ends.

The watchdog is fed by complete listings alone, so that a process that is alive and sees nothing is restarted. Does
nothing where no service manager asks for it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class ServiceManager:
    """The service manager that a process notifies.

    Args:
        address: of a datagram socket: a path, or an abstract name after `@`; empty for none.
        has_watchdog: whether the manager expects signs of life.
    """

    def __init__(self, address: str = "", *, has_watchdog: bool = False) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._has_watchdog = has_watchdog

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Self:
        """Return the manager that the variables name, and remove them: they are not meant for child processes."""
        address = environ.pop("NOTIFY_SOCKET", "")
        interval, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_meant = process in {"", str(os.getpid())}
        has_watchdog = interval.isdecimal() and int(interval) > 0 and is_meant
        return cls(address if address.startswith(("/", "@")) else "", has_watchdog=has_watchdog)

    def ready(self) -> None:
        """Say that watching has begun."""
        self._send("READY=1")

    def listed(self) -> None:
        """Feed the watchdog: a complete listing has come."""
        if self._has_watchdog:
            self._send("WATCHDOG=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Say that the process is about to end."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # The manager may be restarting: what is not delivered is not needed to watch.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), self._address)
