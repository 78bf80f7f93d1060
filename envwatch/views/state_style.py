"""How states look: a glyph, an ASCII glyph, a word, and a style's name. Also the text of JSON values.

Pure. Must not know widgets or colours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean

if TYPE_CHECKING:
    from pydantic import JsonValue

    from envwatch.fleet.tracking import TrackedEnvironment


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
    """Return the look of an environment: unknown outranks a suspect clock, then flapping, then presence."""
    style = _STYLES[tracked.presence]
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


def json_text(value: JsonValue) -> Clean:
    """Return a value for people: a text as it is, anything else as JSON."""
    return Clean(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
