"""A single listing of each profile: fetch, judge, log, report."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from envwatch.alerts.monitor import Monitor
from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError, check_query
from envwatch.cli.bootstrap import client_for, poll_log_for
from envwatch.cli.streams import ProgressLine, print_error
from envwatch.letta.poller import poll_once, read_clocks
from envwatch.model.outcome import Cause, Failed, Listed
from envwatch.model.text import SafeText, clean, counted
from envwatch.watch.alert_files import earlier_alerts
from envwatch.watch.loop import NO_NEWS, Watch
from envwatch.watch.profiles import Profiles, matcher_for, policies_for, server_host
from envwatch.watch.state_files import stored_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.outcome import Outcome


def outcomes_for(profiles: Profiles, options: Options, line: ProgressLine) -> Mapping[SafeText, Listed | Failed]:
    """Poll each profile once, show progress, and log the polls with `--log-file`."""
    outcomes: dict[SafeText, Listed | Failed] = {}
    asyncio.run(fetch_all(profiles, outcomes, line))
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

    async def look() -> None:
        async with asyncio.timeout(seconds):
            await fetch_all(profiles, outcomes, ProgressLine())

    asyncio.run(look())
    return outcomes


async def fetch_all(profiles: Profiles, outcomes: dict[SafeText, Listed | Failed], line: ProgressLine) -> None:
    """Poll profiles concurrently, show progress, and fill `outcomes` in the profiles' order.

    The result is not returned: when `asyncio.run` restores the handler of SIGINT, Python formats an error with the main
    task's result, 800 MiB for 100,000 rows.
    """
    read = dict.fromkeys(profiles, (0, 0))

    def note(name: SafeText, pages: int, rows: int) -> None:
        read[name] = (pages, rows)
        if line.is_due:
            all_pages, all_rows = map(sum, zip(*read.values(), strict=True))
            line.show(f"reading: {counted(all_rows, 'machine')}, {counted(all_pages, 'page')}")

    with line:
        fetched = (_fetch(*profile, on_page=partial(note, name)) for name, profile in profiles.items())
        outcomes |= zip(profiles, await asyncio.gather(*fetched), strict=True)


async def _fetch(
    credentials: Credentials, settings: Settings, *, on_page: Callable[[int, int], None]
) -> Listed | Failed:
    async with client_for(credentials, settings) as client:
        client.on_page = on_page
        gc_tuning.start()
        return await poll_once(client, settings.limits.interval)


def monitor_after(outcomes: Mapping[SafeText, Listed | Failed], profiles: Profiles) -> Monitor:
    """Return the monitor after the listings, with this machine's acknowledgements, silences and incidents."""
    listed = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Listed)}
    monitor = Monitor.create(profiles.limits, policies=policies_for(profiles), servers=profiles.servers)
    for name in listed:
        if (alerts := earlier_alerts(name, profiles[name], read_clocks())) is not None:
            monitor = monitor.with_earlier_incidents(name, alerts)
    watch, news = Watch(monitor), stored_news(profiles, listed)
    for name, outcome in listed.items():
        watch.take(name, outcome, news)
        news = NO_NEWS
    return watch.monitor


def matching_rows(query: str, monitor: Monitor, profiles: Profiles) -> Iterator[TrackedEnvironment]:
    """Yield the rows of listed profiles that match a query at the listing's time."""
    for name, profile_state in monitor.fleet.by_profile.items():
        if (at := profile_state.listed_at) is not None:
            matcher = matcher_for(query, profiles[name].settings, (monitor, read_clocks()))
            yield from (each for each in profile_state.environments.values() if matcher.matches(each, at))


def chosen_rows(
    what: str, argument: str, monitor: Monitor, profiles: Profiles
) -> tuple[Sequence[TrackedEnvironment], bool]:
    """Return the rows that a name, an id or a query chooses, and whether `what` is a query.

    `argument` is the name of `what` in messages.

    Raises:
        StopError: no row matches, or the name is ambiguous.
    """
    from envwatch.query.language import Term, parse, parse_argument
    from envwatch.wording.table.table_view import by_name

    name, rows = clean(what.strip()), [*monitor.fleet.environments]
    if named := [row for row in rows if row.environment.id == name] or [
        row for row in rows if row.environment.label == name
    ]:
        if len({(monitor.fleet.server_of(row.profile), row.environment.id) for row in named}) > 1:
            known = {row.environment.id for row in named}
            if len(known) == 1:
                raise StopError(Exit.USAGE, f"several profiles have a machine {name}: choose one with --profile")
            ids = ", ".join(sorted(known))
            raise StopError(Exit.USAGE, f"{len(named):,} machines are called {name}: name one by its id: {ids}")
        return named, False
    check_query(what, argument, is_positional=True)
    terms, query = parse(what).terms, parse_argument(what)
    is_name = not any(isinstance(term, Term) for term in terms) and "*" not in str(query)
    found = [] if is_name else by_name(matching_rows(str(query), monitor, profiles))
    if found:
        return found, True
    from envwatch.query.completion import near_names, value_hint

    nearest = near_names(query, rows)
    if nearest is None and (hint := value_hint(query, rows)) is not None:
        raise StopError(Exit.USAGE, hint)
    missing = f"no machine is called {name}"
    unmatched = f"{name} matches none of {counted(len(rows), 'machine')}"
    remedy = nearest or "`envwatch list` prints all"
    raise StopError(Exit.USAGE, f"{missing if is_name else unmatched}; {remedy}")


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
