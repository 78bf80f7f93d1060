"""`envwatch config`: what is configured, where, and what is wrong with it."""
# ruff: noqa: PLC0415 - imports stand where they are needed

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import (
    all_settings_for,
    config_path_for,
    credentials_for,
    mistakes_outside,
)
from envwatch.cli.streams import print_error, write
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings


def _config(options: Options) -> int:
    """Tell of the configuration file and of what holds."""
    from envwatch.config import describe

    path, is_wanted = config_path_for(options)
    match options.action:
        case "path":
            write(os.fsencode(path) + b"\n")
        case "schema":
            write(describe.schema().encode())
        case "validate":
            return _validate(path, is_wanted=is_wanted)
        case "show":
            write(redactor()(_shown(all_settings_for(options), path)).encode())
    return Exit.FINE


def _shown(all_settings: Sequence[Settings], path: Path) -> str:
    """Return what holds, a block for each profile."""
    from envwatch.config.describe import settings_table

    blocks = []
    for settings in all_settings:
        credentials: Credentials | str
        try:
            credentials = credentials_for(settings)
        except StopError as stop:
            credentials = stop.line
        blocks.append(settings_table(settings, credentials, path))
    return "\n".join(blocks)


def _validate(path: Path, *, is_wanted: bool) -> int:
    """Tell each mistake of the configuration file, or that there is none."""
    from envwatch.config.describe import mistakes_in
    from envwatch.config.settings import document_at
    from envwatch.config.values import ConfigError

    try:
        document = document_at(path, must_exist=is_wanted)
        mistakes = mistakes_in(document, mistakes_outside) if document else ()
    except ConfigError as error:
        document, mistakes = None, error.lines
    for mistake in mistakes:
        print_error(f"envwatch: {mistake}")
    if mistakes:
        return Exit.USAGE
    print_error(f"{path}: {'fine' if document else 'there is no such file, and none is needed'}")
    return Exit.FINE
