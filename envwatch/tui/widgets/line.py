"""Widgets one line high: parts on the left, parts on the right, and the least important dropped where room is short.

Owns the layout of a line. What a line says is its subclass's business.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from envwatch.model.text import Clean, cells, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style


_TRIFLE = 4
"""Weight of a part below which it goes before another one is cut."""

_WORTH_READING = 12
"""Cells of a cut part below which other parts go instead."""


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """Name of a component class of the widget without its prefix; none for the line's own style."""
    weight: int = 5
    """Parts of less weight go first where room is short."""
    is_cut: bool = False
    """Cut to the room there is before any other part goes that is no trifle; at most one part of a line."""
    tail: str = ""
    """What stands right behind the text, and is never cut."""
    is_joined: bool = False
    """Stands right beside the part before it, which must outweigh it."""


class TextLine(Widget):
    """A widget one line high."""

    GAP = 2
    """Cells between two parts."""

    _said: tuple[Sequence[Part], Sequence[Part]] | None = None
    """The parts as they were last drawn."""

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return what stands on the left and what on the right."""
        raise NotImplementedError

    def tick(self) -> None:
        """Draw the line anew if it says something else by now."""
        if self.parts() != self._said:
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002  Textual asks for line 0 only
        """Draw the line."""
        width = self.size.width
        self._said = self.parts()
        left, right = map(list, self._said)
        left, right = self._fitting(left, right, width)
        base = self.rich_style
        segments = [Segment(" ", base)]
        segments += self._drawn(left, base)
        room = width - sum(cells(segment.text) for segment in segments)
        tail = self._drawn(right, base)
        taken = sum(cells(segment.text) for segment in tail) + 1
        if tail:
            segments += [Segment(" " * max(room - taken, 0), base), *tail]
        return Strip(segments).adjust_cell_length(width, base)

    def _drawn(self, parts: Sequence[Part], base: Style) -> list[Segment]:
        segments: list[Segment] = []
        for place, part in enumerate(parts):
            style = base + self.get_component_rich_style(f"line--{part.style}", partial=True) if part.style else base
            gap = " " * self._gap(parts[place - 1], part) if place else ""
            segments += [Segment(gap, base), Segment(part.text + part.tail, style)]
        return segments

    def _fitting(self, left: list[Part], right: list[Part], width: int) -> tuple[list[Part], list[Part]]:
        """Drop trifles, cut the part that may be cut, then drop the lightest parts until the rest fits."""
        while (excess := self._taken((*left, *right)) - width) > 0:
            if not (left or right):
                break
            lightest = min((*left, *right), key=lambda part: part.weight)
            flexible = next((part for part in (*left, *right) if part.is_cut), None)
            room = cells(flexible.text) - excess if flexible else 0
            goes_first = lightest.weight < _TRIFLE and lightest is not flexible
            if flexible and not goes_first and (room >= _WORTH_READING or len(left) + len(right) == 1):
                side = left if flexible in left else right
                side[side.index(flexible)] = flexible._replace(text=shortened(Clean(flexible.text), max(room, 0)))
                break
            (left if lightest in left else right).remove(lightest)
        return left, right

    def _taken(self, parts: Sequence[Part]) -> int:
        gaps = sum(self._gap(part, following) for part, following in pairwise(parts))
        return 2 + sum(cells(part.text + part.tail) for part in parts) + gaps

    def _gap(self, part: Part, following: Part) -> int:
        """Return the cells between two parts: none if they are joined, one behind a colon, as in a sentence."""
        if following.is_joined:
            return 0
        return 1 if part.text.endswith(":") else self.GAP
