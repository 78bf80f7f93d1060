"""The commands that need no screen: one listing, printed.

Owns what they do and their exit codes; formats are `report`'s. Imports late, like `cli`.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envwatch import collector
from envwatch.options import Exit, Options, StopError
from envwatch.output import is_utf8, stdout, tell, write
from envwatch.text import Clean, clean
from envwatch.wiring import accesses_for, all_settings_for, client_for, host_of, journal_for

if TYPE_CHECKING:
    from envwatch.key import Access
    from envwatch.outcome import Listed
    from envwatch.report import Report
    from envwatch.settings import Settings


def list_once(options: Options) -> int:
    """Print one listing of each profile. There is one attempt: whoever calls this knows better when to try again."""
    import asyncio

    from envwatch import report
    from envwatch.query.language import parse

    stdout()  # before anything is asked
    all_settings = all_settings_for(options)
    watched = list(zip(accesses_for(all_settings), all_settings, strict=True))
    # Only by the option: what the dashboard starts with must not take rows from a script.
    query = parse(options.filter)
    reports = []
    for access, settings in watched:
        profile = settings.profile if len(watched) > 1 else ""
        listed = asyncio.run(_listing(access, settings, options, profile))
        reports.append(report.narrowed(report.report_of(listed, settings.rules, Clean(profile)), query))
    told = report.merged(reports) if len(reports) > 1 else reports[0]
    write(_text(told, options))
    if options.output == report.Format.TABLE or not told.is_complete:
        tell(report.summary_of(told, ", ".join(dict.fromkeys(host_of(access) for access, _ in watched))))
    return Exit.FINE


def _text(told: Report, options: Options) -> bytes:
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


async def _listing(access: Access, settings: Settings, options: Options, profile: str) -> Listed:
    """Return one listing.

    Args:
        access: whom to ask.
        settings: how.
        options: of the command line.
        profile: for messages, where there are several.

    Raises:
        StopError: if it cannot be had.
    """
    from envwatch.outcome import Cause, Failed, Listed, SourceError
    from envwatch.poller import read_clocks

    rules = settings.rules
    async with client_for(access, settings) as client:
        collector.start()
        started = read_clocks()
        outcome: Listed | Failed
        try:
            outcome = Listed(await client.snapshot(), started, read_clocks(), rules.interval)
        except SourceError as error:
            outcome = Failed(
                cause=error.cause,
                message=error.message,
                started=started,
                ended=read_clocks(),
                interval=rules.interval,
                retry_after=error.retry_after,
                pages_read=error.pages_read,
            )
    if options.log_file is not None:
        from envwatch.journal import line_of

        journal = journal_for(options)
        journal.tell(line_of(outcome))
        journal.close()
        if journal.trouble is not None:
            tell(f"envwatch: cannot write to the log {clean(options.log_file)}: {journal.trouble}")
    if isinstance(outcome, Listed):
        return outcome
    refused = outcome.cause in {Cause.UNAUTHORIZED, Cause.FORBIDDEN}
    code = Exit.AUTHENTICATION if refused else Exit.UNREACHABLE
    whose = f" (the key came from {access.origin})" if outcome.cause is Cause.FORBIDDEN else ""
    which = f"profile {profile}: " if profile else ""
    raise StopError(code, f"{which}{outcome.cause}: {outcome.message}{whose}")
