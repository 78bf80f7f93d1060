"""Job control: TSTP and CONT, `bg` and `fg`, and a start in the background.

Private parts of Textual's `LinuxDriver` in use: `_auto_restart` (false inside `App.suspend`, where signals change
nothing), `_must_signal_resume` (makes the next start publish `App.app_resume_signal`, which redraws) and `_loop`.
Without them, stop and resume raise AttributeError, and mypy fails.
"""

from __future__ import annotations

import os
import signal
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

    from envwatch.tui.terminal.driver import TerminalDriver

_TERM_LAG_S: Final = 0.3
"""By how much the TERM of `kill %1` may come later than the CONT that the shell sends with it."""

_JOB_SIGNALS: Final = (signal.SIGTSTP, signal.SIGCONT)


class JobControl:
    """Stops and resumes a driver on TSTP and CONT, always from the event loop.

    Not in the signal handler: the interrupted code could hold the lock that writing needs.
    """

    def __init__(self, driver: TerminalDriver) -> None:
        self._driver = driver
        self._signal: int | None = None
        """The newest signal that is not handled yet; it replaces older ones."""
        for number in _JOB_SIGNALS:
            signal.signal(number, self._on_signal)

    def release(self) -> None:
        for number in _JOB_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def wait_for_foreground(self) -> None:
        """Have the kernel stop the whole job until the shell gives it the terminal, as for a job that reads there.

        Raises:
            SystemExit: if no shell is left that could do so.
        """
        if self._is_in_foreground():
            return
        # There is nothing to restore yet, so default handlers do. Ours would let CONT run into the next stop before
        # Python gets to handle the TERM that came with it.
        numbers = (*self._driver.guard.previous_handlers, *_JOB_SIGNALS)
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
        terminal = self._driver.fileno
        try:
            termios.tcsetattr(terminal, termios.TCSANOW, termios.tcgetattr(terminal))
        except termios.error as error:
            raise SystemExit(128 + signal.SIGHUP) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._driver.fileno) == os.getpgrp()
        except OSError:  # not our controlling terminal: it cannot stop us
            return True

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        self._driver._loop.call_soon_threadsafe(self._handle_signal)

    def _handle_signal(self) -> None:
        number, self._signal = self._signal, None
        if number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            self._resume()

    def _stop(self) -> None:
        if self._driver._auto_restart and self._driver.is_taken:
            self._suspend()
        # Releasing the terminal takes time. A CONT that came meanwhile resumed nothing, and no other will come.
        if self._signal != signal.SIGCONT:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        driver = self._driver
        if driver.guard.is_ending or not driver._auto_restart:
            return
        if not self._is_in_foreground():
            # `bg`: no screen to draw on. Or `kill %1`, whose TERM another thread may get a little later.
            driver._loop.call_later(0 if driver.is_taken else _TERM_LAG_S, self._stop_in_background)
            return
        if driver.is_taken:
            self._suspend()  # stopped by STOP, which no handler sees; the shell has used the terminal since
        driver.resume_application_mode()

    def _suspend(self) -> None:
        self._driver.suspend_application_mode()
        self._driver._must_signal_resume = True

    def _stop_in_background(self) -> None:
        if not (self._driver.guard.is_ending or self._is_in_foreground()):
            os.kill(os.getpid(), signal.SIGSTOP)


def has_shell() -> bool:
    """Whether a parent in this session can resume us; false in `ssh -t host envwatch` and alone in a container."""
    parent = os.getppid()
    try:
        return parent != 0 and os.getsid(parent) == os.getsid(0)
    except OSError:  # the parent has just ended
        return False
