"""The server under slow, greedy or broken clients, and the server's end: real sockets, and a clock set by the test.

A bug in the server's thread ends the program; otherwise stale answers would go unnoticed. Of connections without a
finished TLS handshake the oldest make room, and viewers' connections stay.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import ssl
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.builders import environment
from support.demo_client import Client
from support.programs import wait_until
from support.serving import TIMEOUT_S, TOKEN, Serving, ends, serving, until

from envwatch.serve.listening import Address, Certificate, ServerError, listen, parse_address
from envwatch.serve.server import ANSWER_S, HANDSHAKE_S, HEAD_BYTES, HEAD_S, IDLE_S, HttpServer, most_connections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.serve.answers import Answer, Request


CERTS = Path(__file__).parents[1] / "support" / "certs"
PEM = CERTS / "localhost.pem"
REQUEST = f"GET /v1/environments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_idle_and_half_sent_requests_delay_no_viewer_and_are_cut() -> None:
    with serving() as served, Client(served.url, TOKEN) as viewer:
        assert viewer.ask("/v1/environments").status == 200
        idle = [served.connect() for _ in range(120)]
        for connection in idle[:40]:
            connection.sendall(REQUEST[:-2])
        until(lambda: len(served.server.connections) == 121)
        assert served.ask().status == 200
        served.pass_time(HEAD_S)
        for connection in idle:
            assert ends(connection) == b""
            connection.close()
        assert viewer.ask("/v1/environments").status == 200  # the same connection: a viewer may be idle for longer
        assert served.ask().status == 200  # so the server has finished the previous answer
        served.pass_time(IDLE_S)
        assert ends(viewer.connection.sock) == b""


def test_a_trickling_request_is_cut_however_often_a_byte_comes() -> None:
    with serving() as served, served.connect() as connection:
        for byte in REQUEST[:5]:
            connection.sendall(bytes([byte]))
            assert served.ask().status == 200
            served.pass_time(HEAD_S / 4)
        assert ends(connection) == b""


def test_half_a_request_behind_a_whole_one_is_cut_as_early_as_any() -> None:
    with serving() as served, served.connect() as viewer:
        viewer.sendall(REQUEST + REQUEST[:-2])
        assert viewer.recv(100).startswith(b"HTTP/1.1 200 ")
        assert served.ask().status == 200
        served.pass_time(HEAD_S)
        assert b"HTTP/1.1" not in ends(viewer)


def test_one_connection_too_many_ends_the_idle_one_without_a_token() -> None:
    with serving(most=3) as served, Client(served.url, TOKEN) as viewer:
        assert viewer.ask("/v1/environments").status == 200
        stranger = served.connect()
        until(lambda: len(served.server.connections) == 2)
        served.pass_time(1)
        others = [served.connect(), served.connect()]
        assert ends(stranger) == b""
        assert viewer.ask("/v1/environments").status == 200
        for each in (stranger, *others):
            each.close()


def test_connections_are_never_more_than_their_limit() -> None:
    with serving(most=5) as served:
        opened = [served.connect() for _ in range(50)]
        assert served.ask().status == 200
        assert len(served.server.connections) <= 5
        for each in opened:
            each.close()
    with serving(most=0) as served, served.connect() as connection:
        assert ends(connection) == b""
    assert served.notes == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD_BYTES,
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEAD_BYTES,
    ],
)
def test_a_huge_request_is_cut(head: bytes) -> None:
    with serving() as served, served.connect() as connection:
        try:
            connection.sendall(head)
        except ConnectionError:
            return
        received = ends(connection)
        assert received == b"" or received.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        assert served.ask().status == 200


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"]
)
def test_garbage_is_refused_without_a_word_about_the_inside(garbage: bytes) -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(garbage + b"\r\n\r\n")
        received = ends(connection)
        assert received == b"" or received.startswith(b"HTTP/1.1 400 ")
        assert b"h11" not in received.lower()
        assert served.notes == []


def test_a_client_without_a_reader_is_cut_and_holds_no_other() -> None:
    with serving() as served, socket.socket() as greedy:
        _show_many(served)
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        greedy.connect(("127.0.0.1", served.port))
        greedy.sendall(REQUEST.replace(b"environments ", b"environments?limit=1000 ") * 20)  # 20 MB of answers
        for _ in range(25):  # as many turns, after which no more is read
            assert served.ask("/v1/environments?limit=1").status == 200
        served.pass_time(ANSWER_S)
        until(lambda: not served.server.connections)


def test_a_target_may_be_a_whole_url() -> None:
    with serving() as served, served.connect() as connection:
        request = REQUEST.replace(b"Host", b"Connection: close\r\nHost")
        connection.sendall(request.replace(b" /v1", b" http://office.example:8283/v1"))
        assert ends(connection).startswith(b"HTTP/1.1 200 ")


def test_an_answer_to_head_has_no_body_and_the_connection_goes_on() -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(REQUEST.replace(b"GET", b"HEAD") + REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
        first, second = re.findall(rb"HTTP/1.1 (\d+)", ends(connection))
        assert (first, second) == (b"405", b"200")


def test_who_asks_for_another_protocol_is_answered_by_http() -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(REQUEST.replace(b"Host", b"Connection: close, Upgrade\r\nUpgrade: h2c\r\nHost"))
        assert ends(connection).startswith(b"HTTP/1.1 200 ")


def test_a_half_closed_connection_still_reads_its_answers() -> None:
    with serving() as served, served.connect() as connection:
        connection.sendall(REQUEST * 2)
        connection.shutdown(socket.SHUT_WR)
        assert ends(connection).count(b"HTTP/1.1 200 ") == 2


def _show_many(served: Serving) -> None:
    served.show([environment(f"env-{i}") for i in range(1_000)])


def test_pipelined_requests_are_answered_in_their_order() -> None:
    with serving() as served, served.connect() as connection:
        first, second = REQUEST, REQUEST.replace(b"environments ", b"environments?limit=1 ")
        connection.sendall(first + second + REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
        lengths = [int(length) for length in re.findall(rb"Content-Length: (\d+)", ends(connection))]
        assert len(lengths) == 3
        assert lengths[0] == lengths[2] > lengths[1]


# The end.


def test_after_the_end_the_port_is_closed_and_connections_too() -> None:
    """A client that reads nothing does not delay the end."""
    with serving() as served, Client(served.url, TOKEN) as viewer, served.connect() as greedy:
        assert viewer.ask("/v1/environments").status == 200
        _show_many(served)
        for _ in range(20):
            greedy.sendall(REQUEST.replace(b"environments ", b"environments?limit=1000 "))
        assert served.ask().status == 200
        served.server.call(served.endpoints["office"].end)
        assert viewer.ask("/v1/environments").json["errorCode"] == "envwatch_stopping"
        asyncio.run(asyncio.wait_for(served.server.close(), TIMEOUT_S))
        assert ends(viewer.connection.sock) == b""
        ends(greedy)
        with pytest.raises(ConnectionRefusedError):
            served.connect()


# Addresses and TLS.


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8283", "127.0.0.1", 8283, True),
        ("localhost:0", "127.0.0.1", 0, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("[::1]:8283", "::1", 8283, True),
        ("0.0.0.0:8283", "0.0.0.0", 8283, False),
        ("[::]:65535", "::", 65535, False),
        ("192.0.2.7:443", "192.0.2.7", 443, False),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int, *, is_loopback: bool) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert address.is_loopback == is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8283",
        ":8283",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "::1:8283",
        "host:1",
        "[::1%lo]:1",
        "[::ffff:127.0.0.1]:1",
        "1.2.3:1",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must be an IP address and a port"):
        parse_address(text)


def test_a_taken_port_is_one_line() -> None:
    with listen(Address("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ServerError, match=rf"^127\.0\.0\.1:{port} is in use, maybe by another `envwatch serve`"):
            listen(Address("127.0.0.1", port))


def test_no_body_waits_for_the_acknowledgement_of_its_head() -> None:
    with listen(Address("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_server_speaks_tls_and_takes_over_a_renewed_certificate(tmp_path: Path) -> None:
    files = tmp_path / "cert.pem"
    files.write_bytes((CERTS / "localhost.pem").read_bytes())
    tls = Certificate(files, files)
    with serving(tls=tls.context) as served:
        first = _certificate(served)
        assert not tls.reread()
        files.write_bytes((CERTS / "expired.pem").read_bytes())
        assert tls.reread()
        served.server.tls = tls.context
        assert _certificate(served) != first
        files.write_bytes(b"half a fi")
        with pytest.raises(ServerError, match="cannot be used for TLS: a certificate or its key is missing"):
            tls.reread()
        assert not tls.reread()  # reported once
        assert _certificate(served) != first
        with served.connect() as plain:
            plain.sendall(REQUEST)
            assert b"200" not in ends(plain)


def _certificate(served: Serving) -> bytes | None:
    context = any_certificate()
    with served.connect() as connection, context.wrap_socket(connection) as wrapped:
        wrapped.sendall(REQUEST)
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200 ")
        return wrapped.getpeercert(binary_form=True)


def test_an_unusable_certificate_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for certificate, key, message in (
        (tmp_path / "none.pem", empty, "none.pem cannot be used for TLS: No such file or directory"),
        (empty, empty, "empty.pem cannot be used for TLS: a certificate or its key is missing"),
        (CERTS / "localhost.pem", CERTS / "expired.pem", "the key is not the certificate's"),
    ):
        with pytest.raises(ServerError, match=re.escape(message)):
            Certificate(certificate, key)


@pytest.mark.parametrize(("files", "connections"), [(270, 16), (600, 344)])
def test_open_files_limit_the_connections(files: int, connections: int) -> None:
    with open_files(files):
        assert most_connections() == connections


@contextmanager
def open_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_viewers_stay_while_others_begin_and_never_end_a_handshake() -> None:
    context = any_certificate()
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


def test_a_client_without_a_reader_is_cut_over_tls_too() -> None:
    context = any_certificate()
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


async def nothing(_: Request) -> Answer:
    raise NotImplementedError


def test_a_change_beyond_display_ends_the_server_with_the_bug() -> None:
    notes: list[str] = []
    server = HttpServer(nothing, listen(Address("127.0.0.1", 0)), notes.append)
    bug, later = KeyError("row"), ValueError("of the next step")

    def fail(error: Exception) -> None:
        raise error

    server.start()
    server.call(lambda: fail(bug))
    server.call(lambda: fail(later))
    wait_until(lambda: server.error, "the server names the bug")
    asyncio.run(server.close())
    assert server.error is bug
    server.call(lambda: fail(later))
    assert notes == []
