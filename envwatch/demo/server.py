"""The demo API on loopback: Letta's `GET /v1/environments`, `/v1/environments/{deviceId}` and `/v1/health`."""

from __future__ import annotations

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

from envwatch.demo.lives import simulated_fleet
from envwatch.demo.scenarios import FleetSpec, Scenario, date_error_ms, is_unavailable
from envwatch.model.listing_api import (
    GZIP_FROM_BYTES,
    HEALTH_PATH,
    PageParams,
    RefusedError,
    accepts_gzip,
    device_in,
    listing_body,
    not_found,
    unauthorized,
    unknown_device,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.demo.fleet import SimulatedEnvironment

LISTENER_PATH = "/demo/listeners/"
"""A POST to this path plus an environment's id starts the listener; outage scenario only."""
_GZIP_WBITS = 31  # zlib's number for the gzip format


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "envwatch-demo"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together
    server: Server

    def do_GET(self) -> None:
        self._answer(self.server.body)

    def do_POST(self) -> None:
        if self.server.starts_listeners:
            self.close_connection = True  # a body may be unread
            self._answer(self.server.start_listener)
        else:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def _answer(self, body_of: Callable[[str, str], bytes]) -> None:
        try:
            body = body_of(self.path, self.headers.get("Authorization", ""))
        except RefusedError as refusal:
            self._reply(refusal.status, json.dumps(refusal.body).encode())
        else:
            self._reply(HTTPStatus.OK, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  http.server's signature
        """Send an error of `http.server` as JSON, and close the connection: a body may be unread."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # http.server's status for a method without a do_…
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        self._reply(status, json.dumps({"error": status.phrase}).encode())

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` header by the heartbeats' clock, or the scenario's wrong time."""
        return super().date_time_string(self.server.date() if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        """Log nothing: the screen belongs to the dashboard."""

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        is_gzip = len(body) >= GZIP_FROM_BYTES and accepts_gzip(self.headers.get("Accept-Encoding", ""))
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


class Server(ThreadingHTTPServer):
    """A running demo API with a fleet, one thread per connection, until `close`.

    Args:
        key: the clients' bearer token.
        largest_page: silently caps `limit`.
        now: the clock of heartbeats and `Date`, in ms since the epoch.
        ages_from: see `SimulatedFleet`.

    Raises:
        OSError: the server cannot listen.
    """

    daemon_threads = False  # joined after their connections are cut
    request_queue_size = 128

    def __init__(
        self,
        spec: FleetSpec,
        *,
        key: str,
        largest_page: int = 100,
        now: Callable[[], int] = wall_clock,
        ages_from: int | None = None,
    ) -> None:
        self.key = key
        self.started_at = now()
        """The opening's start, in ms since the epoch."""
        self.starts_listeners = spec.scenario is Scenario.OUTAGE
        self._scenario = spec.scenario
        self._fleet = simulated_fleet(spec, self.started_at, ages_from)
        self._fleet_lock = Lock()
        self._authorization = f"Bearer {key}".encode()
        self._largest_page = largest_page
        self._now = now
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        self._is_closing = False
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.base_url = f"http://127.0.0.1:{self.server_port}"
        self._accepting = Thread(target=self._accept, name="envwatch-demo")
        self._accepting.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def date(self) -> float:
        """Return the `Date` header's time, in seconds since the epoch."""
        now = self._now()
        return (now + date_error_ms(self._scenario, now - self.started_at)) / 1_000

    def body(self, target: str, authorization: str) -> bytes:
        """Return a GET's JSON body.

        Raises:
            RefusedError: the status is not 200.
        """
        path, _, query = target.partition("?")
        if path == HEALTH_PATH:
            return b'{"version":"demo","status":"ok"}'
        device_id = device_in(path)
        self._check(authorization)
        if is_unavailable(self._scenario, self._now() - self.started_at):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database is being restarted"})
        return self._listing(query) if device_id is None else self._device(device_id)

    def start_listener(self, path: str, authorization: str) -> bytes:
        """Start a listener, and return the POST's JSON body.

        Raises:
            RefusedError: the status is not 200; 409 for an environment that is up, or a sandbox.
        """
        id_ = path.removeprefix(LISTENER_PATH)
        if id_ == path:
            raise not_found()
        self._check(authorization)
        with self._fleet_lock:
            starts = self._fleet.start_listener(id_, self._now())
        if starts is None:
            raise not_found()
        if not starts:
            raise RefusedError(HTTPStatus.CONFLICT, {"error": "it is up, or a sandbox, which returns with its pod"})
        return b'{"status":"started"}'

    def _check(self, authorization: str) -> None:
        if not hmac.compare_digest(authorization.encode("latin-1", "replace"), self._authorization):
            raise unauthorized()

    def _listing(self, query: str) -> bytes:
        params, now = PageParams.from_query(query, self._largest_page), self._now()

        def is_wanted(environment: SimulatedEnvironment) -> bool:
            identity = environment.machine.identity
            is_admitted = params.admits(identity["organization_id"], identity.get("user_id"))
            return is_admitted and (not params.online_only or environment.is_online(now))

        with self._fleet_lock:
            rows, has_next_page = self._fleet.page(now, limit=params.limit, after=params.after, is_wanted=is_wanted)
        return listing_body(rows, has_next_page=has_next_page)

    def _device(self, device_id: str) -> bytes:
        with self._fleet_lock:
            row = self._fleet.row(device_id, self._now())
        if row is None:
            raise unknown_device()
        return row

    def close(self) -> None:
        """Cut the open connections and end all threads."""
        if self._is_closing:
            return
        self._is_closing = True
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server_port)):
            pass  # wakes the accepting thread
        self._accepting.join()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
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
        """Register a new connection and start its thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget a closed connection."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Ignore clients that disconnect; report every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _announce(message: dict[str, str | int]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(values: str) -> int:
    """Serve for `child.py` until standard input ends or SIGTERM comes.

    `values` is JSON: a `FleetSpec` and `ages_from`. `LETTA_API_KEY` holds the key. One line of JSON announces the URL
    or the error. Returns the exit code: 1 if the server cannot listen, else 0.
    """
    *spec, ages_from = json.loads(values)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c is for the parent
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = Server(FleetSpec.from_values(*spec), key=os.environ["LETTA_API_KEY"], ages_from=ages_from)
    except OSError as error:
        _announce({"error": f"the demo server cannot listen: {error}"})
        return 1
    with server:
        _announce({"base_url": server.base_url, "key": server.key, "started_at": server.started_at})
        while os.read(sys.stdin.fileno(), 4_096):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
