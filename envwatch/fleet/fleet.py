"""The fleet of one profile as one immutable value, and how a poll's outcome changes it.

Pure: `fleet.after(outcome)` gives the next fleet and the events in between. Transitions arise only from a complete,
fresh listing that can be believed; a failed poll changes no verdict. Moments come with the outcome; there is no clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from envwatch.fleet.anomalies import Acceptance, Anomaly, HeldListing, StallDetector, acceptance_of, has_advanced
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.mass_changes import with_masses
from envwatch.fleet.newest_version import newest_version
from envwatch.fleet.plausibility import believed_clock, latest_possible
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
from envwatch.model.clock import Reading, ServerClock, ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Failed, Listed, Outcome, Slept, Snapshot
from envwatch.model.text import Clean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.model.environment import Environment

_GONE_KEPT_MS = limits.GONE_KEPT / timedelta(milliseconds=1)


class Freshness(StrEnum):
    """How recent the data is."""

    WAITING = "waiting"
    """No listing has come yet."""
    LIVE = "live"
    STALE = "stale"
    BLIND = "blind"
    """Too old to be true: every row reads unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The state of one profile."""

    limits: Limits = field(default_factory=Limits)
    profile: Clean = NO_PROFILE
    """Under which profile it is listed; empty where only one is polled."""
    environments: Mapping[Clean, TrackedEnvironment] = field(default_factory=dict)
    """By id, in the order of the listing; those that it lacked stand at the end."""
    listings: int = 0
    """How many listings were believed."""
    began_at: ServerMs | None = None
    """When the first believed listing was asked for."""
    listed: Reading | None = None
    """When the newest believed listing was asked for."""
    elapsed_ms: float = 0.0
    """From the first believed listing to the newest: the sum of the gaps, each by whichever clock said more."""
    newest: Clean | None = None
    """See `newest_version`."""
    clock: ServerClock = field(default_factory=ServerClock)
    date_error: float | None = None
    """By how many ms the newest listing's `Date` is ahead of the believed clock, if it is not believed itself."""
    interval: timedelta = timedelta()
    """From poll to poll: the longest in force since the newest outcome came."""
    failure: Failed | None = None
    """The newest poll's failure; None when it succeeded."""
    failures: int = 0
    """Failed polls in a row."""
    hold: HeldListing | None = None
    """What is not believed of the newest listing."""
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
                unseen_since = self.unseen_since or outcome.last_awake
                return replace(self, clock=ServerClock(), date_error=None, unseen_since=unseen_since), ()

    def with_interval(self, interval: timedelta) -> Fleet:
        """Return the fleet from when a longer interval is in force, so that the wait for its next poll is not blind.

        A shorter one changes nothing before its first poll.
        """
        return self if interval <= self.interval else replace(self, interval=interval)

    def age(self, now: Reading) -> timedelta | None:
        """Return how old the data is, by whichever clock says more; None without data."""
        if self.listed is None:
            return None
        by_wall = (now.wall - self.listed.wall) / 1000
        return timedelta(seconds=max(by_wall, now.monotonic - self.listed.monotonic, 0.0))

    def freshness(self, now: Reading) -> Freshness:
        """Return the freshness: stale over 15 s, blind over 60 s, neither before three intervals."""
        age = self.age(now)
        if age is None:
            return Freshness.WAITING
        patience = limits.STALE_INTERVALS * self.interval
        if age > max(limits.BLIND_AT_LEAST, patience):
            return Freshness.BLIND
        return Freshness.STALE if age > max(limits.STALE_AT_LEAST, patience) else Freshness.LIVE

    def is_unknown(self, tracked: TrackedEnvironment, now: Reading) -> bool:
        """Whether the verdict on a row must be shown as unknown: while blind, or if its data proves nothing."""
        return self.is_unproven(tracked) or self.freshness(now) is Freshness.BLIND

    def is_unproven(self, tracked: TrackedEnvironment) -> bool:
        """Whether the newest listing proves nothing of a row.

        That is so if the platform's heartbeats stall, the row's time cannot be true, or the row cannot be read.
        """
        is_stalled = self.stall_detector.is_stalled and tracked.verdict.is_up
        return is_stalled or tracked.is_untimed or self.is_unreadable(tracked)

    def is_unreadable(self, tracked: TrackedEnvironment) -> bool:
        """Whether the newest listing set its row aside: it is not absent, and its state is unknown."""
        return self.snapshot is not None and tracked.environment.id in self.snapshot.set_aside_ids

    def counts(self) -> Mapping[Presence, int]:
        """Return how many environments there are of each presence."""
        return Counter(tracked.verdict.presence for tracked in self.environments.values())


def _after_listing(fleet: Fleet, outcome: Listed) -> tuple[Fleet, tuple[Event, ...]]:
    snapshot, asked = outcome.snapshot, outcome.started
    clock, date_error = believed_clock(fleet.clock, fleet.date_error, snapshot, fleet.limits)
    at = clock.at(asked.wall)
    rows = _rows(snapshot, clock)
    seen = replace(fleet, clock=clock, date_error=date_error, interval=outcome.interval, failure=None, failures=0)

    environment_rows = {id_: row for id_, (row, _) in rows.items()}
    acceptance = acceptance_of(fleet.hold, fleet.environments, environment_rows, snapshot, asked.monotonic)
    hold = acceptance.hold
    held = _held_event(fleet, hold, at)
    if hold is not None and hold.anomaly is not Anomaly.VANISHED:
        return replace(seen, hold=hold, environments=_still_listed(fleet.environments, rows)), held

    stall_detector = _next_stall_detector(fleet, rows, asked)
    gap_ms = (fleet.age(asked) or timedelta()) / timedelta(milliseconds=1)
    listing = ListingContext(
        number=fleet.listings + 1,
        asked_at=asked.monotonic,
        gap_ms=gap_ms,
        elapsed_ms=fleet.elapsed_ms + gap_ms,
        beats_count=stall_detector.beats_count,
        held=acceptance.listings_held,
        missing_while_held=acceptance.believed_absences,
        in_doubt=snapshot.in_doubt,
        unreadable=snapshot.set_aside_ids,
        profile=fleet.profile,
        latest=latest_possible(clock, at),
        is_date_wrong=date_error is not None,
    )
    environments, events = _next_environments(fleet, rows, at, listing, acceptance)
    is_first = fleet.listed is None
    following = replace(
        seen,
        environments=MappingProxyType(environments),
        listings=listing.number,
        began_at=at if fleet.began_at is None else fleet.began_at,
        listed=asked,
        elapsed_ms=listing.elapsed_ms,
        # Every change of the newest version comes with an event.
        newest=newest_version(environments.values()) if events or is_first else fleet.newest,
        hold=hold,
        stall_detector=stall_detector,
        snapshot=replace(snapshot, pages=()),
        unseen_since=None,
    )
    if is_first:
        return following, ()
    grouped = _group_events(fleet.with_interval(outcome.interval), asked, clock, environments, events)
    return following, (*held, *grouped, *_stall_events(fleet, stall_detector, at))


def _rows(snapshot: Snapshot, clock: ServerClock) -> dict[Clean, tuple[Environment, ServerMs]]:
    """Return each id's row and when it was asked for; of duplicates, the one with the newest heartbeat."""
    rows: dict[Clean, tuple[Environment, ServerMs]] = {}
    for page in snapshot.pages:
        at = clock.at(page.asked_at)
        for environment in page.environments:
            other = rows.get(environment.id)
            if other is None or _recency(environment) > _recency(other[0]):
                rows[environment.id] = (environment, at)
    return rows


def _recency(environment: Environment) -> tuple[float, float, str]:
    """Return a key that is greater for the newer of two rows of one id, in whatever order they came."""
    beat_at = environment.last_heartbeat_at
    return (float("-inf") if beat_at is None else beat_at, environment.last_seen_at, repr(environment))


def _still_listed(
    environments: Mapping[Clean, TrackedEnvironment], rows: Collection[Clean]
) -> Mapping[Clean, TrackedEnvironment]:
    """Return the environments after a listing that is held: rows that it holds are not absent, nothing else changes."""
    present = {
        id_: replace(tracked, absent=0)
        for id_, tracked in environments.items()
        if tracked.absent and id_ in rows and tracked.presence is not Presence.GONE
    }
    return MappingProxyType({**environments, **present}) if present else environments


def _held_event(fleet: Fleet, hold: HeldListing | None, at: ServerMs) -> tuple[Event, ...]:
    """Return the event of a hold, unless the listing before was held for the same anomaly."""
    if hold is None or (fleet.hold is not None and fleet.hold.anomaly is hold.anomaly):
        return ()
    return (Event(kind=Kind.HELD, at=at, profile=fleet.profile, reason=hold.finding.text),)


def _next_stall_detector(
    fleet: Fleet, rows: Mapping[Clean, tuple[Environment, ServerMs]], asked: Reading
) -> StallDetector:
    online, advanced = 0, False
    for id_, (row, _) in rows.items():
        if row.connection_id and (tracked := fleet.environments.get(id_)) is not None and tracked.verdict.is_up:
            online += 1
            if row is not tracked.environment and has_advanced(tracked.environment, row):
                advanced = True
                break  # One is enough, and then their number does not matter.
    covered_s = 0.0
    if fleet.listed is not None and not fleet.failures and not _blind_since(fleet, asked):
        covered_s = asked.monotonic - fleet.listed.monotonic
    return fleet.stall_detector.after(asked.monotonic, covered_s=covered_s, online=online, has_advanced=advanced)


def _blind_since(fleet: Fleet, now: Reading) -> Reading | None:
    """Return since when nothing could be seen, if this machine slept or was blind until now."""
    return fleet.unseen_since or (fleet.listed if fleet.freshness(now) is Freshness.BLIND else None)


def _stall_events(fleet: Fleet, after: StallDetector, at: ServerMs) -> tuple[Event, ...]:
    if fleet.stall_detector.is_stalled == after.is_stalled:
        return ()
    return (Event(kind=Kind.STALLED if after.is_stalled else Kind.RESUMED, at=at, profile=fleet.profile),)


def _next_environments(
    fleet: Fleet,
    rows: Mapping[Clean, tuple[Environment, ServerMs]],
    at: ServerMs,
    listing: ListingContext,
    acceptance: Acceptance,
) -> tuple[dict[Clean, TrackedEnvironment], list[Event]]:
    """Return the environments after a listing, and what happened to each; the first listing gives no events."""
    rule = PresenceRule(fleet.limits)
    old, is_first = fleet.environments, fleet.listed is None
    environments: dict[Clean, TrackedEnvironment] = {}
    events: list[Event] = []
    for id_, (environment, row_at) in rows.items():
        before = old.get(id_)
        tracked = observed(before, environment, row_at, listing, rule)
        environments[id_] = tracked
        if tracked is not before and not is_first:
            events += events_between(before, tracked, row_at)
    for id_, before in old.items():
        if id_ in environments:
            continue
        if id_ in listing.unreadable:
            tracked = unread(before)
        elif acceptance.holds_absence_of(id_):
            tracked = missed_while_held(before, listing)
        else:
            tracked = marked_absent(before, at, listing)
        if tracked.presence is not Presence.GONE or at - (tracked.since_at or at) < _GONE_KEPT_MS:
            environments[id_] = tracked
            if tracked is not before:
                events += events_between(before, tracked, at)
    return environments, _link_same_device(events, environments)


def _link_same_device(events: list[Event], environments: Mapping[Clean, TrackedEnvironment]) -> list[Event]:
    """Return the events; a newcomer on a device that is listed already is named as its twin or its replacement."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[Clean, list[TrackedEnvironment]] = {}
    for id_, tracked in environments.items():
        if id_ not in newcomers:
            on_device.setdefault(tracked.environment.device_id, []).append(tracked)

    def linked(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        others = on_device.get(environments[event.id].environment.device_id, [])
        if not others:
            return event
        # A row that this listing lacks may be the same machine under its old id.
        twin = next((tracked for tracked in others if tracked.verdict.is_up and not tracked.absent), None)
        relation = f"twin of {twin.environment.name}" if twin else f"replaces {others[-1].environment.name}"
        return replace(event, reason=Clean(f"{relation}, same device"))

    return [linked(event) for event in events]


def _group_events(
    fleet: Fleet,
    now: Reading,
    clock: ServerClock,
    environments: Mapping[Clean, TrackedEnvironment],
    events: list[Event],
) -> list[Event]:
    """Return the events: one group if envwatch was blind until now, else one for each mass change."""
    if not events:
        return []
    blind_since = _blind_since(fleet, now)
    if blind_since is not None:
        at, since, members = clock.at(now.wall), clock.at(blind_since.wall), tuple(events)
        return [Event(kind=Kind.WHILE_BLIND, at=at, profile=fleet.profile, since=since, members=members)]

    def survivors(lost: set[Clean]) -> list[Environment]:
        return [
            tracked.environment
            for id_, tracked in fleet.environments.items()
            if id_ not in lost and tracked.verdict.is_up and environments[id_].verdict.is_up
        ]

    were_online = sum(tracked.verdict.is_up for tracked in fleet.environments.values())
    return list(with_masses(events, were_online, lambda id_: fleet.environments[id_].environment, survivors))
