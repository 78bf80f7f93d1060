"""The checks of `envwatch doctor`.

A check returns None or a problem, and adds measured values to `facts`; without facts, nothing was examined. Checks
leave nothing on the machine and run no hook.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TextIO, TypeAlias, TypeVar

from envwatch.cli.streams import has_colours, is_utf8
from envwatch.config.credentials import (
    KEYS_PAGE,
    AddressError,
    CredentialsError,
    read_credentials,
    unchosen_profiles,
    without_key,
)
from envwatch.config.settings import Settings, read_settings
from envwatch.config.values import ConfigError
from envwatch.deliver.delivery import find_ping, prepare_all
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.plausibility import date_fault, is_date_wrong
from envwatch.fleet.replacement import keeps_identity
from envwatch.history.inspection import inspected
from envwatch.history.stored import history_root
from envwatch.letta.daemon_thread import run_in_daemon_thread
from envwatch.letta.network_settings import SettingsError, proxy_variable, trust_variable
from envwatch.letta.poller import poll_once
from envwatch.letta.probe import Exchange, Probe
from envwatch.model import limits
from envwatch.model.clock import ServerClock, WallMs
from envwatch.model.outcome import Cause, Failed, Failure, Listed, ListedPage, ListingCost, SourceError
from envwatch.model.redactor import ReportedError, redactor
from envwatch.model.text import clean, composed, counted
from envwatch.model.times import date_text, long_age, span
from envwatch.views.output.alert_decisions import decided_rows, decisions_tally, new_names
from envwatch.views.output.formats import iso
from envwatch.views.pace import LARGEST_PAGE, LargePage, reason_of, remedies_text, ways_to_poll_faster
from envwatch.watch.clients import client_for
from envwatch.watch.file_filters import file_filters_of
from envwatch.watch.one_listing import monitor_after
from envwatch.watch.profiles import Profiles, SelectedProfile, state_file
from envwatch.watch.state_file import ALERT_STATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials

S = TypeVar("S")
Facts: TypeAlias = "dict[str, object]"
"""Measured values as JSON, never the key."""
Finding: TypeAlias = "dict[str, Any]"
"""A check's result as JSON: id, profile, status, summary, fix, data."""

_STEP_S: Final = 5.0
"""Limit of a blocking call: keyrings and network file systems may hang."""
SMALLEST: Final = (40, 8)
"""Columns and lines that the dashboard needs."""

_FIXES: Final = {
    Cause.UNAUTHORIZED: f"replace the old key: make a new key at {KEYS_PAGE} (a token of `envwatch serve`: "
    "--new-token)",
    Cause.FORBIDDEN: "ask whether the plan and the rights of the key's owner include environments",
    Cause.NO_SUCH_ROUTE: "set LETTA_BASE_URL, or base_url in the configuration, to a server that has environments",
    Cause.RATE_LIMITED: "wait, and poll less often: --interval, requests_per_minute",
    Cause.REDIRECTED: "set LETTA_BASE_URL, or base_url in the configuration, to the final address",
    Cause.TLS: "check the address; if a company's authority signs the certificate, name its file in SSL_CERT_FILE",
    Cause.TIMEOUT: "check the network; page_deadline and walk_deadline allow more time, page_size needs fewer requests",
    Cause.UNREACHABLE: "check the address, the network, the firewall, and HTTPS_PROXY",
    Cause.ENDLESS: "ask those who run the server why its list does not end",
    Cause.GARBLED: "set LETTA_BASE_URL, or base_url in the configuration, to a Letta server, not to a login page",
}
_CORRECT: Final = "correct the settings; `envwatch config validate` checks the file"
_LATER: Final = "try again later; if the failure stays, ask the server's operators"


class Problem(NamedTuple):
    """A problem and a fix."""

    summary: str
    fix: str
    status: str = "failure"
    """`failure` if envwatch cannot work, else `warning`."""


def _warning(summary: str, fix: str) -> Problem:
    return Problem(summary, fix, "warning")


def problem_of(why: Failure) -> Problem:
    """Return a failed request as a problem."""
    page = f"page {why.page}: " if why.page and why.page > 1 else ""
    return Problem(f"{page}{why.message}", _FIXES.get(why.cause, _LATER))


class Check(NamedTuple, Generic[S]):
    """A check of a machine or a server."""

    id: str
    examine: Callable[[S, Facts], Awaitable[Problem | None]]
    needs: tuple[str, ...] = ()
    """Ids of earlier checks; if any fails, this check is left out."""
    unsaid: tuple[str, ...] = ()
    """Names of facts for programs only."""


async def run_checks(
    checks: Sequence[Check[S]], subject: S, failed: dict[str, str], profile: str | None = None
) -> AsyncIterator[Finding]:
    """Yield each check's finding, neither cleaned nor redacted.

    `failed` maps failed and left-out checks to the failed check, and gets new entries.
    """
    for check in checks:
        facts: Facts = {}
        need = next((failed[need] for need in check.needs if need in failed), None)
        if need is not None:
            summary, fix, status = f"not checked, because of {need}", None, "skipped"
            facts["needs"] = need
        elif problem := await _problem_found(check, subject, facts):
            summary, fix, status = problem
        else:
            known = spelled({name: value for name, value in facts.items() if name not in check.unsaid})
            summary, fix, status = known or "nothing to check", None, "ok" if known else "skipped"
        if need or status == "failure":
            failed[check.id] = need or check.id
        yield {"id": check.id, "profile": profile, "status": status, "summary": summary, "fix": fix, "data": facts}


def spelled(facts: Facts) -> str:
    """Return facts as a line for people, such as `status 200, took 12.1 ms`."""
    known = {name: value for name, value in facts.items() if value not in (None, "", [])}
    return ", ".join(_fact_text(name, value) for name, value in known.items())


def _fact_text(name: str, value: object) -> str:
    words, _, unit = name.rpartition("_")
    has_unit = unit in {"ms", "s"}
    text = f"{(words if has_unit else name).replace('_', ' ')} {_value_text(value)}"
    return f"{text} {unit}" if has_unit else text


def _value_text(value: object) -> str:
    match value:
        case dict():
            return f"({spelled(value)})"
        case list():
            return " and ".join(map(_value_text, value))
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def safe(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON with all texts cleaned and redacted."""
    match value:
        case str():
            return composed(redactor()(clean(value)))  # last: cleaning may produce a secret's spelling
        case list() | tuple():
            return [*map(safe, value)]
        case dict():
            return {safe(name): safe(one) for name, one in value.items()}
        case _:
            return value


async def _problem_found(check: Check[S], subject: S, facts: Facts) -> Problem | None:
    try:
        return await check.examine(subject, facts)
    except SourceError as error:
        facts["cause"] = str(error.failure.cause)
        return problem_of(error.failure)
    except TimeoutError:
        return Problem(
            f"no result within {_STEP_S:g} s", "find what hangs: the keyring, a network file system, or tmux"
        )
    except OSError as error:
        return _warning(f"{error.filename} cannot be read: {error.strerror}", "check its owner and mode")


async def read(function: Callable[[], S]) -> S:
    """Return a blocking function's result; raise `TimeoutError` after `_STEP_S`."""
    async with asyncio.timeout(_STEP_S):
        return await run_in_daemon_thread(function)


@dataclass(slots=True)
class CheckedMachine:
    """The subject of this machine's checks."""

    options: Mapping[str, Any]
    environ: Mapping[str, str]
    all_settings: Sequence[Settings] = ()
    mistakes: Callable[[], Sequence[str]] = tuple
    """What `config validate` calls a mistake, which is more than the settings in force."""
    refusals: Callable[[Settings], Iterable[str]] = field(default=lambda _settings: ())
    """The mistakes of a profile's settings that keep the dashboard from starting."""
    streams: Sequence[TextIO | None] = field(default_factory=lambda: (sys.__stdout__, sys.__stdin__, sys.__stderr__))


async def check_config(machine: CheckedMachine, facts: Facts) -> Problem | None:
    """Check the settings, and note the origins."""
    try:
        machine.all_settings = await read(lambda: read_settings(machine.options, machine.environ))
    except ConfigError as error:
        return Problem("; ".join(error.lines), _CORRECT)
    document = machine.all_settings[0].document
    facts["file"] = None if document is None else str(document.path)
    facts["profile"] = [f"{each.profile} ({each.origin('profile')})" for each in machine.all_settings]
    facts["origins"] = {each.profile: {**each.origins} for each in machine.all_settings}
    if (unchosen := unchosen_profiles(machine.all_settings[0])) is not None:
        return Problem(unchosen.problem, unchosen.remedy)
    if mistakes := await read(machine.mistakes):
        is_refused = any(any(machine.refusals(each)) for each in machine.all_settings)
        return Problem("; ".join(mistakes), _CORRECT, "failure" if is_refused else "warning")
    return None


async def check_terminal(machine: CheckedMachine, facts: Facts) -> Problem | None:
    """Check whether the dashboard can draw."""
    stream = next((each for each in machine.streams if each is not None and each.isatty()), None)
    if stream is None:
        return None
    size, out = os.get_terminal_size(stream.fileno()), machine.streams[0]
    term = machine.environ.get("TERM", "")
    facts |= {"term": term, "colorterm": machine.environ.get("COLORTERM"), "columns": size.columns, "lines": size.lines}
    facts |= {"encoding": out and out.encoding, "colours": out is not None and has_colours(out)}
    if term in {"", "dumb"}:
        fix = "`export TERM=xterm-256color`, or your terminal's type; `envwatch list` needs no TERM"
        return Problem(f"TERM is {term or 'not set'}: the dashboard cannot move the cursor", fix)
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        fix = f"make the window {SMALLEST[0]}x{SMALLEST[1]} or larger"
        return _warning(f"{size.columns}x{size.lines} is too small for the dashboard", fix)
    if out is None or not is_utf8(out, machine.environ):
        return _warning(f"{facts['encoding']} is not UTF-8, so ASCII is drawn", "set LC_ALL=C.UTF-8")
    return None


async def check_tmux(machine: CheckedMachine, facts: Facts) -> Problem | None:
    """Check whether tmux passes copied text on; with `external`, tmux ignores programs inside."""
    if not machine.environ.get("TMUX"):
        return None
    command = ["tmux", "display-message", "-p", "#{set-clipboard} #{allow-passthrough}"]
    environ = {name: machine.environ.get(name, "") for name in ("PATH", "TMUX")}
    try:
        out = await read(
            lambda: subprocess.check_output(command, env=environ, stderr=subprocess.DEVNULL, timeout=2)  # noqa: S603  a fixed argv
        )
    except (OSError, subprocess.SubprocessError):
        return None
    set_clipboard, _, allow_passthrough = out.decode(errors="replace").strip().partition(" ")
    facts |= {"set_clipboard": set_clipboard, "allow_passthrough": allow_passthrough}
    if set_clipboard == "on" or allow_passthrough in {"on", "all"}:
        return None
    fix = "`tmux set -s set-clipboard on`, and the same in ~/.tmux.conf"
    return _warning(f"set-clipboard {set_clipboard or 'unknown'}: copied text does not get through", fix)


async def check_state(_: CheckedMachine, facts: Facts) -> Problem | None:
    """Check that the state folder is usable, with undamaged files."""
    folder = state_file("state").parent
    facts["folder"] = str(folder)
    try:
        await read(lambda: _write_near(folder))
    except OSError as error:
        fix = f"make {folder} a folder of yours with free space: `mkdir -p`, `chmod 700`; XDG_STATE_HOME names another"
        return Problem(f"{folder} cannot be written: {error.strerror or 'no answer'}", fix)
    for each in sorted(await read(lambda: {*folder.glob("*/")} - {history_root(folder)})):
        try:
            await read(partial(_write_near, each))
        except OSError as error:
            return _warning(f"{each} cannot be written: {error.strerror or 'no answer'}", "check its owner and mode")
    if damaged := await read(lambda: [str(path) for path in sorted(folder.rglob("*.json")) if _is_damaged(path)]):
        fix = "do nothing: envwatch sets the file aside, and begins a new file"
        return _warning(f"damaged: {', '.join(damaged)}", fix)
    return None


def _is_damaged(path: Path) -> bool:
    try:
        return bool(ALERT_STATE.read(path).damaged)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _write_near(folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(bytes(4096))  # a state file's size: a full disk still takes an empty file
        file.flush()
        os.fsync(file.fileno())


async def check_history(_: CheckedMachine, facts: Facts) -> Problem | None:
    """Check all histories."""
    folder = history_root(state_file("state").parent)
    histories = await read(lambda: inspected(folder))
    facts["histories"] = [each._asdict() for each in histories]
    if problems := [f"{each.profile}@{each.host}: {what}" for each in histories for what in each.problems]:
        fix = f"nothing: recording goes on, and the other days are shown; you may delete the files set aside ({folder})"
        if advice := dict.fromkeys(each for history in histories for each in history.advice):
            fix = f"{'; '.join(advice)} ({folder})"
        return _warning("; ".join(problems), fix)
    return None


async def check_hooks(machine: CheckedMachine, facts: Facts) -> Problem | None:
    """Check variables, packages, programs and hosts of hooks; send nothing."""
    facts["hooks"] = len(machine.all_settings[0].hooks) or None
    if not (problems := await read(lambda: [*_hook_problems(machine)])):
        return None
    fixes = dict.fromkeys(fix for _, _, fix in problems)
    fix = "; ".join(f"hook {name}: {fix}" for name, _, fix in problems) if len(fixes) > 1 else next(iter(fixes))
    return _warning("; ".join(f"hook {name}: {what}" for name, what, _ in problems), fix)


def _hook_problems(machine: CheckedMachine) -> Iterator[tuple[str, str, str]]:
    settings = machine.all_settings[0]
    for name, delivery in prepare_all(settings.deliveries, machine.environ, settings.secret_variables).items():
        for what, fix in (*delivery.problems(), *delivery.unknown_hosts()):
            yield name, f"{what} (see {settings.origin(f'hooks.{name}')})", fix


@dataclass(slots=True)
class CheckedServer:
    """The subject of a server's checks, with values for later checks."""

    settings: Settings
    environ: Mapping[str, str]
    wall: Callable[[], float] = lambda: time.time() * 1000
    credentials: Credentials = field(init=False)
    has_key: bool = False
    wrong_address: AddressError | None = None
    probe: Probe = field(init=False)
    listed: Listed = field(init=False)
    health: Exchange = field(init=False)
    page: Exchange | None = None
    """A page, requested after the listing."""

    async def aclose(self) -> None:
        """Close the connection."""
        if probe := getattr(self, "probe", None):
            await probe.aclose()


async def check_key(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check the key's place and file mode."""
    try:
        found = await read(lambda: read_credentials(server.settings, server.environ, now_ms=server.wall()))
    except AddressError as error:
        server.wrong_address = error
        return None
    except CredentialsError as error:
        return Problem(error.problem, error.remedy or "put a key there, or name another source of the key")
    server.credentials, server.has_key, file = found, True, found.file
    redactor().learn(found.key.get_secret_value())
    mode = None if file is None else f"{stat.S_IMODE(file.stat().st_mode):04o}"
    facts |= {"origin": found.origin, "file": file and str(file), "mode": mode, "expires_at": iso(found.expires_at_ms)}
    if mode is not None and not mode.endswith("00"):
        return _warning(f"others can read {file}: its mode is {mode}", f"`chmod 600 {file}`")
    return None


async def check_address(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check the server's address, and variables for proxy and certificates."""
    try:
        if server.wrong_address is not None:
            raise server.wrong_address
        if not server.has_key:
            server.credentials = without_key(server.settings, server.environ)
    except AddressError as error:
        return Problem(str(error), "set it to the server's address: https://host, or unset it")
    found, environ = server.credentials, server.environ
    facts |= {"base_url": found.base_url, "origin": found.base_url_origin}
    facts |= {"proxy_variable": proxy_variable(environ), "certificates_variable": trust_variable(environ)}
    try:
        server.probe = await read(
            lambda: Probe(found.base_url, found.key, found.origin, server.settings.limits, environ, server.wall)
        )
    except SettingsError as error:
        return Problem(str(error), "correct that variable, or unset it")
    facts["proxy"] = server.probe.proxy
    return None


async def check_connection(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check DNS, TCP, TLS and `GET /v1/health`."""
    facts["addresses"] = [*await server.probe.addresses()]
    exchange = server.health = await server.probe.health()
    facts |= {"status": exchange.status, "took_ms": _ms(exchange.took), "version": exchange.version}
    facts |= {"tls": exchange.tls, "valid_until": iso(exchange.valid_until)}
    why, end = exchange.failure, exchange.valid_until
    if why is not None and not why.cause.is_refusal:  # the listing names a refused key
        return problem_of(why)._replace(status="warning")  # the listing may still come
    if end is not None and (left := span(end - server.wall())) < limits.CERTIFICATE_WARN_FROM:
        fix = "ask the server's operators to renew the certificate"
        return _warning(f"the server's certificate is valid until {date_text(end, None)}, in {long_age(left)}", fix)
    return None


async def check_poll(server: CheckedServer, facts: Facts) -> Problem | None:
    """Poll once, and check whether polls keep the interval."""
    settings = server.settings.limits
    async with client_for(server.credentials, server.settings, server.environ) as client:
        outcome = await poll_once(client, settings.interval)
    if isinstance(outcome, Failed):
        raise SourceError(outcome)
    server.listed, cost = outcome, outcome.cost
    facts |= {"machines": cost.rows, "pages": cost.requests, "took_ms": _ms(cost.took)}
    facts["interval_s"] = settings.pace(cost.requests, cost.took).total_seconds()
    with suppress(SourceError):  # the listing has come
        page = server.page = await server.probe.first_page(settings.page_size)
        facts |= {"page_ms": _ms(page.took), "data_age_s": page.listing_age_s}
    if (reason := reason_of(settings, cost)) is not None:
        largest = await _largest_page(server, cost)
        found = ways_to_poll_faster(settings, cost, largest)
        facts["remedies"] = [{**each.settings, "interval_s": each.interval.total_seconds()} for each in found]
        return _warning(reason, remedies_text(found, settings, cost, largest))
    if server.page is not None and server.page.took >= limits.SLOW_PAGE:
        fix = "check the network and the proxy, because states come late; a smaller --page-size answers sooner"
        return _warning(f"a page takes {_ms(server.page.took):,.0f} ms", fix)
    if (why := server.health.failure) is not None and why.cause.is_refusal:
        fix = "let a proxy before the server pass /v1/health, by which envwatch knows `envwatch serve`"
        return _warning(f"the key lists the machines, and GET /v1/health answers {server.health.status}", fix)
    return None


async def _largest_page(server: CheckedServer, cost: ListingCost) -> LargePage | None:
    """Return the server's largest page; None if no larger than the present page."""
    if not cost.is_paged or server.settings.limits.page_size >= LARGEST_PAGE:
        return None
    try:
        page = await server.probe.first_page(LARGEST_PAGE)
    except SourceError:
        return None
    rows = LARGEST_PAGE if page.is_whole else len(page.environments)
    return (rows, page.took) if page.failure is None and rows > cost.page_rows else None


async def check_machines(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check which machines page, and whether they keep their identities between requests."""
    profiles = Profiles({NO_PROFILE: SelectedProfile(server.credentials, server.settings)})
    try:
        monitor = await read(lambda: monitor_after({NO_PROFILE: server.listed}, profiles))
    except ReportedError as error:
        return Problem(str(error), "correct that setting")
    rows = decided_rows(monitor.fleet.environments, monitor, server.listed.ended)
    new = new_names(rows)
    facts["tally"] = f"{decisions_tally(rows)}{new and f': {new}'}"
    facts |= {"machines": len(rows), "that_page": sum(row.decision.counts for row in rows)}
    facts["new"] = [row.tracked.environment.label for row in rows if row.is_new]
    before = server.listed.snapshot.rows
    again = () if server.page is None else server.page.environments
    if moved := sum(row.id in before and not keeps_identity(before[row.id], row) for row in again):
        fix = "nothing here: until the server is fixed, the old name of a renamed machine looks like a loss"
        return _warning(f"{counted(moved, 'machine')} changed firstSeenAt or the device between two requests", fix)
    if lines := await read(lambda: file_filters_of(profiles).lines_of(monitor.fleet)):
        fix = "write the filter for the machines that are meant: `envwatch list --filter 'FILTER'` tries a filter"
        return _warning("; ".join(lines), fix)
    return None


async def check_clock(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check this machine's clock by the `Date` of responses."""
    exchanges = [server.health] if server.page is None else [server.health, server.page]
    clock = reduce(ServerClock.with_bounds, filter(None, (each.offset for each in exchanges)), ServerClock())
    offset, bounds = clock.offset, clock.bounds
    if bounds is None:
        fix = "keep this machine's clock synchronised: verdicts use this clock"
        return _warning("the server's responses have no usable Date", fix)
    known = {"offset_s": offset, "low_s": bounds.low, "high_s": bounds.high}
    facts |= {name: round(milliseconds / 1000, 3) for name, milliseconds in known.items()}
    if not clock.is_far_off:
        return None
    pages = [ListedPage([*each.environments], WallMs(server.wall())) for each in exchanges]
    if is_date_wrong(pages, offset, 0.0, limits.Limits()):
        fix = "nothing here: set the server's clock; meanwhile machines (clk?) are judged by this machine's clock"
        return _warning(date_fault(ServerClock(), offset).wrong, fix)
    where = "behind" if offset > 0 else "ahead of"
    between = f"{bounds.low / 1000:+.1f} to {bounds.high / 1000:+.1f} s"
    fix = "synchronise this machine's clock: `timedatectl set-ntp true`; ages are right, by the server's clock"
    return _warning(
        f"this machine is {long_age(span(abs(offset)))} {where} the server (which is off by {between})", fix
    )


async def check_ping(server: CheckedServer, facts: Facts) -> Problem | None:
    """Check the dead man's switch, without a ping."""
    try:
        ping = find_ping(server.settings.ping_url, server.settings.ping_url_env, server.environ)
    except SettingsError as error:
        name = "ping_url" if server.settings.ping_url_env is None else "ping_url_env"
        return Problem(str(error), f"set the variable, or correct the address: {server.settings.origin(name)}")
    facts["ping_url"] = None if ping is None else "set"
    return None


def _ms(took: timedelta) -> float:
    return round(took / timedelta(milliseconds=1), 1)


MACHINE: Final = (
    Check("config", check_config, unsaid=("origins",)),
    Check("terminal", check_terminal),
    Check("tmux", check_tmux),
    Check("state", check_state),
    Check("history", check_history),
    Check("hooks", check_hooks, ("config",)),
)
PROFILE: Final = (
    Check("key", check_key, ("config",)),
    Check("address", check_address, ("config",)),
    Check("connection", check_connection, ("address",)),
    Check("poll", check_poll, ("key", "connection")),
    Check("machines", check_machines, ("poll",), ("tally",)),
    Check("clock", check_clock, ("connection",)),
    Check("ping", check_ping, ("config",)),
)
