"""Reads the sections of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envwatch.views.report.document import markdown_of, sentences

if TYPE_CHECKING:
    from envwatch.views.report.document import ProfileReport, Section


def section(report: ProfileReport, name: str) -> Section:
    (found,) = [each for each in report.sections if each.name == name]
    return found


def told(report: ProfileReport, name: str) -> list[str]:
    """Return a section's sentences."""
    return sentences(section(report, name).told)


def values(report: ProfileReport, name: str) -> list[dict[str, Any]]:
    """Return a section's lines in JSON."""
    return [dict(line.values or {}) for line in section(report, name).lines]


def names(report: ProfileReport, name: str) -> list[str]:
    """Return the environments of a section's lines."""
    return [each["name"] for each in values(report, name)]


def head(report: ProfileReport, name: str) -> str:
    """Return a sentence above the sections."""
    subject, predicate, *_ = report.head[name]
    return f"{subject} {predicate}"


def lines(report: ProfileReport) -> list[str]:
    """Return the lines of the Markdown."""
    return markdown_of([report]).splitlines()
