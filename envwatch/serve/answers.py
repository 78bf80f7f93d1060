"""Served listings, as JSON of upstream's rows, and answers to viewers.

An extra field of a row has the host's acknowledgements, silences and alert decisions; stock clients and verdicts ignore
the field.
"""

from __future__ import annotations

import json
import zlib
from collections import ChainMap, defaultdict
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cached_property
from hashlib import blake2b
from http import HTTPStatus
from math import ceil, inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic_core import to_json

from envwatch.alerts.acknowledgements import NO_ACKS, Acks, own_acks
from envwatch.alerts.alert_policy import NO_WORDS, AlertPolicy, Words, decision_sentence, word_for
from envwatch.alerts.silences import NO_SILENCES, Silences, silenced_time
from envwatch.fleet.events import blind_after
from envwatch.fleet.uptime import whole_percent
from envwatch.model import limits
from envwatch.model.environment import Environment, whole_if_exact, wire_row
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
    page_of_rows,
    unknown_device,
)
from envwatch.model.outcome import Listed, Outcome
from envwatch.model.shared_marks import SHARED_FIELD, mark_of
from envwatch.model.text import EMPTY, SafeText, clean_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks, MonotonicS, WallMs


SharedMark: TypeAlias = "Mapping[str, JsonValue]"

SharedMarks: TypeAlias = "Mapping[SafeText, SharedMark]"

NO_SHARED_MARKS: Final[SharedMarks] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SharedState:
    """Acknowledgements, silences and alert decisions of the serving host."""

    name: SafeText = EMPTY
    acks: Acks = field(default_factory=lambda: NO_ACKS)
    silences: Silences = field(default_factory=lambda: NO_SILENCES)
    policy: AlertPolicy | None = None
    words: Words = field(default_factory=lambda: NO_WORDS)
    incidents: Mapping[SafeText, SafeText] = field(default_factory=dict)
    """Open or waiting incident of each lost environment, by id."""

    def holding(self, now: Clocks) -> frozenset[SafeText]:
        """Return the ids of nonrecurring silences in force."""
        return frozenset(id_ for id_, silence in self.silences.items() if silence.holds(now.wall))

    def marks(self, profile_state: ProfileState, now: Clocks) -> SharedMarks:
        """Return the marks of a profile's environments."""
        found: dict[SafeText, dict[str, JsonValue]] = defaultdict(dict)
        at = profile_state.clock.server_time(now.wall)
        for id_, ack in own_acks(self.acks, profile_state.server, profile_state.environments).items():
            if ack.until is None or ack.until > at:
                found[id_]["ack"] = mark_of(ack, self.name)
        for id_, incident in self.incidents.items():
            found[id_]["incident"] = incident
        recurring = () if self.policy is None else self.policy.recurring
        has_silences = bool(recurring or self.holding(now))
        for id_, tracked in profile_state.environments.items():
            if self.policy is not None:
                decision = self.policy.decision(tracked, word_for(self.words, profile_state.server, id_), at)
                share = tracked.up_share
                found[id_]["alerts"] = {
                    "pages": decision.counts,
                    "why": decision_sentence(decision, tracked),
                    "share": None if share is None else whole_percent(share) / 100,
                }
            if not has_silences:
                continue
            silenced = silenced_time(tracked, profile_state, self.silences, recurring, now.wall)
            if silenced is not None and silenced.until > at:
                until = whole_if_exact(silenced.end)
                found[id_]["silence"] = {"by": self.name, "until": until, "reason": silenced.silence.note}
        return found


NOTHING_SHARED: Final = SharedState()


PAGE_BYTES: Final = 4 << 20
"""Largest page: envwatch reads at most 8 MiB, and usual rows take 2 KB."""

_GONE_KEPT_S: Final = 60.0
"""Seconds to remember a gone row's place: a walk takes 30 s at most."""

_NULL_IF_UNREADABLE: Final = ("connectionId", "connectedAt", "lastHeartbeat", "firstSeenAt", "lastSeenAt", "podId")


@dataclass(frozen=True, slots=True, eq=False)
class ServedRow:
    """A served row."""

    environment: Environment
    id: str
    """Id as sent by upstream; also the cursor."""
    mark: SharedMark | None
    data: bytes
    is_readable: bool = True
    """False for an unreadable row of upstream; `environment` is then the last known state."""


_Gone: TypeAlias = "tuple[str | None, MonotonicS]"
"""Id of the listed row before a gone row (None for the first place), and when the row went."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedListing:
    """A complete listing with the rows to serve."""

    asked: Clocks
    rows: tuple[ServedRow, ...]
    """Rows in upstream's order, with distinct ids; unreadable rows come last."""
    in_doubt: tuple[ServedRow, ...]
    """Rows of an earlier listing that are absent but may exist."""
    gone: Mapping[str, _Gone] = field(default_factory=dict)

    @classmethod
    def from_outcome(
        cls, outcome: Listed, previous: ServedListing | None = None, marks: SharedMarks = NO_SHARED_MARKS
    ) -> ServedListing:
        """Return a poll's listing."""
        snapshot = outcome.snapshot
        before = () if previous is None else (*previous.in_doubt, *previous.rows)
        known = {row.environment.id: row for row in before}
        received_ids = ChainMap(*(dict(page.received_ids) for page in snapshot.pages if page.received_ids))
        taken: set[str] = set()

        def id_of(key: SafeText) -> str:
            id_ = received_ids.get(key) or (known[key].id if key in known else key)
            while id_ in taken:  # cleaning may turn an unsendable id into a taken id
                id_ = clean_key(id_)
            taken.add(id_)
            return id_

        rows = [_served(row, id_of(row.id), marks.get(row.id), known.get(row.id)) for row in snapshot.rows.values()]
        rows += [_unreadable(key, id_of(key), known.get(key)) for key in sorted(snapshot.rejected_ids)]
        in_doubt = tuple(known[key] for key in sorted(snapshot.in_doubt & known.keys()))
        gone = {} if previous is None else _gone(previous, taken, outcome.asked.monotonic)
        return cls(asked=outcome.asked, rows=tuple(rows), in_doubt=in_doubt, gone=gone)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Index of each row, by id."""
        return {row.id: place for place, row in enumerate(self.rows)}

    @cached_property
    def devices(self) -> Mapping[str, ServedRow]:
        """First row of each device id."""
        rows = reversed((*self.rows, *self.in_doubt))
        return {row.environment.device_id: row for row in rows if row.environment.device_id}

    def with_shared_marks(self, marks: SharedMarks) -> ServedListing:
        """Return the listing with new marks."""
        rows, in_doubt = (
            tuple(
                _served(row.environment, row.id, marks.get(row.environment.id), row) if row.is_readable else row
                for row in each
            )
            for each in (self.rows, self.in_doubt)
        )
        return replace(self, rows=rows, in_doubt=in_doubt)

    def page(self, params: PageParams, now_ms: float) -> tuple[list[ServedRow], bool]:
        """Return a page, and whether more rows follow; an unknown cursor starts from the top."""
        rows, has_next_page = page_of_rows(self._wanted(params, now_ms), params.limit)
        size = 0
        for count, row in enumerate(rows):
            size += len(row.data)
            if size > PAGE_BYTES and count:
                return rows[:count], True
        return rows, has_next_page

    def _wanted(self, params: PageParams, now_ms: float) -> Iterator[ServedRow]:
        for place in range(self._first_after(params.after), len(self.rows)):
            row, state = self.rows[place], self.rows[place].environment
            is_asked = not params.online_only or is_online(state.connection_id, state.last_heartbeat_at, now_ms)
            if is_asked and params.admits(state.organization_id, state.user_id):
                yield row

    def _first_after(self, cursor: str | None) -> int:
        if cursor is not None and cursor not in self.places and cursor in self.gone:
            cursor, _ = self.gone[cursor]
        return 0 if cursor is None else self.places.get(cursor, -1) + 1


def _gone(before: ServedListing, listed: set[str], now: MonotonicS) -> Mapping[str, _Gone]:
    missing = before.places.keys() - listed
    gone: dict[str, _Gone] = {}
    if missing:
        nearest: str | None = None
        for row in before.rows:
            if row.id in missing:
                gone[row.id] = nearest, now
            else:
                nearest = row.id
    for id_, (after, at) in before.gone.items():
        if id_ not in listed and now - at <= _GONE_KEPT_S:
            gone.setdefault(id_, (gone[after][0] if after in gone else after, at))
    return gone


def _served(row: Environment, id_: str, mark: SharedMark | None, before: ServedRow | None) -> ServedRow:
    if before is not None and before.environment is row and before.id == id_ and before.mark == mark:
        return before
    wire = wire_row(row) | {"id": id_}
    if mark is not None:
        theirs = wire.get(SHARED_FIELD)  # upstream may be another `envwatch serve`
        data = to_json({**wire, SHARED_FIELD: {**(theirs if isinstance(theirs, dict) else {}), **mark}})
        if len(data) < limits.ROW_BYTES:  # viewers reject larger rows
            return ServedRow(row, id_, mark, data)
    return ServedRow(row, id_, mark, to_json(wire))


def _unreadable(key: SafeText, id_: str, before: ServedRow | None) -> ServedRow:
    """Return a row that viewers reject; without the row, viewers would take the environment for gone."""
    if before is not None and not before.is_readable:
        return before
    environment = replace(
        Environment.unlisted(key) if before is None else before.environment,
        id=key,
        connection_id=None,
        connected_at=None,
        last_heartbeat_at=None,
        pod_id=None,
        metadata=None,
        unknown={},
    )
    nothing: dict[str, JsonValue] = dict.fromkeys(_NULL_IF_UNREADABLE)
    return ServedRow(environment, id_, None, to_json(wire_row(environment) | {"id": id_} | nothing), is_readable=False)


WALKS_KEPT: Final = 20_000
"""Pairs of reader and page per listing, in about 3 MB."""
LARGEST_PAGE: Final = 1_000
"""Rows; a larger `limit` is silently reduced."""
CACHED_BYTES: Final = 8 << 20
"""Bytes of a listing's cache: 10,000 rows in pages of 100 take 2 MB compressed."""

_TAG_BYTES: Final = 12
_ENTRY_BYTES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An answer's body."""

    content: bytes
    tag: str
    """The ETag; equal only for equal JSON."""
    is_gzip: bool
    cursor: str | None = None
    """Id of the last row if a page follows."""
    made_at: float = -inf
    """Begin of the body's validity, in ms of upstream's clock."""
    oldest_beat_at: float = inf
    """The body is valid until this heartbeat is too old."""

    @classmethod
    def from_bytes(cls, data: bytes, *, may_be_gzip: bool) -> Body:
        """Return the body for JSON, compressed if allowed and useful."""
        tag = f'W/"{blake2b(data, digest_size=_TAG_BYTES).hexdigest()}"'
        if may_be_gzip and len(data) >= GZIP_FROM_BYTES:
            return cls(content=zlib.compress(data, level=1, wbits=31), tag=tag, is_gzip=True)
        return cls(content=data, tag=tag, is_gzip=False)

    def holds(self, now_ms: float) -> bool:
        """Whether the body is valid at a time of upstream's clock."""
        return now_ms >= self.made_at and is_online("any", self.oldest_beat_at, now_ms)


class PageBodies:
    """Cached bodies of a listing's pages, and viewers' walks."""

    def __init__(self, listing: ServedListing, cached_bytes: int = CACHED_BYTES) -> None:
        self.cached = 0
        self.listing = listing
        self.replaced_at: float = inf
        """Monotonic second of the next, different listing; infinite for the newest listing."""
        self.walks: dict[tuple[str, str], None] = {}
        """Pairs of reader and cursor of the next page, the oldest first."""
        self._cached_bytes = cached_bytes
        self._bodies: dict[tuple[str, bool], Body] = {}

    def body(self, query: str, now_ms: float, *, may_be_gzip: bool, readers: Sequence[str] = ()) -> Body:
        """Return a page's body, and note the page for `readers`.

        Raises:
            RefusedError: a parameter is bad (400).
        """
        key = (query, may_be_gzip)
        body = self._without(key)
        if body is None or not body.holds(now_ms):
            body = self._made(PageParams.from_query(query, LARGEST_PAGE), now_ms, may_be_gzip=may_be_gzip)
        self._bodies[key] = body
        self.cached += _size(key, body)
        while self.cached > self._cached_bytes:
            self._without(next(iter(self._bodies)))
        if body.cursor is not None:
            for reader in readers:
                self.walks.pop((reader, body.cursor), None)
                self.walks[reader, body.cursor] = None
            while len(self.walks) > WALKS_KEPT:
                del self.walks[next(iter(self.walks))]
        return body

    def _without(self, key: tuple[str, bool]) -> Body | None:
        body = self._bodies.pop(key, None)
        if body is not None:
            self.cached -= _size(key, body)
        return body

    def _made(self, params: PageParams, now_ms: float, *, may_be_gzip: bool) -> Body:
        rows, has_next_page = self.listing.page(params, now_ms)
        data = listing_body((row.data for row in rows), has_next_page=has_next_page)
        body = replace(Body.from_bytes(data, may_be_gzip=may_be_gzip), cursor=rows[-1].id if has_next_page else None)
        if not params.online_only:
            return body
        beats = (row.environment.last_heartbeat_at or inf for row in rows)
        return replace(body, made_at=now_ms, oldest_beat_at=min(beats, default=inf))


def _size(key: tuple[str, bool], body: Body) -> int:
    return len(key[0]) + len(body.content) + _ENTRY_BYTES


_RETRY_AT_MOST_S: Final = 30
_RETRY_WHILE_STOPPING_S: Final = 5.0
"""A restart takes no longer."""
_EARLIER_KEPT: Final = 2
_EARLIER_KEPT_S: Final = 60.0
"""Seconds, as `_GONE_KEPT_S`."""
_LAST_DATE_S: Final = 253_402_300_799

_CONTENT_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
_VARY: Final = ("Vary", "Accept-Encoding")
_CACHE_CONTROL: Final = ("Cache-Control", "private, no-cache")
"""A cached answer would state an outdated age of the listing."""


async def _no_body(_limit: int) -> bytes:
    return b""


@dataclass(slots=True)
class Request:
    """A viewer's request."""

    path: str
    """Quoted path; a `ProfileEndpoint` gets no profile part: `/v1/environments`."""
    query: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers by lowercase name."""
    address: str = ""
    connection: str = ""
    """The client's address and port."""
    viewer: str = ""
    """The token's name, without spaces; empty before authentication."""
    read_body: Callable[[int], Awaitable[bytes]] = _no_body
    """Reads a body up to a size in bytes; raises `RefusedError` for a larger (413) or broken body (400)."""

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body."""
        return self.header("content-length") not in {"", "0"} or bool(self.header("transfer-encoding"))

    def header(self, name: str) -> str:
        """Return a header's value, or "" if missing."""
        return self.headers.get(name, "")

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
    """Answers requests by a profile's newest state, in a single thread.

    A quarantine keeps the served listing. A walk stays within a listing.
    """

    def __init__(self) -> None:
        self._profile_state: ProfileState | None = None
        self._pages: list[PageBodies] = []
        self._shared: SharedState = NOTHING_SHARED
        self._silences: frozenset[str] = frozenset()
        self._is_ending = False

    def update(
        self, profile_state: ProfileState, outcome: Outcome | None, now: Clocks, shared: SharedState = NOTHING_SHARED
    ) -> None:
        """Apply an update; `outcome` is None if only time has passed."""
        listed = outcome if isinstance(outcome, Listed) else None
        # A relay's repeated listing is not checked for absences, so the first copy is kept.
        has_same = self._profile_state is not None and self._profile_state.listings == profile_state.listings
        if profile_state.quarantine is not None or (has_same and listed is not None and listed.snapshot.is_repeat):
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
        return self._pages[0].listing if self._pages else None

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
        """Return an answer that needs no listing."""
        content = json.dumps(body, separators=(",", ":")).encode()
        return Answer(
            status, (_CONTENT_TYPE, *headers, _VARY, _CACHE_CONTROL, _date(self._profile_state, now.wall)), content
        )

    def _show(self, listing: ServedListing, now: Clocks) -> None:
        if self._pages:
            newest = self._pages[0]
            if (listing.rows, listing.in_doubt) == (newest.listing.rows, newest.listing.in_doubt):
                newest.listing = listing  # `asked` may differ
                return
            newest.replaced_at = now.monotonic
        since = now.monotonic - _EARLIER_KEPT_S
        begun = [pages for pages in self._pages if pages.walks and pages.replaced_at >= since]
        self._pages = [PageBodies(listing), *begun[:_EARLIER_KEPT]]

    def _walked(self, request: Request) -> PageBodies:
        if len(self._pages) > 1:
            cursor = PageParams.from_query(request.query, LARGEST_PAGE).after
            for reader in request.readers:
                for pages in self._pages:
                    if cursor is not None and (reader, cursor) in pages.walks:
                        return pages
        return self._pages[0]

    def _answer(self, request: Request, now: Clocks) -> Answer:
        if request.method != "GET":
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise RefusedError(status, {"error": status.phrase}, (("Allow", "GET"),))
        device_id = device_in(request.path)
        profile_state = self.ready()
        if (blindness := _blindness(profile_state, self._pages[0].listing, now)) is not None:
            raise self._unavailable("envwatch_blind", blindness)
        pages = self._walked(request) if device_id is None else self._pages[0]
        listing = pages.listing
        if _blindness(profile_state, listing, now) is not None:
            too_old = "these pages are too old: read again from the first page"
            raise self._unavailable("envwatch_blind", too_old)
        may_be_gzip = accepts_gzip(request.header("accept-encoding"))
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
        if _matches(request.header("if-none-match"), body.tag):
            return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
        encoding = (("Content-Encoding", "gzip"),) if body.is_gzip else ()
        return Answer(HTTPStatus.OK, (_CONTENT_TYPE, *encoding, *headers), body.content)

    def ready(self) -> ProfileState:
        """Return the newest state, which may be blind.

        Raises:
            RefusedError: the server is stopping or has no listing (503).
        """
        if self._is_ending:
            raise self._unavailable("envwatch_stopping", "envwatch serve is stopping")
        if self._profile_state is None or not self._pages:
            raise self._unavailable("envwatch_waiting", _why("envwatch serve has no data yet", self._profile_state))
        return self._profile_state

    def _unavailable(self, code: str, why: str) -> RefusedError:
        wait_s = 0.0 if self._profile_state is None else self._profile_state.interval.total_seconds()
        if self._is_ending:
            wait_s = _RETRY_WHILE_STOPPING_S
        retry_after = ("Retry-After", str(min(max(ceil(wait_s), 1), _RETRY_AT_MOST_S)))
        body = {"error": why, "errorCode": code, "retryable": True}
        return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, body, (retry_after,))


def _ages(profile_state: ProfileState, listing: ServedListing, now: Clocks) -> tuple[tuple[str, str], ...]:
    age_s = max(now.monotonic - listing.asked.monotonic, 0.0)
    return (AGE_HEADER, f"{age_s:.3f}"), (INTERVAL_HEADER, f"{profile_state.interval.total_seconds():.3f}")


def _blindness(profile_state: ProfileState, listing: ServedListing, now: Clocks) -> str | None:
    if profile_state.unseen_since is not None or now.slept_since(listing.asked):
        return _why("envwatch serve slept, and has had no data since", profile_state)
    age_s = max((now.wall - listing.asked.wall) / 1000, now.monotonic - listing.asked.monotonic)
    if age_s <= blind_after(profile_state.interval).total_seconds():
        return None
    return _why(f"envwatch serve has had no data for {int(age_s)} s", profile_state)


def _why(what: str, profile_state: ProfileState | None) -> str:
    if profile_state is not None and profile_state.failure is not None:
        return f"{what}: {profile_state.failure.message}"
    if profile_state is not None and profile_state.quarantine is not None:
        return f"{what} that can be believed: {profile_state.quarantine.finding.text}"
    return what


def _date(profile_state: ProfileState | None, wall: WallMs) -> tuple[str, str]:
    """Return upstream's time as `Date`, as if upstream had answered."""
    at = wall if profile_state is None else profile_state.clock.server_time(wall)
    return "Date", formatdate(min(max(at // 1000, 0), _LAST_DATE_S), usegmt=True)


def _matches(if_none_match: str, tag: str) -> bool:
    tags = [each.strip() for each in if_none_match.split(",")]
    return "*" in tags or tag.removeprefix("W/") in [each.removeprefix("W/") for each in tags]
