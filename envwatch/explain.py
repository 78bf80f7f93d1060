"""Why envwatch says what it says of one environment: the answer, then every rule, its inputs and its result.

Pure. Made from the same values as the verdict, so that it can be argued with; it decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch import rules
from envwatch.anomalies import Anomaly
from envwatch.flapping import change_rate
from envwatch.fleet import Sight
from envwatch.phrases import IMPOSSIBLE, MS, NOTHING, date_text, date_warning, long_age
from envwatch.presence import UNTIMED, Judge, Presence
from envwatch.text import Clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from envwatch.clock import Reading
    from envwatch.fleet import Fleet
    from envwatch.watch import Watch


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


def answer(watch: Watch, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield what comes of the rules for one environment: the verdict, and what Letta's own client would say.

    Args:
        watch: the environment.
        fleet: what is known.
        now: this machine's clocks.
        zone: in which instants are shown; None for the local one.
    """
    yield _verdict(watch, fleet, now, zone)
    yield _official(watch, fleet, now)


def trace(watch: Watch, fleet: Fleet, now: Reading, zone: tzinfo | None = None) -> Iterator[Step]:
    """Yield every rule for one environment, in the order in which they decide.

    Args:
        watch: the environment.
        fleet: what is known.
        now: this machine's clocks.
        zone: in which instants are shown; None for the local one.
    """
    yield _listing(fleet, now, zone)
    yield _clock(fleet)
    yield _connection(watch)
    yield _heartbeat(watch, fleet, zone)
    yield _witness(watch, fleet)
    yield _upstream(fleet)
    yield _absence(watch)
    yield _flapping(watch, fleet)


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
    pages = f" of {_counted(len(fleet.watches), 'row')} in {_counted(snapshot.requests, 'request')}" if snapshot else ""
    asked = f"asked for {date_text(_asked_at(fleet), zone)}, {long_age(fleet.age(now))} ago"
    inputs = f"listing {fleet.listings}{pages}, {asked}"
    sight = fleet.sight(now)
    results = {
        Sight.LIVE: "fresh",
        Sight.STALE: "stale: verdicts are from then",
        Sight.BLIND: "blind: every row reads unknown",
        Sight.WAITING: "nothing is known",
    }
    return Step("listing", Clean(inputs), Clean(results[sight]), is_against=sight is not Sight.LIVE)


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


def _connection(watch: Watch) -> Step:
    connection = watch.environment.connection_id
    if connection:
        return Step("connectionId", connection, Clean("non-empty: may be online"))
    value = "empty" if connection is not None else "null"
    return Step("connectionId", Clean(value), Clean("offline: disconnected"), is_against=True)


def _heartbeat(watch: Watch, fleet: Fleet, zone: tzinfo | None) -> Step:
    beat = watch.environment.last_heartbeat_at
    if watch.is_untimed:
        result = "cannot be true: the last verdict stays, as unknown"
        return Step("lastHeartbeat", IMPOSSIBLE, Clean(result), is_against=True)
    if beat is None:
        return Step("lastHeartbeat", Clean("null"), Clean("no number: offline"), is_against=True)
    age = _asked_at(fleet) - beat
    limit, late = fleet.rules.online_for / MS, fleet.rules.late_after / MS
    inputs = f"{date_text(beat, zone)}, when listed {_ms(age)} old"
    if watch.is_doubted and fleet.date_error is None:
        return Step("lastHeartbeat", Clean(inputs), Clean("cannot be true: not judged by this, see witness"))
    if age >= limit:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"≥ {_ms(limit)}: heartbeat lost"), is_against=True)
    if age >= late:
        return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(limit)} but ≥ {_ms(late)}: late, a ping was missed"))
    return Step("lastHeartbeat", Clean(inputs), Clean(f"< {_ms(late)}: beating"))


def _witness(watch: Watch, fleet: Fleet) -> Step:
    is_judge = watch.is_doubted and not watch.is_untimed and fleet.date_error is None
    if fleet.listed is None or (watch.advanced_at is None and not is_judge):
        return Step("witness", Clean("heartbeat not yet seen to advance"), Clean("nothing to compare the clock with"))
    ago = watch.witness.least(fleet.listed.monotonic * 1000) / 1000
    what = "first listed" if watch.advanced_at is None else "advanced"
    inputs = f"heartbeat {what} {ago:.1f} s before the newest listing, by this machine's monotonic clock"
    if is_judge:
        return Step("witness", Clean(inputs), Clean("contradicts the clock: judged by this instead"), is_against=True)
    return Step("witness", Clean(inputs), Clean("agrees with the clock"))


def _upstream(fleet: Fleet) -> Step:
    pulse = fleet.pulse
    if fleet.hold is not None:
        inputs = f"{fleet.hold.claim.text}, {_counted(fleet.hold.listings, 'listing')} in a row"
        what = "their absence" if fleet.hold.anomaly is Anomaly.VANISHED else "the newest listing"
        return Step("upstream", Clean(inputs), Clean(f"{what} is not believed yet"), is_against=True)
    if pulse.is_stalled:
        inputs = "no online row's heartbeat advances"
        return Step(
            "upstream", Clean(inputs), Clean("silence proves nothing: online rows read unknown"), is_against=True
        )
    if not pulse.beats_count:
        inputs = "heartbeats have just begun to advance again"
        return Step("upstream", Clean(inputs), Clean("silence proves nothing yet"), is_against=True)
    return Step("upstream", Clean("heartbeats of the fleet advance"), Clean("nothing unusual"))


def _absence(watch: Watch) -> Step:
    inputs = Clean(f"absent from {watch.absent} complete listings in a row")
    if watch.presence is Presence.GONE:
        return Step("absence", inputs, Clean(f"≥ {rules.LISTINGS_TO_GONE}: gone"), is_against=True)
    if watch.absent >= rules.LISTINGS_TO_GONE:
        return Step("absence", inputs, Clean("not gone before the server was asked about it"), is_against=True)
    return Step("absence", inputs, Clean(f"< {rules.LISTINGS_TO_GONE}: not gone"), is_against=watch.absent > 0)


def _flapping(watch: Watch, fleet: Fleet) -> Step:
    rate = change_rate(watch.shifts, _asked_at(fleet))
    minutes = (rules.FLAP_SAMPLES - 1) * rules.FLAP_EVERY / timedelta(minutes=1)
    limits = f"on from {rules.FLAP_ON:.0f}, off at {rules.FLAP_OFF:.0f}"
    inputs = f"weighted changes of the last {minutes:.0f} min: {rate:.1f} % ({limits})"
    return Step(
        "flapping", Clean(inputs), Clean("flapping" if watch.is_flapping else "steady"), is_against=watch.is_flapping
    )


def _verdict(watch: Watch, fleet: Fleet, now: Reading, zone: tzinfo | None) -> Step:
    verdict = watch.verdict
    since = f", since {date_text(watch.since_at, zone)}" if watch.since_at is not None else ", since before we looked"
    word = verdict.presence.value
    if fleet.doubts(watch, now):
        word = "unknown" if verdict is UNTIMED else f"unknown, last {verdict.presence}"
    return Step("verdict", Clean(f"{verdict.reason}{since}"), Clean(word), is_against=not verdict.is_up)


def _official(watch: Watch, fleet: Fleet, now: Reading) -> Step:
    """Return what Letta's own client on this machine would say now: the same rule, by the local clock."""
    verdict = Judge(rules.Rules()).verdict(watch.environment, now.wall)
    beat = watch.environment.last_heartbeat_at
    inputs = NOTHING if beat is None else Clean(f"local clock minus lastHeartbeat = {_ms(now.wall - beat)}")
    says = "online" if verdict.is_up else "offline"
    agrees = verdict.is_up == watch.verdict.is_up
    note = "" if agrees else ": disagrees, see clock and listing below" if fleet.listed else ""
    return Step("official client", inputs, Clean(f"would say {says}{note}"), is_against=not agrees)
