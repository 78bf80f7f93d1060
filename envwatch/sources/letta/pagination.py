"""Pages put together to one listing, and the guards against a listing that does not end.

Owns what makes a walk complete. Pure: knows pages, not how they are fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.outcome import Cause, ListedPage, Snapshot, SourceError
from envwatch.model.text import Clean

if TYPE_CHECKING:
    from envwatch.model.clock import OffsetBounds
    from envwatch.model.limits import Limits
    from envwatch.model.page import Page


class Growth:
    """How many pages the last good walk had, by which the next one is judged."""

    def __init__(self) -> None:
        self._last_pages: int | None = None
        self._endless = 0
        """Walks since then that did not end."""

    @property
    def last_pages(self) -> int | None:
        """Pages of the last good walk; None while the next one must do without it."""
        return self._last_pages if self._endless < limits.ENDLESS_WALKS else None

    def listed(self, pages: int) -> None:
        """Take note of a good walk."""
        self._last_pages, self._endless = pages, 0

    def failed(self, cause: Cause) -> None:
        """Take note of a walk that failed; one that was read like a first one is not repeated at once."""
        if self._endless == limits.ENDLESS_WALKS:
            self._endless = 0
        elif cause is Cause.ENDLESS:
            self._endless += 1


class Walk:
    """One way through all pages, as far as it got."""

    def __init__(self, limits: Limits, last_pages: int | None = None) -> None:
        """Begin a walk.

        Args:
            limits: what a user may set.
            last_pages: pages of the last good walk, if there is one.
        """
        self._limits = limits
        self._last_pages = last_pages
        self._pages: list[ListedPage] = []
        self._clock: list[OffsetBounds] = []
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self._set_aside_ids: set[Clean] = set()
        self._rows = 0
        self._set_aside = 0
        self._requests = 0
        self._received = 0

    @property
    def pages_read(self) -> int:
        """Pages that have come so far."""
        return len(self._pages)

    def pause(self, since_asked: float) -> float:
        """Return the seconds to wait before the next page is asked for.

        As many pages as the budget of a minute, or as the last good walk, come as fast as they can; more do not, for
        they may have no end.

        Args:
            since_asked: seconds since the last page was asked for.
        """
        burst = max(self._limits.requests_per_minute, self._last_pages or 0)
        if self.pages_read < burst:
            return 0.0
        return max(limits.PAGE_EVERY.total_seconds() - since_asked, 0.0)

    def add(
        self, page: Page, *, asked_at: float, offset: OffsetBounds | None, requests: int, received: int
    ) -> str | None:
        """Take in the next page and return the cursor of the one after it, None after the last.

        Args:
            page: what came.
            asked_at: our wall clock before the request, milliseconds since the epoch.
            offset: what the answer says of the server's clock.
            requests: how many it took.
            received: bytes of its body, as they came over the wire.

        Raises:
            SourceError: if going on would lead nowhere.
        """
        known = self._known()
        self._ids.update(row.id for row in page.environments)
        self._set_aside_ids.update(page.set_aside_ids)
        self._pages.append(ListedPage(page.environments, WallMs(asked_at)))
        if offset is not None:
            self._clock.append(offset)
        self._rows += len(page.environments) + page.set_aside
        self._set_aside += page.set_aside
        self._requests += requests
        self._received += received
        if self._rows > self._limits.max_rows:
            raise _endless(f"it has more than {self._limits.max_rows:,} rows")
        return self._next(page, brought=self._known() - known) if page.has_next_page else None

    def snapshot(self) -> Snapshot:
        """Return the listing, once the last page is in.

        Raises:
            SourceError: if too many of its rows could not be used.
        """
        self._check_rows()
        return Snapshot(
            pages=tuple(self._pages),
            clock=tuple(self._clock),
            set_aside=self._set_aside,
            set_aside_ids=frozenset(self._set_aside_ids - self._ids),
            requests=self._requests,
            received=self._received,
        )

    def _known(self) -> int:
        """Return how many rows were seen that have an id, whether they could be used or not."""
        return len(self._ids) + len(self._set_aside_ids)

    def _next(self, page: Page, *, brought: int) -> str:
        """Return the cursor of the next page, if it can bring anything that has not been seen."""
        number = len(self._pages)
        if not page.cursor:
            why = f"page {number} promises more and has no row to go on from"
        elif page.cursor in self._cursors:
            why = f"page {number} leads back to an earlier one"
        elif not brought:
            why = f"page {number} brought nothing new"
        elif number >= self._limits.max_pages:
            why = f"it has more than {self._limits.max_pages:,} pages"
        elif self._last_pages is not None and number >= _most_after(self._last_pages):
            why = f"it goes on after {number:,} pages, and the last complete listing had {self._last_pages:,}"
        else:
            self._cursors.add(page.cursor)
            return page.cursor
        self._check_rows()  # rows that do not fit lead nowhere either, and are the better explanation
        raise _endless(why)

    def _check_rows(self) -> None:
        if self._set_aside > limits.BAD_ROWS_SHARE * self._rows:
            what = f"{self._set_aside:,} of {self._rows:,} rows do not fit what is known of the API"
            raise SourceError(Cause.GARBLED, Clean(what))


def _most_after(pages: int) -> int:
    """Return how many pages a walk may have after a good one of so many."""
    return max(limits.WALK_GROWTH * pages, pages + limits.WALK_GROWTH_AT_LEAST)


def _endless(why: str) -> SourceError:
    return SourceError(Cause.ENDLESS, Clean(why))
