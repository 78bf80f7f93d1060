"""Periods in which the data is missing, old or not believed, as events with begin and end.

Pure. Each kind of period is open or not, whatever the number of polls in it: it begins with one event and ends with
one. Which outcome begins or ends a period is decided in `fleet`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.model.times import span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.fleet.anomalies import Acceptance, HeldListing, StallDetector

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

BY_ANY_LISTING: Final = frozenset({Kind.FAILING, Kind.KEY_REFUSED})
"""The periods that any listing ends, whether it is believed or not, and new or not."""


def begun(periods: Periods, event: Event) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods with the one that an event begins, and the event; nothing happens if it is open already.

    It began at `event.since`, or when the event happened.
    """
    if event.kind in periods:
        return periods, ()
    return MappingProxyType({**periods, event.kind: event.at if event.since is None else event.since}), (event,)


def ended(  # noqa: PLR0913  what ends them, by keyword
    periods: Periods,
    kinds: Collection[Kind],
    *,
    at: ServerMs,
    profile: Clean,
    seen_at: ServerMs | None = None,
    reason: Clean | None = None,
) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods without those of some kinds, and an event for each of these that was open.

    They end at `at`; those that any listing ends, at `seen_at`.
    """
    ends = {kind: at if seen_at is None or kind not in BY_ANY_LISTING else seen_at for kind in kinds}
    # When a served listing was asked for is known to a request's time: none ends before it began.
    over = [(ENDS[kind], max(ends[kind], since), since) for kind, since in periods.items() if kind in ends]
    events = tuple(
        Event(kind=kind, at=end, profile=profile, since=since, lasted=span(end - since), reason=reason)
        for kind, end, since in over
    )
    if not events:
        return periods, ()
    return MappingProxyType({kind: since for kind, since in periods.items() if kind not in kinds}), events


def after_listing(  # noqa: PLR0913  what a listing says, by keyword
    periods: Periods,
    before: HeldListing | None,
    acceptance: Acceptance,
    stall_detector: StallDetector,
    *,
    at: ServerMs,
    seen_at: ServerMs,
    profile: Clean,
    is_recent: bool,
) -> tuple[Periods, tuple[Event, ...]]:
    """Return the periods after a listing, and the events of those that begin or end with it, ends first.

    A hold for another reason is another period.

    Args:
        periods: those that are open before it.
        before: what was not believed of the listing before.
        acceptance: what of it is believed.
        stall_detector: whether heartbeats are stalled after it, and for how long.
        at: when the platform was asked for it.
        seen_at: when this process asked for it, which is later where it is handed on.
        profile: whose it is.
        is_recent: whether the data is recent now: a listing that is held as a whole does not change it.
    """
    hold = acceptance.hold
    over = set(BY_ANY_LISTING)
    if is_recent:
        over.add(Kind.BLIND)
    if not stall_detector.is_stalled:
        over.add(Kind.STALLED)
    periods, events = ended(periods, over, at=at, seen_at=seen_at, profile=profile)
    if hold is None or (before is not None and before.anomaly is not hold.anomaly):
        outcome = Clean("believed now" if acceptance.listings_held else "a later listing contradicts it")
        periods, released = ended(periods, {Kind.HELD}, at=at, profile=profile, reason=outcome)
        events += released
    if hold is not None:
        periods, held = begun(periods, Event(kind=Kind.HELD, at=at, profile=profile, reason=hold.finding.text))
        events += held
    if stall_detector.is_stalled:
        since = ServerMs(at - stall_detector.silent_s * 1000)
        periods, stalled = begun(periods, Event(kind=Kind.STALLED, at=at, profile=profile, since=since))
        events += stalled
    return periods, events
