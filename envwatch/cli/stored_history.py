"""A profile's recorded history, readable without a key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for
from envwatch.cli.demo_settings import DEMO_PROFILE, demo_folder, demo_settings
from envwatch.config.credentials import CredentialsError, credentials_of, without_key
from envwatch.history.stored import StoredPast, day_paths
from envwatch.model.text import SafeText, clean
from envwatch.redactor import ReportedError
from envwatch.watch.profiles import history_folder_for, server_in

if TYPE_CHECKING:
    from envwatch.config.settings import Settings


def recorded_settings_for(options: Options) -> list[Settings]:
    """Return the settings of each selected profile; a profile `demo` that no file has is the demo."""
    if options.profile != DEMO_PROFILE:
        return all_settings_for(options)
    try:
        return all_settings_for(options)
    except ReportedError:
        return [demo_settings(options)]


def base_url_of(settings: Settings) -> SafeText:
    """Return the polled address of a profile's server; without a key, the configured address.

    A demo has no lasting address.
    """
    if is_demo(settings):
        if not day_paths(demo_folder(settings)):
            raise StopError(Exit.FAILED, "there is no recorded demo: run `envwatch demo` first")
        return clean(f"http://{DEMO_PROFILE}")
    try:
        return clean(credentials_of(settings, os.environ, now_ms=time.time() * 1000).base_url)
    except CredentialsError:
        return clean(without_key(settings, os.environ).base_url)


def is_demo(settings: Settings) -> bool:
    """Whether the settings are of the demo, which no file has."""
    return settings.profile == DEMO_PROFILE and not settings.profile_in_file


def past_of(settings: Settings, base_url: SafeText) -> StoredPast:
    """Return the history of a server under a profile."""
    return StoredPast(history_folder_for(server_in(base_url), settings))
