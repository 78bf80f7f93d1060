"""Connections without a finished TLS handshake: the oldest make room, and viewers' connections stay."""

from __future__ import annotations

import resource
import ssl
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.builders import environment
from support.serving import TOKEN, ends, serving, until

from envwatch.serving.listening import Certificate
from envwatch.serving.server import ANSWER_S, HANDSHAKE_S

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


def test_viewers_stay_while_others_begin_and_never_end_a_handshake() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with open_files(316), serving(tls=Certificate(PEM, PEM).context) as served, ExitStack() as stack:
        viewers = [stack.enter_context(context.wrap_socket(served.connect())) for _ in range(30)]
        for viewer in viewers:
            viewer.sendall(REQUEST)
            assert viewer.recv(100).startswith(b"HTTP/1.1 200 ")
        for _ in range(40):
            stack.enter_context(served.connect())
        for viewer in viewers:
            viewer.sendall(REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
            assert b"HTTP/1.1 200 " in ends(viewer)


def test_a_handshake_without_end_is_cut() -> None:
    with serving(tls=Certificate(PEM, PEM).context) as served, served.connect() as silent:
        until(lambda: served.server.connections)
        served.pass_time(HANDSHAKE_S)
        assert ends(silent) == b""
        assert served.notes == []


def test_a_client_that_reads_nothing_of_its_answers_is_cut() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        serving(tls=Certificate(PEM, PEM).context) as served,
        context.wrap_socket(served.connect()) as greedy,
        context.wrap_socket(served.connect()) as viewer,
    ):
        served.show([environment(f"env-{i}") for i in range(1_000)])
        greedy.sendall(REQUEST.replace(b"environments ", b"environments?limit=1000 ") * 20)  # 20 MB of answers
        for _ in range(100):  # as many turns, after which no more is read
            viewer.sendall(REQUEST.replace(b"environments ", b"environments?limit=1 "))
            assert viewer.recv(1 << 14).startswith(b"HTTP/1.1 200 ")
        served.pass_time(ANSWER_S)
        until(lambda: len(served.server.connections) == 1)
