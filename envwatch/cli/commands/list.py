"""The commands that need no screen: one listing, printed.

Owns what they do and their exit codes; formats are `report`'s. Imports late, like `cli`.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_credentials_for, all_settings_for, client_for, host_of, poll_log_for
from envwatch.cli.streams import is_utf8, print_error, stdout, write_all
from envwatch.model.text import Clean, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.outcome import Failed, Listed
    from envwatch.views.output import EnvironmentList


def list_once(options: Options) -> int:
    """Print one listing of each profile, all of them asked for at once.

    There is one attempt: whoever calls this knows better when to try again. Where one of several profiles has no
    listing, the others are printed all the same, and the exit code is that of the failure.
    """
    import asyncio

    from envwatch.fleet.events import NO_PROFILE
    from envwatch.model.outcome import Listed
    from envwatch.query.language import parse
    from envwatch.views import output

    stdout()  # before anything is asked
    all_settings = all_settings_for(options)
    watched = list(zip(all_credentials_for(all_settings), all_settings, strict=True))
    # Only by the option: what the dashboard starts with must not take rows from a script.
    query = parse(options.filter)
    names = [clean(settings.profile) if len(watched) > 1 else NO_PROFILE for settings in all_settings]
    found: list[Listed | Failed] = []
    asyncio.run(_ask(watched, found))
    outcomes = dict(zip(names, found, strict=True))
    _log(outcomes, options)
    reports, hosts, stops = [], [], {}
    for (name, outcome), (credentials, settings) in zip(outcomes.items(), watched, strict=True):
        if isinstance(outcome, Listed):
            reports.append(output.filtered(output.environment_list(outcome, settings.limits, name), query))
            hosts.append(host_of(credentials))
        else:
            stops[name] = _stop(outcome, credentials, name)
    if reports:
        told = output.merged(reports, unlisted=tuple(stops)) if len(watched) > 1 else reports[0]
        write_all(_pieces(told, options))
        if options.output == output.Format.TABLE or told.set_aside or told.untimed:
            print_error(output.summary_of(told, ", ".join(dict.fromkeys(hosts))))
        for warning in told.clock_warnings:
            print_error(f"envwatch: {warning}")
    for stop in stops.values():
        print_error(f"envwatch: {stop.line}")
    return max((stop.code for stop in stops.values()), default=Exit.FINE)


def _pieces(told: EnvironmentList, options: Options) -> Iterator[bytes]:
    """Return what a report is printed as, piece by piece."""
    from envwatch.views import output

    match output.Format(options.output):
        case output.Format.JSON:
            return output.json_of(told)
        case output.Format.JSONL:
            return output.jsonl_of(told)
        case output.Format.CSV:
            return output.csv_of(told)
        case output.Format.TABLE:
            stream = stdout()
            width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
            ascii_only = options.ascii or not is_utf8(stream)
            return output.table_of(told, width=width or None, encoding=stream.encoding, ascii_only=ascii_only)


async def _ask(watched: Sequence[tuple[Credentials, Settings]], found: list[Listed | Failed]) -> None:
    """Put what comes of asking under each profile into a list, in their order.

    It is not returned: when `asyncio.run` restores the handler of SIGINT, Python makes the text of an error that it
    then drops. The main task is in that text, and in it what the task returned: 800 MiB for 100,000 rows.
    """
    import asyncio

    found += await asyncio.gather(*(_outcome(credentials, settings) for credentials, settings in watched))


async def _outcome(credentials: Credentials, settings: Settings) -> Listed | Failed:
    """Return what comes of asking once."""
    from envwatch.model.outcome import Failed, Listed, SourceError
    from envwatch.sources.poller import read_clocks

    limits = settings.limits
    async with client_for(credentials, settings) as client:
        gc_tuning.start()
        started = read_clocks()
        try:
            return Listed(await client.snapshot(), started, read_clocks(), limits.interval)
        except SourceError as error:
            return Failed(
                cause=error.cause,
                message=error.message,
                started=started,
                ended=read_clocks(),
                interval=limits.interval,
                retry_after=error.retry_after,
                pages_read=error.pages_read,
                page=error.page,
            )


def _log(outcomes: Mapping[Clean, Listed | Failed], options: Options) -> None:
    """Write a line about each profile to the log, if one is wanted."""
    if options.log_file is None:
        return
    from envwatch.storage.log import log_line_of

    poll_log = poll_log_for(options)
    for name, outcome in outcomes.items():
        poll_log.write(log_line_of(outcome), name)
    poll_log.close()
    if poll_log.trouble is not None:
        print_error(f"envwatch: cannot write to the log {clean(options.log_file)}: {poll_log.trouble}")


def _stop(failure: Failed, credentials: Credentials, name: Clean) -> StopError:
    """Return why there is no listing: whom we asked for which page, with the profile where there are several."""
    from envwatch.model.outcome import Cause

    code = Exit.AUTHENTICATION if failure.cause.is_refusal else Exit.UNREACHABLE
    whose = f" (the key came from {credentials.origin})" if failure.cause is Cause.FORBIDDEN else ""
    which = f"profile {name}: " if name else ""
    host = host_of(credentials)
    page = f", page {failure.page}" if failure.page else ""
    # Most messages begin with the host, as the dashboard shows them alone.
    what = failure.message.removeprefix(f"{host} ")
    return StopError(code, f"{which}{failure.cause}: {host}{page}: {what}{whose}")
