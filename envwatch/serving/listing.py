"""A listing to serve: upstream's rows as JSON bytes.

The host's acknowledgements, silences and alert decisions are an extra field of a row, which stock clients ignore and no
verdict uses.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic_core import to_json

from envwatch.fleet.alerting.acknowledgements import NO_ACKS, Acks, own_acks
from envwatch.fleet.alerting.alert_policy import NO_WORDS, AlertPolicy, Words, decision_text, word_for
from envwatch.fleet.alerting.silences import NO_SILENCES, Silences, silenced_time
from envwatch.fleet.uptime import whole_percent
from envwatch.model import limits
from envwatch.model.environment import Environment, wire_row
from envwatch.model.listing_api import PageParams, is_online, page_of_rows
from envwatch.model.shared_marks import SHARED_FIELD
from envwatch.model.text import EMPTY, SafeText, clean_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks, MonotonicS
    from envwatch.model.outcome import Listed


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
    """None decides nothing for viewers."""
    words: Words = field(default_factory=lambda: NO_WORDS)

    def holding(self, now: Clocks) -> frozenset[SafeText]:
        """Return the ids of the silences in force, without recurring silences."""
        return frozenset(id_ for id_, silence in self.silences.items() if silence.holds(now.wall))

    def marks(self, profile_state: ProfileState, now: Clocks) -> SharedMarks:
        """Return the marks of a profile's environments."""
        found: dict[SafeText, dict[str, JsonValue]] = defaultdict(dict)
        for id_, ack in own_acks(self.acks, profile_state.server, profile_state.environments).items():
            found[id_]["ack"] = {"by": self.name, "at": _instant(ack.at), "note": ack.note}
        at = profile_state.clock.server_time(now.wall)
        recurring = () if self.policy is None else self.policy.silences
        has_silences = bool(recurring or self.holding(now))
        for id_, tracked in profile_state.environments.items():
            if self.policy is not None:
                decision = self.policy.decision(tracked, word_for(self.words, profile_state.server, id_), at)
                share = tracked.up_share
                found[id_]["alerts"] = {
                    "counts": decision.counts,
                    "why": decision_text(decision, tracked),
                    "share": None if share is None else whole_percent(share) / 100,
                }
            if not has_silences:
                continue
            silenced = silenced_time(tracked, profile_state, self.silences, recurring, now.wall)
            if silenced is not None and silenced.until > at:
                until = _instant(silenced.end)
                found[id_]["silence"] = {"by": self.name, "until": until, "reason": silenced.silence.note}
        return found


NOTHING_SHARED: Final = SharedState()


def _instant(at: float) -> float:
    return int(at) if at.is_integer() else at


PAGE_BYTES: Final = 4 << 20
"""A page that would be larger ends early. envwatch reads at most 8 MiB; usual rows take 2 KB."""

_GONE_KEPT_S: Final = 60.0
"""How long the place of a gone row is remembered: a walk takes 30 s at most."""

_NULL_IF_UNREADABLE: Final = ("connectionId", "connectedAt", "lastHeartbeat", "firstSeenAt", "lastSeenAt", "podId")


@dataclass(frozen=True, slots=True, eq=False)
class ServedRow:
    """A row of a served listing."""

    environment: Environment
    id: str
    """The id as upstream sent the id; also the cursor."""
    mark: SharedMark | None
    data: bytes
    is_readable: bool = True
    """False if upstream's row could not be read: then `environment` is the last known state."""

    def is_online(self, now_ms: float) -> bool:
        """Whether the row is online by the official rule, at a moment of upstream's clock."""
        return is_online(self.environment.connection_id, self.environment.last_heartbeat_at, now_ms)


_Gone: TypeAlias = "tuple[str | None, MonotonicS]"
"""The id of the nearest listed row before a gone row (None for the first place), and when the row went."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedListing:
    """A complete listing with the rows to serve."""

    asked: Clocks
    rows: tuple[ServedRow, ...]
    """In upstream's order, one row per id; unreadable rows come last."""
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
            while id_ in taken:  # an id that cannot be sent may become a taken id by cleaning
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
        """Index of each row, by served id."""
        return {row.id: place for place, row in enumerate(self.rows)}

    @cached_property
    def devices(self) -> Mapping[str, ServedRow]:
        """First row of each device."""
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

    def is_same_as(self, other: ServedListing) -> bool:
        """Whether all rows are identical; `asked` may differ."""
        return self.rows == other.rows and self.in_doubt == other.in_doubt

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
            row = self.rows[place]
            if params.admits(row.environment.organization_id, row.environment.user_id) and (
                not params.online_only or row.is_online(now_ms)
            ):
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
        if len(data) < limits.ROW_BYTES:  # a larger row would be rejected by viewers
            return ServedRow(row, id_, mark, data)
    return ServedRow(row, id_, mark, to_json(wire))


def _unreadable(key: SafeText, id_: str, before: ServedRow | None) -> ServedRow:
    """Return a row without state, which viewers reject as unreadable.

    If the row were left out, viewers would take the environment for gone.
    """
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
