"""Single requests to a server, for `envwatch doctor`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.letta.daemon_thread import run_in_daemon_thread
from envwatch.letta.errors import FAILURES, Endpoint, explain_failure, explain_refusal, offset_in, page_in
from envwatch.letta.http import httpx
from envwatch.letta.relayed_listing import age_in
from envwatch.letta.transport import Response, Transport
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.listing_api import HEALTH_PATH, LISTING_PATH
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.page import Pool
from envwatch.model.text import SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.redactor import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and the response."""

    status: int
    took: timedelta
    """Time to the response's end, with a new connection's handshakes."""
    offset: OffsetBounds | None
    """Bounds of the server's clock; None without `Date`."""
    tls: SafeText | None = None
    """OpenSSL's name, such as `TLSv1.3`; None for plain HTTP."""
    valid_until: WallMs | None = None
    failure: Failure | None = None
    version: SafeText | None = None
    environments: Sequence[Environment] = ()
    is_whole: bool = True
    listing_age_s: float | None = None


class Probe:
    """A connection to a server; a request without a response raises `SourceError`.

    The constructor raises like `Transport`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each once
        self,
        base_url: str,
        key: Secret,
        key_origin: str,
        limits: Limits,
        environ: Mapping[str, str],
        wall: Callable[[], float],
    ) -> None:
        url = httpx.URL(base_url)
        self._limits = limits
        self._transport = Transport(url, key=key, wall=wall, error_patience=limits.page_deadline / 4, environ=environ)
        proxy = self._transport.proxy
        self.host = (proxy.url if proxy else url).host
        self._endpoint = Endpoint.from_url(url, proxy, key, key_origin)
        self.proxy = self._endpoint.proxy

    async def addresses(self) -> tuple[SafeText, ...]:
        """Return the addresses of `host` in order of attempts, or raise `SourceError`."""
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT.total_seconds()):
                found = await run_in_daemon_thread(lambda: socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM))
        except TimeoutError:
            what = f"no address of {self.host} was found within {limits.CONNECT_TIMEOUT.total_seconds():g} s"
            raise SourceError(Failure(Cause.TIMEOUT, clean(what))) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid name
            problem = httpx.ConnectError("")
            problem.__cause__ = error
            raise explain_failure(problem, self._endpoint) from None
        return tuple(dict.fromkeys(clean(str(address[0]), 100) for *_, address in found))

    async def health(self) -> Exchange:
        """Request `GET /v1/health`, which a server need not have."""
        response, exchange = await self._get(HEALTH_PATH)
        if response.status >= 300 and response.status != 404:
            return replace(exchange, failure=explain_refusal(response, self._endpoint).failure)
        version = response.json_object.get("version")
        return replace(exchange, version=self._endpoint.quoted(version, 40) if isinstance(version, str) else None)

    async def first_page(self, page_size: int) -> Exchange:
        """Request the listing's first page."""
        response, exchange = await self._get(LISTING_PATH, {"limit": str(page_size)})
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
        """Close the connection."""
        await self._transport.aclose()

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Response, Exchange]:
        deadline = self._limits.page_deadline
        asked = time.monotonic()
        why: SourceError
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                response = await self._transport.send("GET", path, params)
        except TimeoutError:
            what = f"{self._endpoint.host} did not answer within {deadline.total_seconds():g} s"
            why = SourceError(Failure(Cause.TIMEOUT, composed(what)))
        except FAILURES as error:
            why = explain_failure(error, self._endpoint)
        else:
            took, tls = timedelta(seconds=time.monotonic() - asked), response.tls
            end = None if tls is None else (tls.getpeercert() or {}).get("notAfter")
            return response, Exchange(
                status=response.status,
                took=took,
                offset=offset_in(response),
                tls=None if tls is None else clean(tls.version() or "TLS"),
                valid_until=None if end is None else WallMs(ssl.cert_time_to_seconds(str(end)) * 1000),
            )
        raise why  # outside the `except`, see `errors`
