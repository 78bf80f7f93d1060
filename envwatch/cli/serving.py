"""The server of `envwatch serve`, next to the polls, and what each update of the monitor means for its viewers.

Owns the two threads' seam: the endpoints belong to the server's thread, and get every change by a call in it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from envwatch.model.text import clean
from envwatch.serving.answers import ProfileEndpoint
from envwatch.serving.app import ServingApp
from envwatch.serving.listening import ServerError
from envwatch.serving.listing import SharedState
from envwatch.serving.server import HttpServer
from envwatch.sources.poller import read_clocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.cli.serve_plan import Plan
    from envwatch.fleet.monitor import Monitor
    from envwatch.metrics.exposition import PollCounts
    from envwatch.model.text import SafeText
    from envwatch.serving.listening import Certificate
    from envwatch.serving.tokens import Tokens
    from envwatch.storage.log import PollLog

_COUNTED_EVERY_S: Final = 3_600.0
"""How often the log says what was answered."""


class Service:
    """The server, and what it serves; `warn` is called from any thread with one line about what is wrong."""

    def __init__(self, plan: Plan, warn: Callable[[str], None], log: PollLog) -> None:
        self._plan = plan
        self._warn = warn
        self._log = log
        self._endpoints = {name: ProfileEndpoint() for name in plan.settings}
        machine = socket.gethostname().partition(".")[0]
        self._names = {name: clean(settings.serve_name or machine) for name, settings in plan.settings.items()}
        self._series = _Series() if find_spec("prometheus_client") is not None else None
        endpoints = {settings.profile: self._endpoints[name] for name, settings in plan.settings.items()}
        self._app = ServingApp(endpoints, self._tokens(), read_clocks, log.note, self._series)
        tls = None if plan.tls is None else plan.tls.context
        self._server = HttpServer(self._app, plan.listening, warn, tls)
        self._counted_at = read_clocks().monotonic

    def start(self) -> None:
        """Answer from now on; 503, until there is a listing."""
        self._server.start()

    def take(self, update: MonitorUpdate, hooks: Mapping[SafeText, bool]) -> None:
        """Let viewers know of an update; never waits. `hooks` says of each hook whether the hook is failing.

        Raises the bug that ended the server, if one did.
        """
        if self._server.error is not None:
            raise self._server.error
        changes, now = update.changes, update.changes.now
        for name, endpoint in self._endpoints.items():
            profile_state = update.monitor.fleet.by_profile[name]
            shared = SharedState(self._names[name], update.monitor.acks, update.monitor.silences)
            outcome = changes.outcome if changes.profile == name else None
            self._server.call(partial(endpoint.update, profile_state, outcome, now, shared))
        if self._series is not None:
            self._series.take(update, hooks)
        if now.monotonic - self._counted_at >= _COUNTED_EVERY_S:
            self._counted_at = now.monotonic
            self._server.call(lambda: self._log.note(self._app.take_counts()))

    async def renew(self) -> None:
        """Take over what has changed of tokens and certificate; the disk may be slow."""
        for file in dict.fromkeys(self._plan.tokens.values()):
            try:
                is_changed = await asyncio.to_thread(file.reread)
            except ServerError as error:
                self._warn(f"the tokens stay as they were: {error}")
            else:
                if is_changed:
                    self._log.note("the tokens were read again")
                    self._server.call(self._take_tokens)
        if (tls := self._plan.tls) is not None:
            try:
                is_renewed = await asyncio.to_thread(tls.is_renewed)
            except ServerError as error:
                self._warn(f"the certificate stays as it was: {error}")
            else:
                if is_renewed:
                    self._server.call(partial(self._take_certificate, tls))

    async def close(self) -> None:
        """End: viewers read so for a moment, then the port is closed."""
        for endpoint in self._endpoints.values():
            self._server.call(endpoint.end)
        await self._server.close()
        self._log.note(self._app.take_counts())

    def _tokens(self) -> dict[str, Tokens]:
        return {settings.profile: self._plan.tokens[name].tokens for name, settings in self._plan.settings.items()}

    def _take_tokens(self) -> None:
        self._app.tokens = self._tokens()

    def _take_certificate(self, tls: Certificate) -> None:
        try:
            tls.renew()
        except ServerError as error:  # the files were changed at this very moment
            self._warn(f"the certificate is read once more: {error}")
        else:
            self._log.note("the certificate was read again")


@asynccontextmanager
async def serving(plan: Plan, warn: Callable[[str], None], log: PollLog) -> AsyncIterator[Service]:
    """Serve as long as the context lasts; see `Service`."""
    service = Service(plan, warn, log)
    service.start()
    try:
        yield service
    finally:
        await service.close()


class _Series:
    """The metrics of the newest update."""

    def __init__(self) -> None:
        from envwatch.metrics.exposition import PollCounts

        self._polls = PollCounts()
        self._newest: tuple[Monitor, PollCounts, Mapping[SafeText, bool]] | None = None

    def take(self, update: MonitorUpdate, hooks: Mapping[SafeText, bool]) -> None:
        """Note an update."""
        changes = update.changes
        if changes.profile is not None and changes.outcome is not None:
            self._polls = self._polls.apply(changes.profile, changes.outcome)
        self._newest = update.monitor, self._polls, hooks

    def __call__(self, accept: str) -> tuple[bytes, str]:
        """Return body and content type; before the first update there is no series."""
        from envwatch.metrics.exposition import exposition

        if self._newest is None:
            return b"", "text/plain; version=0.0.4; charset=utf-8"
        monitor, polls, hooks = self._newest
        return exposition(monitor, polls, read_clocks(), hooks=hooks, accept=accept)
