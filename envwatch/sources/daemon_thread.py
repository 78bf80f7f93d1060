"""Calls that block for an unknown time, as a slow disk or the look-up of a host may, in threads nothing waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T]) -> T:
    """Return what a blocking function returns, or raise what it raises, without ever waiting for its end.

    asyncio's own threads are joined at the end of the loop: a call that hangs would hold up the exit of the program.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if not result.done():  # otherwise the deadline has passed
            if error is None:
                result.set_result(value)  # type: ignore[arg-type]  # None only beside an error
            else:
                result.set_exception(error)

    def run() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as problem:  # noqa: BLE001 - raised again where it is awaited
            error = problem
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, value, error)

    Thread(target=run, name="in_thread", daemon=True).start()
    return await result
