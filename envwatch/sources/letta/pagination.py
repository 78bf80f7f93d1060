"""Join pages to a listing, and stop endless listings.

A relay such as `envwatch serve` answers from an earlier listing, whose age is in the headers. Such a page is as old as
the relay's request.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.listing_api import AGE_HEADER, INTERVAL_HEADER
from envwatch.model.outcome import Cause, Failure, ListedPage, RelayInfo, Snapshot, SourceError
from envwatch.model.text import SafeText, clean
from envwatch.sources.letta.errors import offset_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.limits import Limits
    from envwatch.model.page import Page
    from envwatch.sources.letta.transport import Response


_SECONDS: Final = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,9})?", re.ASCII)
_SLACK_S: Final = 0.1
"""Allowed error of a listing's age, as two machines' clocks drift. Listings are 0.9 s or more apart."""


def age_in(headers: Mapping[str, str]) -> float | None:
    """Return the listing's age in seconds, if plausible."""
    return _seconds(headers, AGE_HEADER)


def asked_at_of(response: Response) -> WallMs:
    """Return the wall clock before a request, minus the listing's age."""
    return WallMs(response.asked_at - (age_in(response.headers) or 0.0) * 1000)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "").strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else None
    return None if seconds is None or seconds > limits.LISTING_AGE_CAP.total_seconds() else seconds


class RelayedListing(NamedTuple):
    """A relay's listing, requested by the relay between `earliest` and `latest`."""

    asked: float
    earliest: float
    latest: float
    interval: timedelta | None = None

    @classmethod
    def from_response(cls, response: Response, asked: float, answered: float) -> RelayedListing | None:
        """Return the relay's listing in a response; the arguments are the times of request and response."""
        age_s = age_in(response.headers)
        if age_s is None:
            return None
        interval_s = _seconds(response.headers, INTERVAL_HEADER)
        return cls(asked, asked - age_s, answered - age_s, timedelta(seconds=interval_s) if interval_s else None)

    def is_surely_after(self, other: RelayedListing) -> bool:
        """Whether this listing is later than `other`: the request times cannot coincide."""
        return self.earliest > other.latest + _SLACK_S


def served_of(listing: RelayedListing | None, before: RelayedListing | None) -> RelayInfo | None:
    """Return a snapshot's relay information.

    A snapshot is a repetition unless all pages are surely newer than all previous pages: an absence that was served
    twice must not count twice.
    """
    if listing is None:
        return None
    is_repeat = before is not None and not listing.is_surely_after(before)
    return RelayInfo(max(listing.asked - listing.earliest, 0.0), listing.interval, is_repeat)


class PageHistory:
    """The page count of the last complete walk, which bounds the next walk."""

    def __init__(self) -> None:
        self._last_pages: int | None = None
        self._endless_walks = 0

    @property
    def last_pages(self) -> int | None:
        """Pages of the last complete walk; None without a complete walk, or after `ENDLESS_WALKS` endless walks."""
        return self._last_pages if self._endless_walks < limits.ENDLESS_WALKS else None

    def note_complete(self, pages: int) -> None:
        """Note a complete walk."""
        self._last_pages, self._endless_walks = pages, 0

    def note_failed(self, cause: Cause) -> None:
        """Note a failed walk; the walk after an unbounded walk is bounded again."""
        if self._endless_walks == limits.ENDLESS_WALKS:
            self._endless_walks = 0
        elif cause is Cause.ENDLESS:
            self._endless_walks += 1


class ListingFetch:
    """The pages and counts of a walk; the counts include the requests of an abandoned walk `before`."""

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
        """The pages' relayed listing, merged, if any."""
        if not (listings := self._listings):
            return None
        return listings[0]._replace(
            earliest=min(each.earliest for each in listings),
            latest=max(each.latest for each in listings),
            interval=max((each.interval for each in listings if each.interval is not None), default=None),
        )

    @property
    def is_outrun(self) -> bool:
        """Whether the newest page is from a newer listing than the first page."""
        return len(self._listings) > 1 and self._listings[-1].is_surely_after(self._listings[0])

    @property
    def pages_read(self) -> int:
        """Pages so far."""
        return len(self._pages)

    def pause(self, since_request_s: float) -> float:
        """Return the seconds to wait before the next page.

        The first pages need no wait, up to a minute's request budget or the last complete walk's length. Later pages
        may be endless, and are spaced.
        """
        burst = max(self._limits.requests_per_minute, self._last_pages or 0)
        if self.pages_read < burst:
            return 0.0
        return max(limits.PAGE_EVERY.total_seconds() - since_request_s, 0.0)

    def add(self, page: Page, response: Response, listing: RelayedListing | None = None) -> str | None:
        """Add a response's page; return the next cursor, or None after the last page.

        Raises:
            SourceError: if the listing does not end, or too many rows are unusable.
        """
        ids_before = self._id_count()
        self._ids.update(row.id for row in page.environments)
        self._rejected_ids.update(page.rejected_ids)
        self._pages.append(ListedPage(page.environments, asked_at_of(response), page.received_ids))
        self._clock += filter(None, [offset_in(response)])
        self._listings += filter(None, [listing])
        self.rows_read += len(page.environments) + page.rejected
        self._rejected += page.rejected
        self.requests += response.requests
        self.received += response.received
        if self.rows_read > self._limits.max_rows:
            raise _endless(f"it has more than {self._limits.max_rows:,} rows")
        return self._next(page, new_rows=self._id_count() - ids_before) if page.has_next_page else None

    def snapshot(self) -> Snapshot:
        """Return the listing.

        Raises:
            SourceError: if too many rows are unusable.
        """
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
            why = f"page {number} promises another page, but has no row"
        elif page.cursor in self._cursors:
            why = f"page {number} leads back to an earlier one"
        elif not new_rows:
            why = f"page {number} brought nothing new"
        elif number >= self._limits.max_pages:
            why = f"it has more than {self._limits.max_pages:,} pages"
        elif last is not None and number >= max(limits.WALK_GROWTH * last, last + limits.WALK_GROWTH_AT_LEAST):
            why = f"it goes on after {number:,} pages, and the last complete listing had {last:,}"
        else:
            self._cursors.add(page.cursor)
            return page.cursor
        self._check_rows()  # unusable rows also end a walk, and explain the failure better
        raise _endless(why)

    def _check_rows(self) -> None:
        if self._rejected > limits.BAD_ROWS_SHARE * self.rows_read:
            what = f"{self._rejected:,} of {self.rows_read:,} rows do not fit what is known of the API"
            raise SourceError(Failure(Cause.GARBLED, clean(what)))


def _endless(why: str) -> SourceError:
    return SourceError(Failure(Cause.ENDLESS, clean(why)))
