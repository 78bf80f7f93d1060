"""The outcome of a poll: a listing, a failure, or this machine's sleep.

A failed poll is a value, so every failure takes one path through the program: sources raise `SourceError`, and the
poller makes a `Failed`. Nothing here refers to HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from envwatch.model.clock import Clocks, MonotonicS, WallMs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from envwatch.model.clock import OffsetBounds, ServerClock, ServerMs
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


@dataclass(frozen=True, slots=True)
class ListedPage:
    """The rows of a page."""

    environments: list[Environment]
    asked_at: WallMs
    """Wall clock before the request: a later moment would count the network's delay as the machines' silence.

    For a served listing, when the server asked upstream, or a little earlier."""
    received_ids: Mapping[SafeText, str] = field(default_factory=dict)
    """Ids exactly as received, to serve again, by cleaned id; only changed ids."""


@dataclass(frozen=True, slots=True)
class RelayInfo:
    """Facts from a server that answers from a stored listing, as `envwatch serve` does."""

    age_s: float
    """The listing's age in seconds at the first page's request; of several listings, the oldest."""
    interval: timedelta | None = None
    """Between the server's listings, if known."""
    is_repeat: bool = False
    """Whether the snapshot before had the same listing, so nothing is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One complete walk over all pages."""

    pages: tuple[ListedPage, ...]
    clock: tuple[OffsetBounds, ...] = ()
    """From the `Date` headers, oldest first."""
    rejected: int = 0
    """Unusable rows."""
    rejected_ids: frozenset[SafeText] = frozenset()
    """Readable ids of rejected rows, unless another row with the id was usable."""
    confirmed_absent: frozenset[SafeText] = frozenset()
    """Ids of rows that only an earlier listing held, and that the server says do not exist."""
    in_doubt: frozenset[SafeText] = frozenset()
    """Ids of such rows without the server's confirmation, which may exist."""
    requests: int = 0
    received: int = 0
    """Bytes of the bodies on the wire."""
    served: RelayInfo | None = None
    """None if the server stores no listing."""

    @property
    def is_repeat(self) -> bool:
        """Whether the snapshot before had the same listing: only the server's reachability is new."""
        return self.served is not None and self.served.is_repeat

    def rows(self, clock: ServerClock) -> dict[SafeText, tuple[Environment, ServerMs]]:
        """Return each id's row and request time; of duplicates, the row with the newest heartbeat."""
        rows: dict[SafeText, tuple[Environment, ServerMs]] = {}
        for page in self.pages:
            at = clock.server_time(page.asked_at)
            for environment in page.environments:
                other = rows.get(environment.id)
                if other is None or _recency(environment) > _recency(other[0]):
                    rows[environment.id] = (environment, at)
        return rows


def _recency(environment: Environment) -> tuple[float, float, str]:
    """Return a key that is greater for the newer row of one id, in any order of arrival."""
    beat_at = environment.last_heartbeat_at
    return (float("-inf") if beat_at is None else beat_at, environment.last_seen_at, repr(environment))


class Cause(StrEnum):
    """The causes of a failed poll, in the screen's words."""

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
    """A listing failed; a source raises nothing else."""

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
        """The failed page, from 1; None for the whole listing."""
        self.cause = cause
        self.message = message
        self.retry_after = retry_after
        self.pages_read = pages_read
        self.is_relayed = is_relayed
        """Whether the server is well, but has no listing because upstream failed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete, fresh listing."""

    snapshot: Snapshot
    started: Clocks
    ended: Clocks
    interval: timedelta
    """Between polls; between a server's stored listings, if longer."""

    @property
    def asked(self) -> Clocks:
        """The request time of the listing's data: the start, less a stored listing's age."""
        if self.snapshot.served is None:
            return self.started
        age_s = self.snapshot.served.age_s
        return Clocks(WallMs(self.started.wall - age_s * 1000), MonotonicS(self.started.monotonic - age_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A poll without a complete listing; pages read are dropped."""

    cause: Cause
    message: SafeText
    started: Clocks
    ended: Clocks
    interval: timedelta
    retry_after: timedelta | None = None
    pages_read: int = 0
    """Before the failure."""
    page: int | None = None
    """From 1; None for the whole listing, or if unknown."""


@dataclass(frozen=True, slots=True)
class Slept:
    """This machine or process stood still: changes meanwhile were seen late."""

    last_awake: Clocks
    awake: Clocks


Outcome: TypeAlias = Listed | Failed | Slept


class PollResult(StrEnum):
    """The kinds of outcomes in recordings."""

    LISTED = "listed"
    """Believed or quarantined."""
    FAILED = "failed"
    SLEPT = "slept"
    """No poll: this machine stood still until then."""

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> PollResult:
        """Return an outcome's result."""
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
    """Unique; grows from poll to poll, also over days and runs."""
    at: WallMs
    """This machine's wall clock at the outcome; may go back if set back."""
    result: PollResult
    run: int
    """The number of the first poll of the recording run; a run begins with no knowledge."""
    interval_s: float
    """Seconds between polls."""
