"""A limit for the time that a command takes, whatever it waits for."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)


@contextmanager
def time_limit(seconds: float, end: Callable[[signal.Signals], int]) -> Iterator[None]:
    """End this process after a time, or at once when it is terminated or interrupted.

    The process does not wait for anything then, as a look-up of a host's name runs in a thread that nothing can end.

    Args:
        seconds: the time, more than 0.
        end: called with the signal, SIGALRM after the time; returns the exit code.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        os._exit(end(signal.Signals(number)))

    before = {each: signal.signal(each, leave) for each in _SIGNALS}
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
