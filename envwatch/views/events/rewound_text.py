"""The wording of going back in time: the badge, moments, and what a key answers.

Pure: the present is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.fleet.profile_state import Freshness
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import NOTHING, moment, offset_text, span

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.model.clock import Clocks

EXAMPLES: Final = "3m ago, 02:13, yesterday 14:00, 2026-11-25 14:00"
"""Moments as people write them; `past_moment_of` understands all of them."""

NO_HISTORY: Final = (
    "no history to go back to: it is switched off (history = false); what is polled from then on is kept"
)
NOTHING_RECORDED: Final = "no history yet: there is one as soon as a second listing is recorded; then [ goes back"
NOT_NOW: Final = "not while rewound: L returns to live"
REPLAYED: Final = "not in a replay: nothing of it is live"
POLLS_GO_ON: Final = "polling goes on meanwhile: L returns to live, where this key works"
REPLAY_POLLS_NOTHING: Final = "a replay polls nothing: p pauses it, [ and ] go through it"
EMPTY_RECORDING: Final = "nothing was recorded: the file has no poll"
IS_LIVE: Final = "this is live already: [ goes back, T to a time"


def moment_text(at: float, present: float, zone: tzinfo | None) -> SafeText:
    """Return an instant as the clock shows it, with its date unless it is of the present day.

    Both are in ms by this machine's wall clock; `zone` None is the local one.
    """
    when, now = moment(at, zone), moment(present, zone)
    if when is None or now is None:
        return NOTHING
    day = "" if when.date() == now.date() else f"{when:%Y-%m-%d} "
    return clean(f"{day}{when:%H:%M:%S}{'' if zone is None else offset_text(when)}")


def ago_text(at: float, present: float, *, ascii_only: bool) -> SafeText:
    """Return how far a moment lies back: `(−41 m)`, and in two units from the first hour on: `(−1 h 51 m)`."""
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
    """Return why the present cannot be seen while the screen shows the past; empty if the present can be seen.

    The line of the newest loss names what is down in the present.
    """
    if any(profile_state.is_refused for profile_state in fleet):
        return clean("key refused")
    return clean("blind") if any(each.freshness(now) is Freshness.BLIND for each in fleet) else EMPTY


def mistake_text(text: str) -> SafeText:
    """Return what is wrong with a moment that someone has typed, with examples."""
    if not text.strip():
        return clean(f"type a moment in the past: {EXAMPLES}")
    return clean(f"no moment in the past; write {EXAMPLES}")


def speed_text(speed: float) -> SafeText:
    """Return the speed of a replay: `10x`, `0.5x`."""
    return clean(f"{speed:g}x")
