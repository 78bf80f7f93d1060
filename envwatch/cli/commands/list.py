"""`envwatch list`: each profile's listing, printed once."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Options, Parser
from envwatch.cli.bootstrap import host_of, policies_for, profiles_for
from envwatch.cli.one_listing import QUICK_S, fetch_all, log_outcomes, monitor_after, report_failures
from envwatch.cli.streams import ProgressLine, has_colours, is_utf8, print_error, stdout, write_all, write_text
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from envwatch.cli.bootstrap import Profiles
    from envwatch.model.outcome import Failed, Listed
    from envwatch.views.output.environment_list import EnvironmentList


def add_arguments(parser: Parser) -> None:
    """Add the description and options."""
    parser.description = (
        "List the environments once, problems first.\n"
        "The setting `filter` has no effect here.\n"
        "Several profiles are listed at once. If a profile fails, the other profiles are printed, and the\n"
        "exit code is 3, or 4 if a key was refused."
    )
    formats = ("table", "json", "jsonl", "csv", "name", "line")
    about = "table (default), json, jsonl, csv, name (only names), or line (counts for a prompt or a status bar)"
    parser.add_argument("-o", "--output", choices=formats, default="table", metavar="FORMAT", help=about)
    parser.add_shared(*QUERY_OPTIONS, "profile", *OUTPUT_OPTIONS, "config")


def run(options: Options) -> int:
    """Print a listing of each profile, fetched concurrently.

    A failure is not retried, because the caller knows better when to try again. The rest is printed, and the exit code
    is the failure's.
    """
    import asyncio
    from dataclasses import replace

    from envwatch.model.outcome import Listed
    from envwatch.query.language import parse
    from envwatch.sources.poller import read_clocks
    from envwatch.views.output import environment_list, formats
    from envwatch.views.table.block import block_of

    stdout()  # stop early if closed
    profiles = profiles_for(options)
    policies_for(profiles)  # stop early if `expect_file` is unreadable
    # The dashboard's saved filter does not apply.
    query = parse(options.filter)
    outcomes: dict[SafeText, Listed | Failed] = {}
    asyncio.run(fetch_all(profiles, outcomes, ProgressLine(QUICK_S)))
    log_outcomes(outcomes, options)
    monitor = monitor_after(outcomes, profiles)
    lists: list[EnvironmentList] = []
    asked_at: list[float] = []
    failures: dict[SafeText, Failed] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, Listed):
            listed = environment_list.environment_list(outcome, monitor.fleet.by_profile[name])
            asked_at.append(outcome.asked.monotonic)
            lists.append(environment_list.filtered(listed, query, clean(profiles[name].settings.profile)))
        else:
            failures[name] = outcome
    whole = None
    if lists:
        whole = environment_list.merged(lists, unlisted=tuple(failures)) if len(profiles) > 1 else lists[0]
        keys = {row.tracked.key for row in whole.rows} if query else None
        now = read_clocks()
        whole = replace(
            whole, block=block_of(monitor, now, counted=keys), remarks=environment_list.remarks_in(monitor, now)
        )
    is_line = options.output == formats.ListFormat.LINE
    if is_line:
        _write_line(whole, profiles, failures, min(asked_at, default=0.0), options)
    else:
        _write_listing(whole, profiles, failures, monitor.fleet.old_listing_age(read_clocks()), options)
    return report_failures(failures, profiles, is_silent=is_line)


def _write_listing(
    listed: EnvironmentList | None,
    profiles: Profiles,
    failures: Collection[SafeText],
    old: timedelta | None,
    options: Options,
) -> None:
    from envwatch.views.output import formats

    if listed is None:
        return
    write_all(_pieces(listed, options))
    if options.output == formats.ListFormat.TABLE or listed.rejected or listed.untimed:
        hosts = dict.fromkeys(host_of(each.credentials) for name, each in profiles.items() if name not in failures)
        print_error(formats.summary_of(listed, ", ".join(hosts), old))
    for warning in listed.clock_warnings:
        print_error(f"envwatch: {warning}")


def _write_line(
    listed: EnvironmentList | None,
    profiles: Profiles,
    failures: Mapping[SafeText, Failed],
    asked_at: float,
    options: Options,
) -> None:
    """Print a single line, because a status bar shows all output; without a listing, print the cause.

    The age counts from the monotonic second `asked_at`.
    """
    from envwatch.config.settings import DEFAULT
    from envwatch.views.output import formats

    stream = stdout()
    chosen = [profile for name, profile in profiles.items() if listed is None or name not in failures]
    has_names = chosen[0].settings.origin("profile") != DEFAULT
    label = clean(",".join(settings.profile if has_names else host_of(credentials) for credentials, settings in chosen))
    if listed is None:
        causes = ", ".join(dict.fromkeys(failure.cause for failure in failures.values()))
        write_text(f"? {label} {causes}\n")
        return
    ascii_only = options.ascii or not is_utf8(stream)
    age = timedelta(seconds=max(time.monotonic() - asked_at, 0))
    write_all([formats.line_of(listed, label=label, age=age, encoding=stream.encoding, ascii_only=ascii_only)])


def _pieces(listed: EnvironmentList, options: Options) -> Iterator[bytes]:
    from envwatch.views.output import formats

    if options.output == formats.ListFormat.TABLE:
        stream = stdout()
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
        ascii_only = options.ascii or not is_utf8(stream)
        return formats.table_of(
            listed,
            width=width or None,
            encoding=stream.encoding,
            ascii_only=ascii_only,
            has_colours=has_colours(stream),
        )
    writers = {"json": formats.json_of, "jsonl": formats.jsonl_of, "csv": formats.csv_of, "name": formats.names_of}
    return writers[options.output](listed)
