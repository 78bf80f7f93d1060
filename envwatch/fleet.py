"""The fleet: all that is known, as one immutable value, and how a poll's outcome changes it.

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

from envwatch import rules
from envwatch.anomalies import Anomaly, Belief, Hold, Pulse, belief_in, has_advanced
from envwatch.clock import Reading, ServerClock
from envwatch.events import SOLE, Event, Kind
from envwatch.groups import with_masses
from envwatch.outcome import Failed, Listed, Outcome, Slept, Snapshot
from envwatch.plausible import is_date_wrong, latest_possible
from envwatch.presence import Judge, Presence
from envwatch.rules import Rules
from envwatch.text import Clean
from envwatch.versions import newest_version
from envwatch.watch import Listing, Watch, events_between, missed, missed_while_held, sighted, unread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.models import Environment

_JUMP_MS = rules.WITNESS_DISAGREES_FROM / timedelta(milliseconds=1)
_GONE_KEPT_MS = rules.GONE_KEPT / timedelta(milliseconds=1)


class Sight(StrEnum):
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

    rules: Rules = field(default_factory=Rules)
    profile: Clean = SOLE
    """Under which profile it is listed; empty where only one is watched."""
    watches: Mapping[Clean, Watch] = field(default_factory=dict)
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
    hold: Hold | None = None
    """What the newest listing claims, while it is not believed."""
    pulse: Pulse = field(default_factory=Pulse)
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

    def paced(self, interval: timedelta) -> Fleet:
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

    def sight(self, now: Reading) -> Sight:
        """Return how well the fleet is seen: stale over 15 s, blind over 60 s, neither before three intervals."""
        age = self.age(now)
        if age is None:
            return Sight.WAITING
        patience = rules.STALE_INTERVALS * self.interval
        if age > max(rules.BLIND_AT_LEAST, patience):
            return Sight.BLIND
        return Sight.STALE if age > max(rules.STALE_AT_LEAST, patience) else Sight.LIVE

    def doubts(self, watch: Watch, now: Reading) -> bool:
        """Whether the verdict on a row must be shown as unknown.

        That is so while envwatch is blind, the platform's heartbeats stall, the row's time cannot be true, or the row
        is listed and cannot be read.
        """
        is_stalled = self.pulse.is_stalled and watch.verdict.is_up
        is_unusable = watch.is_untimed or self.is_unreadable(watch)
        return is_stalled or is_unusable or self.sight(now) is Sight.BLIND

    def is_unreadable(self, watch: Watch) -> bool:
        """Whether the newest listing holds its row, but set it aside: it is not absent, and its state is unknown."""
        return self.snapshot is not None and watch.environment.id in self.snapshot.set_aside_ids

    def counts(self) -> Mapping[Presence, int]:
        """Return how many environments there are of each presence."""
        return Counter(watch.verdict.presence for watch in self.watches.values())


def _after_listing(fleet: Fleet, outcome: Listed) -> tuple[Fleet, tuple[Event, ...]]:
    clock, date_error = _believed_clock(fleet, outcome.snapshot)
    at = clock.at(outcome.started.wall)
    rows = _rows(outcome.snapshot, clock)
    seen = replace(fleet, clock=clock, date_error=date_error, interval=outcome.interval, failure=None, failures=0)

    now = outcome.started.monotonic
    belief = belief_in(fleet.hold, fleet.watches, {id_: row for id_, (row, _) in rows.items()}, outcome.snapshot, now)
    held = _held_event(fleet, belief.hold, at)
    if belief.hold is not None and belief.hold.anomaly is not Anomaly.VANISHED:
        return replace(seen, hold=belief.hold, watches=_still_listed(fleet.watches, rows)), held

    pulse = _pulse(fleet, rows, outcome.started)
    gap = (fleet.age(outcome.started) or timedelta()) / timedelta(milliseconds=1)
    listing = Listing(
        number=fleet.listings + 1,
        monotonic=outcome.started.monotonic * 1000,
        gap=gap,
        elapsed=fleet.elapsed + gap,
        beats_count=pulse.beats_count,
        held=belief.held,
        missing_while_held=belief.believed,
        in_doubt=outcome.snapshot.in_doubt,
        unreadable=outcome.snapshot.set_aside_ids,
        profile=fleet.profile,
        latest=latest_possible(clock, at),
        is_date_wrong=date_error is not None,
    )
    watches, events = _next_watches(fleet, rows, at, listing, belief)
    following = replace(
        seen,
        watches=MappingProxyType(watches),
        listings=listing.number,
        began_at=at if fleet.began_at is None else fleet.began_at,
        listed=outcome.started,
        elapsed=listing.elapsed,
        # Whatever makes another version the newest is an event.
        newest=newest_version(watches.values()) if events or fleet.listed is None else fleet.newest,
        hold=belief.hold,
        pulse=pulse,
        snapshot=replace(outcome.snapshot, pages=()),
        unseen_since=None,
    )
    if fleet.listed is None:
        return following, ()
    return following, (
        *held,
        *_told(fleet.paced(outcome.interval), outcome.started, clock, watches, events),
        *_pulse_news(fleet, pulse, at),
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
    if (has_jumped and is_new) or is_date_wrong(snapshot.pages, by_date.offset, fleet.clock.offset, fleet.rules):
        return fleet.clock, error
    return by_date, None


def _rows(snapshot: Snapshot, clock: ServerClock) -> dict[Clean, tuple[Environment, float]]:
    """Return each id's row and the moment for which it speaks; of duplicates, the one with the newest heartbeat."""
    rows: dict[Clean, tuple[Environment, float]] = {}
    for page in snapshot.pages:
        at = clock.at(page.asked_at)
        for environment in page.environments:
            known = rows.get(environment.id)
            if known is None or _freshness(environment) > _freshness(known[0]):
                rows[environment.id] = (environment, at)
    return rows


def _freshness(environment: Environment) -> tuple[float, float, str]:
    """Return a key by which the newer of two rows of one id is greater, in whatever order they came."""
    beat = environment.last_heartbeat_at
    return (float("-inf") if beat is None else beat, environment.last_seen_at, repr(environment))


def _still_listed(watches: Mapping[Clean, Watch], rows: Collection[Clean]) -> Mapping[Clean, Watch]:
    """Return the watches after a listing that is held: whatever it does hold is not absent, and no more follows."""
    if not any(watch.absent for watch in watches.values()):
        return watches
    present = {
        id_: replace(watch, absent=0)
        for id_, watch in watches.items()
        if id_ in rows and watch.presence is not Presence.GONE
    }
    return MappingProxyType({**watches, **present})


def _held_event(fleet: Fleet, hold: Hold | None, at: float) -> tuple[Event, ...]:
    """Return the event of a hold, unless the listing before was held for the like."""
    if hold is None or (fleet.hold is not None and fleet.hold.anomaly is hold.anomaly):
        return ()
    return (Event(kind=Kind.HELD, at=at, profile=fleet.profile, reason=hold.claim.text),)


def _pulse(fleet: Fleet, rows: Mapping[Clean, tuple[Environment, float]], now: Reading) -> Pulse:
    online, advanced = 0, False
    for id_, (row, _) in rows.items():
        if row.connection_id and (watch := fleet.watches.get(id_)) is not None and watch.verdict.is_up:
            online += 1
            advanced = advanced or (row is not watch.environment and has_advanced(watch.environment, row))
    watched_for = 0.0
    if fleet.listed is not None and not fleet.failures and not _dark_since(fleet, now):
        watched_for = now.monotonic - fleet.listed.monotonic
    return fleet.pulse.after(now.monotonic, watched_for=watched_for, online=online, has_advanced=advanced)


def _dark_since(fleet: Fleet, now: Reading) -> Reading | None:
    """Return when seeing ended, if this machine slept or was blind until now."""
    return fleet.unseen_since or (fleet.listed if fleet.sight(now) is Sight.BLIND else None)


def _pulse_news(fleet: Fleet, after: Pulse, at: float) -> tuple[Event, ...]:
    if fleet.pulse.is_stalled == after.is_stalled:
        return ()
    return (Event(kind=Kind.STALLED if after.is_stalled else Kind.RESUMED, at=at, profile=fleet.profile),)


def _next_watches(
    fleet: Fleet,
    rows: Mapping[Clean, tuple[Environment, float]],
    at: float,
    listing: Listing,
    belief: Belief,
) -> tuple[dict[Clean, Watch], list[Event]]:
    """Return the watches after a listing, and what happened to each; of the first, silent one nothing is told.

    While its absence is held, a row that the listing lacks stays as it is.
    """
    judge = Judge(fleet.rules)
    old, is_silent = fleet.watches, fleet.listed is None
    watches: dict[Clean, Watch] = {}
    events: list[Event] = []
    for id_, (environment, row_at) in rows.items():
        before = old.get(id_)
        watch = sighted(before, environment, row_at, listing, judge)
        watches[id_] = watch
        if watch is not before and not is_silent:
            events += events_between(before, watch, row_at)
    for id_, before in old.items():
        if id_ in watches:
            continue
        if id_ in listing.unreadable:
            watch = unread(before)
        elif belief.holds_absence_of(id_):
            watch = missed_while_held(before, listing)
        else:
            watch = missed(before, at, listing)
        if watch.presence is not Presence.GONE or at - (watch.since_at or at) < _GONE_KEPT_MS:
            watches[id_] = watch
            if watch is not before:
                events += events_between(before, watch, at)
    return watches, _introduced(events, watches)


def _introduced(events: list[Event], watches: Mapping[Clean, Watch]) -> list[Event]:
    """Return the events, each newcomer on a device that is known told as a twin or as a replacement."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[Clean, list[Watch]] = {}
    for id_, watch in watches.items():
        if id_ not in newcomers:
            on_device.setdefault(watch.environment.device_id, []).append(watch)

    def introduced(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        kin = on_device.get(watches[event.id].environment.device_id, [])
        if not kin:
            return event
        # What this listing lacks may have been this very machine under its old id.
        twin = next((watch for watch in kin if watch.verdict.is_up and not watch.absent), None)
        relation = f"twin of {twin.environment.name}" if twin else f"replaces {kin[-1].environment.name}"
        return replace(event, reason=Clean(f"{relation}, same device"))

    return [introduced(event) for event in events]


def _told(
    fleet: Fleet, now: Reading, clock: ServerClock, watches: Mapping[Clean, Watch], events: list[Event]
) -> list[Event]:
    """Return the events as a person should hear of them: in groups where many belong together."""
    if not events:
        return []
    dark_since = _dark_since(fleet, now)
    if dark_since is not None:
        at = clock.at(now.wall)
        since, members = clock.at(dark_since.wall), tuple(events)
        return [Event(kind=Kind.WHILE_BLIND, at=at, profile=fleet.profile, since=since, members=members)]

    def survivors(lost: set[Clean]) -> list[Environment]:
        return [
            watch.environment
            for id_, watch in fleet.watches.items()
            if id_ not in lost and watch.verdict.is_up and watches[id_].verdict.is_up
        ]

    were_online = sum(watch.verdict.is_up for watch in fleet.watches.values())
    return list(with_masses(events, were_online, lambda id_: fleet.watches[id_].environment, survivors))
