"""Words of states, verdicts, marks and warnings."""

from __future__ import annotations

import json
from datetime import timedelta, tzinfo
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Kind
from envwatch.fleet.plausibility import Doubt, ahead_or_behind, clock_error
from envwatch.fleet.presence import UNTIMED, Presence, Reason
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model import limits
from envwatch.model.shared_marks import shared_silence_of
from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, counted
from envwatch.model.times import (
    DAY_MS,
    MS,
    NOTHING,
    clock_text,
    date_text,
    long_age,
    moment,
    offset_text,
    short_age,
    span,
)
from envwatch.query.state_looks import PRESENCE_STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.events import Event
    from envwatch.fleet.plausibility import ClockFault
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import Ack
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.environment import Environment


FAINT: Final = "faint"
KEY: Final = "key"
TITLE: Final = "title"


class Piece(NamedTuple):
    """A part of a row; `style` is a state's or widget's style, or empty."""

    text: SafeText
    style: str = ""


_SGR: Final[Mapping[str, str]] = {
    "late": "30;43",
    "offline": "1;31",
    "flapping": "35",
    "unknown": "7",
    "gone": "2",
    "unrestricted": "1;4;94",
}
"""Parameters of `ESC [ … m`, as in the theme `envwatch-ansi`. Yellow text vanishes on white."""


def painted(text: str, style: str) -> str:
    """Return a text in a style's escape sequences."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style in _SGR else text


UNKNOWN_STATE: Final = clean("unknown")

_FLAPPING_TEXT: Final = clean("flapping")
_UNREADABLE: Final = clean("its data cannot be read")
_NO_LISTING: Final = clean("no answer has come since")


def state_text(tracked: TrackedEnvironment, *, is_unknown: bool) -> SafeText:
    """Return the state in the words of JSON."""
    return UNKNOWN_STATE if is_unknown else clean(tracked.presence.value)


def state_word(tracked: TrackedEnvironment, *, is_unknown: bool) -> SafeText:
    """Return the state in the words of the screen: on, late, off, gone or unknown."""
    return UNKNOWN_STATE if is_unknown else PRESENCE_STYLES[tracked.presence].word


def last_text(tracked: TrackedEnvironment) -> SafeText | None:
    """Return `was off`, or None without an earlier verdict."""
    return None if tracked.verdict == UNTIMED else clean(f"was {PRESENCE_STYLES[tracked.presence].word}")


def why_unknown(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> tuple[float | None, SafeText]:
    """Return the start of an unknown state (server's clock, ms), if known, and the reason."""
    reason = clean(Reason.UNTIMED) if tracked.has_impossible_time else _UNREADABLE
    return why_blind(profile_state, now) or (None, reason)


def why_blind(profile_state: ProfileState, now: Clocks) -> tuple[float, SafeText] | None:
    """Return `blindness`, also after a sleep."""
    if (blindness := profile_state.blindness(now)) is not None:
        return blindness
    if profile_state.listed is not None and profile_state.freshness(now) is Freshness.BLIND:
        return profile_state.clock.server_time(profile_state.listed.wall), _NO_LISTING
    return None


def flapping_text(tracked: TrackedEnvironment) -> SafeText | None:
    """Return `flapping`, or None for a steady or replaced row."""
    return _FLAPPING_TEXT if tracked.is_flapping and tracked.replaced_by is None else None


def reasons(tracked: TrackedEnvironment) -> Iterator[SafeText]:
    """Yield why a row is late or down, and `flapping`."""
    if tracked.presence is not Presence.ONLINE:
        yield tracked.reason
    if (flapping := flapping_text(tracked)) is not None:
        yield flapping


def lasted_text(event: Event, how: str) -> str:
    """Return `how` and the previous state's duration; empty if unknown."""
    return "" if event.lasted is None else f"{how} {long_age(event.lasted)}"


def clock_warning(profile_state: ProfileState) -> SafeText | None:
    """Return a warning about wrong clocks; None if the clocks agree within 5 s.

    Impossible times are counted elsewhere.
    """
    if (fault := profile_state.clock_fault) is not None and fault.judged_by is not None:
        return fault.text
    if not profile_state.clock.is_far_off:
        return None
    error = ahead_or_behind(-profile_state.clock.offset)
    return clean(f"this machine's clock is {error} the server's; ages are by the server's")


def clock_text_of(tracked: TrackedEnvironment, profile_state: ProfileState) -> SafeText | None:
    """Return why a row reads `clk?`, and the verdict's basis; None for an impossible time, named in the proof."""
    if not tracked.clock_suspect or tracked.has_impossible_time:
        return None
    if (fault := profile_state.clock_fault) is not None:
        return fault.text
    whose = "the server's clock" if profile_state.clock.is_known else "this machine's clock"
    return clean(
        f"this heartbeat contradicts {whose}, which agrees with other machines: the time of its next heartbeat decides"
    )


def json_text(value: JsonValue) -> SafeText:
    """Return a text unchanged; an empty text or any other value as JSON."""
    return composed(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def instant_text(at: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return the time of day, or date and minute a day or more from `now` (ms)."""
    if abs(now - at) < DAY_MS:
        return clock_text(at, zone)
    text = date_text(at, zone)[:16]
    return clean(text if zone is None or not text[:1].isdigit() else f"{text}Z")


def marked_text(done: str, by: str = "", note: str = "", width: float = inf) -> SafeText:
    """Return `acked by ana: disk swap`; beyond `width` cells without the note, then without the name."""
    named = f"{done} by {by}" if by else done
    whole = f"{named}: {note}" if note else named
    return next((text for text in map(composed, (whole, named)) if cells(text) <= width), composed(done))


def ack_text(ack: Ack, at: float, zone: tzinfo | None, width: float = inf) -> SafeText:
    """Return `acked until 06:00 by ann: disk swap`; `at` is the server's time in ms."""
    done = "acked" if ack.until is None else f"acked {until_text(ack.until, at, zone)}"
    return marked_text(done, ack.by, ack.note, width)


def shared_silence_text(
    environment: Environment, wall: float, zone: tzinfo | None, width: float = inf
) -> SafeText | None:
    """Return the mark of the serving host's silence."""
    if (silence := shared_silence_of(environment, wall)) is not None:
        return marked_text(silenced_until_text(silence.until, wall, zone), silence.by, silence.note, width)
    return None


def silenced_until_text(until: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return `silenced until 10:00`; see `until_text`."""
    return composed(f"silenced {until_text(until, now, zone)}")


def until_text(until: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return `until 10:00`; both instants are ms of the same clock."""
    from envwatch.alerts.recurring_hours import near_time_text  # noqa: PLC0415 - only with silences

    return composed(f"until {near_time_text(until, now, zone)}")


def silence_text(silenced: Silenced, judge: Judge, profile: SafeText, width: float = inf) -> SafeText:
    """Return `silenced until 10:00 by ana: disk swap`."""
    text = _silenced_until(silenced, judge, profile)
    return marked_text(text, silenced.silence.by, silenced.silence.note, width)


def is_silenced(tracked: TrackedEnvironment, judge: Judge) -> bool:
    """Whether a row is silenced, here or on the serving host."""
    is_shared = shared_silence_of(tracked.environment, judge.now.wall) is not None
    return is_shared or judge.silenced(tracked) is not None


def silenced_text(tracked: TrackedEnvironment, judge: Judge) -> SafeText | None:
    """Return a silenced row's `silenced until 10:00`."""
    silenced = judge.silenced(tracked)
    return None if silenced is None else _silenced_until(silenced, judge, tracked.profile)


def _silenced_until(silenced: Silenced, judge: Judge, profile: SafeText) -> SafeText:
    return silenced_until_text(silenced.until, judge.moments[profile], judge.policy_of(profile).zone)


def not_back_text(tracked: TrackedEnvironment, judge: Judge) -> SafeText | None:
    """Return `not back by 10:00` for a loss counted from a silence's end."""
    at, end = judge.moments[tracked.profile], judge.counted_from(tracked)
    if end is None or end > at:
        return None
    from envwatch.alerts.recurring_hours import not_back_by_text  # noqa: PLC0415 - only with silences

    return not_back_by_text(end, at, judge.policy_of(tracked.profile).zone)


EXAMPLES: Final = "3m ago, 02:13, yesterday 14:00, 2026-11-25 14:00"

NO_HISTORY: Final = "there is no history, because it is off: set history = true, and start envwatch again"
NOTHING_RECORDED: Final = "no history yet: [ goes back after the second recorded poll"
NOT_NOW: Final = "not while rewound: L returns to live"
REPLAYED: Final = "a replay has nothing live: this key does not work here"
POLLS_GO_ON: Final = "this key works live only: L returns to live"
REPLAY_POLLS_NOTHING: Final = "a replay does not poll: p pauses the replay, [ and ] step"
EMPTY_RECORDING: Final = "the recording has no poll"
IS_LIVE: Final = "the screen is live already: { goes back, T goes to a time"


def moment_text(at: float, present: float, zone: tzinfo | None) -> SafeText:
    """Return an instant (this machine's clock, ms), with the date unless today."""
    when, now = moment(at, zone), moment(present, zone)
    if when is None or now is None:
        return NOTHING
    day = "" if when.date() == now.date() else f"{when:%Y-%m-%d} "
    return clean(f"{day}{when:%H:%M:%S}{'' if zone is None else offset_text(when)}")


def ago_text(at: float, present: float, *, ascii_only: bool) -> SafeText:
    """Return a moment's age: `(−41 m)`, from an hour on `(−1 h 51 m)`."""
    seconds = int(span(present - at).total_seconds())
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        age = f"{seconds} s"
    elif hours < 1:
        age = f"{minutes} m"
    else:
        age = f"{hours} h {minutes % 60} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"
    return clean(f"({'-' if ascii_only else '−'}{age})")


def trouble_text(fleet: Fleet, now: Clocks) -> SafeText:
    """Return why the present is unknown; empty if known."""
    if any(profile_state.is_refused for profile_state in fleet):
        return clean("key refused")
    return clean("blind") if any(each.freshness(now) is Freshness.BLIND for each in fleet) else EMPTY


def mistake_text(text: str) -> SafeText:
    """Return the message for a mistyped moment."""
    if not text.strip():
        return clean(f"type a past time: {EXAMPLES}")
    return clean(f"this is no past time; write {EXAMPLES}")


def speed_text(speed: float) -> SafeText:
    """Return a replay's speed: `10x`, `0.5x`."""
    return clean(f"{speed:g}x")


def doubt_of(profile_state: ProfileState, now: Clocks) -> tuple[Doubt, SafeText] | None:
    """Return the gravest doubt about a profile's data, with the duration or the clock's error.

    Other badges say that data is blind or awaited, or the key refused.
    """
    if profile_state.freshness(now) in (Freshness.WAITING, Freshness.BLIND) or profile_state.is_refused:
        return None
    return next(_doubts(profile_state, now), None)


def _doubts(profile_state: ProfileState, now: Clocks) -> Iterator[tuple[Doubt, SafeText]]:
    if profile_state.stall_detector.is_stalled:
        since = profile_state.periods.get(Kind.STALLED)
        server_now = profile_state.clock.server_time(now.wall)
        yield Doubt.STALLED, EMPTY if since is None else short_age(span(server_now - since))
    if (quarantine := profile_state.quarantine) is not None:
        yield Doubt.HELD, short_age(timedelta(seconds=max(now.monotonic - quarantine.since, 0.0)))
    fault = _fault_of(profile_state)
    if fault is not None and fault.doubt is Doubt.TIMES:
        yield Doubt.TIMES, EMPTY
    if profile_state.freshness(now) is Freshness.STALE:
        yield Doubt.STALE, short_age(profile_state.age(now))
    if fault is not None:
        yield fault.doubt, EMPTY if fault.error_ms is None else signed_error(fault.error_ms)
    if profile_state.failure is not None:
        yield Doubt.FAILING, short_age(profile_state.age(now))


def _fault_of(profile_state: ProfileState) -> ClockFault | None:
    """Return a clock's fault; without an open period, rows need no look."""
    has_fault = profile_state.date_error is not None or Kind.CLOCK_WRONG in profile_state.periods
    return profile_state.clock_fault if has_fault else None


def signed_error(error_ms: float) -> SafeText:
    """Return a clock's error: `+10m`."""
    return composed(f"{'+' if error_ms >= 0 else '-'}{short_age(clock_error(error_ms))}")


def quarantine_text(profile_state: ProfileState, now: Clocks, zone: tzinfo | None) -> SafeText | None:
    """Return a quarantine's reason, possible end and effect on rows."""
    quarantine, since = profile_state.quarantine, profile_state.periods.get(Kind.HELD)
    if quarantine is None or since is None:
        return None
    listings = counted(max(limits.ANOMALY_POLLS - quarantine.listings, 1), "more poll")
    until = clock_text(since + limits.ANOMALY_AFTER / MS, zone) if quarantine.left_s(now.monotonic) else listings
    shown = "machines not listed stay unchanged"
    if quarantine.is_whole and profile_state.listed is not None:
        shown = f"the table is as of {clock_text(profile_state.clock.server_time(profile_state.listed.wall), zone)}"
    doubt = f"{quarantine.finding.text} ({clock_text(since, zone)}): not believed before {until}"
    return clean(f"{doubt}; {shown}. Press r to ask now.")


def hooks_text(failing: Mapping[SafeText, WallMs], zone: tzinfo | None) -> SafeText | None:
    """Return a sentence about failing hooks since the first failure."""
    if not failing:
        return None
    first, *others = sorted(failing, key=lambda name: (failing[name], name))
    who = f"hook {first} has" if not others else f"hook {first} and {counted(len(others), 'other')} have"
    return composed(f"{who} failed since {clock_text(failing[first], zone)}: no incident message arrives")


def doubt_text(profile_state: ProfileState, zone: tzinfo | None) -> SafeText | None:
    """Return why all rows read unknown despite successful polls."""
    if profile_state.stall_detector.is_stalled:
        since = profile_state.periods.get(Kind.STALLED)
        moment = NOTHING if since is None else clock_text(since, zone)
        return clean(f"no new heartbeat since {moment}: the platform stands still, or all are down")
    fault = profile_state.clock_fault
    return None if fault is None else fault.text
