"""Calls that block for an unknown time, as a slow disk or the look-up of a host may, in threads nothing waits for."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T]) -> T:
    """Return what a blocking function returns, or raise what it raises, without ever waiting for its end.

    asyncio's own threads are joined at the end of the loop: a call that hangs would hold up the exit of the program.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # so that no end of the waiting cancels the call

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            result.set_exception(error)

    Thread(target=run, name="in_thread", daemon=True).start()
    return await asyncio.wrap_future(result)
