r"""Runs a program in the terminal while the dashboard is suspended.

The program shares envwatch's process group: ctrl+z stops both, `fg` resumes both. ctrl+c and ctrl+\ reach only the
program. If a shell dies with the terminal, envwatch takes the terminal back.
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


async def run_in_foreground(command: Sequence[str], environ: Mapping[str, str], *, stdin: int, stdout: int) -> int:
    """Run a program, and restore the terminal.

    Returns:
        The exit code, negative for a signal.

    Raises:
        OSError: if the program cannot be started.
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
