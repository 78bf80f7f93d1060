"""Read complete listings, or fail in plain words; stop endless listings."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

from envwatch.letta.absences import Absences
from envwatch.letta.errors import (
    FAILURES,
    Endpoint,
    explain_ack_failure,
    explain_ack_refusal,
    explain_failure,
    offset_in,
    page_in,
)
from envwatch.letta.http import httpx
from envwatch.letta.network_settings import SettingsError, checked_base_url
from envwatch.letta.relayed_listing import RelayedListing, asked_at_of, served_of
from envwatch.letta.transport import Transport
from envwatch.model import limits
from envwatch.model.acks import ACKS_PATH, REQUEST_BYTES, answer_in
from envwatch.model.listing_api import (
    ENVWATCH_VERSION,
    HEALTH_PATH,
    LISTING_PATH,
)
from envwatch.model.outcome import Cause, Failure, ListedPage, Snapshot, SourceError
from envwatch.model.page import Pool
from envwatch.model.shared_marks import without_marks
from envwatch.model.text import SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import timedelta

    from envwatch.letta.transport import Response
    from envwatch.model.acks import AckAnswer, AckRequest
    from envwatch.model.clock import OffsetBounds
    from envwatch.model.environment import Environment
    from envwatch.model.limits import Limits
    from envwatch.model.page import Page
    from envwatch.model.redactor import Secret


class PageHistory:
    """The page count of the last complete walk, to bound the next walk."""

    def __init__(self) -> None:
        self._last_pages: int | None = None
        self._endless_walks = 0

    @property
    def last_pages(self) -> int | None:
        """The page count; None if unknown, or after `ENDLESS_WALKS` endless walks."""
        return self._last_pages if self._endless_walks < limits.ENDLESS_WALKS else None

    def note_complete(self, pages: int) -> None:
        """Note a complete walk."""
        self._last_pages, self._endless_walks = pages, 0

    def note_failed(self, cause: Cause) -> None:
        """Note a failed walk; after an unbounded walk, the next is bounded."""
        if self._endless_walks == limits.ENDLESS_WALKS:
            self._endless_walks = 0
        elif cause is Cause.ENDLESS:
            self._endless_walks += 1


class ListingFetch:
    """Pages and counts of a walk; the counts include an abandoned walk `before`."""

    def __init__(self, limits: Limits, last_pages: int | None = None, before: ListingFetch | None = None) -> None:
        self._limits = limits
        self._last_pages = last_pages
        self._pages: list[ListedPage] = []
        self._clock: list[OffsetBounds] = []
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self._rejected_ids: set[SafeText] = set()
        self._rejected = 0
        self.rows_read = 0
        self.requests: int = 0 if before is None else before.requests
        self.received: int = 0 if before is None else before.received
        self._listings: list[RelayedListing] = []

    @property
    def listing(self) -> RelayedListing | None:
        """The pages' merged relayed listing, if any."""
        if not (listings := self._listings):
            return None
        return listings[0]._replace(
            earliest=min(each.earliest for each in listings),
            latest=max(each.latest for each in listings),
            interval=max((each.interval for each in listings if each.interval is not None), default=None),
        )

    @property
    def is_outrun(self) -> bool:
        """Whether the newest page is from a newer listing than the first."""
        return len(self._listings) > 1 and self._listings[-1].is_surely_after(self._listings[0])

    @property
    def pages_read(self) -> int:
        """Pages read so far."""
        return len(self._pages)

    def pause(self, since_request_s: float) -> float:
        """Return the seconds to wait before the next page.

        Beyond a minute's request budget and the last walk's length, a walk may be endless, and is slowed.
        """
        burst = max(self._limits.requests_per_minute, self._last_pages or 0)
        if self.pages_read < burst:
            return 0.0
        return max(limits.PAGE_EVERY.total_seconds() - since_request_s, 0.0)

    def add(self, page: Page, response: Response, listing: RelayedListing | None = None) -> str | None:
        """Add a response's page; return the next cursor, or None.

        Raises `SourceError` for an endless listing or too many unusable rows.
        """
        ids_before = self._id_count()
        self._ids.update(row.id for row in page.environments)
        self._rejected_ids.update(page.rejected_ids)
        self._pages.append(ListedPage(page.environments, asked_at_of(response), page.received_ids, page.has_marks))
        self._clock += filter(None, [offset_in(response)])
        self._listings += filter(None, [listing])
        self.rows_read += len(page.environments) + page.rejected
        self._rejected += page.rejected
        self.requests += response.requests
        self.received += response.received
        if self.rows_read > self._limits.max_rows:
            raise _endless(f"it has more than {self._limits.max_rows:,} machines")
        return self._next(page, new_rows=self._id_count() - ids_before) if page.has_next_page else None

    def snapshot(self) -> Snapshot:
        """Return the listing; raise `SourceError` for too many unusable rows."""
        self._check_rows()
        return Snapshot.of_pages(
            self._pages,
            clock=tuple(self._clock),
            rejected=self._rejected,
            rejected_ids=frozenset(self._rejected_ids - self._ids),
            requests=self.requests,
            received=self.received,
        )

    def _id_count(self) -> int:
        return len(self._ids) + len(self._rejected_ids)

    def _next(self, page: Page, *, new_rows: int) -> str:
        number, last = len(self._pages), self._last_pages
        if not page.cursor:
            why = f"page {number} promises another page, but is empty"
        elif page.cursor in self._cursors:
            why = f"page {number} leads back to an earlier one"
        elif not new_rows:
            why = f"page {number} brought nothing new"
        elif number >= self._limits.max_pages:
            why = f"it has more than {self._limits.max_pages:,} pages"
        elif last is not None and number >= max(limits.WALK_GROWTH * last, last + limits.WALK_GROWTH_AT_LEAST):
            why = f"it goes on after {number:,} pages, and the last complete answer had {last:,}"
        else:
            self._cursors.add(page.cursor)
            return page.cursor
        self._check_rows()  # unusable rows also end a walk, and explain the failure better
        raise _endless(why)

    def _check_rows(self) -> None:
        if self._rejected > limits.BAD_ROWS_SHARE * self.rows_read:
            what = f"{self._rejected:,} of {self.rows_read:,} machines do not fit what is known of the API"
            raise SourceError(Failure(Cause.GARBLED, clean(what)))


def _endless(why: str) -> SourceError:
    return SourceError(Failure(Cause.ENDLESS, clean(why)))


async def _get_device(transport: Transport, device_id: str) -> Response:
    return await transport.send("GET", f"{LISTING_PATH}/{quote(device_id, safe='')}")


class Client:
    """A `Source` for Letta's `GET /v1/environments`; connects with the first request.

    The key goes only to the host of `base_url`. After a refusal, `find_key` looks for a new key in a thread. `on_page`
    takes the page and row counts after each page. `wall` reads ms since the epoch, `monotonic` seconds. Raises
    `SettingsError` for an unusable base URL, key, proxy or certificate setting.
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
        url = httpx.URL(checked_base_url(base_url))
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
        self._is_envwatch: bool | None = None
        self._is_served = False
        self._may_ack = True
        self._transport = transport = Transport(
            url, key=key, wall=wall, error_patience=limits.page_deadline / 4, environ=environ
        )
        # With `online_only`, a row that goes offline is missing but exists.
        self._absences = None if online_only else Absences(partial(_get_device, transport))
        self._endpoint = Endpoint.from_url(url, transport.proxy, key, key_origin)

    def remember(self, rows: Iterable[Environment]) -> None:
        """Take an earlier run's rows as the previous listing, to request absent rows."""
        self._rows = {row.id: row for row in rows}

    async def snapshot(self) -> Snapshot:
        """See `Source`."""
        if self._is_refused and self._find_key is not None:
            await self._renew_key(self._find_key)
        fetch = ListingFetch(self._limits, self._history.last_pages)
        self._pool = Pool()
        why: SourceError
        try:
            async with asyncio.timeout(self._limits.walk_deadline.total_seconds()) as deadline:
                if not await self._read(fetch):
                    # Only once: a walk longer than the relay's interval always spans several listings.
                    fetch = ListingFetch(self._limits, self._history.last_pages, fetch)
                    await self._read(fetch, to_the_end=True)
                snapshot = fetch.snapshot()
        except SourceError as error:
            why = error
        except TimeoutError:
            why = self._too_slow("the whole poll", self._limits.walk_deadline)
        else:
            self._is_refused = False
            self._history.note_complete(len(snapshot.pages))
            snapshot = snapshot._replace(served=served_of(fetch.listing, self._listing))
            if not snapshot.is_repeat:
                snapshot = await self._with_absences_checked(snapshot, deadline.when())
            snapshot = await self._with_marks_checked(snapshot)
            self._is_served = snapshot.served is not None and snapshot.served.is_envwatch
            self._may_ack = snapshot.served is None or snapshot.served.may_ack
            if not snapshot.is_repeat:
                self._listing, self._rows = fetch.listing, snapshot.rows
            return snapshot
        # Outside the `except`, see `errors`.
        why.failure = replace(why.failure, pages_read=fetch.pages_read)
        self._is_refused = why.failure.cause is Cause.UNAUTHORIZED
        self._history.note_failed(why.failure.cause)
        try:
            raise why.with_traceback(None)
        finally:
            # Without `del`, the traceback and this frame would form a cycle and keep the pages.
            del why, fetch

    async def refusal(self) -> SafeText | None:
        """Return the server's message for a refused key, else None."""
        try:
            await self._read_page(ListingFetch(self._limits, self._history.last_pages), None)
        except SourceError as error:
            return error.failure.message if error.failure.cause is Cause.UNAUTHORIZED else None
        return None

    async def _renew_key(self, find_key: Callable[[], Secret]) -> None:
        """Wait only briefly, because a keyring may hang; the search continues meanwhile."""
        from envwatch.letta.daemon_thread import run_in_daemon_thread  # noqa: PLC0415 - only after a refused key

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
            requested_at = now + pause  # planned time, so that late wake-ups do not add up
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
        why: SourceError
        try:
            async with asyncio.timeout(self._limits.page_deadline.total_seconds()):
                asked = self._monotonic()
                response = await self._transport.send("GET", LISTING_PATH, self._params(cursor))
                listing = RelayedListing.from_response(response, asked, self._monotonic())
                page = page_in(response, self._endpoint, self._rows, self._pool)
        except TimeoutError:
            why = self._too_slow(f"page {fetch.pages_read + 1}", self._limits.page_deadline)
        except FAILURES as error:
            why = explain_failure(error, self._endpoint)
        else:
            if not isinstance(page, SourceError):
                cursor = fetch.add(page, response, listing)
                self.on_page(fetch.pages_read, fetch.rows_read)
                return cursor
            why = page
        why.failure = replace(why.failure, page=fetch.pages_read + 1)
        raise why

    def _params(self, cursor: str | None) -> dict[str, str]:
        params = {"limit": str(self._limits.page_size), "after": cursor, **self._filters}
        return {name: value for name, value in params.items() if value is not None}

    async def _with_marks_checked(self, snapshot: Snapshot) -> Snapshot:
        """Return the listing, without `shared_marks` unless the server is surely envwatch."""
        has_marks = any(page.has_marks for page in snapshot.pages)
        if self._is_envwatch is None and (has_marks or snapshot.served is not None):
            snapshot = snapshot._replace(requests=snapshot.requests + 1)
            with suppress(*FAILURES):  # includes timeouts
                await self._ask_health()
        if self._is_envwatch:
            served = snapshot.served
            return snapshot._replace(served=None if served is None else served._replace(is_envwatch=True))
        if not has_marks:
            return snapshot
        pages = tuple(
            replace(page, environments=[*map(without_marks, page.environments)], has_marks=False)
            if page.has_marks
            else page
            for page in snapshot.pages
        )
        return snapshot._replace(pages=pages, rows=Snapshot.of_pages(pages).rows)

    async def _ask_health(self) -> None:
        """Ask whether the server is envwatch; a server error leaves the question open."""
        async with asyncio.timeout(self._limits.page_deadline.total_seconds() / 4):
            response = await self._transport.send("GET", HEALTH_PATH)
        if response.status < HTTPStatus.INTERNAL_SERVER_ERROR and response.status != HTTPStatus.TOO_MANY_REQUESTS:
            version = response.json_object.get("version")
            is_named = isinstance(version, str) and version.startswith(ENVWATCH_VERSION)
            self._is_envwatch = response.status == HTTPStatus.OK and is_named

    @property
    def team(self) -> Self | None:
        """This client as `Team`, if the newest listing came from `envwatch serve`."""
        return self if self._is_served else None

    @property
    def may_ack(self) -> bool:
        """See `Team`."""
        return self._may_ack

    async def acknowledge(self, uuid: SafeText, request: AckRequest) -> AckAnswer:
        """See `Team`; nothing is sent unless the server's health names envwatch."""
        content = json.dumps(request.content, ensure_ascii=False).encode(errors="replace")
        if len(content) > REQUEST_BYTES:
            what = "too many machines for one acknowledgement: acknowledge fewer at once"
            raise SourceError(Failure(Cause.TOO_LARGE, composed(what)))
        response = await self._send_ack("PUT", uuid, content)
        return answer_in(response.json_object)

    async def end(self, uuid: SafeText) -> None:
        """See `Team` and `acknowledge`."""
        await self._send_ack("DELETE", uuid)

    async def change_note(self, uuid: SafeText, note: SafeText) -> None:
        """See `Team` and `acknowledge`."""
        content = json.dumps({"note": note}, ensure_ascii=False).encode(errors="replace")
        await self._send_ack("PATCH", uuid, content)

    async def _send_ack(self, method: str, uuid: SafeText, content: bytes | None = None) -> Response:
        deadline = min(limits.ACK_DEADLINE, self._limits.page_deadline)
        why: SourceError
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                if self._is_envwatch is None:
                    await self._ask_health()
                if not self._is_envwatch:
                    what = f"{self._endpoint.host} is not surely an envwatch server: nothing was sent"
                    raise SourceError(Failure(Cause.REFUSED, composed(what)))
                response = await self._transport.send(method, f"{ACKS_PATH}/{quote(uuid, safe='')}", content=content)
        except FAILURES as error:
            why = explain_ack_failure(error, self._endpoint, deadline)
        else:
            if httpx.codes.is_success(response.status):
                return response
            why = explain_ack_refusal(response, self._endpoint, is_of_known=method != "PUT")
        raise why  # outside the `except`, see `errors`

    def _too_slow(self, what: str, deadline: timedelta) -> SourceError:
        message = f"{self._endpoint.host} did not send {what} within {deadline.total_seconds():g} s"
        return SourceError(Failure(Cause.TIMEOUT, composed(message)))
