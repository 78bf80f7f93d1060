"""Signs of life to a dead man's switch and the service manager.

A dead man's switch is an outside service that raises an alarm when the signs stop. A failure is reported once. A
hanging service delays no poll.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Self

from envwatch.alerts.ledger import PING, Progress
from envwatch.alerts.losses import hashed_id
from envwatch.deliver.message import DeliveryError
from envwatch.model import limits
from envwatch.model.clock import MonotonicS
from envwatch.model.outcome import Listed, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence, Sized

    from envwatch.deliver.web_service import WebService
    from envwatch.model.text import SafeText
    from envwatch.watch.loop import MonitorUpdate, Watch
    from envwatch.watch.profiles import Profiles


_EVERY_S: Final = limits.PING_EVERY.total_seconds()
_NEVER: Final = MonotonicS(-inf)


@dataclass(slots=True)
class DeadMansSwitch:
    """An address with profiles, and the state of fetches.

    An unseen profile or a failing hook is a failure. The watch's ledger says whether the service knows.
    """

    ping: WebService
    names: Sequence[SafeText]
    fetched_at: MonotonicS = _NEVER
    task: asyncio.Task[None] | None = None
    is_broken: bool = False

    @property
    def _id(self) -> SafeText:
        return hashed_id("ping", *self.names)

    def take(
        self, update: MonitorUpdate, watch: Watch, warn: Callable[[str], None], *, has_failing_hooks: bool = False
    ) -> None:
        """Start the fetch for an update; never waits.

        `warn` gets a line at the first failure and the next success.
        """
        now = update.changes.now
        if (self.task is not None and not self.task.done()) or now.monotonic - self.fetched_at < _EVERY_S:
            return
        is_failure = has_failing_hooks or any(_is_blind(update, name) for name in self.names)
        is_news = update.changes.profile in self.names and update.has_new_listing and _are_listed(update, self.names)
        known = watch.monitor.ledger.of(self._id, PING)
        is_told = known is not None and known.progress in (Progress.TOLD, Progress.END_DUE)
        if is_failure and not is_told:
            watch.enter(watch.monitor.ledger.due(self._id, PING, self.names[0], now.monotonic))
        elif is_news and not is_failure:
            watch.enter(watch.monitor.ledger.end_due(self._id, PING, now.monotonic))
        else:
            return
        self.fetched_at = now.monotonic
        self.task = asyncio.create_task(self._fetch(watch, warn, is_failure=is_failure))

    async def end(self) -> None:
        """Cancel the running fetch."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _fetch(self, watch: Watch, warn: Callable[[str], None], *, is_failure: bool) -> None:
        what = ": ".join(filter(None, [", ".join(self.names), "ping_url"]))
        try:
            await self.ping.ping(is_failure=is_failure)
        except DeliveryError as error:
            if not self.is_broken:
                warn(f"{what}: {error}")
            self.is_broken = True
        else:
            if self.is_broken:
                warn(f"{what}: works again")
            self.is_broken = False
            sent = Progress.DUE if is_failure else Progress.END_DUE
            watch.enter(watch.monitor.ledger.told(self._id, PING, sent, watch.clocks().monotonic))


def _is_blind(update: MonitorUpdate, name: SafeText) -> bool:
    """Whether a profile is unseen; after this machine's sleep, only after a failed poll."""
    profile_state = update.monitor.fleet.by_profile[name]
    is_awake = profile_state.unseen_since is None or profile_state.failures > 0
    return is_awake and not update.monitor.judge(update.changes.now).sees(name)


def _are_listed(update: MonitorUpdate, names: Iterable[SafeText]) -> bool:
    return all(update.monitor.fleet.by_profile[name].listed is not None for name in names)


def find_pings(profiles: Profiles) -> list[DeadMansSwitch]:
    """Return a switch for each address.

    Raises:
        SettingsError: if a switch is unusable.
    """
    switches: dict[str, DeadMansSwitch] = {}
    for name, (_, settings) in profiles.items():
        if settings.ping_url is None and settings.ping_url_env is None:
            continue
        from envwatch.deliver.delivery import find_ping

        ping = find_ping(settings.ping_url, settings.ping_url_env, os.environ)
        if ping is not None:
            names = switches[str(ping.url)].names if str(ping.url) in switches else ()
            switches[str(ping.url)] = DeadMansSwitch(ping, (*names, name))
    return list(switches.values())


@asynccontextmanager
async def pinging(
    switches: Sequence[DeadMansSwitch],
    watch: Watch,
    warn: Callable[[str], None],
    failing: Callable[[], Sized] = tuple,
) -> AsyncIterator[None]:
    """Fetch the switches' addresses during the context; `failing` returns the failing hooks."""

    def take(update: MonitorUpdate) -> None:
        for switch in switches:
            switch.take(update, watch, warn, has_failing_hooks=bool(failing()))

    watch.observers.append(take)
    try:
        yield
    finally:
        await asyncio.gather(*(switch.end() for switch in switches))


class ServiceManager:
    """The service manager of sd_notify(3), if any.

    Only complete listings feed the watchdog, so that a process that sees nothing is restarted. The manager's variables
    are removed from `environ`: child processes must not see the manager.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        interval, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        """Socket path, or an abstract name after a zero byte; further text means no manager."""
        is_meant = process in {"", str(os.getpid())}
        self._has_watchdog = interval.isdecimal() and int(interval) > 0 and is_meant

    def ready(self) -> None:
        """Report that watching has begun."""
        self._send("READY=1")

    def take(self, outcome: Outcome | None) -> None:
        """Feed the watchdog after a complete listing."""
        if self._has_watchdog and isinstance(outcome, Listed):
            self._send("WATCHDOG=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address.startswith(("/", "\0")):
            return
        # The manager may be restarting; watching does not depend on the delivery.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), self._address)
