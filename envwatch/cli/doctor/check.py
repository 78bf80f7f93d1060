"""A check of `envwatch doctor`, the run of checks, and findings as text and JSON.

A check may use values that the checks in `needs` left in the subject. Only `Result` cleans and redacts texts.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from envwatch.config.credentials import KEYS_PAGE
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.text import SafeText, clean, composed, counted, wrapped
from envwatch.sources.daemon_thread import run_in_daemon_thread
from envwatch.views.state_style import painted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence


S = TypeVar("S")

_STEP_S: Final = 5.0
"""A keyring or a network file system may hang."""

LATER: Final = "try again later; if the failure stays, ask the server's operators"
FIXES: Final = {
    Cause.UNAUTHORIZED: f"replace the old key: make a new key at {KEYS_PAGE} (a token of `envwatch serve`: "
    "--new-token)",
    Cause.FORBIDDEN: "ask whether the plan and the rights of the key's owner include environments",
    Cause.NO_SUCH_ROUTE: "set LETTA_BASE_URL, or base_url in the configuration, to a server that has environments",
    Cause.RATE_LIMITED: "wait, and poll less often: --interval, requests_per_minute",
    Cause.REDIRECTED: "set LETTA_BASE_URL, or base_url in the configuration, to the final address",
    Cause.TLS: "check the address; if a company's authority signs the certificate, name its file in SSL_CERT_FILE",
    Cause.TIMEOUT: "check the network and the server; a greater page_deadline in the configuration allows more time",
    Cause.UNREACHABLE: "check the address, the network, the firewall, and HTTPS_PROXY",
    Cause.ENDLESS: "for a fleet of that size raise page_size, max_pages or max_rows; else ask those who run the server",
    Cause.GARBLED: "set LETTA_BASE_URL to a Letta server, not to a login page",
}


class CheckStatus(StrEnum):
    """A check's status, in the words of the JSON."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"
    """A needed check failed, or nothing is to check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result, before `Result` cleans the texts."""

    status: CheckStatus
    summary: str
    fix: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    """Measured values as JSON; never the key."""
    is_unused: bool = False
    """Whether the checked function is unused here. An unused function is in the JSON only."""


def ok(summary: str, **data: object) -> Finding:
    """Return a finding without a problem."""
    return Finding(CheckStatus.OK, summary, data=data)


def unused(summary: str, **data: object) -> Finding:
    """Return the finding of an unused function."""
    return Finding(CheckStatus.OK, summary, data=data, is_unused=True)


def warning(summary: str, fix: str, **data: object) -> Finding:
    """Return a problem that leaves envwatch working."""
    return Finding(CheckStatus.WARNING, summary, fix, data)


def failure(summary: str, fix: str, **data: object) -> Finding:
    """Return a problem that stops envwatch."""
    return Finding(CheckStatus.FAILURE, summary, fix, data)


def skipped(summary: str, **data: object) -> Finding:
    """Return why nothing was checked."""
    return Finding(CheckStatus.SKIPPED, summary, data=data)


def failed_request(why: Failure) -> Finding:
    """Return a request's failure and the fix."""
    return failure(str(why.message), FIXES.get(why.cause, LATER), cause=str(why.cause))


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """A check of a subject."""

    id: str
    examine: Callable[[S], Awaitable[Finding]]
    needs: tuple[str, ...] = ()
    """Ids of checks that must succeed first; otherwise the check is skipped."""


async def findings_of(checks: Sequence[Check[S]], subject: S) -> AsyncIterator[tuple[str, Finding]]:
    """Yield each check's id and finding, in order."""
    roots: dict[str, str] = {}
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
        return failed_request(error.failure)
    except TimeoutError:
        fix = "find what hangs: the keyring, a network file system, or tmux"
        return failure(f"no result within {_STEP_S:g} s", fix)


async def read(function: Callable[[], S]) -> S:
    """Return the result of a blocking function; raise `TimeoutError` after 5 s."""
    async with asyncio.timeout(_STEP_S):
        return await run_in_daemon_thread(function)


_LABELS: Final = {
    CheckStatus.OK: "ok",
    CheckStatus.WARNING: "WARN",
    CheckStatus.FAILURE: "FAIL",
    CheckStatus.SKIPPED: "skip",
}
_INDENT: Final = 19
_NARROWEST: Final = 30


class Result:
    """A finding for output: cleaned and redacted."""

    def __init__(self, id_: str, profile: str | None, finding: Finding, redact: Callable[[str], str]) -> None:
        def safe(text: str) -> SafeText:
            return composed(redact(clean(text)))  # last: cleaning may produce a secret's spelling

        self.id = id_
        self.profile = None if profile is None else safe(profile)
        self.status = finding.status
        self.summary = safe(finding.summary)
        self.fix = safe(finding.fix)
        self.data = {name: _safe(value, safe) for name, value in finding.data.items()}

    @property
    def name(self) -> str:
        """The check's id, with the profile if there are several."""
        return self.id if self.profile is None else f"{self.id} of {self.profile}"


_STYLES: Final = {CheckStatus.WARNING: "late", CheckStatus.FAILURE: "offline", CheckStatus.SKIPPED: "gone"}


def lines_of(result: Result, width: int | None, *, has_colours: bool = False) -> list[str]:
    """Return the lines of a finding and the fix, wrapped unless `width` is None."""
    room = None if width is None else width - _INDENT
    texts = [result.summary, *([composed(f"fix: {result.fix}")] if result.fix else [])]
    lines = [line for text in texts for line in _wrapped(text, room)]
    start = f"{_LABELS[result.status]:<6}{result.id:<{_INDENT - 6}}"
    found = [f"{start if number == 0 else ' ' * _INDENT}{line}".rstrip() for number, line in enumerate(lines)]
    if has_colours:
        label = _LABELS[result.status]
        found[0] = painted(label, _STYLES.get(result.status, "plain")) + found[0].removeprefix(label)
    return found


def verdict_of(results: Sequence[Result], width: int | None = None) -> list[str]:
    """Return the last line, wrapped: whether envwatch works here."""
    return [*_wrapped(composed(_verdict(results)), width)]


def _verdict(results: Sequence[Result]) -> str:
    parts = []
    for status, noun in ((CheckStatus.FAILURE, "failure"), (CheckStatus.WARNING, "warning")):
        if names := [result.name for result in results if result.status is status]:
            parts.append(f"{counted(len(names), noun)} ({', '.join(names)})")
    counts = Counter(result.status for result in results)
    if not counts[CheckStatus.FAILURE]:
        return f"envwatch works here{f', with {parts[0]}' if parts else ''}"
    if counts[CheckStatus.SKIPPED]:
        parts.append(f"{counts[CheckStatus.SKIPPED]} not checked")
    return f"envwatch does not work here: {', '.join(parts)}"


def _wrapped(text: SafeText, width: int | None) -> list[SafeText]:
    return [text] if width is None else wrapped(text, max(width, _NARROWEST))


def json_of(results: Iterable[Result]) -> str:
    """Return an array with an object for each check."""
    documents = [
        {
            "id": result.id,
            "profile": result.profile,
            "status": result.status,
            "summary": result.summary,
            "fix": result.fix or None,
            "data": result.data,
        }
        for result in results
    ]
    return json.dumps(documents, indent=2, ensure_ascii=False) + "\n"


def _safe(value: object, safe: Callable[[str], SafeText]) -> object:
    match value:
        case str():
            return safe(value)
        case list():
            return [_safe(one, safe) for one in value]
        case dict():
            return {safe(name): _safe(one, safe) for name, one in value.items()}
        case _:
            return value
