"""The app's colours: the themes that there are, and the choice among them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.app import App, ReturnType

from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.themes import STATE_COLOURS, THEMES, without_colours

if TYPE_CHECKING:
    from textual.theme import Theme


class ThemedApp(App[ReturnType]):
    """An App in themes of envwatch's own or any of Textual's."""

    def __init__(self) -> None:
        self._is_colourless = bool(os.environ.get("NO_COLOR"))  # Textual takes the variable away
        super().__init__()
        self.set_class(self._is_colourless, "-colourless")
        for own in THEMES:
            self.register_theme(own)

    @property
    def available_themes(self) -> dict[str, Theme]:
        """The themes to choose from; without colours, Textual draws those of the terminal black on black."""
        themes = super().available_themes  # Textual asks for each style that it makes.
        if not self._is_colourless:
            return themes
        return {name: theme for name, theme in themes.items() if not theme.ansi}

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the states' colours for themes that do not name their own."""
        return STATE_COLOURS

    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's colours, or what stands for them where none are wanted."""
        variables = super().get_css_variables()
        if self._is_colourless:
            self.theme_variables = variables = without_colours(variables)
        return variables

    def action_change_theme(self) -> None:
        """Choose the colours: envwatch's own first, then Textual's by their names."""
        themes = self.available_themes
        names = dict.fromkeys([*(own.name for own in THEMES if own.name in themes), *sorted(themes)])
        choices = [Choice(name, name, "the one you see" if name == self.theme else "") for name in names]

        def take(name: str | None) -> None:
            self.theme = name or self.theme

        self.push_screen(Menu("Theme", choices, self.theme), take)
