"""The commands: how the parts are wired together, and what comes of it on standard output and as exit code.

The only module that knows all the others, and it imports them late: help and refusals must come at once, and `list`
must not pay for the screen. Data goes to standard output, narration to standard error; a failure is one line that says
what to do.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, HelpAsked, Options, StopError, options_in
from envwatch.cli.bootstrap import (
    all_credentials_for,
    all_settings_for,
    poll_log_for,
)
from envwatch.cli.commands.config import _config
from envwatch.cli.commands.dashboard import _check_terminal, _dashboard, crashed
from envwatch.cli.commands.demo import _demo, _serve
from envwatch.cli.streams import print_error, write

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; the process's own if None.
    """
    options = Options()
    try:
        return _run(arguments, options)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except StopError as stop:
        if stop.line:
            print_error(f"envwatch: {stop.line}")
        return stop.code
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug
        return crashed(error, poll_log_for(options))


def _run(arguments: Sequence[str] | None, options: Options) -> int:
    try:
        options_in(arguments, options)
    except HelpAsked as asked:
        write(asked.text.encode())
        return Exit.FINE
    gc_tuning.stop()
    match options.command:
        case "list":
            from envwatch.cli.commands.list import list_once

            return list_once(options)
        case "demo" if options.serve:
            return _serve(options)
        case "demo":
            return _demo(options)
        case "config":
            return _config(options)
        case _:
            _check_terminal()
            from envwatch.config.credentials import typed_key

            all_settings = all_settings_for(options)
            watched = list(zip(all_credentials_for(all_settings, typed_key), all_settings, strict=True))
            return _dashboard(watched, options)
