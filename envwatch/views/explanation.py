"""Why envwatch says what it says of one environment: the answer, then every rule, its inputs and its result.

Pure. Made from the same values as the verdict, so that it can be argued with; it decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.flapping import change_rate
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import UNTIMED, Presence, PresenceRule
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.model.times import MS, NOTHING, date_text, long_age
from envwatch.views.state_style import IMPOSSIBLE, date_warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading


_EXACT_MS = 600_000.0
"""Below this a duration is told to the millisecond: five times the age at which a heartbeat is lost."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule as it was applied."""

    rule: str
    inputs: Clean
    result: Clean
    is_against: bool = False
    """Whether it speaks against trusting a row that is called online, or against trusting the screen."""


def answer(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield what comes of the rules for one environment: the verdict, and what Letta's own client would say.

    Args:
        tracked: the environment.
        fleet: what is known.
        now: this machine's clocks.
        zone: in which instants are shown; None for the local one.
    """
    yield _verdict(tracked, fleet, now, zone)
    yield _official(tracked, fleet, now)


def trace(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield every rule for one environment, in the order in which they decide.

    Args:
        tracked: the environment.
        fleet: what is known.
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
    """Return a duration: to the millisecond where a limit may be near, in its two largest units beyond."""
    if abs(value) < _EXACT_MS:
        return f"{round(value) / 1000:g} s"
    return f"{'-' if value < 0 else ''}{long_age(MS * abs(value))}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _asked_at(fleet: Fleet) -> float:
    return fleet.clock.at(fleet.listed.wall) if fleet.listed else 0.0


def _listing(fleet: Fleet, now: Reading, zone: tzinfo | None) -> Step:
    if fleet.listed is None:
        return Step("listing", Clean("none yet"), Clean("nothing is known"), is_against=True)
    snapshot = fleet.snapshot
    pages = (
        f" of {_counted(len(fleet.environments), 'row')} in {_counted(snapshot.requests, 'request')}"
        if snapshot
        else ""
    )
    asked = f"asked for {date_text(_asked_at(fleet), zone)}, {long_age(fleet.age(now))} ago"
    inputs = f"listing {fleet.listings}{pages}, {asked}"
    freshness = fleet.freshness(now)
    results = {
        Freshness.LIVE: "fresh",
        Freshness.STALE: "stale: verdicts are from then",
        Freshness.BLIND: "blind: every row reads unknown",
        Freshness.WAITING: "nothing is known",
    }
    return Step("listing", Clean(inputs), Clean(results[freshness]), is_against=freshness is not Freshness.LIVE)


def _clock(fleet: Fleet) -> Step:
    bounds = fleet.clock.bounds
    if (warning := date_warning(fleet)) is not None:
        return Step("clock", warning, Clean("not believed: the clock before it is used"), is_against=True)
    if bounds is None:
        return Step(
            "clock", Clean("no answer carried a Date header"), Clean("the local clock is used"), is_against=True
        )
    inputs = (
        f"server minus local clock: {fleet.clock.offset / 1000:+.2f} s, between {bounds.low / 1000:+.2f} and "
        f"{bounds.high / 1000:+.2f} s by the Date headers of {_counted(len(fleet.clock.samples), 'answer')}"
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
    if tracked.is_untimed:
        result = "cannot be true: the last verdict stays, as unknown"
        return Step("lastHeartbeat", IMPOSSIBLE, Clean(result), is_against=True)
    if beat is None:
        return Step("lastHeartbeat", Clean("null"), Clean("no number: offline"), is_against=True)
    age = _asked_at(fleet) - beat
    limit, late = fleet.limits.online_for / MS, fleet.limits.late_after / MS
    inputs = f"{date_text(beat, zone)}, when listed {_ms(age)} old"
    if tracked.clock_suspect and fleet.date_error is None:
        return Step("lastHeartbeat", Clean(inputs), Clean("cannot be true: not judged by this, see witness"))
    if age >= limit:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"≥ {_ms(limit)}: heartbeat lost"), is_against=True)
    if age >= late:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(limit)} but ≥ {_ms(late)}: late, a ping was missed"))
    return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(late)}: beating"))


def _skew_check(tracked: TrackedEnvironment, fleet: Fleet) -> Step:
    is_judge = tracked.clock_suspect and not tracked.is_untimed and fleet.date_error is None
    if fleet.listed is None or (tracked.advanced_at is None and not is_judge):
        return Step("witness", Clean("heartbeat not yet seen to advance"), Clean("nothing to compare the clock with"))
    ago = tracked.skew_check.least_age_ms(fleet.listed.monotonic) / 1000
    what = "first listed" if tracked.advanced_at is None else "advanced"
    inputs = f"heartbeat {what} {ago:.1f} s before the newest listing, by this machine's monotonic clock"
    if is_judge:
        return Step("witness", Clean(inputs), Clean("contradicts the clock: judged by this instead"), is_against=True)
    return Step("witness", Clean(inputs), Clean("agrees with the clock"))


def _upstream(fleet: Fleet) -> Step:
    stall_detector = fleet.stall_detector
    if fleet.hold is not None:
        inputs = f"{fleet.hold.finding.text}, {_counted(fleet.hold.listings, 'listing')} in a row"
        what = "their absence" if fleet.hold.anomaly is Anomaly.VANISHED else "the newest listing"
        return Step("upstream", Clean(inputs), Clean(f"{what} is not believed yet"), is_against=True)
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
    if tracked.absent >= limits.LISTINGS_TO_GONE:
        return Step("absence", inputs, Clean("not gone before the server was asked about it"), is_against=True)
    return Step("absence", inputs, Clean(f"< {limits.LISTINGS_TO_GONE}: not gone"), is_against=tracked.absent > 0)


def _flapping(tracked: TrackedEnvironment, fleet: Fleet) -> Step:
    rate = change_rate(tracked.transitions, _asked_at(fleet))
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
    since = (
        f", since {date_text(tracked.since_at, zone)}" if tracked.since_at is not None else ", since before we looked"
    )
    word = verdict.presence.value
    if fleet.is_unknown(tracked, now):
        word = "unknown" if verdict == UNTIMED else f"unknown, last {verdict.presence}"
    return Step("verdict", Clean(f"{verdict.reason}{since}"), Clean(word), is_against=not verdict.is_up)


def _official(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Step:
    """Return what Letta's own client on this machine would say now: the same rule, by the local clock."""
    verdict = PresenceRule(limits.Limits()).verdict(tracked.environment, ServerMs(now.wall))
    beat = tracked.environment.last_heartbeat_at
    inputs = NOTHING if beat is None else Clean(f"local clock minus lastHeartbeat = {_ms(now.wall - beat)}")
    says = "online" if verdict.is_up else "offline"
    agrees = verdict.is_up == tracked.verdict.is_up
    note = "" if agrees else ": disagrees, see clock and listing below" if fleet.listed else ""
    return Step("official client", inputs, Clean(f"would say {says}{note}"), is_against=not agrees)
