"""The server of `envwatch serve`: its plan, which checks files and options, and its service next to the polls.

Only the plan works without the packages of the extra `serve`, which the service imports late. Owns the two threads'
seam: the endpoints belong to the server's thread, and get every change by a call in it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for, config_path_for
from envwatch.cli.streams import print_error, write
from envwatch.model.text import clean, counted
from envwatch.redactor import redactor
from envwatch.serving.answers import ProfileEndpoint
from envwatch.serving.listening import Address, Certificate, ListeningSocket, ServerError, listen
from envwatch.serving.listing import SharedState
from envwatch.serving.tokens import TokensFile, add_token
from envwatch.sources.poller import read_clocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from envwatch.cli.bootstrap import Profiles
    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.config.settings import Settings
    from envwatch.fleet.monitor import Monitor
    from envwatch.metrics.exposition import PollCounts
    from envwatch.model.text import SafeText
    from envwatch.serving.tokens import Tokens
    from envwatch.storage.log import PollLog


_TOKENS: Final = "serve-tokens"
"""The name of the file of tokens beside the configuration file."""


def new_token(options: Options) -> int:
    """Add a token to the file of tokens, print it, and return the exit code."""
    settings = all_settings_for(options)
    paths = {_tokens_path(each, options) for each in settings}
    if len(paths) > 1:
        raise StopError(Exit.USAGE, "the profiles have different files of tokens: choose one with --profile")
    (path,) = paths
    try:
        token = add_token(path, options.new_token)
    except ServerError as error:
        raise StopError(Exit.USAGE, str(error)) from None
    write(f"{token}\n".encode())
    print_error(f"token added to {path}, and never shown again. The viewer sets LETTA_API_KEY to the token")
    return Exit.FINE


def _tokens_path(settings: Settings, options: Options) -> Path:
    return settings.serve_tokens_file or config_path_for(options)[0].parent / _TOKENS


@dataclass(slots=True)
class Plan:
    """Everything that is needed to serve, checked, with the socket that listens already."""

    settings: Mapping[SafeText, Settings]
    """Of each profile, by the name under which it is polled."""
    tokens: Mapping[SafeText, TokensFile]
    """Likewise."""
    address: Address
    listening: ListeningSocket
    tls: Certificate | None

    @staticmethod
    def check(options: Options) -> None:
        """Stop if a package is missing, or the options make no sense together: what needs no settings."""
        if any(find_spec(package) is None for package in ("starlette", "uvicorn", "httptools")):
            how = "install envwatch with its extra `serve`, such as `uv tool install '.[serve]'`"
            raise StopError(Exit.USAGE, f"`envwatch serve` needs more packages: {how}")
        if options.tls_cert is None and options.tls_key is not None:
            raise StopError(Exit.USAGE, "--tls-key needs a certificate: add --tls-cert")
        if options.tls_cert is None and not options.bind.is_loopback:
            reason = "plain http would show tokens to the network"
            raise StopError(
                Exit.USAGE, f"--bind {options.bind} is open to other machines, and needs --tls-cert: {reason}"
            )

    @classmethod
    def from_options(cls, profiles: Profiles, options: Options) -> Self:
        """Return the plan, and listen; stop if something that it needs cannot be used."""
        settings = {name: each for name, (_, each) in profiles.items()}
        paths = {name: _tokens_path(each, options) for name, each in settings.items()}
        try:
            files = {path: TokensFile(path, redactor().learn) for path in dict.fromkeys(paths.values())}
            cert, key = options.tls_cert, options.tls_key
            tls = None if cert is None else Certificate(Path(cert), Path(key or cert))
        except ServerError as error:
            raise StopError(Exit.USAGE, str(error)) from None
        try:
            listening = listen(options.bind)
        except ServerError as error:
            raise StopError(Exit.FAILED, str(error)) from None
        return cls(settings, {name: files[path] for name, path in paths.items()}, options.bind, listening, tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    @property
    def base_urls(self) -> list[str]:
        """What viewers set LETTA_BASE_URL to, for each profile."""
        _, port = self.listening.getsockname()[:2]
        host = self.address.host
        if ip_address(host).is_unspecified:
            host = socket.gethostname()
        root = f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        return (
            [root]
            if len(self.settings) == 1
            else [f"{root}/profiles/{each.profile}" for each in self.settings.values()]
        )

    @property
    def left_out(self) -> list[str]:
        """A line for each profile whose settings keep viewers from seeing all of it, for people."""
        filters = {each.profile: {"source": each.source, "user": each.user} for each in self.settings.values()}
        alone = {
            profile: " and ".join(f"{name} = {value}" for name, value in values.items() if value is not None)
            for profile, values in filters.items()
        }
        return [clean(f"viewers of profile {profile} see only {what}") for profile, what in alone.items() if what]

    @property
    def tokens_are(self) -> str:
        """How many tokens there are, and where, for people."""
        files = dict.fromkeys(self.tokens.values())
        return " or ".join(f"one of {counted(len(file.tokens), 'token')} in {clean(str(file.path))}" for file in files)


_COUNTED_EVERY_S: Final = 3_600.0
"""How often the log says what was answered."""


class Service:
    """The server, and what it serves; `warn` is called from any thread with one line about what is wrong."""

    def __init__(self, plan: Plan, warn: Callable[[str], None], log: PollLog) -> None:
        from envwatch.serving.app import ServingApp
        from envwatch.serving.server import HttpServer

        self._plan = plan
        self._warn = warn
        self._log = log
        self._endpoints = {name: ProfileEndpoint() for name in plan.settings}
        machine = socket.gethostname().partition(".")[0]
        self._names = {name: clean(settings.serve_name or machine) for name, settings in plan.settings.items()}
        self._polls: PollCounts | None = None
        """None without the extra `metrics`: then there is no series."""
        self._newest: tuple[Monitor, PollCounts, Mapping[SafeText, bool]] | None = None
        if find_spec("prometheus_client") is not None:
            from envwatch.metrics.exposition import PollCounts

            self._polls = PollCounts()
        endpoints = {settings.profile: self._endpoints[name] for name, settings in plan.settings.items()}
        series = None if self._polls is None else self._series
        self._app = ServingApp(endpoints, self._tokens(), read_clocks, log.note, series)
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
        if self._polls is not None:
            if changes.profile is not None and changes.outcome is not None:
                self._polls = self._polls.apply(changes.profile, changes.outcome)
            self._newest = update.monitor, self._polls, hooks
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

    def _series(self, accept: str) -> tuple[bytes, str]:
        """Return body and content type of the newest update's metrics; before the first update there is no series."""
        from envwatch.metrics.exposition import exposition

        if self._newest is None:
            return b"", "text/plain; version=0.0.4; charset=utf-8"
        monitor, polls, hooks = self._newest
        return exposition(monitor, polls, read_clocks(), hooks=hooks, accept=accept)

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
