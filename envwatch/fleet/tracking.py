"""One environment under watch: its newest row, the verdict, and what the next verdict needs to know of the past.

Pure. `observed` takes a row of a complete listing; `events_between` says what that changed. Which listing is believed,
and what many rows have in common, is `fleet`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from envwatch.fleet.clock_check import LastHeartbeat, SkewCheck
from envwatch.fleet.diff import changes, is_new_connection, is_new_process
from envwatch.fleet.events import NO_PROFILE, Event, EventState, Kind
from envwatch.fleet.flapping import is_flapping
from envwatch.fleet.plausibility import without_impossible
from envwatch.fleet.presence import DISCONNECTED, GONE, HEARTBEAT_LOST, UNTIMED, Presence, Reason, Verdict
from envwatch.model import limits
from envwatch.model.text import Clean
from envwatch.model.times import span

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from envwatch.fleet.presence import PresenceRule
    from envwatch.model.environment import Environment

EnvironmentKey: TypeAlias = tuple[Clean, Clean]
"""Profile and id."""

_PROBLEMS = frozenset({Presence.OFFLINE, Presence.LATE})
_NO_SKEW_CHECK = SkewCheck()
_CHURN_MS = limits.CHURN_WINDOW / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedEnvironment:
    """What is known of one environment."""

    environment: Environment
    verdict: Verdict
    profile: Clean = NO_PROFILE
    """Under which profile it is listed; empty where only one is watched."""
    since_at: float | None = None
    """When it was seen to come or go, server's clock in ms; None while it is as it was when it was first seen."""
    changed_in: int = 0
    """Number of the listing that last changed its presence or connection, or brought it; 0 for none."""
    skew_check: SkewCheck = _NO_SKEW_CHECK
    """What the listings tell of its heartbeat's age, whatever a wall clock says."""
    clock_suspect: bool = False
    """Its heartbeat's age is uncertain: the witness rules out what the server's clock says, and judges instead; or its
    time cannot be true; or the server's `Date` is not believed."""
    is_untimed: bool = False
    """Its heartbeat's time cannot be true, so that the verdict is the one before it, and shown as unknown."""
    unlisted: LastHeartbeat | None = None
    """Its newest heartbeat, while the listings do not hold it."""
    absent: int = 0
    """Complete listings in a row that lacked it."""
    transitions: tuple[float, ...] = ()
    """When it changed its presence or its connection within the last hour, server's clock in ms."""
    is_flapping: bool = False

    def is_fresh(self, listings: int) -> bool:
        """Whether it came, went or reconnected in one of the last listings, of which there were so many in all."""
        return self.changed_in > 0 and listings - self.changed_in < limits.FRESH_LISTINGS

    @property
    def key(self) -> EnvironmentKey:
        """What tells it from all others: two profiles may list one environment, and two servers may use one id."""
        return (self.profile, self.environment.id)

    @property
    def presence(self) -> Presence:
        """The presence of the verdict."""
        return self.verdict.presence

    @property
    def advanced_at(self) -> float | None:
        """Monotonic seconds when the heartbeat was last seen to advance; None while nobody has seen it."""
        return None if self.skew_check.after is None else self.skew_check.since / 1000

    @property
    def quiet_at(self) -> float:
        """The last sign of life, server's clock in ms."""
        return self.environment.last_sign_at

    @property
    def lost_at(self) -> float:
        """When it went down, server's clock in ms; meaningful only while it is down."""
        return self.quiet_at if self.since_at is None else self.since_at

    @property
    def up_since(self) -> float | None:
        """When it connected, server's clock in ms; None while it is down, though its row keeps `connectedAt`."""
        return self.environment.connected_at if self.verdict.is_up else None

    @property
    def is_problem(self) -> bool:
        """Whether a person should look at it."""
        return (self.verdict.presence in _PROBLEMS and self.verdict is not UNTIMED) or self.is_flapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingContext:
    """What holds for all rows of one listing."""

    number: int
    monotonic: float
    """When it was asked for, in ms."""
    gap: float
    """Milliseconds since the listing before it was asked for, by whichever clock says more: one may sleep."""
    elapsed: float
    """Milliseconds since the first listing, all gaps taken together."""
    beats_count: bool = True
    """False while the platform's heartbeats stand still: then silence proves nothing."""
    held: int = 0
    """Listings right before it that were not believed until now."""
    missing_while_held: Collection[Clean] = ()
    """Ids of rows that all of those lacked."""
    in_doubt: Collection[Clean] = ()
    """Ids of rows that it lacks and that may exist all the same."""
    unreadable: Collection[Clean] = ()
    """Ids of rows that it holds and that could not be read."""
    profile: Clean = NO_PROFILE
    """Whose it is; empty where only one is watched."""
    latest: float = inf
    """The latest instant that a row can hold, server's clock in ms; see `plausible`."""
    is_date_wrong: bool = False
    """Whether the server's `Date` contradicts every heartbeat: rows are judged by the clock before it, and doubted."""


def observed(
    tracked: TrackedEnvironment | None, environment: Environment, at: float, listing: ListingContext, rule: PresenceRule
) -> TrackedEnvironment:
    """Return the watch after its row was listed.

    Args:
        tracked: the watch before; None for an environment never seen.
        environment: the row.
        at: the moment for which the row speaks, server's clock in ms.
        listing: the listing that holds it.
        rule: the rule.
    """
    if tracked is None:
        return _first_observed(environment, at, listing, rule)
    before = tracked.environment
    age = _age(environment, at)
    if (
        (environment is before or environment == before)
        and not tracked.transitions
        and not tracked.clock_suspect
        and not tracked.absent
        and not listing.is_date_wrong
    ):
        verdict = rule.verdict_by_age(environment, age)
        skew_check = tracked.skew_check
        # `contradicts`, spelt out: this is asked for every row of every listing.
        if verdict is tracked.verdict and (
            age is None or (at - listing.monotonic >= skew_check.lowest and at - listing.elapsed <= skew_check.highest)
        ):
            return tracked
    newest = _newest_beat(tracked, listing)
    environment, is_untimed = _timed(environment, before, listing)
    environment = _with_newest_beat(tracked, environment)
    age = _age(environment, at)
    skew_check = _next_skew_check(tracked.skew_check, newest, environment, listing)
    clock_suspect = age is not None and skew_check.contradicts(at, listing.monotonic, listing.elapsed)
    verdict = rule.verdict_by_age(environment, skew_check.least(listing.monotonic) if clock_suspect else age)
    if clock_suspect and tracked.verdict is HEARTBEAT_LOST and skew_check is tracked.skew_check:
        verdict = HEARTBEAT_LOST  # No heartbeat grows younger, and the witness may know it for seconds only.
    if is_untimed or (verdict is HEARTBEAT_LOST and tracked.verdict.is_up and not listing.beats_count):
        verdict = tracked.verdict
    turned = _has_turned(tracked.verdict, verdict)
    has_shifted = turned or is_new_connection(before, environment)
    transitions = tuple([transition for transition in tracked.transitions if at - transition < _CHURN_MS])
    if has_shifted:
        transitions = (*transitions, at)
    return TrackedEnvironment(
        environment=environment,
        verdict=verdict,
        profile=tracked.profile,
        since_at=at if turned else tracked.since_at,
        changed_in=listing.number if has_shifted else tracked.changed_in,
        skew_check=skew_check,
        clock_suspect=clock_suspect or is_untimed or (listing.is_date_wrong and age is not None),
        is_untimed=is_untimed,
        unlisted=newest if age is None else None,
        transitions=transitions,
        is_flapping=bool(transitions) and is_flapping(transitions, at, was_flapping=tracked.is_flapping),
    )


def marked_absent(tracked: TrackedEnvironment, at: float, listing: ListingContext) -> TrackedEnvironment:
    """Return the watch after a complete listing lacked its row: two in a row prove it gone, unless that is in doubt."""
    if tracked.verdict is GONE:
        return tracked
    held = listing.held if tracked.environment.id in listing.missing_while_held else 0
    missing = replace(tracked, absent=tracked.absent + 1 + held, unlisted=_newest_beat(tracked, listing))
    if missing.absent < limits.LISTINGS_TO_GONE or tracked.environment.id in listing.in_doubt:
        return missing
    return replace(missing, verdict=GONE, since_at=at, changed_in=listing.number, is_flapping=False)


def unread(tracked: TrackedEnvironment) -> TrackedEnvironment:
    """Return the watch after a listing held its row, but nothing of it could be read except for the id."""
    return replace(tracked, absent=0) if tracked.absent and tracked.verdict is not GONE else tracked


def missed_while_held(tracked: TrackedEnvironment, listing: ListingContext) -> TrackedEnvironment:
    """Return the watch after a listing lacked its row and is not believed in that: only its heartbeat is remembered."""
    unlisted = _newest_beat(tracked, listing)
    return tracked if unlisted == tracked.unlisted else replace(tracked, unlisted=unlisted)


def events_between(before: TrackedEnvironment | None, after: TrackedEnvironment, at: float) -> Iterator[Event]:
    """Yield what happened to one environment between two listings.

    Args:
        before: None for an environment that was not known.
        after: the watch now.
        at: the moment for which the newer listing speaks, server's clock in ms.
    """
    environment = after.environment
    then = EventState(environment, after.verdict, after.is_flapping, after.clock_suspect)
    event = partial(Event, at=at, profile=after.profile, id=environment.id, name=environment.name, then=then)
    if before is None:
        yield event(kind=Kind.APPEARED, after=event_presence(after), reason=_reason(after, at))
        return
    was, now = event_presence(before), event_presence(after)
    reconnected = is_new_connection(before.environment, environment)
    if before.verdict is GONE and after.verdict is not GONE:
        yield event(kind=Kind.RETURNED, before=was, after=now, reason=_reason(after, at), lasted=_lasted(before, at))
    elif was != now and _is_news(before.verdict, after.verdict):
        kind = {"online": Kind.ONLINE, "offline": Kind.OFFLINE, "gone": Kind.GONE}[now]
        if kind is Kind.OFFLINE:
            then = then._replace(environment=before.environment)
        lasted = _lasted(before, at)
        yield event(kind=kind, before=was, after=now, reason=_reason(after, at), lasted=lasted, then=then)
    elif after.verdict.is_up and reconnected:
        kind = Kind.RESTARTED if is_new_process(before.environment, environment) else Kind.RECONNECTED
        yield event(
            kind=kind,
            before=before.environment.connection_id,
            after=environment.connection_id,
            lasted=_lasted(before, at),
        )
    if environment is not before.environment:
        for change in changes(before.environment, environment):
            yield event(kind=change.kind, field=change.field, before=change.before, after=change.after)
    if before.is_flapping != after.is_flapping and after.verdict is not GONE:
        yield event(kind=Kind.FLAPPING if after.is_flapping else Kind.STEADY)


def _first_observed(
    environment: Environment, at: float, listing: ListingContext, rule: PresenceRule
) -> TrackedEnvironment:
    environment, is_untimed = _timed(environment, None, listing)
    age = _age(environment, at)
    skew_check = _next_skew_check(_NO_SKEW_CHECK, None, environment, listing)
    clock_suspect = age is not None and skew_check.contradicts(at, listing.monotonic, listing.elapsed)
    verdict = rule.verdict_by_age(environment, skew_check.least(listing.monotonic) if clock_suspect else age)
    return TrackedEnvironment(
        environment=environment,
        verdict=UNTIMED if is_untimed else verdict,
        profile=listing.profile,
        changed_in=0 if listing.number == 1 else listing.number,
        skew_check=skew_check,
        clock_suspect=clock_suspect or is_untimed or (listing.is_date_wrong and age is not None),
        is_untimed=is_untimed,
    )


def _timed(environment: Environment, before: Environment | None, listing: ListingContext) -> tuple[Environment, bool]:
    """Return a row without instants that cannot be true, and whether its liveness hangs on one of those."""
    timed = without_impossible(environment, before, listing.latest)
    has_lost_beat = timed.last_heartbeat_at is None and environment.last_heartbeat_at is not None
    return timed, has_lost_beat and bool(environment.connection_id)


def _has_turned(before: Verdict, after: Verdict) -> bool:
    """Whether a listed row came or went."""
    has_come_or_gone = before.is_up != after.is_up or (after is not before and (before is GONE or before is UNTIMED))
    return has_come_or_gone and _is_news(before, after)


def _is_news(before: Verdict, after: Verdict) -> bool:
    """Whether a verdict can be an event: the first one on a row that could not be judged until now is none."""
    return before is not UNTIMED or after is DISCONNECTED or after is GONE


def _age(environment: Environment, at: float) -> float | None:
    """Return how old the heartbeat of a live connection is by the server's clock, in ms; None without either."""
    beat = environment.last_heartbeat_at
    return None if beat is None or not environment.connection_id else at - beat


def _newest_beat(tracked: TrackedEnvironment, listing: ListingContext) -> LastHeartbeat | None:
    """Return the newest heartbeat known before a listing; None where there was none over a connection."""
    environment = tracked.environment
    if tracked.unlisted is not None or environment.last_heartbeat_at is None or not environment.connection_id:
        return tracked.unlisted
    return LastHeartbeat(environment.connection_id, environment.last_heartbeat_at, listing.elapsed - listing.gap)


def _with_newest_beat(tracked: TrackedEnvironment, after: Environment) -> Environment:
    """Return the row with a heartbeat that did not go backwards on one and the same connection, told or not told."""
    new = after.last_heartbeat_at
    if new is None:
        return after
    before, unlisted = tracked.environment, tracked.unlisted
    old = before.last_heartbeat_at if before.connection_id == after.connection_id else None
    if unlisted is not None and unlisted.connection_id == after.connection_id:
        old = unlisted.at if old is None else max(old, unlisted.at)
    return after if old is None or old <= new else replace(after, last_heartbeat_at=old)


def _next_skew_check(
    skew_check: SkewCheck, newest: LastHeartbeat | None, environment: Environment, listing: ListingContext
) -> SkewCheck:
    """Return the witness of the heartbeat that a row has now, given the newest that was known before."""
    beat = environment.last_heartbeat_at
    if beat is None or not environment.connection_id or (newest is not None and beat == newest.at):
        return skew_check
    if newest is None or beat < newest.at:
        return SkewCheck.of(beat, listing.monotonic)  # An older one came with a new connection: nobody knows when.
    return SkewCheck.of(beat, listing.monotonic, newest.listed_at)


def event_presence(tracked: TrackedEnvironment) -> Clean:
    """Return the presence as events speak of it: late is online."""
    if tracked.verdict is UNTIMED:
        return Clean("unknown")
    return Clean("online" if tracked.verdict.is_up else tracked.presence.value)


def _reason(tracked: TrackedEnvironment, at: float) -> Clean | None:
    reason = tracked.verdict.reason
    if (
        reason is Reason.HEARTBEAT_LOST
        and tracked.environment.last_heartbeat_at is not None
        and not tracked.clock_suspect
    ):
        return Clean(f"{reason} ({span(at - tracked.environment.last_heartbeat_at).total_seconds():.0f} s)")
    return None if tracked.verdict.is_up else Clean(reason)


def _lasted(tracked: TrackedEnvironment, at: float) -> timedelta | None:
    """Return how long the presence of `tracked` had lasted at `at`: since we saw it begin, else as its row tells."""
    environment = tracked.environment
    if tracked.since_at is not None:
        return span(at - tracked.since_at)
    began_at = environment.connected_at if tracked.verdict.is_up else environment.last_sign_at
    return None if began_at is None else span(at - began_at)
