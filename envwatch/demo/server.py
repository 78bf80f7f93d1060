"""The demo API: `GET /v1/environments` and its neighbour on loopback, answered as the Letta Platform answers them.

Owns HTTP, the key and the clock. What the fleet does is `fleet.py`'s; starting this as a process of its own and
ending it again is `child.py`'s.
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
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import parse_qsl, unquote

from envwatch.demo.fleet import SimulatedFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.demo.states import Environment

_LISTING = "/v1/environments"
_DEFAULT_LIMIT = 50
_WORTH_COMPRESSING = 1_400  # about one packet
_GZIP = 31  # zlib's number for a gzip frame


def wall_clock() -> int:
    """Now, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Server:
    """A running demo API with a fleet of its own; serves from its making until `close`.

    Args:
        size: environments at the start.
        seed: which fleet; the same one lives the same life.
        key: what clients must send as their bearer token.
        port: 0 for any free one.
        largest_page: a larger `limit` is cut down to it without a word.
        now: the clock of heartbeats and of the `Date` header, in milliseconds since the epoch.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(  # noqa: PLR0913 - what a server is, and three knobs that tests and the command line turn
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
        self._is_closing = False
        self._listener = _Listener(port, _Api(SimulatedFleet(size, seed, now()), key, largest_page, now))
        self.base_url = f"http://127.0.0.1:{self._listener.server_port}"
        self._accepting = Thread(target=self._accept, name="envwatch-demo")
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once: no more connections, the open ones cut, all threads ended."""
        if self._is_closing:
            return
        self._is_closing = True
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._listener.server_port)):
            pass  # wakes the accepting thread, which otherwise waits for a client without ever looking up
        self._accepting.join()
        self._listener.cut_connections()
        self._listener.server_close()

    def _accept(self) -> None:
        while not self._is_closing:
            self._listener.handle_request()


def serve(*, size: int, seed: int, key: str, port: int = 0) -> Server:
    """Start a demo API in this process."""
    return Server(size=size, seed=seed, key=key, port=port)


class _RefusedError(Exception):
    """An answer other than 200, with its body."""

    def __init__(self, status: HTTPStatus, body: dict[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class _Api:
    """The routes and the parameters, from a request's parts to a body; knows no socket."""

    def __init__(self, fleet: SimulatedFleet, key: str, largest_page: int, now: Callable[[], int]) -> None:
        self.now = now
        self._fleet = fleet
        self._authorization = f"Bearer {key}".encode()
        self._largest_page = largest_page
        self._turn = Lock()

    def answer(self, target: str, authorization: str) -> bytes:
        """The JSON body for a GET.

        Raises:
            _RefusedError: it is to be answered with another status than 200.
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
        with self._turn:
            rows, has_next_page = self._fleet.page(now, limit=limit, after=query.get("after"), is_wanted=is_wanted)
        return b'{"connections":[%b],"hasNextPage":%b}' % (b",".join(rows), b"true" if has_next_page else b"false")

    def _device(self, segment: str) -> bytes:
        if "/" in segment:
            raise _RefusedError(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
        with self._turn:
            row = self._fleet.row(unquote(segment), self.now())
        if row is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, {"error": "Environment connection not found"})
        return row


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": "limit must be a positive whole number"})
    return int(text)


def _filter(query: dict[str, str], now: int) -> Callable[[Environment], bool]:
    """What the query asks of a row; a parameter that is not known asks nothing."""
    online_only, source, user_id = query.get("onlineOnly", "false"), query.get("source"), query.get("userId")
    if online_only not in {"true", "false"}:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": 'onlineOnly must be "true" or "false"'})
    if source not in {None, "local", "remote"}:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, {"error": 'source must be "local" or "remote"'})

    def is_wanted(environment: Environment) -> bool:
        identity = environment.machine.identity
        return (
            (source is None or (identity["organizationId"] == "local") == (source == "local"))
            and (user_id is None or identity.get("userId") == user_id)
            and (online_only == "false" or environment.is_online(now))
        )

    return is_wanted


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a client: requests in, answers out. Only GET exists; all else falls to `send_error`."""

    protocol_version = "HTTP/1.1"
    server_version = "envwatch-demo"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def do_GET(self) -> None:
        try:
            body = self._api.answer(self.path, self.headers.get("Authorization", ""))
        except _RefusedError as refusal:
            self._reply(refusal.status, json.dumps(refusal.body).encode())
        else:
            self._reply(HTTPStatus.OK, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  http.server's signature
        """Answer what `http.server` itself refuses, in JSON, and end the connection: a body may be left unread."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # its word for a method without a do_…
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        self._reply(status, json.dumps({"error": status.phrase}).encode())

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` header, by the same clock as the heartbeats."""
        return super().date_time_string(self._api.now() / 1_000 if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        """Keep no log: the screen belongs to the dashboard."""

    @property
    def _api(self) -> _Api:
        return cast("_Listener", self.server).api

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        is_gzip = len(body) >= _WORTH_COMPRESSING and _accepts_gzip(self.headers.get("Accept-Encoding", ""))
        if is_gzip:
            body = zlib.compress(body, 1, _GZIP)
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


class _Listener(ThreadingHTTPServer):
    """The listening socket and its open connections, a thread each."""

    daemon_threads = False  # joined at the end, once their connections are cut
    request_queue_size = 128

    def __init__(self, port: int, api: _Api) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._turn = Lock()
        super().__init__(("127.0.0.1", port), _Exchange)

    def server_bind(self) -> None:
        """Bind without asking a name server who 127.0.0.1 is, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = cast("tuple[str, int]", self.server_address)

    # A TCP server's request is a socket; only that of a UDP server, which has the same type, is a pair.
    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Hand a new connection to its thread, and remember it."""
        with self._turn:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget a connection at its end."""
        with self._turn:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """End all connections now; their threads read an end of file."""
        with self._turn:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A client that goes away in the middle is no news; everything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def run_until_closed(*, size: int, seed: int, key: str) -> int:
    """Serve as a child process: say where in one line of JSON, then go on until standard input ends or SIGTERM.

    Standard input ends when the parent closes it or dies, however it dies. Ctrl+C in the terminal is the parent's.

    Returns:
        The exit code: 0, or 1 when the server could not listen and the line says why.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = serve(size=size, seed=seed, key=key)
    except OSError as error:
        _announce({"error": f"the demo server cannot listen: {error}"})
        return 1
    with server:
        _announce({"base_url": server.base_url, "key": server.key})
        while os.read(sys.stdin.fileno(), 4_096):
            pass
    return 0


def _announce(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the child side of `child.py`, as `python -m envwatch.demo.server`; the key comes in `LETTA_API_KEY`."""
    parser = argparse.ArgumentParser(prog="envwatch.demo.server")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--child", action="store_true", required=True, help="serve until standard input ends")
    options = parser.parse_args(arguments)
    key = os.environ.get("LETTA_API_KEY", "")
    if not key:
        parser.error("LETTA_API_KEY is not set")
    return run_until_closed(size=options.size, seed=options.seed, key=key)


if __name__ == "__main__":
    sys.exit(main())
