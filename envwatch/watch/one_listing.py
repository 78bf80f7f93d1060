"""A single listing of each profile, and the monitor after it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from envwatch.alerts.monitor import Monitor
from envwatch.letta.poller import poll_once, read_clocks
from envwatch.model.outcome import Failed, Listed
from envwatch.model.text import SafeText, clean
from envwatch.watch import gc_tuning
from envwatch.watch.alert_files import earlier_alerts
from envwatch.watch.clients import client_for
from envwatch.watch.loop import NO_NEWS, Watch
from envwatch.watch.profiles import Profiles, policies_for
from envwatch.watch.state_files import stored_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.language import Query


async def fetch_all(
    profiles: Profiles, outcomes: dict[SafeText, Listed | Failed], on_page: Callable[[int, int], None]
) -> None:
    """Poll profiles concurrently, and fill `outcomes` in the profiles' order.

    `on_page` takes the pages and rows of all profiles after each page.
    The result is not returned: when `asyncio.run` restores the handler of SIGINT, Python formats an error with the main
    task's result, 800 MiB for 100,000 rows.
    """
    read = dict.fromkeys(profiles, (0, 0))

    def note(name: SafeText, pages: int, rows: int) -> None:
        read[name] = (pages, rows)
        on_page(*map(sum, zip(*read.values(), strict=True)))

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
    from envwatch.views.table.columns import SEARCHED

    for name, profile_state in monitor.fleet.by_profile.items():
        if (at := profile_state.listed_at) is not None:
            context = MatchContext(at, monitor.judge(read_clocks()), clean(profiles[name].settings.profile))
            yield from filter(query.test(context, SEARCHED), profile_state.environments.values())
