"""Colours of envwatch's themes, and of states in Textual's themes.

Colour is never the only sign of a state. A state has one hue in every theme and in 16 colours: late yellow, a loss red,
`unrestricted!` violet-blue, the cursor grey. Red-green blind people can tell the colours apart, so red is pale on
black, and on white leans to crimson; `envwatch-safe` suits every colour vision. Only losses have the offline colour.
The dark, light and safe themes use 256 colours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PACKAGE = Path(__file__).resolve().parent.parent


def stylesheet() -> Path:
    """Return the stylesheet's path in the package or in a checkout."""
    packaged = _PACKAGE / "styles.tcss"
    return packaged if packaged.exists() else _PACKAGE.parent / "styles.tcss"


_SELECTED = ("input-selection", "screen-selection")
_CURSORS = ("block-cursor", "input-cursor")

_COLOURS = {
    # name: dark, light, high contrast, colour-blind-safe, ANSI
    "state-online": ("#87d7ff", "#005f87", "#5fd7ff", "#00afff", "ansi_default"),
    "state-late": ("#ffd75f", "#5f5f00", "#ffff5f", "#ffffaf", "ansi_yellow"),
    "state-offline": ("#ff8787", "#af005f", "#ffa7a7", "#ff8787", "ansi_red"),
    "state-flapping": ("#ff5fff", "#8700af", "#ffafd7", "#ffafd7", "ansi_magenta"),
    "state-unknown": ("#d0d0d0", "#444444", "#ffffff", "#ffffff", "ansi_default"),
    "state-gone": ("#b2b2b2", "#585858", "#d0d0d0", "#b2b2b2", "ansi_default"),
    "state-unrestricted": ("#afafff", "#0000d7", "#bfbfff", "#afafff", "ansi_bright_blue"),
    "state-plain": ("#d0d0d0", "#262626", "#ffffff", "#ffffff", "ansi_default"),
    "healthy": ("#b2b2b2", "#585858", "#d0d0d0", "#b2b2b2", "ansi_default"),
    "usual": ("#8a8a8a", "#767676", "#d0d0d0", "#8a8a8a", "ansi_default"),
    "row-cursor": ("#3a3a3a", "#dadada", "#303030", "#3a3a3a", "ansi_default"),
    "faint": ("#a8a8a8", "#585858", "#d0d0d0", "#a8a8a8", "ansi_default"),
}
"""The ANSI theme avoids text in colours that vanish on white (yellow, green, cyan) or black (blue): late is black on
yellow."""

STATE_COLOURS, _LIGHT, _CONTRAST, _SAFE, _ANSI_STATES = (
    {name: colours[theme] for name, colours in _COLOURS.items()} for theme in range(5)
)

_NEAREST: Final = {
    Color.parse(hexadecimal).triplet: Color.parse(name)
    for hexadecimal, name in (
        (_LIGHT["state-offline"], "red"),
        (_CONTRAST["state-offline"], "bright_red"),
        (_SAFE["state-late"], "bright_yellow"),
        (STATE_COLOURS["state-unrestricted"], "bright_blue"),
        (_CONTRAST["state-unrestricted"], "bright_blue"),
        (_CONTRAST["state-flapping"], "bright_magenta"),
    )
}
"""Replacements where the nearest of 16 colours has another hue."""

_DARK_YELLOW: Final = Color.parse(_LIGHT["state-late"]).triplet
_CURSOR_ROWS: Final = {
    Color.parse(colours["row-cursor"]).triplet: (Color.parse(text), Color.parse(behind))
    for colours, text, behind in (
        (STATE_COLOURS, "white", "black"),
        (_LIGHT, "black", "bright_white"),
        (_CONTRAST, "bright_white", "black"),
    )
}
"""The colours of text, and of the background, that the row under the cursor swaps."""
_BLACK, _YELLOW = Color.parse("black"), Color.parse("yellow")


def in_16_colours(style: Style) -> Style:
    """Return a style whose hues stay, and whose text is legible, in the 16 colours of old terminals.

    The row under the cursor is reversed, because a red on the only grey vanishes. Yellow text vanishes on white, so
    that the light theme's late rows are black on yellow.
    """
    color, background = style.color, style.bgcolor
    is_reverse = bool(style.reverse)
    if background is not None and background.triplet in _CURSOR_ROWS:
        plain, background = _CURSOR_ROWS[background.triplet]
        is_reverse = True
        if color is not None and len(set(color.get_truecolor())) == 1:
            color = plain  # one bar, because a grey would be its ground
    if color is not None and color.triplet == _DARK_YELLOW:
        color, background = (_YELLOW, _BLACK) if is_reverse else (_BLACK, _YELLOW)
    elif color is not None:
        color = _NEAREST.get(color.triplet, color)
    return style + Style(color=color, bgcolor=background, reverse=is_reverse)


_ANSI = _ANSI_STATES | {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    **{f"{part}-foreground": "ansi_bright_white" for part in _SELECTED},
    **{f"{part}-background": "ansi_magenta" for part in _SELECTED},
    **{f"{part}-{ground}": "ansi_default" for part in _CURSORS for ground in ("foreground", "background")},
    **{f"{part}-text-style": "reverse" for part in _CURSORS},
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
    _theme("envwatch-light", _LIGHT, "#ffffff", "#eeeeee", dark=False),
    _theme("envwatch-contrast", _CONTRAST, "#000000", "#262626"),
    _theme("envwatch-safe", _SAFE, "#121212", "#262626"),
    _theme("envwatch-ansi", _ANSI, "ansi_default", "ansi_default"),
)


def theme_names() -> tuple[str, ...]:
    """Return the names of envwatch's and Textual's themes."""
    return (*(theme.name for theme in THEMES), *BUILTIN_THEMES)


def in_menu_order(names: Iterable[str]) -> list[str]:
    """Return envwatch's themes in declared order, then Textual's by name."""
    own = [theme.name for theme in THEMES]
    return sorted(names, key=lambda name: (own.index(name) if name in own else len(own), name))


def without_colours(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a theme's variables for NO_COLOR.

    States get the text's shade, because an alarming orange would be a duller grey than a calm blue.
    """
    hues = [name for name in STATE_COLOURS if name not in {"state-gone", "row-cursor", "faint", "usual", "healthy"}]
    return {**variables, **dict.fromkeys(hues, variables["foreground"])}
