"""The life of the terminal: taken once, given back whatever happens, and the process gone soon after.

Textual leaves the terminal as it is on TERM and HUP, spins when the terminal is gone, takes it a second time on a
stray CONT, fails when it is started in the background, waits for ever for a terminal that is not read, and shows local
variables in its tracebacks. `TerminalDriver` and `LastingApp` mend that. They know nothing of what is shown; a crash is
kept for the caller. What the terminal sends is read here and understood in `input_bytes`.

Every use of Textual's private parts for this stands here. Of `LinuxDriver`: `_file`, where its writing thread writes;
`attrs_before`; `_run_input_thread`, which it calls to read keys; `_auto_restart` and `_must_signal_resume`, its notes
about being stopped; `_in_band_window_resize` and `_disable_in_band_window_resize`, by which it believes the terminal
instead of the kernel about sizes; `_app`, `_loop`. Of `App`: `_handle_exception`, which gets every exception, and
`_fatal_error` and `_print_error_renderables`, which it calls to show them; `_driver`, `_exit`, `_suspend_signal`.
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

from textual.app import App, ReturnType
from textual.drivers.linux_driver import LinuxDriver
from textual.messages import InBandWindowResize
from textual.worker import WorkerFailed

from envwatch.tui.terminal.ascii import to_ascii
from envwatch.tui.terminal.input_bytes import InputParser

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.message import Message

PATIENCE: Final = 0.7
"""Seconds that may pass from the wish to end until the terminal is given back in good order; then it is taken back."""

AFTERLIFE: Final = 2.0
"""Seconds that may pass from then on to the end of the process; a name that is being resolved would hold it longer."""

_TERM_LAG: Final = 0.3
"""Seconds by which the TERM of `kill %1` may come later than the CONT that the shell sends with it."""

_INPUT_CHECK: Final = 0.1
"""Seconds after which the thread that reads keys looks whether it is still wanted."""

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_JOB_SIGNALS: Final = (signal.SIGTSTP, signal.SIGCONT)

_RESET: Final = (
    "\x18"  # whatever sequence was cut off by us
    "\x1b[?2026l"
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)
"""Everything that Textual switches, switched back."""

_CHUNK: Final = 4096
"""Bytes written at once: so many may still be under way when the end is forced."""


class _Outlet:
    """The terminal as a file to write to, which never fails: what a terminal that is gone should have shown is lost."""

    def __init__(self, descriptor: int, *, ascii_only: bool) -> None:
        self._descriptor = descriptor
        self._ascii_only = ascii_only
        self._pending: list[str] = []
        self._writing = threading.Lock()
        self._writer: int | None = None
        """The thread that is writing just now."""
        self._is_shut = False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> None:
        self._pending.append(text)

    def flush(self) -> None:
        text = "".join(self._pending)
        self._pending.clear()
        rest = memoryview((to_ascii(text) if self._ascii_only else text).encode("utf-8", "replace"))
        with suppress(OSError):
            while rest:
                with self._writing:
                    if self._is_shut:
                        return
                    self._writer = threading.get_ident()
                    try:
                        rest = rest[os.write(self._descriptor, rest[:_CHUNK]) :]
                    finally:
                        self._writer = None

    def shut_with(self, text: str) -> None:
        """Write this and nothing ever after, from whatever thread; what the terminal has not read yet is dropped."""
        self._is_shut = True
        with suppress(OSError, termios.error):
            # Once to let a write end that waits for a terminal that is not read, once to drop what it wrote.
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            if (writer := self._writer) is not None:
                signal.pthread_kill(writer, signal.SIGCONT)  # to look again whether there is room
            self._writing.acquire(timeout=0.1)
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        with suppress(OSError):
            if select.select([], [self._descriptor], [], 0)[1]:
                os.write(self._descriptor, text.encode())


class TerminalDriver(LinuxDriver):
    """Textual's driver, with signals taken by the event loop, and a terminal that is always given back."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        terminal = self._file.fileno()  # type: ignore[union-attr]  # without standard error no screen is begun
        self._outlet = _Outlet(terminal, ascii_only=isinstance(app, LastingApp) and app.ascii_only)
        self._file = self._outlet  # type: ignore[assignment]  # as much of a file as the writing thread needs
        self._is_taken = False
        """Whether the terminal is in our hands."""
        self._is_mouse_lent = False
        self._was_released = threading.Event()
        self._alerts, self._alarm_rope = os.pipe()
        """One byte, the exit code, tells the guard that the end is wanted: no more is safe in a signal's handler."""
        self._is_ending = False
        self._usual_handlers: dict[signal.Signals, Any] = {}
        for number in _ENDS:
            # Whoever started us wants this one ignored: nohup, or a shell that runs us in the background.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._usual_handlers[number] = signal.signal(number, self._on_end_signal)
        self._job_signal: int | None = None
        """The newest of TSTP and CONT that has not been obeyed yet: it makes those before it void."""
        for number in _JOB_SIGNALS:
            signal.signal(number, self._on_job_signal)
        threading.Thread(target=self._guard, name="terminal-guard", daemon=True).start()

    def lend_mouse(self, *, is_lent: bool) -> None:
        """Leave the mouse to the terminal, through every stop, or take it back, if the user lets us have it at all."""
        self._is_mouse_lent = is_lent
        if is_lent:
            self._disable_mouse_support()
        elif not self._is_ending:
            self._enable_mouse_support()
            if self._mouse_pixels:
                self._enable_mouse_pixels()

    # The end.

    def end(self, code: int) -> None:
        """End the app with an exit code, soon."""
        if not self._app._exit:  # noqa: SLF001 - the first reason counts
            self._app.exit(return_code=code)

    def ring(self, code: int) -> None:
        """Make sure that the process ends with this code, whatever it waits for then; the first call counts."""
        self._is_ending = True
        os.write(self._alarm_rope, bytes([code]))

    def release(self) -> None:
        """Give everything back that still is in our hands."""
        self.stop_application_mode()
        self.close()
        self._was_released.set()
        for number, usual in self._usual_handlers.items():
            signal.signal(number, usual)
        for number in _JOB_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _on_end_signal(self, number: int, _: FrameType | None) -> None:
        self.ring(128 + number)
        self._loop.call_soon_threadsafe(self.end, 128 + number)

    def _guard(self) -> None:
        """Wait in the kernel until the end is wanted or the terminal gone, then see to it that the end comes."""
        line = select.poll()
        line.register(self.fileno, 0)
        line.register(self._alerts, select.POLLIN)
        if all(place != self._alerts for place, _ in line.poll()):
            self._hang_up()
        code = os.read(self._alerts, 1)[0]
        if self._was_released.wait(PATIENCE):
            time.sleep(AFTERLIFE)
        elif self._is_taken:
            self._outlet.shut_with(_RESET)
            if self.attrs_before is not None:
                with suppress(termios.error):
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
        os._exit(code)

    def _hang_up(self) -> None:
        code = 128 + signal.SIGHUP
        self.ring(code)
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self.end, code)

    # Stopping and going on.

    def _on_job_signal(self, number: int, _: FrameType | None) -> None:
        self._job_signal = number
        # By the loop, not wherever Python stands just then: it could hold the very lock that these need.
        self._loop.call_soon_threadsafe(self._obey_job_signal)

    def _obey_job_signal(self) -> None:
        number, self._job_signal = self._job_signal, None
        if number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            self._go_on()

    def _stop(self) -> None:
        if self._auto_restart and self._is_taken:
            self.suspend_application_mode()
            self._must_signal_resume = True
        # Giving the terminal back takes time. A CONT that came meanwhile found nothing to continue; no other will come.
        if self._job_signal != signal.SIGCONT:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self) -> None:
        if self._is_ending or not self._auto_restart:
            return
        if not self._is_in_foreground():
            # `bg`: there is no screen to draw on. Or `kill %1`, whose TERM may come by another thread a little later.
            self._loop.call_later(0 if self._is_taken else _TERM_LAG, self._stop_in_background)
            return
        if self._is_taken:
            # Stopped by STOP, of which nobody is told; the shell has used the terminal since.
            self.suspend_application_mode()
            self._must_signal_resume = True
        self.resume_application_mode()

    def _stop_in_background(self) -> None:
        if not (self._is_ending or self._is_in_foreground()):
            os.kill(os.getpid(), signal.SIGSTOP)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # a terminal, but not ours to be stopped from
            return True

    # What Textual calls.

    def _enable_mouse_support(self) -> None:
        if not self._is_mouse_lent:
            super()._enable_mouse_support()

    def start_application_mode(self) -> None:
        """Take the terminal, once it is our turn."""
        self._wait_for_foreground()
        self._is_taken = True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's own omission
        self.write("\x1b[?1004l")  # Textual asks for reports of the focus; nothing here depends on it

    def _wait_for_foreground(self) -> None:
        """Let the kernel stop all of our job until the shell gives it the terminal, as it does when one reads there."""
        if self._is_in_foreground():
            return
        # With nothing to give back yet, signals do what they always do. With handlers of our own, CONT could run into
        # the next stop before Python gets to see the TERM that came with it.
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (*self._usual_handlers, *_JOB_SIGNALS)}
        try:
            termios.tcsetattr(self.fileno, termios.TCSANOW, termios.tcgetattr(self.fileno))
        except termios.error as error:  # no shell is left that could give us the terminal
            raise SystemExit(128 + signal.SIGHUP) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def stop_application_mode(self) -> None:
        """Give the terminal back, once."""
        if self._is_taken:
            self.write("\x1b[0m")
            if self._mouse:
                self.write("\x1b[?1016l")  # Textual sets it where it can and leaves it so
            super().stop_application_mode()

    def close(self) -> None:
        """Wait until everything is written."""
        if self._is_taken:
            super().close()
            self._is_taken = False

    def disable_input(self) -> None:
        """Read no more keys. From a terminal that belongs to the shell again, even asking would stop us."""
        if self._is_taken:
            super().disable_input()

    def write(self, data: str) -> None:
        """Write to the terminal, while it is ours."""
        if self._is_taken:
            super().write(data)

    def _disable_in_band_window_resize(self) -> None:
        self.write("\x1b[?2048l")

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            self._hang_up()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a crash like any other
            self._loop.call_soon_threadsafe(self._app._handle_exception, error)  # noqa: SLF001 - see above

    def run_input_thread(self) -> None:
        """Read what the terminal sends, and pass on what it means."""
        parser = InputParser(self._kernel_size)
        while not self.exit_event.is_set():
            messages: Iterable[Message] = ()
            if select.select([self.fileno], [], [], _INPUT_CHECK)[0]:
                messages = parser.feed(os.read(self.fileno, _CHUNK), time.monotonic())
            for message in chain(messages, parser.tick(time.monotonic())):
                self.process_message(message)

    def process_message(self, message: Message) -> None:
        """Pass on what the terminal sent."""
        super().process_message(message)
        if isinstance(message, InBandWindowResize):
            self._in_band_window_resize = False  # the kernel's signal counts as well, or the terminal could mislead us

    def _kernel_size(self) -> tuple[int, int] | None:
        size = os.get_terminal_size(self.fileno)
        return size if all(size) else None


class LastingApp(App[ReturnType]):
    """An App that gives the terminal back, and keeps a crash to itself for whoever asks."""

    crash: BaseException | None = None
    """What ended the app, if it was a bug."""
    ascii_only: bool = False
    """Whether the terminal gets nothing but ASCII, whatever is drawn. To be set before the app runs."""

    def get_driver_class(self) -> type[Driver]:
        """Return the driver for real terminals."""
        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    async def run_async(self, **how: Any) -> ReturnType | None:  # noqa: ANN401 - Textual's own, passed through
        """Run, and give the terminal back, whatever happens."""
        try:
            return await super().run_async(**how)
        finally:
            if isinstance(self._driver, TerminalDriver):
                self._driver.release()

    def exit(
        self, result: ReturnType | None = None, return_code: int = 0, message: RenderableType | None = None
    ) -> None:
        """End the app, soon, whatever it waits for."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.ring(return_code)
        super().exit(result, return_code, message)

    def lend_mouse(self, *, is_lent: bool) -> None:
        """Leave the mouse to the terminal, or take it back."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.lend_mouse(is_lent=is_lent)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the key that suspends where no shell could wake us again."""
        if action == "suspend_process" and not _has_shell():
            return False
        return super().check_action(action, parameters)

    def action_suspend_process(self) -> None:
        """Stop, with whatever stands between the shell and us: `uv run`, `sudo`."""
        self._suspend_signal()
        os.killpg(0, signal.SIGTSTP)

    def _handle_exception(self, error: Exception) -> None:
        if self.crash is None:
            self.crash = error.error if isinstance(error, WorkerFailed) and error.error is not None else error
        if isinstance(self._driver, TerminalDriver):
            self._driver.ring(1)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()


def _has_shell() -> bool:
    """Whether somebody in this session can continue us: not in `ssh -t host envwatch`, nor alone in a container."""
    parent = os.getppid()
    try:
        return parent != 0 and os.getsid(parent) == os.getsid(0)
    except OSError:  # it has just ended
        return False
