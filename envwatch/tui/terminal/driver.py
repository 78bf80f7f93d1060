"""The driver: takes the terminal once and restores it however the program ends.

Textual leaves the terminal as it is on TERM and HUP, spins when the terminal is gone, takes it again on a stray CONT,
fails when started in the background, and waits forever for a terminal that is not read. `ExitGuard`, the driver's
job control, `TerminalFile` and `InputParser` mend that.

Private parts of Textual's `LinuxDriver` in use:

* `_file`: the writer thread's file.
* `_run_input_thread`: the input thread's function.
* `_mouse` and the methods that switch mouse modes.
* `_in_band_window_resize`: whether Textual trusts the sizes that the terminal reports.
* `_auto_restart`: false inside `App.suspend`, where signals change nothing.
* `_must_signal_resume`: makes the next start publish `App.app_resume_signal`, which redraws.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
import time
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from textual.drivers.linux_driver import LinuxDriver

from envwatch.model.text import clean
from envwatch.tui.terminal.foreground import run_in_foreground
from envwatch.tui.terminal.input_bytes import InputParser
from envwatch.tui.terminal.terminal_file import TerminalFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import FrameType

    from textual.app import App
    from textual.message import Message

    from envwatch.model.text import SafeText


_INPUT_POLL_S: Final = 0.1
"""How often the input thread checks whether an incomplete sequence has had its time; without one, it sleeps."""

_READ_SIZE: Final = 4096
"""Bytes."""

_TERM_LAG_S: Final = 0.3
"""By how much the TERM of `kill %1` may come later than the CONT that the shell sends with it."""

RELEASE_TIMEOUT_S: Final = 0.7
"""From the request to end until the app has released the terminal in good order; then it is restored by force."""

EXIT_TIMEOUT_S: Final = 2.0
"""From the release to the end of the process, which a running name resolution would delay."""

_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_JOB_SIGNALS: Final = (signal.SIGTSTP, signal.SIGCONT)

_NO_TITLE: Final = frozenset({"linux", "dumb", "", None})
"""Values of `TERM` without a title; the Linux console would print some of it."""

_SAVE_TITLE, _RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""Push the terminal's title on its stack, and take it back from there (XTWINOPS); others ignore both."""

_RESET: Final = (
    "\x18"  # ends a sequence that was cut off
    "\x1b[?2026l"
    "\x1b[?1000l\x1b[?1006l"
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)
"""Switches back every mode that Textual switches."""


class TerminalDriver(LinuxDriver):
    """Textual's driver, with signals handled by the event loop and a terminal that is always restored."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        terminal = self._file.fileno()  # type: ignore[union-attr]  # without standard error no screen is begun
        self._terminal_file = TerminalFile(terminal, ascii_only=getattr(app, "ascii_only", False))
        self._file = self._terminal_file  # type: ignore[assignment]  # has what the writer thread needs of a file
        self._has_title = getattr(app, "has_title", False) and os.environ.get("TERM") not in _NO_TITLE
        self._title = ""
        """The sequence of the newest title."""
        self.is_taken = False
        """Whether the terminal is in application mode."""
        self._is_mouse_lent = False
        self.guard = ExitGuard(self.fileno, self._end_app_soon, self._restore_by_force)
        self._job_signal: int | None = None
        """The newest signal of job control that is not handled yet; it replaces older ones."""
        for number in _JOB_SIGNALS:
            signal.signal(number, self._on_job_signal)
        self._woken, self._wakes = os.pipe()
        """Ends of a pipe in which something lies when the input thread should end."""

    def lend_mouse(self, *, is_lent: bool) -> None:
        """Leave the mouse to the terminal, across stops as well, or take it back if the user allows the mouse."""
        self._is_mouse_lent = is_lent
        if is_lent:
            self._disable_mouse_support()
        elif not self.guard.is_ending:
            self._enable_mouse_support()

    async def run_in_foreground(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run a program on the terminal, which must not be taken meanwhile; see `foreground`."""
        return await run_in_foreground(command, environ, stdin=self.fileno, stdout=self._terminal_file.fileno())

    def show_title(self, title: SafeText) -> None:
        """Set the terminal's title, if it has one and it changes."""
        sequence = f"\x1b]2;{clean(title)}\x07"
        if self._has_title and sequence != self._title:
            self._title = sequence
            self.write(sequence)

    def release(self) -> None:
        """Restore the terminal and the signal handlers."""
        self.stop_application_mode()
        self.close()
        self.guard.release()
        for number in _JOB_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _end_app_soon(self, code: int) -> None:
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._end_app, code)

    def _end_app(self, code: int) -> None:
        if not self._app._exit:
            self._app.exit(return_code=code)

    def _restore_by_force(self) -> None:
        if self.is_taken:
            self._terminal_file.close_with(_RESET + (_RESTORE_TITLE if self._has_title else ""))
            if self.attrs_before is not None:
                with suppress(termios.error):
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)

    def _enable_mouse_support(self) -> None:
        """Ask for clicks and the wheel only; a report for each cell that the mouse crosses would cost a packet."""
        if self._mouse and not self._is_mouse_lent:
            self.write("\x1b[?1000h\x1b[?1006h")
            self.flush()

    def _enable_mouse_pixels(self) -> None:
        """Keep positions in cells."""

    def _disable_in_band_window_resize(self) -> None:
        self.write("\x1b[?2048l")

    def start_application_mode(self) -> None:
        """Take the terminal as soon as the process is in the foreground."""
        self._wait_for_foreground()
        self.is_taken = True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's own omission
        if self._has_title:
            self.write(_SAVE_TITLE + self._title)
        self.write("\x1b[?1004l")  # Textual asks for focus reports; nothing here depends on the focus

    def stop_application_mode(self) -> None:
        """Restore the terminal, once."""
        if self.is_taken:
            self.write("\x1b[0m")
            if self._has_title:
                self.write(_RESTORE_TITLE)
            super().stop_application_mode()

    def close(self) -> None:
        """Wait until everything is written."""
        if self.is_taken:
            super().close()
            self.is_taken = False

    def disable_input(self) -> None:
        """Stop reading keys; skipped when the terminal is the shell's again, where even a query would stop us."""
        if self.is_taken:
            os.write(self._wakes, b".")  # or the thread would be joined only after its next look
            super().disable_input()
            os.read(self._woken, _READ_SIZE)

    def write(self, data: str) -> None:
        """Write to the terminal while it is taken."""
        if self.is_taken:
            super().write(data)

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            self.guard.hang_up()
        except Exception as error:  # noqa: BLE001  any bug in this thread is a crash of the app
            self._loop.call_soon_threadsafe(self._app._handle_exception, error)

    def run_input_thread(self) -> None:
        """Read from the terminal and post what it means."""
        parser = InputParser(self._kernel_size)
        while not self.exit_event.is_set():
            messages: Iterable[Message] = ()
            timeout_s = _INPUT_POLL_S if parser.is_waiting else None
            if self.fileno in select.select([self.fileno, self._woken], [], [], timeout_s)[0]:
                messages = parser.feed(os.read(self.fileno, _READ_SIZE), time.monotonic())
            for message in chain(messages, parser.tick(time.monotonic())):
                self.process_message(message)

    @property
    def _in_band_window_resize(self) -> bool:
        """Never let Textual ignore the kernel's signal of another size, or the terminal could mislead us."""
        return False

    @_in_band_window_resize.setter
    def _in_band_window_resize(self, value: bool) -> None:
        pass

    def _kernel_size(self) -> tuple[int, int] | None:
        size = os.get_terminal_size(self.fileno)
        return size if all(size) else None

    # Stop and resume on TSTP and CONT, `bg` and `fg`: from the event loop, as the code that a signal handler interrupts
    # could hold the lock that writing needs.

    def _wait_for_foreground(self) -> None:
        """Have the kernel stop the whole job until the shell gives it the terminal, as for a job that reads there.

        Raises:
            SystemExit: if no shell is left that could do so.
        """
        if self._is_in_foreground():
            return
        # There is nothing to restore yet, so default handlers do. Ours would let CONT run into the next stop before
        # Python gets to handle the TERM that came with it.
        numbers = (*self.guard.previous_handlers, *_JOB_SIGNALS)
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
        terminal = self.fileno
        try:
            termios.tcsetattr(terminal, termios.TCSANOW, termios.tcgetattr(terminal))
        except termios.error as error:
            raise SystemExit(128 + signal.SIGHUP) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # not our controlling terminal: it cannot stop us
            return True

    def _on_job_signal(self, number: int, _: FrameType | None) -> None:
        self._job_signal = number
        self._loop.call_soon_threadsafe(self._handle_job_signal)

    def _handle_job_signal(self) -> None:
        number, self._job_signal = self._job_signal, None
        if number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            self._resume()

    def _stop(self) -> None:
        if self._auto_restart and self.is_taken:
            self._suspend()
        # Releasing the terminal takes time. A CONT that came meanwhile resumed nothing, and no other will come.
        if self._job_signal != signal.SIGCONT:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        if self.guard.is_ending or not self._auto_restart:
            return
        if not self._is_in_foreground():
            # `bg`: no screen to draw on. Or `kill %1`, whose TERM another thread may get a little later.
            self._loop.call_later(0 if self.is_taken else _TERM_LAG_S, self._stop_in_background)
            return
        if self.is_taken:
            self._suspend()  # stopped by STOP, which no handler sees; the shell has used the terminal since
        self.resume_application_mode()

    def _suspend(self) -> None:
        self.suspend_application_mode()
        self._must_signal_resume = True

    def _stop_in_background(self) -> None:
        if not (self.guard.is_ending or self._is_in_foreground()):
            os.kill(os.getpid(), signal.SIGSTOP)


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
