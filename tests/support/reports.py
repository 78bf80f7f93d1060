"""Reports of recorded hours, and their sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.views.report.document import render_markdown, sentences
from envwatch.views.report.period import recorded_in

if TYPE_CHECKING:
    from envwatch.history.past import Past
    from envwatch.views.report.document import ProfileReport, Section
    from envwatch.views.report.period import Recorded

_HOUR_MS = 3_600_000.0


def recorded(past: Past, until: float, hours: float = 8) -> Recorded:
    """Return the records of the hours before an instant."""
    since = WallMs(until - hours * _HOUR_MS)
    found = recorded_in(past, since, WallMs(until), profile=clean("work"), host=clean("api.letta.com"))
    assert found is not None
    return found


def section(report: ProfileReport, name: str) -> Section:
    (found,) = [each for each in report.sections if each.name == name]
    return found


def told(report: ProfileReport, name: str) -> list[str]:
    """Return a section's sentences."""
    return sentences(section(report, name).told)


def values(report: ProfileReport, name: str) -> list[dict[str, Any]]:
    """Return a section's lines in JSON."""
    return [dict(fact) for fact in section(report, name).values]


def names(report: ProfileReport, name: str) -> list[str]:
    """Return the environments of a section's lines."""
    return [each["name"] for each in values(report, name)]


def head(report: ProfileReport, name: str) -> str:
    """Return a sentence above the sections."""
    line = report.head[["watch", "fleet"].index(name)]
    return f"{line.subject} {line.predicate}"


def lines(report: ProfileReport) -> list[str]:
    """Return the lines of the Markdown."""
    return render_markdown([report]).splitlines()
