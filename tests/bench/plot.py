"""A plot of lines on two logarithmic axes, as SVG for light and dark pages."""

from __future__ import annotations

from itertools import count
from math import ceil, floor, log10
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from findings import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WIDTH, _HEIGHT = 800, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 560, 24, 344
_LABEL_PX = 16
_COLOURS = ("#d1495b", "#e28413", "#8f6ab8", "#2a9d8f", "#3d7ea6", "#6b7280")


def log_plot(lines: Mapping[str, Mapping[int, float]], *, across: str, up: str) -> str:
    """Return the SVG of lines by name; each line maps x to y, all positive."""
    low_x, high_x = _decades(x for line in lines.values() for x in line)
    low_y, high_y = _decades(y for line in lines.values() for y in line.values())

    def place(x: float, y: float) -> tuple[float, float]:
        along = (log10(x) - low_x) / (high_x - low_x)
        above = (log10(y) - low_y) / (high_y - low_y)
        return _LEFT + along * (_RIGHT - _LEFT), _BOTTOM - above * (_BOTTOM - _TOP)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
            f'font-size="12" role="img" aria-label="{escape(up)} by {escape(across)}">'
        ),
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for decade in range(low_x, high_x + 1):
        x, _ = place(10**decade, 10**low_y)
        parts += [_rule(x, _TOP, x, _BOTTOM), _text(x, _BOTTOM + 18, f"{10**decade:,}", anchor="middle")]
    for decade in range(low_y, high_y + 1):
        _, y = place(10**low_x, 10**decade)
        parts += [_rule(_LEFT, y, _RIGHT, y), _text(_LEFT - 8, y + 4, f"{10.0**decade:,g}", anchor="end")]
    parts += [
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, across, anchor="middle"),
        (
            f'<text x="16" y="{(_TOP + _BOTTOM) / 2}" text-anchor="middle" '
            f'transform="rotate(-90 16 {(_TOP + _BOTTOM) / 2})" fill="#374151">{escape(up)}</text>'
        ),
    ]
    label_y = float("inf")
    for (name, line), number in zip(
        sorted(lines.items(), key=lambda each: place(*max(each[1].items()))[1], reverse=True), count()
    ):
        points = [place(x, y) for x, y in sorted(line.items())]
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        label_y = min(points[-1][1], label_y - _LABEL_PX)
        parts.append(_text(_RIGHT + 12, label_y + 4, f"{name}, {number_text(max(line.items())[1])}", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Iterable[float]) -> tuple[int, int]:
    logarithms = [log10(value) for value in values]
    low = floor(min(logarithms))
    return low, max(ceil(max(logarithms)), low + 1)


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#e5e7eb"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#374151") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
