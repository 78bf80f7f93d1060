"""Starts programs without the half second of imports.

A server imports all that envwatch needs, and forks for each program. A forked program differs from a real process only
before the first line and after the last. `starts_alike` excludes programs that need a real start.

`python fork_server.py DESCRIPTOR` runs the server on a socket until the socket closes.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import json
import os
import pkgutil
import re
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import envwatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]

_AT_START = re.compile(
    r"PYTHON(?!HASHSEED$|PYCACHEPREFIX$|DONTWRITEBYTECODE$|PATH$).*|COVERAGE.*|TEXTUAL.*|ESCDELAY|LD_PRELOAD"
)
"""Variables that the loader, Python or Textual reads only at the start or at import."""

_LOCALES = ("LC_ALL", "LC_CTYPE", "LANG")
"""Locale variables; the first set variable decides."""

_LOCALE = "C.UTF-8"

_MODULE = ("-m", "envwatch")

_LATE = (
    "anyio._backends._asyncio",
    "concurrent.futures.thread",
    "httpcore",
    "rich.cells",
    "sniffio",
    "textual.layouts.factory",
    "textual.layouts.horizontal",
    "textual.layouts.stream",
    "textual.pilot",
    "textual.scrollbar",
)
"""Third-party modules that are imported at first use."""


def starts_alike(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a program is envwatch or a script, and no variable changes Python's start."""
    locale = next((environ[name] for name in _LOCALES if environ.get(name)), "")
    is_ours = command[0] == sys.executable and (tuple(command[1:3]) == _MODULE or command[1].endswith(".py"))
    return is_ours and locale == _LOCALE and not any(map(_AT_START.fullmatch, environ))


class Forked:
    """A forked program with the part of `subprocess.Popen` that tests use."""

    def __init__(self, status: int) -> None:
        self._status = status
        """A descriptor with two lines: the process id, then the exit code after the program's end."""
        self._lines = b""
        while b"\n" not in self._lines:
            self._read()
        self.pid = int(self._lines.partition(b"\n")[0])
        self.returncode: int | None = None

    def _read(self) -> None:
        read = os.read(self._status, 64)
        if not read:
            raise OSError("the fork server has ended")
        self._lines += read

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the program runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait up to `timeout` seconds for the end, and return the exit code."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        while self._lines.count(b"\n") < 2:
            if not select.select([self._status], [], [], timeout)[0]:
                return None
            self._read()
        if self.returncode is None:
            self.returncode = int(self._lines.split(b"\n")[1])
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since, and the exit code is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Request(NamedTuple):
    """A request to the server. Four descriptors accompany the request: the program's three streams, and the status."""

    command: list[str]
    """Without the interpreter."""
    environ: dict[str, str]
    folder: str
    leads_session: bool
    has_terminal: bool
    """Whether standard input becomes the controlling terminal."""
    memory: int | None
    """Limit of the program's address space in bytes."""


class _Server:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        environ = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON"))}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=environ | {"LC_ALL": _LOCALE, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, request: _Request, streams: Sequence[int]) -> Forked:
        ours, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], [*streams, theirs])
        finally:
            os.close(theirs)
        return Forked(ours)


_server = functools.cache(_Server)


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    streams: Sequence[int],
    *,
    folder: str | Path,
    leads_session: bool = False,
    has_terminal: bool = False,
    memory: int | None = None,
) -> Forked:
    """Fork a program that `starts_alike`.

    Args:
        command: with the interpreter.
        environ: all variables of the program.
        streams: descriptors of standard input, output and error.
        folder: the working directory.
        leads_session: whether the program gets a new session.
        has_terminal: whether standard input becomes the controlling terminal.
        memory: limit of the address space in bytes.
    """
    request = _Request(list(command[1:]), dict(environ), str(folder), leads_session, has_terminal, memory)
    return _server().fork(request, streams)


# -- the server --------------------------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> _Request | None:
    """Fork for each request. Return the request in the forked program, and None in the server at the end."""
    woken, wakes = os.pipe()
    for descriptor in (woken, wakes):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    running: dict[int, int] = {}
    while True:
        readable = select.select([requests.fileno(), woken], [], [])[0]
        if woken in readable:
            os.read(woken, 4096)
            _report(running)
        if requests.fileno() in readable:
            text, descriptors, *_ = socket.recv_fds(requests, 1 << 16, 4)
            if not text:
                return None
            while not text.endswith(b"\n"):
                text += requests.recv(1 << 16)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                request = _Request(*json.loads(text))
                _become(request, descriptors, [requests.detach(), woken, wakes, *running.values()])
                return request
            os.write(descriptors[3], b"%d\n" % pid)
            running[pid] = descriptors[3]
            for descriptor in descriptors[:3]:
                os.close(descriptor)


def _report(running: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = running.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):  # the test has forgotten the program
                os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
            os.close(status)


def _become(request: _Request, descriptors: Sequence[int], foreign: Sequence[int]) -> None:
    """Give a forked process what `execve` gives a program.

    Args:
        request: variables, folder and limits of the program.
        descriptors: the three streams and the status.
        foreign: the server's descriptors.
    """
    if request.leads_session:
        os.setsid()
    for place, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, place)
    for descriptor in (*descriptors, *foreign):
        os.close(descriptor)
    if request.has_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if request.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (request.memory, request.memory))
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    time.tzset()
    for place, name in enumerate(("stdin", "stdout", "stderr")):
        _reopen(place, name)


def _reopen(descriptor: int, name: str) -> None:
    """Open a stream as Python does at the start."""
    old: Any = getattr(sys, f"__{name}__")
    new: Any = open(  # noqa: SIM115  a stream of the process, to its end
        descriptor,
        old.mode,
        buffering=-1,
        encoding=old.encoding,
        errors=old.errors,
        closefd=False,
    )
    new.buffer.raw.name = f"<{name}>"
    if name == "stderr" or os.isatty(descriptor):
        new.reconfigure(line_buffering=True)
    setattr(sys, name, new)
    setattr(sys, f"__{name}__", new)


def _import_everything() -> None:
    for module in pkgutil.walk_packages(envwatch.__path__, "envwatch."):
        if module.name != "envwatch.__main__":
            import_module(module.name)
    for name in (*_LATE, "support.app_harness", "support.frozen"):
        import_module(name)


def _leave_modules() -> None:
    """Keep modules shared with the server alive: at exit, Python takes every module apart, which would copy most of the
    memory.
    """
    kept = [sys.modules.pop(name) for name in set(sys.modules) - {"builtins", "sys"}]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def run_here(command: list[str]) -> None:
    """Run a command's program in this process, without the interpreter, to the program's `SystemExit`."""
    if tuple(command[:2]) == _MODULE:
        sys.argv = [str(ROOT / "envwatch" / "__main__.py"), *command[2:]]
        runpy.run_module("envwatch", run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    atexit.register(_leave_modules)  # registered first, called last
    _import_everything()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as served:
        wanted = _serve(served)
    if wanted is not None:
        run_here(wanted.command)
