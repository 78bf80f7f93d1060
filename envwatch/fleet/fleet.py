"""The fleet: all that is known, as one immutable value, and how a poll's outcome changes it.

Pure: `fleet.after(outcome)` gives the next fleet and the events in between. Transitions arise only from a complete,
fresh listing that can be believed; a failed poll changes no verdict. Moments come with the outcome; there is no clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import accumulate
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.fleet.anomalies import Anomaly, Belief, HeldListing, StallDetector, belief_in, has_advanced
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.mass_changes import with_masses
from envwatch.fleet.plausibility import is_date_wrong, latest_possible
from envwatch.fleet.presence import Presence, PresenceRule
from envwatch.fleet.tracking import (
    ListingContext,
    TrackedEnvironment,
    events_between,
    marked_absent,
    missed_while_held,
    observed,
    unread,
)
from envwatch.model import limits
from envwatch.model.clock import Reading, ServerClock
from envwatch.model.limits import Limits
from envwatch.model.outcome import Failed, Listed, Outcome, Slept, Snapshot
from envwatch.model.text import Clean
from envwatch.model.versions import is_version, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.tracking import TrackedEnvironment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.model.environment import Environment

_JUMP_MS = limits.SKEW_TOLERANCE / timedelta(milliseconds=1)
_GONE_KEPT_MS = limits.GONE_KEPT / timedelta(milliseconds=1)


class Freshness(StrEnum):
    """How well envwatch sees the fleet."""

    WAITING = "waiting"
    """No listing has come yet."""
    LIVE = "live"
    STALE = "stale"
    BLIND = "blind"
    """What is shown is too old to be true: every row reads unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everything that is known at one moment."""

    limits: Limits = field(default_factory=Limits)
    profile: Clean = NO_PROFILE
    """Under which profile it is listed; empty where only one is watched."""
    environments: Mapping[Clean, TrackedEnvironment] = field(default_factory=dict)
    """By id, in the order of the listing; those that it lacked stand at the end."""
    listings: int = 0
    """How many listings were believed."""
    began_at: float | None = None
    """When the first believed listing was asked for, by the server's clock in ms."""
    listed: Reading | None = None
    """When the newest believed listing was asked for."""
    elapsed: float = 0.0
    """Milliseconds from the first believed listing to the newest: each gap by whichever clock said more."""
    newest: Clean | None = None
    """The newest version of Letta Code here, as `newest_version` tells it."""
    clock: ServerClock = field(default_factory=ServerClock)
    date_error: float | None = None
    """By how much the newest listing's `Date` is ahead of the believed clock, in ms, if it is not believed itself."""
    interval: timedelta = timedelta()
    """From poll to poll: the longest in force since the newest outcome came."""
    failure: Failed | None = None
    """The newest poll's failure; None when it succeeded."""
    failures: int = 0
    """Failed polls in a row."""
    hold: HeldListing | None = None
    """What the newest listing claims, while it is not believed."""
    stall_detector: StallDetector = field(default_factory=StallDetector)
    snapshot: Snapshot | None = None
    """The newest believed listing without its rows: pages, bytes, rows set aside."""
    unseen_since: Reading | None = None
    """The last moment before this machine slept, until a listing has come since."""

    def after(self, outcome: Outcome) -> tuple[Fleet, tuple[Event, ...]]:
        """Return the fleet after one poll, and what it changed, oldest first."""
        match outcome:
            case Listed():
                return _after_listing(self, outcome)
            case Failed():
                return replace(self, failure=outcome, failures=self.failures + 1, interval=outcome.interval), ()
            case Slept():
                return replace(
                    self, clock=ServerClock(), date_error=None, unseen_since=self.unseen_since or outcome.last_awake
                ), ()

    def with_interval(self, interval: timedelta) -> Fleet:
        """Return the fleet from when another interval is in force; a shorter one proves nothing before its first poll.

        Otherwise the time until the next poll would be blindness, though all goes as wanted.
        """
        return self if interval <= self.interval else replace(self, interval=interval)

    def age(self, now: Reading) -> timedelta | None:
        """Return how old the data on the screen is, by whichever clock says more; None without data."""
        if self.listed is None:
            return None
        by_wall = (now.wall - self.listed.wall) / 1000
        return timedelta(seconds=max(by_wall, now.monotonic - self.listed.monotonic, 0.0))

    def freshness(self, now: Reading) -> Freshness:
        """Return how well the fleet is seen: stale over 15 s, blind over 60 s, neither before three intervals."""
        age = self.age(now)
        if age is None:
            return Freshness.WAITING
        patience = limits.STALE_INTERVALS * self.interval
        if age > max(limits.BLIND_AT_LEAST, patience):
            return Freshness.BLIND
        return Freshness.STALE if age > max(limits.STALE_AT_LEAST, patience) else Freshness.LIVE

    def is_unknown(self, tracked: TrackedEnvironment, now: Reading) -> bool:
        """Whether the verdict on a row must be shown as unknown.

        That is so while envwatch is blind, the platform's heartbeats stall, the row's time cannot be true, or the row
        is listed and cannot be read.
        """
        is_stalled = self.stall_detector.is_stalled and tracked.verdict.is_up
        is_unusable = tracked.is_untimed or self.is_unreadable(tracked)
        return is_stalled or is_unusable or self.freshness(now) is Freshness.BLIND

    def is_unreadable(self, tracked: TrackedEnvironment) -> bool:
        """Whether the newest listing holds its row, but set it aside: it is not absent, and its state is unknown."""
        return self.snapshot is not None and tracked.environment.id in self.snapshot.set_aside_ids

    def counts(self) -> Mapping[Presence, int]:
        """Return how many environments there are of each presence."""
        return Counter(tracked.verdict.presence for tracked in self.environments.values())


def _after_listing(fleet: Fleet, outcome: Listed) -> tuple[Fleet, tuple[Event, ...]]:
    clock, date_error = _believed_clock(fleet, outcome.snapshot)
    at = clock.at(outcome.started.wall)
    rows = _rows(outcome.snapshot, clock)
    seen = replace(fleet, clock=clock, date_error=date_error, interval=outcome.interval, failure=None, failures=0)

    now = outcome.started.monotonic
    belief = belief_in(
        fleet.hold, fleet.environments, {id_: row for id_, (row, _) in rows.items()}, outcome.snapshot, now
    )
    held = _held_event(fleet, belief.hold, at)
    if belief.hold is not None and belief.hold.anomaly is not Anomaly.VANISHED:
        return replace(seen, hold=belief.hold, environments=_still_listed(fleet.environments, rows)), held

    stall_detector = _next_stall_detector(fleet, rows, outcome.started)
    gap = (fleet.age(outcome.started) or timedelta()) / timedelta(milliseconds=1)
    listing = ListingContext(
        number=fleet.listings + 1,
        monotonic=outcome.started.monotonic * 1000,
        gap=gap,
        elapsed=fleet.elapsed + gap,
        beats_count=stall_detector.beats_count,
        held=belief.held,
        missing_while_held=belief.believed,
        in_doubt=outcome.snapshot.in_doubt,
        unreadable=outcome.snapshot.set_aside_ids,
        profile=fleet.profile,
        latest=latest_possible(clock, at),
        is_date_wrong=date_error is not None,
    )
    environments, events = _next_environments(fleet, rows, at, listing, belief)
    following = replace(
        seen,
        environments=MappingProxyType(environments),
        listings=listing.number,
        began_at=at if fleet.began_at is None else fleet.began_at,
        listed=outcome.started,
        elapsed=listing.elapsed,
        # Whatever makes another version the newest is an event.
        newest=newest_version(environments.values()) if events or fleet.listed is None else fleet.newest,
        hold=belief.hold,
        stall_detector=stall_detector,
        snapshot=replace(outcome.snapshot, pages=()),
        unseen_since=None,
    )
    if fleet.listed is None:
        return following, ()
    return following, (
        *held,
        *_group_events(fleet.with_interval(outcome.interval), outcome.started, clock, environments, events),
        *_stall_events(fleet, stall_detector, at),
    )


def _believed_clock(fleet: Fleet, snapshot: Snapshot) -> tuple[ServerClock, float | None]:
    """Return the server's clock after a listing, and the error of its `Date` where the clock before it is kept.

    That is where no heartbeat fits the `Date`, and where it jumped by more than a beat for the first time.
    """
    by_date = fleet.clock
    for bounds in snapshot.clock:
        by_date = by_date.after(bounds)
    error = by_date.offset - fleet.clock.offset
    has_jumped = fleet.clock.is_known and abs(error) > _JUMP_MS
    is_new = fleet.date_error is None or abs(error - fleet.date_error) > _JUMP_MS
    if (has_jumped and is_new) or is_date_wrong(snapshot.pages, by_date.offset, fleet.clock.offset, fleet.limits):
        return fleet.clock, error
    return by_date, None


def _rows(snapshot: Snapshot, clock: ServerClock) -> dict[Clean, tuple[Environment, float]]:
    """Return each id's row and the moment for which it speaks; of duplicates, the one with the newest heartbeat."""
    rows: dict[Clean, tuple[Environment, float]] = {}
    for page in snapshot.pages:
        at = clock.at(page.asked_at)
        for environment in page.environments:
            known = rows.get(environment.id)
            if known is None or _recency(environment) > _recency(known[0]):
                rows[environment.id] = (environment, at)
    return rows


def _recency(environment: Environment) -> tuple[float, float, str]:
    """Return a key by which the newer of two rows of one id is greater, in whatever order they came."""
    beat = environment.last_heartbeat_at
    return (float("-inf") if beat is None else beat, environment.last_seen_at, repr(environment))


def _still_listed(
    environments: Mapping[Clean, TrackedEnvironment], rows: Collection[Clean]
) -> Mapping[Clean, TrackedEnvironment]:
    """Return the watches after a listing that is held: whatever it does hold is not absent, and no more follows."""
    if not any(tracked.absent for tracked in environments.values()):
        return environments
    present = {
        id_: replace(tracked, absent=0)
        for id_, tracked in environments.items()
        if id_ in rows and tracked.presence is not Presence.GONE
    }
    return MappingProxyType({**environments, **present})


def _held_event(fleet: Fleet, hold: HeldListing | None, at: float) -> tuple[Event, ...]:
    """Return the event of a hold, unless the listing before was held for the like."""
    if hold is None or (fleet.hold is not None and fleet.hold.anomaly is hold.anomaly):
        return ()
    return (Event(kind=Kind.HELD, at=at, profile=fleet.profile, reason=hold.claim.text),)


def _next_stall_detector(fleet: Fleet, rows: Mapping[Clean, tuple[Environment, float]], now: Reading) -> StallDetector:
    online, advanced = 0, False
    for id_, (row, _) in rows.items():
        if row.connection_id and (tracked := fleet.environments.get(id_)) is not None and tracked.verdict.is_up:
            online += 1
            advanced = advanced or (row is not tracked.environment and has_advanced(tracked.environment, row))
    watched_for = 0.0
    if fleet.listed is not None and not fleet.failures and not _blind_since(fleet, now):
        watched_for = now.monotonic - fleet.listed.monotonic
    return fleet.stall_detector.after(now.monotonic, watched_for=watched_for, online=online, has_advanced=advanced)


def _blind_since(fleet: Fleet, now: Reading) -> Reading | None:
    """Return when seeing ended, if this machine slept or was blind until now."""
    return fleet.unseen_since or (fleet.listed if fleet.freshness(now) is Freshness.BLIND else None)


def _stall_events(fleet: Fleet, after: StallDetector, at: float) -> tuple[Event, ...]:
    if fleet.stall_detector.is_stalled == after.is_stalled:
        return ()
    return (Event(kind=Kind.STALLED if after.is_stalled else Kind.RESUMED, at=at, profile=fleet.profile),)


def _next_environments(
    fleet: Fleet,
    rows: Mapping[Clean, tuple[Environment, float]],
    at: float,
    listing: ListingContext,
    belief: Belief,
) -> tuple[dict[Clean, TrackedEnvironment], list[Event]]:
    """Return the watches after a listing, and what happened to each; of the first, silent one nothing is told.

    While its absence is held, a row that the listing lacks stays as it is.
    """
    rule = PresenceRule(fleet.limits)
    old, is_silent = fleet.environments, fleet.listed is None
    environments: dict[Clean, TrackedEnvironment] = {}
    events: list[Event] = []
    for id_, (environment, row_at) in rows.items():
        before = old.get(id_)
        tracked = observed(before, environment, row_at, listing, rule)
        environments[id_] = tracked
        if tracked is not before and not is_silent:
            events += events_between(before, tracked, row_at)
    for id_, before in old.items():
        if id_ in environments:
            continue
        if id_ in listing.unreadable:
            tracked = unread(before)
        elif belief.holds_absence_of(id_):
            tracked = missed_while_held(before, listing)
        else:
            tracked = marked_absent(before, at, listing)
        if tracked.presence is not Presence.GONE or at - (tracked.since_at or at) < _GONE_KEPT_MS:
            environments[id_] = tracked
            if tracked is not before:
                events += events_between(before, tracked, at)
    return environments, _link_same_device(events, environments)


def _link_same_device(events: list[Event], environments: Mapping[Clean, TrackedEnvironment]) -> list[Event]:
    """Return the events, each newcomer on a device that is known told as a twin or as a replacement."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[Clean, list[TrackedEnvironment]] = {}
    for id_, tracked in environments.items():
        if id_ not in newcomers:
            on_device.setdefault(tracked.environment.device_id, []).append(tracked)

    def introduced(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        kin = on_device.get(environments[event.id].environment.device_id, [])
        if not kin:
            return event
        # What this listing lacks may have been this very machine under its old id.
        twin = next((tracked for tracked in kin if tracked.verdict.is_up and not tracked.absent), None)
        relation = f"twin of {twin.environment.name}" if twin else f"replaces {kin[-1].environment.name}"
        return replace(event, reason=Clean(f"{relation}, same device"))

    return [introduced(event) for event in events]


def _group_events(
    fleet: Fleet,
    now: Reading,
    clock: ServerClock,
    environments: Mapping[Clean, TrackedEnvironment],
    events: list[Event],
) -> list[Event]:
    """Return the events as a person should hear of them: in groups where many belong together."""
    if not events:
        return []
    dark_since = _blind_since(fleet, now)
    if dark_since is not None:
        at = clock.at(now.wall)
        since, members = clock.at(dark_since.wall), tuple(events)
        return [Event(kind=Kind.WHILE_BLIND, at=at, profile=fleet.profile, since=since, members=members)]

    def survivors(lost: set[Clean]) -> list[Environment]:
        return [
            tracked.environment
            for id_, tracked in fleet.environments.items()
            if id_ not in lost and tracked.verdict.is_up and environments[id_].verdict.is_up
        ]

    were_online = sum(tracked.verdict.is_up for tracked in fleet.environments.values())
    return list(with_masses(events, were_online, lambda id_: fleet.environments[id_].environment, survivors))


_MACHINES_NEEDED: Final = 2
"""Machines that make a version the newest of a fleet."""


def newest_version(environments: Iterable[TrackedEnvironment]) -> Clean | None:
    """Return the newest version that two of the machines that are up have reached, by running it or a newer one.

    What a single machine claims is no news: it may be a build of its own, or nonsense. Of one or two machines it is the
    newest that either runs. What runs nowhere, nobody is behind; a bare number is no version here.
    """
    devices: dict[Clean | None, set[Clean]] = defaultdict(set)
    for tracked in environments:
        if tracked.verdict.is_up:
            devices[tracked.environment.version].add(tracked.environment.device_id)
    versions = [version for version in devices if version and "." in version and is_version(version)]
    ordered = sorted(versions, key=version_key, reverse=True)
    reached = list(accumulate((devices[version] for version in ordered), or_))
    needed = _MACHINES_NEEDED if reached and len(reached[-1]) > _MACHINES_NEEDED else 1
    return next((version for version, by in zip(ordered, reached, strict=True) if len(by) >= needed), None)
