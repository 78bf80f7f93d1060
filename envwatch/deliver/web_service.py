"""Requests to web services, bounded in time and size.

Address, proxy and certificates follow `network_settings`. Requests follow no redirects, and never carry cookies or
Letta's key. Errors name only the host: the rest of the address may be a secret.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pydantic_core import from_json

from envwatch import __version__
from envwatch.deliver.message import DeliveryError
from envwatch.letta.errors import network_failure, retry_after
from envwatch.letta.http import httpx
from envwatch.letta.network_settings import proxy_for, trust_for
from envwatch.letta.transport import TIMEOUT
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

_BODY_BYTES: Final = 4096
_LONGEST_WORDS: Final = 200


class WebService:
    """A web service for hook messages or pings.

    `time_limit` bounds the whole request; httpx's timeouts bound single operations.

    Raises:
        SettingsError: if proxy or certificates are unusable.
    """

    def __init__(self, url: httpx.URL, environ: Mapping[str, str], time_limit: timedelta = limits.HOOK_TIME) -> None:
        self.url, self.time_limit = url, time_limit
        self._trust = trust_for(url, environ)
        self.proxy = proxy_for(url, environ)

    def unknown_hosts(self) -> Iterator[tuple[str, str]]:
        """Yield the service or proxy if its name has no address, with a fix."""
        nearest = self.url if self.proxy is None else self.proxy.url
        try:
            socket.getaddrinfo(nearest.host, None)
        except (OSError, UnicodeError):
            yield f"no address is known for {nearest.host}", "correct the address, or look at DNS"

    async def post(self, headers: Mapping[str, str], content: bytes) -> None:
        """Post a message.

        Raises:
            DeliveryError: if the service refuses or does not answer.
        """
        await self._request("POST", self.url, headers, content)

    async def ping(self, *, is_failure: bool) -> None:
        """Fetch the address; a failure appends `/fail` to the path.

        Raises:
            DeliveryError: if the service refuses or does not answer.
        """
        url = self.url
        if is_failure:
            path, mark, query = url.raw_path.partition(b"?")
            url = url.copy_with(raw_path=path.rstrip(b"/") + b"/fail" + mark + query)
        await self._request("GET", url, {})

    async def _request(self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes = b"") -> None:
        """Use a new connection, because the last request was minutes or days ago."""
        headers = {"User-Agent": f"envwatch/{__version__}", **headers}
        request = httpx.Request(
            method, url, headers=headers, content=content, extensions={"timeout": TIMEOUT.as_dict()}
        )
        transport = httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False, proxy=self.proxy)
        try:
            async with asyncio.timeout(self.time_limit.total_seconds()), transport:
                response = await transport.handle_async_request(request)
                try:
                    await self._check(response)
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError):
            raise DeliveryError(f"{self.url.host} does not answer in time") from None
        except (httpx.HTTPError, OSError) as error:
            nearest = self.url if self.proxy is None else self.proxy.url
            port = nearest.port or (443 if nearest.scheme == "https" else 80)
            _, why = network_failure(error, self.url.host, f"{nearest.host}:{port}")
            raise DeliveryError(why) from None

    async def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if response.is_success:
            return
        what = f"{self.url.host} answers {status}"
        if response.is_redirect:
            raise DeliveryError(f"{what}, a redirect: give it the final address")
        words = _message_in(await self._body_of(response))
        raise DeliveryError(
            f"{what}: {words}" if words else what,
            wait=retry_after(response.headers, time.time() * 1000),
        )

    async def _body_of(self, response: httpx.Response) -> bytes:
        """Return the start of a refusal; a slow body is cut, because the status suffices."""
        body = bytearray()
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(self.time_limit.total_seconds() / 4):
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= _BODY_BYTES:
                        break
        return bytes(body[:_BODY_BYTES])


def _message_in(body: bytes) -> SafeText:
    """Return the usual JSON message, else the first line; empty for markup."""
    try:
        document = from_json(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        errors = document.get("errors")
        found = [document.get("message"), document.get("error"), *(errors if isinstance(errors, list) else ())]
        return clean(", ".join(word for word in found if isinstance(word, str)), _LONGEST_WORDS)
    text = body.decode(errors="replace").strip()
    return EMPTY if text.startswith("<") else clean(text.partition("\n")[0], _LONGEST_WORDS)
