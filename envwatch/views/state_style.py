"""How states look: a glyph, an ASCII glyph, a word, and a style's name. Also the text of JSON values.

Pure. Must not know widgets or colours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.fleet.outages import UptimeState
from envwatch.fleet.presence import Presence
from envwatch.model.text import SafeText, clean, composed
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment

IMPOSSIBLE = clean("before 2020, or more than a day ahead")
"""The instants that cannot be true, see `plausible`."""


@dataclass(frozen=True, slots=True)
class StateStyle:
    """The look of a state."""

    glyph: str
    ascii: str
    word: SafeText
    style: str
    """The state's name in the stylesheet, which holds its colour."""


_MINUTE, _FIVE_SECONDS = timedelta(minutes=1), timedelta(seconds=5)

FLAPPING: Final = clean("flap")
FLAPPING_GLYPHS: Final = ("≈", "w")
"""Of events and counts of it; a row keeps the glyph of its presence."""
CLOCK_SUSPECT: Final = clean("clk?")
"""Words in place of that of the presence."""

UNKNOWN: Final = StateStyle("?", "?", CLOCK_SUSPECT, "unknown")
"""With the word of an impossible time; blindness keeps that of the last verdict."""

_STYLES = {
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
"""The look of what an environment was in an hour of the past: what was down is tallest."""


_SGR: Final[Mapping[str, str]] = {
    "late": "35",
    "offline": "1;31",
    "flapping": "35",
    "unknown": "7",
    "gone": "2",
    "unrestricted": "1;35",
}
"""The parameters of `ESC [ … m` by the name of a style, as in the theme `envwatch-ansi`. A terminal's yellow, green and
cyan vanish on white, so only red and magenta are used."""


def painted(text: str, style: str) -> str:
    """Return a text with the escape sequences of a style, for a terminal; the text itself where a style has none."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style in _SGR else text


def style_of(tracked: TrackedEnvironment, *, is_unknown: bool) -> StateStyle:
    """Return the look of an environment: an impossible time outranks unknown, a suspect clock, flapping, presence."""
    style = _STYLES[tracked.presence]
    if tracked.has_impossible_time:
        return UNKNOWN
    if is_unknown:
        return replace(UNKNOWN, word=style.word)
    if tracked.clock_suspect:
        return replace(style, word=CLOCK_SUSPECT, style="unknown")
    if tracked.is_flapping and tracked.replaced_by is None:
        return replace(style, word=FLAPPING, style="flapping")
    return style


def presence_style(presence: Presence) -> StateStyle:
    """Return the look of a presence."""
    return _STYLES[presence]


def glyph_of(presence: Presence, *, ascii_only: bool) -> str:
    """Return the glyph of a presence."""
    return _STYLES[presence].ascii if ascii_only else _STYLES[presence].glyph


def style_of_presence(presence: Presence) -> str:
    """Return the name of a presence's style."""
    return _STYLES[presence].style


def date_warning(profile_state: ProfileState) -> SafeText | None:
    """Return what is wrong with the server's `Date` header; None if it is believed."""
    if profile_state.date_error is None:
        return None
    whose = "what it was" if profile_state.clock.is_known else "this machine's clock, and contradicts every heartbeat"
    return clean(f"the server's Date is {_ahead_or_behind(profile_state.date_error)} {whose}")


def clock_warning(profile_state: ProfileState) -> SafeText | None:
    """Return what is wrong with the clocks that ages are computed by; None if they agree within 5 s."""
    if (warning := date_warning(profile_state)) is not None:
        return clean(f"{warning}: not believed")
    if not profile_state.clock.is_far_off:
        return None
    ahead_or_behind = _ahead_or_behind(-profile_state.clock.offset)
    return clean(f"this machine's clock is {ahead_or_behind} the server's; ages are by the server's")


def clock_error(error_ms: float) -> timedelta:
    """Return how large a clock's error is, without the seconds that a `Date` cannot tell where they do not matter."""
    exact = span(abs(error_ms))
    return exact if exact < _MINUTE else _FIVE_SECONDS * round(exact / _FIVE_SECONDS)


def _ahead_or_behind(error: float) -> str:
    return f"{long_age(clock_error(error))} {'ahead of' if error > 0 else 'behind'}"


def json_text(value: JsonValue) -> SafeText:
    """Return a value for people: a text as it is, anything else as JSON."""
    return composed(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
