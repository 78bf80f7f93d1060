"""One HTTP request and its response, within bounds of time and size.

Owns the connection pool, the only place where the key leaves the process, and the inflating of bodies. Must not know
what a response means: statuses, pages and messages are those of `errors`.

Uses httpx's transport and not its client, which adds redirects, cookies, logins and settings from the environment. All
of them would have to be turned off again for a key that must reach one host only.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from envwatch import __version__
from envwatch.model import limits
from envwatch.model.outcome import Cause
from envwatch.sources.letta import httpx
from envwatch.sources.letta.network_settings import proxy_for, trust_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from pydantic import JsonValue, SecretStr

ERROR_BYTES: Final = 64 * 1024
"""Bytes of an error's body that are read: enough to find its message."""

_IDLE_S: Final = 60.0
"""Seconds for which an idle connection is kept: as long as load balancers do. httpx's 5 s end just before a poll."""

TIMEOUT: Final = httpx.Timeout(limits.READ_TIMEOUT.total_seconds(), connect=limits.CONNECT_TIMEOUT.total_seconds())


class BodyError(Exception):
    """A body that cannot be used; the text continues the sentence "the answer of HOST …"."""

    def __init__(self, cause: Cause, what: str) -> None:
        super().__init__(what)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response; nothing of it is cleaned yet."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    """Inflated; complete if the status is 200, otherwise its start."""
    received: int
    """Bytes of the body, before inflating."""
    requests: int
    """How often the request was sent, 1 or 2."""
    asked_at: float
    """This machine's wall clock before the request, milliseconds since the epoch."""
    answered_at: float
    """The same clock when the response's head had come."""

    @property
    def json_object(self) -> dict[str, JsonValue]:
        """The JSON object in the body; empty for any other body."""
        try:
            document = json.loads(self.body.decode(errors="replace"))
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


class Transport:
    """A connection to one server, kept open from request to request.

    Args:
        url: of the request, without a query.
        key: see `Transport.key`.
        wall: this machine's wall clock, milliseconds since the epoch.
        error_patience: time for which an error's body is read; the status is enough to know what went wrong.
        environ: variables with proxy and certificate settings, which raise `SettingsError` if they cannot be used.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        key: SecretStr,
        wall: Callable[[], float],
        error_patience: timedelta,
        environ: Mapping[str, str],
    ) -> None:
        self._url = url
        self.key = key
        """Sent with every request."""
        self._wall = wall
        self.observe: Callable[[str, Mapping[str, Any]], None] = lambda _event, _details: None
        """Called with the name and the details of each of httpcore's trace events; may be set later."""
        self._error_patience = error_patience.total_seconds()
        self.proxy = proxy_for(url, environ)
        """None for a direct connection."""
        self._transport = httpx.AsyncHTTPTransport(
            verify=trust_for(url, environ),
            trust_env=False,
            proxy=self.proxy,
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=_IDLE_S),
        )

    async def get(self, params: Mapping[str, str], segment: str = "") -> Response:
        """Send a GET request, and once more if a connection that was idle turns out to be dead.

        A server may close an idle connection just when a request is sent, which is no failure. A new connection that
        breaks is one. A segment is quoted and appended to the path.

        Raises:
            Exception: one of `errors.FAILURES`. Exceptions of httpx hold the key: they must not leave this package.
        """
        traced: set[str] = set()
        url = self._url
        if segment:
            url = url.copy_with(raw_path=url.raw_path + b"/" + quote(segment, safe="").encode())
        try:
            return await self._send(url, params, traced, requests=1)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if not traced.isdisjoint({"connection.connect_tcp.started", "http11.receive_response_headers.complete"}):
                raise
        return await self._send(url, params, set(), requests=2)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()

    async def _send(self, url: httpx.URL, params: Mapping[str, str], traced: set[str], *, requests: int) -> Response:
        asked_at = self._wall()
        response = await self._transport.handle_async_request(self._request(url, params, traced))
        answered_at = self._wall()
        is_ok = response.status_code == httpx.codes.OK
        body = bytearray()
        try:
            if is_ok:
                await _read(response, body, limits.PAGE_BYTES)
            else:
                # The status is known, and a body that fails does not change it.
                with suppress(httpx.HTTPError, OSError, zlib.error, BodyError):
                    async with asyncio.timeout(self._error_patience):
                        await _read(response, body, ERROR_BYTES)
        finally:
            await response.aclose()
        return Response(
            status=response.status_code,
            headers=response.headers,
            body=bytes(body),
            received=response.num_bytes_downloaded,
            requests=requests,
            asked_at=asked_at,
            answered_at=answered_at,
        )

    def _request(self, url: httpx.URL, params: Mapping[str, str], traced: set[str]) -> httpx.Request:
        """Return a request whose trace events are observed; their names are added to `traced`."""

        async def trace(event: str, details: Mapping[str, Any]) -> None:
            self.observe(event, details)
            traced.add(event)

        return httpx.Request(
            "GET",
            url,
            params=params,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "Authorization": f"Bearer {self.key.get_secret_value()}",
                "User-Agent": f"envwatch/{__version__}",
            },
            extensions={"timeout": TIMEOUT.as_dict(), "trace": trace},
        )


async def _read(response: httpx.Response, body: bytearray, bound: int) -> None:
    """Read a body to its end, inflated; not by httpx, whose inflating has no bound: 8 KiB can become 8 MiB at once.

    Args:
        response: whose body has not been read.
        body: gets the content, also if the rest fails.
        bound: of the content and of the bytes on the wire.

    Raises:
        BodyError: if the body is larger, in another encoding, or damaged.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", ""}:
        raise BodyError(Cause.GARBLED, "is in an encoding that was not asked for")
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding.endswith("gzip") else None
    async for chunk in response.aiter_raw():
        body += inflate.decompress(chunk, bound + 1 - len(body)) if inflate else chunk
        if max(len(body), response.num_bytes_downloaded) > bound:
            raise BodyError(Cause.TOO_LARGE, f"is larger than {bound // 1024} KiB")
    if inflate and (inflate.unused_data or not inflate.eof):
        raise BodyError(Cause.GARBLED, "is not one whole gzip stream")
