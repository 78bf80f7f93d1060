"""What the measurements of `envwatch doctor` mean: pure functions from a value to a finding. Measures nothing."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import asdict
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from envwatch.cli.doctor.finding import Finding, failure, ok, warning
from envwatch.fleet.replacement import keeps_identity
from envwatch.model import limits
from envwatch.model.clock import ServerClock
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.text import counted
from envwatch.model.times import date_text, long_age, moment, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from envwatch.cli.doctor.surroundings import HookProblem, TerminalFacts, TmuxFacts
    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.clock import OffsetBounds, WallMs
    from envwatch.model.text import SafeText
    from envwatch.sources.letta.probe import Connected, Exchange, TlsHandshake
    from envwatch.storage.history.inspection import Inspection

SMALLEST: Final = (40, 8)
"""Columns and lines below which the dashboard shows only that the terminal is too small."""

_LATER: Final = "try again later; if it stays, ask those who run the server"
_FIXES: Final = {
    Cause.UNAUTHORIZED: "make a new key at https://app.letta.com/api-keys (for `envwatch serve`, a token by its "
    "--new-token), and put it where the old one is",
    Cause.FORBIDDEN: "ask whether the plan and the rights of the key's owner include environments",
    Cause.NO_SUCH_ROUTE: "set LETTA_BASE_URL, or base_url in the configuration, to a server that has environments",
    Cause.RATE_LIMITED: "wait, and poll less often: --interval, requests_per_minute",
    Cause.REDIRECTED: "set LETTA_BASE_URL, or base_url in the configuration, to the final address",
    Cause.TLS: "see that the address is right, and that SSL_CERT_FILE names the authority if it is your company's",
    Cause.TIMEOUT: "look at the network and at the server; page_deadline in the configuration allows more time",
    Cause.UNREACHABLE: "look at the address, the network, the firewall, and HTTPS_PROXY",
    Cause.GARBLED: "see that LETTA_BASE_URL leads to a Letta server, and not to a login page",
}
_FIX_BY_STATUS: Final = {401: _FIXES[Cause.UNAUTHORIZED], 403: _FIXES[Cause.FORBIDDEN], 429: _FIXES[Cause.RATE_LIMITED]}


def of_failure(error: SourceError) -> Finding:
    """Judge a step that failed."""
    return failure(str(error.message), _FIXES.get(error.cause, _LATER), cause=str(error.cause))


def of_config(path: Path, all_settings: Sequence[Settings]) -> Finding:
    """Judge settings that make sense: where they come from."""
    profiles = {each.profile: {name: str(origin) for name, origin in each.origins.items()} for each in all_settings}
    origins = [origin for each in profiles.values() for name, origin in each.items() if name != "profile"]
    kinds = Counter(
        "variables" if origin.startswith("ENVWATCH_") else "options" if origin.startswith("--") else "the file"
        for origin in origins
    )
    is_read = all_settings[0].document is not None
    named = [
        f"{each.profile} ({each.origin('profile')})" for each in all_settings if each.origin("profile") != "default"
    ]
    order = filter(kinds.__getitem__, ("variables", "options", "the file"))
    counts = [f"{counted(kinds[kind], 'setting')} from {kind}" for kind in order]
    parts = [str(path) if is_read else "no file, and none is needed", *(f"profile {one}" for one in named), *counts]
    return ok("; ".join(parts), file=str(path), is_read=is_read, origins=profiles)


def of_config_mistakes(mistakes: Sequence[str]) -> Finding:
    """Judge settings that cannot be used."""
    others = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    fix = "correct that; `envwatch config validate` lists every mistake"
    return failure(f"{mistakes[0]}{others}", fix, mistakes=list(mistakes))


def of_key(credentials: Credentials, mode: int | None, now: WallMs) -> Finding:
    """Judge a key, without looking at it, by where it comes from, and by the mode of the file that holds it, if any."""
    end = credentials.expires_at_ms
    ends_at = moment(end, UTC)
    data = {
        "origin": credentials.origin,
        "file": None if credentials.file is None else str(credentials.file),
        "mode": None if mode is None else f"{stat.S_IMODE(mode):04o}",
        "expires_at": ends_at.isoformat() if ends_at else None,
    }
    left = "" if end is None else f", expires in {long_age(span(end - now))}"
    summary = f"from {credentials.origin}{'' if mode is None else f', mode {stat.S_IMODE(mode):04o}'}{left}"
    if mode is not None and mode & 0o077:
        return warning(f"{summary}: others can read the file", f"`chmod 600 {credentials.file}`", **data)
    return ok(summary, **data)


def of_addresses(host: str, addresses: Sequence[SafeText]) -> Finding:
    """Judge what a lookup found."""
    others = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return ok(f"{host} is {addresses[0]}{others}" if addresses[0] != host else host, addresses=list(addresses))


def of_connection(connected: Connected, port: int) -> Finding:
    """Judge a connection that was made."""
    summary = f"{connected.address} port {port} in {_ms(connected.took)}"
    data = {"address": str(connected.address), "port": port, "took_ms": _number(connected.took)}
    if not connected.refused:
        return ok(summary, **data)
    refused = ", ".join(connected.refused)
    fix = "each new connection loses time there: look at the routes, for IPv6 addresses at the whole of IPv6"
    return warning(f"{summary}, but not {refused}", fix, **data, refused=list(connected.refused))


def of_tls(tls: TlsHandshake, now: WallMs) -> Finding:
    """Judge a handshake that succeeded."""
    if tls.valid_until is None:
        return ok(str(tls.version), version=str(tls.version), valid_until=None)
    left = span(tls.valid_until - now)
    end = moment(tls.valid_until, UTC)
    data = {"version": str(tls.version), "valid_until": end.isoformat() if end else None}
    summary = f"{tls.version}, certificate valid until {date_text(tls.valid_until, None)}"
    if left < limits.CERTIFICATE_WARN_FROM:
        fix = "its owner has to renew it: ask those who run the server"
        return warning(f"{summary}, in {long_age(left)}", fix, **data)
    return ok(summary, **data)


def of_health(exchange: Exchange) -> Finding:
    """Judge the response to `GET /v1/health`, a route that a server need not have."""
    summary = f"answered {exchange.status} in {_ms(exchange.took)}"
    data = {"status": exchange.status, "took_ms": _number(exchange.took), "version": exchange.version}
    if exchange.status < 300:
        return ok(f"{summary}{f': version {exchange.version}' if exchange.version else ''}", **data)
    if exchange.status == 404:
        return ok(f"{summary}: this server has no such route", **data)
    fix = _FIX_BY_STATUS.get(exchange.status, _FIXES[Cause.REDIRECTED] if exchange.status < 400 else _LATER)
    return failure(f"{summary}, and not 200", fix, **data)


def of_listing(exchange: Exchange, again: Exchange | None = None) -> Finding:
    """Judge the first page of the listing; `again` is the same page a moment later."""
    rows = len(exchange.environments)
    data = {
        "status": exchange.status,
        "took_ms": _number(exchange.took),
        "rows": rows,
        "listing_age_s": exchange.listing_age_s,
    }
    if exchange.failure is not None:
        finding = of_failure(exchange.failure)
        return failure(finding.summary, finding.fix, **{**finding.data, **data})
    more = "" if exchange.is_whole else ", more pages follow"
    age_s = exchange.listing_age_s
    old = "" if age_s is None else f", of a listing that is {long_age(timedelta(seconds=age_s))} old"
    answered = f"answered {exchange.status} with {counted(rows, 'environment')}"
    summary = f"{answered} in {_ms(exchange.took)}{more}{old}"
    if moved := _moved_between(exchange, again):
        what = f"{counted(moved, 'row')} changed firstSeenAt or the device between two requests"
        fix = "nothing here: so long as the server does that, the old row of a renamed machine counts as a loss"
        return warning(f"{summary}: {what}", fix, **data)
    if exchange.took < limits.SLOW_PAGE:
        return ok(summary, **data)
    fix = "states are late by that: look at the network and the proxy; a smaller --page-size answers sooner"
    return warning(f"{summary}: slow", fix, **data)


def _moved_between(exchange: Exchange, again: Exchange | None) -> int:
    """Return how many rows of a page changed what tells a renamed machine from a lost one."""
    before = {row.id: row for row in exchange.environments}
    later = () if again is None else again.environments
    return sum(row.id in before and not keeps_identity(before[row.id], row) for row in later)


def of_clock(offsets: Sequence[OffsetBounds]) -> Finding:
    """Judge this machine's clock by the `Date` of responses, oldest first."""
    clock = ServerClock()
    for each in offsets:
        clock = clock.with_bounds(each)
    bounds = clock.bounds
    if bounds is None:
        fix = "verdicts are by this machine's clock then: keep it synchronised"
        return warning("the server's responses have no usable Date", fix, offset_s=None)
    data = {"offset_s": clock.offset / 1000, "low_s": bounds.low / 1000, "high_s": bounds.high / 1000}
    where = "behind" if clock.offset > 0 else "ahead of"
    between = f"{bounds.low / 1000:+.1f} to {bounds.high / 1000:+.1f} s"
    if not clock.is_far_off:
        return ok(f"agrees with the server's (which is off by {between})", **data)
    summary = f"this machine is {long_age(span(abs(clock.offset)))} {where} the server (which is off by {between})"
    fix = "synchronise it: `timedatectl set-ntp true`; until then ages are by the server's clock, and right"
    return warning(summary, fix, **data)


def of_terminal(facts: TerminalFacts) -> Finding:
    """Judge the terminal: whether and how the dashboard can draw on it."""
    data = asdict(facts)
    size = f"{facts.columns}x{facts.lines}"
    if facts.term in {"", "dumb"}:
        fix = "set TERM to what the terminal is, such as xterm-256color; `envwatch list` works without"
        return failure(f"TERM is {facts.term or 'not set'}: the dashboard cannot move the cursor", fix, **data)
    summary = f"{facts.term}, {size}, {facts.encoding.upper()}, {facts.colours}"
    problems, fixes = [], []
    if facts.columns < SMALLEST[0] or facts.lines < SMALLEST[1]:
        problems.append("too small for the dashboard")
        fixes.append(f"make it {SMALLEST[0]}x{SMALLEST[1]} or larger")
    if facts.encoding.lower().replace("-", "") != "utf8":
        problems.append("not UTF-8, so ASCII is drawn")
        fixes.append("set LC_ALL=C.UTF-8")
    if problems:
        return warning(f"{summary}: {', '.join(problems)}", "; ".join(fixes), **data)
    return ok(summary, **data)


def of_tmux(facts: TmuxFacts) -> Finding:
    """Judge whether a copied text gets through tmux: with `external`, tmux ignores programs within it."""
    data = asdict(facts)
    if facts.set_clipboard == "on":
        return ok("set-clipboard on: copying works", **data)
    if facts.allow_passthrough in {"on", "all"}:
        return ok(f"allow-passthrough {facts.allow_passthrough}: copying works", **data)
    fix = "`tmux set -s set-clipboard on`, and the same in ~/.tmux.conf"
    return warning(f"set-clipboard {facts.set_clipboard or 'unknown'}: copied text does not get through", fix, **data)


def of_state(folder: Path, problem: OSError | None, damaged: Sequence[Path]) -> Finding:
    """Judge the state folder, which need not exist, by what keeps files from being written, and by damaged ones."""
    data = {"folder": str(folder)}
    if problem is not None:
        fix = f"make {folder} a folder of yours with free space: `mkdir -p`, `chmod 700`; XDG_STATE_HOME names another"
        return failure(f"{folder} cannot be written: {problem.strerror}", fix, **data)
    if damaged:
        names = ", ".join(path.name for path in damaged)
        fix = "nothing: the dashboard sets it aside, and begins a new one"
        return warning(
            f"{folder}: {names} is damaged or unreadable", fix, **data, damaged=[str(path) for path in damaged]
        )
    return ok(str(folder), **data)


def of_history(folder: Path, histories: Sequence[Inspection]) -> Finding:
    """Judge what was recorded in the folder of all histories, which need not exist."""
    found = [each._asdict() | {"problems": [*each.problems], "newer": [*each.newer]} for each in histories]
    data: dict[str, object] = {"folder": str(folder), "histories": found}
    if problems := [f"{each.profile}@{each.host}: {what}" for each in histories for what in each.problems]:
        fix = f"nothing: the rest is shown, and recording goes on; what was set aside may be deleted ({folder})"
        return warning("; ".join(problems), fix, **data)
    if newer := [name for each in histories for name in each.newer]:
        fix = "update this envwatch, which neither shows these days nor records into them"
        return warning(f"recorded by a newer envwatch: {', '.join(newer)}", fix, **data)
    return ok("; ".join(map(_history, histories)) or "none is kept yet", **data)


def _history(history: Inspection) -> str:
    process = "an unknown process" if history.recorder == 0 else f"process {history.recorder}"
    recorded = "" if history.recorder is None else f", recorded by {process}"
    size = f"{history.bytes / (1 << 20):,.1f} MB"
    return f"{history.profile}@{history.host}: {counted(history.days, 'day')}, {size}{recorded}"


def of_hooks(count: int, problems: Sequence[HookProblem]) -> Finding:
    """Judge the configured hooks, at least one, by what keeps them from running."""
    data: dict[str, object] = {"hooks": count, "problems": [problem._asdict() for problem in problems]}
    if not problems:
        return ok(f"{counted(count, 'hook')} can run; `envwatch hooks test` tries them", **data)
    summary = "; ".join(f"hook {problem.hook}: {problem.what}" for problem in problems)
    return failure(summary, "; ".join(dict.fromkeys(problem.fix for problem in problems)), **data)


def of_pings(count: int, problems: Sequence[str]) -> Finding:
    """Judge the configured dead man's switches by what keeps them from being used."""
    data: dict[str, object] = {"pings": count, "problems": list(problems)}
    if problems:
        return failure("; ".join(problems), "set the variable, or correct the address", **data)
    return ok(f"{counted(count, 'profile')} with a dead man's switch", **data)


def _number(took: timedelta) -> float:
    """Return milliseconds for programs."""
    return round(took / timedelta(milliseconds=1), 1)


def _ms(took: timedelta) -> str:
    """Return milliseconds for people."""
    return f"{took / timedelta(milliseconds=1):,.0f} ms"
