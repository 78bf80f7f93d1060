"""What several commands need before they run: settings, credentials, clients, the log.

Turns every mistake in these into `StopError`: one line and an exit code. Must not know Textual. Imports late, so that a
command loads only what it uses.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.streams import print_error
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.text import Clean
    from envwatch.sources.letta.client import Client
    from envwatch.storage.log import PollLog


def all_settings_for(
    options: Options, environ: Mapping[str, str] = os.environ, only: Iterable[str] | None = None
) -> list[Settings]:
    """Return the settings of each profile that options and variables select.

    Args:
        options: of the command line.
        environ: the process's variables.
        only: settings to take from variables and file; all if None.
    """
    from envwatch.config.settings import all_settings_of
    from envwatch.config.values import ConfigError

    try:
        return all_settings_of(vars(options), environ, remembered=_remembered(options), only=only)
    except ConfigError as error:
        raise stop_for(error.lines) from None


def config_path_for(options: Options) -> tuple[Path, bool]:
    """Return the path of the configuration file, which need not exist, and whether the user named it."""
    from envwatch.config.settings import config_path
    from envwatch.config.values import ConfigError

    try:
        return config_path(options.config, os.environ)
    except ConfigError as error:
        raise stop_for(error.lines) from None


def _remembered(options: Options) -> dict[str, Any]:
    """Return the settings that the last dashboard saved; `list` uses none of them."""
    if options.command == "list":
        return {}
    from dataclasses import asdict

    from envwatch.storage.remembered import remembered
    from envwatch.views.columns import COLUMNS

    saved = asdict(remembered(state_file("state")))
    columns = tuple(id_ for id_ in saved["columns"] or () if id_ in COLUMNS)
    return saved | {"columns": columns, "sort": saved["sort"] if saved["sort"] in COLUMNS else None}


def state_file(name: str) -> Path:
    """Return the path of a file that the dashboard saves state in."""
    return _state_folder() / f"{name}.json"


def _state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("envwatch", appauthor=False)


def stop_for(mistakes: Sequence[str]) -> StopError:
    """Return the error that ends a command because of mistakes in the settings: one line with the first of them."""
    others = f" (and {len(mistakes) - 1} more: `envwatch config validate`)" if len(mistakes) > 1 else ""
    return StopError(Exit.USAGE, f"{mistakes[0]}{others}")


def profiles_for(options: Options, prompt: Callable[[], str] | None = None) -> list[tuple[Credentials, Settings]]:
    """Return credentials and settings of each selected profile.

    Args:
        options: of the command line.
        prompt: asks the user for a key; None where there is no terminal to ask at.
    """
    return [(credentials_for(each, prompt), each) for each in all_settings_for(options)]


def names_of(profiles: Sequence[tuple[Credentials, Settings]]) -> list[Clean]:
    """Return the name by which each profile's environments and log lines are marked: none if there is only one."""
    from envwatch.fleet.events import NO_PROFILE
    from envwatch.model.text import clean

    return [clean(settings.profile) for _, settings in profiles] if len(profiles) > 1 else [NO_PROFILE]


def credentials_for(settings: Settings, prompt: Callable[[], str] | None = None) -> Credentials:
    """Return key and address for one profile."""
    import time

    from envwatch.config.credentials import NO_KEY, CredentialsError, credentials_of

    try:
        credentials = credentials_of(settings, os.environ, now_ms=time.time() * 1000, ask=prompt)
    except CredentialsError as error:
        raise StopError(Exit.USAGE, str(error)) from None
    except KeyboardInterrupt:
        raise StopError(Exit.INTERRUPTED, NO_KEY if prompt else "") from None
    redactor().learn(credentials.key.get_secret_value())
    return credentials


def client_for(credentials: Credentials, settings: Settings) -> Client:
    """Return the HTTP client of one profile; it connects with its first request."""
    from envwatch.sources.letta.client import Client, ListParams
    from envwatch.sources.letta.network_settings import SettingsError

    try:
        return Client(
            base_url=credentials.base_url,
            key=credentials.key,
            key_origin=credentials.origin,
            limits=settings.limits,
            query=ListParams(online_only=settings.online_only, source=settings.source, user_id=settings.user),
        )
    except SettingsError as error:
        raise StopError(Exit.USAGE, str(error)) from None


def host_of(credentials: Credentials) -> str:
    """Return host and port of the server."""
    return credentials.base_url.partition("://")[2].partition("/")[0]


def poll_log_for(options: Options, notify: Callable[[str], None] = lambda _line: None) -> PollLog:
    """Return the log that the options ask for; by default, all commands but `list` write to one in the state folder.

    Args:
        options: of the command line.
        notify: called from any thread with one line when the log cannot be written any more.
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


def report_crash(error: BaseException, poll_log: PollLog) -> int:
    """Write a bug's traceback to the log and a screenful to standard error; return the exit code."""
    poll_log.write_crash(error)
    poll_log.close()
    columns, lines = shutil.get_terminal_size()
    for line in poll_log.screen_report(error, columns=columns, lines=lines):
        print_error(line)
    return Exit.FAILED
