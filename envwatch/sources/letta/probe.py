"""Measure the way to the server for `envwatch doctor`: addresses, connection, TLS, requests."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.page import Pool
from envwatch.model.text import SafeText, clean, composed
from envwatch.redactor import Secret
from envwatch.sources.daemon_thread import run_in_daemon_thread
from envwatch.sources.letta import httpx
from envwatch.sources.letta.client import age_in
from envwatch.sources.letta.errors import FAILURES, Endpoint, failure_of, offset_in, page_in
from envwatch.sources.letta.network_settings import proxy_for
from envwatch.sources.letta.transport import Response, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and the response."""

    status: int
    took: timedelta
    """From the request to the response's end, on an open connection."""
    offset: OffsetBounds | None
    """Bounds of the server's clock; None without a `Date`."""
    failure: Failure | None = None
    """Why the response is no listing; None for a listing, or if no listing was requested."""
    version: SafeText | None = None
    environments: Sequence[Environment] = ()
    is_whole: bool = True
    listing_age_s: float | None = None


class Probe:
    """The way to a server, and single requests over a connection; a request without a response raises `SourceError`.

    Raises:
        SettingsError: if the proxy setting cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        limits: Limits,
        environ: Mapping[str, str],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.url = httpx.URL(f"{base_url}/v1")
        self.proxy = proxy_for(self.url, environ)
        nearest = self.proxy.url if self.proxy else self.url
        self.host = nearest.host
        """Where the connection goes: the proxy, else the server."""
        self.port = nearest.port or {"https": 443, "http": 80}.get(nearest.scheme, 1080)
        self._limits = limits
        self._environ = environ
        self._wall = wall
        self._monotonic = monotonic
        self._transport: Transport | None = None
        self._endpoint = Endpoint.from_url(self.url, self.proxy, Secret(""), "")
        self._sent_at = 0.0
        self.tls: tuple[SafeText, WallMs | None] | None = None
        """The handshake's version in OpenSSL's spelling, `TLSv1.3`, and the end of the certificate."""

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is on; plain HTTP goes to this machine only."""
        return self.url.scheme == "https"

    async def addresses(self) -> tuple[SafeText, ...]:
        """Return the addresses of `host`, in the order of attempts.

        Raises:
            SourceError: if there are none.
        """
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT.total_seconds()):
                found = await run_in_daemon_thread(
                    lambda: socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                )
        except TimeoutError:
            what = f"no address of {self.host} was found within {limits.CONNECT_TIMEOUT.total_seconds():g} s"
            raise SourceError(Failure(Cause.TIMEOUT, clean(what))) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid name
            raise self._unreachable(error) from None
        return tuple(dict.fromkeys(clean(str(address[0]), 100) for *_, address in found))

    async def connect(self, addresses: tuple[SafeText, ...]) -> tuple[SafeText, timedelta, tuple[SafeText, ...]]:
        """Open and close a TCP connection; return the first reachable address, the time, and the refusing addresses.

        Raises:
            SourceError: if all fail.
        """
        patience_s = limits.CONNECT_TIMEOUT.total_seconds() / len(addresses)
        refused: list[SafeText] = []
        problem: OSError = TimeoutError()
        for address in addresses:
            started = self._monotonic()
            try:
                async with asyncio.timeout(patience_s):
                    _, writer = await asyncio.open_connection(address, self.port)
            except OSError as error:
                refused.append(address)
                problem = error
            else:
                writer.close()
                return address, timedelta(seconds=self._monotonic() - started), tuple(refused)
        raise self._unreachable(problem)

    def authorize(self, key: Secret, key_origin: str) -> None:
        """Take the key for the requests that follow; the first request opens a connection."""
        self._endpoint = Endpoint.from_url(self.url, self.proxy, key, key_origin)
        self._transport = Transport(
            self.url, key=key, wall=self._wall, error_patience=self._limits.page_deadline / 4, environ=self._environ
        )
        self._transport.observe = self._note

    def _unreachable(self, error: Exception) -> SourceError:
        problem = httpx.ConnectTimeout("") if isinstance(error, TimeoutError) else httpx.ConnectError("")
        problem.__cause__ = error
        return failure_of(problem, self._endpoint)

    async def health(self) -> Exchange:
        """Request `GET /v1/health`; any status is a response."""
        response, exchange = await self._get("health", {})
        return replace(exchange, version=self._version_in(response))

    async def first_page(self, page_size: int | None = None) -> Exchange:
        """Request the listing's first page, with the setting's `page_size` by default."""
        response, exchange = await self._get("environments", {"limit": str(page_size or self._limits.page_size)})
        page = page_in(response, self._endpoint, {}, Pool())
        if isinstance(page, SourceError):
            return replace(exchange, failure=page.failure)
        return replace(
            exchange,
            environments=page.environments,
            is_whole=not page.has_next_page,
            listing_age_s=age_in(response.headers),
        )

    async def aclose(self) -> None:
        """Close the connection, if any."""
        if self._transport is not None:
            await self._transport.aclose()

    def _version_in(self, response: Response) -> SafeText | None:
        version = response.json_object.get("version")
        return self._endpoint.quoted(version, 40) if isinstance(version, str) and version else None

    async def _get(self, route: str, params: Mapping[str, str]) -> tuple[Response, Exchange]:
        if self._transport is None:
            raise TypeError("a request needs a key: see `authorize`")
        deadline = self._limits.page_deadline
        why: SourceError
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                response = await self._transport.get(params, route)
        except TimeoutError:
            what = f"{self._endpoint.host} did not answer within {deadline.total_seconds():g} s"
            why = SourceError(Failure(Cause.TIMEOUT, composed(what)))
        except FAILURES as error:
            why = failure_of(error, self._endpoint)
        else:
            took = timedelta(seconds=self._monotonic() - self._sent_at)
            return response, Exchange(status=response.status, took=took, offset=offset_in(response))
        raise why  # outside the `except`, because httpx's exceptions hold the key

    def _note(self, event: str, details: Mapping[str, Any]) -> None:
        layer, _, what = event.partition(".")
        if what == "send_request_headers.started":
            self._sent_at = self._monotonic()
        stream = details.get("return_value")
        # With a proxy, the layer `connection` reports the proxy's handshake.
        if what == "start_tls.complete" and (layer == "connection") == (self.proxy is None) and stream:
            connection = stream.get_extra_info("ssl_object")
            end = connection.getpeercert().get("notAfter")
            until = None if end is None else WallMs(ssl.cert_time_to_seconds(end) * 1000)
            self.tls = (clean(connection.version() or "TLS"), until)
