"""From the command line to what the commands need: what holds, the key, the client, and what must not be told.

Owns the order in which these are found, and turns whatever is wrong with them into one line and an exit code. Imports
late, like `cli` and `headless`, which use it.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.sources.letta.client import Client
    from envwatch.storage.log import PollLog


def all_settings_for(
    options: Options, environ: Mapping[str, str] = os.environ, only: Iterable[str] | None = None
) -> list[Settings]:
    """Return what options, variables, file and memory make together, for each profile that they name."""
    from envwatch.config.settings import all_settings_of
    from envwatch.config.values import ConfigError

    try:
        return all_settings_of(vars(options), environ, remembered=_remembered(options), only=only)
    except ConfigError as error:
        raise _stop(error.lines) from None


def settings_for_demo(options: Options) -> Settings:
    """Return the same for the demo: only the looks, and no profile but the default one, whatever the variable names."""
    from envwatch.config.settings import DEMO_SETTINGS, PROFILE

    environ = {name: told for name, told in os.environ.items() if name != PROFILE}
    (settings,) = all_settings_for(options, environ, only=DEMO_SETTINGS)
    return settings


def config_path_for(options: Options) -> tuple[Path, bool]:
    """Return where the configuration file is, or would be, and whether the user says so."""
    from envwatch.config.settings import config_path
    from envwatch.config.values import ConfigError

    try:
        return config_path(options.config, os.environ)
    except ConfigError as error:
        raise _stop(error.lines) from None


def _remembered(options: Options) -> dict[str, Any]:
    """Return what the last dashboard left; a listing has no use for it."""
    if options.command == "list":
        return {}
    from dataclasses import asdict

    from envwatch.storage.remembered import remembered
    from envwatch.views.columns import COLUMNS

    known = asdict(remembered(state_file("state")))
    columns = tuple(id_ for id_ in known["columns"] or () if id_ in COLUMNS)
    return known | {"columns": columns, "sort": known["sort"] if known["sort"] in COLUMNS else None}


def state_file(name: str) -> Path:
    """Return where something is remembered."""
    return _state_folder() / f"{name}.json"


def _stop(mistakes: Sequence[str]) -> StopError:
    """Return what stops a command, with the first mistake: a command fails in one line."""
    others = f" (and {len(mistakes) - 1} more: `envwatch config validate`)" if len(mistakes) > 1 else ""
    return StopError(Exit.USAGE, f"{mistakes[0]}{others}")


def check_screen(settings: Settings) -> None:
    """Stop if the screen does not know what the settings ask of it; imports Textual if they ask for anything."""
    if mistakes := list(mistakes_of_screen(settings)):
        raise _stop(mistakes)


def mistakes_of_screen(settings: Settings) -> Iterator[str]:
    """Yield what only the screen knows to be wrong: names of themes and of bindings."""
    if settings.origin("theme") not in {"default", "remembered"}:
        from envwatch.model.text import did_you_mean
        from envwatch.tui.themes import THEMES, theme_names

        if settings.theme not in theme_names():
            own = ", ".join(theme.name for theme in THEMES)
            there_are = f"; it is {own} or one of Textual's"  # the value may be a secret in the wrong place
            meant = did_you_mean(settings.theme or "", theme_names())
            yield f"{settings.origin('theme')}: theme is none of ours{meant or there_are}"
    if settings.keys:
        from envwatch.tui.keymap import mistakes

        for id_, what in mistakes(settings.keys):
            yield f"{settings.origin(f'keys.{id_}')}: keys.{id_} {what}"


def mistakes_outside(settings: Settings) -> Iterator[str]:
    """Yield what the file alone does not show to be wrong: what the screen does not know, and a useless key file."""
    yield from mistakes_of_screen(settings)
    if settings.api_key_file is not None:
        from envwatch.config.credentials import mistake_in_file

        if mistake := mistake_in_file(settings.api_key_file):
            yield f"{settings.origin('api_key_file')}: api_key_file: {mistake}"


def all_credentials_for(all_settings: Sequence[Settings], ask: Callable[[], str] | None = None) -> list[Credentials]:
    """Return key and address for each of the profiles that are watched together."""
    return [credentials_for(settings, ask) for settings in all_settings]


def credentials_for(settings: Settings, ask: Callable[[], str] | None = None) -> Credentials:
    """Return key and address; whoever is asked for the key may not know it."""
    import time

    from envwatch.config.credentials import NO_KEY, CredentialsError, credentials_of

    try:
        credentials = credentials_of(settings, os.environ, now_ms=time.time() * 1000, ask=ask)
    except CredentialsError as error:
        raise StopError(Exit.USAGE, str(error)) from None
    except KeyboardInterrupt:
        raise StopError(Exit.INTERRUPTED, NO_KEY if ask else "") from None
    redactor().learn(credentials.key.get_secret_value())
    return credentials


def client_for(credentials: Credentials, settings: Settings, on_page: Callable[[int], None] = lambda _: None) -> Client:
    """Return the client that asks; nothing is connected yet. After each page it tells how many it has read."""
    from envwatch.sources.letta.client import Client, ListParams
    from envwatch.sources.letta.network_settings import SettingsError

    query = ListParams(online_only=settings.online_only, source=settings.source, user_id=settings.user)
    try:
        return Client(
            base_url=credentials.base_url,
            key=credentials.key,
            key_origin=credentials.origin,
            limits=settings.limits,
            query=query,
            on_page=on_page,
        )
    except SettingsError as error:
        raise StopError(Exit.USAGE, str(error)) from None


def host_of(credentials: Credentials) -> str:
    """Return whom we ask, for people."""
    return credentials.base_url.partition("://")[2].partition("/")[0]


def poll_log_for(options: Options, notify: Callable[[str], None] = lambda _line: None) -> PollLog:
    """Return the log that the options ask for; a dashboard has one in the state folder if they say nothing.

    Args:
        options: of the command line.
        notify: called with one line when the log cannot be written any more, from whatever thread.
    """
    from pathlib import Path

    from envwatch.storage.log import Level, PollLog

    path = None
    if options.log_level != "off":
        if options.log_file is not None:
            path = Path(options.log_file)
        elif options.command != "list":
            path = _state_folder() / "envwatch.log"
    least = Level.INFO if options.log_level == "off" else Level[options.log_level.upper()]
    return PollLog(path, redactor(), least=least, follows_link=options.log_file is not None, notify=notify)


def _state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("envwatch", appauthor=False)
