"""envwatch on frozen clocks, with a scripted server in the same process.

Time passes only while the event loop waits for nothing but time: the wait then ends at once, and all clocks advance by
the wait's length. The program reaches no other server, and every machine looks alike.
"""

from __future__ import annotations

import asyncio
import math
import os
import pwd
import random
import re
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
import uuid
from dataclasses import replace
from datetime import datetime
from errno import ECONNREFUSED
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from support.faulty_server import Faulty, listening
from support.transcript_fleets import FLEETS

from envwatch.cli.main import main
from envwatch.letta.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from support.faulty_server import Reply
    from support.transcript_fleets import Fleet

SERVER: Final = ("127.0.0.1", 8283)
"""The address of the scripted server; the real port is another."""
USER: Final = "ann"
PROCESS: Final = 4242
_BOOTED_S: Final = 1_000_000.0
"""The monotonic clock at the start."""
SIGNAL_AFTER_S: Final = 7.0
_BUSY: Final = re.compile("in_thread|asyncio-waitpid|_do_shutdown")
"""Names of threads that wake the event loop at the end; the last thread ends the loop's executor."""
_DATED: Final = [
    module
    for name, module in [*sys.modules.items()]
    if name.startswith("envwatch.") and getattr(module, "datetime", None) is datetime
]
"""Modules that may ask `datetime` for the time. The fork server has imported all modules."""

ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # OpenSSL starts once in the fork server, not in each program


class _Clock:
    """The wall clock and the monotonic clock, which both pass by the same waits."""

    def __init__(self, started_ms: float) -> None:
        self._started_ms = started_ms
        self._passed_s = 0.0
        self._signals: dict[signal.Signals, float] = {}
        """Seconds of signals to this process."""

    def time(self) -> float:
        return self._started_ms / 1000 + self._passed_s

    def time_ns(self) -> int:
        return int(self._started_ms * 1_000_000 + self._passed_s * 1e9)

    def monotonic(self) -> float:
        return _BOOTED_S + self._passed_s

    def send(self, number: signal.Signals, after_s: float) -> None:
        """Send a signal to this process when time has passed."""
        self._signals[number] = self._passed_s + after_s

    def set_alarm(self, _which: int, seconds: float, _interval: float = 0.0) -> tuple[float, float]:
        """Stand in for `signal.setitimer`."""
        self._signals.pop(signal.SIGALRM, None)
        if seconds:
            self.send(signal.SIGALRM, seconds)
        return 0.0, 0.0

    def pass_by(self, seconds: float | None) -> bool:
        """Advance by a wait, or to an earlier signal; return whether time has passed."""
        end_s = math.inf if seconds is None else self._passed_s + seconds
        at_s, number = min(((at_s, number) for number, at_s in self._signals.items()), default=(math.inf, None))
        if number is not None and at_s <= end_s:
            self._passed_s = at_s
            del self._signals[number]
            signal.raise_signal(number)
        elif end_s < math.inf:
            self._passed_s = end_s
        else:
            return False
        return True


class _Selector(selectors.DefaultSelector):
    """Ends a wait for time at once. A wait for a socket, a process or a thread is real."""

    def __init__(self, clock: _Clock, *, hangs: bool) -> None:
        super().__init__()
        self.calls = 0
        """Running calls of executors."""
        self._clock = clock
        self._hangs = hangs

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_busy = self._is_busy()  # asked before the look: a call that has ended has woken the loop
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if not is_busy and self._clock.pass_by(timeout):
            return []
        return super().select(None)

    def _is_busy(self) -> bool:
        if self.calls or any(_BUSY.search(thread.name) for thread in threading.enumerate()):
            return True
        keys = [*self.get_map().values()][1:]  # the first key is the loop's own pipe
        return any(key.events & selectors.EVENT_WRITE or not self._hangs for key in keys)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: _Selector) -> None:
        super().__init__(selector)
        self._waits = selector

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        self._waits.calls += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._count_end)
        return future

    def _count_end(self, _: object) -> None:
        self._waits.calls -= 1


def _freeze(clock: _Clock, *, hangs: bool) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Frozen:
            return cls.fromtimestamp(clock.time(), tz)

    for module in _DATED:
        _replace(module, datetime=Frozen)
    _replace(time, time=clock.time, time_ns=clock.time_ns, monotonic=clock.monotonic)
    _replace(signal, setitimer=clock.set_alarm)
    _replace(asyncio.events, new_event_loop=lambda: _Loop(_Selector(clock, hangs=hangs)))
    Client.__init__.__kwdefaults__ = {**(Client.__init__.__kwdefaults__ or {}), "monotonic": clock.monotonic}
    random.seed(1)


def _close_network(fleet: Fleet) -> None:
    """Connect only to the server, which starts at the first connection, and look up no name."""
    connect = socket.socket.connect
    ports: list[int] = []

    def connect_here(self: socket.socket, address: Any) -> None:
        if address != SERVER:
            raise ConnectionRefusedError(ECONNREFUSED, os.strerror(ECONNREFUSED))
        if not ports:
            ports.append(_start(fleet))
        connect(self, ("127.0.0.1", ports[0]))

    def look_up(host: str, port: object, *_: object, **__: object) -> list[Any]:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    _replace(socket.socket, connect=connect_here)
    _replace(socket, getaddrinfo=look_up)


def _replace(owner: object, **attributes: object) -> None:
    for name, value in attributes.items():
        setattr(owner, name, value)


def _uncompressed(reply: Reply) -> Reply:
    """Send a reply as it is: compressed sizes differ between versions of zlib."""
    return replace(reply, headers={**reply.headers, "Content-Encoding": None})


def _serve(fleet: Fleet, loop: asyncio.AbstractEventLoop, started: Callable[[int], None]) -> None:
    async def serve() -> None:
        server = Faulty(fleet.rows)
        server.break_every_page(_uncompressed, *fleet.faults)
        async with listening(server):
            started(int(server.url.rpartition(":")[2]))
            await asyncio.Event().wait()

    loop.run_until_complete(serve())


def _start(fleet: Fleet) -> int:
    """Start the server in a thread, and return the port."""
    ports: list[int] = []
    is_started = threading.Event()

    def started(port: int) -> None:
        ports.append(port)
        is_started.set()

    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())
    threading.Thread(target=_serve, args=(fleet, loop, started), name="server", daemon=True).start()
    is_started.wait()
    return ports[0]


def run() -> None:
    """Run `frozen_program.py FLEET MILLISECONDS SIGNAL ARGUMENT...`; the signal `-` is none."""
    name, moment, ending, *arguments = sys.argv[1:]
    fleet = FLEETS[name]
    if encoding := os.environ.get("PYTHONIOENCODING"):  # read at the start of Python, so not here
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding=encoding)  # type: ignore[union-attr]  # a stream of `open`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored in background jobs
    _close_network(fleet)
    clock = _Clock(float(moment))
    if ending != "-":
        clock.send(signal.Signals[f"SIG{ending}"], SIGNAL_AFTER_S)
    _freeze(clock, hangs=fleet.hangs)
    _replace(pwd, getpwuid=lambda _: SimpleNamespace(pw_name=USER))
    _replace(os, getpid=lambda: PROCESS)
    _replace(uuid, uuid4=lambda: uuid.UUID(int=int(float(moment)), version=4))
    sys.argv = ["envwatch", *arguments]
    _leave(main())


def _leave(code: int) -> None:
    """End as Python does, without the time that Python takes to free a forked memory."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
