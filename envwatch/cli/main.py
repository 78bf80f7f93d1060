"""The entry point of the command line. Only data goes to standard output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from envwatch.cli.arguments import DASHBOARD, PLUGIN, Exit, HelpRequested, Options, StopError, load, options_in
from envwatch.cli.streams import print_error, write
from envwatch.model.redactor import ReportedError
from envwatch.watch import gc_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence

ON_WINDOWS: Final = (
    "on Windows, everything works in WSL and nothing outside: `wsl --install`, then install envwatch there"
)


def run_as_program() -> NoReturn:
    """Run the command of this process, and end the process.

    Python does not clean up first. Before 3.14, that aborts the process if a daemon thread is in Rust code (pydantic):
    https://github.com/python/cpython/issues/87135.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # None, a closed pipe, closed
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    options = Options()
    if sys.platform == "win32":
        return _stopped(Exit.USAGE, options, ON_WINDOWS)
    try:
        return _run(arguments, options)
    except KeyboardInterrupt:
        return _stopped(Exit.INTERRUPTED, options)
    except ReportedError as error:
        return _stopped(error.code if isinstance(error, StopError) else Exit.USAGE, options, str(error))
    except Exception as error:  # noqa: BLE001 - every bug becomes a report
        from envwatch.cli.bootstrap import poll_log_for, report_crash

        return _stopped(report_crash(error, poll_log_for(options)), options)


def _stopped(code: Exit, options: Options, line: str = "") -> int:
    if options.command == PLUGIN:
        from envwatch.cli.commands.check import print_unknown

        return print_unknown(line, is_json=options.output == "json")
    if line:
        print_error(f"envwatch: {line}")
    return code


def _run(arguments: Sequence[str] | None, options: Options) -> int:
    try:
        options_in(arguments, options)
        gc_tuning.stop()
        code: int = load(options.command or DASHBOARD).run(options)
    except HelpRequested as request:
        write(str(request).encode())
        return Exit.FINE
    return code
