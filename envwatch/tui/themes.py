"""Colours: envwatch's own dark and light theme, and the states' colours for any other.

A state is never told by its colour alone. The colours keep apart for people who do not see red and green as others do:
blue for online, yellow for late, orange for offline. All of them stand in the palette of 256 colours, so that a
terminal without true colour shows the same ones.
"""

from __future__ import annotations

from textual.theme import Theme

STATE_COLOURS = {
    "state-online": "#87d7ff",
    "state-late": "#ffd75f",
    "state-offline": "#ff8700",
    "state-flapping": "#ff87ff",
    "state-unknown": "#d0d0d0",
    "state-gone": "#b2b2b2",
    "state-unrestricted": "#ff8700",
    "state-plain": "#d0d0d0",
    "row-cursor": "#3a3a3a",
    "row-fresh": "#00005f",
    "faint": "#9e9e9e",
}

_LIGHT_STATES = {
    "state-online": "#005f87",
    "state-late": "#5f5f00",
    "state-offline": "#af0000",
    "state-flapping": "#870087",
    "state-unknown": "#444444",
    "state-gone": "#585858",
    "state-unrestricted": "#af0000",
    "state-plain": "#262626",
    "row-cursor": "#dadada",
    "row-fresh": "#ffffaf",
    "faint": "#585858",
}

THEMES = (
    Theme(
        name="envwatch-dark",
        primary="#87d7ff",
        secondary="#9e9e9e",
        accent="#ffd75f",
        warning="#ffd75f",
        error="#ff8700",
        success="#87d7ff",
        foreground="#d0d0d0",
        background="#121212",
        surface="#121212",
        panel="#262626",
        dark=True,
        variables=STATE_COLOURS,
    ),
    Theme(
        name="envwatch-light",
        primary="#005f87",
        secondary="#585858",
        accent="#5f5f00",
        warning="#5f5f00",
        error="#af0000",
        success="#005f87",
        foreground="#262626",
        background="#ffffff",
        surface="#ffffff",
        panel="#e4e4e4",
        dark=False,
        variables=_LIGHT_STATES,
    ),
)
