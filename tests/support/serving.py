"""The server of `envwatch serve` in this process, on a real socket, with boards filled by the test."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from support.builders import NOW, environment, listed, reading
from support.demo_client import Answer, Client

from envwatch.fleet.profile_state import ProfileState
from envwatch.model.acks import AckedRow, AckResult
from envwatch.model.clock import MonotonicS, WallMs
from envwatch.serve.answers import ProfileEndpoint
from envwatch.serve.app import Act, ServingApp
from envwatch.serve.listening import Address, listen
from envwatch.serve.server import HttpServer
from envwatch.serve.tokens import Viewer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from envwatch.model.acks import AckAnswer
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.serve.app import Metrics
    from envwatch.serve.tokens import Tokens

TOKEN = "token-of-ann-0123456789"
OTHER = "token-of-ben-0123456789"
WRONG = "token-of-eve-0123456789"
TIMEOUT_S = 30.0


def tokens_of(**tokens: str) -> Tokens:
    """Return the tokens of viewers; ann may acknowledge."""
    return tuple(
        (Viewer(name, may_ack=name == "ann"), hashlib.sha256(token.encode()).digest()) for name, token in tokens.items()
    )


class ClockedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test puts forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


@dataclass
class Serving:
    server: HttpServer
    app: ServingApp
    endpoints: dict[str, ProfileEndpoint]
    tokens: dict[str, Tokens]
    port: int
    clock: list[Clocks]
    """A single reading: the server's clocks."""
    loop: ClockedLoop
    notes: list[str] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    """What reached the decision."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def show(self, rows: Sequence[Environment], profile: str = "office") -> None:
        outcome = listed(rows)
        profile_state, _ = ProfileState().apply(outcome)
        self.server.call(partial(self.endpoints[profile].update, profile_state, outcome, reading()))

    def ask(
        self,
        target: str = "/v1/environments",
        token: str | None = TOKEN,
        method: str = "GET",
        body: bytes | str | None = None,
        **headers: str,
    ) -> Answer:
        with Client(self.url, token) as client:
            return client.ask(target, method=method, body=body, **headers)

    def pass_time(self, seconds: float) -> None:
        """Put the clock of the deadlines forward."""

        def put_forward() -> None:
            self.loop.ahead_s += seconds

        self.server.call(put_forward)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)


def put_forward(served: Serving, seconds: float) -> None:
    """Put forward the clocks by which answers are given."""
    now = served.clock[0]
    served.clock[0] = now._replace(
        monotonic=MonotonicS(now.monotonic + seconds), wall=WallMs(now.wall + seconds * 1000)
    )


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < end, "it does not hold in time"
        time.sleep(0.02)


def ends(connection: socket.socket) -> bytes:
    """Read to the end or reset of a connection, and return the bytes."""
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionResetError:
        pass
    return received


@contextmanager
def serving(
    *names: str,
    tokens: Tokens | None = None,
    metrics: Metrics | None = None,
    tls: ssl.SSLContext | None = None,
    most: int | None = None,
) -> Iterator[Serving]:
    """Serve profiles for the context's duration; the default is one profile with two rows."""
    tokens = tokens or tokens_of(ann=TOKEN, ben=OTHER)
    endpoints = {name: ProfileEndpoint() for name in names or ("office",)}
    tokens_by_profile = dict.fromkeys(endpoints, tokens)
    clock, notes = [reading()], list[str]()
    acts = list[Act]()

    async def acknowledge(act: Act) -> AckAnswer:
        acts.append(act)
        losses = () if act.request is None else act.request.losses
        return tuple(AckedRow(loss.id, AckResult.ACKED, act.by, NOW) for loss in losses)

    app = ServingApp(
        endpoints, tokens_by_profile, lambda: clock[0], notes.append, acknowledge=acknowledge, metrics=metrics
    )
    listening = listen(Address("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    loop = ClockedLoop()
    server = HttpServer(app.answer, listening, notes.append, tls, most=most, loop=loop)
    running = Serving(server, app, endpoints, tokens_by_profile, port, clock, loop, notes, acts)
    server.start()
    try:
        for name in endpoints:
            running.show([environment("env-1"), environment("env-2")], name)
        yield running
    finally:
        asyncio.run(server.close())
        assert server.error is None


def rows_in(answer: Answer) -> list[str]:
    rows: list[dict[str, Any]] = answer.json["connections"]
    return [row["id"] for row in rows]
