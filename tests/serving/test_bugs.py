"""Bugs in the server's thread end the program; otherwise stale answers would go unnoticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.upstream import wait_until

from envwatch.serving.listening import Address, listen
from envwatch.serving.server import HttpServer

if TYPE_CHECKING:
    from envwatch.serving.answers import Answer, Request


async def nothing(_: Request) -> Answer:
    raise NotImplementedError


def test_a_change_that_cannot_be_shown_ends_the_server_with_the_bug() -> None:
    notes: list[str] = []
    server = HttpServer(nothing, listen(Address("127.0.0.1", 0)), notes.append)
    bug, later = KeyError("row"), ValueError("of the next step")

    def fail(error: Exception) -> None:
        raise error

    server.start()
    server.call(lambda: fail(bug))
    server.call(lambda: fail(later))
    wait_until(lambda: server.error, "the server names the bug")
    asyncio.run(server.close())
    assert server.error is bug
    server.call(lambda: fail(later))
    assert notes == []
