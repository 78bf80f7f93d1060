"""The guaranteed exit: once the end is requested or the terminal is gone, the process ends in bounded time."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

RELEASE_TIMEOUT_S: Final = 0.7
"""From the request to end until the app has released the terminal in good order; then it is restored by force."""

EXIT_TIMEOUT_S: Final = 2.0
"""From the release to the end of the process, which a running name resolution would delay."""

_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class ExitGuard:
    """Handles TERM, HUP and INT, and watches the terminal from a daemon thread that waits in the kernel.

    Args:
        terminal: the terminal's file descriptor.
        end_app: asks the app to end with an exit code; called from any thread and from signal handlers.
        restore_terminal: restores the terminal by force; called from the guard's thread.
    """

    def __init__(self, terminal: int, end_app: Callable[[int], None], restore_terminal: Callable[[], None]) -> None:
        self.is_ending = False
        self._terminal = terminal
        self._end_app = end_app
        self._restore_terminal = restore_terminal
        self._was_released = threading.Event()
        self._lock = threading.Lock()
        """Held from the begin of a forced restoration to the end of the process."""
        self._read_end, self._write_end = os.pipe()
        """Carries one byte, the exit code: nothing more is safe in a signal handler."""
        self.previous_handlers: dict[signal.Signals, Any] = {}
        """By the signals that the guard handles."""
        for number in _END_SIGNALS:
            # Signals that the parent ignores stay ignored: nohup, or a shell that runs us in the background.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.previous_handlers[number] = signal.signal(number, self._on_end_signal)
        threading.Thread(target=self._run, name="exit-guard", daemon=True).start()

    def arm(self, code: int) -> None:
        """Ensure that the process ends in bounded time; the first call decides the exit code."""
        self.is_ending = True
        os.write(self._write_end, bytes([code]))

    def end(self, code: int) -> None:
        """End app and process with this exit code, from any thread."""
        self.arm(code)
        self._end_app(code)

    def hang_up(self) -> None:
        """End as after HUP: the terminal is gone."""
        self.end(128 + signal.SIGHUP)

    def release(self) -> None:
        """Report that the terminal has been released, and restore the signal handlers.

        Does not return while the guard restores the terminal: what the app does next closes its file descriptor.
        """
        with self._lock:
            self._was_released.set()
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)

    def _on_end_signal(self, number: int, _: FrameType | None) -> None:
        self.end(128 + number)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._terminal, 0)  # reports a hang-up only
        poll.register(self._read_end, select.POLLIN)
        if all(descriptor != self._read_end for descriptor, _ in poll.poll()):
            self.hang_up()
        code = os.read(self._read_end, 1)[0]
        if self._was_released.wait(RELEASE_TIMEOUT_S):
            time.sleep(EXIT_TIMEOUT_S)
        else:
            self._lock.acquire()
            self._restore_terminal()
        os._exit(code)
