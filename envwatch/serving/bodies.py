"""Bodies of answers: encoded, compressed and tagged once for all viewers that ask for the same.

Pure, but for the cache, which holds nothing that could not be made again. Must not know statuses and headers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch.model.listing_api import GZIP_FROM_BYTES, PageParams, is_online, listing_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.serving.listing import ServedListing, ServedRow

WALKS_KEPT: Final = 20_000
"""Pairs of reader and page that are remembered for one listing, about 3 MB; the oldest pairs are forgotten first."""
LARGEST_PAGE: Final = 1_000
"""Rows; a larger `limit` is reduced to it silently."""
CACHED_BYTES: Final = 8 << 20
"""Of one listing's bodies and their queries: 10,000 rows in pages of 100 take 2 MB compressed."""

_GZIP_LEVEL: Final = 1
_GZIP_WBITS: Final = 31
"""zlib's number for the gzip format."""
_TAG_BYTES: Final = 12
_ENTRY_BYTES: Final = 500
"""What an entry of the cache takes beside its body and its query."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer."""

    content: bytes
    tag: str
    """An entity tag: equal for two bodies only if their JSON is the same."""
    is_gzip: bool = False

    @classmethod
    def from_bytes(cls, data: bytes, *, may_be_gzip: bool) -> Body:
        """Return the body for some JSON, compressed if that is allowed and of use."""
        tag = f'W/"{blake2b(data, digest_size=_TAG_BYTES).hexdigest()}"'
        if may_be_gzip and len(data) >= GZIP_FROM_BYTES:
            return cls(zlib.compress(data, _GZIP_LEVEL, _GZIP_WBITS), tag, is_gzip=True)
        return cls(data, tag)


@dataclass(frozen=True, slots=True)
class _Entry:
    body: Body
    cursor: str | None
    """The id of the page's last row; None for the last page."""
    made_at: float = -inf
    """From when on it holds, in ms of upstream's clock."""
    oldest_beat_at: float | None = None
    """It holds until this heartbeat is too old; None if it does not depend on time."""

    def holds(self, now_ms: float) -> bool:
        if self.oldest_beat_at is None:
            return now_ms >= self.made_at
        return now_ms >= self.made_at and is_online("any", self.oldest_beat_at, now_ms)


class PageBodies:
    """The bodies of one listing's pages, and which viewers walk the listing.

    Keeps at most `cached_bytes` of bodies and `WALKS_KEPT` walks.
    """

    def __init__(self, listing: ServedListing, cached_bytes: int = CACHED_BYTES) -> None:
        self.cached = 0
        """Bytes that are kept."""
        self.listing = listing
        """The newest listing with these rows."""
        self.replaced_at: float = inf
        """When a listing with other rows came, in seconds of the monotonic clock; infinite for the newest listing."""
        self._walks: dict[tuple[str, str], None] = {}
        """Pairs of a reader and the id of a page's last row, the oldest pair first."""
        self._cached_bytes = cached_bytes
        self._entries: dict[tuple[str, bool], _Entry] = {}
        """By query and whether gzip is accepted, the least recently used first."""

    @property
    def is_begun(self) -> bool:
        """Whether a viewer has read a page before the last page."""
        return bool(self._walks)

    def is_walked_by(self, reader: str, cursor: str) -> bool:
        """Whether a reader got a page of this listing whose last row has the id `cursor`."""
        return (reader, cursor) in self._walks

    def body(self, query: str, now_ms: float, *, may_be_gzip: bool, readers: Sequence[str] = ()) -> Body:
        """Return the body of the page that the query of a URL asks for, at a moment of upstream's clock.

        Remembers the page's last row for each of `readers`.

        Raises:
            RefusedError: a parameter is not allowed (400).
        """
        entry = self._entry(query, now_ms, may_be_gzip=may_be_gzip)
        if entry.cursor is not None:
            for reader in readers:
                self._walks.pop((reader, entry.cursor), None)
                self._walks[reader, entry.cursor] = None
            while len(self._walks) > WALKS_KEPT:
                del self._walks[next(iter(self._walks))]
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
        self._keep(key, entry)
        return entry

    def _made(self, params: PageParams, now_ms: float, *, may_be_gzip: bool) -> _Entry:
        rows, has_next_page = self.listing.page(params, now_ms)
        data = listing_body((row.data for row in rows), has_next_page=has_next_page)
        body = Body.from_bytes(data, may_be_gzip=may_be_gzip)
        cursor = rows[-1].id if has_next_page else None
        return _Entry(body, cursor, now_ms, _oldest_beat(rows)) if params.online_only else _Entry(body, cursor)

    def _keep(self, key: tuple[str, bool], entry: _Entry) -> None:
        self._entries[key] = entry
        self.cached += _size(key, entry)
        while self.cached > self._cached_bytes:
            oldest = next(iter(self._entries))
            self.cached -= _size(oldest, self._entries.pop(oldest))


def _size(key: tuple[str, bool], entry: _Entry) -> int:
    return len(key[0]) + len(entry.body.content) + _ENTRY_BYTES


def _oldest_beat(rows: Sequence[ServedRow]) -> float | None:
    beats = (row.environment.last_heartbeat_at for row in rows)
    return min((beat for beat in beats if beat is not None), default=None)
