"""The output of a monitoring plugin: one line with performance data, then details, within 4 KiB.

Pure. Source: Monitoring Plugins Development Guidelines, "Plugin Output", "Plugin Return Codes", "Performance data".
Owns the format and the rule that turns a count with its thresholds into a status; must not know what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal

from envwatch.model.text import SafeText, composed, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.model.nagios_range import NagiosRange

_SERVICE: Final = "ENVWATCH"
_LONGEST_TEXT: Final = 400
"""Cells of the first line's text: callers send it as a short message."""
_LONGEST_DETAIL: Final = 200
_MOST_BYTES: Final = 4096
"""Of the whole output: what the oldest callers read."""
_ROOM_FOR_REST: Final = 32
"""Bytes of the last line, which says how many details there are besides."""


class PluginStatus(IntEnum):
    """A plugin's verdict; the value is its exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceDatum:
    """One item of performance data."""

    label: str
    """A word of ASCII letters: it needs no quotes."""
    value: float
    unit: Literal["", "s"] = ""
    """Seconds, or a plain number."""
    warning: NagiosRange | None = None
    critical: NagiosRange | None = None
    greatest: float
    """The greatest possible value; the least is 0."""


def status_of(values: Iterable[int], warning: NagiosRange | None, critical: NagiosRange | None) -> PluginStatus:
    """Return the status that is certain, whichever of the possible values, at least one, is the true one.

    It is UNKNOWN if only some of them are OK. An alert that is certain is never hidden by what is not known, and of two
    possible alerts the lesser one is certain. A value for which both thresholds alert is CRITICAL.
    """
    possible = {_status(value, warning, critical) for value in values}
    return PluginStatus.UNKNOWN if PluginStatus.OK in possible and len(possible) > 1 else min(possible)


def _status(value: int, warning: NagiosRange | None, critical: NagiosRange | None) -> PluginStatus:
    if critical is not None and critical.alerts(value):
        return PluginStatus.CRITICAL
    return PluginStatus.WARNING if warning is not None and warning.alerts(value) else PluginStatus.OK


def output_of(
    status: PluginStatus, text: SafeText, metrics: Sequence[PerformanceDatum] = (), details: Sequence[SafeText] = ()
) -> str:
    """Return the output: a line of status, text and performance data, and a line for each detail that has room.

    The text is one sentence; the most important detail comes first.
    """
    first = f"{_SERVICE} {status.name} - {_plain(text, _LONGEST_TEXT)}"
    if metrics:
        first += f" | {' '.join(map(_performance, metrics))}"
    lines = [first]
    room = _MOST_BYTES - _ROOM_FOR_REST - len(first.encode())
    for index, detail in enumerate(details):
        line = _plain(detail, _LONGEST_DETAIL)
        room -= len(line.encode()) + 1
        if room < 0:
            lines.append(f"and {len(details) - index:,} more")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def _plain(text: SafeText, width: int) -> SafeText:
    """Return a text that cannot be taken for performance data: a caller looks for it behind `|`, on every line."""
    return shortened(composed(text.replace("|", "/")), width)


def _performance(metric: PerformanceDatum) -> str:
    warning, critical = (each.text if each else "" for each in (metric.warning, metric.critical))
    return f"{metric.label}={_number(metric.value)}{metric.unit};{warning};{critical};0;{_number(metric.greatest)}"


def _number(value: float) -> str:
    """Return a number in digits, to a thousandth: no exponent is allowed."""
    return str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")
