"""Read the listing: a complete walk over all pages, or a failure in plain words.

No object that could hold the key, such as httpx's, leaves this module.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from envwatch.model.outcome import Cause, Snapshot, SourceError
from envwatch.model.page import Pool
from envwatch.model.text import SafeText, composed
from envwatch.sources.daemon_thread import run_in_daemon_thread
from envwatch.sources.letta import httpx
from envwatch.sources.letta.absences import Absences
from envwatch.sources.letta.errors import FAILURES, Endpoint, failure_of, page_in
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url
from envwatch.sources.letta.pagination import ListingFetch, PageHistory, RelayedListing, served_of
from envwatch.sources.letta.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.redactor import Secret


class Client:
    """A `Source` for Letta's `GET /v1/environments`; connects with the first request.

    The key goes to the host of `base_url` only. Messages name `key_origin`. After a refusal, `find_key` looks for a
    renewed key in a thread. `on_page` is called after each page with the counts of pages and rows. `wall` reads ms
    since the epoch, `monotonic` seconds.

    Raises:
        SettingsError: if the base URL, the key, or a proxy or certificate setting cannot be used.
    """

    def __init__(  # noqa: PLR0913  # keywords only, and most have a default
        self,
        *,
        base_url: str,
        key: Secret,
        key_origin: str = "LETTA_API_KEY",
        find_key: Callable[[], Secret] | None = None,
        limits: Limits,
        online_only: bool = False,
        source: Literal["local", "remote"] | None = None,
        user: str | None = None,
        wall: Callable[[], float] = lambda: time.time() * 1000,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_page: Callable[[int, int], None] = lambda _pages, _rows: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        url = httpx.URL(f"{checked_base_url(base_url)}/v1/environments")
        secret = key.get_secret_value()
        if not (secret and secret.isascii() and secret.isprintable()) or " " in secret:
            raise SettingsError("the API key is empty or holds characters that no key has")
        self._find_key = find_key
        self._search: asyncio.Future[Secret] | None = None
        self._is_refused = False
        self._limits = limits
        self._filters = {"onlineOnly": "true" if online_only else None, "source": source, "userId": user}
        self.on_page = on_page
        self._monotonic = monotonic
        self._sleep = sleep
        self._history = PageHistory()
        self._rows: Mapping[SafeText, Environment] = {}
        self._pool = Pool()
        self._listing: RelayedListing | None = None
        """The relay's listing in the newest snapshot that was no repetition."""
        self._transport = Transport(url, key=key, wall=wall, error_patience=limits.page_deadline / 4, environ=environ)
        # With `online_only`, a row that goes offline is missing but exists.
        self._absences = None if online_only else Absences(partial(self._transport.get, {}))
        self._endpoint = Endpoint.from_url(url, self._transport.proxy, key, key_origin)

    async def snapshot(self) -> Snapshot:
        """Return a complete listing.

        Raises:
            SourceError: on failure; the next call starts with the first page.
        """
        if self._is_refused and self._find_key is not None:
            await self._renew_key(self._find_key)
        fetch = ListingFetch(self._limits, self._history.last_pages)
        self._pool = Pool()
        failure: SourceError
        try:
            async with asyncio.timeout(self._limits.walk_deadline.total_seconds()) as deadline:
                if not await self._read(fetch):
                    # Only once: a walk longer than the relay's interval always spans several listings.
                    fetch = ListingFetch(self._limits, self._history.last_pages, fetch)
                    await self._read(fetch, to_the_end=True)
                snapshot = fetch.snapshot()
        except SourceError as error:
            failure = error
        except TimeoutError:
            failure = self._too_slow("the whole listing", self._limits.walk_deadline)
        else:
            self._is_refused = False
            self._history.note_complete(len(snapshot.pages))
            snapshot = snapshot._replace(served=served_of(fetch.listing, self._listing))
            if snapshot.is_repeat:
                return snapshot
            snapshot = await self._with_absences_checked(snapshot, deadline.when())
            self._listing = fetch.listing
            self._rows = {row.id: row for page in snapshot.pages for row in page.environments}
            return snapshot
        # Raised outside the `except`: the frames of the original exception hold the response.
        failure.pages_read = fetch.pages_read
        self._is_refused = failure.cause is Cause.UNAUTHORIZED
        self._history.note_failed(failure.cause)
        try:
            raise failure.with_traceback(None)
        finally:
            # The traceback holds this frame; deleting the variables avoids a reference cycle and frees the pages.
            del failure, fetch

    async def refusal(self) -> SafeText | None:
        """Return the server's message if the key is refused, else None."""
        try:
            await self._read_page(ListingFetch(self._limits, self._history.last_pages), None)
        except SourceError as error:
            return error.message if error.cause is Cause.UNAUTHORIZED else None
        return None

    async def _renew_key(self, find_key: Callable[[], Secret]) -> None:
        """Look for the key, but not for long, as a keyring may hang; the search continues meanwhile."""
        self._search = self._search or asyncio.ensure_future(run_in_daemon_thread(find_key))
        done, _ = await asyncio.wait([self._search], timeout=self._limits.page_deadline.total_seconds() / 4)
        if done:
            self._transport.key = self._search.result()
            self._endpoint = self._endpoint._replace(key=self._transport.key)
            self._search = None

    async def aclose(self) -> None:
        """Close the connection."""
        if self._search is not None:
            self._search.cancel()
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _read(self, fetch: ListingFetch, *, to_the_end: bool = False) -> bool:
        requested_at = self._monotonic()
        cursor = await self._read_page(fetch, None)
        while cursor is not None:
            now = self._monotonic()
            if pause := fetch.pause(now - requested_at):
                await self._sleep(pause)
            requested_at = now + pause  # the planned time, so that late wake-ups do not add up
            cursor = await self._read_page(fetch, cursor)
            if fetch.is_outrun and not to_the_end:
                return False
        return True

    async def _with_absences_checked(self, snapshot: Snapshot, deadline: float | None) -> Snapshot:
        if self._absences is None:
            return snapshot
        patience = asyncio.get_running_loop().time() + self._limits.page_deadline.total_seconds() / 2
        until = patience if deadline is None else min(deadline, patience)
        return await self._absences.checked(snapshot, self._rows, until)

    async def _read_page(self, fetch: ListingFetch, cursor: str | None) -> str | None:
        failure: SourceError
        try:
            async with asyncio.timeout(self._limits.page_deadline.total_seconds()):
                asked = self._monotonic()
                response = await self._transport.get(self._params(cursor))
                listing = RelayedListing.from_response(response, asked, self._monotonic())
                page = page_in(response, self._endpoint, self._rows, self._pool)
        except TimeoutError:
            failure = self._too_slow(f"page {fetch.pages_read + 1}", self._limits.page_deadline)
        except FAILURES as error:
            failure = failure_of(error, self._endpoint)
        else:
            if not isinstance(page, SourceError):
                cursor = fetch.add(page, response, listing)
                self.on_page(fetch.pages_read, fetch.rows_read)
                return cursor
            failure = page
        failure.page = fetch.pages_read + 1
        raise failure

    def _params(self, cursor: str | None) -> dict[str, str]:
        params = {
            "limit": str(self._limits.page_size),
            "after": cursor,
            **self._filters,
        }
        return {name: value for name, value in params.items() if value is not None}

    def _too_slow(self, what: str, deadline: timedelta) -> SourceError:
        message = f"{self._endpoint.host} did not send {what} within {deadline.total_seconds():g} s"
        return SourceError(Cause.TIMEOUT, composed(message))
