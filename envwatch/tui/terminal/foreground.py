r"""Runs a program in the terminal while the dashboard is suspended.

The program is in our process group, as in `system(3)`: ctrl+z stops both, and the shell's `fg` resumes both. ctrl+c and
ctrl+\ are the program's alone. A shell started by it takes the terminal for its own groups; if it dies without giving
the terminal back, we take it back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KILL_AFTER_S: Final = 0.2
"""How long the program may take to end when the dashboard is ended meanwhile."""


async def run_in_foreground(command: Sequence[str], environ: Mapping[str, str], *, stdin: int, stdout: int) -> int:
    """Run a program on a terminal, and restore the terminal's attributes and foreground group.

    Returns:
        Its exit code, negative for a signal.

    Raises:
        OSError: if it cannot be started.
    """
    with _own_signals_ignored(), _terminal_restored(stdin):
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(environ), stdin=stdin, stdout=stdout, stderr=stdout
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _KILL_AFTER_S)
            raise


@contextmanager
def _own_signals_ignored() -> Iterator[None]:
    """Ignore what the terminal sends to the whole process group; by a handler, which the program does not inherit."""
    numbers = [signal.SIGINT, signal.SIGQUIT]
    if not has_shell():
        numbers.append(signal.SIGTSTP)  # nothing could resume us
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
    """Restore the terminal's attributes, and its foreground group if the one that has it is dead."""
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
    """Whether the terminal belongs to a process group without processes; `bg` gave a live one to another job."""
    try:
        os.killpg(os.tcgetpgrp(terminal), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def has_shell() -> bool:
    """Whether a parent in this session can resume us; false in `ssh -t host envwatch` and alone in a container."""
    parent = os.getppid()
    try:
        return parent != 0 and os.getsid(parent) == os.getsid(0)
    except OSError:  # the parent has just ended
        return False
