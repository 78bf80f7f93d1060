"""A profile's state, and the fleet: the states of all profiles.

Only a complete, fresh, believed listing changes verdicts. An expected environment that was never listed is a row with
only a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet import tracking
from envwatch.fleet.anomalies import (
    Acceptance,
    QuarantinedListing,
    StallDetector,
    accept_listing,
    in_groups,
    still_listed,
    while_not_running,
)
from envwatch.fleet.events import (
    BY_ANY_LISTING,
    NO_PERIODS,
    NO_PROFILE,
    Event,
    Kind,
    Periods,
    begun,
    blind_after,
    ended,
    woken,
)
from envwatch.fleet.last_run import NO_RUN, LastRun, without_clocks
from envwatch.fleet.plausibility import (
    IMPOSSIBLE_TIMES,
    ClockFault,
    believed_clock,
    contradiction,
    date_fault,
    latest_possible,
)
from envwatch.fleet.presence import GONE, MISSING, NEVER_LISTED, Presence, PresenceRule
from envwatch.fleet.replacement import RuleInputs, keeps_identity, named_by_device, renamed_events, with_replacements
from envwatch.fleet.tracking import (
    RESTART_MEMORY_MS,
    SAME_INSTANT_MS,
    Environments,
    ListingContext,
    TrackedEnvironment,
    turn,
)
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerClock, ServerMs, WallMs
from envwatch.model.environment import NEVER, Environment
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, Outcome, Slept, Snapshot
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, span
from envwatch.model.versions import newest_version

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping

    from envwatch.fleet.tracking import EnvironmentKey


GONE_KEPT_MS: Final = limits.GONE_KEPT / MS


def next_environments(
    old: Environments,
    rows: Iterable[tuple[Environment, ServerMs]],
    at: ServerMs,
    listing: ListingContext,
    acceptance: Acceptance,
) -> tuple[Environments, list[Event], bool]:
    """Return the environments after a listing, the events, and whether a row's identity changed.

    A row of a baseline gives no event unless the last run knew the row.
    """
    environments: dict[SafeText, TrackedEnvironment] = {}
    events: list[Event] = []
    has_moved_identity = False
    for environment, row_at in rows:
        id_ = environment.id
        if id_ in environments:
            continue
        before = old.get(id_)
        tracked = tracking.observed(before, environment, row_at, listing)
        environments[id_] = tracked
        if tracked is before or (before is None and listing.is_baseline):
            continue
        events += tracking.events_between(before, tracked, row_at)
        if before is not None and not before.verdict.is_absent and id_ not in listing.unseen:
            has_moved_identity |= not keeps_identity(before.environment, tracked.environment)
    for id_, before in old.items():
        if id_ in environments:
            continue
        tracked = _not_listed(before, at, listing, acceptance)
        if tracked is not before:
            events += tracking.events_between(before, tracked, at)
        gone_at = at if tracked.since_at is None else tracked.since_at
        if id_ in listing.unseen:
            gone_at = min(gone_at, listing.looked_at)
        if tracked.presence is not Presence.GONE or id_ in listing.kept or at - gone_at < GONE_KEPT_MS:
            environments[id_] = tracked
    return environments, events, has_moved_identity


def _not_listed(
    before: TrackedEnvironment, at: ServerMs, listing: ListingContext, acceptance: Acceptance
) -> TrackedEnvironment:
    id_ = before.environment.id
    if id_ in listing.unreadable:
        return tracking.unread(before)
    is_believed = id_ in acceptance.believed_absences
    if acceptance.quarantine is not None and not is_believed:
        return tracking.missed_while_quarantined(before, listing)
    quarantined = acceptance.listings_quarantined if is_believed else 0
    return tracking.marked_absent(before, at, listing, quarantined=quarantined)


def are_of_one_account(one: Iterable[Environment], other: Iterable[Environment]) -> bool:
    """Whether two listings can be of the same account: organizations overlap, or a listing names none."""
    old, new = ({environment.organization_id for environment in rows} - {EMPTY} for rows in (one, other))
    return not old or not new or not old.isdisjoint(new)


def missing_id(expected: SafeText) -> SafeText:
    """Return the row id of an expected environment never listed."""
    return composed(f"expected {expected}")  # no id of the API has a space


def with_inventory(
    expect: Iterable[SafeText], environments: Environments, listing: ListingContext, at: ServerMs, *, is_proof: bool
) -> Environments:
    """Return the environments after a believed listing, with missing environments.

    The first listing is a silent baseline. Without proof of absences, no further environment becomes missing.
    """
    expected = tuple(dict.fromkeys(expect))
    if not expected:
        return environments
    following = dict(environments)
    missing = _missing(environments.values(), expected)
    for id_, tracked in environments.items():
        if not tracked.verdict.is_missing or id_ in missing:
            continue
        if tracked.verdict == NEVER_LISTED:
            del following[id_]
        else:
            following[id_] = replace(tracked, verdict=GONE)
    for id_, name in missing.items() if is_proof else ():
        known = environments.get(id_)
        if known is None:
            following[id_] = TrackedEnvironment(
                environment=Environment.unlisted(id_, name),
                verdict=NEVER_LISTED,
                profile=listing.profile,
                since_at=at,
                last_change=None if listing.is_baseline else turn(NEVER_LISTED, at),
            )
        elif known.verdict == GONE and at - known.lost_at >= limits.MISSING_AFTER / MS:
            following[id_] = replace(known, verdict=MISSING, replaced_by=None, replaced_by_name=None)
    return following


def missing_events(before: Environments, after: Environments, at: ServerMs) -> Iterator[Event]:
    """Yield an event for each newly missing environment. A gone one has its event already."""
    for id_, tracked in after.items():
        if tracked.verdict.is_missing and id_ not in before:
            yield tracked.event(Kind.OFFLINE, at, after=clean(tracked.presence), reason=clean(tracked.verdict.reason))


def _missing(environments: Iterable[TrackedEnvironment], expected: Iterable[SafeText]) -> Mapping[SafeText, SafeText]:
    present: set[SafeText] = set()
    gone: dict[SafeText, TrackedEnvironment] = {}
    for tracked in environments:
        names = (tracked.environment.name, tracked.environment.device_id)
        if not tracked.verdict.is_absent:
            present.update(names)
        elif tracked.verdict != NEVER_LISTED:
            gone |= {name: tracked for name in names if name not in gone or gone[name].lost_at < tracked.lost_at}
    wanted = (name for name in expected if name not in present)
    return {gone[name].environment.id if name in gone else missing_id(name): name for name in wanted}


class Freshness(StrEnum):
    """Trust in the data, by age."""

    WAITING = "waiting"
    LIVE = "live"
    STALE = "stale"
    BLIND = "blind"
    """The data is too old, and rows read unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileState:
    """The state of a profile."""

    limits: Limits = field(default_factory=Limits)
    profile: SafeText = NO_PROFILE
    profile_name: SafeText = NO_PROFILE
    """Set even if the only profile's key is `NO_PROFILE`."""
    server: SafeText = EMPTY
    """Host, port and path; empty if unknown, as in a recording."""
    expect: tuple[SafeText, ...] = ()
    environments: Mapping[SafeText, TrackedEnvironment] = field(default_factory=dict)
    """Rows in the listing's order, then absent rows."""
    listings: int = 0
    began_at: ServerMs | None = None
    listed: Clocks | None = None
    elapsed_ms: float = 0.0
    """Sum of the gaps between listings, each by the clock that advanced more."""
    newest: SafeText | None = None
    clock: ServerClock = field(default_factory=ServerClock)
    date_error: float | None = None
    """Lead of the newest `Date` over the believed clock in ms; None for a believed `Date`."""
    interval: timedelta = timedelta()
    """The longest poll interval since the newest outcome."""
    failure: Failed | None = None
    failures: int = 0
    quarantine: QuarantinedListing | None = None
    stall_detector: StallDetector = field(default_factory=StallDetector)
    snapshot: Snapshot | None = None
    """The newest believed listing, without rows."""
    unseen_since: Clocks | None = None
    """The clocks before a sleep, until the next listing."""
    last_up: Clocks | None = None
    """Request of the newest listing with an environment up."""
    has_moved_identity: bool = False
    """Whether a row's identity changed, which turns off the rule of `replacement`."""
    periods: Periods = field(default_factory=lambda: NO_PERIODS)
    last_run: LastRun = NO_RUN
    """The run before, until all its rows are settled. Not recorded."""

    def apply(
        self, outcome: Outcome, kept: Collection[SafeText] = frozenset()
    ) -> tuple[ProfileState, tuple[Event, ...]]:
        """Return the state after a poll, and the events, oldest first.

        `kept` are the ids of rows with an open loss, which stay known however long gone.
        """
        match outcome:
            case Listed():
                awake, woken_events = _awake(self, outcome)
                blind, noticed = awake.with_interval(outcome.interval).tick(outcome.started)
                profile_state, events = _after_listing(replace(awake, periods=blind.periods), outcome, kept)
                return profile_state, (*woken_events, *noticed, *events)
            case Failed():
                return _after_failure(self, outcome)
            case Slept():
                unseen_since = self.unseen_since or outcome.last_awake
                asleep = replace(self, clock=ServerClock(), date_error=None, unseen_since=unseen_since)
                if Kind.SLEPT in self.periods:
                    return asleep, ()
                since, at = self.clock.server_time(outcome.last_awake.wall), self.clock.server_time(outcome.awake.wall)
                slept = Event(kind=Kind.SLEPT, at=at, profile=self.profile, since=since, lasted=span(at - since))
                if not self.clock.is_known or self.unseen_since is not None:
                    # Without a `Date`, or after a quarantined listing, only the wall clock measures the sleep.
                    return asleep, (slept,)
                # Only the next listing's `Date` tells a sleep from a set wall clock, so the event waits.
                return replace(asleep, periods=begun(self.periods, slept)[0]), ()

    def resuming(self, last_run: LastRun) -> ProfileState:
        """Return the state with what an earlier run saw last, to be compared with the next listing.

        A process that takes over from another has listed rows itself. It knows them better, except for a row that was
        off from its first listing on, and up in the other process: such a row is compared again.
        """
        missing = {missing_id(name) for name in self.expect}
        rows = {
            id_: without_clocks(tracked, self.profile)
            for id_, tracked in last_run.rows.items()
            if tracked.verdict != NEVER_LISTED or id_ in missing
        }
        ids_up = last_run.ids_up
        environments = {
            id_: tracked
            for id_, tracked in self.environments.items()
            if not (id_ in ids_up and tracked.verdict.is_listed_off and tracked.since_at is None)
        }
        following = replace(
            self,
            environments=environments,
            last_run=last_run._replace(rows=rows),
            has_moved_identity=self.has_moved_identity or last_run.has_moved_identity,
        )
        if self.listed is None and last_run.is_stalled:
            following = replace(following, stall_detector=StallDetector(is_stalled=True))
        return following

    @property
    def known_environments(self) -> Environments:
        """The environments, and the unsettled rows of the run before."""
        return {**self.last_run.rows, **self.environments} if self.last_run.rows else self.environments

    @property
    def as_last_run(self) -> LastRun:
        """What the next run knows of this run."""
        if self.listed is None:
            return self.last_run
        return LastRun(
            looked_at=self.listed.wall,
            rows=self.known_environments,
            is_whole=True,
            is_stalled=not self.stall_detector.beats_count,
            has_moved_identity=self.has_moved_identity,
            interval=self.interval,
        )

    def tick(self, now: Clocks) -> tuple[ProfileState, tuple[Event, ...]]:
        """Return the state at a later moment, and the event if the profile becomes blind.

        After a sleep, only a failed poll makes the profile blind, because the next listing comes at once.
        """
        is_awake = self.unseen_since is None or self.failures > 0
        if self.listed is None or not is_awake:
            return self, ()
        if self.unseen_since is None and now.slept_since(self.listed):
            # The poller has not noticed the sleep or the set wall clock yet.
            measured_ms = (now.monotonic - self.listed.monotonic) * 1000
            now = Clocks(WallMs(self.listed.wall + measured_ms), now.monotonic)
        if self.freshness(now) is not Freshness.BLIND:
            return self, ()
        at, since = self.clock.server_time(now.wall), self.clock.server_time(self.listed.wall)
        reason = None if self.quarantine is None else self.quarantine.finding.text
        if self.failure is not None:
            reason = clean(self.failure.cause)
        blind = Event(kind=Kind.BLIND, at=at, profile=self.profile, since=since, reason=reason)
        periods, events = begun(self.periods, blind)
        return (replace(self, periods=periods) if events else self), events

    @property
    def rows(self) -> Iterator[Environment]:
        """The rows of all environments."""
        return (tracked.environment for tracked in self.environments.values())

    @property
    def listed_at(self) -> ServerMs | None:
        """Request time of the newest believed listing."""
        return None if self.listed is None else self.clock.server_time(self.listed.wall)

    @property
    def is_refused(self) -> bool:
        """Whether the server refused the newest poll's key (401)."""
        return self.failure is not None and self.failure.cause is Cause.UNAUTHORIZED

    def with_interval(self, interval: timedelta) -> ProfileState:
        """Return the state with a longer interval, so that the wait does not make the profile blind.

        A shorter interval waits for the next poll.
        """
        return self if interval <= self.interval else replace(self, interval=interval)

    def age(self, now: Clocks) -> timedelta | None:
        """Return the data's age, by the clock that advanced more."""
        if self.listed is None:
            return None
        by_wall = (now.wall - self.listed.wall) / 1000
        return timedelta(seconds=max(by_wall, now.monotonic - self.listed.monotonic, 0.0))

    @property
    def is_quarantined(self) -> bool:
        """Whether the newest listing is quarantined as a whole."""
        return self.quarantine is not None and self.quarantine.is_whole and self.failure is None

    def freshness(self, now: Clocks) -> Freshness:
        """Return the freshness: stale over 15 s, blind over 60 s, neither before three intervals.

        While a whole listing is quarantined, the limit of blind doubles, because the server still answers.
        """
        age = self.age(now)
        if age is None:
            return Freshness.WAITING
        if age > blind_after(self.interval) * (2 if self.is_quarantined else 1):
            return Freshness.BLIND
        stale_after = max(limits.STALE_AT_LEAST, limits.STALE_INTERVALS * self.interval)
        return Freshness.STALE if age > stale_after else Freshness.LIVE

    def is_unknown(self, tracked: TrackedEnvironment, now: Clocks) -> bool:
        """Whether a row reads unknown: the row is unproven or the profile blind."""
        return self.is_unproven(tracked) or self.freshness(now) is Freshness.BLIND

    def is_unproven(self, tracked: TrackedEnvironment) -> bool:
        """Whether the newest listing proves nothing about a row."""
        is_stalled = self.stall_detector.is_stalled and tracked.verdict.is_up
        return is_stalled or tracked.has_impossible_time or self.is_unreadable(tracked)

    def known(self, now: Clocks) -> list[TrackedEnvironment]:
        """Return the proven rows with a trusted clock; none while blind."""
        if self.freshness(now) is Freshness.BLIND:
            return []
        rows, has_unreadable = self.environments.values(), self.snapshot is not None and self.snapshot.rejected_ids
        if has_unreadable or self.stall_detector.is_stalled:
            return [row for row in rows if not (row.clock_suspect or self.is_unproven(row))]
        return [row for row in rows if not (row.clock_suspect or row.has_impossible_time)]

    def is_unreadable(self, tracked: TrackedEnvironment) -> bool:
        """Whether the newest listing has the row, but rejected the content."""
        return self.snapshot is not None and tracked.environment.id in self.snapshot.rejected_ids

    def blindness(self, now: Clocks) -> tuple[ServerMs, SafeText] | None:
        """Return the newest data's time and the reason of blindness, if blind."""
        listed, failure = self.listed, self.failure
        since = self.clock.server_time(now.wall if listed is None else listed.wall)
        if self.stall_detector.is_stalled:
            return self.periods.get(Kind.STALLED, since), clean("the platform's heartbeats stand still")
        has_no_data = failure is not None if listed is None else self.freshness(now) is Freshness.BLIND
        if not has_no_data or (self.unseen_since is not None and not self.failures):
            return None
        if failure is not None:
            return since, composed(f"{failure.cause}: {failure.message}")
        quarantine = self.quarantine
        return since, clean("no data came") if quarantine is None else quarantine.finding.text

    @property
    def clock_fault(self) -> ClockFault | None:
        """The clock's fault, if all connected rows are in doubt."""
        if self.date_error is not None:
            return date_fault(self.clock, self.date_error)
        if self.listed is None:
            return None
        found = []
        for row in self.environments.values():
            if not row.environment.connection_id or row.verdict.is_absent:
                continue
            if not row.clock_suspect:
                return None  # nearly always the first row, so further rows cost nothing
            found.append(row)
        if found and all(row.has_impossible_time for row in found):
            return IMPOSSIBLE_TIMES
        checks = [row.skew_check for row in found]
        return contradiction(checks, self.clock, self.listed, self.elapsed_ms) if checks else None

    @property
    def has_fresh_heartbeat(self) -> bool:
        """Whether a row that is up has a heartbeat younger than a period."""
        if self.listed is None:
            return False
        since = self.clock.server_time(self.listed.wall) - limits.HEARTBEAT_EVERY / MS
        return any(
            tracked.verdict.is_up and (tracked.environment.last_heartbeat_at or 0.0) > since
            for tracked in self.environments.values()
        )

    @property
    def none_up_since(self) -> Clocks | None:
        """`last_up`, if no environment is up now."""
        return None if self.last_up == self.listed else self.last_up


def _after_failure(profile_state: ProfileState, outcome: Failed) -> tuple[ProfileState, tuple[Event, ...]]:
    at, periods = profile_state.clock.server_time(outcome.started.wall), profile_state.periods
    events: tuple[Event, ...] = ()
    following = replace(profile_state, failure=outcome, failures=profile_state.failures + 1, interval=outcome.interval)
    if following.is_refused:
        refused = Event(kind=Kind.KEY_REFUSED, at=at, profile=profile_state.profile, reason=outcome.message)
        periods, events = begun(periods, refused)
    elif profile_state.failure is not None and not profile_state.is_refused:
        reason = composed(f"{outcome.cause}: {outcome.message}")
        since = profile_state.clock.server_time(profile_state.failure.started.wall)
        failing = Event(kind=Kind.FAILING, at=at, profile=profile_state.profile, since=since, reason=reason)
        periods, events = begun(periods, failing)
    return replace(following, periods=periods), events


def _awake(profile_state: ProfileState, outcome: Listed) -> tuple[ProfileState, tuple[Event, ...]]:
    """Return state and events at the first listing after a sleep; a set wall clock moves earlier wall times."""
    last_awake = profile_state.unseen_since
    if last_awake is None or Kind.SLEPT not in profile_state.periods:
        return profile_state, ()
    clock, _ = believed_clock(profile_state.clock, profile_state.date_error, outcome.snapshot, profile_state.limits)
    at = clock.server_time(outcome.started.wall) if clock.is_known else None
    profile = profile_state.profile
    periods, events, set_by_ms = woken(profile_state.periods, last_awake, outcome.started, at, profile)
    has_slept = any(event.kind is Kind.SLEPT for event in events)
    return replace(
        profile_state,
        listed=_moved(profile_state.listed, set_by_ms),
        last_up=_moved(profile_state.last_up, set_by_ms),
        unseen_since=_moved(last_awake, set_by_ms) if has_slept else None,
        periods=periods,
    ), events


def _moved(clocks: Clocks | None, by_ms: float) -> Clocks | None:
    return None if clocks is None else clocks._replace(wall=WallMs(clocks.wall + by_ms))


class _Reading(NamedTuple):
    """A listing that is being applied: the state before it, and `seen`, the same state with the listing's clock."""

    before: ProfileState
    seen: ProfileState
    snapshot: Snapshot
    asked: Clocks
    seen_at: ServerMs
    """The local request time, later than `at` for a served listing."""

    @property
    def at(self) -> ServerMs:
        """The server's time of the listing."""
        return self.seen.clock.server_time(self.asked.wall)


def _after_listing(
    before: ProfileState, outcome: Listed, kept: Collection[SafeText]
) -> tuple[ProfileState, tuple[Event, ...]]:
    reading = _reading_of(before, outcome)
    if reading.snapshot.is_repeat and not _is_awaited(before):
        return _after_repetition(reading)
    rows = reading.snapshot.rows
    seen = reading.seen
    reading = reading._replace(seen=replace(seen, last_run=_of_same_account(seen.last_run, rows.values())))
    known = reading.seen.known_environments
    acceptance = accept_listing(before.quarantine, known, rows, reading.snapshot, reading.asked.monotonic)
    if acceptance.quarantine is not None and acceptance.quarantine.is_whole:
        return _after_quarantine(reading, acceptance)
    return _after_accepted(reading, acceptance, kept)


def _reading_of(before: ProfileState, outcome: Listed) -> _Reading:
    asked = outcome.asked
    if before.listed is not None:
        # A served listing's age includes the request's time, which varies.
        asked = asked.not_before(before.listed)
    clock, date_error = believed_clock(before.clock, before.date_error, outcome.snapshot, before.limits)
    seen = replace(before, clock=clock, date_error=date_error, interval=outcome.interval, failure=None, failures=0)
    return _Reading(before, seen, outcome.snapshot, asked, clock.server_time(outcome.started.wall))


def _is_awaited(before: ProfileState) -> bool:
    """Whether even a repeated listing counts: the first, and the first after a sleep that may have delayed it."""
    return before.listed is None or (before.unseen_since is not None and before.quarantine is None)


def _after_repetition(reading: _Reading) -> tuple[ProfileState, tuple[Event, ...]]:
    before = reading.before
    ends = dict.fromkeys(BY_ANY_LISTING, reading.seen_at)
    periods, events = ended(before.periods, ends, before.profile)
    return replace(reading.seen, periods=periods), events


def _after_quarantine(reading: _Reading, acceptance: Acceptance) -> tuple[ProfileState, tuple[Event, ...]]:
    """Return the state after a listing that is not believed, and the events; no verdict changes."""
    seen, rows = reading.seen, reading.snapshot.rows
    periods, events = _next_periods(reading, seen, acceptance)
    following = replace(
        seen,
        quarantine=acceptance.quarantine,
        environments=still_listed(reading.before.environments, rows),
        last_run=seen.last_run._replace(rows=still_listed(seen.last_run.rows, rows)),
        periods=periods,
    )
    return following, events


def _after_accepted(
    reading: _Reading, acceptance: Acceptance, kept: Collection[SafeText]
) -> tuple[ProfileState, tuple[Event, ...]]:
    before, seen, snapshot, asked = reading.before, reading.seen, reading.snapshot, reading.asked
    stall_detector = _next_stall_detector(reading)
    listing = _listing_context(replace(seen, stall_detector=stall_detector), snapshot, asked, kept)
    environments, events, has_moved_identity = _next_rows(reading, listing, acceptance)
    row_events = _told_events(reading, listing, events, environments)
    last_run = _unsettled(seen.last_run, environments, snapshot.rows, listing)
    # Nothing is known about a row of the run before until a listing has the row, or a second one proves it gone.
    if last_run.rows:
        environments = {id_: tracked for id_, tracked in environments.items() if id_ not in last_run.rows}
    is_any_up = any(tracked.verdict.is_up for tracked in environments.values())
    # Any change of the newest version comes with an event, apart from a row that only the run before had listed.
    has_new_version = events or before.listed is None or before.last_run.rows
    following = replace(
        seen,
        environments=MappingProxyType(environments),
        listings=before.listings + 1,
        began_at=reading.at if before.began_at is None else before.began_at,
        listed=asked,
        elapsed_ms=listing.elapsed_ms,
        newest=_newest_version(environments.values()) if has_new_version else before.newest,
        quarantine=acceptance.quarantine,
        stall_detector=stall_detector,
        has_moved_identity=has_moved_identity,
        snapshot=snapshot._replace(pages=(), rows={}, served=None),
        unseen_since=None,
        last_up=asked if is_any_up else before.last_up,
        last_run=last_run,
    )
    periods, period_events = _next_periods(reading, following, acceptance)
    return replace(following, periods=periods), (*period_events, *row_events)


def _next_stall_detector(reading: _Reading) -> StallDetector:
    before, asked = reading.before, reading.asked
    covered_s = 0.0
    if before.listed is not None and not before.failures and not blind_since(before, asked):
        covered_s = asked.monotonic - before.listed.monotonic
    known = reading.seen.known_environments
    return before.stall_detector.apply(asked.monotonic, covered_s, known, reading.snapshot.rows)


def _next_rows(
    reading: _Reading, listing: ListingContext, acceptance: Acceptance
) -> tuple[Environments, list[Event], bool]:
    """Return the environments, their events, and whether the server changes identities.

    Relations between rows follow the rows: replacements, renamings, and the expected rows that are missing.
    """
    before, snapshot, at = reading.before, reading.snapshot, reading.at
    old = reading.seen.known_environments
    rows = snapshot.timed_rows(reading.seen.clock)
    environments, events, has_moved_identity = next_environments(old, rows, at, listing, acceptance)
    has_moved_identity |= before.has_moved_identity
    has_moved_identity |= _have_moved_between_runs(old, environments, listing.unseen)
    inputs = RuleInputs(at=at, latest=listing.latest, is_off=has_moved_identity, is_first=listing.is_baseline)
    environments = with_replacements(environments, snapshot.rows, inputs)
    events = named_by_device(events, environments)
    if not listing.is_baseline:
        # A renaming explains the old row's loss.
        events = [*renamed_events(old, environments, at), *events]
    is_proof = acceptance.quarantine is None and not snapshot.rejected
    environments = with_inventory(before.expect, environments, listing, at, is_proof=is_proof)
    if before.expect and before.listed is not None:
        events += missing_events(before.environments, environments, at)
    return environments, events, has_moved_identity


def _told_events(
    reading: _Reading, listing: ListingContext, events: list[Event], environments: Environments
) -> Iterable[Event]:
    """Return the rows' events as a person is told: in groups, and as found after a gap."""
    before, seen, at = reading.before, reading.seen, reading.at
    is_first = before.listed is None
    if is_first and listing.is_after_long_gap(at):
        return while_not_running(events, listing.looked_at, at)
    unseen = None if is_first else blind_since(before.with_interval(seen.interval), reading.asked)
    unseen_since = None if unseen is None else seen.clock.server_time(unseen.wall)
    return in_groups(events, seen.known_environments, environments, at, unseen_since)


def _of_same_account(last_run: LastRun, rows: Iterable[Environment]) -> LastRun:
    known = [tracked.environment for tracked in last_run.rows.values()]
    return last_run if not known or are_of_one_account(known, rows) else NO_RUN


def _listing_context(
    seen: ProfileState, snapshot: Snapshot, asked: Clocks, kept: Collection[SafeText]
) -> ListingContext:
    """Return the values shared by all rows of a listing; `seen` has the clock after the listing."""
    at, last_run, is_first = seen.clock.server_time(asked.wall), seen.last_run, seen.listed is None
    gap_ms = (seen.age(asked) or timedelta()) / MS
    looked_at = ServerMs(min(seen.clock.server_time(last_run.looked_at), at))
    is_baseline = is_first and not last_run.is_whole
    return ListingContext(
        asked_at=asked.monotonic,
        gap_ms=gap_ms,
        elapsed_ms=seen.elapsed_ms + gap_ms,
        rule=PresenceRule(seen.limits),
        is_baseline=is_baseline,
        marks_new=not is_first or (last_run.is_whole and at - looked_at < RESTART_MEMORY_MS),
        beats_count=seen.stall_detector.beats_count,
        in_doubt=snapshot.in_doubt,
        unreadable=snapshot.rejected_ids,
        unseen=last_run.rows.keys() - seen.environments.keys() if last_run.rows else frozenset(),
        looked_at=looked_at,
        longest_interval=max(last_run.interval, seen.interval),
        kept=kept,
        profile=seen.profile,
        latest=latest_possible(seen.clock, at),
        is_date_wrong=seen.date_error is not None,
    )


def _have_moved_between_runs(known: Environments, environments: Environments, unseen: Collection[SafeText]) -> bool:
    """Whether the server changed the identity of a row while envwatch was not running.

    If `firstSeenAt` of all rows moved equally, the server's clock was set.
    """
    common = [
        (was.environment, tracked.environment)
        for id_ in unseen
        if not (was := known[id_]).verdict.is_absent
        and was.environment.first_seen_at > NEVER  # a row that only a loss has named
        and (tracked := environments.get(id_)) is not None
        and not tracked.verdict.is_absent
    ]
    moved_by = {round((new.first_seen_at - old.first_seen_at) / SAME_INSTANT_MS) for old, new in common}
    if len(common) >= limits.ANOMALY_MIN and max(moved_by) - min(moved_by) <= 1:
        return False
    return not all(keeps_identity(old, new) for old, new in common)


def _unsettled(
    last_run: LastRun, environments: Environments, listed: Container[SafeText], listing: ListingContext
) -> LastRun:
    """Return the run before with the rows that no listing has had yet, and none has proved gone."""
    rows = {
        id_: tracked
        for id_ in last_run.rows
        if id_ in listing.unseen
        and id_ not in listed
        and (tracked := environments.get(id_)) is not None
        and not tracked.verdict.is_absent
    }
    return last_run._replace(rows=rows) if rows else NO_RUN


def _next_periods(
    reading: _Reading, following: ProfileState, acceptance: Acceptance
) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods after a listing, and the events, ends first.

    A quarantine for a different reason is a new period. `following` is the state after the listing.
    """
    profile_state, at, seen_at = reading.seen, reading.at, reading.seen_at
    quarantine, profile = acceptance.quarantine, profile_state.profile
    stall_detector, fault = following.stall_detector, following.clock_fault
    ends = dict.fromkeys(BY_ANY_LISTING, seen_at)
    # A listing quarantined as a whole does not make the data recent.
    if not (quarantine and quarantine.is_whole) and span(seen_at - at) <= blind_after(profile_state.interval):
        ends[Kind.BLIND] = at
    if not stall_detector.is_stalled:
        ends[Kind.STALLED] = at
    if fault is None:
        ends[Kind.CLOCK_WRONG] = at
    periods, events = ended(profile_state.periods, ends, profile)
    if quarantine is None or (
        profile_state.quarantine is not None and profile_state.quarantine.anomaly is not quarantine.anomaly
    ):
        outcome = clean("believed now" if acceptance.listings_quarantined else "a later poll contradicts it")
        periods, released = ended(periods, {Kind.HELD: at}, profile, outcome)
        events += released
    begins: list[Event] = []
    if quarantine is not None:
        begins.append(Event(kind=Kind.HELD, at=at, profile=profile, reason=quarantine.finding.text))
    if stall_detector.is_stalled:
        since = ServerMs(at - stall_detector.silent_s * 1000)
        begins.append(Event(kind=Kind.STALLED, at=at, profile=profile, since=since))
    if fault is not None:
        begins.append(Event(kind=Kind.CLOCK_WRONG, at=at, profile=profile, reason=fault.text))
    periods, began = begun(periods, *begins)
    return periods, (*events, *began)


def blind_since(profile_state: ProfileState, now: Clocks) -> Clocks | None:
    """Return the clocks before the present sleep or blindness, if any."""
    return profile_state.unseen_since or (
        profile_state.listed if profile_state.freshness(now) is Freshness.BLIND else None
    )


def _newest_version(environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    up = (tracked.environment for tracked in environments if tracked.verdict.is_up)
    return newest_version((row.version, row.device_id) for row in up)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The states of all profiles."""

    by_profile: Mapping[SafeText, ProfileState] = field(
        default_factory=lambda: MappingProxyType({NO_PROFILE: ProfileState()})
    )

    def apply(
        self, profile: SafeText, outcome: Outcome, kept: Collection[SafeText] = frozenset()
    ) -> tuple[Fleet, tuple[Event, ...]]:
        """Return the fleet after a poll, and the events; see `ProfileState.apply`."""
        profile_state, events = self.by_profile[profile].apply(outcome, kept)
        return self.with_profile_state(profile, profile_state), events

    def with_profile_state(self, profile: SafeText, profile_state: ProfileState) -> Fleet:
        """Return the fleet with a profile's new state."""
        return Fleet(MappingProxyType({**self.by_profile, profile: profile_state}))

    def tick(self, now: Clocks) -> tuple[Fleet, tuple[Event, ...]]:
        """Return the fleet at a later moment, and the events of newly blind profiles."""
        changes = {profile: profile_state.tick(now) for profile, profile_state in self.by_profile.items()}
        events = tuple(chain.from_iterable(events for _, events in changes.values()))
        if not events:
            return self, ()
        return Fleet(MappingProxyType({profile: each for profile, (each, _) in changes.items()})), events

    def __iter__(self) -> Iterator[ProfileState]:
        return iter(self.by_profile.values())

    def __len__(self) -> int:
        return sum(len(profile_state.environments) for profile_state in self)

    @property
    def are_several(self) -> bool:
        """Whether there are several profiles."""
        return len(self.by_profile) > 1

    @property
    def is_listed(self) -> bool:
        """Whether any profile has a believed listing."""
        return len(self.unlisted) < len(self.by_profile)

    @property
    def unlisted(self) -> tuple[SafeText, ...]:
        """Profiles without a believed listing."""
        return tuple(profile for profile, profile_state in self.by_profile.items() if profile_state.listed is None)

    @property
    def environments(self) -> Iterator[TrackedEnvironment]:
        """All environments."""
        return chain.from_iterable(profile_state.environments.values() for profile_state in self)

    def tracked(self, key: EnvironmentKey) -> TrackedEnvironment | None:
        """Return the environment with a key, if tracked."""
        profile, id_ = key
        profile_state = self.by_profile.get(profile)
        return None if profile_state is None else profile_state.environments.get(id_)

    def for_environment(self, tracked: TrackedEnvironment) -> ProfileState:
        """Return the state of an environment's profile."""
        return self.by_profile[tracked.profile]

    @property
    def servers(self) -> Mapping[SafeText, SafeText]:
        """Servers by profile."""
        return {profile: profile_state.server for profile, profile_state in self.by_profile.items()}

    def server_of(self, profile: SafeText) -> SafeText:
        """Return a profile's server; empty for an unwatched profile."""
        return EMPTY if (profile_state := self.by_profile.get(profile)) is None else profile_state.server

    def identity(self, key: EnvironmentKey) -> tuple[SafeText, SafeText]:
        """Return a key equal for an environment under all profiles of a server."""
        profile, id_ = key
        return (self.server_of(profile) or profile, id_)

    def old_listing_age(self, now: Clocks) -> timedelta | None:
        """Return the age of the oldest stale or blind listing."""
        ages = [each.age(now) for each in self if each.freshness(now) in (Freshness.STALE, Freshness.BLIND)]
        return max((age for age in ages if age is not None), default=None)

    def moments(self, wall: WallMs) -> Mapping[SafeText, ServerMs]:
        """Return each server's time at a wall time."""
        return {profile: profile_state.clock.server_time(wall) for profile, profile_state in self.by_profile.items()}
