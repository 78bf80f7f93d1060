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
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING

from envwatch.demo.fleet import DemoFleet
from envwatch.model import listing_api
from envwatch.model.listing_api import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.demo.fleet import DemoRow

_LARGEST_PAGE = 100
_CLOSED_WITHIN_S = 0.05


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together
    server: Server

    def do_GET(self) -> None:
        try:
            body = self.server.body(self.path, self.headers.get("Authorization", ""))
        except RefusedError as refusal:
            self._reply(refusal.status, json.dumps(refusal.body).encode())
        else:
            self._reply(HTTPStatus.OK, body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now() / 1_000 if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        """Log nothing: the screen belongs to the dashboard."""

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingTCPServer):
    """A running demo API with a fleet of `size`, a thread per connection, until `close`.

    `key` is the clients' bearer token; `now` is the clock of heartbeats and `Date` in ms since the epoch.

    Raises:
        OSError: the server cannot listen.
    """

    daemon_threads = False  # joined after the connections are cut
    request_queue_size = 128

    def __init__(self, size: int, *, key: str, now: Callable[[], int] = wall_clock) -> None:
        self.key = key
        self.now = now
        self.started_at = now()
        """The opening in ms since the epoch."""
        self._fleet = DemoFleet(size, self.started_at)
        self._lock = Lock()
        self._authorization = f"Bearer {key}".encode()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}"
        self._serving = Thread(target=self.serve_forever, args=(_CLOSED_WITHIN_S,), name="envwatch-demo")
        self._serving.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def body(self, target: str, authorization: str) -> bytes:
        """Return a GET's JSON body.

        Raises:
            RefusedError: the status is not 200.
        """
        path, _, query = target.partition("?")
        if path == listing_api.HEALTH_PATH:
            return b'{"version":"demo","status":"ok"}'
        device_id = listing_api.device_in(path)
        if not hmac.compare_digest(authorization.encode("latin-1", "replace"), self._authorization):
            raise listing_api.unauthorized()
        return self._listing(query) if device_id is None else self._device(device_id)

    def _listing(self, query: str) -> bytes:
        params, now = listing_api.PageParams.from_query(query, _LARGEST_PAGE), self.now()

        def is_wanted(row: DemoRow) -> bool:
            identity = row.machine.identity
            is_admitted = params.admits(identity["organization_id"], identity.get("user_id"))
            return is_admitted and (not params.online_only or row.is_online(now))

        with self._lock:
            rows, has_next_page = self._fleet.page(now, limit=params.limit, after=params.after, is_wanted=is_wanted)
        return listing_api.listing_body(rows, has_next_page=has_next_page)

    def _device(self, device_id: str) -> bytes:
        with self._lock:
            row = self._fleet.row(device_id, self.now())
        if row is None:
            raise listing_api.unknown_device()
        return row

    def close(self) -> None:
        """Cut the open connections and end all threads."""
        self.shutdown()
        self._serving.join()
        for connection in tuple(self._connections):  # threads remove theirs
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)  # the thread reads end of file
        self.server_close()

    # typeshed: a request may also be the pair of a UDP server.
    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Register and serve a new connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget and close a connection."""
        self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Ignore clients that disconnect; report every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main(size: str) -> int:
    """Serve a fleet of `size` for `child.py` until standard input ends or SIGTERM comes.

    `LETTA_API_KEY` holds the key. A line of JSON announces the URL, or an error before exit code 1.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c is for the parent
    try:
        server = Server(int(size), key=os.environ["LETTA_API_KEY"])
    except OSError as error:
        print(json.dumps({"error": f"the demo server cannot listen: {error}"}), flush=True)  # noqa: T201 - for the parent
        return 1
    with server:
        announced = {"base_url": server.base_url, "started_at": server.started_at}
        print(json.dumps(announced), flush=True)  # noqa: T201 - for the parent
        while os.read(sys.stdin.fileno(), 4_096):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
