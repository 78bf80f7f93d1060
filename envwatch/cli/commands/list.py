"""`envwatch list`: each profile's listing, printed once."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import OUTPUT_OPTIONS, SERVER_OPTIONS, Options, Parser, valued
from envwatch.cli.bootstrap import print_damage, print_hint, print_unmatched_filters, profiles_for, view_for
from envwatch.cli.streams import (
    ProgressLine,
    has_colours,
    is_utf8,
    print_error,
    report_stops,
    stdout,
    write_all,
    write_text,
)
from envwatch.config.values import column_list, column_or
from envwatch.model.text import SafeText, clean
from envwatch.watch.profiles import Profiles, policies_for, server_host

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from envwatch.config.settings import Settings
    from envwatch.model.outcome import Failed
    from envwatch.query.language import Query
    from envwatch.views.output.environment_list import EnvironmentList
    from envwatch.views.table.table_view import Preset

FORMATS: Final = ("table", "json", "jsonl", "csv", "name", "line")


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print your machines once, losses first. `-o line` prints counts, for a status\n"
        "bar. If a profile fails, the others are printed; the exit code is 3 or 4."
    )
    parser.examples = {
        "envwatch list": "all of them",
        "envwatch list 'status:off'": "the machines that are off",
        "envwatch list -o csv > fleet.csv": "for a spreadsheet",
    }
    parser.add_output(*FORMATS)
    about = "these columns, in this order: name,meta.team"
    parser.add_argument("--columns", default=(), **valued("NAMES", _columns, about))
    about = "sort by a column, meta.KEY, or losses (default)"
    parser.add_argument("--sort", default=None, **valued("COLUMN", _sort, about))
    parser.add_machines(nargs="*", about="only these: a name or id, or a query: 'status:off'")
    parser.add_shared("view", *SERVER_OPTIONS, "profile", *OUTPUT_OPTIONS, "config")


def _columns(text: str) -> tuple[str, ...]:
    return tuple(map(_in_a_listing, column_list(text)))


def _sort(text: str) -> str:
    from envwatch.views.table.columns import COLUMNS, LOSSES

    return _in_a_listing(column_or((LOSSES, *COLUMNS))(text))


def _in_a_listing(column: str) -> str:
    if _needs_past(column):
        raise ValueError(f"cannot have {column}, which only the dashboard knows")
    return column


def _needs_past(column: str) -> bool:
    from envwatch.views.table.columns import LOSSES, column_of

    return column != LOSSES and column_of(column).needs_past


def _choice(
    options: Options, settings: Settings, named_query: Query
) -> tuple[Query, Preset, tuple[str, ...], str | None]:
    """Return query, preset, columns and sort.

    Only options choose: the dashboard's first filter and view must not take rows from a script.
    """
    from envwatch.views.table.columns import LOSSES
    from envwatch.views.table.table_view import View

    named = view_for(options, settings)
    rows = named.chosen(View())
    query = named_query or rows.query
    columns = options.columns or tuple(id_ for id_ in named.columns if not _needs_past(id_))
    sort = options.sort or named.sort or LOSSES
    return query, rows.preset, columns, None if sort == LOSSES or _needs_past(sort) else sort


def run(options: Options) -> int:
    """Print a listing of each profile.

    A failure is not retried: the caller knows better when to try again.
    """
    from dataclasses import replace

    from envwatch.cli.machines import find_target, refuse_shared_names
    from envwatch.cli.one_listing import outcomes_for, stops_in
    from envwatch.letta.poller import read_clocks
    from envwatch.model.outcome import Failed, Listed
    from envwatch.views.output import environment_list
    from envwatch.views.output.check_result import build_block_of_listings
    from envwatch.views.table.block import build_block
    from envwatch.watch.one_listing import monitor_after

    stdout()
    target = find_target(options, is_required=False)
    profiles = profiles_for(options)
    policies_for(profiles)  # stop early if `expect_file` is unreadable
    query, preset, columns, sort = _choice(options, profiles.first, target.query)
    outcomes = outcomes_for(profiles, options, ProgressLine())
    print_damage()
    monitor = monitor_after(outcomes, profiles)
    refuse_shared_names(target, monitor.fleet)
    listings = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Listed)}
    failures = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Failed)}
    whole, is_line = None, options.output == "line"
    if listings:
        whole = environment_list.environment_list(listings, monitor, tuple(failures))
        whole = environment_list.filtered(whole, query, clean(profiles.first.profile), preset)
        whole = replace(whole, columns=columns)
        if sort is not None:
            whole = environment_list.ordered_by(whole, sort)
        keys = {row.tracked.key for row in whole.rows} if query or whole.preset is not None else None
        now = read_clocks()
        # A line has the numbers of `check`; in the other formats, each row has a state.
        block = (build_block_of_listings if is_line else build_block)(monitor, now, counted=keys)
        whole = replace(whole, block=block, remarks=environment_list.remarks_in(monitor, now))
    if is_line:
        asked_at = min((each.asked.monotonic for each in listings.values()), default=0.0)
        _write_line(whole, profiles, failures, asked_at, options)
    else:
        _write_listing(whole, profiles, failures, monitor.fleet.old_listing_age(read_clocks()), options)
    print_hint(query, monitor.fleet)
    if not is_line:
        print_unmatched_filters(profiles, monitor.fleet)
    return report_stops(stops_in(outcomes, profiles), is_silent=is_line)


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
    if options.output in {"", "table"} or listed.rejected or listed.untimed:
        hosts = dict.fromkeys(server_host(each.credentials) for name, each in profiles.items() if name not in failures)
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
    """Print a single line for status bars; without a listing, print the cause.

    `asked_at` is the oldest listing's monotonic second.
    """
    from envwatch.config.settings import DEFAULT
    from envwatch.views.output import formats

    stream = stdout()
    chosen = [profile for name, profile in profiles.items() if listed is None or name not in failures]
    has_names = chosen[0].settings.origin("profile") != DEFAULT
    label = clean(
        ",".join(settings.profile if has_names else server_host(credentials) for credentials, settings in chosen)
    )
    if listed is None:
        causes = ", ".join(dict.fromkeys(failure.cause for failure in failures.values()))
        write_text(f"? {label} {causes}\n")
        return
    ascii_only = options.ascii or not is_utf8(stream)
    age = timedelta(seconds=max(time.monotonic() - asked_at, 0))
    write_all([formats.prompt_line(listed, label=label, age=age, encoding=stream.encoding, ascii_only=ascii_only)])


def _pieces(listed: EnvironmentList, options: Options) -> Iterator[bytes]:
    from envwatch.views.output import formats

    if options.output in {"", "table"}:
        stream = stdout()
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
        ascii_only = options.ascii or not is_utf8(stream)
        return formats.listing_table(
            listed,
            width=width or None,
            encoding=stream.encoding,
            ascii_only=ascii_only,
            has_colours=has_colours(stream),
        )
    writers = {
        "json": formats.listing_json,
        "jsonl": formats.encode_jsonl,
        "csv": formats.encode_csv,
        "name": formats.listing_names,
    }
    return writers[options.output](listed)
