"""Connections without a finished TLS handshake: the oldest make room, and viewers' connections stay."""

from __future__ import annotations

import resource
import socket
import ssl
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.serving import TIMEOUT_S, TOKEN, ends, serving

from envwatch.serving.listening import Address, Certificate, listen

if TYPE_CHECKING:
    from collections.abc import Iterator

PEM = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"
REQUEST = f"GET /v1/environments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


@contextmanager
def open_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_oldest_handshakes_end_where_there_are_too_many() -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(listen(Address("127.0.0.1", 0)))
        listening.most_handshakes = lambda: 3
        pairs = list[tuple[socket.socket, socket.socket]]()

        def connect() -> None:
            client = stack.enter_context(socket.create_connection(listening.getsockname(), timeout=TIMEOUT_S))
            pairs.append((client, stack.enter_context(listening.accept()[0])))

        def have_ended() -> list[int]:
            ended = []
            for number, (client, _) in enumerate(pairs):
                client.setblocking(False)
                try:
                    if client.recv(1) == b"":
                        ended.append(number)
                except BlockingIOError:
                    pass
            return ended

        for _ in range(5):
            connect()
        assert have_ended() == [0, 1]
        listening.agreed(pairs[2][1].fileno())
        pairs[3][1].close()
        for _ in range(3):
            connect()
        assert have_ended() == [0, 1, 3, 4]


def test_viewers_stay_while_others_begin_and_never_end_a_handshake() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with open_files(316), serving(tls=Certificate(PEM, PEM).context) as served, ExitStack() as stack:
        viewers = [context.wrap_socket(stack.enter_context(served.connect())) for _ in range(30)]
        for _ in range(40):
            stack.enter_context(served.connect())
        for viewer in viewers:
            with viewer:
                viewer.sendall(REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
                assert ends(viewer).startswith(b"HTTP/1.1 200 ")
