"""A single listing of each profile: fetch, judge, log, report."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from envwatch.alerts.monitor import Monitor
from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import client_for, poll_log_for
from envwatch.cli.streams import ProgressLine, print_error
from envwatch.letta.poller import poll_once, read_clocks
from envwatch.model.outcome import Cause, Failed, Listed
from envwatch.model.text import SafeText, clean, counted
from envwatch.watch.alert_files import earlier_alerts
from envwatch.watch.loop import NO_NEWS, Watch
from envwatch.watch.profiles import Profiles, policies_for, server_host
from envwatch.watch.state_files import stored_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.outcome import Outcome
    from envwatch.query.language import Query


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


def matching_rows(query: Query, monitor: Monitor, profiles: Profiles) -> Iterator[TrackedEnvironment]:
    """Yield the rows of listed profiles that match a query at the listing's time."""
    from envwatch.query.presentation import MatchContext
    from envwatch.wording.table.columns import SEARCHED

    for name, profile_state in monitor.fleet.by_profile.items():
        if (at := profile_state.listed_at) is not None:
            context = MatchContext(at, monitor.judge(read_clocks()), clean(profiles[name].settings.profile))
            yield from filter(query.test(context, SEARCHED), profile_state.environments.values())


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
