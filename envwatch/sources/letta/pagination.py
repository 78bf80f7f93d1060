"""Puts pages together to one listing, and stops listings that do not end. Pure: does not know how pages are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.outcome import Cause, ListedPage, Snapshot, SourceError
from envwatch.model.text import SafeText, clean
from envwatch.sources.letta.relayed import united

if TYPE_CHECKING:
    from envwatch.model.clock import OffsetBounds
    from envwatch.model.limits import Limits
    from envwatch.model.page import Page
    from envwatch.sources.letta.relayed import RelayedListing


class PageHistory:
    """The number of pages of the last complete walk, which bounds the next one."""

    def __init__(self) -> None:
        self._last_pages: int | None = None
        self._endless_walks = 0
        """Walks since the last complete one that had no end."""

    @property
    def last_pages(self) -> int | None:
        """Pages of the last complete walk; None if there is none, or too many walks since had no end."""
        return self._last_pages if self._endless_walks < limits.ENDLESS_WALKS else None

    def note_complete(self, pages: int) -> None:
        """Note a complete walk."""
        self._last_pages, self._endless_walks = pages, 0

    def note_failed(self, cause: Cause) -> None:
        """Note a failed walk; after a walk without a bound, the next one has the bound again."""
        if self._endless_walks == limits.ENDLESS_WALKS:
            self._endless_walks = 0
        elif cause is Cause.ENDLESS:
            self._endless_walks += 1


class ListingFetch:
    """One pass over all pages, as far as it got; requests of a walk before, given up for this one, count as well."""

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
        """Rows that have come so far, usable or not."""
        self.requests: int = 0 if before is None else before.requests
        self.received: int = 0 if before is None else before.received
        """Bytes of the bodies on the wire."""
        self._listings: list[RelayedListing] = []

    @property
    def listing(self) -> RelayedListing | None:
        """The listing that the server took the pages from; None if it answers by itself."""
        return united(self._listings)

    @property
    def is_outrun(self) -> bool:
        """Whether the newest page is of a later listing than the first one."""
        return len(self._listings) > 1 and self._listings[-1].is_surely_after(self._listings[0])

    @property
    def pages_read(self) -> int:
        """Pages that have come so far."""
        return len(self._pages)

    def pause(self, since_request_s: float) -> float:
        """Return the seconds to wait before the next page is requested, so many seconds after the last one.

        There is no pause within the request budget of a minute, nor within the length of the last complete walk. Pages
        beyond that may be endless, and are spaced.
        """
        burst = max(self._limits.requests_per_minute, self._last_pages or 0)
        if self.pages_read < burst:
            return 0.0
        return max(limits.PAGE_EVERY.total_seconds() - since_request_s, 0.0)

    def add(  # noqa: PLR0913  # what a response says, by keyword
        self,
        page: Page,
        *,
        asked_at: float,
        offset: OffsetBounds | None,
        requests: int,
        received: int,
        listing: RelayedListing | None = None,
    ) -> str | None:
        """Add the next page, with what its response said; return the cursor of the one after it, None after the last.

        Raises:
            SourceError: if the listing does not end, or too many of its rows are unusable.
        """
        ids_before = self._id_count()
        self._ids.update(row.id for row in page.environments)
        self._rejected_ids.update(page.rejected_ids)
        self._pages.append(ListedPage(page.environments, WallMs(asked_at), page.received_ids))
        if offset is not None:
            self._clock.append(offset)
        if listing is not None:
            self._listings.append(listing)
        self.rows_read += len(page.environments) + page.rejected
        self._rejected += page.rejected
        self.requests += requests
        self.received += received
        if self.rows_read > self._limits.max_rows:
            raise _endless(f"it has more than {self._limits.max_rows:,} rows")
        return self._next(page, new_rows=self._id_count() - ids_before) if page.has_next_page else None

    def snapshot(self) -> Snapshot:
        """Return the listing, after the last page; raise `SourceError` if too many of its rows are unusable."""
        self._check_rows()
        return Snapshot(
            pages=tuple(self._pages),
            clock=tuple(self._clock),
            rejected=self._rejected,
            rejected_ids=frozenset(self._rejected_ids - self._ids),
            requests=self.requests,
            received=self.received,
        )

    def _id_count(self) -> int:
        """Return how many different ids there are, of usable and unusable rows."""
        return len(self._ids) + len(self._rejected_ids)

    def _next(self, page: Page, *, new_rows: int) -> str:
        """Return the cursor of the next page, if that page can hold new rows."""
        number, last = len(self._pages), self._last_pages
        if not page.cursor:
            why = f"page {number} promises more and has no row to go on from"
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
        self._check_rows()  # unusable rows stop a walk too, and explain it better
        raise _endless(why)

    def _check_rows(self) -> None:
        if self._rejected > limits.BAD_ROWS_SHARE * self.rows_read:
            what = f"{self._rejected:,} of {self.rows_read:,} rows do not fit what is known of the API"
            raise SourceError(Cause.GARBLED, clean(what))


def _endless(why: str) -> SourceError:
    return SourceError(Cause.ENDLESS, clean(why))
