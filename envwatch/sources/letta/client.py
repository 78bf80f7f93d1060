"""The listing as a source of snapshots: one complete walk over all pages, or one failure in plain words.

Owns the walk and its deadlines. The rooms below: `route` knows which way to the server is allowed, `wire` asks one
question within bounds, `answers` knows what came back means, `walk` puts pages together, `absences` asks about rows
that a listing lacks. Nothing of httpx, and nothing that could hold the key, gets past this module.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Self

from envwatch.model.outcome import Cause, Snapshot, SourceError
from envwatch.model.pool import Pool
from envwatch.model.text import Clean, clean
from envwatch.sources.letta.absences import Absences
from envwatch.sources.letta.errors import FAILURES, Endpoint, failure_of, offset_in, page_in
from envwatch.sources.letta.httpx_import import httpx
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url
from envwatch.sources.letta.pagination import Growth, Walk
from envwatch.sources.letta.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from pydantic import SecretStr

    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParams:
    """Which environments to list; the endpoint itself filters."""

    online_only: bool = False
    source: Literal["local", "remote"] | None = None
    user_id: str | None = None


EVERYTHING: Final = ListParams()


class Client:
    """Letta's `GET /v1/environments`, over one connection for life. Implements `Source`."""

    def __init__(  # noqa: PLR0913  # keywords only, and most have a default
        self,
        *,
        base_url: str,
        key: SecretStr,
        key_origin: str = "LETTA_API_KEY",
        limits: Limits,
        query: ListParams = EVERYTHING,
        wall: Callable[[], float] = lambda: time.time() * 1000,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_page: Callable[[int], None] = lambda _pages: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Check everything that can be checked before the first request; connect to nothing.

        Args:
            base_url: what stands before `/v1/environments`.
            key: the API key; leaves this process in requests to that host and nowhere else.
            key_origin: where the key came from, for people.
            limits: page size, deadlines and limits.
            query: which environments to list.
            wall: our wall clock, milliseconds since the epoch.
            monotonic: a clock that is never set, in seconds.
            sleep: waits for so many seconds.
            on_page: called after each page with the number of pages read so far.
            environ: where proxy and certificate settings are.

        Raises:
            SettingsError: if the base URL, the key, or a proxy or certificate setting cannot be used.
        """
        url = httpx.URL(f"{checked_base_url(base_url)}/v1/environments")
        if not _can_be_sent(key.get_secret_value()):
            raise SettingsError("the API key is empty or holds characters that no key has")
        self._limits = limits
        self._query = query
        self.on_page = on_page
        self._monotonic = monotonic
        self._sleep = sleep
        self._growth = Growth()
        self._known: Mapping[Clean, Environment] = {}  # the rows of the newest complete listing
        self._pool = Pool()  # of the walk under way
        self._wire = Transport(url, key=key, wall=wall, error_patience=limits.page_deadline / 4, environ=environ)
        proxy = self._wire.proxy
        # Where the server lists only what is online, a row leaves the list by going offline, and exists all the same.
        self._absences = None if query.online_only else Absences(partial(self._wire.answer, {}))
        self._peer = Endpoint(_place(url), _place(proxy.url) if proxy else None, key, clean(key_origin, 200))

    async def snapshot(self) -> Snapshot:
        """Walk over all pages.

        Raises:
            SourceError: if there is no complete listing to be had; the next call starts afresh.
        """
        walk = Walk(self._limits, self._growth.last_pages)
        self._pool = Pool()
        failure: SourceError
        try:
            async with asyncio.timeout(self._limits.walk_deadline.total_seconds()) as deadline:
                snapshot = await self._through(walk)
        except SourceError as error:
            failure = error
        except TimeoutError:
            failure = self._too_slow("the whole listing", self._limits.walk_deadline)
        else:
            self._growth.listed(len(snapshot.pages))
            snapshot = await self._with_absences_checked(snapshot, deadline.when())
            self._known = {row.id: row for page in snapshot.pages for row in page.environments}
            return snapshot
        # Raised down here, it carries neither the exception that it replaces nor the frames that saw the answer.
        failure.pages_read = walk.pages_read
        self._growth.failed(failure.cause)
        try:
            raise failure.with_traceback(None)
        finally:
            # The failure's traceback holds this frame: neither a cycle of references nor the pages may stay in it.
            del failure, walk

    async def aclose(self) -> None:
        """Close the connection."""
        await self._wire.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _through(self, walk: Walk) -> Snapshot:
        asked_at = self._monotonic()
        cursor = await self._step(walk, None)
        while cursor is not None:
            now = self._monotonic()
            if pause := walk.pause(now - asked_at):
                await self._sleep(pause)
            asked_at = now + pause  # as planned: sleeping too long, by some milliseconds a page, must not add up
            cursor = await self._step(walk, cursor)
        return walk.snapshot()

    async def _with_absences_checked(self, snapshot: Snapshot, deadline: float | None) -> Snapshot:
        """Return a complete listing with what the server says of the rows that it lacks, as far as time allows."""
        if self._absences is None:
            return snapshot
        patience = asyncio.get_running_loop().time() + self._limits.page_deadline.total_seconds() / 2
        until = patience if deadline is None else min(deadline, patience)
        return await self._absences.checked(snapshot, self._known, until)

    async def _step(self, walk: Walk, cursor: str | None) -> str | None:
        """Read the page after a cursor into the walk and return the next cursor."""
        failure: SourceError
        try:
            async with asyncio.timeout(self._limits.page_deadline.total_seconds()):
                answer = await self._wire.answer(self._params(cursor))
                page = page_in(answer, self._peer, self._known, self._pool)
        except TimeoutError:
            failure = self._too_slow(f"page {walk.pages_read + 1}", self._limits.page_deadline)
        except FAILURES as error:
            failure = failure_of(error, self._peer)
        else:
            if not isinstance(page, SourceError):
                cursor = walk.add(
                    page,
                    asked_at=answer.asked_at,
                    offset=offset_in(answer),
                    requests=answer.requests,
                    received=answer.received,
                )
                self.on_page(walk.pages_read)
                return cursor
            failure = page
        failure.page = walk.pages_read + 1
        raise failure

    def _params(self, cursor: str | None) -> dict[str, str]:
        params = {"limit": str(self._limits.page_size)}
        if cursor is not None:
            params["after"] = cursor
        if self._query.online_only:
            params["onlineOnly"] = "true"
        if self._query.source is not None:
            params["source"] = self._query.source
        if self._query.user_id is not None:
            params["userId"] = self._query.user_id
        return params

    def _too_slow(self, what: str, deadline: timedelta) -> SourceError:
        told = f"{self._peer.host} did not send {what} within {deadline.total_seconds():g} s"
        return SourceError(Cause.TIMEOUT, Clean(told))


def _can_be_sent(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key


def _place(url: httpx.URL) -> Clean:
    """Return host and port as messages name them."""
    return clean(url.netloc.decode(), 100)
