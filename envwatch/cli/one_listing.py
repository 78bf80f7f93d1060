"""One listing of each profile, and what commands do with its outcomes: log them, or stop because of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import client_for, host_of, poll_log_for
from envwatch.cli.streams import print_error
from envwatch.model.text import Clean, clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.outcome import Failed, Listed


async def fetch_all(profiles: Sequence[tuple[Credentials, Settings]], outcomes: list[Listed | Failed]) -> None:
    """Append the outcome of one poll of each profile, in their order.

    A returned result would stay in memory: when `asyncio.run` restores the handler of SIGINT, Python formats an error
    that it then drops, and its text holds the main task with its result: 800 MiB for 100,000 rows.
    """
    import asyncio

    outcomes += await asyncio.gather(*(_fetch(*profile) for profile in profiles))


async def _fetch(credentials: Credentials, settings: Settings) -> Listed | Failed:
    from envwatch.sources.poller import poll_once

    async with client_for(credentials, settings) as client:
        gc_tuning.start()
        return await poll_once(client, settings.limits.interval)


def log_outcomes(outcomes: Mapping[Clean, Listed | Failed], options: Options) -> None:
    """Write a line about each profile to the log, if the options name one."""
    if options.log_file is None:
        return
    from envwatch.storage.log import log_line_of

    poll_log = poll_log_for(options)
    for name, outcome in outcomes.items():
        poll_log.write(log_line_of(outcome), name)
    poll_log.close()
    if poll_log.trouble is not None:
        print_error(f"envwatch: cannot write to the log {clean(options.log_file)}: {poll_log.trouble}")


def stop_for_failure(failure: Failed, credentials: Credentials, name: Clean) -> StopError:
    """Return exit code and line for a failure: profile (if there are several), host, page and what happened.

    The first page is not named: most listings have one, and a failure of the server begins there.
    """
    from envwatch.model.outcome import Cause

    code = Exit.AUTHENTICATION if failure.cause.is_refusal else Exit.UNREACHABLE
    key_origin = f" (the key came from {credentials.origin})" if failure.cause is Cause.FORBIDDEN else ""
    profile = f"profile {name}: " if name else ""
    host = host_of(credentials)
    page = f", page {failure.page}" if failure.page and failure.page > 1 else ""
    # Most messages begin with the host, as the dashboard shows them alone.
    what = failure.message.removeprefix(f"{host}: ").removeprefix(f"{host} ")
    return StopError(code, f"{profile}{failure.cause}: {host}{page}: {what}{key_origin}")
