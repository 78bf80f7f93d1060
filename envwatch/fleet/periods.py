"""Periods in which the data is missing, old or not believed, as events with begin and end.

Pure. Each kind of period is open or not, whatever the number of polls in it: it begins with one event and ends with
one. Which outcome begins or ends a period is decided in `profile_state`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import composed
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

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
