"""A tracked environment: the newest row, the verdict, and the memory for the next verdict.

`Matcher` is a query's test, because the filter language is in a higher layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.events import NO_PROFILE, EnvironmentState, Event, Kind, blind_after
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck, without_impossible
from envwatch.fleet.presence import DISCONNECTED, GONE, HEARTBEAT_LOST, UNTIMED, Presence, PresenceRule, Reason, Verdict
from envwatch.model import limits
from envwatch.model.clock import MonotonicS, ServerMs
from envwatch.model.environment import API_FIELDS, LABELS, Environment, mode_of
from envwatch.model.shared_marks import shared_alerts_of
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from envwatch.fleet.uptime import Uptime


SAME_INSTANT_MS: Final = limits.SAME_CONNECTION_WITHIN / MS


EVENT_KINDS: Final[Mapping[str, Kind]] = {
    "name": Kind.RENAMED,
    "mode": Kind.MODE,
    "user_id": Kind.CHANGED,
    "version": Kind.VERSION,
    "branch": Kind.BRANCH,
    "working_directory": Kind.CHANGED,
    "node_version": Kind.CHANGED,
    "os": Kind.CHANGED,
}
_SOURCES = attrgetter(*dict.fromkeys(name if name in API_FIELDS else "metadata" for name in (*EVENT_KINDS, "pod_id")))


def has_same_sources(before: Environment, after: Environment) -> bool:
    """Whether all sources of event fields are equal."""
    return bool(_SOURCES(before) == _SOURCES(after))


def changes(before: Environment, after: Environment) -> Iterator[tuple[Kind, str, SafeText | None, SafeText | None]]:
    """Yield kind, label, old and new value of each changed field, in a fixed order."""
    if has_same_sources(before, after):
        return
    for name, kind in EVENT_KINDS.items():
        was, now = value_of(before, name), value_of(after, name)
        if was != now:
            yield kind, LABELS[name], was, now
    # The pod is null while offline, so only a change between two pods counts.
    was, now = before.pod_id, after.pod_id
    if was and now and was != now:
        yield Kind.CHANGED, LABELS["pod_id"], was, now


def value_of(environment: Environment, name: str) -> SafeText | None:
    """Return an attribute's text, a mode under the current name."""
    return mode_of(environment.mode) if name == "mode" else getattr(environment, name)


def is_new_connection(before: Environment, after: Environment) -> bool:
    """Whether the connection was replaced: a new id, or `connectedAt` differs by a second or more."""
    if not before.connection_id or not after.connection_id:
        return False
    if before.connection_id != after.connection_id:
        return True
    if before.connected_at is None or after.connected_at is None:
        return False
    return abs(after.connected_at - before.connected_at) >= SAME_INSTANT_MS


def is_new_process(before: Environment, after: Environment) -> bool:
    """Whether the listener changed, by instance or version."""
    pairs = (
        (before.listener_instance_id, after.listener_instance_id),
        (before.version, after.version),
        (before.node_version, after.node_version),
    )
    return any(was and now and was != now for was, now in pairs)


_MARK_DURATION_MS: Final = limits.MARK_DURATION / MS


class ChangeTag(StrEnum):
    """Recent changes, most important first; the first four are tags in the table."""

    NEW = "NEW"
    """Went offline, is gone, or appeared as offline."""
    BACK = "BACK"
    MOVED = "MOVED"
    MODE = "MODE"
    JOINED = "JOIN"
    VERSION = "VER"
    CONNECTION = "CONN"


TABLE_TAGS: Final = (ChangeTag.NEW, ChangeTag.BACK, ChangeTag.MOVED, ChangeTag.MODE)
"""The log alone has the other changes; `changed:yes` finds all."""
_RANKS = {tag: rank for rank, tag in enumerate(ChangeTag)}


class RecentChange(NamedTuple):
    """A change with a moment."""

    tag: ChangeTag
    at: ServerMs

    def is_recent(self, now: float) -> bool:
        """Whether the change is recent (server's clock, ms)."""
        return now - self.at < _MARK_DURATION_MS


def appearance(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of a new environment."""
    return RecentChange(ChangeTag.JOINED if verdict.is_up else ChangeTag.NEW, at)


def turn(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of coming or going."""
    return RecentChange(ChangeTag.BACK if verdict.is_up else ChangeTag.NEW, at)


def later_change(
    last: RecentChange | None, before: Environment, after: Environment, at: ServerMs
) -> RecentChange | None:
    """Return the change of an environment that neither came nor went; a recent, more important change stays."""
    tag = None if before is after else _tag_between(before, after)
    if tag is None or (last is not None and last.is_recent(at) and _RANKS[last.tag] < _RANKS[tag]):
        return last
    return RecentChange(tag, at)


def _tag_between(before: Environment, after: Environment) -> ChangeTag | None:
    if not has_same_sources(before, after):
        if mode_of(before.mode) != mode_of(after.mode):
            return ChangeTag.MODE
        if before.version != after.version:
            return ChangeTag.VERSION
    return ChangeTag.CONNECTION if is_new_connection(before, after) else None


_SLOTS = limits.FLAP_SAMPLES - 1
_SLOT_MS = limits.FLAP_EVERY / MS
_STEP = (limits.FLAP_HIGH_WEIGHT - limits.FLAP_LOW_WEIGHT) / (_SLOTS - 1)


def change_rate(changed_at: Iterable[float], now: float) -> float:
    """Return the weighted share of 30 s slots with a change, in percent; instants are in ms.

    Source: Nagios' flap detection, which weighs the 20 changes between 21 samples from 1.25 (newest) to 0.75 (oldest).
    """
    slots = {int((now - at) // _SLOT_MS) for at in changed_at}
    return sum(limits.FLAP_HIGH_WEIGHT - _STEP * slot for slot in slots if 0 <= slot < _SLOTS) * 100 / _SLOTS


def is_flapping(changed_at: Iterable[float], now: float, *, was_flapping: bool) -> bool:
    """Whether the environment flaps: from 30 % on, until 20 % or less."""
    rate = change_rate(changed_at, now)
    return rate > limits.FLAP_OFF if was_flapping else rate >= limits.FLAP_ON


EnvironmentKey: TypeAlias = tuple[SafeText, SafeText]

_ONLINE, _UNKNOWN = clean("online"), clean("unknown")
_UNHEALTHY = frozenset({Presence.OFFLINE, Presence.LATE})
_NO_SKEW_CHECK = SkewCheck()
_NO_LIMIT = ServerMs(inf)
_NO_LOOK = ServerMs(-inf)
_EMPTY = (None, "")
CHURN_MS = limits.CHURN_WINDOW / MS
_BACK_AFTER_MS = limits.BACK_AFTER / MS
RESTART_MEMORY_MS: Final = limits.RESTART_MEMORY / MS
_SIGN_OF_LIFE_MS = limits.SIGN_OF_LIFE / MS
CLOCK_ERROR_MS = limits.CLOCK_WARN_FROM / MS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedEnvironment(EnvironmentState):
    """An environment with a verdict."""

    profile: SafeText = NO_PROFILE
    since_at: ServerMs | None = None
    """When this run saw the environment come or go."""
    last_change: RecentChange | None = None
    skew_check: SkewCheck = _NO_SKEW_CHECK
    has_impossible_time: bool = False
    """Whether the heartbeat's time is impossible, so that the previous verdict reads unknown."""
    last_known_heartbeat: LastHeartbeat | None = None
    """The newest heartbeat, kept while the listed row has none."""
    absent: int = 0
    """Number of successive complete listings without the row."""
    transitions: tuple[ServerMs, ...] = ()
    """Changes of presence or connection in the last hour."""
    replaced_by: SafeText | None = None
    replaced_by_name: SafeText | None = None
    twins: frozenset[SafeText] = frozenset()
    """Ids of twins; see `replacement`."""
    offline_beside: frozenset[SafeText] = frozenset()
    """Ids of rows of the same place, offline while this row was online."""
    uptime: Uptime | None = field(default=None, compare=False)
    """Uptime, at most ten minutes old while the row is up. Not recorded."""

    def tag(self, now: float) -> ChangeTag | None:
        """Return the tag of a recent change."""
        change = self.last_change
        return change.tag if change is not None and change.is_recent(now) else None

    @property
    def key(self) -> EnvironmentKey:
        """Profile and id, because two servers may use the same id."""
        return (self.profile, self.environment.id)

    @property
    def up_share(self) -> float | None:
        """The share of the last watched week up, 0 to 1, or None; a serving host's share takes precedence."""
        if (shared := shared_alerts_of(self.environment)) is not None:
            return shared.share
        return self.uptime.share if self.uptime is not None and self.uptime.is_known else None

    @property
    def is_permanent(self) -> bool:
        """Whether the row is up nearly all the time, by the serving host if any.

        Without an uptime, a system that does not sleep is permanent.
        """
        if (shared := shared_alerts_of(self.environment)) is not None:
            return shared.counts if shared.share is None else shared.share >= limits.PERMANENT_SHARE
        return not self.environment.may_sleep if self.uptime is None else self.uptime.is_permanent

    def event(self, kind: Kind, at: ServerMs, **details: Any) -> Event:  # noqa: ANN401  as the fields of `Event`
        """Return an event; `then` is the present state unless given."""
        row = self.environment
        details = {"then": self.present_state} | details
        return Event(kind=kind, at=at, profile=self.profile, id=row.id, name=row.label, **details)

    @property
    def presence(self) -> Presence:
        """The verdict's presence."""
        return self.verdict.presence

    @property
    def reason(self) -> SafeText:
        """The verdict's reason, or the replacement."""
        if self.replaced_by is None:
            return clean(self.verdict.reason)
        return replaced_by_text(self.replaced_by_name or self.replaced_by)

    @property
    def advanced_at(self) -> MonotonicS | None:
        """Time of the heartbeat's last observed advance."""
        return None if self.skew_check.previous_elapsed_ms is None else self.skew_check.listed_at

    @property
    def pod_id(self) -> SafeText | None:
        """The pod; while offline, the last pod."""
        return self.environment.pod_id or self.left_pod_id

    @property
    def lost_at(self) -> ServerMs:
        """When the row went down; meaningful only while down."""
        return self.environment.last_seen_alive_at if self.since_at is None else self.since_at

    @property
    def is_well(self) -> bool:
        """Whether the row is online, and neither late nor flapping."""
        return self.verdict.is_up and not self.is_unhealthy

    def has_stayed_up(self, until: ServerMs) -> bool:
        """Whether this online row was up for `limits.BACK_AFTER` by then; a shorter return continues the loss."""
        came_at = self.environment.connected_at if self.since_at is None else self.since_at
        return came_at is None or until - came_at >= _BACK_AFTER_MS

    @property
    def up_since(self) -> float | None:
        """Connection time; None while down, although the row keeps `connectedAt`."""
        return self.environment.connected_at if self.verdict.is_up else None

    @property
    def is_unhealthy(self) -> bool:
        """Whether the row is offline, late or flapping. A replaced row is healthy, because the machine goes on."""
        if self.replaced_by is not None:
            return False
        return (self.verdict.presence in _UNHEALTHY and self.verdict != UNTIMED) or self.is_flapping


Environments: TypeAlias = "Mapping[SafeText, TrackedEnvironment]"


def replaced_by_text(name: SafeText) -> SafeText:
    """Return a replaced row's reason."""
    return composed(f"replaced by {name}")


class ListingContext(NamedTuple):
    """Values shared by all rows of a listing."""

    asked_at: MonotonicS
    gap_ms: float
    """Time since the previous listing, by the clock that advanced more."""
    elapsed_ms: float
    rule: PresenceRule
    is_baseline: bool = False
    """Whether this is the first listing, and no earlier run says which rows are new."""
    marks_new: bool = True
    """Whether a new row came a moment ago."""
    beats_count: bool = True
    in_doubt: Collection[SafeText] = ()
    unreadable: Collection[SafeText] = ()
    looked_at: ServerMs = _NO_LOOK
    """The last look of the run before; infinitely early without such a run."""
    longest_interval: timedelta = timedelta()
    """The longest poll interval of this run and the run before."""
    unseen: Collection[SafeText] = ()
    """Ids of rows that only the run before has seen so far."""
    kept: Collection[SafeText] = ()
    profile: SafeText = NO_PROFILE
    latest: ServerMs = _NO_LIMIT
    is_date_wrong: bool = False
    """Whether the `Date` contradicts every heartbeat: verdicts use the previous clock."""

    def is_after_long_gap(self, at: ServerMs) -> bool:
        """Whether nobody looked for so long since the run before that a running envwatch would be blind."""
        return self.looked_at > -inf and span(at - self.looked_at) > blind_after(self.longest_interval)


def observed(
    tracked: TrackedEnvironment | None, environment: Environment, at: ServerMs, listing: ListingContext
) -> TrackedEnvironment:
    """Return the environment after a listing with the row, or `tracked` if nothing changed."""
    if tracked is not None and _is_unchanged(tracked, environment, at, listing):
        return tracked
    newest = None if tracked is None else _newest_heartbeat(tracked, listing)
    row = without_impossible(environment, None if tracked is None else tracked.environment, listing.latest)
    is_beat_dropped = row.last_heartbeat_at is None and environment.last_heartbeat_at is not None
    has_impossible_time = is_beat_dropped and bool(environment.connection_id)
    if tracked is not None:
        row = _with_newest_heartbeat(tracked, row, at)
    beat_at = row.last_heartbeat_at if row.connection_id else None
    skew_check = _skew_check(tracked, beat_at, newest, listing)
    is_contradicted = beat_at is not None and skew_check.contradicts(at, listing.asked_at, listing.elapsed_ms)
    clock_suspect = is_contradicted or has_impossible_time or (listing.is_date_wrong and beat_at is not None)
    if has_impossible_time:
        verdict = UNTIMED if tracked is None else tracked.verdict
    elif is_contradicted:
        verdict = _verdict(tracked, row, skew_check.least_age_ms(listing.asked_at), skew_check, listing)
    else:
        verdict = _verdict(tracked, row, None if beat_at is None else at - beat_at, None, listing)
    if tracked is not None and not verdict.is_up:
        row = with_last_known(tracked.environment, row)
    if tracked is None:
        return TrackedEnvironment(
            environment=row,
            verdict=verdict,
            profile=listing.profile,
            last_change=appearance(verdict, at) if listing.marks_new else None,
            skew_check=skew_check,
            clock_suspect=clock_suspect,
            has_impossible_time=has_impossible_time,
        )
    turn_seen = _turn_seen if row.id not in listing.unseen else _turn_between_runs
    since_at, last_change, turned_at = turn_seen(tracked, row, verdict, at, listing)
    transitions = tuple([transition for transition in tracked.transitions if at - transition < CHURN_MS])
    if turned_at is not None and at - turned_at < CHURN_MS:
        transitions = (*transitions, turned_at)
    following = TrackedEnvironment(
        environment=row,
        verdict=verdict,
        profile=tracked.profile,
        since_at=since_at,
        last_change=last_change,
        skew_check=skew_check,
        clock_suspect=clock_suspect,
        has_impossible_time=has_impossible_time,
        last_known_heartbeat=newest if beat_at is None else None,
        left_pod_id=None if row.pod_id else tracked.pod_id,
        transitions=transitions,
        is_flapping=bool(transitions) and is_flapping(transitions, at, was_flapping=tracked.is_flapping),
        replaced_by=tracked.replaced_by,
        replaced_by_name=tracked.replaced_by_name,
        twins=tracked.twins,
        offline_beside=tracked.offline_beside,
        uptime=tracked.uptime,
    )
    return tracked if row is tracked.environment and following == tracked else following


Turn: TypeAlias = tuple[ServerMs | None, RecentChange | None, ServerMs | None]
"""Values of `since_at` and `last_change` after a listing, and the time of a turn or reconnection."""


def _turn_seen(
    tracked: TrackedEnvironment, row: Environment, verdict: Verdict, at: ServerMs, _listing: ListingContext
) -> Turn:
    """Return what a listing changes for a row that this run has listed before."""
    if verdict != tracked.verdict and _has_come_or_gone(tracked.verdict, verdict):
        return at, turn(verdict, at), at
    change = later_change(tracked.last_change, tracked.environment, row, at)
    return tracked.since_at, change, at if is_new_connection(tracked.environment, row) else None


def _turn_between_runs(
    known: TrackedEnvironment, row: Environment, verdict: Verdict, at: ServerMs, listing: ListingContext
) -> Turn:
    """Return what this run's first listing of a row changes; the row's own instants date a turn.

    The state goes on if the connection (up) or the last sign of life (down) is still the same.
    """
    is_recent = at - listing.looked_at < RESTART_MEMORY_MS
    if _is_same_state(known, row, verdict):
        change = known.last_change
        if is_recent:
            change = later_change(change, known.environment, row, at)
        return known.since_at, change, None
    turned_at = row.connected_at if verdict.is_up else row.last_seen_alive_at
    if turned_at is None or not listing.looked_at <= turned_at <= at:
        turned_at = at if is_recent else None
    if turned_at is None:
        return None, None, None
    if verdict.is_up and known.verdict.is_up:
        return None, RecentChange(ChangeTag.CONNECTION, turned_at), turned_at
    return None, turn(verdict, turned_at), turned_at


def _is_same_state(known: TrackedEnvironment, row: Environment, verdict: Verdict) -> bool:
    if verdict.is_up != known.verdict.is_up or known.verdict.is_absent:
        return False
    if verdict.is_up:
        return not is_new_connection(known.environment, row)
    return row.last_seen_alive_at == known.environment.last_seen_alive_at


def _is_unchanged(tracked: TrackedEnvironment, environment: Environment, at: ServerMs, listing: ListingContext) -> bool:
    if tracked.transitions or tracked.clock_suspect or tracked.absent or listing.is_date_wrong:
        return False
    before = tracked.environment
    # An unchanged row is mostly the same object, see `parse_page`; a changed row mostly has a new heartbeat.
    if environment is not before and (
        environment.last_heartbeat_at != before.last_heartbeat_at or environment != before
    ):
        return False
    beat_at = environment.last_heartbeat_at
    if beat_at is None or not environment.connection_id:
        return listing.rule.verdict_by_age(environment, None) == tracked.verdict
    if listing.rule.verdict_by_age(environment, at - beat_at) != tracked.verdict:
        return False
    # `contradicts`, inlined for speed for every row of every listing.
    check = tracked.skew_check
    return at - listing.asked_at * 1000 >= check.lowest_ms and at - listing.elapsed_ms <= check.highest_ms


def _skew_check(
    tracked: TrackedEnvironment | None, beat_at: ServerMs | None, newest: LastHeartbeat | None, listing: ListingContext
) -> SkewCheck:
    if beat_at is not None and (newest is None or beat_at < newest.at or newest.elapsed_ms == -inf):
        # An older heartbeat came with a new connection, at an unknown moment. The run before had other clocks.
        return SkewCheck.for_heartbeat(beat_at, listing.asked_at)
    if tracked is None:
        return _NO_SKEW_CHECK
    if beat_at is None or newest is None or beat_at == newest.at:
        return tracked.skew_check
    if tracked.verdict.is_up or beat_at - newest.at >= _SIGN_OF_LIFE_MS:
        return SkewCheck.for_heartbeat(beat_at, listing.asked_at, newest.elapsed_ms)
    return tracked.skew_check


def _verdict(
    tracked: TrackedEnvironment | None,
    row: Environment,
    age_ms: float | None,
    contradiction: SkewCheck | None,
    listing: ListingContext,
) -> Verdict:
    before = UNTIMED if tracked is None else tracked.verdict
    # A heartbeat cannot become younger, even if the skew check is new.
    if tracked is not None and before == HEARTBEAT_LOST and contradiction == tracked.skew_check:
        return before
    verdict = listing.rule.verdict_by_age(row, age_ms)
    return before if verdict == HEARTBEAT_LOST and before.is_up and not listing.beats_count else verdict


def marked_absent(
    tracked: TrackedEnvironment, at: ServerMs, listing: ListingContext, *, quarantined: int = 0
) -> TrackedEnvironment:
    """Return the environment after a complete listing without the row.

    Two such listings prove the row gone, unless in doubt; `quarantined` earlier listings count.
    """
    if tracked.verdict.is_absent:
        return tracked
    absent = replace(
        tracked, absent=tracked.absent + 1 + quarantined, last_known_heartbeat=_newest_heartbeat(tracked, listing)
    )
    if absent.absent < limits.LISTINGS_TO_GONE or tracked.environment.id in listing.in_doubt:
        return absent
    change = turn(GONE, at) if tracked.replaced_by is None else tracked.last_change
    return replace(absent, verdict=GONE, since_at=at, last_change=change, is_flapping=False)


def unread(tracked: TrackedEnvironment) -> TrackedEnvironment:
    """Return the environment after a listing with an unreadable row."""
    return replace(tracked, absent=0) if tracked.absent and not tracked.verdict.is_absent else tracked


def missed_while_quarantined(tracked: TrackedEnvironment, listing: ListingContext) -> TrackedEnvironment:
    """Return the environment after a quarantined listing without the row; the last heartbeat stays known."""
    last_known = _newest_heartbeat(tracked, listing)
    return tracked if last_known == tracked.last_known_heartbeat else replace(tracked, last_known_heartbeat=last_known)


def events_between(before: TrackedEnvironment | None, after: TrackedEnvironment, at: ServerMs) -> Iterator[Event]:
    """Yield an environment's events at a listing."""
    if before is not None and _is_as_before(before, after):
        return
    if before is None:
        yield after.event(Kind.APPEARED, at, after=event_presence(after), reason=_reason(after, at))
        return
    old_row, row, then = before.environment, after.environment, after.present_state
    was, now, lasted = event_presence(before), event_presence(after), _lasted(before, at)
    if before.verdict.is_absent and not after.verdict.is_absent:
        yield after.event(Kind.RETURNED, at, before=was, after=now, reason=_reason(after, at), lasted=lasted)
    elif was != now and _is_news(before.verdict, after.verdict):
        kind = Kind(now)
        if kind is Kind.OFFLINE:
            then = replace(then, environment=old_row)
        yield after.event(kind, at, before=was, after=now, reason=_reason(after, at), lasted=lasted, then=then)
    elif after.verdict.is_up and is_new_connection(old_row, row):
        kind = Kind.RESTARTED if is_new_process(old_row, row) else Kind.RECONNECTED
        yield after.event(kind, at, before=old_row.connection_id, after=row.connection_id, lasted=lasted)
    for kind, name, old, new in changes(old_row, row):
        yield after.event(kind, at, field=name, before=old, after=new)
    if before.is_flapping != after.is_flapping and not after.verdict.is_absent:
        yield after.event(Kind.FLAPPING if after.is_flapping else Kind.STEADY, at)


def _is_as_before(before: TrackedEnvironment, after: TrackedEnvironment) -> bool:
    row = before.environment
    return (
        before.verdict == after.verdict
        and before.is_flapping == after.is_flapping
        and not is_new_connection(row, after.environment)
        and has_same_sources(row, after.environment)
    )


def _has_come_or_gone(before: Verdict, after: Verdict) -> bool:
    is_turn = before.is_up != after.is_up or before.is_absent or before == UNTIMED
    return is_turn and _is_news(before, after)


def _is_news(before: Verdict, after: Verdict) -> bool:
    """Whether a verdict can be an event: not the first after an impossible time, unless disconnected or absent."""
    return before != UNTIMED or after == DISCONNECTED or after.is_absent


def _newest_heartbeat(tracked: TrackedEnvironment, listing: ListingContext) -> LastHeartbeat | None:
    environment = tracked.environment
    if (
        tracked.last_known_heartbeat is not None
        or environment.last_heartbeat_at is None
        or not environment.connection_id
    ):
        return tracked.last_known_heartbeat
    last_listed_ms = listing.elapsed_ms - listing.gap_ms
    return LastHeartbeat(environment.connection_id, environment.last_heartbeat_at, last_listed_ms)


def _with_newest_heartbeat(tracked: TrackedEnvironment, row: Environment, at: ServerMs) -> Environment:
    """Return the row with a heartbeat that does not go backwards.

    A heartbeat from the future is dropped: the server's clock was ahead then.
    """
    new_at = row.last_heartbeat_at
    if new_at is None:
        return row
    before, last_known = tracked.environment, tracked.last_known_heartbeat
    old_at = before.last_heartbeat_at if before.connection_id == row.connection_id else None
    if last_known is not None and last_known.connection_id == row.connection_id:
        old_at = last_known.at
    is_older = old_at is not None and new_at < old_at <= at + CLOCK_ERROR_MS
    return replace(row, last_heartbeat_at=old_at) if is_older else row


def with_last_known(before: Environment, row: Environment) -> Environment:
    """Return an offline row with the earlier mode, user and metadata, dropped by the server."""
    metadata, known = row.metadata or {}, before.metadata or {}
    kept = {key: value for key, value in known.items() if metadata.get(key) in _EMPTY and value not in _EMPTY}
    if not kept and (row.mode or not before.mode) and (row.user_id or not before.user_id):
        return row
    row = replace(
        row,
        mode=row.mode or before.mode,
        user_id=row.user_id or before.user_id,
        metadata={**metadata, **kept} if kept else row.metadata,
    )
    return before if row == before else row


def event_presence(tracked: TrackedEnvironment) -> SafeText:
    """Return the presence for events, which call a late row online."""
    if tracked.verdict == UNTIMED:
        return _UNKNOWN
    return _ONLINE if tracked.verdict.is_up else clean(tracked.presence.value)


def _reason(tracked: TrackedEnvironment, at: ServerMs) -> SafeText | None:
    reason, beat_at = tracked.verdict.reason, tracked.environment.last_heartbeat_at
    if reason is Reason.HEARTBEAT_LOST and beat_at is not None and not tracked.clock_suspect:
        return clean(f"{reason} ({span(at - beat_at).total_seconds():.0f} s)")
    return None if tracked.verdict.is_up else clean(reason)


def _lasted(tracked: TrackedEnvironment, at: ServerMs) -> timedelta | None:
    is_as_listed = tracked.verdict.is_up and tracked.since_at is None
    began_at = tracked.environment.connected_at if is_as_listed else tracked.lost_at
    return None if began_at is None else span(at - began_at)


Test: TypeAlias = "Callable[[TrackedEnvironment, float], bool]"
"""A test at a moment (server's clock, ms)."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A query as a test, compared by text."""

    query: SafeText
    matches: Test = field(compare=False, repr=False)


EVERYTHING: Final = Matcher(EMPTY, lambda _tracked, _now: True)

MatcherOf: TypeAlias = Callable[[str], Matcher | None]
"""Parser of queries; None for an invalid query."""
