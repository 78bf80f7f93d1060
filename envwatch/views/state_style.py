"""The look and the words of states: glyphs, styles, instants, marks, clock warnings."""

from __future__ import annotations

import json
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.outages import UptimeState
from envwatch.fleet.presence import Presence
from envwatch.model.shared_marks import shared_ack_of, shared_silence_of
from envwatch.model.text import SafeText, cells, clean, composed
from envwatch.model.times import DAY_MS, clock_text, date_text, long_age, minutes_age, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment

IMPOSSIBLE = clean("before 2020, or more than a day ahead")


class StateStyle(NamedTuple):
    """The look of a state."""

    glyph: str
    ascii: str
    word: SafeText
    style: str


FAINT: Final = "faint"


class Piece(NamedTuple):
    """A part of a row. `style` is a state's style, `FAINT`, a widget's style, or empty."""

    text: SafeText
    style: str = ""


_MINUTE, _FIVE_SECONDS = timedelta(minutes=1), timedelta(seconds=5)

FLAPPING: Final = clean("flap")
FLAPPING_GLYPHS: Final = ("≈", "w")
"""A row keeps its presence's glyph; this glyph marks counts, events and past hours."""
CLOCK_SUSPECT: Final = clean("clk?")
"""Replaces the word of the presence."""

UNKNOWN: Final = StateStyle("?", "?", CLOCK_SUSPECT, "unknown")

PRESENCE_STYLES: Final[Mapping[Presence, StateStyle]] = {
    Presence.ONLINE: StateStyle("●", "+", clean("on"), "online"),
    Presence.LATE: StateStyle("◐", "~", clean("late"), "late"),
    Presence.OFFLINE: StateStyle("○", "x", clean("off"), "offline"),
    Presence.GONE: StateStyle("·", "-", clean("gone"), "gone"),
    Presence.MISSING: StateStyle("!", "!", clean("miss"), "offline"),
}

HOUR_STYLES: Final[Mapping[UptimeState, StateStyle]] = {
    UptimeState.UP: StateStyle("▄", "+", clean("up"), "online"),
    UptimeState.FLAPPING: StateStyle(*FLAPPING_GLYPHS, clean("flapping"), "flapping"),
    UptimeState.DOWN: StateStyle("█", "x", clean("down"), "offline"),
    UptimeState.ABSENT: StateStyle("·", ".", clean("not there"), "gone"),
    UptimeState.UNKNOWN: StateStyle("░", "?", clean("not watched"), "gone"),
}


_SGR: Final[Mapping[str, str]] = {
    "late": "35",
    "offline": "1;31",
    "flapping": "35",
    "unknown": "7",
    "gone": "2",
    "unrestricted": "1;35",
}
"""Parameters of `ESC [ … m`, as in the theme `envwatch-ansi`. A terminal's yellow, green and cyan vanish on white."""


def painted(text: str, style: str) -> str:
    """Return a text with a style's escape sequences, if any."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style in _SGR else text


def style_of(tracked: TrackedEnvironment, *, is_unknown: bool) -> StateStyle:
    """Return the look by priority: impossible time, unknown, suspect clock, flapping, presence."""
    style = PRESENCE_STYLES[tracked.presence]
    if tracked.has_impossible_time:
        return UNKNOWN
    if is_unknown:
        return UNKNOWN._replace(word=style.word)
    if tracked.clock_suspect:
        return style._replace(word=CLOCK_SUSPECT, style="unknown")
    if tracked.is_flapping and tracked.replaced_by is None:
        return style._replace(word=FLAPPING, style="flapping")
    return style


def glyph_of(presence: Presence, *, ascii_only: bool) -> str:
    """Return the glyph of a presence."""
    look = PRESENCE_STYLES[presence]
    return look.ascii if ascii_only else look.glyph


def date_warning(profile_state: ProfileState) -> SafeText | None:
    """Return a text about a wrong `Date` header of the server, or None if the header is believed."""
    if profile_state.date_error is None:
        return None
    whose = (
        "its earlier time" if profile_state.clock.is_known else "this machine's clock, and contradicts every heartbeat"
    )
    return clean(f"the server's Date is {_ahead_or_behind(profile_state.date_error)} {whose}")


def clock_warning(profile_state: ProfileState) -> SafeText | None:
    """Return a sentence about wrong clocks, or None if the clocks agree within 5 s."""
    if (warning := date_warning(profile_state)) is not None:
        return clean(f"{warning}: not believed")
    if not profile_state.clock.is_far_off:
        return None
    ahead_or_behind = _ahead_or_behind(-profile_state.clock.offset)
    return clean(f"this machine's clock is {ahead_or_behind} the server's; ages are by the server's")


def clock_error(error_ms: float) -> timedelta:
    """Return a clock's error, from a minute on in steps of 5 s."""
    exact = span(abs(error_ms))
    return exact if exact < _MINUTE else _FIVE_SECONDS * round(exact / _FIVE_SECONDS)


def _ahead_or_behind(error: float) -> str:
    return f"{long_age(clock_error(error))} {'ahead of' if error > 0 else 'behind'}"


def json_text(value: JsonValue) -> SafeText:
    """Return a text unchanged, any other value as JSON."""
    return composed(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def instant_text(at: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return the time of day, or date and minute if over a day from now (server's clock, ms)."""
    if abs(now - at) < DAY_MS:
        return clock_text(at, zone)
    text = date_text(at, zone)[:16]
    return clean(text if zone is None or not text[:1].isdigit() else f"{text}Z")


_ANY_WIDTH: Final = 1_000


def marked_text(done: str, by: str = "", note: str = "", width: int = _ANY_WIDTH) -> SafeText:
    """Return the mark of a loss: `acked by ana: disk swap`.

    If the mark is wider than `width` cells, the note is dropped first, then the name.
    """
    named = f"{done} by {by}" if by else done
    whole = f"{named}: {note}" if note else named
    return next((text for text in map(composed, (whole, named)) if cells(text) <= width), composed(done))


def shared_text(environment: Environment, wall: float, width: int = _ANY_WIDTH) -> SafeText | None:
    """Return the mark of the serving host's acknowledgement or silence of a row."""
    if (ack := shared_ack_of(environment)) is not None:
        return marked_text("acked", ack.by, ack.note, width)
    if (silence := shared_silence_of(environment, wall)) is not None:
        lasts = minutes_age(span(silence.until - wall))
        return marked_text(f"silenced {lasts}", silence.by, silence.note, width)
    return None


def quiet_text(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> SafeText | None:
    """Return `quiet until 10:00`, in the zone of the profile, for a quiet row."""
    if (end := monitor.quiet_until(tracked, now)) is None:
        return None
    from envwatch.fleet.alerting.quiet import quiet_until_text  # noqa: PLC0415 - only with quiet hours

    at = monitor.fleet.for_environment(tracked).clock.server_time(now.wall)
    return quiet_until_text(end, at, monitor.policy_of(tracked.profile).zone)


def not_back_text(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> SafeText | None:
    """Return `not back by 10:00` for a row that went off in quiet hours that ended since."""
    at = monitor.fleet.for_environment(tracked).clock.server_time(now.wall)
    end = monitor.quiet_end(tracked, at)
    if end is None or end > at:
        return None
    from envwatch.fleet.alerting.quiet import not_back_by_text  # noqa: PLC0415 - only with quiet hours

    return not_back_by_text(end, at, monitor.policy_of(tracked.profile).zone)


def silence_text(silence: Silence, wall: float, width: int = 0) -> SafeText:
    """Return how long a silence lasts; `wall` is this machine's clock in ms.

    Author and note follow if `width` cells allow.
    """
    return marked_text(f"silenced {minutes_age(span(silence.until - wall))}", silence.by, silence.note, width)
