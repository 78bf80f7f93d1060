"""The outcome of one poll: a listing, a failure, or that this machine was asleep. Values only.

A failed poll is a value, so that every failure takes one path through the program. Sources raise `SourceError`, and the
poller turns it into `Failed`. Nothing here refers to HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from envwatch.model.clock import Clocks, MonotonicS, WallMs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.clock import OffsetBounds, ServerClock, ServerMs
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


@dataclass(frozen=True, slots=True)
class ListedPage:
    """The rows of one page."""

    environments: list[Environment]
    asked_at: WallMs
    """Wall clock before the request: a later moment would count the network's delay as silence of the machines.

    Where the server answers from a listing of its own, when it asked for that, or a little earlier."""
    received_ids: Mapping[SafeText, str] = field(default_factory=dict)
    """Ids exactly as received, by those that cleaning made of them, to serve them again; only where it changed them."""


@dataclass(frozen=True, slots=True)
class RelayInfo:
    """What a server says that answers from a listing of its own, as `envwatch serve` does."""

    age_s: float
    """How old that listing was when the first page was asked for, in seconds; of several, the oldest."""
    interval: timedelta | None = None
    """From one of its listings to the next, if it says so."""
    is_repeat: bool = False
    """Whether the snapshot before this one was of the same listing: it shows nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One complete walk over all pages."""

    pages: tuple[ListedPage, ...]
    clock: tuple[OffsetBounds, ...] = ()
    """Bounds from the responses' `Date` headers, oldest first; empty without any."""
    rejected: int = 0
    """Rows that could not be used."""
    rejected_ids: frozenset[SafeText] = frozenset()
    """Their ids where readable, unless another row of that id could be used."""
    confirmed_absent: frozenset[SafeText] = frozenset()
    """Ids of rows that only an earlier listing held, and that do not exist according to the server."""
    in_doubt: frozenset[SafeText] = frozenset()
    """Ids of such rows that the server has not confirmed: they may exist."""
    requests: int = 0
    received: int = 0
    """Bytes of the bodies on the wire."""
    served: RelayInfo | None = None
    """None where the server answers by itself."""

    @property
    def is_repeat(self) -> bool:
        """Whether it is of the same listing as the snapshot before: it shows only that the server can be reached."""
        return self.served is not None and self.served.is_repeat

    def rows(self, clock: ServerClock) -> dict[SafeText, tuple[Environment, ServerMs]]:
        """Return each id's row and when it was asked for; of duplicates, the one with the newest heartbeat."""
        rows: dict[SafeText, tuple[Environment, ServerMs]] = {}
        for page in self.pages:
            at = clock.server_time(page.asked_at)
            for environment in page.environments:
                other = rows.get(environment.id)
                if other is None or _recency(environment) > _recency(other[0]):
                    rows[environment.id] = (environment, at)
        return rows


def _recency(environment: Environment) -> tuple[float, float, str]:
    """Return a key that is greater for the newer of two rows of one id, in whatever order they came."""
    beat_at = environment.last_heartbeat_at
    return (float("-inf") if beat_at is None else beat_at, environment.last_seen_at, repr(environment))


class ListingCost(NamedTuple):
    """The effort of one listing, which decides how often polls come."""

    requests: int = 1
    rows: int = 0
    """Includes rejected rows."""
    page_rows: int = 0
    """Rows of the largest page."""
    is_paged: bool = False
    """Whether the listing has several pages."""
    took: timedelta = timedelta()


class Cause(StrEnum):
    """Why a poll failed, in the words on the screen."""

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
        """Whether the server refused the key: 401 or 403."""
        return self in (Cause.UNAUTHORIZED, Cause.FORBIDDEN)

    @property
    def is_overload(self) -> bool:
        """Whether the server reports overload: 429 or 503."""
        return self in (Cause.RATE_LIMITED, Cause.UNAVAILABLE)


class SourceError(Exception):
    """A listing failed; the only exception that a source raises."""

    def __init__(
        self,
        cause: Cause,
        message: SafeText,
        *,
        retry_after: timedelta | None = None,
        pages_read: int = 0,
        is_relayed: bool = False,
    ) -> None:
        super().__init__(message)
        self.page: int | None = None
        """Which page failed, counted from 1; None for the listing as a whole."""
        self.cause = cause
        self.message = message
        self.retry_after = retry_after
        self.pages_read = pages_read
        self.is_relayed = is_relayed
        """Whether the server is well, and has no listing to give because another one failed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete, fresh listing."""

    snapshot: Snapshot
    started: Clocks
    ended: Clocks
    interval: timedelta
    """From poll to poll, as in force; from listing to listing of a server that answers from its own, if longer."""

    @property
    def asked(self) -> Clocks:
        """When what it says was asked for: at its start, or as much earlier as the listing was old by then."""
        if self.snapshot.served is None:
            return self.started
        age_s = self.snapshot.served.age_s
        return Clocks(WallMs(self.started.wall - age_s * 1000), MonotonicS(self.started.monotonic - age_s))

    @property
    def cost(self) -> ListingCost:
        """The listing's effort."""
        snapshot, rows = self.snapshot, [len(page.environments) for page in self.snapshot.pages]
        return ListingCost(
            max(snapshot.requests, 1),
            sum(rows) + snapshot.rejected,
            max(rows, default=0) + snapshot.rejected,
            is_paged=len(rows) > 1,
            took=timedelta(seconds=self.ended.monotonic - self.started.monotonic),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A poll without a complete listing; the pages that it did read are dropped."""

    cause: Cause
    message: SafeText
    started: Clocks
    ended: Clocks
    interval: timedelta
    retry_after: timedelta | None = None
    """The server's `Retry-After`."""
    pages_read: int = 0
    """Pages that were read before it failed."""
    page: int | None = None
    """Which page failed, counted from 1; None for the listing as a whole, or if unknown."""


@dataclass(frozen=True, slots=True)
class Slept:
    """This machine or process stood still: changes meanwhile were not seen when they happened."""

    last_awake: Clocks
    awake: Clocks


Outcome: TypeAlias = Listed | Failed | Slept


class PollResult(StrEnum):
    """What came of a poll."""

    LISTED = "listed"
    """A complete listing, believed or quarantined."""
    FAILED = "failed"
    SLEPT = "slept"
    """No poll: this machine stood still until then."""

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> PollResult:
        """Return the result of an outcome."""
        match outcome:
            case Listed():
                return cls.LISTED
            case Failed():
                return cls.FAILED
            case Slept():
                return cls.SLEPT


class RecordedPoll(NamedTuple):
    """One poll in the order of recording."""

    number: int
    """Identifies it; grows from poll to poll, also over days and runs."""
    at: WallMs
    """This machine's wall clock when its outcome was taken; may go back where that clock was set back."""
    result: PollResult
    run: int
    """The number of the first poll of the run of envwatch that recorded it: a run begins with no knowledge."""
    interval_s: float
    """Seconds from poll to poll, as in force then."""
