"""Colours: envwatch's own themes, and the states' colours for any other.

Colour is never the only sign of a state. The hues (blue for online, yellow for late, orange for offline) differ for
people with any kind of colour blindness. The dark and the light theme use the palette of 256 colours only, so that a
terminal without true colour shows the same ones. Tests measure the contrast of each colour on each background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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

# Only colours that are legible on light and dark backgrounds: a terminal's yellow, green and cyan vanish on white, its
# blue on black. So alarms are red and magenta, and everything else has the colour of text.
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
    # For Textual's own widgets: menus, boxes, the palette.
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


def theme_names() -> tuple[str, ...]:
    """Return the names of all themes: envwatch's own, then Textual's."""
    return (*(theme.name for theme in THEMES), *BUILTIN_THEMES)


def in_menu_order(names: Iterable[str]) -> list[str]:
    """Return theme names as the menu shows them: envwatch's own first, then Textual's by name."""
    own = [theme.name for theme in THEMES]
    return sorted(names, key=lambda name: (own.index(name) if name in own else len(own), name))


def usable_themes(themes: dict[str, Theme], *, is_colourless: bool) -> dict[str, Theme]:
    """Return the themes to choose from. Under NO_COLOR, Textual draws ANSI themes black on black."""
    return {name: theme for name, theme in themes.items() if not theme.ansi} if is_colourless else themes


def without_colours(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a theme's variables for NO_COLOR, where the grey that is left of a hue would mislead.

    An alarming orange makes a duller grey than a calm blue. So every state has the shade of text, and alarms stand out
    by bold and reverse; only gone environments stay dim.
    """
    states = [name for name in STATE_COLOURS if name.startswith("state-") and name != "state-gone"]
    return {**variables, **dict.fromkeys(states, variables["foreground"])}
