"""The explanation of an environment's verdict, rule by rule."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.alerts.alert_policy import decision_sentence
from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.plausibility import IMPOSSIBLE
from envwatch.fleet.presence import NEVER_LISTED, Presence, PresenceRule, Reason
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.fleet.replacement import Obstacle, obstacle_of, siblings
from envwatch.fleet.tracking import change_rate
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerMs
from envwatch.model.environment import NEVER
from envwatch.model.text import SafeText, clean, composed, counted
from envwatch.model.times import MS, date_text, long_age, span
from envwatch.views.pane.remedies import is_started_by_command, why_listener_ends
from envwatch.views.state_style import FAINT, Piece, last_text, not_back_text, silenced_text, state_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.pane.layout import PaneLayout, Row


_MINUTE: Final = timedelta(minutes=1)
_EXACT_MS = 600_000.0
"""Shorter durations are exact. The limit is five times the age of a lost heartbeat."""


Finding: TypeAlias = tuple[str, str, bool]
"""A rule's inputs and result, and whether the result casts doubt on the online state or on freshness."""


def answer(
    tracked: TrackedEnvironment,
    profile_state: ProfileState,
    now: Clocks,
    zone: tzinfo | None = None,
    silenced: SafeText | None = None,
) -> SafeText:
    """Return the verdict in a sentence."""
    is_unknown = profile_state.is_unknown(tracked, now)
    states = (state_text(tracked, is_unknown=is_unknown), last_text(tracked) if is_unknown else None)
    since = "since before the first poll"
    if tracked.since_at is not None:
        since = f"since {date_text(tracked.since_at, zone)}"
    reason = tracked.reason if silenced is None else f"{tracked.reason}, {silenced}"
    return composed(f"This machine is {', '.join(filter(None, states))}: {reason}, {since}.")


def trace(
    tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks, zone: tzinfo | None = None
) -> dict[str, Finding]:
    """Return the findings by rule, in the order of application."""
    findings = {
        "Letta's client": _official(tracked, profile_state, now),
        "poll": _listing(profile_state, now, zone),
        "clock": _clock(profile_state),
        "connectionId": _connection(tracked),
        "lastHeartbeat": _heartbeat(tracked, profile_state, zone),
        "clock check": _skew_check(tracked, profile_state),
        "platform": _upstream(profile_state),
        "absence": _absence(tracked),
        "flapping": _flapping(tracked, profile_state),
        "replacement": _replacement(tracked, profile_state),
    }
    if tracked.verdict == NEVER_LISTED:
        findings |= dict.fromkeys(("connectionId", "lastHeartbeat", "clock check"), _NO_ROW)
    elif not tracked.environment.connection_id and is_started_by_command(tracked.environment):
        findings["listener"] = (why_listener_ends(tracked.environment), "ended, or waits for a login", False)
    return findings


def explanation_rows(
    tracked: TrackedEnvironment, monitor: Monitor, now: Clocks, zone: tzinfo | None, layout: PaneLayout
) -> list[Row]:
    """Return the answer and the findings as rows."""
    profile_state = monitor.fleet.for_environment(tracked)
    judge = monitor.judge(now)
    silenced = silenced_text(tracked, judge) or not_back_text(tracked, judge)
    rows = layout.sentence([Piece(answer(tracked, profile_state, now, zone, silenced))])
    if silenced is not None:
        rows += layout.sentence([Piece(_SILENCED)])
    rows += layout.sentence([Piece(decision_sentence(judge.decision_of(tracked), tracked, zone))])
    for rule, (inputs, result, is_against) in trace(tracked, profile_state, now, zone).items():
        piece = Piece(composed(result), "bold offline" if is_against else "online")
        rows += layout.sentence([Piece(clean(f"{rule} →"), FAINT), piece])
        rows += layout.sentence([Piece(composed(inputs))], indent=2)
    return rows


def _ms(value: float) -> str:
    if abs(value) < _EXACT_MS:
        return f"{round(value) / 1000:g} s"
    return f"{'-' if value < 0 else ''}{long_age(span(abs(value)))}"


_SILENCED: Final = clean("A loss pages from the end of the silence.")

_NO_ROW: Final[Finding] = ("the server never listed this name or device id", "not used", False)
_FRESHNESS_RESULTS = {
    Freshness.LIVE: "fresh",
    Freshness.STALE: "stale: verdicts are from that moment",
    Freshness.BLIND: "blind: every machine is unknown",
    Freshness.WAITING: "nothing is known yet",
}


def _listing(profile_state: ProfileState, now: Clocks, zone: tzinfo | None) -> Finding:
    if profile_state.listed is None:
        return "no answer yet", "nothing is known yet", True
    snapshot = profile_state.snapshot
    size = ""
    if snapshot:
        size = f": {counted(len(profile_state.environments), 'machine')} in {counted(snapshot.requests, 'request')}"
    requested = f"requested {date_text(profile_state.listed_at or NEVER, zone)}, {long_age(profile_state.age(now))} ago"
    freshness = profile_state.freshness(now)
    inputs = f"poll {profile_state.listings}{size}, {requested}"
    return inputs, _FRESHNESS_RESULTS[freshness], freshness is not Freshness.LIVE


def _clock(profile_state: ProfileState) -> Finding:
    bounds = profile_state.clock.bounds
    if (fault := profile_state.clock_fault) is not None and fault.judged_by is not None:
        return fault.wrong, f"not believed: {fault.judged_by} counts", True
    if bounds is None:
        return "no response had a Date header", "ages count by this machine's clock", True
    inputs = (
        f"the server's clock minus this machine's: {profile_state.clock.offset / 1000:+.2f} s, from "
        f"{bounds.low / 1000:+.2f} to {bounds.high / 1000:+.2f} s by the Date headers of "
        f"{counted(len(profile_state.clock.samples), 'response')}"
    )
    return inputs, "ages count by the server's clock", profile_state.clock.is_far_off


def _connection(tracked: TrackedEnvironment) -> Finding:
    connection = tracked.environment.connection_id
    if connection:
        return connection, "connected: may be online", False
    return "null" if connection is None else "empty", f"offline: {Reason.DISCONNECTED}", True


def _heartbeat(tracked: TrackedEnvironment, profile_state: ProfileState, zone: tzinfo | None) -> Finding:
    beat = tracked.environment.last_heartbeat_at
    if tracked.has_impossible_time:
        return IMPOSSIBLE, "impossible time: unknown, with the last verdict", True
    if beat is None:
        return "null", f"{Reason.NEVER_BEAT}: offline", True
    age = (profile_state.listed_at or NEVER) - beat
    limit, late = profile_state.limits.online_for / MS, profile_state.limits.late_after / MS
    inputs = f"{date_text(beat, zone)}, {_ms(age)} old in the newest poll"
    if tracked.clock_suspect and profile_state.date_error is None:
        return inputs, "impossible age: see clock check", False
    if age >= limit:
        return inputs, f"{_ms(limit)} or older: {Reason.HEARTBEAT_LOST}", True
    if age >= late:
        return inputs, f"{_ms(late)} or older: late, {Reason.MISSED}", False
    return inputs, f"younger than {_ms(late)}: {Reason.BEATING}", False


def _skew_check(tracked: TrackedEnvironment, profile_state: ProfileState) -> Finding:
    is_used = tracked.clock_suspect and not tracked.has_impossible_time and profile_state.date_error is None
    if (
        tracked.advanced_at is None
        and not is_used
        and (not tracked.environment.connection_id or tracked.verdict.is_absent)
    ):
        return "no heartbeat comes without a connection", "not needed: the verdict uses no heartbeat", False
    if profile_state.listed is None or (tracked.advanced_at is None and not is_used):
        return "envwatch has seen no newer heartbeat yet", "no result before the next heartbeat", False
    ago = _ms(tracked.skew_check.least_age_ms(profile_state.listed.monotonic))
    change = "the first poll with this heartbeat" if tracked.advanced_at is None else "a new heartbeat"
    inputs = f"{change} came {ago} before the newest poll, by this machine's monotonic clock"
    if is_used:
        return inputs, "the clock is wrong: this age counts instead", True
    return inputs, "agrees with the clock", False


def _upstream(profile_state: ProfileState) -> Finding:
    if profile_state.quarantine is not None:
        inputs = (
            f"{profile_state.quarantine.finding.text}, {counted(profile_state.quarantine.listings, 'poll')} in a row"
        )
        claim = "the loss" if profile_state.quarantine.anomaly is Anomaly.VANISHED else "the newest poll"
        return inputs, f"{claim} is not believed yet", True
    if profile_state.stall_detector.is_stalled:
        return "no online machine has a new heartbeat", "stalled: online machines are unknown", True
    if not profile_state.stall_detector.beats_count:
        return "new heartbeats have just returned", "a missing heartbeat proves nothing yet", True
    return "new heartbeats reach the platform", "nothing unusual", False


def _absence(tracked: TrackedEnvironment) -> Finding:
    which = "newest complete answer lacks" if tracked.absent == 1 else f"newest {tracked.absent} complete answers lack"
    inputs = f"the {which} this machine"
    if tracked.verdict == NEVER_LISTED:
        return "expected, but never in a complete poll", "off", True
    if not tracked.absent:
        return "the newest complete poll has this machine", "not gone", False
    if tracked.verdict.is_absent:
        return inputs, "gone", True
    if tracked.absent >= limits.LISTINGS_TO_GONE:
        return inputs, "not gone yet: the server has to confirm the absence", True
    return inputs, f"not gone yet: {limits.LISTINGS_TO_GONE} polls in a row must lack it", True


def _flapping(tracked: TrackedEnvironment, profile_state: ProfileState) -> Finding:
    rate = change_rate(tracked.transitions, profile_state.listed_at or NEVER)
    halves = limits.FLAP_SAMPLES - 1
    if not rate:
        inputs = f"no loss, return or reconnect in the last {halves * limits.FLAP_EVERY / _MINUTE:.0f} minutes"
    else:
        inputs = (
            f"losses, returns or reconnects in {rate:.0f} % of the last {halves} half minutes (recent ones count "
            f"more); flapping begins at {limits.FLAP_ON:.0f} % and ends at {limits.FLAP_OFF:.0f} %"
        )
    return inputs, "flapping" if tracked.is_flapping else "steady", tracked.is_flapping


def _replacement(tracked: TrackedEnvironment, profile_state: ProfileState) -> Finding:
    others = siblings(tracked, profile_state.environments.values())
    count = f"{counted(len(others), 'other listener')} with this organization, device and kind of listener"
    if profile_state.has_moved_identity:
        inputs, result = (
            f"{count}; this server changed the firstSeenAt of a machine",
            "the rule is off: none is replaced",
        )
    elif tracked.replaced_by is not None:
        inputs, result = f"{count}{_new_row(others, tracked)}", f"{tracked.reason}: no loss"
    elif (obstacle := obstacle_of(tracked)) is Obstacle.TWIN:
        twins = ", ".join(each.environment.label for each in others if each.environment.id in tracked.twins)
        inputs, result = f"{count}; online at the same time: {twins}", obstacle.value
    elif obstacle is not None:
        inputs, result = count, obstacle.value
    else:
        inputs, result = f"{count}{_newest_of(others, tracked)}", "not replaced by another"
    is_loss = tracked.replaced_by is None and tracked.presence is Presence.OFFLINE
    return inputs, result, is_loss


def _new_row(others: Sequence[TrackedEnvironment], tracked: TrackedEnvironment) -> str:
    new = next((each for each in others if each.environment.id == tracked.replaced_by), None)
    if new is None:
        return ""
    ahead = new.environment.first_seen_at - tracked.environment.last_seen_alive_at
    if ahead < -limits.REPLACEMENT_TOLERANCE / MS:
        return f"; {new.environment.label} was offline while this one was online, and returned later"
    relation = f"{_ms(abs(ahead))} {'before' if ahead < 0 else 'after'} this one's last sign of life"
    return f"; {new.environment.label} was first seen {relation}; they never sent heartbeats side by side"


def _newest_of(others: Sequence[TrackedEnvironment], tracked: TrackedEnvironment) -> str:
    if not others:
        return ""
    if len(others) >= limits.REPLACEMENT_ROWS:
        return "; too many to be one machine"
    newest = max(others, key=lambda each: each.environment.first_seen_at)
    ahead = newest.environment.first_seen_at - tracked.environment.last_seen_alive_at
    if ahead >= -limits.REPLACEMENT_TOLERANCE / MS:
        return f"; {newest.environment.label} is new, but replaces another one or cannot be trusted"
    seen = f"first seen {_ms(-ahead)} before this one's last sign of life"
    return f"; {newest.environment.label}, the newest, was {seen}"


def _official(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> Finding:
    verdict = PresenceRule(limits.Limits()).verdict(tracked.environment, ServerMs(now.wall))
    beat = tracked.environment.last_heartbeat_at
    inputs = "no heartbeat" if beat is None else f"heartbeat {_ms(now.wall - beat)} old by this machine's clock"
    agrees = verdict.is_up == tracked.verdict.is_up
    note = "" if agrees or not profile_state.listed else ": see clock and poll for the difference"
    return inputs, f"would say {'online' if verdict.is_up else 'offline'}{note}", not agrees
