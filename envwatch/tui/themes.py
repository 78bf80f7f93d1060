"""Colours: envwatch's own themes, and the states' colours for any other.

A state is never told by its colour alone. The colours keep apart for people who do not see red and green as others do:
blue for online, yellow for late, orange for offline. All of the dark and light themes stand in the palette of 256
colours, so that a terminal without true colour shows the same ones. The contrast of each is tested.
"""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

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

_CONTRAST_STATES = {
    "state-online": "#5fffff",
    "state-late": "#ffff5f",
    "state-offline": "#ffaf5f",
    "state-flapping": "#ffafff",
    "state-unknown": "#ffffff",
    "state-gone": "#d0d0d0",
    "state-unrestricted": "#ffaf5f",
    "state-plain": "#ffffff",
    "row-cursor": "#00005f",
    "row-fresh": "#303030",
    "faint": "#d0d0d0",
}

_ANSI_STATES = {
    "state-online": "ansi_blue",
    "state-late": "ansi_default",
    "state-offline": "ansi_red",
    "state-flapping": "ansi_magenta",
    "state-unknown": "ansi_default",
    "state-gone": "ansi_default",
    "state-unrestricted": "ansi_red",
    "state-plain": "ansi_default",
    "row-cursor": "ansi_default",
    "row-fresh": "ansi_default",
    "faint": "ansi_default",
}


def _theme(name: str, states: dict[str, str], background: str, panel: str, *, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=states["state-online"],
        secondary=states["faint"],
        accent=states["state-late"],
        warning=states["state-late"],
        error=states["state-offline"],
        success=states["state-online"],
        foreground=states["state-plain"],
        background=background,
        surface=background,
        panel=panel,
        dark=dark,
        variables=states,
    )


THEMES = (
    _theme("envwatch-dark", STATE_COLOURS, "#121212", "#262626", dark=True),
    _theme("envwatch-light", _LIGHT_STATES, "#ffffff", "#e4e4e4", dark=False),
    _theme("envwatch-contrast", _CONTRAST_STATES, "#000000", "#000000", dark=True),
)


def theme_names() -> tuple[str, ...]:
    """Return the names of all themes there are."""
    return (*(theme.name for theme in THEMES), *BUILTIN_THEMES)
