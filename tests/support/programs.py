"""Programs started by tests: forked where a fork makes no difference, else with `subprocess`."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import tempfile
import termios
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from support import fork_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TIMEOUT_S = 30.0
"""Seconds to wait for a program: generous, because a busy machine is slow."""


T = TypeVar("T")

Program = fork_server.Forked | subprocess.Popen[bytes]


def in_terminal(
    command: Sequence[str], environ: Mapping[str, str], terminal: int, *, folder: str | Path, may_fork: bool = True
) -> Program:
    """Start a program that leads a session, with the terminal as three streams and as controlling terminal."""
    if may_fork and fork_server.starts_alike(command, environ):
        return fork_server.start(command, environ, [terminal] * 3, folder=folder, leads_session=True, has_terminal=True)
    return subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=dict(environ),
        cwd=folder,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  nothing else runs in this process but the test
    )


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: str | Path = ".",
    stdout: int | None = None,
    stderr: int | None = None,
    memory: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program without input; return the exit code and the output.

    Args:
        command: the program.
        environ: the whole environment.
        folder: the working directory.
        stdout: a descriptor for standard output; None returns the output.
        stderr: the same for standard error.
        memory: limit of the address space in bytes.
    """
    with Path(os.devnull).open("rb") as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = (
            stdin.fileno(),
            out.fileno() if stdout is None else stdout,
            err.fileno() if stderr is None else stderr,
        )
        process = start(command, environ, streams, folder=folder, memory=memory)
        try:
            code = process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    streams: tuple[int, int, int],
    *,
    folder: str | Path = ".",
    memory: int | None = None,
) -> Program:
    """Start a program with three descriptors as streams; the caller must end the program."""
    if fork_server.starts_alike(command, environ):
        return fork_server.start(command, environ, streams, folder=folder, memory=memory)
    limit = None if memory is None else partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory))
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(environ),
        cwd=folder,
        preexec_fn=limit,  # noqa: PLW1509  it only calls the kernel
    )


class Piped(NamedTuple):
    """A program, and the reading ends of the output pipes."""

    process: Program
    out: BinaryIO
    err: BinaryIO


@contextmanager
def piped(command: Sequence[str], environ: Mapping[str, str], *, folder: str | Path = ".") -> Iterator[Piped]:
    """Start a program whose output a test reads meanwhile; the context's end kills the program."""
    out, written_out = os.pipe()
    err, written_err = os.pipe()
    with os.fdopen(out, "rb", 0) as read_out, os.fdopen(err, "rb", 0) as read_err, Path(os.devnull).open("rb") as stdin:
        try:
            process = start(command, environ, (stdin.fileno(), written_out, written_err), folder=folder)
        finally:
            os.close(written_out)
            os.close(written_err)
        try:
            yield Piped(process, read_out, read_err)
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], T | None], what: str, within: float = TIMEOUT_S) -> T:
    """Return the first true result of a condition."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)
    return result
