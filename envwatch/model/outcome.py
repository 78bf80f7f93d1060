"""The outcome of a poll: a listing, a failure, or a sleep.

The poller turns a source's `SourceError` into a `Failed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, ServerMs, WallMs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


Rows: TypeAlias = "Mapping[SafeText, Environment]"


@dataclass(frozen=True, slots=True)
class ListedPage:
    """The rows of a page."""

    environments: list[Environment]
    asked_at: WallMs
    """The wall clock before the request: a later moment would count the network's delay as silence. A served listing
    counts from the server's request upstream, or a little earlier."""
    received_ids: Mapping[SafeText, str] = field(default_factory=dict)
    has_marks: bool = False


class RelayInfo(NamedTuple):
    """Facts about a stored listing of a server such as `envwatch serve`."""

    age_s: float
    """The age in seconds at the first page's request; the oldest age of several listings."""
    interval: timedelta | None = None
    is_repeat: bool = False
    is_envwatch: bool = False
    """Whether the server's health names envwatch: the server may take acknowledgements."""
    may_ack: bool = True
    """Whether the server does not say that this token may only read."""


class Snapshot(NamedTuple):
    """A complete walk over all pages."""

    pages: tuple[ListedPage, ...]
    rows: Rows
    clock: tuple[OffsetBounds, ...] = ()
    """Bounds by response, oldest first."""
    rejected: int = 0
    rejected_ids: frozenset[SafeText] = frozenset()
    """Readable ids of rejected rows, without ids of usable rows."""
    confirmed_absent: frozenset[SafeText] = frozenset()
    """Earlier ids whose absence the server confirms."""
    in_doubt: frozenset[SafeText] = frozenset()
    """Missing earlier ids whose existence is unknown."""
    requests: int = 0
    received: int = 0
    served: RelayInfo | None = None
    """None if the server stores no listing."""

    @classmethod
    def of_pages(cls, pages: Sequence[ListedPage], **details: Any) -> Snapshot:  # noqa: ANN401  as the fields
        """Return a snapshot of pages; the newest heartbeat decides between rows with the same id."""
        rows: dict[SafeText, Environment] = {}
        for environment in chain.from_iterable(page.environments for page in pages):
            other = rows.get(environment.id)
            if other is None or _recency(environment) > _recency(other):
                rows[environment.id] = environment
        return cls(tuple(pages), rows, **details)

    @property
    def is_repeat(self) -> bool:
        """Whether the server repeats the previous listing."""
        return self.served is not None and self.served.is_repeat

    def timed_rows(self, clock: ServerClock) -> Iterator[tuple[Environment, ServerMs]]:
        """Yield each row with the request time, again for each page with the unchanged row."""
        rows = self.rows
        for page in self.pages:
            at = clock.server_time(page.asked_at)
            for environment in page.environments:
                if rows[environment.id] is environment:
                    yield environment, at


def _recency(environment: Environment) -> tuple[float, float, str]:
    beat_at = environment.last_heartbeat_at
    return (float("-inf") if beat_at is None else beat_at, environment.last_seen_at, repr(environment))


class ListingCost(NamedTuple):
    """The effort of a listing, which decides the time between polls."""

    requests: int = 1
    rows: int = 0
    page_rows: int = 0
    """Rows of the largest page, plus all rejected rows."""
    is_paged: bool = False
    took: timedelta = timedelta()


class Cause(StrEnum):
    """Causes of a failed poll, in the screen's words."""

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
    ENDLESS = "endless answer"

    @property
    def is_refusal(self) -> bool:
        """Whether the server refused the key: 401 or 403."""
        return self in (Cause.UNAUTHORIZED, Cause.FORBIDDEN)

    @property
    def is_overload(self) -> bool:
        """Whether the server reports overload: 429 or 503."""
        return self in (Cause.RATE_LIMITED, Cause.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason for a missing or incomplete listing."""

    cause: Cause
    message: SafeText
    retry_after: timedelta | None = None
    pages_read: int = 0
    page: int | None = None
    """The failed page's number, from 1; None for the whole listing, or if unknown."""


@dataclass(eq=False)
class SourceError(Exception):
    """The only exception of a source."""

    failure: Failure
    is_relayed: bool = False
    """Whether the server is up, but upstream failed."""

    def __str__(self) -> str:
        return self.failure.message


class Listed(NamedTuple):
    """A complete, fresh listing."""

    snapshot: Snapshot
    started: Clocks
    ended: Clocks
    interval: timedelta
    """Time between polls, or between a server's stored listings if longer."""

    @property
    def asked(self) -> Clocks:
        """The request time of the data: `started` minus a stored listing's age."""
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
class Failed(Failure):
    """A poll without a complete listing; arrived pages are dropped."""

    started: Clocks
    ended: Clocks
    interval: timedelta


class Slept(NamedTuple):
    """A standstill of this machine or process, with unseen changes."""

    last_awake: Clocks
    awake: Clocks


Outcome: TypeAlias = Listed | Failed | Slept


class PollResult(StrEnum):
    """Recorded kinds of outcomes."""

    LISTED = "listed"
    """A complete listing, even if quarantined."""
    FAILED = "failed"
    SLEPT = "slept"
    """The end of a standstill, which is no poll."""

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> PollResult:
        """Return an outcome's result."""
        return {Listed: cls.LISTED, Failed: cls.FAILED, Slept: cls.SLEPT}[type(outcome)]


class RecordedPoll(NamedTuple):
    """A recorded poll."""

    number: int
    """A number that increases also across days and runs."""
    at: WallMs
    """The time of the outcome, which a set clock may turn back."""
    result: PollResult
    run: int
    """The number of the run's first poll."""
    interval_s: float
