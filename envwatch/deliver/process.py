"""Run a command in a new process group, with bounded output and time, without shell or terminal."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from envwatch.deliver.message import DeliveryError
from envwatch.letta.daemon_thread import run_in_daemon_thread
from envwatch.model import limits
from envwatch.model.text import SafeText, clean
from envwatch.views.command_context import ending_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

_LOOK_S: Final = 0.05
"""Seconds between checks for the end: a child may keep the output open."""
_CHUNK: Final = limits.HOOK_OUTPUT_BYTES
_LOGGED: Final = 500
"""Characters from the output's end, where errors stand."""


async def run(
    arguments: Sequence[str], environ: Mapping[str, str], content: bytes, time_limit: timedelta = limits.HOOK_TIME
) -> SafeText:
    """Run a command with `content` on standard input; return the output for the log.

    Raises:
        DeliveryError: if the command fails.
    """
    is_over = threading.Event()
    run_to_end = partial(_run_to_end, arguments, environ, content, time_limit.total_seconds(), is_over)
    # asyncio's small thread pool also serves polls; hanging hooks would fill the pool.
    running = asyncio.ensure_future(run_in_daemon_thread(run_to_end))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        is_over.set()
        with suppress(DeliveryError):
            await running
        raise


def _run_to_end(
    arguments: Sequence[str], environ: Mapping[str, str], content: bytes, time_limit_s: float, is_over: threading.Event
) -> SafeText:
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own program
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # a NUL in a variable raises ValueError
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DeliveryError(f"cannot run {arguments[0]}: {why}") from None
    exchange = _Exchange(process, content)
    try:
        exchange.until_end(is_over, time_limit_s)
    except DeliveryError as error:
        error.output = exchange.text
        raise
    finally:
        exchange.close()
    if process.returncode:
        raise DeliveryError(ending_text(process.returncode), output=exchange.text)
    return exchange.text


class _Exchange:
    def __init__(self, process: subprocess.Popen[bytes], standard_input: bytes) -> None:
        self._process = process
        self._rest = memoryview(standard_input)
        self._output = bytearray()
        self._selector = selectors.DefaultSelector()
        for stream, event in ((process.stdin, selectors.EVENT_WRITE), (process.stdout, selectors.EVENT_READ)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, event)

    @property
    def text(self) -> SafeText:
        lines = self._output.decode(errors="replace").split("\n")
        return clean(" | ".join(filter(None, map(str.strip, lines)))[-_LOGGED:])

    def until_end(self, is_over: threading.Event, time_limit_s: float) -> None:
        ends_at = time.monotonic() + time_limit_s
        while not is_over.is_set():
            left = ends_at - time.monotonic()
            if left <= 0:
                raise DeliveryError(f"did not end within {time_limit_s:g} s, and was killed")
            has_ended = self._process.poll() is not None
            for key, _ in self._selector.select(min(left, _LOOK_S)):
                self._move(key.fileobj)  # type: ignore[arg-type]  # the streams that were registered
            if has_ended:
                return
            if not self._selector.get_map():
                is_over.wait(min(left, _LOOK_S))
        raise DeliveryError("was killed, because envwatch ends")

    def _move(self, stream: IO[bytes]) -> None:
        try:
            if stream is self._process.stdin:
                self._rest = self._rest[os.write(stream.fileno(), self._rest[:_CHUNK]) :]
                is_done = not self._rest
            else:
                chunk = os.read(stream.fileno(), _CHUNK)
                self._output += chunk
                is_done = not chunk
        except BlockingIOError:
            return
        except OSError:
            is_done = True
        if is_done:
            self._selector.unregister(stream)
            stream.close()
        if len(self._output) > limits.HOOK_OUTPUT_BYTES:
            raise DeliveryError(f"printed more than {limits.HOOK_OUTPUT_BYTES // 1024} KiB, and was killed")

    def close(self) -> None:
        self._selector.close()
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
