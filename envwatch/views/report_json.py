"""A report as JSON: the content of the Markdown, unbounded, names exact. `report_values` says what it consists of.

Pure.
"""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter
from pydantic_core import to_json

from envwatch.views.report_values import Report

VERSION: Final = 1
"""Of the form: it grows when a name or a type changes; new names may come at any time."""

_REPORT: Final = TypeAdapter(Report)


def json_of(report: Report) -> bytes:
    """Return a report as one JSON document in UTF-8."""
    fields = _REPORT.dump_python(report, mode="json", by_alias=True)
    return to_json({"version": VERSION, **fields}, indent=2) + b"\n"
