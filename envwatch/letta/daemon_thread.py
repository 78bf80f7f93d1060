"""Run blocking calls in daemon threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T]) -> T:
    """Return a blocking function's result, or raise its exception.

    asyncio joins threads of `to_thread`, so a hanging disk or DNS would delay the exit.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # cancelling the wait must not cancel the call

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            result.set_exception(error)

    Thread(target=run, name="in_thread", daemon=True).start()
    return await asyncio.wrap_future(result)
