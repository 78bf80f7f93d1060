"""The explanation of one environment's verdict: the answer, then every rule with its inputs and its result.

Pure. Uses the same values as the verdict, so that a reader can check it; decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.fleet.flapping import change_rate
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import Presence, PresenceRule
from envwatch.model import limits
from envwatch.model.text import Clean, counted
from envwatch.model.times import MS, NOTHING, date_text, long_age

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading


@dataclass(frozen=True, slots=True)
class Step:
    """One rule as it was applied."""

    rule: str
    inputs: Clean
    result: Clean
    is_against: bool = False
    """Whether it is a reason to doubt that the environment is online, or that the screen is up to date."""


def answer(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield the verdict on one environment, and what Letta's own client would say.

    Args:
        tracked: the environment.
        fleet: its fleet.
        now: this machine's clocks.
        zone: in which instants are shown; None for the local one.
    """
    yield _verdict(tracked, fleet, now, zone)
    yield _official(tracked, fleet, now)


def trace(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield every rule for one environment, in the order in which they are applied.

    Args:
        tracked: the environment.
        fleet: its fleet.
        now: this machine's clocks.
        zone: in which instants are shown; None for the local one.
    """
    yield _listing(fleet, now, zone)
    yield _clock(fleet)
    yield _connection(tracked)
    yield _heartbeat(tracked, fleet, zone)
    yield _skew_check(tracked, fleet)
    yield _upstream(fleet)
    yield _absence(tracked)
    yield _flapping(tracked, fleet)


def _ms(value: float) -> str:
    return f"{value:,.0f} ms"


def _listed_at(fleet: Fleet) -> float:
    """Return when the newest listing was requested, server's clock in ms."""
    return fleet.clock.at(fleet.listed.wall) if fleet.listed else 0.0


def _listing(fleet: Fleet, now: Reading, zone: tzinfo | None) -> Step:
    if fleet.listed is None:
        return Step("listing", Clean("none yet"), Clean("nothing is known"), is_against=True)
    snapshot = fleet.snapshot
    size = f" of {counted(len(fleet.environments), 'row')} in {counted(snapshot.requests, 'page')}" if snapshot else ""
    requested = f"requested {date_text(_listed_at(fleet), zone)}, {long_age(fleet.age(now))} ago"
    inputs = f"listing {fleet.listings}{size}, {requested}"
    freshness = fleet.freshness(now)
    results = {
        Freshness.LIVE: "fresh",
        Freshness.STALE: "stale: verdicts are of that moment",
        Freshness.BLIND: "blind: every row reads unknown",
        Freshness.WAITING: "nothing is known",
    }
    return Step("listing", Clean(inputs), Clean(results[freshness]), is_against=freshness is not Freshness.LIVE)


def _clock(fleet: Fleet) -> Step:
    bounds = fleet.clock.bounds
    if bounds is None:
        return Step("clock", Clean("no response had a Date header"), Clean("the local clock is used"), is_against=True)
    inputs = (
        f"server minus local clock: {fleet.clock.offset / 1000:+.2f} s, between {bounds.low / 1000:+.2f} and "
        f"{bounds.high / 1000:+.2f} s by the Date headers of {counted(len(fleet.clock.samples), 'response')}"
    )
    return Step("clock", Clean(inputs), Clean("ages are by the server's clock"), is_against=fleet.clock.is_far_off)


def _connection(tracked: TrackedEnvironment) -> Step:
    connection = tracked.environment.connection_id
    if connection:
        return Step("connectionId", connection, Clean("non-empty: may be online"))
    value = "empty" if connection is not None else "null"
    return Step("connectionId", Clean(value), Clean("offline: disconnected"), is_against=True)


def _heartbeat(tracked: TrackedEnvironment, fleet: Fleet, zone: tzinfo | None) -> Step:
    beat = tracked.environment.last_heartbeat_at
    if beat is None:
        return Step("lastHeartbeat", Clean("null"), Clean("no number: offline"), is_against=True)
    age = _listed_at(fleet) - beat
    limit, late = fleet.limits.online_for / MS, fleet.limits.late_after / MS
    inputs = f"{date_text(beat, zone)}, when listed {_ms(age)} old"
    if tracked.clock_suspect:
        return Step("lastHeartbeat", Clean(inputs), Clean("cannot be right: not used, see skew check"))
    if age >= limit:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"≥ {_ms(limit)}: heartbeat lost"), is_against=True)
    if age >= late:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(limit)} but ≥ {_ms(late)}: late, a ping was missed"))
    return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(late)}: beating"))


def _skew_check(tracked: TrackedEnvironment, fleet: Fleet) -> Step:
    if fleet.listed is None or (tracked.advanced_at is None and not tracked.clock_suspect):
        inputs = Clean("heartbeat not yet seen to advance")
        return Step("skew check", inputs, Clean("nothing to compare the clock with"))
    ago = tracked.skew_check.least(fleet.listed.monotonic * 1000) / 1000
    change = "first listed" if tracked.advanced_at is None else "advanced"
    inputs = Clean(f"heartbeat {change} {ago:.1f} s before the newest listing, by this machine's monotonic clock")
    if tracked.clock_suspect:
        return Step("skew check", inputs, Clean("contradicts the clock: used instead of it"), is_against=True)
    return Step("skew check", inputs, Clean("agrees with the clock"))


def _upstream(fleet: Fleet) -> Step:
    stall_detector = fleet.stall_detector
    if fleet.hold is not None:
        inputs = f"{fleet.hold.anomaly}, {fleet.hold.listings} of {limits.ANOMALY_POLLS} listings"
        return Step("upstream", Clean(inputs), Clean("the newest listing is not believed yet"), is_against=True)
    if stall_detector.is_stalled:
        inputs = "no online row's heartbeat advances"
        return Step(
            "upstream", Clean(inputs), Clean("silence proves nothing: online rows read unknown"), is_against=True
        )
    if not stall_detector.beats_count:
        inputs = "heartbeats have just begun to advance again"
        return Step("upstream", Clean(inputs), Clean("silence proves nothing yet"), is_against=True)
    return Step("upstream", Clean("heartbeats of the fleet advance"), Clean("nothing unusual"))


def _absence(tracked: TrackedEnvironment) -> Step:
    inputs = Clean(f"absent from {tracked.absent} complete listings in a row")
    if tracked.presence is Presence.GONE:
        return Step("absence", inputs, Clean(f"≥ {limits.LISTINGS_TO_GONE}: gone"), is_against=True)
    return Step("absence", inputs, Clean(f"< {limits.LISTINGS_TO_GONE}: not gone"), is_against=tracked.absent > 0)


def _flapping(tracked: TrackedEnvironment, fleet: Fleet) -> Step:
    rate = change_rate(tracked.transitions, _listed_at(fleet))
    minutes = (limits.FLAP_SAMPLES - 1) * limits.FLAP_EVERY / timedelta(minutes=1)
    thresholds = f"on from {limits.FLAP_ON:.0f}, off at {limits.FLAP_OFF:.0f}"
    inputs = f"weighted changes of the last {minutes:.0f} min: {rate:.1f} % ({thresholds})"
    return Step(
        "flapping",
        Clean(inputs),
        Clean("flapping" if tracked.is_flapping else "steady"),
        is_against=tracked.is_flapping,
    )


def _verdict(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None) -> Step:
    verdict = tracked.verdict
    since = "before envwatch first listed it" if tracked.since_at is None else date_text(tracked.since_at, zone)
    word = f"unknown, last {verdict.presence}" if fleet.is_unknown(tracked, now) else verdict.presence.value
    return Step("verdict", Clean(f"{verdict.reason}, since {since}"), Clean(word), is_against=not verdict.is_up)


def _official(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Step:
    """Return what Letta's own client would say on this machine now: the same rule, by the local clock."""
    verdict = PresenceRule(limits.Limits()).verdict(tracked.environment, now.wall)
    beat = tracked.environment.last_heartbeat_at
    inputs = NOTHING if beat is None else Clean(f"local clock minus lastHeartbeat = {_ms(now.wall - beat)}")
    agrees = verdict.is_up == tracked.verdict.is_up
    note = "" if agrees or not fleet.listed else ": disagrees, see clock and listing below"
    result = f"would say {'online' if verdict.is_up else 'offline'}{note}"
    return Step("official client", inputs, Clean(result), is_against=not agrees)
