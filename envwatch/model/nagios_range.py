"""Ranges of the monitoring plugins: which values of a metric raise an alert.

Pure. Source: Monitoring Plugins Development Guidelines, "Threshold and Ranges": `[@]start:end`, where `start:` may be
left out if it is 0, `~` is negative infinity, an end that is left out is infinity, and both ends belong to the range.
A value outside raises an alert; with `@`, a value inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.text import SafeText

_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE: Final = re.compile(rf"(?P<inside>@?)(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?", re.ASCII)
_LONGEST: Final = 64
"""Characters of a range."""
_NAMED: Final = 16
"""Characters of a wrong range that its message has."""


@dataclass(frozen=True, slots=True)
class NagiosRange:
    """One range."""

    text: str
    """As it was written; performance data repeats it."""
    start: float
    end: float
    alerts_inside: bool = False

    def alerts(self, value: float) -> bool:
        """Whether a value raises an alert."""
        return (self.start <= value <= self.end) is self.alerts_inside


def parse_nagios_range(text: str) -> NagiosRange:
    """Return the range that a text describes.

    Raises:
        ValueError: if it describes none; the message says what does.
    """
    match = _RANGE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not (match["colon"] or match["end"]):
        raise ValueError(f"{_named(text)} is no range; write 10, 10:, ~:10, 10:20 or @10:20")
    start = -inf if match["start"] == "~" else float(match["start"] or 0)
    end = inf if match["end"] is None else float(match["end"])
    if start > end:
        what = f"its start, {match['start'] or '0'}, is greater than its end, {match['end']}"
        raise ValueError(f"{_named(text)} is no range: {what}")
    return NagiosRange(text, start, end, alerts_inside=bool(match["inside"]))


def _named(text: str) -> SafeText:
    """Return a short text itself: a longer text may be a key in the wrong place."""
    return clean((text if len(text) <= _NAMED else "…") or "an empty text")
