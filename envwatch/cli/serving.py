"""The server of `envwatch serve`: the plan checks options and files, the service answers viewers.

Endpoints change only in the server's thread.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for, config_path_for
from envwatch.cli.streams import print_error, write
from envwatch.model.text import SafeText, clean, counted
from envwatch.redactor import redactor
from envwatch.serving.answers import ProfileEndpoint, SharedState
from envwatch.serving.app import ServingApp
from envwatch.serving.listening import Certificate, ServerError, listen
from envwatch.serving.server import HttpServer
from envwatch.serving.tokens import Tokens, TokensFile, add_token
from envwatch.sources.poller import read_clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.config.settings import Settings
    from envwatch.fleet.monitor import Monitor
    from envwatch.metrics.exposition import Polls
    from envwatch.storage.log import PollLog
    from envwatch.watch.loop import MonitorUpdate
    from envwatch.watch.profiles import Profiles


_TOKENS: Final = "serve-tokens"


def new_token(options: Options) -> int:
    """Add and print a token."""
    settings = all_settings_for(options)
    paths = {_tokens_path(each, options) for each in settings}
    if len(paths) > 1:
        raise StopError(Exit.USAGE, "the profiles have different files of tokens: choose one with --profile")
    (path,) = paths
    token = add_token(path, options.new_token, may_ack=options.ack)
    write(f"{token}\n".encode())
    print_error(f"token added to {path}, and never shown again. The viewer sets LETTA_API_KEY to the token")
    return Exit.FINE


def _tokens_path(settings: Settings, options: Options) -> Path:
    return settings.serve_tokens_file or config_path_for(options)[0].parent / _TOKENS


@dataclass(slots=True)
class Plan:
    """Checked settings and files, and a listening socket."""

    settings: Mapping[SafeText, Settings]
    tokens: Mapping[SafeText, TokensFile]
    listening: socket.socket
    tls: Certificate | None

    @staticmethod
    def check(options: Options) -> None:
        """Stop if options contradict each other; needs no settings."""
        if options.ack:
            raise StopError(Exit.USAGE, "--ack needs a new token: add --new-token NAME")
        if options.tls_cert is None and options.tls_key is not None:
            raise StopError(Exit.USAGE, "--tls-key needs a certificate: add --tls-cert")
        if options.tls_cert is None and not options.bind.is_loopback:
            reason = "plain http would show tokens to the network"
            raise StopError(
                Exit.USAGE, f"--bind {options.bind} is open to other machines, and needs --tls-cert: {reason}"
            )

    @classmethod
    def from_options(cls, profiles: Profiles, options: Options) -> Self:
        """Return the plan, and listen; stop if a file or the address cannot be used."""
        settings = {name: each for name, (_, each) in profiles.items()}
        paths = {name: _tokens_path(each, options) for name, each in settings.items()}
        files = {path: TokensFile(path, redactor().learn) for path in dict.fromkeys(paths.values())}
        cert, key = options.tls_cert, options.tls_key
        tls = None if cert is None else Certificate(Path(cert), Path(key or cert))
        try:
            listening = listen(options.bind)
        except ServerError as error:
            raise StopError(Exit.FAILED, str(error)) from None
        return cls(settings, {name: files[path] for name, path in paths.items()}, listening, tls)

    def close(self) -> None:
        """Close the socket."""
        self.listening.close()

    @property
    def base_urls(self) -> list[str]:
        """The LETTA_BASE_URL for each profile's viewers."""
        host, port = self.listening.getsockname()[:2]
        if ip_address(host).is_unspecified:
            host = socket.gethostname()
        root = f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        if len(self.settings) == 1:
            return [root]
        return [f"{root}/profiles/{each.profile}" for each in self.settings.values()]

    @property
    def left_out(self) -> list[str]:
        """A line for each profile whose settings hide environments from viewers."""
        filters = {each.profile: {"source": each.source, "user": each.user} for each in self.settings.values()}
        alone = {
            profile: " and ".join(f"{name} = {value}" for name, value in values.items() if value is not None)
            for profile, values in filters.items()
        }
        return [clean(f"viewers of profile {profile} see only {what}") for profile, what in alone.items() if what]

    @property
    def tokens_are(self) -> str:
        """The number of tokens and the files, for people."""
        files = dict.fromkeys(self.tokens.values())
        return " or ".join(f"one of {counted(len(file.tokens), 'token')} in {clean(str(file.path))}" for file in files)


_COUNTED_EVERY_S: Final = 3_600.0


class Service:
    """The server, which answers 503 until the first listing. `warn` is called from any thread with a line."""

    def __init__(self, plan: Plan, warn: Callable[[str], None], log: PollLog) -> None:
        self._plan = plan
        self._warn = warn
        self._log = log
        self._endpoints = {name: ProfileEndpoint() for name in plan.settings}
        machine = socket.gethostname().partition(".")[0]
        self._names = {name: clean(settings.serve_name or machine) for name, settings in plan.settings.items()}
        self._polls: Polls | None = None if find_spec("prometheus_client") is None else {}
        self._newest: tuple[Monitor, Polls, Mapping[SafeText, bool]] | None = None
        endpoints = {settings.profile: self._endpoints[name] for name, settings in plan.settings.items()}
        series = None if self._polls is None else self._series
        self._app = ServingApp(endpoints, self._tokens(), read_clocks, log.note, series)
        tls = None if plan.tls is None else plan.tls.context
        self._server = HttpServer(self._app.answer, plan.listening, warn, tls)
        self._counted_at = read_clocks().monotonic
        self._server.start()

    def take(self, update: MonitorUpdate, hooks: Mapping[SafeText, bool]) -> None:
        """Show an update to viewers; never waits. `hooks` tells whether each hook is failing.

        Raises the unexpected exception that ended the server, if any.
        """
        if self._server.error is not None:
            raise self._server.error
        changes, now = update.changes, update.changes.now
        if self._polls is not None:
            from envwatch.metrics.exposition import with_poll

            self._polls = with_poll(self._polls, changes.profile, changes.outcome)
            self._newest = update.monitor, self._polls, hooks
        monitor = update.monitor
        for name, endpoint in self._endpoints.items():
            profile_state = monitor.fleet.by_profile[name]
            policy = monitor.policy_of(name)
            shared = SharedState(self._names[name], monitor.acks, monitor.silences, policy, monitor.words)
            outcome = changes.outcome if changes.profile == name else None
            self._server.call(partial(endpoint.update, profile_state, outcome, now, shared))
        if now.monotonic - self._counted_at >= _COUNTED_EVERY_S:
            self._counted_at = now.monotonic
            self._server.call(lambda: self._log.note(self._app.take_counts()))

    async def renew(self) -> None:
        """Reload changed tokens and a changed certificate. The disk may be slow."""
        for file in dict.fromkeys(self._plan.tokens.values()):
            if await self._has_changed(file.reread, "the tokens stay as they were"):
                self._log.note("the tokens were read again")
                self._app.tokens = self._tokens()
        tls = self._plan.tls
        if tls is not None and await self._has_changed(tls.reread, "the certificate stays as it was"):
            self._log.note("the certificate was read again")
            self._server.tls = tls.context

    async def _has_changed(self, reread: Callable[[], bool], consequence: str) -> bool:
        try:
            return await asyncio.to_thread(reread)
        except ServerError as error:
            self._warn(f"{consequence}: {error}")
            return False

    def _series(self, accept: str) -> tuple[bytes, str]:
        from envwatch.metrics.exposition import TEXT, exposition

        if self._newest is None:
            return b"", TEXT
        monitor, polls, hooks = self._newest
        return exposition(monitor, polls, read_clocks(), hooks=hooks, accept=accept)

    async def aclose(self) -> None:
        """Answer 503 for a moment, then close the port."""
        for endpoint in self._endpoints.values():
            self._server.call(endpoint.end)
        await self._server.close()
        self._log.note(self._app.take_counts())

    def _tokens(self) -> dict[str, Tokens]:
        return {settings.profile: self._plan.tokens[name].tokens for name, settings in self._plan.settings.items()}
