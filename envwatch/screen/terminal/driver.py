"""A driver that takes the terminal once, and restores the terminal however the program ends.

Textual does not restore the terminal on TERM and HUP, spins on a lost terminal, takes the terminal again on a stray
CONT, fails in the background, and waits forever for an unread terminal.

Private parts of `LinuxDriver`:

* `_auto_restart`: false inside `App.suspend`, where signals change nothing.
* `_must_signal_resume`: the next start publishes `App.app_resume_signal`, which redraws.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import termios
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from unicodedata import name, normalize

from textual.drivers.linux_driver import LinuxDriver

from envwatch.model.text import SafeText, cells, clean
from envwatch.screen.terminal.input_bytes import InputParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from textual.app import App
    from textual.message import Message


_INPUT_POLL_S: Final = 0.1

_READ_SIZE: Final = 4096

_TERM_LAG_S: Final = 0.3
"""The TERM of `kill %1` may come this long after the shell's CONT."""

RELEASE_TIMEOUT_S: Final = 0.7
"""Time until the terminal is restored by force."""

EXIT_TIMEOUT_S: Final = 2.0
"""Time from the release to the process's end, which a name resolution would delay."""

_KILL_AFTER_S: Final = 0.2
"""Time for a program in the terminal to end after TERM."""

_UNTIL_ENTER: Final = ("sh", "-c", r"printf '\npress enter to go back '; read -r _")
"""Keeps a program's output on the terminal, where ctrl+c works as in the program."""

_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_JOB_SIGNALS: Final = (signal.SIGTSTP, signal.SIGCONT)

_NO_TITLE: Final = frozenset({"linux", "dumb", "", None})
"""`TERM` without a title; the Linux console would print parts of the sequence."""

_SAVE_TITLE, _RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"

_RESET: Final = (
    "\x18\x1b[?2026l\x1b[?1000l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)


class TerminalDriver(LinuxDriver):
    """Textual's driver with job control."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        terminal = self._file.fileno()  # type: ignore[union-attr]  # without standard error no screen is begun
        self._terminal_file = TerminalFile(terminal, ascii_only=getattr(app, "ascii_only", False))
        self._file = self._terminal_file  # type: ignore[assignment]  # has what the writer thread needs of a file
        self._has_title = getattr(app, "has_title", False) and os.environ.get("TERM") not in _NO_TITLE
        self._title = ""
        self._is_title_saved = False
        """A second stop after a crash restores no title."""
        self.is_taken = False
        self._is_mouse_lent = False
        self.guard = ExitGuard(self.fileno, self._end_app_soon, self._restore_by_force)
        self._job_signal: int | None = None
        for number in _JOB_SIGNALS:
            signal.signal(number, self._on_job_signal)
        self._woken, self._wakes = os.pipe()

    def lend_mouse(self, *, is_lent: bool) -> None:
        """Lend the mouse to the terminal, even across stops."""
        self._is_mouse_lent = is_lent
        if is_lent:
            self._disable_mouse_support()
        elif not self.guard.is_ending:
            self._enable_mouse_support()

    async def run_in_foreground(
        self, command: Sequence[str], environ: Mapping[str, str], waits: Callable[[int], bool]
    ) -> int:
        r"""Run a program in the suspended dashboard's terminal.

        Both share a process group: ctrl+z stops both, `fg` resumes both. ctrl+c and ctrl+\ reach only the program. If a
        shell dies with the terminal, envwatch takes the terminal back. If `waits` says so of the exit code, the
        output stays until enter.

        Returns:
            The exit code, negative for a signal.

        Raises:
            OSError: if the program cannot be started.
        """
        with _own_signals_ignored():
            code = await self._run_child(command, environ)
            if waits(code):
                with suppress(OSError):
                    await self._run_child(_UNTIL_ENTER, environ)
            return code

    async def _run_child(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        terminal, output = self.fileno, self._terminal_file.fileno()
        with _terminal_restored(terminal):
            process = await asyncio.create_subprocess_exec(
                *command, env=dict(environ), stdin=terminal, stdout=output, stderr=output
            )
            try:
                return await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _KILL_AFTER_S)
                raise

    def show_title(self, title: SafeText) -> None:
        sequence = f"\x1b]2;{clean(title)}\x07"
        if self._has_title and sequence != self._title:
            self._title = sequence
            self.write(sequence)

    def release(self) -> None:
        self.stop_application_mode()
        self.close()
        self.guard.release()
        for number in _JOB_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _end_app_soon(self, code: int) -> None:
        with suppress(RuntimeError):
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
        """Ask only for clicks and the wheel: a report for each crossed cell costs a packet."""
        if self._mouse and not self._is_mouse_lent:
            self.write("\x1b[?1000h\x1b[?1006h")
            self.flush()

    def _enable_mouse_pixels(self) -> None:
        """Positions stay in cells."""

    def _disable_in_band_window_resize(self) -> None:
        self.write("\x1b[?2048l")

    def start_application_mode(self) -> None:
        self._wait_for_foreground()
        self.is_taken = True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's own omission
        if self._has_title:
            self.write(_SAVE_TITLE + self._title)
            self._is_title_saved = True
        self.write("\x1b[?1004l")  # no focus reports: nothing depends on the focus

    def stop_application_mode(self) -> None:
        if self.is_taken:
            self.write("\x1b[0m")
            if self._is_title_saved:
                self.write(_RESTORE_TITLE)
                self._is_title_saved = False
            super().stop_application_mode()

    def close(self) -> None:
        if self.is_taken:
            super().close()
            self.is_taken = False

    def disable_input(self) -> None:
        """Stop reading keys, unless the shell has the terminal, where even a query would stop the process."""
        if self.is_taken:
            os.write(self._wakes, b".")
            super().disable_input()
            os.read(self._woken, _READ_SIZE)

    def write(self, data: str) -> None:
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
        """False always: reported sizes could hide the kernel's signal."""
        return False

    @_in_band_window_resize.setter
    def _in_band_window_resize(self, value: bool) -> None:
        pass

    def _kernel_size(self) -> tuple[int, int] | None:
        size = os.get_terminal_size(self.fileno)
        return size if all(size) else None

    # Job signals run in the event loop: code under a signal handler could hold the write lock.

    def _wait_for_foreground(self) -> None:
        """Let the kernel stop the job until the shell gives the terminal.

        Raises:
            SystemExit: without a shell.
        """
        if self._is_in_foreground():
            return
        # Default handlers suffice, because nothing needs restoring yet. Python handlers would let CONT run into the
        # next stop before the TERM.
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
        except OSError:  # not the controlling terminal, which cannot stop the process
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
        # A CONT during the release resumed nothing, and no further CONT will come.
        if self._job_signal != signal.SIGCONT:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        if self.guard.is_ending or not self._auto_restart:
            return
        if not self._is_in_foreground():
            # `bg` gives no screen; a TERM may follow.
            self._loop.call_later(0 if self.is_taken else _TERM_LAG_S, self._stop_in_background)
            return
        if self.is_taken:
            self._suspend()  # after STOP, which no handler sees
        self.resume_application_mode()

    def _suspend(self) -> None:
        self.suspend_application_mode()
        self._must_signal_resume = True

    def _stop_in_background(self) -> None:
        if not (self.guard.is_ending or self._is_in_foreground()):
            os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def _own_signals_ignored() -> Iterator[None]:
    """Ignore signals by a handler, because programs inherit SIG_IGN."""
    numbers = [signal.SIGINT, signal.SIGQUIT]
    if not has_shell():
        numbers.append(signal.SIGTSTP)  # nothing could resume
    previous = {number: signal.getsignal(number) for number in numbers}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _terminal_restored(terminal: int) -> Iterator[None]:
    attributes = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        if _has_dead_foreground(terminal):
            handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            try:
                os.tcsetpgrp(terminal, os.getpgrp())
            finally:
                signal.signal(signal.SIGTTOU, handler)
        with suppress(termios.error, OSError):
            if os.tcgetpgrp(terminal) == os.getpgrp():
                termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)


def _has_dead_foreground(terminal: int) -> bool:
    """Whether the foreground group has no processes; after `bg`, another job's group is alive."""
    try:
        os.killpg(os.tcgetpgrp(terminal), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def has_shell() -> bool:
    """Whether a parent can resume the process; false in `ssh -t host envwatch`."""
    parent = os.getppid()
    try:
        return parent != 0 and os.getsid(parent) == os.getsid(0)
    except OSError:
        return False


class ExitGuard:
    """Handles TERM, HUP and INT, and watches the terminal from a daemon thread.

    Args:
        end_app: ends the app with an exit code; called from any thread and signal handler.
        restore_terminal: called from the guard's thread.
    """

    def __init__(self, terminal: int, end_app: Callable[[int], None], restore_terminal: Callable[[], None]) -> None:
        self.is_ending = False
        self._terminal = terminal
        self._end_app = end_app
        self._restore_terminal = restore_terminal
        self._was_released = threading.Event()
        self._lock = threading.Lock()
        self._read_end, self._write_end = os.pipe()
        """The exit code in a byte: nothing more is safe in a signal handler."""
        self.previous_handlers: dict[signal.Signals, Any] = {}
        for number in _END_SIGNALS:
            # Ignored signals stay ignored, as under nohup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.previous_handlers[number] = signal.signal(number, self._on_end_signal)
        threading.Thread(target=self._run, name="exit-guard", daemon=True).start()

    def arm(self, code: int) -> None:
        """Bound the time to the process's end; the first call decides the exit code."""
        self.is_ending = True
        os.write(self._write_end, bytes([code]))

    def end(self, code: int) -> None:
        self.arm(code)
        self._end_app(code)

    def hang_up(self) -> None:
        self.end(128 + signal.SIGHUP)

    def release(self) -> None:
        """Report the release, and restore the signal handlers.

        Blocks during a forced restoration, because the app closes the file descriptor next.
        """
        with self._lock:
            self._was_released.set()
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)

    def _on_end_signal(self, number: int, _: FrameType | None) -> None:
        self.end(128 + number)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._terminal, 0)  # reports only a hang-up
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


_CHUNK: Final = 4096
"""The most bytes in flight when `close_with` is called."""

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")

_SIMILAR: Final = str.maketrans("…·•–—−‘’“”↑↓←→▲▼▸▾⏎●◐○Δ▁×≥", "..*---''\"\"^v<>^v>v<+~x*_x>")


class TerminalFile:
    """A write-only file that ignores a lost terminal."""

    def __init__(self, descriptor: int, *, ascii_only: bool) -> None:
        self._descriptor = descriptor
        self._ascii_only = ascii_only
        self._pending: list[str] = []
        self._lock = threading.Lock()
        self._writer: int | None = None
        self._is_closed = False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> None:
        self._pending.append(text)

    def flush(self) -> None:
        """Write the pending text; blocks on an unread terminal."""
        text = "".join(self._pending)
        self._pending.clear()
        rest = memoryview((to_ascii(text) if self._ascii_only else text).encode("utf-8", "replace"))
        with suppress(OSError):
            while rest:
                with self._lock:
                    if self._is_closed:
                        return
                    self._writer = threading.get_ident()
                    try:
                        rest = rest[os.write(self._descriptor, rest[:_CHUNK]) :]
                    finally:
                        self._writer = None

    def close_with(self, text: str) -> None:
        """Write `text` last, from any thread, and drop unread output."""
        self._is_closed = True
        with suppress(OSError, termios.error):
            # The first flush unblocks a write; the second flush drops that write's output.
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            if (writer := self._writer) is not None:
                signal.pthread_kill(writer, signal.SIGCONT)
            self._lock.acquire(timeout=0.1)
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        with suppress(OSError):
            if select.select([], [self._descriptor], [], 0)[1]:
                os.write(self._descriptor, text.encode())


def to_ascii(text: str) -> str:
    """Return an ASCII text of equal width."""
    return text if text.isascii() else _NOT_ASCII.sub(lambda match: _replacement(match[0]), text)


@lru_cache(maxsize=4096)
def _replacement(character: str) -> str:
    width = cells(character)
    similar = character.translate(_SIMILAR)
    if not similar.isascii():
        similar = _line_or_block(name(character, "")) or normalize("NFKD", character)[:1]
    return similar.ljust(width) if width and similar.isascii() else "?" * width


def _line_or_block(unicode_name: str) -> str:
    if unicode_name.startswith("BOX DRAWINGS"):
        is_flat, is_upright = "HORIZONTAL" in unicode_name, "VERTICAL" in unicode_name
        return "-" if is_flat and not is_upright else "|" if is_upright and not is_flat else "+"
    if unicode_name.endswith(" BLOCK"):
        return "|" if unicode_name.startswith(("LEFT", "RIGHT")) else "#"
    return ""
