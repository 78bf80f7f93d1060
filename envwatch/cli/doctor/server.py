"""The checks of the way to a profile's server."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from envwatch.cli.bootstrap import client_for
from envwatch.cli.doctor.check import (
    FIXES,
    LATER,
    Check,
    Finding,
    failed_request,
    failure,
    ok,
    read,
    skipped,
    unused,
    warning,
)
from envwatch.cli.one_listing import monitor_after
from envwatch.config.credentials import AddressError, Credentials, CredentialsError, address_without_key, credentials_of
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.plausibility import date_fault, is_date_wrong
from envwatch.fleet.replacement import keeps_identity
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, ServerClock, WallMs
from envwatch.model.outcome import Cause, Failed, Failure, Listed, ListedPage, ListingCost, Snapshot, SourceError
from envwatch.model.text import SafeText, composed, counted
from envwatch.model.times import date_text, long_age, moment, seconds_up, span
from envwatch.redactor import ReportedError, redactor
from envwatch.sources.letta.network_settings import (
    SettingsError,
    checked_base_url,
    proxy_variable,
    trust_for,
    trust_variable,
)
from envwatch.sources.letta.probe import Exchange, Probe
from envwatch.sources.poller import poll_once, read_clocks
from envwatch.views.output.alert_decisions import decided_rows, new_names, tally_text
from envwatch.views.pace import LARGEST_PAGE, LargePage, Remedy, reason_of, remedies, remedies_text
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.config.settings import Settings
    from envwatch.views.output.alert_decisions import DecidedRow

_FIX_BY_STATUS: Final = {401: FIXES[Cause.UNAUTHORIZED], 403: FIXES[Cause.FORBIDDEN], 429: FIXES[Cause.RATE_LIMITED]}


_SLOW_SERVER: Final = "no setting makes the listing faster: look at the network, the proxy and the server"


def _wall_ms() -> WallMs:
    return WallMs(time.time() * 1000)


@dataclass(slots=True)
class ServerContext:
    """The subject of a profile's checks. A check sets the fields that later checks need."""

    settings: Settings
    environ: Mapping[str, str]
    wall: Callable[[], WallMs] = _wall_ms
    address: tuple[str, str] = field(init=False)
    """Address and origin."""
    credentials: Credentials = field(init=False)
    probe: Probe = field(init=False)
    addresses: tuple[SafeText, ...] = field(init=False)
    health: Exchange | Failure = field(init=False)
    first_page: Exchange = field(init=False)
    listed: Listed = field(init=False)
    offsets: list[OffsetBounds] = field(default_factory=list)

    async def aclose(self) -> None:
        """Close the connection."""
        if probe := getattr(self, "probe", None):
            await probe.aclose()


async def check_key(server: ServerContext) -> Finding:
    """Check the key's place, and the file mode."""

    def find() -> tuple[Credentials, int | None]:
        credentials = credentials_of(server.settings, server.environ, now_ms=server.wall())
        return credentials, None if credentials.file is None else credentials.file.stat().st_mode

    server.address = address_without_key(server.settings, server.environ)
    try:
        credentials, mode = await read(find)
    except AddressError:
        return skipped("not used: there is no address that it may go to")
    except CredentialsError as error:
        return failure(error.problem, error.remedy or "put a key there, or name another source of the key")
    redactor().learn(credentials.key.get_secret_value())
    server.credentials = credentials
    server.address = (credentials.base_url, credentials.base_url_origin)
    end = credentials.expires_at_ms
    ends_at = moment(end, UTC)
    data = {
        "origin": credentials.origin,
        "file": None if credentials.file is None else str(credentials.file),
        "mode": None if mode is None else f"{stat.S_IMODE(mode):04o}",
        "expires_at": ends_at.isoformat() if ends_at else None,
    }
    left = "" if end is None else f", expires in {long_age(span(end - server.wall()))}"
    summary = f"from {credentials.origin}{'' if mode is None else f', mode {stat.S_IMODE(mode):04o}'}{left}"
    if mode is not None and mode & 0o077:
        return warning(f"{summary}: others can read the file", f"`chmod 600 {credentials.file}`", **data)
    return ok(summary, **data)


async def check_server(server: ServerContext) -> Finding:
    """Check the server's address."""
    base_url, origin = server.address
    try:
        base_url = checked_base_url(base_url)
    except SettingsError as error:
        return failure(f"{error} (see {origin})", "set it to the server's address: https://host, or unset it")
    server.address = (base_url, origin)
    return ok(f"{base_url} ({origin})", base_url=base_url, origin=origin)


async def check_proxy(server: ServerContext) -> Finding:
    """Check the proxy."""
    variable = proxy_variable(server.environ)
    try:
        server.probe = Probe(
            base_url=server.address[0],
            limits=server.settings.limits,
            environ=server.environ,
            wall=server.wall,
            monotonic=time.monotonic,
        )
    except SettingsError as error:
        return failure(str(error), "correct that variable, or unset it")
    if server.probe.proxy is None:
        if variable is None:
            return unused("none is set", variable=None, host=None)
        return ok(f"none for this server, though {variable} is set", variable=variable, host=None)
    host = f"{server.probe.host}:{server.probe.port}"
    return ok(f"{host} ({variable})", variable=variable, host=host)


async def check_certificates(server: ServerContext) -> Finding:
    """Check the trusted certificates."""
    if not server.probe.is_encrypted:
        return unused("none needed: plain http within this machine", variable=None)
    variable = trust_variable(server.environ)
    try:
        await read(lambda: trust_for(server.probe.url, server.environ))
    except SettingsError as error:
        return failure(str(error), f"let {variable} name a file of PEM certificates, or unset it", variable=variable)
    return ok("the usual ones" if variable is None else f"those in {variable}", variable=variable)


async def check_dns(server: ServerContext) -> Finding:
    """Check that the nearest host has an address."""
    host, addresses = server.probe.host, await server.probe.addresses()
    server.addresses = addresses
    others = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return ok(f"{host} is {addresses[0]}{others}" if addresses[0] != host else host, addresses=list(addresses))


async def check_tcp(server: ServerContext) -> Finding:
    """Check that an address accepts a connection; list refusing addresses."""
    (address, took, refused), port = await server.probe.connect(server.addresses), server.probe.port
    summary = f"{address} port {port} in {_ms(took)}"
    data = {"address": str(address), "port": port, "took_ms": _number(took)}
    if not refused:
        return ok(summary, **data)
    fix = "each new connection loses time there: check the routes; for an IPv6 address, check IPv6 as a whole"
    return warning(f"{summary}, but not {', '.join(refused)}", fix, **data, refused=list(refused))


async def check_tls(server: ServerContext) -> Finding:
    """Check handshake and certificate with the health request."""
    probe, credentials = server.probe, server.credentials
    probe.authorize(credentials.key, credentials.origin)
    try:
        server.health = await probe.health()
    except SourceError as error:
        server.health = error.failure
    if not probe.is_encrypted:
        return unused("none needed: plain http within this machine")
    if probe.tls is None:
        return failed_request(server.health) if isinstance(server.health, Failure) else ok("agreed on")
    version, valid_until = probe.tls
    if valid_until is None:
        return ok(str(version), version=str(version), valid_until=None)
    left = span(valid_until - server.wall())
    end = moment(valid_until, UTC)
    data = {"version": str(version), "valid_until": end.isoformat() if end else None}
    summary = f"{version}, certificate valid until {date_text(valid_until, None)}"
    if left < limits.CERTIFICATE_WARN_FROM:
        fix = "ask the server's operators to renew the certificate"
        return warning(f"{summary}, in {long_age(left)}", fix, **data)
    return ok(summary, **data)


async def check_health(server: ServerContext) -> Finding:
    """Check `GET /v1/health`, which a server need not have."""
    exchange = server.health
    if isinstance(exchange, Failure):
        return failed_request(exchange)
    server.offsets += filter(None, [exchange.offset])
    summary = f"answered {exchange.status} in {_ms(exchange.took)}"
    data = {"status": exchange.status, "took_ms": _number(exchange.took), "version": exchange.version}
    if exchange.status < 300:
        return ok(f"{summary}{f': version {exchange.version}' if exchange.version else ''}", **data)
    if exchange.status == 404:
        return ok(f"{summary}: this server has no such route", **data)
    fix = _FIX_BY_STATUS.get(exchange.status, FIXES[Cause.REDIRECTED] if exchange.status < 400 else LATER)
    return failure(f"{summary}, and not 200", fix, **data)


async def check_listing(server: ServerContext) -> Finding:
    """Check the first page. A second request must return the same machines."""
    exchange = server.first_page = await server.probe.first_page()
    server.offsets += filter(None, [exchange.offset])
    rows = len(exchange.environments)
    data = {
        "status": exchange.status,
        "took_ms": _number(exchange.took),
        "rows": rows,
        "listing_age_s": exchange.listing_age_s,
    }
    if exchange.failure is not None:
        finding = failed_request(exchange.failure)
        return failure(finding.summary, finding.fix, **{**finding.data, **data})
    more = "" if exchange.is_whole else ", more pages follow"
    age_s = exchange.listing_age_s
    old = "" if age_s is None else f", of a listing that is {long_age(timedelta(seconds=age_s))} old"
    answered = f"answered {exchange.status} with {counted(rows, 'environment')}"
    summary = f"{answered} in {_ms(exchange.took)}{more}{old}"
    if exchange.took >= limits.SLOW_PAGE:
        fix = "states come that much later: check the network and the proxy; a smaller --page-size answers sooner"
        return warning(f"{summary}: slow", fix, **data)
    try:
        again = await server.probe.first_page()
    except SourceError:
        return ok(summary, **data)  # the first response answers the question
    before = {row.id: row for row in exchange.environments}
    moved = sum(row.id in before and not keeps_identity(before[row.id], row) for row in again.environments)
    if moved:
        what = f"{counted(moved, 'row')} changed firstSeenAt or the device between two requests"
        fix = "nothing here: until the server is fixed, the old row of a renamed machine counts as a loss"
        return warning(f"{summary}: {what}", fix, **data)
    return ok(summary, **data)


async def check_pace(server: ServerContext) -> Finding:
    """Check the pages and the time of one whole listing, and whether polls keep the interval."""
    settings, page = server.settings.limits, server.first_page
    if page.is_whole:
        cost = ListingCost(rows=len(page.environments), page_rows=len(page.environments), took=page.took)
        snapshot, now = Snapshot.of_pages([ListedPage([*page.environments], server.wall())]), read_clocks()
        server.listed = Listed(snapshot, now, now, settings.interval)
    else:
        async with client_for(server.credentials, server.settings) as client:
            outcome = await poll_once(client, settings.interval)
        if isinstance(outcome, Failed):
            return _failed_listing(outcome)
        server.listed, cost = outcome, outcome.cost
    interval = settings.pace(cost.requests, cost.took)
    data = {
        "pages": cost.requests,
        "rows": cost.rows,
        "took_ms": _number(cost.took),
        "interval_s": interval.total_seconds(),
        "wanted_interval_s": settings.interval.total_seconds(),
        "remedies": list[object](),
    }
    read = f"{counted(cost.rows, 'environment')} in {counted(cost.requests, 'page')} and {_ms(cost.took)}"
    reason = reason_of(settings, cost)
    if reason is None:
        return ok(f"{read}: polls come every {long_age(interval)}", **data)
    largest = await _largest_page(server, cost)
    found = remedies(settings, cost, largest)
    data["remedies"] = [{**remedy.settings, "interval_s": remedy.interval.total_seconds()} for remedy in found]
    if not found:
        return warning(f"{read}: {reason}", f"{_SLOW_SERVER}{_whole_interval(cost, interval)}", **data)
    return warning(f"{read}: {reason}", f"{remedies_text(found)}{_conditions(cost, largest, found)}", **data)


def _conditions(cost: ListingCost, largest: LargePage | None, found: tuple[Remedy, ...]) -> str:
    is_bound = largest is None and cost.is_paged and cost.page_rows < LARGEST_PAGE
    rows = counted(cost.page_rows, "environment")
    pages = f" (the server sends at most {rows} a page)" if is_bound else ""
    needs_more = any("requests_per_minute" in remedy.settings for remedy in found)
    return f"{', if the server allows so many requests' if needs_more else ''}{pages}"


def _whole_interval(cost: ListingCost, interval: timedelta) -> str:
    """Return the interval that wastes no time between listings, if polls are then more frequent."""
    whole = seconds_up(cost.took)
    return f'; `interval = "{whole.total_seconds():.0f}s"` skips no poll' if whole < interval else ""


async def _largest_page(server: ServerContext, cost: ListingCost) -> LargePage | None:
    """Return the largest page that the server sends, if larger than at present."""
    if not cost.is_paged or server.settings.limits.page_size >= LARGEST_PAGE:
        return None
    try:
        page = await server.probe.first_page(LARGEST_PAGE)
    except SourceError:
        return None
    rows = LARGEST_PAGE if page.is_whole else len(page.environments)
    return (rows, page.took) if page.failure is None and rows > cost.page_rows else None


def _failed_listing(failed: Failed) -> Finding:
    where = "" if failed.page is None else f"page {failed.page}: "
    finding = failed_request(Failure(failed.cause, composed(f"{where}{failed.message}")))
    fix = finding.fix
    if failed.cause is Cause.TIMEOUT and failed.page is None:
        fix = "a greater `walk_deadline` allows more time; a greater `page_size` needs fewer requests"
    return failure(finding.summary, fix, **finding.data, pages=failed.pages_read)


async def check_alerts(server: ServerContext) -> Finding:
    """Check which rows need a person when they are lost."""

    def find() -> Sequence[DecidedRow]:
        profiles = Profiles({NO_PROFILE: SelectedProfile(server.credentials, server.settings)})
        monitor = monitor_after({NO_PROFILE: server.listed}, profiles)
        return decided_rows(monitor.fleet.environments, monitor, server.listed.ended)

    try:
        rows = await read(find)
    except ReportedError as error:
        return failure(str(error), "correct that setting")
    new = new_names(rows)
    names = [row.tracked.environment.label for row in rows if row.is_new]
    counting = sum(row.decision.counts for row in rows)
    return ok(f"{tally_text(rows)}{new and f': {new}'}", rows=len(rows), counting=counting, new=names)


async def check_clock(server: ServerContext) -> Finding:
    """Check this machine's clock by the `Date` of responses."""
    clock = ServerClock()
    for each in server.offsets:
        clock = clock.with_bounds(each)
    bounds = clock.bounds
    if bounds is None:
        fix = "keep this machine's clock synchronised: verdicts use this clock"
        return warning("the server's responses have no usable Date", fix, offset_s=None)
    data = {"offset_s": clock.offset / 1000, "low_s": bounds.low / 1000, "high_s": bounds.high / 1000}
    where = "behind" if clock.offset > 0 else "ahead of"
    between = f"{bounds.low / 1000:+.1f} to {bounds.high / 1000:+.1f} s"
    if not clock.is_far_off:
        return ok(f"agrees with the server's (which is off by {between})", **data)
    page = getattr(server, "first_page", None)
    if page is not None and is_date_wrong(
        [ListedPage(page.environments, server.wall())], clock.offset, 0.0, limits.Limits()
    ):
        wrong = date_fault(ServerClock(), clock.offset).wrong
        fix = "nothing here: set the server's clock; meanwhile rows (clk?) are judged by this machine's clock"
        return warning(wrong, fix, **data)
    summary = f"this machine is {long_age(span(abs(clock.offset)))} {where} the server (which is off by {between})"
    fix = "synchronise this machine's clock: `timedatectl set-ntp true`; ages are right, by the server's clock"
    return warning(summary, fix, **data)


def _number(took: timedelta) -> float:
    return round(took / timedelta(milliseconds=1), 1)


def _ms(took: timedelta) -> str:
    return f"{took / timedelta(milliseconds=1):,.0f} ms"


PROFILE: Final = (
    Check("key", check_key),
    Check("server", check_server),
    Check("proxy", check_proxy, ("server",)),
    Check("certificates", check_certificates, ("proxy",)),
    Check("dns", check_dns, ("proxy",)),
    Check("tcp", check_tcp, ("dns",)),
    Check("tls", check_tls, ("key", "certificates", "tcp")),
    Check("health", check_health, ("tls",)),
    Check("listing", check_listing, ("tls",)),
    Check("pace", check_pace, ("listing",)),
    Check("alerts", check_alerts, ("pace",)),
    Check("clock", check_clock, ("tls",)),
)
