"""What one poll gave: a listing, a failure, or the news that this machine was asleep. Values only.

A failed poll is a value like any other, so that every failure takes one path through the program. Sources raise
`SourceError`; the poller turns it into `Failed`. Nothing above the client sees HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta

    from envwatch.model.clock import OffsetBounds, Reading, WallMs
    from envwatch.model.environment import Environment
    from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True)
class ListedPage:
    """The rows of one page and the moment for which they speak."""

    environments: list[Environment]
    asked_at: WallMs
    """Wall clock before the request.

    The rows were read no earlier. A later moment would count the network's delay as silence of the machines.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One complete walk over all pages."""

    pages: tuple[ListedPage, ...]
    clock: tuple[OffsetBounds, ...] = ()
    """What the answers' `Date` headers say of the server's clock, oldest first; empty when they say nothing."""
    set_aside: int = 0
    """Rows that could not be used."""
    set_aside_ids: frozenset[Clean] = frozenset()
    """The ids of those whose id can be read, and of which no other row could be used."""
    confirmed_absent: frozenset[Clean] = frozenset()
    """Ids of rows that an earlier listing held and this one lacks, of which the server said that they do not exist."""
    in_doubt: frozenset[Clean] = frozenset()
    """Ids of such rows about which the server is still to be asked: they may exist."""
    requests: int = 0
    received: int = 0
    """Bytes of the bodies, as they came over the wire."""


class Cause(StrEnum):
    """Why a poll failed, in the words shown to a person."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "TLS"
    UNAUTHORIZED = "key refused"
    FORBIDDEN = "forbidden"
    NO_SUCH_ROUTE = "no such route"
    RATE_LIMITED = "rate limited"
    SERVER = "server error"
    UNAVAILABLE = "server unavailable"
    REDIRECTED = "redirected"
    REFUSED = "request refused"
    GARBLED = "unreadable answer"
    TOO_LARGE = "too large"
    ENDLESS = "listing does not end"

    @property
    def is_refusal(self) -> bool:
        """Whether the server knows no such key, or grants it nothing: 401 or 403."""
        return self in (Cause.UNAUTHORIZED, Cause.FORBIDDEN)

    @property
    def is_overload(self) -> bool:
        """Whether the server itself says that it has too much to do: 429 or 503."""
        return self in (Cause.RATE_LIMITED, Cause.UNAVAILABLE)


class SourceError(Exception):
    """A listing that could not be had; the only exception a source lets out."""

    def __init__(
        self, cause: Cause, message: Clean, *, retry_after: timedelta | None = None, pages_read: int = 0
    ) -> None:
        super().__init__(message)
        self.page: int | None = None
        """Which page it was, the first is 1; None where it was the listing as a whole."""
        self.cause = cause
        self.message = message
        self.retry_after = retry_after
        self.pages_read = pages_read


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete, fresh listing."""

    snapshot: Snapshot
    started: Reading
    ended: Reading
    interval: timedelta
    """From poll to poll, as it was in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A poll that gave no complete listing. Whatever pages it did read are dropped."""

    cause: Cause
    message: Clean
    started: Reading
    ended: Reading
    interval: timedelta
    retry_after: timedelta | None = None
    """How long the server asked to be left alone."""
    pages_read: int = 0
    """Pages that had come before it failed."""
    page: int | None = None
    """Which page failed, the first is 1; None where it was the listing as a whole, or is not said."""


@dataclass(frozen=True, slots=True)
class Slept:
    """This machine or process stood still: whatever changed meanwhile was not seen when it happened."""

    last_awake: Reading
    awake: Reading


Outcome: TypeAlias = Listed | Failed | Slept
