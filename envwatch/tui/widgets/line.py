"""The base of widgets one line high: parts on the left and on the right; the lightest go where room is short."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from envwatch.model.text import Clean, cells, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style


STATE_STYLES: Final = ("online", "late", "offline", "flapping", "unknown", "gone", "unrestricted", "plain")
"""Names of the states' styles, in the stylesheet and in the themes."""

_LIGHT = 4
"""Parts of less weight are dropped before another one is cut."""

MIN_CUT_CELLS = 12
"""Cells that a cut part keeps; other parts are dropped before it gets shorter."""


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """A component class of the widget without `line--`; empty for the line's own style."""
    weight: int = 5
    """The part of least weight is dropped first."""
    is_cut: bool = False
    """Whether it is shortened before parts that are not light are dropped; at most one part of a line."""
    tail: str = ""
    """Follows the text without a gap, and is never cut."""
    is_joined: bool = False
    """Whether it follows the part before it, which must have more weight, without a gap."""


class TextLine(Widget):
    """A widget one line high."""

    GAP = 2
    """Cells between two parts."""

    _drawn: tuple[Sequence[Part], Sequence[Part]] | None = None
    """The parts of the last frame."""

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the parts on the left and those on the right."""
        raise NotImplementedError

    def refresh_if_changed(self) -> None:
        """Redraw the line if its parts have changed."""
        if self.parts() != self._drawn:
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002  Textual asks for line 0 only
        width = self.size.width
        self._drawn = self.parts()
        left, right = map(list, self._drawn)
        left, right = self._fitting(left, right, width)
        base = self.rich_style
        segments = [Segment(" ", base), *self._segments(left, base)]
        if tail := self._segments(right, base):
            taken = sum(cells(segment.text) for segment in (*segments, *tail)) + 1
            segments += [Segment(" " * max(width - taken, 0), base), *tail]
        return Strip(segments).adjust_cell_length(width, base)

    def _segments(self, parts: Sequence[Part], base: Style) -> list[Segment]:
        segments: list[Segment] = []
        for place, part in enumerate(parts):
            style = base + self.get_component_rich_style(f"line--{part.style}", partial=True) if part.style else base
            gap = " " * self._gap(parts[place - 1], part) if place else ""
            segments += [Segment(gap, base), Segment(part.text + part.tail, style)]
        return segments

    def _fitting(self, left: list[Part], right: list[Part], width: int) -> tuple[list[Part], list[Part]]:
        """Drop light parts, cut the part that may be cut, then drop the lightest until the rest fits."""
        while (excess := self.width_of((*left, *right)) - width) > 0:
            if not (left or right):
                break
            lightest = min((*left, *right), key=lambda part: part.weight)
            flexible = next((part for part in (*left, *right) if part.is_cut), None)
            room = cells(flexible.text) - excess if flexible else 0
            goes_first = lightest.weight < _LIGHT and lightest is not flexible
            if flexible and not goes_first and (room >= MIN_CUT_CELLS or len(left) + len(right) == 1):
                side = left if flexible in left else right
                side[side.index(flexible)] = flexible._replace(text=shortened(Clean(flexible.text), max(room, 0)))
                break
            (left if lightest in left else right).remove(lightest)
        return left, right

    def width_of(self, parts: Sequence[Part]) -> int:
        """Return the cells that parts take, with their gaps and both edges."""
        gaps = sum(self._gap(part, following) for part, following in pairwise(parts))
        return 2 + sum(cells(part.text + part.tail) for part in parts) + gaps

    def _gap(self, part: Part, following: Part) -> int:
        """Return the cells between two parts: none if joined, one after a colon."""
        if following.is_joined:
            return 0
        return 1 if part.text.endswith(":") else self.GAP
