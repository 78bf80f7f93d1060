"""Answers to viewers' requests for a profile: status, headers and body."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import blake2b
from http import HTTPStatus
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import blind_after
from envwatch.model.listing_api import (
    AGE_HEADER,
    GZIP_FROM_BYTES,
    INTERVAL_HEADER,
    PageParams,
    RefusedError,
    accepts_gzip,
    device_in,
    is_online,
    listing_body,
    unknown_device,
)
from envwatch.model.outcome import Listed, Outcome
from envwatch.serving.listing import NOTHING_SHARED, ServedListing, ServedRow, SharedState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks, WallMs


WALKS_KEPT: Final = 20_000
"""Pairs of reader and page kept for a listing, in about 3 MB."""
LARGEST_PAGE: Final = 1_000
"""A larger `limit` is silently reduced."""
CACHED_BYTES: Final = 8 << 20
"""Bytes of a listing's cached bodies and queries: 10,000 rows in pages of 100 take 2 MB compressed."""

_GZIP_LEVEL: Final = 1
_GZIP_WBITS: Final = 31
_TAG_BYTES: Final = 12
_ENTRY_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer."""

    content: bytes
    tag: str
    """The ETag; equal only for equal JSON."""
    is_gzip: bool = False

    @classmethod
    def from_bytes(cls, data: bytes, *, may_be_gzip: bool) -> Body:
        """Return the body for JSON, compressed if allowed and useful."""
        tag = f'W/"{blake2b(data, digest_size=_TAG_BYTES).hexdigest()}"'
        if may_be_gzip and len(data) >= GZIP_FROM_BYTES:
            return cls(zlib.compress(data, _GZIP_LEVEL, _GZIP_WBITS), tag, is_gzip=True)
        return cls(data, tag)


@dataclass(frozen=True, slots=True)
class _Entry:
    body: Body
    cursor: str | None
    made_at: float = -inf
    """In ms of upstream's clock."""
    oldest_beat_at: float | None = None
    """The body is valid until this heartbeat is too old; None without a time limit."""

    def holds(self, now_ms: float) -> bool:
        if self.oldest_beat_at is None:
            return now_ms >= self.made_at
        return now_ms >= self.made_at and is_online("any", self.oldest_beat_at, now_ms)


class PageBodies:
    """The cached bodies of a listing's pages, and the viewers' walks."""

    def __init__(self, listing: ServedListing, cached_bytes: int = CACHED_BYTES) -> None:
        self.cached = 0
        self.listing = listing
        self.replaced_at: float = inf
        """The monotonic second of the next listing with different rows; infinite for the newest listing."""
        self.walks: dict[tuple[str, str], None] = {}
        """Pairs of reader and last row's id of each page with a next page, the oldest first."""
        self._cached_bytes = cached_bytes
        self._entries: dict[tuple[str, bool], _Entry] = {}
        """By query and gzip, the least recently used first."""

    def body(self, query: str, now_ms: float, *, may_be_gzip: bool, readers: Sequence[str] = ()) -> Body:
        """Return the page's body, at a moment of upstream's clock, and note the page for each of `readers`.

        Raises:
            RefusedError: for a bad parameter (400).
        """
        entry = self._entry(query, now_ms, may_be_gzip=may_be_gzip)
        if entry.cursor is not None:
            for reader in readers:
                self.walks.pop((reader, entry.cursor), None)
                self.walks[reader, entry.cursor] = None
            while len(self.walks) > WALKS_KEPT:
                del self.walks[next(iter(self.walks))]
        return entry.body

    def _entry(self, query: str, now_ms: float, *, may_be_gzip: bool) -> _Entry:
        key = (query, may_be_gzip)
        entry = self._entries.pop(key, None)
        if entry is not None and entry.holds(now_ms):
            self._entries[key] = entry
            return entry
        if entry is not None:
            self.cached -= _size(key, entry)
        entry = self._made(PageParams.from_query(query, LARGEST_PAGE), now_ms, may_be_gzip=may_be_gzip)
        self._entries[key] = entry
        self.cached += _size(key, entry)
        while self.cached > self._cached_bytes:
            oldest = next(iter(self._entries))
            self.cached -= _size(oldest, self._entries.pop(oldest))
        return entry

    def _made(self, params: PageParams, now_ms: float, *, may_be_gzip: bool) -> _Entry:
        rows, has_next_page = self.listing.page(params, now_ms)
        data = listing_body((row.data for row in rows), has_next_page=has_next_page)
        body = Body.from_bytes(data, may_be_gzip=may_be_gzip)
        cursor = rows[-1].id if has_next_page else None
        return _Entry(body, cursor, now_ms, _oldest_beat(rows)) if params.online_only else _Entry(body, cursor)


def _size(key: tuple[str, bool], entry: _Entry) -> int:
    return len(key[0]) + len(entry.body.content) + _ENTRY_BYTES


def _oldest_beat(rows: Sequence[ServedRow]) -> float | None:
    beats = (row.environment.last_heartbeat_at for row in rows)
    return min((beat for beat in beats if beat is not None), default=None)


_RETRY_AT_MOST_S: Final = 30
_RETRY_WHILE_STOPPING_S: Final = 5.0
"""A restart takes no longer."""
_EARLIER_KEPT: Final = 2
_EARLIER_KEPT_S: Final = 60.0
"""How long earlier listings are kept: a walk takes 30 s at most."""
_LAST_DATE_S: Final = 253_402_300_799

_CONTENT_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
_VARY: Final = ("Vary", "Accept-Encoding")
_CACHE_CONTROL: Final = ("Cache-Control", "private, no-cache")
"""The headers state the listing's age, which a cached answer would not update."""
_GZIP: Final = ("Content-Encoding", "gzip")
_METHOD_NOT_ALLOWED: Final = HTTPStatus.METHOD_NOT_ALLOWED
_ALLOW: Final = ("Allow", "GET")


@dataclass(slots=True, kw_only=True)
class Request:
    """A viewer's request; missing header fields are empty."""

    path: str
    """Still quoted. A `ProfileEndpoint` gets the path without the profile: `/v1/environments`."""
    query: str = ""
    method: str = "GET"
    if_none_match: str = ""
    accept_encoding: str = ""
    accept: str = ""
    authorization: str = ""
    address: str = ""
    connection: str = ""
    """The client's address and port."""
    viewer: str = ""
    """The token's name, set after authentication; contains no space."""

    @property
    def readers(self) -> tuple[str, str]:
        """Connection and viewer: a walk may use several connections."""
        return f"{self.viewer} {self.connection}", self.viewer


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without `Content-Length` and connection headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class ProfileEndpoint:
    """The newest state of a profile, and the answers; for a single thread.

    A quarantine does not change the served listing. A walk stays within a listing: the next page comes from the listing
    of the cursor's page.
    """

    def __init__(self) -> None:
        self._profile_state: ProfileState | None = None
        self._pages: PageBodies | None = None
        self._earlier: list[PageBodies] = []
        """Listings that a viewer has begun to read, the newest first."""
        self._shared: SharedState = NOTHING_SHARED
        self._silences: frozenset[str] = frozenset()
        self._is_ending = False

    def update(
        self, profile_state: ProfileState, outcome: Outcome | None, now: Clocks, shared: SharedState = NOTHING_SHARED
    ) -> None:
        """Apply an update of the monitor; `outcome` is None if only time has passed."""
        listed = outcome if isinstance(outcome, Listed) else None
        # A relay's repeated listing is not checked for absences, so the first copy is kept.
        has_same = self._profile_state is not None and self._profile_state.listings == profile_state.listings
        if listed is not None and listed.snapshot.is_repeat and has_same:
            listed = None
        if profile_state.quarantine is not None:
            listed = None
        self._profile_state = profile_state
        silences = shared.holding(now)
        if listed is not None or shared != self._shared or silences != self._silences:
            self._shared, self._silences = shared, silences
            marks = shared.marks(profile_state, now)
            if listed is not None:
                self._show(ServedListing.from_outcome(listed, self.listing, marks), now)
            elif self.listing is not None:
                self._show(self.listing.with_shared_marks(marks), now)

    @property
    def listing(self) -> ServedListing | None:
        """The newest believed listing, if any."""
        return None if self._pages is None else self._pages.listing

    def end(self) -> None:
        """Answer 503 from now on."""
        self._is_ending = True

    def answer(self, request: Request, now: Clocks) -> Answer:
        """Return the answer to a request: 200, 304, 400, 404, 405 or 503."""
        try:
            return self._answer(request, now)
        except RefusedError as refusal:
            return self.plain(refusal.status, refusal.body, now, refusal.headers)

    def plain(
        self, status: int, body: Mapping[str, JsonValue], now: Clocks, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return an answer that does not depend on a listing."""
        content = json.dumps(body, separators=(",", ":")).encode()
        return Answer(
            status, (_CONTENT_TYPE, *headers, _VARY, _CACHE_CONTROL, _date(self._profile_state, now.wall)), content
        )

    def _show(self, listing: ServedListing, now: Clocks) -> None:
        if self._pages is not None and listing.is_same_as(self._pages.listing):
            self._pages.listing = listing
            return
        if self._pages is not None:
            self._pages.replaced_at = now.monotonic
            self._earlier.insert(0, self._pages)
        since = now.monotonic - _EARLIER_KEPT_S
        begun = [pages for pages in self._earlier if pages.walks and pages.replaced_at >= since]
        self._earlier = begun[:_EARLIER_KEPT]
        self._pages = PageBodies(listing)

    def _walked(self, newest: PageBodies, request: Request) -> PageBodies:
        if not self._earlier:
            return newest
        cursor = PageParams.from_query(request.query, LARGEST_PAGE).after
        if cursor is not None:
            for reader in request.readers:
                for pages in (newest, *self._earlier):
                    if (reader, cursor) in pages.walks:
                        return pages
        return newest

    def _answer(self, request: Request, now: Clocks) -> Answer:
        if request.method != "GET":
            raise RefusedError(_METHOD_NOT_ALLOWED, {"error": _METHOD_NOT_ALLOWED.phrase}, (_ALLOW,))
        device_id = device_in(request.path)
        profile_state, pages = self._profile_state, self._pages
        if self._is_ending:
            return self._unavailable("envwatch_stopping", "envwatch serve is stopping", now)
        if profile_state is None or pages is None:
            return self._unavailable("envwatch_waiting", _why("envwatch serve has no listing yet", profile_state), now)
        if (blindness := _blindness(profile_state, pages.listing, now)) is not None:
            return self._unavailable("envwatch_blind", blindness, now)
        if device_id is None:
            pages = self._walked(pages, request)
        listing = pages.listing
        if _blindness(profile_state, listing, now) is not None:
            too_old = "the listing of this walk is too old: read again from the first page"
            return self._unavailable("envwatch_blind", too_old, now)
        may_be_gzip = accepts_gzip(request.accept_encoding)
        if device_id is None:
            at = profile_state.clock.server_time(now.wall)
            body = pages.body(request.query, at, may_be_gzip=may_be_gzip, readers=request.readers)
        elif (row := listing.devices.get(device_id)) is not None:
            body = Body.from_bytes(row.data, may_be_gzip=may_be_gzip)
        else:
            raise unknown_device()
        headers = (
            _VARY,
            _CACHE_CONTROL,
            _date(profile_state, now.wall),
            ("ETag", body.tag),
            *_ages(profile_state, listing, now),
        )
        if _matches(request.if_none_match, body.tag):
            return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
        encoding = (_GZIP,) if body.is_gzip else ()
        return Answer(HTTPStatus.OK, (_CONTENT_TYPE, *encoding, *headers), body.content)

    def _unavailable(self, code: str, why: str, now: Clocks) -> Answer:
        wait_s = 0.0 if self._profile_state is None else self._profile_state.interval.total_seconds()
        if self._is_ending:
            wait_s = _RETRY_WHILE_STOPPING_S
        retry_after = ("Retry-After", str(min(max(ceil(wait_s), 1), _RETRY_AT_MOST_S)))
        body: dict[str, JsonValue] = {"error": why, "errorCode": code, "retryable": True}
        return self.plain(HTTPStatus.SERVICE_UNAVAILABLE, body, now, (retry_after,))


def _ages(profile_state: ProfileState, listing: ServedListing, now: Clocks) -> tuple[tuple[str, str], ...]:
    age_s = max(now.monotonic - listing.asked.monotonic, 0.0)
    return (AGE_HEADER, f"{age_s:.3f}"), (INTERVAL_HEADER, f"{profile_state.interval.total_seconds():.3f}")


def _blindness(profile_state: ProfileState, listing: ServedListing, now: Clocks) -> str | None:
    if profile_state.unseen_since is not None or now.slept_since(listing.asked):
        return _why("envwatch serve slept, and has no listing since", profile_state)
    age_s = max((now.wall - listing.asked.wall) / 1000, now.monotonic - listing.asked.monotonic)
    if age_s <= blind_after(profile_state.interval).total_seconds():
        return None
    return _why(f"envwatch serve has had no listing for {int(age_s)} s", profile_state)


def _why(what: str, profile_state: ProfileState | None) -> str:
    if profile_state is not None and profile_state.failure is not None:
        return f"{what}: {profile_state.failure.message}"
    if profile_state is not None and profile_state.quarantine is not None:
        return f"{what} that can be believed: {profile_state.quarantine.finding.text}"
    return what


def _date(profile_state: ProfileState | None, wall: WallMs) -> tuple[str, str]:
    """Return upstream's time as `Date`, so that viewers compute as if upstream had answered."""
    at = wall if profile_state is None else profile_state.clock.server_time(wall)
    return "Date", formatdate(min(max(at // 1000, 0), _LAST_DATE_S), usegmt=True)


def _matches(if_none_match: str, tag: str) -> bool:
    if not if_none_match:
        return False
    tags = [each.strip() for each in if_none_match.split(",")]
    return "*" in tags or tag.removeprefix("W/") in [each.removeprefix("W/") for each in tags]
