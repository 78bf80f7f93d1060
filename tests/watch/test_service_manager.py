"""Notifications to systemd, over real sockets."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.builders import listed

from envwatch.watch.pinging import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WATCHED = {"WATCHDOG_USEC": "30000000"}


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver


def received(receiver: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(receiver.recv(1_000))
        except BlockingIOError:
            return found


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@envwatch-test-{os.getpid()}"


def sent_to(address: str, environ: dict[str, str]) -> list[bytes]:
    with manager(address) as receiver:
        with ServiceManager(environ | {"NOTIFY_SOCKET": address}) as service:
            service.ready()
            service.take(listed([]))
        return received(receiver)


def test_it_gets_the_begin_each_listing_and_the_end(address: str) -> None:
    assert sent_to(address, WATCHED) == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert sent_to(address + "2", WATCHED | {"WATCHDOG_PID": str(os.getpid())})[1] == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "variables", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, WATCHED | {"WATCHDOG_PID": "1"}]
)
def test_a_watchdog_that_is_not_ours_is_not_fed(variables: dict[str, str], tmp_path: Path) -> None:
    assert sent_to(str(tmp_path / "notify"), variables) == [b"READY=1", b"STOPPING=1"]


def test_the_variables_are_not_left_to_child_processes() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@without-a-listener", "vsock:2:1234", "relative"])
def test_without_a_listener_nothing_happens(address: str) -> None:
    with ServiceManager({"NOTIFY_SOCKET": address} | WATCHED) as manager:
        manager.ready()
        manager.take(listed([]))
