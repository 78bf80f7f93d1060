"""One request and its answer, within bounds: how long an operation may take, how large a body may be.

Owns the connection pool, the key's only way out, and the inflating of bodies. Does not know what an answer means:
statuses, pages and the words for a person are `answers.py`'s.

This uses httpx's transport and not its client: what the client adds (redirects, cookies, logins, settings from the
environment) would all have to be turned off again, for a key that must reach one host and no other.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from envwatch import __version__
from envwatch.model import limits
from envwatch.model.outcome import Cause
from envwatch.sources.letta.httpx_import import httpx
from envwatch.sources.letta.network_settings import proxy_for, trust_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from pydantic import SecretStr

ERROR_BYTES: Final = 64 * 1024
"""So much of an error's text is read: enough to find the sentence in it."""

_IDLE_SECONDS: Final = 60.0
"""How long a connection is kept for the next poll. httpx's 5 s would end just before it; balancers' 60 s are usual."""

_TIMEOUT: Final = httpx.Timeout(limits.READ_TIMEOUT.total_seconds(), connect=limits.CONNECT_TIMEOUT.total_seconds())


class BodyError(Exception):
    """A body that cannot be used; the text goes on from "the server's answer …"."""

    def __init__(self, cause: Cause, what: str) -> None:
        super().__init__(what)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the server said to one question. Nothing of it is cleaned yet."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    """Inflated; complete if the status is 200, else its start."""
    received: int
    """Bytes of the body, as they came over the wire."""
    requests: int
    """How often the question was sent, 1 or 2."""
    asked_at: float
    """Our wall clock before the question, milliseconds since the epoch."""
    answered_at: float
    """Our wall clock when the answer's head had come."""


class Transport:
    """The way to one server, kept open from question to question."""

    def __init__(
        self,
        url: httpx.URL,
        *,
        key: SecretStr,
        wall: Callable[[], float],
        error_patience: timedelta,
        environ: Mapping[str, str],
    ) -> None:
        """Prepare the way; nothing is connected yet.

        Args:
            url: what to ask for, without a query.
            key: sent with every question.
            wall: our wall clock, milliseconds since the epoch.
            error_patience: how long an error's text is waited for: the status alone tells what went wrong.
            environ: where proxy and certificate settings are.

        Raises:
            SettingsError: if one of those settings cannot be used.
        """
        self._url = url
        self._key = key
        self._wall = wall
        self._error_patience = error_patience.total_seconds()
        self.proxy = proxy_for(url, environ)
        """What stands between, None for the direct way."""
        self._transport = httpx.AsyncHTTPTransport(
            verify=trust_for(url, environ),
            trust_env=False,
            proxy=self.proxy,
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS),
        )

    async def answer(self, params: Mapping[str, str], below: str = "") -> Response:
        """Ask, and once more at once if a connection from before turns out to be dead.

        A server may close an idle connection while the question is under way, which says nothing of its health. A new
        connection that breaks does.

        Args:
            params: the query.
            below: one more segment of the path, any text.

        Raises:
            Exception: one of `answers.FAILURES`; what httpx itself raises holds the key, so it must not get far.
        """
        attempt = _Attempt()
        url = self._below(below)
        try:
            return await self._ask(url, params, attempt, requests=1)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if attempt.connected or attempt.answered:
                raise
        return await self._ask(url, params, _Attempt(), requests=2)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()

    def _below(self, segment: str) -> httpx.URL:
        if not segment:
            return self._url
        return self._url.copy_with(raw_path=self._url.raw_path + b"/" + quote(segment, safe="").encode())

    async def _ask(self, url: httpx.URL, params: Mapping[str, str], attempt: _Attempt, *, requests: int) -> Response:
        asked_at = self._wall()
        response = await self._transport.handle_async_request(self._request(url, params, attempt))
        answered_at = self._wall()
        good = response.status_code == httpx.codes.OK
        body = _Body(limits.PAGE_BYTES if good else ERROR_BYTES)
        try:
            if good:
                await body.read(response)
            else:
                # The status is known: whatever happens to its text cannot make that any worse.
                with suppress(httpx.HTTPError, OSError, zlib.error, BodyError):
                    async with asyncio.timeout(self._error_patience):
                        await body.read(response)
        finally:
            await response.aclose()
        return Response(
            status=response.status_code,
            headers=response.headers,
            body=bytes(body.content),
            received=body.received,
            requests=requests,
            asked_at=asked_at,
            answered_at=answered_at,
        )

    def _request(self, url: httpx.URL, params: Mapping[str, str], attempt: _Attempt) -> httpx.Request:
        return httpx.Request(
            "GET",
            url,
            params=params,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "Authorization": f"Bearer {self._key.get_secret_value()}",
                "User-Agent": f"envwatch/{__version__}",
            },
            extensions={"timeout": _TIMEOUT.as_dict(), "trace": attempt.notice},
        )


class _Attempt:
    """What httpcore tells of one request on its way."""

    connected = False
    """Whether a connection was opened for it, so that none from before was used."""
    answered = False
    """Whether the head of an answer has come."""

    async def notice(self, event: str, _details: object) -> None:
        """Take in one of httpcore's trace events."""
        if event == "connection.connect_tcp.started":
            self.connected = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = True


class _Body:
    """A body as it comes in: inflated, and never much larger than its bound, however much is sent."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.content = bytearray()
        self.received = 0

    async def read(self, response: httpx.Response) -> None:
        """Read a body to its end.

        `aiter_raw` because httpx's own inflating has no bound: 8 KiB can become 8 MiB in one step.
        """
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip", "x-gzip", ""}:
            raise BodyError(Cause.GARBLED, "is in an encoding that was not asked for")
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding.endswith("gzip") else None
        async for chunk in response.aiter_raw():
            self.received += len(chunk)
            self.content += inflate.decompress(chunk, self._bound + 1 - len(self.content)) if inflate else chunk
            if max(len(self.content), self.received) > self._bound:
                raise BodyError(Cause.TOO_LARGE, f"is larger than {self._bound // 1024} KiB")
        if inflate and (inflate.unused_data or not inflate.eof):
            raise BodyError(Cause.GARBLED, "is not one whole gzip stream")
