"""The words on the screen: glyphs of states, durations, instants, and values without a name.

Pure: the moment is an argument. Knows nothing of widgets or colours. Whatever it puts together from cleaned text is
clean.
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
    """A state shown three ways: a glyph and a word here, a colour by its name in the stylesheet."""

    glyph: str
    ascii: str
    word: Clean
    style: str


_STYLES = {
    Presence.ONLINE: StateStyle("●", "+", Clean("on"), "online"),
    Presence.LATE: StateStyle("◐", "~", Clean("late"), "late"),
    Presence.OFFLINE: StateStyle("○", "x", Clean("off"), "offline"),
    Presence.GONE: StateStyle("·", "-", Clean("gone"), "gone"),
}


def style_of(tracked: TrackedEnvironment, *, is_unknown: bool) -> StateStyle:
    """Return how a state looks: blindness before doubt, doubt before flapping, flapping before presence."""
    face = _STYLES[tracked.presence]
    if is_unknown:
        return StateStyle("?", "?", face.word, "unknown")
    if tracked.clock_suspect:
        return StateStyle(face.glyph, face.ascii, Clean("clk?"), "unknown")
    if tracked.is_flapping:
        return StateStyle(face.glyph, face.ascii, Clean("flap"), "flapping")
    return face


def glyph_of(presence: Presence, *, ascii_only: bool) -> str:
    """Return the glyph of a presence."""
    return _STYLES[presence].ascii if ascii_only else _STYLES[presence].glyph


def json_text(value: JsonValue) -> Clean:
    """Return a value that nobody knows by name: a text as it is, anything else as JSON."""
    return Clean(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
