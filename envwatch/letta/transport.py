"""Send HTTP requests within bounds of time and size.

Only this module sends the key, through httpx's transport: httpx's client would add redirects, cookies, logins and
environment settings.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from envwatch import __version__
from envwatch.letta.http import httpx
from envwatch.letta.network_settings import proxy_for, trust_for
from envwatch.model import limits
from envwatch.model.outcome import Cause

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from pydantic import JsonValue

    from envwatch.model.redactor import Secret

ERROR_BYTES: Final = 64 * 1024

_IDLE_S: Final = 60.0
"""Idle seconds before closing, as in load balancers; httpx's 5 s would end before the next poll."""

TIMEOUT: Final = httpx.Timeout(limits.READ_TIMEOUT.total_seconds(), connect=limits.CONNECT_TIMEOUT.total_seconds())


class BodyError(Exception):
    """An unusable body; the text continues "the answer of HOST …"."""

    def __init__(self, cause: Cause, what: str) -> None:
        super().__init__(what)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response as received."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    """Inflated; complete for status 200, otherwise the start."""
    received: int
    requests: int
    asked_at: float
    """Local wall clock before the request, in ms."""
    answered_at: float
    """Local wall clock at the response's head, in ms."""
    tls: ssl.SSLObject | None = field(repr=False)

    @property
    def json_object(self) -> dict[str, JsonValue]:
        """The body's JSON object, or an empty object."""
        try:
            document = json.loads(self.body.decode(errors="replace"))
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


class Transport:
    """A connection to a server, kept open between requests.

    An empty `key` is not sent. `wall` reads ms since the epoch. `error_patience` is the time for an error's body,
    because the status suffices. Raises `SettingsError` for an unusable proxy or certificate setting.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        key: Secret,
        wall: Callable[[], float],
        error_patience: timedelta,
        environ: Mapping[str, str],
    ) -> None:
        self._url = url
        self.key = key
        self._wall = wall
        self._error_patience = error_patience.total_seconds()
        self.proxy = proxy_for(url, environ)
        self._transport = httpx.AsyncHTTPTransport(
            verify=trust_for(url, environ),
            trust_env=False,
            proxy=self.proxy,
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=_IDLE_S),
        )

    async def send(
        self, method: str, path: str, params: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Response:
        """Send an idempotent request; retry once if the server has closed the idle connection.

        Only a broken new connection is a failure. `path` is quoted, and follows the base URL's; `content` is JSON.
        Raises an error of `errors.FAILURES`, which must not leave this package.
        """
        traced: set[str] = set()
        url = self._url.copy_with(raw_path=self._url.raw_path.rstrip(b"/") + path.encode())
        try:
            return await self._exchange(self._request(method, url, params, content, traced), requests=1)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if not traced.isdisjoint({"connection.connect_tcp.started", "http11.receive_response_headers.complete"}):
                raise
        return await self._exchange(self._request(method, url, params, content, set()), requests=2)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()

    async def _exchange(self, request: httpx.Request, *, requests: int) -> Response:
        asked_at = self._wall()
        response = await self._transport.handle_async_request(request)
        answered_at = self._wall()
        tls = response.extensions["network_stream"].get_extra_info("ssl_object")
        is_ok = response.status_code == httpx.codes.OK
        body = bytearray()
        try:
            if is_ok:
                await _read(response, body, limits.PAGE_BYTES)
            else:
                # A failing body does not change the status.
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
            tls=tls,
        )

    def _request(
        self,
        method: str,
        url: httpx.URL,
        params: Mapping[str, str] | None,
        content: bytes | None,
        traced: set[str],
    ) -> httpx.Request:

        async def trace(event: str, _details: object) -> None:
            traced.add(event)

        key = self.key.get_secret_value()
        return httpx.Request(
            method,
            url,
            params=params,
            content=content,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                **({} if content is None else {"Content-Type": "application/json"}),
                **({"Authorization": f"Bearer {key}"} if key else {}),
                "User-Agent": f"envwatch/{__version__}",
            },
            extensions={"timeout": TIMEOUT.as_dict(), "trace": trace},
        )


async def _read(response: httpx.Response, body: bytearray, bound: int) -> None:
    """Read and inflate a body within `bound` bytes; httpx inflates without bound: 8 KiB can become 8 MiB.

    `bound` also limits the wire data. `body` keeps the content before a failure. Raises `BodyError`.
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
