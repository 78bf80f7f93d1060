"""The explanation of one environment's verdict: the answer, then every rule with its inputs and its result.

Pure. Uses the same values as the verdict, so that a reader can check it; decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.flapping import change_rate
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import NEVER_LISTED, UNTIMED, PresenceRule
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean, counted
from envwatch.model.times import MS, date_text, long_age, span
from envwatch.views.pane_layout import FAINT, PaneLayout, Piece, Row
from envwatch.views.state_style import IMPOSSIBLE, date_warning

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading


_EXACT_MS = 600_000.0
"""Below this a duration is shown to the millisecond: five times the age at which a heartbeat is lost."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule as it was applied."""

    rule: str
    inputs: Clean
    result: Clean
    is_against: bool = False
    """Whether it is a reason to doubt that the environment is online, or that the screen is up to date."""


_Finding: TypeAlias = tuple[str, str, bool]
"""Inputs, result and `is_against` of a step, composed of cleaned text."""


def answer(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Clean:
    """Return the verdict on one environment in a sentence, with its instant in `zone` (None is the local one)."""
    verdict = tracked.verdict
    result = verdict.presence.value
    if fleet.is_unknown(tracked, now):
        result = "unknown" if verdict == UNTIMED else f"unknown, last {verdict.presence}"
    since = "since before envwatch first listed it"
    if tracked.since_at is not None:
        since = f"since {date_text(tracked.since_at, zone)}"
    return Clean(f"It is {result}: {verdict.reason}, {since}.")


def trace(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> list[Step]:
    """Return what Letta's own client would say, then every rule in the order in which it is applied.

    Instants are shown in `zone`; None is the local one.
    """
    findings = {
        "official client": _official(tracked, fleet, now),
        "listing": _listing(fleet, now, zone),
        "clock": _clock(fleet),
        "connectionId": _connection(tracked),
        "lastHeartbeat": _heartbeat(tracked, fleet, zone),
        "skew check": _skew_check(tracked, fleet),
        "upstream": _upstream(fleet),
        "absence": _absence(tracked),
        "flapping": _flapping(tracked, fleet),
    }
    return [
        Step(rule, Clean(inputs), Clean(result), is_against) for rule, (inputs, result, is_against) in findings.items()
    ]


def explanation_rows(
    tracked: TrackedEnvironment, fleet: Fleet, now: Reading, zone: tzinfo | None, layout: PaneLayout
) -> list[Row]:
    """Return the answer, then each rule with its result, and its inputs below."""
    rows = layout.sentence([Piece(answer(tracked, fleet, now, zone))])
    for step in trace(tracked, fleet, now, zone):
        result = Piece(step.result, "bold offline" if step.is_against else "online")
        rows += layout.sentence([Piece(Clean(f"{step.rule} →"), FAINT), result])
        rows += layout.sentence([Piece(step.inputs)], indent=2)
    return rows


def _ms(value: float) -> str:
    """Return a duration: to the millisecond where a limit may be near, in its two largest units beyond."""
    if abs(value) < _EXACT_MS:
        return f"{round(value) / 1000:g} s"
    return f"{'-' if value < 0 else ''}{long_age(span(abs(value)))}"


def _listed_at(fleet: Fleet) -> float:
    """Return when the newest listing was requested, server's clock in ms."""
    return fleet.clock.at(fleet.listed.wall) if fleet.listed else 0.0


_FRESHNESS_RESULTS = {
    Freshness.LIVE: "fresh",
    Freshness.STALE: "stale: verdicts are of that moment",
    Freshness.BLIND: "blind: every row reads unknown",
    Freshness.WAITING: "nothing is known",
}


def _listing(fleet: Fleet, now: Reading, zone: tzinfo | None) -> _Finding:
    if fleet.listed is None:
        return "none yet", "nothing is known", True
    snapshot = fleet.snapshot
    size = ""
    if snapshot:
        size = f" of {counted(len(fleet.environments), 'row')} in {counted(snapshot.requests, 'request')}"
    requested = f"requested {date_text(_listed_at(fleet), zone)}, {long_age(fleet.age(now))} ago"
    freshness = fleet.freshness(now)
    inputs = f"listing {fleet.listings}{size}, {requested}"
    return inputs, _FRESHNESS_RESULTS[freshness], freshness is not Freshness.LIVE


def _clock(fleet: Fleet) -> _Finding:
    bounds = fleet.clock.bounds
    if (warning := date_warning(fleet)) is not None:
        return warning, "not believed: the clock before it is used", True
    if bounds is None:
        return "no response had a Date header", "the local clock is used", True
    inputs = (
        f"server minus local clock: {fleet.clock.offset / 1000:+.2f} s, between {bounds.low / 1000:+.2f} and "
        f"{bounds.high / 1000:+.2f} s by the Date headers of {counted(len(fleet.clock.samples), 'response')}"
    )
    return inputs, "ages are by the server's clock", fleet.clock.is_far_off


def _connection(tracked: TrackedEnvironment) -> _Finding:
    connection = tracked.environment.connection_id
    if connection:
        return connection, "non-empty: may be online", False
    return "null" if connection is None else "empty", "offline: disconnected", True


def _heartbeat(tracked: TrackedEnvironment, fleet: Fleet, zone: tzinfo | None) -> _Finding:
    beat = tracked.environment.last_heartbeat_at
    if tracked.is_untimed:
        return IMPOSSIBLE, "cannot be true: the last verdict stays, as unknown", True
    if beat is None:
        return "null", "no number: offline", True
    age = _listed_at(fleet) - beat
    limit, late = fleet.limits.online_for / MS, fleet.limits.late_after / MS
    inputs = f"{date_text(beat, zone)}, when listed {_ms(age)} old"
    if tracked.clock_suspect and fleet.date_error is None:
        return inputs, "cannot be right: not used, see skew check", False
    if age >= limit:
        return inputs, f"≥ {_ms(limit)}: heartbeat lost", True
    if age >= late:
        return inputs, f"< {_ms(limit)} but ≥ {_ms(late)}: late, a ping was missed", False
    return inputs, f"< {_ms(late)}: beating", False


def _skew_check(tracked: TrackedEnvironment, fleet: Fleet) -> _Finding:
    is_used = tracked.clock_suspect and not tracked.is_untimed and fleet.date_error is None
    if fleet.listed is None or (tracked.advanced_at is None and not is_used):
        return "heartbeat not yet seen to advance", "nothing to compare the clock with", False
    ago = _ms(tracked.skew_check.least_age_ms(fleet.listed.monotonic))
    change = "first listed" if tracked.advanced_at is None else "advanced"
    inputs = f"heartbeat {change} {ago} before the newest listing, by this machine's monotonic clock"
    if is_used:
        return inputs, "contradicts the clock: used instead of it", True
    return inputs, "agrees with the clock", False


def _upstream(fleet: Fleet) -> _Finding:
    if fleet.hold is not None:
        inputs = f"{fleet.hold.finding.text}, {counted(fleet.hold.listings, 'listing')} in a row"
        claim = "their absence" if fleet.hold.anomaly is Anomaly.VANISHED else "the newest listing"
        return inputs, f"{claim} is not believed yet", True
    if fleet.stall_detector.is_stalled:
        return "no online row's heartbeat advances", "silence proves nothing: online rows read unknown", True
    if not fleet.stall_detector.beats_count:
        return "heartbeats have just begun to advance again", "silence proves nothing yet", True
    return "heartbeats of the fleet advance", "nothing unusual", False


def _absence(tracked: TrackedEnvironment) -> _Finding:
    inputs = f"absent from {tracked.absent} complete listings in a row"
    if tracked.verdict == NEVER_LISTED:
        return "expected, and never in a complete listing", "missing", True
    if tracked.presence.is_absent:
        return inputs, f"≥ {limits.LISTINGS_TO_GONE}: gone", True
    if tracked.absent >= limits.LISTINGS_TO_GONE:
        return inputs, "not gone before the server was asked about it", True
    return inputs, f"< {limits.LISTINGS_TO_GONE}: not gone", tracked.absent > 0


def _flapping(tracked: TrackedEnvironment, fleet: Fleet) -> _Finding:
    rate = change_rate(tracked.transitions, _listed_at(fleet))
    minutes = (limits.FLAP_SAMPLES - 1) * limits.FLAP_EVERY / timedelta(minutes=1)
    thresholds = f"on from {limits.FLAP_ON:.0f}, off at {limits.FLAP_OFF:.0f}"
    inputs = f"weighted changes of the last {minutes:.0f} min: {rate:.1f} % ({thresholds})"
    return inputs, "flapping" if tracked.is_flapping else "steady", tracked.is_flapping


def _official(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> _Finding:
    """Return what Letta's own client would say on this machine now: the same rule, by the local clock."""
    verdict = PresenceRule(limits.Limits()).verdict(tracked.environment, ServerMs(now.wall))
    beat = tracked.environment.last_heartbeat_at
    inputs = "no lastHeartbeat" if beat is None else f"local clock minus lastHeartbeat = {_ms(now.wall - beat)}"
    agrees = verdict.is_up == tracked.verdict.is_up
    note = "" if agrees or not fleet.listed else ": disagrees, see clock and listing below"
    return inputs, f"would say {'online' if verdict.is_up else 'offline'}{note}", not agrees
