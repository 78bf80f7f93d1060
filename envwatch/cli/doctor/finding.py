"""What a check of `envwatch doctor` returns. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class CheckStatus(StrEnum):
    """How a check came out, in the words of the JSON."""

    OK = "ok"
    WARNING = "warning"
    """envwatch works, and something is amiss."""
    FAILURE = "failure"
    """envwatch does not work until it is mended."""
    SKIPPED = "skipped"
    """Not checked, because a check that it depends on failed, or because there is nothing to check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; its texts may still hold anything, and `report` cleans them."""

    status: CheckStatus
    summary: str
    fix: str = ""
    """What to do about a warning or a failure."""
    data: Mapping[str, object] = field(default_factory=dict)
    """What was measured, for programs, as JSON has it; never the key."""


def ok(summary: str, **data: object) -> Finding:
    """Return that all is well."""
    return Finding(CheckStatus.OK, summary, data=data)


def warning(summary: str, fix: str, **data: object) -> Finding:
    """Return that something is amiss."""
    return Finding(CheckStatus.WARNING, summary, fix, data)


def failure(summary: str, fix: str, **data: object) -> Finding:
    """Return that envwatch does not work."""
    return Finding(CheckStatus.FAILURE, summary, fix, data)


def skipped(summary: str, **data: object) -> Finding:
    """Return that there was nothing to check."""
    return Finding(CheckStatus.SKIPPED, summary, data=data)
