"""Events: one value for each change of an environment or of the platform; and the periods that events begin and end.

How events are found and shown is decided elsewhere. The age of a heartbeat is never an event. In a period the data is
missing, old or not believed. Each kind of period is open or not, whatever the number of polls in it: it begins with one
event and ends with one. Which outcome begins or ends a period is decided in `profile_state`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta

    from envwatch.fleet.presence import Verdict
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment


NO_PROFILE: Final = EMPTY
"""The profile where only one is polled."""
NOT_RUNNING: Final = clean("envwatch did not run")
"""The reason of a `while blind` group that compares two runs."""


class Kind(StrEnum):
    """The kinds of events."""

    APPEARED = "appeared"
    ONLINE = "online"
    OFFLINE = "offline"
    RECONNECTED = "reconnected"
    """A new connection, without having been seen offline."""
    RESTARTED = "restarted"
    """The same, with another process or version of the listener."""
    GONE = "gone"
    MISSING = "missing"
    """Expected, and gone for longer than `limits.MISSING_AFTER`; or expected, and found never to have been listed."""
    RETURNED = "returned"
    """Listed again after it was gone."""
    MODE = "mode"
    VERSION = "version"
    BRANCH = "branch"
    RENAMED = "renamed"
    CHANGED = "changed"
    """Another field: directory, node version, OS, pod, user."""
    FLAPPING = "flapping"
    STEADY = "steady"
    """No longer flapping."""
    TOGETHER = "together"
    """Many events of one kind in one listing."""
    WHILE_BLIND = "while blind"
    """Everything that changed while envwatch was blind, asleep or did not run (`NOT_RUNNING`)."""
    HELD = "held"
    RELEASED = "hold ended"
    """The platform's answer is too unlikely to be believed at once, or no longer is."""
    STALLED = "stalled"
    RESUMED = "resumed"
    """The platform's heartbeats stand still, or move again."""
    BLIND = "blind"
    VISIBLE = "visible again"
    """The data is too old to be true, or recent again."""
    FAILING = "polls fail"
    REACHED = "polls succeed"
    """Two polls in a row have failed, or one succeeds after them."""
    KEY_REFUSED = "key refused"
    KEY_ACCEPTED = "key accepted"
    SLEPT = "slept"
    """This machine slept, or the process was stopped, from `since` to `at`."""
    NOTICE = "notice"
    """A message about envwatch itself, in `reason`."""


class EventState(NamedTuple):
    """An environment at the time of an event."""

    environment: Environment
    """Its row; for a loss the row before it, as a row without a connection has no pod."""
    verdict: Verdict
    is_flapping: bool = False
    clock_suspect: bool = False
    left_pod_id: SafeText | None = None
    """See `TrackedEnvironment`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change."""

    kind: Kind
    at: ServerMs
    """When the listing that proved it was asked for."""
    profile: SafeText = NO_PROFILE
    """Empty where only one is polled."""
    id: SafeText | None = None
    """The environment's id; None if the event is about the fleet."""
    name: SafeText | None = None
    field: str | None = None
    """The field that changed, for `changed`."""
    before: SafeText | None = None
    after: SafeText | None = None
    """Values before and after; a presence for the kinds that speak of one."""
    reason: SafeText | None = None
    lasted: timedelta | None = None
    """How long the state before had lasted, if known."""
    of: Kind | None = None
    """The kind of the members, for `binding_scopes`."""
    members: tuple[Event, ...] = ()
    """The events of a group."""
    since: ServerMs | None = None
    """When the period began that this event begins, ends or covers, by the newest data before it."""
    incident: SafeText | None = None
    """The id of the incident that a loss belongs to, which opens if the loss holds; of a return, the one it leaves."""
    then: EventState | None = dataclasses.field(default=None, compare=False, repr=False)
    """None if the event is about the fleet."""


def flatten(events: Iterable[Event]) -> list[Event]:
    """Return the events with each group replaced by its members."""
    return [leaf for event in events for leaf in (flatten(event.members) if event.members else [event])]


def leaves(events: Iterable[Event], group: Event | None = None) -> Iterator[tuple[Event, Event | None]]:
    """Yield the events without members, each with the outermost group around it."""
    for event in events:
        if event.members:
            yield from leaves(event.members, group or event)
        else:
            yield event, group


Periods: TypeAlias = "Mapping[Kind, ServerMs]"
"""Since when each open period lasts, by the kind of the event that began it."""

NO_PERIODS: Final[Periods] = MappingProxyType({})

ENDS: Final[Mapping[Kind, Kind]] = MappingProxyType(
    {
        Kind.BLIND: Kind.VISIBLE,
        Kind.FAILING: Kind.REACHED,
        Kind.KEY_REFUSED: Kind.KEY_ACCEPTED,
        Kind.HELD: Kind.RELEASED,
        Kind.STALLED: Kind.RESUMED,
    }
)
"""The kinds of events that begin a period, each with the kind that ends it."""

_SLEPT_MS: Final = limits.SLEPT_FROM / MS

BY_ANY_LISTING: Final = frozenset({Kind.FAILING, Kind.KEY_REFUSED})
"""The periods that any listing ends, whether it is believed or not, and new or not."""


def blind_after(interval: timedelta) -> timedelta:
    """Return the age from which data is blind where polls come in an interval."""
    return max(limits.BLIND_AT_LEAST, limits.STALE_INTERVALS * interval)


def begun(periods: Periods, event: Event) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods with the one that an event begins, and the event; nothing happens if it is open already.

    It began at `event.since`, or when the event happened.
    """
    if event.kind in periods:
        return periods, ()
    return MappingProxyType({**periods, event.kind: event.at if event.since is None else event.since}), (event,)


def ended(
    periods: Periods, ends: Mapping[Kind, ServerMs], profile: SafeText, reason: SafeText | None = None
) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods without those of some kinds, and an event for each of these that was open.

    Args:
        periods: those that are open.
        ends: when periods of each kind end, at the earliest.
        profile: whose they are.
        reason: why they end.
    """
    # When a served listing was asked for is known to a request's time: none ends before it began.
    over = [(ENDS[kind], max(ends[kind], since), since) for kind, since in periods.items() if kind in ends]
    events = tuple(
        Event(kind=kind, at=end, profile=profile, since=since, lasted=span(end - since), reason=reason)
        for kind, end, since in over
    )
    if not events:
        return periods, ()
    return MappingProxyType({kind: since for kind, since in periods.items() if kind not in ends}), events


def woken(
    periods: Periods, last_awake: Clocks, now: Clocks, at: ServerMs | None, profile: SafeText
) -> tuple[Periods, tuple[Event, ...], float]:
    """Return the periods without a sleep, the events of the sleep, and by how many ms the wall clock was set meanwhile.

    The server's clock measures the sleep. The wall clock was set if the wall clock went further than the server's clock
    did, or less far. Where the wall clock was set and nothing slept, the only event is a notice.

    Args:
        periods: with the sleep, which began by the server's clock as known before.
        last_awake: this machine's clocks before the sleep.
        now: this machine's clocks when the first listing was asked for.
        at: the same moment by the server's clock as known from that listing; None if the listing has no `Date`.
        profile: whose periods these are.
    """
    since, rest = periods[Kind.SLEPT], dict(periods)
    del rest[Kind.SLEPT]
    measured_ms, drift_ms = (now.monotonic - last_awake.monotonic) * 1000, now.drift_since(last_awake) * 1000
    if at is None:
        at = ServerMs(since + now.wall - last_awake.wall)
    slept_ms = at - since - measured_ms
    set_by_ms, events = drift_ms - slept_ms, list[Event]()
    if slept_ms > _SLEPT_MS or abs(drift_ms) <= _SLEPT_MS:
        # The monotonic clock stands still in a sleep, and goes on while the process is stopped.
        lasted = span(slept_ms if slept_ms > _SLEPT_MS else at - since)
        events.append(Event(kind=Kind.SLEPT, at=ServerMs(max(at, since)), profile=profile, since=since, lasted=lasted))
    if abs(set_by_ms) <= _SLEPT_MS:
        set_by_ms = 0.0
    else:
        # A `Date` has no fractions of a second.
        by = long_age(span(5_000 * round(abs(set_by_ms) / 5_000)))
        text = composed(f"this machine's clock was set {'ahead' if set_by_ms > 0 else 'back'} by {by}")
        events.append(Event(kind=Kind.NOTICE, at=at, profile=profile, reason=text))
    return MappingProxyType(rest), tuple(events), set_by_ms
