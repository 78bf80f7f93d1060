"""How states look: a glyph, an ASCII glyph, a word, and a style's name. Also the text of JSON values.

Pure. Must not know widgets or colours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from pydantic import JsonValue

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment

IMPOSSIBLE = Clean("before 2020, or more than a day ahead")
"""The instants that cannot be true, see `plausible`."""


@dataclass(frozen=True, slots=True)
class StateStyle:
    """The look of a state."""

    glyph: str
    ascii: str
    word: Clean
    style: str
    """The state's name in the stylesheet, which holds its colour."""


_STYLES = {
    Presence.ONLINE: StateStyle("●", "+", Clean("on"), "online"),
    Presence.LATE: StateStyle("◐", "~", Clean("late"), "late"),
    Presence.OFFLINE: StateStyle("○", "x", Clean("off"), "offline"),
    Presence.GONE: StateStyle("·", "-", Clean("gone"), "gone"),
}


def style_of(tracked: TrackedEnvironment, *, is_unknown: bool) -> StateStyle:
    """Return the look of an environment: an impossible time outranks unknown, a suspect clock, flapping, presence."""
    style = _STYLES[tracked.presence]
    if tracked.is_untimed:
        return StateStyle("?", "?", Clean("clk?"), "unknown")
    if is_unknown:
        return StateStyle("?", "?", style.word, "unknown")
    if tracked.clock_suspect:
        return StateStyle(style.glyph, style.ascii, Clean("clk?"), "unknown")
    if tracked.is_flapping:
        return StateStyle(style.glyph, style.ascii, Clean("flap"), "flapping")
    return style


def glyph_of(presence: Presence, *, ascii_only: bool) -> str:
    """Return the glyph of a presence."""
    return _STYLES[presence].ascii if ascii_only else _STYLES[presence].glyph


def date_warning(fleet: Fleet) -> Clean | None:
    """Return what is wrong with the server's `Date` header; None if it is believed."""
    if fleet.date_error is None:
        return None
    whose = "what it was" if fleet.clock.is_known else "this machine's clock, and contradicts every heartbeat"
    return Clean(f"the server's Date is {_ahead_or_behind(fleet.date_error)} {whose}")


def clock_warning(fleet: Fleet) -> Clean | None:
    """Return what is wrong with the clocks that ages are computed by; None if they agree within 5 s."""
    if (warning := date_warning(fleet)) is not None:
        return Clean(f"{warning}: not believed")
    if not fleet.clock.is_far_off:
        return None
    return Clean(
        f"this machine's clock is {_ahead_or_behind(-fleet.clock.offset)} the server's; ages are by the server's"
    )


def _ahead_or_behind(error: float) -> str:
    return f"{long_age(span(abs(error)))} {'ahead of' if error > 0 else 'behind'}"


def json_text(value: JsonValue) -> Clean:
    """Return a value for people: a text as it is, anything else as JSON."""
    return Clean(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
