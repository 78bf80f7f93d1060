"""The settings that only the dashboard can check: names of themes and of key bindings, and commands' keys.

Apart from `bootstrap`, because it imports Textual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.cli.bootstrap import stop_for
from envwatch.model.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.config.settings import Settings


def check_screen(settings: Settings) -> None:
    """Stop if the settings name a theme or a binding that does not exist."""
    if mistakes := list(screen_mistakes(settings)):
        raise stop_for(mistakes)


def screen_mistakes(settings: Settings) -> Iterator[str]:
    """Yield a line for each theme or binding that does not exist; imports Textual if the settings name any."""
    if settings.origin("theme") not in {"default", "remembered"}:
        from envwatch.tui.themes import THEMES, theme_names

        if settings.theme not in theme_names():
            own = ", ".join(theme.name for theme in THEMES)
            # The value is not repeated: it may be a secret in the wrong place.
            nearest = did_you_mean(settings.theme or "", theme_names(), similarity=0.7)
            hint = nearest or f"; it must be {own} or one of Textual's"
            yield f"{settings.origin('theme')}: there is no such theme{hint}"
    if settings.keys:
        from envwatch.tui.keymap import mistakes

        for id_, mistake in mistakes(settings.keys):
            yield f"{settings.origin(f'keys.{id_}')}: keys.{id_} {mistake}"
    if settings.commands:
        from envwatch.tui.keymap import command_mistakes

        for name, mistake in command_mistakes(settings.commands, settings.keys):
            yield f"{settings.origin(f'commands.{name}')}: commands.{name}.key {mistake}"
