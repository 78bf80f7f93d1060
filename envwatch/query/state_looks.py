"""How the states of a row look: glyphs, styles, short words and reasons."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.presence import Presence, Reason
from envwatch.fleet.watched_time import UptimeState
from envwatch.model.text import SafeText, clean, composed
from envwatch.model.times import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.limits import Limits


class StateStyle(NamedTuple):
    """The look of a state."""

    glyph: str
    ascii: str
    word: SafeText
    style: str


FLAPPING: Final = clean("flap")
FLAPPING_GLYPHS: Final = ("≈", "w")
"""Glyphs of flapping in counts, events and past hours, not in rows."""
CLOCK_SUSPECT: Final = clean("clk?")

UNKNOWN: Final = StateStyle("?", "?", CLOCK_SUSPECT, "unknown")

PRESENCE_STYLES: Final[Mapping[Presence, StateStyle]] = {
    Presence.ONLINE: StateStyle("●", "+", clean("on"), "online"),
    Presence.LATE: StateStyle("◐", "~", clean("late"), "late"),
    Presence.OFFLINE: StateStyle("○", "x", clean("off"), "offline"),
    Presence.GONE: StateStyle("·", "-", clean("gone"), "gone"),
}

# Past hours need no person, so none has a loss's colour.
HOUR_STYLES: Final[Mapping[UptimeState, StateStyle]] = {
    UptimeState.UP: StateStyle("█", "+", clean("up"), "online"),
    UptimeState.FLAPPING: StateStyle(*FLAPPING_GLYPHS, clean("flapping"), "flapping"),
    UptimeState.DOWN: StateStyle("▁", "x", clean("down"), "plain"),
    UptimeState.ABSENT: StateStyle("·", ".", clean("not there"), "gone"),
    UptimeState.UNKNOWN: StateStyle("░", "?", clean("not watched"), "gone"),
}
HOUR_GLYPHS: Final[Mapping[str, str]] = {
    glyph: look.style for look in HOUR_STYLES.values() for glyph in (look.glyph, look.ascii)
}
_MARKED_HOURS: Final = (18, 12, 6)


@lru_cache(1_024)
def hours_text(hours: tuple[UptimeState, ...], *, ascii_only: bool) -> SafeText:
    """Return a glyph per hour."""
    looks = (HOUR_STYLES[state] for state in hours)
    return composed("".join(look.ascii if ascii_only else look.glyph for look in looks))


def hour_marks(width: int, first: str = "-24h") -> SafeText:
    """Return `first` and the hour marks that fit below a strip of `width` cells."""
    line = list(first[:width].ljust(width))
    marks = [("now", width - 3), *((f"-{hours}h", round((1 - hours / 24) * (width - 1))) for hours in _MARKED_HOURS)]
    for mark, place in marks:
        end = place + len(mark)
        if place > 0 and end <= width and set(line[place - 1 : end + 1]) == {" "}:
            line[place:end] = mark
    return composed("".join(line))


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
    """Return a presence's glyph."""
    look = PRESENCE_STYLES[presence]
    return look.ascii if ascii_only else look.glyph


def countdown_text(left_s: float, *, is_short: bool = False) -> SafeText:
    """Return a late row's `offline in 12 s`, or short `off in 12 s`."""
    if left_s <= 0:
        return clean("off next poll" if is_short else "offline at the next poll")
    return clean(f"{'off' if is_short else 'offline'} in {left_s:.0f} s")


def cause_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return why a row is down, late or flapping, in at most 14 cells."""
    match tracked.presence:
        case Presence.LATE if not tracked.clock_suspect:
            left = fleet_limits.online_for - span(now - tracked.environment.last_seen_alive_at)
            return countdown_text(left.total_seconds(), is_short=True)
        case Presence.ONLINE if tracked.is_flapping:
            return composed(f"{len(tracked.transitions)} changes/h")
        case _:
            return short_reason(tracked)


def short_reason(tracked: TrackedEnvironment) -> SafeText | None:
    """Return a verdict's constant reason in at most 14 cells; None for a healthy row."""
    if tracked.replaced_by is not None:
        return tracked.reason
    reason = tracked.verdict.reason
    if reason in (Reason.BEATING, Reason.UNTIMED):
        return None
    return _SHORT_REASONS.get(reason) or clean(reason.value)


_SHORT_REASONS: Final = {
    Reason.ABSENT: clean("not listed"),
    Reason.MISSED: clean("ping missed"),
}
