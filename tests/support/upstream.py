"""The demo's server as upstream of `envwatch serve`, behind a proxy that can be shut, held up, and made to lie."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing, contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar, cast

from support.programs import TIMEOUT_S

from envwatch.demo.child import ChildServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Upstream:
    """A proxy that counts requests, and can be shut, held up, and made to lie."""

    def __init__(self, url: str) -> None:
        self.demo = url.removeprefix("http://")
        self.requests = 0
        self.date_error_s = 0.0
        """Error of the answers' `Date`."""
        self.renamed: tuple[bytes, bytes] = (b"", b"")
        """A text in the answers, and the replacement."""
        self.renamed_at: float | None = None
        """Monotonic second of the first answer with the replacement."""
        self.going_on = Event()
        """Unset while every answer is held up."""
        self.going_on.set()
        self._lock = Lock()
        self._server: _Server | None = None
        self._port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def rename(self, before: bytes, after: bytes) -> None:
        self.renamed_at, self.renamed = None, (before, after)

    def count(self) -> None:
        with self._lock:
            self.requests += 1

    def open(self) -> None:
        """Listen on the same port again."""
        self._server = _Server(("127.0.0.1", self._port), _Exchange)
        self._server.upstream = self
        self._port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_all()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    upstream: Upstream

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_all(self) -> None:
        for connection in self._connections:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that leaves."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        upstream = cast("_Server", self.server).upstream
        upstream.count()
        upstream.going_on.wait()
        connection = http.client.HTTPConnection(upstream.demo, timeout=TIMEOUT_S)
        try:
            connection.request("GET", self.path, headers={"Authorization": self.headers.get("Authorization", "")})
            response = connection.getresponse()
            body = response.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            connection.close()
        if upstream.renamed[0] and upstream.renamed[0] in body:
            body = body.replace(*upstream.renamed)
            upstream.renamed_at = upstream.renamed_at or time.monotonic()
        self.send_response_only(response.status)
        self.send_header("Date", formatdate(time.time() + upstream.date_error_s, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def demo_upstream(size: int = 40) -> Iterator[tuple[Upstream, str]]:
    with closing(ChildServer(size)) as demo:
        upstream = Upstream(demo.base_url)
        try:
            yield upstream, demo.key
        finally:
            upstream.going_on.set()
            upstream.shut()


def wait_until(condition: Callable[[], T | None], what: str, within: float = TIMEOUT_S) -> T:
    """Return the first true result of a condition."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)
    return result
