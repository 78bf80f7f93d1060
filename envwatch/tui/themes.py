"""Colours: envwatch's own themes, and the states' colours for any other.

A state is never told by its colour alone. The colours keep apart for people who do not see red and green as others do:
blue for online, yellow for late, orange for offline. All of the dark and light themes stand in the palette of 256
colours, so that a terminal without true colour shows the same ones. The contrast of each is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_COLOURS = {
    "state-online": "#87d7ff",
    "state-late": "#ffd75f",
    "state-offline": "#ff8700",
    "state-flapping": "#ff5fff",
    "state-unknown": "#d0d0d0",
    "state-gone": "#b2b2b2",
    "state-unrestricted": "#ff8700",
    "state-plain": "#d0d0d0",
    "row-cursor": "#3a3a3a",
    "row-fresh": "#00005f",
    "faint": "#a8a8a8",
}

_LIGHT_STATES = {
    "state-online": "#005f87",
    "state-late": "#875f00",
    "state-offline": "#870000",
    "state-flapping": "#8700af",
    "state-unknown": "#444444",
    "state-gone": "#585858",
    "state-unrestricted": "#870000",
    "state-plain": "#262626",
    "row-cursor": "#e4e4e4",
    "row-fresh": "#ffffaf",
    "faint": "#585858",
}

_CONTRAST_STATES = {
    "state-online": "#5fd7ff",
    "state-late": "#ffff5f",
    "state-offline": "#ffaf5f",
    "state-flapping": "#ffafd7",
    "state-unknown": "#ffffff",
    "state-gone": "#d0d0d0",
    "state-unrestricted": "#ffaf5f",
    "state-plain": "#ffffff",
    "row-cursor": "#00005f",
    "row-fresh": "#303030",
    "faint": "#d0d0d0",
}

# Only what can be read on a light and on a dark background alike: a terminal's yellow, green and cyan vanish on white,
# its blue on black. So red and magenta stand out, and what is well has the colour of all text.
_ANSI_STATES = {
    "state-online": "ansi_default",
    "state-late": "ansi_magenta",
    "state-offline": "ansi_red",
    "state-flapping": "ansi_magenta",
    "state-unknown": "ansi_default",
    "state-gone": "ansi_default",
    "state-unrestricted": "ansi_red",
    "state-plain": "ansi_default",
    "row-cursor": "ansi_default",
    "row-fresh": "ansi_default",
    "faint": "ansi_default",
    # What Textual's own widgets ask for under such a theme: menus, boxes, the palette.
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "block-cursor-foreground": "ansi_bright_white",
    "block-cursor-background": "ansi_magenta",
    "input-cursor-foreground": "ansi_bright_white",
    "input-cursor-background": "ansi_magenta",
    "input-selection-foreground": "ansi_bright_white",
    "input-selection-background": "ansi_magenta",
    "screen-selection-foreground": "ansi_bright_white",
    "screen-selection-background": "ansi_magenta",
}


def _theme(name: str, states: dict[str, str], background: str, panel: str, *, dark: bool = True) -> Theme:
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
        ansi=background.startswith("ansi"),
        variables=states,
    )


THEMES = (
    _theme("envwatch-dark", STATE_COLOURS, "#121212", "#262626"),
    _theme("envwatch-light", _LIGHT_STATES, "#ffffff", "#eeeeee", dark=False),
    _theme("envwatch-contrast", _CONTRAST_STATES, "#000000", "#303030"),
    _theme("envwatch-ansi", _ANSI_STATES, "ansi_default", "ansi_default"),
)


def without_colours(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a theme's variables for who wants no colours: the shade that is left of a hue says nothing.

    An alarming orange makes a duller grey than a calm blue. So all that is there has the shade of text, and what is the
    matter stands out by bold and reverse; only what is gone stays dim.
    """
    shade = variables["foreground"]
    states = [name for name in STATE_COLOURS if name.startswith("state-") and name != "state-gone"]
    return {**variables, **dict.fromkeys(states, shade)}


def theme_names() -> tuple[str, ...]:
    """Return the names of all themes there are."""
    return (*(theme.name for theme in THEMES), *BUILTIN_THEMES)
