"""One environment under watch: its newest row, the verdict, and what the next verdict needs to know of the past.

Pure. `sighted` takes a row of a complete listing; `events_between` says what that changed. Which listing is believed,
and what many rows have in common, is `fleet`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from envwatch import rules
from envwatch.diff import changes, is_new_connection, is_new_process
from envwatch.events import SOLE, Event, Kind, Then
from envwatch.flapping import is_flapping
from envwatch.presence import GONE, HEARTBEAT_LOST, Presence, Reason, Verdict, span
from envwatch.text import Clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.models import Environment
    from envwatch.presence import Judge

WatchKey: TypeAlias = tuple[Clean, Clean]
"""Profile and id."""

_PROBLEMS = frozenset({Presence.OFFLINE, Presence.LATE})
_CHURN_MS = rules.CHURN_WINDOW / timedelta(milliseconds=1)
_DISAGREES_MS = rules.WITNESS_DISAGREES_FROM / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of one environment."""

    environment: Environment
    verdict: Verdict
    profile: Clean = SOLE
    """Under which profile it is listed; empty where only one is watched."""
    since_at: float | None = None
    """When it was seen to come or go, server's clock in ms; None while it is as it was when it was first seen."""
    changed_in: int = 0
    """Number of the listing that last changed its presence or connection, or brought it; 0 for none."""
    advanced_at: float | None = None
    """Monotonic seconds when the heartbeat was last seen to advance: a witness that needs no wall clock."""
    is_doubted: bool = False
    """When it advanced, its heartbeat was not as fresh as it must be: the clocks contradict each other."""
    absent: int = 0
    """Complete listings in a row that lacked it."""
    shifts: tuple[float, ...] = ()
    """When it changed its presence or its connection within the last hour, server's clock in ms."""
    is_flapping: bool = False

    def is_fresh(self, listings: int) -> bool:
        """Whether it came, went or reconnected in one of the last listings, of which there were so many in all."""
        return self.changed_in > 0 and listings - self.changed_in < rules.FRESH_LISTINGS

    @property
    def key(self) -> WatchKey:
        """What tells it from all others: two profiles may list one environment, and two servers may use one id."""
        return (self.profile, self.environment.id)

    @property
    def presence(self) -> Presence:
        """The presence of the verdict."""
        return self.verdict.presence

    @property
    def is_problem(self) -> bool:
        """Whether a person should look at it."""
        return self.verdict.presence in _PROBLEMS or self.is_flapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What holds for all rows of one listing."""

    number: int
    monotonic: float
    """When it was asked for, in seconds."""
    gap: float
    """Seconds since the listing before it was asked for, by whichever clock says more: one may sleep."""
    beats_count: bool = True
    """False while the platform's heartbeats stand still: then silence proves nothing."""
    held: int = 0
    """Listings right before it that lacked the same rows and were not believed until now."""
    profile: Clean = SOLE
    """Whose it is; empty where only one is watched."""


def sighted(watch: Watch | None, environment: Environment, at: float, listing: Listing, judge: Judge) -> Watch:
    """Return the watch after its row was listed.

    Args:
        watch: the watch before; None for an environment never seen.
        environment: the row.
        at: the moment for which the row speaks, server's clock in ms.
        listing: the listing that holds it.
        judge: the rule.
    """
    if watch is None:
        return Watch(
            environment=environment,
            verdict=judge.verdict(environment, at),
            profile=listing.profile,
            changed_in=0 if listing.number == 1 else listing.number,
        )
    before = watch.environment
    if (
        (environment is before or environment == before)
        and not watch.shifts
        and not watch.is_doubted
        and not watch.absent
    ):
        verdict = judge.verdict(environment, at)
        if verdict is watch.verdict:
            return watch
    environment = _with_newest_beat(before, environment)
    beat, beat_before = environment.last_heartbeat_at, before.last_heartbeat_at
    advanced_at, is_doubted = watch.advanced_at, watch.is_doubted
    if beat is not None and (beat_before is None or beat > beat_before):
        advanced_at = listing.monotonic
        # How fresh it must be is known only if the listing before showed the row with its old heartbeat.
        if beat_before is not None and not watch.absent:
            is_doubted = not -_DISAGREES_MS <= at - beat <= listing.gap * 1000 + _DISAGREES_MS
    if is_doubted and advanced_at is not None and beat is not None:
        verdict = judge.verdict_by_age(environment, (listing.monotonic - advanced_at) * 1000)
    else:
        verdict = judge.verdict(environment, at)
    if verdict is HEARTBEAT_LOST and watch.verdict.is_up and not listing.beats_count:
        verdict = watch.verdict
    turned = verdict.is_up != watch.verdict.is_up or watch.verdict is GONE
    has_shifted = turned or is_new_connection(before, environment)
    shifts = tuple([shift for shift in watch.shifts if at - shift < _CHURN_MS])
    if has_shifted:
        shifts = (*shifts, at)
    return Watch(
        environment=environment,
        verdict=verdict,
        profile=watch.profile,
        since_at=at if turned else watch.since_at,
        changed_in=listing.number if has_shifted else watch.changed_in,
        advanced_at=advanced_at,
        is_doubted=is_doubted,
        shifts=shifts,
        is_flapping=bool(shifts) and is_flapping(shifts, at, was_flapping=watch.is_flapping),
    )


def missed(watch: Watch, at: float, listing: Listing) -> Watch:
    """Return the watch after a complete listing lacked its row: one may have shifted, two in a row prove it gone."""
    if watch.verdict is GONE:
        return watch
    absent = watch.absent + 1 + listing.held
    if absent < rules.LISTINGS_TO_GONE:
        return replace(watch, absent=absent)
    return replace(watch, absent=absent, verdict=GONE, since_at=at, changed_in=listing.number, is_flapping=False)


def events_between(before: Watch | None, after: Watch, at: float) -> Iterator[Event]:
    """Yield what happened to one environment between two listings.

    Args:
        before: None for an environment that was not known.
        after: the watch now.
        at: the moment for which the newer listing speaks, server's clock in ms.
    """
    environment = after.environment
    then = Then(environment, after.verdict, after.is_flapping, after.is_doubted)
    event = partial(Event, at=at, profile=after.profile, id=environment.id, name=environment.name, then=then)
    if before is None:
        yield event(kind=Kind.APPEARED, after=side(after), reason=_reason(after, at))
        return
    was, now = side(before), side(after)
    reconnected = is_new_connection(before.environment, environment)
    if before.verdict is GONE and after.verdict is not GONE:
        yield event(kind=Kind.RETURNED, before=was, after=now, reason=_reason(after, at), lasted=_lasted(before, at))
    elif was != now:
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


def _with_newest_beat(before: Environment, after: Environment) -> Environment:
    """Return the row with a heartbeat that did not go backwards on one and the same connection."""
    old, new = before.last_heartbeat_at, after.last_heartbeat_at
    if old is not None and new is not None and new < old and before.connection_id == after.connection_id:
        return replace(after, last_heartbeat_at=old)
    return after


def side(watch: Watch) -> Clean:
    """Return the presence as events speak of it: late is online."""
    return Clean("online" if watch.verdict.is_up else watch.presence.value)


def _reason(watch: Watch, at: float) -> Clean | None:
    reason = watch.verdict.reason
    if reason is Reason.HEARTBEAT_LOST and watch.environment.last_heartbeat_at is not None:
        return Clean(f"{reason} ({span(at - watch.environment.last_heartbeat_at).total_seconds():.0f} s)")
    return None if watch.verdict.is_up else Clean(reason)


def _lasted(watch: Watch, at: float) -> timedelta | None:
    """Return how long the presence of `watch` had lasted at `at`: since we saw it begin, else as its row tells."""
    environment = watch.environment
    if watch.since_at is not None:
        return span(at - watch.since_at)
    began_at = environment.connected_at if watch.verdict.is_up else environment.last_sign_at
    return None if began_at is None else span(at - began_at)
