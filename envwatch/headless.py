"""The commands that need no screen: one listing, printed.

Owns what they do and their exit codes; formats are `report`'s. Imports late, like `cli`.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envwatch import collector
from envwatch.options import Exit, Options, StopError
from envwatch.output import is_utf8, stdout, tell, write_all
from envwatch.text import Clean, clean
from envwatch.wiring import accesses_for, all_settings_for, client_for, host_of, journal_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.key import Access
    from envwatch.outcome import Failed, Listed
    from envwatch.report import Report
    from envwatch.settings import Settings


def list_once(options: Options) -> int:
    """Print one listing of each profile, all of them asked for at once.

    There is one attempt: whoever calls this knows better when to try again. Where one of several profiles has no
    listing, the others are printed all the same, and the exit code is that of the failure.
    """
    import asyncio

    from envwatch import report
    from envwatch.events import SOLE
    from envwatch.outcome import Listed
    from envwatch.query.language import parse

    stdout()  # before anything is asked
    all_settings = all_settings_for(options)
    watched = list(zip(accesses_for(all_settings), all_settings, strict=True))
    # Only by the option: what the dashboard starts with must not take rows from a script.
    query = parse(options.filter)
    names = [clean(settings.profile) if len(watched) > 1 else SOLE for settings in all_settings]
    found: list[Listed | Failed] = []
    asyncio.run(_ask(watched, found))
    outcomes = dict(zip(names, found, strict=True))
    _log(outcomes, options)
    reports, hosts, stops = [], [], {}
    for (name, outcome), (access, settings) in zip(outcomes.items(), watched, strict=True):
        if isinstance(outcome, Listed):
            reports.append(report.narrowed(report.report_of(outcome, settings.rules, name), query))
            hosts.append(host_of(access))
        else:
            stops[name] = _stop(outcome, access, name)
    if reports:
        told = report.merged(reports, unlisted=tuple(stops)) if len(watched) > 1 else reports[0]
        write_all(_pieces(told, options))
        if options.output == report.Format.TABLE or told.set_aside or told.untimed:
            tell(report.summary_of(told, ", ".join(dict.fromkeys(hosts))))
        for warning in told.clock_warnings:
            tell(f"envwatch: {warning}")
    for stop in stops.values():
        tell(f"envwatch: {stop.line}")
    return max((stop.code for stop in stops.values()), default=Exit.FINE)


def _pieces(told: Report, options: Options) -> Iterator[bytes]:
    """Return what a report is printed as, piece by piece."""
    from envwatch import report

    match report.Format(options.output):
        case report.Format.JSON:
            return report.json_of(told)
        case report.Format.JSONL:
            return report.jsonl_of(told)
        case report.Format.CSV:
            return report.csv_of(told)
        case report.Format.TABLE:
            stream = stdout()
            width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
            ascii_only = options.ascii or not is_utf8(stream)
            return report.table_of(told, width=width or None, encoding=stream.encoding, ascii_only=ascii_only)


async def _ask(watched: Sequence[tuple[Access, Settings]], found: list[Listed | Failed]) -> None:
    """Put what comes of asking under each profile into a list, in their order.

    It is not returned: when `asyncio.run` restores the handler of SIGINT, Python makes the text of an error that it
    then drops. The main task is in that text, and in it what the task returned: 800 MiB for 100,000 rows.
    """
    import asyncio

    found += await asyncio.gather(*(_outcome(access, settings) for access, settings in watched))


async def _outcome(access: Access, settings: Settings) -> Listed | Failed:
    """Return what comes of asking once."""
    from envwatch.outcome import Failed, Listed, SourceError
    from envwatch.poller import read_clocks

    rules = settings.rules
    async with client_for(access, settings) as client:
        collector.start()
        started = read_clocks()
        try:
            return Listed(await client.snapshot(), started, read_clocks(), rules.interval)
        except SourceError as error:
            return Failed(
                cause=error.cause,
                message=error.message,
                started=started,
                ended=read_clocks(),
                interval=rules.interval,
                retry_after=error.retry_after,
                pages_read=error.pages_read,
                page=error.page,
            )


def _log(outcomes: Mapping[Clean, Listed | Failed], options: Options) -> None:
    """Write a line about each profile to the log, if one is wanted."""
    if options.log_file is None:
        return
    from envwatch.journal import line_of

    journal = journal_for(options)
    for name, outcome in outcomes.items():
        journal.tell(line_of(outcome), name)
    journal.close()
    if journal.trouble is not None:
        tell(f"envwatch: cannot write to the log {clean(options.log_file)}: {journal.trouble}")


def _stop(failure: Failed, access: Access, name: Clean) -> StopError:
    """Return why there is no listing: whom we asked for which page, with the profile where there are several."""
    from envwatch.outcome import Cause

    code = Exit.AUTHENTICATION if failure.cause.is_refusal else Exit.UNREACHABLE
    whose = f" (the key came from {access.origin})" if failure.cause is Cause.FORBIDDEN else ""
    which = f"profile {name}: " if name else ""
    host = host_of(access)
    page = f", page {failure.page}" if failure.page else ""
    # Most messages begin with the host, as the dashboard shows them alone.
    what = failure.message.removeprefix(f"{host} ")
    return StopError(code, f"{which}{failure.cause}: {host}{page}: {what}{whose}")
