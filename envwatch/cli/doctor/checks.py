"""The checks of `envwatch doctor`: each measures one thing and returns a finding. A new check is a function and a line.

A check may use what those in its `needs` have left in its subject; where one of them found a failure, it is skipped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from envwatch.cli.bootstrap import state_file
from envwatch.cli.doctor import judgements
from envwatch.cli.doctor.finding import CheckStatus, Finding, failure, ok, skipped, warning
from envwatch.cli.doctor.surroundings import hook_problems, ping_problems, terminal_facts, tmux_facts, write_problem
from envwatch.config.credentials import AddressError, CredentialsError, address_without_key, credentials_of
from envwatch.config.settings import all_settings_of, config_path
from envwatch.config.values import ConfigError
from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.outcome import SourceError
from envwatch.sources.daemon_thread import run_in_daemon_thread
from envwatch.sources.letta.network_settings import (
    SettingsError,
    checked_base_url,
    proxy_variable,
    trust_for,
    trust_variable,
)
from envwatch.sources.letta.probe import Probe
from envwatch.storage.alert_state_file import INCIDENTS_OF_1_0
from envwatch.storage.history.folder import history_root
from envwatch.storage.history.inspection import inspected
from envwatch.storage.redactor import redactor
from envwatch.storage.remembered import ACKNOWLEDGEMENTS, REMEMBERED
from envwatch.storage.silences_file import SILENCES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.clock import OffsetBounds
    from envwatch.model.text import SafeText
    from envwatch.sources.letta.probe import Exchange, Requests

S = TypeVar("S")

_STEP_S: Final = 5.0
"""Seconds for what a check reads on this machine: a keyring or a network file system may take any time."""

STATE_FILES: Final = {
    "state": REMEMBERED,
    "acknowledged": ACKNOWLEDGEMENTS,
    "silences": SILENCES,
    "incidents": INCIDENTS_OF_1_0,
}
"""The content of each file that `bootstrap.state_file` gives the path of, by the file's name."""


@dataclass(slots=True)
class MachineContext:
    """What the checks of this machine examine, and have found so far."""

    options: Mapping[str, Any]
    """Given options of the command line, by name."""
    environ: Mapping[str, str]
    all_settings: Sequence[Settings] = ()


@dataclass(slots=True)
class ServerContext:
    """What the checks of one profile examine, and have found so far; a field is set when a check that needs it runs."""

    settings: Settings
    environ: Mapping[str, str]
    address: tuple[str, str] = field(init=False)
    """The address, and where it comes from."""
    credentials: Credentials = field(init=False)
    probe: Probe = field(init=False)
    addresses: tuple[SafeText, ...] = field(init=False)
    health: Exchange | SourceError = field(init=False)
    requests: Requests = field(init=False)
    offsets: list[OffsetBounds] = field(default_factory=list)

    async def aclose(self) -> None:
        """Close the connection."""
        if requests := getattr(self, "requests", None):
            await requests.aclose()


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One check."""

    id: str
    examine: Callable[[S], Awaitable[Finding]]
    needs: tuple[str, ...] = ()
    """Ids of checks without whose success this one makes no sense."""


async def findings_of(checks: Sequence[Check[S]], subject: S) -> AsyncIterator[tuple[str, Finding]]:
    """Run checks one after the other, and yield the id and the finding of each."""
    roots: dict[str, str] = {}
    """The failed check behind each one that did not succeed."""
    for check in checks:
        root = next((roots[need] for need in check.needs if need in roots), None)
        if root is None:
            finding = await _finding_of(check, subject)
        else:
            finding = skipped(f"not checked, because of {root}")
        if finding.status in {CheckStatus.FAILURE, CheckStatus.SKIPPED}:
            roots[check.id] = root or check.id
        yield check.id, finding


async def _finding_of(check: Check[S], subject: S) -> Finding:
    try:
        return await check.examine(subject)
    except SourceError as error:
        return judgements.of_failure(error)
    except TimeoutError:
        fix = "see what hangs: the keyring, a network file system, or tmux"
        return failure(f"no result within {_STEP_S:g} s", fix)


async def _read(function: Callable[[], S]) -> S:
    """Return what a blocking function returns, in limited time."""
    async with asyncio.timeout(_STEP_S):
        return await run_in_daemon_thread(function)


def _wall_ms() -> WallMs:
    return WallMs(time.time() * 1000)


async def _config(machine: MachineContext) -> Finding:
    def read() -> tuple[Path, Sequence[Settings]]:
        path, _ = config_path(machine.options.get("config"), machine.environ)
        return path, all_settings_of(machine.options, machine.environ)

    try:
        path, machine.all_settings = await _read(read)
    except ConfigError as error:
        return judgements.of_config_mistakes(error.lines)
    return judgements.of_config(path, machine.all_settings)


async def _key(server: ServerContext) -> Finding:
    def read() -> tuple[Credentials, int | None]:
        credentials = credentials_of(server.settings, server.environ, now_ms=_wall_ms())
        return credentials, None if credentials.file is None else credentials.file.stat().st_mode

    server.address = address_without_key(server.settings, server.environ)
    try:
        server.credentials, mode = await _read(read)
    except AddressError:
        return skipped("not used: there is no address that it may go to")
    except CredentialsError as error:
        return failure(error.problem, error.remedy or "put a key there, or name another place for it")
    redactor().learn(server.credentials.key.get_secret_value())
    server.address = (server.credentials.base_url, server.credentials.base_url_origin)
    return judgements.of_key(server.credentials, mode, _wall_ms())


async def _server(server: ServerContext) -> Finding:
    base_url, origin = server.address
    try:
        base_url = checked_base_url(base_url)
    except SettingsError as error:
        return failure(f"{error} (see {origin})", "set it to the server's address: https://host, or unset it")
    server.address = (base_url, origin)
    return ok(f"{base_url} ({origin})", base_url=base_url, origin=origin)


async def _proxy(server: ServerContext) -> Finding:
    variable = proxy_variable(server.environ)
    try:
        server.probe = Probe(
            base_url=server.address[0],
            limits=server.settings.limits,
            environ=server.environ,
            wall=_wall_ms,
            monotonic=time.monotonic,
        )
    except SettingsError as error:
        return failure(str(error), "correct that variable, or unset it")
    if server.probe.proxy is None:
        why = "none is set" if variable is None else f"none for this server, though {variable} is set"
        return ok(why, variable=variable, host=None)
    host = f"{server.probe.host}:{server.probe.port}"
    return ok(f"{host} ({variable})", variable=variable, host=host)


async def _certificates(server: ServerContext) -> Finding:
    if not server.probe.is_encrypted:
        return ok("none needed: plain http within this machine", variable=None)
    variable = trust_variable(server.environ)
    try:
        await _read(lambda: trust_for(server.probe.url, server.environ))
    except SettingsError as error:
        return failure(str(error), f"let {variable} name a file of PEM certificates, or unset it", variable=variable)
    return ok("the usual ones" if variable is None else f"those in {variable}", variable=variable)


async def _dns(server: ServerContext) -> Finding:
    server.addresses = await server.probe.addresses()
    return judgements.of_addresses(server.probe.host, server.addresses)


async def _tcp(server: ServerContext) -> Finding:
    return judgements.of_connection(await server.probe.connect(server.addresses), server.probe.port)


async def _tls(server: ServerContext) -> Finding:
    """Judge the handshake of the first request, which is the one for the server's health."""
    probe, credentials = server.probe, server.credentials
    server.requests = probe.requests(credentials.key, credentials.origin)
    try:
        server.health = await server.requests.health()
    except SourceError as error:
        server.health = error
    if not probe.is_encrypted:
        return ok("none needed: plain http within this machine")
    if server.requests.tls is not None:
        return judgements.of_tls(server.requests.tls, _wall_ms())
    return judgements.of_failure(server.health) if isinstance(server.health, SourceError) else ok("agreed on")


async def _health(server: ServerContext) -> Finding:
    if isinstance(server.health, SourceError):
        return judgements.of_failure(server.health)
    server.offsets += filter(None, [server.health.offset])
    return judgements.of_health(server.health)


async def _listing(server: ServerContext) -> Finding:
    exchange = await server.requests.first_page()
    server.offsets += filter(None, [exchange.offset])
    if exchange.failure is not None or exchange.took >= limits.SLOW_PAGE:
        return judgements.of_listing(exchange)
    try:
        again = await server.requests.first_page()
    except SourceError:
        again = None  # what the first answer says is what was asked about
    return judgements.of_listing(exchange, again)


async def _clock(server: ServerContext) -> Finding:
    return judgements.of_clock(server.offsets)


async def _terminal(machine: MachineContext) -> Finding:
    facts = terminal_facts(machine.environ)
    return skipped("there is none; the dashboard needs one") if facts is None else judgements.of_terminal(facts)


async def _tmux(machine: MachineContext) -> Finding:
    if not machine.environ.get("TMUX"):
        return ok("not used here")
    try:
        return judgements.of_tmux(await _read(lambda: tmux_facts(machine.environ)))
    except OSError as error:
        return skipped(f"no settings known: {error.strerror}")


async def _state(_: MachineContext) -> Finding:
    def read() -> Finding:
        damaged = [path for name, content in STATE_FILES.items() if content.is_damaged(path := state_file(name))]
        folder = state_file("state").parent
        return judgements.of_state(folder, write_problem(folder), damaged)

    return await _read(read)


async def _history(_: MachineContext) -> Finding:
    def read() -> Finding:
        folder = history_root(state_file("state").parent)
        try:
            return judgements.of_history(folder, inspected(folder))
        except OSError as error:
            return warning(f"{folder} cannot be read: {error.strerror}", "check its owner and mode, or delete it")

    return await _read(read)


async def _hooks(machine: MachineContext) -> Finding:
    if not machine.all_settings:
        return skipped("not checked, because of config")
    settings = machine.all_settings[0]
    if not settings.hooks:
        return ok("none are configured", hooks=0)
    problems = await _read(lambda: hook_problems(settings, machine.environ))
    return judgements.of_hooks(len(settings.hooks), problems)


async def _ping(machine: MachineContext) -> Finding:
    if not machine.all_settings:
        return skipped("not checked, because of config")
    count = sum(bool(each.ping_url or each.ping_url_env) for each in machine.all_settings)
    problems = ping_problems(machine.all_settings, machine.environ)
    return judgements.of_pings(count, problems)


CONFIG: Final = (Check("config", _config),)
"""What everything else depends on."""

PROFILE: Final = (
    Check("key", _key),
    Check("server", _server),
    Check("proxy", _proxy, ("server",)),
    Check("certificates", _certificates, ("proxy",)),
    Check("dns", _dns, ("proxy",)),
    Check("tcp", _tcp, ("dns",)),
    Check("tls", _tls, ("key", "certificates", "tcp")),
    Check("health", _health, ("tls",)),
    Check("listing", _listing, ("tls",)),
    Check("clock", _clock, ("tls",)),
)
"""The way to the server of one profile."""

MACHINE: Final = (
    Check("terminal", _terminal),
    Check("tmux", _tmux),
    Check("state", _state),
    Check("history", _history),
    Check("hooks", _hooks),
    Check("ping", _ping),
)
"""The rest of this machine."""
