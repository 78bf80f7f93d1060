"""The demo API on loopback: `GET /v1/environments` and `/v1/environments/{deviceId}` as the Letta Platform has them.

Owns HTTP, the key and the clock; `fleet.py` owns the listing. `child.py` runs this module as a process.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import os
import signal
import socket
import sys
import time
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, unquote

from envwatch.demo.fleet import SimulatedFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.demo.states import SimulatedEnvironment

_LISTING = "/v1/environments"
_DEFAULT_LIMIT = 50
_GZIP_FROM_BYTES = 1_400  # about one packet
_GZIP_WBITS = 31  # zlib's number for the gzip format


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class _RefusedError(Exception):
    """A response other than 200, with its body."""

    def __init__(self, status: HTTPStatus, body: dict[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class _Api:
    """Routes and parameters: the parts of a request to a body. Knows no socket."""

    def __init__(self, fleet: SimulatedFleet, key: str, largest_page: int, now: Callable[[], int]) -> None:
        self.now = now
        self._fleet = fleet
        self._authorization = f"Bearer {key}".encode()
        self._largest_page = largest_page
        self._lock = Lock()

    def body(self, target: str, authorization: str) -> bytes:
        """Return the JSON body for a GET.

        Raises:
            _RefusedError: the status is not 200.
        """
        path, _, query = target.partition("?")
        if path != _LISTING and not path.startswith(f"{_LISTING}/"):
            raise _RefusedError(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
        if not hmac.compare_digest(authorization.encode("latin-1", "replace"), self._authorization):
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"})
        if path == _LISTING:
            return self._listing(dict(parse_qsl(query, keep_blank_values=True)))
        return self._device(path.removeprefix(f"{_LISTING}/"))

    def _listing(self, query: dict[str, str]) -> bytes:
        limit = min(_whole_number(query.get("limit", str(_DEFAULT_LIMIT))), self._largest_page)
        now = self.now()
        is_wanted = _filter(query, now)
        with self._lock:
            rows, has_next_page = self._fleet.page(now, limit=limit, after=query.get("after"), is_wanted=is_wanted)
        return b'{"connections":[%b],"hasNextPage":%b}' % (b",".join(rows), b"true" if has_next_page else b"false")

    def _device(self, segment: str) -> bytes:
        if "/" in segment:
            raise _RefusedError(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
        with self._lock:
            row = self._fleet.row(unquote(segment), self.now())
        if row is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, {"error": "Environment connection not found"})
        return row


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": "limit must be a positive whole number"})
    return int(text)


def _filter(query: dict[str, str], now: int) -> Callable[[SimulatedEnvironment], bool]:
    """Return the test that the parameters make; unknown parameters are ignored."""
    online_only, source, user_id = query.get("onlineOnly", "false"), query.get("source"), query.get("userId")
    if online_only not in {"true", "false"}:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": 'onlineOnly must be "true" or "false"'})
    if source not in {None, "local", "remote"}:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": 'source must be "local" or "remote"'})

    def is_wanted(environment: SimulatedEnvironment) -> bool:
        identity = environment.machine.identity
        return (
            (source is None or (identity["organizationId"] == "local") == (source == "local"))
            and (user_id is None or identity.get("userId") == user_id)
            and (online_only == "false" or environment.is_online(now))
        )

    return is_wanted


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a client. Only GET exists; every other method ends in `send_error`."""

    protocol_version = "HTTP/1.1"
    server_version = "envwatch-demo"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def do_GET(self) -> None:
        try:
            body = self._api.body(self.path, self.headers.get("Authorization", ""))
        except _RefusedError as refusal:
            self._reply(refusal.status, json.dumps(refusal.body).encode())
        else:
            self._reply(HTTPStatus.OK, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  http.server's signature
        """Send what `http.server` itself refuses as JSON, and end the connection: a body may be unread."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # http.server's status for a method without a do_…
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        self._reply(status, json.dumps({"error": status.phrase}).encode())

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` header by the same clock as the heartbeats."""
        return super().date_time_string(self._api.now() / 1_000 if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        """Log nothing: the screen belongs to the dashboard."""

    @property
    def _api(self) -> _Api:
        return cast("Server", self.server).api

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        is_gzip = len(body) >= _GZIP_FROM_BYTES and _accepts_gzip(self.headers.get("Accept-Encoding", ""))
        if is_gzip:
            body = zlib.compress(body, 1, _GZIP_WBITS)
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Vary", "Accept-Encoding")
        if is_gzip:
            self.send_header("Content-Encoding", "gzip")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


def _accepts_gzip(header: str) -> bool:
    codings = (coding.replace(" ", "").lower().partition(";q=") for coding in header.split(","))
    return any(name == "gzip" and (quality == "" or quality.strip("0.") != "") for name, _, quality in codings)


class Server(ThreadingHTTPServer):
    """A running demo API with its own fleet, one thread per connection; it serves until `close`.

    Args:
        size: environments at the start.
        seed: selects the fleet; the same seed gives the same story.
        key: the bearer token that clients must send.
        port: 0 for any free one.
        largest_page: a larger `limit` is reduced to it silently.
        now: the clock of heartbeats and of the `Date` header, in milliseconds since the epoch.

    Raises:
        OSError: the port is not available.
    """

    daemon_threads = False  # joined after their connections are cut
    request_queue_size = 128

    def __init__(  # noqa: PLR0913 - keyword-only options of a server
        self,
        *,
        size: int,
        seed: int,
        key: str,
        port: int = 0,
        largest_page: int = 100,
        now: Callable[[], int] = wall_clock,
    ) -> None:
        self.key = key
        self.api = _Api(SimulatedFleet(size, seed, now()), key, largest_page, now)
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        self._is_closing = False
        super().__init__(("127.0.0.1", port), _Exchange)
        self.base_url = f"http://127.0.0.1:{self.server_port}"
        self._accepting = Thread(target=self._accept, name="envwatch-demo")
        self._accepting.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once: cut the open connections and end all threads."""
        if self._is_closing:
            return
        self._is_closing = True
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server_port)):
            pass  # ends the wait of the accepting thread
        self._accepting.join()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client closed it first
                    connection.shutdown(socket.SHUT_RDWR)  # its thread reads end of file
        self.server_close()

    def _accept(self) -> None:
        while not self._is_closing:
            self.handle_request()

    def server_bind(self) -> None:
        """Bind without a reverse lookup of 127.0.0.1, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = cast("tuple[str, int]", self.server_address)

    # typeshed: a request may also be the pair of a UDP server.
    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Remember a new connection and start its thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget a connection at its end."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Ignore clients that disconnect; report every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(*, size: int, seed: int, key: str, port: int = 0) -> Server:
    """Start a demo API in this process."""
    return Server(size=size, seed=seed, key=key, port=port)


def _announce(message: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve for `child.py` until standard input ends or SIGTERM comes; one line of JSON has the URL, or the error.

    The key is in `LETTA_API_KEY`. Returns the exit code: 0, or 1 if the server could not listen.
    """
    parser = argparse.ArgumentParser(prog="envwatch.demo.server")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--child", action="store_true", required=True, help="serve until standard input ends")
    options = parser.parse_args(arguments)
    key = os.environ.get("LETTA_API_KEY", "")
    if not key:
        parser.error("LETTA_API_KEY is not set")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c is for the parent
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = serve(size=options.size, seed=options.seed, key=key)
    except OSError as error:
        _announce({"error": f"the demo server cannot listen: {error}"})
        return 1
    with server:
        _announce({"base_url": server.base_url, "key": server.key})
        while os.read(sys.stdin.fileno(), 4_096):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
