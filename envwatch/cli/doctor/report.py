"""Findings as text and as JSON. Pure; the only place where a finding's texts are cleaned and freed of secrets."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from envwatch.cli.doctor.check import CheckStatus, Finding
from envwatch.model.text import SafeText, clean, composed, counted, wrapped
from envwatch.views.state_style import painted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


_LABELS: Final = {
    CheckStatus.OK: "ok",
    CheckStatus.WARNING: "WARN",
    CheckStatus.FAILURE: "FAIL",
    CheckStatus.SKIPPED: "skip",
}
_INDENT: Final = 19
"""Columns before a summary: the label, and the longest id."""
_NARROWEST: Final = 30
"""Columns of a summary at least, on whatever terminal."""


class Result:
    """The finding of one check of one profile, safe to show: cleaned, and redacted."""

    def __init__(self, id_: str, profile: str | None, finding: Finding, redact: Callable[[str], str]) -> None:
        def safe(text: str) -> SafeText:
            return composed(redact(clean(text)))  # after cleaning, which may produce the spelling of a secret

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
"""The styles of the labels."""


def lines_of(result: Result, width: int | None, *, has_colours: bool = False) -> list[str]:
    """Return one line for a finding and one for its fix, wrapped to a width unless it is None."""
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
    """Return the last line, wrapped: whether envwatch works here, and what is amiss."""
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
    """Return an array with one object for each check."""
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
    """Return a JSON value with every text in it made safe."""
    match value:
        case str():
            return safe(value)
        case list():
            return [_safe(one, safe) for one in value]
        case dict():
            return {safe(name): _safe(one, safe) for name, one in value.items()}
        case _:
            return value
