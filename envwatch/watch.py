"""One environment under watch: its newest row, the verdict, and what the next verdict needs to know of the past.

Pure. `sighted` takes a row of a complete listing; `events_between` says what that changed. Which listing is believed,
and what many rows have in common, is `fleet`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from envwatch import rules
from envwatch.diff import changes, is_new_connection, is_new_process
from envwatch.events import SOLE, Event, Kind, Then
from envwatch.flapping import is_flapping
from envwatch.plausible import without_impossible
from envwatch.presence import DISCONNECTED, GONE, HEARTBEAT_LOST, UNTIMED, Presence, Reason, Verdict, span
from envwatch.text import Clean
from envwatch.witness import Beat, Witness

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from envwatch.models import Environment
    from envwatch.presence import Judge

WatchKey: TypeAlias = tuple[Clean, Clean]
"""Profile and id."""

_PROBLEMS = frozenset({Presence.OFFLINE, Presence.LATE})
_NO_WITNESS = Witness()
_CHURN_MS = rules.CHURN_WINDOW / timedelta(milliseconds=1)


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
    witness: Witness = _NO_WITNESS
    """What the listings tell of its heartbeat's age, whatever a wall clock says."""
    is_doubted: bool = False
    """Its heartbeat's age is uncertain: the witness rules out what the server's clock says, and judges instead; or its
    time cannot be true; or the server's `Date` is not believed."""
    is_untimed: bool = False
    """Its heartbeat's time cannot be true, so that the verdict is the one before it, and shown as unknown."""
    unlisted: Beat | None = None
    """Its newest heartbeat, while the listings do not hold it."""
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
    def advanced_at(self) -> float | None:
        """Monotonic seconds when the heartbeat was last seen to advance; None while nobody has seen it."""
        return None if self.witness.after is None else self.witness.since / 1000

    @property
    def is_problem(self) -> bool:
        """Whether a person should look at it."""
        return (self.verdict.presence in _PROBLEMS and self.verdict is not UNTIMED) or self.is_flapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
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
    profile: Clean = SOLE
    """Whose it is; empty where only one is watched."""
    latest: float = inf
    """The latest instant that a row can hold, server's clock in ms; see `plausible`."""
    is_date_wrong: bool = False
    """Whether the server's `Date` contradicts every heartbeat: rows are judged by the clock before it, and doubted."""


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
        return _first_sighted(environment, at, listing, judge)
    before = watch.environment
    age = _age(environment, at)
    if (
        (environment is before or environment == before)
        and not watch.shifts
        and not watch.is_doubted
        and not watch.absent
        and not listing.is_date_wrong
    ):
        verdict = judge.verdict_by_age(environment, age)
        witness = watch.witness
        # `contradicts`, spelt out: this is asked for every row of every listing.
        if verdict is watch.verdict and (
            age is None or (at - listing.monotonic >= witness.lowest and at - listing.elapsed <= witness.highest)
        ):
            return watch
    newest = _newest_beat(watch, listing)
    environment, is_untimed = _timed(environment, before, listing)
    environment = _with_newest_beat(watch, environment)
    age = _age(environment, at)
    witness = _next_witness(watch.witness, newest, environment, listing)
    is_doubted = age is not None and witness.contradicts(at, listing.monotonic, listing.elapsed)
    verdict = judge.verdict_by_age(environment, witness.least(listing.monotonic) if is_doubted else age)
    if is_doubted and watch.verdict is HEARTBEAT_LOST and witness is watch.witness:
        verdict = HEARTBEAT_LOST  # No heartbeat grows younger, and the witness may know it for seconds only.
    if is_untimed or (verdict is HEARTBEAT_LOST and watch.verdict.is_up and not listing.beats_count):
        verdict = watch.verdict
    turned = _has_turned(watch.verdict, verdict)
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
        witness=witness,
        is_doubted=is_doubted or is_untimed or (listing.is_date_wrong and age is not None),
        is_untimed=is_untimed,
        unlisted=newest if age is None else None,
        shifts=shifts,
        is_flapping=bool(shifts) and is_flapping(shifts, at, was_flapping=watch.is_flapping),
    )


def missed(watch: Watch, at: float, listing: Listing) -> Watch:
    """Return the watch after a complete listing lacked its row: two in a row prove it gone, unless that is in doubt."""
    if watch.verdict is GONE:
        return watch
    held = listing.held if watch.environment.id in listing.missing_while_held else 0
    missing = replace(watch, absent=watch.absent + 1 + held, unlisted=_newest_beat(watch, listing))
    if missing.absent < rules.LISTINGS_TO_GONE or watch.environment.id in listing.in_doubt:
        return missing
    return replace(missing, verdict=GONE, since_at=at, changed_in=listing.number, is_flapping=False)


def unread(watch: Watch) -> Watch:
    """Return the watch after a listing held its row, but nothing of it could be read except for the id."""
    return replace(watch, absent=0) if watch.absent and watch.verdict is not GONE else watch


def missed_while_held(watch: Watch, listing: Listing) -> Watch:
    """Return the watch after a listing lacked its row and is not believed in that: only its heartbeat is remembered."""
    unlisted = _newest_beat(watch, listing)
    return watch if unlisted == watch.unlisted else replace(watch, unlisted=unlisted)


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


def _first_sighted(environment: Environment, at: float, listing: Listing, judge: Judge) -> Watch:
    environment, is_untimed = _timed(environment, None, listing)
    age = _age(environment, at)
    witness = _next_witness(_NO_WITNESS, None, environment, listing)
    is_doubted = age is not None and witness.contradicts(at, listing.monotonic, listing.elapsed)
    verdict = judge.verdict_by_age(environment, witness.least(listing.monotonic) if is_doubted else age)
    return Watch(
        environment=environment,
        verdict=UNTIMED if is_untimed else verdict,
        profile=listing.profile,
        changed_in=0 if listing.number == 1 else listing.number,
        witness=witness,
        is_doubted=is_doubted or is_untimed or (listing.is_date_wrong and age is not None),
        is_untimed=is_untimed,
    )


def _timed(environment: Environment, before: Environment | None, listing: Listing) -> tuple[Environment, bool]:
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


def _newest_beat(watch: Watch, listing: Listing) -> Beat | None:
    """Return the newest heartbeat known before a listing; None where there was none over a connection."""
    environment = watch.environment
    if watch.unlisted is not None or environment.last_heartbeat_at is None or not environment.connection_id:
        return watch.unlisted
    return Beat(environment.connection_id, environment.last_heartbeat_at, listing.elapsed - listing.gap)


def _with_newest_beat(watch: Watch, after: Environment) -> Environment:
    """Return the row with a heartbeat that did not go backwards on one and the same connection, told or not told."""
    new = after.last_heartbeat_at
    if new is None:
        return after
    before, unlisted = watch.environment, watch.unlisted
    old = before.last_heartbeat_at if before.connection_id == after.connection_id else None
    if unlisted is not None and unlisted.connection_id == after.connection_id:
        old = unlisted.at if old is None else max(old, unlisted.at)
    return after if old is None or old <= new else replace(after, last_heartbeat_at=old)


def _next_witness(witness: Witness, newest: Beat | None, environment: Environment, listing: Listing) -> Witness:
    """Return the witness of the heartbeat that a row has now, given the newest that was known before."""
    beat = environment.last_heartbeat_at
    if beat is None or not environment.connection_id or (newest is not None and beat == newest.at):
        return witness
    if newest is None or beat < newest.at:
        return Witness.of(beat, listing.monotonic)  # An older one came with a new connection: nobody knows when.
    return Witness.of(beat, listing.monotonic, newest.listed_at)


def side(watch: Watch) -> Clean:
    """Return the presence as events speak of it: late is online."""
    if watch.verdict is UNTIMED:
        return Clean("unknown")
    return Clean("online" if watch.verdict.is_up else watch.presence.value)


def _reason(watch: Watch, at: float) -> Clean | None:
    reason = watch.verdict.reason
    if reason is Reason.HEARTBEAT_LOST and watch.environment.last_heartbeat_at is not None and not watch.is_doubted:
        return Clean(f"{reason} ({span(at - watch.environment.last_heartbeat_at).total_seconds():.0f} s)")
    return None if watch.verdict.is_up else Clean(reason)


def _lasted(watch: Watch, at: float) -> timedelta | None:
    """Return how long the presence of `watch` had lasted at `at`: since we saw it begin, else as its row tells."""
    environment = watch.environment
    if watch.since_at is not None:
        return span(at - watch.since_at)
    began_at = environment.connected_at if watch.verdict.is_up else environment.last_sign_at
    return None if began_at is None else span(at - began_at)
