"""Acknowledgements, silences and alert decisions of the serving host.

`envwatch serve` adds these to a row's field, which foreign clients ignore. Acknowledgements and silences are only
shown here. The decision counts unless a person on this machine decided. Anyone may send anything, so unfit values are
ignored.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, SafeText, clean, shortened

if TYPE_CHECKING:
    from pydantic import JsonValue

    from envwatch.model.environment import Environment

SHARED_FIELD: Final = "envwatch"
"""`{"ack": {"by", "at", "note"}, "silence": {"by", "until", "reason"}, "alerts": {"counts", "why", "share"}}`.

Each member may be absent."""

_NEVER: Final = WallMs(inf)
_LONGEST_NAME: Final = 40
_LONGEST_NOTE: Final = 200
_LONGEST_MS: Final = limits.LONGEST_SILENCE.total_seconds() * 1000


class SharedMark(NamedTuple):
    """An acknowledgement or a silence on the serving host."""

    by: SafeText
    note: SafeText
    """The note of an acknowledgement or the reason of a silence; may be empty."""
    until: WallMs = _NEVER

    @property
    def text(self) -> SafeText:
        """The host, with the note if any."""
        return clean(f"by {self.by}{f': {self.note}' if self.note else ''}")


def shared_ack_of(environment: Environment) -> SharedMark | None:
    """Return the row's named acknowledgement."""
    mark = _mark(environment, "ack")
    by = _text(mark.get("by"), _LONGEST_NAME)
    return SharedMark(by, _text(mark.get("note"), _LONGEST_NOTE)) if by else None


def shared_silence_of(environment: Environment, wall: float) -> SharedMark | None:
    """Return the row's named silence, if in force (local clock, ms)."""
    mark = _mark(environment, "silence")
    by, until = _text(mark.get("by"), _LONGEST_NAME), mark.get("until")
    if not by or not isinstance(until, int | float) or not wall < until <= wall + _LONGEST_MS:
        return None
    return SharedMark(by, _text(mark.get("reason"), _LONGEST_NOTE), WallMs(until))


class SharedAlerts(NamedTuple):
    """The serving host's decision whether losses of a row need a person."""

    counts: bool
    why: SafeText
    share: float | None = None
    """The share of the watched week up, 0 to 1; None before two watched days."""


def shared_alerts_of(environment: Environment) -> SharedAlerts | None:
    """Return the serving host's decision about the row."""
    if not environment.unknown:
        return None  # nearly all rows
    mark = _mark(environment, "alerts")
    counts, why, share = mark.get("counts"), _text(mark.get("why"), _LONGEST_NOTE), mark.get("share")
    if not isinstance(counts, bool) or not why:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        share = None
    return SharedAlerts(counts, why, share)


def _mark(environment: Environment, name: str) -> dict[str, JsonValue]:
    marks = environment.unknown.get(SHARED_FIELD)
    mark = marks.get(name) if isinstance(marks, dict) else None
    return mark if isinstance(mark, dict) else {}


def _text(value: JsonValue, longest: int) -> SafeText:
    return shortened(clean(" ".join(value.split())), longest) if isinstance(value, str) else EMPTY
