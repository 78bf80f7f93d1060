"""A single listing of each profile, with progress, log and exit codes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import poll_log_for
from envwatch.cli.streams import ProgressLine, print_error
from envwatch.model.outcome import Cause, Failed, Listed
from envwatch.model.text import SafeText, clean, counted
from envwatch.watch.one_listing import fetch_all
from envwatch.watch.profiles import Profiles, server_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.config.credentials import Credentials
    from envwatch.model.outcome import Outcome


def outcomes_for(profiles: Profiles, options: Options, line: ProgressLine) -> Mapping[SafeText, Listed | Failed]:
    """Poll each profile once, show progress, and log the polls with `--log-file`."""
    outcomes: dict[SafeText, Listed | Failed] = {}
    with line:
        asyncio.run(fetch_all(profiles, outcomes, _progress(line)))
    if options.log_file is None:
        return outcomes
    from envwatch.watch.log import log_line_of

    poll_log = poll_log_for(options)
    for name, outcome in outcomes.items():
        poll_log.write(log_line_of(outcome), name)
    poll_log.close()
    if poll_log.trouble is not None:
        print_error(f"envwatch: cannot write to the log {clean(options.log_file)}: {poll_log.trouble}")
    return outcomes


def outcomes_within(profiles: Profiles, seconds: float) -> Mapping[SafeText, Listed | Failed]:
    """Poll each profile once; raise `TimeoutError` after `seconds`."""
    outcomes: dict[SafeText, Listed | Failed] = {}

    async def look(on_page: Callable[[int, int], None]) -> None:
        async with asyncio.timeout(seconds):
            await fetch_all(profiles, outcomes, on_page)

    with ProgressLine() as line:
        asyncio.run(look(_progress(line)))
    return outcomes


def _progress(line: ProgressLine) -> Callable[[int, int], None]:
    def show(pages: int, rows: int) -> None:
        if line.is_due:
            line.show(f"reading: {counted(rows, 'machine')}, {counted(pages, 'page')}")

    return show


def stops_in(outcomes: Mapping[SafeText, Outcome], profiles: Profiles) -> list[StopError]:
    """Return a stop for each failure."""
    return [
        stop_for_failure(outcome, credentials, name)
        for name, (credentials, _) in profiles.items()
        if isinstance(outcome := outcomes.get(name), Failed)
    ]


def stop_for_failure(failure: Failed, credentials: Credentials, name: SafeText) -> StopError:
    """Return a failure's exit code and line."""
    code = Exit.AUTHENTICATION if failure.cause.is_refusal else Exit.UNREACHABLE
    key_origin = f" (the key came from {credentials.origin})" if failure.cause is Cause.FORBIDDEN else ""
    profile = f"profile {name}: " if name else ""
    host = server_host(credentials)
    page = f", page {failure.page}" if failure.page and failure.page > 1 else ""
    # Most messages begin with the host.
    what = failure.message.removeprefix(f"{host}: ").removeprefix(f"{host} ")
    return StopError(code, f"{profile}{failure.cause}: {host}{page}: {what}{key_origin}")
