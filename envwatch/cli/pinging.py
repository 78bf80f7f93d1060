"""The dead man's switch: tells an outside service, once a minute, that envwatch sees, or once that envwatch does not.

Owns when an address is fetched. A fetch is a task of its own, so a service that hangs delays no poll.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.cli.arguments import Exit, StopError
from envwatch.hooks.hook import ping_of
from envwatch.hooks.message import DeliveryError
from envwatch.model import limits
from envwatch.model.clock import MonotonicS
from envwatch.sources.letta.network_settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Sized

    from envwatch.cli.bootstrap import Profiles
    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.hooks.webhook import WebService
    from envwatch.model.text import SafeText

_EVERY_S: Final = limits.PING_EVERY.total_seconds()


class SharedPing(NamedTuple):
    """An address, and the profiles that have the address: one that cannot be seen is a failure of all."""

    ping: WebService
    names: Sequence[SafeText]
    """The names under which the profiles are watched."""


def pings_of(profiles: Profiles) -> list[SharedPing]:
    """Return the addresses of the profiles, before anything is asked of the server.

    Raises:
        StopError: if a switch cannot be used.
    """
    pings: dict[str, WebService] = {}
    names: dict[str, list[SafeText]] = {}
    for name, (_, settings) in profiles.items():
        try:
            ping = ping_of(settings.ping_url, settings.ping_url_env, os.environ)
        except SettingsError as error:
            raise StopError(Exit.USAGE, str(error)) from None
        if ping is not None:
            pings[str(ping.url)] = ping
            names.setdefault(str(ping.url), []).append(name)
    return [SharedPing(ping, names[url]) for url, ping in pings.items()]


@dataclass(slots=True)
class _Switch:
    """One address, and what was fetched."""

    shared: SharedPing
    fetched_at: MonotonicS = MonotonicS(-inf)  # noqa: RUF009 - a number
    task: asyncio.Task[None] | None = None
    """The newest fetch."""
    has_told_failure: bool = False
    """Whether the service knows of the present failure."""
    is_broken: bool = False
    """Whether the newest fetch failed."""

    def is_ready(self, now: MonotonicS) -> bool:
        """Whether the next fetch may begin."""
        return (self.task is None or self.task.done()) and now - self.fetched_at >= _EVERY_S


class DeadMansSwitch:
    """The switches of all profiles.

    Args:
        pings: the addresses; each is fetched on its own.
        failing: returns the hooks that have failed for too long.
        warn: says on standard error and in the log that fetches fail, once for each streak, and that they work again.
    """

    def __init__(self, pings: Iterable[SharedPing], failing: Callable[[], Sized], warn: Callable[[str], None]) -> None:
        self._switches = [_Switch(shared) for shared in pings]
        self._failing = failing
        self._warn = warn

    def take(self, update: MonitorUpdate) -> None:
        """Begin the fetches that an update calls for; never waits."""
        for switch in self._switches:
            names = switch.shared.names
            if not switch.is_ready(update.changes.now.monotonic):
                continue
            is_failure = bool(self._failing()) or any(_is_blind(update, name) for name in names)
            is_news = update.changes.profile in names and update.has_new_listing and _are_listed(update, names)
            if is_news if not is_failure else not switch.has_told_failure:
                switch.fetched_at = update.changes.now.monotonic
                switch.task = asyncio.create_task(self._fetch(switch, is_failure=is_failure))

    async def end(self) -> None:
        """End the fetches that are under way."""
        tasks = [switch.task for switch in self._switches if switch.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, switch: _Switch, *, is_failure: bool) -> None:
        what = ": ".join(filter(None, [", ".join(switch.shared.names), "ping_url"]))
        try:
            await switch.shared.ping.ping(is_failure=is_failure)
        except DeliveryError as error:
            if not switch.is_broken:
                self._warn(f"{what}: {error}")
            switch.is_broken = True
        else:
            if switch.is_broken:
                self._warn(f"{what}: works again")
            switch.is_broken, switch.has_told_failure = False, is_failure


def _is_blind(update: MonitorUpdate, name: SafeText) -> bool:
    """Whether a profile cannot be seen. After a sleep of this machine, only once a poll has failed."""
    profile_state = update.monitor.fleet.by_profile[name]
    is_awake = profile_state.unseen_since is None or profile_state.failures > 0
    return is_awake and not update.monitor.sees(name, update.changes.now)


def _are_listed(update: MonitorUpdate, names: Iterable[SafeText]) -> bool:
    """Whether every profile has been listed since the start: until then, nothing is known of its environments."""
    return all(update.monitor.fleet.by_profile[name].listed is not None for name in names)


@asynccontextmanager
async def pinging(
    pings: Iterable[SharedPing], warn: Callable[[str], None], failing: Callable[[], Sized] = tuple
) -> AsyncIterator[Callable[[MonitorUpdate], None]]:
    """Fetch as long as the context lasts; the context gives a function that takes each update."""
    switch = DeadMansSwitch(pings, failing, warn)
    try:
        yield switch.take
    finally:
        await switch.end()
