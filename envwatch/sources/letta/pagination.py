"""Pages put together to one listing, and the guards against a listing that does not end.

Owns what makes a walk complete. Pure: knows pages, not how they are fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model import limits
from envwatch.model.outcome import Cause, ListedPage, Snapshot, SourceError
from envwatch.model.text import Clean

if TYPE_CHECKING:
    from envwatch.model.clock import OffsetBounds
    from envwatch.model.limits import Limits
    from envwatch.model.page import Page


class Walk:
    """One way through all pages, as far as it got."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pages: list[ListedPage] = []
        self._clock: list[OffsetBounds] = []
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self._rows = 0
        self._set_aside = 0
        self._requests = 0
        self._received = 0

    @property
    def pages_read(self) -> int:
        """Pages that have come so far."""
        return len(self._pages)

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
        known = len(self._ids)
        self._ids.update(row.id for row in page.environments)
        self._pages.append(ListedPage(page.environments, asked_at))
        if offset is not None:
            self._clock.append(offset)
        self._rows += len(page.environments) + page.set_aside
        self._set_aside += page.set_aside
        self._requests += requests
        self._received += received
        if self._rows > self._limits.max_rows:
            raise _endless(f"it has more than {self._limits.max_rows:,} rows")
        return self._next(page, brought=len(self._ids) - known) if page.has_next_page else None

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
            requests=self._requests,
            received=self._received,
        )

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
        else:
            self._cursors.add(page.cursor)
            return page.cursor
        self._check_rows()  # rows that do not fit lead nowhere either, and are the better explanation
        raise _endless(why)

    def _check_rows(self) -> None:
        if self._set_aside > limits.BAD_ROWS_SHARE * self._rows:
            what = f"{self._set_aside:,} of {self._rows:,} rows do not fit what is known of the API"
            raise SourceError(Cause.GARBLED, Clean(what))


def _endless(why: str) -> SourceError:
    return SourceError(Cause.ENDLESS, Clean(why))
