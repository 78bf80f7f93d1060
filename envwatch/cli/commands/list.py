"""`envwatch list`: one listing of each profile, printed. Needs no terminal library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import client_for, host_of, names_of, poll_log_for, profiles_for
from envwatch.cli.streams import is_utf8, print_error, stdout, write_all
from envwatch.model.text import Clean, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.outcome import Failed, Listed
    from envwatch.views.environment_list import EnvironmentList


def add_arguments(parser: Parser) -> None:
    """Set the description and add the options."""
    parser.description = (
        "List the environments once, problems first.\n"
        "The filter of the configuration file or of ENVWATCH_FILTER is the dashboard's, and hides nothing here.\n"
        "Several profiles are listed at once. If one of them fails, the others are printed all the same, and the\n"
        "exit code is 3, or 4 if a key was refused."
    )
    parser.add_shared("profile", *QUERY_OPTIONS, *OUTPUT_OPTIONS, "config")
    formats = ("table", "json", "jsonl", "csv")
    parser.add_argument("-o", "--output", choices=formats, default="table", help="the format (default table)")


def run(options: Options) -> int:
    """Print one listing of each profile, all of them fetched at once.

    There is one attempt: the caller knows better when to try again. Where one of several profiles has no listing, the
    others are printed all the same, and the exit code is that of the failure.
    """
    import asyncio

    from envwatch.fleet.monitor import Monitor
    from envwatch.model.outcome import Listed
    from envwatch.query.language import parse
    from envwatch.sources.poller import read_clocks
    from envwatch.views import environment_list, output

    stdout()  # refuses a closed one before the first request
    profiles = profiles_for(options)
    # Only the option filters: what the dashboard starts with must not take rows from a script.
    query = parse(options.filter)
    outcomes: list[Listed | Failed] = []
    asyncio.run(_fetch_all(profiles, outcomes))
    names = names_of(profiles)
    _log(dict(zip(names, outcomes, strict=True)), options)
    monitor = Monitor.of({name: settings.limits for name, (_, settings) in zip(names, profiles, strict=True)})
    lists, hosts, stops = [], [], {}
    for name, (credentials, _), outcome in zip(names, profiles, outcomes, strict=True):
        if isinstance(outcome, Listed):
            monitor, _update = monitor.after(name, outcome, read_clocks())
            listed = environment_list.environment_list(outcome, monitor.fleets.by_profile[name])
            lists.append(environment_list.filtered(listed, query))
            hosts.append(host_of(credentials))
        else:
            stops[name] = _stop(outcome, credentials, name)
    if lists:
        whole = environment_list.merged(lists, unlisted=tuple(stops)) if len(profiles) > 1 else lists[0]
        write_all(_pieces(whole, options))
        if options.output == output.Format.TABLE or whole.set_aside or whole.untimed:
            print_error(output.summary_of(whole, ", ".join(dict.fromkeys(hosts))))
        for warning in whole.clock_warnings:
            print_error(f"envwatch: {warning}")
    for stop in stops.values():
        print_error(f"envwatch: {stop.line}")
    return max((stop.code for stop in stops.values()), default=Exit.FINE)


def _pieces(listed: EnvironmentList, options: Options) -> Iterator[bytes]:
    """Return the listing in the wanted format, piece by piece."""
    from envwatch.views import output

    match output.Format(options.output):
        case output.Format.JSON:
            return output.json_of(listed)
        case output.Format.JSONL:
            return output.jsonl_of(listed)
        case output.Format.CSV:
            return output.csv_of(listed)
        case output.Format.TABLE:
            stream = stdout()
            width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
            ascii_only = options.ascii or not is_utf8(stream)
            return output.table_of(listed, width=width or None, encoding=stream.encoding, ascii_only=ascii_only)


async def _fetch_all(profiles: Sequence[tuple[Credentials, Settings]], outcomes: list[Listed | Failed]) -> None:
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


def _log(outcomes: Mapping[Clean, Listed | Failed], options: Options) -> None:
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


def _stop(failure: Failed, credentials: Credentials, name: Clean) -> StopError:
    """Return exit code and line for a failure: profile (if there are several), host, page and what happened."""
    from envwatch.model.outcome import Cause

    code = Exit.AUTHENTICATION if failure.cause.is_refusal else Exit.UNREACHABLE
    key_origin = f" (the key came from {credentials.origin})" if failure.cause is Cause.FORBIDDEN else ""
    profile = f"profile {name}: " if name else ""
    host = host_of(credentials)
    page = f", page {failure.page}" if failure.page else ""
    # Most messages begin with the host, as the dashboard shows them alone.
    what = failure.message.removeprefix(f"{host} ")
    return StopError(code, f"{profile}{failure.cause}: {host}{page}: {what}{key_origin}")
